//! `strace`, which counts a child's system calls, and tampers with one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use super::tools::{as_child, wait};

/// Whether there is an `strace` that may trace.
pub fn is_there() -> bool {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=none", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Says by name that a test is skipped when there is none.
pub fn skip(test: &str) -> bool {
    if is_there() {
        return false;
    }
    println!("skipped: strace is missing or may not trace, so {test} is not run");
    true
}

/// A command that tampers with calls of that name: the ones that `when` says, counted in each thread by itself.
pub fn inject(call: &str, what: &str, when: &str) -> Command {
    inject_on(call, what, when, &[])
}

/// The same for calls that touch one of these paths alone, and counting only those.
/// Without `--seccomp-bpf`: with it, version 6.1 sends no signal.
pub fn inject_on(call: &str, what: &str, when: &str, paths: &[&Path]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"]);
    for path in paths {
        command.arg("-P").arg(path);
    }
    command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{what}:when={when}")]);
    command.arg(std::env::current_exe().unwrap());
    command
}

/// Which calls of a child touch its store: for each name, the places in the order of the thread that made them.
pub fn record(calls: &[&str], scenario: &str, root: &Path, acks: &Path) -> BTreeMap<String, BTreeSet<u64>> {
    let out = acks.with_extension("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-s", "512", "-e", "signal=none", "-o"]).arg(&out);
    command.args(["-e", &format!("trace={}", calls.join(","))]).arg(std::env::current_exe().unwrap());
    as_child(&mut command, scenario, root, acks, 0);
    let mut running = command.stdout(Stdio::null()).spawn().unwrap();
    assert!(wait(&mut running).unwrap().success(), "the scenario {scenario} fails when nobody disturbs it");
    let text = std::fs::read(&out).unwrap();
    let text = String::from_utf8_lossy(&text);
    // The store, and copies of it beside it.
    let (beside, acks) = (root.parent().unwrap_or(root).to_string_lossy(), acks.to_string_lossy());
    let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    // What the first thread did before it came to the store: a call of another thread at such a place is not met,
    // since the first thread comes to that place earlier.
    let first = text.split_whitespace().next().unwrap_or_default();
    let mut preamble: BTreeMap<&str, u64> = BTreeMap::new();
    let mut at_store = false;
    let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in text.lines() {
        // "TID call(arguments": the second half of a call that others interrupted has no such start.
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if !calls.contains(&call) {
            continue;
        }
        let place = counted.entry((thread, call)).or_default();
        *place += 1;
        let touches = arguments.contains(beside.as_ref()) && !arguments.contains(acks.as_ref());
        at_store |= touches;
        if thread == first && !at_store {
            preamble.insert(call, *place);
        }
        if touches && *place > preamble.get(call).copied().unwrap_or(0) {
            found.entry(call.to_owned()).or_default().insert(*place);
        }
    }
    found
}

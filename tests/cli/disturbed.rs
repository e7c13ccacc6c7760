//! A system that refuses: threads that cannot be had, reads that fail. What the command says of it is what happened.

use std::path::Path;
use std::process::Command;

use crate::{Home, ran};

/// A user who has no other process, so that a limit on processes counts threads alone.
const NOBODY: u32 = 64_999;

fn chown(path: &Path) -> bool {
    Command::new("chown")
        .args(["-R", &format!("{NOBODY}:{NOBODY}")])
        .arg(path)
        .status()
        .is_ok_and(|done| done.success())
}

/// Where no thread can be had, each thing is done by the one there is.
#[test]
fn without_threads_all_works() {
    let home = Home::new();
    let program = home.path().join("headwater");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("headwater"), &program).unwrap();
    let alone = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        command.args(["prlimit", "--nproc=1"]).args(args).current_dir(home.path());
        command.env("HOME", home.path()).env("TMPDIR", home.path()).output()
    };
    let can_be_had = alone(&["sh", "-c", "(true)"]).is_ok_and(|tried| !tried.status.success());
    if !(chown(home.path()) && can_be_had && alone(&["true"]).is_ok_and(|tried| tried.status.success())) {
        println!("skipped: without_threads_all_works: no other user can be had here, or no limit on processes");
        return;
    }
    let log: String = (0..3_000).map(|n| format!("{{\"type\":\"user\",\"uuid\":\"{n}\",\"sessionId\":\"s\",\"timestamp\":\"2026-08-01T10:00:00Z\",\"message\":{{\"role\":\"user\",\"content\":\"message {n} {}\"}}}}\n", "and so on ".repeat(n % 90))).collect();
    std::fs::write(home.path().join("log.jsonl"), log).unwrap();
    assert!(chown(home.path()));
    for args in [
        &["run", "add two numbers", "--script", "simple", "--name", "demo"][..],
        &["import", "log.jsonl"],
        &["ls"],
        &["show", "demo"],
        &["events", "demo"],
        &["check"],
        &["backup", "copy"],
        &["stream", "demo"],
    ] {
        let ran = ran(alone(&[&["./headwater"], args].concat()).unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}: {}", ran.out);
    }
}

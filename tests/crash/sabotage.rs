//! The rules of the write path, broken one by one in a build made for it: each must be noticed.
//!
//! The build is this same program with the feature `sabotage`, without the command, so that it shares what it is made of
//! with the build that is tested. It is only ever the child that works on a store; what looks at the store afterwards
//! is the library as it is.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::acks::{self, Ack};
use super::child::SCENARIOS;
use super::states::explore;
use super::steps::id;
use super::strace;
use super::template::{Start, Templates};
use super::tools::{Program, seed, wait};
use headwater::store::Store;

/// A broken rule, and the scenarios whose power losses show it.
const BROKEN: [(&str, &[&str]); 7] = [
    ("segment-sync", &["one-by-one"]),
    ("folder-sync", &["first", "roll"]),
    ("commit-first", &["one-by-one"]),
    ("acknowledged-first", &["one-by-one"]),
    ("checksum", &["adoption-torn"]),
    ("adoption", &["adoption-acknowledged"]),
    ("append-after-cut", &["adoption"]),
];
/// How a failure begins, or goes on, that is of a disk or of the order of calls: a program that breaks down by itself shows nothing.
const SHOWS: [&str; 3] = [", after step ", "vouched for before", "moved to a folder"];
/// A tear that is taken for a whole frame makes no commit: the opening that should have passed over it calls the log damaged.
const SHOWS_CHECKSUM: &str = "Failed { what: \"open\", kind: \"damaged\" }";
/// Power losses tried of each scenario at most: a few that fail end it.
const LOSSES: usize = 4_000;
/// Those tried where nothing is to fail.
const LOSSES_OF_NONE: usize = 300;

/// Builds the program with the feature; none where there is no cargo, or sources, to do it with.
fn build() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--offline", "--test", "crash", "--no-default-features", "--features", "sabotage"]);
    command.args(["--message-format", "json", "--quiet"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // It runs for seconds: optimizing it would take longer.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().ok()?;
    assert!(output.status.success(), "the sabotaged program cannot be built");
    let made = String::from_utf8_lossy(&output.stdout);
    let made = made.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = made.filter(|what| what["target"]["name"] == "crash" && what["executable"].is_string());
    let program = programs.next().expect("cargo says where the program is");
    program["executable"].as_str().map(PathBuf::from)
}

/// Each broken rule is noticed, and the same program with none broken passes.
pub fn every_broken_rule_is_noticed() {
    if strace::skip("sabotage::every_broken_rule_is_noticed") {
        return;
    }
    let start = Instant::now();
    let Some(path) = build() else {
        println!("skipped: not started by cargo, so sabotage::every_broken_rule_is_noticed is not run");
        return;
    };
    let seed = seed();
    println!("  built in {:.1?}; seed {seed}", start.elapsed());
    let templates = Templates::new();
    let mut unnoticed = Vec::new();
    for (rule, scenarios) in [(None, &["adoption-torn"][..])].into_iter().chain(BROKEN.map(|(a, b)| (Some(a), b))) {
        let program = Program { path: path.clone(), sabotage: rule };
        for name in scenarios {
            let scenario = SCENARIOS.iter().find(|scenario| scenario.name == *name).expect("a scenario of that name");
            let start = Instant::now();
            let most = if rule.is_some() { LOSSES } else { LOSSES_OF_NONE };
            let failures = explore(&templates, &program, scenario, most, seed).failures;
            let first = failures
                .first()
                .map_or("nothing", String::as_str)
                .lines()
                .nth(1)
                .unwrap_or_else(|| failures.first().map_or("nothing", String::as_str));
            let told: String = first.trim().chars().take(110).collect();
            println!("  {:20} {:22} {:5.1?}: {told}", rule.unwrap_or("no rule broken"), scenario.name, start.elapsed());
            let shows = |failure: &String| match rule {
                Some("checksum") => failure.contains(SHOWS_CHECKSUM),
                _ => SHOWS.iter().any(|words| failure.contains(words)),
            };
            if failures.is_empty() == rule.is_some() || rule.is_some() && !failures.iter().any(shows) {
                unnoticed.push(format!("{rule:?} in {}: {told}", scenario.name));
            }
        }
    }
    let program = Program { path, sabotage: Some("lease") };
    let told = refused(&templates, &program);
    println!("  {:20} {:22}      : {told:?}", "lease", "one-by-one");
    if !told.is_err_and(|told| told.contains("another process came to this with a held session")) {
        unnoticed.push("lease".to_owned());
    }
    assert!(unnoticed.is_empty(), "not as expected: {unnoticed:?}");
}

/// A session that one process writes is refused to another by name, and nothing of the other is in it.
pub fn a_held_session_is_refused() {
    refused(&Templates::new(), &Program::whole()).unwrap();
}

fn refused(templates: &Templates, program: &Program) -> Result<(), String> {
    let scratch = templates.copy(Start::Sealed);
    let store = Store::open(scratch.root()).map_err(|error| format!("{error:?}"))?;
    let session = store.resume(&id("main"), None).map_err(|error| format!("{error:?}"))?;
    let before = session.counters();
    let mut command = Command::new(&program.path);
    program.as_child(&mut command, "one-by-one", &scratch.root(), &scratch.path().join("others"));
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let status = wait(&mut running)?;
    let told = acks::read(&scratch.path().join("others"));
    let expected = [Ack::Failed { what: "resume".to_owned(), kind: "lease-held".to_owned() }];
    if !status.success() || told != expected {
        return Err(format!("another process came to this with a held session ({status}): {told:?}"));
    }
    let next = session.add_annotation("still/mine", None).map_err(|error| format!("{error:?}"))?;
    if next.0 != before.event + 1 {
        return Err(format!("after event {} came {next}", before.event));
    }
    Ok(())
}

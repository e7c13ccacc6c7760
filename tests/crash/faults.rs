//! Calls that fail: a sync, a write, a name, a lock. Nothing is acknowledged that is not there, what follows an unknown
//! outcome is refused, and the next process finds a good store.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

use super::acks::{self, Ack};
use super::points::{self, Point};
use super::strace;
use super::template::Templates;
use super::tools::{as_child, content_with, did, on_two_threads, seed, wait};
use super::verify::verify;

/// A call, the errors it fails with, and whether it may fail for ever: one that is tried again until it succeeds, or
/// that the whole process needs, may not.
const FAULTS: [(&str, &[&str], bool); 14] = [
    ("fdatasync", &["EIO", "ENOSPC"], true),
    ("fsync", &["EIO"], true),
    ("pwrite64", &["ENOSPC", "EIO"], true),
    ("pwrite64", &["EINTR"], false),
    ("write", &["ENOSPC", "EIO"], true),
    ("ftruncate", &["EIO"], true),
    ("renameat2", &["EIO", "ENOSPC"], true),
    ("rename", &["EIO"], true),
    ("unlink", &["EIO"], true),
    ("mkdir", &["ENOSPC"], true),
    ("pread64", &["EIO"], true),
    ("openat", &["EMFILE"], false),
    ("mmap", &["ENOMEM"], false),
    ("flock", &["EINTR", "EIO"], false),
];

/// What a point came to.
struct Outcome {
    fault: String,
    /// What failed, and the kinds of error, in words; empty if the child did not notice.
    told: Vec<String>,
    unknown: (usize, usize),
}

/// Each call fails once.
pub fn a_call_that_fails_once() {
    failing("faults::a_call_that_fails_once", false, 1_600);
}

/// Each call fails, and all of its name that follow in the thread.
pub fn calls_that_fail_from_then_on() {
    failing("faults::calls_that_fail_from_then_on", true, 900);
}

fn failing(test: &str, sticky: bool, most: usize) {
    if strace::skip(test) {
        return;
    }
    let seed = seed();
    let templates = Templates::new();
    let faults: Vec<_> = FAULTS.iter().filter(|(.., may_last)| *may_last || !sticky).collect();
    let calls: Vec<&str> = faults.iter().map(|(call, ..)| *call).collect();
    let points = points::all(&templates, &calls);
    let mut disturbed: Vec<(Point, &'static str)> = Vec::new();
    for point in points {
        for (call, errors, _) in &faults {
            if *call == point.call {
                disturbed.extend(errors.iter().map(|error| (point.clone(), *error)));
            }
        }
    }
    let found = disturbed.len();
    let points = points::sample(disturbed, most, seed);
    println!("  {} of {found} points, seed {seed}", points.len());
    let start = Instant::now();
    let outcomes = on_two_threads(&points, |(point, error)| at(&templates, point, error, sticky));
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    let good: Vec<&Outcome> = outcomes.iter().flatten().collect();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in &good {
        for what in &outcome.told {
            *told.entry(format!("{} {what}", outcome.fault)).or_default() += 1;
        }
    }
    let what = format!(
        "{} calls failed, {} were noticed by the child; of {} unknown outcomes {} were durable; {:.0} points a minute",
        points.len(),
        good.iter().filter(|outcome| !outcome.told.is_empty()).count(),
        good.iter().map(|outcome| outcome.unknown.0).sum::<usize>(),
        good.iter().map(|outcome| outcome.unknown.1).sum::<usize>(),
        points.len() as f64 * 60.0 / start.elapsed().as_secs_f64(),
    );
    for (what, times) in &told {
        println!("  {times:5} x {what}");
    }
    content_with(&failures, test);
    did(test, &what, seed);
    assert!(good.iter().any(|outcome| outcome.unknown.0 > 0), "no commit was of unknown outcome");
}

fn at(templates: &Templates, point: &Point, error: &'static str, sticky: bool) -> Result<Outcome, String> {
    let scenario = point.scenario();
    let scratch = templates.copy(scenario.start);
    let when = format!("{}{}", point.nth, if sticky { "+" } else { "" });
    let mut command = strace::inject(&point.call, &format!("error={error}"), &when);
    as_child(&mut command, scenario.name, &scratch.root(), &scratch.acks(), 0);
    let result = (|| {
        let log = std::fs::File::create(scratch.path().join("stderr")).map_err(|error| error.to_string())?;
        let mut running = command.stdout(Stdio::null()).stderr(log).spawn().map_err(|error| error.to_string())?;
        let status = wait(&mut running)?;
        if !status.success() {
            let said = std::fs::read_to_string(scratch.path().join("stderr")).unwrap_or_default();
            return Err(format!(
                "the child ended with {status}: {}",
                said.lines().take(4).collect::<Vec<_>>().join(" ")
            ));
        }
        let acks = acks::read(&scratch.acks());
        let found = verify(&scratch.root(), &acks)?;
        let said = || std::fs::read_to_string(scratch.path().join("stderr")).unwrap_or_default();
        // Shared memory that cannot grow has one code for all reasons, and the disk has room here: it cannot be told as full.
        let cannot_be_told = || said().contains("extended_code: 4874");
        let dishonest = acks.iter().find(|ack| match ack {
            Ack::Failed { kind, .. } => {
                error == "ENOSPC" && !["full", "unknown", "poisoned"].contains(&kind.as_str()) && !cannot_be_told()
            }
            _ => false,
        });
        let dishonest = dishonest.or_else(|| {
            // There is room: a disk that fails is not one that is full.
            acks.iter().find(|ack| matches!(ack, Ack::Failed { kind, .. } if error != "ENOSPC" && kind == "full"))
        });
        if let Some(told) = dishonest {
            return Err(format!("{error}, and the child was told {told:?}: {}", said()));
        }
        let told = acks.iter().filter_map(|ack| match ack {
            Ack::Failed { what, kind } => Some(format!("{what}: {kind}")),
            _ => None,
        });
        Ok(Outcome { fault: format!("{} {error}", point.call), told: told.collect(), unknown: found.unknown })
    })();
    result.map_err(|why| format!("{point} {error} {when}: {why}; left in {}", scratch.keep().display()))
}

//! A child killed as it enters a system call: each that touches the store, of every scenario.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::acks;
use super::points::{self, Point};
use super::strace;
use super::template::{Start, Templates};
use super::tools::{as_child, child, content_with, did, on_two_threads, seed, wait};
use super::verify::verify;

/// Those that change files or names.
const CHANGES: [&str; 9] =
    ["pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "renameat2", "unlink", "mkdir"];
/// Those, and the ones between which nothing on disk changes: locks, shared memory, files opened, read and closed.
const CALLS: [&str; 16] = [
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat2",
    "unlink",
    "openat",
    "close",
    "mkdir",
    "flock",
    "fcntl",
    "mmap",
    "pread64",
];
/// Points of a run that is not long.
const MOST: usize = 1_600;

/// What a point came to.
struct Outcome {
    killed: bool,
    reopened_in: Duration,
    adopted: bool,
    rebuilt: bool,
    looked_for: usize,
    copies_rebuilt: usize,
}

/// A child is killed at each call, at the latest when it ends by itself; whatever it left is opened and looked at.
pub fn at_every_system_call() {
    if strace::skip("kill::at_every_system_call") {
        return;
    }
    let seed = seed();
    let templates = Templates::new();
    let all = points::all(&templates, &CALLS);
    let mut of_each: BTreeMap<&str, usize> = BTreeMap::new();
    for point in &all {
        *of_each.entry(point.scenario().name).or_default() += 1;
    }
    let found = all.len();
    let (changes, quiet): (Vec<Point>, Vec<Point>) =
        all.into_iter().partition(|point| CHANGES.contains(&point.call.as_str()));
    let mut points = points::sample(changes, MOST * 3 / 4, seed);
    points.extend(points::sample(quiet, MOST / 4, seed));
    println!("  {} of {found} points, seed {seed}; in all {of_each:?}", points.len());
    let start = Instant::now();
    let outcomes = on_two_threads(&points, |point| at(&templates, point));
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    let good: Vec<&Outcome> = outcomes.iter().flatten().collect();
    let count = |what: fn(&Outcome) -> bool| good.iter().filter(|outcome| what(outcome)).count();
    let what = format!(
        "{} killed, {} reached their end, {} adopted, {} rebuilt, {} acknowledged things looked for; the slowest reopening took {:?}; {:.0} points a minute",
        count(|o| o.killed),
        count(|o| !o.killed),
        count(|o| o.adopted),
        count(|o| o.rebuilt),
        good.iter().map(|outcome| outcome.looked_for).sum::<usize>(),
        good.iter().map(|outcome| outcome.reopened_in).max().unwrap_or_default(),
        points.len() as f64 * 60.0 / start.elapsed().as_secs_f64(),
    );
    content_with(&failures, "killed at a system call");
    did("kill::at_every_system_call", &what, seed);
    // Threads may take turns in another order than when they were counted, so that a few are not met.
    assert!(count(|o| o.killed) * 10 >= points.len() * 9, "too few of the points were met");
    assert!(count(|o| o.adopted) > 0 && count(|o| o.rebuilt) > 0);
}

fn at(templates: &Templates, point: &Point) -> Result<Outcome, String> {
    let scenario = point.scenario();
    let scratch = templates.copy(scenario.start);
    let mut command = strace::inject(&point.call, "signal=KILL", &point.nth.to_string());
    as_child(&mut command, scenario.name, &scratch.root(), &scratch.acks(), 0);
    let result = (|| {
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        let status = wait(&mut running)?;
        let killed = status.signal() == Some(9);
        if !killed && !status.success() {
            return Err(format!("the child ended with {status}"));
        }
        let acks = acks::read(&scratch.acks());
        if let Some(failed) = acks.iter().find(|ack| matches!(ack, acks::Ack::Failed { .. })) {
            return Err(format!("nothing was to fail, but {failed:?}"));
        }
        if !killed && acks.last() != Some(&acks::Ack::Done) {
            return Err("the child ended early".to_owned());
        }
        let found = verify(&scratch.root(), &acks)?;
        Ok(Outcome {
            killed,
            reopened_in: found.reopened_in,
            adopted: found.report.adopted > 0,
            rebuilt: found.report.rebuilt.is_some(),
            looked_for: found.looked_for,
            copies_rebuilt: found.copies_rebuilt,
        })
    })();
    result.map_err(|why| format!("{point}: {why}; left in {}", scratch.keep().display()))
}

/// A backup that is brought further is killed between its renames: it holds what the one before held, or what it was to
/// hold; without its mark it makes its rows from its log; and the next backup to the same place mends it.
pub fn a_backup_between_its_renames() {
    if strace::skip("kill::a_backup_between_its_renames") {
        return;
    }
    let seed = seed();
    let templates = Templates::new();
    let mut all =
        points::all(&templates, &["rename", "renameat2", "unlink", "unlinkat", "mkdir", "fsync", "fdatasync"]);
    all.retain(|point| point.scenario().name == "backup");
    let points = points::sample(all, 90, seed);
    let outcomes = on_two_threads(&points, |point| at(&templates, point));
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    content_with(&failures, "a backup killed");
    let good: Vec<&Outcome> = outcomes.iter().flatten().collect();
    let killed = good.iter().filter(|outcome| outcome.killed).count();
    let rebuilt: usize = good.iter().map(|outcome| outcome.copies_rebuilt).sum();
    did("kill::a_backup_between_its_renames", &format!("{killed} killed, {rebuilt} without their mark"), seed);
    assert!(killed * 10 >= points.len() * 8 && rebuilt > 0, "it was not killed where it matters");
}

/// Two processes write two sessions of one store. One is killed at a call; the other goes on to its end, and all that
/// either was told is there.
pub fn one_of_two_processes() {
    if strace::skip("kill::one_of_two_processes") {
        return;
    }
    let seed = seed();
    let templates = Templates::new();
    let calls = ["pwrite64", "fdatasync", "flock", "fcntl", "unlink", "renameat2"];
    let mut all = points::all(&templates, &calls);
    all.retain(|point| ["one-by-one", "roll", "wal-inline"].contains(&point.scenario().name));
    let points = points::sample(all, 150, seed);
    println!("  {} points, seed {seed}", points.len());
    let outcomes = on_two_threads(&points, |point| beside(&templates, point));
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    content_with(&failures, "killed beside another");
    let killed = outcomes.iter().flatten().filter(|killed| **killed).count();
    did("kill::one_of_two_processes", &format!("{killed} killed beside one that went on"), seed);
    assert!(killed * 2 >= points.len() && killed > 0, "too few of the points were met");
}

fn beside(templates: &Templates, point: &Point) -> Result<bool, String> {
    let scratch = templates.copy(Start::Sealed);
    let mut command = strace::inject(&point.call, "signal=KILL", &point.nth.to_string());
    as_child(&mut command, point.scenario().name, &scratch.root(), &scratch.acks(), 0);
    let mut other = child("turns", &scratch.root(), &scratch.acks(), 0);
    let result = (|| {
        let mut one = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        let mut two = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        let (one, two) = (wait(&mut one)?, wait(&mut two)?);
        let killed = one.signal() == Some(9);
        if !killed && !one.success() {
            return Err(format!("the child ended with {one}"));
        }
        if !two.success() {
            return Err(format!("the other child ended with {two}"));
        }
        let acks = acks::read(&scratch.acks());
        let done = acks.iter().filter(|ack| **ack == acks::Ack::Done).count();
        if done < 2 - usize::from(killed) {
            return Err(format!("{done} children came to their end"));
        }
        if let Some(failed) = acks.iter().find(|ack| matches!(ack, acks::Ack::Failed { .. })) {
            return Err(format!("nothing was to fail, but {failed:?}"));
        }
        verify(&scratch.root(), &acks)?;
        Ok(killed)
    })();
    result.map_err(|why| format!("{point}: {why}; left in {}", scratch.keep().display()))
}

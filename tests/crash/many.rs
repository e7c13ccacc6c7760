//! Many processes that commit at once: nothing is lost, nothing fails, and each has its share.

use std::process::Stdio;
use std::time::Instant;

use super::acks::{self, Ack};
use super::steps::id;
use super::tools::{Scratch, amount, child, content_with, did, wait};
use super::verify::verify;

/// What one process was told, and how long it took.
struct Share {
    commits: usize,
    took: Vec<u64>,
}

/// Runs so many children at once, on a store that none of them finds made; holds it against all notes.
fn at_once(scenario: &str, processes: u64) -> Result<Vec<Share>, String> {
    let scratch = Scratch::new();
    let notes = |process: u64| scratch.path().join(format!("acks-{process}"));
    let result = (|| {
        let mut running = Vec::new();
        for process in 0..processes {
            let mut command = child(scenario, &scratch.root(), &notes(process), process);
            running.push(command.stdout(Stdio::null()).spawn().map_err(|error| error.to_string())?);
        }
        for (process, running) in running.iter_mut().enumerate() {
            let status = wait(running)?;
            if !status.success() {
                return Err(format!("process {process} ended with {status}"));
            }
        }
        let mut shares = Vec::new();
        let mut all = Vec::new();
        for process in 0..processes {
            let acks = acks::read(&notes(process));
            if let Some(failed) = acks.iter().find(|ack| matches!(ack, Ack::Failed { .. })) {
                return Err(format!("process {process}: nothing was to fail, but {failed:?}"));
            }
            if acks.last() != Some(&Ack::Done) {
                return Err(format!("process {process} ended early"));
            }
            let took = acks.iter().filter_map(|ack| if let Ack::Took { micros } = ack { Some(*micros) } else { None });
            let took: Vec<u64> = took.collect();
            let of = id(&format!("process-{process}"));
            let mine = |ack: &&Ack| matches!(ack, Ack::Batch { session, .. } if *session == of);
            shares.push(Share { commits: acks.iter().filter(mine).count(), took });
            all.extend(acks);
        }
        verify(&scratch.root(), &all)?;
        Ok(shares)
    })();
    result.map_err(|why| format!("{why}; left in {}", scratch.keep().display()))
}

/// The value below which `part` of the times lie.
fn percentile(times: &mut [u64], part: f64) -> u64 {
    times.sort_unstable();
    times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Sixteen processes make the store between them and write five hundred commits each.
pub fn sixteen_processes_at_once() {
    many_at_once("many::sixteen_processes_at_once", "five-hundred", 16, 500);
}

/// Thirty-two, and a hundred each.
pub fn thirty_two_processes_at_once() {
    many_at_once("many::thirty_two_processes_at_once", "hundred", 32, 100);
}

fn many_at_once(test: &str, scenario: &str, processes: u64, commits: usize) {
    let start = Instant::now();
    let rounds = amount(1, 90);
    let mut all: Vec<u64> = Vec::new();
    let mut slowest = 0;
    for _ in 0..rounds {
        let shares = at_once(scenario, processes);
        let failures: Vec<String> = shares.as_ref().err().cloned().into_iter().collect();
        content_with(&failures, test);
        for mut share in shares.unwrap_or_default() {
            assert_eq!(share.commits, commits);
            slowest = slowest.max(percentile(&mut share.took, 0.99));
            all.extend(share.took);
        }
    }
    let took = start.elapsed();
    let (half, most) = (percentile(&mut all, 0.5), percentile(&mut all, 0.99));
    let what = format!(
        "{} commits of {processes} processes in {took:.1?}: p50 {half} us, p99 {most} us; the greatest p99 of one process {slowest} us",
        all.len()
    );
    did(test, &what, 0);
}

/// Two processes in a closed loop: neither starves.
pub fn two_processes_share() {
    let shares = at_once("two-seconds", 2);
    let failures: Vec<String> = shares.as_ref().err().cloned().into_iter().collect();
    content_with(&failures, "two processes");
    let mut shares = shares.unwrap_or_default();
    let commits: Vec<usize> = shares.iter().map(|share| share.commits).collect();
    let p99: Vec<u64> = shares.iter_mut().map(|share| percentile(&mut share.took, 0.99)).collect();
    println!("  commits {commits:?}, p99 {p99:?} us");
    let (least, most) = (commits[0].min(commits[1]), commits[0].max(commits[1]));
    // One that starves commits next to nothing: the disk's speed is told by the other.
    if most > 50 {
        assert!(most <= 3 * least, "one process committed {most} times and the other {least}");
    } else {
        println!("  too slow a disk to say anything about shares");
    }
}

//! Several processes that write, and one that reads, killed at random times.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use headwater::store::Store;

use super::acks::{self, Ack};
use super::steps::id;
use super::tools::{Random, Scratch, amount, child, content_with, did, on_two_threads, pause, seed, wait};
use super::verify::{sound, verify};

/// Rounds that one store lives through.
const ROUNDS_A_STORE: u64 = 10;

/// What the rounds of one store came to.
#[derive(Default)]
struct Tally {
    kills: u64,
    adopted: u64,
    rebuilt: u64,
    batches: usize,
    slowest: Duration,
}

/// Two to four processes write their own sessions, one reads; each is killed at its own time. What any of them was told
/// is there, no lease is stuck, and the next round goes on in the same store.
pub fn killed_at_random_times() {
    let rounds = amount(300, 20_000) as u64;
    let seed = seed();
    println!("  {rounds} rounds, seed {seed}");
    let stores: Vec<u64> = (0..rounds / ROUNDS_A_STORE).collect();
    let outcomes = on_two_threads(&stores, |store| one_store(seed.wrapping_add(*store)));
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    let mut all = Tally::default();
    for tally in outcomes.iter().flatten() {
        all.kills += tally.kills;
        all.adopted += tally.adopted;
        all.rebuilt += tally.rebuilt;
        all.batches += tally.batches;
        all.slowest = all.slowest.max(tally.slowest);
    }
    let what = format!(
        "{rounds} rounds, {} kills; {} commits adopted, {} rebuilds, {} acknowledged batches found; the slowest reopening took {:?}",
        all.kills, all.adopted, all.rebuilt, all.batches, all.slowest
    );
    content_with(&failures, "killed at random times");
    did("loops::killed_at_random_times", &what, seed);
    assert!(all.batches > 0);
}

fn one_store(seed: u64) -> Result<Tally, String> {
    let scratch = Scratch::new();
    let mut random = Random(seed);
    let mut tally = Tally::default();
    for round in 0..ROUNDS_A_STORE {
        let result = one_round(&scratch, round, &mut random, &mut tally);
        if let Err(why) = result {
            return Err(format!("seed {seed}, round {round}: {why}; left in {}", scratch.keep().display()));
        }
    }
    Ok(tally)
}

fn one_round(scratch: &Scratch, round: u64, random: &mut Random, tally: &mut Tally) -> Result<(), String> {
    let (root, notes) = (scratch.root(), scratch.acks());
    let start = Instant::now();
    let mut children: Vec<(Duration, Child)> = Vec::new();
    for worker in 0..2 + random.below(3) {
        // Half of the rounds end soon after the start, where folders, files and leases are made.
        let most = if random.below(2) == 0 { 40 } else { 250 };
        let dies = Duration::from_micros(random.below(most * 1_000));
        children.push((dies, spawn("writer", &root, &notes, round << 8 | worker)?));
    }
    children.push((Duration::from_micros(random.below(200_000)), spawn("reader", &root, &notes, 0)?));
    children.sort_by_key(|(dies, _)| *dies);
    for (dies, child) in &mut children {
        pause(dies.saturating_sub(start.elapsed()));
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("a child ended before it was killed: {status}"));
        }
        child.kill().map_err(|error| error.to_string())?;
        wait(child)?;
        tally.kills += 1;
    }
    let acks = acks::read(&notes);
    if let Some(failed) = acks.iter().find(|ack| matches!(ack, Ack::Failed { .. })) {
        return Err(format!("nothing was to fail, but {failed:?}"));
    }
    let found = verify(&root, &acks)?;
    tally.adopted += found.report.adopted;
    tally.rebuilt += u64::from(found.report.rebuilt.is_some());
    tally.slowest = tally.slowest.max(found.reopened_in);
    if round + 1 == ROUNDS_A_STORE {
        tally.batches += acks.iter().filter(|ack| matches!(ack, Ack::Batch { .. })).count();
    }
    Ok(())
}

fn spawn(scenario: &str, root: &Path, acks: &Path, arg: u64) -> Result<Child, String> {
    child(scenario, root, acks, arg)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())
}

/// Two processes write; one is killed. While the other goes on, this process opens the dead one's session without
/// stealing, adopts what it left, and writes; the one that lives never fails.
pub fn a_survivor_takes_over() {
    let rounds = amount(15, 500) as u64;
    let seed = seed();
    println!("  {rounds} rounds, seed {seed}");
    let rounds: Vec<u64> = (0..rounds).collect();
    let outcomes = on_two_threads(&rounds, |round| {
        let scratch = Scratch::new();
        takes_over(&scratch, &mut Random(seed.wrapping_add(*round)))
            .map_err(|why| format!("seed {seed}, round {round}: {why}; left in {}", scratch.keep().display()))
    });
    let failures: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    content_with(&failures, "a session taken over");
    let written = outcomes.iter().flatten().sum::<usize>();
    let what = format!("{} rounds; {written} batches were written by the survivors meanwhile", rounds.len());
    did("loops::a_survivor_takes_over", &what, seed);
}

fn takes_over(scratch: &Scratch, random: &mut Random) -> Result<usize, String> {
    let (root, notes) = (scratch.root(), scratch.acks());
    let mut dies = spawn("writer", &root, &notes, 0)?;
    let mut lives = spawn("writer", &root, &notes, 1)?;
    let batches_of = |session: &str| {
        let of = id(session);
        acks::read(&notes).iter().filter(|ack| matches!(ack, Ack::Batch { session, .. } if *session == of)).count()
    };
    let start = Instant::now();
    while batches_of("writer-0") == 0 || batches_of("writer-1") == 0 {
        if start.elapsed() > Duration::from_secs(30) {
            return Err("the children do not begin".to_owned());
        }
        pause(Duration::from_millis(1));
    }
    pause(Duration::from_micros(random.below(60_000)));
    dies.kill().map_err(|error| error.to_string())?;
    wait(&mut dies)?;
    let store = Store::open(&root).map_err(|error| format!("the store does not open beside a writer: {error:?}"))?;
    let session = store
        .open_session(&id("writer-0"))
        .map_err(|error| format!("the dead writer's session cannot be taken over: {error:?}"))?;
    let before = batches_of("writer-1");
    for _ in 0..5 {
        session.add_annotation("taken/over", Some(b"by another")).map_err(|error| format!("{error:?}"))?;
    }
    sound(&root)?;
    drop(session);
    drop(store);
    let start = Instant::now();
    while batches_of("writer-1") <= before {
        if start.elapsed() > Duration::from_secs(30) {
            return Err("the survivor writes no more".to_owned());
        }
        pause(Duration::from_millis(1));
    }
    if let Some(status) = lives.try_wait().map_err(|error| error.to_string())? {
        return Err(format!("the survivor ended: {status}"));
    }
    lives.kill().map_err(|error| error.to_string())?;
    wait(&mut lives)?;
    let acks = acks::read(&notes);
    if let Some(failed) = acks.iter().find(|ack| matches!(ack, Ack::Failed { .. })) {
        return Err(format!("nothing was to fail, but {failed:?}"));
    }
    verify(&root, &acks)?;
    Ok(batches_of("writer-1"))
}

//! Power losses: the disks that one could leave behind at any step of a scenario, each opened and looked at.
//!
//! A child runs a scenario to its end while `strace` writes down what it does to files (`trace`); its notes are among
//! those calls, so that it is known at each step what had been acknowledged. From that a disk is kept as it was synced,
//! with what was only written (`volume`); after each step the power fails in many ways (`plans`): everything written was
//! kept, nothing, all but one, only one, writes torn between sectors, names with and without their files, by a strict
//! model and by one of ext4. Each such disk is laid out in memory, opened by the library as it is, and judged (`judge`).
//!
//! What fails is left as a folder, before it was opened, with a note of which step and which loss it was.

mod judge;
mod plans;
mod trace;
mod volume;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use self::judge::{Found, Known, judge, lay_out};
use self::plans::{Plan, plans};
use self::trace::{Op, Recording, record};
use self::volume::{State, Volume};
use super::acks::Ack;
use super::child::{SCENARIOS, Scenario, is_wanted};
use super::strace;
use super::template::Templates;
use super::tools::{Program, Random, Scratch, amount, content_with, did, seed};

/// Losses that are tried of all scenarios together in a run that is not long.
const MOST: usize = 40_000;
/// Stores opened at a time: an adoption waits a while for a writer who may be alive.
const OPENERS: usize = 6;
/// Scenarios whose payloads, or copies to be looked at, make each disk costly.
const COSTLY: [&str; 4] = ["parts", "backup", "archive", "restore"];
/// One disk in so many is judged in full, whatever it holds.
const IN_FULL: usize = 16;
/// A scenario with more failures than this is not looked at further.
const FAILURES: usize = 5;

/// What the losses of one scenario came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub steps: usize,
    /// Losses there are, and those that were tried.
    pub losses: usize,
    pub tried: usize,
    /// Disks that differ, with what was acknowledged.
    pub judged: usize,
    pub adopted: usize,
    pub rebuilt: usize,
    /// Those that were also checked deep, closed, opened again and written.
    pub in_full: usize,
    pub looked_for: usize,
    pub failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.steps += other.steps;
        self.losses += other.losses;
        self.tried += other.tried;
        self.judged += other.judged;
        self.adopted += other.adopted;
        self.rebuilt += other.rebuilt;
        self.in_full += other.in_full;
        self.looked_for += other.looked_for;
        self.failures.extend(other.failures);
    }
}

/// A disk to be judged.
struct Case {
    state: State,
    acks: Vec<Ack>,
    story: String,
    thorough: bool,
}

/// The power fails at each step of every scenario.
pub fn after_a_power_loss_at_any_step() {
    if strace::skip("states::after_a_power_loss_at_any_step") {
        return;
    }
    let (seed, start) = (seed(), Instant::now());
    let templates = Templates::new();
    println!("  seed {seed}");
    let mut all = Tally::default();
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)).collect();
    for scenario in &scenarios {
        let start = Instant::now();
        let most = std::env::var("HEADWATER_CRASH_LOSSES").ok().and_then(|text| text.parse().ok());
        let share = most.unwrap_or(amount(MOST, usize::MAX)) / scenarios.len();
        let budget = if COSTLY.contains(&scenario.name) { share / 5 } else { share };
        let tally = explore(&templates, &Program::whole(), scenario, budget, seed);
        println!(
            "  {:16} {:4} steps, {:6} of {:7} losses, {:6} disks that differ, {:5} in full; {:5} adopted, {:5} rebuilt; {:.1?}",
            scenario.name,
            tally.steps,
            tally.tried,
            tally.losses,
            tally.judged,
            tally.in_full,
            tally.adopted,
            tally.rebuilt,
            start.elapsed()
        );
        all.add(tally);
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let what = format!(
        "{} losses of {}, {} disks that differ, {} of them in full; {} acknowledged things looked for; {:.0} disks a minute",
        all.tried,
        all.losses,
        all.judged,
        all.in_full,
        all.looked_for,
        all.judged as f64 / minutes
    );
    content_with(&all.failures, "after a power loss");
    did("states::after_a_power_loss_at_any_step", &what, seed);
    assert!(all.judged * 3 > all.tried && (scenarios.len() < SCENARIOS.len() || all.adopted > 0 && all.rebuilt > 0));
}

/// Records one scenario, and tries so many of its power losses, evenly spread.
pub fn explore(templates: &Templates, program: &Program, scenario: &Scenario, budget: usize, seed: u64) -> Tally {
    let scratch = templates.copy(scenario.start);
    let recorded = record(program, scenario.name, &scratch, &templates.durable(scenario.start)).and_then(undisturbed);
    let recording = match recorded {
        Ok(recording) => recording,
        Err(why) => {
            return Tally { failures: vec![format!("{}: {why}", scenario.name)], ..Tally::default() };
        }
    };
    drop(scratch);
    let mut tally = Tally { steps: recording.steps.len(), failures: vouched_too_early(&recording), ..Tally::default() };
    tally.failures.extend(moved_away_unsynced(&recording));
    let more = amount(1, 40);
    tally.losses = each_loss(&recording, seed, more, |_, _, _| true);
    let share = (budget as f64 / tally.losses.max(1) as f64).min(1.0);
    let place = Scratch::new();
    let (known, found) = (Known::default(), Mutex::new(Vec::new()));
    let failed = AtomicUsize::new(0);
    let (sender, receiver) = sync_channel::<Case>(2 * OPENERS);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for opener in 0..OPENERS {
            let folder = place.path().join(opener.to_string());
            let (receiver, known, found, failed) = (&receiver, &known, &found, &failed);
            let keeps = program.sabotage.is_none();
            scope.spawn(move || open_all(receiver, &folder, known, found, failed, keeps));
        }
        let (tried, judged) = send_all(&recording, scenario, seed, more, share, &failed, &sender);
        (tally.tried, tally.judged) = (tried, judged);
        drop(sender);
    });
    for outcome in found.into_inner().unwrap() {
        match outcome {
            Ok(Found { adopted, rebuilt, in_full, looked_for }) => {
                tally.in_full += usize::from(in_full);
                tally.adopted += usize::from(adopted);
                tally.rebuilt += usize::from(rebuilt);
                tally.looked_for += looked_for;
            }
            Err(why) => tally.failures.push(why),
        }
    }
    tally
}

/// Nothing was in the way of the child, so that nothing may have failed.
fn undisturbed(recording: Recording) -> Result<Recording, String> {
    let mut acks = recording.steps.iter().filter_map(|step| if let Op::Ack(ack) = &step.op { Some(ack) } else { None });
    if let Some(failed) = acks.clone().find(|ack| matches!(ack, Ack::Failed { .. })) {
        return Err(format!("nothing was to fail, but {failed:?}"));
    }
    if acks.next_back() != Some(&Ack::Done) {
        return Err("the child ended early".to_owned());
    }
    Ok(recording)
}

/// A note says that the database is whole: no name that it depends on may still be lost then, or come back. (Its bytes
/// may: a WAL checkpoint that moved only part of the WAL does not sync them, and the WAL has them still.)
fn vouched_too_early(recording: &Recording) -> Vec<String> {
    let mut disk = Volume::new(recording);
    let mut early = Vec::new();
    for mark in recording.marks.iter().filter(|mark| mark.step > 0) {
        while disk.at < mark.step {
            disk.advance();
        }
        let unsynced = disk.names_pending.iter().filter(|step| match &recording.steps[**step].op {
            Op::Make { node, name, .. } | Op::Remove { node, name, .. } => {
                *node == mark.node || name == "store.sqlite-journal"
            }
            Op::Move { node, .. } => *node == mark.node,
            _ => false,
        });
        early.extend(unsynced.map(|step| format!("vouched for before it was synced: {}", told(recording, *step))));
    }
    early
}

/// What is moved to another folder must not be gone from both: the folder it goes to is synced before the one it came from. (The
/// models take a rename as one thing; not every file system does.)
fn moved_away_unsynced(recording: &Recording) -> Vec<String> {
    let mut found = Vec::new();
    for (at, step) in recording.steps.iter().enumerate() {
        let Op::Move { from, to, .. } = &step.op else { continue };
        let synced = recording.steps[at..].iter().find_map(|step| match step.op {
            Op::Sync { node, .. } if node == from.0 || node == to.0 => Some(node),
            _ => None,
        });
        if from.0 != to.0 && synced != Some(to.0) {
            found.push(format!("moved to a folder that was not synced first: {}", told(recording, at)));
        }
    }
    found
}

/// Goes through the steps and the losses after each, the same in each pass. `each` is given the disk, how many
/// acknowledgements there had been, and the loss, and says whether to go on. Returns how many there are.
fn each_loss(
    recording: &Recording,
    seed: u64,
    more: usize,
    mut each: impl FnMut(&mut Volume<'_>, usize, Plan) -> bool,
) -> usize {
    let mut disk = Volume::new(recording);
    let (mut acks, mut losses) = (0, 0);
    for (at, step) in recording.steps.iter().enumerate() {
        disk.advance();
        acks += usize::from(matches!(step.op, Op::Ack(_)));
        let mut random = Random(seed ^ (at as u64) << 32);
        for plan in plans(&disk, matches!(step.op, Op::Write { .. }), &mut random, more) {
            losses += 1;
            if !each(&mut disk, acks, plan) {
                return losses;
            }
        }
    }
    losses
}

fn send_all(
    recording: &Recording,
    scenario: &Scenario,
    seed: u64,
    more: usize,
    share: f64,
    failed: &AtomicUsize,
    sender: &SyncSender<Case>,
) -> (usize, usize) {
    let acknowledged: Vec<&Ack> =
        recording.steps.iter().filter_map(|step| if let Op::Ack(ack) = &step.op { Some(ack) } else { None }).collect();
    let mut seen: HashSet<([u8; 32], usize)> = HashSet::new();
    let mut choice = Random(seed);
    let (mut tried, mut judged) = (0, 0);
    each_loss(recording, seed, more, |disk, acks, plan| {
        if choice.next() as f64 / u64::MAX as f64 >= share {
            return true;
        }
        tried += 1;
        let state = disk.state(&plan);
        if !seen.insert((state.key, acks)) {
            return true;
        }
        judged += 1;
        let all = recording.acks.iter().chain(acknowledged[..acks].iter().copied());
        let story = format!("{}, after step {} ({}): {plan:?}", scenario.name, disk.at, told(recording, disk.at - 1));
        let case = Case { state, acks: all.cloned().collect(), story, thorough: judged % IN_FULL == 0 };
        failed.load(Ordering::Relaxed) < FAILURES && sender.send(case).is_ok()
    });
    (tried, judged)
}

/// A step in words, without its bytes.
fn told(recording: &Recording, step: usize) -> String {
    match &recording.steps[step].op {
        Op::Write { node, at, bytes, .. } => format!("{} bytes to file {node} at {at}", bytes.len()),
        op => format!("{op:?}"),
    }
}

fn open_all(
    receiver: &Mutex<Receiver<Case>>,
    folder: &Path,
    known: &Known,
    found: &Mutex<Vec<Result<Found, String>>>,
    failed: &AtomicUsize,
    keeps: bool,
) {
    loop {
        let next = receiver.lock().unwrap().recv();
        let Ok(case) = next else { return };
        let laid_out = lay_out(&case.state, folder);
        let outcome = laid_out.map_err(|error| error.to_string()).and_then(|()| {
            let judged = catch_unwind(AssertUnwindSafe(|| judge(folder, &case.acks, known, case.thorough)));
            judged.unwrap_or_else(|_| Err("a panic".to_owned()))
        });
        let _ = std::fs::remove_dir_all(folder);
        let outcome = outcome.map_err(|why| {
            failed.fetch_add(1, Ordering::Relaxed);
            let left = if keeps { keep(&case, &why) } else { "nothing: it was to fail".to_owned() };
            format!("{}\n    {why}\n    left in {left}", case.story)
        });
        found.lock().unwrap().push(outcome);
    }
}

/// Lays the disk out again, untouched, for whoever looks into the failure.
fn keep(case: &Case, why: &str) -> String {
    let folder = Scratch::new().keep();
    let laid_out = lay_out(&case.state, &folder);
    let acks: Vec<String> = case.acks.iter().map(|ack| format!("{ack:?}")).collect();
    let _ = std::fs::write(folder.join("story"), format!("{}\n{why}\n{}\n", case.story, acks.join("\n")));
    match laid_out {
        Ok(()) => folder.display().to_string(),
        Err(error) => format!("{} ({error})", folder.display()),
    }
}

//! What a child does: one scenario, each on a store that `template` prepared.

use std::io::Write;
use std::process::ExitCode;

use headwater::store::{Options, Session, Store};

use super::acks::{Ack, Acks};
use super::steps::{Failure, Work, id};
use super::template::Start;
use super::tools::Random;

/// A scenario, and the store it begins with.
pub struct Scenario {
    pub name: &'static str,
    pub start: Start,
    run: fn(&Work) -> Result<(), Failure>,
}

/// The scenarios whose system calls are counted: the same calls in each run, but for what threads do in another order.
pub const SCENARIOS: [Scenario; 18] = [
    Scenario { name: "first", start: Start::Nothing, run: first },
    Scenario { name: "one-by-one", start: Start::Sealed, run: one_by_one },
    Scenario { name: "turns", start: Start::Sealed, run: turns },
    Scenario { name: "branches", start: Start::Sealed, run: branches },
    Scenario { name: "threads", start: Start::Sealed, run: threads },
    Scenario { name: "roll", start: Start::Sealed, run: roll },
    Scenario { name: "parts", start: Start::Sealed, run: parts },
    Scenario { name: "wal-background", start: Start::Sealed, run: wal_background },
    Scenario { name: "wal-inline", start: Start::Sealed, run: wal_inline },
    Scenario { name: "adoption", start: Start::LeftByTheDead, run: on_top },
    Scenario { name: "adoption-torn", start: Start::TornByTheDead, run: on_top },
    Scenario { name: "adoption-acknowledged", start: Start::RowsBehind, run: on_top },
    Scenario { name: "import", start: Start::Sealed, run: import },
    Scenario { name: "backup", start: Start::Sealed, run: backup },
    Scenario { name: "archive", start: Start::Sealed, run: archive },
    Scenario { name: "restore", start: Start::Sealed, run: restore },
    Scenario { name: "rebuild", start: Start::NoRows, run: on_top },
    Scenario { name: "distrust", start: Start::NoMark, run: on_top },
];

/// Whether a scenario is to be tried: `HEADWATER_CRASH_SCENARIO` names the only one.
pub fn is_wanted(name: &str) -> bool {
    std::env::var("HEADWATER_CRASH_SCENARIO").map_or(true, |only| only == name)
}

/// Those that other tests use: they go on until they are killed, or for so many commits.
const OTHERS: [Scenario; 6] = [
    Scenario { name: "writer", start: Start::Nothing, run: writer },
    Scenario { name: "reader", start: Start::Nothing, run: reader },
    Scenario { name: "hundred", start: Start::Nothing, run: |work| timed_commits(work, 100) },
    Scenario { name: "five-hundred", start: Start::Nothing, run: |work| timed_commits(work, 500) },
    Scenario { name: "two-seconds", start: Start::Nothing, run: two_seconds },
    Scenario { name: "until-full", start: Start::Nothing, run: until_full },
];

/// Runs the scenario of that name in this process. A step that failed was noted, and is no failure of the child's.
pub fn run(name: &str, args: &[String]) -> ExitCode {
    let [root, acks, arg] = args else { panic!("a child takes a store, a file for its notes, and a number") };
    let work = Work { root: root.into(), acks: Acks::open(acks.as_ref()), arg: arg.parse().unwrap() };
    let scenario = SCENARIOS.iter().chain(&OTHERS).find(|scenario| scenario.name == name).unwrap();
    match (scenario.run)(&work) {
        Ok(()) => {
            work.acks.note(&Ack::Done);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // Standard error may be what fails.
            let _ = writeln!(std::io::stderr(), "{}", failure.text);
            ExitCode::SUCCESS
        }
    }
}

fn small() -> Options {
    Options { segment_size: 64 << 10, ..Options::default() }
}

fn first(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let session = work.create(&store, "main")?;
    work.batch(&session, "first", 2, 300)?;
    work.seal(&session)?;
    drop(session);
    work.close(store)
}

fn one_by_one(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let session = work.resume(&store, "main", None)?;
    for n in 0..6 {
        work.batch(&session, &format!("one-{n}"), 3, 700 + 50 * n)?;
    }
    work.seal(&session)?;
    drop(session);
    work.payload(&store, "small", 900)?;
    work.alias(&store, "another-name", "main")?;
    work.close(store)
}

fn turns(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let session = work.resume(&store, "other", None)?;
    work.turn(&session, "third")?;
    work.turn(&session, "fourth")?;
    work.compact(&session, 2)?;
    work.batch(&session, "open", 1, 60)?;
    // Not sealed, and a turn left running: the next writer closes it.
    let _ = work.committed(&session, "fifth", session.begin_turn("fifth"))?;
    work.events(&session);
    drop(session);
    work.close(store)
}

fn branches(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let heads = store.heads(&id("main")).map_err(Failure::other)?;
    let old = heads[1].head;
    let fork = work.fork(&store, &old, "fork")?;
    work.batch(&fork, "forked", 2, 400)?;
    let head = work.seal(&fork)?;
    let again = work.fork(&store, &head, "fork-of-fork")?;
    work.turn(&again, "deeper")?;
    let main = work.resume(&store, "main", Some(&old))?;
    work.batch(&main, "restored", 2, 400)?;
    work.seal(&main)?;
    drop((fork, again, main));
    work.close(store)
}

/// Four threads, each its own session: their commits share groups.
fn threads(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let results: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let session = work.create(store, &format!("thread-{thread}"))?;
                    for n in 0..5 {
                        work.batch(&session, &format!("t{thread}-{n}"), 2, 500)?;
                    }
                    // Submitted without waiting: the attendant writes them.
                    let (first, ticket) = session
                        .submit(|batch| batch.add_annotation("submitted", None, None))
                        .map_err(Failure::other)?;
                    let waited = ticket.map_or(Ok(()), |ticket| ticket.wait().map(|_| ()));
                    work.committed(&session, "submitted", waited)?;
                    work.acks.note(&Ack::Events { session: session.id().clone(), events: first.0 });
                    work.seal(&session)?;
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    work.close(store)
}

/// Payloads that do not compress, in segments that hold two of them.
fn roll(work: &Work) -> Result<(), Failure> {
    let store = work.open(small())?;
    let session = work.resume(&store, "main", None)?;
    for n in 0..7 {
        work.batch(&session, &format!("roll-{n}"), 2, 26 << 10)?;
    }
    work.seal(&session)?;
    drop(session);
    work.close(store)
}

/// A payload of two parts by itself, then one inside a batch.
fn parts(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    work.payload(&store, "large", (4 << 20) + 5_000)?;
    let session = work.resume(&store, "main", None)?;
    work.batch(&session, "large", 1, (4 << 20) + 9)?;
    work.seal(&session)?;
    drop(session);
    work.close(store)
}

/// Enough groups for checkpoints of the thread that makes them while others write.
fn wal_background(work: &Work) -> Result<(), Failure> {
    many_groups(work, Options { wal_size: 64 << 10, ..small() })
}

/// A WAL that is always too large, so that the writer checkpoints itself.
fn wal_inline(work: &Work) -> Result<(), Failure> {
    many_groups(work, Options { wal_size: 1 << 10, ..small() })
}

fn many_groups(work: &Work, options: Options) -> Result<(), Failure> {
    let store = work.open(options)?;
    let session = work.resume(&store, "main", None)?;
    for n in 0..36 {
        work.batch(&session, &format!("group-{n}"), 1, 1_500)?;
    }
    work.seal(&session)?;
    drop(session);
    work.close(store)
}

/// Opens what others left, writes on top of it.
fn on_top(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let session = work.resume(&store, "main", None)?;
    work.batch(&session, "on-top", 2, 500)?;
    work.seal(&session)?;
    drop(session);
    work.close(store)
}

/// A source of another program's, imported in two steps: as it was, and as it is later.
fn import(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let source: &[u8] = include_bytes!("../fixtures/pi-v1.jsonl");
    let half =
        source.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(9).map_or(source.len(), |(at, _)| at + 1);
    for (end, name) in [(half, "import-half"), (source.len(), "import-whole")] {
        let file = work.root.with_file_name("source.jsonl");
        // A file of the child's own: what fails here is no failure of the store.
        work.noted("source", std::fs::write(&file, &source[..end]), |error| match error.kind() {
            std::io::ErrorKind::StorageFull => "full",
            _ => "io",
        })?;
        let imported = work.imported(&store, name, &file)?;
        work.acks.note(&Ack::Events { session: imported.session, events: imported.events });
    }
    work.close(store)
}

/// A backup brought further twice, once while others write: the log it has grows in its last segment, then by a segment.
fn backup(work: &Work) -> Result<(), Failure> {
    let store = work.open(small())?;
    let session = work.resume(&store, "main", None)?;
    work.backup("backup")?;
    work.batch(&session, "between", 2, 24 << 10)?;
    beside_a_writer(work, &session, || work.backup("backup"))?;
    work.seal(&session)?;
    drop(session);
    work.close(store)
}

/// A backup in one file, while others write.
fn archive(work: &Work) -> Result<(), Failure> {
    let store = work.open(small())?;
    let session = work.resume(&store, "main", None)?;
    beside_a_writer(work, &session, || work.backup("backup.tar"))?;
    drop(session);
    work.close(store)
}

/// Stores made from a backup: from a folder, from a file.
fn restore(work: &Work) -> Result<(), Failure> {
    let store = work.open(small())?;
    let session = work.resume(&store, "main", None)?;
    work.batch(&session, "before", 2, 24 << 10)?;
    drop(session);
    work.close(store)?;
    work.backup("backup")?;
    work.restored("backup", "restored")?;
    work.backup("backup.tar")?;
    work.restored("backup.tar", "restored-again")
}

/// Commits from another thread while `other` runs.
fn beside_a_writer(work: &Work, session: &Session, other: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..4).try_for_each(|n| work.batch(session, &format!("beside-{n}"), 2, 16 << 10)));
        let done = other();
        writer.join().unwrap().and(done)
    })
}

fn session_of(work: &Work, store: &Store, name: &str) -> Result<Session, Failure> {
    if store.exists(name).map_err(Failure::other)? { work.resume(store, name, None) } else { work.create(store, name) }
}

/// Writes its own session for ever, now and then closing and opening everything.
fn writer(work: &Work) -> Result<(), Failure> {
    let (worker, round) = (work.arg & 0xff, work.arg >> 8);
    let name = format!("writer-{worker}");
    let mut random = Random(work.arg);
    let mut n = 0_u64;
    loop {
        let options = Options { wal_size: 96 << 10, segment_size: 128 << 10, ..Options::default() };
        let store = work.open(options)?;
        let session = session_of(work, &store, &name)?;
        for _ in 0..8 + random.below(40) {
            n += 1;
            let len = 100 + random.below(4_000) as usize;
            work.batch(&session, &format!("{round}-{worker}-{n}"), 1 + random.below(4), len)?;
            if random.below(6) == 0 {
                work.seal(&session)?;
            }
        }
        drop(session);
        work.close(store)?;
    }
}

/// Reads whatever is there, for ever: each answer is whole.
fn reader(work: &Work) -> Result<(), Failure> {
    let read = |error: headwater::store::ReadError| {
        work.acks.note(&Ack::Failed { what: "read".to_owned(), kind: format!("{error:?}") });
        Failure::other(error)
    };
    loop {
        let store = work.open(Options::default())?;
        for _ in 0..20 {
            for info in store.sessions().map_err(read)? {
                let events = store.events(&info.session).map_err(read)?;
                let gapless = events.iter().zip(1..).all(|(event, number)| event.number.0 == number);
                assert!(gapless && events.len() as u64 >= info.events, "{} reads with a gap", info.session);
                store.view(&info.session).map_err(read)?;
            }
        }
        drop(store);
    }
}

/// So many commits of one's own session, each timed.
fn timed_commits(work: &Work, commits: u64) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let session = work.create(&store, &format!("process-{}", work.arg))?;
    for n in 0..commits {
        timed(work, &session, n)?;
    }
    drop(session);
    work.close(store)
}

fn timed(work: &Work, session: &Session, n: u64) -> Result<(), Failure> {
    let start = std::time::Instant::now();
    work.batch(session, &format!("p{}-{n}", work.arg), 1, 300)?;
    let micros = start.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
    work.acks.note(&Ack::Took { micros });
    Ok(())
}

/// As many commits as fit into two seconds.
fn two_seconds(work: &Work) -> Result<(), Failure> {
    let store = work.open(Options::default())?;
    let session = work.create(&store, &format!("process-{}", work.arg))?;
    let start = std::time::Instant::now();
    for n in 0.. {
        if start.elapsed().as_secs() >= 2 {
            break;
        }
        timed(work, &session, n)?;
    }
    drop(session);
    work.close(store)
}

/// Writes until the disk is full. What was written can still be read then, by the same handle; and if the error says
/// that nothing was changed, the same commit works once there is space.
fn until_full(work: &Work) -> Result<(), Failure> {
    let store = work.open(small())?;
    let session = session_of(work, &store, "main")?;
    for n in 0_u64.. {
        let name = format!("fill-{n}");
        let Err(failure) = work.batch(&session, &name, 2, 3_000) else { continue };
        let events = store.events(session.id());
        assert!(events.is_ok_and(|events| events.len() as u64 >= 3 * n), "a full disk cannot be read");
        if failure.kind != "full" {
            return Err(failure);
        }
        std::fs::remove_file(work.root.with_file_name("ballast")).unwrap();
        work.batch(&session, &name, 2, 3_000).expect("there is space, and the same commit fails again");
        work.seal(&session).expect("there is space, and a head cannot be sealed");
        break;
    }
    drop(session);
    work.close(store)
}

//! Copies of a live store: each opens to a correct store that holds all that was acknowledged before the copy began.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use headwater::care::{self, Mode};
use headwater::model::{EventNumber, Role};
use headwater::store::{OpenError, Options, Store};

use super::repair::{Sample, events};
use super::tools::{named, note};

const ROUNDS: u64 = 30;

/// What makes a store, but for its locks.
const ALL: [&str; 5] = ["blobs", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "mark"];

fn copy(from: &Path, to: &Path, what: &[&str]) {
    std::fs::create_dir(to).unwrap();
    for name in what {
        // A file may vanish while it is copied; only what stays must be whole.
        let _ = Command::new("cp").arg("-r").arg(from.join(name)).arg(to).output().unwrap();
    }
    assert!(to.join("blobs").is_dir());
}

fn opens(root: &PathBuf, acknowledged: u64) {
    let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
    let id = "demo".parse().unwrap();
    let events = store.events(&id).unwrap();
    assert!(events.len() as u64 >= acknowledged, "{} of {acknowledged}: {:?}", events.len(), store.report());
    assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
    assert_eq!(store.event_view(&id).unwrap().rows, Store::fold(&events));
    for entry in store.event_view(&id).unwrap().rows.messages {
        store.blobs().get(&entry.row.content).unwrap();
    }
    store.close().unwrap();
    let report = care::check(root, Mode::Deep).unwrap();
    assert!(report.issues.is_empty(), "{:?}", report.issues);
}

#[test]
fn a_copy_of_a_live_store_holds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    // Small segments and a small WAL: rolls and checkpoints happen under the copying.
    let options = Options { segment_size: 256 << 10, wal_size: 64 << 10, ..Options::default() };
    let store = Store::open_with(folder.path().join("store"), options).unwrap();
    let session = named(&store, "demo");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(3));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                session.add_message(Role::User, format!("message {n} {}", "x".repeat(n % 900))).commit().unwrap();
                if n % 20 == 0 {
                    session.seal().unwrap();
                }
                acknowledged.store(session.counters().event, Ordering::SeqCst);
                n += 1;
            }
        });
        for round in 0..ROUNDS {
            let before = acknowledged.load(Ordering::SeqCst);
            let to = folder.path().join(format!("copy-{round}"));
            // In any order, since each takes its time, and checkpoints go on between.
            match round % 6 {
                0 => copy(store.root(), &to, &ALL),
                1 => copy(store.root(), &to, &["blobs"]),
                2 => copy(store.root(), &to, &["store.sqlite", "blobs", "mark"]),
                3 => copy(store.root(), &to, &["store.sqlite-wal", "mark", "store.sqlite", "blobs"]),
                4 => copy(store.root(), &to, &["store.sqlite", "blobs"]),
                _ => {
                    copy(store.root(), &to, &["mark", "store.sqlite", "store.sqlite-shm", "store.sqlite-wal", "blobs"])
                }
            }
            opens(&to, before);
            std::fs::remove_dir_all(&to).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        let written = acknowledged.load(Ordering::SeqCst);
        assert!(
            written > 3 + ROUNDS && headwater::segment::list(&store.root().join("blobs")).unwrap().len() > 1,
            "{written}"
        );
    });
}

fn every_file(root: &Path) -> Vec<String> {
    std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Of a closed store any copy that has `blobs/` is the store; without it the copy says so.
#[test]
fn a_copy_of_a_closed_store_is_the_store_or_says_what_is_missing() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let all = every_file(&sample.root);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for (n, what) in
        [&all[..], &["blobs"], &["store.sqlite", "blobs"], &["blobs", "store.sqlite", "mark"]].iter().enumerate()
    {
        let to = folder.path().join(n.to_string());
        copy(&sample.root, &to, what);
        assert_eq!(events(&to), sample.events, "{what:?}");
        assert_eq!(care::check(&to, Mode::Deep).unwrap().issues, []);
    }
    // The rows alone: what they refer to is not there.
    let to = folder.path().join("rows");
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(sample.root.join("store.sqlite"), to.join("store.sqlite")).unwrap();
    let told: Vec<_> = care::check(&to, Mode::Deep).unwrap().issues.into_iter().map(|issue| issue.code).collect();
    assert!(
        told.contains(&"segment-missing") || told.contains(&"log-unreadable") || told.contains(&"log-short"),
        "{told:?}"
    );
    // A segment is missing at the end, in the middle.
    let numbers = headwater::segment::list(&sample.root.join("blobs")).unwrap();
    for number in [numbers[numbers.len() / 2], numbers[numbers.len() - 1]] {
        let to = folder.path().join(format!("without-{number}"));
        copy(&sample.root, &to, &all);
        note(&to);
        std::fs::remove_file(headwater::segment::segment_path(&to.join("blobs"), number)).unwrap();
        let told: Vec<_> = care::check(&to, Mode::Quick).unwrap().issues.into_iter().map(|issue| issue.code).collect();
        assert!(told.contains(&"segment-missing"), "{number}: {told:?}");
    }
}

/// Of a store in use the WAL is a part: a copy without it, or with that of another store or of another time, is never taken for
/// the store. Where nobody can tell by the note that the main file is another one, the log does.
#[test]
fn a_wal_that_is_missing_or_anothers_changes_nothing_silently() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let store = Store::open(folder.path().join(name)).unwrap();
        let session = named(&store, "demo");
        for n in 0..60 {
            session.add_message(Role::User, format!("{name} {n}")).commit().unwrap();
        }
        session.seal().unwrap();
        (store, session)
    };
    let ((store, session), (other, _others)) = (make("store"), make("other"));
    let early = folder.path().join("early.wal");
    std::fs::copy(store.root().join("store.sqlite-wal"), &early).unwrap();
    let acknowledged = session.counters().event;
    for noted in [false, true] {
        let fresh = |name: &str| {
            let to = folder.path().join(format!("{name}-{noted}"));
            copy(store.root(), &to, &["blobs", "store.sqlite", "store.sqlite-wal"]);
            to
        };
        let noted = |root: &Path| {
            if noted {
                note(root);
            }
        };
        let without = fresh("without");
        std::fs::remove_file(without.join("store.sqlite-wal")).unwrap();
        noted(&without);
        opens(&without, acknowledged);
        let foreign = fresh("foreign");
        std::fs::copy(other.root().join("store.sqlite-wal"), foreign.join("store.sqlite-wal")).unwrap();
        noted(&foreign);
        let options = Options { create: false, patience: Duration::from_millis(50), ..Options::default() };
        match Store::open_with(&foreign, options) {
            Ok(opened) => {
                opened.close().unwrap();
                opens(&foreign, acknowledged);
            }
            Err(OpenError::Damaged { .. }) => {
                assert!(!care::check(&foreign, Mode::Deep).unwrap().issues.is_empty());
                care::repair(&foreign).unwrap();
                opens(&foreign, acknowledged);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    // The main file of now, its WAL of before.
    drop(session);
    store.close().unwrap();
    let root = folder.path().join("store");
    let stale = folder.path().join("stale");
    copy(&root, &stale, &["blobs", "store.sqlite"]);
    std::fs::copy(&early, stale.join("store.sqlite-wal")).unwrap();
    opens(&stale, acknowledged);
}

/// The WAL of a store as it was before a checkpoint, put beside what the checkpoint made of the database: its pages would be old ones
/// among new ones. Nothing but what they say tells it, since the main file is the one that was noted.
#[test]
fn a_wal_of_an_earlier_time_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root).unwrap();
    let session = named(&store, "demo");
    let (wal, early) = (root.join("store.sqlite-wal"), folder.path().join("early.wal"));
    for n in 0..60 {
        session.add_message(Role::User, format!("message {n}")).commit().unwrap();
        if n == 20 {
            std::fs::copy(&wal, &early).unwrap();
        }
    }
    session.seal().unwrap();
    let acknowledged = session.counters().event;
    drop(session);
    store.close().unwrap();
    let before = std::fs::read(root.join("store.sqlite")).unwrap();
    std::fs::copy(&early, &wal).unwrap();
    let told: Vec<_> = care::check(&root, Mode::Quick).unwrap().issues.into_iter().map(|issue| issue.code).collect();
    assert!(told.contains(&"row-differs"), "{told:?}");
    std::fs::remove_file(root.join("store.sqlite-shm")).unwrap();
    let store = Store::open(&root).unwrap();
    let (why, _) = store.report().rebuilt.clone().expect("the rows are made from the log");
    assert!(why.contains("WAL"), "{why}");
    store.close().unwrap();
    assert_eq!(std::fs::read(root.join("set-aside/1/store.sqlite")).unwrap(), before, "nothing was moved into it");
    opens(&root, acknowledged);
}

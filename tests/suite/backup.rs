//! Backups while others write, brought further, restored, refused.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use headwater::care::{self, BackupError, Mode};
use headwater::model::{EventNumber, Role};
use headwater::store::{Options, Store};

use super::repair::{Sample, events, files};
use super::tools::named;

fn opens_at_once(root: &Path) -> Store {
    let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
    assert_eq!((store.report().rebuilt.clone(), store.report().notes.clone()), (None, Vec::new()));
    store
}

/// While one thread writes, backups go to one folder, each further than the last, and to files: each holds at least what was
/// acknowledged before it began, opens at once, and passes a deep check.
#[test]
fn a_live_backup_holds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 128 << 10, wal_size: 64 << 10, ..Options::default() };
    let store = Store::open_with(folder.path().join("store"), options).unwrap();
    let session = named(&store, "demo");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                session.add_message(Role::User, format!("message {n} {}", "x".repeat(n % 700))).commit().unwrap();
                acknowledged.store(session.counters().event, Ordering::SeqCst);
                n += 1;
            }
        });
        let to = folder.path().join("backup");
        for round in 0..6 {
            let before = acknowledged.load(Ordering::SeqCst);
            let (to, target) = match round % 3 {
                2 => {
                    let file = folder.path().join(format!("backup-{round}.tar"));
                    care::backup(store.root(), &file).unwrap();
                    (file, folder.path().join(format!("restored-{round}")))
                }
                _ => {
                    let report = care::backup(store.root(), &to).unwrap();
                    assert!(round == 0 || report.copied < report.bytes, "only what grew: {report:?}");
                    (to.clone(), folder.path().join(format!("restored-{round}")))
                }
            };
            care::restore(&to, &target).unwrap();
            let copy = opens_at_once(&target);
            let events = copy.events(session.id()).unwrap();
            assert!(events.len() as u64 >= before, "{} of {before}", events.len());
            assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
            copy.close().unwrap();
            assert_eq!(care::check(&target, Mode::Deep).unwrap().issues, []);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(acknowledged.load(Ordering::SeqCst) > 30, "nobody wrote meanwhile");
    });
}

#[test]
fn a_backup_is_a_store_and_leaves_no_lease_behind() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sample.root).unwrap();
    let held = store.open_session(&"demo".parse().unwrap()).unwrap();
    let to = folder.path().join("backup");
    care::backup(&sample.root, &to).unwrap();
    let again = care::backup(&sample.root, &to).unwrap();
    assert_eq!(again.copied, 0);
    let check = care::check(&to, Mode::Deep).unwrap();
    assert_eq!((check.issues, check.trusted), (Vec::new(), true));
    let copy = opens_at_once(&to);
    copy.open_session(&"demo".parse().unwrap()).unwrap();
    copy.close().unwrap();
    drop(held);
    store.close().unwrap();
    let target = folder.path().join("restored");
    care::restore(&to, &target).unwrap();
    assert_eq!(events(&target), sample.events);
}

/// What is in the way is never overwritten, what is damaged is not passed on as good, and what fails leaves nothing.
#[test]
fn what_cannot_be_done_is_refused_and_leaves_nothing() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("mine")).unwrap();
    fs::write(at("mine/letter"), "dear").unwrap();
    assert!(matches!(care::backup(&sample.root, &at("mine")), Err(BackupError::Exists { .. })));
    assert!(matches!(care::backup(&at("none"), &at("b")), Err(BackupError::NotFound { .. })));
    assert!(matches!(care::restore(&at("none"), &at("b")), Err(BackupError::NotFound { .. })));
    care::backup(&sample.root, &at("backup")).unwrap();
    care::backup(&sample.root, &at("b.tar")).unwrap();
    assert!(matches!(care::backup(&sample.root, &at("b.tar")), Err(BackupError::Exists { .. })));
    assert!(matches!(care::restore(&at("backup"), &at("mine")), Err(BackupError::Exists { .. })));
    // Of another store.
    let other = Sample::new();
    let before = files(&at("backup"));
    assert!(matches!(care::backup(&other.root, &at("backup")), Err(BackupError::Diverged { .. })));
    assert!(files(&at("backup")) == before);
    // A byte of the archive, of the store.
    let mut bytes = fs::read(at("b.tar")).unwrap();
    let segment = bytes.windows(6).position(|window| window == b"\x89HWSEG").unwrap();
    bytes[segment + 100] ^= 1;
    fs::write(at("bad.tar"), bytes).unwrap();
    assert!(matches!(care::restore(&at("bad.tar"), &at("restored")), Err(BackupError::Unverified(_))));
    let mut bytes = fs::read(sample.segment(1)).unwrap();
    bytes[600] ^= 1;
    fs::write(sample.segment(1), bytes).unwrap();
    for later in ["later", "later.tar"] {
        assert!(matches!(care::backup(&sample.root, &at(later)), Err(BackupError::Unverified(_))), "{later}");
    }
    assert!(matches!(care::restore(&sample.root, &at("restored")), Err(BackupError::Unverified(_))));
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["b.tar", "backup", "bad.tar", "mine"]);
    assert_eq!(fs::read(at("mine/letter")).unwrap(), b"dear");
}

fn say(root: &Path, text: &str) {
    let store = Store::open(root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    session.add_message(Role::User, text).commit().unwrap();
    drop(session);
    store.close().unwrap();
}

/// A damaged byte of the store, in any of its segments, never reaches a backup that is good, nor does it change anything else of it.
#[test]
fn a_damaged_store_leaves_an_earlier_backup_as_it_was() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    care::backup(&sample.root, &to).unwrap();
    let before = files(&to);
    say(&sample.root, "more");
    for number in 1..=2 {
        let good = fs::read(sample.segment(number)).unwrap();
        let mut bytes = good.clone();
        bytes[600] ^= 1;
        fs::write(sample.segment(number), bytes).unwrap();
        let error = care::backup(&sample.root, &to).unwrap_err();
        assert!(matches!(error, BackupError::Unverified(_)), "{error}");
        assert!(files(&to) == before, "segment {number}");
        fs::write(sample.segment(number), good).unwrap();
    }
    assert!(care::backup(&sample.root, &to).unwrap().copied > 0);
    assert_eq!(care::check(&to, Mode::Deep).unwrap().issues, []);
    assert_eq!(events(&to), events(&sample.root));
}

/// An older state of the store, another history of it, and what was recorded in the backup itself: the backup holds what the
/// store has not, and stays as it is.
#[test]
fn a_backup_that_holds_more_than_the_store_is_never_replaced() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    care::backup(&sample.root, &at("old")).unwrap();
    care::restore(&at("old"), &at("other")).unwrap();
    care::restore(&at("old"), &at("inside")).unwrap();
    say(&sample.root, "newer");
    say(&at("other"), "another history");
    say(&at("other"), "longer than the first");
    say(&at("inside"), "recorded in the backup");
    care::backup(&sample.root, &at("new")).unwrap();
    // The rows alone do not decide: without them the log says the same.
    for (from, to) in [("old", "new"), ("other", "new"), ("old", "inside"), ("new", "inside"), ("new", "other")] {
        for rows in [true, false] {
            let (from, to) = (at(from), at(to));
            let (mark, kept) = (from.join("mark"), from.join("mark.kept"));
            if !rows {
                fs::rename(&mark, &kept).unwrap();
            }
            let before = files(&to);
            let error = care::backup(&from, &to).unwrap_err();
            assert!(matches!(error, BackupError::Diverged { .. }), "{error}");
            assert!(files(&to) == before, "{}", to.display());
            if !rows {
                fs::rename(&kept, &mark).unwrap();
            }
        }
    }
    // What is further on the same chain is let on.
    care::backup(&at("new"), &at("old")).unwrap();
    assert_eq!(events(&at("old")), events(&sample.root));
}

/// A repair wrote segments anew: the backup of before is refused, and is as it was to the last byte.
#[test]
fn after_a_repair_the_backup_of_before_is_left_alone() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    care::backup(&sample.root, &to).unwrap();
    let before = files(&to);
    let mut bytes = fs::read(sample.segment(1)).unwrap();
    bytes[600] ^= 1;
    fs::write(sample.segment(1), bytes).unwrap();
    sample.repair();
    let error = care::backup(&sample.root, &to).unwrap_err();
    assert!(matches!(error, BackupError::Diverged { .. }), "{error}");
    assert!(files(&to) == before);
    care::backup(&sample.root, &folder.path().join("another")).unwrap();
}

/// Where no backup belongs: in the store itself, or under the name of an archive that is none.
#[test]
fn a_place_that_cannot_be_meant_is_refused() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let before = files(&sample.root);
    let mut places = vec![sample.root.clone(), sample.root.join("backup"), sample.root.join("blobs/b.tar")];
    places.extend(["b.tgz", "b.tar.gz", "b.zip", "b.TAR"].map(|name| folder.path().join(name)));
    for place in places {
        let error = care::backup(&sample.root, &place).unwrap_err();
        assert!(matches!(error, BackupError::Destination { .. }), "{}: {error}", place.display());
    }
    assert!(files(&sample.root) == before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

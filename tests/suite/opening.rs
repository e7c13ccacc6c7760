//! Openings that meet what a process left which died at a bad moment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use headwater::care::{self, Mode};
use headwater::journal::{Lines, TxHeader};
use headwater::model::{Body, Digest, Event, EventNumber, Role, SessionStatus, Status, Timestamp, Tx};
use headwater::segment::{self, FrameRef, Kind, Log, LogOptions, Position, SegmentReader};
use headwater::store::{CommitError, OpenError, Options, SessionOpenError, Store};

use super::repair::{Sample, events, files};
use super::tools::{fresh, named, note, turn};

fn segments(root: &Path) -> Vec<u64> {
    segment::list(&root.join("blobs")).unwrap()
}

/// Where the rows of a closed store say that the log ends.
fn end_of(root: &Path) -> (Tx, Digest, Position) {
    let conn = rusqlite::Connection::open(root.join("store.sqlite")).unwrap();
    conn.query_row("SELECT tx, digest, segment, offset FROM hw_tx ORDER BY tx DESC LIMIT 1", [], |row| {
        let digest: Vec<u8> = row.get(1)?;
        Ok((Tx(row.get(0)?), Digest::from_slice(&digest).unwrap(), Position::new(row.get(2)?, row.get(3)?)))
    })
    .unwrap()
}

/// A process died in the middle of a WAL checkpoint: the main file is no longer the one noted, and there is nobody to note
/// it. While another process goes on with the store, a new one can open it all the same. A file put in the place of
/// the one noted is still refused.
#[test]
fn a_checkpoint_that_was_cut_off_keeps_nobody_out() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let session = named(&home.store, "demo");
    turn(&session, "what is 2 + 2?", "4").unwrap();
    let database = root.join("store.sqlite");
    // Its change time is what a page written to it would change.
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
    let second = Store::open(&root).unwrap();
    assert_eq!(second.report().rebuilt, None);
    assert_eq!(second.view(session.id()).unwrap(), home.store.view(session.id()).unwrap());
    turn(&session, "and 3 + 3?", "6").unwrap();
    assert_eq!(second.session(session.id()).unwrap().turns, 2);
    second.close().unwrap();

    let copy = root.join("copy");
    fs::copy(&database, &copy).unwrap();
    fs::rename(&database, root.join("theirs")).unwrap();
    fs::rename(&copy, &database).unwrap();
    let options = || Options { patience: std::time::Duration::from_millis(50), ..Options::default() };
    assert!(matches!(Store::open_with(&root, options()), Err(OpenError::InUse { .. })));
    fs::rename(root.join("theirs"), &database).unwrap();
}

/// Frames beyond the rows that make no rows: each attempt to open says so, and leaves the folder as it was.
#[test]
fn an_adoption_that_fails_leaves_no_segment_behind() {
    let home = fresh();
    let root = home.store.root().to_owned();
    turn(&named(&home.store, "demo"), "what is 2 + 2?", "4").unwrap();
    let super::tools::Fresh { folder: _kept, store } = home;
    store.close().unwrap();
    let (tx, previous, end) = end_of(&root);
    let mut lines = Lines::default();
    lines.push_event(&Event {
        session: "nobody".parse().unwrap(),
        number: EventNumber(2),
        at: Timestamp::default(),
        body: Body::SessionStatus(SessionStatus { status: Status::RUNNING, ended_at: None, payload: None }),
    });
    lines.pack();
    let body = lines.body(&TxHeader { tx: tx.next(), at: Timestamp::default(), previous });
    let mut log = Log::open(&root.join("blobs"), LogOptions::default()).unwrap();
    log.append(end, tx.next().0, &[FrameRef { kind: Kind::Commit, codec: 0, body: &body }]).unwrap();
    note(&root);
    for _ in 0..3 {
        assert!(matches!(Store::open(&root), Err(OpenError::Damaged { .. })));
        assert_eq!(segments(&root), [1]);
    }
}

/// A process died after it had copied a dead writer's commits into a segment of their own, synced and named it, and before
/// their rows were committed. The copy is as durable as it gets: it is applied, not copied again.
#[test]
fn a_copy_that_was_made_durable_is_not_copied_again() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let super::tools::Fresh { folder, store } = home;
    let session = named(&store, "demo");
    turn(&session, "what is 2 + 2?", "4").unwrap();
    drop(session);
    store.close().unwrap();
    // The rows as they are now, and a log that goes on.
    let old = folder.path().join("old.sqlite");
    fs::copy(root.join("store.sqlite"), &old).unwrap();
    let (_, _, end) = end_of(&root);
    let store = Store::open(&root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    session.add_message(Role::User, "is this still there?").commit().unwrap();
    let events = store.events(session.id()).unwrap();
    drop(session);
    store.close().unwrap();
    fs::copy(&old, root.join("store.sqlite")).unwrap();

    let blobs = root.join("blobs");
    let reader = SegmentReader::open(&blobs, end.segment).unwrap();
    let frames: Vec<_> = reader.frames(end.offset, None).map(|frame| frame.map(|(_, frame)| frame)).collect();
    assert!(frames.len() >= 2);
    Log::open(&blobs, LogOptions::default()).unwrap().adopt(end, frames).unwrap();
    note(&root);
    assert_eq!(segments(&root), [1, 2]);
    let store = Store::open(&root).unwrap();
    assert_eq!((store.report().rebuilt.clone(), segments(&root)), (None, vec![1, 2]));
    assert_eq!(store.events(&"demo".parse().unwrap()).unwrap(), events);
    turn(&store.open_session(&"demo".parse().unwrap()).unwrap(), "and 3 + 3?", "6").unwrap();
    store.close().unwrap();
    assert_eq!(care::check(&root, Mode::Deep).unwrap().issues, []);
}

/// Opens a store of ours that is damaged: it is refused as such, and left as it was.
fn is_damaged(root: &Path, what: &str) {
    let before = files(&root.join("blobs"));
    let opened = Store::open_with(root, Options { create: false, ..Options::default() });
    assert!(
        matches!(opened, Err(OpenError::Damaged { .. })),
        "{what}: {:?}",
        opened.map(|store| store.report().clone())
    );
    assert!(files(&root.join("blobs")) == before, "{what}");
}

/// Bytes of the log that are not what was written are a tear only at its very end, where a writer died: before a later commit they are
/// damage, in what is adopted and in what a rebuild reads, flipped or zero. Nothing is left out in silence.
#[test]
fn damage_before_a_later_commit_is_no_tear() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let super::tools::Fresh { folder, store } = home;
    let session = named(&store, "demo");
    turn(&session, "what is 2 + 2?", "4").unwrap();
    drop(session);
    store.close().unwrap();
    let (_, _, end) = end_of(&root);
    let early = folder.path().join("early.sqlite");
    fs::copy(root.join("store.sqlite"), &early).unwrap();
    let store = Store::open(&root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    let before = store.events(session.id()).unwrap().len();
    for n in 0..5 {
        session.add_message(Role::User, format!("message {n}")).commit().unwrap();
    }
    drop(session);
    store.close().unwrap();
    let path = segment::segment_path(&root.join("blobs"), 1);
    let whole = fs::read(&path).unwrap();
    let reader = SegmentReader::open(&root.join("blobs"), 1).unwrap();
    let frames: Vec<u64> = reader.frames(64, None).map(|frame| frame.unwrap().0).collect();
    let last = frames[frames.len() - 1];
    let group = frames.iter().copied().find(|at| *at >= end.offset).unwrap();
    let aside = |name: &str| {
        let _ = fs::remove_dir_all(root.join("set-aside"));
        fs::write(&path, &whole).unwrap();
        for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "mark"] {
            let _ = fs::remove_file(root.join(name));
        }
        if name == "adopted" {
            fs::copy(&early, root.join("store.sqlite")).unwrap();
            note(&root);
        }
    };
    for (how, at) in [("adopted", group), ("rebuilt", frames[0]), ("rebuilt", group)] {
        for zeros in [false, true] {
            aside(how);
            let mut bytes = whole.clone();
            let (at, next) = (at as usize, frames.iter().copied().find(|other| *other > at).unwrap() as usize);
            if zeros {
                bytes[at..next].fill(0)
            } else {
                bytes[at + 26] ^= 1
            };
            fs::write(&path, bytes).unwrap();
            is_damaged(&root, &format!("{how}, {at}, zeros: {zeros}"));
        }
    }
    // The last commit of all: it may never have been acknowledged.
    for how in ["adopted", "rebuilt"] {
        aside(how);
        let mut bytes = whole.clone();
        bytes[last as usize + 26] ^= 1;
        fs::write(&path, bytes).unwrap();
        let store = Store::open(&root).unwrap();
        assert_eq!(store.events(&"demo".parse().unwrap()).unwrap().len(), before + 4, "{how}");
        store.close().unwrap();
        assert_eq!(care::check(&root, Mode::Deep).unwrap().issues, []);
        let _ = fs::remove_file(segment::segment_path(&root.join("blobs"), 2));
    }
}

/// Without rows: the last group of a segment that another follows was durable, so that a flipped bit in it is damage; and of what lies
/// beyond a segment that is missing nothing is thrown away, nor told as if it were there.
#[test]
fn what_a_segment_lacks_before_the_next_one_is_told() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    let numbers = segments(root);
    assert!(numbers.len() > 3, "{numbers:?}");
    let without_rows = || {
        sample.restore();
        for name in ["store.sqlite", "mark"] {
            fs::remove_file(root.join(name)).unwrap();
        }
    };
    without_rows();
    let mut bytes = fs::read(sample.segment(1)).unwrap();
    let at = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[at - 3] ^= 1;
    fs::write(sample.segment(1), bytes).unwrap();
    is_damaged(root, "the last group of a segment");

    without_rows();
    fs::remove_file(sample.segment(2)).unwrap();
    let store = Store::open(root).unwrap();
    let notes = store.report().notes.join("; ");
    assert!(notes.contains("segments [3") && notes.contains("beyond the gap"), "{notes}");
    store.close().unwrap();
    let aside = fs::read_dir(root.join("set-aside/1")).unwrap().count();
    assert_eq!((segments(root), aside), (vec![1], numbers.len() - 2));
    assert!(events(root).iter().all(|(session, events)| *events == sample.events[session][..events.len()]));
}

/// A store that was closed is as small as its log: no zeros at its end, no half segments, no lock files of the dead.
#[test]
fn a_store_that_was_closed_leaves_nothing_behind() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let super::tools::Fresh { folder: _kept, store } = home;
    turn(&named(&store, "demo"), "what is 2 + 2?", "4").unwrap();
    let (half, dead) = (root.join("blobs/tmp-0123"), root.join("open/0b0c4e94-6d5e-4b0f-8d7e-2f6f7a3a9c11"));
    for path in [&half, &dead] {
        fs::write(path, "").unwrap();
    }
    let segment = segment::segment_path(&root.join("blobs"), 1);
    assert_eq!(fs::read(&segment).unwrap().last(), Some(&0), "it was filled ahead");
    store.close().unwrap();
    assert_eq!(fs::metadata(&segment).unwrap().len(), end_of(&root).2.offset);
    assert!(!half.exists() && !dead.exists());
}

/// A rollback journal of the database as it was, left half way through a transaction, as a foreign program leaves it that dies.
fn hot_journal(database: &Path, folder: &Path) -> Vec<u8> {
    fs::create_dir(folder).unwrap();
    let copy = folder.join("store.sqlite");
    fs::copy(database, &copy).unwrap();
    let conn = rusqlite::Connection::open(&copy).unwrap();
    conn.pragma_update(None, "journal_mode", "delete").unwrap();
    // A cache too small for the transaction: the journal is synced, and pages are written.
    conn.pragma_update(None, "cache_size", 2).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE; UPDATE hw_event SET at = at + 1; UPDATE hw_blob SET size = size + 1").unwrap();
    let bytes = fs::read(folder.join("store.sqlite-journal")).unwrap();
    conn.execute_batch("ROLLBACK").unwrap();
    bytes
}

/// SQLite plays a stray rollback journal back into whatever database lies beside it, and says nothing. A check names it and touches
/// nothing; an opening and a repair make the rows from the log, and move it away with the database.
#[test]
fn a_stray_journal_is_never_played_back() {
    let sample = Sample::new();
    let root = &sample.root;
    let folder = tempfile::tempdir().unwrap();
    let journal = hot_journal(&root.join("store.sqlite"), &folder.path().join("theirs"));
    let store = Store::open(root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    for n in 0..40 {
        session.add_message(Role::User, format!("newer than the journal {n}")).commit().unwrap();
    }
    drop(session);
    store.close().unwrap();
    let now = events(root);
    let place = root.join("store.sqlite-journal");

    // What SQLite does with it.
    let control = folder.path().join("control");
    fs::create_dir(&control).unwrap();
    fs::copy(root.join("store.sqlite"), control.join("store.sqlite")).unwrap();
    fs::write(control.join("store.sqlite-journal"), &journal).unwrap();
    let before = fs::read(control.join("store.sqlite")).unwrap();
    let conn = rusqlite::Connection::open(control.join("store.sqlite")).unwrap();
    let _ = conn.query_row("SELECT count(*) FROM hw_event", [], |row| row.get::<_, u64>(0));
    assert!(fs::read(control.join("store.sqlite")).unwrap() != before, "the journal is not hot");
    drop(conn);

    // Beside a store in use: who comes is refused, and the user goes on.
    let store = Store::open(root).unwrap();
    let demo = "demo".parse().unwrap();
    assert_eq!(store.events(&demo).unwrap(), now[&demo]);
    fs::write(&place, &journal).unwrap();
    let options = Options { patience: std::time::Duration::from_millis(50), ..Options::default() };
    assert!(matches!(Store::open_with(root, options), Err(OpenError::InUse { .. })));
    assert_eq!(store.events(&demo).unwrap(), now[&demo]);
    fs::remove_file(&place).unwrap();
    store.close().unwrap();

    fs::write(&place, &journal).unwrap();
    let before = files(root);
    for mode in [Mode::Quick, Mode::Deep] {
        let report = care::check(root, mode).unwrap();
        let told: Vec<_> = report.issues.iter().map(|issue| issue.code).collect();
        assert_eq!((told, report.trusted), (vec!["database-journal"], false));
    }
    assert!(files(root) == before, "a check changed something");
    assert!(care::plan(root).unwrap().rows);
    assert!(files(root) == before, "a plan changed something");
    let backup = folder.path().join("backup");
    care::backup(root, &backup).unwrap();
    assert_eq!(events(&backup), now);
    assert!(files(root) == before, "a backup changed something");

    let store = Store::open(root).unwrap();
    let (why, _) = store.report().rebuilt.clone().unwrap();
    assert!(why.contains("journal"), "{why}");
    store.close().unwrap();
    assert_eq!(events(root), now);
    assert!(!place.exists());
    assert_eq!(fs::read(root.join("set-aside/1/store.sqlite-journal")).unwrap(), journal);
    assert_eq!(care::check(root, Mode::Deep).unwrap().issues, []);

    fs::write(&place, &journal).unwrap();
    let report = care::repair(root).unwrap();
    assert!(report.rows && !report.log && !place.exists(), "{report:?}");
    assert_eq!(fs::read(report.quarantine.unwrap().join("store.sqlite-journal")).unwrap(), journal);
    assert_eq!(events(root), now);
    assert_eq!(care::check(root, Mode::Deep).unwrap().issues, []);
}

/// A journal belongs to whoever writes as long as that takes, and to nobody where nobody writes.
#[test]
fn a_journal_is_its_writers_as_long_as_that_writes() {
    use headwater::segment::LockFile;
    let sample = Sample::new();
    let journal = sample.root.join("store.sqlite-journal");
    fs::write(&journal, [0xd9; 600]).unwrap();
    let check = || care::check(&sample.root, Mode::Quick).unwrap().issues;
    assert!(check().iter().any(|issue| issue.code == "database-journal"));
    let held = LockFile::open(&sample.root.join("write")).unwrap().exclusive_blocking().unwrap();
    let found = std::thread::scope(|scope| {
        let checking = scope.spawn(check);
        let patient = std::time::Instant::now();
        while patient.elapsed() < std::time::Duration::from_millis(400) {
            assert!(!checking.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        // Its transaction is done.
        fs::remove_file(&journal).unwrap();
        drop(held);
        checking.join().unwrap()
    });
    assert_eq!(found, []);
}

/// The digest that the rows have of the last commit is what the next one is chained to. One that was changed would break the log for
/// good: an opening makes the rows anew, and a writer that has the store open already refuses to go on.
#[test]
fn a_commit_is_never_chained_to_what_the_log_does_not_have() {
    let home = fresh();
    let super::tools::Fresh { folder: _kept, store } = home;
    let root = store.root().to_owned();
    let session = named(&store, "demo");
    turn(&session, "what is 2 + 2?", "4").unwrap();
    let edit = || {
        let conn = rusqlite::Connection::open(root.join("store.sqlite")).unwrap();
        conn.execute("UPDATE hw_tx SET digest = zeroblob(32) WHERE digest IS NOT NULL", []).unwrap()
    };
    assert_eq!(edit(), 1);
    let refused = session.add_message(Role::User, "is this still there?").commit();
    assert!(matches!(refused, Err(CommitError::Damaged(_))), "{refused:?}");
    drop(session);
    store.close().unwrap();
    note(&root);
    let store = Store::open(&root).unwrap();
    assert!(
        store.report().rebuilt.as_ref().is_some_and(|(why, _)| why.contains("last commit")),
        "{:?}",
        store.report()
    );
    turn(&store.open_session(&"demo".parse().unwrap()).unwrap(), "and 3 + 3?", "6").unwrap();
    store.close().unwrap();
    assert_eq!(care::check(&root, Mode::Deep).unwrap().issues, []);
    // Beside a commit too long to be read at each opening, who writes first tells it.
    let store = Store::open(&root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    session
        .write(|batch| {
            for n in 0..2_500_u32 {
                let payload = batch.put(&n.to_le_bytes());
                batch.add_annotation("note/long", None, Some(payload))?;
            }
            Ok(())
        })
        .unwrap();
    let events = store.events(session.id()).unwrap();
    drop(session);
    store.close().unwrap();
    let (log, edited) = (fs::read(segment::segment_path(&root.join("blobs"), 1)).unwrap(), edit());
    assert_eq!(edited, 1);
    note(&root);
    let store = Store::open(&root).unwrap();
    assert_eq!(
        (store.report().rebuilt.clone(), store.events(&"demo".parse().unwrap()).unwrap()),
        (None, events.clone())
    );
    let refused = store.open_session(&"demo".parse().unwrap());
    let damaged = |error: &SessionOpenError| matches!(error, SessionOpenError::Commit(CommitError::Damaged(_)));
    assert!(refused.as_ref().err().is_some_and(damaged), "{:?}", refused.err());
    store.close().unwrap();
    assert_eq!(fs::read(segment::segment_path(&root.join("blobs"), 1)).unwrap(), log, "nothing was written");
    care::repair(&root).unwrap();
    assert_eq!(self::events(&root)[&"demo".parse().unwrap()], events);
}

//! What an opening refuses, each by name and with advice; and what it can still do where nothing can be written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use headwater::care::{self, Mode};
use headwater::model::{EventNumber, Role};
use headwater::store::{CommitError, OpenError, Options, ReadError, SessionOpenError, Store};

use super::repair::{Sample, events, files};
use super::tools::note;

fn refused(sample: &Sample) -> (String, String) {
    let before = files(&sample.root);
    match Store::open_with(&sample.root, Options { create: false, ..Options::default() }) {
        Err(OpenError::Unsafe { path, what, advice }) => {
            assert_eq!(files(&sample.root), before, "nothing was changed");
            assert!(path.starts_with(&sample.root));
            (what, advice)
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn what_others_could_change_is_refused() {
    let sample = Sample::new();
    sample.restore();
    fs::set_permissions(&sample.root, fs::Permissions::from_mode(0o777)).unwrap();
    let (what, advice) = refused(&sample);
    assert!(what.contains("777") && advice.contains("chmod"), "{what}: {advice}");
    for name in ["blobs", "open", "index", "store.sqlite", "mark", "lock", "turn", "write"] {
        sample.restore();
        let (path, elsewhere) = (sample.root.join(name), sample.root.with_extension(name));
        if !path.exists() {
            assert!(["open", "index"].contains(&name), "{name} is not there");
            fs::create_dir(&path).unwrap();
        }
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let (what, advice) = refused(&sample);
        assert!(what.contains("link") && advice.contains("link"), "{what}: {advice}");
        fs::remove_file(&path).unwrap();
        if elsewhere.is_dir() { fs::remove_dir_all(elsewhere) } else { fs::remove_file(elsewhere) }.unwrap();
    }
    sample.restore();
    if std::os::unix::fs::chown(&sample.root, Some(12_345), None).is_ok() {
        let (what, advice) = refused(&sample);
        assert!(what.contains("12345") && advice.contains("chown"), "{what}: {advice}");
        std::os::unix::fs::chown(&sample.root, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    } else {
        println!("skipped: what_others_could_change_is_refused, of another user: only root can make such a store");
    }
    // The folder itself may be reached over a link: whoever made it chose so.
    let link = sample.root.with_extension("link");
    symlink(&sample.root, &link).unwrap();
    Store::open(&link).unwrap().close().unwrap();
}

/// Mounts `source` at `folder` so that nothing can be written, for as long as it lives.
struct ReadOnly<'a>(&'a Path);

impl ReadOnly<'_> {
    fn mount<'a>(source: &Path, folder: &'a Path) -> Option<ReadOnly<'a>> {
        let mount = |args: &[&str]| {
            let ran = Command::new("mount").args(args).arg(folder).output();
            ran.is_ok_and(|ran| ran.status.success())
        };
        let there = mount(&["--bind", source.to_str().unwrap()]).then_some(ReadOnly(folder))?;
        mount(&["-o", "remount,bind,ro"]).then_some(there)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn reads(root: &Path, sample: &Sample, newest: usize) -> Store {
    assert!(fs::write(root.join("x"), "").is_err(), "it is read-only");
    let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
    for (session, events) in &sample.events {
        let now = store.events(session).unwrap();
        assert_eq!(now[..events.len()], *events);
        assert_eq!(now.len() - events.len(), if session.as_str() == "demo" { newest } else { 0 });
        store.view(session).unwrap();
    }
    store
}

/// On a file system that lets nobody write the store is read, checked and said to be so; whoever writes is told.
#[test]
fn a_store_can_be_read_where_nothing_can_be_written() {
    let sample = Sample::new();
    sample.restore();
    fs::remove_file(sample.root.join("mark")).unwrap();
    Store::open(&sample.root).unwrap().close().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = ReadOnly::mount(&sample.root, folder.path()) else {
        println!("skipped: a_store_can_be_read_where_nothing_can_be_written: nothing can be mounted here");
        return;
    };
    let root = folder.path();
    let store = reads(root, &sample, 0);
    let notes = &store.report().notes;
    assert!(matches!(&notes[..], [note] if note.contains("nothing can be written")), "{notes:?}");
    let refused = store.open_session(&"demo".parse().unwrap());
    assert!(matches!(refused, Err(SessionOpenError::Commit(CommitError::ReadOnly))), "{:?}", refused.err());
    assert!(matches!(store.blobs().put(b"x"), Err(CommitError::ReadOnly)));
    store.close().unwrap();
    assert_eq!(care::check(root, Mode::Deep).unwrap().issues, []);
}

/// Also what is in the WAL alone, or in the log alone, is read there: by the shared memory that a writer left, or from rows made
/// beside. A backup from there holds it, too.
#[test]
fn what_only_the_wal_or_the_log_holds_is_read_where_nothing_can_be_written() {
    let sample = Sample::new();
    let store = Store::open(&sample.root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    for n in 0..5 {
        session.add_message(Role::User, format!("in the WAL alone {n}")).commit().unwrap();
    }
    // As it lies there while it is written; noted, as a crash leaves it.
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, without: &[&str]| {
        let to = folder.path().join(name);
        assert!(Command::new("cp").arg("-r").arg(&sample.root).arg(&to).status().unwrap().success());
        note(&to);
        for name in without {
            let path = to.join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        to
    };
    let whole = copy("whole", &[]);
    let unmapped = copy("unmapped", &["store.sqlite-shm"]);
    let without_wal = copy("without-wal", &["store.sqlite-wal", "store.sqlite-shm"]);
    let unnoted = copy("unnoted", &["mark"]);
    let log = copy(
        "log",
        &["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "mark", "lock", "open", "index", "turn", "write"],
    );
    drop(session);
    store.close().unwrap();
    // A backup of a store whose WAL a power loss took: also where it can be written.
    let backup = folder.path().join("backup-of-rows-behind");
    care::backup(&without_wal, &backup).unwrap();
    assert_eq!(events(&backup)[&"demo".parse().unwrap()].len(), sample.events[&"demo".parse().unwrap()].len() + 5);
    for (at, from_log) in [(whole, false), (unmapped, true), (without_wal, true), (unnoted, true), (log, true)] {
        let mounted = tempfile::tempdir().unwrap();
        let before = files(&at);
        let Some(_mounted) = ReadOnly::mount(&at, mounted.path()) else {
            println!(
                "skipped: what only the WAL or the log holds, where nothing can be written: nothing can be mounted here"
            );
            return;
        };
        let store = reads(mounted.path(), &sample, 5);
        let notes = store.report().notes.join("; ");
        assert_eq!(notes.contains("made from the log"), from_log, "{}: {notes}", at.display());
        store.close().unwrap();
        let backup = at.with_extension("backup");
        care::backup(mounted.path(), &backup).unwrap();
        assert_eq!(events(&backup)[&"demo".parse().unwrap()].len(), sample.events[&"demo".parse().unwrap()].len() + 5);
        assert!(files(&at) == before);
    }
}

/// A store that is read through a mount which lets nobody write, and written through another one that does. While nobody writes
/// there is no shared memory, and SQLite takes the file for one that never changes: what is committed is seen all the same, no
/// answer is of two states, and nothing is called damaged.
#[test]
fn what_is_written_by_another_mount_is_seen() {
    let sample = Sample::new();
    sample.restore();
    fs::remove_file(sample.root.join("mark")).unwrap();
    Store::open(&sample.root).unwrap().close().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = ReadOnly::mount(&sample.root, folder.path()) else {
        println!("skipped: what_is_written_by_another_mount_is_seen: nothing can be mounted here");
        return;
    };
    let id = "demo".parse().unwrap();
    let start = sample.events[&id].len() as u64;
    let reading = reads(folder.path(), &sample, 0);
    let events = || match reading.events(&id) {
        Ok(events) => {
            assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
            assert_eq!(reading.session(&id).map(|session| session.events >= events.len() as u64).ok(), Some(true));
            Some(events.len() as u64)
        }
        Err(ReadError::Changed) => None,
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(events(), Some(start));
    for round in 1..=3 {
        // WAL checkpoints in the background and by the writer, and one at the end.
        let store = Store::open_with(&sample.root, Options { wal_size: 32 << 10, ..Options::default() }).unwrap();
        let session = store.open_session(&id).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..120 {
                    session.add_message(Role::User, format!("round {round}, message {n}")).commit().unwrap();
                }
            });
            let mut last = 0;
            while !writer.is_finished() {
                let now = events().unwrap_or(last);
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
            writer.join().unwrap();
        });
        let written = Some(session.counters().event);
        assert_eq!(events().or_else(events), written, "while the writer has it open");
        assert_eq!(care::check(folder.path(), Mode::Deep).unwrap().issues, []);
        drop(session);
        store.close().unwrap();
        assert_eq!(events().or_else(events), written, "when it was closed");
        assert_eq!(care::check(folder.path(), Mode::Deep).unwrap().issues, []);
    }
    let backup = folder.path().with_extension("backup");
    care::backup(folder.path(), &backup).unwrap();
    assert_eq!(events().map(|events| events as usize), Some(super::repair::events(&backup)[&id].len()));
    fs::remove_dir_all(backup).unwrap();
    reading.close().unwrap();
}

/// Frames beyond the rows are a live writer's as long as that holds `write`, however long it takes; where nobody does, they are a dead
/// one's at once, and are read from the log.
#[test]
fn a_reader_waits_for_who_writes_and_not_for_the_dead() {
    use headwater::segment::LockFile;
    let sample = Sample::new();
    let (store, id) = (Store::open(&sample.root).unwrap(), "demo".parse().unwrap());
    let session = store.open_session(&id).unwrap();
    let start = store.events(&id).unwrap().len();
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows");
    assert!(Command::new("cp").arg("-r").arg(&sample.root).arg(&rows).status().unwrap().success());
    session.add_message(Role::User, "in the log alone").commit().unwrap();
    drop(session);
    store.close().unwrap();
    // The rows of before beside the log of now: as between a writer's sync and its COMMIT.
    fs::remove_dir_all(rows.join("blobs")).unwrap();
    assert!(Command::new("cp").arg("-r").arg(sample.root.join("blobs")).arg(&rows).status().unwrap().success());
    note(&rows);
    let mounted = tempfile::tempdir().unwrap();
    let Some(_mounted) = ReadOnly::mount(&rows, mounted.path()) else {
        println!("skipped: a_reader_waits_for_who_writes_and_not_for_the_dead: nothing can be mounted here");
        return;
    };
    let open = || Store::open_with(mounted.path(), Options { create: false, ..Options::default() }).unwrap();
    let dead = open();
    assert_eq!(dead.events(&id).unwrap().len(), start + 1);
    assert!(dead.report().notes.join("; ").contains("made from the log"));
    dead.close().unwrap();
    // A writer that takes its time, and brings the rows level at last.
    let held = LockFile::open(&rows.join("write")).unwrap().exclusive_blocking().unwrap();
    let opened = std::thread::scope(|scope| {
        let opening = scope.spawn(open);
        let patient = std::time::Instant::now();
        while patient.elapsed() < std::time::Duration::from_millis(300) {
            assert!(!opening.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        drop(held);
        opening.join().unwrap()
    });
    assert_eq!(opened.events(&id).unwrap().len(), start + 1);
    opened.close().unwrap();
}

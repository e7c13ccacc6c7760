//! Rows and log that do not say the same: neither is given up for what the other lacks, and nobody is told that all is well.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use headwater::care::{self, BackupError, CheckError, Mode, RepairError};
use headwater::segment::{Position, SegmentHeader, segment_path};
use headwater::store::{OpenError, Options, Store};

use super::repair::{Sample, events, files};
use super::tools::note;

fn open(root: &Path) -> Result<Store, OpenError> {
    Store::open_with(root, Options { create: false, ..Options::default() })
}

fn codes(root: &Path, mode: Mode) -> Vec<&'static str> {
    care::check(root, mode).unwrap().issues.iter().map(|issue| issue.code).collect()
}

/// The files as they were, the database trusted.
fn sound(sample: &Sample) {
    sample.restore();
    note(&sample.root);
}

fn last_segment(sample: &Sample) -> (u64, Vec<u8>) {
    let numbers = headwater::segment::list(&sample.root.join("blobs")).unwrap();
    let last = *numbers.last().unwrap();
    (last, fs::read(sample.segment(last)).unwrap())
}

/// The database is a copy, and the end of the log is damaged: an opening that made the rows anew would drop what they know. It
/// refuses, as do a backup and a restore, and changes nothing; a repair brings back all of it.
#[test]
fn rows_that_know_more_than_a_damaged_log_are_not_dropped() {
    let sample = Sample::new();
    let (last, bytes) = last_segment(&sample);
    for back in [3, 30, 90] {
        sample.restore();
        let mut damaged = bytes.clone();
        let at = damaged.len() - back;
        damaged[at] ^= 4;
        fs::write(sample.segment(last), damaged).unwrap();
        let before = files(&sample.root);
        let refused = open(&sample.root).map(drop).unwrap_err();
        assert!(matches!(&refused, OpenError::Damaged { what, .. } if what.contains("the rows know")), "{refused:?}");
        let beside = sample.root.with_file_name("copy");
        assert!(matches!(care::backup(&sample.root, &beside), Err(BackupError::Damaged(_))));
        assert!(matches!(care::restore(&sample.root, &beside), Err(BackupError::Damaged(_))));
        assert!(!beside.exists() && !sample.root.join("set-aside").exists());
        for (path, bytes) in before.iter().filter(|(path, _)| !path.ends_with("store.sqlite-shm")) {
            assert!(fs::read(path).unwrap() == *bytes, "{}", path.display());
        }
        let report = sample.repair();
        assert!(report.log && report.hurt.is_empty() && report.commits.lost == 0, "{report:?}");
        assert_eq!(events(&sample.root), sample.events, "{back}");
    }
}

/// The log of a copy may end early, whatever its rows know: then it opens, and says what it lacks. What claims to be a backup may not.
#[test]
fn a_copy_whose_log_ends_early_says_what_it_lacks() {
    let sample = Sample::new();
    let (last, bytes) = last_segment(&sample);
    sample.restore();
    fs::write(sample.segment(last), &bytes[..bytes.len() - 40]).unwrap();
    let beside = sample.root.with_file_name("copy");
    let refused = care::restore(&sample.root, &beside).unwrap_err();
    assert!(matches!(&refused, BackupError::Damaged(what) if what.contains("its rows know")), "{refused:?}");
    assert!(!beside.exists());
    let store = open(&sample.root).unwrap();
    let notes = store.report().notes.join("\n");
    assert!(notes.contains("are only in the rows that are set aside"), "{notes}");
    store.close().unwrap();
}

/// The segment's own frames once more behind its end, or a segment that takes over before what the rows know: no opening can adopt
/// that. A check says so, and a repair mends it.
#[test]
fn what_no_opening_could_adopt_is_told_and_mended() {
    let sample = Sample::new();
    let (last, bytes) = last_segment(&sample);
    let next = segment_path(&sample.root.join("blobs"), last + 1);
    let beyond = segment_path(&sample.root.join("blobs"), last + 2);
    let first = fs::read(sample.segment(1)).unwrap();
    let early = SegmentHeader::fresh(last + 1, Position::new(last, 200)).encode();
    let again = [&bytes[..], &bytes[64..]].concat();
    let cases = [
        ("frames once more", &sample.segment(last), &again[..]),
        ("a copy of another segment", &next, &first),
        ("a copy of the last segment", &next, &bytes),
        ("an empty file", &next, &[]),
        ("a copy beyond a gap", &beyond, &bytes),
        ("one that takes over too early", &next, &early),
    ];
    for (what, path, bytes) in cases {
        sound(&sample);
        assert_eq!(codes(&sample.root, Mode::Deep), [] as [&str; 0], "{what}");
        fs::write(path, bytes).unwrap();
        assert!(what.ends_with("gap") || open(&sample.root).is_err(), "{what}");
        let found = codes(&sample.root, Mode::Deep);
        assert!(!found.is_empty(), "{what}");
        let report = sample.repair();
        assert!(report.hurt.is_empty() && report.commits.lost == 0, "{what}: {report:?}");
        assert_eq!(events(&sample.root), sample.events, "{what}");
    }
}

/// A head is what its rows say, too.
#[test]
fn a_row_of_a_head_that_is_gone_or_other_is_told() {
    let sample = Sample::new();
    let head = {
        let store = open(&sample.root).unwrap();
        let head = store.heads(&"demo".parse().unwrap()).unwrap().last().unwrap().head;
        store.close().unwrap();
        head
    };
    let edits = [
        "DELETE FROM hw_message WHERE sid = 1 AND ev = (SELECT min(ev) FROM hw_message WHERE sid = 1)",
        "UPDATE hw_message SET chars = chars + 1 WHERE sid = 1 AND ev = (SELECT min(ev) FROM hw_message WHERE sid = 1)",
        "UPDATE hw_event SET at = at + 1 WHERE sid = 1 AND ev = 5",
        "DELETE FROM hw_event WHERE sid = 1 AND ev = 5",
    ];
    for edit in edits {
        sound(&sample);
        assert_eq!(codes(&sample.root, Mode::Head(head)), [] as [&str; 0]);
        let conn = rusqlite::Connection::open(sample.root.join("store.sqlite")).unwrap();
        assert_eq!(conn.execute(edit, []).unwrap(), 1, "{edit}");
        drop(conn);
        note(&sample.root);
        assert_eq!(codes(&sample.root, Mode::Head(head)), ["row-differs"], "{edit}");
    }
}

/// A store that is not to be opened is not to be repaired either, and nothing goes through a link.
#[test]
fn an_unsafe_store_is_not_repaired() {
    let sample = Sample::new();
    let elsewhere = sample.root.with_file_name("elsewhere");
    for what in ["quarantine", "repair", "set-aside", "everybody"] {
        sound(&sample);
        let _ = fs::remove_dir_all(&elsewhere);
        fs::create_dir(&elsewhere).unwrap();
        match what {
            "everybody" => fs::set_permissions(&sample.root, fs::Permissions::from_mode(0o777)).unwrap(),
            _ => symlink(&elsewhere, sample.root.join(what)).unwrap(),
        }
        let path = sample.segment(1);
        let mut damaged = fs::read(&path).unwrap();
        damaged[300] ^= 1;
        fs::write(&path, &damaged).unwrap();
        for refused in [care::plan(&sample.root), care::repair(&sample.root)] {
            let refused = refused.unwrap_err();
            let RepairError::Refused(error) = &refused else { panic!("{what}: {refused:?}") };
            assert!(matches!(**error, OpenError::Unsafe { .. }), "{what}: {error:?}");
        }
        assert!(fs::read(&path).unwrap() == damaged && fs::read_dir(&elsewhere).unwrap().next().is_none(), "{what}");
        fs::set_permissions(&sample.root, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// What a newer version wrote is no damage, and nothing older is made of it.
#[test]
fn a_newer_store_is_neither_checked_nor_repaired() {
    let sample = Sample::new();
    sound(&sample);
    let conn = rusqlite::Connection::open(sample.root.join("store.sqlite")).unwrap();
    conn.execute("UPDATE refinery_schema_history SET version = version + 90", []).unwrap();
    drop(conn);
    note(&sample.root);
    let before = fs::read(sample.root.join("store.sqlite")).unwrap();
    for refused in [care::plan(&sample.root), care::repair(&sample.root)] {
        assert!(matches!(refused, Err(RepairError::Newer(_))), "{refused:?}");
    }
    assert!(matches!(care::check(&sample.root, Mode::Deep), Err(CheckError::Newer(_))));
    assert!(fs::read(sample.root.join("store.sqlite")).unwrap() == before);
}

/// A pipe that nobody writes to in the place of a file, terabytes of nothing: nobody waits for them.
#[test]
fn nobody_waits_for_a_pipe_or_a_hole() {
    let sample = Sample::new();
    sound(&sample);
    let mark = sample.root.join("mark");
    fs::remove_file(&mark).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&mark).status().unwrap();
    assert!(made.success());
    assert!(open(&sample.root).is_err());
    sound(&sample);
    fs::File::options().write(true).open(&mark).unwrap().set_len(4 << 40).unwrap();
    let (last, _) = last_segment(&sample);
    fs::File::options().write(true).open(sample.segment(last)).unwrap().set_len(4 << 40).unwrap();
    assert_eq!(codes(&sample.root, Mode::Deep), [] as [&str; 0]);
    open(&sample.root).unwrap().close().unwrap();
}

/// A segment of another store, and rows that nobody touched: what they hold is not called whole.
#[test]
fn a_log_of_another_store_is_no_whole_one() {
    let (sample, other) = (Sample::new(), Sample::new());
    sound(&sample);
    fs::remove_dir_all(sample.root.join("blobs")).unwrap();
    fs::create_dir(sample.root.join("blobs")).unwrap();
    fs::copy(other.segment(1), sample.segment(1)).unwrap();
    let plan = care::plan(&sample.root).unwrap();
    assert!(plan.is_loss(), "{plan:?}");
    let hurt: Vec<_> = plan.hurt.iter().map(|hurt| (hurt.session.clone(), hurt.events)).collect();
    let all: Vec<_> = sample.events.iter().map(|(id, events)| (id.clone(), events.len() as u64)).collect();
    for known in all {
        assert!(hurt.contains(&known), "{known:?} in {hurt:?}");
    }
}

/// A database that ends within a page is damaged, not out of reach: a check says so, and a repair makes its rows again.
#[test]
fn a_database_that_ends_within_a_page_is_damaged() {
    let sample = Sample::new();
    let bytes = fs::read(sample.root.join("store.sqlite")).unwrap();
    for len in (1_100..bytes.len()).step_by(bytes.len() / 37) {
        sample.restore();
        fs::write(sample.root.join("store.sqlite"), &bytes[..len | 1]).unwrap();
        note(&sample.root);
        assert!(!codes(&sample.root, Mode::Deep).is_empty(), "{len}");
        assert!(!codes(&sample.root, Mode::Quick).is_empty() || len > bytes.len() / 2, "{len}");
        let report = sample.repair();
        assert!(report.rows && !report.is_loss(), "{len}: {report:?}");
        assert_eq!(events(&sample.root), sample.events, "{len}");
    }
}

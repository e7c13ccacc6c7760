//! The stores that scenarios begin with: made once, copied for each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use headwater::segment::{Position, SegmentReader};
use headwater::store::{Options, Store};

use super::acks::Acks;
use super::note::note;
use super::steps::Work;
use super::tools::{Scratch, child, wait};

/// What a scenario finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Not even a folder.
    Nothing,
    /// Two sessions with heads, closed cleanly.
    Sealed,
    /// The same, and then commits whose frames are in the log and whose rows are not.
    LeftByTheDead,
    /// The same, its last frame damaged as by a write that was torn.
    TornByTheDead,
    /// Commits that were acknowledged, and whose rows a power loss took with the WAL.
    RowsBehind,
    /// The sealed store without its database.
    NoRows,
    /// The sealed store with a database that nothing vouches for.
    NoMark,
}

/// The templates, in folders of their own.
pub struct Templates {
    folder: Scratch,
}

impl Templates {
    pub fn new() -> Templates {
        let templates = Templates { folder: Scratch::new() };
        templates.sealed(&templates.path(Start::Sealed));
        for start in [Start::NoRows, Start::NoMark] {
            let to = templates.path(start);
            copy(&templates.path(Start::Sealed), &to);
            let gone = if start == Start::NoRows { "store.sqlite" } else { "mark" };
            fs::remove_file(to.join("store").join(gone)).unwrap();
        }
        templates.left(&templates.path(Start::LeftByTheDead));
        templates.synced(&templates.folder.path().join("synced"));
        templates.torn(&templates.path(Start::TornByTheDead));
        templates.behind(&templates.path(Start::RowsBehind));
        templates
    }

    /// Of what a scenario finds, what had been synced before.
    pub fn durable(&self, start: Start) -> PathBuf {
        match start {
            Start::LeftByTheDead | Start::TornByTheDead => self.folder.path().join("synced"),
            other => self.path(other),
        }
    }

    fn path(&self, start: Start) -> PathBuf {
        self.folder.path().join(format!("{start:?}"))
    }

    /// A copy to run a scenario on: the store, and the notes about it.
    pub fn copy(&self, start: Start) -> Scratch {
        let scratch = Scratch::new();
        if start != Start::Nothing {
            copy(&self.path(start), scratch.path());
        }
        scratch
    }

    fn sealed(&self, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let work = Work { root: to.join("store"), acks: Acks::open(&to.join("acks")), arg: 0 };
        let store = work.open(Options::default()).unwrap();
        let main = work.create(&store, "main").unwrap();
        work.turn(&main, "first").unwrap();
        work.batch(&main, "early", 3, 2_000).unwrap();
        work.turn(&main, "second").unwrap();
        let other = work.create(&store, "other").unwrap();
        work.turn(&other, "elsewhere").unwrap();
        drop((main, other));
        work.close(store).unwrap();
    }

    /// A store whose last writer was killed after its frames were written, before its rows were.
    fn left(&self, to: &Path) {
        if !super::strace::is_there() {
            return copy(&self.path(Start::Sealed), to);
        }
        for nth in 2..12 {
            let _ = fs::remove_dir_all(to);
            copy(&self.path(Start::Sealed), to);
            kill_at_sync(&to.join("store"), &to.join("acks"), nth);
            let probe = Scratch::new();
            copy(to, probe.path());
            let report = Store::open(probe.root()).unwrap().report().clone();
            assert_eq!(report.rebuilt, None, "the copied store was not taken for the one that was noted");
            if report.adopted > 0 {
                return;
            }
        }
        panic!("no child could be killed between its frames and its rows");
    }

    /// What the dead writer had synced: nothing of its last group, and nothing of the WAL.
    fn synced(&self, to: &Path) {
        copy(&self.path(Start::LeftByTheDead), to);
        let blobs = to.join("store/blobs");
        let segment = SegmentReader::open(&blobs, 1).unwrap();
        let frames = || segment.frames(Position::first_of(1).offset, None).map_while(Result::ok);
        let last = frames().last().unwrap().1.header.group;
        let from = frames().find(|(_, frame)| frame.header.group == last).unwrap().0 as usize;
        let mut bytes = fs::read(blobs.join("0000000001.seg")).unwrap();
        bytes[from..].fill(0);
        fs::write(blobs.join("0000000001.seg"), bytes).unwrap();
        let _ = fs::write(to.join("store/store.sqlite-wal"), "");
    }

    fn torn(&self, to: &Path) {
        copy(&self.path(Start::LeftByTheDead), to);
        let segment = to.join("store/blobs/0000000001.seg");
        let (mut bytes, at) = last_byte(&segment);
        bytes[at] ^= 0xff;
        fs::write(segment, bytes).unwrap();
    }

    /// A child dies after some commits; the power fails, and of the WAL nothing was synced.
    fn behind(&self, to: &Path) {
        if !super::strace::is_there() {
            return copy(&self.path(Start::Sealed), to);
        }
        let lived = Scratch::new();
        copy(&self.path(Start::Sealed), lived.path());
        kill_at_sync(&lived.root(), &lived.acks(), 7);
        let batches =
            super::acks::read(&lived.acks()).len() - super::acks::read(&self.path(Start::Sealed).join("acks")).len();
        assert!(batches > 3, "the child died before it was told of anything");
        fs::remove_file(lived.root().join("store.sqlite-wal")).unwrap();
        copy(lived.path(), to);
    }
}

/// The last byte of a segment that is no zero.
fn last_byte(segment: &Path) -> (Vec<u8>, usize) {
    let bytes = fs::read(segment).unwrap();
    let at = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (bytes, at)
}

/// Has a child killed as it enters that sync of the log.
pub fn kill_at_sync(root: &Path, acks: &Path, nth: u64) {
    let mut command = super::strace::inject("fdatasync", "signal=KILL", &nth.to_string());
    super::tools::as_child(&mut command, "one-by-one", root, acks, 0);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait(&mut running).unwrap();
}

/// Copies a template: the store with all its files, and the notes. The database is vouched for again if it was.
fn copy(from: &Path, to: &Path) {
    let (was, is) = (from.join("store"), to.join("store"));
    let vouched = fs::read_to_string(was.join("mark")).is_ok_and(|mark| mark == note(&was.join("store.sqlite")));
    copy_folder(from, to);
    let _ = fs::remove_file(is.join("store.sqlite-shm"));
    if vouched {
        fs::write(is.join("mark"), note(&is.join("store.sqlite"))).unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// Runs a scenario to its end on a fresh copy, with nothing in its way.
pub fn whole_run(templates: &Templates, scenario: &str, start: Start) -> Scratch {
    let scratch = templates.copy(start);
    let mut running = child(scenario, &scratch.root(), &scratch.acks(), 0).spawn().unwrap();
    assert!(wait(&mut running).unwrap().success());
    scratch
}

//! Small stores to damage.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use headwater::store::{NewSession, Options, Store};

use super::fill::{fill, turn};
use super::note::note;

/// How the store was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Closed cleanly: all rows in the main file.
    Closed,
    /// As a crash leaves it: rows in the WAL, zeros at the end of the log.
    Open,
}

/// One file, as it was before any damage.
#[derive(Debug, Clone)]
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
}

pub struct Place {
    folder: Option<tempfile::TempDir>,
    pub root: PathBuf,
    whole: Vec<File>,
}

/// In memory where the machine has such a place: nothing here is about syncs, and each costs.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options() -> Options {
    Options { segment_size: 24 << 10, ..Options::default() }
}

impl Place {
    pub fn new(kind: Kind) -> Place {
        let folder = folder();
        let root = folder.path().join("made");
        let store = Store::open_with(&root, options()).unwrap();
        fill(&store);
        let root = match kind {
            Kind::Closed => {
                store.close().unwrap();
                root
            }
            Kind::Open => {
                // The first half is in the main file, the second in the WAL.
                store.close().unwrap();
                let store = Store::open_with(&root, options()).unwrap();
                let session = store.resume(&"demo".parse().unwrap(), None).unwrap();
                for n in 7..9 {
                    turn(&session, n);
                }
                session.begin_turn("left open").unwrap();
                copy(&root, &folder.path().join("left"))
            }
        };
        Place::at(folder, root)
    }

    /// A store of other content, left as a crash leaves it.
    pub fn of_another_store() -> Place {
        let folder = folder();
        let root = folder.path().join("made");
        let store = Store::open_with(&root, options()).unwrap();
        let session = store.create_session(NewSession::named("other".parse().unwrap())).unwrap();
        for n in 20..30 {
            turn(&session, n);
        }
        let root = copy(&root, &folder.path().join("left"));
        Place::at(folder, root)
    }

    fn at(folder: tempfile::TempDir, root: PathBuf) -> Place {
        let mut names = vec!["store.sqlite".to_owned()];
        let _ = fs::remove_file(root.join("store.sqlite-shm"));
        if fs::metadata(root.join("store.sqlite-wal")).is_ok_and(|meta| meta.len() > 0) {
            names.push("store.sqlite-wal".to_owned());
        }
        let mut segments: Vec<String> = fs::read_dir(root.join("blobs"))
            .unwrap()
            .map(|entry| format!("blobs/{}", entry.unwrap().file_name().into_string().unwrap()))
            .collect();
        segments.sort();
        names.extend(segments);
        let whole = names.into_iter().map(|name| File { bytes: fs::read(root.join(&name)).unwrap(), name }).collect();
        let place = Place { folder: Some(folder), root, whole };
        place.trust();
        place
    }

    /// The same files in a folder of their own.
    pub fn twin(&self) -> Place {
        let folder = folder();
        let root = copy(&self.root, &folder.path().join("twin"));
        Place::at(folder, root)
    }

    pub fn files(&self) -> Vec<File> {
        self.whole.clone()
    }

    /// Changes one byte. The file is no open database of this process: see `restore`.
    pub fn put(&self, name: &str, at: usize, byte: u8) {
        let file = fs::OpenOptions::new().write(true).open(self.root.join(name)).unwrap();
        file.write_all_at(&[byte], at as u64).unwrap();
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.root.join(name), bytes).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.root.join(name)).unwrap();
    }

    /// Puts everything back as it was.
    pub fn restore(&self) {
        let _ = fs::remove_dir_all(self.root.join("set-aside"));
        self.clear();
        for file in &self.whole {
            self.write(&file.name, &file.bytes);
        }
        self.trust();
    }

    /// Removes every file of the store.
    pub fn clear(&self) {
        for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal", "store.sqlite.new"]
        {
            let _ = fs::remove_file(self.root.join(name));
        }
        for entry in fs::read_dir(self.root.join("blobs")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// The damaged files as they are now, and what puts them back.
    pub fn now(&self) -> Vec<File> {
        let names = self.whole.iter().map(|file| file.name.clone()).chain(["store.sqlite-wal".to_owned()]);
        let mut files: Vec<File> =
            names.filter_map(|name| Some(File { bytes: fs::read(self.root.join(&name)).ok()?, name })).collect();
        files.dedup_by(|a, b| a.name == b.name);
        files
    }

    /// Puts files back as [`Place::now`] found them.
    pub fn back(&self, files: &[File]) {
        let _ = fs::remove_dir_all(self.root.join("set-aside"));
        self.clear();
        for file in files {
            self.write(&file.name, &file.bytes);
        }
    }

    /// Notes the database as it is for the one known good: then no opening rebuilds it.
    pub fn trust(&self) {
        fs::write(self.root.join("mark"), note(&self.root.join("store.sqlite"))).unwrap();
    }

    pub fn distrust(&self) {
        fs::write(self.root.join("mark"), "").unwrap();
    }

    /// Changes a row behind the store's back, through SQLite itself.
    pub fn lie(&self) {
        let conn = rusqlite::Connection::open(self.root.join("store.sqlite")).unwrap();
        conn.execute("UPDATE hw_message SET chars = chars + 1 WHERE n = 1", []).unwrap();
    }

    /// Leaves the folder where it is, for whoever looks into a failure.
    pub fn keep(&mut self) -> PathBuf {
        self.folder.take().map_or_else(|| self.root.clone(), tempfile::TempDir::keep)
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> PathBuf {
    let done = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(done.success());
    to.to_owned()
}

//! A store to import into, and what the tests of every format ask of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::care::{self, Mode};
use headwater::exchange::{self, ImportError, Imported};
use headwater::model::{Digest, Eval, EvalNumber, Event, SessionId, Turn};
use headwater::store::{Options, Store};
use tempfile::TempDir;

/// A store in a fresh folder, for sources of one format.
pub struct Place {
    pub folder: TempDir,
    pub store: Store,
    format: &'static str,
}

impl Place {
    pub fn of(format: &'static str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open_with(folder.path().join("store"), Options { create: true, ..Options::default() }).unwrap();
        Place { folder, store, format }
    }

    /// A file beside the store.
    pub fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Imports a file of these bytes, always the same one.
    pub fn try_import(&self, bytes: impl AsRef<[u8]>) -> Result<Imported, ImportError> {
        let ending = if self.format == "pixir" { "ndjson" } else { "jsonl" };
        exchange::import(&self.store, &self.file(format!("session.{ending}"), bytes))
    }

    pub fn import(&self, bytes: impl AsRef<[u8]>) -> Imported {
        self.try_import(bytes).unwrap()
    }

    /// All that is found at `path`, as one command imports it.
    pub fn import_all(&self, path: &Path) -> Vec<Imported> {
        let found = exchange::find(path).unwrap();
        found.iter().flat_map(|one| one.import(&self.store, &mut |_| {})).map(Result::unwrap).collect()
    }

    /// The source of a session, byte for byte.
    pub fn source_bytes(&self, session: &SessionId) -> Vec<u8> {
        let mut out = Vec::new();
        exchange::write_source(&self.store, session, &mut out).unwrap();
        out
    }

    pub fn source(&self, session: &SessionId) -> String {
        String::from_utf8(self.source_bytes(session)).unwrap()
    }

    /// The session in the format of the place.
    pub fn export(&self, session: &SessionId) -> String {
        let mut out = Vec::new();
        let written =
            exchange::export(&self.store, session, Some(self.format), &mut exchange::export::Stream(&mut out));
        written.unwrap();
        String::from_utf8(out).unwrap()
    }

    pub fn text(&self, digest: Option<Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    /// The messages at the current head: role and content.
    pub fn said(&self, session: &SessionId) -> Vec<(String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        rows.messages.iter().map(|entry| (entry.row.role.to_string(), self.text(Some(entry.row.content)))).collect()
    }

    /// What the rows say, wherever in the log they are, and whatever was sealed between them.
    pub fn rows(&self, session: &SessionId) -> Vec<String> {
        let rows = self.store.view(session).unwrap().rows;
        let mut all: Vec<String> = rows.messages.iter().map(|entry| format!("{:?}", entry.row)).collect();
        all.extend(rows.turns.into_iter().map(|entry| format!("{:?}", Turn { head_before: None, ..entry.row })));
        all.extend(rows.calls.iter().map(|entry| format!("{:?}", entry.row)));
        // An eval has the number that it got when its source ended, or its result came.
        let evals = rows.evals.into_iter().map(|entry| format!("{:?}", Eval { eval: EvalNumber(0), ..entry.row }));
        let from = all.len();
        all.extend(evals);
        all[from..].sort();
        all
    }

    /// Everything the log says, for comparing two stores.
    pub fn log(&self, session: &SessionId) -> Vec<Event> {
        self.store.events(session).unwrap()
    }

    /// The types of the annotations that the format makes, and the core.
    pub fn annotations(&self, session: &SessionId) -> Vec<String> {
        let kinds = self.log(session).into_iter().map(|event| event.body.kind().to_owned());
        kinds.filter(|kind| kind.starts_with(&format!("{}/", self.format)) || kind.starts_with("import/")).collect()
    }

    pub fn is_sound(&self) {
        assert_eq!(care::check(self.store.root(), Mode::Deep).unwrap().issues, []);
    }
}

/// The lines and kinds of what was odd.
pub fn kinds(imported: &Imported) -> Vec<(u64, &str)> {
    imported.diagnostics.iter().map(|one| (one.line, one.kind.as_str())).collect()
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

/// The regular files below a folder, links apart.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

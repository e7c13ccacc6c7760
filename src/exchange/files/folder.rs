//! The folder: written beside its place, then put there whole; what is not ours is left alone.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::FilesError;
use crate::model::SessionId;

/// Says whose folder it is.
const MARK: &str = "export.json";

/// All that a folder of ours holds, apart from the mark.
const FILES: [&str; 12] = [
    "blobs",
    "calls.json",
    "evals.json",
    "events.jsonl",
    "final.json",
    "invocations.json",
    "messages.json",
    "session.json",
    "snapshots.json",
    "tree.json",
    "turns.json",
    "usage.json",
];

/// A folder being written.
pub(super) struct Folder {
    made: TempDir,
    session: SessionId,
}

impl Folder {
    /// A new one, beside `path`, which must be free or an earlier export of the session.
    pub(super) fn beside(path: &Path, session: &SessionId) -> Result<Folder, FilesError> {
        let failed = |source: io::Error| FilesError::Io { path: path.to_owned(), source };
        if let Some(entry) = foreign(path, session).map_err(failed)? {
            return Err(FilesError::NotOurs { path: path.to_owned(), entry });
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let make = || {
            let made = tempfile::Builder::new().prefix(".headwater-export-").tempdir_in(parent)?;
            fs::create_dir(made.path().join("blobs"))?;
            let mark = json!({ "export": "headwater-files", "version": 1, "session": session });
            fs::write(made.path().join(MARK), format!("{mark}\n"))?;
            Ok(made)
        };
        Ok(Folder { made: make().map_err(failed)?, session: session.clone() })
    }

    pub(super) fn path(&self) -> &Path {
        self.made.path()
    }

    /// Puts it where it belongs, at once; what was there is removed after.
    pub(super) fn place(self, path: &Path) -> io::Result<()> {
        // One sync for all files: a name must not appear before what it names.
        rustix::fs::syncfs(fs::File::open(self.made.path())?)?;
        // An empty folder is replaced by a rename, too.
        if fs::symlink_metadata(path).is_err() || fs::read_dir(path)?.next().is_none() {
            fs::rename(self.made.path(), path)?;
            let _ = self.made.keep();
            return Ok(());
        }
        renameat_with(CWD, self.made.path(), CWD, path, RenameFlags::EXCHANGE)?;
        // What somebody put there meanwhile is not ours to remove: then it is left under the other name.
        if let Some(entry) = foreign(self.made.path(), &self.session)? {
            let left = self.made.keep();
            return Err(io::Error::other(format!(
                "{entry} appeared meanwhile; the earlier export is in {}",
                left.display()
            )));
        }
        self.made.close()
    }
}

/// Something in `path` that is not of an export of the session; none where nothing is there.
fn foreign(path: &Path, session: &SessionId) -> io::Result<Option<String>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return Ok(Some("a file".to_owned())),
        Ok(_) => {}
    }
    let mut marked = false;
    let mut other = None;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        match name.as_str() {
            MARK if kind.is_file() => marked = is_mark(&entry.path(), session)?,
            "blobs" if kind.is_dir() => {
                for blob in fs::read_dir(entry.path())? {
                    let blob = blob?;
                    let name = blob.file_name().to_string_lossy().into_owned();
                    let ours = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
                    if !ours || !blob.file_type()?.is_file() {
                        other.get_or_insert(format!("blobs/{name}"));
                    }
                }
            }
            known if kind.is_file() && FILES.contains(&known) => {}
            _ => {
                other.get_or_insert(name);
            }
        }
    }
    if other.is_none() && !marked && fs::read_dir(path)?.next().is_some() {
        other = Some("no mark of this session's export".to_owned());
    }
    Ok(other)
}

fn is_mark(path: &Path, session: &SessionId) -> io::Result<bool> {
    // Ours is a short line; of anything else the beginning is enough to tell.
    let mut text = String::new();
    let read = io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, 4_096), &mut text);
    if read.is_err() {
        return Ok(false);
    }
    let mark: Option<Value> = serde_json::from_str(&text).ok();
    Ok(mark.is_some_and(|mark| mark["export"] == "headwater-files" && mark["session"] == session.as_str()))
}

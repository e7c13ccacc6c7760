//! Sessions written as the logs of other programs: what was imported byte for byte, what is of headwater's own as the
//! format's writer translates it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use super::format::Known;
use super::kept::{self, Mark};
use super::{Diagnostic, ExportError, FORMATS, beside, written};
use crate::model::{EventNumber, SessionId};
use crate::store::Store;

/// Where an export is written to: one stream, or files in a folder.
pub trait Output {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`ExportError::Output`]; what was written before stays.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError>;

    /// Begins the file of that name, a path from the source's folder; `mark` is what stands for it in the stream.
    ///
    /// # Errors
    ///
    /// [`ExportError::NeedsFolder`] from an output that is one stream.
    fn part(&mut self, name: &str, mark: &[u8]) -> Result<(), ExportError>;
}

/// An output that is one stream.
pub struct Stream<W>(pub W);

impl<W: Write> Output for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.0.write_all(bytes).map_err(ExportError::Output)
    }

    fn part(&mut self, _: &str, _: &[u8]) -> Result<(), ExportError> {
        Err(ExportError::NeedsFolder)
    }
}

/// An output as a [`Write`].
pub(super) struct Writer<'o>(pub &'o mut dyn Output);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map(|()| bytes.len()).map_err(|error| match error {
            ExportError::Output(error) => error,
            other => io::Error::other(other),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The name of the format.
    pub format: &'static str,
    /// What the session holds and the export does not; of a source as it was imported nothing.
    pub notices: Vec<Diagnostic>,
}

/// An output below a folder of another.
struct Below<'o> {
    out: &'o mut dyn Output,
    folder: &'o str,
}

impl Output for Below<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.out.write(bytes)
    }

    fn part(&mut self, name: &str, mark: &[u8]) -> Result<(), ExportError> {
        self.out.part(&format!("{}/{name}", self.folder), mark)
    }
}

/// What the writers of one export know in common.
#[derive(Default)]
struct Common {
    notices: RefCell<Vec<Diagnostic>>,
    /// The sessions that are in it.
    sessions: RefCell<BTreeSet<SessionId>>,
}

/// How deep sessions are written below one another.
const MAX_DEPTH: usize = 64;

/// What a format's writer is to write.
pub struct Task<'t> {
    /// The store.
    pub store: &'t Store,
    /// The session.
    pub session: &'t SessionId,
    /// How far the source of the session was imported, if it was imported in this format: up to there it is to be
    /// written as it was, by [`Task::write_kept`]; what the session holds beyond is to be translated.
    pub kept: Option<KeptSource>,
    known: &'static Known,
    common: &'t Common,
    depth: usize,
}

/// How far a source was imported.
#[derive(Debug, Clone)]
pub struct KeptSource {
    /// The last event of its last batch.
    pub last_event: EventNumber,
    /// The format's state there, as JSON.
    pub state: String,
    /// How many records.
    pub records: u64,
}

impl Task<'_> {
    /// Says that something is left out.
    pub fn notice(&self, kind: &str, message: impl Into<String>) {
        self.common.notices.borrow_mut().push(Diagnostic::new(0, kind, message));
    }

    /// Whether `child` can be written below this session; it is then counted as written. A session is in an export once,
    /// whoever calls it.
    ///
    /// # Errors
    ///
    /// [`ExportError::Read`].
    pub fn takes(&self, child: &SessionId) -> Result<bool, ExportError> {
        if self.depth >= MAX_DEPTH || !self.store.exists(child.as_str())? {
            return Ok(false);
        }
        Ok(self.common.sessions.borrow_mut().insert(child.clone()))
    }

    /// The same for another session, written beside this one.
    ///
    /// # Errors
    ///
    /// [`ExportError::Read`].
    pub(super) fn of<'o>(&'o self, session: &'o SessionId) -> Result<Task<'o>, ExportError> {
        let kept = last_kept(self.store, session, self.store.session(session)?.events)?;
        let kept = kept.filter(|(name, _)| name == self.known.name).map(|(_, kept)| kept);
        let (store, known, common) = (self.store, self.known, self.common);
        Ok(Task { store, session, kept, known, common, depth: self.depth + 1 })
    }

    /// Writes another session in the same format to a folder of its own; `main` is the file of its records.
    ///
    /// # Errors
    ///
    /// As for [`export`].
    pub fn write_child(
        &self,
        child: &SessionId,
        folder: &str,
        main: &str,
        out: &mut dyn Output,
    ) -> Result<(), ExportError> {
        self.of(child)?.write(Some(main), &mut Below { out, folder })
    }

    /// Writes the session; `main` is the file that records go to which are a whole source of one file.
    fn write(self, main: Option<&str>, out: &mut dyn Output) -> Result<(), ExportError> {
        let events = self.store.session(self.session)?.events;
        match &self.kept {
            Some(kept) if kept.last_event.0 == events && !self.known.keeps_versions => {
                if !beside::write(self.known, self.store, self.session, out)? {
                    main.map_or(Ok(()), |main| out.part(main, &[]))?;
                    self.write_kept(out)?;
                }
                Ok(())
            }
            _ => (self.known.write)(&self, out),
        }
    }

    /// Writes the source as it was.
    ///
    /// # Errors
    ///
    /// As for [`export`].
    pub fn write_kept(&self, out: &mut dyn Output) -> Result<(), ExportError> {
        written::restore(self.store, self.session, out)
    }
}

/// Writes `session` to `out`, in the format of that name or else in its own; says which, and what was left out. What was imported in that
/// format comes out byte for byte, with a fork's records that are its parent's, without a torn last line; what the
/// session holds beyond is translated, where the format can.
///
/// # Errors
///
/// [`ExportError`]; what was written to `out` before is then no whole export.
pub fn export(
    store: &Store,
    session: &SessionId,
    format: Option<&str>,
    out: &mut dyn Output,
) -> Result<Exported, ExportError> {
    let info = store.session(session)?;
    let own = last_kept(store, session, info.events)?;
    let origin = info.origin.as_deref().and_then(|origin| origin.split(':').next()).and_then(known);
    let own_format = own.as_ref().and_then(|(name, _)| known(name)).or(origin);
    let known = match format {
        Some(name) => known(name).ok_or_else(|| ExportError::UnknownFormat { name: name.to_owned() })?,
        None => match own_format {
            Some(known) => known,
            None => inherited(store, session)?.ok_or_else(|| ExportError::NoFormat { session: session.clone() })?,
        },
    };
    let kept = own.filter(|(name, _)| name == known.name).map(|(_, kept)| kept);
    let common = Common::default();
    common.sessions.borrow_mut().insert(session.clone());
    Task { store, session, kept, known, common: &common, depth: 0 }.write(None, out)?;
    Ok(Exported { format: known.name, notices: common.notices.into_inner() })
}

fn known(name: &str) -> Option<&'static Known> {
    FORMATS.iter().find(|known| known.name == name)
}

/// The format of the sessions that one without a source of its own goes on from.
fn inherited(store: &Store, session: &SessionId) -> Result<Option<&'static Known>, ExportError> {
    let mut next = store.session(session)?.source;
    // A chain of forks has no cycle: a source is there before what is made from it.
    while let Some((source, _)) = next {
        let info = store.session(&source)?;
        if let Some((name, _)) = last_kept(store, &source, info.events)? {
            return Ok(known(&name));
        }
        next = info.source;
    }
    Ok(None)
}

fn last_kept(store: &Store, session: &SessionId, events: u64) -> Result<Option<(String, KeptSource)>, ExportError> {
    let Some((event, _)) = kept::last(store, session, events)? else { return Ok(None) };
    let kept = kept::Kept::read(store, session, event)?;
    let Mark { records, state, .. } = kept.end();
    let last_event = EventNumber(event.0 + kept.progress.tail);
    let source = KeptSource { last_event, state: state.get().to_owned(), records };
    Ok(Some((kept.progress.format, source)))
}

/// Writes `session` to the file or folder `path`, whole or not at all: see [`export`]. A source of several files
/// becomes a folder, which must not be there.
///
/// # Errors
///
/// [`ExportError`]; `path` is then as it was.
pub fn export_to(
    store: &Store,
    session: &SessionId,
    format: Option<&str>,
    path: &Path,
) -> Result<Exported, ExportError> {
    let io = |source| ExportError::Io { path: path.to_owned(), source };
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = tempfile::Builder::new().prefix(".headwater-").tempdir_in(beside).map_err(io)?;
    let mut out = Folder { root: folder.path().join("export"), file: None };
    let exported = export(store, session, format, &mut out)?;
    let made = out.finish()?;
    // A folder would be put in the place of an empty one.
    if made.is_dir() && path.symlink_metadata().is_ok() {
        return Err(io(io::ErrorKind::AlreadyExists.into()));
    }
    fs::rename(&made, path).map_err(io)?;
    File::open(beside).and_then(|parent| parent.sync_all()).map_err(io)?;
    Ok(exported)
}

/// A file, or a folder once a file is named.
struct Folder {
    root: PathBuf,
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl Folder {
    fn begin(&mut self, path: PathBuf) -> Result<(), ExportError> {
        self.end()?;
        let file = File::create_new(&path).map_err(|source| ExportError::Io { path: path.clone(), source })?;
        self.file = Some((path, BufWriter::new(file)));
        Ok(())
    }

    fn end(&mut self) -> Result<(), ExportError> {
        let Some((path, file)) = self.file.take() else { return Ok(()) };
        let synced = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(|source| ExportError::Io { path, source })
    }

    /// Ends the last file; where all of it lies.
    fn finish(mut self) -> Result<PathBuf, ExportError> {
        if self.file.is_none() && !self.root.exists() {
            let root = self.root.clone();
            self.begin(root)?;
        }
        self.end()?;
        Ok(self.root)
    }
}

impl Output for Folder {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        if self.file.is_none() {
            let root = self.root.clone();
            self.begin(root)?;
        }
        match &mut self.file {
            Some((path, file)) => {
                file.write_all(bytes).map_err(|source| ExportError::Io { path: path.clone(), source })
            }
            None => Ok(()),
        }
    }

    fn part(&mut self, name: &str, _: &[u8]) -> Result<(), ExportError> {
        let relative = Path::new(name);
        let is_inside = !name.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside {
            return Err(kept::damaged(None).into());
        }
        let path = self.root.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| ExportError::Io { path: parent.to_owned(), source })?;
        }
        self.begin(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_become_a_folder_and_none_leaves_it() {
        let place = tempfile::tempdir().unwrap();
        let mut out = Folder { root: place.path().join("export"), file: None };
        out.part("a.json", b"").unwrap();
        out.write(b"1").unwrap();
        out.part("deep/er/b.json", b"").unwrap();
        out.part("empty", b"").unwrap();
        for name in ["", "..", "../x", "/etc/x", "a/../../x", "."] {
            assert!(matches!(out.part(name, b""), Err(ExportError::Read(_))), "{name}");
        }
        let root = out.finish().unwrap();
        assert_eq!(fs::read(root.join("a.json")).unwrap(), b"1");
        assert_eq!(fs::read(root.join("deep/er/b.json")).unwrap(), b"");
        assert_eq!(fs::read(root.join("empty")).unwrap(), b"");
        assert!(matches!(Stream(Vec::new()).part("a", b""), Err(ExportError::NeedsFolder)));
    }
}

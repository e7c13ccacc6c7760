//! A session as files: what its rows and events say at one point, for programs that read folders.

mod folder;
mod value;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::model::fold::Entry;
use crate::model::{Call, Eval, EventNumber, HeadId, Invocation, Message, NodeName, SessionId, Snapshot, Turn};
use crate::store::{Range, ReadError, Recorded, Scope, Store};
use crate::view::types::TreeLimits;
use folder::Folder;
use value::Values;

/// How many events are held at once.
const CHUNK: usize = 1_000;

/// What [`Store::export_files`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOptions {
    /// Values of more bytes are files of their own, under `blobs/`.
    pub inline: u64,
    /// The head whose rows are written; otherwise the current one, and with none the session's whole log.
    pub head: Option<HeadId>,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions { inline: 4_096, head: None }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilesWritten {
    /// Rows of all kinds.
    pub rows: u64,
    /// Events.
    pub events: u64,
    /// Values that became files of their own.
    pub blobs: u64,
}

/// Why a session could not be written as files. The folder is then as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The session could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The folder holds something that was not written here for this session.
    #[error("{path} holds {entry}, which is no export of this session; nothing was changed")]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        entry: String,
    },
    /// A file could not be written.
    #[error("{path} cannot be written")]
    Io {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Store {
    /// Writes a session as files into the folder `path`: `session.json`, `messages.json`, `turns.json`, `evals.json`,
    /// `calls.json`, `snapshots.json`, `invocations.json`, `events.jsonl`, `final.json`, `usage.json`, `tree.json`, and `blobs/`.
    ///
    /// Rows are those at a head, each as its JSON form in docs/FORMAT.md with `session` and `event`; a payload's ref is
    /// replaced by its value, `{"value/kind":"inline","value":TEXT}`, or, where it is longer than `inline` or no text, by
    /// `{"value/kind":"blob","path","digest","bytes"}` with the bytes at that path. The folder appears whole: it is written
    /// beside its place and renamed. One that was written before for the same session is replaced; anything else is refused.
    /// Memory is bounded, whatever the session's length and its payloads'.
    ///
    /// # Errors
    ///
    /// [`FilesError`]; the folder is then as it was.
    pub fn export_files(
        &self,
        session: &SessionId,
        path: impl AsRef<Path>,
        options: FileOptions,
    ) -> Result<FilesWritten, FilesError> {
        let path = path.as_ref();
        let info = self.session(session)?;
        let head = match options.head.or(info.current_head) {
            Some(head) => Some(self.head(&head)?),
            None => None,
        };
        let scope = head.as_ref().map_or(Scope::Log, |head| Scope::Head(head.head));
        let failed = |source: io::Error| FilesError::Io { path: path.to_owned(), source };
        let folder = Folder::beside(path, session)?;
        let mut writing =
            Writing { store: self, session, scope, path, written: FilesWritten::default(), folder: &folder };
        writing.value("session.json", &json!({
            "session": info.session, "aliases": info.aliases, "kind": info.kind, "origin": info.origin, "title": info.title,
            "status": info.status, "cache-id": info.cache_id, "started-at": info.started_at, "updated-at": info.updated_at,
            "ended-at": info.ended_at, "current-head": info.current_head, "events": info.events, "turns": info.turns,
            "heads": info.heads, "head": head.as_ref().map(|head| head.head), "counters": self.high_water_counters(session)?,
            "source-session": info.source.as_ref().map(|(session, _)| session),
            "source-head": info.source.as_ref().map(|(_, head)| head),
        }))?;
        let mut values = Values::new(self.blobs(), folder.path(), options.inline);
        writing.rows::<Message>("messages.json", &mut values)?;
        writing.rows::<Turn>("turns.json", &mut values)?;
        writing.rows::<Eval>("evals.json", &mut values)?;
        writing.rows::<Call>("calls.json", &mut values)?;
        writing.rows::<Snapshot>("snapshots.json", &mut values)?;
        writing.rows::<Invocation>("invocations.json", &mut values)?;
        writing.events(EventNumber(info.events))?;
        // A compaction, or the genesis of a fork, ends no turn: the last one is further back.
        let (mut sealed, mut seen) = (head.clone(), std::collections::HashSet::new());
        while let Some(at) = sealed.as_ref().filter(|head| head.turn.is_none() && seen.insert(head.head)) {
            let Some(before) = at.basis.or(at.up) else { break };
            sealed = Some(self.head(&before)?);
        }
        let final_value = sealed.as_ref().and_then(|head| head.final_value);
        let value = final_value.map(|digest| values.value(&digest)).transpose().map_err(|error| error.at(path))?;
        writing.value(
            "final.json",
            &json!({
                "session": session, "head": head.as_ref().map(|head| head.head),
                "turn": sealed.as_ref().and_then(|head| head.turn), "value": value,
            }),
        )?;
        writing.value("usage.json", &self.usage(session)?)?;
        let tree = self.tree(&NodeName::root(session.clone()), TreeLimits::default())?;
        writing.file("tree.json", |out| tree.write_json(out).map_err(value::Fault::Io))?;
        let mut written = writing.written;
        written.blobs = values.blobs();
        folder.place(path).map_err(failed)?;
        Ok(written)
    }
}

/// Files being written beside their place.
struct Writing<'a> {
    store: &'a Store,
    session: &'a SessionId,
    scope: Scope,
    path: &'a Path,
    written: FilesWritten,
    folder: &'a Folder,
}

impl Writing<'_> {
    fn file(
        &self,
        name: &str,
        fill: impl FnOnce(&mut BufWriter<std::fs::File>) -> Result<(), value::Fault>,
    ) -> Result<(), FilesError> {
        let make = || {
            let mut out = BufWriter::new(std::fs::File::create_new(self.folder.path().join(name))?);
            fill(&mut out)?;
            out.write_all(b"\n")?;
            out.flush()?;
            Ok(())
        };
        make().map_err(|error: value::Fault| error.at(self.path))
    }

    fn value(&self, name: &str, value: &impl Serialize) -> Result<(), FilesError> {
        self.file(name, |out| Ok(serde_json::to_writer(out, value).map_err(io::Error::from)?))
    }

    /// An array, one row a line.
    fn rows<T: Recorded + Serialize>(&mut self, name: &str, values: &mut Values) -> Result<(), FilesError> {
        let rows = self.store.records::<T>(self.session, self.scope, Range::default())?;
        let mut count = 0;
        self.file(name, |out| {
            out.write_all(b"[")?;
            for row in rows {
                let Entry { session, event, row } = row?;
                out.write_all(if count == 0 { b"\n" } else { b",\n" })?;
                let row = values.row(&session, event, &row)?;
                serde_json::to_writer(&mut *out, &row).map_err(io::Error::from)?;
                count += 1;
            }
            Ok(out.write_all(b"\n]")?)
        })?;
        self.written.rows += count;
        Ok(())
    }

    /// The session's own events up to one, compact, one a line: no more than were there at the beginning.
    fn events(&mut self, last: EventNumber) -> Result<(), FilesError> {
        let (mut since, mut count) = (EventNumber(0), 0);
        self.file("events.jsonl", |out| {
            while since < last {
                let events = self.store.events_since(self.session, since, CHUNK)?;
                for event in events.iter().filter(|event| event.id <= last) {
                    if count > 0 {
                        out.write_all(b"\n")?;
                    }
                    serde_json::to_writer(&mut *out, event).map_err(io::Error::from)?;
                    count += 1;
                }
                let Some(event) = events.last() else { break };
                since = event.id;
            }
            Ok(())
        })?;
        self.written.events = count;
        Ok(())
    }
}

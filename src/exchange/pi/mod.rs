//! Pi's session logs, version 1: linear JSONL. docs/IMPORT.md says what becomes of each record.

mod batch;
mod record;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kept::{self, Progress};
use super::source::{self, Item, Reader};
use super::{Diagnostic, Format, ImportError, Imported, Recognized, json};
use crate::model::{CallNumber, Digest, EventNumber, MessageNumber, SessionId, Timestamp, TurnNumber};
use crate::store::error::{CommitError, SessionOpenError};
use crate::store::{NewSession, Session, Store};
use crate::view::types::SessionInfo;
use batch::Importer;
use record::Record;

/// The format.
pub const FORMAT: Format = Format { name: "pi", about: "Pi, version 1", has, import };

fn has(record: &[u8]) -> Recognized {
    let Ok(record) = Record::read(record) else { return Recognized::No };
    if record.kind().as_deref() != Some("session") || json::text(record.id).is_none() {
        return Recognized::No;
    }
    match record.version.map(serde_json::value::RawValue::get) {
        None | Some("1") => Recognized::Yes,
        Some(version) => Recognized::OtherVersion(format!("Pi version {version}")),
    }
}

/// What must be known between two batches.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct State {
    /// Lines that Pi itself reads as one record: what its entry indexes count.
    entries: u64,
    /// The turn that records belong to.
    turn: Option<TurnNumber>,
    /// Whether that turn has ended, so far.
    ended: bool,
    /// The content of the turn's last answer, and why it stopped.
    answer: Option<Digest>,
    stop: Option<String>,
    error: Option<String>,
    /// Tools asked for that gave no result yet.
    pending: Vec<Pending>,
    /// The ids of those that were given up.
    given_up: Vec<String>,
    /// The time of the last record.
    at: Option<Timestamp>,
}

/// A tool that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pending {
    id: String,
    name: Option<String>,
    /// The JSON of its arguments, as it was written.
    code: Option<String>,
    message: MessageNumber,
    call: CallNumber,
    at: Option<Timestamp>,
    /// Its place among the tools asked for in this batch.
    #[serde(skip)]
    number: Option<u64>,
}

/// How often an import begins anew because another one was faster.
const ATTEMPTS: usize = 8;

fn import(store: &Store, path: &Path, first: &[u8]) -> Result<Imported, ImportError> {
    let header = Header::of(first);
    for _ in 0..ATTEMPTS {
        let target = header.find(store)?;
        let (id, info) = match target {
            Target::Here(info) => (info.session.clone(), Some(*info)),
            Target::Free(id) => (id, None),
        };
        match attempt(store, path, &header, &id, info.as_ref()) {
            Ok(Some(imported)) => return Ok(imported),
            // Another import made or filled the session meanwhile.
            Ok(None)
            | Err(ImportError::Open(SessionOpenError::Exists { .. }))
            | Err(ImportError::Commit(CommitError::Repeated { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ImportError::Commit(CommitError::Conflict(format!("another program keeps importing {}", path.display()))))
}

/// Who the source is.
struct Header {
    /// The ids its session may have, the best first.
    ids: Vec<SessionId>,
    /// What tells it from other sources: format, id and first record.
    origin: String,
    at: Option<Timestamp>,
}

enum Target {
    /// It was imported, at least in part.
    Here(Box<SessionInfo>),
    /// It was not; this id is free.
    Free(SessionId),
}

impl Header {
    fn of(first: &[u8]) -> Header {
        let hash: String = Digest::of(first).to_string().chars().skip(3).take(16).collect();
        let record = Record::read(first).ok();
        let id = record.as_ref().and_then(|record| json::text(record.id)).unwrap_or_default();
        let candidates = [id.clone(), format!("{id}-{}", &hash[..8]), format!("pi-{hash}")];
        let mut origin = format!("pi:{id}:{hash}");
        if id.parse::<SessionId>().is_err() {
            origin = format!("pi::{hash}");
        }
        Header {
            ids: candidates.iter().filter_map(|id| id.parse().ok()).collect(),
            origin,
            at: record.and_then(|record| record.at()),
        }
    }

    fn find(&self, store: &Store) -> Result<Target, ImportError> {
        let mut free = None;
        for id in &self.ids {
            if store.exists(id.as_str())? {
                let info = store.session(id)?;
                if info.origin.as_deref() == Some(&self.origin) {
                    return Ok(Target::Here(Box::new(info)));
                }
            } else if free.is_none() {
                free = Some(id.clone());
            }
        }
        free.map(Target::Free).ok_or_else(|| {
            let message = format!("all ids that {} could have are taken", self.origin);
            ImportError::Commit(CommitError::Conflict(message))
        })
    }
}

/// How far the last import came.
struct Last {
    event: EventNumber,
    payload: Digest,
    progress: Progress<State>,
}

impl Last {
    fn of(store: &Store, session: &SessionId, events: u64) -> Result<Option<Last>, ImportError> {
        let Some((event, payload)) = kept::last(store, session, events)? else { return Ok(None) };
        let progress = kept::progress(&store.blobs().get(&payload)?)?;
        Ok(Some(Last { event, payload, progress }))
    }
}

/// One try; `None` where another import was faster.
fn attempt(
    store: &Store,
    path: &Path,
    header: &Header,
    id: &SessionId,
    info: Option<&SessionInfo>,
) -> Result<Option<Imported>, ImportError> {
    let io = |source| ImportError::Io { path: path.to_owned(), source };
    let diverged =
        |what: &str| ImportError::Diverged { path: path.to_owned(), session: id.clone(), what: what.to_owned() };
    let last = match info {
        Some(info) => Last::of(store, id, info.events)?,
        None => None,
    };
    let mut reader = Reader::new(source::open(path)?).map_err(io)?;
    if let Some(last) = &last {
        reader.skip(last.progress.bytes).map_err(io)?;
        if reader.position().bytes < last.progress.bytes {
            return Err(diverged("it is shorter"));
        }
        if reader.position().hash != last.progress.hash {
            return Err(diverged("what was imported of it has changed"));
        }
    }
    let mut importer = Importer::new(path, reader, last.as_ref());
    importer.advance().map_err(io)?;
    let before = info.map_or(0, |info| info.events);
    if importer.has_more() {
        let session = match info {
            Some(_) => store.open_session(id)?,
            None => store.create_session(new_session(header, id)?)?,
        };
        // Between the look above and the lease another import may have added to it.
        let now = store.session(id)?;
        let again = Last::of(store, id, now.events)?;
        if again.as_ref().map(|last| last.payload) != last.as_ref().map(|last| last.payload) {
            return Ok(None);
        }
        if last.as_ref().is_some_and(|last| now.events != last.event.0 + last.progress.tail) {
            return Err(diverged("the session went on by itself, and so did the source"));
        }
        importer.run(&session)?;
        session.close()?;
    }
    let torn = importer.torn();
    summary(store, id, path, before, torn).map(Some)
}

fn new_session(header: &Header, id: &SessionId) -> Result<NewSession, ImportError> {
    let mut new = NewSession::named(id.clone());
    new.origin = Some(header.origin.clone());
    new.at = header.at;
    Ok(new)
}

/// What the session holds now.
fn summary(
    store: &Store,
    id: &SessionId,
    path: &Path,
    before: u64,
    torn: Option<Diagnostic>,
) -> Result<Imported, ImportError> {
    let info = store.session(id)?;
    let counters = store.high_water_counters(id)?;
    let mut diagnostics = match kept::last(store, id, info.events)? {
        Some((event, _)) => kept::diagnostics(store, id, event)?,
        None => Vec::new(),
    };
    diagnostics.extend(torn);
    let alias = Some(info.aliases.first().unwrap_or(&info.session).clone());
    Ok(Imported {
        session: info.session,
        alias,
        source: path.to_owned(),
        format: FORMAT.name,
        events: info.events,
        messages: counters.message,
        turns: counters.turn,
        calls: counters.call,
        evals: counters.eval,
        heads: counters.head,
        invocations: counters.invocation,
        new_events: info.events.saturating_sub(before),
        diagnostics,
    })
}

/// How many messages the records before Pi's entry `index` became.
fn messages_before(path: &Path, index: u64) -> Result<u64, ImportError> {
    let io = |source| ImportError::Io { path: path.to_owned(), source };
    let mut reader: Reader<BufReader<File>> = Reader::new(source::open(path)?).map_err(io)?;
    let (mut entries, mut messages) = (0, 0);
    while let Some(item) = reader.advance().map_err(io)? {
        if item != Item::Record {
            continue;
        }
        if reader.is_whole_line() {
            if entries == index {
                break;
            }
            entries += 1;
        }
        let shape = Record::read(reader.record()).ok().and_then(|record| record.shape().ok());
        messages += u64::from(shape.is_some_and(|shape| shape.is_message()));
    }
    Ok(messages)
}

/// The session handle's errors, told apart from those of reading, which a batch's closure cannot return.
fn commit(
    session: &Session,
    key: &str,
    fill: impl FnOnce(&mut crate::store::Batch) -> Result<(), batch::Stop>,
) -> Result<(), ImportError> {
    let mut stopped = None;
    let result = session.write(|batch| {
        batch.key(key);
        fill(batch).map_err(|stop| match stop {
            batch::Stop::Commit(error) => error,
            batch::Stop::Import(error) => {
                stopped = Some(error);
                CommitError::Invalid("the source could not be read".to_owned())
            }
        })
    });
    match (result, stopped) {
        (_, Some(error)) => Err(error),
        (result, None) => Ok(result?),
    }
}

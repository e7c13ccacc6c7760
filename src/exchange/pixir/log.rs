//! The operations of Pixir's own log, over a store: append, create a session, fold. What is appended becomes the rows
//! that an import of the same line makes, and is kept as a line; so the log is exported byte for byte.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Pixir;
use super::record::{CANONICAL, Record};
use super::write::Line;
use crate::exchange::batch::Direct;
use crate::exchange::export::{Stream, export};
use crate::exchange::format::Format;
use crate::exchange::kept::Last;
use crate::exchange::reader::{Item, Reader};
use crate::exchange::run::short;
use crate::exchange::{ExportError, ImportError};
use crate::model::{Digest, SessionId};
use crate::store::error::{CommitError, ReadError, SessionOpenError};
use crate::store::{NewSession, Session, Store};

/// A canonical event of a session.
#[derive(Debug, Clone)]
pub struct LogEvent {
    /// Its id; made where it is empty.
    pub id: String,
    /// Whose it is.
    pub session_id: String,
    /// Its place in the order of the history; given by [`Log::append`] where it has none.
    pub seq: Option<u64>,
    /// When it happened, RFC 3339; now, where it is empty.
    pub ts: String,
    /// One of Pixir's canonical types.
    pub kind: String,
    /// A JSON object, kept as it is written.
    pub data: Box<RawValue>,
}

impl PartialEq for LogEvent {
    fn eq(&self, other: &LogEvent) -> bool {
        let parts = |one: &LogEvent| {
            let LogEvent { id, session_id, seq, ts, kind, .. } = one.clone();
            (id, session_id, seq, ts, kind)
        };
        parts(self) == parts(other) && self.data.get() == other.data.get()
    }
}

impl LogEvent {
    /// An event that has no id, number and time yet.
    ///
    /// # Errors
    ///
    /// `invalid_args` where `data` is no JSON object.
    pub fn new(session: &str, kind: &str, data: &str) -> Result<LogEvent, LogError> {
        let parsed: Box<RawValue> = serde_json::from_str(data).map_err(|error| {
            LogError::new("invalid_args", "event data is no JSON", json!({ "reason": error.to_string() }))
        })?;
        Ok(LogEvent {
            id: String::new(),
            session_id: session.to_owned(),
            seq: None,
            ts: String::new(),
            kind: kind.to_owned(),
            data: parsed,
        })
    }
}

/// Why an operation failed; nothing was changed. The kinds: `invalid_args`, `ephemeral_not_loggable`, `already_exists`,
/// `corrupt_log_line`, `not_a_log` (the session was neither made here nor imported from Pixir, or went on otherwise),
/// `log_write_failed`, `log_read_failed`, `log_encode_failed`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LogError {
    /// A word for programs.
    pub kind: &'static str,
    /// What went wrong, in words.
    pub message: String,
    /// Facts for programs, a JSON object.
    pub details: Value,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl LogError {
    fn new(kind: &'static str, message: &str, details: Value) -> LogError {
        LogError { kind, message: message.to_owned(), details, source: None }
    }

    fn caused(
        kind: &'static str,
        message: &str,
        session: &SessionId,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> LogError {
        let details = json!({ "session_id": session, "reason": error.to_string() });
        LogError { source: Some(Box::new(error)), ..LogError::new(kind, message, details) }
    }

    /// The error as Pixir prints it: `ok`, and `error` with kind, message, details.
    pub fn to_json(&self) -> Value {
        json!({ "ok": false, "error": { "kind": self.kind, "message": self.message, "details": self.details } })
    }
}

/// Pixir's log over a store.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let store = headwater::store::Store::open(folder.path().join("store"))?;
/// use headwater::exchange::pixir::log::{Log, LogEvent};
///
/// let log = Log::new(store, ".");
/// let event = log.append(LogEvent::new("demo", "user_message", r#"{"text":"hello"}"#)?)?;
/// assert_eq!(event.seq, Some(0));
/// assert_eq!(log.fold("demo")?, [event]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Log {
    store: Store,
    workspace: PathBuf,
    /// The sessions this log writes, each with a lock of its own: an append waits for those to its session alone, and
    /// those to several share a sync.
    open: Mutex<HashMap<SessionId, Slot>>,
}

/// A session's handle, once it is made or opened.
type Slot = Arc<Mutex<Option<Session>>>;

impl Log {
    /// The log of the sessions of `workspace`, in `store`.
    pub fn new(store: Store, workspace: impl AsRef<Path>) -> Log {
        Log { store, workspace: workspace.as_ref().to_owned(), open: Mutex::new(HashMap::new()) }
    }

    /// Where Pixir keeps the log of that session: nothing is read or written there.
    pub fn path(&self, session: &str) -> PathBuf {
        self.workspace.join(".pixir").join("sessions").join(format!("{session}.ndjson"))
    }

    /// Whether the session is there.
    ///
    /// # Errors
    ///
    /// `invalid_args` for a text that can be no session id, rather than `false`.
    pub fn exists(&self, session: &str) -> Result<bool, LogError> {
        let id = id(session)?;
        self.store.exists(id.as_str()).map_err(|error| unread(&id, error))
    }

    /// Makes a session of these events, all or nothing. Those without a number are numbered by their place.
    ///
    /// # Errors
    ///
    /// `already_exists`; as for [`Log::append`].
    pub fn create_session(&self, session: &str, events: Vec<LogEvent>) -> Result<Vec<LogEvent>, LogError> {
        let id = id(session)?;
        self.with(&id, |slot| {
            if self.exists(id.as_str())? {
                return Err(exists(&id));
            }
            self.create(&id, slot, events)
        })
    }

    /// Appends a canonical event, durably, and gives it back with its number. A session that is not there is made. Threads
    /// may append at once, to one session or to several.
    ///
    /// # Errors
    ///
    /// `ephemeral_not_loggable` for other types; `invalid_args` for fields that are not well formed, and where no number
    /// is left; `not_a_log`; `log_write_failed`.
    pub fn append(&self, event: LogEvent) -> Result<LogEvent, LogError> {
        let id = id(&event.session_id)?;
        self.with(&id, |slot| {
            if slot.is_none() && !self.exists(id.as_str())? {
                match self.create(&id, slot, vec![event.clone()]) {
                    // Another program made it meanwhile.
                    Err(error) if error.kind == "already_exists" => {}
                    written => {
                        let nothing = || LogError::new("log_write_failed", "nothing was written", json!({}));
                        return written?.pop().ok_or_else(nothing);
                    }
                }
            }
            let session = match slot.take() {
                Some(session) => session,
                None => self.store.open_session(&id).map_err(|error| unwritten(&id, error))?,
            };
            let session = slot.insert(session);
            let last = self.last(&id)?;
            let (event, line) = self.line(&id, event, last.progress.state.next_seq())?;
            let written = Direct::write(session, Some(last), &[line]);
            if written.is_err() {
                // The handle may have lost its lease.
                *slot = None;
            }
            written.map_err(|error| unstored(&id, error))?;
            Ok(event)
        })
    }

    /// Gives the session up, so that another can write it; the next [`Log::append`] takes it again. Waits for an append
    /// under way. One that this log does not write is left as it is.
    ///
    /// # Errors
    ///
    /// `invalid_args`; `log_write_failed` where the session could not be closed: it is given up all the same.
    pub fn release(&self, session: &str) -> Result<(), LogError> {
        let id = id(session)?;
        self.with(&id, |slot| match slot.take() {
            Some(session) => session
                .close()
                .map_err(|error| LogError::caused("log_write_failed", "could not close session log", &id, error)),
            None => Ok(()),
        })
    }

    /// Does something with a session's handle, and nothing else with that session meanwhile.
    fn with<T>(
        &self,
        id: &SessionId,
        act: impl FnOnce(&mut Option<Session>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let slot = Arc::clone(locked(&self.open).entry(id.clone()).or_default());
        let done = act(&mut locked(&slot));
        // One that holds nothing is forgotten, unless another waits for it: two slots of a session would get in each
        // other's way.
        let mut open = locked(&self.open);
        if Arc::strong_count(&slot) == 2 && locked(&slot).is_none() {
            open.remove(id);
        }
        done
    }

    fn create(
        &self,
        id: &SessionId,
        slot: &mut Option<Session>,
        events: Vec<LogEvent>,
    ) -> Result<Vec<LogEvent>, LogError> {
        let (mut state, mut written, mut lines) = (Pixir::default(), Vec::new(), Vec::new());
        for event in events {
            let (event, line) = self.line(id, event, state.next_seq())?;
            state.passed(&line);
            lines.push(line);
            written.push(event);
        }
        *slot = Some(self.make(id, &lines)?);
        Ok(written)
    }

    /// The events in the order of the history: by number, those without one last, otherwise as they were appended. A
    /// session that is not there has none.
    ///
    /// # Errors
    ///
    /// `corrupt_log_line` where a line is no event of a canonical type; `log_read_failed`.
    pub fn fold(&self, session: &str) -> Result<Vec<LogEvent>, LogError> {
        let mut events = self.fold_append_order(session)?;
        events.sort_by_key(|event| (event.seq.is_none(), event.seq));
        Ok(events)
    }

    /// The events in the order in which they were appended.
    ///
    /// # Errors
    ///
    /// As for [`Log::fold`].
    pub fn fold_append_order(&self, session: &str) -> Result<Vec<LogEvent>, LogError> {
        let id = id(session)?;
        if !self.exists(session)? {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        export(&self.store, &id, Some(Pixir::NAME), &mut Stream(&mut bytes)).map_err(|error| match error {
            ExportError::Read(error) => unread(&id, error),
            error => LogError::caused("log_read_failed", "could not read session log", &id, error),
        })?;
        let mut reader = Reader::over(bytes.as_slice()).with_syntax(Pixir::SYNTAX);
        let mut events = Vec::new();
        while let Some(item) = reader.advance().map_err(|error| unread(&id, ReadError::Output(Box::new(error))))? {
            match item {
                Item::Blank => {}
                Item::Record => events.push(self.read(&id, &reader)?),
                _ => return Err(self.corrupt(&id, &reader, "it is no record")),
            }
        }
        Ok(events)
    }

    fn read(&self, id: &SessionId, reader: &Reader<'_>) -> Result<LogEvent, LogError> {
        let record = Record::read(reader.record()).map_err(|error| self.corrupt(id, reader, &error.to_string()))?;
        let kind = record.kind().ok_or_else(|| self.corrupt(id, reader, "missing_event_type"))?;
        if !CANONICAL.contains(&kind.as_str()) {
            return Err(self.corrupt(id, reader, &format!("unknown_event_type: {kind}")));
        }
        let data = record.data.filter(|data| data.get() != "null").map(|data| data.to_owned());
        let empty = || serde_json::value::to_raw_value(&json!({}));
        Ok(LogEvent {
            id: record.id().unwrap_or_default(),
            session_id: record.session().unwrap_or_default(),
            seq: record.seq(),
            ts: record.ts().unwrap_or_default(),
            kind,
            data: data.map_or_else(empty, Ok).map_err(|error| self.corrupt(id, reader, &error.to_string()))?,
        })
    }

    fn corrupt(&self, id: &SessionId, reader: &Reader<'_>, reason: &str) -> LogError {
        let details = json!({ "reason": reason, "session_id": id, "line": reader.line(),
            "path": self.path(id.as_str()).display().to_string() });
        LogError::new("corrupt_log_line", "could not decode a log line", details)
    }

    /// The event as it is written, and its line.
    fn line(&self, id: &SessionId, event: LogEvent, next: u64) -> Result<(LogEvent, Vec<u8>), LogError> {
        let invalid = |what: &str, details: Value| Err(LogError::new("invalid_args", what, details));
        if !CANONICAL.contains(&event.kind.as_str()) {
            let details = json!({ "type": event.kind });
            return Err(LogError::new("ephemeral_not_loggable", "refusing to persist a non-canonical event", details));
        }
        if event.session_id != id.as_str() {
            let details = json!({ "session_id": id, "event_session_id": event.session_id });
            return invalid("the event is of another session", details);
        }
        if !event.data.get().starts_with('{') {
            return invalid("event data is no JSON object", json!({ "type": event.kind }));
        }
        if event.data.get().contains('\n') {
            return invalid("event data has a line end", json!({ "type": event.kind }));
        }
        let seq = event.seq.unwrap_or(next);
        // None could follow it.
        if seq == u64::MAX {
            return invalid("no sequence number is left", json!({ "seq": seq }));
        }
        let mut event = LogEvent { seq: Some(seq), ..event };
        let clock = &self.store.inner.clock;
        if event.id.is_empty() {
            event.id = clock.fresh_session().to_string();
        }
        if event.ts.is_empty() {
            event.ts = clock.now().to_string();
        } else if event.ts.parse::<crate::model::Timestamp>().is_err() {
            return invalid("the event's time is none", json!({ "ts": event.ts }));
        }
        let line = Line {
            id: &event.id,
            session_id: &event.session_id,
            seq,
            ts: &event.ts,
            kind: &event.kind,
            data: &event.data,
        };
        let encoded = serde_json::to_vec(&line);
        let mut line = encoded.map_err(|error| {
            LogError::caused("log_encode_failed", "could not encode event for session log", id, error)
        })?;
        line.push(b'\n');
        Ok((event, line))
    }

    fn make(&self, id: &SessionId, lines: &[Vec<u8>]) -> Result<Session, LogError> {
        let mut new = NewSession::named(id.clone());
        // What an import of the log's lines would say.
        let first = lines.first().map(|line| short(&Digest::of(line.trim_ascii_end()))).unwrap_or_default();
        new.origin = Some(format!("{}:{id}:{first}", Pixir::NAME));
        Direct::create::<Pixir>(&self.store, new, lines).map_err(|error| match error {
            ImportError::Open(SessionOpenError::Exists { .. }) => exists(id),
            error => unstored(id, error),
        })
    }

    /// How far the log came, where all that the session holds is the log's.
    fn last(&self, id: &SessionId) -> Result<Last<Pixir>, LogError> {
        let info = self.store.session(id).map_err(|error| unread(id, error))?;
        let last = Last::<Pixir>::of(&self.store, id, info.events).map_err(|error| unread(id, error))?;
        match last {
            Some(last) if last.end() == Some(info.events) && last.progress.format == Pixir::NAME => Ok(last),
            _ => {
                let message = "the session is no log of Pixir's, or went on by other means";
                Err(LogError::new("not_a_log", message, json!({ "session_id": id })))
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(session: &str) -> Result<SessionId, LogError> {
    session.parse().map_err(|error: crate::model::id::BadId| {
        // The text itself is not repeated: it may be anything.
        LogError::new("invalid_args", "session id is invalid", json!({ "field": "session_id", "rule": error.rule }))
    })
}

fn exists(id: &SessionId) -> LogError {
    LogError::new("already_exists", "session log already exists", json!({ "session_id": id }))
}

fn unread(id: &SessionId, error: ReadError) -> LogError {
    LogError::caused("log_read_failed", "could not read session log", id, error)
}

fn unwritten(id: &SessionId, error: SessionOpenError) -> LogError {
    LogError::caused("log_write_failed", "could not append to session log", id, error)
}

fn unstored(id: &SessionId, error: ImportError) -> LogError {
    match error {
        ImportError::Commit(CommitError::Ephemeral { kind }) => {
            let details = json!({ "type": kind });
            LogError::new("ephemeral_not_loggable", "refusing to persist a non-canonical event", details)
        }
        error => LogError::caused("log_write_failed", "could not append to session log", id, error),
    }
}

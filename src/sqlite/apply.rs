//! The one function that makes rows from a commit: live, adopted, rebuilt, imported.

mod event;
mod record;
mod words;

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::session_row::SessionRow;
use super::{spans, stmt};
use crate::blob::{Place, codec::Codec};
use crate::journal::{BatchKey, Line, TxHeader};
use crate::model::line::Item;
use crate::model::{Body, Digest, Event, HeadId, Record, SessionId, session::SessionStarted};
use crate::segment::Position;
use words::Words;

/// Why a commit makes no rows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// A caller's mistake: a name is taken, a version is not the expected one.
    #[error("{0}")]
    Conflict(String),
    /// A caller's mistake, or damage when the commit comes from the log.
    #[error("{0} does not exist")]
    Missing(String),
    /// The commit contradicts the rows.
    #[error("{0}")]
    Contradicts(String),
    /// A newer version wrote it.
    #[error("{0}")]
    Newer(String),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error("a payload that rows are made from cannot be read")]
    Payload(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where a payload's frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FramePlace {
    pub(crate) at: Position,
    pub(crate) stored: u64,
    pub(crate) codec: u8,
    /// Where it begins in a pack.
    pub(crate) skip: Option<u32>,
}

/// A payload's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobPlace {
    pub(crate) bid: i64,
    pub(crate) size: u64,
    pub(crate) at: Option<Position>,
    pub(crate) stored: u64,
    pub(crate) codec: u8,
    pub(crate) skip: Option<u32>,
    pub(crate) state: i64,
}

impl BlobPlace {
    /// Where its bytes are, if it is in one frame.
    pub(crate) fn place(&self) -> Option<Place> {
        let stored = u32::try_from(self.stored).unwrap_or(0);
        self.at.map(|at| Place { at, stored, skip: self.skip, size: self.size })
    }

    /// Whether the bytes can be read: neither erased nor lost.
    pub(crate) fn holds_bytes(&self) -> bool {
        self.state != ERASED && self.codec != Codec::LOST.0
    }
}

/// `hw_blob.state`: in one frame, in the frames of its parts, nowhere any more.
pub(crate) const PRESENT: i64 = 0;
pub(crate) const IN_PARTS: i64 = 1;
pub(crate) const ERASED: i64 = 2;

/// Reads the payloads that rows are made from: roots, and display text up to 1 KB.
pub(crate) trait Fetch {
    /// The payload's bytes, verified.
    fn fetch(&self, digest: &Digest, place: &BlobPlace) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Makes rows from commits. Holds the rows of the sessions it met, so that a commit need not read them again;
/// whoever rolls a transaction back, or lets another process write, calls [`Applier::forget`].
#[derive(Debug, Default)]
pub(crate) struct Applier {
    sessions: HashMap<SessionId, SessionRow>,
    words: Words,
}

/// Sessions held before the oldest are let go.
const HELD: usize = 4_096;
/// Display text longer than this is not cached in rows.
const DISPLAY: u64 = 1_024;

impl Applier {
    /// Drops what was held.
    pub(crate) fn forget(&mut self) {
        self.sessions.clear();
        self.words = Words::default();
    }

    /// The row of session `id`, as the transaction sees it.
    pub(crate) fn session(&mut self, conn: &Connection, id: &SessionId) -> rusqlite::Result<Option<SessionRow>> {
        if let Some(row) = self.sessions.get(id) {
            return Ok(Some(row.clone()));
        }
        let found = SessionRow::find(conn, id)?;
        if let Some(row) = &found {
            self.hold(id, row);
        }
        Ok(found)
    }

    fn hold(&mut self, id: &SessionId, row: &SessionRow) {
        if self.sessions.len() >= HELD {
            self.sessions.clear();
        }
        self.sessions.insert(id.clone(), row.clone());
    }

    /// Applies one commit whose payload frames are at `places`. The caller sees to order (tx by tx), to the
    /// transaction, and to hw_tx.
    pub(crate) fn apply(
        &mut self,
        conn: &Connection,
        head: &TxHeader,
        key: Option<&BatchKey>,
        lines: &[Line],
        places: &[FramePlace],
        fetch: &dyn Fetch,
    ) -> Result<(), ApplyError> {
        let words = std::mem::take(&mut self.words);
        let mut step = Step { conn, head, places: places.iter(), fetch, fresh: HashMap::new(), row: None, words };
        for line in lines {
            match &line.item {
                Item::Event(event) => {
                    if step.row.as_ref().is_none_or(|(id, _)| *id != event.session) {
                        self.save(conn, &mut step)?;
                        let found = self.session(conn, &event.session)?;
                        step.begin(event, found)?;
                    }
                    step.event(event, line.digest)?;
                }
                Item::Record(record) => {
                    if !matches!(record, Record::PayloadAdded { .. } | Record::PayloadPart { .. }) {
                        self.save(conn, &mut step)?;
                    }
                    step.record(record)?;
                    if let Record::SessionRemoved { session } = record {
                        self.sessions.remove(session);
                    }
                }
                Item::Unknown(_) => {}
            }
        }
        self.save(conn, &mut step)?;
        self.words = step.words;
        if let Some(key) = key {
            let row = self.session(conn, &key.session)?.ok_or_else(|| missing("session", &key.session))?;
            conn.prepare_cached(stmt::meta::ADD_KEY)?.execute(params![
                row.sid,
                key.key,
                head.tx.0,
                key.first_event.0,
                key.events,
                key.content.0.as_slice()
            ])?;
        }
        Ok(())
    }

    fn save(&mut self, conn: &Connection, step: &mut Step<'_>) -> Result<(), ApplyError> {
        if let Some((id, row)) = step.row.take() {
            row.save(conn)?;
            self.hold(&id, &row);
        }
        Ok(())
    }
}

/// The row of payload `digest`.
pub(crate) fn find_blob(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<BlobPlace>> {
    conn.prepare_cached(stmt::blob::FIND)?
        .query_row(params![digest.prefix(), digest.0.as_slice()], |row| {
            let at = match (row.get::<_, Option<u64>>(2)?, row.get::<_, Option<u64>>(3)?) {
                (Some(segment), Some(offset)) => Some(Position::new(segment, offset)),
                _ => None,
            };
            Ok(BlobPlace {
                bid: row.get(0)?,
                size: row.get(1)?,
                at,
                stored: row.get(4)?,
                state: row.get(5)?,
                codec: row.get(6)?,
                skip: row.get(7)?,
            })
        })
        .optional()
}

/// The parts of payload `bid`, in order.
pub(crate) fn parts(conn: &Connection, bid: i64) -> rusqlite::Result<Vec<Digest>> {
    let mut statement = conn.prepare_cached(stmt::blob::PARTS)?;
    let rows = statement.query_map([bid], |row| {
        let hash: Vec<u8> = row.get(0)?;
        Digest::from_slice(&hash).ok_or(rusqlite::Error::InvalidQuery)
    })?;
    rows.collect()
}

fn missing(what: &str, name: impl std::fmt::Display) -> ApplyError {
    ApplyError::Missing(format!("{what} {name}"))
}

/// One commit being applied.
struct Step<'a> {
    conn: &'a Connection,
    head: &'a TxHeader,
    places: std::slice::Iter<'a, FramePlace>,
    fetch: &'a dyn Fetch,
    /// Payloads met in this commit: most are referred to right after they are added.
    fresh: HashMap<Digest, BlobPlace>,
    row: Option<(SessionId, SessionRow)>,
    /// The applier's; one that fails leaves it none, and they are read again.
    words: Words,
}

impl Step<'_> {
    fn begin(&mut self, event: &Event, found: Option<SessionRow>) -> Result<(), ApplyError> {
        let row = match (&event.body, found) {
            (Body::SessionStarted(_), Some(_)) => {
                return Err(ApplyError::Conflict(format!("session {} exists already", event.session)));
            }
            (Body::SessionStarted(started), None) => self.add_session(event, started)?,
            (_, Some(row)) => row,
            (_, None) => return Err(missing("session", &event.session)),
        };
        self.row = Some((event.session.clone(), row));
        Ok(())
    }

    fn add_session(&mut self, event: &Event, started: &SessionStarted) -> Result<SessionRow, ApplyError> {
        let up = started.source.as_ref().map(|source| self.head(&source.head)).transpose()?;
        let i = started.source.as_ref().map(|source| source.counters).unwrap_or_default();
        let at = event.at.micros();
        self.conn.prepare_cached(stmt::session::ADD)?.execute(params![
            event.session.as_str(),
            started.kind.as_str(),
            started.origin,
            started.cache_id,
            started.status.as_str(),
            at,
            up,
            Digest::ZERO.0.as_slice(),
            i.message,
            i.turn,
            i.call,
            i.eval,
            i.snapshot,
            i.head,
            i.invocation,
            i.child,
        ])?;
        Ok(SessionRow {
            sid: self.conn.last_insert_rowid(),
            status: started.status.to_string(),
            started_at: at,
            updated_at: at,
            ended_at: None,
            current: None,
            base_up: up,
            base_from: 1,
            basis: up,
            last_event: 0,
            digest: Digest::ZERO,
            deep: false,
            inherited: crate::model::Counters { event: 0, ..i },
            numbers: Some([0; 3]),
        })
    }

    fn find(&mut self, digest: &Digest) -> Result<BlobPlace, ApplyError> {
        if let Some(place) = self.fresh.get(digest) {
            return Ok(*place);
        }
        let place = find_blob(self.conn, digest)?.ok_or_else(|| missing("payload", digest))?;
        self.fresh.insert(*digest, place);
        Ok(place)
    }

    fn blob(&mut self, digest: &Digest) -> Result<i64, ApplyError> {
        self.find(digest).map(|place| place.bid)
    }

    fn opt(&mut self, digest: &Option<Digest>) -> Result<Option<i64>, ApplyError> {
        digest.as_ref().map(|digest| self.blob(digest)).transpose()
    }

    fn head(&mut self, head: &HeadId) -> Result<i64, ApplyError> {
        let place = self.find(&head.0).map_err(|error| match error {
            ApplyError::Missing(_) => missing("head", head),
            other => other,
        })?;
        match spans::place(self.conn, place.bid)? {
            Some(_) => Ok(place.bid),
            // A payload, but no head's root.
            None => Err(missing("head", head)),
        }
    }

    fn opt_head(&mut self, head: &Option<HeadId>) -> Result<Option<i64>, ApplyError> {
        head.as_ref().map(|head| self.head(head)).transpose()
    }

    fn sid(&self, session: &SessionId) -> Result<i64, ApplyError> {
        Ok(SessionRow::find(self.conn, session)?.ok_or_else(|| missing("session", session))?.sid)
    }

    /// Display text that rows cache: up to 1 KB of UTF-8, nothing where it was erased.
    fn display(&mut self, digest: &Option<Digest>) -> Result<Option<String>, ApplyError> {
        let Some(digest) = digest else { return Ok(None) };
        let place = self.find(digest)?;
        if place.size > DISPLAY || !place.holds_bytes() {
            return Ok(None);
        }
        Ok(String::from_utf8(self.bytes(digest, &place)?).ok())
    }

    /// A payload's bytes, whether it is kept in one frame or in parts.
    fn bytes(&mut self, digest: &Digest, place: &BlobPlace) -> Result<Vec<u8>, ApplyError> {
        if place.state != IN_PARTS {
            return self.fetch.fetch(digest, place).map_err(ApplyError::Payload);
        }
        let mut bytes = Vec::new();
        for part in parts(self.conn, place.bid)? {
            let place = self.find(&part)?;
            bytes.extend(self.fetch.fetch(&part, &place).map_err(ApplyError::Payload)?);
        }
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        Err(ApplyError::Contradicts(format!("the parts of payload {digest} are not those it was made of")))
    }
}

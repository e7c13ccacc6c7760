//! The one function that makes rows from a commit: live, adopted, rebuilt, imported.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::session_row::SessionRow;
use super::{row, spans, stmt};
use crate::journal::{BatchKey, Line, TxHeader};
use crate::model::line::Item;
use crate::model::{Body, Digest, Event, HeadId, HeadKind, Record, Root, SessionId, session::SessionStarted};
use crate::segment::Position;

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
}

/// A payload's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobPlace {
    pub(crate) bid: i64,
    pub(crate) size: u64,
    pub(crate) at: Option<Position>,
    pub(crate) stored: u64,
    pub(crate) state: i64,
}

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
}

/// Sessions held before the oldest are let go.
const HELD: usize = 4_096;
/// Display text longer than this is not cached in rows.
const DISPLAY: u64 = 1_024;

impl Applier {
    /// Drops what was held.
    pub(crate) fn forget(&mut self) {
        self.sessions.clear();
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
    /// transaction, and to the end of the log in hw_meta.
    pub(crate) fn apply(
        &mut self,
        conn: &Connection,
        head: &TxHeader,
        key: Option<&BatchKey>,
        lines: &[Line],
        places: &[FramePlace],
        fetch: &dyn Fetch,
    ) -> Result<(), ApplyError> {
        conn.prepare_cached(stmt::meta::ADD_TX)?.execute(params![head.tx.0, head.at.micros()])?;
        let mut step =
            Step { conn, at: head.at.micros(), places: places.iter(), fetch, fresh: HashMap::new(), row: None };
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
            Ok(BlobPlace { bid: row.get(0)?, size: row.get(1)?, at, stored: row.get(4)?, state: row.get(5)? })
        })
        .optional()
}

fn missing(what: &str, name: impl std::fmt::Display) -> ApplyError {
    ApplyError::Missing(format!("{what} {name}"))
}

/// One commit being applied.
struct Step<'a> {
    conn: &'a Connection,
    at: i64,
    places: std::slice::Iter<'a, FramePlace>,
    fetch: &'a dyn Fetch,
    /// Payloads met in this commit: most are referred to right after they are added.
    fresh: HashMap<Digest, BlobPlace>,
    row: Option<(SessionId, SessionRow)>,
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
        })
    }

    fn event(&mut self, event: &Event, digest: Digest) -> Result<(), ApplyError> {
        let Some((id, mut row)) = self.row.take() else { return Err(missing("session", &event.session)) };
        let ev = event.number.0;
        if ev != row.last_event + 1 {
            return Err(ApplyError::Contradicts(format!("event {ev} of {id} follows event {}", row.last_event)));
        }
        let (mut n, mut reference, mut status) = (None, None, None);
        let inherited = row.inherited;
        let (sid, number) = (row.sid, ev);
        match &event.body {
            Body::SessionStarted(_) => {}
            Body::SessionStatus(change) => {
                row.status = change.status.to_string();
                row.ended_at = change.ended_at.map(|at| at.micros());
                status = Some(change.status.as_str());
                reference = self.opt(&change.payload)?;
            }
            Body::SessionError(error) => {
                row.status = error.status.to_string();
                status = Some(error.status.as_str());
                reference = Some(self.blob(&error.error)?);
            }
            Body::SessionRestored(restored) => {
                let hid = self.head(&restored.source_head)?;
                (row.base_up, row.base_from, row.basis) = (Some(hid), ev, Some(hid));
                n = restored.snapshot.map(|n| n.0);
                reference = Some(hid);
            }
            Body::RefUpdated(head) => {
                let hid = self.head(head)?;
                spans::table(self.conn, &mut row, hid)?;
                row.current = Some(hid);
                if row.basis != Some(hid) {
                    (row.base_up, row.base_from, row.basis) = (Some(hid), ev + 1, Some(hid));
                }
                self.conn.prepare_cached(stmt::head::ADD_REF)?.execute(params![sid, ev, hid])?;
                reference = Some(hid);
            }
            Body::HeadCreated(head) => reference = Some(self.add_head(event, head, &mut row)?),
            Body::MessageAdded(m) => {
                n = Some(m.message.0);
                let (content, extra) = (self.blob(&m.content)?, self.opt(&m.extra)?);
                self.conn.prepare_cached(stmt::event::ADD_MESSAGE)?.execute(params![
                    sid,
                    number,
                    n,
                    row::RoleSql(&m.role),
                    content,
                    m.chars,
                    m.turn.map(|n| n.0),
                    m.call.map(|n| n.0),
                    extra
                ])?;
            }
            Body::TurnStarted(t) | Body::TurnPut(t) => {
                n = Some(t.turn.0);
                self.conn.prepare_cached(stmt::event::ADD_TURN)?.execute(params![
                    sid,
                    number,
                    n,
                    t.status.as_str(),
                    self.opt_head(&t.head_before)?,
                    self.opt(&t.input)?,
                    self.opt(&t.final_value)?,
                    self.opt(&t.summary)?,
                    self.display(&t.summary)?,
                    t.started_at.map(|at| at.micros()),
                    t.ended_at.map(|at| at.micros()),
                    self.opt(&t.error)?,
                    self.opt(&t.extra)?,
                    t.turn.0 <= inherited.turn
                ])?;
            }
            Body::CallStarted(c) | Body::CallPut(c) => {
                n = Some(c.call.0);
                self.conn.prepare_cached(stmt::event::ADD_CALL)?.execute(params![
                    sid,
                    number,
                    n,
                    row::CallTypeSql(&c.call_type),
                    c.status.as_str(),
                    c.turn.map(|n| n.0),
                    c.eval.map(|n| n.0),
                    self.opt(&c.input)?,
                    self.opt(&c.request)?,
                    self.opt(&c.response)?,
                    self.opt(&c.result)?,
                    self.opt(&c.error)?,
                    c.provider,
                    c.model,
                    c.tokens_input,
                    c.tokens_output,
                    c.tokens_cached,
                    c.tokens_reasoning,
                    c.cost,
                    c.batch,
                    c.batch_index,
                    c.child.as_ref().map(SessionId::as_str),
                    c.started_at.map(|at| at.micros()),
                    c.ended_at.map(|at| at.micros()),
                    self.opt(&c.extra)?,
                    c.call.0 <= inherited.call
                ])?;
            }
            Body::EvalAdded(e) => {
                n = Some(e.eval.0);
                self.conn.prepare_cached(stmt::event::ADD_EVAL)?.execute(params![
                    sid,
                    number,
                    n,
                    e.name,
                    e.status.as_str(),
                    e.turn.map(|n| n.0),
                    e.message.map(|n| n.0),
                    e.call.map(|n| n.0),
                    self.opt(&e.code)?,
                    self.opt(&e.result)?,
                    self.opt(&e.observation)?,
                    self.opt(&e.error)?,
                    e.started_at.map(|at| at.micros()),
                    e.ended_at.map(|at| at.micros()),
                    self.opt(&e.extra)?
                ])?;
            }
            Body::SnapshotAdded(s) => {
                n = Some(s.snapshot.0);
                self.conn.prepare_cached(stmt::event::ADD_SNAPSHOT)?.execute(params![
                    sid,
                    number,
                    n,
                    s.kind.as_str(),
                    self.opt(&s.vars)?,
                    s.restorable,
                    s.unrestorable,
                    s.turn.map(|n| n.0),
                    s.eval.map(|n| n.0),
                    self.opt(&s.extra)?
                ])?;
            }
            Body::InvocationStarted(i)
            | Body::InvocationCompleted(i)
            | Body::InvocationFailed(i)
            | Body::CallerHeadRecorded(i) => {
                n = Some(i.invocation.0);
                self.conn.prepare_cached(stmt::event::ADD_INVOCATION)?.execute(params![
                    sid,
                    number,
                    n,
                    i.id,
                    i.invocation_type.as_str(),
                    i.status.as_str(),
                    i.call.map(|n| n.0),
                    self.opt(&i.label)?,
                    self.display(&i.label)?,
                    self.opt(&i.input)?,
                    self.opt(&i.final_value)?,
                    self.opt(&i.error)?,
                    self.opt_head(&i.caller_before)?,
                    self.opt_head(&i.caller_after)?,
                    i.callee.as_ref().map(SessionId::as_str),
                    self.opt_head(&i.callee_before)?,
                    self.opt_head(&i.callee_after)?,
                    i.child,
                    i.started_at.map(|at| at.micros()),
                    i.ended_at.map(|at| at.micros()),
                    i.invocation.0 <= inherited.invocation
                ])?;
            }
            Body::Annotation(a) => {
                n = a.turn.map(|n| n.0);
                reference = self.opt(&a.payload)?;
            }
        }
        self.conn.prepare_cached(stmt::event::ADD)?.execute(params![
            sid,
            number,
            row::KindSql(&event.body),
            event.at.micros() - row.started_at,
            n,
            reference,
            status
        ])?;
        row.last_event = ev;
        row.digest = row.digest.chain(digest);
        row.updated_at = event.at.micros();
        self.row = Some((id, row));
        Ok(())
    }

    /// Makes the rows of a head from its root, which must fit the log it is in.
    fn add_head(&mut self, event: &Event, head: &HeadId, row: &mut SessionRow) -> Result<i64, ApplyError> {
        let place = self.find(&head.0)?;
        let bytes = self.fetch.fetch(&head.0, &place).map_err(ApplyError::Payload)?;
        let root: Root = serde_json::from_slice(&bytes)
            .map_err(|error| ApplyError::Contradicts(format!("the root of {head} cannot be read: {error}")))?;
        let boundary = row.last_event;
        if root.session != event.session || root.span.1.0 != boundary || root.digest != row.digest {
            return Err(ApplyError::Contradicts(format!("the root of {head} is of another boundary")));
        }
        let up = self.opt_head(&root.up)?;
        let basis = self.opt_head(&root.basis)?;
        let depth = match up {
            Some(up) => spans::place(self.conn, up)?.ok_or_else(|| missing("head", head))?.depth + 1,
            None => 1,
        };
        let hid = place.bid;
        let compaction = match root.kind {
            HeadKind::Compaction => Some(hid),
            _ => self.opt_head(&root.compaction)?,
        };
        self.conn.prepare_cached(stmt::head::ADD)?.execute(params![
            hid,
            row.sid,
            event.number.0,
            root.kind.as_str(),
            basis,
            up,
            root.span.0.0,
            root.span.1.0,
            depth,
            compaction,
            root.counters.head,
            root.turn.map(|n| n.0),
            self.opt(&root.refs.final_value)?,
            root.refs.snapshot.map(|n| n.0),
            self.opt(&root.refs.vars)?,
        ])?;
        for (position, range) in root.transcript.iter().flatten().enumerate() {
            let source = match range.session == root.session {
                true => row.sid,
                false => {
                    SessionRow::find(self.conn, &range.session)?.ok_or_else(|| missing("session", &range.session))?.sid
                }
            };
            self.conn.prepare_cached(stmt::head::ADD_TRANSCRIPT)?.execute(params![
                hid,
                position,
                source,
                range.from.0,
                range.to.0
            ])?;
        }
        match root.kind {
            // What a dead turn built is left beside the branch, which goes on from the current head.
            HeadKind::TurnAborted => {
                (row.base_up, row.base_from, row.basis) = (row.current, event.number.0 + 1, row.current);
            }
            _ => (row.base_up, row.base_from, row.basis) = (up, root.span.0.0, Some(hid)),
        }
        Ok(hid)
    }

    fn record(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::PayloadAdded { hash, size, media, parts: None } => {
                let place = self.places.next().copied();
                self.add_blob(hash, *size, media.as_deref(), place, 0)?;
            }
            Record::PayloadPart { hash, size } => {
                let place = self.places.next().copied();
                self.add_blob(hash, *size, None, place, 0)?;
            }
            Record::PayloadAdded { hash, size, media, parts: Some(parts) } => {
                if let Some(bid) = self.add_blob(hash, *size, media.as_deref(), None, 1)? {
                    for (ord, part) in parts.iter().enumerate() {
                        let part = self.blob(part)?;
                        self.conn.prepare_cached(stmt::blob::ADD_PART)?.execute(params![bid, ord, part])?;
                    }
                }
            }
            Record::AliasSet { name, session } => {
                let sid = self.sid(session)?;
                let held: Option<i64> =
                    self.conn.prepare_cached(stmt::name::ALIAS)?.query_row([name.as_str()], |r| r.get(0)).optional()?;
                match held {
                    Some(held) if held == sid => {}
                    Some(_) => return Err(ApplyError::Conflict(format!("alias {name} points to another session"))),
                    None => {
                        self.conn.prepare_cached(stmt::name::ADD_ALIAS)?.execute(params![name.as_str(), sid])?;
                    }
                }
            }
            Record::PinSet { name, target, head, version } => {
                let bid = if *head { self.head(&HeadId(*target))? } else { self.blob(target)? };
                let held: Option<u64> =
                    self.conn.prepare_cached(stmt::name::PIN)?.query_row([name.as_str()], |r| r.get(0)).optional()?;
                if held.unwrap_or(0) + 1 != *version {
                    return Err(ApplyError::Conflict(format!("pin {name} has version {}", held.unwrap_or(0))));
                }
                self.conn.prepare_cached(stmt::name::SET_PIN)?.execute(params![name.as_str(), bid, head, version])?;
            }
            Record::FactAdded { fact, tag, payload } => {
                let last: u64 = self.conn.prepare_cached(stmt::name::LAST_FACT)?.query_row([], |r| r.get(0))?;
                if last + 1 != *fact {
                    return Err(ApplyError::Conflict(format!("the last fact is {last}")));
                }
                let payload = self.blob(payload)?;
                self.conn.prepare_cached(stmt::name::ADD_FACT)?.execute(params![fact, tag, payload, self.at])?;
            }
            Record::DerivationAdded(d) => {
                let (source, target) = (self.sid(&d.source_session)?, self.sid(&d.target_session)?);
                let head = self.head(&d.source_head)?;
                self.conn.prepare_cached(stmt::head::ADD_DERIVATION)?.execute(params![
                    d.id.0.as_slice(),
                    d.kind.as_str(),
                    source,
                    head,
                    target,
                    d.target_event.0,
                    d.at.micros()
                ])?;
            }
            Record::SessionTitled { session, title } => {
                let sid = self.sid(session)?;
                let text = self.display(title)?;
                let title = self.opt(title)?;
                self.conn.prepare_cached(stmt::session::SET_TITLE)?.execute(params![sid, text, title])?;
            }
            Record::SessionRemoved { session } => {
                let sid = self.sid(session)?;
                for statement in stmt::session::REMOVE {
                    self.conn.prepare_cached(statement)?.execute([sid])?;
                }
            }
            Record::PayloadErased { hash } => {
                let bid = self.blob(hash)?;
                self.conn.prepare_cached(stmt::blob::ERASE)?.execute([bid])?;
            }
            Record::GcDone { .. } => {}
        }
        Ok(())
    }

    /// Adds a payload's row; none is made when the payload is there already.
    fn add_blob(
        &mut self,
        hash: &Digest,
        size: u64,
        media: Option<&str>,
        place: Option<FramePlace>,
        state: i64,
    ) -> Result<Option<i64>, ApplyError> {
        if find_blob(self.conn, hash)?.is_some() {
            return Ok(None);
        }
        if state == 0 && place.is_none() {
            return Err(missing("the frame of payload", hash));
        }
        self.conn.prepare_cached(stmt::blob::ADD)?.execute(params![
            hash.prefix(),
            hash.0.as_slice(),
            size,
            place.map(|p| p.at.segment),
            place.map(|p| p.at.offset),
            place.map_or(0, |p| p.stored),
            place.map_or(0, |p| p.codec),
            media,
            state
        ])?;
        let bid = self.conn.last_insert_rowid();
        let place = BlobPlace { bid, size, at: place.map(|p| p.at), stored: place.map_or(0, |p| p.stored), state };
        self.fresh.insert(*hash, place);
        Ok(Some(bid))
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
        self.find(&head.0).map(|place| place.bid).map_err(|error| match error {
            ApplyError::Missing(_) => missing("head", head),
            other => other,
        })
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
        if place.size > DISPLAY || place.state == 2 {
            return Ok(None);
        }
        let bytes = self.fetch.fetch(digest, &place).map_err(ApplyError::Payload)?;
        Ok(String::from_utf8(bytes).ok())
    }
}

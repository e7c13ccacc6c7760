//! hw_event, and whole events built again from the rows they wrote.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension, Row};

use super::names::{self, Names};
use super::rows::{self, Stored};
use super::{head, session};
use crate::model::fold::Entry;
use crate::model::session::Source;
use crate::model::{
    Annotation, Body, Call, Eval, Event, EventNumber, HeadId, Invocation, Message, Restored, SessionError,
    SessionStarted, SessionStatus, Snapshot, SnapshotNumber, Status, Timestamp, Turn, TurnNumber,
};
use crate::sqlite::row::{Columns, Dangling, EventType};

macro_rules! event_rows {
    ($rest:literal) => {
        concat!(
            "SELECT ev, CASE WHEN type > 18 THEN iif(typeof(type) = 'integer', (SELECT text FROM hw_word WHERE id = type), type) ELSE type END, ",
            "at, n, ref, status FROM hw_event WHERE ",
            $rest
        )
    };
}
const RANGE: &str = event_rows!("sid = ?1 AND ev > ?2 ORDER BY ev LIMIT ?3");
const ONE: &str = event_rows!("sid = ?1 AND ev = ?2");

/// An event's own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) ev: i64,
    pub(crate) event_type: EventType,
    pub(crate) at: Timestamp,
    pub(crate) n: Option<i64>,
    pub(crate) reference: Option<i64>,
    pub(crate) status: Option<Status>,
}

fn event(row: &Row, start: i64) -> rusqlite::Result<EventRow> {
    let mut c = Columns::after(row, start);
    Ok(EventRow {
        ev: c.get()?,
        event_type: c.word()?,
        at: c.time()?,
        n: c.get()?,
        reference: c.get()?,
        status: c.some()?,
    })
}

/// The row of event `ev` of `sid`.
pub(crate) fn one(connection: &Connection, sid: i64, ev: i64) -> rusqlite::Result<Option<EventRow>> {
    let Some((_, start)) = names::session(connection, sid)? else { return Ok(None) };
    connection.prepare_cached(ONE)?.query_row([sid, ev], |row| event(row, start)).optional()
}

/// The rows of one kind that a run of events wrote, taken in their order.
struct Queue<T>(VecDeque<Entry<T>>);

impl<T: Stored> Queue<T> {
    /// Reads them if the run has any of the kind: `codes` are its events' types.
    fn fill(names: &mut Names, sid: i64, run: &[EventRow], codes: &[i64]) -> rusqlite::Result<Queue<T>> {
        let mut of_kind =
            run.iter().filter(|row| matches!(&row.event_type, EventType::Own(code) if codes.contains(code)));
        let mut entries = Vec::new();
        if let Some(first) = of_kind.next() {
            let last = of_kind.next_back().unwrap_or(first);
            rows::range(names, sid, (first.ev, last.ev), &mut entries)?;
        }
        Ok(Queue(entries.into()))
    }

    fn take(&mut self, ev: i64) -> rusqlite::Result<T> {
        while let Some(entry) = self.0.pop_front() {
            if i64::try_from(entry.event.0) == Ok(ev) {
                return Ok(entry.row);
            }
        }
        Err(Dangling { what: "the row of event", id: ev }.into())
    }
}

/// The events of `sid` after `since`, at most `limit`, as they were given.
///
/// They are whole: encoded again, each is the line that is in the log.
pub(crate) fn events(names: &mut Names, sid: i64, since: i64, limit: i64) -> rusqlite::Result<Vec<Event>> {
    let connection = names.connection();
    let (id, start) = names.begun(sid)?;
    let run: Vec<EventRow> = connection
        .prepare_cached(RANGE)?
        .query_map([sid, since, limit], |row| event(row, start))?
        .collect::<Result<_, _>>()?;
    if run.is_empty() {
        return Ok(Vec::new());
    }
    let mut messages = Queue::<Message>::fill(names, sid, &run, &[6])?;
    let mut turns = Queue::<Turn>::fill(names, sid, &run, &[7, 8])?;
    let mut calls = Queue::<Call>::fill(names, sid, &run, &[9, 10])?;
    let mut evals = Queue::<Eval>::fill(names, sid, &run, &[11, 18])?;
    let mut snapshots = Queue::<Snapshot>::fill(names, sid, &run, &[12])?;
    let mut invocations = Queue::<Invocation>::fill(names, sid, &run, &[14, 15, 16, 17])?;
    let mut events = Vec::with_capacity(run.len());
    for row in run {
        let ev = row.ev;
        let number = EventNumber(u64::try_from(ev).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, ev))?);
        let body = match row.event_type {
            EventType::Annotation(kind) => Body::Annotation(Annotation {
                kind,
                turn: row.n.map(whole).transpose()?.map(TurnNumber),
                payload: row.reference.map(|bid| names.digest(bid)).transpose()?,
            }),
            EventType::Own(code) => match code {
                1 => Body::SessionStarted(started(names, sid, &row)?),
                2 => Body::SessionStatus(changed(names, &row)?),
                3 => Body::SessionError(SessionError {
                    status: own_status(&row)?,
                    error: names.digest(reference(&row)?)?,
                }),
                4 => Body::SessionRestored(restored(names, &row)?),
                5 => Body::RefUpdated(names.head(reference(&row)?)?),
                6 => Body::MessageAdded(messages.take(ev)?),
                7 => Body::TurnStarted(turns.take(ev)?),
                8 => Body::TurnPut(turns.take(ev)?),
                9 => Body::CallStarted(calls.take(ev)?),
                10 => Body::CallPut(calls.take(ev)?),
                11 => Body::EvalAdded(evals.take(ev)?),
                12 => Body::SnapshotAdded(snapshots.take(ev)?),
                13 => Body::HeadCreated(names.head(reference(&row)?)?),
                14 => Body::InvocationStarted(invocations.take(ev)?),
                15 => Body::InvocationCompleted(invocations.take(ev)?),
                16 => Body::InvocationFailed(invocations.take(ev)?),
                18 => Body::EvalPut(evals.take(ev)?),
                _ => Body::CallerHeadRecorded(invocations.take(ev)?),
            },
        };
        events.push(Event { session: id.clone(), number, at: row.at, body });
    }
    Ok(events)
}

fn whole(number: i64) -> rusqlite::Result<u64> {
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(3, number))
}

fn reference(row: &EventRow) -> rusqlite::Result<i64> {
    row.reference.ok_or_else(|| Dangling { what: "the reference of event", id: row.ev }.into())
}

fn live(names: &Names, sid: i64) -> rusqlite::Result<session::SessionRow> {
    session::by_sid(names.connection(), sid)?.ok_or_else(|| Dangling { what: "session", id: sid }.into())
}

fn started(names: &mut Names, sid: i64, event: &EventRow) -> rusqlite::Result<SessionStarted> {
    let connection = names.connection();
    let row = live(names, sid)?;
    // A session made from a head has it as `up` of its genesis, its first head.
    let up = head::first_from(connection, sid, 0)?.map_or(row.base_up, |(up, _)| up);
    let source = match up {
        Some(up) => {
            let place = head::named_place(connection, up)?;
            let head = names.head(up)?;
            // Events are not counted on: they begin anew in every session.
            Some(Source { session: names.session(place.sid)?, head, counters: row.inherited })
        }
        None => None,
    };
    let status = own_status(event)?;
    Ok(SessionStarted { kind: row.kind, status, origin: row.origin, cache_id: row.cache_id, source })
}

fn changed(names: &mut Names, row: &EventRow) -> rusqlite::Result<SessionStatus> {
    let status = own_status(row)?;
    let payload = row.reference.map(|bid| names.digest(bid)).transpose()?;
    let out_of_range = |micros| rusqlite::Error::IntegralValueOutOfRange(3, micros);
    let ended_at = row.n.map(|micros| Timestamp::from_micros(micros).ok_or(out_of_range(micros))).transpose()?;
    Ok(SessionStatus { status, ended_at, payload })
}

/// The status that an event's own row holds.
fn own_status(row: &EventRow) -> rusqlite::Result<Status> {
    row.status.clone().ok_or_else(|| Dangling { what: "the status of event", id: row.ev }.into())
}

fn restored(names: &mut Names, row: &EventRow) -> rusqlite::Result<Restored> {
    let hid = reference(row)?;
    let place = head::named_place(names.connection(), hid)?;
    Ok(Restored {
        source_session: names.session(place.sid)?,
        source_head: names.head(hid)?,
        snapshot: row.n.map(whole).transpose()?.map(SnapshotNumber),
    })
}

/// Where the head that `row` names stands.
pub(crate) fn head_of(names: &Names, row: &EventRow) -> rusqlite::Result<(i64, head::Place)> {
    let hid = reference(row)?;
    Ok((hid, head::named_place(names.connection(), hid)?))
}

/// A head by its id.
pub(crate) fn find_head(connection: &Connection, head: &HeadId) -> rusqlite::Result<Option<(i64, head::Place)>> {
    let Some(blob) = super::blob::blob_row(connection, &head.0)? else { return Ok(None) };
    Ok(head::place(connection, blob.bid)?.map(|place| (blob.bid, place)))
}

const LAST_HEAD: &str = "SELECT max(ev) FROM hw_ref WHERE sid = ?1 AND made = 1";
/// Codes of the events that are bookkeeping: status, error, restored, ref-updated, head/created, caller-head-recorded.
const CHANGES_STATE: &str = "SELECT EXISTS (SELECT 1 FROM hw_event WHERE sid = ?1 AND ev BETWEEN ?2 AND ?3 AND type NOT IN (2, 3, 4, 5, 13, 17))";

/// The last versions of turns and calls, up to an event, that still run: as long as the branch, so for the rare moment only.
const OPEN_SINCE: &str = "SELECT min(ev) FROM (
  SELECT r.ev FROM hw_turn r WHERE r.sid = ?1 AND r.ev BETWEEN ?2 AND ?3 AND r.status = 'running'
    AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = r.sid AND l.kind = 7 AND l.n = r.n AND l.ev > r.ev AND l.ev <= ?3)
  UNION ALL
  SELECT r.ev FROM hw_call r WHERE r.sid = ?1 AND r.ev BETWEEN ?2 AND ?3 AND r.status = 'running'
    AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = r.sid AND l.kind = 9 AND l.n = r.n AND l.ev > r.ev AND l.ev <= ?3))";

/// The first event from `first` to `last` that wrote a turn or call which still runs at `last`.
pub(crate) fn open_since(connection: &Connection, sid: i64, first: i64, last: i64) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(OPEN_SINCE)?.query_row([sid, first, last], |row| row.get(0))
}

/// The event of the last head that session `sid` created.
pub(crate) fn last_head(connection: &Connection, sid: i64) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(LAST_HEAD)?.query_row([sid], |row| row.get(0))
}

/// Whether an event from `first` to `last` is one that a head would keep.
pub(crate) fn changes_state(connection: &Connection, sid: i64, first: i64, last: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached(CHANGES_STATE)?.query_row([sid, first, last], |row| row.get(0))
}

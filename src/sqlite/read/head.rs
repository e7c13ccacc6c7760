//! hw_head and hw_ref: boundaries, and which of them was current when.

use rusqlite::{Connection, OptionalExtension, Row};

use super::names::Names;
use crate::model::{Digest, EventNumber, HeadId, HeadKind, SnapshotNumber, Timestamp, TurnNumber};
use crate::sqlite::row::{Columns, Dangling};

const PLACE: &str =
    "SELECT sid, ev, kind, basis, up, span_from, span_to, depth, turn, snapshot FROM hw_head WHERE hid = ?1";
macro_rules! head_columns {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT h.hid, h.sid, h.ev, s.started_at, e.at, h.kind, h.basis, h.up, h.span_from, h.span_to, h.depth, ",
            "h.compaction, h.ordinal - s.i_head, h.turn, h.final, h.snapshot, h.vars, s.current IS h.hid ",
            "FROM ",
            $from,
            " CROSS JOIN hw_session s ON s.sid = h.sid ",
            "CROSS JOIN hw_event e ON e.sid = h.sid AND e.ev = h.ev ",
            $rest
        )
    };
}
const BY_HID: &str = head_columns!("hw_head h", "WHERE h.hid = ?1");
const OF_SESSION: &str =
    head_columns!("hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid", "WHERE r.sid = ?1 AND r.made = 1 ORDER BY r.ev");
const OF_TURN: &str = "SELECT hid, ev, kind FROM hw_head WHERE sid = ?1 AND turn = ?2 AND ev <= ?3 ORDER BY ev DESC";
const FIRST_FROM: &str = "SELECT h.up, h.span_from FROM hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid
     WHERE r.sid = ?1 AND r.made = 1 AND r.ev >= ?2 ORDER BY r.ev LIMIT 1";
const LAST_BEFORE: &str = "SELECT h.up, h.span_from FROM hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid
     WHERE r.sid = ?1 AND r.made = 1 AND r.ev < ?2 ORDER BY r.ev DESC LIMIT 1";
const REFS: &str = "SELECT r.ev, r.hid, s.started_at, e.at FROM hw_ref r CROSS JOIN hw_session s ON s.sid = r.sid
     CROSS JOIN hw_event e ON e.sid = r.sid AND e.ev = r.ev
     WHERE r.sid = ?1 AND r.made = 0 ORDER BY r.ev DESC LIMIT ?2";
const REF_TO: &str =
    "SELECT ev FROM hw_ref WHERE sid = ?1 AND made = 0 AND ev BETWEEN ?2 AND ?3 AND hid = ?4 ORDER BY ev DESC LIMIT 1";

/// Where a head stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sid: i64,
    pub(crate) ev: i64,
    pub(crate) kind: HeadKind,
    pub(crate) basis: Option<i64>,
    pub(crate) up: Option<i64>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) depth: i64,
    pub(crate) turn: Option<i64>,
    pub(crate) snapshot: Option<i64>,
}

/// A head's whole row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadRow {
    pub(crate) head: HeadId,
    pub(crate) sid: i64,
    pub(crate) ev: EventNumber,
    pub(crate) at: Timestamp,
    pub(crate) kind: HeadKind,
    pub(crate) basis: Option<HeadId>,
    pub(crate) up: Option<HeadId>,
    pub(crate) from: EventNumber,
    pub(crate) to: EventNumber,
    pub(crate) depth: u64,
    pub(crate) compaction: Option<HeadId>,
    /// Its place among its own session's heads, from 1.
    pub(crate) ordinal: u64,
    pub(crate) turn: Option<TurnNumber>,
    pub(crate) final_value: Option<Digest>,
    pub(crate) snapshot: Option<SnapshotNumber>,
    pub(crate) vars: Option<Digest>,
    pub(crate) current: bool,
}

/// Where head `hid` stands.
pub(crate) fn place(connection: &Connection, hid: i64) -> rusqlite::Result<Option<Place>> {
    let mut statement = connection.prepare_cached(PLACE)?;
    let found = statement.query_row([hid], |row| {
        let mut c = Columns::new(row);
        Ok(Place {
            sid: c.get()?,
            ev: c.get()?,
            kind: c.word()?,
            basis: c.get()?,
            up: c.get()?,
            from: c.get()?,
            to: c.get()?,
            depth: c.get()?,
            turn: c.get()?,
            snapshot: c.get()?,
        })
    });
    found.optional()
}

/// As [`place`], for a head that another row names.
pub(crate) fn named_place(connection: &Connection, hid: i64) -> rusqlite::Result<Place> {
    place(connection, hid)?.ok_or_else(|| Dangling { what: "head", id: hid }.into())
}

fn head(row: &Row, names: &mut Names) -> rusqlite::Result<HeadRow> {
    let mut c = Columns::new(row);
    Ok(HeadRow {
        head: HeadId(c.digest(names)?),
        sid: c.get()?,
        ev: EventNumber(c.word()?),
        at: c.event_time()?,
        kind: c.word()?,
        basis: c.some_head(names)?,
        up: c.some_head(names)?,
        from: EventNumber(c.word()?),
        to: EventNumber(c.word()?),
        depth: c.word()?,
        compaction: c.some_head(names)?,
        ordinal: c.word()?,
        turn: c.some()?.map(TurnNumber),
        final_value: c.some_digest(names)?,
        snapshot: c.some()?.map(SnapshotNumber),
        vars: c.some_digest(names)?,
        current: c.get()?,
    })
}

/// The row of head `hid`.
pub(crate) fn by_hid(names: &mut Names, hid: i64) -> rusqlite::Result<Option<HeadRow>> {
    let mut statement = names.connection().prepare_cached(BY_HID)?;
    let mut rows = statement.query([hid])?;
    rows.next()?.map(|row| head(row, names)).transpose()
}

/// The heads of session `sid`, in the order of events.
pub(crate) fn of_session(names: &mut Names, sid: i64) -> rusqlite::Result<Vec<HeadRow>> {
    let mut statement = names.connection().prepare_cached(OF_SESSION)?;
    let mut rows = statement.query([sid])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        heads.push(head(row, names)?);
    }
    Ok(heads)
}

/// The heads of session `sid` that end turn `turn`, up to event `ev`, the latest first.
pub(crate) fn of_turn(
    connection: &Connection,
    sid: i64,
    turn: i64,
    ev: i64,
) -> rusqlite::Result<Vec<(i64, i64, HeadKind)>> {
    let mut statement = connection.prepare_cached(OF_TURN)?;
    let rows = statement.query_map([sid, turn, ev], |row| {
        let mut columns = Columns::new(row);
        Ok((columns.get()?, columns.get()?, columns.word()?))
    })?;
    rows.collect()
}

/// The branch (its `up` and first event) of the first head of `sid` from event `ev` on.
pub(crate) fn first_from(connection: &Connection, sid: i64, ev: i64) -> rusqlite::Result<Option<(Option<i64>, i64)>> {
    connection.prepare_cached(FIRST_FROM)?.query_row([sid, ev], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// The branch of the last head of `sid` before event `ev`.
pub(crate) fn last_before(connection: &Connection, sid: i64, ev: i64) -> rusqlite::Result<Option<(Option<i64>, i64)>> {
    connection.prepare_cached(LAST_BEFORE)?.query_row([sid, ev], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// The last `limit` moves of session `sid`'s current head, the latest first: event, head, time.
pub(crate) fn refs(
    connection: &Connection,
    sid: i64,
    limit: i64,
) -> rusqlite::Result<Vec<(EventNumber, i64, Timestamp)>> {
    let mut statement = connection.prepare_cached(REFS)?;
    let rows = statement.query_map([sid, limit], |row| {
        let mut columns = Columns::new(row);
        Ok((EventNumber(columns.word()?), columns.get()?, columns.event_time()?))
    })?;
    rows.collect()
}

/// The latest event from `from` to `to` of `sid` that made `hid` current.
pub(crate) fn ref_to(
    connection: &Connection,
    sid: i64,
    (from, to): (i64, i64),
    hid: i64,
) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(REF_TO)?.query_row([sid, from, to, hid], |row| row.get(0)).optional()
}

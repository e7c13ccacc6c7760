//! hw_session, hw_alias, and what a session counts.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::model::{Counters, Digest, SessionId, Status, Timestamp};
use crate::sqlite::row::Columns;

macro_rules! session_columns {
    ($rest:literal) => {
        concat!(
            "SELECT sid, id, kind, origin, cache_id, status, title, started_at, updated_at, ended_at, current, base_up, ",
            "base_from, last_event, digest, i_call, i_child, i_eval, i_head, i_invocation, i_message, i_snapshot, i_turn ",
            "FROM hw_session ",
            $rest
        )
    };
}
const BY_SID: &str = session_columns!("WHERE sid = ?1");
const ALL: &str = session_columns!("ORDER BY sid");
const FIND: &str = "SELECT sid FROM hw_session WHERE id = ?1";
/// The imports that began at a moment, the last made first.
const BEGUN: &str = "SELECT id FROM hw_session WHERE started_at = ?1 AND origin IS NOT NULL ORDER BY sid DESC LIMIT ?2";
const FIND_ALIAS: &str = "SELECT sid FROM hw_alias WHERE name = ?1";
/// Names from one text up to another: ids, aliases. `?3` is a session already found, whose other names do not count.
const NAMED: &str = "SELECT id, sid FROM hw_session WHERE id >= ?1 AND id < ?2 AND sid <> ?3 ORDER BY id LIMIT ?4";
const ALIASED: &str =
    "SELECT name, sid FROM hw_alias WHERE name >= ?1 AND name < ?2 AND sid <> ?3 ORDER BY name LIMIT ?4";
const ALIASES: &str = "SELECT sid, name FROM hw_alias ORDER BY name";
const ALIASES_OF: &str = "SELECT sid, name FROM hw_alias WHERE sid = ?1 ORDER BY name";
/// The last of each kind, each from its index; the kinds in the order of the counters.
const LAST: &str = "SELECT
    (SELECT max(n) FROM hw_version WHERE sid = ?1 AND kind = 9),
    (SELECT child FROM hw_invocation WHERE sid = ?1 AND child IS NOT NULL ORDER BY child DESC LIMIT 1),
    (SELECT n FROM hw_eval t WHERE sid = ?1 AND NOT EXISTS (SELECT 1 FROM hw_inherited v WHERE v.kind = 11 AND v.n = t.n AND v.sid = t.sid AND v.ev = t.ev)
      ORDER BY ev DESC LIMIT 1),
    (SELECT h.ordinal FROM hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid
      WHERE r.sid = ?1 AND r.made = 1 ORDER BY r.ev DESC LIMIT 1),
    (SELECT max(n) FROM hw_version WHERE sid = ?1 AND kind = 14),
    (SELECT n FROM hw_message WHERE sid = ?1 ORDER BY ev DESC LIMIT 1),
    (SELECT n FROM hw_snapshot WHERE sid = ?1 ORDER BY ev DESC LIMIT 1),
    (SELECT max(n) FROM hw_version WHERE sid = ?1 AND kind = 7)";

/// The last turn and head of its own, and the head its first head hangs from.
const EXTENT: &str = "SELECT
    (SELECT max(n) FROM hw_version WHERE sid = ?1 AND kind = 7),
    (SELECT h.ordinal FROM hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid
      WHERE r.sid = ?1 AND r.made = 1 ORDER BY r.ev DESC LIMIT 1),
    (SELECT h.up FROM hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid
      WHERE r.sid = ?1 AND r.made = 1 ORDER BY r.ev LIMIT 1)";

/// A session's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) sid: i64,
    pub(crate) id: SessionId,
    pub(crate) kind: Status,
    pub(crate) origin: Option<String>,
    pub(crate) cache_id: Option<String>,
    pub(crate) status: Status,
    pub(crate) title: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) current: Option<i64>,
    pub(crate) base_up: Option<i64>,
    pub(crate) base_from: u64,
    pub(crate) last_event: u64,
    pub(crate) digest: Digest,
    /// The counters of the head it was made from; no events.
    pub(crate) inherited: Counters,
}

fn session(row: &Row) -> rusqlite::Result<SessionRow> {
    let mut c = Columns::new(row);
    Ok(SessionRow {
        sid: c.get()?,
        id: c.word()?,
        kind: c.word()?,
        origin: c.get()?,
        cache_id: c.get()?,
        status: c.word()?,
        title: c.get()?,
        started_at: c.word()?,
        updated_at: c.word()?,
        ended_at: c.some()?,
        current: c.get()?,
        base_up: c.get()?,
        base_from: c.word()?,
        last_event: c.word()?,
        digest: c.word()?,
        inherited: Counters {
            call: c.word()?,
            child: c.word()?,
            eval: c.word()?,
            event: 0,
            head: c.word()?,
            invocation: c.word()?,
            message: c.word()?,
            snapshot: c.word()?,
            turn: c.word()?,
        },
    })
}

/// The row of session `sid`.
pub(crate) fn by_sid(connection: &Connection, sid: i64) -> rusqlite::Result<Option<SessionRow>> {
    connection.prepare_cached(BY_SID)?.query_row([sid], session).optional()
}

/// All sessions, in order of first appearance.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<SessionRow>> {
    connection.prepare_cached(ALL)?.query_map([], session)?.collect()
}

/// The session of that id.
pub(crate) fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(FIND)?.query_row([id], |row| row.get(0)).optional()
}

/// The imports that began at that moment, at most `limit`, the last made first.
pub(crate) fn begun(connection: &Connection, at: Timestamp, limit: usize) -> rusqlite::Result<Vec<SessionId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(BEGUN)?;
    let found = statement.query_map((at.micros(), limit), |row| Columns::new(row).word())?;
    found.collect()
}

/// The session that alias points to.
pub(crate) fn find_alias(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(FIND_ALIAS)?.query_row([name], |row| row.get(0)).optional()
}

/// At most `limit` ids and as many aliases that begin with `prefix`, and their sessions, none of them `but`.
pub(crate) fn beginning_with(
    connection: &Connection,
    prefix: &str,
    but: i64,
    limit: i64,
) -> rusqlite::Result<Vec<(String, i64)>> {
    // Above every character that an id may hold.
    let end = format!("{prefix}\u{7f}");
    let mut found = Vec::new();
    for sql in [NAMED, ALIASED] {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map((prefix, &end, but, limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

/// The aliases of session `sid`, or of all, each with its session; in alphabetical order.
pub(crate) fn aliases(connection: &Connection, sid: Option<i64>) -> rusqlite::Result<Vec<(i64, SessionId)>> {
    let read = |row: &Row| {
        let mut columns = Columns::new(row);
        Ok((columns.get()?, columns.word()?))
    };
    match sid {
        Some(sid) => connection.prepare_cached(ALIASES_OF)?.query_map([sid], read)?.collect(),
        None => connection.prepare_cached(ALIASES)?.query_map([], read)?.collect(),
    }
}

/// The greatest number of each kind that session `sid` has of its own; no events.
pub(crate) fn last_numbers(connection: &Connection, sid: i64) -> rusqlite::Result<Counters> {
    connection.prepare_cached(LAST)?.query_row([sid], |row| {
        let mut c = Columns::new(row);
        let mut next = || c.some::<u64>().map(Option::unwrap_or_default);
        Ok(Counters {
            call: next()?,
            child: next()?,
            eval: next()?,
            event: 0,
            head: next()?,
            invocation: next()?,
            message: next()?,
            snapshot: next()?,
            turn: next()?,
        })
    })
}

/// The greatest turn number and head ordinal of session `sid`, and the `up` of its first head: its source.
pub(crate) fn extent(connection: &Connection, sid: i64) -> rusqlite::Result<(u64, u64, Option<i64>)> {
    connection.prepare_cached(EXTENT)?.query_row([sid], |row| {
        let mut c = Columns::new(row);
        Ok((c.some()?.unwrap_or_default(), c.some()?.unwrap_or_default(), c.get()?))
    })
}

//! hw_version, and first and last versions within runs of events: what pages of rows are found by.

use rusqlite::Connection;

use super::rows::{Stored, first};
use crate::model::Counters;
use crate::sqlite::row::{EVAL, bound};

/// The first event of `sid` that wrote a number of its own not below `n`.
pub(crate) fn first_own<T: Stored>(
    connection: &Connection,
    sid: i64,
    n: i64,
    counters: &Counters,
) -> rusqlite::Result<Option<i64>> {
    let above = bound(T::inherited(counters)).saturating_add(1);
    first::<T>(connection, sid, n.max(above))
}

/// The first version of a number in a run.
pub(crate) struct First {
    pub(crate) ev: i64,
    pub(crate) n: i64,
    /// Whether a run before may have one, too.
    pub(crate) before: bool,
}

/// At most `limit` first versions in events `from` to `to` of a run of `sid` that begins at `start`, of a kind with versions.
pub(crate) fn firsts<T: Stored>(
    connection: &Connection,
    sid: i64,
    (from, to, start): (i64, i64, i64),
    limit: i64,
    newest_first: bool,
) -> rusqlite::Result<Vec<First>> {
    let mut statement = connection.prepare_cached(if newest_first { T::FIRSTS_DOWN } else { T::FIRSTS_UP })?;
    let rows = statement.query_map([sid, from, to, limit, start], |row| {
        Ok(First { ev: row.get(0)?, n: row.get(1)?, before: row.get(2)? })
    })?;
    rows.collect()
}

const VERSIONS: &str =
    "SELECT n, ev FROM hw_version WHERE sid = ?1 AND kind = ?2 AND n BETWEEN ?3 AND ?4 ORDER BY n, ev";
const NUMBERS_UP: &str =
    "SELECT n, max(ev) FROM hw_version WHERE sid = ?1 AND kind = ?2 AND n BETWEEN ?3 AND ?4 AND ev <= ?5
     GROUP BY n ORDER BY n LIMIT ?6";
const NUMBERS_DOWN: &str =
    "SELECT n, max(ev) FROM hw_version WHERE sid = ?1 AND kind = ?2 AND n BETWEEN ?3 AND ?4 AND ev <= ?5
     GROUP BY n ORDER BY n DESC LIMIT ?6";

const PUTS_UP: &str =
    "SELECT n, max(ev) FROM hw_inherited WHERE sid = ?1 AND kind = ?2 AND n BETWEEN ?3 AND ?4 AND ev <= ?5
     GROUP BY n ORDER BY n LIMIT ?6";
const PUTS_DOWN: &str =
    "SELECT n, max(ev) FROM hw_inherited WHERE sid = ?1 AND kind = ?2 AND n BETWEEN ?3 AND ?4 AND ev <= ?5
     GROUP BY n ORDER BY n DESC LIMIT ?6";

/// At most `limit` of the numbers `low` to `high` of `sid`, each with its last event up to one.
pub(crate) fn numbers<T: Stored>(
    connection: &Connection,
    sid: i64,
    (low, high, ev): (i64, i64, i64),
    limit: i64,
    newest_first: bool,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let (kind, up, down) = match T::VERSIONS {
        Some(kind) => (kind, NUMBERS_UP, NUMBERS_DOWN),
        None if T::HAS_PUTS => (EVAL, PUTS_UP, PUTS_DOWN),
        None => return Ok(Vec::new()),
    };
    let mut statement = connection.prepare_cached(if newest_first { down } else { up })?;
    let rows = statement.query_map([sid, kind, low, high, ev, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Shows all versions of numbers `low` to `high` of `sid` to `each`: number, event.
pub(crate) fn versions<T: Stored>(
    connection: &Connection,
    sid: i64,
    (low, high): (i64, i64),
    mut each: impl FnMut(i64, i64),
) -> rusqlite::Result<()> {
    let Some(kind) = T::VERSIONS else { return Ok(()) };
    let mut statement = connection.prepare_cached(VERSIONS)?;
    let mut rows = statement.query([sid, kind, low, high])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get(1)?);
    }
    Ok(())
}

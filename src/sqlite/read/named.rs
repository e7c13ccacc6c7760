//! hw_pin, hw_fact: what has a name or number of its own in the store.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::model::{Fact, HeadId, Pin, PinTarget};
use crate::sqlite::row::Columns;
use crate::sqlite::stmt;

// A pin that was taken away points at bid 0, which is no payload's.
const PIN: &str =
    "SELECT p.name, p.head, b.hash, p.version FROM hw_pin p CROSS JOIN hw_blob b ON b.bid = p.bid WHERE p.name = ?1";
const PINS: &str =
    "SELECT p.name, p.head, b.hash, p.version FROM hw_pin p CROSS JOIN hw_blob b ON b.bid = p.bid ORDER BY p.name";
const FACTS: &str = "SELECT f.n, f.tag, b.hash, f.at FROM hw_fact f CROSS JOIN hw_blob b ON b.bid = f.payload
     WHERE f.n > ?1 ORDER BY f.n LIMIT ?2";

fn a_pin(row: &Row) -> rusqlite::Result<Pin> {
    let mut c = Columns::new(row);
    let (name, is_head, digest) = (c.word()?, c.get::<bool>()?, c.word()?);
    let target = if is_head { PinTarget::Head(HeadId(digest)) } else { PinTarget::Payload(digest) };
    Ok(Pin { name, target, version: c.word()? })
}

/// The pin `name`.
pub(crate) fn pin(connection: &Connection, name: &str) -> rusqlite::Result<Option<Pin>> {
    connection.prepare_cached(PIN)?.query_row([name], a_pin).optional()
}

/// The last version of the pin `name`, and whether it points at something now.
pub(crate) fn pin_version(connection: &Connection, name: &str) -> rusqlite::Result<Option<(u64, bool)>> {
    let version = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? != 0));
    connection.prepare_cached(stmt::name::PIN)?.query_row([name], version).optional()
}

/// All pins, in alphabetical order.
pub(crate) fn pins(connection: &Connection) -> rusqlite::Result<Vec<Pin>> {
    connection.prepare_cached(PINS)?.query_map([], a_pin)?.collect()
}

/// The facts after `since`, at most `limit`.
pub(crate) fn facts(connection: &Connection, since: i64, limit: i64) -> rusqlite::Result<Vec<Fact>> {
    let mut statement = connection.prepare_cached(FACTS)?;
    let rows = statement.query_map([since, limit], |row| {
        let mut c = Columns::new(row);
        Ok(Fact { fact: c.word()?, tag: c.get()?, payload: c.word()?, at: c.word()? })
    })?;
    rows.collect()
}

/// The number of the last fact; 0 before the first.
pub(crate) fn last_fact(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached(stmt::name::LAST_FACT)?.query_row([], |row| row.get(0))
}

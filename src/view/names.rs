//! Pins and the embedder's facts.

use rusqlite::Connection;

use super::{Answer, not_found};
use crate::model::{Fact, Pin, SessionId};
use crate::sqlite::read::named;
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// The pin `name`.
pub(crate) fn pin(conn: &Connection, name: &SessionId) -> Result<Pin, ReadError> {
    named::pin(conn, name.as_str()).answer()?.ok_or_else(|| not_found("pin", name.as_str()))
}

/// The last version of the pin `name`, 0 before the first, and whether it points at something.
pub(crate) fn pin_version(conn: &Connection, name: &SessionId) -> Result<(u64, bool), ReadError> {
    Ok(named::pin_version(conn, name.as_str()).answer()?.unwrap_or_default())
}

/// All pins, in alphabetical order.
pub(crate) fn pins(conn: &Connection) -> Result<Vec<Pin>, ReadError> {
    named::pins(conn).answer()
}

/// The facts after `since`, at most `limit`.
pub(crate) fn facts(conn: &Connection, since: u64, limit: usize) -> Result<Vec<Fact>, ReadError> {
    named::facts(conn, bound(since), i64::try_from(limit).unwrap_or(i64::MAX)).answer()
}

/// The number of the last fact; 0 before the first.
pub(crate) fn last_fact(conn: &Connection) -> Result<u64, ReadError> {
    named::last_fact(conn).answer()
}

//! What the row of an event names as its causes, in local integers.

use rusqlite::{Connection, OptionalExtension};

/// What a row names: numbers of rows, hids, a sid; each kind has its own order.
pub(crate) type Named = [Option<i64>; 5];

/// turn, call
pub(crate) const MESSAGE: &str = "SELECT turn, call, NULL, NULL, NULL FROM hw_message WHERE sid = ?1 AND ev = ?2";
/// head before
pub(crate) const TURN: &str = "SELECT head_before, NULL, NULL, NULL, NULL FROM hw_turn WHERE sid = ?1 AND ev = ?2";
/// turn, eval, child's sid
pub(crate) const CALL: &str = "SELECT turn, eval, (SELECT s.sid FROM hw_session s WHERE s.id = child), NULL, NULL
     FROM hw_call WHERE sid = ?1 AND ev = ?2";
/// turn, message, call
pub(crate) const EVAL: &str = "SELECT turn, message, call, NULL, NULL FROM hw_eval WHERE sid = ?1 AND ev = ?2";
/// turn, eval
pub(crate) const SNAPSHOT: &str = "SELECT turn, eval, NULL, NULL, NULL FROM hw_snapshot WHERE sid = ?1 AND ev = ?2";
/// call, caller's head before and after, callee's head before and after
pub(crate) const INVOCATION: &str = "SELECT call, caller_before, caller_after, callee_before, callee_after FROM hw_invocation WHERE sid = ?1 AND ev = ?2";

/// What the row that event `ev` of `sid` wrote names, by one of the statements above.
pub(crate) fn named(connection: &Connection, statement: &str, sid: i64, ev: i64) -> rusqlite::Result<Option<Named>> {
    let mut statement = connection.prepare_cached(statement)?;
    let found =
        statement.query_row([sid, ev], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]));
    found.optional()
}

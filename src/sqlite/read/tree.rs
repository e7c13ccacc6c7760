//! What hangs below a session: the sessions that its invocations and calls opened, and those made from its heads.
//!
//! Versions that a fork writes of its source's rows are none of its own children, which its own numbers tell: they are above the
//! inherited ones. Calls that opened a session are looked for among all of the session's: what goes below it sums these anyway.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::{CallType, DerivationKind, Label, SessionId, Status};
use crate::sqlite::row::Columns;

macro_rules! called {
    ($rest:literal) => {
        concat!(
            "SELECT i.n, i.child, i.callee, i.label_text, i.type, i.status, i.child IS NOT NULL AND NOT EXISTS ",
            "(SELECT 1 FROM hw_invocation e INDEXED BY hw_invocation_child ",
            "WHERE e.sid = i.sid AND e.child = i.child AND e.n < i.n AND e.n > ?2) ",
            "FROM hw_version v CROSS JOIN hw_invocation i ON i.sid = v.sid AND i.ev = v.ev WHERE v.sid = ?1 AND v.kind = 14 ",
            "AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = v.sid AND l.kind = 14 AND l.n = v.n AND l.ev > v.ev) ",
            $rest
        )
    };
}
/// The last version of invocations: sid, the last inherited number, a number, and how many. The last column says whether
/// the ordinal is this one's: of several invocations with one ordinal it is the first one's.
const INVOCATIONS: &str = called!("AND v.n > ?3 ORDER BY v.n LIMIT ?4");
const INVOCATION: &str = called!("AND v.n = ?3 AND v.n > ?2");
/// The invocation that has an ordinal: sid, the last inherited number, the ordinal. The planner would rather keep the order of
/// events, and go through all.
const WITH_ORDINAL: &str = "SELECT n FROM hw_invocation INDEXED BY hw_invocation_child
     WHERE sid = ?1 AND child = ?3 AND n > ?2 ORDER BY ev LIMIT 1";
macro_rules! opened {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM hw_call c WHERE c.sid = ?1 AND c.child IS NOT NULL ",
            "AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = c.sid AND l.kind = 9 AND l.n = c.n AND l.ev > c.ev) ",
            "AND NOT EXISTS (SELECT 1 FROM hw_invocation i WHERE i.callee = c.child AND i.sid = c.sid) ",
            $rest
        )
    };
}
/// The last version of calls that opened a session which no invocation names: sid, a number, and how many.
const CALLS: &str = opened!("c.n, c.child, c.type, c.status", "AND c.n > ?2 ORDER BY c.n LIMIT ?3");
const CALL: &str = opened!(
    "c.n, c.child, c.type, c.status",
    "AND c.n > ?2 AND c.ev = (SELECT max(ev) FROM hw_version WHERE sid = ?1 AND kind = 9 AND n = ?3)"
);
const COUNT_INVOCATIONS: &str = "SELECT count(DISTINCT n) FROM hw_version WHERE sid = ?1 AND kind = 14 AND n > ?2";
const COUNT_CALLS: &str = opened!("count(*)", "AND c.n > ?2");
/// Sessions made from a session's heads, but for those that it called: sid, kind, source head, derivation, and how many.
macro_rules! made {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM hw_derivation d WHERE d.source = ?1 AND d.kind = ?2 AND NOT EXISTS (SELECT 1 FROM hw_session t ",
            "CROSS JOIN hw_invocation i ON i.callee = t.id AND i.sid = d.source WHERE t.sid = d.target) ",
            $rest
        )
    };
}
const MADE: &str = made!("d.target", "ORDER BY d.source_head, d.target, d.target_ev LIMIT ?3");
const COUNT_MADE: &str = made!("count(*)", "");
/// The local integers of all sessions that a session called, each once: sid, the last inherited invocation and call.
const CALLEES: &str = "SELECT s.sid FROM hw_version v CROSS JOIN hw_invocation i ON i.sid = v.sid AND i.ev = v.ev
     CROSS JOIN hw_session s ON s.id = i.callee
     WHERE v.sid = ?1 AND v.kind = 14 AND v.n > ?2
       AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = v.sid AND l.kind = 14 AND l.n = v.n AND l.ev > v.ev)
     UNION SELECT s.sid FROM hw_call c CROSS JOIN hw_session s ON s.id = c.child
     WHERE c.sid = ?1 AND c.n > ?3 AND c.child IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = c.sid AND l.kind = 9 AND l.n = c.n AND l.ev > c.ev)";
const LAST_CHANGED: &str = "SELECT sid FROM hw_session ORDER BY updated_at DESC, sid DESC LIMIT 1";

/// A session, and the last numbers it inherited: what is above is its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) sid: i64,
    pub(crate) invocation: i64,
    pub(crate) call: i64,
}

/// How a session names one that it opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) label: Label,
    /// The number of the row: a page goes on after it.
    pub(crate) n: i64,
    /// None where it failed before there was a session.
    pub(crate) callee: Option<SessionId>,
    /// The invocation's label.
    pub(crate) text: Option<String>,
    /// The invocation's type, or the call's.
    pub(crate) kind: String,
    pub(crate) status: Status,
}

fn invocation(row: &Row) -> rusqlite::Result<Edge> {
    let mut c = Columns::new(row);
    let n: u64 = c.word()?;
    let child: Option<u64> = c.some()?;
    let callee = c.some()?;
    let text = c.get()?;
    let kind = c.get()?;
    let status = c.word()?;
    let label = match (child, c.get()?) {
        (Some(child), true) => Label::Child(child),
        _ => Label::Invocation(n),
    };
    Ok(Edge { label, n: crate::sqlite::row::bound(n), callee, text, kind, status })
}

fn call(row: &Row) -> rusqlite::Result<Edge> {
    let mut c = Columns::new(row);
    let n: u64 = c.word()?;
    let callee = c.some()?;
    let kind = c.word::<CallType>()?.as_str().to_owned();
    Ok(Edge { label: Label::Call(n), n: crate::sqlite::row::bound(n), callee, text: None, kind, status: c.word()? })
}

/// At most `limit` invocations of `caller` after number `after`, in their order.
pub(crate) fn invocations(conn: &Connection, caller: Caller, after: i64, limit: i64) -> rusqlite::Result<Vec<Edge>> {
    let mut statement = conn.prepare_cached(INVOCATIONS)?;
    let after = after.max(caller.invocation);
    statement.query_map([caller.sid, caller.invocation, after, limit], invocation)?.collect()
}

/// At most `limit` calls of `caller` after number `after` that opened a session without an invocation.
pub(crate) fn calls(conn: &Connection, caller: Caller, after: i64, limit: i64) -> rusqlite::Result<Vec<Edge>> {
    conn.prepare_cached(CALLS)?.query_map([caller.sid, after.max(caller.call), limit], call)?.collect()
}

/// The child of `caller` that has that label.
pub(crate) fn labelled(conn: &Connection, caller: Caller, label: Label) -> rusqlite::Result<Option<Edge>> {
    use crate::sqlite::row::bound;
    let inherited = caller.invocation;
    let one = |n: i64| conn.prepare_cached(INVOCATION)?.query_row([caller.sid, inherited, n], invocation).optional();
    let found = match label {
        Label::Child(ordinal) => {
            let mut statement = conn.prepare_cached(WITH_ORDINAL)?;
            let n: Option<i64> =
                statement.query_row([caller.sid, inherited, bound(ordinal)], |row| row.get(0)).optional()?;
            n.map(one).transpose()?.flatten()
        }
        Label::Invocation(n) => one(bound(n))?,
        Label::Call(n) => conn.prepare_cached(CALL)?.query_row([caller.sid, caller.call, bound(n)], call).optional()?,
    };
    Ok(found)
}

/// How many sessions `caller` opened.
pub(crate) fn count(conn: &Connection, caller: Caller) -> rusqlite::Result<u64> {
    let number = |sql: &str, above: i64| -> rusqlite::Result<u64> {
        conn.prepare_cached(sql)?.query_row([caller.sid, above], |row| Columns::new(row).word())
    };
    Ok(number(COUNT_INVOCATIONS, caller.invocation)? + number(COUNT_CALLS, caller.call)?)
}

/// At most `limit` sessions that were made from heads of session `sid` in that way, and that it did not call.
pub(crate) fn made(conn: &Connection, sid: i64, kind: DerivationKind, limit: i64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(MADE)?;
    statement.query_map(params![sid, kind.as_str(), limit], |row| row.get(0))?.collect()
}

/// How many there are.
pub(crate) fn count_made(conn: &Connection, sid: i64, kind: DerivationKind) -> rusqlite::Result<u64> {
    conn.prepare_cached(COUNT_MADE)?.query_row(params![sid, kind.as_str()], |row| Columns::new(row).word())
}

/// The sessions that `caller` called and that are in the store, each once.
pub(crate) fn callees(conn: &Connection, caller: Caller) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(CALLEES)?;
    statement.query_map([caller.sid, caller.invocation, caller.call], |row| row.get(0))?.collect()
}

/// The session changed last.
pub(crate) fn last_changed(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(LAST_CHANGED)?.query_row([], |row| row.get(0)).optional()
}

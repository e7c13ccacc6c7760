//! hw_invocation by its callee, hw_derivation by its ends, and calls as usage counts them.

use rusqlite::{Connection, Row};

use super::names::Names;
use super::rows;
use crate::model::fold::Entry;
use crate::model::{CallType, Derivation, EventNumber, HeadId, Invocation, SessionId};
use crate::sqlite::row::Columns;

const CALLED: &str = "SELECT DISTINCT sid, n FROM hw_invocation WHERE callee = ?1 ORDER BY sid, n";
const CALLEES: &str =
    "SELECT DISTINCT s.sid FROM hw_invocation i CROSS JOIN hw_session s ON s.id = i.callee WHERE i.sid = ?1";
const DERIVED: &str = "SELECT hash, kind, source, source_head, target, target_ev, at FROM hw_derivation
     WHERE source = ?1 OR target = ?1 ORDER BY tx, target, target_ev";
const ATTACHED: &str = "SELECT hash, kind, source, source_head, target, target_ev, at FROM hw_derivation
     WHERE source = ?1 AND kind = 'attach' ORDER BY tx, target, target_ev";
const CALLS: &str = "SELECT n, inherited, type, tokens_input, tokens_output, tokens_cached, tokens_reasoning, cost
     FROM hw_call WHERE sid = ?1 AND ev BETWEEN ?2 AND ?3 ORDER BY ev";

/// The invocations, in any session, whose callee is `callee`: the last version each.
pub(crate) fn called(names: &mut Names, callee: &SessionId) -> rusqlite::Result<Vec<Entry<Invocation>>> {
    let connection = names.connection();
    let found: Vec<(i64, i64)> = connection
        .prepare_cached(CALLED)?
        .query_map([callee.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut out = Vec::with_capacity(found.len());
    for (sid, n) in found {
        if let Some(ev) = rows::latest::<Invocation>(connection, sid, n, i64::MAX)? {
            rows::range(names, sid, (ev, ev), &mut out)?;
        }
    }
    Ok(out)
}

/// The sessions that `sid` called.
pub(crate) fn callees(connection: &Connection, sid: i64) -> rusqlite::Result<Vec<i64>> {
    connection.prepare_cached(CALLEES)?.query_map([sid], |row| row.get(0))?.collect()
}

/// The derivations with session `sid` at either end, in order of first appearance.
pub(crate) fn derivations(names: &mut Names, sid: i64) -> rusqlite::Result<Vec<Derivation>> {
    edges(names, DERIVED, sid)
}

/// Those of kind `attach` from heads of session `sid`.
pub(crate) fn attached(names: &mut Names, sid: i64) -> rusqlite::Result<Vec<Derivation>> {
    edges(names, ATTACHED, sid)
}

fn edges(names: &mut Names, sql: &str, sid: i64) -> rusqlite::Result<Vec<Derivation>> {
    let mut statement = names.connection().prepare_cached(sql)?;
    let mut rows = statement.query([sid])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(derivation(row, names)?);
    }
    Ok(out)
}

fn derivation(row: &Row, names: &mut Names) -> rusqlite::Result<Derivation> {
    let mut c = Columns::new(row);
    Ok(Derivation {
        id: c.word()?,
        kind: c.word()?,
        source_session: names.session(c.get()?)?,
        source_head: HeadId(c.digest(names)?),
        target_session: names.session(c.get()?)?,
        target_event: EventNumber(c.word()?),
        at: c.word()?,
    })
}

/// What a version of a call says of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallUse {
    pub(crate) n: u64,
    /// The call is of the session's source; this version is its own.
    pub(crate) inherited: bool,
    pub(crate) call_type: CallType,
    /// Tokens in, out, cached, of reasoning; cost.
    pub(crate) sums: [Option<u64>; 5],
}

/// Adds the versions of calls in events `from` to `to` of `sid` to `out`, in the order of events.
pub(crate) fn call_uses(
    connection: &Connection,
    sid: i64,
    (from, to): (i64, i64),
    out: &mut Vec<CallUse>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(CALLS)?;
    let rows = statement.query_map([sid, from, to], |row| {
        let mut c = Columns::new(row);
        Ok(CallUse {
            n: c.word()?,
            inherited: c.get()?,
            call_type: c.word()?,
            sums: [c.some()?, c.some()?, c.some()?, c.some()?, c.some()?],
        })
    })?;
    for row in rows {
        out.push(row?);
    }
    Ok(())
}

//! A session and its relations.

use rusqlite::Connection;

use super::Answer;
use super::heads::{heads, reference};
use super::sessions::{counters, session_info};
use super::state::{kind, rows_of_log};
use super::types::History;
use crate::model::fold::Entry;
use crate::model::{Derivation, EventNumber, Invocation, Span};
use crate::sqlite::read::lineage;
use crate::sqlite::read::names::Names;
use crate::view::error::ReadError;

/// The invocations that session `sid` made, the last version each; abandoned branches included.
pub(crate) fn invocations_from(conn: &Connection, sid: i64) -> Result<Vec<Entry<Invocation>>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let session = names.session(sid).answer()?;
    kind(&mut names, &[(sid, Span { session, from: EventNumber(1), to: EventNumber(u64::MAX) })])
}

/// The invocations that others made with session `sid` as callee.
pub(crate) fn invocations_to(conn: &Connection, sid: i64) -> Result<Vec<Entry<Invocation>>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let callee = names.session(sid).answer()?;
    lineage::called(&mut names, &callee).answer()
}

/// The derivations with session `sid` at either end.
pub(crate) fn derivations(conn: &Connection, sid: i64) -> Result<Vec<Derivation>, ReadError> {
    lineage::derivations(&mut Names::new(conn).answer()?, sid).answer()
}

/// The sessions attached to heads of session `sid`.
pub(crate) fn attached_from(conn: &Connection, sid: i64) -> Result<Vec<Derivation>, ReadError> {
    lineage::attached(&mut Names::new(conn).answer()?, sid).answer()
}

/// All that is known of session `sid`.
pub(crate) fn history(conn: &Connection, sid: i64) -> Result<History, ReadError> {
    let rows = rows_of_log(conn, sid)?;
    Ok(History {
        session: session_info(conn, sid)?,
        counters: counters(conn, sid)?,
        heads: heads(conn, sid)?,
        derivations: derivations(conn, sid)?,
        invocations: rows.invocations.clone(),
        invoked_by: invocations_to(conn, sid)?,
        reference: reference(conn, sid)?,
        rows,
    })
}

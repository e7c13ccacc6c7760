//! One space of names: ids of sessions, aliases, pins. What a name means never changes silently, so none is given twice.
//!
//! Only what is committed now is asked: a log written before the rule is applied as it stands, and read in one order, a
//! session's id, an alias, a pin.

use rusqlite::Connection;

use super::commit::{Claim, Guard};
use super::error::CommitError;
use super::writer::sql_error;
use crate::journal::Lines;
use crate::model::id::BadId;
use crate::model::line::Item;
use crate::model::{Record, SessionId};
use crate::sqlite::read::{named, names::Names, session};

/// Refuses a commit that gives a session, alias or pin a name which somebody else has.
pub(super) fn check(conn: &Connection, guard: Option<&Guard>, lines: &Lines) -> Result<(), CommitError> {
    if let Some(Guard { session, claim: Claim::New, .. }) = guard {
        no_head(session)?;
        not_an_alias(conn, session, None)?;
        not_a_pin(conn, session)?;
    }
    for line in &lines.lines {
        if let Item::Record(Record::PinSet { name, target: Some(_), .. }) = &line.item {
            check_pin(conn, name)?;
        }
        let Item::Record(Record::AliasSet { name, session }) = &line.item else { continue };
        if not_an_alias(conn, name, Some(session))? {
            continue;
        }
        no_head(name)?;
        if name != session {
            not_a_session(conn, name)?;
        }
        not_a_pin(conn, name)?;
    }
    Ok(())
}

/// The same for a pin that is set.
fn check_pin(conn: &Connection, name: &SessionId) -> Result<(), CommitError> {
    no_head(name)?;
    not_a_session(conn, name)?;
    not_an_alias(conn, name, None).map(|_| ())
}

fn no_head(name: &SessionId) -> Result<(), CommitError> {
    match name.is_like_a_head() {
        true => Err(BadId::new("name", name.as_str(), "`head-` and hexadecimal digits are the id of a head").into()),
        false => Ok(()),
    }
}

fn not_a_session(conn: &Connection, name: &SessionId) -> Result<(), CommitError> {
    match session::find(conn, name.as_str()).map_err(sql_error)? {
        Some(_) => Err(CommitError::Conflict(format!("{name} is a session itself"))),
        None => Ok(()),
    }
}

/// Whether it is an alias of `of` already; of another it must not be.
fn not_an_alias(conn: &Connection, name: &SessionId, of: Option<&SessionId>) -> Result<bool, CommitError> {
    let Some(sid) = session::find_alias(conn, name.as_str()).map_err(sql_error)? else { return Ok(false) };
    let held = Names::new(conn).and_then(|mut names| names.session(sid)).map_err(sql_error)?;
    match of == Some(&held) {
        true => Ok(true),
        false => Err(CommitError::Conflict(format!("{name} is an alias of {held}"))),
    }
}

fn not_a_pin(conn: &Connection, name: &SessionId) -> Result<(), CommitError> {
    match named::pin(conn, name.as_str()).map_err(sql_error)? {
        Some(_) => Err(CommitError::Conflict(format!("{name} is a pin"))),
        None => Ok(()),
    }
}

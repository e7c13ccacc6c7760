//! Events as they were given, and their compact part.

use rusqlite::Connection;

use super::{Answer, not_found};
use crate::model::line::Compact;
use crate::model::{Event, EventNumber};
use crate::sqlite::read::event;
use crate::sqlite::read::names::Names;
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// How many whole events are held at a time while their compact parts are made.
const CHUNK: usize = 1024;

/// Event `ev` of session `sid`, built again from its rows.
///
/// Of `session/started` the status, and of a `session/status` that ends the session the time, are those of the session as it
/// stands: rows hold them once.
pub(crate) fn event_body(conn: &Connection, sid: i64, ev: EventNumber) -> Result<Event, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let since = bound(ev.0).checked_sub(1).filter(|since| *since >= 0);
    let found = match since {
        Some(since) => event::events(&mut names, sid, since, 1).answer()?.pop(),
        None => None,
    };
    match found.filter(|event| event.number == ev) {
        Some(event) => Ok(event),
        None => Err(not_found("event", format!("{}#{ev}", names.session(sid).answer()?))),
    }
}

/// The compact part of event `ev` of session `sid`.
pub(crate) fn event_compact(conn: &Connection, sid: i64, ev: EventNumber) -> Result<Compact, ReadError> {
    event_body(conn, sid, ev).map(|event| Compact::of(&event))
}

/// The compact parts of session `sid`'s events after `since`, at most `limit`.
pub(crate) fn events_compact(
    conn: &Connection,
    sid: i64,
    since: EventNumber,
    limit: usize,
) -> Result<Vec<Compact>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let mut found = Vec::new();
    let mut since = bound(since.0);
    while found.len() < limit {
        let wanted = i64::try_from((limit - found.len()).min(CHUNK)).unwrap_or(i64::MAX);
        let events = event::events(&mut names, sid, since, wanted).answer()?;
        let Some(last) = events.last() else { break };
        since = bound(last.number.0);
        found.extend(events.iter().map(Compact::of));
    }
    Ok(found)
}

/// Events of session `sid` after `since`, at most `limit`, as [`event_body`] gives them.
pub(crate) fn events(conn: &Connection, sid: i64, since: EventNumber, limit: usize) -> Result<Vec<Event>, ReadError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    event::events(&mut Names::new(conn).answer()?, sid, bound(since.0), limit).answer()
}

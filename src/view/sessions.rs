//! Sessions as they stand, and what they count.

use std::collections::HashMap;

use rusqlite::Connection;

use super::heads::live;
use super::types::SessionInfo;
use super::{Answer, not_found};
use crate::model::{Counters, SessionId, Timestamp};
use crate::sqlite::read::head;
use crate::sqlite::read::names::Names;
use crate::sqlite::read::session::{self, SessionRow};
use crate::view::error::ReadError;

/// The local integer of the session of that very id.
pub(crate) fn find_session(conn: &Connection, id: &str) -> Result<Option<i64>, ReadError> {
    session::find(conn, id).answer()
}

/// The local integer of session `id`.
pub(crate) fn sid(conn: &Connection, id: &SessionId) -> Result<i64, ReadError> {
    find_session(conn, id.as_str())?.ok_or_else(|| not_found("session", id.as_str()))
}

/// Session `sid` as it stands.
pub(crate) fn session_info(conn: &Connection, sid: i64) -> Result<SessionInfo, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let row = live(conn, sid)?;
    let aliases = session::aliases(conn, Some(sid)).answer()?.into_iter().map(|(_, name)| name).collect();
    info(&mut names, row, aliases)
}

/// All sessions, in order of first appearance.
pub(crate) fn sessions(conn: &Connection) -> Result<Vec<SessionInfo>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let mut aliases: HashMap<i64, Vec<SessionId>> = HashMap::new();
    for (sid, name) in session::aliases(conn, None).answer()? {
        aliases.entry(sid).or_default().push(name);
    }
    let rows = session::all(conn).answer()?;
    rows.into_iter()
        .map(|row| {
            let aliases = aliases.remove(&row.sid).unwrap_or_default();
            info(&mut names, row, aliases)
        })
        .collect()
}

/// The imports that began at that moment, at most `limit`, the last made first.
pub(crate) fn begun(conn: &Connection, at: Timestamp, limit: usize) -> Result<Vec<SessionId>, ReadError> {
    session::begun(conn, at, limit).answer()
}

fn info(names: &mut Names, row: SessionRow, aliases: Vec<SessionId>) -> Result<SessionInfo, ReadError> {
    let conn = names.connection();
    let (last_turn, last_head, up) = session::extent(conn, row.sid).answer()?;
    let source = match up {
        Some(up) => {
            let place = head::named_place(conn, up).answer()?;
            Some((names.session(place.sid).answer()?, names.head(up).answer()?))
        }
        None => None,
    };
    Ok(SessionInfo {
        session: row.id,
        aliases,
        kind: row.kind,
        origin: row.origin,
        title: row.title,
        status: row.status,
        cache_id: row.cache_id,
        started_at: row.started_at,
        updated_at: row.updated_at,
        ended_at: row.ended_at,
        current_head: row.current.map(|hid| names.head(hid)).transpose().answer()?,
        events: row.last_event,
        // Numbers go on from the inherited ones, without gap.
        turns: last_turn.saturating_sub(row.inherited.turn),
        heads: last_head.saturating_sub(row.inherited.head),
        source,
    })
}

/// The greatest number of each kind ever recorded for session `sid`, inherited ones included.
pub(crate) fn counters(conn: &Connection, sid: i64) -> Result<Counters, ReadError> {
    let row = live(conn, sid)?;
    let (own, above) = (session::last_numbers(conn, sid).answer()?, row.inherited);
    Ok(Counters {
        call: own.call.max(above.call),
        child: own.child.max(above.child),
        eval: own.eval.max(above.eval),
        event: row.last_event,
        head: own.head.max(above.head),
        invocation: own.invocation.max(above.invocation),
        message: own.message.max(above.message),
        snapshot: own.snapshot.max(above.snapshot),
        turn: own.turn.max(above.turn),
    })
}

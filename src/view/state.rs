//! The rows visible somewhere: at a head, on the working branch, in a whole log.

use rusqlite::Connection;

use super::heads::{Run, Upwards, head_info, live, spans, working_spans};
use super::sessions::session_info;
use super::types::StateView;
use super::{Answer, not_found};
use crate::model::fold::{Entry, View};
use crate::model::{EventNumber, Message, MessageNumber, Span, Turn};
use crate::sqlite::read::event;
use crate::sqlite::read::names::Names;
use crate::sqlite::read::rows::{self, Stored};
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// The rows of the events in `spans`, as [`fold`](crate::model::fold::fold) over these events gives them.
pub(crate) fn rows_at(conn: &Connection, spans: &[Run]) -> Result<View, ReadError> {
    let mut names = Names::new(conn).answer()?;
    Ok(View {
        messages: kind(&mut names, spans)?,
        turns: kind(&mut names, spans)?,
        calls: kind(&mut names, spans)?,
        evals: kind(&mut names, spans)?,
        snapshots: kind(&mut names, spans)?,
        invocations: kind(&mut names, spans)?,
    })
}

/// The rows of session `sid`'s own events, abandoned branches included.
pub(crate) fn rows_of_log(conn: &Connection, sid: i64) -> Result<View, ReadError> {
    rows_at(conn, &[log(conn, sid)?])
}

fn log(conn: &Connection, sid: i64) -> Result<Run, ReadError> {
    let row = live(conn, sid)?;
    Ok((sid, Span { session: row.id, from: EventNumber(1), to: EventNumber(row.last_event) }))
}

/// One kind of row, by number; of several versions the last in the order of `spans`, then of events.
pub(crate) fn kind<T: Stored>(names: &mut Names, spans: &[Run]) -> Result<Vec<Entry<T>>, ReadError> {
    let runs: Vec<_> = spans.iter().map(|(sid, span)| (*sid, (bound(span.from.0), bound(span.to.0)))).collect();
    rows::visible(names, &runs).answer()
}

/// The last `limit` messages at session `sid`'s current head, the newest first.
///
/// It goes up from the head, so the number of spans behind it does not matter, tabled or not.
pub(crate) fn last_messages(conn: &Connection, sid: i64, limit: usize) -> Result<Vec<Entry<Message>>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let mut found = Vec::new();
    for place in Upwards::from(conn, live(conn, sid)?.current) {
        let place = place?;
        let wanted = (i64::try_from(limit).unwrap_or(i64::MAX), i64::MAX);
        page(&mut names, place.sid, (place.from, place.to), wanted, true, &mut found)?;
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// At most `limit` messages of `spans`, from number `from` on upwards, or from it down where the newest are wanted
/// first; from either end without a number.
pub(crate) fn messages(
    conn: &Connection,
    spans: &[Run],
    from: Option<MessageNumber>,
    limit: usize,
    newest_first: bool,
) -> Result<Vec<Entry<Message>>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let mut found = Vec::new();
    let ends = if newest_first { i64::MAX } else { 0 };
    let number = from.map_or(ends, |number| bound(number.0));
    let mut runs: Vec<&Run> = spans.iter().collect();
    if newest_first {
        runs.reverse();
    }
    for (sid, span) in runs {
        let (mut first, mut last) = (bound(span.from.0), bound(span.to.0));
        // Message numbers grow with events within a session: the number's own event bounds the range, so that a page
        // from the middle of a long span does not begin at its end.
        if from.is_some() {
            let above = if newest_first { number.saturating_add(1) } else { number };
            match (rows::first::<Message>(conn, *sid, above).answer()?, newest_first) {
                (Some(ev), false) => first = first.max(ev),
                (Some(ev), true) => last = last.min(ev.saturating_sub(1)),
                (None, false) => continue,
                (None, true) => {}
            }
        }
        let wanted = i64::try_from(limit.saturating_sub(found.len())).unwrap_or(i64::MAX);
        page(&mut names, *sid, (first, last), (wanted, number), newest_first, &mut found)?;
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// The turn written last among what head `hid` shows; it goes up from the head.
pub(crate) fn last_turn_at(conn: &Connection, hid: i64) -> Result<Option<Entry<Turn>>, ReadError> {
    for place in Upwards::from(conn, Some(hid)) {
        let place = place?;
        let found = last_turn(conn, place.sid, (place.from, place.to))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The turn written last in a range of session `sid`'s events.
pub(crate) fn last_turn(conn: &Connection, sid: i64, events: (i64, i64)) -> Result<Option<Entry<Turn>>, ReadError> {
    let (mut names, mut found) = (Names::new(conn).answer()?, Vec::new());
    rows::page(&mut names, sid, events, (1, i64::MAX), true, &mut found).answer()?;
    Ok(found.pop())
}

fn page(
    names: &mut Names,
    sid: i64,
    events: (i64, i64),
    wanted: (i64, i64),
    newest_first: bool,
    found: &mut Vec<Entry<Message>>,
) -> Result<(), ReadError> {
    rows::page(names, sid, events, wanted, newest_first, found).answer()
}

/// The state at head `hid`, which must be one of session `sid`.
pub(crate) fn view_at(conn: &Connection, sid: i64, hid: i64) -> Result<StateView, ReadError> {
    let (session, head) = (session_info(conn, sid)?, head_info(conn, hid)?);
    if head.session != session.session {
        return Err(not_found("head of this session", head.head.to_string()));
    }
    Ok(StateView { session, head: Some(head), rows: rows_at(conn, &spans(conn, hid)?)? })
}

/// The state at session `sid`'s current head; with none, that of its event log.
pub(crate) fn view(conn: &Connection, sid: i64) -> Result<StateView, ReadError> {
    match live(conn, sid)?.current {
        Some(hid) => view_at(conn, sid, hid),
        None => event_view(conn, sid),
    }
}

/// All rows of session `sid`'s own events.
pub(crate) fn event_view(conn: &Connection, sid: i64) -> Result<StateView, ReadError> {
    Ok(StateView { session: session_info(conn, sid)?, head: None, rows: rows_of_log(conn, sid)? })
}

/// What session `sid`'s writer works on: its branch with what is not sealed yet.
pub(crate) fn working_view(conn: &Connection, sid: i64) -> Result<StateView, ReadError> {
    let rows = rows_at(conn, &working_spans(conn, sid)?)?;
    let head = live(conn, sid)?.current.map(|hid| head_info(conn, hid)).transpose()?;
    Ok(StateView { session: session_info(conn, sid)?, head, rows })
}

/// The latest version of number `n` of a kind in `spans`: the last in their order, then of events.
pub(crate) fn latest<T: Stored>(conn: &Connection, spans: &[Run], n: u64) -> Result<Option<T>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    for (sid, span) in spans.iter().rev() {
        let found = rows::latest::<T>(conn, *sid, bound(n), bound(span.to.0)).answer()?;
        if let Some(ev) = found.filter(|ev| *ev >= bound(span.from.0)) {
            return rows::one(&mut names, *sid, ev).answer();
        }
    }
    Ok(None)
}

/// What stands unsealed on session `sid`'s working branch.
pub(crate) struct Unsealed {
    /// Something that a head would keep happened since the last one.
    pub(crate) dirty: bool,
    /// The rows since the last head, or since the first of what still runs if that was before.
    pub(crate) rows: View,
    /// The first event after the last head.
    pub(crate) since: EventNumber,
}

/// Reads what stands unsealed on session `sid`'s working branch; where something does, what still runs is looked for
/// along the whole branch.
pub(crate) fn unsealed(conn: &Connection, sid: i64) -> Result<Unsealed, ReadError> {
    let row = live(conn, sid)?;
    let last = bound(row.last_event);
    let since_head = event::last_head(conn, sid).answer()?.unwrap_or(0).max(bound(row.base_from) - 1) + 1;
    let dirty = event::changes_state(conn, sid, since_head, last).answer()?;
    let mut first = since_head;
    let counters = super::sessions::counters(conn, sid)?;
    // A turn may go on over a head: a compaction does not end it.
    let turn = rows::latest::<Turn>(conn, sid, bound(counters.turn), last).answer()?;
    if let Some(ev) = turn {
        let running = rows::one::<Turn>(&mut Names::new(conn).answer()?, sid, ev).answer()?;
        if running.is_some_and(|turn| turn.status.is_running())
            && let Some(started) = rows::first::<Turn>(conn, sid, bound(counters.turn)).answer()?
            && started >= bound(row.base_from)
        {
            first = first.min(started);
        }
    }
    if dirty && let Some(open) = event::open_since(conn, sid, bound(row.base_from), last).answer()? {
        // Sealed while it ran, a call is as open as one that started since.
        first = first.min(open);
    }
    let since = EventNumber(u64::try_from(since_head).unwrap_or(1));
    let (from, to) = (EventNumber(u64::try_from(first).unwrap_or(1)), EventNumber(row.last_event));
    let rows = match from <= to {
        true => rows_at(conn, &[(sid, Span { session: row.id, from, to })])?,
        false => View::default(),
    };
    Ok(Unsealed { dirty, rows, since })
}

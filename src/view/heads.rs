//! Heads and their spans.

use rusqlite::Connection;

use super::types::{Comparison, HeadInfo, RefInfo};
use super::{Answer, damaged, not_found};
use crate::model::span::{intersect, subtract};
use crate::model::{EventNumber, HeadId, HeadKind, SessionId, Span, TurnNumber};
use crate::sqlite::read::head::{self, HeadRow, Place};
use crate::sqlite::read::names::Names;
use crate::sqlite::read::{event, session};
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// A run of events and the local integer of its session.
pub(crate) type Run = (i64, Span);

/// The local integer of `head`, if there is one.
pub(crate) fn find_head(conn: &Connection, head: &HeadId) -> Result<Option<i64>, ReadError> {
    Ok(event::find_head(conn, head).answer()?.map(|(hid, _)| hid))
}

/// The local integer of `head`.
pub(crate) fn hid(conn: &Connection, head: &HeadId) -> Result<i64, ReadError> {
    find_head(conn, head)?.ok_or_else(|| not_found("head", head.to_string()))
}

/// The id of head `hid`.
pub(crate) fn head_id(conn: &Connection, hid: i64) -> Result<HeadId, ReadError> {
    Names::new(conn).answer()?.head(hid).answer()
}

/// Everything about head `hid` but its transcript.
pub(crate) fn head_info(conn: &Connection, hid: i64) -> Result<HeadInfo, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let row = head::by_hid(&mut names, hid).answer()?.ok_or_else(|| damaged(format!("the row of head {hid}")))?;
    info(&mut names, row)
}

/// The heads of session `sid`, in order.
pub(crate) fn heads(conn: &Connection, sid: i64) -> Result<Vec<HeadInfo>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let rows = head::of_session(&mut names, sid).answer()?;
    rows.into_iter().map(|row| info(&mut names, row)).collect()
}

fn info(names: &mut Names, row: HeadRow) -> Result<HeadInfo, ReadError> {
    let session = names.session(row.sid).answer()?;
    Ok(HeadInfo {
        head: row.head,
        event: row.ev,
        at: row.at,
        kind: row.kind,
        basis: row.basis,
        up: row.up,
        span: Span { session: session.clone(), from: row.from, to: row.to },
        session,
        depth: row.depth,
        compaction: row.compaction,
        ordinal: row.ordinal,
        turn: row.turn,
        final_value: row.final_value,
        snapshot: row.snapshot,
        vars: row.vars,
        current: row.current,
    })
}

/// The head that ends turn `turn` of session `sid`: the latest `turn-final`, else the latest.
///
/// A turn that a fork inherits is looked for along its spans.
pub(crate) fn head_of_turn(conn: &Connection, sid: i64, turn: TurnNumber) -> Result<HeadId, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let id = names.session(sid).answer()?;
    let pick = |sid: i64, last: i64| -> Result<Option<i64>, ReadError> {
        let found = head::of_turn(conn, sid, bound(turn.0), last).answer()?;
        let ends =
            |wanted: &[HeadKind]| found.iter().find(|(_, _, kind)| wanted.contains(kind)).map(|(hid, _, _)| *hid);
        // A genesis ends no turn, even where its row names the one it was made after.
        Ok(ends(&[HeadKind::TurnFinal]).or_else(|| ends(&[HeadKind::Compaction, HeadKind::TurnAborted])))
    };
    let mut found = pick(sid, i64::MAX)?;
    if found.is_none() {
        let row = live(conn, sid)?;
        for place in Upwards::from(conn, row.current.or(row.base_up)) {
            let place = place?;
            // A head lies one event behind what it sees.
            found = if place.sid == sid { None } else { pick(place.sid, place.to.saturating_add(1))? };
            if found.is_some() {
                break;
            }
        }
    }
    let hid = found.ok_or_else(|| not_found("head of turn", format!("{id} {turn}")))?;
    names.head(hid).answer()
}

pub(super) fn live(conn: &Connection, sid: i64) -> Result<session::SessionRow, ReadError> {
    session::by_sid(conn, sid).answer()?.ok_or_else(|| not_found("session", sid.to_string()))
}

/// The heads from one up to where its history begins.
pub(super) struct Upwards<'c> {
    conn: &'c Connection,
    next: Option<i64>,
    depth: i64,
}

impl<'c> Upwards<'c> {
    pub(super) fn from(conn: &'c Connection, hid: Option<i64>) -> Upwards<'c> {
        Upwards { conn, next: hid, depth: i64::MAX }
    }
}

impl Iterator for Upwards<'_> {
    type Item = Result<Place, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let hid = self.next.take()?;
        let place = match head::named_place(self.conn, hid).answer() {
            Ok(place) => place,
            Err(error) => return Some(Err(error)),
        };
        // Depth falls with every step: a database that says otherwise must not keep us here for ever.
        if place.depth >= self.depth {
            return Some(Err(damaged(format!("the depth of head {hid}"))));
        }
        (self.next, self.depth) = (place.up, place.depth);
        Some(Ok(place))
    }
}

/// The spans of head `hid`, those of its `up` first.
pub(crate) fn spans(conn: &Connection, hid: i64) -> Result<Vec<Run>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    spans_up(&mut names, Some(hid))
}

fn spans_up(names: &mut Names, hid: Option<i64>) -> Result<Vec<Run>, ReadError> {
    let mut runs = Vec::new();
    for place in Upwards::from(names.connection(), hid) {
        let place = place?;
        if place.from <= place.to {
            runs.push((place.sid, span(&names.session(place.sid).answer()?, place.from, place.to)?));
        }
    }
    runs.reverse();
    Ok(runs)
}

fn span(session: &SessionId, from: i64, to: i64) -> Result<Span, ReadError> {
    match (u64::try_from(from), u64::try_from(to)) {
        (Ok(from), Ok(to)) => Ok(Span { session: session.clone(), from: EventNumber(from), to: EventNumber(to) }),
        _ => Err(damaged(format!("a span of {session}"))),
    }
}

/// The spans of session `sid`'s working branch: those of the head at which it left, then its own events so far,
/// sealed or not.
pub(crate) fn working_spans(conn: &Connection, sid: i64) -> Result<Vec<Run>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let row = live(conn, sid)?;
    let mut runs = spans_up(&mut names, row.base_up)?;
    if row.base_from <= row.last_event {
        let span = Span { session: row.id, from: EventNumber(row.base_from), to: EventNumber(row.last_event) };
        runs.push((sid, span));
    }
    Ok(runs)
}

/// What two heads see in common, and what only one of them.
pub(crate) fn compare(conn: &Connection, left: i64, right: i64) -> Result<Comparison, ReadError> {
    let plain = |runs: Vec<Run>| runs.into_iter().map(|(_, span)| span).collect::<Vec<_>>();
    let (left, right) = (plain(spans(conn, left)?), plain(spans(conn, right)?));
    Ok(Comparison { common: intersect(&left, &right), left: subtract(&left, &right), right: subtract(&right, &left) })
}

/// The current head of session `sid` and how it came to be; none before the first.
pub(crate) fn reference(conn: &Connection, sid: i64) -> Result<Option<RefInfo>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let row = live(conn, sid)?;
    let refs = head::refs(conn, sid, 2).answer()?;
    let Some((event, hid, updated)) = refs.first().copied() else { return Ok(None) };
    let previous = refs.get(1).map(|(_, hid, _)| names.head(*hid)).transpose().answer()?;
    Ok(Some(RefInfo { current: names.head(hid).answer()?, previous, event, fingerprint: row.digest, updated }))
}

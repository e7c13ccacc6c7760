//! Where a final value comes from: the turn that gave it, and what that turn is made of.

use std::collections::HashSet;

use rusqlite::Connection;

use super::Answer;
use super::heads::{Upwards, live};
use super::trace::causal_chain;
use super::types::Trace;
use crate::model::fold::Entry;
use crate::model::{Call, Eval, EventNumber, Invocation, Turn};
use crate::sqlite::read::head;
use crate::sqlite::read::names::Names;
use crate::sqlite::read::rows::{self, last_versions};
use crate::sqlite::read::version;
use crate::view::error::ReadError;

/// The turn that session `sid`'s current head seals. A head that seals none, a compaction or the genesis of a fork, is gone on from
/// to the one it was built on.
pub(crate) fn trace(conn: &Connection, sid: i64) -> Result<Option<Trace>, ReadError> {
    let mut next = live(conn, sid)?.current;
    let mut seen = HashSet::new();
    while let Some(hid) = next {
        let place = head::named_place(conn, hid).answer()?;
        if let Some(turn) = place.turn {
            return of_turn(conn, hid, turn).map(Some);
        }
        if !seen.insert(hid) {
            return Err(super::damaged(format!("the basis of head {hid}")));
        }
        next = place.basis.or(place.up);
    }
    Ok(None)
}

/// The rows of turn `n`, sealed by head `hid`: they lie between its first event and its last.
fn of_turn(conn: &Connection, hid: i64, n: i64) -> Result<Trace, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let missing = || super::damaged(format!("turn {n}"));
    let (mut turn, mut evals, mut calls, mut invocations) =
        (None, Vec::<Entry<Eval>>::new(), Vec::<Entry<Call>>::new(), Vec::<Entry<Invocation>>::new());
    // A turn begun in one span may end in the next ones: they are gone up until its first version is found.
    for place in Upwards::from(conn, Some(hid)) {
        let place = place?;
        let mut last = None;
        if turn.is_none() {
            last = rows::latest::<Turn>(conn, place.sid, n, place.to).answer()?.filter(|ev| *ev >= place.from);
            if let Some(ev) = last {
                let mut found = Vec::new();
                rows::range::<Turn>(&mut names, place.sid, (ev, ev), &mut found).answer()?;
                turn = found.pop();
            }
        }
        let mut begun = None;
        version::versions::<Turn>(conn, place.sid, (n, n), |_, ev| {
            if begun.is_none() && (place.from..=place.to).contains(&ev) {
                begun = Some(ev);
            }
        })
        .answer()?;
        if let Some(ev) = begun {
            // A version here may go on from one in a span before.
            let first = version::firsts::<Turn>(conn, place.sid, (ev, ev, place.from), 1, false).answer()?;
            begun = first.first().filter(|first| !first.before).map(|first| first.ev);
        }
        let run = (begun.unwrap_or(place.from), last.unwrap_or(place.to));
        let (mut e, mut c, mut i) = (Vec::new(), Vec::new(), Vec::new());
        rows::range(&mut names, place.sid, run, &mut e).answer()?;
        rows::range(&mut names, place.sid, run, &mut c).answer()?;
        rows::range(&mut names, place.sid, run, &mut i).answer()?;
        // Spans are met from the last to the first.
        evals.splice(0..0, e);
        calls.splice(0..0, c);
        invocations.splice(0..0, i);
        if begun.is_some() {
            break;
        }
    }
    let turn = turn.ok_or_else(missing)?;
    let of_turn = turn.row.turn;
    evals.retain(|eval| eval.row.turn == Some(of_turn));
    calls.retain(|call| call.row.turn == Some(of_turn));
    let calls = last_versions(calls, |call| call.row.call);
    let made: HashSet<_> = calls.iter().map(|call| call.row.call).collect();
    invocations.retain(|invocation| invocation.row.call.is_some_and(|call| made.contains(&call)));
    let invocations = last_versions(invocations, |invocation| invocation.row.invocation);
    let sid = super::sessions::sid(conn, &turn.session)?;
    let chain = causal_chain(conn, sid, EventNumber(turn.event.0), false)?;
    Ok(Trace { turn, chain, evals, calls, invocations })
}

//! Rows of one kind by range, a page at a time: what a page costs is what it holds.
//!
//! Numbers grow with events, along a log and from span to span, so a range of numbers is a range of events of each span, found
//! by one search. A row of a kind with versions stands where its first version in sight does, and is shown in its last.

use std::collections::HashMap;

use rusqlite::Connection;

use super::heads::{Upwards, hid, live};
use super::{Answer, not_found};
use crate::model::fold::Entry;
use crate::model::{Call, Counters, Eval, HeadId, Invocation, Message, Snapshot, Turn};
use crate::sqlite::read::head;
use crate::sqlite::read::names::Names;
use crate::sqlite::read::rows::{self, Stored};
use crate::sqlite::read::version::{self, First};
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// A kind of row that has numbers: messages, turns, calls, evals, snapshots, invocations. Nobody else makes kinds.
#[expect(private_bounds, reason = "what a kind is read by is the store's own")]
pub trait Recorded: Stored {}

macro_rules! recorded {
    ($($row:ty),*) => {$(
        impl Recorded for $row {}
    )*};
}
recorded!(Message, Turn, Call, Eval, Snapshot, Invocation);

/// Which rows of a session are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those visible at the current head; with none, as `Log`.
    #[default]
    Current,
    /// Those visible at a head of the session.
    Head(HeadId),
    /// Those on the working branch, sealed or not.
    Working,
    /// Those of all its own events, abandoned branches included, inherited ones not.
    Log,
}

/// Which numbers, and in which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// The least number.
    pub from: Option<u64>,
    /// The greatest number.
    pub to: Option<u64>,
    /// The greatest number first.
    pub newest_first: bool,
}

impl Range {
    /// All, the greatest number first.
    pub fn newest_first() -> Range {
        Range { newest_first: true, ..Range::default() }
    }

    /// From one number to another, both included.
    pub fn of(from: u64, to: u64) -> Range {
        Range { from: Some(from), to: Some(to), newest_first: false }
    }
}

/// A run of events of one session.
#[derive(Debug, Clone, Copy)]
struct Run {
    sid: i64,
    from: i64,
    to: i64,
    /// Of a fork's whole log, only the versions of its source's rows: their numbers come before all of its own.
    inherited: bool,
}

/// How far a reading went. Runs are of heads, which do not change, or end at an event that was there: so pages read at different
/// times are of one point.
#[derive(Debug)]
pub(crate) struct Cursor {
    range: Range,
    /// In the order in which they are read; newest first, only as many as were needed.
    runs: Vec<Run>,
    /// The head at which the last known run left; oldest first, none.
    up: Option<i64>,
    /// The run being read, and its events that are left: none before it is looked at.
    at: usize,
    left: Option<(i64, i64)>,
    /// What the session inherited, where its whole log is read.
    of_log: Option<Counters>,
}

impl Cursor {
    /// At the beginning of `range`.
    pub(crate) fn open(conn: &Connection, sid: i64, scope: Scope, range: Range) -> Result<Cursor, ReadError> {
        let row = live(conn, sid)?;
        let log = Run { sid, from: 1, to: bound(row.last_event), inherited: false };
        let of_log = matches!((scope, row.current), (Scope::Log, _) | (Scope::Current, None)).then_some(row.inherited);
        let (first, up) = match (scope, row.current) {
            (Scope::Log, _) | (Scope::Current, None) => (Some(log), None),
            (Scope::Current, current) => (None, current),
            (Scope::Working, _) => (Some(Run { from: bound(row.base_from), ..log }), row.base_up),
            (Scope::Head(head), _) => {
                let hid = hid(conn, &head)?;
                if head::named_place(conn, hid).answer()?.sid != sid {
                    return Err(not_found("head of this session", head.to_string()));
                }
                (None, Some(hid))
            }
        };
        let mut cursor = Cursor { range, runs: first.into_iter().collect(), up, at: 0, left: None, of_log };
        if of_log.is_some() {
            cursor.runs.push(Run { inherited: true, ..log });
        }
        if !range.newest_first {
            while cursor.further(conn)? {}
            cursor.runs.reverse();
        }
        Ok(cursor)
    }

    /// Learns of the run before the last known one; false where there is none.
    fn further(&mut self, conn: &Connection) -> Result<bool, ReadError> {
        // Each step is made anew, so a depth that does not fall is noticed within it.
        let mut upwards = Upwards::from(conn, self.up.take());
        let Some(place) = upwards.next().transpose()? else { return Ok(false) };
        if let Some(up) = place.up {
            if head::named_place(conn, up).answer()?.depth >= place.depth {
                return Err(super::damaged(format!("the depth of head {up}")));
            }
            self.up = Some(up);
        }
        self.runs.push(Run { sid: place.sid, from: place.from, to: place.to, inherited: false });
        Ok(true)
    }

    /// The next rows, at most `limit`; none at the end.
    pub(crate) fn page<T: Stored>(&mut self, conn: &Connection, limit: usize) -> Result<Vec<Entry<T>>, ReadError> {
        let mut found = Vec::new();
        let mut names = Names::new(conn).answer()?;
        while found.len() < limit {
            if self.at >= self.runs.len() && (!self.range.newest_first || !self.further(conn)?) {
                break;
            }
            let Some(run) = self.runs.get(self.at).copied() else { break };
            let (from, to) = match self.left {
                Some(left) => left,
                None => match self.bounds::<T>(conn, run)? {
                    Some(left) => left,
                    // What lies beyond a run that is beyond the range is beyond it, too.
                    None => {
                        self.end();
                        break;
                    }
                },
            };
            let wanted = limit - found.len();
            let before = found.len();
            let last = if from > to {
                None
            } else if run.inherited {
                self.of_source(&mut names, run, (from, to), wanted, &mut found)?
            } else if T::VERSIONS.is_some() {
                self.versioned(&mut names, run, (from, to), wanted, &mut found)?
            } else {
                let (ends, limit) = (if self.range.newest_first { i64::MAX } else { 0 }, wanted as i64);
                let newest_first = self.range.newest_first;
                rows::page(&mut names, run.sid, (from, to), (limit, ends), newest_first, &mut found).answer()?;
                let whole = found.len() - before == wanted;
                let last = found.last().filter(|_| whole).map(|entry: &Entry<T>| bound(entry.event.0));
                if T::HAS_PUTS {
                    for entry in found.iter_mut().skip(before) {
                        self.put_anew(&mut names, entry)?;
                    }
                }
                last
            };
            self.left = match last {
                Some(ev) if self.range.newest_first => Some((from, ev - 1)),
                Some(ev) => Some((ev + 1, to)),
                None => {
                    self.at += 1;
                    None
                }
            };
            let far = if self.range.newest_first { self.range.from } else { self.range.to };
            if far.is_some() && found.last().map(|entry| entry.row.number()) == far {
                self.end();
                break;
            }
        }
        Ok(found)
    }

    fn end(&mut self) {
        (self.at, self.up, self.left) = (self.runs.len(), None, None);
    }

    /// The events of a run that can hold numbers of the range (of a source's rows the numbers themselves); none if it lies wholly beyond the range's end.
    fn bounds<T: Stored>(&self, conn: &Connection, run: Run) -> Result<Option<(i64, i64)>, ReadError> {
        if let (true, Some(counters)) = (run.inherited, &self.of_log) {
            let last = T::inherited(counters).min(self.range.to.unwrap_or(u64::MAX));
            return Ok(Some((bound(self.range.from.unwrap_or(0)), bound(last))));
        }
        let (mut from, mut to) = (run.from, run.to);
        let above = live(conn, run.sid)?.inherited;
        let begins = |n: u64| version::first_own::<T>(conn, run.sid, bound(n), &above).answer();
        if let Some(n) = self.range.from {
            match begins(n)? {
                Some(ev) if ev <= run.to => from = from.max(ev),
                _ => return Ok(Some((1, 0))),
            }
        }
        if let Some(above) = self.range.to.map(|n| n.checked_add(1))
            && let Some(above) = above
            && let Some(ev) = begins(above)?
        {
            if ev <= run.from && !self.range.newest_first {
                return Ok(None);
            }
            to = to.min(ev - 1);
        }
        Ok(Some((from, to)))
    }

    /// Adds rows of a kind with versions; returns the last event looked at, if more may follow in the run.
    fn versioned<T: Stored>(
        &mut self,
        names: &mut Names,
        run: Run,
        (from, to): (i64, i64),
        wanted: usize,
        found: &mut Vec<Entry<T>>,
    ) -> Result<Option<i64>, ReadError> {
        let conn = names.connection();
        let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
        let firsts =
            version::firsts::<T>(conn, run.sid, (from, to, run.from), limit, self.range.newest_first).answer()?;
        let last = firsts.last().filter(|_| firsts.len() == wanted).map(|first| first.ev);
        let mut here: Vec<First> = Vec::with_capacity(firsts.len());
        for first in firsts {
            let elsewhere = first.before && (self.of_log.is_some() || self.earlier::<T>(conn, first.n)?);
            if !elsewhere {
                here.push(first);
            }
        }
        let (Some(low), Some(high)) = (here.iter().map(|f| f.n).min(), here.iter().map(|f| f.n).max()) else {
            return Ok(last);
        };
        let mut latest = self.latest::<T>(conn, (low, high))?;
        for first in here {
            let (sid, ev) = latest.remove(&first.n).map_or((run.sid, first.ev), |(_, sid, ev)| (sid, ev));
            rows::range(names, sid, (ev, ev), found).answer()?;
        }
        Ok(last)
    }

    /// Adds a source's rows by their numbers; returns the last one, if more may follow.
    fn of_source<T: Stored>(
        &self,
        names: &mut Names,
        run: Run,
        (low, high): (i64, i64),
        wanted: usize,
        found: &mut Vec<Entry<T>>,
    ) -> Result<Option<i64>, ReadError> {
        let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
        let conn = names.connection();
        let numbers =
            version::numbers::<T>(conn, run.sid, (low, high, run.to), limit, self.range.newest_first).answer()?;
        for (_, ev) in &numbers {
            rows::range(names, run.sid, (*ev, *ev), found).answer()?;
        }
        Ok(numbers.last().filter(|_| numbers.len() == wanted).map(|(n, _)| *n))
    }

    /// Whether a run before the one being read has a version of number `n`.
    fn earlier<T: Stored>(&mut self, conn: &Connection, n: i64) -> Result<bool, ReadError> {
        let has = |run: &Run| -> Result<bool, ReadError> {
            let ev = rows::latest::<T>(conn, run.sid, n, run.to).answer()?;
            Ok(ev.is_some_and(|ev| ev >= run.from))
        };
        if !self.range.newest_first {
            for run in self.runs.get(..self.at).unwrap_or_default() {
                if has(run)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let mut at = self.at.saturating_add(1);
        while at < self.runs.len() || self.further(conn)? {
            if let Some(run) = self.runs.get(at)
                && has(run)?
            {
                return Ok(true);
            }
            at += 1;
        }
        Ok(false)
    }

    /// The runs from the one being read on, as a head puts them: later ones count more.
    fn later(&self) -> Vec<(usize, Run)> {
        match self.range.newest_first {
            true => self.runs.iter().take(self.at + 1).rev().copied().enumerate().collect(),
            false => self.runs.iter().skip(self.at).copied().enumerate().collect(),
        }
    }

    /// Shows a row in its last version in sight, of a kind that hardly ever has more than one.
    fn put_anew<T: Stored>(&self, names: &mut Names, entry: &mut Entry<T>) -> Result<(), ReadError> {
        let mut puts = Vec::new();
        rows::puts(names.connection(), bound(entry.row.number()), |sid, ev| puts.push((sid, ev))).answer()?;
        if puts.is_empty() {
            return Ok(());
        }
        let later = self.later();
        let order = |(sid, ev): (i64, i64)| {
            let run = later.iter().rev().find(|(_, run)| run.sid == sid && (run.from..=run.to).contains(&ev));
            run.map(|(order, _)| (*order, ev, sid))
        };
        if let Some((_, ev, sid)) = puts.into_iter().filter_map(order).max() {
            let mut last = Vec::new();
            rows::range(names, sid, (ev, ev), &mut last).answer()?;
            last.into_iter().for_each(|last| *entry = last);
        }
        Ok(())
    }

    /// The last version in sight of the numbers that stand in the run being read: place in the order, session, event.
    fn latest<T: Stored>(
        &self,
        conn: &Connection,
        numbers: (i64, i64),
    ) -> Result<HashMap<i64, (usize, i64, i64)>, ReadError> {
        let mut later: Vec<(usize, Run)> = self.later();
        // By session and event, since each session is asked once, and runs of one session do not meet.
        later.sort_by_key(|(_, run)| (run.sid, run.from));
        let mut found: HashMap<i64, (usize, i64, i64)> = HashMap::new();
        for of_session in later.chunk_by(|(_, a), (_, b)| a.sid == b.sid) {
            let Some(sid) = of_session.first().map(|(_, run)| run.sid) else { continue };
            version::versions::<T>(conn, sid, numbers, |n, ev| {
                let at = of_session.partition_point(|(_, run)| run.from <= ev);
                let run = at.checked_sub(1).and_then(|at| of_session.get(at));
                if let Some((order, _)) = run.filter(|(_, run)| ev <= run.to) {
                    let best = found.entry(n).or_insert((*order, sid, ev));
                    if (best.0, best.2) < (*order, ev) {
                        *best = (*order, sid, ev);
                    }
                }
            })
            .answer()?;
        }
        Ok(found)
    }
}

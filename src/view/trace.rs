//! Why a fact happened: its causes, and theirs.
//!
//! The causes of an event are named by its row: numbers of other rows, heads, a session. Each stands for the latest
//! earlier event of that row which is visible on the event's branch, so that an answer on one branch never cites what
//! happened on another. Two rows have no such event, and stand for the one that made them: a head is not inside what
//! it sees, so that from outside its branch it is its `head/created`; a session is its `session/started`.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::events::event_compact;
use super::heads::live;
use super::types::Link;
use super::{Answer, damaged, not_found};
use crate::model::{Call, Eval, EventNumber, Invocation, Message, SessionId, Snapshot, Turn};
use crate::sqlite::read::cause::{self, Named};
use crate::sqlite::read::event;
use crate::sqlite::read::head::{self, Place};
use crate::sqlite::read::names::Names;
use crate::sqlite::read::rows::{self, Stored};
use crate::sqlite::row::{EventType, bound};
use crate::view::error::ReadError;

/// An event, by local integers.
type Fact = (i64, i64);

/// Looks up the latest event, up to one, that wrote a number of some kind.
type Latest = fn(&Connection, i64, i64, i64) -> rusqlite::Result<Option<i64>>;

fn latest<T: Stored>() -> Latest {
    rows::latest::<T>
}

/// What a row names.
enum Cause {
    Row(Latest, i64),
    /// A head that was built on or gone on from: a chain stops there.
    Basis(i64),
    /// A head in another part.
    Head(i64),
    Session(i64),
}

/// A run of events of one session.
#[derive(Clone, Copy)]
struct Run {
    sid: i64,
    from: i64,
    to: i64,
}

/// The events of `sid` that lie before `ev` on its branch, and where that left.
struct Branch {
    own: Run,
    up: Option<i64>,
}

/// What a look at one run says.
enum Look {
    Found(Fact),
    On,
    /// Nothing further up either.
    Stop,
}

/// Answers why; remembers heads, which many facts of a chain share.
struct Trace<'c> {
    conn: &'c Connection,
    places: HashMap<i64, Place>,
}

impl Trace<'_> {
    fn place(&mut self, hid: i64) -> Result<Place, ReadError> {
        if let Some(place) = self.places.get(&hid) {
            return Ok(*place);
        }
        let place = head::named_place(self.conn, hid).answer()?;
        self.places.insert(hid, place);
        Ok(place)
    }

    /// The branch that event `ev` is on: that of the first head sealed from it on, if it begins early enough, else
    /// the working branch, else that of the head before.
    ///
    /// One head is enough to look at: branches of one session begin ever later, so if the first one begins after `ev`,
    /// all do, the working one included, and `ev` was left behind unsealed.
    fn branch(&mut self, sid: i64, ev: i64) -> Result<Branch, ReadError> {
        let next = match head::first_from(self.conn, sid, ev).answer()? {
            Some(branch) => Some(branch),
            None => {
                let row = live(self.conn, sid)?;
                Some((row.base_up, bound(row.base_from)))
            }
        };
        let (up, from) = match next.filter(|(_, from)| *from <= ev) {
            Some(branch) => branch,
            None => head::last_before(self.conn, sid, ev).answer()?.unwrap_or((None, 1)),
        };
        Ok(Branch { own: Run { sid, from, to: ev.saturating_sub(1) }, up })
    }

    /// Goes through the runs of a branch from the last to the first.
    fn search(
        &mut self,
        branch: &Branch,
        mut look: impl FnMut(&Connection, Run) -> rusqlite::Result<Look>,
    ) -> Result<Option<Fact>, ReadError> {
        let (mut run, mut up, mut depth) = (branch.own, branch.up, i64::MAX);
        loop {
            match look(self.conn, run).answer()? {
                Look::Found(fact) => return Ok(Some(fact)),
                Look::Stop => return Ok(None),
                Look::On => {}
            }
            let Some(hid) = up else { return Ok(None) };
            let place = self.place(hid)?;
            if place.depth >= depth {
                return Err(damaged(format!("the depth of head {hid}")));
            }
            (run, up, depth) = (Run { sid: place.sid, from: place.from, to: place.to }, place.up, place.depth);
        }
    }

    /// The event of the version of row `n` that is visible.
    fn row_event(&mut self, branch: &Branch, latest: Latest, n: i64) -> Result<Option<Fact>, ReadError> {
        // For each session the answer to the last question asked of its index: nothing lies between the event found
        // and the one up to which was looked, so that most runs are passed without a question.
        let mut asked: HashMap<i64, (i64, Option<i64>)> = HashMap::new();
        self.search(branch, |conn, run| {
            let known = asked.get(&run.sid).filter(|(to, found)| run.to <= *to && found.is_none_or(|ev| ev <= run.to));
            let found = match known {
                Some((_, found)) => *found,
                None => {
                    let found = latest(conn, run.sid, n, run.to)?;
                    asked.insert(run.sid, (run.to, found));
                    found
                }
            };
            Ok(found.filter(|ev| *ev >= run.from).map_or(Look::On, |ev| Look::Found((run.sid, ev))))
        })
    }

    /// The event that made head `hid` current, or made it.
    fn head_event(&mut self, branch: &Branch, hid: i64) -> Result<Fact, ReadError> {
        let place = self.place(hid)?;
        let found = self.search(branch, |conn, run| {
            if run.sid != place.sid {
                return Ok(Look::On);
            }
            if run.to < place.ev {
                return Ok(Look::Stop);
            }
            let since = run.from.max(place.ev.saturating_add(1));
            if let Some(ev) = head::ref_to(conn, run.sid, (since, run.to), hid)? {
                return Ok(Look::Found((run.sid, ev)));
            }
            Ok(if run.from <= place.ev { Look::Found((run.sid, place.ev)) } else { Look::On })
        })?;
        Ok(found.unwrap_or((place.sid, place.ev)))
    }

    /// What event `ev` of `sid` names.
    fn named(&mut self, (sid, ev): Fact) -> Result<Vec<Cause>, ReadError> {
        let row = match event::one(self.conn, sid, ev).answer()? {
            Some(row) => row,
            None => {
                let id = Names::new(self.conn).answer()?.session(sid).answer()?;
                return Err(not_found("event", format!("{id}#{ev}")));
            }
        };
        let EventType::Own(code) = row.event_type else { return Ok(Vec::new()) };
        let own = |statement: &str| -> Result<Named, ReadError> {
            let named = cause::named(self.conn, statement, sid, ev).answer()?;
            named.ok_or_else(|| damaged(format!("the row of event {sid}#{ev}")))
        };
        let [turn, call, eval] = [latest::<Turn>(), latest::<Call>(), latest::<Eval>()];
        let [message, snapshot, invocation] = [latest::<Message>(), latest::<Snapshot>(), latest::<Invocation>()];
        let numbered = |latest: Latest, n: Option<i64>| n.map(|n| Cause::Row(latest, n));
        let list = match code {
            4 => {
                let (hid, place) = event::head_of(&Names::new(self.conn).answer()?, &row).answer()?;
                vec![Some(Cause::Session(place.sid)), Some(Cause::Basis(hid)), numbered(snapshot, row.n)]
            }
            5 => vec![row.reference.map(Cause::Head)],
            6 => {
                let [a, b, ..] = own(cause::MESSAGE)?;
                vec![numbered(turn, a), numbered(call, b)]
            }
            7 | 8 => {
                let [before, ..] = own(cause::TURN)?;
                vec![before.map(Cause::Basis), numbered(turn, row.n.filter(|_| code == 8))]
            }
            9 | 10 => {
                let [a, b, child, ..] = own(cause::CALL)?;
                let put = code == 10;
                let child = child.filter(|_| put).map(Cause::Session);
                vec![numbered(turn, a), numbered(eval, b), numbered(call, row.n.filter(|_| put)), child]
            }
            11 | 18 => {
                let [a, b, c, ..] = own(cause::EVAL)?;
                let put = row.n.filter(|_| code == 18);
                vec![numbered(turn, a), numbered(message, b), numbered(call, c), numbered(eval, put)]
            }
            12 => {
                let [a, b, ..] = own(cause::SNAPSHOT)?;
                vec![numbered(turn, a), numbered(eval, b)]
            }
            13 => {
                let (_, place) = event::head_of(&Names::new(self.conn).answer()?, &row).answer()?;
                vec![place.basis.map(Cause::Basis), numbered(turn, place.turn), numbered(snapshot, place.snapshot)]
            }
            14 => {
                let [a, caller_before, _, callee_before, _] = own(cause::INVOCATION)?;
                vec![numbered(call, a), caller_before.map(Cause::Basis), callee_before.map(Cause::Basis)]
            }
            15..=17 => {
                let [_, _, caller_after, _, callee_after] = own(cause::INVOCATION)?;
                let head = match code {
                    15 => callee_after,
                    17 => caller_after,
                    _ => None,
                };
                vec![numbered(invocation, row.n), head.map(Cause::Head)]
            }
            _ => Vec::new(),
        };
        Ok(list.into_iter().flatten().collect())
    }

    /// The causes of an event, the latest first, those of its own session before others; with each, whether a chain
    /// stops there.
    fn causes(&mut self, fact: Fact) -> Result<Vec<(Fact, bool)>, ReadError> {
        let named = self.named(fact)?;
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let branch = self.branch(fact.0, fact.1)?;
        let mut found: Vec<(Fact, bool)> = Vec::with_capacity(named.len());
        for cause in named {
            let stops = matches!(cause, Cause::Basis(_));
            let event = match cause {
                Cause::Row(latest, n) => self.row_event(&branch, latest, n)?,
                Cause::Basis(hid) | Cause::Head(hid) => Some(self.head_event(&branch, hid)?),
                Cause::Session(sid) => Some((sid, 1)),
            };
            // A cause comes before its effect, whatever a damaged row says.
            let Some(event) = event.filter(|(sid, ev)| *sid != fact.0 || *ev < fact.1) else { continue };
            match found.iter_mut().find(|(known, _)| *known == event) {
                // A row reached both ways is gone through.
                Some((_, known)) => *known &= stops,
                None => found.push((event, stops)),
            }
        }
        found.sort_by_key(|((sid, ev), _)| (*sid != fact.0, std::cmp::Reverse(*ev)));
        Ok(found)
    }
}

fn trace(conn: &Connection) -> Trace<'_> {
    Trace { conn, places: HashMap::new() }
}

fn named(names: &mut Names, (sid, ev): Fact) -> Result<(SessionId, EventNumber), ReadError> {
    let number = u64::try_from(ev).map_err(|_| damaged(format!("event {ev}")))?;
    Ok((names.session(sid).answer()?, EventNumber(number)))
}

/// The causes of event `ev` of session `sid`, the latest first; those in other sessions come last.
pub(crate) fn causes(conn: &Connection, sid: i64, ev: EventNumber) -> Result<Vec<(SessionId, EventNumber)>, ReadError> {
    let mut names = Names::new(conn).answer()?;
    let found = trace(conn).causes((sid, bound(ev.0)))?;
    found.into_iter().map(|(fact, _)| named(&mut names, fact)).collect()
}

/// Event `ev` of session `sid` and what led to it, ancestors first, each fact once.
///
/// The heads that a turn, a head or an invocation was built on are in the chain and end it there, and causes in other
/// sessions are named by their effects alone. With `all` both are gone through too.
pub(crate) fn causal_chain(conn: &Connection, sid: i64, ev: EventNumber, all: bool) -> Result<Vec<Link>, ReadError> {
    let start: Fact = (sid, bound(ev.0));
    let mut trace = trace(conn);
    let mut known: HashMap<Fact, Vec<Fact>> = HashMap::new();
    let mut ends: Vec<Fact> = Vec::new();
    let mut order: Vec<Fact> = Vec::new();
    let mut seen: HashSet<Fact> = HashSet::from([start]);
    // Facts on the way, each with the causes still to be gone through: as deep as a history is long, hence no recursion.
    let mut path: Vec<(Fact, Vec<Fact>)> = Vec::new();
    let mut next = Some(start);
    loop {
        if let Some(fact) = next.take() {
            let causes = trace.causes(fact)?;
            let mut through = Vec::new();
            for (cause, stops) in &causes {
                match all || (!stops && cause.0 == sid) {
                    true => through.push(*cause),
                    false if cause.0 == sid => ends.push(*cause),
                    false => {}
                }
            }
            known.insert(fact, causes.into_iter().map(|(cause, _)| cause).collect());
            path.push((fact, through));
        }
        let Some((fact, through)) = path.last_mut() else { break };
        match through.pop() {
            Some(cause) => next = seen.insert(cause).then_some(cause),
            None => {
                order.push(*fact);
                path.pop();
            }
        }
    }
    for end in ends {
        if seen.insert(end) {
            known.insert(end, trace.causes(end)?.into_iter().map(|(cause, _)| cause).collect());
            order.push(end);
        }
    }
    // Within one session a cause has the smaller number; where several meet, the order of the walk has it first.
    if order.iter().all(|(at, _)| *at == sid) {
        order.sort_unstable();
    }
    let mut names = Names::new(conn).answer()?;
    let mut chain = Vec::with_capacity(order.len());
    for fact in order {
        let (_, number) = named(&mut names, fact)?;
        let causes = known.remove(&fact).unwrap_or_default();
        let causes = causes.into_iter().map(|cause| named(&mut names, cause)).collect::<Result<_, _>>()?;
        chain.push(Link { event: event_compact(conn, fact.0, number)?, causes });
    }
    Ok(chain)
}

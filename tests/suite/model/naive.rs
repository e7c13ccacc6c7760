//! The model, from the design's words.

use std::collections::BTreeMap;
use std::rc::Rc;

use headwater::model::{
    Call, Counters, DerivationKind, Entry, Eval, EventNumber, HeadId, HeadKind, Invocation, Message, Role, SessionId,
    Snapshot, Span, Status, Turn, View,
};

/// A session's place in the model, and an event's number there.
pub type Seen = (usize, u64);

/// What an event writes.
#[derive(Debug, Clone)]
pub enum Row {
    None,
    Message(Message),
    Turn(Turn),
    Call(Call),
    Eval(Eval),
    Snapshot(Snapshot),
    Invocation(Invocation),
}

#[derive(Debug, Clone)]
pub struct Fork {
    pub kind: DerivationKind,
    pub source: usize,
    pub head: HeadId,
    pub target: usize,
    pub event: u64,
}

#[derive(Debug, Clone)]
pub struct Head {
    pub session: usize,
    pub event: u64,
    pub kind: HeadKind,
    pub basis: Option<HeadId>,
    pub up: Option<HeadId>,
    /// Every event it sees, in order.
    pub sees: Rc<Vec<Seen>>,
    pub spans: Vec<Span>,
    pub counters: Counters,
    pub compaction: Option<HeadId>,
    /// What a provider would see, of a compaction.
    pub transcript: Option<Rc<Vec<Seen>>>,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub id: SessionId,
    pub events: Vec<(&'static str, Row)>,
    pub inherited: Counters,
    pub counters: Counters,
    /// What the working branch sees, unsealed events included.
    pub working: Vec<Seen>,
    /// Where the working branch left, and its first own event.
    pub up: Option<HeadId>,
    pub from: u64,
    pub basis: Option<HeadId>,
    pub current: Option<HeadId>,
    pub dirty: bool,
    pub heads: Vec<HeadId>,
    pub moves: Vec<(u64, HeadId)>,
    pub status: &'static str,
    pub title: Option<String>,
    pub source: Option<(usize, HeadId)>,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub logs: Vec<Log>,
    pub heads: BTreeMap<HeadId, Head>,
    pub order: Vec<HeadId>,
    pub aliases: BTreeMap<String, usize>,
    pub derivations: Vec<Fork>,
}

/// Bookkeeping that makes no new state.
const NOT_NEW: [&str; 6] = [
    "head/created",
    "session/ref-updated",
    "session/restored",
    "session/status",
    "session/error",
    "invocation/caller-head-recorded",
];

impl Model {
    pub fn push(&mut self, at: usize, kind: &'static str, row: Row) -> u64 {
        let log = &mut self.logs[at];
        let c = &mut log.counters;
        match &row {
            Row::None => {}
            Row::Message(m) => c.message = c.message.max(m.message.0),
            Row::Turn(t) => c.turn = c.turn.max(t.turn.0),
            Row::Call(x) => c.call = c.call.max(x.call.0),
            Row::Eval(e) => c.eval = c.eval.max(e.eval.0),
            Row::Snapshot(s) => c.snapshot = c.snapshot.max(s.snapshot.0),
            Row::Invocation(i) => {
                c.invocation = c.invocation.max(i.invocation.0);
                c.child = c.child.max(i.child.unwrap_or(0));
            }
        }
        log.events.push((kind, row));
        let event = log.events.len() as u64;
        c.event = event;
        log.working.push((at, event));
        log.dirty |= !NOT_NEW.contains(&kind);
        event
    }

    /// A new session, from nothing or from a head; its genesis head is `genesis`.
    pub fn create(&mut self, id: SessionId, source: Option<(DerivationKind, HeadId)>, genesis: HeadId) -> usize {
        let at = self.logs.len();
        let from = source.map(|(_, head)| self.heads[&head].clone());
        let inherited = from.as_ref().map_or_else(Counters::default, |head| Counters { event: 0, ..head.counters });
        self.logs.push(Log {
            id,
            events: Vec::new(),
            inherited,
            counters: inherited,
            working: from.as_ref().map_or_else(Vec::new, |head| head.sees.to_vec()),
            up: source.map(|(_, head)| head),
            from: 1,
            basis: source.map(|(_, head)| head),
            current: None,
            dirty: false,
            heads: Vec::new(),
            moves: Vec::new(),
            status: "open",
            title: None,
            source: source.map(|(_, head)| (self.heads[&head].session, head)),
        });
        let event = self.push(at, "session/started", Row::None);
        self.seal(at, HeadKind::Genesis, genesis, None);
        self.move_to(at, genesis);
        if let Some((kind, head)) = source {
            self.derivations.push(Fork { kind, source: self.heads[&head].session, head, target: at, event });
        }
        at
    }

    /// `head/created`: the boundary is the event before it.
    pub fn seal(&mut self, at: usize, kind: HeadKind, id: HeadId, transcript: Option<Vec<Seen>>) {
        let log = &mut self.logs[at];
        log.counters.head += 1;
        let last = log.events.len() as u64;
        let mut spans = log.up.map_or_else(Vec::new, |up| self.heads[&up].spans.clone());
        spans.push(Span { session: log.id.clone(), from: EventNumber(log.from), to: EventNumber(last) });
        let compaction = match kind {
            HeadKind::Compaction => Some(id),
            // What it was built on knows the nearest before.
            _ => log.basis.and_then(|basis| self.heads[&basis].compaction),
        };
        let head = Head {
            session: at,
            event: last + 1,
            kind,
            basis: log.basis,
            up: log.up,
            sees: Rc::new(log.working.clone()),
            spans,
            counters: log.counters,
            compaction,
            transcript: transcript.map(Rc::new),
        };
        assert!(self.heads.insert(id, head).is_none(), "a head's id was given twice");
        self.order.push(id);
        self.logs[at].heads.push(id);
        self.push(at, "head/created", Row::None);
        match kind {
            HeadKind::TurnAborted => {
                let current = self.logs[at].current;
                self.stand_on(at, current.unwrap());
            }
            _ => {
                let log = &mut self.logs[at];
                log.basis = Some(id);
                log.dirty = false;
            }
        }
    }

    fn stand_on(&mut self, at: usize, head: HeadId) {
        let sees = self.heads[&head].sees.to_vec();
        let log = &mut self.logs[at];
        log.working = sees;
        log.up = Some(head);
        log.from = log.events.len() as u64 + 1;
        log.basis = Some(head);
        log.dirty = false;
    }

    /// `session/ref-updated`.
    pub fn move_to(&mut self, at: usize, head: HeadId) {
        let event = self.push(at, "session/ref-updated", Row::None);
        self.logs[at].current = Some(head);
        self.logs[at].moves.push((event, head));
        if self.logs[at].basis != Some(head) {
            self.stand_on(at, head);
        }
    }

    /// Resume from a head that is not current.
    pub fn restore(&mut self, at: usize, head: HeadId) {
        self.stand_on(at, head);
        let event = self.push(at, "session/restored", Row::None);
        self.move_to(at, head);
        self.derivations.push(Fork { kind: DerivationKind::Restore, source: at, head, target: at, event });
    }

    /// What stays open: calls and turns that the branch's own events last left running.
    pub fn open(&self, at: usize) -> (Vec<Call>, Vec<Turn>) {
        let log = &self.logs[at];
        let own: Vec<Seen> = log.working.iter().copied().filter(|seen| seen.0 == at && seen.1 >= log.from).collect();
        let view = self.view(&own);
        let calls = view.calls.into_iter().map(|entry| entry.row);
        let turns = view.turns.into_iter().map(|entry| entry.row);
        (
            calls.filter(|row| row.status == Status::RUNNING).collect(),
            turns.filter(|row| row.status == Status::RUNNING).collect(),
        )
    }

    fn row(&self, seen: &Seen) -> &Row {
        &self.logs[seen.0].events[seen.1 as usize - 1].1
    }

    /// Of several versions of a number the last counts.
    pub fn view(&self, sees: &[Seen]) -> View {
        let (mut messages, mut turns, mut calls) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut evals, mut snapshots, mut invocations) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for seen in sees {
            let session = &self.logs[seen.0].id;
            let event = EventNumber(seen.1);
            macro_rules! put {
                ($map:ident, $n:expr, $row:expr) => {
                    $map.insert($n, Entry { session: session.clone(), event, row: $row.clone() });
                };
            }
            match self.row(seen) {
                Row::None => {}
                Row::Message(row) => {
                    put!(messages, row.message.0, row);
                }
                Row::Turn(row) => {
                    put!(turns, row.turn.0, row);
                }
                Row::Call(row) => {
                    put!(calls, row.call.0, row);
                }
                Row::Eval(row) => {
                    put!(evals, row.eval.0, row);
                }
                Row::Snapshot(row) => {
                    put!(snapshots, row.snapshot.0, row);
                }
                Row::Invocation(row) => {
                    put!(invocations, row.invocation.0, row);
                }
            }
        }
        View {
            messages: messages.into_values().collect(),
            turns: turns.into_values().collect(),
            calls: calls.into_values().collect(),
            evals: evals.into_values().collect(),
            snapshots: snapshots.into_values().collect(),
            invocations: invocations.into_values().collect(),
        }
    }

    /// The messages among some events, in that order.
    pub fn messages(&self, sees: &[Seen]) -> Vec<Seen> {
        sees.iter().copied().filter(|seen| matches!(self.row(seen), Row::Message(_))).collect()
    }

    pub fn message(&self, seen: &Seen) -> &Message {
        match self.row(seen) {
            Row::Message(message) => message,
            _ => unreachable!("asked of messages only"),
        }
    }

    /// A compaction's list: the system messages that lead, the frame, and the kept tail; none twice.
    pub fn compacted(&self, before: &[Seen], frame: Seen, keep: usize) -> Vec<Seen> {
        let visible = self.messages(before);
        let tail = &visible[visible.len().saturating_sub(keep)..];
        let leading = visible.iter().take_while(|seen| self.message(seen).role == Role::System);
        let mut list: Vec<Seen> = leading.copied().collect();
        let tail: Vec<Seen> = tail.iter().copied().filter(|seen| !list.contains(seen)).collect();
        list.push(frame);
        list.extend(tail);
        list
    }

    /// What a provider would see at a head.
    pub fn transcript(&self, head: HeadId) -> Vec<Seen> {
        let head = &self.heads[&head];
        let visible = self.messages(&head.sees);
        let Some(compaction) = head.compaction else { return visible };
        let compaction = &self.heads[&compaction];
        let mut list = compaction.transcript.as_ref().unwrap().to_vec();
        list.extend(visible.into_iter().filter(|seen| !compaction.sees.contains(seen)));
        list
    }
}

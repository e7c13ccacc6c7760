//! What a session's writer knows: the numbers it hands out, the branch it works on, what is open.

use std::collections::BTreeMap;

use crate::model::fold::View;
use crate::model::{
    Body, Call, Counters, Digest, Event, EventNumber, HeadId, HeadKind, Invocation, Refs, Root, SessionId,
    SnapshotNumber, Status, TranscriptRange, Turn, TurnNumber,
};

/// The state after all commits submitted so far. Cloned for each batch: a batch that fails leaves it as it was.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) session: SessionId,
    pub(super) status: Status,
    pub(super) last_event: EventNumber,
    pub(super) digest: Digest,
    pub(super) counters: Counters,
    pub(super) current: Option<HeadId>,
    /// The working branch: the head at which it left, its first event, the head the next one is built on.
    pub(super) up: Option<HeadId>,
    pub(super) from: EventNumber,
    pub(super) basis: Option<HeadId>,
    /// Something happened since the basis that a head would keep.
    pub(super) dirty: bool,
    /// What a root repeats of the heads before.
    pub(super) compaction: Option<HeadId>,
    pub(super) snapshot: Option<(SnapshotNumber, Option<Digest>)>,
    /// The turn that goes on, or ended last since the basis.
    pub(super) turn: Option<Turn>,
    /// Rows that are not at their end.
    pub(super) turns: BTreeMap<u64, Turn>,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) invocations: BTreeMap<u64, Invocation>,
}

impl State {
    /// Before the first event; `inherited` are the counters of a fork's source.
    pub(super) fn new(session: SessionId, source: Option<HeadId>, inherited: Counters) -> State {
        State {
            session,
            status: Status::OPEN,
            last_event: EventNumber(0),
            digest: Digest::ZERO,
            counters: Counters { event: 0, ..inherited },
            current: None,
            up: source,
            from: EventNumber(1),
            basis: source,
            dirty: false,
            compaction: None,
            snapshot: None,
            turn: None,
            turns: BTreeMap::new(),
            calls: BTreeMap::new(),
            invocations: BTreeMap::new(),
        }
    }

    /// Takes in one event, numbered `last_event + 1`; the counterpart of what `apply` does to rows.
    pub(super) fn apply(&mut self, event: &Event, line: Digest) {
        self.last_event = event.number;
        self.counters.event = event.number.0;
        self.digest = self.digest.chain(line);
        self.dirty |= event.body.changes_state();
        let c = &mut self.counters;
        match &event.body {
            Body::SessionStarted(started) => self.status = started.status.clone(),
            Body::SessionStatus(change) => self.status = change.status.clone(),
            Body::SessionError(error) => self.status = error.status.clone(),
            Body::SessionRestored(restored) => {
                (self.up, self.from, self.basis) =
                    (Some(restored.source_head), event.number, Some(restored.source_head));
                self.dirty = false;
            }
            Body::RefUpdated(head) => {
                self.current = Some(*head);
                if self.basis != Some(*head) {
                    (self.up, self.from, self.basis) = (Some(*head), event.number.next(), Some(*head));
                    self.dirty = false;
                }
            }
            // The head's kind is in its root: see `sealed`.
            Body::HeadCreated(_) => {}
            Body::MessageAdded(m) => c.message = c.message.max(m.message.0),
            Body::TurnStarted(t) | Body::TurnPut(t) => {
                c.turn = c.turn.max(t.turn.0);
                keep(&mut self.turns, t.turn.0, t, t.status.is_running());
                self.turn = Some(t.clone());
            }
            Body::CallStarted(call) | Body::CallPut(call) => {
                c.call = c.call.max(call.call.0);
                keep(&mut self.calls, call.call.0, call, call.status.is_running());
            }
            Body::EvalAdded(e) | Body::EvalPut(e) => c.eval = c.eval.max(e.eval.0),
            Body::SnapshotAdded(s) => {
                c.snapshot = c.snapshot.max(s.snapshot.0);
                self.snapshot = Some((s.snapshot, s.vars));
            }
            Body::InvocationStarted(i)
            | Body::InvocationCompleted(i)
            | Body::InvocationFailed(i)
            | Body::CallerHeadRecorded(i) => {
                c.invocation = c.invocation.max(i.invocation.0);
                c.child = c.child.max(i.child.unwrap_or(0));
                // A settled one stays until its caller's head is recorded.
                let open = i.status.is_running() || i.caller_after.is_none();
                keep(&mut self.invocations, i.invocation.0, i, open);
            }
            Body::Annotation(_) => {}
        }
    }

    /// The root of a head that would be sealed now.
    pub(super) fn root(&self, kind: HeadKind, transcript: Option<Vec<TranscriptRange>>) -> Root {
        let snapshot = self.snapshot.map(|(number, _)| number);
        Root {
            basis: self.basis,
            compaction: self.compaction,
            counters: Counters { head: self.counters.head + 1, ..self.counters },
            digest: self.digest,
            kind,
            refs: Refs {
                final_value: self.turn.as_ref().and_then(|turn| turn.final_value),
                snapshot,
                vars: self.snapshot.and_then(|(_, vars)| vars),
            },
            session: self.session.clone(),
            span: (self.from, self.last_event),
            transcript,
            turn: self.turn.as_ref().map(|turn| turn.turn),
            up: self.up,
            version: Root::VERSION,
        }
    }

    /// Takes in that `head` of `root` was created by the last event.
    pub(super) fn sealed(&mut self, head: HeadId, root: &Root) {
        self.counters.head = root.counters.head;
        self.dirty = false;
        match root.kind {
            HeadKind::TurnAborted => {
                (self.up, self.from, self.basis) = (self.current, self.last_event.next(), self.current);
                self.turns.clear();
                self.calls.clear();
                self.invocations.clear();
            }
            kind => {
                self.basis = Some(head);
                if kind == HeadKind::Compaction {
                    self.compaction = Some(head);
                }
            }
        }
        // A turn that goes on over a compaction is still the turn of the next head.
        self.turn = self.turn.take().filter(|turn| turn.status.is_running() && root.kind != HeadKind::TurnAborted);
    }

    /// Takes over what the root of the head that is worked on from now says.
    pub(super) fn stand_on(&mut self, head: HeadId, root: &Root) {
        self.compaction = if root.kind == HeadKind::Compaction { Some(head) } else { root.compaction };
        self.snapshot = root.refs.snapshot.map(|number| (number, root.refs.vars));
        self.turn = None;
        self.turns.clear();
        self.calls.clear();
        self.invocations.clear();
    }

    /// Takes in the rows that stand unsealed in the log: those written from event `since` on, and what still runs.
    pub(super) fn take_open(&mut self, rows: View, since: EventNumber) {
        let mut turns = rows.turns;
        turns.sort_by_key(|entry| entry.event);
        for entry in turns {
            let running = entry.row.status.is_running();
            keep(&mut self.turns, entry.row.turn.0, &entry.row, running);
            if running || entry.event >= since {
                self.turn = Some(entry.row);
            }
        }
        for entry in rows.calls {
            keep(&mut self.calls, entry.row.call.0, &entry.row, entry.row.status.is_running());
        }
        for entry in rows.invocations {
            let open = entry.row.status.is_running() || entry.row.caller_after.is_none();
            keep(&mut self.invocations, entry.row.invocation.0, &entry.row, open);
        }
        if let Some(last) = rows.snapshots.last() {
            self.snapshot = Some((last.row.snapshot, last.row.vars));
        }
    }

    /// The number of the running turn, the latest if there are several.
    pub(super) fn running_turn(&self) -> Option<TurnNumber> {
        self.turns.last_key_value().map(|(number, _)| TurnNumber(*number))
    }
}

fn keep<T: Clone>(open: &mut BTreeMap<u64, T>, number: u64, row: &T, is_open: bool) {
    if is_open {
        open.insert(number, row.clone());
    } else {
        open.remove(&number);
    }
}

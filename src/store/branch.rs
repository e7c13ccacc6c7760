//! The working branch as a batch sees it: what the store holds, and what the batch itself wrote.

use super::batch::Batch;
use super::error::CommitError;
use crate::model::line::Item;
use crate::model::{
    Body, Call, CallNumber, Eval, EvalNumber, EventNumber, HeadId, Invocation, InvocationNumber, Role, Root, Span,
    Turn, TurnNumber,
};

impl Batch<'_> {
    /// The root of a head, which may be one that this batch created.
    pub(super) fn root_of(&self, head: &HeadId) -> Result<Root, CommitError> {
        match self.roots.get(head) {
            Some(root) => Ok(root.clone()),
            None => Ok(self.store.root(head)?),
        }
    }

    /// The spans of the working branch, this batch included.
    fn branch(&self) -> Result<Vec<Span>, CommitError> {
        let state = &self.state;
        let mut own = vec![Span { session: state.session.clone(), from: state.from, to: state.last_event }];
        let mut up = state.up;
        while let Some(root) = up.and_then(|head| self.roots.get(&head)) {
            own.push(Span { session: root.session.clone(), from: root.span.0, to: root.span.1 });
            up = root.up;
        }
        let mut spans = match up {
            Some(head) => self.store.spans_of(&head)?,
            None => Vec::new(),
        };
        spans.extend(own.into_iter().rev().filter(|span| !span.is_empty()));
        Ok(spans)
    }

    /// What of `spans` is in the store.
    fn stored(&self, spans: &[Span]) -> Vec<Span> {
        let last = self.first_event();
        let clipped = spans.iter().map(|span| match span.session == self.state.session {
            true => Span { to: span.to.min(EventNumber(last.0.saturating_sub(1))), ..span.clone() },
            false => span.clone(),
        });
        clipped.filter(|span| !span.is_empty()).collect()
    }

    /// The last row of this batch that the branch shows and `of` wants. It is later than any in the store.
    fn written<T>(&self, spans: &[Span], of: impl Fn(&Body) -> Option<T>) -> Option<T> {
        self.lines.lines.iter().rev().find_map(|line| match &line.item {
            Item::Event(event) if spans.iter().any(|span| span.contains(&event.session, event.number)) => {
                of(&event.body)
            }
            _ => None,
        })
    }

    /// The latest version of a turn that the working branch shows.
    pub(super) fn turn_in_sight(&self, turn: TurnNumber) -> Result<Turn, CommitError> {
        if let Some(row) = self.state.turns.get(&turn.0) {
            return Ok(row.clone());
        }
        self.drain();
        let spans = self.branch()?;
        let written = self.written(&spans, |body| match body {
            Body::TurnStarted(row) | Body::TurnPut(row) if row.turn == turn => Some(row.clone()),
            _ => None,
        });
        written.map_or_else(|| self.store.turn(&self.stored(&spans), turn), Ok)
    }

    /// The latest version of a call that the working branch shows.
    pub(super) fn call_in_sight(&self, call: CallNumber) -> Result<Call, CommitError> {
        if let Some(row) = self.state.calls.get(&call.0) {
            return Ok(row.clone());
        }
        self.drain();
        let spans = self.branch()?;
        let written = self.written(&spans, |body| match body {
            Body::CallStarted(row) | Body::CallPut(row) if row.call == call => Some(row.clone()),
            _ => None,
        });
        written.map_or_else(|| self.store.call(&self.stored(&spans), call), Ok)
    }

    /// The latest version of an eval that the working branch shows.
    pub(super) fn eval_in_sight(&self, eval: EvalNumber) -> Result<Eval, CommitError> {
        self.drain();
        let spans = self.branch()?;
        let written = self.written(&spans, |body| match body {
            Body::EvalAdded(row) | Body::EvalPut(row) if row.eval == eval => Some(row.clone()),
            _ => None,
        });
        written.map_or_else(|| self.store.eval(&self.stored(&spans), eval), Ok)
    }

    /// The latest version of an invocation that the working branch shows.
    pub(super) fn invocation_in_sight(&self, invocation: InvocationNumber) -> Result<Invocation, CommitError> {
        if let Some(row) = self.state.invocations.get(&invocation.0) {
            return Ok(row.clone());
        }
        self.drain();
        let spans = self.branch()?;
        let written = self.written(&spans, |body| match body {
            Body::InvocationStarted(row)
            | Body::InvocationCompleted(row)
            | Body::InvocationFailed(row)
            | Body::CallerHeadRecorded(row)
                if row.invocation == invocation =>
            {
                Some(row.clone())
            }
            _ => None,
        });
        written.map_or_else(|| self.store.invocation(&self.stored(&spans), invocation), Ok)
    }

    /// What a compaction keeps of the branch: the system messages that lead, and the runs of events that hold the last
    /// `keep` messages but for those.
    pub(super) fn kept(&self, keep: usize) -> Result<(Vec<Span>, Vec<Span>), CommitError> {
        self.drain();
        let spans = self.branch()?;
        let stored = self.stored(&spans);
        let fresh: Vec<Span> = self.messages_in_sight(&spans);
        let (mut leading, mut next) = self.store.leading_system_messages(&stored)?;
        if next.is_none() {
            let system = fresh.iter().take_while(|span| self.is_system(span)).count();
            leading.extend_from_slice(&fresh[..system]);
            next = fresh.get(system).cloned();
        }
        let first = match (fresh.len().checked_sub(keep), keep) {
            (_, 0) => None,
            (Some(at), _) => fresh.get(at).cloned(),
            (None, _) => {
                let found = self.store.message_from_the_end(&stored, keep - fresh.len())?;
                found.or_else(|| fresh.first().cloned())
            }
        };
        let first = first.and_then(|first| if leading.contains(&first) { next } else { Some(first) });
        let mut tail = Vec::new();
        if let Some(first) = first
            && let Some(at) = spans.iter().position(|span| span.contains(&first.session, first.from))
        {
            tail = spans[at..].to_vec();
            tail[0].from = first.from;
        }
        Ok((leading, tail))
    }

    /// The messages of this batch that the branch shows, in order.
    fn messages_in_sight(&self, spans: &[Span]) -> Vec<Span> {
        let messages = self.lines.lines.iter().filter_map(|line| match &line.item {
            Item::Event(event) if matches!(event.body, Body::MessageAdded(_)) => Some(event),
            _ => None,
        });
        let seen = messages.filter(|event| spans.iter().any(|span| span.contains(&event.session, event.number)));
        seen.map(|event| Span { session: event.session.clone(), from: event.number, to: event.number }).collect()
    }

    fn is_system(&self, message: &Span) -> bool {
        self.written(std::slice::from_ref(message), |body| match body {
            Body::MessageAdded(row) => Some(row.role == Role::System),
            _ => None,
        })
        .unwrap_or(false)
    }
}

//! Heads: sealing them, and moving the current one.

use super::batch::Batch;
use super::error::CommitError;
use super::message::NewMessage;
use crate::model::{Body, EventNumber, HeadId, HeadKind, Role, Root, Span, TranscriptRange};

impl Batch<'_> {
    /// Seals the state as a `turn-final` head and makes it current. Without new events the existing head is returned.
    pub fn seal(&mut self) -> Result<HeadId, CommitError> {
        if !self.state.dirty
            && let Some(head) = self.state.basis
        {
            return Ok(head);
        }
        let (head, _) = self.create(HeadKind::TurnFinal, None);
        self.push(Body::RefUpdated(head));
        Ok(head)
    }

    /// Seals what a dead turn had built, without making it current: the branch goes on from the current head. Without
    /// new events the existing head is returned.
    pub fn seal_aborted(&mut self) -> Result<HeadId, CommitError> {
        if !self.state.dirty
            && let Some(head) = self.state.basis
        {
            return Ok(head);
        }
        self.drain();
        let current = self.state.current;
        let (head, _) = self.create(HeadKind::TurnAborted, None);
        if let Some(current) = current {
            let root = self.root_of(&current)?;
            self.state.stand_on(current, &root);
        }
        Ok(head)
    }

    /// Adds `frame` as a summary message and seals a `compaction` head, whose transcript is the leading system
    /// messages, the frame, and the last `keep` messages before it. All rows stay visible.
    pub fn compact(&mut self, frame: &str, keep: usize) -> Result<HeadId, CommitError> {
        let (mut transcript, tail) = self.kept(keep)?;
        let mut message = NewMessage::new(Role::Summary, frame);
        message.turn = self.state.running_turn();
        self.add_message(message)?;
        let (session, number) = (self.state.session.clone(), self.state.last_event);
        transcript.push(Span { session, from: number, to: number });
        transcript.extend(tail);
        let ranges =
            transcript.into_iter().map(|span| TranscriptRange { from: span.from, session: span.session, to: span.to });
        let (head, _) = self.create(HeadKind::Compaction, Some(ranges.collect()));
        self.push(Body::RefUpdated(head));
        Ok(head)
    }

    /// Moves the current head to one that exists, if `expected` is current now.
    ///
    /// # Errors
    ///
    /// [`CommitError::StaleHead`] if another head is current, [`CommitError::Missing`] if `to` is no head of this session.
    pub fn advance(&mut self, expected: Option<HeadId>, to: HeadId) -> Result<(), CommitError> {
        self.expect_head(expected)?;
        self.drain();
        let root = self.root_of(&to)?;
        if root.session != self.state.session {
            return Err(CommitError::Missing { what: format!("head {} of {}", to.short(), self.state.session) });
        }
        if self.state.current == Some(to) {
            return Ok(());
        }
        let moves = self.state.basis != Some(to);
        self.push(Body::RefUpdated(to));
        if moves {
            self.state.stand_on(to, &root);
        }
        Ok(())
    }

    /// Appends `head/created` for the state as it is.
    pub(super) fn create(&mut self, kind: HeadKind, transcript: Option<Vec<TranscriptRange>>) -> (HeadId, EventNumber) {
        let root: Root = self.state.root(kind, transcript);
        let bytes = root.bytes();
        let head = HeadId(self.put_root(&bytes));
        let event = self.push(Body::HeadCreated(head));
        self.state.sealed(head, &root);
        self.roots.insert(head, root);
        (head, event)
    }
}

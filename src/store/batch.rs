//! A batch: events gathered for one commit. Each gets its number as it is added, since the writer's handle is the only
//! one that numbers; the commit checks that nobody else did.

mod payloads;
mod refs;
mod rows;
mod said;

use std::borrow::Cow;
use std::sync::Arc;

use self::payloads::Payloads;
use self::refs::references;
use super::Inner;
use super::commit::{Claim, Guard, Pending, Work};
use super::error::CommitError;
use super::message::NewMessage;
use super::state::State;
use crate::journal::{BatchKey, Lines};
use crate::model::id::BadId;
use crate::model::{
    Body, CallNumber, CallType, Counters, Digest, EvalNumber, Event, EventNumber, HeadId, InvocationNumber, Message,
    MessageNumber, Record, Role, Root, SessionId, SnapshotNumber, Timestamp, TurnNumber,
};

/// Events and payloads being gathered for one commit: see [`Session::write`](super::Session::write).
pub struct Batch<'a> {
    pub(super) store: &'a Inner,
    pub(super) state: State,
    before: (EventNumber, Digest),
    pub(super) at: Timestamp,
    pub(super) lines: Lines,
    payloads: Payloads,
    key: Option<String>,
    /// The heads created here.
    pub(super) roots: std::collections::HashMap<HeadId, Root>,
    /// A failure that an infallible method met; the commit reports it.
    failed: Option<CommitError>,
    /// Commits before this one that rows may still be in.
    in_flight: Vec<Arc<Pending>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Inner, state: State, at: Timestamp) -> Batch<'a> {
        Batch {
            before: (state.last_event, state.digest),
            store,
            state,
            at,
            lines: Lines::default(),
            payloads: Payloads::default(),
            key: None,
            roots: Default::default(),
            failed: None,
            in_flight: Vec::new(),
        }
    }

    pub(super) fn in_flight(&mut self, pending: Vec<Arc<Pending>>) {
        self.in_flight = pending;
    }

    /// Waits until the commits before this one are in the rows, for the few steps that read them.
    pub(super) fn drain(&self) {
        for pending in &self.in_flight {
            // Whoever asked for the commit is told how it ended; this one would fail with it.
            let _ = pending.wait();
        }
    }

    /// The number of the batch's first event.
    pub(super) fn first_event(&self) -> EventNumber {
        self.before.0.next()
    }

    /// Whose events these are.
    pub fn session(&self) -> &SessionId {
        &self.state.session
    }

    /// Says the time of the events added from here on, in place of the clock's.
    pub fn at(&mut self, at: Timestamp) {
        self.at = at;
    }

    /// Gives the batch a key, unique in its session and kept for ever: a retry of the same content is recognised
    /// ([`CommitError::Repeated`]), other content under it is refused ([`CommitError::KeyConflict`]). A batch that adds
    /// nothing is kept under its key too, and is a repeat of whatever is there under it.
    pub fn key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Refuses the batch unless `head` is current now.
    pub fn expect_head(&mut self, head: Option<HeadId>) -> Result<(), CommitError> {
        if self.state.current == head {
            return Ok(());
        }
        Err(CommitError::StaleHead { session: self.state.session.clone(), expected: head, found: self.state.current })
    }

    /// The greatest numbers so far, this batch included.
    pub fn counters(&self) -> Counters {
        self.state.counters
    }

    /// The current head, this batch included.
    pub fn current_head(&self) -> Option<HeadId> {
        self.state.current
    }

    pub(super) fn push(&mut self, mut body: Body) -> EventNumber {
        if let Err(error) = well_formed(&mut body) {
            self.failed.get_or_insert(error.into());
        }
        if let Some(what) = too_great(&body) {
            self.failed
                .get_or_insert(CommitError::Invalid(format!("{what} is beyond 2^63 - 1, the greatest that is kept")));
        }
        let number = self.state.last_event.next();
        let event = Event { session: self.state.session.clone(), number, at: self.at, body };
        let digest = self.lines.push_event(&event);
        self.state.apply(&event, digest);
        number
    }

    /// Adds the event of `body`. New rows get the next number of their kind, whatever number they carry; versions of
    /// rows keep theirs.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if it refers to a number above every one of the session (a call may name the eval after the last,
    /// which makes it), or its own number is such a one;
    /// [`CommitError::Invalid`] for events that only the store makes: those of heads, refs and a session's start, and for
    /// what the method of its kind refuses.
    pub fn append(&mut self, mut body: Body) -> Result<EventNumber, CommitError> {
        let c = self.state.counters;
        match &mut body {
            Body::MessageAdded(row) => row.message = MessageNumber(c.message + 1),
            Body::TurnStarted(row) => row.turn = TurnNumber(c.turn + 1),
            Body::CallStarted(row) => row.call = CallNumber(c.call + 1),
            Body::EvalAdded(row) => row.eval = EvalNumber(c.eval + 1),
            Body::SnapshotAdded(row) => row.snapshot = SnapshotNumber(c.snapshot + 1),
            Body::InvocationStarted(row) => row.invocation = InvocationNumber(c.invocation + 1),
            Body::Annotation(row) => return self.add_annotation(&row.kind, row.turn, row.payload),
            Body::TurnPut(_)
            | Body::CallPut(_)
            | Body::EvalPut(_)
            | Body::InvocationCompleted(_)
            | Body::InvocationFailed(_)
            | Body::CallerHeadRecorded(_)
            | Body::SessionStatus(_)
            | Body::SessionError(_) => {}
            Body::SessionStarted(_) | Body::SessionRestored(_) | Body::RefUpdated(_) | Body::HeadCreated(_) => {
                let kind = body.kind();
                return Err(CommitError::Invalid(format!(
                    "{kind} is made by creating, sealing, advancing or resuming"
                )));
            }
        }
        self.push_row(body)
    }

    /// Adds the event of a row, all of whose numbers must be known.
    pub(super) fn push_row(&mut self, body: Body) -> Result<EventNumber, CommitError> {
        let c = self.state.counters;
        let known = [c.turn, c.message, c.call, c.eval, c.invocation];
        for ((what, number, ahead), greatest) in references(&body).into_iter().zip(known) {
            if let Some(number) = number
                && !(1..=greatest + ahead).contains(&number)
            {
                return Err(CommitError::Missing { what: format!("{what} {number}") });
            }
        }
        match &body {
            Body::EvalAdded(row) | Body::EvalPut(row) if row.status.is_running() => {
                Err(CommitError::Invalid("an eval is recorded when it ended, never while it runs".to_owned()))
            }
            Body::InvocationStarted(row)
                if row.id.is_empty() || row.id.len() > 512 || row.id.chars().any(char::is_control) =>
            {
                Err(CommitError::Invalid("an invocation id has 1 to 512 bytes, no control characters".to_owned()))
            }
            _ => Ok(self.push(body)),
        }
    }

    /// Adds a store record to the commit.
    pub(super) fn record(&mut self, record: Record) {
        self.lines.push_record(record);
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if its turn or call is above every number of the session.
    pub fn add_message(&mut self, message: NewMessage) -> Result<MessageNumber, CommitError> {
        let chars = std::str::from_utf8(&message.content).map_or(message.content.len(), |text| text.chars().count());
        let content = self.put(&message.content);
        let extra = message.extra.map(|json| self.put_value(&json));
        let number = MessageNumber(self.state.counters.message + 1);
        self.push_row(Body::MessageAdded(Message {
            message: number,
            role: message.role,
            content,
            chars: chars as u64,
            turn: message.turn,
            call: message.call,
            extra,
        }))?;
        Ok(number)
    }

    /// Gives the session a title.
    pub fn set_title(&mut self, title: &str) -> Result<(), CommitError> {
        let title = self.put(title.as_bytes());
        let session = self.state.session.clone();
        self.record(Record::SessionTitled { session, title: Some(title) });
        Ok(())
    }

    /// Makes `alias` a name of the session; refused at the commit as by [`Store::set_alias`](super::Store::set_alias).
    pub fn set_alias(&mut self, alias: &SessionId) -> Result<(), CommitError> {
        let session = self.state.session.clone();
        self.record(Record::AliasSet { name: alias.clone(), session });
        Ok(())
    }

    /// The prepared commit and the state after it; no commit when nothing was added.
    pub(super) fn finish(mut self, claim: Claim) -> Result<(State, Option<Work>), CommitError> {
        self.prepare_payloads();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let text_len = self.lines.text_len() + self.payloads.text_len();
        let (mut lines, payloads) = self.payloads.into_parts();
        lines.append(self.lines);
        if lines.is_empty() && self.key.is_none() {
            return Ok((self.state, None));
        }
        if text_len > crate::journal::LINE_LIMIT - 4_096 {
            let limit = crate::journal::LINE_LIMIT;
            return Err(CommitError::Invalid(format!("the rows of one batch take more than {limit} bytes")));
        }
        let (last, digest) = self.before;
        if let Some(key) = self.key {
            if !(1..=256).contains(&key.len()) {
                return Err(CommitError::Invalid("a batch key has 1 to 256 bytes".to_owned()));
            }
            lines.key = Some(BatchKey {
                key,
                session: self.state.session.clone(),
                content: said::by(&lines),
                first_event: last.next(),
                events: self.state.last_event.0 - last.0,
            });
        }
        lines.pack();
        let guard = Guard {
            session: self.state.session.clone(),
            claim,
            first_event: last.next(),
            before: digest,
            after: self.state.digest,
        };
        Ok((self.state, Some(Work { guard: Some(guard), lines, payloads, late: None })))
    }
}

/// Open words that a caller put together by hand: kept to their rule, and to the one form of those that are known.
/// What could not be read back must never be committed.
fn well_formed(body: &mut Body) -> Result<(), BadId> {
    match body {
        Body::MessageAdded(row) => {
            if let Role::Other(word) = &row.role {
                row.role = Role::try_from(Cow::Borrowed(word.as_str()))?;
            }
        }
        Body::CallStarted(row) | Body::CallPut(row) => {
            if let CallType::Other(word) = &row.call_type {
                row.call_type = CallType::try_from(Cow::Borrowed(word.as_str()))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The amount of a row that no column holds, if there is one: what could not be made a row must never be committed.
fn too_great(body: &Body) -> Option<&'static str> {
    let amounts: &[(&'static str, Option<u64>)] = match body {
        Body::CallStarted(row) | Body::CallPut(row) => &[
            ("a call's input tokens", row.tokens_input),
            ("a call's output tokens", row.tokens_output),
            ("a call's cached tokens", row.tokens_cached),
            ("a call's reasoning tokens", row.tokens_reasoning),
            ("a call's cost", row.cost),
            ("a call's index in its batch", row.batch_index),
        ],
        Body::SnapshotAdded(row) => {
            &[("a snapshot's restorable", Some(row.restorable)), ("a snapshot's unrestorable", Some(row.unrestorable))]
        }
        Body::MessageAdded(row) => &[("a message's length", Some(row.chars))],
        _ => &[],
    };
    amounts
        .iter()
        .find(|(_, amount)| amount.is_some_and(|amount| i64::try_from(amount).is_err()))
        .map(|(what, _)| *what)
}

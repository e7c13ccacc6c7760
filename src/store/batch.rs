//! A batch: events gathered for one commit. Each gets its number as it is added, since the writer's handle is the only
//! one that numbers; the commit checks that nobody else did.

use std::sync::Arc;

use super::Inner;
use super::commit::{Claim, Guard, Pending, Work};
use super::error::CommitError;
use super::message::NewMessage;
use super::state::State;
use crate::blob::{self, Prepared, codec::Class};
use crate::journal::{BatchKey, Lines};
use crate::model::canonical::canonicalize;
use crate::model::event::EPHEMERAL;
use crate::model::line::Item;
use crate::model::{
    Annotation, Body, Call, CallNumber, CallType, Counters, Digest, Eval, EvalNumber, Event, EventNumber, HeadId,
    Invocation, InvocationNumber, Message, MessageNumber, Record, SessionError, SessionId, SessionStatus, Snapshot,
    SnapshotNumber, Status, Timestamp, Turn, TurnNumber,
};

/// Events and payloads being gathered for one commit: see [`Session::write`](super::Session::write).
pub struct Batch<'a> {
    pub(super) store: &'a Inner,
    pub(super) state: State,
    before: (EventNumber, Digest),
    pub(super) at: Timestamp,
    lines: Lines,
    payloads: Vec<Prepared>,
    /// Payloads of this batch and those found in the store: looked up once.
    known: std::collections::HashSet<Digest>,
    key: Option<String>,
    /// The messages added here, by event: a compaction may keep some.
    pub(super) messages: Vec<EventNumber>,
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
            payloads: Vec::new(),
            known: Default::default(),
            key: None,
            messages: Vec::new(),
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

    /// Whose events these are.
    pub fn session(&self) -> &SessionId {
        &self.state.session
    }

    /// Says the time of the events added from here on, in place of the clock's.
    pub fn at(&mut self, at: Timestamp) {
        self.at = at;
    }

    /// Gives the batch a key, unique in its session and kept for ever: a retry of the same content is recognised
    /// ([`CommitError::Repeated`]), other content under it is refused ([`CommitError::KeyConflict`]).
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

    /// Adds a payload to the commit, unless the store has it, and returns its ref.
    pub fn put(&mut self, bytes: &[u8]) -> Digest {
        self.put_with(bytes, None, Class::Payload)
    }

    /// The same with a media type.
    pub fn put_media(&mut self, bytes: &[u8], media: &str) -> Digest {
        self.put_with(bytes, Some(media), Class::Payload)
    }

    /// Adds a JSON value: canonicalized, so that equal values are one payload. What cannot be canonicalized (duplicate
    /// keys, lone surrogates, extreme depth, no JSON at all) is kept as the bytes given.
    pub fn put_value(&mut self, json: &[u8]) -> Digest {
        match canonicalize(json) {
            Ok(canonical) => self.put_with(&canonical, Some("application/json"), Class::Payload),
            Err(_) => self.put_with(json, None, Class::Payload),
        }
    }

    fn put_with(&mut self, bytes: &[u8], media: Option<&str>, class: Class) -> Digest {
        let digest = Digest::of(bytes);
        if !self.known.insert(digest) {
            return digest;
        }
        match self.store.has_payload(&digest) {
            Ok(true) => return digest,
            Ok(false) => {}
            Err(error) => {
                self.failed.get_or_insert(error);
                return digest;
            }
        }
        if bytes.len() > blob::PART {
            match self.store.put_parts(bytes) {
                Ok(parts) => {
                    let (size, media) = (bytes.len() as u64, media.map(str::to_owned));
                    self.lines.push_record(Record::PayloadAdded { hash: digest, size, media, parts: Some(parts) });
                }
                Err(error) => {
                    self.failed.get_or_insert(error);
                }
            }
            return digest;
        }
        let mut prepared = Prepared::new(bytes, class);
        prepared.media = media.map(str::to_owned);
        self.lines.push_record(Record::PayloadAdded {
            hash: digest,
            size: prepared.size,
            media: prepared.media.clone(),
            parts: None,
        });
        self.payloads.push(prepared);
        digest
    }

    pub(super) fn put_root(&mut self, bytes: &[u8]) -> Digest {
        self.put_with(bytes, None, Class::Root)
    }

    pub(super) fn push(&mut self, body: Body) -> EventNumber {
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
    /// [`CommitError::Invalid`] for events that only the store makes: those of heads, refs and a session's start.
    pub fn append(&mut self, body: Body) -> Result<EventNumber, CommitError> {
        let c = self.state.counters;
        let body = match body {
            Body::MessageAdded(mut row) => {
                self.known_numbers(row.turn, row.call)?;
                row.message = MessageNumber(c.message + 1);
                Body::MessageAdded(row)
            }
            Body::TurnStarted(row) => Body::TurnStarted(Turn { turn: TurnNumber(c.turn + 1), ..row }),
            Body::CallStarted(row) => Body::CallStarted(Call { call: CallNumber(c.call + 1), ..row }),
            Body::EvalAdded(row) => Body::EvalAdded(Eval { eval: EvalNumber(c.eval + 1), ..row }),
            Body::SnapshotAdded(row) => {
                Body::SnapshotAdded(Snapshot { snapshot: SnapshotNumber(c.snapshot + 1), ..row })
            }
            Body::InvocationStarted(row) => {
                Body::InvocationStarted(Invocation { invocation: InvocationNumber(c.invocation + 1), ..row })
            }
            Body::Annotation(row) => return self.add_annotation(&row.kind, row.turn, row.payload),
            Body::TurnPut(row) => {
                self.known_numbers(Some(row.turn), None)?;
                Body::TurnPut(row)
            }
            Body::CallPut(row) => {
                self.known_numbers(None, Some(row.call))?;
                Body::CallPut(row)
            }
            body @ (Body::InvocationCompleted(_)
            | Body::InvocationFailed(_)
            | Body::CallerHeadRecorded(_)
            | Body::SessionStatus(_)
            | Body::SessionError(_)) => body,
            Body::SessionStarted(_) | Body::SessionRestored(_) | Body::RefUpdated(_) | Body::HeadCreated(_) => {
                let kind = body.kind();
                return Err(CommitError::Invalid(format!(
                    "{kind} is made by creating, sealing, advancing or resuming"
                )));
            }
        };
        let is_message = matches!(body, Body::MessageAdded(_));
        let event = self.push(body);
        if is_message {
            self.messages.push(event);
        }
        Ok(event)
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
        self.known_numbers(message.turn, message.call)?;
        let chars = std::str::from_utf8(&message.content).map_or(message.content.len(), |text| text.chars().count());
        let content = self.put(&message.content);
        let extra = message.extra.map(|json| self.put_value(&json));
        let number = MessageNumber(self.state.counters.message + 1);
        let event = self.push(Body::MessageAdded(Message {
            message: number,
            role: message.role,
            content,
            chars: chars as u64,
            turn: message.turn,
            call: message.call,
            extra,
        }));
        self.messages.push(event);
        Ok(number)
    }

    fn known_numbers(&self, turn: Option<TurnNumber>, call: Option<CallNumber>) -> Result<(), CommitError> {
        let c = &self.state.counters;
        let missing = |what: String| Err(CommitError::Missing { what });
        match (turn, call) {
            (Some(turn), _) if turn.0 == 0 || turn.0 > c.turn => missing(format!("turn {turn}")),
            (_, Some(call)) if call.0 == 0 || call.0 > c.call => missing(format!("call {call}")),
            _ => Ok(()),
        }
    }

    /// Starts a turn; `fill` says what is known of it.
    pub fn begin_turn(&mut self, fill: impl FnOnce(&mut Turn)) -> Result<TurnNumber, CommitError> {
        let number = TurnNumber(self.state.counters.turn + 1);
        let mut turn = Turn::new(number);
        turn.head_before = self.state.current;
        turn.started_at = Some(self.at);
        fill(&mut turn);
        turn.turn = number;
        self.push(Body::TurnStarted(turn));
        Ok(number)
    }

    /// Writes a new version of a turn; a status other than `running` ends it.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the turn is not visible on this branch.
    pub fn update_turn(&mut self, turn: TurnNumber, change: impl FnOnce(&mut Turn)) -> Result<(), CommitError> {
        let mut row = match self.state.turns.get(&turn.0) {
            Some(row) => row.clone(),
            None => {
                self.drain();
                self.store.turn(&self.state, turn)?
            }
        };
        change(&mut row);
        row.turn = turn;
        if !row.status.is_running() {
            row.ended_at.get_or_insert(self.at);
        }
        self.push(Body::TurnPut(row));
        Ok(())
    }

    /// Starts a call; `fill` says what is known of it.
    pub fn begin_call(&mut self, call_type: CallType, fill: impl FnOnce(&mut Call)) -> Result<CallNumber, CommitError> {
        let number = CallNumber(self.state.counters.call + 1);
        let mut call = Call::new(number, call_type);
        call.turn = self.state.running_turn();
        call.started_at = Some(self.at);
        fill(&mut call);
        call.call = number;
        self.known_numbers(call.turn, None)?;
        self.push(Body::CallStarted(call));
        Ok(number)
    }

    /// Writes a new version of a call; a status other than `running` ends it.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the call is not visible on this branch.
    pub fn update_call(&mut self, call: CallNumber, change: impl FnOnce(&mut Call)) -> Result<(), CommitError> {
        let mut row = match self.state.calls.get(&call.0) {
            Some(row) => row.clone(),
            None => {
                self.drain();
                self.store.call(&self.state, call)?
            }
        };
        change(&mut row);
        row.call = call;
        if !row.status.is_running() {
            row.ended_at.get_or_insert(self.at);
        }
        self.push(Body::CallPut(row));
        Ok(())
    }

    /// Adds an eval that ended with `status`; `fill` says the rest.
    pub fn add_eval(&mut self, status: Status, fill: impl FnOnce(&mut Eval)) -> Result<EvalNumber, CommitError> {
        if status.is_running() {
            return Err(CommitError::Invalid("an eval is recorded when it ended, never while it runs".to_owned()));
        }
        let number = EvalNumber(self.state.counters.eval + 1);
        let mut eval = Eval::new(number, status);
        eval.turn = self.state.running_turn();
        fill(&mut eval);
        eval.eval = number;
        self.known_numbers(eval.turn, eval.call)?;
        self.push(Body::EvalAdded(eval));
        Ok(number)
    }

    /// Adds a snapshot of `kind`; `fill` says the rest.
    pub fn add_snapshot(
        &mut self,
        kind: Status,
        fill: impl FnOnce(&mut Snapshot),
    ) -> Result<SnapshotNumber, CommitError> {
        let number = SnapshotNumber(self.state.counters.snapshot + 1);
        let mut snapshot = Snapshot::new(number, kind);
        snapshot.turn = self.state.turn.as_ref().map(|turn| turn.turn);
        fill(&mut snapshot);
        snapshot.snapshot = number;
        self.known_numbers(snapshot.turn, None)?;
        self.push(Body::SnapshotAdded(snapshot));
        Ok(number)
    }

    /// Adds a fact of the embedder's own type: kept and shown, changing no row.
    ///
    /// # Errors
    ///
    /// [`CommitError::BadId`] for a type of the store's own or over 128 bytes, [`CommitError::Ephemeral`] for one that
    /// goes to live subscribers only.
    pub fn add_annotation(
        &mut self,
        kind: &str,
        turn: Option<TurnNumber>,
        payload: Option<Digest>,
    ) -> Result<EventNumber, CommitError> {
        if EPHEMERAL.contains(&kind) {
            return Err(CommitError::Ephemeral { kind: kind.to_owned() });
        }
        self.known_numbers(turn, None)?;
        Ok(self.push(Body::Annotation(Annotation::new(kind, turn, payload)?)))
    }

    /// Changes the session's status; one that ends it sets its end.
    pub fn set_status(&mut self, status: Status, payload: Option<Digest>) -> Result<(), CommitError> {
        let ended_at = status.ends_session().then_some(self.at);
        self.push(Body::SessionStatus(SessionStatus { status, ended_at, payload }));
        Ok(())
    }

    /// Records that the session failed.
    pub fn fail(&mut self, status: Status, error: Digest) -> Result<(), CommitError> {
        self.push(Body::SessionError(SessionError { status, error }));
        Ok(())
    }

    /// Starts an invocation of type `kind`; `fill` says callee, call, input and label. Without an id of the caller's it
    /// is `SESSION/NUMBER`.
    pub fn start_invocation(
        &mut self,
        kind: Status,
        fill: impl FnOnce(&mut Invocation),
    ) -> Result<InvocationNumber, CommitError> {
        let number = InvocationNumber(self.state.counters.invocation + 1);
        let mut invocation = Invocation {
            invocation: number,
            id: format!("{}/{number}", self.state.session),
            invocation_type: kind,
            status: Status::RUNNING,
            call: None,
            label: None,
            input: None,
            final_value: None,
            error: None,
            caller_before: self.state.current,
            caller_after: None,
            callee: None,
            callee_before: None,
            callee_after: None,
            child: Some(self.state.counters.child + 1),
            started_at: Some(self.at),
            ended_at: None,
        };
        fill(&mut invocation);
        invocation.invocation = number;
        if invocation.id.is_empty() || invocation.id.len() > 512 || invocation.id.chars().any(char::is_control) {
            return Err(CommitError::Invalid("an invocation id has 1 to 512 bytes, no control characters".to_owned()));
        }
        self.known_numbers(None, invocation.call)?;
        self.push(Body::InvocationStarted(invocation));
        Ok(number)
    }

    /// Records that an invocation completed; `change` says its final value and the callee's head.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn complete_invocation(
        &mut self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        let row = self.changed(invocation, Status::OK, change)?;
        self.push(Body::InvocationCompleted(row));
        Ok(())
    }

    /// Records that an invocation failed; `change` says its error.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn fail_invocation(
        &mut self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        let row = self.changed(invocation, Status::ERROR, change)?;
        self.push(Body::InvocationFailed(row));
        Ok(())
    }

    /// Records the caller's head that first contains the end of an invocation.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn record_caller_head(&mut self, invocation: InvocationNumber, head: HeadId) -> Result<(), CommitError> {
        let mut row = self.invocation(invocation)?;
        row.caller_after = Some(head);
        self.push(Body::CallerHeadRecorded(row));
        Ok(())
    }

    fn invocation(&self, invocation: InvocationNumber) -> Result<Invocation, CommitError> {
        match self.state.invocations.get(&invocation.0) {
            Some(row) => Ok(row.clone()),
            None => {
                self.drain();
                self.store.invocation(&self.state, invocation)
            }
        }
    }

    fn changed(
        &self,
        invocation: InvocationNumber,
        status: Status,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<Invocation, CommitError> {
        let mut row = self.invocation(invocation)?;
        row.status = status;
        change(&mut row);
        row.invocation = invocation;
        row.ended_at.get_or_insert(self.at);
        Ok(row)
    }

    /// Gives the session a title.
    pub fn set_title(&mut self, title: &str) -> Result<(), CommitError> {
        let title = self.put(title.as_bytes());
        let session = self.state.session.clone();
        self.record(Record::SessionTitled { session, title: Some(title) });
        Ok(())
    }

    /// Makes `alias` a name of the session; refused at the commit if it is another's.
    pub fn set_alias(&mut self, alias: &SessionId) -> Result<(), CommitError> {
        let session = self.state.session.clone();
        self.record(Record::AliasSet { name: alias.clone(), session });
        Ok(())
    }

    /// The prepared commit and the state after it; no commit when nothing was added.
    pub(super) fn finish(mut self, claim: Claim) -> Result<(State, Option<Work>), CommitError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.lines.is_empty() {
            return Ok((self.state, None));
        }
        if self.lines.text_len() > crate::journal::LINE_LIMIT {
            let limit = crate::journal::LINE_LIMIT;
            return Err(CommitError::Invalid(format!("the rows of one batch take more than {limit} bytes")));
        }
        let (last, digest) = self.before;
        if let Some(key) = self.key {
            if !(1..=256).contains(&key.len()) {
                return Err(CommitError::Invalid("a batch key has 1 to 256 bytes".to_owned()));
            }
            self.lines.key = Some(BatchKey {
                key,
                session: self.state.session.clone(),
                content: said_by(&self.lines),
                first_event: last.next(),
                events: self.state.last_event.0 - last.0,
            });
        }
        self.lines.pack();
        let guard = Guard {
            session: self.state.session.clone(),
            claim,
            first_event: last.next(),
            before: digest,
            after: self.state.digest,
        };
        Ok((self.state, Some(Work { guard: Some(guard), lines: self.lines, payloads: self.payloads })))
    }
}

/// A digest of what the caller said.
fn said_by(lines: &Lines) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for line in &lines.lines {
        if let Item::Event(event) = &line.item {
            hasher.update(&said(&event.body));
        }
    }
    Digest(*hasher.finalize().as_bytes())
}

/// What an event says, without what a retry is given anew: numbers, times, heads.
fn said(body: &Body) -> Vec<u8> {
    let event = Event {
        session: SessionId::generated("x"),
        number: EventNumber(0),
        at: Timestamp::default(),
        body: body.clone(),
    };
    let line = crate::model::line::encode_event(&event);
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&line) else { return line };
    if let Some(row) = value.get_mut("row").and_then(serde_json::Value::as_object_mut) {
        for name in [
            "message",
            "turn",
            "call",
            "eval",
            "snapshot",
            "invocation",
            "id",
            "child",
            "head-before",
            "caller-before",
            "caller-after",
            "callee-before",
            "callee-after",
            "started-at",
            "ended-at",
        ] {
            row.remove(name);
        }
    }
    let kind = body.kind();
    let row = value.get("row").map(ToString::to_string).unwrap_or_default();
    format!("{kind}\n{row}\n").into_bytes()
}

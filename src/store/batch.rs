//! A batch: events gathered for one commit. Each gets its number as it is added, since the writer's handle is the only
//! one that numbers; the commit checks that nobody else did.

mod rows;

use std::borrow::Cow;
use std::sync::Arc;

use super::Inner;
use super::commit::{Claim, Guard, Pending, Work};
use super::error::CommitError;
use super::message::NewMessage;
use super::state::State;
use crate::blob::{self, Prepared, codec::Class};
use crate::journal::{BatchKey, Lines};
use crate::model::canonical::canonicalize;
use crate::model::id::BadId;
use crate::model::line::Item;
use crate::model::{
    Body, Call, CallNumber, CallType, Counters, Digest, Eval, EvalNumber, Event, EventNumber, HeadId, Invocation,
    InvocationNumber, Message, MessageNumber, Record, Role, Root, SessionId, Snapshot, SnapshotNumber, Timestamp, Turn,
    TurnNumber,
};

/// Events and payloads being gathered for one commit: see [`Session::write`](super::Session::write).
pub struct Batch<'a> {
    pub(super) store: &'a Inner,
    pub(super) state: State,
    before: (EventNumber, Digest),
    pub(super) at: Timestamp,
    pub(super) lines: Lines,
    payloads: Vec<Prepared>,
    /// Payloads of this batch and those found in the store: looked up once.
    known: std::collections::HashSet<Digest>,
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
            payloads: Vec::new(),
            known: Default::default(),
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
        Ok(self.push(body))
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
        self.push(Body::MessageAdded(Message {
            message: number,
            role: message.role,
            content,
            chars: chars as u64,
            turn: message.turn,
            call: message.call,
            extra,
        }));
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
        if self.lines.text_len() > crate::journal::LINE_LIMIT - 4_096 {
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

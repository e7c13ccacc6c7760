//! What a session holds beyond a kept source, told as the log of an agent tells it: inputs, answers with the tools that
//! they asked for, results, summaries. A format's writer puts each into its own records, and is no more than their shapes:
//! what is to be told ([`plan`](Plan)), in which order ([`tell`]), and what an answer, a tool and a line are, is here.

mod inputs;
mod lines;
mod plan;
mod teller;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::ExportError;
use super::export::Task;
use crate::model::canonical::canonicalize;
use crate::model::{
    Body, Call, Digest, Eval, EventNumber, HeadId, Invocation, Message, SessionId, Status, Timestamp, TranscriptRange,
    Turn,
};
use crate::store::error::ReadError;

pub use inputs::Inputs;
pub use lines::{Lines, cost, raw};
pub use plan::{Plan, Start, mark_at, state_at};
pub use teller::{Calls, compaction_of, events, is_model, last_eval, tell};

/// A payload as text; what is no text, or was erased, as its hash.
///
/// # Errors
///
/// [`ReadError`].
pub fn text(task: &Task<'_>, payload: Digest) -> Result<String, ReadError> {
    match task.store.blobs().get(&payload) {
        Ok(bytes) => Ok(String::from_utf8(bytes).unwrap_or_else(|_| payload.to_string())),
        Err(ReadError::Erased { .. }) => Ok(payload.to_string()),
        Err(error) => Err(error),
    }
}

/// The arguments of a tool: its code where that is a JSON object, else one that has the code.
///
/// # Errors
///
/// None that is known: what was made of text is JSON.
pub fn arguments(code: &str) -> Result<Box<RawValue>, ExportError> {
    let parsed = serde_json::from_str::<Box<RawValue>>(code).ok().filter(|parsed| parsed.get().starts_with('{'));
    // A line end would end the record that it is written into.
    let is_one_line = |parsed: &RawValue| !parsed.get().contains(['\n', '\r']);
    let parsed = parsed.and_then(|parsed| match is_one_line(&parsed) {
        true => Some(parsed),
        false => String::from_utf8(canonicalize(code.as_bytes()).ok()?)
            .ok()
            .and_then(|text| RawValue::from_string(text).ok()),
    });
    match parsed {
        Some(parsed) => Ok(parsed),
        None => raw(&serde_json::json!({ "code": code })),
    }
}

/// What a format has no record for, counted by type.
#[derive(Default)]
pub struct LeftOut(BTreeMap<String, i64>);

impl LeftOut {
    /// One more event of that type.
    pub fn add(&mut self, kind: impl Into<String>) {
        *self.0.entry(kind.into()).or_default() += 1;
    }

    /// An invocation was told of with the tool that it was: it is not left out.
    pub fn has_said(&mut self, invocation: &Invocation) {
        let ended = Body::InvocationCompleted(invocation.clone());
        let failed = Body::InvocationFailed(invocation.clone());
        let ended = if is_failure(&invocation.status) { failed } else { ended };
        for kind in [Body::InvocationStarted(invocation.clone()).kind(), ended.kind()] {
            *self.0.entry(kind.to_owned()).or_default() -= 1;
        }
    }

    /// A notice for each type.
    pub fn tell(self, task: &Task<'_>, format: &str) {
        for (kind, count) in self.0.into_iter().filter(|(_, count)| *count > 0) {
            task.notice("left-out", format!("{kind}, {count} of them: {format} has no record for it"));
        }
    }
}

/// Where something was told, and when.
#[derive(Debug, Clone)]
pub struct Place {
    /// The session whose event it is.
    pub session: SessionId,
    /// The event.
    pub event: EventNumber,
    /// When it was committed, or happened.
    pub at: Timestamp,
}

/// An answer of a model, and the tools that it asked for. One without a message was nothing but tools, one without a call
/// has no usage.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// What it said.
    pub message: Option<(Place, Message)>,
    /// What it used.
    pub call: Option<(Place, Call)>,
    /// Its tools, with what came of them.
    pub tools: Vec<Tool>,
}

impl Answer {
    /// Where it was given: that of its message, of its call, or else of its first tool. None of an answer that is nothing.
    pub fn place(&self) -> Option<&Place> {
        let said = self.message.as_ref().map(|(place, _)| place);
        said.or(self.call.as_ref().map(|(place, _)| place)).or(self.tools.first().map(|tool| &tool.place))
    }

    /// Its call.
    pub fn call(&self) -> Option<&Call> {
        self.call.as_ref().map(|(_, call)| call)
    }

    /// Its call, if that did not end well.
    pub fn failed(&self) -> Option<&Call> {
        self.call().filter(|call| is_failure(&call.status))
    }

    /// Whether its call failed, rather than broke off.
    pub fn is_error(&self) -> bool {
        self.failed().is_some_and(|call| !broke_off(&call.status))
    }

    /// What it says; none where that is nothing.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn text(&self, task: &Task<'_>) -> Result<Option<String>, ReadError> {
        let said = self.message.as_ref().map(|(_, message)| text(task, message.content)).transpose()?;
        Ok(said.filter(|said| !said.is_empty()))
    }

    /// Why its call failed, where that is known.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn error(&self, task: &Task<'_>) -> Result<Option<String>, ReadError> {
        self.failed().and_then(|call| call.error).map(|error| text(task, error)).transpose()
    }
}

/// A tool that an answer asked for, with what came of it.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Where its end is told.
    pub place: Place,
    /// Its row.
    pub eval: Eval,
    /// The session that it was, if the end of an invocation stands right before it.
    pub agent: Option<Box<Invocation>>,
}

impl Tool {
    /// Its name: `eval` where it has none.
    pub fn name(&self) -> &str {
        self.eval.name.as_deref().unwrap_or("eval")
    }

    /// What it and its result are named by, behind a prefix.
    pub fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.eval.eval)
    }

    /// Whether it failed, was stopped, or never ended.
    pub fn is_failure(&self) -> bool {
        is_failure(&self.eval.status)
    }

    /// Its code as it was given.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn code(&self, task: &Task<'_>) -> Result<String, ReadError> {
        Ok(self.eval.code.map(|code| text(task, code)).transpose()?.unwrap_or_default())
    }

    /// Its code as the arguments of a tool: see [`arguments`].
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn arguments(&self, task: &Task<'_>) -> Result<Box<RawValue>, ExportError> {
        arguments(&self.code(task)?)
    }

    /// What came of it: what the model was shown, else its result, else its error; none where it never ended.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn value(&self, task: &Task<'_>) -> Result<Option<String>, ReadError> {
        let value = self.eval.observation.or(self.eval.result).or(self.eval.error);
        match value {
            Some(value) => text(task, value).map(Some),
            None => Ok(self.has_ended().then(String::new)),
        }
    }

    fn has_ended(&self) -> bool {
        self.eval.status != Status::UNFINISHED && self.eval.status != Status::ORPHANED
    }
}

/// Whether what ended so was stopped, or never ended.
pub fn broke_off(status: &Status) -> bool {
    *status == Status::ABORTED || *status == Status::UNFINISHED
}

/// Whether what ended so did not end well.
fn is_failure(status: &Status) -> bool {
    *status != Status::OK && *status != Status::FINAL
}

/// What a compaction keeps of the messages before its summary.
pub struct Tail(Vec<TranscriptRange>);

impl Tail {
    /// Of a compaction's head.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn of(task: &Task<'_>, head: &HeadId) -> Result<Tail, ReadError> {
        let ranges = task.store.root_of(head)?.transcript.unwrap_or_default();
        Ok(Tail(ranges))
    }

    /// Whether a message is kept.
    pub fn has(&self, session: &SessionId, event: EventNumber) -> bool {
        self.0.iter().any(|range| range.session == *session && range.from <= event && event <= range.to)
    }

    /// Whether messages are kept that stand before this place.
    pub fn is_before(&self, session: &SessionId, event: EventNumber) -> bool {
        self.0.iter().any(|range| range.session != *session || range.from < event)
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Told {
    /// What the user asked: a turn begins.
    Input(Place, Message),
    /// Another message that is neither an answer nor a result. One of the user's is what a program said in the user's name.
    Said(Place, Message),
    /// An answer.
    Answer(Box<Answer>),
    /// A result that no eval has.
    Result(Place, Message),
    /// The transcript was compacted: the summary, and the head.
    Compacted(Place, Message, HeadId),
    /// A turn ended, well or not.
    Ended(Place, Turn),
    /// An annotation: its type and payload.
    Noted(Place, String, Option<Digest>),
    /// Something that logs of agents have no word for: its type.
    Other(String),
    /// A head was sealed.
    Sealed(HeadId),
    /// The session went back, or on, to a head.
    Restored(Place, HeadId),
}

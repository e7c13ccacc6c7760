//! What a turn is made of: messages, calls, evals, snapshots. Rows hold facts; text and code are payload refs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, HeadId};
use super::id::{BadId, CallNumber, EvalNumber, MessageNumber, SessionId, SnapshotNumber, TurnNumber};
use super::text::{Role, Status};
use super::time::Timestamp;

/// One transcript entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Message {
    /// Its number in the session.
    pub message: MessageNumber,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Digest,
    /// Its length in Unicode scalar values; in bytes where the content is not text.
    pub chars: u64,
    /// The turn it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// The call that produced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallNumber>,
    /// Fields of the embedder's, a JSON payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Digest>,
}

/// One exchange, from input to final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Turn {
    /// Its number in the session.
    pub turn: TurnNumber,
    /// `running` until it ends.
    pub status: Status,
    /// The head it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_before: Option<HeadId>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Digest>,
    /// The final value.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_value: Option<Digest>,
    /// A short text about it, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Digest>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Digest>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Fields of the embedder's, a JSON payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Digest>,
}

impl Turn {
    /// A running turn.
    pub fn new(turn: TurnNumber) -> Turn {
        Turn {
            turn,
            status: Status::RUNNING,
            head_before: None,
            input: None,
            final_value: None,
            summary: None,
            error: None,
            started_at: None,
            ended_at: None,
            extra: None,
        }
    }
}

/// What a call is a request to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
#[expect(missing_docs, reason = "each variant is the word it names")]
pub enum CallType {
    Root,
    Leaf,
    LeafBatchItem,
    Child,
    ChildBatchItem,
    AttachedChild,
    /// One of the engine's own service requests.
    Tool,
    /// A type of the embedder's: 1 to 64 bytes without control characters.
    Other(String),
}

impl CallType {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            CallType::Root => "root",
            CallType::Leaf => "leaf",
            CallType::LeafBatchItem => "leaf-batch-item",
            CallType::Child => "child",
            CallType::ChildBatchItem => "child-batch-item",
            CallType::AttachedChild => "attached-child",
            CallType::Tool => "tool",
            CallType::Other(text) => text,
        }
    }
}

impl TryFrom<Cow<'_, str>> for CallType {
    type Error = BadId;
    fn try_from(text: Cow<'_, str>) -> Result<CallType, BadId> {
        Ok(match &*text {
            "root" => CallType::Root,
            "leaf" => CallType::Leaf,
            "leaf-batch-item" => CallType::LeafBatchItem,
            "child" => CallType::Child,
            "child-batch-item" => CallType::ChildBatchItem,
            "attached-child" => CallType::AttachedChild,
            "tool" => CallType::Tool,
            // The rule for open words is the statuses': one rule, one place.
            other => CallType::Other(Status::new(other)?.into()),
        })
    }
}

impl From<CallType> for String {
    fn from(call_type: CallType) -> String {
        call_type.as_str().to_owned()
    }
}

/// One request to a model or a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Call {
    /// Its number in the session.
    pub call: CallNumber,
    /// What it is a request to.
    #[serde(rename = "type")]
    pub call_type: CallType,
    /// `running` until it ends.
    pub status: Status,
    /// The turn it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// The eval whose code made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<EvalNumber>,
    /// What was asked, before it became a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Digest>,
    /// The request as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// The response as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Digest>,
    /// What was made of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
    /// The raw error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Digest>,
    /// Who served it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens read, cached ones included or not as the provider counts; `None` is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_input: Option<u64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_output: Option<u64>,
    /// Tokens read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<u64>,
    /// Tokens spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_reasoning: Option<u64>,
    /// Cost in nano-USD; `None` is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// The batch it is an item of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Its place in the batch, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_index: Option<u64>,
    /// The session it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<SessionId>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Fields of the embedder's, a JSON payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Digest>,
}

impl Call {
    /// A running call of `call_type`.
    pub fn new(call: CallNumber, call_type: CallType) -> Call {
        Call {
            call,
            call_type,
            status: Status::RUNNING,
            turn: None,
            eval: None,
            input: None,
            request: None,
            response: None,
            result: None,
            error: None,
            provider: None,
            model: None,
            tokens_input: None,
            tokens_output: None,
            tokens_cached: None,
            tokens_reasoning: None,
            cost: None,
            batch: None,
            batch_index: None,
            child: None,
            started_at: None,
            ended_at: None,
            extra: None,
        }
    }

    /// The payload that says most about it: the response, else the result, error, request or input.
    pub fn payload(&self) -> Option<Digest> {
        self.response.or(self.result).or(self.error).or(self.request).or(self.input)
    }
}

/// Code or a tool the model asked for, run by the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Eval {
    /// Its number in the session.
    pub eval: EvalNumber,
    /// The tool or language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it ended; never `running`.
    pub status: Status,
    /// The turn it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// The message that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageNumber>,
    /// The call whose answer asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallNumber>,
    /// The code, or the tool's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Digest>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
    /// What the model was shown of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Digest>,
    /// The raw error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Digest>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Fields of the embedder's, a JSON payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Digest>,
}

impl Eval {
    /// An eval that ended with `status`.
    pub fn new(eval: EvalNumber, status: Status) -> Eval {
        Eval {
            eval,
            name: None,
            status,
            turn: None,
            message: None,
            call: None,
            code: None,
            result: None,
            observation: None,
            error: None,
            started_at: None,
            ended_at: None,
            extra: None,
        }
    }

    /// The payload that says most about it: the result, else the observation, error or code.
    pub fn payload(&self) -> Option<Digest> {
        self.result.or(self.observation).or(self.error).or(self.code)
    }
}

/// Captured runtime state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its number in the session.
    pub snapshot: SnapshotNumber,
    /// What captured it, such as `turn-final`.
    pub kind: Status,
    /// The captured variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vars: Option<Digest>,
    /// How many variables can be restored.
    #[serde(default)]
    pub restorable: u64,
    /// How many can not.
    #[serde(default)]
    pub unrestorable: u64,
    /// The turn it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// The eval it was taken after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<EvalNumber>,
    /// Fields of the embedder's, a JSON payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Digest>,
}

impl Snapshot {
    /// A snapshot of `kind` with nothing in it.
    pub fn new(snapshot: SnapshotNumber, kind: Status) -> Snapshot {
        Snapshot { snapshot, kind, vars: None, restorable: 0, unrestorable: 0, turn: None, eval: None, extra: None }
    }
}

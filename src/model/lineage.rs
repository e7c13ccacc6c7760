//! How sessions and heads come from one another, and what else points at them: invocations, derivations, pins; facts.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, HeadId};
use super::id::{CallNumber, EventNumber, InvocationNumber, SessionId};
use super::text::Status;
use super::time::Timestamp;

/// One session calling another: the heads of each side, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Invocation {
    /// Its number in the caller's session.
    pub invocation: InvocationNumber,
    /// The caller's text, or `SESSION/NUMBER`.
    pub id: String,
    /// `rlm`, `map-rlm`, `attach` or a word of the embedder's.
    #[serde(rename = "type")]
    pub invocation_type: Status,
    /// `running` until it ends.
    pub status: Status,
    /// The call that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallNumber>,
    /// A short text about it, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Digest>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Digest>,
    /// What came back.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_value: Option<Digest>,
    /// The raw error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Digest>,
    /// The caller's current head when it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_before: Option<HeadId>,
    /// The caller's head that first contains the end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_after: Option<HeadId>,
    /// The session called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee: Option<SessionId>,
    /// The callee's current head when it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_before: Option<HeadId>,
    /// The callee's head when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_after: Option<HeadId>,
    /// The callee's ordinal among the caller's children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<u64>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Invocation {
    /// The payload that says most about it: the final value, else the error or input.
    pub fn payload(&self) -> Option<Digest> {
        self.final_value.or(self.error).or(self.input)
    }
}

/// How a session came from a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DerivationKind {
    /// A new session that goes on from the head.
    Fork,
    /// A child session that starts at the head.
    Attach,
    /// The same session, going on from a head that was not current.
    Restore,
}

impl DerivationKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            DerivationKind::Fork => "fork",
            DerivationKind::Attach => "attach",
            DerivationKind::Restore => "restore",
        }
    }
}

/// The recorded edge from a source head to the session made from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Derivation {
    /// Its identity: see [`Derivation::digest`].
    pub id: Digest,
    /// Fork, attach or restore.
    pub kind: DerivationKind,
    /// The session of the head.
    pub source_session: SessionId,
    /// The head.
    pub source_head: HeadId,
    /// The session made or moved.
    pub target_session: SessionId,
    /// The event of the target that tells of it.
    pub target_event: EventNumber,
    /// When.
    pub at: Timestamp,
}

impl Derivation {
    /// BLAKE3 of canonical JSON `[kind, source head, target session, target event]`.
    pub fn digest(kind: DerivationKind, source: HeadId, target: &SessionId, event: EventNumber) -> Digest {
        // None of the four needs an escape: words, digits and the letters of ids.
        Digest::of(format!("[\"{}\",\"{source}\",\"{target}\",{event}]", kind.as_str()).as_bytes())
    }
}

/// What a pin points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinTarget {
    /// A head.
    Head(HeadId),
    /// A payload.
    Payload(Digest),
}

impl PinTarget {
    /// The payload, or the head's root.
    pub fn digest(&self) -> Digest {
        match self {
            PinTarget::Head(head) => head.0,
            PinTarget::Payload(digest) => *digest,
        }
    }
}

/// A name for a head or a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The name, which keeps to the rule for session ids.
    pub name: SessionId,
    /// What it points to.
    pub target: PinTarget,
    /// How often it was set or taken away: what compare-and-set goes by.
    pub version: u64,
}

/// A fact of the embedder's own: kept in order, never interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its number in the store, from 1, without gap.
    pub fact: u64,
    /// The embedder's word for what it is.
    pub tag: String,
    /// Its value.
    pub payload: Digest,
    /// When it was committed.
    pub at: Timestamp,
}

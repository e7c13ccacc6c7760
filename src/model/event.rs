//! Events: the envelope and the closed set of bodies. A new kind of event is a variant here; the compiler
//! names every other place that must learn of it.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, HeadId};
use super::id::{BadId, EventNumber, SessionId, TurnNumber};
use super::lineage::Invocation;
use super::session::{Restored, SessionError, SessionStarted, SessionStatus};
use super::time::Timestamp;
use super::turn::{Call, Eval, Message, Snapshot, Turn};

/// An immutable record of what happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose log it is in.
    pub session: SessionId,
    /// Its place there, from 1, without gap.
    pub number: EventNumber,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
}

/// A fact of the embedder's own type: kept and shown, changing no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The type's text, up to 128 bytes, none of the store's own.
    #[serde(skip)]
    pub kind: String,
    /// The turn it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Digest>,
}

/// The event types that never reach the log: they go to live subscribers and are forgotten.
pub const EPHEMERAL: [&str; 4] = ["message/delta", "token/delta", "reasoning/delta", "progress"];

impl Annotation {
    /// An annotation of type `kind`.
    ///
    /// Refused: an empty type, one over 128 bytes or with control characters, and those of the store itself.
    pub fn new(kind: &str, turn: Option<TurnNumber>, payload: Option<Digest>) -> Result<Annotation, BadId> {
        let ok = (1..=128).contains(&kind.len()) && !kind.chars().any(char::is_control);
        if !ok || kind_code(kind).is_some() {
            return Err(BadId::new("annotation type", kind, "1 to 128 bytes, none of the store's own event types"));
        }
        Ok(Annotation { kind: kind.to_owned(), turn, payload })
    }
}

/// What happened: each variant writes exactly one row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the event type it names")]
pub enum Body {
    SessionStarted(SessionStarted),
    SessionStatus(SessionStatus),
    SessionError(SessionError),
    SessionRestored(Restored),
    RefUpdated(HeadId),
    MessageAdded(Message),
    TurnStarted(Turn),
    TurnPut(Turn),
    CallStarted(Call),
    CallPut(Call),
    EvalAdded(Eval),
    SnapshotAdded(Snapshot),
    HeadCreated(HeadId),
    InvocationStarted(Invocation),
    InvocationCompleted(Invocation),
    InvocationFailed(Invocation),
    CallerHeadRecorded(Invocation),
    EvalPut(Eval),
    Annotation(Annotation),
}

/// The store's own event types, by the code under which their rows are stored: the place in this list, from 1.
pub const KINDS: [&str; 18] = [
    "session/started",
    "session/status",
    "session/error",
    "session/restored",
    "session/ref-updated",
    "message/added",
    "turn/started",
    "turn/put",
    "call/started",
    "call/put",
    "eval/added",
    "snapshot/added",
    "head/created",
    "invocation/started",
    "invocation/completed",
    "invocation/failed",
    "invocation/caller-head-recorded",
    "eval/put",
];

/// The code of one of the store's own event types.
pub fn kind_code(kind: &str) -> Option<i64> {
    KINDS.iter().zip(1..).find(|(known, _)| **known == kind).map(|(_, code)| code)
}

impl Body {
    /// The code of its type; none for an annotation.
    pub fn code(&self) -> Option<i64> {
        Some(match self {
            Body::SessionStarted(_) => 1,
            Body::SessionStatus(_) => 2,
            Body::SessionError(_) => 3,
            Body::SessionRestored(_) => 4,
            Body::RefUpdated(_) => 5,
            Body::MessageAdded(_) => 6,
            Body::TurnStarted(_) => 7,
            Body::TurnPut(_) => 8,
            Body::CallStarted(_) => 9,
            Body::CallPut(_) => 10,
            Body::EvalAdded(_) => 11,
            Body::SnapshotAdded(_) => 12,
            Body::HeadCreated(_) => 13,
            Body::InvocationStarted(_) => 14,
            Body::InvocationCompleted(_) => 15,
            Body::InvocationFailed(_) => 16,
            Body::CallerHeadRecorded(_) => 17,
            Body::EvalPut(_) => 18,
            Body::Annotation(_) => return None,
        })
    }

    /// The text of its type.
    pub fn kind(&self) -> &str {
        match self {
            Body::Annotation(annotation) => &annotation.kind,
            known => known.code().and_then(|code| KINDS.get(usize::try_from(code - 1).ok()?)).copied().unwrap_or(""),
        }
    }

    /// Whether a head sealed after it would differ from the one before: bookkeeping alone does not make a new state.
    pub fn changes_state(&self) -> bool {
        !matches!(
            self,
            Body::HeadCreated(_)
                | Body::RefUpdated(_)
                | Body::SessionRestored(_)
                | Body::SessionStatus(_)
                | Body::SessionError(_)
                | Body::CallerHeadRecorded(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_own_types_are_no_annotations() {
        assert!(Annotation::new("note", None, None).is_ok());
        for bad in ["", "turn/put", "a\nb", &"x".repeat(129)] {
            assert!(Annotation::new(bad, None, None).is_err(), "{bad:?}");
        }
    }
}

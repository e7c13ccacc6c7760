//! The session itself: what starts it, what it counts, how it ends.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, HeadId};
use super::id::{SessionId, SnapshotNumber};
use super::text::Status;
use super::time::Timestamp;

/// The greatest number of each kind ever recorded for a session, inherited ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field is the kind it counts")]
pub struct Counters {
    // In the order of their names: a root's bytes are canonical JSON.
    pub call: u64,
    pub child: u64,
    pub eval: u64,
    pub event: u64,
    pub head: u64,
    pub invocation: u64,
    pub message: u64,
    pub snapshot: u64,
    pub turn: u64,
}

/// The first event of every session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionStarted {
    /// What the session is, such as `session` or `child`.
    pub kind: Status,
    /// Its first status.
    pub status: Status,
    /// Where it comes from, in the embedder's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The key of a provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_id: Option<String>,
    /// A fork's or attach's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The head a forked or attached session starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The session of the head.
    pub session: SessionId,
    /// The head.
    pub head: HeadId,
    /// The source root's counters: the new session's numbers start above them (events excepted).
    pub counters: Counters,
}

/// A session's status changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionStatus {
    /// The new status.
    pub status: Status,
    /// When the session ended, where the status ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// A payload about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Digest>,
}

/// Something failed that belongs to the session as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionError {
    /// The session's status after it.
    pub status: Status,
    /// The raw error.
    pub error: Digest,
}

/// The session goes on from a head that was not current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restored {
    /// The session of the head.
    pub source_session: SessionId,
    /// The head.
    pub source_head: HeadId,
    /// Its snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotNumber>,
}

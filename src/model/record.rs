//! Store records: what a batch holds that belongs to no session's log.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::SessionId;
use super::lineage::Derivation;

/// One store record, as it stands in a commit: a JSON object whose `record` names the kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record")]
pub enum Record {
    /// A payload is in the log: its frame is the next payload frame of the group that no earlier record took, or
    /// it is the sequence of `parts`.
    #[serde(rename = "payload/added")]
    PayloadAdded {
        /// BLAKE3 of the bytes.
        hash: Digest,
        /// Their number.
        size: u64,
        /// The media type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        /// The parts of a large payload, in order; they have no frame of their own here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<Vec<Digest>>,
    },
    /// A part of a large payload is in the log, in the next payload frame.
    #[serde(rename = "payload/part")]
    PayloadPart {
        /// BLAKE3 of the bytes.
        hash: Digest,
        /// Their number.
        size: u64,
    },
    /// An alias points to a session.
    #[serde(rename = "alias/set")]
    AliasSet {
        /// The alias.
        name: SessionId,
        /// The session.
        session: SessionId,
    },
    /// A pin points to a head's root or a payload, or is taken away.
    #[serde(rename = "pin/set")]
    PinSet {
        /// The pin.
        name: SessionId,
        /// The payload, or a head's root; none takes the pin away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Digest>,
        /// Whether it is a head.
        head: bool,
        /// The pin's version after it.
        version: u64,
    },
    /// A fact of the embedder's.
    #[serde(rename = "fact/added")]
    FactAdded {
        /// Its number in the store.
        fact: u64,
        /// The embedder's tag.
        tag: String,
        /// The value.
        payload: Digest,
    },
    /// A session was made or moved from a head.
    #[serde(rename = "derivation/added")]
    DerivationAdded(Derivation),
    /// A session has a title.
    #[serde(rename = "session/titled")]
    SessionTitled {
        /// The session.
        session: SessionId,
        /// The title; none takes it away.
        title: Option<Digest>,
    },
    /// A session was removed.
    #[serde(rename = "session/removed")]
    SessionRemoved {
        /// The session.
        session: SessionId,
    },
    /// A payload's bytes were destroyed; its digest remains.
    #[serde(rename = "payload/erased")]
    PayloadErased {
        /// BLAKE3 of what it was.
        hash: Digest,
    },
    /// Unreachable payloads were dropped.
    #[serde(rename = "gc/done")]
    GcDone {
        /// How many.
        payloads: u64,
    },
}

/// The kinds of record this version knows.
pub const KINDS: [&str; 10] = [
    "payload/added",
    "payload/part",
    "alias/set",
    "pin/set",
    "fact/added",
    "derivation/added",
    "session/titled",
    "session/removed",
    "payload/erased",
    "gc/done",
];

//! What the answers are made of.

mod tree;
mod usage;

pub use tree::{Mark, Node, NodeKind, Trace, Tree, TreeLimits};
pub use usage::{ModelUsage, Sum, TurnUsage, Usage, Used};

use std::collections::BTreeMap;

use crate::model::fold::Entry;
use crate::model::line::Compact;
use crate::model::{
    Counters, Derivation, Digest, EventNumber, HeadId, HeadKind, Invocation, SessionId, SnapshotNumber, Span, Status,
    Timestamp, TurnNumber, View,
};

/// A session's own row, read live.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the property it names")]
pub struct SessionInfo {
    pub session: SessionId,
    /// In alphabetical order.
    pub aliases: Vec<SessionId>,
    pub kind: Status,
    pub origin: Option<String>,
    pub title: Option<String>,
    pub status: Status,
    pub cache_id: Option<String>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub current_head: Option<HeadId>,
    /// The number of the last event.
    pub events: u64,
    /// How many turns, heads it has of its own.
    pub turns: u64,
    pub heads: u64,
    /// A fork's or attached session's source head and its session.
    pub source: Option<(SessionId, HeadId)>,
}

/// An immutable boundary, without its root's transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the property it names")]
pub struct HeadInfo {
    pub head: HeadId,
    pub session: SessionId,
    /// Its `head/created`.
    pub event: EventNumber,
    pub at: Timestamp,
    pub kind: HeadKind,
    pub basis: Option<HeadId>,
    pub up: Option<HeadId>,
    /// Its own span.
    pub span: Span,
    /// The number of its spans.
    pub depth: u64,
    /// The nearest compaction head, itself included.
    pub compaction: Option<HeadId>,
    /// Its place among its session's heads, from 1 (genesis).
    pub ordinal: u64,
    pub turn: Option<TurnNumber>,
    pub final_value: Option<Digest>,
    pub snapshot: Option<SnapshotNumber>,
    pub vars: Option<Digest>,
    /// Whether it is its session's current head.
    pub current: bool,
}

/// `session/current-head` and how it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefInfo {
    /// The current head.
    pub current: HeadId,
    /// The one before it.
    pub previous: Option<HeadId>,
    /// The `session/ref-updated` that moved it.
    pub event: EventNumber,
    /// The session's digest at that point: equal fingerprints, equal history.
    pub fingerprint: Digest,
    /// When it was moved.
    pub updated: Timestamp,
}

/// The state at a head, or of a whole event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateView {
    /// The session's row, read live.
    pub session: SessionInfo,
    /// The head; none for the view of a whole event log.
    pub head: Option<HeadInfo>,
    /// The rows.
    pub rows: View,
}

/// All that is known of a session: its event log's view and its relations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the relation it names")]
pub struct History {
    pub session: SessionInfo,
    pub counters: Counters,
    /// The rows of its own events, never inherited ones.
    pub rows: View,
    pub heads: Vec<HeadInfo>,
    /// With this session at either end.
    pub derivations: Vec<Derivation>,
    /// Made by this session.
    pub invocations: Vec<Entry<Invocation>>,
    /// Made by others, with this session as callee.
    pub invoked_by: Vec<Entry<Invocation>>,
    pub reference: Option<RefInfo>,
}

/// A link of a causal chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The fact.
    pub event: Compact,
    /// Its causes, the latest first; some may lie in other sessions.
    pub causes: Vec<(SessionId, EventNumber)>,
}

/// Two heads compared by their spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What both see.
    pub common: Vec<Span>,
    /// What only the left head sees.
    pub left: Vec<Span>,
    /// What only the right head sees.
    pub right: Vec<Span>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// `quick`, `deep` or `head`.
    pub mode: &'static str,
    /// How many of each thing were looked at.
    pub counts: BTreeMap<&'static str, u64>,
    /// What is wrong, in the order found.
    pub issues: Vec<Issue>,
    /// Whether the database is the one noted after the last complete WAL checkpoint.
    pub trusted: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The kind of damage.
    pub code: &'static str,
    /// Where: a session, head, event, payload, or a place in a segment.
    pub place: String,
    /// What to do.
    pub advice: String,
}

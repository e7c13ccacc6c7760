//! Signatures only.
#![expect(missing_docs, unused_variables, clippy::todo)]
use super::error::*;
use crate::model::fold::Entry;
use crate::model::line::Compact;
use crate::model::*;
use crate::view::types::*;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub create: bool,
    pub segment_size: Option<u64>,
    pub clock: crate::clock::Clock, /* … */
}
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    pub created: bool,
    pub adopted: u64,
    /// why and how many commits
    pub rebuilt: Option<(String, u64)>,
    pub notes: Vec<String>,
}
/// A store, shared by cloning.
#[derive(Clone)]
pub struct Store;
impl Store {
    /// Opens, or makes, the store.
    pub fn open(root: impl AsRef<Path>) -> Result<Store, OpenError> {
        todo!()
    }
    pub fn open_with(root: impl AsRef<Path>, options: Options) -> Result<Store, OpenError> {
        todo!()
    }
    /// The nearest `.headwater` at or above `start`.
    pub fn find(start: &Path) -> Option<PathBuf> {
        todo!()
    }
    pub fn report(&self) -> &OpenReport {
        todo!()
    }
    pub fn root(&self) -> &Path {
        todo!()
    }
    pub fn close(self) -> Result<(), OpenError> {
        todo!()
    }

    /// A new session with its first events (session/started, genesis, ref-updated, then those of `first`), one commit.
    pub fn create_session(&self, new: NewSession) -> Result<Session, SessionOpenError> {
        todo!()
    }
    /// Takes the writer lease; seals what a killed writer left.
    pub fn open_session(&self, session: &SessionId) -> Result<Session, SessionOpenError> {
        todo!()
    }
    pub fn open_or_create(&self, new: NewSession) -> Result<Session, SessionOpenError> {
        todo!()
    }
    pub fn steal_session(&self, session: &SessionId) -> Result<Session, SessionOpenError> {
        todo!()
    }
    /// Goes on from `head` (the current one when None); a head that's not current is restored first.
    pub fn resume(&self, session: &SessionId, head: Option<&HeadId>) -> Result<Session, SessionOpenError> {
        todo!()
    }
    pub fn fork(&self, source: &HeadId, new: NewSession) -> Result<Session, SessionOpenError> {
        todo!()
    }
    pub fn attach(&self, source: &HeadId, new: NewSession) -> Result<Session, SessionOpenError> {
        todo!()
    }

    pub fn exists(&self, session: &str) -> Result<bool, ReadError> {
        todo!()
    }
    /// By id, unique prefix or alias.
    pub fn resolve_session(&self, text: &str) -> Result<SessionId, ReadError> {
        todo!()
    }
    /// By id (`head-…`), unique prefix of it (with or without `head-`, >= 4 digits), pin, or `SESSION@N` (N turns back; `SESSION@0` = current).
    pub fn resolve_head(&self, text: &str) -> Result<HeadId, ReadError> {
        todo!()
    }
    /// The turn-final (else latest) head that ends turn `turn` of `session`.
    pub fn head_of_turn(&self, session: &SessionId, turn: TurnNumber) -> Result<HeadId, ReadError> {
        todo!()
    }
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, ReadError> {
        todo!()
    }
    pub fn session(&self, session: &SessionId) -> Result<SessionInfo, ReadError> {
        todo!()
    }
    pub fn head(&self, head: &HeadId) -> Result<HeadInfo, ReadError> {
        todo!()
    }
    pub fn heads(&self, session: &SessionId) -> Result<Vec<HeadInfo>, ReadError> {
        todo!()
    }
    /// The root, verified against the head's id.
    pub fn root_of(&self, head: &HeadId) -> Result<Root, ReadError> {
        todo!()
    }
    pub fn spans(&self, head: &HeadId) -> Result<Vec<Span>, ReadError> {
        todo!()
    }

    pub fn view(&self, session: &SessionId) -> Result<StateView, ReadError> {
        todo!()
    }
    pub fn view_at(&self, session: &SessionId, head: &HeadId) -> Result<StateView, ReadError> {
        todo!()
    }
    pub fn event_view(&self, session: &SessionId) -> Result<StateView, ReadError> {
        todo!()
    }
    pub fn history_view(&self, session: &SessionId) -> Result<History, ReadError> {
        todo!()
    }
    /// Messages at the current head, newest first, at most `limit`.
    pub fn last_messages(&self, session: &SessionId, limit: usize) -> Result<Vec<Entry<Message>>, ReadError> {
        todo!()
    }
    /// The compact events after `since`, at most `limit`.
    pub fn events_since(
        &self,
        session: &SessionId,
        since: EventNumber,
        limit: usize,
    ) -> Result<Vec<Compact>, ReadError> {
        todo!()
    }
    pub fn event(&self, session: &SessionId, event: EventNumber) -> Result<Compact, ReadError> {
        todo!()
    }
    /// Full events read from the log's lines (whole rows).
    pub fn events(&self, session: &SessionId) -> Result<Vec<Event>, ReadError> {
        todo!()
    }
    pub fn high_water_counters(&self, session: &SessionId) -> Result<Counters, ReadError> {
        todo!()
    }
    pub fn causes(&self, session: &SessionId, event: EventNumber) -> Result<Vec<(SessionId, EventNumber)>, ReadError> {
        todo!()
    }
    /// Ancestors first, `event` last. Stops at the basis head's event unless `all`.
    pub fn causal_chain(&self, session: &SessionId, event: EventNumber, all: bool) -> Result<Vec<Link>, ReadError> {
        todo!()
    }
    pub fn compare(&self, left: &HeadId, right: &HeadId) -> Result<Comparison, ReadError> {
        todo!()
    }
    pub fn invocations_from(&self, session: &SessionId) -> Result<Vec<Entry<Invocation>>, ReadError> {
        todo!()
    }
    pub fn invocations_to(&self, session: &SessionId) -> Result<Vec<Entry<Invocation>>, ReadError> {
        todo!()
    }
    /// With the session at either end.
    pub fn derivations(&self, session: &SessionId) -> Result<Vec<Derivation>, ReadError> {
        todo!()
    }
    pub fn set_alias(&self, name: &SessionId, session: &SessionId) -> Result<(), CommitError> {
        todo!()
    }
    pub fn set_title(&self, session: &SessionId, title: Option<&str>) -> Result<(), CommitError> {
        todo!()
    }
    pub fn check(&self, deep: bool) -> Result<CheckReport, ReadError> {
        todo!()
    }
    pub fn check_head(&self, head: &HeadId) -> Result<CheckReport, ReadError> {
        todo!()
    }
    pub fn blobs(&self) -> Blobs {
        todo!()
    }
}

/// What a new session is.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: Option<SessionId>,
    pub kind: Status, /* "session" */
    pub origin: Option<String>,
    pub cache_id: Option<String>,
    pub alias: Option<SessionId>,
    pub title: Option<String>,
    pub at: Option<Timestamp>,
}
impl NewSession {
    pub fn named(id: SessionId) -> NewSession {
        todo!()
    }
    pub fn fresh() -> NewSession {
        todo!()
    }
}

pub struct Blobs;
impl Blobs {
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, CommitError> {
        todo!()
    }
    pub fn put_value(&self, json: &[u8]) -> Result<Digest, CommitError> {
        todo!()
    }
    /// Verified against its digest.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        todo!()
    }
    pub fn size(&self, digest: &Digest) -> Result<u64, ReadError> {
        todo!()
    }
    pub fn contains(&self, digest: &Digest) -> Result<bool, ReadError> {
        todo!()
    }
    /// By `b3:` id or unique prefix (>= 4 digits).
    pub fn resolve(&self, text: &str) -> Result<Digest, ReadError> {
        todo!()
    }
}

/// The writer's handle: holds the lease; `&self` everywhere, shared by threads (Arc inside, Clone).
#[derive(Clone)]
pub struct Session;
impl Session {
    pub fn id(&self) -> &SessionId {
        todo!()
    }
    pub fn store(&self) -> &Store {
        todo!()
    }
    /// One atomic batch; numbers are assigned as the closure adds to it; durable when this returns.
    /// An error of the closure or the commit leaves the session as it was.
    pub fn write<T>(&self, fill: impl FnOnce(&mut Batch) -> Result<T, CommitError>) -> Result<T, CommitError> {
        todo!()
    }
    // shorthands, each one commit:
    pub fn add_annotation(&self, kind: &str, payload: Option<&[u8]>) -> Result<EventNumber, CommitError> {
        todo!()
    }
    pub fn begin_turn(&self, input: &str) -> Result<TurnNumber, CommitError> {
        todo!()
    }
    pub fn seal(&self) -> Result<HeadId, CommitError> {
        todo!()
    }
    pub fn set_status(&self, status: Status) -> Result<(), CommitError> {
        todo!()
    }
    pub fn current_head(&self) -> Option<HeadId> {
        todo!()
    }
    pub fn counters(&self) -> Counters {
        todo!()
    }
    /// Unsealed rows included.
    pub fn view(&self) -> Result<StateView, ReadError> {
        todo!()
    }
    /// Gives the lease back (dropping does too).
    pub fn close(self) -> Result<(), CommitError> {
        todo!()
    }
}

/// A message to add.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub role: Role,
    pub content: Vec<u8>,
    pub turn: Option<TurnNumber>,
    pub call: Option<CallNumber>,
    pub extra: Option<Vec<u8>>,
}
impl NewMessage {
    pub fn new(role: Role, content: impl Into<Vec<u8>>) -> NewMessage {
        todo!()
    }
    pub fn turn(self, turn: TurnNumber) -> Self {
        todo!()
    }
    pub fn call(self, call: CallNumber) -> Self {
        todo!()
    }
    pub fn extra(self, json: impl Into<Vec<u8>>) -> Self {
        todo!()
    }
}

/// Events being gathered for one commit. Events get their numbers here, in order.
pub struct Batch;
impl Batch {
    /// The time of the events added from here on (imports).
    pub fn at(&mut self, at: Timestamp) {
        todo!()
    }
    /// Makes a retry of this batch recognisable (unique in the session, kept for ever).
    pub fn key(&mut self, key: &str) {
        todo!()
    }
    pub fn expect_head(&mut self, head: Option<HeadId>) {
        todo!()
    }
    pub fn put(&mut self, bytes: &[u8]) -> Digest {
        todo!()
    }
    pub fn put_media(&mut self, bytes: &[u8], media: &str) -> Digest {
        todo!()
    }
    /// Canonicalized JSON where it can be, else the bytes.
    pub fn put_value(&mut self, json: &[u8]) -> Digest {
        todo!()
    }
    pub fn counters(&self) -> Counters {
        todo!()
    }
    pub fn add_message(&mut self, message: NewMessage) -> Result<MessageNumber, CommitError> {
        todo!()
    }
    pub fn begin_turn(&mut self, fill: impl FnOnce(&mut Turn)) -> Result<TurnNumber, CommitError> {
        todo!()
    }
    pub fn update_turn(&mut self, turn: TurnNumber, change: impl FnOnce(&mut Turn)) -> Result<(), CommitError> {
        todo!()
    }
    pub fn begin_call(&mut self, call_type: CallType, fill: impl FnOnce(&mut Call)) -> Result<CallNumber, CommitError> {
        todo!()
    }
    pub fn update_call(&mut self, call: CallNumber, change: impl FnOnce(&mut Call)) -> Result<(), CommitError> {
        todo!()
    }
    pub fn add_eval(&mut self, status: Status, fill: impl FnOnce(&mut Eval)) -> Result<EvalNumber, CommitError> {
        todo!()
    }
    pub fn add_snapshot(
        &mut self,
        kind: Status,
        fill: impl FnOnce(&mut Snapshot),
    ) -> Result<SnapshotNumber, CommitError> {
        todo!()
    }
    pub fn add_annotation(
        &mut self,
        kind: &str,
        turn: Option<TurnNumber>,
        payload: Option<Digest>,
    ) -> Result<EventNumber, CommitError> {
        todo!()
    }
    pub fn set_status(&mut self, status: Status, payload: Option<Digest>) -> Result<(), CommitError> {
        todo!()
    }
    pub fn fail(&mut self, status: Status, error: Digest) -> Result<(), CommitError> {
        todo!()
    }
    /// `id`: the caller's text, or None for SESSION/NUMBER.
    pub fn start_invocation(
        &mut self,
        kind: Status,
        fill: impl FnOnce(&mut Invocation),
    ) -> Result<InvocationNumber, CommitError> {
        todo!()
    }
    pub fn complete_invocation(
        &mut self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        todo!()
    }
    pub fn fail_invocation(
        &mut self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        todo!()
    }
    pub fn record_caller_head(&mut self, invocation: InvocationNumber, head: HeadId) -> Result<(), CommitError> {
        todo!()
    }
    /// Seals turn-final and moves the current head to it; without new events returns the existing head. The turn = the last one ended.
    pub fn seal(&mut self) -> Result<HeadId, CommitError> {
        todo!()
    }
    /// Seals what a dead turn had built; does not move the current head; the branch goes on from the current head.
    pub fn seal_aborted(&mut self) -> Result<HeadId, CommitError> {
        todo!()
    }
    /// Adds the compact frame as a summary message and seals a compaction head: transcript = system messages, the frame, the last `keep` messages before it.
    pub fn compact(&mut self, frame: &str, keep: usize) -> Result<HeadId, CommitError> {
        todo!()
    }
    /// Moves the current head to an existing one.
    pub fn advance(&mut self, expected: Option<HeadId>, to: HeadId) -> Result<(), CommitError> {
        todo!()
    }
    pub fn set_title(&mut self, title: &str) -> Result<(), CommitError> {
        todo!()
    }
    pub fn set_alias(&mut self, alias: &SessionId) -> Result<(), CommitError> {
        todo!()
    }
}

//! The writer's handle of one session.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::Batch;
use super::commit::{Claim, Pending, Ticket, locked};
use super::error::{CommitError, ReadError};
use super::gate::Gate;
use super::message::NewMessage;
use super::state::State;
use super::{Inner, Store};
use crate::model::{
    Body, Call, CallNumber, Counters, Eval, EvalNumber, EventNumber, HeadId, MessageNumber, Role, SessionId, Snapshot,
    SnapshotNumber, Status, Turn, TurnNumber,
};
use crate::view::types::StateView;

/// The writer's handle of a session: it holds the lease, and is shared by threads by cloning. Every method commits at
/// once, durably, and in the order in which the calls were made; [`Session::write`] commits several facts as one.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// use headwater::model::{Role, Status};
/// use headwater::store::{NewMessage, NewSession, Store};
///
/// let store = Store::open(folder.path().join("store"))?;
/// let session = store.create_session(NewSession::named("demo".parse()?))?;
/// let turn = session.begin_turn("what is 2 + 2?")?;
/// session.add_message(Role::Assistant, "4").turn(turn).commit()?;
/// let head = session.write(|batch| {
///     let answer = batch.put(b"4");
///     batch.update_turn(turn, |row| {
///         row.status = Status::FINAL;
///         row.final_value = Some(answer);
///     })?;
///     batch.seal()
/// })?;
/// assert_eq!(session.current_head(), Some(head));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
}

/// What the clones of a handle share.
pub(super) struct Shared {
    pub(super) store: Store,
    id: SessionId,
    sid: i64,
    fence: u64,
    track: Mutex<Track>,
    gate: Gate,
    /// The last event submitted.
    last: AtomicU64,
    closed: AtomicBool,
}

struct Track {
    /// After all commits submitted so far.
    state: State,
    /// Commits under way, in order, each with the state before it.
    in_flight: VecDeque<(Arc<Pending>, State)>,
}

impl Session {
    pub(super) fn new(store: Store, sid: i64, fence: u64, state: State) -> Session {
        let id = state.session.clone();
        let last = AtomicU64::new(state.last_event.0);
        let track = Mutex::new(Track { state, in_flight: VecDeque::new() });
        let (gate, closed) = (Gate::default(), AtomicBool::new(false));
        Session { shared: Arc::new(Shared { store, id, sid, fence, track, gate, last, closed }) }
    }

    /// Whose writer this is.
    pub fn id(&self) -> &SessionId {
        &self.shared.id
    }

    /// The store it is in.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Commits what `fill` adds to the batch, all or nothing; durable when this returns.
    ///
    /// Other threads that commit to the session wait while `fill` runs. In it, the session's own methods that commit are
    /// refused, and those that look see it without the batch; a thread that `fill` waits for must not commit to it.
    ///
    /// # Errors
    ///
    /// `fill`'s own, or the commit's; [`CommitError::Nested`] inside the `fill` of another. The session, its view and its counters are then as they were, except after
    /// [`CommitError::Unknown`], of which the log decides.
    pub fn write<T>(&self, fill: impl FnOnce(&mut Batch<'_>) -> Result<T, CommitError>) -> Result<T, CommitError> {
        let (value, pending) = self.prepare(fill)?;
        let Some((pending, lead)) = pending else { return Ok(value) };
        if lead {
            self.shared.store.inner.desk.lead();
        }
        let result = pending.wait();
        locked(&self.shared.track).settle();
        result.map(|_| value)
    }

    /// The same without waiting: the ticket tells when the commit is durable.
    ///
    /// # Errors
    ///
    /// `fill`'s own; the commit's come with the ticket. None is given when the batch was empty.
    pub fn submit<T>(
        &self,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<T, CommitError>,
    ) -> Result<(T, Option<Ticket>), CommitError> {
        let (value, pending) = self.prepare(fill)?;
        let ticket = pending.map(|(pending, lead)| {
            if lead {
                self.shared.store.inner.desk.call_attendant();
            }
            Ticket { pending }
        });
        Ok((value, ticket))
    }

    #[expect(clippy::type_complexity, reason = "a commit and whether its caller leads")]
    fn prepare<T>(
        &self,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<T, CommitError>,
    ) -> Result<(T, Option<(Arc<Pending>, bool)>), CommitError> {
        let inner = &self.shared.store.inner;
        let Some(_alone) = self.shared.gate.enter() else {
            return Err(CommitError::Nested { session: self.shared.id.clone() });
        };
        // Not held while `fill` runs, so that it may look at the session.
        let (state, in_flight) = {
            let track = self.settled();
            (track.state.clone(), track.in_flight.iter().map(|(pending, _)| Arc::clone(pending)).collect())
        };
        let mut batch = Batch::new(inner, state, inner.clock.now());
        batch.in_flight(in_flight);
        let value = fill(&mut batch)?;
        let (state, work) = batch.finish(Claim::Lease(self.shared.fence))?;
        let Some(work) = work else { return Ok((value, None)) };
        let pending = Pending::new(work);
        self.shared.last.store(state.last_event.0, Ordering::Release);
        // If a commit under way failed meanwhile, this one builds on what never was, and the writer refuses it.
        let mut track = self.settled();
        let before = std::mem::replace(&mut track.state, state);
        track.in_flight.push_back((Arc::clone(&pending), before));
        // Queued while no other batch can be filled: the queue's order is the order of the numbers.
        let lead = inner.desk.queue.push(Arc::clone(&pending));
        Ok((value, Some((pending, lead))))
    }

    /// Appends one event; returns its number.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn append(&self, body: Body) -> Result<EventNumber, CommitError> {
        self.write(|batch| batch.append(body))
    }

    /// Appends events as one atomic batch; returns their numbers.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn append_all(&self, bodies: Vec<Body>) -> Result<Vec<EventNumber>, CommitError> {
        self.write(|batch| bodies.into_iter().map(|body| batch.append(body)).collect())
    }

    /// Adds an annotation, a fact of the embedder's own type; returns its event number.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn add_annotation(&self, kind: &str, payload: Option<&[u8]>) -> Result<EventNumber, CommitError> {
        self.write(|batch| {
            let payload = payload.map(|bytes| batch.put(bytes));
            batch.add_annotation(kind, None, payload)
        })
    }

    /// Starts a message: `.turn`, `.call`, `.extra` say more, `.commit` adds it.
    pub fn add_message(&self, role: Role, content: impl Into<Vec<u8>>) -> AddMessage<'_> {
        AddMessage { session: self, message: NewMessage::new(role, content) }
    }

    /// Starts a turn with the user's input: `turn/started` and the user's message, one commit.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn begin_turn(&self, input: &str) -> Result<TurnNumber, CommitError> {
        self.write(|batch| {
            let payload = batch.put(input.as_bytes());
            let turn = batch.begin_turn(|row| row.input = Some(payload))?;
            batch.add_message(NewMessage::new(Role::User, input).turn(turn))?;
            Ok(turn)
        })
    }

    /// Writes a new version of a turn, under the session's lock.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn update_turn(&self, turn: TurnNumber, change: impl FnOnce(&mut Turn)) -> Result<(), CommitError> {
        self.write(|batch| batch.update_turn(turn, change))
    }

    /// Records a call that already ended: its start and its end, one commit. Its number is assigned.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn record_call(&self, call: Call) -> Result<CallNumber, CommitError> {
        self.write(|batch| {
            let (call_type, turn) = (call.call_type.clone(), call.turn);
            let number = batch.begin_call(call_type, |row| row.turn = turn)?;
            batch.update_call(number, |row| *row = call)?;
            Ok(number)
        })
    }

    /// Writes a new version of a call, under the session's lock.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn update_call(&self, call: CallNumber, change: impl FnOnce(&mut Call)) -> Result<(), CommitError> {
        self.write(|batch| batch.update_call(call, change))
    }

    /// Adds an eval that ended.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn add_eval(&self, status: Status, fill: impl FnOnce(&mut Eval)) -> Result<EvalNumber, CommitError> {
        self.write(|batch| batch.add_eval(status, fill))
    }

    /// Adds a snapshot.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn add_snapshot(&self, kind: Status, fill: impl FnOnce(&mut Snapshot)) -> Result<SnapshotNumber, CommitError> {
        self.write(|batch| batch.add_snapshot(kind, fill))
    }

    /// Changes the session's status.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn set_status(&self, status: Status) -> Result<(), CommitError> {
        self.write(|batch| batch.set_status(status, None))
    }

    /// Records that the session failed, with the raw error.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn fail(&self, error: &[u8]) -> Result<(), CommitError> {
        self.write(|batch| {
            let error = batch.put(error);
            batch.fail(Status::ERROR, error)
        })
    }

    /// Seals the state as a head and makes it current: see [`Batch::seal`].
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn seal(&self) -> Result<HeadId, CommitError> {
        self.write(|batch| batch.seal())
    }

    /// Compacts the transcript: see [`Batch::compact`].
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn compact(&self, frame: &str, keep: usize) -> Result<HeadId, CommitError> {
        self.write(|batch| batch.compact(frame, keep))
    }

    /// Moves the current head, if it is the one expected: see [`Batch::advance`].
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn advance(&self, expected: Option<HeadId>, to: HeadId) -> Result<(), CommitError> {
        self.write(|batch| batch.advance(expected, to))
    }

    /// The current head, commits under way included.
    pub fn current_head(&self) -> Option<HeadId> {
        self.settled().state.current
    }

    /// The greatest numbers so far, commits under way included.
    pub fn counters(&self) -> Counters {
        self.settled().state.counters
    }

    /// The rows of the working branch, those not sealed yet included. Waits for commits under way.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn view(&self) -> Result<StateView, ReadError> {
        self.drain();
        self.shared.store.working_view(&self.shared.id)
    }

    /// The rows of all the session's own events, abandoned branches included. Waits for commits under way.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn event_view(&self) -> Result<StateView, ReadError> {
        self.drain();
        self.shared.store.event_view(&self.shared.id)
    }

    /// The last event submitted.
    pub(super) fn last_event(&self) -> EventNumber {
        EventNumber(self.shared.last.load(Ordering::Acquire))
    }

    fn drain(&self) {
        let waiting: Vec<_> = self.settled().in_flight.iter().map(|(pending, _)| Arc::clone(pending)).collect();
        for pending in waiting {
            // Whoever asked for the commit is told how it ended.
            let _ = pending.wait();
        }
    }

    fn settled(&self) -> MutexGuard<'_, Track> {
        let mut track = locked(&self.shared.track);
        track.settle();
        track
    }

    /// Waits for commits under way and gives the lease back. Dropping the last clone does the same, silently.
    ///
    /// # Errors
    ///
    /// [`CommitError`] if the lease could not be given back: it is then free when this process ends.
    pub fn close(self) -> Result<(), CommitError> {
        self.drain();
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.store.inner.give_lease_back(self.shared.sid, self.shared.fence)
    }
}

impl Track {
    /// Takes in how the commits under way ended. When one failed, the state is the one before it: those behind it fail
    /// with it, and no later one can succeed before they have.
    fn settle(&mut self) {
        while let Some((pending, _)) = self.in_flight.front() {
            let Some(result) = pending.poll() else { return };
            let Some((_, before)) = self.in_flight.pop_front() else { return };
            if result.is_err() {
                self.state = before;
                self.in_flight.clear();
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let track = self.track.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (pending, _) in std::mem::take(&mut track.in_flight) {
            let _ = pending.wait();
        }
        // A lease that cannot be given back is free when the store closes.
        if !*self.closed.get_mut() {
            let _ = self.store.inner.give_lease_back(self.sid, self.fence);
        }
        self.store.inner.leave(&self.id, self.fence);
    }
}

/// A message being put together: see [`Session::add_message`].
#[must_use = "nothing is added before `commit`"]
pub struct AddMessage<'a> {
    session: &'a Session,
    message: NewMessage,
}

impl AddMessage<'_> {
    /// Says the turn it belongs to.
    pub fn turn(self, turn: TurnNumber) -> Self {
        AddMessage { message: self.message.turn(turn), ..self }
    }

    /// Says the call that produced it.
    pub fn call(self, call: CallNumber) -> Self {
        AddMessage { message: self.message.call(call), ..self }
    }

    /// Adds fields of the embedder's, as JSON.
    pub fn extra(self, json: impl Into<Vec<u8>>) -> Self {
        AddMessage { message: self.message.extra(json), ..self }
    }

    /// Adds it, durably; returns its number.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn commit(self) -> Result<MessageNumber, CommitError> {
        let AddMessage { session, message } = self;
        session.write(|batch| batch.add_message(message))
    }
}

/// The fencing number under which each session is written; 0 while it is being opened.
pub(super) type Handles = Mutex<std::collections::HashMap<SessionId, u64>>;

impl Inner {
    /// Forgets that a handle of `session` is open in this process.
    pub(super) fn leave(&self, session: &SessionId, fence: u64) {
        let mut handles = locked(&self.handles);
        // A handle that lost its lease to another of this process leaves that one alone.
        if handles.get(session) == Some(&fence) {
            handles.remove(session);
        }
    }
}

//! Subscriptions: durable events in order, ephemeral items as they come.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::{CommitError, ReadError, RecvError};
use super::hub::{Hub, Mail, Mailbox, Posted};
use super::level::Meta;
use super::lookup::read_in;
use super::pool::Pool;
use super::tail::{Committed, Tail};
use super::{Session, Store};
use crate::model::event::EPHEMERAL;
use crate::model::id::BadId;
use crate::model::{Event, EventNumber, SessionId, Timestamp, Tx};
use crate::segment::Readers;
use crate::view::{events, sessions};

/// What is subscribed to, and after which of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// The events of one session after number `since`: 0 for all of them, [`Store::session`]'s `events` for those to come.
    Session {
        /// The session, which must exist.
        session: SessionId,
        /// The last event that is not wanted.
        since: EventNumber,
    },
    /// The events of all sessions in commits after `since`, in the order of commits: 0 for all of them,
    /// [`Store::last_tx`] for those to come. Those of a session that was removed since are left out.
    All {
        /// The last commit whose events are not wanted.
        since: Tx,
    },
}

/// What goes to live subscribers and is forgotten: a piece of a message while it is made, progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ephemeral {
    /// Whose writer emitted it.
    pub session: SessionId,
    /// One of [`EPHEMERAL`].
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// Its content, of the embedder's form: 64 KiB at most.
    pub payload: Vec<u8>,
}

/// What a subscriber receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A durable event: each exactly once, in order, without a gap.
    Event(Box<Event>),
    /// An ephemeral item: best effort, after the events that its writer had committed when it was emitted.
    Ephemeral(Arc<Ephemeral>),
    /// The gap marker: so many ephemeral items were dropped here, since they were not received in time. Durable events
    /// never are.
    Gap {
        /// How many.
        dropped: u64,
    },
}

/// What a subscription reads through. It does not keep the store open.
pub(super) struct Source {
    pool: Arc<Pool>,
    log: Arc<Readers>,
}

/// A channel of what happens in a store: history first, then what is committed from then on, without a seam.
///
/// Durable events are read from the store when they are received, so that a slow subscriber loses none, holds nothing
/// back and takes no memory but a chunk of events and 1,024 ephemeral items or 1 MiB of them, whichever is less. A commit of
/// this store is told as soon as it is acknowledged, one of another process within a tenth of a second. Ephemeral
/// items are those of this process.
///
/// A subscription does not keep the store open: it ends when the store closes. It is for one thread, or one task:
/// [`poll_recv`](Subscription::poll_recv) needs no runtime.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// use headwater::model::EventNumber;
/// use headwater::store::{Item, NewSession, Store, Topic};
///
/// let store = Store::open(folder.path().join("store"))?;
/// let session = store.create_session(NewSession::named("demo".parse()?))?;
/// let mut subscription = store.subscribe(Topic::Session { session: session.id().clone(), since: EventNumber(3) })?;
/// session.emit_ephemeral("token/delta", "wh")?;
/// session.begin_turn("what is 2 + 2?")?;
/// assert!(matches!(subscription.recv()?, Item::Ephemeral(_)));
/// assert!(matches!(subscription.recv()?, Item::Event(event) if event.body.kind() == "turn/started"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    reach: Reach,
    /// Read, and not received yet; with the commits they are of, where all sessions are subscribed to.
    ready: VecDeque<Committed>,
    /// An ephemeral item whose events are not there, though they were asked for: it waits for them no more.
    tried: u64,
    failed: bool,
}

/// How far the store was read.
enum Reach {
    Session { session: SessionId, read: EventNumber },
    All { since: Tx, tail: Option<Tail> },
}

/// How many events are read at once.
const CHUNK: usize = 256;
/// The greatest ephemeral payload.
const LARGEST: usize = 64 << 10;

impl Store {
    /// Subscribes to a session, or to all: see [`Subscription`].
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] for a session that does not exist.
    pub fn subscribe(&self, topic: Topic) -> Result<Subscription, ReadError> {
        let (session, reach) = match topic {
            Topic::Session { session, since } => {
                self.inner.sid(&session)?;
                (Some(session.clone()), Reach::Session { session, read: since })
            }
            Topic::All { since } => (None, Reach::All { since, tail: None }),
        };
        let source = Source { pool: Arc::clone(&self.inner.pool), log: Arc::clone(&self.inner.log) };
        let hub = Arc::clone(&self.inner.desk.hub);
        let mailbox = hub.enter(session, source);
        Ok(Subscription { hub, mailbox, reach, ready: VecDeque::new(), tried: 0, failed: false })
    }

    /// The number of the store's last commit.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn last_tx(&self) -> Result<Tx, ReadError> {
        self.inner.read_once(meta).map(|meta| meta.tx)
    }
}

impl Session {
    /// Gives an ephemeral item to the subscribers of this process: nothing is stored, nobody is waited for. With no
    /// subscriber it costs nothing.
    ///
    /// # Errors
    ///
    /// [`CommitError::BadId`] for a `kind` that is not one of [`EPHEMERAL`], [`CommitError::Invalid`] for a payload of more
    /// than 64 KiB.
    pub fn emit_ephemeral(&self, kind: &str, payload: impl Into<Vec<u8>>) -> Result<(), CommitError> {
        if !EPHEMERAL.contains(&kind) {
            let rule = "message/delta, token/delta, reasoning/delta or progress: all else is kept in the log";
            return Err(BadId::new("type of ephemeral item", kind, rule).into());
        }
        let payload = payload.into();
        if payload.len() > LARGEST {
            return Err(CommitError::Invalid(format!("an ephemeral item takes at most {LARGEST} bytes")));
        }
        let inner = &self.store().inner;
        if !inner.desk.hub.is_quiet() {
            let (session, kind, at) = (self.id().clone(), kind.to_owned(), inner.clock.now());
            inner.desk.hub.emit(Arc::new(Ephemeral { session, kind, at, payload }), self.last_event());
        }
        Ok(())
    }
}

impl Subscription {
    /// The next item; waits for it.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the store is closed and all that was read before is received; [`RecvError::Read`] if
    /// the store could not be read: nothing was lost, and the next call tries again.
    pub fn recv(&mut self) -> Result<Item, RecvError> {
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) => self.mailbox.wait(None),
                other => return other,
            }
        }
    }

    /// The same, waiting at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`Subscription::recv`], and [`RecvError::Empty`] if nothing came in time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Item, RecvError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                    self.mailbox.wait(deadline);
                }
                other => return other,
            }
        }
    }

    /// The same for a task: `std::future::poll_fn(|cx| subscription.poll_recv(cx)).await`. Reads from the store without
    /// yielding, a chunk at a time.
    ///
    /// # Errors
    ///
    /// As for [`Subscription::recv`].
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Item, RecvError>> {
        // Before looking: what arrives in between wakes.
        self.mailbox.wake(context.waker());
        match self.try_recv() {
            Err(RecvError::Empty) => Poll::Pending,
            other => Poll::Ready(other),
        }
    }

    /// The next item, if there is one now.
    ///
    /// # Errors
    ///
    /// As for [`Subscription::recv`], and [`RecvError::Empty`].
    pub fn try_recv(&mut self) -> Result<Item, RecvError> {
        loop {
            if let Some(next) = self.ready.front().map(|(tx, event)| (*tx, event.number)) {
                let due = |posted: &Posted| match &self.reach {
                    Reach::Session { .. } => posted.after < next.1,
                    Reach::All { .. } => posted.tx < next.0,
                };
                if let Some(mail) = self.mailbox.take_if(due) {
                    return Ok(item(mail));
                }
                if let Some((_, event)) = self.ready.pop_front() {
                    return Ok(Item::Event(event));
                }
            }
            if self.mailbox.take_news() {
                self.read()?;
                continue;
            }
            // Emitted after events that were committed, of which the news is still on its way: those go first.
            let mut early = None;
            let (read, tried) = (self.reach.read(), self.tried);
            let mail = self.mailbox.take_if(|posted| {
                let after = match &self.reach {
                    Reach::Session { .. } => posted.after.0,
                    Reach::All { .. } => posted.tx.0,
                };
                early = Some(after).filter(|after| *after > read && *after > tried);
                early.is_none()
            });
            match (mail, early) {
                (Some(mail), _) => return Ok(item(mail)),
                (None, Some(after)) => {
                    self.read()?;
                    // Events of a commit that failed never come.
                    self.tried = after;
                }
                (None, None) if self.mailbox.is_closed() => return Err(RecvError::Closed),
                (None, None) => return Err(RecvError::Empty),
            }
        }
    }

    /// What to subscribe to, later or in another process, to go on after the events received so far. Of a commit whose
    /// events were received in part, [`Topic::All`] gives all again.
    pub fn topic(&self) -> Topic {
        let next = self.ready.front();
        match &self.reach {
            Reach::Session { session, read } => {
                let since = next.map_or(*read, |(_, event)| EventNumber(event.number.0.saturating_sub(1)));
                Topic::Session { session: session.clone(), since }
            }
            Reach::All { since, tail } => {
                let read = tail.as_ref().map_or(*since, |tail| tail.tx().max(*since));
                Topic::All { since: next.map_or(read, |(tx, _)| Tx(tx.0.saturating_sub(1))) }
            }
        }
    }

    /// Reads the next events, if there are any.
    fn read(&mut self) -> Result<(), RecvError> {
        let guard = super::commit::locked(&self.mailbox.source);
        // Taken away by a store that closes: what it says of itself follows.
        let Some(source) = guard.as_ref() else { return Ok(()) };
        let read = read_in(&source.pool, |conn| match &self.reach {
            Reach::Session { session, read } => {
                let sid = sessions::sid(conn, session)?;
                let found = events::events(conn, sid, *read, CHUNK)?;
                let more = found.len() == CHUNK;
                let read = found.last().map_or(*read, |event| event.number);
                let found: Vec<Committed> = found.into_iter().map(|event| (Tx(0), Box::new(event))).collect();
                Ok((found, Reach::Session { session: session.clone(), read }, more))
            }
            Reach::All { since, tail } => {
                let end = meta(conn)?;
                let mut next = match tail {
                    Some(tail) => *tail,
                    None => Tail::after(&source.log, &end, *since)?,
                };
                let (mut found, more) = next.read(&source.log, &end, CHUNK)?;
                let mut known = HashMap::new();
                for (_, event) in &found {
                    if !known.contains_key(&event.session) {
                        let is_known = sessions::find_session(conn, event.session.as_str())?.is_some();
                        known.insert(event.session.clone(), is_known);
                    }
                }
                found.retain(|(tx, event)| *tx > *since && known.get(&event.session) == Some(&true));
                Ok((found, Reach::All { since: *since, tail: Some(next) }, more))
            }
        });
        drop(guard);
        // Taken over only now: a read that failed, at its end too, is made again.
        let more = read.map(|(found, reach, more)| {
            self.ready.extend(found);
            self.reach = reach;
            more
        });
        match more {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.mailbox.has_news();
                Ok(())
            }
            Err(error) => {
                self.mailbox.has_news();
                Err(RecvError::Read(error))
            }
        }
    }
}

impl Reach {
    fn read(&self) -> u64 {
        match self {
            Reach::Session { read, .. } => read.0,
            Reach::All { since, tail } => tail.as_ref().map_or(since.0, |tail| tail.tx().0),
        }
    }
}

/// Until the store closes. An error is the last thing it gives.
impl Iterator for Subscription {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.recv() {
            Ok(item) => Some(Ok(item)),
            Err(RecvError::Read(error)) => {
                self.failed = true;
                Some(Err(error))
            }
            Err(RecvError::Closed | RecvError::Empty) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(&self.mailbox);
    }
}

fn item(mail: Mail) -> Item {
    match mail {
        Mail::Ephemeral(item) => Item::Ephemeral(item),
        Mail::Dropped(dropped) => Item::Gap { dropped },
    }
}

fn meta(conn: &Connection) -> Result<Meta, ReadError> {
    Meta::read(conn).map_err(|error| ReadError::Database(Box::new(error)))
}

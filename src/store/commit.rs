//! Group commit: callers queue what they prepared; whoever finds nobody at work leads, and takes all that waits. No
//! timer: a group is what gathered while the one before was synced.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::error::CommitError;
use super::late::Late;
use crate::blob::{Prepared, codec::Codec};
use crate::journal::Lines;
use crate::model::{Digest, EventNumber, SessionId, Tx};
use crate::segment::FRAME_HEADER_LEN;

/// What a commit is allowed to touch, checked again inside the group.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) session: SessionId,
    pub(super) claim: Claim,
    /// The first event of the batch, and the session's digest before it.
    pub(super) first_event: EventNumber,
    pub(super) before: Digest,
    /// The session's digest after it: by this an unknown outcome is asked about later.
    pub(super) after: Digest,
}

/// By what right a session is written.
#[derive(Debug, Clone)]
pub(super) enum Claim {
    /// The commit makes the session, and takes its lease.
    New,
    /// The lease with this fencing number.
    Lease(u64),
}

/// A prepared commit: all that can be done without a lock is done.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) guard: Option<Guard>,
    pub(super) lines: Lines,
    /// In the order of the records that name them.
    pub(super) payloads: Vec<Prepared>,
    /// A record that is made inside the group; `lines` are then not packed yet.
    pub(super) late: Option<Late>,
}

impl Work {
    /// A record that is made inside the group, alone.
    pub(super) fn late(late: Late) -> Work {
        Work { guard: None, lines: Lines::default(), payloads: Vec::new(), late: Some(late) }
    }

    /// Its lines, the late one made from the rows as they are.
    pub(super) fn settled(&self, conn: &rusqlite::Connection) -> Result<(Cow<'_, Lines>, u64), CommitError> {
        let Some(late) = &self.late else { return Ok((Cow::Borrowed(&self.lines), 0)) };
        let (record, number) = late.record(conn)?;
        let mut lines = self.lines.clone();
        lines.push_record(record);
        lines.pack();
        Ok((Cow::Owned(lines), number))
    }

    /// The bytes it takes in a segment, its lines being `lines`.
    pub(super) fn bytes(&self, lines: &Lines) -> u64 {
        let frames: u64 = self.frames().map(|(_, body)| FRAME_HEADER_LEN + body.len() as u64).sum();
        frames + FRAME_HEADER_LEN + lines.body_len() as u64
    }

    /// The frames of its payloads: those of a pack share one.
    pub(super) fn frames(&self) -> impl Iterator<Item = (Codec, &[u8])> {
        self.payloads.iter().filter_map(|payload| Some((payload.codec, payload.body.as_deref()?)))
    }
}

/// A commit in the queue.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) work: Work,
    /// The number that its late record was given.
    pub(super) given: AtomicU64,
    slot: Mutex<Slot>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    result: Option<Result<Tx, CommitError>>,
    waker: Option<Waker>,
    /// Someone waits: a caller that leads its own commit never does, and to wake nobody is a system call.
    waited_for: bool,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole between statements; a panic elsewhere does not make it less so.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pending {
    pub(super) fn new(work: Work) -> Arc<Pending> {
        Arc::new(Pending { work, given: AtomicU64::new(0), slot: Mutex::default(), done: Condvar::new() })
    }

    /// Tells whoever waits. Never called while holding a lock.
    pub(super) fn complete(&self, result: Result<Tx, CommitError>) {
        let (waker, waited_for) = {
            let mut slot = locked(&self.slot);
            slot.result.get_or_insert(result);
            (slot.waker.take(), slot.waited_for)
        };
        if waited_for {
            self.done.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll(&self) -> Option<Result<Tx, CommitError>> {
        locked(&self.slot).result.clone()
    }

    pub(super) fn wait(&self) -> Result<Tx, CommitError> {
        let mut slot = locked(&self.slot);
        loop {
            if let Some(result) = &slot.result {
                return result.clone();
            }
            slot.waited_for = true;
            slot = self.done.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A commit under way: wait for it, poll it, or await it. Dropping it changes nothing: the commit goes on.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub(super) pending: Arc<Pending>,
}

impl Ticket {
    /// Waits until the commit is durable, or failed.
    ///
    /// # Errors
    ///
    /// [`CommitError`], which says what was changed.
    pub fn wait(&self) -> Result<Tx, CommitError> {
        self.pending.wait()
    }

    /// The outcome, if it is known.
    pub fn poll(&self) -> Option<Result<Tx, CommitError>> {
        self.pending.poll()
    }
}

impl Future for Ticket {
    type Output = Result<Tx, CommitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = locked(&self.pending.slot);
        match &slot.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The queue of commits, and who leads.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Arc<Pending>>,
    /// Someone is writing a group, or the attendant was asked to.
    led: bool,
    /// The attendant is to lead.
    called: bool,
    closed: bool,
}

/// Commits in one group at most: bounds how long the first of them waits.
const GROUP: usize = 512;

impl Queue {
    /// Adds a commit; true when the caller is to lead.
    pub(super) fn push(&self, pending: Arc<Pending>) -> bool {
        let mut state = locked(&self.state);
        state.waiting.push_back(pending);
        !std::mem::replace(&mut state.led, true)
    }

    /// Takes the next group.
    pub(super) fn take(&self) -> VecDeque<Arc<Pending>> {
        let mut state = locked(&self.state);
        let most = state.waiting.len().min(GROUP);
        state.waiting.drain(..most).collect()
    }

    /// Puts back, at the front, what did not fit into the group.
    pub(super) fn put_back(&self, rest: VecDeque<Arc<Pending>>) {
        let mut state = locked(&self.state);
        for pending in rest.into_iter().rev() {
            state.waiting.push_front(pending);
        }
    }

    /// Ends a lead. What waits goes to the attendant, so that a caller's own commit never waits for others': true if
    /// there is something.
    pub(super) fn hand_over(&self) -> bool {
        let mut state = locked(&self.state);
        state.led = !state.waiting.is_empty();
        state.called = state.led;
        if state.called {
            self.work.notify_one();
        }
        state.called
    }

    /// Takes the lead back that was handed to an attendant who cannot come; false if there is nothing to lead.
    pub(super) fn take_over(&self) -> bool {
        let mut state = locked(&self.state);
        state.called = false;
        state.led
    }

    /// Asks the attendant to lead; for those who push and do not wait.
    pub(super) fn call_attendant(&self) {
        locked(&self.state).called = true;
        self.work.notify_one();
    }

    /// The attendant waits here until it is called; false when the store closes.
    pub(super) fn attend(&self) -> bool {
        let mut state = locked(&self.state);
        loop {
            if std::mem::take(&mut state.called) {
                return true;
            }
            if state.closed {
                return false;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn close(&self) {
        locked(&self.state).closed = true;
        self.work.notify_all();
    }
}

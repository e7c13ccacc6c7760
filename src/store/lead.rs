//! Who writes a group: the caller that found nobody at work, or the attendant, a thread for those who do not wait.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;

use super::checkpoint::Checkpointer;
use super::commit::{Pending, Queue, Work, locked};
use super::error::CommitError;
use super::hub::Hub;
use super::writer::Poison;
use super::writer::{Answers, Writer};
use crate::model::Tx;

/// All that writing needs. The attendant holds this and no [`Store`](super::Store), so that a store is open as long as
/// its users hold it, and no longer.
pub(super) struct Desk {
    pub(super) queue: Queue,
    pub(super) writer: Mutex<Writer>,
    pub(super) checkpointer: Checkpointer,
    pub(super) hub: Arc<Hub>,
    attendant: OnceLock<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    me: Weak<Desk>,
}

impl Desk {
    pub(super) fn new(writer: Writer, checkpointer: Checkpointer, hub: Arc<Hub>) -> Arc<Desk> {
        Arc::new_cyclic(|me| Desk {
            queue: Queue::default(),
            writer: Mutex::new(writer),
            checkpointer,
            hub,
            attendant: OnceLock::new(),
            threads: Mutex::default(),
            me: me.clone(),
        })
    }

    /// Commits without a session: payloads, names.
    pub(super) fn commit(&self, work: Work) -> Result<Tx, CommitError> {
        self.commit_pending(&Pending::new(work))
    }

    /// Commits a record that is made inside the group; returns its number.
    pub(super) fn commit_late(&self, work: Work) -> Result<u64, CommitError> {
        let pending = Pending::new(work);
        self.commit_pending(&pending)?;
        Ok(pending.given.load(Ordering::Acquire))
    }

    fn commit_pending(&self, pending: &Arc<Pending>) -> Result<Tx, CommitError> {
        if self.queue.push(Arc::clone(pending)) {
            self.lead();
        }
        pending.wait()
    }

    /// Writes what waits, as the one who found nobody at work.
    pub(super) fn lead(&self) {
        loop {
            let mut group = self.queue.take();
            let mut answers = Answers::new();
            let mut news = None;
            if !group.is_empty() {
                let lead = Lead { desk: self, group: group.iter().cloned().collect() };
                let mut writer = locked(&self.writer);
                answers = writer.group(&mut group);
                news = self.hub.wrote(&answers);
                self.checkpointer.look(&mut writer);
                drop(writer);
                lead.done();
            }
            if !group.is_empty() {
                self.queue.put_back(group);
            }
            let more = self.queue.hand_over();
            // No lock is held here: a caller may go on at once, with another commit.
            for (pending, answer) in answers {
                pending.complete(answer);
            }
            if let Some(news) = news {
                self.hub.publish(&news);
            }
            if !more || self.attendant() {
                return;
            }
            // No thread can be had: this one goes on, if nobody else took over.
            if !self.queue.take_over() {
                return;
            }
        }
    }

    /// Has the attendant lead, for those who do not wait.
    pub(super) fn call_attendant(&self) {
        if self.attendant() {
            self.queue.call_attendant();
        } else {
            self.lead();
        }
    }

    /// The thread that leads when no caller does; started when first needed. False if the system gives none.
    fn attendant(&self) -> bool {
        *self.attendant.get_or_init(|| {
            let Some(desk) = self.me.upgrade() else { return false };
            let attend = move || {
                while desk.queue.attend() {
                    desk.lead();
                }
            };
            let thread = std::thread::Builder::new().name("headwater".to_owned()).spawn(attend);
            thread.map(|thread| locked(&self.threads).push(thread)).is_ok()
        })
    }

    /// Ends the threads, once what is queued is written.
    pub(super) fn shut(&self) {
        self.queue.close();
        for thread in std::mem::take(&mut *locked(&self.threads)) {
            // A waker may drop the last handle of the store in the attendant itself.
            if thread.thread().id() != std::thread::current().id() {
                // It ends with the queue; a panic in it was a failed commit, which its caller knows.
                let _ = thread.join();
            }
        }
        self.checkpointer.stop();
    }
}

/// A group being written. Dropped by a panic, it answers every commit of the group, so that nobody waits for ever.
struct Lead<'a> {
    desk: &'a Desk,
    group: Vec<Arc<Pending>>,
}

impl Lead<'_> {
    fn done(mut self) {
        self.group.clear();
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let why = "a defect in headwater: the writing thread panicked";
        locked(&self.desk.writer).poison.get_or_insert_with(|| Poison::Failure(why.to_owned()));
        self.desk.queue.hand_over();
        for pending in self.group.drain(..) {
            pending.complete(Err(CommitError::Poisoned(why.to_owned())));
        }
    }
}

//! The engine's API: a store, its sessions, its payloads.
//!
//! This floor promises that a commit which returned is on disk, whole; that one writer holds a session; that a failure
//! says what it changed. What the rows mean to people is answered by the floor above.

mod batch;
mod blobs;
mod branch;
pub(crate) mod build;
mod checkpoint;
mod commit;
mod derive;
pub mod error;
pub(crate) mod lease;
pub(crate) mod level;
mod lookup;
pub(crate) mod mark;
mod message;
pub(crate) mod open;
mod options;
mod outcome;
mod read;
mod seal;
mod session;
mod state;
pub(crate) mod swap;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;

pub use batch::Batch;
pub use blobs::Blobs;
pub use commit::Ticket;
pub use derive::NewSession;
pub use error::{CommitError, OpenError, ReadError, SessionOpenError};
pub use message::NewMessage;
pub use options::{OpenReport, Options};
pub use session::{AddMessage, Session};

pub use crate::sqlite::open::Journal;

use crate::clock::Clock;
use crate::segment::{LockGuard, Readers};
use checkpoint::Checkpointer;
use commit::{Queue, locked};
use writer::Writer;

/// A store, open: one folder with a database, a log and an index. Shared by cloning; closed when the last clone and the
/// last [`Session`] are dropped, or by [`Store::close`].
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// use headwater::store::{NewSession, Store};
///
/// let store = Store::open(folder.path().join("store"))?;
/// let session = store.create_session(NewSession::named("demo".parse()?))?;
/// assert!(store.exists("demo")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones of a store share.
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) report: OpenReport,
    pub(crate) pool: Pool<SqliteConnectionManager>,
    pub(crate) log: Arc<Readers>,
    queue: Arc<Queue>,
    writer: Mutex<Writer>,
    /// The sessions that a handle of this process writes.
    handles: session::Handles,
    attendant: OnceLock<Option<std::thread::JoinHandle<()>>>,
    checkpointer: Checkpointer,
    me: Weak<Inner>,
    /// Shared while the store is open.
    lock: Mutex<Option<LockGuard>>,
}

impl Store {
    /// Opens the store in the folder `root`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a store that is there is left as it is.
    pub fn open(root: impl AsRef<Path>) -> Result<Store, OpenError> {
        Store::open_with(root, Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub fn open_with(root: impl AsRef<Path>, options: Options) -> Result<Store, OpenError> {
        open::open(root.as_ref(), options).map_err(|error| error.told_by(root.as_ref()))
    }

    /// The nearest `.headwater` at or above `start`, found as git finds its folder.
    pub fn find(start: &Path) -> Option<PathBuf> {
        start.ancestors().map(|folder| folder.join(".headwater")).find(|folder| folder.is_dir())
    }

    /// What opening did: made, adopted, rebuilt, set aside.
    pub fn report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Closes the store, if this is its last clone and no session is open; else the last one to be dropped does.
    /// A clean close leaves the rows in the main file, and no zeros at the end of the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the last WAL checkpoint failed: nothing is lost, the next opening takes longer.
    pub fn close(self) -> Result<(), OpenError> {
        match Arc::try_unwrap(self.inner) {
            Ok(mut inner) => inner.shut(),
            Err(_) => Ok(()),
        }
    }
}

impl Inner {
    /// Writes what waits, as the one who found nobody at work.
    pub(crate) fn lead(&self) {
        loop {
            let mut group = self.queue.take();
            let mut answers = writer::Answers::new();
            if !group.is_empty() {
                let lead = Lead { inner: self, group: group.iter().cloned().collect() };
                let mut writer = locked(&self.writer);
                answers = writer.group(&mut group);
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
    fn call_attendant(&self) {
        if self.attendant() {
            self.queue.call_attendant();
        } else {
            self.lead();
        }
    }

    /// The thread that leads when no caller does; started when first needed. False if the system gives none.
    fn attendant(&self) -> bool {
        let thread = self.attendant.get_or_init(|| {
            let (queue, inner) = (Arc::clone(&self.queue), self.me.clone());
            let attend = move || {
                while queue.attend() {
                    match inner.upgrade() {
                        Some(inner) => inner.lead(),
                        None => break,
                    }
                }
            };
            std::thread::Builder::new().name("headwater".to_owned()).spawn(attend).ok()
        });
        thread.is_some()
    }

    /// Commits without a session: payloads, names.
    fn commit(&self, work: commit::Work) -> Result<crate::model::Tx, CommitError> {
        let pending = commit::Pending::new(work);
        if self.queue.push(Arc::clone(&pending)) {
            self.lead();
        }
        pending.wait()
    }

    fn shut(&mut self) -> Result<(), OpenError> {
        self.queue.close();
        if let Some(Some(attendant)) = self.attendant.take()
            && attendant.thread().id() != std::thread::current().id()
        {
            // It ends with the queue; a panic in it was a failed commit, which its caller knows.
            let _ = attendant.join();
        }
        self.checkpointer.stop();
        let held = locked(&self.lock).take();
        match held {
            Some(held) => open::close(self, held),
            None => Ok(()),
        }
    }
}

/// A group being written. Dropped by a panic, it answers every commit of the group, so that nobody waits for ever.
struct Lead<'a> {
    inner: &'a Inner,
    group: Vec<Arc<commit::Pending>>,
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
        locked(&self.inner.writer).poison.get_or_insert_with(|| why.to_owned());
        self.inner.queue.hand_over();
        for pending in self.group.drain(..) {
            pending.complete(Err(CommitError::Poisoned(why.to_owned())));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::warn!(error = error::chain(&error), "the store was not closed cleanly");
        }
    }
}

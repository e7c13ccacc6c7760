//! The engine's API: a store, its sessions, its payloads.
//!
//! This floor promises that a commit which returned is on disk, whole; that one writer holds a session; that a failure
//! says what it changed. What the rows mean to people is answered by the floor above.

mod answers;
mod batch;
mod blobs;
mod branch;
pub(crate) mod build;
mod checkpoint;
mod commit;
mod derive;
pub mod error;
mod facts;
mod gate;
mod hub;
mod invocation;
pub(crate) mod kin;
mod late;
mod lead;
pub(crate) mod lease;
pub(crate) mod level;
mod lookup;
pub(crate) mod mark;
mod memory;
mod message;
mod names;
pub(crate) mod open;
mod options;
mod outcome;
mod payload_io;
mod pins;
mod places;
mod pool;
mod read;
pub(crate) mod read_only;
mod records;
mod seal;
mod session;
mod state;
mod subscribe;
pub(crate) mod swap;
mod tail;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use batch::Batch;
pub use blobs::Blobs;
pub use commit::Ticket;
pub use derive::NewSession;
pub use error::{CommitError, OpenError, ReadError, RecvError, SessionOpenError};
pub use message::NewMessage;
pub use options::{OpenReport, Options};
pub use payload_io::{BlobReader, BlobWriter};
pub use pins::Expected;
pub use records::{Content, Records, WithContent};
pub use session::{AddMessage, Session};
pub use subscribe::{Ephemeral, Item, Subscription, Topic};

pub use crate::sqlite::open::Journal;
pub use crate::view::records::{Range, Recorded, Scope};

use crate::clock::Clock;
use crate::segment::{LockGuard, Readers};
use commit::locked;
use lead::Desk;

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
    pub(crate) pool: Arc<pool::Pool>,
    pub(crate) log: Arc<Readers>,
    places: places::Places,
    desk: Arc<Desk>,
    /// The sessions that a handle of this process writes.
    handles: session::Handles,
    /// Shared while the store is open.
    lock: Mutex<Option<LockGuard>>,
    /// Where what is read was made, if it could not be made in the store's folder.
    _beside: Option<tempfile::TempDir>,
    /// The folder of a store in memory. The last field: removed when all that was open in it is closed.
    passing: Option<tempfile::TempDir>,
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
        open::open(open::Home::Lasting(root.as_ref()), options).map_err(|error| error.told_by(root.as_ref()))
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

    /// Closes the store and ends its subscriptions, if this is its last clone and no session is open; else the last one to be dropped does.
    /// A clean close leaves the rows in the main file, and no zeros at the end of the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the last WAL checkpoint failed: nothing is lost, the next opening takes longer.
    pub fn close(self) -> Result<(), OpenError> {
        // No thread of the store's own holds it, and of two that close at once one is the last.
        match Arc::into_inner(self.inner) {
            Some(mut inner) => inner.shut(),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn shut(&mut self) -> Result<(), OpenError> {
        // Subscribers first: what they read through must not be open when the database is closed.
        self.desk.hub.close();
        self.desk.shut();
        let held = locked(&self.lock).take();
        match held {
            // Nobody will read it again.
            Some(_) if self.passing.is_some() => Ok(()),
            Some(held) => open::close(self, held).map_err(|error| error.told_by(&self.root)),
            None => Ok(()),
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

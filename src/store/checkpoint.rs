//! WAL checkpoints, off the writer's path, and the note that follows a complete one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::commit::locked;
use super::error::{Cause, chain};
use super::lease;
use super::mark::{self, Trust};
use super::writer::Writer;
use crate::segment::LockGuard;
use crate::sqlite::open::{self, Journal};
use crate::sqlite::reader::{self, Reader};

/// Groups between two looks at the size of the WAL.
const LOOK_EVERY: u32 = 16;
/// A WAL this many times the size at which a background checkpoint starts is checkpointed by the writer itself: one
/// that never pauses would let it grow for ever.
const TOO_LARGE: u64 = 16;
/// What a background checkpoint leaves, since commits go on meanwhile, is moved by the writer where it is no more than this
/// part of that size: only a WAL of which everything was moved begins anew, in place.
const REST: u64 = 4;
/// The part of that size by which the WAL grows between two attempts.
const STEP: u64 = 16;

/// The thread that checkpoints, started when first needed.
pub(super) struct Checkpointer {
    root: PathBuf,
    wal_size: u64,
    journal: Journal,
    signal: Arc<(Mutex<Signal>, Condvar)>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    /// Groups since the last look.
    groups: u32,
    /// Bytes of the WAL at the last attempt.
    tried: u64,
}

#[derive(Default)]
struct Signal {
    wanted: bool,
    stop: bool,
}

/// The database's file.
pub(crate) fn database(root: &Path) -> PathBuf {
    root.join("store.sqlite")
}

/// The bytes in SQLite's WAL.
pub(super) fn wal_len(root: &Path) -> u64 {
    reader::wal_len(&database(root))
}

impl Checkpointer {
    pub(super) fn new(root: &Path, wal_size: u64, journal: Journal) -> Checkpointer {
        let signal = Arc::default();
        Checkpointer {
            root: root.to_owned(),
            wal_size,
            journal,
            signal,
            thread: Mutex::default(),
            looked: Mutex::default(),
        }
    }

    /// Whether SQLite changes the main file at every commit.
    pub(super) fn has_no_wal(&self) -> bool {
        self.journal == Journal::Rollback
    }

    /// After a group: asks for a checkpoint if the WAL has grown.
    pub(super) fn look(&self, writer: &mut Writer) {
        let mut looked = locked(&self.looked);
        looked.groups += 1;
        if self.has_no_wal() {
            // Every commit changes the main file.
            if let Err(error) = note(&self.root) {
                tracing::warn!(error = super::error::chain(&*error), "the database could not be noted as whole");
            }
            return;
        }
        if looked.groups < LOOK_EVERY {
            return;
        }
        looked.groups = 0;
        // The file is not shorter than what is in use of it, and cheaper to ask.
        if wal_len(&self.root) < self.wal_size {
            return;
        }
        let (used, left) = match open::wal_bytes(&writer.conn) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "the WAL cannot be asked for its size");
                return;
            }
        };
        if used < looked.tried {
            // It began anew.
            looked.tried = 0;
        }
        if used < self.wal_size || left == 0 || used < looked.tried + self.wal_size / STEP {
            return;
        }
        looked.tried = used;
        let too_large = used >= self.wal_size.saturating_mul(TOO_LARGE);
        if too_large || left <= self.wal_size / REST || !self.has_thread() {
            if let Err(error) = run_now(&self.root, &writer.conn, too_large) {
                tracing::warn!(error = chain(error.as_ref()), "a WAL checkpoint failed");
            }
            return;
        }
        locked(&self.signal.0).wanted = true;
        self.signal.1.notify_one();
    }

    /// Whether the thread runs, which is started if it can be had.
    fn has_thread(&self) -> bool {
        let mut thread = locked(&self.thread);
        if thread.is_none() {
            let (root, signal) = (self.root.clone(), Arc::clone(&self.signal));
            let attending = move || attend(&root, &signal);
            *thread = std::thread::Builder::new().name("headwater-wal".to_owned()).spawn(attending).ok();
        }
        thread.is_some()
    }

    /// Ends the thread, after the checkpoint under way.
    pub(super) fn stop(&self) {
        locked(&self.signal.0).stop = true;
        self.signal.1.notify_one();
        if let Some(thread) = locked(&self.thread).take() {
            // A checkpoint that failed was logged; the WAL holds everything.
            let _ = thread.join();
        }
    }
}

fn attend(root: &Path, signal: &(Mutex<Signal>, Condvar)) {
    let mut conn = None;
    loop {
        {
            let mut state = locked(&signal.0);
            while !state.wanted && !state.stop {
                state = signal.1.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stop {
                return;
            }
            state.wanted = false;
        }
        if conn.is_none() {
            conn = match Reader::open(&database(root)).and_then(|conn| {
                conn.pragma_update(None, "query_only", false)?;
                Ok(conn)
            }) {
                Ok(conn) => Some(conn),
                Err(error) => {
                    tracing::warn!(%error, "no connection for WAL checkpoints");
                    None
                }
            };
        }
        if let Some(conn) = &conn
            && let Err(error) = run(root, conn, false)
        {
            tracing::warn!(error = chain(error.as_ref()), "a WAL checkpoint failed");
        }
    }
}

/// Checkpoints, and notes the main file. A checkpoint that returns has moved whole transactions, up to the oldest one a
/// reader needs: the main file is then, by itself, a state that the rows once had, and the log brings it level. The
/// note's lock is held from before the first byte of the main file changes, so that an opening which finds another
/// file than the noted one waits.
pub(super) fn run(root: &Path, conn: &rusqlite::Connection, truncate: bool) -> Result<(), Cause> {
    let mut lock = mark::lock(root)?;
    let held = lock.exclusive_blocking()?;
    move_frames(root, conn, truncate, &held)
}

fn move_frames(root: &Path, conn: &rusqlite::Connection, truncate: bool, held: &LockGuard) -> Result<(), Cause> {
    open::checkpoint(conn, truncate)?;
    mark::note(root, &database(root), held)?;
    Ok(())
}

/// Completes a WAL checkpoint whose process died before it was noted, where others have the store open: they use the
/// file as it is, and cannot let it go for a rebuild. Does nothing where the file may be another one than theirs, or nobody
/// is left to vouch for it. The caller holds `lock`, shared.
pub(super) fn complete(root: &Path, journal: Journal) -> Result<(), Cause> {
    let database = database(root);
    let cut_off = matches!(mark::settled(root, &database)?, Trust::Untrusted(_));
    if journal != Journal::Wal || !cut_off || !mark::is_noted_file(root, &database) || !lease::anyone_is_alive(root)? {
        return Ok(());
    }
    let conn = Reader::open(&database)?;
    conn.pragma_update(None, "query_only", false)?;
    run(root, &conn, false)?;
    tracing::warn!("a WAL checkpoint that was cut off was completed beside open stores");
    Ok(())
}

/// The same by the writer, which waits for another checkpoint only where it must.
fn run_now(root: &Path, conn: &rusqlite::Connection, wait: bool) -> Result<(), Cause> {
    let mut lock = mark::lock(root)?;
    let held = match wait {
        true => Some(lock.exclusive_blocking()?),
        false => lock.try_exclusive()?,
    };
    match held {
        Some(held) => move_frames(root, conn, false, &held),
        None => Ok(()),
    }
}

/// Notes the main file as it is, where every commit changes it.
fn note(root: &Path) -> Result<(), Cause> {
    let mut lock = mark::lock(root)?;
    let held = lock.exclusive_blocking()?;
    Ok(mark::note(root, &database(root), &held)?)
}

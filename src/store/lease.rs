//! Writer leases: who may append to a session. A lease names an open store by its lock file, so it is dead when that
//! lock can be taken; its fencing number is checked inside every commit.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Timestamp;
use crate::segment::{self, LockError, LockFile, LockGuard};
use crate::sqlite::stmt;

/// One open store: the file whose lock says that it lives.
pub(super) struct Holder {
    id: String,
    who: String,
    folder: PathBuf,
    /// Freed, with the lock, when the store is dropped or its process dies.
    _alive: Option<LockGuard>,
}

/// A lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    /// The open store; empty when it was given back.
    pub(super) holder: String,
    pub(super) fence: u64,
    /// For people: process and host.
    pub(super) who: String,
}

impl Holder {
    /// Says that a store is open, until it is dropped.
    pub(super) fn enter(root: &Path) -> Result<Holder, LockError> {
        let folder = root.join("open");
        let (id, alive) = loop {
            let id = uuid::Uuid::new_v4().to_string();
            let path = folder.join(&id);
            let alive = LockFile::open(&path)?.exclusive_blocking()?;
            // Between the two, someone who sweeps may have taken it for a dead one's and removed it.
            if segment::is_there(&path).map_err(|source| LockError::Io { path: path.clone(), source })? {
                break (id, alive);
            }
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Holder { id, who: format!("process {} on {host}", std::process::id()), folder, _alive: Some(alive) })
    }

    /// A store that is open where nothing can be written: it holds no lease.
    pub(super) fn nobody(root: &Path) -> Holder {
        Holder { id: String::new(), who: String::new(), folder: root.join("open"), _alive: None }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The lease of session `sid`.
    pub(super) fn read(&self, conn: &Connection, sid: i64) -> rusqlite::Result<Option<Lease>> {
        conn.prepare_cached(stmt::meta::LEASE)?
            .query_row([sid], |r| Ok(Lease { holder: r.get(0)?, fence: r.get(1)?, who: r.get(2)? }))
            .optional()
    }

    /// Makes the lease of `sid` this store's.
    pub(super) fn write(&self, conn: &Connection, sid: i64, fence: u64, at: Timestamp) -> rusqlite::Result<()> {
        conn.prepare_cached(stmt::meta::TAKE_LEASE)?.execute(params![sid, self.id, fence, self.who, at.micros()])?;
        Ok(())
    }

    /// Whether the store that `holder` names is still open: its lock cannot be taken.
    pub(super) fn is_alive(&self, holder: &str) -> Result<bool, LockError> {
        if holder.is_empty() {
            return Ok(false);
        }
        if holder == self.id {
            return Ok(true);
        }
        // A holder is one of our own file names; anything else in the row is nobody.
        if uuid::Uuid::parse_str(holder).is_err() {
            return Ok(false);
        }
        match LockFile::open_existing(&self.folder.join(holder))? {
            None => Ok(false),
            Some(mut lock) => Ok(lock.try_exclusive()?.is_none()),
        }
    }

    /// Removes the lock files of dead stores. Called under `write`, so that no two do it at once.
    pub(super) fn sweep(&self) {
        let Ok(names) = std::fs::read_dir(&self.folder) else { return };
        for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if name == self.id || uuid::Uuid::parse_str(&name).is_err() {
                continue;
            }
            let path = self.folder.join(&name);
            if let Ok(Some(mut lock)) = LockFile::open_existing(&path)
                && let Ok(Some(_held)) = lock.try_exclusive()
            {
                // Removed while its lock is held, so that it is nobody's who is just entering. One that cannot be
                // removed is left for the next sweep: a file nobody locks means nothing.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Whether the open store that `holder` names lives; one that cannot be asked counts as alive.
pub(crate) fn lives(root: &Path, holder: &str) -> bool {
    if uuid::Uuid::parse_str(holder).is_err() {
        return false;
    }
    match LockFile::open_existing(&root.join("open").join(holder)) {
        Ok(None) => false,
        Ok(Some(mut lock)) => !matches!(lock.try_exclusive(), Ok(Some(_))),
        Err(_) => true,
    }
}

/// Whether any store in the folder `root` is open.
pub(super) fn anyone_is_alive(root: &Path) -> Result<bool, LockError> {
    let Ok(names) = std::fs::read_dir(root.join("open")) else { return Ok(false) };
    for path in names.flatten().map(|entry| entry.path()) {
        if let Some(mut lock) = LockFile::open_existing(&path)?
            && lock.try_exclusive()?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.id.is_empty() {
            return;
        }
        // The name first, then the lock: a name without a lock is swept by anyone.
        let _ = std::fs::remove_file(self.folder.join(&self.id));
    }
}

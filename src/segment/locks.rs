//! Locks between processes, on files that hold nothing else.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::LockError;
use super::sync::{OpenFault, open_regular};

const FIRST_WAIT: Duration = Duration::from_micros(100);
const LONGEST_WAIT: Duration = Duration::from_millis(10);

/// A lock that one may hold exclusively or many may share, freed by the system if its holder dies.
///
/// Each `LockFile` counts as one holder: two of them exclude each other, in one process as in two.
#[derive(Debug)]
pub struct LockFile {
    file: Arc<File>,
    path: PathBuf,
}

/// A lock held; dropping it frees the lock.
#[derive(Debug)]
#[must_use = "the lock is free again once this is dropped"]
pub struct LockGuard {
    file: Arc<File>,
    path: PathBuf,
}

#[derive(Clone, Copy)]
enum Mode {
    Shared,
    Exclusive,
}

impl LockFile {
    /// Opens the lock's file, creating it if it is not there, for its owner only.
    ///
    /// # Errors
    ///
    /// [`LockError::NotRegular`] for a link or the like, [`LockError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<LockFile, LockError> {
        let writable = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .clone();
        match LockFile::open_with(path, writable) {
            // A lock needs no writing: a store that may only be read can be locked all the same.
            Err(OpenFault::Io(error)) if denied(&error) => {
                LockFile::open_with(path, OpenOptions::new().read(true).clone()).map_err(|fault| {
                    match fault {
                        OpenFault::Missing => OpenFault::Io(error),
                        other => other,
                    }
                })
            }
            result => result,
        }
        .map_err(|fault| lock_error(fault, path))
    }

    /// Opens the lock's file if it is there.
    ///
    /// # Errors
    ///
    /// As for [`open`](LockFile::open).
    pub fn open_existing(path: &Path) -> Result<Option<LockFile>, LockError> {
        match LockFile::open_with(path, OpenOptions::new().read(true).clone()) {
            Ok(lock) => Ok(Some(lock)),
            Err(OpenFault::Missing) => Ok(None),
            Err(fault) => Err(lock_error(fault, path)),
        }
    }

    fn open_with(path: &Path, mut options: OpenOptions) -> Result<LockFile, OpenFault> {
        Ok(LockFile {
            file: Arc::new(open_regular(path, &mut options)?),
            path: path.to_owned(),
        })
    }

    /// Takes the lock shared, if that can be had within `timeout`.
    ///
    /// # Errors
    ///
    /// [`LockError::TimedOut`] if it cannot, [`LockError::AlreadyHeld`] while a guard of this handle lives.
    pub fn shared(&mut self, timeout: Duration) -> Result<LockGuard, LockError> {
        self.poll(Mode::Shared, timeout)
    }

    /// Takes the lock exclusively, if that can be had within `timeout`.
    ///
    /// The system knows no timeout for these locks, so this asks again and again: one who waits with
    /// [`exclusive_blocking`](LockFile::exclusive_blocking) comes first.
    ///
    /// # Errors
    ///
    /// As for [`shared`](LockFile::shared).
    pub fn exclusive(&mut self, timeout: Duration) -> Result<LockGuard, LockError> {
        self.poll(Mode::Exclusive, timeout)
    }

    /// Takes the lock exclusively if it is free, else gives `None` at once.
    ///
    /// # Errors
    ///
    /// [`LockError::AlreadyHeld`] while a guard of this handle lives, [`LockError::Io`].
    pub fn try_exclusive(&mut self) -> Result<Option<LockGuard>, LockError> {
        self.attempt(Mode::Exclusive)
    }

    /// Takes the lock shared if nobody holds it exclusively, else gives `None` at once.
    ///
    /// # Errors
    ///
    /// As for [`try_exclusive`](LockFile::try_exclusive).
    pub fn try_shared(&mut self) -> Result<Option<LockGuard>, LockError> {
        self.attempt(Mode::Shared)
    }

    /// Waits in the system's queue until the lock can be held exclusively.
    ///
    /// # Errors
    ///
    /// As for [`try_exclusive`](LockFile::try_exclusive).
    pub fn exclusive_blocking(&mut self) -> Result<LockGuard, LockError> {
        self.block(Mode::Exclusive)
    }

    /// Waits in the system's queue until the lock can be shared.
    ///
    /// # Errors
    ///
    /// As for [`try_exclusive`](LockFile::try_exclusive).
    pub fn shared_blocking(&mut self) -> Result<LockGuard, LockError> {
        self.block(Mode::Shared)
    }

    fn poll(&mut self, mode: Mode, timeout: Duration) -> Result<LockGuard, LockError> {
        let start = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            if let Some(guard) = self.attempt(mode)? {
                return Ok(guard);
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(LockError::TimedOut {
                    path: self.path.clone(),
                });
            }
            pause(wait.min(left));
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn attempt(&mut self, mode: Mode) -> Result<Option<LockGuard>, LockError> {
        self.refuse_second_guard()?;
        loop {
            let result = match mode {
                Mode::Shared => self.file.try_lock_shared(),
                Mode::Exclusive => self.file.try_lock(),
            };
            return match result {
                Ok(()) => Ok(Some(self.guard())),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    continue;
                }
                Err(TryLockError::Error(source)) => Err(self.io(source)),
            };
        }
    }

    fn block(&mut self, mode: Mode) -> Result<LockGuard, LockError> {
        self.refuse_second_guard()?;
        wait_for(&self.file, mode).map_err(|source| self.io(source))?;
        Ok(self.guard())
    }

    /// To the system both guards would be the one lock, and the first dropped would free it.
    fn refuse_second_guard(&self) -> Result<(), LockError> {
        if Arc::strong_count(&self.file) == 1 {
            Ok(())
        } else {
            Err(LockError::AlreadyHeld {
                path: self.path.clone(),
            })
        }
    }

    fn guard(&self) -> LockGuard {
        LockGuard {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
        }
    }

    fn io(&self, source: io::Error) -> LockError {
        LockError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl LockGuard {
    /// Turns an exclusive lock into a shared one. Another may hold it exclusively in between, so what was
    /// read under the lock must be read again.
    ///
    /// # Errors
    ///
    /// [`LockError::Io`]; the lock is free then.
    pub fn into_shared(self) -> Result<LockGuard, LockError> {
        match wait_for(&self.file, Mode::Shared) {
            Ok(()) => Ok(self),
            Err(source) => Err(LockError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // Cannot fail for a file that is open; and the system frees the lock with the file at the latest.
        let _ = self.file.unlock();
    }
}

fn wait_for(file: &File, mode: Mode) -> io::Result<()> {
    loop {
        let result = match mode {
            Mode::Shared => file.lock_shared(),
            Mode::Exclusive => file.lock(),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "flock has no timeout, so a timed lock has to ask again"
)]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

fn denied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn lock_error(fault: OpenFault, path: &Path) -> LockError {
    let path = path.to_owned();
    match fault {
        OpenFault::NotRegular => LockError::NotRegular { path },
        OpenFault::Missing => LockError::Io {
            path,
            source: io::ErrorKind::NotFound.into(),
        },
        OpenFault::Io(source) => LockError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn two_handles_exclude_each_other_until_the_guard_drops() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (mut one, mut two) = (
            LockFile::open(&path).unwrap(),
            LockFile::open(&path).unwrap(),
        );
        let guard = one.exclusive(SHORT).unwrap();
        assert!(two.try_exclusive().unwrap().is_none());
        assert!(two.try_shared().unwrap().is_none());
        assert!(matches!(two.shared(SHORT), Err(LockError::TimedOut { .. })));
        assert!(matches!(
            one.try_exclusive(),
            Err(LockError::AlreadyHeld { .. })
        ));
        let guard = guard.into_shared().unwrap();
        let other = two.shared_blocking().unwrap();
        drop(guard);
        assert!(one.try_exclusive().unwrap().is_none());
        drop(other);
        drop(one.exclusive_blocking().unwrap());
    }

    #[test]
    fn links_are_refused_and_missing_files_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("lock"), folder.path().join("link"));
        assert!(LockFile::open_existing(&path).unwrap().is_none());
        drop(LockFile::open(&path).unwrap());
        assert!(LockFile::open_existing(&path).unwrap().is_some());
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            LockFile::open(&link),
            Err(LockError::NotRegular { .. })
        ));
    }
}

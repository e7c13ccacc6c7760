//! Fair turns at writing, between processes.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::LockError;
use super::locks::{LockFile, LockGuard};

/// The queue of writers: who waits holds the place at the `turn`, so that the one who frees `write` cannot
/// take it again before them.
#[derive(Debug)]
pub struct Turnstile {
    turn: LockFile,
    write: LockFile,
}

impl Turnstile {
    /// Opens both lock files, creating what is not there.
    ///
    /// # Errors
    ///
    /// As for [`LockFile::open`].
    pub fn open(turn: &Path, write: &Path) -> Result<Turnstile, LockError> {
        Ok(Turnstile { turn: LockFile::open(turn)?, write: LockFile::open(write)? })
    }

    /// The same without creating anything: none where either is not there, and nobody can be writing.
    ///
    /// # Errors
    ///
    /// As for [`LockFile::open_existing`].
    pub fn open_existing(turn: &Path, write: &Path) -> Result<Option<Turnstile>, LockError> {
        let both = LockFile::open_existing(turn)?.zip(LockFile::open_existing(write)?);
        Ok(both.map(|(turn, write)| Turnstile { turn, write }))
    }

    /// Takes `turn`, then `write`, then frees `turn`, waiting in the system's queue. The one to use: it is
    /// fair, and a holder that dies frees its lock.
    ///
    /// # Errors
    ///
    /// [`LockError::AlreadyHeld`] while a guard of this handle lives, [`LockError::Io`].
    pub fn acquire(&mut self) -> Result<LockGuard, LockError> {
        let _turn = self.turn.exclusive_blocking()?;
        self.write.exclusive_blocking()
    }

    /// The same within `timeout`. It asks again and again, so it may starve beside those that wait with
    /// [`acquire`](Turnstile::acquire).
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Turnstile::acquire), and [`LockError::TimedOut`].
    pub fn acquire_within(&mut self, timeout: Duration) -> Result<LockGuard, LockError> {
        let start = Instant::now();
        let _turn = self.turn.exclusive(timeout)?;
        self.write.exclusive(timeout.saturating_sub(start.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn the_turnstile_lets_one_through_and_frees_the_turn() {
        let folder = tempfile::tempdir().unwrap();
        let (turn, write) = (folder.path().join("turn"), folder.path().join("write"));
        let open = || Turnstile::open(&turn, &write).unwrap();
        let (mut one, mut two) = (open(), open());
        let guard = one.acquire().unwrap();
        assert!(matches!(two.acquire_within(SHORT), Err(LockError::TimedOut { .. })));
        assert!(LockFile::open(&turn).unwrap().try_exclusive().unwrap().is_some());
        drop(guard);
        drop(two.acquire().unwrap());
        // Many threads, each a holder of its own: the count is only right if they exclude each other.
        let count = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut mine = open();
                    for _ in 0..50 {
                        let _guard = mine.acquire().unwrap();
                        let seen = count.load(std::sync::atomic::Ordering::Relaxed);
                        std::thread::yield_now();
                        count.store(seen + 1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 200);
    }
}

//! Readers' connections: opened when first needed, kept, and handed to one at a time. There is no thread behind it.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::commit::locked;
use super::error::{ReadError, is_corrupt, is_full, is_refusal};
use super::mark::{self, Trust};
use crate::sqlite::doubt;
use crate::sqlite::open::BUSY;
use crate::sqlite::reader::Reader;

/// How long one who reads waits for a connection. Above SQLite's own patience, so that the error which comes first is the one that
/// says more.
const PATIENCE: Duration = BUSY.saturating_add(Duration::from_secs(5));

/// The readers' connections of an open store.
pub(crate) struct Pool {
    path: PathBuf,
    most: u32,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Reader>,
    /// Those that are lent, or about to be.
    lent: u32,
    closed: bool,
}

/// A connection, until it is dropped.
struct Lent<'a> {
    pool: &'a Pool,
    reader: Option<Reader>,
}

impl Pool {
    /// Of the database at `path`, at most so many.
    pub(super) fn new(path: &Path, most: u32) -> Pool {
        Pool { path: path.to_owned(), most: most.max(1), state: Mutex::default(), freed: Condvar::new() }
    }

    /// Runs `f` on a connection.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Reader) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut lent = Lent { pool: self, reader: self.take_a_place()?.filter(|reader| !reader.is_stale()) };
        let reader = match &mut lent.reader {
            Some(reader) => reader,
            none => none.insert(self.open().map_err(|error| self.told(error))?),
        };
        let result = f(reader);
        // Whatever it came to: of two states, neither an answer nor an error says anything.
        if reader.was_changed() {
            return Err(ReadError::Changed);
        }
        result.map_err(|error| self.told(error))
    }

    /// Says what the disk says: what SQLite calls corrupt may be what the system would not read.
    fn told(&self, error: ReadError) -> ReadError {
        match error {
            ReadError::Damaged { source: Some(source), .. } | ReadError::Database(source) if is_corrupt(&*source) => {
                match doubt::refusal(&self.path) {
                    Some(refused) => ReadError::Io(Box::new(refused)),
                    None => ReadError::Damaged { what: "the database".to_owned(), source: Some(source) },
                }
            }
            ReadError::Database(source) if is_refusal(&*source) && !is_full(&*source) => ReadError::Io(source),
            other => other,
        }
    }

    /// Waits until one more may be lent; gives one that lies ready.
    fn take_a_place(&self) -> Result<Option<Reader>, ReadError> {
        let failed = |why: &'static str| ReadError::Database(why.into());
        let deadline = Instant::now() + PATIENCE;
        let mut state = locked(&self.state);
        while state.lent >= self.most && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(failed("no reader's connection came free"));
            }
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closed {
            return Err(failed("the store was closed"));
        }
        state.lent += 1;
        Ok(state.idle.pop())
    }

    fn open(&self) -> Result<Reader, ReadError> {
        let database = |error: rusqlite::Error| ReadError::Database(Box::new(error));
        let reader = Reader::open(&self.path).map_err(database)?;
        // Alone, the file must be what a WAL checkpoint left when it was done.
        if reader.stands_alone()
            && let Some(root) = self.path.parent()
        {
            match mark::settled(root, &self.path) {
                Ok(Trust::Trusted) if !reader.is_stale() => {}
                Ok(_) => return Err(ReadError::Changed),
                Err(error) => return Err(ReadError::Database(Box::new(error))),
            }
        }
        Ok(reader)
    }

    /// Closes what lies ready, and lends no more.
    pub(super) fn close(&self) {
        let idle = {
            let mut state = locked(&self.state);
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        self.freed.notify_all();
        drop(idle);
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = locked(&self.pool.state);
        state.lent -= 1;
        // One with a transaction open would be the next reader's.
        match self.reader.take() {
            Some(reader) if reader.is_autocommit() && !state.closed => state.idle.push(reader),
            done => {
                drop(state);
                drop(done);
            }
        }
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(most: u32) -> (tempfile::NamedTempFile, Pool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        rusqlite::Connection::open(file.path()).unwrap().pragma_update(None, "user_version", 1).unwrap();
        let pool = Pool::new(file.path(), most);
        (file, pool)
    }

    /// As many as were asked for, no more at once; one that is given back is the next one's, and one with a transaction open nobody's.
    #[test]
    fn connections_are_lent_kept_and_bounded() {
        let (_file, pool) = pool(2);
        let most = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lent = |_: &Reader| {
                            Ok(most.fetch_max(locked(&pool.state).lent, std::sync::atomic::Ordering::Relaxed))
                        };
                        pool.with(lent).unwrap();
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        let kept = || locked(&pool.state).idle.len();
        assert!((1..=2).contains(&kept()) && locked(&pool.state).lent == 0);
        let before = kept();
        pool.with(|conn| conn.execute_batch("BEGIN").map_err(|error| ReadError::Database(Box::new(error)))).unwrap();
        assert_eq!((kept(), locked(&pool.state).lent), (before - 1, 0));
        pool.close();
        assert_eq!(kept(), 0);
        assert!(matches!(pool.with(|_| Ok(())), Err(ReadError::Database(_))));
    }

    /// A connection that cannot be opened is told at once, and takes nobody's place.
    #[test]
    fn a_connection_that_cannot_be_opened_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::new(&folder.path().join("none"), 1);
        for _ in 0..3 {
            assert!(matches!(pool.with(|_| Ok(())), Err(ReadError::Io(_))));
        }
    }
}

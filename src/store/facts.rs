//! Embedder facts: tagged values in one order for the whole store, kept and never interpreted.

use super::Store;
use super::commit::Work;
use super::error::{CommitError, ReadError};
use super::late::Late;
use crate::model::{Digest, Fact};
use crate::view::names;

/// The longest tag, in bytes.
const TAG: usize = 128;

impl Store {
    /// Appends a fact of the embedder's; returns its number, one more than the last. With `expect`, only if that is the
    /// number of the last one, 0 before the first: what was decided on the facts so far is then written or refused.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let store = headwater::store::Store::open(folder.path().join("store"))?;
    /// let first = store.append_fact("acme/price", b"12", None)?;
    /// store.append_fact("acme/price", b"13", Some(first))?;
    /// assert!(store.append_fact("acme/price", b"14", Some(first)).is_err(), "somebody was faster");
    /// let facts = store.facts_since(first, 10)?;
    /// assert_eq!(store.blobs().get(&facts[0].payload)?, b"13");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommitError::StaleFact`] if another fact is the last, [`CommitError::Invalid`] for a tag that is not 1 to 128 bytes
    /// without control characters. Nothing is changed by either.
    pub fn append_fact(&self, tag: &str, payload: &[u8], expect: Option<u64>) -> Result<u64, CommitError> {
        if !(1..=TAG).contains(&tag.len()) || tag.chars().any(char::is_control) {
            return Err(CommitError::Invalid(format!("a fact's tag has 1 to {TAG} bytes, no control characters")));
        }
        let late = Late::Fact { tag: tag.to_owned(), payload: Digest::of(payload), expect };
        let (lines, payloads) = self.inner.with_payload(payload)?;
        self.inner.desk.commit_late(Work { lines, payloads, ..Work::late(late) })
    }

    /// The facts after number `since`, at most `limit`, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn facts_since(&self, since: u64, limit: usize) -> Result<Vec<Fact>, ReadError> {
        self.inner.read(|conn| names::facts(conn, since, limit))
    }

    /// The number of the last fact; 0 before the first.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn last_fact(&self) -> Result<u64, ReadError> {
        self.inner.read_once(names::last_fact)
    }
}

//! Rows of one kind by range, one after another: a page of them is in memory at a time.

use std::collections::VecDeque;

use super::error::ReadError;
use super::{Blobs, Store};
use crate::model::fold::Entry;
use crate::model::{Message, SessionId};
use crate::view::records::{Cursor, Range, Recorded, Scope};
use crate::view::sessions;

/// How many rows are read at a time, once it shows that many are wanted.
const PAGE: usize = 256;
/// How many at first.
const FIRST_PAGE: usize = 16;

/// The rows of a range, in the order of their numbers: see [`Store::records`].
///
/// All are of the point at which the iterator was made, whatever is committed while it is read. After an error it ends.
pub struct Records<T> {
    store: Store,
    cursor: Cursor,
    page: VecDeque<Entry<T>>,
    /// How many to read next; none at the end.
    next: Option<usize>,
}

impl Store {
    /// The rows of one kind, of several versions the last: at a head, or of all the session's own events; all of them or a
    /// range of numbers, from either end. What is read is paid for, a page at a time.
    ///
    /// ```
    /// use headwater::model::{Role, Turn};
    /// use headwater::store::{NewSession, Range, Scope, Store};
    /// # let folder = tempfile::tempdir()?;
    /// # let store = Store::open(folder.path().join("store"))?;
    /// # let session = store.create_session(NewSession::named("demo".parse()?))?;
    /// # session.begin_turn("what is 2 + 2?")?;
    /// for turn in store.records::<Turn>(session.id(), Scope::Log, Range::newest_first())?.take(10) {
    ///     let turn = turn?.row;
    ///     println!("{} {}", turn.turn, turn.status);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], also for a head of another session.
    pub fn records<T: Recorded>(
        &self,
        session: &SessionId,
        scope: Scope,
        range: Range,
    ) -> Result<Records<T>, ReadError> {
        let cursor = self.inner.read(|conn| Cursor::open(conn, sessions::sid(conn, session)?, scope, range))?;
        Ok(Records { store: self.clone(), cursor, page: VecDeque::new(), next: Some(FIRST_PAGE) })
    }

    /// The messages of a range: [`Store::records`] of them. With what they say: [`Records::with_content`].
    ///
    /// # Errors
    ///
    /// As for [`Store::records`].
    pub fn messages(&self, session: &SessionId, scope: Scope, range: Range) -> Result<Records<Message>, ReadError> {
        self.records(session, scope, range)
    }
}

impl<T: Recorded> Iterator for Records<T> {
    type Item = Result<Entry<T>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() {
            let limit = self.next.take()?;
            match self.store.inner.read(|conn| self.cursor.page(conn, limit)) {
                Ok(page) => {
                    self.next = (page.len() == limit).then(|| (limit * 4).min(PAGE));
                    self.page = page.into();
                }
                Err(error) => return Some(Err(error)),
            }
        }
        self.page.pop_front().map(Ok)
    }
}

impl Records<Message> {
    /// Each message with its content, up to so many bytes.
    pub fn with_content(self, most: u64) -> WithContent {
        WithContent { blobs: self.store.blobs(), records: self, most }
    }
}

/// Messages with what they say: see [`Records::with_content`].
pub struct WithContent {
    blobs: Blobs,
    records: Records<Message>,
    most: u64,
}

/// What a message says, or why it is not at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Bytes(Vec<u8>),
    /// It has more bytes than were wanted: so many. [`Blobs::copy_to`] reads it in parts.
    Large(u64),
    /// Its bytes were erased.
    Erased,
}

impl Iterator for WithContent {
    type Item = Result<(Entry<Message>, Content), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.records.next()?.and_then(|entry| {
            let content = self.blobs.content(&entry.row.content, self.most)?;
            Ok((entry, content))
        }))
    }
}

impl Blobs {
    /// The payload's bytes, unless they are more than `most`.
    ///
    /// # Errors
    ///
    /// As for [`Blobs::get`], but for an erased payload.
    pub fn content(&self, digest: &crate::model::Digest, most: u64) -> Result<Content, ReadError> {
        let size = match self.size(digest) {
            Ok(size) => size,
            Err(ReadError::Erased { .. }) => return Ok(Content::Erased),
            Err(error) => return Err(error),
        };
        if size > most {
            return Ok(Content::Large(size));
        }
        match self.get(digest) {
            Ok(bytes) => Ok(Content::Bytes(bytes)),
            Err(ReadError::Erased { .. }) => Ok(Content::Erased),
            Err(error) => Err(error),
        }
    }
}

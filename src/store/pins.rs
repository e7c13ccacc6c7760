//! Pins: names for heads and payloads, moved by compare-and-set.

use super::Store;
use super::batch::Batch;
use super::commit::Work;
use super::error::{CommitError, ReadError};
use super::late::Late;
use crate::model::line::Item;
use crate::model::{HeadId, Pin, PinTarget, Record, SessionId};
use crate::view::names;

/// What a pin must be for a change of it to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is, or nothing: the change is made.
    Any,
    /// There is no such pin.
    Absent,
    /// It is there, and has this version.
    Version(u64),
}

impl Store {
    /// Points the pin `name` at `target`, if it is as `expected`; returns its new version, one more than the last.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let store = headwater::store::Store::open(folder.path().join("store"))?;
    /// use headwater::model::PinTarget;
    /// use headwater::store::{CommitError, Expected};
    ///
    /// let (name, notes) = ("release".parse()?, store.blobs().put(b"notes")?);
    /// assert_eq!(store.pin(&name, PinTarget::Payload(notes), Expected::Absent)?, 1);
    /// assert_eq!(store.pin(&name, PinTarget::Payload(notes), Expected::Version(1))?, 2);
    /// let late = store.pin(&name, PinTarget::Payload(notes), Expected::Version(1));
    /// assert!(matches!(late, Err(CommitError::StalePin { found: Some(2), .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommitError::StalePin`] if it is not as expected, [`CommitError::Missing`] if the target does not exist,
    /// [`CommitError::Conflict`] if the name is a session's id or alias, [`CommitError::BadId`] if it reads as a head's id.
    /// Nothing is changed by any.
    pub fn pin(&self, name: &SessionId, target: PinTarget, expected: Expected) -> Result<u64, CommitError> {
        self.set_pin(name, Some(target), expected)
    }

    /// Takes the pin `name` away, if it is as `expected`. A pin set later under that name has a greater version.
    ///
    /// # Errors
    ///
    /// [`CommitError::StalePin`] if it is not as expected, [`CommitError::Missing`] if there is none.
    pub fn unpin(&self, name: &SessionId, expected: Expected) -> Result<(), CommitError> {
        self.set_pin(name, None, expected).map(|_| ())
    }

    fn set_pin(&self, name: &SessionId, target: Option<PinTarget>, expected: Expected) -> Result<u64, CommitError> {
        self.inner.desk.commit_late(Work::late(Late::Pin { name: name.clone(), target, expected }))
    }

    /// The pin `name`.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn read_pin(&self, name: &SessionId) -> Result<Pin, ReadError> {
        self.inner.read(|conn| names::pin(conn, name))
    }

    /// All pins, in alphabetical order.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn pins(&self) -> Result<Vec<Pin>, ReadError> {
        self.inner.read(names::pins)
    }
}

impl Batch<'_> {
    /// Points the pin `name` at a head, which this batch may have sealed, or takes it away; nothing where there is none to
    /// take away. The commit fails as [`CommitError::Conflict`] if somebody else changes the pin meanwhile.
    pub(crate) fn set_pin(&mut self, name: &SessionId, head: Option<HeadId>) -> Result<(), CommitError> {
        self.drain();
        let here = self.lines.lines.iter().rev().find_map(|line| match &line.item {
            Item::Record(Record::PinSet { name: held, version, target, .. }) if held == name => {
                Some((*version, target.is_some()))
            }
            _ => None,
        });
        let (last, is_held) = match here {
            Some(here) => here,
            None => self.store.read(|conn| names::pin_version(conn, name))?,
        };
        if head.is_some() || is_held {
            let target = head.map(|head| head.0);
            self.record(Record::PinSet { name: name.clone(), target, head: head.is_some(), version: last + 1 });
        }
        Ok(())
    }
}

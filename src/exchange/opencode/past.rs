//! What the store has of a session: the newest version of each file, the heads and what is known there, and which rows are a message's.

use std::collections::{BTreeMap, HashMap};

use super::State;
use crate::exchange::export::Output;
use crate::exchange::kept::{self, Kept};
use crate::exchange::{ExportError, ImportError, written};
use crate::model::{CallNumber, Digest, EventNumber, HeadId, InvocationNumber, SessionId, TurnNumber};
use crate::store::Store;

/// What the name of a file begins with in the kept source that was taken away.
pub const REMOVED: char = '-';

/// The newest version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub digest: Digest,
    /// Where its name stands in the kept source.
    pub at: u64,
}

/// The newest versions of the files of a kept source.
pub fn versions(store: &Store, session: &SessionId) -> Result<BTreeMap<String, Version>, ExportError> {
    let mut versions = Versions::default();
    written::copy(store, session, 0, u64::MAX, &mut versions)?;
    versions.end();
    Ok(versions.found)
}

#[derive(Default)]
struct Versions {
    found: BTreeMap<String, Version>,
    bytes: u64,
    file: Option<(String, u64, blake3::Hasher)>,
}

impl Versions {
    fn end(&mut self) {
        let Some((name, at, hasher)) = self.file.take() else { return };
        match name.strip_prefix(REMOVED) {
            Some(name) => drop(self.found.remove(name)),
            None => drop(self.found.insert(name, Version { digest: Digest(*hasher.finalize().as_bytes()), at })),
        }
    }
}

impl Output for Versions {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.bytes += bytes.len() as u64;
        if let Some((.., hasher)) = &mut self.file {
            hasher.update(bytes);
        }
        Ok(())
    }

    fn part(&mut self, name: &str, mark: &[u8]) -> Result<(), ExportError> {
        self.end();
        self.file = Some((name.to_owned(), self.bytes, blake3::Hasher::new()));
        self.bytes += mark.len() as u64;
        Ok(())
    }
}

/// A head, and what is known there.
#[derive(Debug, Clone)]
pub struct Place {
    pub head: At,
    pub state: State,
}

/// A head, which may be of the batch that is being written.
#[derive(Debug, Clone, Copy)]
pub enum At {
    Event(EventNumber),
    Head(HeadId),
}

/// The rows of a message.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub turn: Option<TurnNumber>,
    pub calls: Vec<CallNumber>,
}

/// What the store has.
#[derive(Default)]
pub struct Past {
    pub files: BTreeMap<String, Version>,
    /// From the first to the last.
    pub places: Vec<Place>,
    pub rows: HashMap<String, Rows>,
    /// The invocations of sessions, and whether they ended.
    pub edges: HashMap<String, (InvocationNumber, bool)>,
}

impl Past {
    /// Of `session`, whose last batch is the one at `event`.
    pub fn of(store: &Store, session: &SessionId, event: EventNumber) -> Result<Past, ImportError> {
        let files = versions(store, session).map_err(|error| match error {
            ExportError::Read(error) => ImportError::Read(error),
            _ => ImportError::Read(kept::damaged(None)),
        })?;
        let mut past = Past { files, ..Past::default() };
        let batches: Vec<Kept> = kept::backwards(store, session, Some(event)).collect::<Result<_, _>>()?;
        for batch in batches.into_iter().rev() {
            let end = batch.end();
            for mark in batch.progress.marks.into_iter().chain([end]) {
                let state: State =
                    serde_json::from_str(mark.state.get()).map_err(|error| kept::damaged(Some(error.into())))?;
                past.take(&state);
                past.places.push(Place { head: At::Event(mark.head), state });
            }
        }
        Ok(past)
    }

    /// Takes in the rows that a batch made.
    pub fn take(&mut self, state: &State) {
        for (id, turn, calls) in &state.made {
            self.rows.insert(id.clone(), Rows { turn: *turn, calls: calls.clone() });
        }
        for (child, number, ended) in &state.edges {
            self.edges.insert(child.clone(), (*number, *ended));
        }
    }
}

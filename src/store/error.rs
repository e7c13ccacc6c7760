//! One enum for each operation; a variant is what a caller can act on.

use std::path::PathBuf;

use crate::journal::BadCommit;
use crate::model::id::BadId;
use crate::model::{Digest, EventNumber, HeadId, SessionId};
use crate::segment::SegmentError;
use crate::sqlite::doubt;

pub use crate::view::error::{Cause, ReadError};

/// Why a store could not be opened. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store there, and none was to be made.
    #[error("there is no store at {path}")]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The store was written by a newer version.
    #[error("the store at {path} has a newer format: {what}")]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// What is newer.
        what: String,
    },
    /// The file system cannot keep the promises of SQLite's WAL.
    #[error("{path} lies on a {kind} file system, on which SQLite's WAL corrupts")]
    Network {
        /// The store.
        path: PathBuf,
        /// The file system.
        kind: String,
    },
    /// A file or folder of the store is one that cannot be trusted: a link, another user's, or open to everybody.
    #[error("{path} {what}")]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        advice: String,
    },
    /// The database must be rebuilt or migrated, and another process has the store open.
    #[error("the store at {path} is open elsewhere, and {why}")]
    InUse {
        /// The store.
        path: PathBuf,
        /// What needs it alone.
        why: String,
    },
    /// Log and rows disagree, or the log is damaged, before the end of what was acknowledged.
    #[error("the store at {path} is damaged: {what}")]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The disk is full.
    #[error("the disk is full")]
    Full(#[source] Cause),
    /// A file could not be made, read or locked.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: Cause,
    },
}

/// Why a session could not be opened for writing, made, resumed, forked or attached. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionOpenError {
    /// Another handle holds the writer lease.
    #[error("session {session} is being written by {holder}")]
    LeaseHeld {
        /// The session.
        session: SessionId,
        /// Who holds it.
        holder: String,
    },
    /// The id is taken.
    #[error("session {session} exists already")]
    Exists {
        /// The session.
        session: SessionId,
    },
    /// No current head to go on from, or the named head is no state to go on from.
    #[error("{0}")]
    NoHead(String),
    /// Something named could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The first commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why a subscription gave no item.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// There is none now, or none came in time.
    #[error("nothing has happened")]
    Empty,
    /// The store was closed, and all that was read before is received.
    #[error("the store was closed")]
    Closed,
    /// The store could not be read. Nothing was lost: the next call tries again.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a commit failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A value of the batch is not allowed. Nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// An id or word is not well formed. Nothing was changed.
    #[error(transparent)]
    BadId(#[from] BadId),
    /// A reference of the batch points to nothing. Nothing was changed.
    #[error("{what} does not exist")]
    Missing {
        /// The thing referred to.
        what: String,
    },
    /// The type is ephemeral: it goes to live subscribers, never to the log. Nothing was changed.
    #[error("{kind} is ephemeral and is not kept in the log")]
    Ephemeral {
        /// The type.
        kind: String,
    },
    /// The current head is not the expected one. Nothing was changed.
    #[error("the current head of {session} is {}, not {}", head(.found), head(.expected))]
    StaleHead {
        /// The session.
        session: SessionId,
        /// What the caller expected.
        expected: Option<HeadId>,
        /// What is current.
        found: Option<HeadId>,
    },
    /// A commit of the session was begun inside the closure of another one, on the same thread. Nothing was changed.
    #[error("a commit of {session} was begun inside another one")]
    Nested {
        /// The session.
        session: SessionId,
    },
    /// The writer lease was stolen; this handle writes no more. Nothing was changed.
    #[error("the writer lease of {session} was lost to {holder}")]
    LeaseLost {
        /// The session.
        session: SessionId,
        /// Who holds it now.
        holder: String,
    },
    /// A commit of the same session, queued before this one, failed. Nothing was changed.
    #[error("a commit of {session} queued before this one failed")]
    Behind {
        /// The session.
        session: SessionId,
    },
    /// The batch is there already, under its key and with the same content: it is durable. Nothing was added.
    #[error("the batch {key:?} of {session} was committed before")]
    Repeated {
        /// The session.
        session: SessionId,
        /// The key.
        key: String,
        /// The first event of the batch that is there.
        first_event: u64,
        /// How many events of the session it holds.
        events: u64,
    },
    /// The batch key was used for other content. Nothing was changed.
    #[error("the batch key {key:?} of {session} was used for other content")]
    KeyConflict {
        /// The session.
        session: SessionId,
        /// The key.
        key: String,
    },
    /// The pin is not as it was expected to be. Nothing was changed.
    #[error("pin {name} {}", .found.map_or("does not exist".to_owned(), |version| format!("has version {version}")))]
    StalePin {
        /// The pin.
        name: SessionId,
        /// Its version; none if it is not there.
        found: Option<u64>,
    },
    /// Another fact than the expected one is the last. Nothing was changed.
    #[error("the last fact is {found}, not {expected}")]
    StaleFact {
        /// What the caller expected.
        expected: u64,
        /// The number of the last fact.
        found: u64,
    },
    /// A name is taken. Nothing was changed.
    #[error("{0}")]
    Conflict(String),
    /// The disk is full. Nothing was changed; the same commit works again once there is space.
    #[error("the disk is full")]
    Full(#[source] std::sync::Arc<dyn std::error::Error + Send + Sync>),
    /// A plain failure before anything could be durable. Nothing was changed.
    #[error("{what}")]
    Failed {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Whether the commit is durable is not known until the log decides it: the handle writes no more; the next
    /// writer or opening adopts it or not, and `Store::outcome` then answers.
    #[error("the outcome of the commit is unknown: {what}")]
    Unknown {
        /// What failed.
        what: String,
        /// The session, its first event in the batch, and the batch's digest: what `Store::outcome` asks for.
        session: Option<SessionId>,
        /// The first event.
        first_event: Option<EventNumber>,
        /// The digest of the batch's last event line, chained.
        digest: Option<Digest>,
        /// The cause.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store was opened where nothing can be written. Nothing was changed.
    #[error("the store can only be read: nothing can be written in its folder")]
    ReadOnly,
    /// The store was poisoned by an earlier failure: reopen it. Nothing was changed.
    #[error("the store refuses to write after a failure of unknown outcome: {0}")]
    Poisoned(String),
    /// A newer version wrote to the log. Nothing was changed.
    #[error("the log has a newer format: {0}")]
    NewerFormat(String),
    /// Log and rows disagree. Nothing was changed.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A value the batch builds on could not be read. Nothing was changed.
    #[error("the commit could not read what it builds on")]
    Read(#[source] std::sync::Arc<ReadError>),
}

impl From<ReadError> for CommitError {
    fn from(error: ReadError) -> CommitError {
        match error {
            ReadError::NotFound { what, name } => CommitError::Missing { what: format!("{what} {name}") },
            ReadError::BadId(error) => CommitError::BadId(error),
            error => CommitError::Read(std::sync::Arc::new(error)),
        }
    }
}

fn head(head: &Option<HeadId>) -> String {
    head.map_or_else(|| "none".to_owned(), |head| head.short())
}

/// An error and its causes.
pub(crate) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether the disk is full, by the error or any of its causes.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| {
        error.downcast_ref().is_some_and(crate::segment::is_full)
            || error.downcast_ref().is_some_and(crate::sqlite::fault::is_full)
    })
}

/// Whether SQLite's failed write, which may mean a full disk as well as a broken one, happened where there is room.
pub(crate) fn is_no_lack_of_room(error: &(dyn std::error::Error + 'static), dir: &std::path::Path) -> bool {
    causes(error).any(|error| error.downcast_ref().is_some_and(crate::sqlite::fault::is_ambiguous))
        && crate::segment::has_room(dir)
}

impl OpenError {
    /// Says what the disk says: a failed write of SQLite's is no full disk where there is room.
    pub(super) fn told_by(self, dir: &std::path::Path) -> OpenError {
        match self {
            OpenError::Full(source) if is_no_lack_of_room(source.as_ref(), dir) => {
                OpenError::Io { what: "the database could not be written".to_owned(), source }
            }
            other => other,
        }
    }
}

impl CommitError {
    /// Says what the disk says: a failed write of SQLite's is no full disk where there is room, and what SQLite calls corrupt may be
    /// what the system would not read. `dir` is that of the log.
    pub(super) fn told_by(self, dir: &std::path::Path) -> CommitError {
        match self {
            CommitError::Full(source) if is_no_lack_of_room(source.as_ref(), dir) => {
                CommitError::Failed { what: "the database could not be written".to_owned(), source }
            }
            CommitError::Failed { source, .. } if is_corrupt(source.as_ref()) => {
                match doubt::refusal(&dir.with_file_name("store.sqlite")) {
                    Some(refused) => CommitError::Failed {
                        what: "the database could not be read".to_owned(),
                        source: std::sync::Arc::new(refused),
                    },
                    None => CommitError::Damaged(chain(source.as_ref())),
                }
            }
            other => other,
        }
    }
}

/// What of a log a newer version wrote, where that is the cause.
pub(crate) fn newer(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(error @ SegmentError::Newer { .. }), _) => Some(error.to_string()),
        (_, Some(error @ BadCommit::Newer(_))) => Some(error.to_string()),
        _ => None,
    })
}

/// Whether another program holds a lock on the database.
pub(crate) fn is_busy(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| error.downcast_ref().is_some_and(crate::sqlite::fault::is_busy))
}

/// Whether SQLite calls the database corrupt.
pub(crate) fn is_corrupt(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| error.downcast_ref().is_some_and(crate::sqlite::fault::is_corrupt))
}

/// What could not be read of the log: refused by the system, or damaged.
pub(crate) fn unread(what: String, error: impl std::error::Error + Send + Sync + 'static) -> ReadError {
    match is_refusal(&error) {
        true => ReadError::Io(Box::new(error)),
        false => ReadError::Damaged { what, source: Some(Box::new(error)) },
    }
}

/// Whether the system refused something, as opposed to bytes that are not what they should be.
pub(crate) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| {
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.raw_os_error().is_some())
            || error.downcast_ref().is_some_and(crate::sqlite::fault::is_refused)
    })
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> Cause {
        Box::new(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    }

    /// SQLite says the same of a broken disk as of a quota: what the disk says decides. On one that is full SQLite says so.
    #[test]
    fn a_failed_write_is_a_full_disk_only_where_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let told = |code| OpenError::Full(sqlite(code)).told_by(folder.path());
        assert!(matches!(told(rusqlite::ffi::SQLITE_IOERR_WRITE), OpenError::Io { .. }));
        assert!(matches!(told(rusqlite::ffi::SQLITE_FULL), OpenError::Full(_)));
        let commit = CommitError::Full(std::sync::Arc::new(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_WRITE),
            None,
        )));
        assert!(matches!(commit.told_by(folder.path()), CommitError::Failed { .. }));
    }
}

//! Why something could not be read.

use crate::model::Digest;
use crate::model::id::BadId;

/// A boxed cause, for the `source` of an error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such thing.
    #[error("no {what} {name:?}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name, as given.
        name: String,
    },
    /// The name fits several.
    #[error("{name:?} fits several {what}s: {}", .candidates.join(", "))]
    Ambiguous {
        /// The kind of thing.
        what: &'static str,
        /// The name, as given.
        name: String,
        /// Some that it fits.
        candidates: Vec<String>,
    },
    /// The id is not well formed.
    #[error(transparent)]
    BadId(#[from] BadId),
    /// The payload's bytes were erased; its digest remains.
    #[error("payload {digest} is erased")]
    Erased {
        /// The payload.
        digest: Digest,
    },
    /// What is stored is not what was written.
    #[error("{what} is damaged")]
    Damaged {
        /// The thing.
        what: String,
        /// What shows it.
        #[source]
        source: Option<Cause>,
    },
    /// The system refused to read a file of the store, which says nothing of what is in it.
    #[error("the store cannot be read")]
    Io(#[source] Cause),
    /// The store lies where this process can write nothing, and another one that can changed it while it was read. Read it again.
    #[error("the store was changed while it was read")]
    Changed,
    /// What was read could not be handed on.
    #[error("the output cannot be written")]
    Output(#[source] Cause),
    /// The database could not be read.
    #[error("the database cannot be read")]
    Database(#[source] Cause),
}

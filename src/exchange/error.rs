//! Why a source was not read, or a session not written.

use std::path::PathBuf;

use crate::model::SessionId;
use crate::segment::is_full;
use crate::store::error::{CommitError, ReadError, SessionOpenError};

/// Why a source was not imported, or not to its end. Whole batches that were imported before an error stay, and the
/// next import goes on after them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file could not be read.
    #[error("{path} cannot be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The temporary folder, in which what was imported before is laid out to be compared. Nothing was changed.
    #[error("the temporary folder {path} cannot be written")]
    Temporary {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Only regular files are read, and folders that a format takes for one source. Nothing was changed.
    #[error("{path} is {what}")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// No line of the file is a record. Nothing was changed.
    #[error("no record in {path} can be read")]
    NoRecords {
        /// The file.
        path: PathBuf,
    },
    /// The first record is of no format that is known. Nothing was changed.
    #[error("{path} is of no known format")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The format is known, this version of it is not. Nothing was changed.
    #[error("{path} is of {version}, which is not read")]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The format and version.
        version: String,
    },
    /// The file is one of a program whose logs are read, but holds no session. Nothing was changed.
    #[error("{path} holds no session: it is {what}")]
    NoSession {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The session could not be made or opened for writing. Nothing was changed.
    #[error(transparent)]
    Open(#[from] SessionOpenError),
    /// A batch could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl ImportError {
    /// The word for scripts; none where the store's own error tells.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            ImportError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => "not-found",
            ImportError::Temporary { source, .. } if is_full(source) => "disk-full",
            ImportError::Io { .. } | ImportError::Temporary { .. } => "io",
            ImportError::NotAFile { .. } => "not-a-file",
            ImportError::NoRecords { .. } => "no-records",
            ImportError::UnknownFormat { .. } => "unknown-format",
            ImportError::UnsupportedVersion { .. } => "unsupported-version",
            ImportError::NoSession { .. } => "no-session",
            ImportError::Open(_) | ImportError::Commit(_) | ImportError::Read(_) => return None,
        })
    }
}

/// Why a session was not written out. The store is never changed by it; what was written before is no whole export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No format of that name is known.
    #[error("there is no format {name:?}")]
    UnknownFormat {
        /// The name asked for.
        name: String,
    },
    /// The session did not come from a log, and no format was named.
    #[error("session {session} was not imported: it has no format of its own")]
    NoFormat {
        /// The session.
        session: SessionId,
    },
    /// The format cannot hold what the session holds.
    #[error("session {session} cannot be written as {format}: {why}")]
    NotExportable {
        /// The session.
        session: SessionId,
        /// The format.
        format: &'static str,
        /// What stands in the way.
        why: String,
    },
    /// The source was several files, and the output is one stream.
    #[error("this export is several files: it needs a folder to be written to")]
    NeedsFolder,
    /// The output cannot be made there.
    #[error("{path} cannot be written")]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The output refused what was written to it.
    #[error("the output cannot be written")]
    Output(#[source] std::io::Error),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl ExportError {
    /// What an output that is written to as a file refused.
    pub(super) fn of_output(error: std::io::Error) -> ExportError {
        error.downcast().unwrap_or_else(ExportError::Output)
    }

    /// The word for scripts; none where the store's own error or the output's tells.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            ExportError::UnknownFormat { .. } => "unknown-format",
            ExportError::NoFormat { .. } | ExportError::NotExportable { .. } => "not-exportable",
            ExportError::NeedsFolder => "needs-folder",
            ExportError::Io { source, .. } if is_full(source) => "disk-full",
            ExportError::Io { .. } => "io",
            ExportError::Output(_) | ExportError::Read(_) => return None,
        })
    }
}

//! Session logs of other programs, read in, and sessions as files for other programs ([`files`]). This floor promises that every record of a source is kept so that it can
//! be written again byte for byte, that importing a source again adds nothing, that an interrupted import goes on where
//! it was, and that a source which cannot be read changes nothing. What the command prints of it is left to the floor
//! above.

pub mod files;
pub mod json;
pub mod kept;
pub mod pi;
pub mod source;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::source::{Item, Reader};
use crate::model::SessionId;
use crate::store::Store;
use crate::store::error::{CommitError, ReadError, SessionOpenError};

pub use kept::write_source;

/// A format that can be read. A new one is a file beside this one and a line in [`FORMATS`].
pub struct Format {
    /// What output calls it.
    pub name: &'static str,
    /// Whose logs these are.
    pub about: &'static str,
    /// Whether a source whose first record this is has the format.
    pub has: fn(record: &[u8]) -> Recognized,
    import: fn(&Store, &Path, &[u8]) -> Result<Imported, ImportError>,
}

/// What a first record says about its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognized {
    /// It has the format.
    Yes,
    /// It has not.
    No,
    /// It has a version of the format that is not read: which.
    OtherVersion(String),
}

/// The formats, in the order they are tried.
pub const FORMATS: [Format; 1] = [pi::FORMAT];

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the thing it names, or their number in the session")]
pub struct Imported {
    pub session: SessionId,
    pub alias: Option<SessionId>,
    #[serde(serialize_with = "shown")]
    pub source: PathBuf,
    pub format: &'static str,
    pub events: u64,
    pub messages: u64,
    pub turns: u64,
    pub calls: u64,
    pub evals: u64,
    pub heads: u64,
    pub invocations: u64,
    /// How many events this import added.
    pub new_events: u64,
    /// What was odd in the source, in its order; at most [`MAX_DIAGNOSTICS`] of each batch.
    pub diagnostics: Vec<Diagnostic>,
}

/// A path as JSON has it: text, whatever its bytes are.
fn shown<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// How many diagnostics of a batch are kept.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// Something odd in a source, which did not stop its import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: u64,
    /// A word for scripts: `two-records`, `bad-line`, `bad-record`, `torn-tail`, `line-too-long`, `late-result`.
    pub kind: String,
    /// What it is, in words.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn new(line: u64, kind: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { line, kind: kind.to_owned(), message: message.into() }
    }
}

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
    /// Only regular files are read. Nothing was changed.
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
    /// The source is not the one that was imported before, with more at its end. Nothing was changed.
    #[error("{path} diverges from what session {session} holds of it: {what}")]
    Diverged {
        /// The file.
        path: PathBuf,
        /// The session.
        session: SessionId,
        /// How.
        what: String,
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
            ImportError::Io { .. } => "io",
            ImportError::NotAFile { .. } => "not-a-file",
            ImportError::NoRecords { .. } => "no-records",
            ImportError::UnknownFormat { .. } => "unknown-format",
            ImportError::UnsupportedVersion { .. } => "unsupported-version",
            ImportError::Diverged { .. } => "diverged",
            ImportError::Open(_) | ImportError::Commit(_) | ImportError::Read(_) => return None,
        })
    }
}

/// Imports one file; its format is told by its first record.
///
/// # Errors
///
/// See [`ImportError`]: each variant says what it leaves.
pub fn import(store: &Store, path: &Path) -> Result<Imported, ImportError> {
    let io = |source| ImportError::Io { path: path.to_owned(), source };
    let mut reader = Reader::new(source::open(path)?).map_err(io)?;
    loop {
        match reader.advance().map_err(io)? {
            Some(Item::Record) => break,
            Some(_) => {}
            None => return Err(ImportError::NoRecords { path: path.to_owned() }),
        }
    }
    for format in &FORMATS {
        match (format.has)(reader.record()) {
            Recognized::Yes => return (format.import)(store, path, reader.record()),
            Recognized::OtherVersion(version) => {
                return Err(ImportError::UnsupportedVersion { path: path.to_owned(), version });
            }
            Recognized::No => {}
        }
    }
    Err(ImportError::UnknownFormat { path: path.to_owned() })
}

/// The files that `path` names: itself, or of a folder all `*.jsonl` below it, sorted. Links in folders are not followed.
///
/// # Errors
///
/// A folder that cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, ImportError> {
    // What does not exist is found out when it is opened.
    if !std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let io = |source| ImportError::Io { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let kind = entry.file_type().map_err(io)?;
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "jsonl") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

//! Payloads in files: short texts where they are named, the rest under `blobs/`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::FilesError;
use crate::model::{Digest, EventNumber, SessionId};
use crate::store::{Blobs, Content, ReadError};

/// The members of rows that name payloads. Texts of the embedder's own stand in others, and may look like refs.
const PAYLOADS: [&str; 13] = [
    "code",
    "content",
    "error",
    "extra",
    "final",
    "input",
    "label",
    "observation",
    "request",
    "response",
    "result",
    "summary",
    "vars",
];

/// What went wrong on the way.
pub(super) enum Fault {
    Read(ReadError),
    Io(io::Error),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Fault {
        Fault::Read(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

impl Fault {
    /// The error of writing the folder `path`.
    pub(super) fn at(self, path: &Path) -> FilesError {
        match self {
            Fault::Read(error) => error.into(),
            Fault::Io(source) => FilesError::Io { path: path.to_owned(), source },
        }
    }
}

/// Writes values, each long one once.
pub(super) struct Values {
    blobs: Blobs,
    folder: PathBuf,
    inline: u64,
    written: u64,
}

impl Values {
    pub(super) fn new(blobs: Blobs, folder: &Path, inline: u64) -> Values {
        Values { blobs, folder: folder.join("blobs"), inline, written: 0 }
    }

    /// How many became files.
    pub(super) fn blobs(&self) -> u64 {
        self.written
    }

    /// A row with its values.
    pub(super) fn row(
        &mut self,
        session: &SessionId,
        event: EventNumber,
        row: &impl Serialize,
    ) -> Result<Map<String, Value>, Fault> {
        let Value::Object(mut object) = serde_json::to_value(row).map_err(io::Error::from)? else {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        };
        for name in PAYLOADS {
            let Some(digest) = object.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok()) else {
                continue;
            };
            let value = self.value(&digest)?;
            object.insert(name.to_owned(), value);
        }
        object.insert("session".to_owned(), json!(session));
        object.insert("event".to_owned(), json!(event));
        Ok(object)
    }

    /// A payload as a value: in place, or as the file it is in.
    pub(super) fn value(&mut self, digest: &Digest) -> Result<Value, Fault> {
        let bytes = match self.blobs.content(digest, self.inline)? {
            Content::Erased => return Ok(json!({ "value/kind": "erased", "digest": digest })),
            Content::Large(size) => size,
            Content::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Ok(json!({ "value/kind": "inline", "value": text })),
                Err(error) => error.as_bytes().len() as u64,
            },
        };
        let text = digest.to_string();
        let name = text.strip_prefix("b3:").unwrap_or(&text);
        match File::create_new(self.folder.join(name)) {
            Ok(mut file) => {
                self.blobs.copy_to(digest, &mut file)?;
                self.written += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        Ok(json!({ "value/kind": "blob", "path": format!("blobs/{name}"), "digest": digest, "bytes": bytes }))
    }
}

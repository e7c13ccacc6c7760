//! Payloads as output shows them: whole up to a limit, else by ref; and a preview for people.

use std::io::{Read, Write};

use headwater::model::Digest;
use headwater::store::error::ReadError;
use headwater::store::{Blobs, Store};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Failure;
pub use super::width::one_line;

/// The greatest payload that JSON output holds whole.
pub const WHOLE: u64 = 64 * 1024;

/// A payload in JSON output.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// JSON text, its numbers as they were written.
    Json(Box<RawValue>),
    Text(String),
    /// Too large, or not text.
    Ref {
        #[serde(rename = "ref")]
        digest: Digest,
        size: u64,
    },
    /// Its bytes were erased.
    Erased {
        #[serde(rename = "ref")]
        digest: Digest,
        erased: bool,
    },
}

/// The payload as a text, or by ref where it is too large or no text.
pub fn text(blobs: &Blobs, digest: Digest) -> Result<Content, Failure> {
    let size = match blobs.size(&digest) {
        Ok(size) if size > WHOLE => return Ok(Content::Ref { digest, size }),
        Ok(size) => size,
        Err(ReadError::Erased { digest }) => return Ok(Content::Erased { digest, erased: true }),
        Err(error) => return Err(error.into()),
    };
    match blobs.get(&digest) {
        Ok(bytes) => Ok(String::from_utf8(bytes).map_or(Content::Ref { digest, size }, Content::Text)),
        Err(ReadError::Erased { digest }) => Ok(Content::Erased { digest, erased: true }),
        Err(error) => Err(error.into()),
    }
}

/// Writes the payload's bytes to `out`, in memory that does not grow with it; returns the last of them.
pub fn copy(store: &Store, digest: Digest, out: &mut impl Write) -> Result<Option<u8>, Failure> {
    let mut reader = store.blobs().reader(&digest)?;
    let (mut buffer, mut last) = (vec![0; 64 << 10], None);
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(last),
            Ok(count) => count,
            // What the store says of itself is no failure of the output.
            Err(error) => return Err(error.downcast::<ReadError>().map_or_else(Failure::from, Failure::from)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        last = bytes.last().copied();
        out.write_all(bytes)?;
    }
}

/// The payload as a value: parsed where it is JSON, else as [`text`].
pub fn value(store: &Store, digest: Digest) -> Result<Content, Failure> {
    Ok(match text(&store.blobs(), digest)? {
        Content::Text(text) => match serde_json::from_str::<Box<RawValue>>(&text) {
            Ok(json) => Content::Json(json),
            Err(_) => Content::Text(text),
        },
        other => other,
    })
}

/// The start of a payload on one line, for people.
pub fn preview(blobs: &Blobs, digest: Digest, width: usize) -> Result<String, Failure> {
    Ok(text(blobs, digest)?.one_line(width))
}

impl Content {
    /// The start of it on one line, for people.
    pub fn one_line(&self, width: usize) -> String {
        match self {
            Content::Json(json) => one_line(json.get(), width),
            Content::Text(text) => one_line(text, width),
            Content::Ref { digest, size } => format!("({size} bytes: headwater cat {})", short(*digest)),
            Content::Erased { .. } => "(erased)".to_owned(),
        }
    }
}

/// `b3:` and 12 digits: enough for people.
pub fn short(digest: Digest) -> String {
    digest.to_string().chars().take(15).collect()
}

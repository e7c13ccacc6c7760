//! Payloads by digest: how bytes become the body of a frame and come back, verified.
//!
//! This floor promises that what it returns has the digest asked for. Where a payload's frame is, and whether the
//! payload is in the store at all, is known by the floors above.

pub mod codec;
mod dictionary;

use crate::model::Digest;
use crate::segment::{self, Position, Readers};
use codec::{Class, Codec, CodecError};

/// A payload of more bytes is kept in parts of this size.
pub const PART: usize = 4 << 20;

/// A payload ready to be appended.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The media type.
    pub media: Option<String>,
    /// How the body is compressed.
    pub codec: Codec,
    /// The frame's body.
    pub body: Vec<u8>,
    /// The bytes themselves where rows are made from them: roots and display text.
    pub bytes: Option<Vec<u8>>,
}

impl Prepared {
    /// Hashes and compresses `bytes`.
    pub fn new(bytes: &[u8], class: Class) -> Prepared {
        let (codec, body) = codec::encode(bytes, class);
        let keep = matches!(class, Class::Root) || bytes.len() <= 1024;
        Prepared {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            media: None,
            codec,
            body: body.into_owned(),
            bytes: keep.then(|| bytes.to_vec()),
        }
    }
}

/// Why a payload could not be read from the log.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is")]
pub enum BlobError {
    #[error(transparent)]
    Segment(#[from] segment::ReadError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the frame at {at} holds other bytes than payload {digest}")]
    Mismatch { at: Position, digest: Digest },
}

/// Reads the payload `digest` of `size` bytes from its frame, of which `stored` bytes are its body.
pub fn read(readers: &Readers, at: Position, stored: u32, size: u64, digest: &Digest) -> Result<Vec<u8>, BlobError> {
    let frame = readers.read_at(at, stored)?;
    // No frame holds more than a part: a row or record that says so is not to make us expand a bomb.
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(PART);
    let bytes = codec::decode(Codec(frame.header.codec), &frame.body, size)?;
    if Digest::of(&bytes) != *digest {
        return Err(BlobError::Mismatch { at, digest: *digest });
    }
    Ok(bytes)
}

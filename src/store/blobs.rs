//! Payloads by digest.

use std::io::{Read, Write};

use super::commit::Work;
use super::error::{CommitError, ReadError, unread};
use super::payload_io::{BlobReader, BlobWriter};
use super::{Inner, Store};
use crate::blob::{self, Place};
use crate::journal::Lines;
use crate::model::canonical::canonicalize;
use crate::model::{Digest, Record};
use crate::segment::Position;
use crate::view;
use crate::view::blobs::{BlobRow, BlobState};

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// The payloads of a store.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let store = headwater::store::Store::open(folder.path().join("store"))?;
/// let digest = store.blobs().put(b"some bytes")?;
/// assert_eq!(store.blobs().get(&digest)?, b"some bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Blobs {
    store: Store,
}

impl Store {
    /// The store's payloads.
    pub fn blobs(&self) -> Blobs {
        Blobs { store: self.clone() }
    }
}

impl Blobs {
    /// Puts a payload, which alone is a commit: durable when this returns. One that is there already costs a look-up.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; of a large payload, parts may then be in the log, which the next attempt finds.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, CommitError> {
        let inner = &self.store.inner;
        let (mut lines, payloads) = inner.with_payload(bytes)?;
        if !lines.is_empty() {
            lines.pack();
            inner.desk.commit(Work { guard: None, lines, payloads, late: None })?;
        }
        Ok(Digest::of(bytes))
    }

    /// Commits one part of a large payload.
    pub(super) fn put_part(&self, part: &[u8]) -> Result<Digest, CommitError> {
        self.store.inner.put_part(part)
    }

    /// Makes parts that are there a payload.
    pub(super) fn put_list(&self, hash: Digest, size: u64, parts: Vec<Digest>) -> Result<Digest, CommitError> {
        if !self.store.inner.has_payload(&hash)? {
            let mut lines = Lines::default();
            lines.push_record(Record::PayloadAdded { hash, size, media: None, parts: Some(parts) });
            lines.pack();
            self.store.inner.desk.commit(Work { guard: None, lines, payloads: Vec::new(), late: None })?;
        }
        Ok(hash)
    }

    /// Writes a payload of any size, in memory bounded by one part (4 MiB). It is one once [`BlobWriter::finish`] returned;
    /// dropped before, the parts that were full are in the log, where the next attempt finds them, and no payload is.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let store = headwater::store::Store::open(folder.path().join("store"))?;
    /// use std::io::{Read, Seek, SeekFrom, Write};
    ///
    /// let mut writer = store.blobs().writer();
    /// for line in 0..1_000 {
    ///     writeln!(writer, "line {line}")?;
    /// }
    /// let digest = writer.finish()?;
    ///
    /// let mut reader = store.blobs().reader(&digest)?;
    /// reader.seek(SeekFrom::End(-9))?;
    /// let mut last = String::new();
    /// reader.read_to_string(&mut last)?;
    /// assert_eq!(last, "line 999\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writer(&self) -> BlobWriter {
        BlobWriter::new(self.clone())
    }

    /// Reads a payload of any size from any place, in memory bounded by one part (4 MiB), each part verified.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Erased`], [`ReadError::Damaged`].
    pub fn reader(&self, digest: &Digest) -> Result<BlobReader, ReadError> {
        let (size, frames) = (self.size(digest)?, self.store.inner.parts(digest)?);
        BlobReader::new(self.clone(), *digest, size, frames).ok_or_else(|| damaged(digest, None))
    }

    pub(super) fn frame(&self, digest: &Digest, row: &BlobRow) -> Result<Vec<u8>, ReadError> {
        self.store.inner.frame(digest, row)
    }

    /// Puts what `input` gives, in memory bounded by one part (4 MiB) whatever its length.
    ///
    /// # Errors
    ///
    /// [`CommitError`], also for an `input` that fails: nothing but parts is then in the log.
    pub fn put_from(&self, mut input: impl Read) -> Result<Digest, CommitError> {
        let failed = |source: std::io::Error| CommitError::Failed {
            what: "the payload could not be read".to_owned(),
            source: std::sync::Arc::new(source),
        };
        let mut writer = self.writer();
        let mut buffer = vec![0; BUFFER];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return writer.finish(),
                Ok(count) => match writer.write_all(buffer.get(..count).unwrap_or_default()) {
                    Ok(()) => {}
                    // The writer remembers what failed, and says it better.
                    Err(error) => return Err(writer.finish().err().unwrap_or_else(|| failed(error))),
                },
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Puts a JSON value, canonicalized where that is possible: equal values are one payload.
    ///
    /// # Errors
    ///
    /// As for [`Blobs::put`].
    pub fn put_value(&self, json: &[u8]) -> Result<Digest, CommitError> {
        match canonicalize(json) {
            Ok(canonical) => self.put(&canonical),
            Err(_) => self.put(json),
        }
    }

    /// The payload's bytes, verified against its digest.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Erased`], [`ReadError::Damaged`].
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        self.store.inner.payload(digest)
    }

    /// The payload's size in bytes.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn size(&self, digest: &Digest) -> Result<u64, ReadError> {
        self.store.inner.blob_row(digest).map(|row| row.size)
    }

    /// Whether the payload is in the store.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn contains(&self, digest: &Digest) -> Result<bool, ReadError> {
        match self.store.inner.blob_row(digest) {
            Ok(_) => Ok(true),
            Err(ReadError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the payload and compares it with its digest.
    ///
    /// # Errors
    ///
    /// As for [`Blobs::get`].
    pub fn verify(&self, digest: &Digest) -> Result<(), ReadError> {
        self.copy_to(digest, &mut std::io::sink())
    }

    /// Writes the payload to `output`, part by part, each verified.
    ///
    /// # Errors
    ///
    /// As for [`Blobs::get`]; what was written before is good, the whole is verified at the end.
    pub fn copy_to(&self, digest: &Digest, output: &mut dyn std::io::Write) -> Result<(), ReadError> {
        let inner = &self.store.inner;
        let mut hasher = blake3::Hasher::new();
        for (part, row) in inner.parts(digest)? {
            let bytes = inner.frame(&part, &row)?;
            hasher.update(&bytes);
            output.write_all(&bytes).map_err(|error| ReadError::Output(Box::new(error)))?;
        }
        if hasher.finalize().as_bytes() == &digest.0 { Ok(()) } else { Err(damaged(digest, None)) }
    }

    /// The payload of that ref, in full or by a unique prefix of at least four digits.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Ambiguous`].
    pub fn resolve(&self, text: &str) -> Result<Digest, ReadError> {
        self.store.inner.read(|conn| view::resolve::resolve_digest(conn, text))
    }
}

fn damaged(digest: &Digest, source: Option<super::error::Cause>) -> ReadError {
    ReadError::Damaged { what: format!("payload {digest}"), source }
}

impl Inner {
    fn blob_row(&self, digest: &Digest) -> Result<BlobRow, ReadError> {
        let row = self.read_once(|conn| view::blobs::blob_row(conn, digest))?;
        row.ok_or_else(|| ReadError::NotFound { what: "payload", name: digest.to_string() })
    }

    /// The frames that hold the payload, in order: one, or its parts.
    fn parts(&self, digest: &Digest) -> Result<Vec<(Digest, BlobRow)>, ReadError> {
        let row = self.blob_row(digest)?;
        match row.state {
            BlobState::Present => Ok(vec![(*digest, row)]),
            BlobState::Parts => self.read(|conn| view::blobs::parts(conn, row.bid)),
            BlobState::Erased => Err(ReadError::Erased { digest: *digest }),
        }
    }

    fn frame(&self, digest: &Digest, row: &BlobRow) -> Result<Vec<u8>, ReadError> {
        let (Some(segment), Some(offset)) = (row.segment, row.offset) else {
            return Err(damaged(digest, None));
        };
        let stored = u32::try_from(row.stored).unwrap_or(0);
        let place = Place { at: Position::new(segment, offset), stored, skip: row.skip, size: row.size };
        let bytes = self.at(digest, place).map_err(|error| unread(format!("payload {digest}"), error))?;
        self.places.keep(*digest, place);
        Ok(bytes)
    }

    fn at(&self, digest: &Digest, place: Place) -> Result<Vec<u8>, blob::BlobError> {
        blob::read(&self.log, &place, digest)
    }

    /// A payload's bytes, verified.
    pub(crate) fn payload(&self, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        if let Some(place) = self.places.get(digest) {
            match self.at(digest, place) {
                Ok(bytes) => return Ok(bytes),
                Err(_) => self.places.forget(digest),
            }
        }
        let frames = self.parts(digest)?;
        if let [(part, row)] = frames.as_slice()
            && part == digest
        {
            return self.frame(part, row);
        }
        let claimed = self.blob_row(digest)?.size;
        if frames.iter().try_fold(0_u64, |sum, (_, row)| sum.checked_add(row.size)) != Some(claimed) {
            return Err(damaged(digest, None));
        }
        let mut bytes = Vec::new();
        for (part, row) in &frames {
            bytes.extend(self.frame(part, row)?);
        }
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(damaged(digest, None)) }
    }
}

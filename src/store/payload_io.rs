//! Payloads of any size through the standard traits, in memory bounded by one part (4 MiB).

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::Blobs;
use super::error::{CommitError, ReadError};
use crate::blob::PART;
use crate::model::Digest;
use crate::view::blobs::BlobRow;

/// Writes one payload: see [`Blobs::writer`].
#[must_use = "nothing is a payload before `finish`"]
pub struct BlobWriter {
    blobs: Blobs,
    /// Not committed yet: a part at most.
    part: Vec<u8>,
    parts: Vec<Digest>,
    hasher: blake3::Hasher,
    size: u64,
    failed: Option<CommitError>,
}

impl BlobWriter {
    pub(super) fn new(blobs: Blobs) -> BlobWriter {
        BlobWriter { blobs, part: Vec::new(), parts: Vec::new(), hasher: blake3::Hasher::new(), size: 0, failed: None }
    }

    /// The bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes what was written a payload, durably; returns its ref.
    ///
    /// # Errors
    ///
    /// [`CommitError`], also that of an earlier write: nothing but parts is then in the log.
    pub fn finish(mut self) -> Result<Digest, CommitError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.parts.is_empty() {
            return self.blobs.put(&self.part);
        }
        self.put_part()?;
        let digest = Digest(*self.hasher.finalize().as_bytes());
        self.blobs.put_list(digest, self.size, std::mem::take(&mut self.parts))
    }

    fn put_part(&mut self) -> Result<(), CommitError> {
        let part = self.blobs.put_part(&self.part).inspect_err(|error| self.failed = Some(error.clone()))?;
        self.parts.push(part);
        self.part.clear();
        Ok(())
    }
}

impl Write for BlobWriter {
    /// Commits a part when it is full and more follows. An error is the commit's, and that of `finish` too.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        if self.part.len() == PART && !bytes.is_empty() {
            self.put_part().map_err(io::Error::other)?;
        }
        let room = PART - self.part.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.part.extend_from_slice(taken);
        self.hasher.update(taken);
        self.size += taken.len() as u64;
        Ok(taken.len())
    }

    /// Does nothing: a payload is durable as a whole, when it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads one payload, from any place: see [`Blobs::reader`].
pub struct BlobReader {
    blobs: Blobs,
    digest: Digest,
    /// Where each part begins.
    parts: Vec<(u64, Digest, BlobRow)>,
    size: u64,
    at: u64,
    /// The part in memory, by its index.
    held: Option<(usize, Vec<u8>)>,
    /// Over all bytes so far; none once it was not read in order.
    hasher: Option<blake3::Hasher>,
}

impl BlobReader {
    pub(super) fn new(blobs: Blobs, digest: Digest, size: u64, frames: Vec<(Digest, BlobRow)>) -> Option<BlobReader> {
        let mut parts = Vec::with_capacity(frames.len());
        let mut end = 0_u64;
        for (part, row) in frames {
            let begin = end;
            end = end.checked_add(row.size)?;
            parts.push((begin, part, row));
        }
        let hasher = Some(blake3::Hasher::new());
        (end == size).then_some(BlobReader { blobs, digest, parts, size, at: 0, held: None, hasher })
    }

    /// The payload's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The part that holds the byte at `at`, which is below the size.
    fn part(&mut self) -> Result<(&[u8], u64), ReadError> {
        let index = self.parts.partition_point(|(begin, ..)| *begin <= self.at).saturating_sub(1);
        let damaged = || ReadError::Damaged { what: format!("payload {}", self.digest), source: None };
        let (begin, digest, row) = self.parts.get(index).ok_or_else(damaged)?;
        let bytes = match self.held.take() {
            Some((held, bytes)) if held == index => bytes,
            held => {
                // One part in memory, never two.
                drop(held);
                self.blobs.frame(digest, row)?
            }
        };
        let (_, held) = self.held.insert((index, bytes));
        Ok((held, *begin))
    }
}

impl Read for BlobReader {
    /// Reads one part at most, verified. What is read in order from the first byte to the last is compared with the payload's
    /// own digest before its end is told. An error's source is a [`ReadError`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size {
            let whole = self.hasher.as_ref().is_none_or(|hasher| hasher.finalize().as_bytes() == &self.digest.0);
            if self.at == self.size && !whole {
                let what = format!("payload {}", self.digest);
                return Err(failed(ReadError::Damaged { what, source: None }));
            }
            return Ok(0);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let at = self.at;
        let (part, begin) = self.part().map_err(failed)?;
        let rest = usize::try_from(at - begin).ok().and_then(|skip| part.get(skip..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    /// Only the parts that are read from then on are touched. A place beyond the end is allowed, and nothing is there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let place =
            place.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the first byte"))?;
        if place == 0 {
            self.hasher = Some(blake3::Hasher::new());
        } else if place != self.at {
            self.hasher = None;
        }
        self.at = place;
        Ok(place)
    }
}

fn failed(error: ReadError) -> io::Error {
    let kind = match &error {
        ReadError::NotFound { .. } => io::ErrorKind::NotFound,
        ReadError::Damaged { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

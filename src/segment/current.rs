//! The segment a log appends to: opened once, looked at before each append.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::create::{Created, exists};
use super::error::{EndMismatch, SegmentError};
use super::frame::Seed;
use super::header::SEGMENT_HEADER_LEN;
use super::log::Log;
use super::names::segment_path;
use super::position::Position;
use super::reader::{open_segment, read_up_to};
use super::search::first_nonzero;
use super::sync::sync_dir;

/// How much is looked at, before each append, of what should be zeros.
const PROBE: usize = 4096;

/// The segment written last.
#[derive(Debug)]
pub(super) struct Current {
    number: u64,
    pub(super) file: File,
    pub(super) seed: Seed,
    /// Whether all bytes from the end on were seen to be zeros since the file was opened. From then on only
    /// a writer that dies can leave others, and those begin at the end.
    pub(super) zeros_seen: bool,
}

impl Current {
    pub(super) fn new(created: Created) -> Current {
        let Created { file, header, .. } = created;
        Current { number: header.number, file, seed: header.seed(), zeros_seen: true }
    }
}

/// What a look at the end found.
pub(super) enum Look {
    /// The log can be continued in a file of this length.
    AtEnd {
        file_len: u64,
    },
    Mismatch(EndMismatch),
}

impl Log {
    /// Looks whether the log ends at `end`, as the files are now.
    pub(super) fn look(&mut self, end: Position) -> Result<Look, SegmentError> {
        let next = end.segment.saturating_add(1);
        let next_path = segment_path(&self.dir, next);
        if exists(&next_path).map_err(|source| SegmentError::Io { path: next_path, source })? {
            return Ok(Look::Mismatch(EndMismatch::Later { segment: next }));
        }
        if end == Position::START {
            return Ok(Look::AtEnd { file_len: 0 });
        }
        if end.offset < SEGMENT_HEADER_LEN {
            return Ok(Look::Mismatch(EndMismatch::InHeader));
        }
        let path = segment_path(&self.dir, end.segment);
        let (current, length) = self.open_current(end.segment, &path)?;
        if length < end.offset {
            return Ok(Look::Mismatch(EndMismatch::Short { length }));
        }
        let found = if current.zeros_seen {
            probe(&current.file, end.offset)
        } else {
            first_nonzero(&current.file, end.offset)
        };
        Ok(match found.map_err(|source| SegmentError::Io { path, source })? {
            Some(offset) => Look::Mismatch(EndMismatch::Bytes { offset }),
            None => {
                current.zeros_seen = true;
                Look::AtEnd { file_len: length }
            }
        })
    }

    /// The open file of segment `number` and its length.
    fn open_current(&mut self, number: u64, path: &Path) -> Result<(&mut Current, u64), SegmentError> {
        let io = |source| SegmentError::Io { path: path.to_owned(), source };
        let kept = self.current.take().filter(|current| current.number == number);
        if let Some(current) = kept {
            let meta = current.file.metadata().map_err(io)?;
            // A file without a name was removed, and perhaps put back from a backup: what has the name now counts.
            if meta.nlink() > 0 {
                return Ok((self.current.insert(current), meta.len()));
            }
        }
        let (file, header) = open_segment(path, number, OpenOptions::new().read(true).write(true))?;
        // Whoever named it may have died before the name was durable. A sync that fails here would seem to succeed if
        // it were tried again.
        sync_dir(&self.dir).inspect_err(|_| self.poisoned = true).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let current = Current { number, file, seed: header.seed(), zeros_seen: false };
        Ok((self.current.insert(current), length))
    }
}

fn probe(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; PROBE];
    let got = read_up_to(file, &mut bytes, offset)?;
    // Compared as a whole first: byte by byte takes as long as the read.
    if bytes[..got] == [0; PROBE][..got] {
        return Ok(None);
    }
    Ok(bytes[..got].iter().position(|byte| *byte != 0).map(|found| offset + found as u64))
}

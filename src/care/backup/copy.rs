//! Segments, copied beside those of an earlier backup.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{BackupError, io_error};
use crate::segment::{self, SegmentError, SegmentReader};
use crate::store::level::Meta;

/// What was copied.
#[derive(Default)]
pub(super) struct Copied {
    /// Bytes that the earlier backup had not.
    pub(super) bytes: u64,
    /// The segments of the new backup.
    pub(super) all: Vec<u64>,
    /// Those of them that are not, byte for byte, the earlier one's.
    pub(super) new: Vec<u64>,
    /// The first of which the earlier backup has other bytes than the store.
    pub(super) differs: Option<u64>,
}

/// Copies the segments to the empty folder `to`, the first first: up to where the rows end, or as far as there are any. What
/// `before` has of them, up to its `ends`, is compared; a segment that is equal is linked.
pub(super) fn segments(
    from: &Path,
    before: &Path,
    to: &Path,
    meta: Option<&Meta>,
    ends: &BTreeMap<u64, u64>,
) -> Result<Copied, BackupError> {
    let mut copied = Copied::default();
    for number in segment::list(from).map_err(io_error("the folder of segments cannot be read"))? {
        if meta.is_some_and(|meta| number > meta.end.segment) {
            // Of a segment that the rows do not know nothing was acknowledged when they were read.
            break;
        }
        let what = || format!("segment {number} cannot be copied");
        let source = SegmentReader::open(from, number).map_err(|error| match error {
            SegmentError::Io { source, .. } => io_error(what())(source),
            error => BackupError::Damaged(error.to_string()),
        })?;
        let length = match meta.filter(|meta| meta.end.segment == number) {
            Some(meta) => meta.end.offset,
            None => source.file_len().map_err(io_error(what()))?,
        };
        let mut source = File::open(source.path()).map_err(io_error(what()))?;
        let target = segment::segment_path(to, number);
        copied.all.push(number);
        let mut same = 0;
        if let Some(end) = ends.get(&number) {
            let path = segment::segment_path(before, number);
            let mut there = File::open(&path).map_err(io_error(what()))?;
            let had = there.metadata().map_err(io_error(what()))?.len();
            same = common(&mut source, &mut there, had.min(length)).map_err(io_error(what()))?;
            if same < *end {
                copied.differs = copied.differs.or(Some(number));
            }
            // Where links are not to be had it is copied, to be verified like the others.
            if same == had && same == length && fs::hard_link(&path, &target).is_ok() {
                continue;
            }
        }
        copied.new.push(number);
        copied.bytes += length - same;
        one(&mut source, &target, number, length)?;
    }
    segment::sync_dir(to).map_err(io_error("the backup's segments cannot be synced"))?;
    Ok(copied)
}

const PIECE: usize = 1 << 20;

fn piece(left: u64) -> usize {
    usize::try_from(left).unwrap_or(PIECE).min(PIECE)
}

/// Copies one segment, reads it back, and compares hashes.
fn one(source: &mut File, path: &Path, number: u64, length: u64) -> Result<(), BackupError> {
    let what = || format!("segment {number} cannot be copied");
    let mut target = segment::create_file_private(path).map_err(io_error(what()))?;
    source.seek(SeekFrom::Start(0)).map_err(io_error(what()))?;
    let (mut left, mut read) = (length, blake3::Hasher::new());
    let mut bytes = vec![0; PIECE];
    while left > 0 {
        let got = source.read(&mut bytes[..piece(left)]).map_err(io_error(what()))?;
        if got == 0 {
            return Err(BackupError::Damaged(format!("segment {number} ends before {length}")));
        }
        read.update(&bytes[..got]);
        target.write_all(&bytes[..got]).map_err(io_error(what()))?;
        left -= got as u64;
    }
    target.sync_all().map_err(io_error(what()))?;
    // From the disk, not from the cache, as far as the system lets us.
    let _ = rustix::fs::fadvise(&target, 0, None, rustix::fs::Advice::DontNeed);
    target.seek(SeekFrom::Start(0)).map_err(io_error(what()))?;
    let (mut left, mut again) = (length, blake3::Hasher::new());
    while left > 0 {
        let wanted = piece(left);
        target.read_exact(&mut bytes[..wanted]).map_err(io_error(what()))?;
        again.update(&bytes[..wanted]);
        left -= wanted as u64;
    }
    if again.finalize() != read.finalize() {
        return Err(BackupError::Unverified(format!("segment {number}")));
    }
    Ok(())
}

/// How many of the first `length` bytes are the same in both.
fn common(source: &mut File, target: &mut File, length: u64) -> io::Result<u64> {
    let (mut ours, mut theirs, mut at) = (vec![0; PIECE], vec![0; PIECE], 0);
    while at < length {
        let wanted = piece(length - at);
        source.read_exact(&mut ours[..wanted])?;
        target.read_exact(&mut theirs[..wanted])?;
        if ours[..wanted] != theirs[..wanted] {
            let same = ours[..wanted].iter().zip(&theirs[..wanted]).take_while(|(a, b)| a == b).count();
            return Ok(at + same as u64);
        }
        at += wanted as u64;
    }
    Ok(length)
}

//! One write of a group, and what is known when it fails; how far to fill zeros ahead.

use std::io;

const KIB: u64 = 1 << 10;
pub(super) const FILL_LEAST: u64 = 64 * KIB;
const FILL_MOST: u64 = 4 << 20;
/// A group this long pays for its own blocks: zeros written before it would double its cost.
const FILL_GROUP_BELOW: u64 = 256 * KIB;

/// A write that failed.
#[derive(Debug)]
pub(super) struct WriteFault {
    /// How many bytes were written before.
    pub written: usize,
    pub source: io::Error,
}

/// Writes `bytes` at `offset`, of which the first `needed` must get there; the others are zeros, for which
/// there may be no room.
pub(super) fn write_group(
    mut pwrite: impl FnMut(&[u8], u64) -> io::Result<usize>,
    bytes: &[u8],
    needed: usize,
    offset: u64,
) -> Result<(), WriteFault> {
    let mut written = 0;
    // Stops at the group's end even if zeros are left: the write that ended early may have met a full disk
    // or a limit, and a second one at a limit is answered with a signal that kills.
    while written < needed {
        match pwrite(&bytes[written..], offset + written as u64) {
            Ok(0) => {
                return Err(WriteFault {
                    written,
                    source: io::ErrorKind::WriteZero.into(),
                });
            }
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(WriteFault { written, source }),
        }
    }
    Ok(())
}

/// Up to where the write of a group that ends at `group_end` should fill, in a file of `file_len` bytes.
///
/// A sync is 0.68 times as long where zeros lie on disk already. The stretch grows with the segment, so that
/// a small store stays small.
pub(super) fn fill_until(group_end: u64, group_len: u64, file_len: u64, segment_size: u64) -> u64 {
    if group_end <= file_len || group_len >= FILL_GROUP_BELOW {
        return group_end;
    }
    let ahead = group_end + group_end.clamp(FILL_LEAST, FILL_MOST);
    (ahead - ahead % FILL_LEAST)
        .min(segment_size)
        .max(group_end)
}

/// The length a new segment is filled to that holds `used` bytes.
pub(super) fn fill_new(used: u64, segment_size: u64) -> u64 {
    used.next_multiple_of(FILL_LEAST)
        .min(segment_size)
        .max(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_and_interruptions_are_continued() {
        let (mut out, mut calls) = (Vec::new(), 0);
        let result = write_group(
            |bytes, offset| {
                assert_eq!(offset, 64 + out.len() as u64);
                calls += 1;
                if calls % 2 == 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                out.extend_from_slice(&bytes[..bytes.len().min(3)]);
                Ok(bytes.len().min(3))
            },
            b"ten bytes.",
            10,
            64,
        );
        assert!(result.is_ok());
        assert_eq!(out, b"ten bytes.");
    }

    #[test]
    fn a_failure_tells_how_far_it_got_and_zeros_are_not_needed() {
        for room in 0..20usize {
            let mut written = 0;
            let result = write_group(
                |bytes, _| {
                    let count = bytes.len().min(room - written);
                    written += count;
                    if count == 0 {
                        Err(io::ErrorKind::StorageFull.into())
                    } else {
                        Ok(count)
                    }
                },
                &[0; 20],
                10,
                0,
            );
            match result {
                Ok(()) => assert!(room >= 10),
                Err(fault) => assert_eq!((fault.written, room < 10), (room, true)),
            }
        }
    }

    #[test]
    fn filling_grows_with_the_segment_and_ends_with_it() {
        let size = 64 << 20;
        assert_eq!(fill_new(64, size), 64 * KIB);
        assert_eq!(fill_new(64, 4096), 4096);
        assert_eq!(fill_until(1000, 900, 64 * KIB, size), 1000);
        assert_eq!(fill_until(65 * KIB, 2 * KIB, 64 * KIB, size), 128 * KIB);
        assert_eq!(fill_until(33 << 20, 2 * KIB, 32 << 20, size), 37 << 20);
        assert_eq!(fill_until(size - 10, 2 * KIB, size - 2000, size), size);
        assert_eq!(fill_until(size + 10, 2 * KIB, 64, size), size + 10);
        assert_eq!(fill_until(1 << 20, 256 * KIB, 64, size), 1 << 20);
    }
}

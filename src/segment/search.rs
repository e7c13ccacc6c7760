//! Looking at what lies behind a bad frame, to tell a tear from damage.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::error::ReadError;
use super::frame::{FRAME_HEADER_LEN, FrameHeader, le_u32, le_u64};
use super::header::SEGMENT_HEADER_LEN;
use super::reader::{SegmentReader, read_up_to};

const HEADER: usize = FRAME_HEADER_LEN as usize;
const WINDOW: usize = 256 << 10;
/// How far back is looked first for the frame that ends somewhere.
const FIRST_LOOK: u64 = 4 << 10;

impl SegmentReader {
    /// The first byte at or after `offset` that is not zero, if there is one.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`].
    pub fn first_nonzero_after(&self, offset: u64) -> Result<Option<u64>, ReadError> {
        first_nonzero(&self.file, offset).map_err(|source| self.fault(offset, source))
    }

    /// A frame after the bad one at `offset`, at whatever byte it begins, whose group is later than
    /// `group`: its offset. If there is one, the bad frame is damage, since a tear has nothing behind it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`].
    pub fn later_group_after(&self, offset: u64, group: u64) -> Result<Option<u64>, ReadError> {
        let length = self.file_len().map_err(|source| self.fault(offset, source))?;
        // Bytes made to look like headers within headers could make this quadratic. Beyond this many the
        // header's checksum is proof enough: the error is then to call a tear damage, which loses nothing.
        let mut budget = length.saturating_mul(4);
        let mut window = vec![0; WINDOW];
        let mut at = offset.saturating_add(1);
        while at.saturating_add(FRAME_HEADER_LEN) <= length {
            // A header's first byte is not zero.
            let data = data_from(&self.file, at).map_err(|source| self.fault(at, source))?;
            let Some(data) = data else { break };
            at = data;
            let got = read_up_to(&self.file, &mut window, at).map_err(|source| self.fault(at, source))?;
            if got < HEADER {
                break;
            }
            for start in 0..=got - HEADER {
                // Most bytes fail these before a checksum is computed.
                if !matches!(window[start], 1 | 2) || window[start + 2] != 0 || window[start + 3] != 0 {
                    continue;
                }
                let mut head = [0; HEADER];
                head.copy_from_slice(&window[start..start + HEADER]);
                if le_u64(&head, 8) <= group {
                    continue;
                }
                let Ok(Some(header)) = FrameHeader::decode(&head, self.seed()) else {
                    continue;
                };
                let place = at + start as u64;
                if place + header.frame_len() > length {
                    continue;
                }
                let proven = budget < u64::from(header.body_len) || self.body_is_valid(place, &header)?;
                if proven {
                    return Ok(Some(place));
                }
                budget -= u64::from(header.body_len);
            }
            at += (got - HEADER + 1) as u64;
        }
        Ok(None)
    }

    /// The frame that ends at `end`, found backwards by its length: where it begins, and its header, whose checksum is verified.
    /// None where there is none, or its header is damaged. Its body is not looked at.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`].
    pub(crate) fn frame_ending_at(&self, end: u64) -> Result<Option<(u64, FrameHeader)>, ReadError> {
        if self.file_len().map_err(|source| self.fault(end, source))? < end {
            return Ok(None);
        }
        let Some(mut above) = end.checked_sub(FRAME_HEADER_LEN).map(|last| last + 1) else { return Ok(None) };
        // Most commits are short: a page has them.
        let mut window = Vec::new();
        let mut step = FIRST_LOOK;
        while above > SEGMENT_HEADER_LEN {
            let from = above.saturating_sub(step).max(SEGMENT_HEADER_LEN);
            window.resize((above - from) as usize + HEADER - 1, 0);
            let got = read_up_to(&self.file, &mut window, from).map_err(|source| self.fault(from, source))?;
            if got < window.len() {
                return Ok(None);
            }
            for start in (0..=window.len() - HEADER).rev() {
                let place = from + start as u64;
                // Most bytes fail this before a checksum is computed.
                if u64::from(le_u32(&window[start..], 4)) != end - place - FRAME_HEADER_LEN {
                    continue;
                }
                let mut head = [0; HEADER];
                head.copy_from_slice(&window[start..start + HEADER]);
                if let Ok(Some(header)) = FrameHeader::decode(&head, self.seed()) {
                    return Ok(Some((place, header)));
                }
            }
            (above, step) = (from, (step * 8).min(WINDOW as u64));
        }
        Ok(None)
    }

    fn body_is_valid(&self, place: u64, header: &FrameHeader) -> Result<bool, ReadError> {
        let mut hasher = self.seed().hasher();
        let mut left = header.body_len as usize;
        let mut at = place + FRAME_HEADER_LEN;
        let mut piece = vec![0; left.min(WINDOW)];
        while left > 0 {
            let size = left.min(piece.len());
            let got = read_up_to(&self.file, &mut piece[..size], at).map_err(|source| self.fault(at, source))?;
            if got < size {
                return Ok(false);
            }
            hasher.update(&piece[..size]);
            at += size as u64;
            left -= size;
        }
        Ok(hasher.finalize() == header.body_crc)
    }
}

/// The first byte of a file at or after `offset` that is not zero, if there is one.
pub(super) fn first_nonzero(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let mut window = vec![0; WINDOW];
    let Some(mut at) = data_from(file, offset)? else { return Ok(None) };
    loop {
        let got = read_up_to(file, &mut window, at)?;
        if let Some(found) = window[..got].iter().position(|byte| *byte != 0) {
            return Ok(Some(at + found as u64));
        }
        if got < window.len() {
            return Ok(None);
        }
        let Some(next) = data_from(file, at + got as u64)? else { return Ok(None) };
        at = next;
    }
}

/// Where at or after `offset` a file has bytes that were ever written: a hole reads as zeros, however long it is. None if there are
/// none. Where the file system does not say, that is `offset`.
fn data_from(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at.max(offset))),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP | Errno::SPIPE) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::error::BadFrame;
    use super::super::frame::{FrameRef, Kind, encode};
    use super::super::header::SegmentHeader;
    use super::super::names::segment_path;
    use super::super::position::Position;
    use super::super::scan::End;
    use super::super::scan::tests::{segment, walk};
    use super::*;

    #[test]
    fn a_frame_behind_a_bad_one_is_found_if_its_group_is_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = segment(&[1, 2]);
        bytes[64 + 26] ^= 1;
        bytes.extend_from_slice(&[0; 500]);
        assert!(matches!(walk(folder.path(), &bytes).1, End::Bad { offset: 64, why: BadFrame::BodyChecksum }));
        let reader = SegmentReader::open(folder.path(), 1).unwrap();
        assert_eq!(reader.later_group_after(64, 1).unwrap(), Some(149));
        assert_eq!(reader.later_group_after(64, 0).unwrap(), Some(93));
        assert_eq!(reader.later_group_after(64, 2).unwrap(), None);
        assert_eq!(reader.later_group_after(202, 1).unwrap(), None);
        assert_eq!(reader.first_nonzero_after(234).unwrap(), None);
        assert_eq!(reader.first_nonzero_after(233).unwrap(), Some(233));
    }

    /// The last frame is found from where it ends, however long it is; what is damaged, or ends elsewhere, is not.
    #[test]
    fn a_frame_is_found_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let header = SegmentHeader::fresh(1, Position::START);
        for size in [0, 1, 23, 4000, 4049, 4050, 4096, 40_000, 600_000] {
            let mut bytes = header.encode().to_vec();
            encode(&mut bytes, FrameRef { kind: Kind::Payload, codec: 0, body: &[7; 5000] }, 1, header.seed());
            let place = bytes.len() as u64;
            encode(&mut bytes, FrameRef { kind: Kind::Commit, codec: 0, body: &vec![0; size] }, 1, header.seed());
            let end = bytes.len() as u64;
            bytes.extend_from_slice(&[0; 300]);
            fs::write(segment_path(folder.path(), 1), &bytes).unwrap();
            let reader = SegmentReader::open(folder.path(), 1).unwrap();
            let found = |end| reader.frame_ending_at(end).unwrap().map(|(at, header)| (at, header.body_len as usize));
            assert_eq!(found(end), Some((place, size)));
            assert_eq!(found(place), Some((64, 5000)));
            for none in [0, 23, 64, 87, place - 1, end + 1, end + 299, end + 400, u64::MAX] {
                assert_eq!(found(none), None, "{none}");
            }
            bytes[place as usize + 8] ^= 1;
            fs::write(segment_path(folder.path(), 1), &bytes).unwrap();
            assert_eq!(SegmentReader::open(folder.path(), 1).unwrap().frame_ending_at(end).unwrap(), None);
        }
    }

    #[test]
    fn a_later_frame_is_found_across_windows() {
        let folder = tempfile::tempdir().unwrap();
        let header = SegmentHeader::fresh(1, Position::START);
        for shift in [0, 1, 23, 24, 25] {
            let mut bytes = header.encode().to_vec();
            bytes.resize(64 + WINDOW - shift, 0xee);
            let place = bytes.len() as u64;
            encode(&mut bytes, FrameRef { kind: Kind::Commit, codec: 0, body: &[5; 600_000] }, 9, header.seed());
            fs::write(segment_path(folder.path(), 1), &bytes).unwrap();
            let reader = SegmentReader::open(folder.path(), 1).unwrap();
            assert_eq!(reader.later_group_after(64, 8).unwrap(), Some(place));
            assert_eq!(reader.read_frame(place).unwrap().body.len(), 600_000);
        }
    }

    #[test]
    fn a_segment_inside_a_payload_is_not_taken_for_frames() {
        let folder = tempfile::tempdir().unwrap();
        let header = SegmentHeader::fresh(1, Position::START);
        let mut bytes = header.encode().to_vec();
        let body = &segment(&[7, 8]);
        encode(&mut bytes, FrameRef { kind: Kind::Payload, codec: 0, body }, 1, header.seed());
        bytes[70] ^= 1;
        assert!(matches!(walk(folder.path(), &bytes), (0, End::Bad { offset: 64, .. })));
        let reader = SegmentReader::open(folder.path(), 1).unwrap();
        assert_eq!(reader.later_group_after(64, 1).unwrap(), None);
    }
}

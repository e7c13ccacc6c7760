//! Reading what is left of a damaged segment: every frame that is whole, wherever it stands.

use std::fs::OpenOptions;
use std::path::Path;

use super::error::{ReadError, SegmentError};
use super::frame::{FRAME_HEADER_LEN, Frame, FrameHeader, Seed, le_u32, le_u64};
use super::header::{SEGMENT_HEADER_LEN, SegmentHeader};
use super::reader::{SegmentReader, read_up_to};
use super::sync::{OpenFault, open_regular};

const HEADER: usize = FRAME_HEADER_LEN as usize;
const WINDOW: usize = 256 << 10;

/// What stands in a damaged segment, in order.
#[derive(Debug)]
pub enum Piece {
    /// A whole frame, and where it begins.
    Frame(u64, Frame),
    /// Bytes from the first offset to the second that are none.
    Damaged(u64, u64),
}

/// A segment of which only a part may be left.
#[derive(Debug)]
pub struct Salvage {
    reader: SegmentReader,
    header: Option<SegmentHeader>,
}

impl Salvage {
    /// Opens the segment in the file `path`, whatever its name. Where its header is damaged, what its checksums start from is
    /// found again from a frame: a checksum can be computed backwards.
    ///
    /// # Errors
    ///
    /// [`SegmentError`]: [`SegmentError::Damaged`] if no frame is left either, [`SegmentError::Newer`] for a newer format.
    pub fn open(path: &Path) -> Result<Salvage, SegmentError> {
        let io = |source| SegmentError::Io { path: path.to_owned(), source };
        let file = open_regular(path, OpenOptions::new().read(true)).map_err(|fault| match fault {
            OpenFault::Missing => SegmentError::Missing { path: path.to_owned() },
            OpenFault::NotRegular => SegmentError::NotRegular { path: path.to_owned() },
            OpenFault::Io(source) => io(source),
        })?;
        let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
        let got = read_up_to(&file, &mut bytes, 0).map_err(io)?;
        let (seed, header) = match SegmentHeader::decode(&bytes, path) {
            Ok(header) if got == bytes.len() => (header.seed(), Some(header)),
            Err(error @ SegmentError::Newer { .. }) => return Err(error),
            _ => (seed_of_frames(&file, path)?, None),
        };
        let known = header.unwrap_or_else(|| SegmentHeader::fresh(1, super::Position::START));
        Ok(Salvage { reader: SegmentReader::of(file, known, path, seed), header })
    }

    /// Its header, where that is whole.
    pub fn header(&self) -> Option<&SegmentHeader> {
        self.header.as_ref()
    }

    /// The file's length.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn file_len(&self) -> std::io::Result<u64> {
        self.reader.file_len()
    }

    /// Reads the frame at `offset`.
    ///
    /// # Errors
    ///
    /// As for [`SegmentReader::read_frame`].
    pub fn read_frame(&self, offset: u64) -> Result<Frame, ReadError> {
        self.reader.read_frame(offset)
    }

    /// Hands every whole frame to `each`, and each stretch of bytes that are none; zeros at the end are neither.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`] as `E`, and those of `each`.
    pub fn pieces<E: From<ReadError>>(&self, mut each: impl FnMut(Piece) -> Result<(), E>) -> Result<(), E> {
        let mut at = SEGMENT_HEADER_LEN;
        loop {
            let mut frames = self.reader.frames(at, None);
            for frame in frames.by_ref() {
                let (offset, frame) = frame?;
                each(Piece::Frame(offset, frame))?;
            }
            let Some(bad) = self.reader.first_nonzero_after(frames.offset())? else { return Ok(()) };
            let bad = bad.min(frames.offset());
            let next = self.reader.later_group_after(bad, 0)?;
            let end = match next {
                Some(next) => next,
                None => self.reader.file_len().map_err(|source| self.reader.fault(bad, source))?,
            };
            each(Piece::Damaged(bad, end))?;
            let Some(next) = next else { return Ok(()) };
            at = next;
        }
    }
}

/// What the checksums of a segment without header start from: computed back from the first thing that looks like the header of
/// a frame, and proven by the checksum of its body.
fn seed_of_frames(file: &std::fs::File, path: &Path) -> Result<Seed, SegmentError> {
    let io = |source| SegmentError::Io { path: path.to_owned(), source };
    let length = file.metadata().map_err(io)?.len();
    let mut window = vec![0; WINDOW];
    let mut at = SEGMENT_HEADER_LEN;
    while at + FRAME_HEADER_LEN <= length {
        let got = read_up_to(file, &mut window, at).map_err(io)?;
        if got < HEADER {
            break;
        }
        for start in 0..=got - HEADER {
            let bytes = &window[start..start + HEADER];
            let body_len = u64::from(le_u32(bytes, 4));
            let group = le_u64(bytes, 8);
            let place = at + start as u64;
            let fits = body_len > 0 && place + FRAME_HEADER_LEN + body_len <= length;
            // Most bytes fail these before anything is computed.
            if !matches!(bytes[0], 1 | 2) || bytes[2..4] != [0, 0] || !fits || group == 0 || group >> 48 != 0 {
                continue;
            }
            let seed = Seed::before(&bytes[..20], le_u32(bytes, 20));
            let mut head = [0; HEADER];
            head.copy_from_slice(bytes);
            let Ok(Some(header)) = FrameHeader::decode(&head, seed) else { continue };
            let mut body = vec![0; header.body_len as usize];
            let got = read_up_to(file, &mut body, place + FRAME_HEADER_LEN).map_err(io)?;
            if got == body.len() && header.verify(&body, seed).is_ok() {
                return Ok(seed);
            }
        }
        at += (got - HEADER + 1) as u64;
    }
    Err(SegmentError::Damaged { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::names::segment_path;
    use super::super::scan::tests::segment;
    use super::*;

    fn pieces(path: &Path) -> (Vec<u64>, Vec<(u64, u64)>) {
        let (mut frames, mut damaged) = (Vec::new(), Vec::new());
        let salvage = Salvage::open(path).unwrap();
        salvage
            .pieces(|piece| {
                match piece {
                    Piece::Frame(at, frame) => {
                        assert_eq!(salvage.read_frame(at).unwrap(), frame);
                        frames.push(at);
                    }
                    Piece::Damaged(from, to) => damaged.push((from, to)),
                }
                Ok::<(), ReadError>(())
            })
            .unwrap();
        (frames, damaged)
    }

    /// One byte anywhere, in turn: at most the frame it is in is missing, all others are found, with the header damaged too.
    #[test]
    fn every_other_frame_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = segment_path(folder.path(), 1);
        let whole = segment(&[1, 2, 3]);
        fs::write(&path, &whole).unwrap();
        let (all, damaged) = pieces(&path);
        assert!(all.len() >= 9 && damaged.is_empty());
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            if at >= 64 && at % 2 == 0 {
                bytes[20] ^= 1;
            }
            fs::write(&path, &bytes).unwrap();
            let hurt = all.iter().rposition(|start| *start <= at as u64);
            let left: Vec<u64> =
                all.iter().enumerate().filter(|(n, _)| Some(*n) != hurt).map(|(_, start)| *start).collect();
            let (found, damaged) = pieces(&path);
            let beyond = whole[at..].iter().all(|byte| *byte == 0) && whole[..at].ends_with(&[0]);
            assert_eq!(found, if at < 64 || beyond { all.clone() } else { left }, "byte {at}");
            assert!(damaged.len() <= 1, "byte {at}: {damaged:?}");
        }
    }
}

//! Reading one segment by offset. Nothing is returned that failed a checksum.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{BadFrame, ReadError, SegmentError};
use super::frame::{FRAME_HEADER_LEN, Frame, FrameHeader, Seed};
use super::header::{SEGMENT_HEADER_LEN, SegmentHeader};
use super::names::segment_path;
use super::position::Position;
use super::sync::{OpenFault, open_regular};

/// One segment, open for reading; threads may share it.
#[derive(Debug)]
pub struct SegmentReader {
    pub(super) file: File,
    header: SegmentHeader,
    path: PathBuf,
    seed: Seed,
    /// A length the file had at some time: below it, a length read from outside may be trusted with memory.
    known_len: AtomicU64,
}

impl SegmentReader {
    /// Opens segment `number` of the log in `dir` and verifies its header.
    ///
    /// # Errors
    ///
    /// [`SegmentError`], by what is wrong with the file.
    pub fn open(dir: &Path, number: u64) -> Result<SegmentReader, SegmentError> {
        let path = segment_path(dir, number);
        let (file, header) = open_segment(&path, number, OpenOptions::new().read(true))?;
        Ok(SegmentReader { file, header, path, seed: header.seed(), known_len: AtomicU64::new(0) })
    }

    /// A file whose checksums start from `seed`, whatever its header says.
    pub(super) fn of(file: File, header: SegmentHeader, path: &Path, seed: Seed) -> SegmentReader {
        SegmentReader { file, header, path: path.to_owned(), seed, known_len: AtomicU64::new(0) }
    }

    /// The segment's number.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// The segment's header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The segment's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's length now.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn file_len(&self) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        self.known_len.store(length, Ordering::Relaxed);
        Ok(length)
    }

    /// Reads the frame whose header is at `offset`.
    ///
    /// # Errors
    ///
    /// [`ReadError::NoFrame`] if only zeros or the file's end are there, [`ReadError::Bad`] if the bytes
    /// are no frame, [`ReadError::Io`].
    pub fn read_frame(&self, offset: u64) -> Result<Frame, ReadError> {
        self.read_frame_hinted(offset, 0)
    }

    /// The same with one read instead of two, if `body_len_hint` is the body's length. A wrong hint costs
    /// time only.
    ///
    /// # Errors
    ///
    /// As for [`read_frame`](SegmentReader::read_frame).
    pub fn read_frame_hinted(&self, offset: u64, body_len_hint: u32) -> Result<Frame, ReadError> {
        let position = Position::new(self.number(), offset);
        let io = |source| ReadError::Io { position, source };
        let bad = |why| ReadError::Bad { position, why };
        let body_at = offset.checked_add(FRAME_HEADER_LEN).ok_or(bad(BadFrame::PastEnd))?;

        let mut head = [0; FRAME_HEADER_LEN as usize];
        let mut body = vec![0; self.room(body_at, body_len_hint).map_err(io)?];
        let got = read_both(&self.file, &mut head, &mut body, offset).map_err(io)?;
        let head_got = got.min(head.len());
        if head_got < head.len() {
            // A few zeros before the file's end are as good as a whole header of them.
            let nothing = head.iter().all(|byte| *byte == 0);
            return Err(if nothing { ReadError::NoFrame { position } } else { bad(BadFrame::PastEnd) });
        }
        let header = FrameHeader::decode(&head, self.seed).map_err(bad)?.ok_or(ReadError::NoFrame { position })?;

        let wanted = header.body_len as usize;
        let body_got = got - head.len();
        if body_got < wanted {
            if self.room(body_at, header.body_len).map_err(io)? < wanted {
                return Err(bad(BadFrame::PastEnd));
            }
            body.resize(wanted, 0);
            self.file.read_exact_at(&mut body[body_got..], body_at + body_got as u64).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof { bad(BadFrame::PastEnd) } else { io(error) }
            })?;
        }
        body.truncate(wanted);
        header.verify(&body, self.seed).map_err(bad)?;
        Ok(Frame { header, body })
    }

    /// The first bytes of what follows the header at `offset`, as many as `bytes` holds: nothing verifies them. False where the file
    /// has fewer.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`].
    pub(crate) fn peek(&self, offset: u64, bytes: &mut [u8]) -> Result<bool, ReadError> {
        let at = offset.saturating_add(FRAME_HEADER_LEN);
        let got = read_up_to(&self.file, bytes, at).map_err(|source| self.fault(offset, source))?;
        Ok(got == bytes.len())
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed
    }

    pub(super) fn fault(&self, offset: u64, source: io::Error) -> ReadError {
        ReadError::Io { position: Position::new(self.number(), offset), source }
    }

    /// How many of `wanted` bytes at `offset` the file holds, so that no length costs more memory than that.
    fn room(&self, offset: u64, wanted: u32) -> io::Result<usize> {
        let wanted = u64::from(wanted);
        let mut length = self.known_len.load(Ordering::Relaxed);
        if length.saturating_sub(offset) < wanted {
            length = self.file_len()?;
        }
        Ok(length.saturating_sub(offset).min(wanted) as usize)
    }
}

/// Opens a segment's file and verifies that it is the one its name says.
pub(super) fn open_segment(
    path: &Path,
    number: u64,
    options: &mut OpenOptions,
) -> Result<(File, SegmentHeader), SegmentError> {
    let file = open_regular(path, options).map_err(|fault| match fault {
        OpenFault::Missing => SegmentError::Missing { path: path.to_owned() },
        OpenFault::NotRegular => SegmentError::NotRegular { path: path.to_owned() },
        OpenFault::Io(source) => SegmentError::Io { path: path.to_owned(), source },
    })?;
    let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => SegmentError::Damaged { path: path.to_owned() },
        _ => SegmentError::Io { path: path.to_owned(), source },
    })?;
    let header = SegmentHeader::decode(&bytes, path)?;
    if header.number != number {
        return Err(SegmentError::WrongNumber { path: path.to_owned(), found: header.number });
    }
    Ok((file, header))
}

/// Fills as much of `bytes` as the file holds from `offset` on, and says how much that is.
pub(super) fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Two buffers filled with one call, so that the body needs no copying.
fn read_both(file: &File, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<usize> {
    let first = rustix::io::retry_on_intr(|| {
        rustix::io::preadv(file, &mut [IoSliceMut::new(head), IoSliceMut::new(body)], offset)
    })?;
    // Ends early at the file's end, and hardly ever elsewhere.
    let (head_len, total) = (head.len(), head.len() + body.len());
    if first == 0 || first == total {
        return Ok(first);
    }
    let mut got = first;
    if got < head_len {
        got += read_up_to(file, &mut head[got..], offset + got as u64)?;
    }
    if got >= head_len {
        got += read_up_to(file, &mut body[got - head_len..], offset + got as u64)?;
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::frame::{FrameRef, Kind};
    use super::super::log::{Log, LogOptions};
    use super::*;

    #[test]
    fn any_hint_gives_the_same_frame() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), LogOptions::default()).unwrap();
        let frame = FrameRef { kind: Kind::Commit, codec: 3, body: b"seven b" };
        let places = log.append(Position::START, 1, &[frame, frame]).unwrap().places;
        let reader = SegmentReader::open(folder.path(), 1).unwrap();
        for place in places {
            for hint in [0, 6, 7, 8, 31, 70_000, u32::MAX] {
                assert_eq!(reader.read_frame_hinted(place.offset, hint).unwrap().body, b"seven b");
            }
        }
        for offset in [126, 60_000, 65_530, 65_536, u64::MAX >> 1, u64::MAX - 5] {
            assert!(reader.read_frame_hinted(offset, 100).is_err(), "offset {offset}");
        }
        assert!(matches!(reader.read_frame(65_530), Err(ReadError::NoFrame { .. })));
        let bad = reader.read_frame(65).unwrap_err();
        assert!(matches!(bad, ReadError::Bad { why: BadFrame::HeaderChecksum, .. }));
    }

    #[test]
    fn files_that_are_not_this_segment_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let open = |number| SegmentReader::open(dir, number).unwrap_err();
        assert!(matches!(open(1), SegmentError::Missing { .. }));
        let header = SegmentHeader::fresh(1, Position::START).encode();
        fs::write(segment_path(dir, 1), &header[..63]).unwrap();
        assert!(matches!(open(1), SegmentError::Damaged { .. }));
        fs::write(segment_path(dir, 2), header).unwrap();
        assert!(matches!(open(2), SegmentError::WrongNumber { found: 1, .. }));
        std::os::unix::fs::symlink(segment_path(dir, 1), segment_path(dir, 3)).unwrap();
        assert!(matches!(open(3), SegmentError::NotRegular { .. }));
    }
}

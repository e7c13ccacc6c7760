//! Walking a segment's frames.

use super::error::{BadFrame, ReadError};
use super::frame::{FRAME_HEADER_LEN, Frame, FrameHeader, Kind};
use super::reader::{SegmentReader, read_up_to};

const HEADER: usize = FRAME_HEADER_LEN as usize;
const WINDOW: usize = 256 << 10;

/// Why a walk over frames ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The place to stop at was reached, and a frame ends there.
    Until(u64),
    /// Zeros follow from here on, at least as long as a header or up to the file's end.
    Zeros(u64),
    /// The file ends here, and so does the last frame.
    Eof(u64),
    /// What begins here is no frame.
    Bad {
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        why: BadFrame,
    },
}

/// The frames of a segment in order, each with its offset, in memory bounded by the largest frame.
///
/// After the last one, [`end`](Frames::end) says why it was the last.
#[derive(Debug)]
pub struct Frames<'a> {
    reader: &'a SegmentReader,
    offset: u64,
    until: Option<u64>,
    limit: Option<u64>,
    end: Option<End>,
    failed: bool,
    without: Option<Kind>,
    window: Vec<u8>,
    window_at: u64,
}

impl SegmentReader {
    /// Walks the frames from `from` on, up to `until` or as far as there are any. What is appended after
    /// the first step is not seen.
    pub fn frames(&self, from: u64, until: Option<u64>) -> Frames<'_> {
        Frames {
            reader: self,
            offset: from,
            until,
            limit: None,
            end: None,
            failed: false,
            without: None,
            window: Vec::new(),
            window_at: 0,
        }
    }
}

impl Frames<'_> {
    /// Why there are no more frames; `None` while there may be, and after an error.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Where the next frame would begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over frames of `kind` by their headers: their bodies are neither read nor verified.
    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self { without: Some(kind), ..self }
    }

    /// Walks to the end without keeping the frames, and says why it is the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`].
    pub fn find_end(mut self) -> Result<End, ReadError> {
        for frame in self.by_ref() {
            frame?;
        }
        // The loop above only stops once `end` is set.
        Ok(self.end.unwrap_or(End::Eof(self.offset)))
    }

    /// Bytes at `at` from the window, which is read anew if they are not in it: fewer than `count` only at
    /// the file's end. `count` is at most the window's size.
    fn peek(&mut self, at: u64, count: usize) -> Result<&[u8], ReadError> {
        if count == 0 {
            return Ok(&[]);
        }
        let held = at.checked_sub(self.window_at).map_or(0, |skip| self.window.len().saturating_sub(skip as usize));
        if held < count {
            // No more than there is to walk: a look at the last frames of a long file is then as short as they are.
            let left = self.limit.map_or(WINDOW, |limit| usize::try_from(limit.saturating_sub(at)).unwrap_or(WINDOW));
            self.window.resize(left.clamp(count, WINDOW), 0);
            let got = read_up_to(&self.reader.file, &mut self.window, at);
            let got = got.inspect_err(|_| self.window.clear()).map_err(|source| self.reader.fault(at, source))?;
            self.window.truncate(got);
            self.window_at = at;
        }
        let skip = (at - self.window_at) as usize;
        let stop = (skip + count).min(self.window.len());
        Ok(&self.window[skip..stop])
    }

    /// The header at this place, of a frame that ends where it may, or why there is none.
    fn header(&mut self) -> Result<Result<FrameHeader, End>, ReadError> {
        let offset = self.offset;
        let bad = |why| Ok(Err(End::Bad { offset, why }));
        let length = match self.limit {
            Some(limit) => limit,
            None => {
                let length = self.reader.file_len().map_err(|source| self.reader.fault(offset, source))?;
                *self.limit.insert(self.until.map_or(length, |until| length.min(until)))
            }
        };
        if self.until.is_some_and(|until| offset == until) {
            return Ok(Err(End::Until(offset)));
        }
        let room = length.saturating_sub(offset);
        if room == 0 {
            return Ok(Err(End::Eof(offset)));
        }
        let bytes = self.peek(offset, HEADER.min(room as usize))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Err(End::Zeros(offset)));
        }
        let Ok(head) = <[u8; HEADER]>::try_from(bytes) else {
            return bad(BadFrame::PastEnd);
        };
        let header = match FrameHeader::decode(&head, self.reader.seed()) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Err(End::Zeros(offset))),
            Err(why) => return bad(why),
        };
        if header.frame_len() > room {
            return bad(BadFrame::PastEnd);
        }
        Ok(Ok(header))
    }

    fn step(&mut self) -> Result<Result<Frame, End>, ReadError> {
        let header = loop {
            match self.header()? {
                Ok(header) if self.without == Some(header.kind) => self.offset += header.frame_len(),
                Ok(header) => break header,
                Err(end) => return Ok(Err(end)),
            }
        };
        let offset = self.offset;
        let (body_at, body_len) = (offset + FRAME_HEADER_LEN, header.body_len as usize);
        let body = if body_len <= WINDOW {
            self.peek(body_at, body_len)?.to_vec()
        } else {
            let mut body = vec![0; body_len];
            let got = read_up_to(&self.reader.file, &mut body, body_at);
            body.truncate(got.map_err(|source| self.reader.fault(body_at, source))?);
            body
        };
        match header.verify(&body, self.reader.seed()) {
            Ok(()) => Ok(Ok(Frame { header, body })),
            Err(why) => Ok(Err(End::Bad { offset, why })),
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<(u64, Frame), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.end.is_some() {
            return None;
        }
        match self.step() {
            Ok(Ok(frame)) => {
                let offset = self.offset;
                self.offset += frame.header.frame_len();
                Some(Ok((offset, frame)))
            }
            Ok(Err(end)) => {
                self.end = Some(end);
                None
            }
            Err(error) => {
                // Nothing is known of what follows, and trying again could go on for ever.
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::frame::{FrameRef, Kind, encode};
    use super::super::header::{SEGMENT_HEADER_LEN, SegmentHeader};
    use super::super::names::segment_path;
    use super::super::position::Position;
    use super::*;

    /// Segment 1 with a group of two payloads and a commit for each number in `groups`.
    pub(in super::super) fn segment(groups: &[u64]) -> Vec<u8> {
        let header = SegmentHeader::fresh(1, Position::START);
        let mut bytes = header.encode().to_vec();
        for group in groups {
            for (kind, body) in [(Kind::Payload, &b"first"[..]), (Kind::Payload, b""), (Kind::Commit, b"a commit")] {
                encode(&mut bytes, FrameRef { kind, codec: 0, body }, *group, header.seed());
            }
        }
        bytes
    }

    pub(in super::super) fn walk(dir: &Path, bytes: &[u8]) -> (usize, End) {
        fs::write(segment_path(dir, 1), bytes).unwrap();
        let reader = SegmentReader::open(dir, 1).unwrap();
        let mut frames = reader.frames(SEGMENT_HEADER_LEN, None);
        let count = frames.by_ref().map(Result::unwrap).count();
        (count, frames.end().unwrap())
    }

    #[test]
    fn a_tear_at_any_length_leaves_a_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = segment(&[1, 2]);
        let ends = [64, 93, 117, 149, 178, 202, 234];
        assert_eq!(ends[6], bytes.len());
        for length in 64..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            let (count, end) = walk(folder.path(), &bytes[..length]);
            assert_eq!(count, whole, "length {length}");
            let at = ends[whole] as u64;
            let expected =
                if ends[whole] == length { End::Eof(at) } else { End::Bad { offset: at, why: BadFrame::PastEnd } };
            assert_eq!(end, expected, "length {length}");
            // The same with zeros behind: a pre-filled file that was torn.
            let mut filled = bytes[..length].to_vec();
            filled.resize(bytes.len() + 100, 0);
            let (count, end) = walk(folder.path(), &filled);
            // A missing tail of zeros is no loss.
            let whole = ends.iter().filter(|end| filled[..**end] == bytes[..**end]).count() - 1;
            assert_eq!(count, whole, "length {length}");
            let at = ends[whole] as u64;
            let clean = filled[ends[whole]..].iter().all(|byte| *byte == 0);
            assert_eq!(end == End::Zeros(at), clean, "length {length}");
        }
    }

    #[test]
    fn frames_that_are_not_wanted_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = segment(&[1, 2]);
        // Within the body of a payload: nobody looks.
        bytes[90] ^= 1;
        fs::write(segment_path(folder.path(), 1), bytes).unwrap();
        let reader = SegmentReader::open(folder.path(), 1).unwrap();
        let mut frames = reader.frames(SEGMENT_HEADER_LEN, None).without(Kind::Payload);
        let found: Vec<_> =
            frames.by_ref().map(|frame| frame.map(|(at, frame)| (at, frame.header.kind)).unwrap()).collect();
        assert_eq!(found, [(117, Kind::Commit), (202, Kind::Commit)]);
        assert_eq!(frames.end(), Some(End::Eof(234)));
    }

    #[test]
    fn a_walk_stops_where_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(segment_path(folder.path(), 1), segment(&[1, 2])).unwrap();
        let reader = SegmentReader::open(folder.path(), 1).unwrap();
        let end = |from, until| reader.frames(from, until).find_end().unwrap();
        assert_eq!(end(64, Some(149)), End::Until(149));
        assert_eq!(end(64, Some(148)), End::Bad { offset: 117, why: BadFrame::PastEnd });
        assert_eq!(end(64, Some(9000)), End::Eof(234));
        assert_eq!(end(9000, None), End::Eof(9000));
        assert!(matches!(end(65, None), End::Bad { offset: 65, why: BadFrame::HeaderChecksum }));
    }
}

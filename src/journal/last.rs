//! The last commit before a place in the log, found backwards: by it rows and log are told to be of one history.

use std::path::Path;

use super::commit::{Commit, HEAD, TxHeader};
use super::replay::ReplayError;
use crate::model::Digest;
use crate::segment::{FrameHeader, Kind, Position, ReadError, SegmentError, SegmentReader};

/// The frame of a commit, whose header is whole.
pub(crate) struct LastCommit {
    segment: SegmentReader,
    offset: u64,
    header: FrameHeader,
}

impl LastCommit {
    /// The commit of the log in `dir` whose frame ends at `end`, or the one before where a segment begins there. None where no such frame can be told:
    /// what is damaged or missing is for those to say who read all of it.
    ///
    /// # Errors
    ///
    /// The system's alone.
    pub(crate) fn before(dir: &Path, mut end: Position) -> Result<Option<LastCommit>, ReplayError> {
        while end.segment > 0 {
            let segment = match SegmentReader::open(dir, end.segment) {
                Ok(segment) => segment,
                Err(error @ SegmentError::Io { .. }) => return Err(error.into()),
                Err(_) => return Ok(None),
            };
            let before = segment.header().predecessor_end;
            if end == Position::first_of(end.segment) && before.segment < end.segment {
                end = before;
                continue;
            }
            let found = segment.frame_ending_at(end.offset)?.filter(|(_, header)| header.kind == Kind::Commit);
            return Ok(found.map(|(offset, header)| LastCommit { segment, offset, header }));
        }
        Ok(None)
    }

    /// Bytes of the frame's body.
    pub(crate) fn body_len(&self) -> u32 {
        self.header.body_len
    }

    /// Its place in the journal, which nothing proves: the body's checksum is not computed.
    ///
    /// # Errors
    ///
    /// The system's alone.
    pub(crate) fn claims(&self) -> Result<Option<TxHeader>, ReplayError> {
        let mut head = [0; HEAD];
        let is_there = self.segment.peek(self.offset, &mut head)?;
        Ok(TxHeader::decode(&head).ok().filter(|_| is_there && self.header.body_len as usize >= HEAD))
    }

    /// Its place in the journal and its digest; none where its body is damaged.
    ///
    /// # Errors
    ///
    /// The system's alone.
    pub(crate) fn proven(&self) -> Result<Option<(TxHeader, Digest)>, ReplayError> {
        match self.segment.read_frame_hinted(self.offset, self.header.body_len) {
            Ok(frame) => Ok(Commit::sealed(&frame.body).ok()),
            Err(error @ ReadError::Io { .. }) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }
}

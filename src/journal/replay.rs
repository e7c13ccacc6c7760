//! Reading commits back from the log, in order, with the places of their payloads.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::commit::{BadCommit, Commit};
use crate::segment::{self, BadFrame, End, Frame, FrameHeader, Kind, Position, SegmentError, SegmentReader};

/// Why the log could not be read further.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is")]
pub enum ReplayError {
    #[error("the folder of segments cannot be read")]
    List(#[source] std::io::Error),
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error(transparent)]
    Read(#[from] segment::ReadError),
    #[error("segment {number} is missing")]
    Missing { number: u64 },
    #[error("segment {number} begins after {found}, but the log reaches {expected}")]
    Chain { number: u64, expected: Position, found: Position },
    #[error("the frame at {at} is damaged: {why}")]
    BadFrame { at: Position, why: BadFrame },
    #[error("the commit at {at} cannot be read")]
    BadCommit {
        at: Position,
        #[source]
        source: BadCommit,
    },
    #[error("the commit at {at} names more payloads than its group has frames")]
    Payloads { at: Position },
}

/// A frame's place and header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Where the frame begins.
    pub at: Position,
    /// Its header.
    pub header: FrameHeader,
}

/// One commit of the log.
#[derive(Debug)]
pub struct Replayed {
    /// The commit.
    pub commit: Commit,
    /// Its own frame.
    pub frame: Placed,
    /// The frames of its payloads, in the order of the records that name them.
    pub payloads: Vec<Placed>,
    /// Where the log goes on after it.
    pub end: Position,
}

/// The commits of one segment, from an offset to an offset or to where its frames end.
pub struct Replay {
    reader: SegmentReader,
    next: u64,
    until: Option<u64>,
    pending: VecDeque<Placed>,
    group: u64,
    end: Option<End>,
}

impl Replay {
    /// Reads segment `number` from `from` (`0` is its first frame) up to `until`, where the next segment takes over.
    pub fn open(dir: &Path, number: u64, from: u64, until: Option<u64>) -> Result<Replay, ReplayError> {
        let reader = SegmentReader::open(dir, number)?;
        let next = from.max(Position::first_of(number).offset);
        Ok(Replay { reader, next, until, pending: VecDeque::new(), group: 0, end: None })
    }

    /// The segment read.
    pub fn reader(&self) -> &SegmentReader {
        &self.reader
    }

    /// How the frames ended, once [`Replay::next_commit`] has returned nothing.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The next whole commit; nothing where the frames end, however they end: [`Replay::end`] says how.
    pub fn next_commit(&mut self) -> Result<Option<Replayed>, ReplayError> {
        let number = self.reader.number();
        while self.end.is_none() {
            let mut frames = self.reader.frames(self.next, self.until);
            let Some(frame) = frames.next() else {
                self.end = frames.end();
                break;
            };
            let (offset, Frame { header, body }) = frame?;
            self.next = offset + header.frame_len();
            let placed = Placed { at: Position::new(number, offset), header };
            if header.group != self.group {
                // What a group's commits did not name is nobody's.
                self.pending.clear();
                self.group = header.group;
            }
            match header.kind {
                Kind::Payload => self.pending.push_back(placed),
                Kind::Commit => {
                    let commit = Commit::decode(&body)
                        .map_err(|source| ReplayError::BadCommit { at: placed.at, source })?;
                    let wanted = commit.payload_frames();
                    if wanted > self.pending.len() {
                        return Err(ReplayError::Payloads { at: placed.at });
                    }
                    let payloads = self.pending.drain(..wanted).collect();
                    let end = Position::new(number, self.next);
                    return Ok(Some(Replayed { commit, frame: placed, payloads, end }));
                }
            }
        }
        Ok(None)
    }
}

/// The segments of `dir`, each with the offset at which the next one takes over; none for the last.
///
/// An error where a number is missing: the log is one chain.
pub fn segments(dir: &Path) -> Result<Vec<(u64, Option<u64>)>, ReplayError> {
    let numbers = segment::list(dir).map_err(ReplayError::List)?;
    let mut chain: Vec<(u64, Option<u64>)> = Vec::with_capacity(numbers.len());
    for (number, expected) in numbers.iter().copied().zip(1..) {
        if number != expected {
            return Err(ReplayError::Missing { number: expected });
        }
        if let Some(last) = chain.last_mut() {
            let end = SegmentReader::open(dir, number)?.header().predecessor_end;
            if end.segment != last.0 {
                return Err(ReplayError::Chain { number, expected: Position::new(last.0, 0), found: end });
            }
            last.1 = Some(end.offset);
        }
        chain.push((number, None));
    }
    Ok(chain)
}

/// The folder of segments in a store.
pub fn folder(root: &Path) -> PathBuf {
    root.join("blobs")
}

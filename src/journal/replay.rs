//! Reading commits back from the log, in order, with the places of their payloads.

use std::collections::VecDeque;
use std::path::Path;

use super::commit::{BadCommit, Commit};
use crate::blob::{
    self,
    codec::{Codec, CodecError},
    pack,
};
use crate::segment::{self, End, Frame, FrameHeader, Kind, Position, SegmentError, SegmentReader};

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
    #[error("the commit at {at} cannot be read")]
    BadCommit {
        at: Position,
        #[source]
        source: BadCommit,
    },
    #[error("segment {number} has no end")]
    NoEnd { number: u64 },
    #[error("the pack of payloads at {at} cannot be read")]
    BadPack {
        at: Position,
        #[source]
        source: CodecError,
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

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its frame.
    pub frame: Placed,
    /// Where it begins in a pack; none where the frame is its own.
    pub skip: Option<u32>,
}

impl Stored {
    /// The same for one who reads the payload, of `size` bytes.
    pub fn place(&self, size: u64) -> blob::Place {
        blob::Place { at: self.frame.at, stored: self.frame.header.body_len, skip: self.skip, size }
    }
}

/// One commit of the log.
#[derive(Debug)]
pub struct Replayed {
    /// The commit.
    pub commit: Commit,
    /// Its own frame.
    pub frame: Placed,
    /// Where its payloads are, in the order of the records that name them.
    pub payloads: Vec<Stored>,
    /// Where the log goes on after it.
    pub end: Position,
}

/// How the frames of a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Where, and at what.
    pub end: End,
    /// The group of the last frame read; 0 if there was none.
    pub group: u64,
}

/// Hands each whole commit of a segment to `each`, from the frame at offset `from` (`0` is the first) up to `until`,
/// where the next segment takes over, or to where the frames end, however they end.
pub fn replay<E: From<ReplayError>>(
    reader: &SegmentReader,
    from: u64,
    until: Option<u64>,
    mut each: impl FnMut(Replayed) -> Result<(), E>,
) -> Result<Ended, E> {
    let number = reader.number();
    let mut frames = reader.frames(from.max(Position::first_of(number).offset), until);
    let mut pending: VecDeque<Stored> = VecDeque::new();
    let mut group = 0;
    for frame in frames.by_ref() {
        let (offset, Frame { header, body }) = frame.map_err(ReplayError::Read)?;
        let placed = Placed { at: Position::new(number, offset), header };
        if header.group != group {
            // What a group's commits did not name is nobody's.
            pending.clear();
            group = header.group;
        }
        match header.kind {
            Kind::Payload if header.codec == Codec::PACK.0 => {
                let at = placed.at;
                let directory = pack::directory(&body).map_err(|source| ReplayError::BadPack { at, source })?;
                pending.extend(directory.into_iter().map(|(skip, _)| Stored { frame: placed, skip: Some(skip) }));
            }
            Kind::Payload => pending.push_back(Stored { frame: placed, skip: None }),
            Kind::Commit => {
                let at = placed.at;
                let commit = Commit::decode(&body).map_err(|source| ReplayError::BadCommit { at, source })?;
                let wanted = commit.payload_frames();
                if wanted > pending.len() {
                    return Err(ReplayError::Payloads { at }.into());
                }
                let payloads = pending.drain(..wanted).collect();
                let end = Position::new(number, offset + header.frame_len());
                each(Replayed { commit, frame: placed, payloads, end })?;
            }
        }
    }
    match frames.end() {
        Some(end) => Ok(Ended { end, group }),
        None => Err(ReplayError::NoEnd { number }.into()),
    }
}

/// Makes sure that what is read of segment `number` is what the disk holds: syncs it, then drops its cached pages, so
/// that bytes which failed a sync of a dead writer, and are cached as if they were clean, are read as they are.
pub fn settle(dir: &Path, number: u64) -> std::io::Result<()> {
    let path = segment::segment_path(dir, number);
    let file = match std::fs::OpenOptions::new().read(true).write(true).open(&path) {
        // Where nobody can write there is nothing that waits to be written.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
            ) =>
        {
            std::fs::File::open(&path)?
        }
        file => file?,
    };
    segment::fdatasync(&file)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

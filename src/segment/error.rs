//! What can go wrong, one enum for each operation. A cause is a source, its text is not repeated.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

use super::position::Position;

/// Whether an error means that there is no room: a full disk, a quota, or a limit on file size.
///
/// # Examples
///
/// ```
/// let error = std::io::Error::from_raw_os_error(28); // ENOSPC
/// assert!(headwater::segment::is_full(&error));
/// ```
pub fn is_full(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG];
    error
        .raw_os_error()
        .is_some_and(|code| full.iter().any(|errno| errno.raw_os_error() == code))
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// The frame's header does not match its checksum.
    #[error("frame header does not match its checksum")]
    HeaderChecksum,
    /// The header is intact but of a kind this version does not know.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// The header is intact but its reserved bytes are not zero.
    #[error("reserved bytes of the frame header are not zero")]
    Reserved,
    /// The header is intact but its body is longer than a frame may be.
    #[error("frame body of {0} bytes is over the limit")]
    Length(u32),
    /// The file ends before the frame does.
    #[error("frame ends beyond the end of the file")]
    PastEnd,
    /// The body does not match its checksum.
    #[error("frame body does not match its checksum")]
    BodyChecksum,
}

/// A segment's file cannot be used.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// There is no such file.
    #[error("segment is missing: {path}")]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// The name is a symbolic link, a folder, a pipe or a device.
    #[error("not a regular file: {path}")]
    NotRegular {
        /// The file refused.
        path: PathBuf,
    },
    /// The file is too short for a header, or its header is not one, or fails its checksum.
    #[error("segment header is damaged: {path}")]
    Damaged {
        /// The file refused.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error("segment has the newer format {found}, this version knows up to {known}: {path}")]
    Newer {
        /// The file refused.
        path: PathBuf,
        /// The format the file says it has.
        found: u16,
        /// The newest format this version reads.
        known: u16,
    },
    /// The header names another segment than the file's name does.
    #[error("file holds segment {found}: {path}")]
    WrongNumber {
        /// The file refused.
        path: PathBuf,
        /// The number in its header.
        found: u64,
    },
    /// The system refused a call.
    #[error("cannot read segment {path}")]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// A frame cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The segment cannot be opened.
    #[error("cannot open segment {segment}")]
    Segment {
        /// The segment's number.
        segment: u64,
        /// Why not.
        #[source]
        source: SegmentError,
    },
    /// The bytes at this place are not a frame.
    #[error("bad frame at {position}")]
    Bad {
        /// Where the frame was expected.
        position: Position,
        /// What is wrong with it.
        #[source]
        why: BadFrame,
    },
    /// Nothing was ever written at this place.
    #[error("no frame at {position}")]
    NoFrame {
        /// Where the frame was expected.
        position: Position,
    },
    /// The system refused a call.
    #[error("cannot read the frame at {position}")]
    Io {
        /// Where the frame is.
        position: Position,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Why a position is not where the log can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndMismatch {
    /// The file is shorter.
    #[error("segment has only {length} bytes")]
    Short {
        /// The file's length.
        length: u64,
    },
    /// Bytes that are not zero follow: frames of a dead writer, or a tear.
    #[error("segment holds bytes at offset {offset}")]
    Bytes {
        /// The first byte that is not zero.
        offset: u64,
    },
    /// A later segment exists.
    #[error("segment {segment} exists")]
    Later {
        /// That segment's number.
        segment: u64,
    },
    /// The offset lies inside the segment's header.
    #[error("offset lies inside the segment header")]
    InHeader,
}

/// A group was not appended, or may not have been.
#[derive(Debug, Error)]
pub enum AppendError {
    /// It is certain that no commit frame of the group is whole in the log: the disk is full, or the
    /// system refused an earlier step. Torn bytes may be left at the end, which the next append reports
    /// as [`AppendError::NotAtEnd`].
    #[error("cannot append to the log, nothing was recorded")]
    Plain {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The group may or may not be in the log: only reading it again can tell. The log refuses all
    /// further writes.
    #[error("it is unknown whether the append is in the log")]
    Unknown {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The position given is not the end of the log. Nothing was written.
    #[error("{end} is not the end of the log")]
    NotAtEnd {
        /// The position given.
        end: Position,
        /// What is there instead.
        #[source]
        why: EndMismatch,
    },
    /// The group is over the limit. Nothing was written.
    #[error("group of {bytes} bytes is over the limit of {limit}")]
    GroupTooLarge {
        /// The group's length with headers.
        bytes: u64,
        /// The most a group may have.
        limit: u64,
    },
    /// The segment to append to cannot be used. Nothing was written.
    #[error("cannot use segment {segment}")]
    Segment {
        /// The segment's number.
        segment: u64,
        /// Why not.
        #[source]
        source: SegmentError,
    },
    /// An earlier append had an unknown outcome. Nothing was written.
    #[error("log refuses writes since an append had an unknown outcome")]
    Poisoned,
}

impl AppendError {
    /// Whether this is certain failure for want of room.
    pub fn is_full(&self) -> bool {
        matches!(self, AppendError::Plain { source } if is_full(source))
    }
}

/// A segment was not made. The log is as it was, but for a temporary file at worst.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The segment that would follow is there already.
    #[error("segment {segment} exists")]
    Exists {
        /// Its number.
        segment: u64,
    },
    /// A frame to copy cannot be read.
    #[error("cannot read a frame to copy")]
    Read {
        /// Why not.
        #[source]
        source: ReadError,
    },
    /// The system refused a call.
    #[error("cannot create segment {segment}")]
    Io {
        /// The number it would have had.
        segment: u64,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An append had an unknown outcome, so this log writes nothing more.
    #[error("log refuses writes since an append had an unknown outcome")]
    Poisoned,
}

/// The zeros after the end were not cut off. Nothing changed.
#[derive(Debug, Error)]
pub enum TrimError {
    /// The position given is not the end of the log.
    #[error("{end} is not the end of the log")]
    NotAtEnd {
        /// The position given.
        end: Position,
        /// What is there instead.
        #[source]
        why: EndMismatch,
    },
    /// The segment cannot be used.
    #[error("cannot use segment {segment}")]
    Segment {
        /// The segment's number.
        segment: u64,
        /// Why not.
        #[source]
        source: SegmentError,
    },
    /// The system refused a call.
    #[error("cannot shorten the segment")]
    Io {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An append had an unknown outcome, so this log changes nothing more.
    #[error("log refuses writes since an append had an unknown outcome")]
    Poisoned,
}

/// A lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Others held it for all of the time allowed.
    #[error("lock is held by another: {path}")]
    TimedOut {
        /// The lock's file.
        path: PathBuf,
    },
    /// A guard of this same [`LockFile`](super::LockFile) is still alive.
    #[error("lock is held by this handle: {path}")]
    AlreadyHeld {
        /// The lock's file.
        path: PathBuf,
    },
    /// The name is a symbolic link, a folder, a pipe or a device.
    #[error("not a regular file: {path}")]
    NotRegular {
        /// The file refused.
        path: PathBuf,
    },
    /// The system refused a call.
    #[error("cannot lock {path}")]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_told_from_other_errors() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert!(is_full(&errno.into()));
        }
        assert!(!is_full(&Errno::IO.into()));
        assert!(!is_full(&io::Error::other("full")));
    }
}

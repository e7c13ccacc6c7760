//! A place in the log.

use std::fmt;

use super::header::SEGMENT_HEADER_LEN;

/// A byte in the log: a segment's number and an offset in its file.
///
/// Positions are ordered as the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment's number, from 1; 0 only in [`Position::START`].
    pub segment: u64,
    /// The offset from the start of the segment's file.
    pub offset: u64,
}

impl Position {
    /// The end of a log that has no segment yet.
    pub const START: Position = Position {
        segment: 0,
        offset: 0,
    };

    /// A place in segment `segment`, `offset` bytes from the start of its file.
    pub const fn new(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }

    /// Where the first frame of segment `segment` is, or would be.
    pub const fn first_of(segment: u64) -> Position {
        Position {
            segment,
            offset: SEGMENT_HEADER_LEN,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_segment_then_offset() {
        assert!(Position::START < Position::first_of(1));
        assert!(Position::new(1, 900) < Position::new(2, 64));
        assert!(Position::new(2, 64) < Position::new(2, 65));
        assert_eq!(Position::new(2, 65).to_string(), "2:65");
    }
}

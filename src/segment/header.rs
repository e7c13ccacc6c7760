//! The first 64 bytes of a segment: which one it is, and what it follows.

use std::path::Path;

use super::error::SegmentError;
use super::frame::{Seed, le_u32, le_u64};
use super::position::Position;

/// The length of a segment's header in bytes; the first frame follows it.
pub const SEGMENT_HEADER_LEN: u64 = 64;
const HEADER: usize = SEGMENT_HEADER_LEN as usize;
/// The newest format of segments that this version reads, and the one it writes.
pub const FORMAT_VERSION: u16 = 1;

/// The first byte is no text and the last two are a line's end, so a copy that meddles with text is
/// noticed.
const MAGIC: [u8; 8] = *b"\x89HWSEG\r\n";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number, from 1.
    pub number: u64,
    /// Its random id.
    pub id: [u8; 16],
    /// Where the live frames of the segment before it end; [`Position::START`] if there is none. What lies
    /// beyond in that segment is superseded.
    pub predecessor_end: Position,
}

impl SegmentHeader {
    /// A header with a fresh random id.
    pub fn fresh(number: u64, predecessor_end: Position) -> SegmentHeader {
        SegmentHeader {
            number,
            id: *uuid::Uuid::new_v4().as_bytes(),
            predecessor_end,
        }
    }

    /// What the checksums of this segment's frames start from.
    pub fn seed(&self) -> Seed {
        Seed::of(&self.id)
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.id);
        bytes[40..48].copy_from_slice(&self.predecessor_end.segment.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.predecessor_end.offset.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `path` is for errors only.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Newer`] for a newer format, [`SegmentError::Damaged`] for anything else that
    /// [`encode`](SegmentHeader::encode) does not make.
    pub fn decode(bytes: &[u8; HEADER], path: &Path) -> Result<SegmentHeader, SegmentError> {
        // Magic, version and checksum stay where they are in every format, so that a newer one can be told
        // from a flipped bit.
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if bytes[..8] != MAGIC || le_u32(bytes, 60) != crc32fast::hash(&bytes[..60]) || version == 0
        {
            return Err(SegmentError::Damaged {
                path: path.to_owned(),
            });
        }
        if version > FORMAT_VERSION {
            return Err(SegmentError::Newer {
                path: path.to_owned(),
                found: version,
                known: FORMAT_VERSION,
            });
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[24..40]);
        let predecessor_end = Position::new(le_u64(bytes, 40), le_u64(bytes, 48));
        let header = SegmentHeader {
            number: le_u64(bytes, 16),
            id,
            predecessor_end,
        };
        // Also covers the reserved bytes, which must be zero.
        if header.number == 0 || header.encode() != *bytes {
            return Err(SegmentError::Damaged {
                path: path.to_owned(),
            });
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_is_noticed() {
        let header = SegmentHeader::fresh(3, Position::new(2, 4096));
        let bytes = header.encode();
        let path = Path::new("x");
        assert_eq!(SegmentHeader::decode(&bytes, path).unwrap(), header);
        for bit in 0..HEADER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(
                    SegmentHeader::decode(&flipped, path),
                    Err(SegmentError::Damaged { .. })
                ),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = SegmentHeader::fresh(1, Position::START).encode();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentHeader::decode(&bytes, Path::new("x")).unwrap_err();
        assert!(matches!(
            error,
            SegmentError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ));
    }

    #[test]
    fn ids_differ() {
        let one = SegmentHeader::fresh(1, Position::START);
        assert_ne!(one.id, SegmentHeader::fresh(1, Position::START).id);
    }
}

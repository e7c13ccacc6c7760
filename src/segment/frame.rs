//! One checked record: its header, its checksums, its bytes.

use super::error::BadFrame;
use super::sabotage::{self, Sabotage};

/// The length of a frame's header in bytes.
pub const FRAME_HEADER_LEN: u64 = 24;
const HEADER: usize = FRAME_HEADER_LEN as usize;
/// A group with its headers is shorter than this, hence so is a body.
pub const GROUP_LIMIT: u64 = 1 << 30;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes that a commit names.
    Payload,
    /// A commit: with it, the frames before it in its group count.
    Commit,
}

impl Kind {
    /// The byte stored for it.
    pub const fn code(self) -> u8 {
        match self {
            Kind::Payload => 1,
            Kind::Commit => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Payload),
            2 => Some(Kind::Commit),
            _ => None,
        }
    }
}

/// What a segment's checksums start from. It comes from the segment's random id, so that a segment stored
/// as a payload is never taken for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u32);

impl Seed {
    /// The seed of the segment with this id.
    pub fn of(id: &[u8; 16]) -> Seed {
        Seed(crc32fast::hash(id))
    }

    /// The seed from which `bytes` have the checksum `crc`: the checksum's steps undone, from the last byte to the first.
    pub(super) fn before(bytes: &[u8], crc: u32) -> Seed {
        const TABLE: [u32; 256] = table();
        let mut register = !crc;
        for byte in bytes.iter().rev() {
            let top = register >> 24;
            // The highest bytes of the table's entries are all different.
            let index = TABLE.iter().position(|entry| entry >> 24 == top).unwrap_or_default();
            register = ((register ^ TABLE[index]) << 8) | (index as u32 ^ u32::from(*byte));
        }
        Seed(!register)
    }

    /// A checksum that bytes can be added to piece by piece.
    pub(super) fn hasher(self) -> crc32fast::Hasher {
        crc32fast::Hasher::new_with_initial(self.0)
    }

    fn checksum(self, bytes: &[u8]) -> u32 {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// What one byte does to a CRC-32 (IEEE).
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 1 == 1 { register >> 1 ^ 0xedb8_8320 } else { register >> 1 };
            bit += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// What it is for.
    pub kind: Kind,
    /// How the body is encoded; of no meaning on this floor.
    pub codec: u8,
    /// The bytes it carries.
    pub body: &'a [u8],
}

/// A frame's header, its own checksum verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: Kind,
    /// How the body is encoded; of no meaning on this floor.
    pub codec: u8,
    /// The body's length in bytes.
    pub body_len: u32,
    /// The group the frame was appended with.
    pub group: u64,
    pub(super) body_crc: u32,
}

/// A frame read back, both checksums verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: FrameHeader,
    /// The bytes it carries.
    pub body: Vec<u8>,
}

impl Frame {
    /// A frame that is still to be written: its checksum is computed where it is.
    pub fn new(kind: Kind, codec: u8, group: u64, body: Vec<u8>) -> Frame {
        // A body is shorter than GROUP_LIMIT, or the log refuses it.
        let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Frame { header: FrameHeader { kind, codec, body_len, group, body_crc: 0 }, body }
    }
}

impl FrameHeader {
    /// Reads a header; `None` if all of it is zero, which is where written data ends.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] for anything but zeros and a header that some writer of this segment made.
    pub fn decode(bytes: &[u8; HEADER], seed: Seed) -> Result<Option<FrameHeader>, BadFrame> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if le_u32(bytes, 20) != seed.checksum(&bytes[..20]) && !sabotage::is(Sabotage::Checksum) {
            return Err(BadFrame::HeaderChecksum);
        }
        let kind = Kind::from_code(bytes[0]).ok_or(BadFrame::Kind(bytes[0]))?;
        if bytes[2..4] != [0, 0] {
            return Err(BadFrame::Reserved);
        }
        let body_len = le_u32(bytes, 4);
        if u64::from(body_len) + FRAME_HEADER_LEN >= GROUP_LIMIT {
            return Err(BadFrame::Length(body_len));
        }
        let (group, body_crc) = (le_u64(bytes, 8), le_u32(bytes, 16));
        Ok(Some(FrameHeader { kind, codec: bytes[1], body_len, group, body_crc }))
    }

    /// Whether `body` is the one this header was made for.
    ///
    /// # Errors
    ///
    /// [`BadFrame::BodyChecksum`] if it is not.
    pub fn verify(&self, body: &[u8], seed: Seed) -> Result<(), BadFrame> {
        let sound = seed.checksum(body) == self.body_crc || sabotage::is(Sabotage::Checksum);
        if sound && body.len() as u64 == u64::from(self.body_len) { Ok(()) } else { Err(BadFrame::BodyChecksum) }
    }

    /// How far the frame reaches from its first byte.
    pub fn frame_len(&self) -> u64 {
        FRAME_HEADER_LEN + u64::from(self.body_len)
    }
}

/// Adds a frame's bytes to `out`.
///
/// The body must be shorter than [`GROUP_LIMIT`], which [`Log`](super::Log) sees to.
pub fn encode(out: &mut Vec<u8>, frame: FrameRef<'_>, group: u64, seed: Seed) {
    out.extend_from_slice(&encode_header(frame, group, seed));
    out.extend_from_slice(frame.body);
}

pub(super) fn encode_header(frame: FrameRef<'_>, group: u64, seed: Seed) -> [u8; HEADER] {
    debug_assert!((frame.body.len() as u64) < GROUP_LIMIT);
    let mut bytes = [0; HEADER];
    bytes[0] = frame.kind.code();
    bytes[1] = frame.codec;
    bytes[4..8].copy_from_slice(&(frame.body.len() as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&group.to_le_bytes());
    bytes[16..20].copy_from_slice(&seed.checksum(frame.body).to_le_bytes());
    let crc = seed.checksum(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(super) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], seed: Seed) -> Result<Option<(FrameHeader, &[u8])>, BadFrame> {
        let mut head = [0; HEADER];
        head.copy_from_slice(&bytes[..HEADER]);
        let Some(header) = FrameHeader::decode(&head, seed)? else {
            return Ok(None);
        };
        let body = bytes[HEADER..].get(..header.body_len as usize).ok_or(BadFrame::PastEnd)?;
        header.verify(body, seed)?;
        Ok(Some((header, body)))
    }

    fn sample(seed: Seed) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, FrameRef { kind: Kind::Commit, codec: 7, body: b"a commit's body" }, 42, seed);
        out
    }

    #[test]
    fn a_frame_comes_back() {
        let seed = Seed::of(&[1; 16]);
        let bytes = sample(seed);
        let (header, body) = decode(&bytes, seed).unwrap().unwrap();
        assert_eq!((header.kind, header.codec, header.group), (Kind::Commit, 7, 42));
        assert_eq!(body, b"a commit's body");
        assert_eq!(header.frame_len(), bytes.len() as u64);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let seed = Seed::of(&[1; 16]);
        let bytes = sample(seed);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, seed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_refused() {
        let bytes = sample(Seed::of(&[1; 16]));
        assert_eq!(decode(&bytes, Seed::of(&[2; 16])), Err(BadFrame::HeaderChecksum));
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(decode(&[0; 64], Seed::of(&[1; 16])), Ok(None));
    }

    #[test]
    fn intact_headers_with_odd_fields_are_refused() {
        let seed = Seed::of(&[1; 16]);
        let resealed = |at: usize, value: u8| {
            let mut bytes = sample(seed);
            bytes[at] = value;
            let crc = seed.checksum(&bytes[..20]);
            bytes[20..24].copy_from_slice(&crc.to_le_bytes());
            decode(&bytes, seed).unwrap_err()
        };
        assert_eq!(resealed(0, 9), BadFrame::Kind(9));
        assert_eq!(resealed(3, 1), BadFrame::Reserved);
        assert!(matches!(resealed(7, 0x40), BadFrame::Length(_)));
    }
}

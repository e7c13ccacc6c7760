//! Several small payloads in one frame: alone each would be compressed without what its neighbours say, and take a header.
//!
//! ```text
//! codec of the bytes                            one byte
//! how many payloads, then the size of each      numbers of seven bits a byte, the lowest first
//! their bytes one after the other, compressed
//! ```

use super::codec::{self, Class, Codec, CodecError};
use super::{PART, Source};

/// Payloads below this are packed.
pub(super) const SMALL: usize = 16 << 10;
/// What a pack holds at most of what is written, uncompressed: what reading one payload may cost.
pub(super) const FULL: usize = 256 << 10;
/// Payloads that a pack has at most: each has a place of its own in memory, also one without bytes.
pub(super) const MOST: usize = 1 << 16;
/// Fewer than this are not worth it.
pub(super) const FEWEST: usize = 4;

/// The body of a pack.
pub(super) fn pack(sources: &[Source<'_>]) -> Vec<u8> {
    let bytes: Vec<u8> = sources.iter().flat_map(|(_, bytes, _)| *bytes).copied().collect();
    let (codec, packed) = codec::encode(&bytes, Class::Pack);
    let mut body = vec![codec.0];
    put(&mut body, sources.len());
    sources.iter().for_each(|(_, bytes, _)| put(&mut body, bytes.len()));
    body.extend_from_slice(&packed);
    body
}

/// Where each payload of a pack begins, and its size.
///
/// # Errors
///
/// [`CodecError::Damaged`]; a pack holds no more than a part does, whatever it says.
pub fn directory(body: &[u8]) -> Result<Vec<(u32, u32)>, CodecError> {
    open(body).map(|(places, ..)| places)
}

/// The bytes of all payloads of a pack, to be cut by its [`directory`].
///
/// # Errors
///
/// [`CodecError`].
pub fn unpack(body: &[u8]) -> Result<Vec<u8>, CodecError> {
    let (_, codec, stored, len) = open(body)?;
    let bytes = codec::decode(codec, stored, len)?;
    if bytes.len() == len { Ok(bytes) } else { Err(WRONG) }
}

const WRONG: CodecError = CodecError::Damaged("the sizes in a pack are not those of its bytes");

type Opened<'a> = (Vec<(u32, u32)>, Codec, &'a [u8], usize);

fn open(body: &[u8]) -> Result<Opened<'_>, CodecError> {
    let (codec, mut rest) = body.split_first().ok_or(WRONG)?;
    let count = number(&mut rest)?;
    // Each size takes a byte: a count beyond that gets no memory.
    if count == 0 || count as usize > rest.len().min(MOST) {
        return Err(WRONG);
    }
    let (mut places, mut end) = (Vec::with_capacity(count as usize), 0_u32);
    for _ in 0..count {
        let size = number(&mut rest)?;
        places.push((end, size));
        end = end.checked_add(size).filter(|end| *end as usize <= PART).ok_or(WRONG)?;
    }
    Ok((places, Codec(*codec), rest, end as usize))
}

fn put(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(bytes: &mut &[u8]) -> Result<u32, CodecError> {
    let mut number = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.split_off_first().ok_or(WRONG)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(number).map_err(|_| WRONG);
        }
    }
    Err(WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use proptest::prelude::*;

    fn packed(payloads: &[Vec<u8>]) -> Vec<u8> {
        pack(&payloads.iter().map(|bytes| (Digest::ZERO, &**bytes, Class::Payload)).collect::<Vec<_>>())
    }

    #[test]
    fn every_truncation_is_noticed() {
        let body = packed(&[b"".to_vec(), b"abc".repeat(90), b"x".to_vec()]);
        assert_eq!(directory(&body).unwrap(), [(0, 0), (0, 270), (270, 1)]);
        for len in 0..body.len() {
            assert!(unpack(&body[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn more_payloads_than_a_pack_may_have_get_no_memory() {
        let of = |count: usize| {
            let mut body = vec![0];
            put(&mut body, count);
            body.resize(body.len() + count, 0);
            body
        };
        assert_eq!(directory(&of(MOST)).unwrap().len(), MOST);
        assert!(directory(&of(MOST + 1)).is_err());
        assert!(directory(&of(0)).is_err());
    }

    #[test]
    fn a_pack_holds_no_more_than_a_part_and_what_it_says() {
        let of = |sizes: &[usize], bytes: &[u8]| {
            let (codec, stored) = codec::encode(bytes, Class::Pack);
            let mut body = vec![codec.0];
            put(&mut body, sizes.len());
            sizes.iter().for_each(|size| put(&mut body, *size));
            body.extend_from_slice(&stored);
            body
        };
        assert_eq!(directory(&of(&[PART - 1, 1], b"")).unwrap()[1], ((PART - 1) as u32, 1));
        assert_eq!(directory(&of(&[PART, 1], b"")), Err(WRONG));
        assert_eq!(directory(&of(&[1 << 31, 1 << 31], b"")), Err(WRONG));
        assert_eq!(unpack(&of(&[3, 4], b"payload")).unwrap(), b"payload");
        assert_eq!(unpack(&of(&[3, 5], b"payload")), Err(WRONG));
        assert!(unpack(&of(&[3, 3], b"payload")).is_err());
    }

    proptest! {
        #[test]
        fn payloads_come_out_of_a_pack(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..40)) {
            let body = packed(&payloads);
            let bytes = unpack(&body).unwrap();
            let places = directory(&body).unwrap();
            let cut: Vec<Vec<u8>> =
                places.iter().map(|(at, size)| bytes[*at as usize..(at + size) as usize].to_vec()).collect();
            prop_assert_eq!(cut, payloads);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (directory(&bytes), unpack(&bytes));
        }
    }
}

//! Payloads by digest: how bytes become the body of a frame and come back, verified.
//!
//! This floor promises that what it returns has the digest asked for. Where a payload's frame is, and whether the
//! payload is in the store at all, is known by the floors above.

pub mod codec;
mod dictionary;

use std::sync::{Arc, OnceLock};

use crate::model::Digest;
use crate::segment::{self, Position, Readers};
use codec::{Class, Codec, CodecError};

/// A payload of more bytes is kept in parts of this size.
pub const PART: usize = 4 << 20;

/// A payload ready to be appended.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The media type.
    pub media: Option<String>,
    /// How the body is compressed.
    pub codec: Codec,
    /// The frame's body.
    pub body: Vec<u8>,
    /// The bytes themselves where rows are made from them: roots and display text.
    pub bytes: Option<Arc<[u8]>>,
}

impl Prepared {
    /// Hashes and compresses `bytes`.
    pub fn new(bytes: &[u8], class: Class) -> Prepared {
        Prepared::hashed((Digest::of(bytes), bytes, class))
    }

    /// Compresses bytes whose digest is known.
    fn hashed((digest, bytes, class): Source<'_>) -> Prepared {
        let (codec, body) = codec::encode(bytes, class);
        let keep = matches!(class, Class::Root) || bytes.len() <= 1024;
        Prepared {
            digest,
            size: bytes.len() as u64,
            media: None,
            codec,
            body: body.into_owned(),
            bytes: keep.then(|| bytes.into()),
        }
    }
}

/// A payload to prepare: its digest, its bytes, what they are.
pub type Source<'a> = (Digest, &'a [u8], Class);

/// Bytes from which on a second thread pays for its start.
const WORTH_A_THREAD: usize = 64 << 10;

/// Compresses payloads, on several threads where there is enough to do; in the order given.
pub fn prepare(sources: &[Source<'_>]) -> Vec<Prepared> {
    static CORES: OnceLock<usize> = OnceLock::new();
    let bytes: usize = sources.iter().map(|(_, bytes, _)| bytes.len()).sum();
    let most = (bytes / WORTH_A_THREAD).min(sources.len());
    let one = |sources: &[Source<'_>]| sources.iter().map(|source| Prepared::hashed(*source)).collect::<Vec<_>>();
    if most < 2 {
        return one(sources);
    }
    let cores = *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut shares = shares(sources, bytes.div_ceil(most.min(cores).min(MOST_THREADS)));
    let mine = shares.pop().unwrap_or_default();
    std::thread::scope(|scope| {
        // The rest is done here: also what a thread that cannot be had, or that failed, leaves.
        let begin = |share| (share, std::thread::Builder::new().spawn_scoped(scope, move || one(share)));
        let begun: Vec<_> = shares.into_iter().map(begin).collect();
        let last = one(mine);
        let join = |(share, thread): (_, std::io::Result<std::thread::ScopedJoinHandle<'_, _>>)| {
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| one(share))
        };
        begun.into_iter().flat_map(join).chain(last).collect()
    })
}

/// More would only wait for the writer.
const MOST_THREADS: usize = 4;

/// Runs of sources of about `wanted` bytes each.
fn shares<'s, 'a>(sources: &'s [Source<'a>], wanted: usize) -> Vec<&'s [Source<'a>]> {
    let (mut shares, mut start, mut sum) = (Vec::new(), 0, 0);
    for (at, (_, bytes, _)) in sources.iter().enumerate() {
        sum += bytes.len();
        if sum >= wanted || at + 1 == sources.len() {
            shares.push(&sources[start..=at]);
            (start, sum) = (at + 1, 0);
        }
    }
    shares
}

/// Why a payload could not be read from the log.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is")]
pub enum BlobError {
    #[error(transparent)]
    Segment(#[from] segment::ReadError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the frame at {at} holds other bytes than payload {digest}")]
    Mismatch { at: Position, digest: Digest },
}

/// Reads the payload `digest` of `size` bytes from its frame, of which `stored` bytes are its body.
pub fn read(readers: &Readers, at: Position, stored: u32, size: u64, digest: &Digest) -> Result<Vec<u8>, BlobError> {
    let frame = readers.read_at(at, stored)?;
    // No frame holds more than a part: a row or record that says so is not to make us expand a bomb.
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(PART);
    let bytes = codec::decode(Codec(frame.header.codec), &frame.body, size)?;
    if Digest::of(&bytes) != *digest {
        return Err(BlobError::Mismatch { at, digest: *digest });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_prepared_together_are_those_prepared_alone() {
        let texts: Vec<Vec<u8>> =
            (0..300).map(|n| format!("{n} and so on; ").repeat(1 + n % 97).into_bytes()).collect();
        let sources: Vec<Source<'_>> = texts.iter().map(|text| (Digest::of(text), &text[..], Class::Payload)).collect();
        assert!(texts.iter().map(Vec::len).sum::<usize>() > 2 * WORTH_A_THREAD);
        for count in [0, 1, 2, 299, 300] {
            let together = prepare(&sources[..count]);
            assert_eq!(together.len(), count);
            for (prepared, text) in together.iter().zip(&texts) {
                let alone = Prepared::new(text, Class::Payload);
                assert_eq!((prepared.digest, prepared.codec, &prepared.body), (alone.digest, alone.codec, &alone.body));
            }
        }
    }

    #[test]
    fn shares_are_all_there_is_in_its_order() {
        let texts: Vec<Vec<u8>> = [5, 0, 900, 1, 1, 1, 300].map(|len| vec![0; len]).to_vec();
        let sources: Vec<Source<'_>> = texts.iter().map(|text| (Digest::ZERO, &text[..], Class::Payload)).collect();
        for wanted in [1, 2, 100, 604, 1208, 9999] {
            let all: Vec<usize> = shares(&sources, wanted).concat().iter().map(|(_, bytes, _)| bytes.len()).collect();
            assert_eq!(all, texts.iter().map(Vec::len).collect::<Vec<_>>(), "{wanted}");
        }
    }
}

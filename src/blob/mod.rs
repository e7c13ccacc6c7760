//! Payloads by digest: how bytes become the body of a frame and come back, verified.
//!
//! This floor promises that what it returns has the digest asked for. Where a payload's frame is, and whether the
//! payload is in the store at all, is known by the floors above.

pub mod codec;
mod dictionary;
pub mod pack;

use std::sync::{Arc, OnceLock};

use crate::model::Digest;
use crate::segment::{self, Position, Readers};
use codec::{Class, Codec, CodecError};

/// Smaller payloads of an import are kept several in a frame.
pub const PACKED: usize = pack::SMALL;
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
    /// The frame's body; none where the payload is in the pack of one before it.
    pub body: Option<Vec<u8>>,
    /// Of a payload in a pack, where it begins.
    pub skip: Option<u32>,
    /// The bytes themselves where rows are made from them: roots and display text.
    pub bytes: Option<Arc<[u8]>>,
}

impl Prepared {
    /// Hashes and compresses `bytes`.
    pub fn new(bytes: &[u8], class: Class) -> Prepared {
        Prepared::hashed((Digest::of(bytes), bytes, class))
    }

    /// Compresses bytes whose digest is known.
    fn hashed(source: Source<'_>) -> Prepared {
        let (codec, body) = codec::encode(source.1, source.2);
        Prepared::of(source, codec, Some(body.into_owned()), None)
    }

    fn of((digest, bytes, class): Source<'_>, codec: Codec, body: Option<Vec<u8>>, skip: Option<u32>) -> Prepared {
        let keep = matches!(class, Class::Root) || bytes.len() <= 1024;
        let kept = keep.then(|| bytes.into());
        Prepared { digest, size: bytes.len() as u64, media: None, codec, body, skip, bytes: kept }
    }

    /// Compresses several into one frame.
    fn packed(sources: &[Source<'_>]) -> Vec<Prepared> {
        let (mut body, mut end) = (Some(pack::pack(sources)), 0);
        let one = |source: &Source<'_>| {
            let prepared = Prepared::of(*source, Codec::PACK, body.take(), Some(end));
            // Those of a pack are far smaller than 4 GiB.
            end += source.1.len() as u32;
            prepared
        };
        sources.iter().map(one).collect()
    }
}

/// A payload to prepare: its digest, its bytes, what they are.
pub type Source<'a> = (Digest, &'a [u8], Class);

/// Bytes from which on a second thread pays for its start.
const WORTH_A_THREAD: usize = 64 << 10;

/// Compresses payloads, on several threads where there is enough to do; in the order given.
pub fn prepare(sources: &[Source<'_>]) -> Vec<Prepared> {
    prepare_units(&sources.chunks(1).collect::<Vec<_>>())
}

/// The same for an import: neighbours that are small go into packs.
pub fn prepare_dense(sources: &[Source<'_>]) -> Vec<Prepared> {
    prepare_units(&packs(sources))
}

/// Runs of small payloads that make a pack each, and the others alone.
fn packs<'s, 'a>(sources: &'s [Source<'a>]) -> Vec<&'s [Source<'a>]> {
    let mut units: Vec<&[Source<'_>]> = Vec::new();
    let mut rest = sources;
    while !rest.is_empty() {
        let mut sum = 0;
        let fits = |(_, bytes, _): &&Source<'_>| {
            sum += bytes.len();
            bytes.len() < pack::SMALL && sum <= pack::FULL
        };
        let count = rest.iter().take_while(fits).count();
        let (unit, behind) = rest.split_at(if count < pack::FEWEST { 1 } else { count });
        units.push(unit);
        rest = behind;
    }
    units
}

fn prepare_units(units: &[&[Source<'_>]]) -> Vec<Prepared> {
    static CORES: OnceLock<usize> = OnceLock::new();
    let bytes: usize = units.iter().map(|unit| size(unit)).sum();
    let most = (bytes / WORTH_A_THREAD).min(units.len());
    let unit = |unit: &&[Source<'_>]| match unit {
        [source] => vec![Prepared::hashed(*source)],
        sources => Prepared::packed(sources),
    };
    let all = |units: &[&[Source<'_>]]| units.iter().flat_map(unit).collect::<Vec<_>>();
    if most < 2 {
        return all(units);
    }
    let cores = *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut shares = shares(units, bytes.div_ceil(most.min(cores).min(MOST_THREADS)));
    let mine = shares.pop().unwrap_or_default();
    std::thread::scope(|scope| {
        // The rest is done here: also what a thread that cannot be had, or that failed, leaves.
        let begin = |share| (share, std::thread::Builder::new().spawn_scoped(scope, move || all(share)));
        let begun: Vec<_> = shares.into_iter().map(begin).collect();
        let last = all(mine);
        let join = |(share, thread): (_, std::io::Result<std::thread::ScopedJoinHandle<'_, _>>)| {
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| all(share))
        };
        begun.into_iter().flat_map(join).chain(last).collect()
    })
}

fn size(unit: &[Source<'_>]) -> usize {
    unit.iter().map(|(_, bytes, _)| bytes.len()).sum()
}

/// More would only wait for the writer.
const MOST_THREADS: usize = 4;

/// Runs of units of about `wanted` bytes each.
fn shares<'s, 'a>(units: &'s [&'s [Source<'a>]], wanted: usize) -> Vec<&'s [&'s [Source<'a>]]> {
    let (mut shares, mut start, mut sum) = (Vec::new(), 0, 0);
    for (at, unit) in units.iter().enumerate() {
        sum += size(unit);
        if sum >= wanted || at + 1 == units.len() {
            shares.push(&units[start..=at]);
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

/// Where a payload's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The frame.
    pub at: Position,
    /// Bytes of the frame's body.
    pub stored: u32,
    /// Where the payload begins in a pack; none where the frame is its own.
    pub skip: Option<u32>,
    /// Bytes of the payload.
    pub size: u64,
}

/// Reads the payload `digest`, and verifies it.
pub fn read(readers: &Readers, place: &Place, digest: &Digest) -> Result<Vec<u8>, BlobError> {
    let Place { at, stored, skip, size } = *place;
    // No frame holds more than a part: a row or record that says so is not to make us expand a bomb.
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(PART);
    let mismatch = || BlobError::Mismatch { at, digest: *digest };
    let bytes = match skip {
        None => {
            let frame = readers.read_at(at, stored)?;
            codec::decode(Codec(frame.header.codec), &frame.body, size)?
        }
        Some(skip) => {
            let pack = readers.made_of(at, stored, |frame| match Codec(frame.header.codec) {
                Codec::PACK => Ok(pack::unpack(&frame.body)?),
                _ => Err(mismatch()),
            })?;
            pack.get(skip as usize..).and_then(|rest| rest.get(..size)).ok_or_else(mismatch)?.to_vec()
        }
    };
    if Digest::of(&bytes) != *digest {
        return Err(mismatch());
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
            let units: Vec<&[Source<'_>]> = sources.chunks(1).collect();
            let all: Vec<usize> =
                shares(&units, wanted).concat().concat().iter().map(|(_, bytes, _)| bytes.len()).collect();
            assert_eq!(all, texts.iter().map(Vec::len).collect::<Vec<_>>(), "{wanted}");
        }
    }
    #[test]
    fn small_neighbours_of_an_import_share_a_frame() {
        let text = |n: usize| format!("{n} and so on; ").repeat(1 + n * n % 2111).into_bytes();
        let texts: Vec<Vec<u8>> = (0..500).map(text).collect();
        let sources: Vec<Source<'_>> = texts.iter().map(|text| (Digest::of(text), &text[..], Class::Dense)).collect();
        let prepared = prepare_dense(&sources);
        let digests: Vec<Digest> = prepared.iter().map(|p| p.digest).collect();
        assert_eq!(digests, sources.iter().map(|s| s.0).collect::<Vec<_>>());
        let mut body = Vec::new();
        for (one, text) in prepared.iter().zip(&texts) {
            body = one.body.clone().unwrap_or(body);
            let bytes = match one.skip {
                None => codec::decode(one.codec, &body, PART).unwrap(),
                Some(skip) => pack::unpack(&body).unwrap()[skip as usize..][..text.len()].to_vec(),
            };
            assert_eq!(&bytes, text);
            assert!(one.skip.is_none() || text.len() < pack::SMALL);
        }
        assert!(prepared.iter().filter(|p| p.skip.is_some_and(|skip| skip > 0)).all(|p| p.body.is_none()));
        // Three are no pack.
        assert!(prepare_dense(&sources[..3]).iter().all(|p| p.skip.is_none()));
    }
}

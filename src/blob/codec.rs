//! How the bytes of a frame are stored: raw, or as one zstd frame.
//!
//! The zstd frames carry their content size, no checksum (the frame around them has one) and no dictionary id (the
//! [`Codec`] says which dictionary it is).

use std::borrow::Cow;
use std::cell::RefCell;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, ResetDirective};

use super::dictionary::{Dictionary, LINES, PROSE, ROOTS};

/// How a body is stored: the number in the frame's header.
///
/// Numbers are given once and for ever. Any `u8` is a `Codec`; one that this version does not know is an error of
/// [`decode`], which names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codec(pub u8);

impl Codec {
    /// The bytes themselves.
    pub const RAW: Self = Self(0);
    /// zstd without a dictionary.
    pub const ZSTD: Self = Self(1);
    /// zstd with the first dictionary for small payloads.
    pub const PROSE: Self = Self(2);
    /// zstd with the first dictionary for commit frames.
    pub const LINES: Self = Self(3);
    /// zstd with the first dictionary for roots.
    pub const ROOTS: Self = Self(4);
    /// The lines of a commit in columns: see the journal. Never a payload's, so [`decode`] does not know it.
    pub const COLUMNS: Self = Self(5);
    /// Several payloads in one frame: see [`pack`](super::pack). [`decode`] does not know it: one of them is asked for.
    pub const PACK: Self = Self(6);
    /// No bytes: a repair found the payload nowhere, and left this frame in its place. Only ever read as an error.
    pub const LOST: Self = Self(255);

    /// The dictionary it needs, or `None` if this version does not know the number.
    fn dictionary(self) -> Option<Option<&'static Dictionary>> {
        match self {
            Self::RAW | Self::ZSTD => Some(None),
            Self::PROSE => Some(Some(&PROSE)),
            Self::LINES => Some(Some(&LINES)),
            Self::ROOTS => Some(Some(&ROOTS)),
            _ => None,
        }
    }
}

/// What the bytes are, which decides how they are best compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What callers give us: messages, results, code, anything.
    Payload,
    /// The same in an import, which reads more than it writes and may take longer.
    Dense,
    /// Small payloads of an import, one after the other.
    Pack,
    /// The body of a commit frame.
    Lines,
    /// The same, in columns.
    Columns,
    /// The root of a head.
    Root,
}

/// Why stored bytes cannot be turned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The payload was lost: a repair found its bytes nowhere.
    #[error("the bytes were lost: a repair found them nowhere")]
    Lost,
    /// A newer version wrote this, or the header is damaged.
    #[error("codec {} is not known to this version", .0.0)]
    Unknown(Codec),
    /// The bytes would be more than the caller takes.
    #[error("the stored bytes stand for {len} bytes, at most {max} are taken")]
    TooLong {
        /// How many they say they are.
        len: u64,
        /// What the caller takes.
        max: usize,
    },
    /// The stored bytes are no zstd frame of ours, or a damaged one.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// There is no memory for the bytes or for zstd.
    #[error("out of memory")]
    Memory,
}

/// Payloads below this are compressed with the dictionary; a longer one is its own dictionary.
const SMALL: usize = 4 << 10;
/// Payloads above this are worth zstd's level 3; commit bodies above it do without their dictionary.
const LARGE: usize = 16 << 10;

/// The level of what is imported.
pub(super) const DENSE: i32 = 6;

/// Compresses `bytes`, or hands them back where that does not make them smaller.
///
/// Never fails: raw is always there.
#[must_use]
pub fn encode(bytes: &[u8], class: Class) -> (Codec, Cow<'_, [u8]>) {
    let (codec, level) = match class {
        Class::Payload if bytes.len() < SMALL => (Codec::PROSE, 0),
        Class::Payload if bytes.len() <= LARGE => (Codec::ZSTD, 1),
        Class::Payload => (Codec::ZSTD, 3),
        Class::Dense if bytes.len() < SMALL => (Codec::PROSE, 0),
        Class::Dense => (Codec::ZSTD, DENSE),
        Class::Pack => (Codec::PROSE, DENSE),
        Class::Lines if bytes.len() <= LARGE => (Codec::LINES, 0),
        // Long bodies repeat themselves; level 3 takes twice the time for them and makes them larger.
        Class::Lines => (Codec::ZSTD, 1),
        Class::Columns => (Codec::LINES, 0),
        Class::Root => (Codec::ROOTS, 0),
    };
    match compress(bytes, codec, level) {
        Some(stored) if stored.len() < bytes.len() => (codec, Cow::Owned(stored)),
        _ => (Codec::RAW, Cow::Borrowed(bytes)),
    }
}

/// Turns stored bytes back, into `max_len` bytes at most.
///
/// The memory it takes is bounded by `max_len` whatever the stored bytes claim.
///
/// # Errors
///
/// [`CodecError`]. Damage need not be noticed here: bytes are to be verified by their hash or checksum.
pub fn decode(codec: Codec, stored: &[u8], max_len: usize) -> Result<Vec<u8>, CodecError> {
    if codec == Codec::LOST {
        return Err(CodecError::Lost);
    }
    let dictionary = codec.dictionary().ok_or(CodecError::Unknown(codec))?;
    let too_long = |len: u64| CodecError::TooLong { len, max: max_len };
    if codec == Codec::RAW {
        return if stored.len() > max_len { Err(too_long(stored.len() as u64)) } else { Ok(stored.to_vec()) };
    }
    let len = match zstd_safe::get_frame_content_size(stored) {
        Ok(Some(len)) => len,
        Ok(None) => return Err(CodecError::Damaged("the content size is missing")),
        Err(_) => return Err(CodecError::Damaged("no zstd frame")),
    };
    let len = usize::try_from(len).ok().filter(|&len| len <= max_len).ok_or_else(|| too_long(len))?;
    // zstd takes several frames one after the other; we write one, so that the size above is the whole size.
    if zstd_safe::find_frame_compressed_size(stored) != Ok(stored.len()) {
        return Err(CodecError::Damaged("not one whole zstd frame"));
    }
    // The least a block can be is 4 bytes for 128 KiB, so a claim beyond that gets no memory to begin with.
    if len > (stored.len() / 4 + 1).saturating_mul(128 << 10) {
        return Err(CodecError::Damaged("the content size is impossible"));
    }
    let mut out = Vec::new();
    out.try_reserve_exact(len).map_err(|_| CodecError::Memory)?;
    // With all of the output at hand zstd needs no window of its own, however large the frame says it should be.
    let decompress = |context: &mut DCtx<'static>| match dictionary {
        Some(dictionary) => {
            let dictionary = dictionary.decompress.as_ref().ok_or(CodecError::Memory)?;
            Ok(context.decompress_using_ddict(&mut out, stored, dictionary))
        }
        None => Ok(context.decompress(&mut out, stored)),
    };
    with_context(&DECOMPRESS, DCtx::try_create, decompress)
        .ok_or(CodecError::Memory)??
        .map_err(|code| CodecError::Damaged(zstd_safe::get_error_name(code)))?;
    if out.len() == len { Ok(out) } else { Err(CodecError::Damaged("shorter than its content size")) }
}

thread_local! {
    static COMPRESS: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static DECOMPRESS: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Runs `f` on the thread's context, which is made on first use; `None` where there is no memory for one.
fn with_context<C, R>(
    context: &'static std::thread::LocalKey<RefCell<Option<C>>>,
    create: fn() -> Option<C>,
    f: impl FnOnce(&mut C) -> R,
) -> Option<R> {
    let mut f = Some(f);
    let kept = context.try_with(|context| {
        let mut context = context.try_borrow_mut().ok()?;
        if context.is_none() {
            *context = create();
        }
        context.as_mut().zip(f.take()).map(|(context, f)| f(context))
    });
    match kept {
        Ok(result) => result,
        // The thread is ending and its context is gone; what is stored from a destructor is stored all the same.
        Err(_) => f.and_then(|f| create().map(|mut context| f(&mut context))),
    }
}

/// One zstd frame, or `None` if zstd has no memory. A dictionary has its level inside: with one, `level` says no more
/// than whether it is [`DENSE`].
fn compress(bytes: &[u8], codec: Codec, level: i32) -> Option<Vec<u8>> {
    let dictionary = match codec.dictionary()? {
        Some(dictionary) if level == DENSE => Some(dictionary.dense.as_ref()?),
        Some(dictionary) => Some(dictionary.compress.as_ref()?),
        None => None,
    };
    let mut out = Vec::new();
    out.try_reserve_exact(zstd_safe::compress_bound(bytes.len())).ok()?;
    with_context(&COMPRESS, CCtx::try_create, |context| {
        // Nothing of the last use may stay: its dictionary, or what a failure left.
        context.reset(ResetDirective::SessionAndParameters).ok()?;
        context.set_parameter(CParameter::DictIdFlag(false)).ok()?;
        match dictionary {
            Some(dictionary) => context.ref_cdict(dictionary).ok()?,
            None => context.set_parameter(CParameter::CompressionLevel(level)).ok()?,
        };
        context.compress2(&mut out, bytes).ok()
    })??;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLASSES: [Class; 6] = [Class::Payload, Class::Dense, Class::Pack, Class::Lines, Class::Columns, Class::Root];
    const MAX: usize = 8 << 20;

    fn prose(len: usize) -> Vec<u8> {
        let text =
            "The first test fails because the file is not there. Let me look at the next one, and run it again.\n";
        text.bytes().cycle().take(len).collect()
    }

    /// Bytes that no compressor makes smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn each_size_has_its_codec() {
        for (len, codec) in [
            (0, Codec::RAW),
            (100, Codec::PROSE),
            (SMALL - 1, Codec::PROSE),
            (SMALL, Codec::ZSTD),
            (LARGE, Codec::ZSTD),
            (LARGE + 1, Codec::ZSTD),
            (5 << 20, Codec::ZSTD),
        ] {
            let bytes = prose(len);
            let (chosen, stored) = encode(&bytes, Class::Payload);
            assert_eq!(chosen, codec, "{len}");
            assert_eq!(decode(chosen, &stored, len).unwrap(), bytes, "{len}");
        }
    }

    #[test]
    fn long_commit_bodies_need_no_dictionary() {
        for (len, codec) in [(LARGE, Codec::LINES), (LARGE + 1, Codec::ZSTD)] {
            let bytes = prose(len);
            let (chosen, stored) = encode(&bytes, Class::Lines);
            assert_eq!(chosen, codec);
            assert_eq!(decode(chosen, &stored, len).unwrap(), bytes);
        }
    }

    #[test]
    fn what_does_not_shrink_is_raw() {
        for len in [1, 64, 1000, 5000, 100_000] {
            let bytes = noise(len);
            for class in CLASSES {
                let (codec, stored) = encode(&bytes, class);
                assert_eq!((codec, stored.as_ref()), (Codec::RAW, bytes.as_slice()));
            }
        }
    }

    #[test]
    fn an_unknown_codec_is_named() {
        for number in 5..255 {
            assert_eq!(decode(Codec(number), b"", 0), Err(CodecError::Unknown(Codec(number))));
        }
        assert_eq!(decode(Codec::LOST, b"anything", 9), Err(CodecError::Lost));
        assert_eq!(CodecError::Unknown(Codec(9)).to_string(), "codec 9 is not known to this version");
    }

    #[test]
    fn a_bomb_is_refused() {
        let (codec, stored) = encode(&[0; MAX], Class::Payload).clone_owned();
        assert!(stored.len() < 1000);
        assert_eq!(decode(codec, &stored, MAX - 1), Err(CodecError::TooLong { len: MAX as u64, max: MAX - 1 }));
        assert_eq!(decode(Codec::RAW, b"abc", 2), Err(CodecError::TooLong { len: 3, max: 2 }));
        // Two frames: the first one's size is no longer all there is.
        let twice = [stored.as_slice(), stored.as_slice()].concat();
        assert!(matches!(decode(codec, &twice, MAX), Err(CodecError::Damaged(_))));
        // A content size without content: magic, eight bytes of size, a last block that repeats one byte.
        let mut claim = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        claim.extend_from_slice(&(1u64 << 40).to_le_bytes());
        claim.extend_from_slice(&[0x03, 0, 0, 0]);
        assert_eq!(decode(codec, &claim, MAX), Err(CodecError::TooLong { len: 1 << 40, max: MAX }));
        assert!(matches!(decode(codec, &claim, usize::MAX), Err(CodecError::Damaged(_))));
    }

    #[test]
    fn a_frame_without_its_size_is_refused() {
        let frame = zstd_frame_without_size(b"some bytes some bytes some bytes");
        assert_eq!(decode(Codec::ZSTD, &frame, MAX), Err(CodecError::Damaged("the content size is missing")));
    }

    fn zstd_frame_without_size(bytes: &[u8]) -> Vec<u8> {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
        let mut out = Vec::with_capacity(1000);
        context.compress2(&mut out, bytes).unwrap();
        out
    }

    #[test]
    fn frames_hold_a_size_and_no_more() {
        for class in CLASSES {
            let bytes = prose(1000);
            let (codec, stored) = encode(&bytes, class);
            assert_ne!(codec, Codec::RAW);
            assert_eq!(zstd_safe::get_frame_content_size(&stored).unwrap(), Some(1000));
            assert_eq!(zstd_safe::get_dict_id_from_frame(&stored), None);
            // The checksum's bit of the frame header descriptor.
            assert_eq!(stored[4] & 0b100, 0);
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        for class in CLASSES {
            let bytes = prose(3000);
            let (codec, stored) = encode(&bytes, class);
            for len in 0..stored.len() {
                assert!(decode(codec, &stored[..len], MAX).is_err());
            }
        }
    }

    trait CloneOwned {
        fn clone_owned(self) -> (Codec, Vec<u8>);
    }

    impl CloneOwned for (Codec, Cow<'_, [u8]>) {
        fn clone_owned(self) -> (Codec, Vec<u8>) {
            (self.0, self.1.into_owned())
        }
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..5000),
            "[a-e ]{0,5000}".prop_map(String::into_bytes),
            (0..40_000usize).prop_map(prose),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_goes_in_comes_out(bytes in body()) {
            for class in CLASSES {
                let (codec, stored) = encode(&bytes, class);
                prop_assert!(stored.len() <= bytes.len());
                prop_assert_eq!(&decode(codec, &stored, bytes.len()).unwrap(), &bytes);
            }
        }

        #[test]
        fn damage_never_panics(bytes in body(), flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4)) {
            for class in CLASSES {
                let (codec, mut stored) = encode(&bytes, class).clone_owned();
                for (index, bit) in &flips {
                    if !stored.is_empty() {
                        let at = index.index(stored.len());
                        stored[at] ^= 1 << bit;
                    }
                }
                if let Ok(out) = decode(codec, &stored, MAX) {
                    prop_assert!(out.len() <= MAX);
                }
            }
        }

        #[test]
        fn garbage_never_panics(number in 0..6u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Codec(number), &bytes, 1000);
            let framed = [&[0x28, 0xb5, 0x2f, 0xfd], bytes.as_slice()].concat();
            let _ = decode(Codec(number), &framed, 1000);
        }
    }
}

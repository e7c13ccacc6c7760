//! The dictionaries of the crate.
//!
//! A dictionary is part of the format: bytes compressed with one can be read with that one alone. So they are
//! constants, numbered for ever; a better one gets a new number beside the old, and none is ever removed or changed.
//!
//! All of them come from `examples/train_dictionary.rs`, which invents its text. Real sessions are never trained on:
//! whatever a dictionary holds is in every copy of the program, and sessions hold secrets.

use std::sync::LazyLock;
use zstd::zstd_safe::{CDict, DDict};

/// The level the dictionaries are digested for. With one, level 3 takes no longer than level 1 without (5 us for 1 KiB)
/// and makes prose 8 % smaller than level 1 with it; level 6 would gain as much again for four times the time.
const LEVEL: i32 = 3;

/// One dictionary, digested on first use and shared by all threads.
pub(super) struct Dictionary {
    bytes: &'static [u8],
    /// `None` only where there is no memory for it.
    pub(super) compress: LazyLock<Option<CDict<'static>>>,
    /// The same for the level of what is imported.
    pub(super) dense: LazyLock<Option<CDict<'static>>>,
    pub(super) decompress: LazyLock<Option<DDict<'static>>>,
}

/// Messages, markdown, code, tool output and tool arguments of less than 4 KiB.
pub(super) static PROSE: Dictionary = Dictionary {
    bytes: include_bytes!("dictionary/prose.zdict"),
    compress: LazyLock::new(|| CDict::try_create(PROSE.bytes, LEVEL)),
    dense: LazyLock::new(|| CDict::try_create(PROSE.bytes, super::codec::DENSE)),
    decompress: LazyLock::new(|| DDict::try_create(PROSE.bytes)),
};

/// The bodies of commit frames.
pub(super) static LINES: Dictionary = Dictionary {
    bytes: include_bytes!("dictionary/lines.zdict"),
    compress: LazyLock::new(|| CDict::try_create(LINES.bytes, LEVEL)),
    dense: LazyLock::new(|| CDict::try_create(LINES.bytes, super::codec::DENSE)),
    decompress: LazyLock::new(|| DDict::try_create(LINES.bytes)),
};

/// The roots of heads.
pub(super) static ROOTS: Dictionary = Dictionary {
    bytes: include_bytes!("dictionary/roots.zdict"),
    compress: LazyLock::new(|| CDict::try_create(ROOTS.bytes, LEVEL)),
    dense: LazyLock::new(|| CDict::try_create(ROOTS.bytes, super::codec::DENSE)),
    decompress: LazyLock::new(|| DDict::try_create(ROOTS.bytes)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Another dictionary under an old number turns every frame written with it into garbage, and the frames'
    /// checksums cannot tell. If this fails after a training run, give the new file a new number.
    #[test]
    fn dictionaries_never_change() {
        for (dictionary, digest) in [
            (&PROSE, "08c981b2bb5d5faf27509fa23ed7624c31b357e450ef27c532bd3694ac5f1fa2"),
            (&LINES, "5c97581dc930ffe3314367fd94cab989be93519e2a6704b3347c47c5e7994382"),
            (&ROOTS, "cdc1fa6cce9671d3daf74a8210e82d2570ff3cdbf70b5121fb4329d143715600"),
        ] {
            assert_eq!(blake3::hash(dictionary.bytes).to_hex().as_str(), digest);
        }
    }

    #[test]
    fn dictionaries_are_small_and_load() {
        for (dictionary, most) in [(&PROSE, 110 << 10), (&LINES, 64 << 10), (&ROOTS, 64 << 10)] {
            assert!(dictionary.bytes.len() <= most);
            assert!(dictionary.compress.is_some() && dictionary.decompress.is_some());
        }
    }
}

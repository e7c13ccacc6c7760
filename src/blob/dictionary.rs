//! The dictionaries of the crate.
//!
//! A dictionary is part of the format: bytes compressed with one can be read with that one alone. So they are
//! constants, numbered for ever; a better one gets a new number beside the old, and none is ever removed or changed.
//!
//! All of them come from `examples/train_dictionary.rs`, which invents its text. Real sessions are never trained on:
//! whatever a dictionary holds is in every copy of the program, and sessions hold secrets.

use std::sync::LazyLock;
use zstd::zstd_safe::{CDict, DDict};

/// One dictionary, digested on first use and shared by all threads.
pub(super) struct Dictionary {
    bytes: &'static [u8],
    /// `None` only where there is no memory for it.
    pub(super) compress: LazyLock<Option<CDict<'static>>>,
    pub(super) decompress: LazyLock<Option<DDict<'static>>>,
}

/// Messages, markdown, code, tool output and tool arguments of less than 4 KiB.
pub(super) static PROSE: Dictionary = Dictionary {
    bytes: include_bytes!("dictionary/prose.zdict"),
    compress: LazyLock::new(|| CDict::try_create(PROSE.bytes, 3)),
    decompress: LazyLock::new(|| DDict::try_create(PROSE.bytes)),
};

/// The bodies of commit frames.
pub(super) static LINES: Dictionary = Dictionary {
    bytes: include_bytes!("dictionary/lines.zdict"),
    compress: LazyLock::new(|| CDict::try_create(LINES.bytes, 3)),
    decompress: LazyLock::new(|| DDict::try_create(LINES.bytes)),
};

/// The roots of heads.
pub(super) static ROOTS: Dictionary = Dictionary {
    bytes: include_bytes!("dictionary/roots.zdict"),
    compress: LazyLock::new(|| CDict::try_create(ROOTS.bytes, 3)),
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
            (&PROSE, "PROSE_DIGEST"),
            (&LINES, "LINES_DIGEST"),
            (&ROOTS, "ROOTS_DIGEST"),
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

//! The hash of a source as it is read. BLAKE3 takes many blocks side by side, but only of what it is given at once: lines
//! are too short for that.

use crate::model::Digest;

/// Gathered before they are hashed.
const BLOCK: usize = 64 << 10;

/// BLAKE3 over bytes that come in small pieces.
#[derive(Clone, Default)]
pub(super) struct Sum {
    hasher: blake3::Hasher,
    rest: Vec<u8>,
}

impl Sum {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while self.rest.len() + bytes.len() >= BLOCK {
            let (now, later) = bytes.split_at(BLOCK - self.rest.len());
            if self.rest.is_empty() {
                self.hasher.update(now);
            } else {
                self.rest.extend_from_slice(now);
                self.hasher.update(&self.rest);
                self.rest.clear();
            }
            bytes = later;
        }
        self.rest.extend_from_slice(bytes);
    }

    /// The digest of all so far, with `more` behind it.
    pub(super) fn with(&self, more: &[u8]) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.rest);
        hasher.update(more);
        Digest(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_come_to_the_same() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|n| ((n * n) >> 7) as u8).collect();
        for size in [1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, bytes.len()] {
            let mut sum = Sum::default();
            for piece in bytes.chunks(size) {
                sum.update(piece);
            }
            assert_eq!(sum.with(b""), Digest::of(&bytes), "{size}");
            assert_eq!(sum.with(b"abc"), Digest::of(&[&bytes[..], b"abc"].concat()), "{size}");
        }
    }
}

//! Digests: BLAKE3 of a payload's bytes, and the head id, which is the digest of a root.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::BadId;

/// The BLAKE3 digest of some bytes, printed `b3:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The id of a head: the digest of its root, printed `head-` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadId(pub Digest);

impl Digest {
    /// What precedes the first link of a chain.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// d(n) = BLAKE3(d(n-1), BLAKE3(line n)): a session's digest after one more event line.
    pub fn chain(self, line: Digest) -> Digest {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&self.0);
        both[32..].copy_from_slice(&line.0);
        Digest::of(&both)
    }

    /// The first five bytes: the short key by which the store searches.
    pub fn prefix(&self) -> &[u8] {
        &self.0[..5]
    }

    /// The digest whose bytes these are.
    pub fn from_slice(bytes: &[u8]) -> Option<Digest> {
        bytes.try_into().ok().map(Digest)
    }

    fn hex<'a>(&self, tag: &str, out: &'a mut [u8; 72]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        out[..tag.len()].copy_from_slice(tag.as_bytes());
        for (i, byte) in self.0.iter().enumerate() {
            out[tag.len() + 2 * i] = DIGITS[usize::from(byte >> 4)];
            out[tag.len() + 2 * i + 1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(&out[..tag.len() + 64]).unwrap_or_default()
    }

    fn parse(text: &str, tag: &str) -> Option<Digest> {
        let hex = text.strip_prefix(tag)?.as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = nibble(hex[2 * i])? << 4 | nibble(hex[2 * i + 1])?;
        }
        Some(Digest(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl HeadId {
    /// The digest of the head's root.
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// `head-` and 12 digits: enough for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(17).collect()
    }
}

macro_rules! tagged {
    ($name:ident, $tag:literal, $what:literal, $digest:expr, $wrap:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digest: &Digest = $digest(self);
                f.write_str(digest.hex($tag, &mut [0; 72]))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<$name, BadId> {
                Digest::parse(text, $tag).map($wrap).ok_or_else(|| {
                    BadId::new($what, text, concat!("`", $tag, "` and 64 lower-case hexadecimal digits"))
                })
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                let digest: &Digest = $digest(self);
                out.serialize_str(digest.hex($tag, &mut [0; 72]))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<$name, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                input.deserialize_str(Text)
            }
        }
    };
}

tagged!(Digest, "b3:", "payload ref", std::convert::identity, std::convert::identity);
tagged!(HeadId, "head-", "head id", HeadId::digest, HeadId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_and_parses() {
        // The golden value: BLAKE3 of nothing, from the algorithm's own test vectors.
        let text = "b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(Digest::of(b"")));
        let head = HeadId(Digest::of(b""));
        assert_eq!(head.short(), "head-af1349b9f5f9");
        assert_eq!(head.to_string().parse::<HeadId>(), Ok(head));
        assert!("b3:AF".parse::<Digest>().is_err());
        assert!(text.to_uppercase().parse::<Digest>().is_err());
    }
}

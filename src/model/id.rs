//! Identities: session ids and the numbers of everything inside a session.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that cannot be an id, with the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct BadId {
    /// What was expected, in words.
    pub what: &'static str,
    /// The text given, cut to 64 characters.
    pub text: String,
    /// The rule.
    pub rule: &'static str,
}

impl BadId {
    pub(crate) fn new(what: &'static str, text: &str, rule: &'static str) -> BadId {
        BadId { what, text: text.chars().take(64).collect(), rule }
    }
}

/// The stable identity of a session: 1 to 235 bytes, a letter, digit or `_`, then also `-` and `.`.
///
/// ```
/// use headwater::model::SessionId;
/// assert!("demo-1.b".parse::<SessionId>().is_ok());
/// assert!("../demo".parse::<SessionId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(std::sync::Arc<str>);

impl SessionId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id made by the clock, whose texts keep to the rule.
    pub(crate) fn generated(text: &str) -> SessionId {
        debug_assert!(SessionId::valid(text));
        SessionId(text.into())
    }

    /// Whether it reads as the id of a head, or the beginning of one: what no name may.
    pub(crate) fn is_like_a_head(&self) -> bool {
        let digits = self.0.strip_prefix("head-").unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// Checks the rule for ids, which aliases and pin names share.
    pub(crate) fn valid(text: &str) -> bool {
        let bytes = text.as_bytes();
        (1..=235).contains(&bytes.len())
            && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    }
}

impl FromStr for SessionId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<SessionId, BadId> {
        if SessionId::valid(text) {
            Ok(SessionId(text.into()))
        } else {
            Err(BadId::new("session id", text, "1 to 235 bytes: a letter, digit or `_`, then also `-` and `.`"))
        }
    }
}

impl TryFrom<String> for SessionId {
    type Error = BadId;
    fn try_from(text: String) -> Result<SessionId, BadId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> String {
        id.0.to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            pub fn next(self) -> $name {
                $name(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

number! {
    /// An event's place in its session, from 1, without gap.
    EventNumber;
    /// A message's number in its session.
    MessageNumber;
    /// A turn's number in its session.
    TurnNumber;
    /// A call's number in its session.
    CallNumber;
    /// An eval's number in its session.
    EvalNumber;
    /// A snapshot's number in its session.
    SnapshotNumber;
    /// An invocation's number in its caller's session.
    InvocationNumber;
    /// The number of a commit in the store, from 1, without gap.
    Tx;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_keep_to_their_rule() {
        for good in ["a", "_", "0", "a-b.c_d", &"x".repeat(235)] {
            assert!(good.parse::<SessionId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "é", "a\0", &"x".repeat(236)] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        }
    }
}

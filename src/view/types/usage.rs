//! Sums over calls.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::model::TurnNumber;

/// A sum over calls, some of which may not say. Each call says less than 2^63, so no number of them is too much for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// Every call says.
    Known(u128),
    /// Some say.
    Partial {
        /// The sum of those.
        sum: u128,
        /// How many do not.
        unknown: u64,
    },
    /// None of so many calls says.
    Unknown(u64),
}

impl Default for Sum {
    fn default() -> Sum {
        Sum::Known(0)
    }
}

impl From<Option<u64>> for Sum {
    /// What one call says.
    fn from(value: Option<u64>) -> Sum {
        value.map_or(Sum::Unknown(1), |value| Sum::Known(value.into()))
    }
}

/// `{"state":"partial","sum":12,"unknown-calls":1}`: `known`, `partial` or `unknown`.
impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = match self {
            Sum::Known(_) => "known",
            Sum::Partial { .. } => "partial",
            Sum::Unknown(_) => "unknown",
        };
        let mut object = serializer.serialize_struct("Sum", 3)?;
        object.serialize_field("state", state)?;
        object.serialize_field("sum", &self.known())?;
        object.serialize_field("unknown-calls", &self.unknown_calls())?;
        object.end()
    }
}

impl Sum {
    /// What is known of it: nothing where no call says.
    pub fn known(&self) -> Option<u128> {
        match self {
            Sum::Known(sum) | Sum::Partial { sum, .. } => Some(*sum),
            Sum::Unknown(_) => None,
        }
    }

    /// How many calls do not say.
    pub fn unknown_calls(&self) -> u64 {
        match self {
            Sum::Known(_) => 0,
            Sum::Partial { unknown, .. } | Sum::Unknown(unknown) => *unknown,
        }
    }

    fn plus(self, other: Sum) -> Sum {
        let unknown = self.unknown_calls() + other.unknown_calls();
        match (self.known(), other.known(), unknown) {
            (None, None, unknown) => Sum::Unknown(unknown),
            (x, y, 0) => Sum::Known(x.unwrap_or(0) + y.unwrap_or(0)),
            (x, y, unknown) => Sum::Partial { sum: x.unwrap_or(0) + y.unwrap_or(0), unknown },
        }
    }
}

/// What some calls used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the sum it names")]
pub struct Used {
    /// How many calls.
    pub calls: u64,
    /// How many of them read from a provider's cache.
    pub cache_hits: Sum,
    pub tokens_input: Sum,
    pub tokens_output: Sum,
    pub tokens_cached: Sum,
    pub tokens_reasoning: Sum,
    /// In nano-USD.
    pub cost: Sum,
}

impl Used {
    /// Both together.
    pub fn with(self, other: Used) -> Used {
        // What no call was summed for is known to be nothing, and makes an unknown sum no partial one.
        match (self.calls, other.calls) {
            (0, _) => return other,
            (_, 0) => return self,
            _ => {}
        }
        Used {
            calls: self.calls + other.calls,
            cache_hits: self.cache_hits.plus(other.cache_hits),
            tokens_input: self.tokens_input.plus(other.tokens_input),
            tokens_output: self.tokens_output.plus(other.tokens_output),
            tokens_cached: self.tokens_cached.plus(other.tokens_cached),
            tokens_reasoning: self.tokens_reasoning.plus(other.tokens_reasoning),
            cost: self.cost.plus(other.cost),
        }
    }
}

/// What a session's calls to providers used: the last version of each, abandoned branches included. Calls of the
/// engine's own services, and those that stand for a child session, are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Root, leaf and children; `total` in JSON.
    #[serde(rename = "total")]
    pub tree: Used,
    /// Its own root calls.
    pub root: Used,
    /// Its own leaf calls, those of batches included.
    pub leaf: Used,
    /// Both kinds of the sessions it called, and of those these called; each session once.
    pub children: Used,
    /// Calls at the head it was made from, those that it ended itself included; in none of the above.
    pub inherited: Used,
}

/// What the calls to one model used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelUsage {
    /// Who served it, where calls say.
    pub provider: Option<String>,
    /// The model, where calls say.
    pub model: Option<String>,
    /// What they used.
    #[serde(flatten)]
    pub used: Used,
}

/// What the calls of one turn used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TurnUsage {
    /// The turn; none for calls of no turn.
    pub turn: Option<TurnNumber>,
    /// What they used.
    #[serde(flatten)]
    pub used: Used,
}

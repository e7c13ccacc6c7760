//! Tokens and cost as output shows them: every sum says how far it is known.

use headwater::view::types::{Sum as Known, Usage, Used};
use serde::Serialize;

/// A sum that says how far it is known.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub struct Sum {
    /// `known`, `partial` (some calls do not say) or `unknown` (none does).
    state: &'static str,
    sum: Option<u128>,
    unknown_calls: u64,
}

impl From<Known> for Sum {
    fn from(sum: Known) -> Sum {
        match sum {
            Known::Known(sum) => Sum { state: "known", sum: Some(sum), unknown_calls: 0 },
            Known::Partial { sum, unknown } => Sum { state: "partial", sum: Some(sum), unknown_calls: unknown },
            Known::Unknown(unknown) => Sum { state: "unknown", sum: None, unknown_calls: unknown },
        }
    }
}

impl Sum {
    /// For people: `12`, `12+` (at least), `?`.
    pub fn text(&self) -> String {
        match (self.state, self.sum) {
            ("known", Some(sum)) => sum.to_string(),
            (_, Some(sum)) => format!("{sum}+"),
            (_, None) => "?".to_owned(),
        }
    }

    /// The same for nano-USD.
    pub fn dollars(&self) -> String {
        let plus = if self.state == "partial" { "+" } else { "" };
        self.sum.map_or_else(
            || "$?".to_owned(),
            |nano| format!("${}.{:06}{plus}", nano / 1_000_000_000, nano % 1_000_000_000 / 1_000),
        )
    }
}

/// What some calls used. Cost is in nano-USD.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    pub calls: u64,
    pub cache_hits: Sum,
    pub tokens_input: Sum,
    pub tokens_output: Sum,
    pub tokens_cached: Sum,
    pub tokens_reasoning: Sum,
    pub cost: Sum,
}

impl From<Used> for Part {
    fn from(used: Used) -> Part {
        Part {
            calls: used.calls,
            cache_hits: used.cache_hits.into(),
            tokens_input: used.tokens_input.into(),
            tokens_output: used.tokens_output.into(),
            tokens_cached: used.tokens_cached.into(),
            tokens_reasoning: used.tokens_reasoning.into(),
            cost: used.cost.into(),
        }
    }
}

/// The roll-ups of a session: `total` is its root and leaf calls and those of the sessions below it.
#[derive(Debug, Serialize)]
pub struct Parts {
    pub total: Part,
    pub root: Part,
    pub leaf: Part,
    pub children: Part,
    pub inherited: Part,
}

impl From<Usage> for Parts {
    fn from(usage: Usage) -> Parts {
        Parts {
            total: usage.tree.into(),
            root: usage.root.into(),
            leaf: usage.leaf.into(),
            children: usage.children.into(),
            inherited: usage.inherited.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_says_what_it_does_not_know() {
        assert_eq!(Sum::from(Known::Known(3)).text(), "3");
        assert_eq!(Sum::from(Known::Partial { sum: 1, unknown: 1 }).text(), "1+");
        assert_eq!(Sum::from(Known::Unknown(1)).text(), "?");
        assert_eq!(Sum::from(Known::Partial { sum: 1_500_000_000, unknown: 1 }).dollars(), "$1.500000+");
    }
}

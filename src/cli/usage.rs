//! Tokens and cost summed over a session's own calls to a provider, abandoned branches included.

use headwater::model::fold::Entry;
use headwater::model::{Call, CallType};
use serde::Serialize;

/// A sum that says how far it is known.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub struct Sum {
    /// `known`, `partial` (some calls do not say) or `unknown` (none does).
    state: &'static str,
    sum: Option<u64>,
    unknown_calls: u64,
}

impl Sum {
    fn of(values: impl Iterator<Item = Option<u64>>) -> Sum {
        let (mut known, mut unknown_calls, mut sum) = (false, 0_u64, 0_u64);
        for value in values {
            match value {
                Some(value) => {
                    known = true;
                    sum = sum.saturating_add(value);
                }
                None => unknown_calls += 1,
            }
        }
        match (known, unknown_calls) {
            (_, 0) => Sum { state: "known", sum: Some(sum), unknown_calls },
            (true, _) => Sum { state: "partial", sum: Some(sum), unknown_calls },
            (false, _) => Sum { state: "unknown", sum: None, unknown_calls },
        }
    }

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

/// The sums over some calls. Cost is in nano-USD.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    pub calls: u64,
    pub tokens_input: Sum,
    pub tokens_output: Sum,
    pub tokens_cached: Sum,
    pub tokens_reasoning: Sum,
    pub cost: Sum,
}

/// The session's own calls: those of the root model, of leaves, and both.
#[derive(Debug, Serialize)]
pub struct Usages {
    pub total: Usage,
    pub root: Usage,
    pub leaf: Usage,
}

impl Usages {
    pub fn of(calls: &[Entry<Call>]) -> Usages {
        let root = |call: &Call| call.call_type == CallType::Root;
        let leaf = |call: &Call| matches!(call.call_type, CallType::Leaf | CallType::LeafBatchItem);
        Usages {
            total: usage(calls, |call| root(call) || leaf(call)),
            root: usage(calls, root),
            leaf: usage(calls, leaf),
        }
    }
}

fn usage(calls: &[Entry<Call>], chosen: impl Fn(&Call) -> bool) -> Usage {
    let calls: Vec<_> = calls.iter().map(|entry| &entry.row).filter(|call| chosen(call)).collect();
    let sum = |of: fn(&Call) -> Option<u64>| Sum::of(calls.iter().map(|call| of(call)));
    Usage {
        calls: u64::try_from(calls.len()).unwrap_or(u64::MAX),
        tokens_input: sum(|call| call.tokens_input),
        tokens_output: sum(|call| call.tokens_output),
        tokens_cached: sum(|call| call.tokens_cached),
        tokens_reasoning: sum(|call| call.tokens_reasoning),
        cost: sum(|call| call.cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_says_what_it_does_not_know() {
        let of = |values: &[Option<u64>]| Sum::of(values.iter().copied());
        assert_eq!(of(&[]), Sum { state: "known", sum: Some(0), unknown_calls: 0 });
        assert_eq!(of(&[Some(1), Some(2)]).text(), "3");
        assert_eq!(of(&[Some(1), None]), Sum { state: "partial", sum: Some(1), unknown_calls: 1 });
        assert_eq!(of(&[None]), Sum { state: "unknown", sum: None, unknown_calls: 1 });
        assert_eq!(of(&[Some(1_500_000_000), None]).dollars(), "$1.500000+");
    }
}

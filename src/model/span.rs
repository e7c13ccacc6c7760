//! Runs of event numbers of one session.

use serde::{Deserialize, Serialize};

use super::id::{EventNumber, SessionId};

/// The events `from` to `to` of one session, both included; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Whose events.
    pub session: SessionId,
    /// The first.
    pub from: EventNumber,
    /// The last.
    pub to: EventNumber,
}

impl Span {
    /// Whether event `number` of `session` lies in the span.
    pub fn contains(&self, session: &SessionId, number: EventNumber) -> bool {
        self.session == *session && self.from <= number && number <= self.to
    }

    /// How many events.
    pub fn len(&self) -> u64 {
        (self.to.0 + 1).saturating_sub(self.from.0)
    }

    /// Whether it holds no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What of `spans` lies in none of `others`, in the order of `spans`: the heart of comparing two heads.
pub fn subtract(spans: &[Span], others: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    for span in spans {
        let mut cuts: Vec<_> = others
            .iter()
            .filter(|o| o.session == span.session && o.from <= span.to && o.to >= span.from && !o.is_empty())
            .map(|o| (o.from.0, o.to.0))
            .collect();
        cuts.sort_unstable();
        let mut from = span.from.0;
        for (cut_from, cut_to) in cuts {
            if cut_from > from {
                left.push(Span {
                    session: span.session.clone(),
                    from: EventNumber(from),
                    to: EventNumber(cut_from - 1),
                });
            }
            from = from.max(cut_to + 1);
        }
        if from <= span.to.0 {
            left.push(Span { session: span.session.clone(), from: EventNumber(from), to: span.to });
        }
    }
    left
}

/// What of `spans` lies in one of `others` too, in the order of `spans`.
pub fn intersect(spans: &[Span], others: &[Span]) -> Vec<Span> {
    subtract(spans, &subtract(spans, others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0..3u8, 1..40u64, 0..12u64), 0..6).prop_map(|list| {
            list.into_iter()
                .map(|(s, from, len)| Span {
                    session: format!("s{s}").parse().unwrap(),
                    from: EventNumber(from),
                    to: EventNumber(from + len),
                })
                .collect()
        })
    }

    fn set(spans: &[Span]) -> BTreeSet<(String, u64)> {
        spans.iter().flat_map(|s| (s.from.0..=s.to.0).map(|n| (s.session.to_string(), n))).collect()
    }

    proptest! {
        #[test]
        fn difference_and_intersection_are_those_of_sets(a in spans(), b in spans()) {
            prop_assert_eq!(set(&subtract(&a, &b)), &set(&a) - &set(&b));
            prop_assert_eq!(set(&intersect(&a, &b)), &set(&a) & &set(&b));
        }
    }
}

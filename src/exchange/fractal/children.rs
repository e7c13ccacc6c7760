//! Children are named by the engine, and called in any order: which ordinal each has.

use serde::{Deserialize, Serialize};

/// A name says an ordinal up to this: an odd one must not use up the numbers of those that come after.
const MAX_NAMED: u64 = 999_999;
/// So many runs of ordinals that were passed over are remembered.
const MAX_RUNS: usize = 1_024;

/// The ordinals below the greatest one that were passed over, as runs: first, and last. Above it all are free.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Free(Vec<(u64, u64)>);

impl Free {
    /// Where all up to `greatest` are another's.
    pub fn below(greatest: u64) -> Free {
        Free(if greatest > 0 { vec![(1, greatest)] } else { Vec::new() })
    }

    /// The ordinal of the next child: the one that its name says, where that is free, else one above the greatest.
    pub fn take(&mut self, named: Option<u64>, greatest: u64) -> u64 {
        let ordinal = match named {
            Some(named) if named > greatest => named,
            Some(named) if self.remove(named) => return named,
            _ => greatest + 1,
        };
        if ordinal > greatest + 1 {
            self.0.push((greatest + 1, ordinal - 1));
            let excess = self.0.len().saturating_sub(MAX_RUNS);
            self.0.drain(..excess);
        }
        ordinal
    }

    fn remove(&mut self, ordinal: u64) -> bool {
        let Some(at) = self.0.iter().position(|(first, last)| (*first..=*last).contains(&ordinal)) else {
            return false;
        };
        let (first, last) = self.0.remove(at);
        let rest = [(first, ordinal - 1), (ordinal + 1, last)];
        self.0.extend(rest.into_iter().filter(|(first, last)| first <= last));
        true
    }
}

/// The ordinal that the last part of a child's folder or name says: `child-0003` is the third.
pub fn ordinal_of(name: &str) -> Option<u64> {
    let digits = name.trim_end_matches('/').rsplit('/').next()?.strip_prefix("child-")?;
    let ordinal = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    (1..=MAX_NAMED).contains(&ordinal).then_some(ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_ordinals_and_no_two_are_the_same() {
        let mut free = Free::default();
        let (mut greatest, mut taken) = (0, Vec::new());
        for named in [Some(1), Some(4), Some(2), Some(2), None, Some(3), Some(3), Some(9), Some(8), Some(7)] {
            let ordinal = free.take(named, greatest);
            greatest = greatest.max(ordinal);
            taken.push(ordinal);
        }
        assert_eq!(taken, [1, 4, 2, 5, 6, 3, 7, 9, 8, 10]);
        let mut fork = Free::below(3);
        assert_eq!([fork.take(Some(2), 3), fork.take(Some(2), 3), fork.take(Some(1), 4)], [2, 4, 1]);
        let odd = ["child-", "child-0", "child-1x", "child-1000000", "child-99999999999999999999", "attached-0001", ""];
        assert!(odd.iter().all(|name| ordinal_of(name).is_none()));
        assert_eq!(ordinal_of("children/child-0012"), Some(12));
    }
}

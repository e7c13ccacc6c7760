//! Which of our numbers the ids of a journal became.

use serde::{Deserialize, Serialize};

/// How many runs are remembered: of a journal whose ids come in order there is one, however long it is.
const MAX_RUNS: usize = 512;

/// Runs of ids and of numbers that go side by side: the first id, the first number, how many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Numbers(Vec<(u64, u64, u64)>);

impl Numbers {
    /// The number that `id` became, the last where it came more than once.
    pub fn get(&self, id: u64) -> Option<u64> {
        let run = self.0.iter().rev().find(|(first, _, count)| id.checked_sub(*first).is_some_and(|at| at < *count));
        run.map(|(first, number, _)| number + (id - first))
    }

    /// The first id, the first number, and how many, of each run.
    pub fn runs(&self) -> &[(u64, u64, u64)] {
        &self.0
    }

    /// Notes what `id` became. Of very many ids out of order the oldest are forgotten.
    pub fn put(&mut self, id: u64, number: u64) {
        if let Some((first, own, count)) = self.0.last_mut()
            && first.checked_add(*count) == Some(id)
            && *own + *count == number
        {
            *count += 1;
            return;
        }
        if self.0.len() == MAX_RUNS {
            self.0.remove(0);
        }
        self.0.push((id, number, 1));
    }

    /// The number that `id` will become if ids go on one by one: of a row that is referred to before it is there.
    pub fn expect(&self, id: u64, last_number: u64) -> Option<u64> {
        let (first, _, count) = self.0.last().copied().unwrap_or((0, 0, 1));
        let last_id = first + (count - 1);
        self.get(id).or_else(|| last_number.checked_add(id.checked_sub(last_id).filter(|ahead| *ahead > 0)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_order_are_one_run_and_others_are_found_too() {
        let mut numbers = Numbers::default();
        (4..2_000).for_each(|id| numbers.put(id, id - 3));
        assert_eq!(numbers.0.len(), 1);
        assert_eq!(
            (numbers.get(4), numbers.get(1_999), numbers.get(3), numbers.get(2_000)),
            (Some(1), Some(1_996), None, None)
        );
        numbers.put(2_005, 1_997);
        numbers.put(2_003, 1_998);
        assert_eq!((numbers.get(2_005), numbers.get(2_003), numbers.get(2_004)), (Some(1_997), Some(1_998), None));
        numbers.put(4, 1_999);
        assert_eq!(numbers.get(4), Some(1_999), "the last one counts");
        (0..10_000).for_each(|at| numbers.put(100_000 + at * 2, at));
        assert_eq!((numbers.0.len(), numbers.get(1_000)), (MAX_RUNS, None));
    }

    #[test]
    fn a_row_can_be_referred_to_before_it_is_there() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.expect(1, 7), Some(8));
        numbers.put(1, 8);
        assert_eq!((numbers.expect(1, 8), numbers.expect(2, 8), numbers.expect(0, 8)), (Some(8), Some(9), None));
    }
}

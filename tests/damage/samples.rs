//! Which of many are tried: evenly spread, from a printed seed.

use std::hash::{BuildHasher, RandomState};

pub struct Samples {
    pub seed: u64,
    state: u64,
}

impl Samples {
    pub fn new(stream: u64) -> Samples {
        let given = std::env::var("HEADWATER_SEED").ok().and_then(|text| text.parse().ok());
        Samples::of(given.unwrap_or_else(|| RandomState::new().hash_one(stream) >> 16), stream)
    }

    pub fn of(seed: u64, stream: u64) -> Samples {
        Samples { seed, state: seed ^ stream }
    }

    /// The next of a plain generator (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About `wanted` places of `total`, one at random out of each stretch, and one of `ways` at each; with
    /// `HEADWATER_DAMAGE=all` every place in every way.
    pub fn spread(&mut self, total: u64, ways: u64, wanted: u64) -> Vec<(u64, u64)> {
        let times = std::env::var("HEADWATER_DAMAGE").unwrap_or_default();
        if times == "all" {
            return (0..total).flat_map(|at| (0..ways).map(move |way| (at, way))).collect();
        }
        let wanted = wanted * times.parse().unwrap_or(1);
        let wanted = wanted.clamp(1, total.max(1));
        (0..wanted)
            .map(|n| {
                let (from, to) = (total * n / wanted, (total * (n + 1) / wanted).max(total * n / wanted + 1));
                (from + self.next() % (to - from), self.next() % ways)
            })
            .collect()
    }
}

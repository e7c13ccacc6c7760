//! The points at which a scenario is stopped or disturbed, and a sample of them.

use std::fmt;

use super::child::{SCENARIOS, Scenario, is_wanted};
use super::strace;
use super::template::Templates;
use super::tools::{Random, amount};

/// One call of one scenario.
#[derive(Debug, Clone)]
pub struct Point {
    pub scenario: usize,
    pub call: String,
    pub nth: u64,
}

impl Point {
    pub fn scenario(&self) -> &'static Scenario {
        &SCENARIOS[self.scenario]
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} {}", self.scenario().name, self.call, self.nth)
    }
}

/// Every point: each scenario is run once, and its calls that touch the store are counted.
pub fn all(templates: &Templates, calls: &[&str]) -> Vec<Point> {
    let mut points = Vec::new();
    for (scenario, what) in SCENARIOS.iter().enumerate().filter(|(_, what)| is_wanted(what.name)) {
        let scratch = templates.copy(what.start);
        let before = points.len();
        for (call, places) in strace::record(calls, what.name, &scratch.root(), &scratch.acks()) {
            points.extend(places.into_iter().map(|nth| Point { scenario, call: call.clone(), nth }));
        }
        assert!(points.len() > before, "the scenario {} makes no call that touches its store", what.name);
    }
    points
}

/// At most `most` of the points, evenly spread from a place that the seed tells; more, or all of them, in a long run.
pub fn sample<T: Clone>(points: Vec<T>, most: usize, seed: u64) -> Vec<T> {
    let most = amount(most, usize::MAX);
    if points.len() <= most {
        return points;
    }
    let step = points.len() as f64 / most as f64;
    let from = Random(seed).below(1_000) as f64 / 1_000.0 * step;
    let at = |n: usize| (from + n as f64 * step) as usize;
    (0..most).filter_map(|n| points.get(at(n)).cloned()).collect()
}

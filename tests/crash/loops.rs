//! To come.
pub fn killed_at_random_times() {}
pub fn a_survivor_takes_over() {}

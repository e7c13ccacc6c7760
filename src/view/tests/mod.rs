//! Random histories with branches, forks and adopted heads, each answer against a naive one.

mod examples;
mod forest;
mod naive;
mod ranges;
mod world;

//! Answers: what is visible at a head, what happened, and why.
pub mod types;

//! Care: proof that a store is what was written to it.
//!
//! This floor promises to change nothing: it reads the database and the log side by side, each the witness against the
//! other, and names what differs.

mod check;
mod compare;
mod log;

pub use check::{CheckError, Mode, check, check_observed};

//! Care: proof that a store is what was written to it.
//!
//! A check promises to change nothing: it reads the database and the log side by side, each the witness against the
//! other, and names what differs.

mod anchor;
mod check;

pub use anchor::{Anchor, AnchoredHead, BadAnchor};
pub use check::codes::{CODES, Code};
pub use check::{CheckError, Mode, check};

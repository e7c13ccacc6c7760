//! Commits: what a commit frame carries, the chain that links it to the one before, and reading them back in order.
//!
//! This floor promises that a commit reads back as the lines that were written, or not at all, and that commits come
//! in the order of their tx, each linked by digest to the one before. What the lines mean for rows is left to the
//! floor above.

mod columns;
mod commit;
mod last;
mod replay;

pub use commit::{BadCommit, BatchKey, Commit, LINE_LIMIT, Line, Lines, TxHeader, VERSION, takes_frame};
pub(crate) use last::LastCommit;
pub use replay::{Ended, Placed, ReplayError, Replayed, Stored, replay, settle};

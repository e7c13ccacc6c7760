//! How a store is opened, and what opening did.

use std::time::Duration;

use crate::clock::Clock;
use crate::progress::Observer;
use crate::sqlite::open::Journal;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether a store is made where there is none.
    pub create: bool,
    /// The journal SQLite keeps: the rollback journal is for file systems on which its WAL corrupts.
    pub journal: Journal,
    /// A segment is closed before it grows beyond this many bytes.
    pub segment_size: u64,
    /// Whether the log is zero-filled ahead, which makes each sync shorter.
    pub zero_fill: bool,
    /// How long an opening waits for another process that rebuilds or migrates.
    pub patience: Duration,
    /// Readers' connections at most.
    pub readers: u32,
    /// Bytes of SQLite's WAL after which a checkpoint starts in the background.
    pub wal_size: u64,
    /// Where time and fresh ids come from.
    pub clock: Clock,
    /// Who is told how far a rebuild of the rows is.
    pub observer: Observer,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create: true,
            journal: Journal::Wal,
            segment_size: 64 << 20,
            zero_fill: true,
            patience: Duration::from_secs(30),
            readers: 8,
            wal_size: 8 << 20,
            clock: Clock::default(),
            observer: Observer::default(),
        }
    }
}

/// What opening a store did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The store was made.
    pub created: bool,
    /// Commits of dead writers that were adopted.
    pub adopted: u64,
    /// The rows were made anew from the log: why, and from how many commits.
    pub rebuilt: Option<(String, u64)>,
    /// What else an operator should know: files set aside, an end of the log that could not be adopted.
    pub notes: Vec<String>,
}

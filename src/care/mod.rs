//! Care: proof that a store is what was written to it.
//!
//! A check promises to change nothing: it reads the database and the log side by side, each the witness against the
//! other, and names what differs.

mod anchor;
mod backup;
mod check;
mod repair;
mod stats;

pub use anchor::{Anchor, AnchoredHead, BadAnchor};
pub use backup::{BackupError, BackupReport, backup, restore};
pub use check::codes::{CODES, Code};
pub use check::{CheckError, Mode, check, check_observed};
pub use repair::{Commits, Hurt, Payloads, RepairError, Report as RepairReport, plan, repair};
pub use stats::{Lease, SessionCost, Stats, stats};

use rusqlite::{Connection, OpenFlags};

/// A database of nobody's, to make rows in: an empty name is a temporary file of SQLite's own, which spills to disk when large,
/// and vanishes.
fn scratch() -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags("", OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    conn.set_prepared_statement_cache_capacity(256);
    conn.pragma_update(None, "synchronous", "off")?;
    conn.pragma_update(None, "journal_mode", "memory")?;
    Ok(conn)
}

//! The store as a whole: schema, journal, leases, maintenance.

pub(crate) const HAS_MIGRATIONS: &str =
    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'refinery_schema_history'";
/// As refinery makes it, but for a key that needs no index of its own.
pub(crate) const MAKE_MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history (
  version INTEGER PRIMARY KEY, name TEXT, applied_on TEXT, checksum TEXT)";
pub(crate) const SCHEMA_VERSION: &str = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
pub(crate) const CHECKPOINT_PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
pub(crate) const CHECKPOINT_TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Checkpoints nothing; says how many frames the WAL has, and how many of them the main file has.
pub(crate) const CHECKPOINT_NOOP: &str = "PRAGMA wal_checkpoint(NOOP)";

/// Reads the first page.
pub(crate) const LOOK: &str = "PRAGMA schema_version";

pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(crate) const BEGIN_READ: &str = "BEGIN";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";
pub(crate) const SAVE: &str = "SAVEPOINT one_commit";
pub(crate) const RELEASE: &str = "RELEASE one_commit";
pub(crate) const UNDO: &str = "ROLLBACK TO one_commit";

pub(crate) const READ: &str = "SELECT tx, digest, segment, offset FROM hw_tx ORDER BY tx DESC LIMIT 1";
/// The row that said where the rows stand is one of the last: those after it are of the group being written.
pub(crate) const MOVE_ON: &str = "UPDATE hw_tx SET digest = NULL, segment = NULL, offset = NULL WHERE tx = (
       SELECT tx FROM hw_tx WHERE digest IS NOT NULL ORDER BY tx DESC LIMIT 1)";
pub(crate) const WRITE: &str = "INSERT INTO hw_tx (tx, at, digest, segment, offset) VALUES (?1, 0, ?2, ?3, ?4)
     ON CONFLICT (tx) DO UPDATE SET digest = ?2, segment = ?3, offset = ?4";
pub(crate) const ADD_TX: &str = "INSERT INTO hw_tx (tx, at) VALUES (?1, ?2)";

pub(crate) const KEY: &str = "SELECT first_event, events, digest FROM hw_batch_key WHERE sid = ?1 AND key = ?2";
pub(crate) const ADD_KEY: &str =
    "INSERT INTO hw_batch_key (sid, key, tx, first_event, events, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(crate) const LEASE: &str = "SELECT holder, fence, who FROM hw_lease WHERE sid = ?1";
pub(crate) const TAKE_LEASE: &str = "INSERT INTO hw_lease (sid, holder, fence, who, at) VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT (sid) DO UPDATE SET holder = ?2, fence = ?3, who = ?4, at = ?5";
pub(crate) const FORGET_LEASES: &str = "DELETE FROM hw_lease";
/// A lease that is given back keeps its fence: the next one must be greater.
pub(crate) const GIVE_LEASE_BACK: &str =
    "UPDATE hw_lease SET holder = '', who = '' WHERE sid = ?1 AND holder = ?2 AND fence = ?3";

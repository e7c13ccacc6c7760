//! Opening the database, in one fixed order; every pragma with its reason.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// SQLite before 3.51.3 can corrupt a database when a WAL is reset while another connection checkpoints.
const OLDEST: i32 = 3_051_003;
/// How long SQLite waits for its own locks. Writers are ordered by the store's turnstile, so only a WAL checkpoint
/// or a foreign shell can make it wait.
pub(crate) const BUSY: Duration = Duration::from_secs(10);

/// Bytes of a page: small, since a commit writes whole ones, and most of the b-trees of a small store have one.
pub(crate) const PAGE: u32 = 1024;

/// The journal that SQLite keeps for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Journal {
    /// Write-ahead log: readers never wait. Not on network file systems.
    #[default]
    Wal,
    /// Rollback journal, for file systems without shared memory.
    Rollback,
}

/// Whether the SQLite in use is one that can be trusted.
pub(crate) fn library_is_sound() -> Result<(), String> {
    if rusqlite::version_number() < OLDEST {
        return Err(format!("SQLite {} has the WAL-reset bug; 3.51.3 or later is needed", rusqlite::version()));
    }
    Ok(())
}

/// The writer's connection; makes the file if it is not there.
pub(crate) fn writer(path: &Path, journal: Journal) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )?;
    // SQLite falls back to reading alone, and says so only at the first write.
    if conn.is_readonly("main")? {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(rusqlite::Error::SqliteFailure(error, Some("the database can only be read".to_owned())));
    }
    common(&conn)?;
    map_memory(&conn)?;
    // Before the first table: it cannot change later.
    conn.pragma_update(None, "page_size", PAGE)?;
    match journal {
        Journal::Wal => {
            conn.pragma_update(None, "journal_mode", "wal")?;
            // The log is the durable copy: SQLite need not sync at a commit, only around WAL checkpoints, which
            // keeps the file whole.
            conn.pragma_update(None, "synchronous", "normal")?;
        }
        Journal::Rollback => {
            conn.pragma_update(None, "journal_mode", "delete")?;
            conn.pragma_update(None, "synchronous", "full")?;
        }
    }
    // We alone checkpoint, and note the file afterwards: that is how a copied or torn database is told.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What was deleted is to be gone from the file.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -16_384)?;
    Ok(conn)
}

/// Has SQLite map its shared memory now, which the first connection makes. It does not say why that fails: what fails once is
/// tried again, and lost is nothing; what fails twice is told by what the disk says.
pub(super) fn map_memory(conn: &Connection) -> rusqlite::Result<()> {
    let look = || conn.query_row(super::stmt::meta::LOOK, [], |_| Ok(()));
    match look() {
        Err(error) if super::fault::is_shared_memory(&error) => look(),
        looked => looked,
    }
}

pub(super) fn common(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(256);
    // The last connection to close would checkpoint behind our back, and the file would no longer be the one noted.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A hostile file's triggers and views must not run functions with effects; double-quoted text is no string.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.pragma_update(None, "temp_store", "memory")
}

/// Lets SQLite remove the WAL and its shared memory when `conn`, the last connection, is closed: for one whose WAL is empty,
/// so that there is nothing left to checkpoint. Where anybody else has the database open, both stay.
pub(crate) fn leave_nothing(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(|_| ())
}

/// Moves the WAL's frames into the main file; with `truncate`, waits for readers and empties the WAL.
pub(crate) fn checkpoint(conn: &Connection, truncate: bool) -> rusqlite::Result<()> {
    let sql = if truncate { super::stmt::meta::CHECKPOINT_TRUNCATE } else { super::stmt::meta::CHECKPOINT_PASSIVE };
    conn.query_row(sql, [], |_| Ok(()))
}

/// Bytes of the WAL in use, and of those the bytes not yet in the main file. The WAL's file says neither: it begins
/// anew in place, and does not become shorter.
pub(crate) fn wal_bytes(conn: &Connection) -> rusqlite::Result<(u64, u64)> {
    let (all, moved): (i64, i64) =
        conn.query_row(super::stmt::meta::CHECKPOINT_NOOP, [], |row| Ok((row.get(1)?, row.get(2)?)))?;
    let page: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let bytes = |frames: i64| u64::try_from(frames).unwrap_or(0) * u64::from(page + 24);
    Ok((bytes(all), bytes(all.saturating_sub(moved))))
}

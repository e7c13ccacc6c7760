//! Opening where nothing can be written: the rows as they are, if they say all that the log says; else rows made from the log, in a
//! folder for temporary files that goes with the store.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use tempfile::TempDir;

use super::build;
use super::checkpoint::{database, wal_len};
use super::error::OpenError;
use super::level::Meta;
use super::mark::{self, Trust};
use super::open::{self, GRACE, io, lock, sql};
use super::{OpenReport, Options, kin, swap};
use crate::segment::{self, LockFile, LockGuard, Position, SegmentReader};
use crate::sqlite::{migrate, open as sqlite};

/// What a store is read from.
pub(super) struct Ground {
    /// Shared, if there is a file to lock.
    pub(super) held: Option<LockGuard>,
    /// The rows.
    pub(super) database: PathBuf,
    /// For what must be made all the same: rows, locks that nobody else looks at.
    pub(super) beside: TempDir,
}

/// Why the rows that lie there cannot be read, or do not say all; none if they do.
fn lacking(root: &Path) -> Result<Option<String>, OpenError> {
    let path = database(root);
    if swap::is_ready(root) {
        let source = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
        return Err(io("a repair was cut off before its end, and cannot be brought to it")(source));
    }
    match mark::settled(root, &path).map_err(lock)? {
        Trust::Missing => return Ok(Some("there is no database".to_owned())),
        Trust::Untrusted(why) => return Ok(Some(format!("the database is not trusted: {why}"))),
        Trust::Trusted => {}
    }
    if !sqlite::reads_wal(&path) {
        return Ok(Some(format!("the {} bytes of its WAL cannot be read without shared memory", wal_len(root))));
    }
    let conn = sqlite::reader(&path).map_err(sql(root))?;
    match migrate::version(&conn).map_err(|error| open::migration(root, error))? {
        found if found > migrate::KNOWN => {
            return Err(open::migration(root, migrate::MigrateError::Newer { found, known: migrate::KNOWN }));
        }
        found if found < migrate::KNOWN => return Ok(Some(format!("its schema has version {found}"))),
        _ => {}
    }
    if kin::are_strangers(&conn, &root.join("blobs")).map_err(sql(root))? {
        return Ok(Some(open::STRANGERS.to_owned()));
    }
    let goes_on = log_goes_on(&root.join("blobs"), &conn).map_err(sql(root))?;
    Ok(goes_on.then(|| "the log goes on beyond the rows' end".to_owned()))
}

/// Whether the log holds what the rows of `conn` do not, and nobody brings them level: a dead writer's commits, or those whose rows
/// a power loss took. What cannot be looked at is told by who reads it.
pub(crate) fn log_goes_on(blobs: &Path, conn: &Connection) -> rusqlite::Result<bool> {
    let (start, first) = (Instant::now(), Meta::read(conn)?);
    let Position { segment: last, offset } = first.end;
    loop {
        let later = segment::list(blobs).is_ok_and(|numbers| numbers.iter().any(|number| *number > last));
        let more = || {
            SegmentReader::open(blobs, last)
                .is_ok_and(|segment| matches!(segment.first_nonzero_after(offset), Ok(Some(_))))
        };
        if !later && !more() {
            return Ok(false);
        }
        // Rows that move are those of a live writer, who has brought them level before.
        if Meta::read(conn)? != first {
            return Ok(false);
        }
        if start.elapsed() > GRACE {
            return Ok(true);
        }
        std::thread::park_timeout(GRACE / 8);
    }
}

/// Finds or makes what can be read of the store at `root`, and says in the report which it is.
pub(super) fn ground(root: &Path, options: &Options, report: &mut OpenReport) -> Result<Ground, OpenError> {
    let file = LockFile::open_existing(&root.join("lock")).map_err(lock)?;
    let held = file.map(|mut file| open::shared_lock(&mut file, options.patience, root)).transpose()?;
    let beside = tempfile::Builder::new().prefix("headwater-rows-").tempdir();
    let beside = beside.map_err(io("a folder for temporary files cannot be made"))?;
    let Some(why) = lacking(root)? else {
        return Ok(Ground { held, database: database(root), beside });
    };
    let made = database(beside.path());
    let (meta, done) = build::make_rows(root, &made, &root.join("blobs"), &options.observer)?;
    report.notes.push(format!(
        "{why}; since nothing can be written there, all rows were made from the log, up to commit {}, for this process alone",
        meta.tx
    ));
    if !done.beyond_gap.is_empty() {
        let numbers = &done.beyond_gap;
        report.notes.push(format!(
            "commits after {} are missing from the log: segments {numbers:?} beyond the gap are not read",
            meta.tx
        ));
    }
    Ok(Ground { held, database: made, beside })
}

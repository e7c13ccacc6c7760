//! Opening where nothing can be written: the rows as they are, if they say all that the log says; else rows made from the log, in a
//! folder for temporary files that goes with the store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::build;
use super::checkpoint::{database, wal_len};
use super::error::OpenError;
use super::level::{LevelError, Meta};
use super::mark::{self, Trust};
use super::open::{self, io, levelled, lock, sql};
use super::{OpenReport, Options, kin, swap};
use crate::journal::ReplayError;
use crate::segment::{self, LockError, LockFile, LockGuard, Position, SegmentError, SegmentReader, Turnstile};
use crate::sqlite::migrate;
use crate::sqlite::reader::{Reader, reads_wal};

/// How often rows are looked at that others change meanwhile.
const LOOKS: usize = 5;
/// How long is waited for whoever writes. Then rows are made from the log, which has it all.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a store is read from.
pub(super) struct Ground {
    /// Shared, if there is a file to lock.
    pub(super) held: Option<LockGuard>,
    /// The rows.
    pub(super) database: PathBuf,
    /// For what must be made all the same: rows, locks that nobody else looks at.
    pub(super) beside: TempDir,
    /// Where the rows stand.
    pub(super) meta: Meta,
}

/// The rows that lie there.
enum Rows {
    /// They say all that the log says.
    Whole(Meta),
    /// They cannot be read, or do not say all.
    Lacking(String),
    /// Others changed them under the look.
    Changing,
}

fn look(root: &Path) -> Result<Rows, OpenError> {
    let path = database(root);
    if swap::is_ready(root).map_err(io("the store's folder cannot be read"))? {
        let source = std::io::Error::from(ErrorKind::ReadOnlyFilesystem);
        return Err(io("a repair was cut off before its end, and cannot be brought to it")(source));
    }
    match mark::settled(root, &path).map_err(lock)? {
        Trust::Missing => return Ok(Rows::Lacking("there is no database".to_owned())),
        Trust::Untrusted(why) => return Ok(Rows::Lacking(format!("the database is not trusted: {why}"))),
        Trust::Trusted => {}
    }
    if !reads_wal(&path) {
        let why = format!("the {} bytes of its WAL cannot be read without shared memory", wal_len(root));
        return Ok(Rows::Lacking(why));
    }
    let conn = Reader::open(&path).map_err(sql(root))?;
    let said = said(root, &conn);
    // Whatever was found out, it is of no one point.
    if conn.is_stale() { Ok(Rows::Changing) } else { said }
}

fn said(root: &Path, conn: &Connection) -> Result<Rows, OpenError> {
    match migrate::version(conn).map_err(|error| open::migration(root, error))? {
        found if found > migrate::KNOWN => {
            return Err(open::migration(root, migrate::MigrateError::Newer { found, known: migrate::KNOWN }));
        }
        found if found < migrate::KNOWN => return Ok(Rows::Lacking(format!("its schema has version {found}"))),
        _ => {}
    }
    let failed = |error| levelled(root, error);
    if let Some(why) = kin::estranged(conn, root).map_err(failed)? {
        return Ok(Rows::Lacking(why.to_owned()));
    }
    if log_goes_on(root, conn).map_err(failed)? {
        return Ok(Rows::Lacking("the log goes on beyond the rows' end".to_owned()));
    }
    Ok(Rows::Whole(Meta::read(conn).map_err(sql(root))?))
}

/// Whether the log holds what the rows of `conn` do not, and nobody brings them level: a dead writer's commits, or those whose rows
/// a power loss took. A live writer's are there only while it holds `write`: who has that lock sees the others alone.
pub(crate) fn log_goes_on(root: &Path, conn: &Connection) -> Result<bool, LevelError> {
    let blobs = root.join("blobs");
    if !is_more(&blobs, Meta::read(conn)?.end)? {
        return Ok(false);
    }
    let writers = Turnstile::open_existing(&root.join("turn"), &root.join("write"))?;
    let Some(mut writers) = writers else { return Ok(true) };
    match writers.acquire_within(PATIENCE) {
        Ok(_nobody_writes) => is_more(&blobs, Meta::read(conn)?.end),
        Err(LockError::TimedOut { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether anything lies in the log beyond `end`. What of it is damaged, or not there, is told by who reads it.
fn is_more(blobs: &Path, end: Position) -> Result<bool, LevelError> {
    let Position { segment: last, offset } = end;
    match segment::list(blobs) {
        Ok(numbers) if numbers.iter().any(|number| *number > last) => return Ok(true),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(ReplayError::List(error).into()),
    }
    match SegmentReader::open(blobs, last) {
        Ok(segment) => Ok(segment.first_nonzero_after(offset)?.is_some()),
        Err(error @ SegmentError::Io { .. }) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Finds or makes what can be read of the store at `root`, and says in the report which it is.
pub(super) fn ground(root: &Path, options: &Options, report: &mut OpenReport) -> Result<Ground, OpenError> {
    let file = LockFile::open_existing(&root.join("lock")).map_err(lock)?;
    let held = file.map(|mut file| open::shared_lock(&mut file, options.patience, root)).transpose()?;
    let beside = tempfile::Builder::new().prefix("headwater-rows-").tempdir();
    let beside = beside.map_err(io("a folder for temporary files cannot be made"))?;
    let mut looks = 0;
    let why = loop {
        match look(root)? {
            Rows::Whole(meta) => return Ok(Ground { held, database: database(root), beside, meta }),
            Rows::Lacking(why) => break why,
            Rows::Changing if looks < LOOKS => looks += 1,
            Rows::Changing => {
                let why = "its rows are changed while they are read".to_owned();
                return Err(OpenError::InUse { path: root.to_owned(), why });
            }
        }
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
    Ok(Ground { held, database: made, beside, meta })
}

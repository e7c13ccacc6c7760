//! `check`: quick looks at structure, deep reads every frame and compares every row with what the log says.

mod beyond;
pub mod codes;
pub(super) mod compare;
mod files;
pub(super) mod head;
pub(super) mod log;
mod roots;
pub(super) mod structure;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::anchor::{self, Anchor};
use crate::model::HeadId;
use crate::progress::{Observer, Progress, Unit};
use crate::segment::{self, LockError, LockFile};
use crate::sqlite::reader::{Reader, reads_wal};
use crate::sqlite::{doubt, fault, stmt};
use crate::store::error::{chain, is_full, is_no_lack_of_room, is_refusal, newer};
use crate::store::kin;
use crate::store::level::{LevelError, Meta};
use crate::store::mark::{self, Trust};
use crate::store::open::database;
use crate::view::types::{CheckReport, Issue};
use codes::Code;

/// How much is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Structure: what rows refer to exists, and the log is as long as they say.
    Quick,
    /// Every frame, payload, digest and root, and every row compared with the log.
    Deep,
    /// One head: its root, the chain of its sessions' events, its payloads.
    Head(HeadId),
    /// Whether the store is still the one that an anchor was taken of: see [`super::Anchor`].
    Anchor(Box<Anchor>),
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// There is no store there.
    #[error("there is no store at {0}")]
    NotFound(PathBuf),
    /// The store is being rebuilt, migrated or repaired.
    #[error("the store is being rebuilt, migrated or repaired")]
    InUse,
    /// Another program holds a lock on the database.
    #[error("the database is locked by another program")]
    Locked,
    /// There is no such head.
    #[error("no head {0}")]
    NoHead(HeadId),
    /// A newer version wrote the store.
    #[error("the store has a newer format: {0}")]
    Newer(String),
    /// The store lies where this process can write nothing, and another one that can changed it again and again while it was read.
    #[error("the store was changed while it was read")]
    Changed,
    /// The disk is full: SQLite needs some room to read, too.
    #[error("{what}: the disk is full")]
    Full {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be read, for a reason that is no damage.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is found on the way.
#[derive(Default)]
pub(in crate::care) struct Findings {
    pub(in crate::care) counts: BTreeMap<&'static str, u64>,
    pub(in crate::care) issues: Vec<Issue>,
    shown: BTreeMap<&'static str, usize>,
    /// What the system refused first. Nothing is known of what is there.
    refused: Option<CheckError>,
}

/// Issues of one code before the rest is only counted: a lost page can make a million.
const SHOWN: usize = 100;

impl Findings {
    pub(in crate::care) fn issue(&mut self, code: Code, place: impl Into<String>) {
        let shown = self.shown.entry(code.name).or_default();
        *shown += 1;
        if *shown <= SHOWN {
            self.issues.push(Issue { code: code.name, place: place.into(), advice: code.advice.to_owned() });
        } else {
            self.count("issues-not-shown", 1);
        }
    }

    /// Notes what could not be read: an issue where the bytes are at fault, no finding at all where the system refused them.
    pub(in crate::care) fn unread(
        &mut self,
        code: Code,
        place: impl Into<String>,
        error: impl std::error::Error + Send + Sync + 'static,
    ) {
        let place = place.into();
        if let Some(newer) = newer(&error) {
            self.refused.get_or_insert(CheckError::Newer(newer));
            return;
        }
        if !is_refusal(&error) {
            return self.issue(code, place);
        }
        self.refused.get_or_insert_with(|| CheckError::Io {
            what: "the store cannot be read".to_owned(),
            source: Box::new(error),
        });
    }

    /// What the system refused, if it refused anything.
    pub(in crate::care) fn refused(&mut self) -> Result<(), CheckError> {
        self.refused.take().map_or(Ok(()), Err)
    }

    pub(in crate::care) fn count(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
    }
}

/// Checks the store at `root`, open elsewhere or not, and changes nothing in it.
///
/// # Errors
///
/// [`CheckError`] if nothing could be checked; damage is no error but what the report tells.
pub fn check(root: &Path, mode: Mode) -> Result<CheckReport, CheckError> {
    check_observed(root, mode, &Observer::default())
}

/// [`check`], with someone who is told how far it is.
///
/// # Errors
///
/// Those of [`check`].
pub fn check_observed(root: &Path, mode: Mode, observer: &Observer) -> Result<CheckReport, CheckError> {
    let path = database(root);
    let is_none = segment::is_folder(&root.join("blobs")).and_then(|blobs| Ok(!blobs && !segment::is_there(&path)?));
    if is_none.map_err(unlooked)? {
        return Err(CheckError::NotFound(root.to_owned()));
    }
    // Whoever opens a store makes this file first: without it there is nobody to wait for.
    let mut lock = LockFile::open_existing(&root.join("lock")).map_err(lock_error)?;
    let _open = lock.as_mut().map(|lock| lock.shared(Duration::from_secs(10))).transpose().map_err(lock_error)?;
    unlocked(root, &mode, observer).map_err(|error| match error {
        CheckError::Io { what, source } if is_full(source.as_ref()) && !is_no_lack_of_room(source.as_ref(), root) => {
            CheckError::Full { what, source }
        }
        error => error,
    })
}

/// How often a store that others change is looked at.
const LOOKS: usize = 5;

/// The same, for one who holds the store's lock.
pub(in crate::care) fn unlocked(root: &Path, mode: &Mode, observer: &Observer) -> Result<CheckReport, CheckError> {
    for _ in 1..LOOKS {
        match once(root, mode, observer) {
            Err(CheckError::Changed) => {}
            done => return done,
        }
    }
    once(root, mode, observer)
}

fn once(root: &Path, mode: &Mode, observer: &Observer) -> Result<CheckReport, CheckError> {
    let path = database(root);
    let trust = mark::settled(root, &path).map_err(lock_error)?;
    let mut found = Findings::default();
    files::look(root, &mut found).map_err(unlooked)?;
    if crate::store::swap::is_ready(root).map_err(unlooked)? {
        found.issue(codes::REPAIR_CUT_OFF, "repair");
    }
    // Whoever opens the database plays it back: a check would change what it looks at.
    let journal = mark::has_stray_journal(root).map_err(lock_error)?;
    if journal {
        found.issue(codes::DATABASE_JOURNAL, "store.sqlite-journal");
    }
    if !reads_wal(&path) {
        found.count("wal-not-read", 1);
    }
    if trust == Trust::Missing {
        found.issue(codes::DATABASE_MISSING, path.display().to_string());
    }
    // What SQLite calls corrupt may be what the system would not read.
    let mut doubtful = false;
    if journal || trust == Trust::Missing {
        log::go_through(&root.join("blobs"), None, observer, &mut found);
    } else {
        match look(&path, root, mode, observer, &mut found) {
            Ok(()) => {}
            Err(Looked::Check(error)) => return Err(error),
            Err(Looked::Database(error)) if fault::is_busy(&error) => return Err(CheckError::Locked),
            // That says nothing about the file; but what is no file can never be opened.
            Err(Looked::Database(error)) if fault::is_refused(&error) && are_files(&path) => {
                return Err(CheckError::Io { what: "the database cannot be read".to_owned(), source: Box::new(error) });
            }
            Err(Looked::Database(error)) => {
                doubtful = fault::is_corrupt(&error);
                found.issue(codes::DATABASE_UNREADABLE, format!("store.sqlite: {}", chain(&error)));
                if *mode == Mode::Deep {
                    log::go_through(&root.join("blobs"), None, observer, &mut found);
                }
            }
        }
    }
    found.refused()?;
    let is_corrupt = found.issues.iter().any(|issue| issue.code == codes::DATABASE_CORRUPT.name);
    if (doubtful || is_corrupt)
        && let Some(refused) = doubt::refusal(&path)
    {
        return Err(CheckError::Io { what: "the database cannot be read".to_owned(), source: Box::new(refused) });
    }
    let mode = match mode {
        Mode::Quick => "quick",
        Mode::Deep => "deep",
        Mode::Head(_) => "head",
        Mode::Anchor(_) => "anchor",
    };
    Ok(CheckReport { mode, counts: found.counts, issues: found.issues, trusted: trust == Trust::Trusted })
}

/// Whether what lies where a database has its files are files.
fn are_files(database: &Path) -> bool {
    ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal"].iter().all(|name| {
        let meta = std::fs::symlink_metadata(database.with_file_name(name));
        meta.map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |meta| meta.is_file())
    })
}

pub(in crate::care) enum Looked {
    Check(CheckError),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Looked {
    fn from(error: rusqlite::Error) -> Looked {
        Looked::Database(error)
    }
}

impl From<LevelError> for Looked {
    fn from(error: LevelError) -> Looked {
        match error {
            LevelError::Sql(error) => Looked::Database(error),
            error => Looked::Check(CheckError::Io {
                what: "the rows cannot be compared with the log".to_owned(),
                source: Box::new(error),
            }),
        }
    }
}

fn look(path: &Path, root: &Path, mode: &Mode, observer: &Observer, found: &mut Findings) -> Result<(), Looked> {
    let conn = Reader::open(path)?;
    let looked = look_at(&conn, root, mode, observer, found);
    // Whatever was found, it is of no one point.
    if conn.was_changed() { Err(Looked::Check(CheckError::Changed)) } else { looked }
}

fn look_at(
    conn: &Connection,
    root: &Path,
    mode: &Mode,
    observer: &Observer,
    found: &mut Findings,
) -> Result<(), Looked> {
    if let Ok(version) = crate::sqlite::migrate::version(conn)
        && version > crate::sqlite::migrate::KNOWN
    {
        let known = crate::sqlite::migrate::KNOWN;
        let what = format!("its schema has version {version}, this version knows {known}");
        return Err(Looked::Check(CheckError::Newer(what)));
    }
    // One point of the rows, whoever writes meanwhile.
    conn.execute_batch(stmt::meta::BEGIN_READ)?;
    let meta = Meta::read(conn)?;
    let blobs = root.join("blobs");
    match mode {
        Mode::Quick => {
            if let Some(why) = kin::estranged(conn, root)? {
                found.issue(codes::ROW_DIFFERS, format!("hw_tx: {why}"));
            }
            log::ends(&blobs, &meta, found);
            structure::look(conn, found)?;
        }
        Mode::Deep => {
            observer.tell(Progress { stage: "checking the database's pages", done: 0, total: 0, unit: Unit::Items });
            integrity(conn, found)?;
            structure::look(conn, found)?;
            let sound = log::go_through(&blobs, Some(&meta), observer, found);
            if sound {
                compare::rows(conn, &blobs, &meta, observer, found)?;
            }
        }
        Mode::Head(head) => head::prove(conn, &blobs, &meta, head, found)?,
        Mode::Anchor(anchor) => anchor::compare(conn, &blobs, &meta, anchor, found)?,
    }
    conn.execute_batch(stmt::meta::COMMIT)?;
    Ok(())
}

/// SQLite's own check: of pages, indexes, and the order of keys.
pub(super) fn integrity(conn: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(stmt::care::INTEGRITY)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" {
            found.issue(codes::DATABASE_CORRUPT, format!("store.sqlite: {text}"));
        }
    }
    Ok(())
}

fn unlooked(source: std::io::Error) -> CheckError {
    CheckError::Io { what: "the store's folder cannot be read".to_owned(), source: Box::new(source) }
}

fn lock_error(error: LockError) -> CheckError {
    match error {
        LockError::TimedOut { .. } => CheckError::InUse,
        error => CheckError::Io { what: "the store's lock cannot be taken".to_owned(), source: Box::new(error) },
    }
}

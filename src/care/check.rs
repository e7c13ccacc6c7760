//! `check`: quick looks at structure, deep reads every frame and compares every row with what the log says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::{compare, log};
use crate::model::HeadId;
use crate::progress::{Observer, Progress, Unit};
use crate::segment::{LockError, LockFile};
use crate::sqlite::open as sqlite;
use crate::store::level::Meta;
use crate::store::mark::{self, Trust};
use crate::store::open::database;
use crate::view::types::{CheckReport, Issue};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Structure: what rows refer to exists, and the log is as long as they say.
    Quick,
    /// Every frame, payload, digest and root, and every row compared with the log.
    Deep,
    /// One head: its root, the chain of its sessions' events, its payloads.
    Head(HeadId),
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// There is no store there.
    #[error("there is no store at {0}")]
    NotFound(std::path::PathBuf),
    /// The store is being rebuilt, migrated or repaired.
    #[error("the store is being rebuilt, migrated or repaired")]
    InUse,
    /// There is no such head.
    #[error("no head {0}")]
    NoHead(HeadId),
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
pub(super) struct Findings {
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) issues: Vec<Issue>,
}

/// Issues of one code before the rest is only counted: a lost page can make a million.
const SHOWN: usize = 100;

impl Findings {
    pub(super) fn issue(&mut self, code: &'static str, place: impl Into<String>, advice: &str) {
        if self.issues.iter().filter(|issue| issue.code == code).count() < SHOWN {
            self.issues.push(Issue { code, place: place.into(), advice: advice.to_owned() });
        } else {
            self.count("issues-not-shown", 1);
        }
    }

    pub(super) fn count(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
    }
}

pub(super) const FROM_LOG: &str = "the log has it: close every process that uses the store, remove store.sqlite with its -wal and -shm, and open the store to rebuild the rows";
pub(super) const FROM_BACKUP: &str = "bring this segment back from a backup; the rows still show what it held";

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
    let io = |what: &str| {
        let what = what.to_owned();
        move |source: std::io::Error| CheckError::Io { what, source: Box::new(source) }
    };
    let path = database(root);
    if !root.join("blobs").is_dir() && !path.exists() {
        return Err(CheckError::NotFound(root.to_owned()));
    }
    let mut lock = LockFile::open(&root.join("lock")).map_err(lock_error)?;
    let _open = lock.shared(Duration::from_secs(10)).map_err(lock_error)?;
    let trust = mark::trust(root, &path).map_err(io("the database file cannot be looked at"))?;
    let mut found = Findings::default();
    if trust == Trust::Missing {
        found.issue(
            "database-missing",
            path.display().to_string(),
            "open the store: the rows are rebuilt from the log",
        );
        log::go_through(&root.join("blobs"), None, observer, &mut found);
    } else {
        match look(&path, root, mode, observer, &mut found) {
            Ok(()) => {}
            Err(Looked::Check(error)) => return Err(error),
            Err(Looked::Database(error)) => {
                let why = crate::store::error::chain(&error);
                found.issue("database-unreadable", format!("store.sqlite: {why}"), FROM_LOG);
                if mode == Mode::Deep {
                    log::go_through(&root.join("blobs"), None, observer, &mut found);
                }
            }
        }
    }
    let mode = match mode {
        Mode::Quick => "quick",
        Mode::Deep => "deep",
        Mode::Head(_) => "head",
    };
    Ok(CheckReport { mode, counts: found.counts, issues: found.issues, trusted: trust == Trust::Trusted })
}

pub(super) enum Looked {
    Check(CheckError),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Looked {
    fn from(error: rusqlite::Error) -> Looked {
        Looked::Database(error)
    }
}

fn look(path: &Path, root: &Path, mode: Mode, observer: &Observer, found: &mut Findings) -> Result<(), Looked> {
    let conn = sqlite::reader(path)?;
    // One point of the rows, whoever writes meanwhile.
    conn.execute_batch("BEGIN")?;
    let meta = Meta::read(&conn)?;
    let blobs = root.join("blobs");
    match mode {
        Mode::Quick => {
            log::ends(&blobs, &meta, found);
            compare::structure(&conn, found)?;
        }
        Mode::Deep => {
            observer.tell(Progress { stage: "checking the database's pages", done: 0, total: 0, unit: Unit::Items });
            integrity(&conn, found)?;
            compare::structure(&conn, found)?;
            let sound = log::go_through(&blobs, Some(&meta), observer, found);
            if sound {
                compare::rows(&conn, &blobs, &meta, observer, found)?;
            }
        }
        Mode::Head(head) => log::head(&conn, &blobs, &meta, &head, found)?,
    }
    conn.execute_batch("COMMIT")?;
    Ok(())
}

/// SQLite's own check: of pages, indexes, and the order of keys.
fn integrity(conn: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA integrity_check(20)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" {
            found.issue("database-corrupt", format!("store.sqlite: {text}"), FROM_LOG);
        }
    }
    Ok(())
}

fn lock_error(error: LockError) -> CheckError {
    match error {
        LockError::TimedOut { .. } => CheckError::InUse,
        error => CheckError::Io { what: "the store's lock cannot be taken".to_owned(), source: Box::new(error) },
    }
}

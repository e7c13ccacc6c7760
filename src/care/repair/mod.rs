//! `repair`: the log put together from what is whole of it, of its copies, and of the rows; then rows made from it anew.
//!
//! Nothing is deleted: what is replaced is moved to `quarantine/`. What is made is made beside the store, and put in its place
//! when all of it is on disk; a repair that is cut off before leaves the store as it was, one that is cut off after is
//! brought to its end by whoever opens the store next.

mod gap;
mod mend;
mod root;
mod salvage;
mod stage;
mod witness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::codes;
use super::check::{CheckError, Findings, compare, integrity, log, structure};
use crate::clock::Clock;
use crate::model::{Digest, HeadId, SessionId};
use crate::progress::Observer;
use crate::segment::{self, LockError, LockFile};
use crate::sqlite::doubt;
use crate::sqlite::open::Journal;
use crate::store::error::{OpenError, chain, is_full, is_no_lack_of_room};
use crate::store::mark::{self, Trust};
use crate::store::open::{self, database};
use crate::store::{kin, swap};
use mend::Mender;
use salvage::Sources;
use witness::{Untold, Witness};

/// Why nothing could be repaired. The store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// There is no store there.
    #[error("there is no store at {0}")]
    NotFound(PathBuf),
    /// Another process has the store open.
    #[error("the store is open elsewhere: a repair needs it alone")]
    InUse,
    /// Another program holds a lock on the database.
    #[error("the database is locked by another program")]
    Locked,
    /// The store is not to be opened, for a reason that says what to do.
    #[error(transparent)]
    Refused(Box<OpenError>),
    /// A newer version wrote the store.
    #[error("the store has a newer format: {0}")]
    Newer(String),
    /// What was mended does not pass the check.
    #[error("what was mended does not pass the check: {0}")]
    Inside(String),
    /// The rows beside the store could not be made.
    #[error("rows cannot be made from the mended log")]
    Rows(#[source] Box<OpenError>),
    /// The disk is full: what is made anew needs room beside what is there.
    #[error("{what}: the disk is full")]
    Full {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system or SQLite refused.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<CheckError> for RepairError {
    /// Of what a check could not look at.
    fn from(error: CheckError) -> RepairError {
        match error {
            CheckError::Io { what, source } => RepairError::Io { what, source },
            CheckError::Full { what, source } => RepairError::Full { what, source },
            CheckError::Newer(what) => RepairError::Newer(what),
            CheckError::Locked => RepairError::Locked,
            error => RepairError::Inside(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for RepairError {
    fn from(error: rusqlite::Error) -> RepairError {
        RepairError::Io { what: "the rows to try commits on cannot be made".to_owned(), source: Box::new(error) }
    }
}

/// What becomes of the commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commits {
    /// Kept whole.
    pub kept: u64,
    /// Of these, chained anew since one before them is another.
    pub chained_again: u64,
    /// Kept but for what hangs on something that is lost.
    pub in_part: u64,
    /// Missing, put together from rows, and proven by the digest that the next commit has of them.
    pub proven: u64,
    /// Missing, put together from rows; how they were divided and ordered is not known, what their events say is
    /// proven by the sessions' digests where a head follows.
    pub from_rows: u64,
    /// Of which nothing was found.
    pub lost: u64,
}

/// What becomes of payloads whose frames are damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payloads {
    /// Made again: roots from the rows they repeat, display text that rows cache. Proven by their hash.
    pub made_again: Vec<Digest>,
    /// Found nowhere. What names them stays.
    pub lost: Vec<Digest>,
}

/// A session of which something is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hurt {
    /// The session.
    pub session: SessionId,
    /// Its first event that is set aside or not found; those before are whole.
    pub from: u64,
    /// How many there were from that one on, as far as something that was found says.
    pub events: u64,
    /// Heads among them.
    pub heads: Vec<HeadId>,
}

/// What a repair does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether it was done; a plan changes nothing.
    pub applied: bool,
    /// What is damaged, in words.
    pub damaged: Vec<String>,
    /// Whether the log is written anew, in part.
    pub log: bool,
    /// Whether the rows are made anew.
    pub rows: bool,
    /// Segments that stay as they are.
    pub segments_kept: u64,
    /// Segments written anew.
    pub segments_written: u64,
    /// What becomes of the commits.
    pub commits: Commits,
    /// What becomes of damaged payloads.
    pub payloads: Payloads,
    /// Sessions with events put together from rows, and how many.
    pub events_from_rows: Vec<(SessionId, u64)>,
    /// Of these, those whose events do not come to the digest that the rows have: a row of theirs may be damaged, too.
    pub unproven: Vec<SessionId>,
    /// Sessions of which something is lost.
    pub hurt: Vec<Hurt>,
    /// Store records that could not be kept, as their lines.
    pub records_lost: Vec<String>,
    /// Where the files are that were replaced.
    pub quarantine: Option<PathBuf>,
}

impl Report {
    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        self.log || self.rows
    }

    /// Whether something is lost.
    pub fn is_loss(&self) -> bool {
        !self.hurt.is_empty()
            || !self.payloads.lost.is_empty()
            || !self.records_lost.is_empty()
            || self.commits.lost > 0
    }

    fn hurt(&mut self, session: &SessionId, from: u64) -> &mut Hurt {
        let at = self.hurt.iter().position(|hurt| hurt.session == *session).unwrap_or_else(|| {
            self.hurt.push(Hurt { session: session.clone(), from, events: 0, heads: Vec::new() });
            self.hurt.len() - 1
        });
        &mut self.hurt[at]
    }

    fn took_from_rows(&mut self, session: &SessionId) {
        match self.events_from_rows.iter_mut().find(|(id, _)| id == session) {
            Some((_, count)) => *count += 1,
            None => self.events_from_rows.push((session.clone(), 1)),
        }
    }
}

/// Says what [`repair`] would do, and changes nothing.
///
/// # Errors
///
/// [`RepairError`].
pub fn plan(root: &Path) -> Result<Report, RepairError> {
    planned(root).map_err(|error| told(error, root))
}

fn planned(root: &Path) -> Result<Report, RepairError> {
    exists(root)?;
    let mut lock = LockFile::open_existing(&root.join("lock")).map_err(lock_error)?;
    let _open = lock.as_mut().map(|lock| lock.shared(Duration::from_secs(10))).transpose().map_err(lock_error)?;
    if swap::is_ready(root).map_err(unlooked)? {
        let damaged = vec!["a repair was cut off before its end: it is brought to it".to_owned()];
        return Ok(Report { log: true, rows: true, damaged, ..Report::default() });
    }
    let trust = mark::settled(root, &database(root)).map_err(lock_error)?;
    match examine(root, &trust)? {
        Examined::Sound(report) => Ok(*report),
        Examined::Mended(mended) => Ok(mended.report),
    }
}

/// Repairs the store at `root`, if there is anything to repair.
///
/// # Errors
///
/// [`RepairError`]; the store is as it was, or goes on to what was made when it is opened next.
pub fn repair(root: &Path) -> Result<Report, RepairError> {
    repaired(root).map_err(|error| told(error, root))
}

/// A full disk is one wherever it was met; a write that failed where there is room is none.
fn told(error: RepairError, root: &Path) -> RepairError {
    let full =
        |source: &(dyn std::error::Error + Send + Sync + 'static)| is_full(source) && !is_no_lack_of_room(source, root);
    match error {
        RepairError::Io { what, source } if full(source.as_ref()) => RepairError::Full { what, source },
        RepairError::Rows(source) if matches!(*source, OpenError::Full(_)) => {
            RepairError::Full { what: "rows cannot be made from the mended log".to_owned(), source }
        }
        error => error,
    }
}

fn repaired(root: &Path) -> Result<Report, RepairError> {
    exists(root)?;
    let mut lock = LockFile::open(&root.join("lock")).map_err(lock_error)?;
    let _alone = lock.exclusive(Duration::from_millis(500)).map_err(lock_error)?;
    let io = |what: &str| {
        let what = what.to_owned();
        move |source: std::io::Error| RepairError::Io { what, source: Box::new(source) }
    };
    let mut mark_file = mark::lock(root).map_err(lock_error)?;
    let noting = mark_file.exclusive_blocking().map_err(lock_error)?;
    let end = || swap::finish(root, Journal::Wal, &noting).map_err(io("what was made cannot be put in its place"));
    let before = end()?;
    drop_stage(root).map_err(io("what an earlier repair left cannot be removed"))?;
    // The mark's lock is held: nobody is in the middle of a WAL checkpoint.
    let trust = mark::trust(root, &database(root)).map_err(io("the database file cannot be looked at"))?;
    let mut report = match examine(root, &trust)? {
        Examined::Sound(report) if !report.rows => return Ok(Report { applied: true, quarantine: before, ..*report }),
        Examined::Sound(report) => {
            stage::rows(root, &root.join("blobs"))?;
            *report
        }
        Examined::Mended(mended) => stage::log(root, *mended)?,
    };
    report.applied = true;
    let name: String = Clock::default().now().to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    report.quarantine = Some(root.join("quarantine").join(&name));
    let manifest = manifest(&report);
    swap::make_ready(root, &name, manifest.as_bytes()).map_err(io("what was made cannot be made durable"))?;
    end()?;
    Ok(report)
}

fn unlooked(source: std::io::Error) -> RepairError {
    RepairError::Io { what: "the store's folder cannot be read".to_owned(), source: Box::new(source) }
}

/// There is a store, and it may be opened.
fn exists(root: &Path) -> Result<(), RepairError> {
    let is_none = segment::is_folder(&root.join("blobs"))
        .and_then(|blobs| Ok(!blobs && !segment::is_there(&database(root))? && !swap::is_ready(root)?));
    if is_none.map_err(unlooked)? {
        return Err(RepairError::NotFound(root.to_owned()));
    }
    open::safe(root).map_err(|error| RepairError::Refused(Box::new(error)))
}

/// What a repair that was cut off while it made it; all of it can be made again.
fn drop_stage(root: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(swap::stage(root)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was found out.
enum Examined {
    /// The log is whole; the rows may not be.
    Sound(Box<Report>),
    /// The log must be written anew.
    Mended(Box<Mended>),
}

/// A log put together, not yet written.
struct Mended {
    sources: Sources,
    steps: Vec<mend::Step>,
    made: std::collections::HashMap<Digest, Vec<u8>>,
    report: Report,
}

fn examine(root: &Path, trust: &Trust) -> Result<Examined, RepairError> {
    // Before anything is called damaged: a disk that fails is to be copied, not mended.
    let refused = |source| RepairError::Io { what: "the database cannot be read".to_owned(), source: Box::new(source) };
    doubt::read_through(&database(root)).map_err(refused)?;
    let (witness, untold) = match Witness::open(root) {
        Ok(witness) => (witness, None),
        // They may say what the log has lost: without them, what is only out of reach would be given up.
        Err(Untold { refusal: Some(error), .. }) => return Err(error),
        Err(why) => (None, Some(why)),
    };
    let mut examined = examine_with(root, trust, witness.as_ref())?;
    let (was_changed, asked) = witness.as_ref().map_or((false, false), |rows| (rows.was_changed(), rows.is_corrupt()));
    if was_changed {
        return Err(RepairError::InUse);
    }
    if let Some(error) = witness.as_ref().and_then(Witness::refusal) {
        return Err(error);
    }
    let report = match &mut examined {
        Examined::Sound(report) => report,
        Examined::Mended(mended) => &mut mended.report,
    };
    let is_corrupt = asked || untold.as_ref().is_some_and(|untold| untold.is_corrupt);
    report.damaged.extend(untold.map(|untold| untold.why));
    let called = report.damaged.iter().any(|what| what.starts_with(codes::DATABASE_CORRUPT.name));
    match if is_corrupt || called { doubt::refusal(&database(root)) } else { None } {
        Some(source) => Err(refused(source)),
        None => Ok(examined),
    }
}

fn examine_with(root: &Path, trust: &Trust, witness: Option<&Witness>) -> Result<Examined, RepairError> {
    let blobs = root.join("blobs");
    let mut found = Findings::default();
    let meta = witness.map(|witness| &witness.meta);
    let sound = log::go_through(&blobs, meta, &Observer::default(), &mut found)
        && !found.issues.iter().any(|issue| is_of_log(issue.code));
    found.refused()?;
    let mut report = Report::default();
    report.damaged.extend(found.issues.iter().map(|issue| format!("{} {}", issue.code, issue.place)));
    if sound {
        report.rows = match (witness, trust) {
            (None, _) | (_, Trust::Missing | Trust::Untrusted(_)) => true,
            (Some(witness), _) => {
                let mut found = Findings::default();
                let conn = witness.connection();
                let looked = integrity(conn, &mut found)
                    .and_then(|()| structure::look(conn, &mut found))
                    .and_then(|()| compare::rows(conn, &blobs, &witness.meta, &Observer::default(), &mut found));
                report.damaged.extend(found.issues.iter().map(|issue| format!("{} {}", issue.code, issue.place)));
                if let Err(error) = &looked {
                    witness.doubt(error);
                    report.damaged.push(format!("database-unreadable {}", chain(error)));
                }
                found.refused()?;
                looked.is_err() || !found.issues.is_empty()
            }
        };
        return Ok(Examined::Sound(Box::new(report)));
    }
    let sources = Sources::read(root, meta.map(|meta| meta.end))?;
    if witness.is_some_and(|witness| witness.is_of_another(&sources.commits)) {
        // What it says of the log says nothing about this one.
        let mut examined = examine_with(root, trust, None)?;
        let report = match &mut examined {
            Examined::Sound(report) => report,
            Examined::Mended(mended) => &mut mended.report,
        };
        report.damaged.push("the rows are of another store or history: they are not asked".to_owned());
        if let (Some(witness), Trust::Trusted, true) = (witness, trust, kin::is_of_another(root)) {
            // Nobody touched them, and no WAL brought them: it is the log that lies where it does not belong.
            for known in witness.sessions.iter().filter(|known| known.last_event > 0) {
                report.hurt(&known.id, 1).events = known.last_event;
            }
        }
        return Ok(examined);
    }
    report = Report { log: true, rows: true, damaged: sources.damaged.clone(), ..report };
    let mut conn = super::scratch()?;
    crate::sqlite::migrate::migrate(&mut conn)
        .map_err(|error| RepairError::Io { what: "rows cannot be tried".to_owned(), source: Box::new(error) })?;
    conn.execute_batch(crate::sqlite::stmt::meta::BEGIN)?;
    let mut mender = Mender::new(&sources, witness, conn, report);
    mender.mend()?;
    let Mender { steps, made, mut report, .. } = mender;
    report.damaged.extend(witness.into_iter().flat_map(Witness::unread));
    stage::count(&sources, &steps, &made, &mut report)?;
    Ok(Examined::Mended(Box::new(Mended { sources, steps, made, report })))
}

/// Whether an issue is one that the log must be written anew for: a payload known to be lost stays so.
fn is_of_log(code: &str) -> bool {
    code != codes::PAYLOAD_LOST.name
}

/// What is left beside the files that were replaced: what was done, for whoever finds them.
fn manifest(report: &Report) -> String {
    let text = serde_json::json!({
        "damaged": report.damaged,
        "commits": {
            "kept": report.commits.kept, "chained-again": report.commits.chained_again, "in-part": report.commits.in_part,
            "proven": report.commits.proven, "from-rows": report.commits.from_rows, "lost": report.commits.lost,
        },
        "payloads": { "made-again": report.payloads.made_again, "lost": report.payloads.lost },
        "hurt": report.hurt.iter().map(|hurt| serde_json::json!({
            "session": hurt.session, "from": hurt.from, "events": hurt.events, "heads": hurt.heads,
        })).collect::<Vec<_>>(),
        "records-lost": report.records_lost,
    });
    format!("{text}\n")
}

fn lock_error(error: LockError) -> RepairError {
    match error {
        LockError::TimedOut { .. } => RepairError::InUse,
        error => RepairError::Io { what: "a lock of the store cannot be taken".to_owned(), source: Box::new(error) },
    }
}

//! `backup`: a copy of a store while others write it, verified, to a folder or a single file; and back.
//!
//! The log is one chain that only grows: a copy of its segments up to a point is the store at that point. The rows are copied by
//! SQLite's own backup at one read point, after which they say where the log must be copied to.
//!
//! Everything is made and verified beside what an earlier backup left, and compared with it, before the first of its files is
//! replaced: what it holds may be the only good copy.

mod archive;
mod beside;
mod copy;
mod place;
mod there;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use self::beside::Beside;
use super::check::{self, CheckError, Mode};
use crate::model::Tx;
use crate::progress::Observer;
use crate::segment::{self, LockError, LockFile};
use crate::sqlite::open::{self as sqlite, Journal};
use crate::sqlite::reader::{Reader, reads_wal};
use crate::store::error::{is_busy, is_full, is_no_lack_of_room};
use crate::store::level::{LevelError, Meta};
use crate::store::mark::{self, Trust};
use crate::store::open::database;
use crate::store::{kin, read_only};

/// Why there is no backup, or why it was not restored. What was there before is as it was; only where the system refuses to rename
/// verified files, after all is checked, some are those of the new backup, which then makes its rows from its log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is no store, or no backup, there.
    #[error("there is no {what} at {path}")]
    NotFound {
        /// `store` or `backup`.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is there already that is no backup of this store.
    #[error("{path} exists and is {what}")]
    Exists {
        /// What is in the way.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The earlier backup holds what is not in the store, or other than in it: commits of its own, newer ones, another history.
    #[error("the backup at {path} has diverged from the store: {what}")]
    Diverged {
        /// The backup.
        path: PathBuf,
        /// What is other.
        what: String,
    },
    /// No backup can be made there.
    #[error("no backup can be made at {path}: {what}")]
    Destination {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        what: &'static str,
    },
    /// The rows are not those that the log makes: repair the store first.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The copy differs from what was read.
    #[error("the copy does not verify: {0}")]
    Unverified(String),
    /// The store is being rebuilt or repaired.
    #[error("the store is being rebuilt, migrated or repaired")]
    InUse,
    /// Another program holds a lock on the database.
    #[error("the database is locked by another program")]
    Locked,
    /// A disk is full: the one that the backup goes to, or the one that the store is on.
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

/// What a backup holds, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The last commit in it.
    pub tx: u64,
    /// Segments in it.
    pub segments: u64,
    /// Bytes of segments in it.
    pub bytes: u64,
    /// Bytes of segments that were not there before.
    pub copied: u64,
    /// The folder or file.
    pub to: PathBuf,
    /// What others to the same place had left that were killed, which is gone now.
    pub removed: Vec<PathBuf>,
}

fn refused(what: String, source: Box<dyn std::error::Error + Send + Sync>) -> BackupError {
    match () {
        () if is_full(source.as_ref()) => BackupError::Full { what, source },
        () if is_busy(source.as_ref()) => BackupError::Locked,
        () => BackupError::Io { what, source },
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> BackupError {
    let what = what.into();
    move |source| refused(what, Box::new(source))
}

fn refused_by_log<T>(result: Result<T, LevelError>) -> Result<T, BackupError> {
    result.map_err(|error| refused("the rows cannot be compared with the log".to_owned(), Box::new(error)))
}

fn sql_error(error: rusqlite::Error) -> BackupError {
    refused("the rows cannot be copied".to_owned(), Box::new(error))
}

fn lock_error(error: LockError) -> BackupError {
    match error {
        LockError::TimedOut { .. } => BackupError::InUse,
        error => refused("the store's lock cannot be taken".to_owned(), Box::new(error)),
    }
}

/// Copies the store at `root` to `to`: into a folder, which a later backup brings further, copying only what grew; or, where the
/// name ends in `.tar`, into a file, which must not be there yet. Others may write meanwhile: the backup holds at least
/// everything that was acknowledged when it began. It is read again, hashed and checked before this returns.
///
/// # Errors
///
/// [`BackupError`].
pub fn backup(root: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    archive::known(to)?;
    outside(root, to)?;
    let made = match to.extension().is_some_and(|ext| ext == "tar") {
        true => archive::make(root, to),
        false => to_folder(root, to),
    };
    made.map_err(|error| told_by(error, root, to))
}

/// Says what the disks say: a write that failed where there is room is no full disk.
fn told_by(error: BackupError, root: &Path, to: &Path) -> BackupError {
    let to = if to.is_dir() { to } else { parent(to) };
    match error {
        BackupError::Full { what, source } if [root, to].iter().all(|dir| is_no_lack_of_room(source.as_ref(), dir)) => {
            BackupError::Io { what, source }
        }
        error => error,
    }
}

/// Makes the store `to` from a backup, which is checked; `to` must not be there yet.
///
/// # Errors
///
/// [`BackupError`]; there is then nothing at `to`.
pub fn restore(from: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: to.to_owned(), what: "never overwritten" });
    }
    outside(from, to)?;
    // Made beside its place, and named when it is whole.
    let beside = Beside::for_restore(to)?;
    let stage = beside.path("store");
    let made = if is_there(from)? && !is_folder(from)? { archive::unpack(from, &stage) } else { Ok(from.to_owned()) };
    let restored = made.and_then(|folder| {
        if !is_folder(&folder.join("blobs"))? {
            return Err(BackupError::NotFound { what: "backup", path: from.to_owned() });
        }
        if folder == stage {
            let report = finish(&stage, 0)?;
            return Ok(BackupReport { copied: report.bytes, ..report });
        }
        segment::create_dir_private(&stage).map_err(io_error("the new store's folder cannot be made"))?;
        // No backup's log ends before its rows do. Asked first: the backup may be brought further meanwhile.
        let rows = kin::knows_more(&folder, Tx(0));
        let report = to_folder(&folder, &stage)?;
        match rows.filter(|rows| rows.tx.0 > report.tx) {
            Some(rows) => Err(BackupError::Damaged(format!(
                "its rows know {} commits, and its log holds {} whole",
                rows.tx, report.tx
            ))),
            None => Ok(report),
        }
    });
    let report = restored.and_then(|report| {
        named(&stage, to, "the new store")?;
        Ok(BackupReport { to: to.to_owned(), removed: beside.removed.clone(), ..report })
    });
    report.map_err(|error| told_by(error, parent(from), to))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a place within `root`: it would be a part of what it is a copy of.
fn outside(root: &Path, to: &Path) -> Result<(), BackupError> {
    let Ok(root) = root.canonicalize() else { return Ok(()) };
    // What is not there yet lies in the nearest folder that is.
    let there = std::iter::successors(Some(to), |path| Some(parent(path)).filter(|up| up != path));
    let found = there.take(to.components().count() + 1).find_map(|path| path.canonicalize().ok());
    if root.is_dir() && found.is_some_and(|found| found.starts_with(&root)) {
        return Err(BackupError::Destination { path: to.to_owned(), what: "it is inside the folder that is copied" });
    }
    Ok(())
}

/// Gives `what` was made at `from` its name, unless another took it meanwhile.
fn named(from: &Path, to: &Path, what: &str) -> Result<(), BackupError> {
    let done = rename(from, to).and_then(|()| segment::sync_dir(parent(to)));
    done.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: to.to_owned(), what: "never overwritten" },
        _ => io_error(format!("{what} cannot be named"))(error),
    })
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, rustix::fs::RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if to.symlink_metadata().is_err() => {
            fs::rename(from, to)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the folder of a backup under way begins with: within the place it goes to, so that a rename suffices.
const STAGE: &str = "tmp-backup-";

fn to_folder(root: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    if !is_folder(&root.join("blobs"))? {
        return Err(BackupError::NotFound { what: "store", path: root.to_owned() });
    }
    let mut lock = LockFile::open_existing(&root.join("lock")).map_err(lock_error)?;
    let _open = lock.as_mut().map(|lock| lock.shared(Duration::from_secs(30))).transpose().map_err(lock_error)?;
    let was_there = is_there(to)?;
    if was_there && !is_folder(&to.join("blobs"))? {
        for entry in fs::read_dir(to).map_err(io_error(format!("{} cannot be read", to.display())))? {
            let name = entry.map_err(io_error(format!("{} cannot be read", to.display())))?.file_name();
            // A first backup that was killed leaves these.
            if name != "lock" && !name.to_string_lossy().starts_with(STAGE) {
                return Err(BackupError::Exists { path: to.to_owned(), what: "no backup" });
            }
        }
    }
    segment::create_dir_private(to).map_err(io_error(format!("{} cannot be made", to.display())))?;
    if !is_there(&to.join("blobs"))? {
        // A power loss must not take the folder with the backup in it. One that was killed may have made it.
        segment::sync_dir(parent(to)).map_err(io_error("the backup's folder cannot be synced"))?;
    }
    let lock_was_there = is_there(&to.join("lock"))?;
    let made = locked(root, to);
    if made.is_err() {
        if !lock_was_there && !matches!(made, Err(BackupError::InUse)) {
            let _ = fs::remove_file(to.join("lock"));
        }
        if !was_there {
            // Only if nothing is in it.
            let _ = fs::remove_dir(to);
        }
    }
    made
}

fn locked(root: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    // A store in use at the target, or a backup under way: neither may be written.
    let mut theirs = LockFile::open(&to.join("lock")).map_err(lock_error)?;
    let _theirs = theirs.exclusive(Duration::from_millis(500)).map_err(lock_error)?;
    let removed = sweep(to)?;
    let stage = to.join(format!("{STAGE}{}", uuid::Uuid::new_v4().simple()));
    let staged = match staged(root, to, &stage) {
        Ok(staged) => staged,
        Err(error) => {
            // The first failure says more.
            let _ = sweep(to);
            return Err(error);
        }
    };
    // Where this fails the stage stays: the log of before may be in it.
    place::take(&stage, to, &staged)?;
    sweep(to)?;
    Ok(BackupReport { removed, ..staged.report })
}

/// Removes what backups to `to` left that were killed. The caller holds its lock.
fn sweep(to: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut removed = Vec::new();
    let failed = || io_error(format!("{} cannot be swept", to.display()));
    // What took its place must be durable before what was there goes.
    segment::sync_dir(to).map_err(failed())?;
    for entry in fs::read_dir(to).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_string_lossy().starts_with(STAGE) {
            fs::remove_dir_all(entry.path()).map_err(failed())?;
            removed.push(entry.path());
        }
    }
    Ok(removed)
}

/// A backup made and verified, whose files have not taken their places.
struct Staged {
    report: BackupReport,
    /// Segments that are not, byte for byte, the earlier backup's.
    new: Vec<u64>,
    /// Segments of the earlier backup that hold no commit, and are not in the new one.
    beyond: Vec<u64>,
}

/// Makes the whole backup in `stage`, where segments that are there already are links to them, and verifies it.
fn staged(root: &Path, to: &Path, stage: &Path) -> Result<Staged, BackupError> {
    let (blobs, theirs) = (stage.join("blobs"), to.join("blobs"));
    for folder in [stage, &blobs] {
        segment::create_dir_private(folder).map_err(io_error("the backup's folder cannot be made"))?;
    }
    let diverged = |what: String| BackupError::Diverged { path: to.to_owned(), what };
    let before = match is_folder(&theirs)? {
        true => there::look(&theirs, None, Tx(0))
            .map_err(|error| error.told(|what| diverged(format!("it is damaged, {what}"))))?,
        false => there::There::NOTHING,
    };
    let meta = rows(root, stage)?;
    let copied = copy::segments(&root.join("blobs"), &theirs, &blobs, meta.as_ref(), &before.ends)?;
    let report = finish(stage, copied.bytes)?;
    let now = there::look(&blobs, meta.as_ref(), before.tx).map_err(|error| error.told(BackupError::Unverified))?;
    if mark::settled(root, &database(root)).map_err(lock_error)? != Trust::Trusted
        && let Some(rows) = kin::knows_more(root, now.tx)
        && refused_by_log(kin::reaches(&root.join("blobs"), rows.end))?
    {
        let what = format!("the rows know commits up to {}, and the log holds them whole up to {}", rows.tx, now.tx);
        return Err(BackupError::Damaged(what));
    }
    if now.tx < before.tx {
        return Err(diverged(format!("it holds {} commits, the store {}", before.tx, now.tx)));
    }
    if now.digest_then != before.digest {
        return Err(diverged(format!("its commit {} is another than the store's", before.tx)));
    }
    if let Some(number) = copied.differs {
        return Err(diverged(format!("its segment {number} is another than the store's")));
    }
    let beyond = before.ends.keys().filter(|number| !copied.all.contains(number)).copied().collect();
    Ok(Staged { report: BackupReport { to: to.to_owned(), ..report }, new: copied.new, beyond })
}

/// Notes the rows as whole, so that the store opens at once.
fn note(root: &Path) -> Result<(), BackupError> {
    let mut file = mark::lock(root).map_err(lock_error)?;
    let noting = file.exclusive_blocking().map_err(lock_error)?;
    // Its first opening writes the journal mode into the file: only then is it as it will be.
    drop(sqlite::writer(&database(root), Journal::Wal).map_err(sql_error)?);
    // That change had a rollback journal. Were it back after a power loss, SQLite would undo with it what came later.
    segment::sync_dir(root).map_err(io_error("the backup's folder cannot be synced"))?;
    mark::note(root, &database(root), &noting).map_err(io_error("the backup cannot be noted as whole"))
}

/// Copies the rows at one read point; none where there are none that can be trusted: an opening then makes them from the log.
fn rows(root: &Path, to: &Path) -> Result<Option<Meta>, BackupError> {
    if mark::settled(root, &database(root)).map_err(lock_error)? != Trust::Trusted {
        return Ok(None);
    }
    // Commits that are in the log alone, those of before a power loss say, are in the copy's log: its rows are made from that.
    if !reads_wal(&database(root)) {
        return Ok(None);
    }
    let source = Reader::open(&database(root)).map_err(sql_error)?;
    let copied = copy_rows(&source, root, to);
    if source.was_changed() {
        // Where nothing can be written they are read without a lock: others may have written them, and the log has it all.
        remove(&database(to))?;
        return Ok(None);
    }
    copied
}

fn copy_rows(source: &Reader, root: &Path, to: &Path) -> Result<Option<Meta>, BackupError> {
    let behind =
        kin::estranged(source, root).and_then(|why| Ok(why.is_some() || read_only::log_goes_on(root, source)?));
    if refused_by_log(behind)? {
        return Ok(None);
    }
    segment::create_file_private(&database(to)).map_err(io_error("the backup's rows cannot be made"))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(database(to), flags).map_err(sql_error)?;
    // In one step: one read point, however many write meanwhile.
    Backup::new(source, &mut target)
        .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::ZERO, None))
        .map_err(sql_error)?;
    // Leases are of stores that are open elsewhere.
    target.execute(crate::sqlite::stmt::meta::FORGET_LEASES, []).map_err(sql_error)?;
    let meta = Meta::read(&target).map_err(sql_error)?;
    target.close().map_err(|(_, error)| sql_error(error))?;
    let file = File::open(database(to)).and_then(|file| file.sync_all());
    file.map_err(io_error("the backup's rows cannot be synced"))?;
    Ok(Some(meta))
}

/// Whether there is anything at `path`. Where the system does not say, there may be.
fn is_there(path: &Path) -> Result<bool, BackupError> {
    segment::is_there(path).map_err(io_error(format!("{} cannot be looked at", path.display())))
}

/// Whether there is a folder at `path`.
fn is_folder(path: &Path) -> Result<bool, BackupError> {
    segment::is_folder(path).map_err(io_error(format!("{} cannot be looked at", path.display())))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(format!("{} cannot be removed", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Notes the rows as whole, so that the copy opens at once, and has the copy pass a deep check.
fn finish(to: &Path, copied: u64) -> Result<BackupReport, BackupError> {
    if is_there(&database(to))? {
        note(to)?;
    }
    segment::sync_dir(to).map_err(io_error("the backup's folder cannot be synced"))?;
    let report = check::unlocked(to, &Mode::Deep, &Observer::default()).map_err(|error| match error {
        CheckError::Io { what, source } => refused(what, source),
        error => BackupError::Unverified(error.to_string()),
    })?;
    let known = ["payload-lost", "file-open-to-others", "file-owner", "database-missing"];
    if let Some(issue) = report.issues.iter().find(|issue| !known.contains(&issue.code)) {
        return Err(BackupError::Unverified(format!("{} {}", issue.code, issue.place)));
    }
    let blobs = to.join("blobs");
    let numbers = segment::list(&blobs).map_err(io_error("the backup's segments cannot be read"))?;
    let lengths =
        numbers.iter().map(|number| fs::metadata(segment::segment_path(&blobs, *number)).map(|meta| meta.len()));
    let bytes = lengths.sum::<io::Result<u64>>().map_err(io_error("the backup's segments cannot be read"))?;
    let tx = report.counts.get("commits").copied().unwrap_or(0);
    Ok(BackupReport { tx, segments: numbers.len() as u64, bytes, copied, to: to.to_owned(), removed: Vec::new() })
}

//! `backup`: a copy of a store while others write it, verified, to a folder or a single file; and back.
//!
//! The log is one chain that only grows: a copy of its segments up to a point is the store at that point. The rows are copied by
//! SQLite's own backup at one read point, after which they say where the log must be copied to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::check::{self, CheckError, Mode};
use crate::progress::Observer;
use crate::segment::{self, LockError, LockFile, SegmentReader};
use crate::sqlite::open::{self as sqlite, Journal};
use crate::store::level::Meta;
use crate::store::mark::{self, Trust};
use crate::store::open::database;

/// Why there is no backup, or why it was not restored. What was there before is as it was, but for files of an incremental
/// backup that were brought further.
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
    /// The rows are not those that the log makes: repair the store first.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The copy differs from what was read.
    #[error("the copy does not verify: {0}")]
    Unverified(String),
    /// The store is being rebuilt or repaired.
    #[error("the store is being rebuilt, migrated or repaired")]
    InUse,
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
    /// Bytes of segments that were copied; the others were there.
    pub copied: u64,
    /// The folder or file.
    pub to: PathBuf,
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> BackupError {
    let what = what.into();
    move |source| BackupError::Io { what, source: Box::new(source) }
}

fn sql_error(error: rusqlite::Error) -> BackupError {
    BackupError::Io { what: "the rows cannot be copied".to_owned(), source: Box::new(error) }
}

fn lock_error(error: LockError) -> BackupError {
    match error {
        LockError::TimedOut { .. } => BackupError::InUse,
        error => BackupError::Io { what: "the store's lock cannot be taken".to_owned(), source: Box::new(error) },
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
    if to.extension().is_some_and(|ext| ext == "tar") {
        return to_file(root, to);
    }
    to_folder(root, to)
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
    // Made beside its place, and named when it is whole.
    let stage = beside(to, "restoring");
    let made = if from.is_file() { unpack(from, &stage) } else { Ok(from.to_owned()) };
    let restored = made.and_then(|folder| {
        if !folder.join("blobs").is_dir() {
            return Err(BackupError::NotFound { what: "backup", path: from.to_owned() });
        }
        if folder == stage {
            return finish(&stage, 0);
        }
        segment::create_dir_private(&stage).map_err(io_error("the new store's folder cannot be made"))?;
        to_folder(&folder, &stage)
    });
    let report = restored.and_then(|report| {
        let named = rename(&stage, to).and_then(|()| segment::sync_dir(parent(to)));
        named.map_err(io_error("the new store cannot be named"))?;
        Ok(BackupReport { to: to.to_owned(), ..report })
    });
    if report.is_err() {
        let _ = fs::remove_dir_all(&stage);
    }
    report
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    parent(path).join(format!(".{name}.{what}-{}", uuid::Uuid::new_v4().simple()))
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

fn to_folder(root: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    if !root.join("blobs").is_dir() {
        return Err(BackupError::NotFound { what: "store", path: root.to_owned() });
    }
    let mut lock = LockFile::open_existing(&root.join("lock")).map_err(lock_error)?;
    let _open = lock.as_mut().map(|lock| lock.shared(Duration::from_secs(30))).transpose().map_err(lock_error)?;
    let is_backup = to.join("blobs").is_dir();
    if to.exists() && !is_backup {
        let empty = fs::read_dir(to).map_err(io_error(format!("{} cannot be read", to.display())))?.next().is_none();
        if !empty {
            return Err(BackupError::Exists { path: to.to_owned(), what: "no backup" });
        }
    }
    segment::create_dir_private(to).map_err(io_error(format!("{} cannot be made", to.display())))?;
    let blobs = to.join("blobs");
    segment::create_dir_private(&blobs).map_err(io_error("the backup's folder cannot be made"))?;
    // A store in use at the target, or a backup under way: neither may be written.
    let mut theirs = LockFile::open(&to.join("lock")).map_err(lock_error)?;
    let _theirs = theirs.exclusive(Duration::from_millis(500)).map_err(lock_error)?;
    // What is there is no store that opens at once until all of it is copied.
    remove(&to.join("mark"))?;
    let meta = rows(root, to)?;
    let copied = segments(&root.join("blobs"), &blobs, meta.as_ref(), is_backup)?;
    finish(to, copied)
}

/// Copies the rows at one read point; none where there are none that can be trusted: an opening then makes them from the log.
fn rows(root: &Path, to: &Path) -> Result<Option<Meta>, BackupError> {
    let fresh = to.join("store.sqlite.new");
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal", "store.sqlite.new"] {
        remove(&to.join(name))?;
    }
    if mark::settled(root, &database(root)).map_err(lock_error)? != Trust::Trusted {
        return Ok(None);
    }
    let source = sqlite::reader(&database(root)).map_err(sql_error)?;
    segment::create_file_private(&fresh).map_err(io_error("the backup's rows cannot be made"))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(&fresh, flags).map_err(sql_error)?;
    // In one step: one read point, however many write meanwhile.
    Backup::new(&source, &mut target)
        .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::ZERO, None))
        .map_err(sql_error)?;
    // Leases are of stores that are open elsewhere.
    target.execute(crate::sqlite::stmt::meta::FORGET_LEASES, []).map_err(sql_error)?;
    let meta = Meta::read(&target).map_err(sql_error)?;
    target.close().map_err(|(_, error)| sql_error(error))?;
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(io_error("the backup's rows cannot be synced"))?;
    fs::rename(&fresh, database(to)).map_err(io_error("the backup's rows cannot be named"))?;
    Ok(Some(meta))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(format!("{} cannot be removed", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Copies what is missing of the segments, the first first: up to where the rows end, or as far as there are any.
fn segments(from: &Path, to: &Path, meta: Option<&Meta>, incremental: bool) -> Result<u64, BackupError> {
    let numbers = segment::list(from).map_err(io_error("the folder of segments cannot be read"))?;
    let there = segment::list(to).map_err(io_error("the backup's segments cannot be read"))?;
    if let Some(stray) = there.iter().find(|number| !numbers.contains(number)) {
        let path = segment::segment_path(to, *stray);
        return Err(BackupError::Exists { path, what: "a segment that the store has not: the backup is of another" });
    }
    let mut copied = 0;
    for number in numbers {
        if meta.is_some_and(|meta| number > meta.end.segment) {
            // Of a segment that the rows do not know nothing was acknowledged when they were read.
            if there.contains(&number) {
                remove(&segment::segment_path(to, number))?;
            }
            continue;
        }
        let until = meta.filter(|meta| meta.end.segment == number).map(|meta| meta.end.offset);
        copied += one(from, to, number, until, incremental)?;
    }
    segment::sync_dir(to).map_err(io_error("the backup's folder cannot be synced"))?;
    Ok(copied)
}

const PIECE: usize = 1 << 20;

/// Copies what is missing of one segment, reads it back, and compares hashes. Returns the bytes copied.
fn one(from: &Path, to: &Path, number: u64, until: Option<u64>, incremental: bool) -> Result<u64, BackupError> {
    let what = || format!("segment {number} cannot be copied");
    let source = SegmentReader::open(from, number).map_err(|error| BackupError::Damaged(error.to_string()))?;
    let length = match until {
        Some(until) => until,
        None => source.file_len().map_err(io_error(what()))?,
    };
    let path = segment::segment_path(to, number);
    let target = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let target = target.map_err(io_error(what()))?;
    let mut source = File::open(source.path()).map_err(io_error(what()))?;
    let had = target.metadata().map_err(io_error(what()))?.len().min(length);
    // Bytes of a segment never change: what is there is compared, and what follows is copied.
    let same = common(&mut source, &target, had).map_err(io_error(what()))?;
    if same < had && same < segment::SEGMENT_HEADER_LEN && incremental {
        return Err(BackupError::Exists { path, what: "a segment of another store" });
    }
    target.set_len(same).map_err(io_error(what()))?;
    source.seek(SeekFrom::Start(same)).map_err(io_error(what()))?;
    let (mut at, mut read) = (same, blake3::Hasher::new());
    let mut piece = vec![0; PIECE];
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let got = source.read(&mut piece[..wanted]).map_err(io_error(what()))?;
        if got == 0 {
            return Err(BackupError::Damaged(format!("segment {number} ends before {length}")));
        }
        read.update(&piece[..got]);
        target.write_all_at(&piece[..got], at).map_err(io_error(what()))?;
        at += got as u64;
    }
    target.sync_all().map_err(io_error(what()))?;
    // From the disk, not from the cache, as far as the system lets us.
    let _ = rustix::fs::fadvise(&target, 0, None, rustix::fs::Advice::DontNeed);
    let (mut again, mut at) = (blake3::Hasher::new(), same);
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        target.read_exact_at(&mut piece[..wanted], at).map_err(io_error(what()))?;
        again.update(&piece[..wanted]);
        at += wanted as u64;
    }
    if again.finalize() != read.finalize() {
        return Err(BackupError::Unverified(path.display().to_string()));
    }
    Ok(length - same)
}

/// How many of the first `length` bytes are the same in both.
fn common(source: &mut File, target: &File, length: u64) -> io::Result<u64> {
    let (mut ours, mut theirs, mut at) = (vec![0; PIECE], vec![0; PIECE], 0);
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        source.read_exact_at(&mut ours[..wanted], at)?;
        target.read_exact_at(&mut theirs[..wanted], at)?;
        if ours[..wanted] != theirs[..wanted] {
            let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            return Ok(at + same as u64);
        }
        at += wanted as u64;
    }
    Ok(length)
}

/// Notes the rows as whole, so that the copy opens at once, and has the copy pass a deep check.
fn finish(to: &Path, copied: u64) -> Result<BackupReport, BackupError> {
    if database(to).exists() {
        let mut file = mark::lock(to).map_err(lock_error)?;
        let noting = file.exclusive_blocking().map_err(lock_error)?;
        // Its first opening writes the journal mode into the file: only then is it as it will be.
        drop(sqlite::writer(&database(to), Journal::Wal).map_err(sql_error)?);
        mark::note(to, &database(to), &noting).map_err(io_error("the backup cannot be noted as whole"))?;
    }
    segment::sync_dir(to).map_err(io_error("the backup's folder cannot be synced"))?;
    let report = check::unlocked(to, &Mode::Deep, &Observer::default()).map_err(|error| match error {
        CheckError::Io { what, source } => BackupError::Io { what, source },
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
    Ok(BackupReport { tx, segments: numbers.len() as u64, bytes, copied, to: to.to_owned() })
}

/// One file: a tar of what a backup's folder holds. It is made from a folder beside it, which is verified.
fn to_file(root: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: to.to_owned(), what: "never overwritten" });
    }
    let stage = beside(to, "backup");
    let packed = to_folder(root, &stage).and_then(|report| {
        let file = beside(to, "tar");
        let written = pack(&stage, &file).map_err(io_error(format!("{} cannot be written", to.display())));
        let written = written.and_then(|()| {
            // What was written is unpacked again and passes the same check.
            let again = beside(to, "verify");
            let verified = unpack(&file, &again).and_then(|_| finish(&again, 0));
            let _ = fs::remove_dir_all(&again);
            verified?;
            rename(&file, to)
                .and_then(|()| segment::sync_dir(parent(to)))
                .map_err(io_error("the backup cannot be named"))
        });
        if written.is_err() {
            let _ = fs::remove_file(&file);
        }
        written.map(|()| BackupReport { to: to.to_owned(), ..report })
    });
    let _ = fs::remove_dir_all(&stage);
    packed
}

fn pack(from: &Path, file: &Path) -> io::Result<()> {
    let out = segment::create_file_private(file)?;
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(PIECE, out));
    tar.mode(tar::HeaderMode::Deterministic);
    let mut names = vec![PathBuf::from("store.sqlite")];
    names.extend(
        segment::list(&from.join("blobs"))?.into_iter().map(|number| segment::segment_path(Path::new("blobs"), number)),
    );
    for name in names.into_iter().filter(|name| from.join(name).exists()) {
        tar.append_path_with_name(from.join(&name), &name)?;
    }
    let mut out = tar.into_inner()?;
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Takes a backup's file apart, into a folder that is made. Only what a backup holds is taken: names are ours, never the file's.
fn unpack(file: &Path, to: &Path) -> Result<PathBuf, BackupError> {
    let failed = || format!("{} cannot be read", file.display());
    segment::create_dir_private(to).map_err(io_error("a folder to unpack into cannot be made"))?;
    let blobs = to.join("blobs");
    segment::create_dir_private(&blobs).map_err(io_error("a folder to unpack into cannot be made"))?;
    let mut tar = tar::Archive::new(File::open(file).map_err(io_error(failed()))?);
    for entry in tar.entries().map_err(io_error(failed()))? {
        let mut entry = entry.map_err(io_error(failed()))?;
        let name = entry.path().map_err(io_error(failed()))?.into_owned();
        let number = name.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        let target = match number {
            Some(number) if name == segment::segment_path(Path::new("blobs"), number) => {
                segment::segment_path(&blobs, number)
            }
            _ if name == Path::new("store.sqlite") => database(to),
            _ => continue,
        };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut out = segment::create_file_private(&target).map_err(io_error(failed()))?;
        io::copy(&mut entry, &mut out).and_then(|_| out.sync_all()).map_err(io_error(failed()))?;
    }
    if segment::list(&blobs).map_err(io_error(failed()))?.is_empty() && !database(to).exists() {
        return Err(BackupError::NotFound { what: "backup", path: file.to_owned() });
    }
    segment::sync_dir(&blobs).map_err(io_error("the folder cannot be synced"))?;
    Ok(to.to_owned())
}

//! Which database file is known good: `mark` holds its inode and change time, noted after the last complete WAL
//! checkpoint. A copy, a file put in its place or one torn by a crash has others, and is rebuilt from the log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::segment::{LockError, LockFile, LockGuard};

/// What is said of the database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is the one noted.
    Trusted,
    /// There is none.
    Missing,
    /// It is another, or was changed by someone else, for this reason.
    Untrusted(&'static str),
}

/// Bytes of the longest mark, and some more.
const MARK: u64 = 512;

/// What is said of a database beside which a hot journal lies.
const JOURNAL: &str = "a rollback journal lies beside it, with which SQLite would undo what it holds";

/// Whether a rollback journal lies beside the database that SQLite would play back when it opens it, whatever the database is
/// by now: one without an empty header. With the WAL there is none but while the file is made.
fn hot_journal(database: &Path) -> io::Result<Option<fs::Metadata>> {
    let journal = database.with_file_name("store.sqlite-journal");
    let meta = match fs::symlink_metadata(&journal) {
        Ok(meta) if meta.len() > 0 => meta,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !meta.is_file() {
        return Ok(Some(meta));
    }
    let mut first = [0];
    match File::open(&journal).and_then(|file| file.read_at(&mut first, 0)) {
        Ok(_) => Ok(Some(meta).filter(|_| first != [0])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How long a journal stays as it is that no live transaction holds.
const STILL: Duration = Duration::from_millis(100);

/// Whether a journal lies there that belongs to no transaction under way.
pub(crate) fn has_stray_journal(database: &Path) -> io::Result<bool> {
    let Some(before) = hot_journal(database)? else { return Ok(false) };
    let start = Instant::now();
    while start.elapsed() < STILL {
        std::thread::park_timeout(STILL);
    }
    let now = hot_journal(database)?;
    let same = |now: &fs::Metadata| {
        (now.ino(), now.len(), now.mtime_nsec()) == (before.ino(), before.len(), before.mtime_nsec())
    };
    Ok(now.as_ref().is_some_and(same))
}

fn path(root: &Path) -> PathBuf {
    root.join("mark")
}

/// Held while the main file may be changing: by a WAL checkpoint until it is noted, by an opening that looks.
pub(crate) fn lock(root: &Path) -> Result<LockFile, LockError> {
    LockFile::open(&path(root))
}

/// The note about the file as it is now. Only `stat` touches the database: opening and closing it in this process
/// would drop SQLite's locks.
fn describe(database: &Path) -> io::Result<String> {
    let meta = fs::symlink_metadata(database)?;
    let note =
        format!("headwater 1 inode {} ctime {}.{:09} size {}", meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len());
    Ok(format!("{note} crc {:08x}\n", crc32fast::hash(note.as_bytes())))
}

/// Notes that the main file, as it is now, holds everything that was in the WAL. The caller holds [`lock`]
/// exclusively since before the WAL checkpoint began.
pub(crate) fn note(root: &Path, database: &Path, _held: &LockGuard) -> io::Result<()> {
    let text = describe(database)?;
    let file = open(root)?;
    // One write of less than a sector: old or new, or torn and then not trusted.
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_data()
}

/// What stands in the mark; nothing where there is none, or none of ours.
fn noted(root: &Path) -> io::Result<String> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path(root)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MARK).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// Looks whether the database is the one noted.
pub(crate) fn trust(root: &Path, database: &Path) -> io::Result<Trust> {
    match fs::symlink_metadata(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Trust::Missing),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_file() => return Ok(Trust::Untrusted("it is no regular file")),
        Ok(meta) if meta.len() == 0 => return Ok(Trust::Untrusted("it is empty")),
        Ok(_) => {}
    }
    if hot_journal(database)?.is_some() {
        return Ok(Trust::Untrusted(JOURNAL));
    }
    let noted = noted(root)?;
    Ok(match noted {
        noted if noted.is_empty() => Trust::Untrusted("nothing says that it is whole"),
        noted if noted == describe(database)? => Trust::Trusted,
        _ => Trust::Untrusted("it is not the file noted after the last complete WAL checkpoint"),
    })
}

/// The same, after a WAL checkpoint under way: who runs one holds [`lock`] until it is noted. Makes no file.
pub(crate) fn settled(root: &Path, database: &Path) -> Result<Trust, LockError> {
    let look = || trust(root, database).map_err(|source| LockError::Io { path: database.to_owned(), source });
    let found = look()?;
    if matches!(found, Trust::Untrusted(_))
        && let Some(mut file) = LockFile::open_existing(&path(root))?
    {
        let _quiet = file.shared_blocking()?;
        return look();
    }
    Ok(found)
}

/// Whether the database is the file that was noted, by its inode, whatever was written to it since; but for a journal that
/// opening it would play back.
pub(super) fn is_noted_file(root: &Path, database: &Path) -> bool {
    if !matches!(hot_journal(database), Ok(None)) {
        return false;
    }
    let Ok(text) = noted(root) else { return false };
    let whole = text
        .trim_end()
        .rsplit_once(" crc ")
        .filter(|(note, crc)| u32::from_str_radix(crc, 16).is_ok_and(|crc| crc == crc32fast::hash(note.as_bytes())));
    let noted = whole.and_then(|(note, _)| note.strip_prefix("headwater 1 inode ")?.split(' ').next()?.parse().ok());
    noted.is_some_and(|inode: u64| fs::symlink_metadata(database).is_ok_and(|meta| meta.ino() == inode))
}

fn open(root: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path(root))
}

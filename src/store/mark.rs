//! Which database file is known good: `mark` holds its inode and change time, noted after the last complete WAL
//! checkpoint. A copy, a file put in its place or one torn by a crash has others, and is rebuilt from the log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::segment::{LockError, LockFile, LockGuard, Turnstile};

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

/// What is said of a database beside which a hot journal lies.
const JOURNAL: &str = "a rollback journal lies beside it, with which SQLite would undo what it holds";

/// Whether a rollback journal lies beside the database that SQLite would play back when it opens it, whatever the database is
/// by now: one without an empty header. With the WAL there is none but while the file is made.
fn has_hot_journal(database: &Path) -> io::Result<bool> {
    let journal = database.with_file_name("store.sqlite-journal");
    match fs::symlink_metadata(&journal) {
        Ok(meta) if meta.len() == 0 => return Ok(false),
        Ok(meta) if !meta.is_file() => return Ok(true),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut first = [0];
    match File::open(&journal).and_then(|file| file.read_at(&mut first, 0)) {
        Ok(_) => Ok(first != [0]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long is waited for whoever writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a journal lies in the store's folder `root` that belongs to no transaction under way. Who has one open holds `write`: under
/// that lock a journal is nobody's.
///
/// # Errors
///
/// [`LockError::TimedOut`] where somebody holds it for so long that this cannot be told.
pub(crate) fn has_stray_journal(root: &Path) -> Result<bool, LockError> {
    let database = super::checkpoint::database(root);
    let look = || has_hot_journal(&database).map_err(|source| LockError::Io { path: database.clone(), source });
    if !look()? {
        return Ok(false);
    }
    let Some(mut writers) = Turnstile::open_existing(&root.join("turn"), &root.join("write"))? else { return Ok(true) };
    let _nobody_writes = writers.acquire_within(PATIENCE)?;
    look()
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

/// Looks whether the database is the one noted.
pub(crate) fn trust(root: &Path, database: &Path) -> io::Result<Trust> {
    match fs::symlink_metadata(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Trust::Missing),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_file() => return Ok(Trust::Untrusted("it is no regular file")),
        Ok(meta) if meta.len() == 0 => return Ok(Trust::Untrusted("it is empty")),
        Ok(_) => {}
    }
    if has_hot_journal(database)? {
        return Ok(Trust::Untrusted(JOURNAL));
    }
    let noted = match fs::read_to_string(path(root)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(error),
    };
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
    if !matches!(has_hot_journal(database), Ok(false)) {
        return false;
    }
    let Ok(text) = fs::read_to_string(path(root)) else { return false };
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

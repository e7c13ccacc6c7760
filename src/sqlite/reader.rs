//! Readers' connections, and what one stands on where nothing can be written: a file that others can still change.

use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, StatVfsMountFlags};
use rustix::io::Errno;

use super::open::{common, map_memory};

/// A reader's connection.
///
/// Where nothing can be written, and nobody left SQLite's shared memory, SQLite reads the main file without a lock and takes it for
/// one that never changes. Whoever comes by another mount, or with other rights, changes it all the same: the file is
/// noted before it is opened, and asked for again.
pub(crate) struct Reader {
    conn: Connection,
    path: PathBuf,
    noted: Option<Noted>,
}

/// How often a file that changes is opened once more.
const TRIES: usize = 5;

/// What changes when a file is written: inode, change time, size; none where it cannot be looked at.
type Identity = Option<(u64, i64, i64, u64)>;

/// The files of a database, as they are.
#[derive(PartialEq, Eq)]
struct Noted {
    database: Identity,
    wal: Identity,
    has_memory: bool,
}

impl Noted {
    fn look(path: &Path) -> Noted {
        Noted {
            database: identity(path),
            wal: identity(&beside(path, "-wal")),
            has_memory: beside(path, "-shm").exists(),
        }
    }
}

/// Only `stat` touches the file: opening and closing it in this process would drop SQLite's locks.
fn identity(path: &Path) -> Identity {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len()))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    path.with_file_name(format!("store.sqlite{end}"))
}

impl Reader {
    /// Opens the database at `path`.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Reader> {
        let mut tries = 0;
        loop {
            let before = Noted::look(path);
            let (name, flags, alone) = reading(path, &before);
            let opened = Connection::open_with_flags(name, flags).and_then(|conn| prepare(&conn).map(|()| conn));
            match opened {
                // It says nothing of the file that is there now.
                Err(_) if alone && tries < TRIES && before != Noted::look(path) => tries += 1,
                Err(error) => return Err(error),
                Ok(conn) => return Ok(Reader { conn, path: path.to_owned(), noted: alone.then_some(before) }),
            }
        }
    }

    /// Opens the main file alone, as it lies there: no WAL, and no journal is played back.
    pub(crate) fn of_file(path: &Path) -> rusqlite::Result<Reader> {
        let noted = Some(Noted::look(path));
        let conn = Connection::open_with_flags(as_it_is(path), ALONE)?;
        prepare(&conn)?;
        Ok(Reader { conn, path: path.to_owned(), noted })
    }

    /// Whether SQLite reads the main file alone, as one that never changes.
    pub(crate) fn stands_alone(&self) -> bool {
        self.noted.is_some()
    }

    /// Whether there is something else to be read now than what this connection reads.
    pub(crate) fn is_stale(&self) -> bool {
        self.noted.as_ref().is_some_and(|noted| *noted != Noted::look(&self.path))
    }

    /// Whether the file was changed while it was read: what was read of it is then of no one point, and proves nothing.
    pub(crate) fn was_changed(&self) -> bool {
        self.noted.as_ref().is_some_and(|noted| noted.database != identity(&self.path))
    }
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

/// Whether nothing can be written in the folder `dir`: its file system is read-only, or this process may not.
pub(crate) fn is_read_only(dir: &Path) -> bool {
    let refused = [Errno::ROFS, Errno::ACCESS, Errno::PERM];
    rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY))
        || rustix::fs::access(dir, Access::WRITE_OK).is_err_and(|errno| refused.contains(&errno))
}

/// Whether a reader of the database sees what is in its WAL: where nothing can be written, SQLite needs the shared memory that a
/// writer left.
pub(crate) fn reads_wal(path: &Path) -> bool {
    wal_len(path) == 0 || !path.parent().is_some_and(is_read_only) || beside(path, "-shm").exists()
}

/// The bytes of the database's WAL. Only `stat` touches the file.
pub(crate) fn wal_len(path: &Path) -> u64 {
    std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len())
}

const BOTH: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_NOFOLLOW);
const ALONE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_URI).union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// By what name and how a reader opens the database, and whether that is the main file alone.
fn reading(path: &Path, found: &Noted) -> (PathBuf, OpenFlags, bool) {
    // SQLite takes the WAL of an empty file for a stray one, and removes it: looking changes nothing.
    if found.database.is_some_and(|(.., len)| len == 0) {
        return (as_it_is(path), ALONE | BOTH, true);
    }
    if !path.parent().is_some_and(is_read_only) {
        // Read-write at the level of the file, for the WAL's shared memory; read-only at the level of statements.
        return (path.to_owned(), OpenFlags::SQLITE_OPEN_READ_WRITE | BOTH, false);
    }
    // A store that is written through another mount has both: this one must see what that one does.
    if found.wal.is_some() && found.has_memory {
        return (path.to_owned(), OpenFlags::SQLITE_OPEN_READ_ONLY | BOTH, false);
    }
    // Without shared memory there is no WAL: the main file is, by itself, a state that the rows once had.
    (as_it_is(path), ALONE | BOTH, true)
}

fn as_it_is(path: &Path) -> PathBuf {
    let mut name = "file:".to_owned();
    for letter in path.to_string_lossy().chars() {
        match letter {
            '%' | '?' | '#' => name.push_str(&format!("%{:02x}", u32::from(letter))),
            letter => name.push(letter),
        }
    }
    name.push_str("?immutable=1");
    PathBuf::from(name)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    common(conn)?;
    map_memory(conn)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "query_only", true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read without a lock is compared with what lay there before: also a write that leaves the size as it was is told, and a
    /// WAL that somebody begins.
    #[test]
    fn a_file_that_is_read_alone_and_changed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let writer = super::super::open::writer(&path, super::super::open::Journal::Wal).unwrap();
        writer.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1)").unwrap();
        super::super::open::checkpoint(&writer, true).unwrap();
        let count = |reader: &Reader| reader.query_row("SELECT sum(n) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
        let reader = Reader::of_file(&path).unwrap();
        assert_eq!((count(&reader), reader.is_stale(), reader.was_changed()), (1, false, false));
        // In the WAL alone: what was read stands, and there is more to be read.
        writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        assert_eq!((count(&reader), reader.is_stale(), reader.was_changed()), (1, true, false));
        super::super::open::checkpoint(&writer, true).unwrap();
        assert!(reader.is_stale() && reader.was_changed());
        let reader = Reader::of_file(&path).unwrap();
        assert_eq!((count(&reader), reader.is_stale()), (3, false));
        // One that sees what is written says nothing of it.
        let shared = Reader::open(&path).unwrap();
        writer.execute_batch("INSERT INTO t VALUES (4)").unwrap();
        assert_eq!((count(&shared), shared.stands_alone(), shared.is_stale()), (7, false, false));
    }
}

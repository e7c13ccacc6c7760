//! Doubt about what SQLite calls corrupt: it says so, too, of a page that the system would not read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use super::fault;
use super::reader::Reader;
use super::stmt::care::IS_WHOLE;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// Files of databases that were read past SQLite, by device and inode. Never closed: that would drop the locks that SQLite holds on
/// them in this process.
static KEPT: Mutex<Vec<((u64, u64), File)>> = Mutex::new(Vec::new());

/// Why the database at `path`, which SQLite called corrupt, need not be: the system refuses to read it, or did, and all of it can be
/// read and is whole now. None if it is corrupt. Reads all of it.
pub(crate) fn refusal(path: &Path) -> Option<io::Error> {
    if let Err(refused) = read_through(path) {
        return Some(refused);
    }
    let asked = Reader::open(path).and_then(|conn| conn.query_row(IS_WHOLE, [], |row| row.get::<_, String>(0)));
    match asked {
        Ok(text) if text == "ok" => Some(io::Error::other("a page could not be read, and now can")),
        Ok(_) => None,
        Err(error) if fault::is_refused(&error) => Some(io::Error::other(error)),
        Err(_) => None,
    }
}

/// Reads the database at `path`, and its WAL, as the system gives them.
///
/// # Errors
///
/// The system's.
pub(crate) fn read_through(path: &Path) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    for name in ["store.sqlite", "store.sqlite-wal"] {
        let path = path.with_file_name(name);
        let meta = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            meta => meta?,
        };
        if meta.is_file() {
            each_byte(&path, &meta, &mut piece)?;
        }
    }
    Ok(())
}

fn each_byte(path: &Path, meta: &Metadata, piece: &mut [u8]) -> io::Result<()> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = (meta.dev(), meta.ino());
    if !kept.iter().any(|(known, _)| *known == wanted) {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        kept.push((wanted, file));
    }
    let Some((_, file)) = kept.iter().find(|(known, _)| *known == wanted) else { return Ok(()) };
    let mut at = 0;
    loop {
        match file.read_at(piece, at) {
            Ok(0) => return Ok(()),
            Ok(got) => at += got as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::{Journal, writer};
    use super::*;

    /// What is corrupt stays so; what is whole was refused. Looking takes nobody's lock away.
    #[test]
    fn only_what_is_corrupt_is_called_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let conn = writer(&path, Journal::Wal).unwrap();
        conn.execute_batch("CREATE TABLE t (n); CREATE INDEX i ON t (n); INSERT INTO t VALUES (1), (2)").unwrap();
        super::super::open::checkpoint(&conn, true).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(refusal(&path).is_some_and(|refused| refused.raw_os_error().is_none()));
        assert_eq!(
            KEPT.lock().unwrap().iter().filter(|(known, _)| known.1 == path.metadata().unwrap().ino()).count(),
            1
        );
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let ours = format!(":{} ", path.metadata().unwrap().ino());
        assert!(locks.is_empty() || locks.contains(&ours), "{locks}");
        conn.execute_batch("ROLLBACK").unwrap();
        drop(conn);
        // The root page of the index becomes one of nothing.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2 * 1024..3 * 1024].fill(0xee);
        std::fs::write(&path, bytes).unwrap();
        assert!(refusal(&path).is_none());
        std::fs::write(&path, "no database at all").unwrap();
        assert!(refusal(&path).is_none());
    }
}

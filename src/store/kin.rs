//! Whether rows and log are of one history: a WAL brings its pages to whatever database it lies beside, and what the rows say of
//! the last commit is what the next one is chained to.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::checkpoint::database;
use super::level::{LevelError, Meta, copied_while_it_grew};
use super::mark;
use super::writer::Writer;
use crate::journal::{Commit, LastCommit};
use crate::model::{Timestamp, Tx};
use crate::segment::{Kind, Position, SegmentError, SegmentReader};
use crate::sqlite::reader::{Reader, wal_len};
use crate::sqlite::stmt;

/// What is said of rows that are not of the log's store.
const STRANGERS: &str = "its rows are of another store or history: the last commit they know is not the log's";
/// What is said of rows among which older ones are.
const PAST: &str = "some of its rows are older than others: a WAL of an earlier time lies beside it";

/// Frames in which the first commit is looked for: one that has more payloads is not waited for.
const FRAMES: usize = 16;
/// A commit of no more bytes is read whole by each opening; of a longer one, an import's say, the head, until somebody writes.
const SHORT: u32 = 64 << 10;

/// Why the rows that `conn` reads cannot be those of the log in the store's folder `root`; none if nothing says so. What of the log
/// is damaged, or not there, says nothing here.
pub(crate) fn estranged(conn: &Connection, root: &Path) -> Result<Option<&'static str>, LevelError> {
    // Before the rows are asked: what is moved into the main file is in their WAL before.
    let alone = main_file(root);
    let meta = Meta::read(conn)?;
    if alone.is_some_and(|alone| (alone.tx, alone.end) > (meta.tx, meta.end)) {
        return Ok(Some(PAST));
    }
    let blobs = root.join("blobs");
    let same = match LastCommit::before(&blobs, meta.end)? {
        Some(last) if last.body_len() > SHORT => {
            let claims = last.claims()?.map(|head| (head.tx, Some(head.at.micros())));
            claims == Some((meta.tx, at(conn, meta.tx.0)?)) || is_last(&last, &meta)?
        }
        Some(last) => is_last(&last, &meta)?,
        None => first_commit(&blobs)?.zip(at(conn, 1)?).is_none_or(|(log, rows)| log.micros() == rows),
    };
    Ok((!same).then_some(STRANGERS))
}

/// Where the rows of the database in `root`, trusted or not, end, if they are of the log's store and know more than its commits up to
/// `tx`. What cannot be read of them says nothing.
pub(crate) fn knows_more(root: &Path, tx: Tx) -> Option<Meta> {
    let path = database(root);
    // A journal that lies beside it must not be played back.
    let conn = if mark::has_hot_journal(&path).ok()? { Reader::of_file(&path) } else { Reader::open(&path) }.ok()?;
    let meta = Meta::read(&conn).ok()?;
    let first = first_commit(&root.join("blobs")).ok()??;
    (meta.tx > tx && at(&conn, 1).ok()? == Some(first.micros())).then_some(meta)
}

/// Whether the main file of the database in `root`, without its WAL, holds rows of another store than the log is of.
pub(crate) fn is_of_another(root: &Path) -> bool {
    let first = first_commit(&root.join("blobs")).ok().flatten();
    let rows = Reader::of_file(&database(root)).ok().and_then(|conn| at(&conn, 1).ok().flatten());
    first.zip(rows).is_some_and(|(log, rows)| log.micros() != rows)
}

/// Whether the log in `blobs` reaches as far as `end`, whole or not. One that does not was cut off, or copied while it grew.
pub(crate) fn reaches(blobs: &Path, end: Position) -> Result<bool, LevelError> {
    match SegmentReader::open(blobs, end.segment) {
        Ok(reader) => Ok(!copied_while_it_grew(&reader, end.offset)?),
        Err(SegmentError::Missing { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Writer {
    /// Compares what the rows say of the last commit with the log, once for each state that this process did not make: a commit
    /// chained to another one than the log's would break the log. A frame that is not whole says nothing.
    pub(super) fn prove(&mut self, meta: &Meta) -> Result<(), LevelError> {
        if self.proven.as_ref() == Some(meta) {
            return Ok(());
        }
        if let Some(last) = LastCommit::before(self.readers.dir(), meta.end)?
            && !is_last(&last, meta)?
        {
            let (tx, end) = (meta.tx, meta.end);
            return Err(LevelError::Damaged(format!(
                "the rows say of commit {tx} what the log does not have before {end}"
            )));
        }
        self.proven = Some(meta.clone());
        Ok(())
    }
}

fn is_last(last: &LastCommit, meta: &Meta) -> Result<bool, LevelError> {
    Ok(last.proven()?.is_none_or(|(head, digest)| (head.tx, digest) == (meta.tx, meta.digest)))
}

/// Where the rows stand by the main file alone, if there is a WAL that could say otherwise. No WAL that belongs to it is behind it,
/// also while a checkpoint is under way; what cannot be read then says nothing.
fn main_file(root: &Path) -> Option<Meta> {
    let path = database(root);
    if wal_len(&path) == 0 {
        return None;
    }
    let alone = Reader::of_file(&path).ok()?;
    Meta::read(&alone).ok()
}

/// When the rows say that a commit was made.
fn at(conn: &Connection, tx: u64) -> rusqlite::Result<Option<i64>> {
    conn.query_row(stmt::repair::TX_AT, [tx], |row| row.get(0)).optional()
}

/// When the log's first commit was made; none if that cannot be told.
fn first_commit(blobs: &Path) -> Result<Option<Timestamp>, LevelError> {
    let first = Position::first_of(1);
    let reader = match SegmentReader::open(blobs, first.segment) {
        Ok(reader) => reader,
        Err(error @ SegmentError::Io { .. }) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let mut frames = reader.frames(first.offset, None).map_while(Result::ok).take(FRAMES);
    let commit = frames.find(|(_, frame)| frame.header.kind == Kind::Commit);
    Ok(commit.and_then(|(_, commit)| Commit::sealed(&commit.body).ok()).map(|(head, _)| head.at))
}

//! Whether rows and log are of one store: a WAL brings its pages to whatever database it lies beside.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::journal::Commit;
use crate::model::Timestamp;
use crate::segment::{Kind, Position, SegmentReader};
use crate::sqlite::stmt;

/// Frames in which the first commit is looked for: one that has more payloads is not waited for.
const FRAMES: usize = 16;

/// When the log's first commit was made; none if that cannot be told, which is for those to say who read all of it.
fn first_commit(blobs: &Path) -> Option<Timestamp> {
    let first = Position::first_of(1);
    let reader = SegmentReader::open(blobs, first.segment).ok()?;
    let frames = reader.frames(first.offset, None).map_while(Result::ok).take(FRAMES);
    let commit = frames.map(|(_, frame)| frame).find(|frame| frame.header.kind == Kind::Commit)?;
    Some(Commit::decode(&commit.body).ok()?.head.at)
}

/// Whether the rows say of the first commit that it was made at another time than the log says: no two stores have the same.
pub(crate) fn are_strangers(conn: &Connection, blobs: &Path) -> rusqlite::Result<bool> {
    let rows: Option<i64> = conn.query_row(stmt::repair::TX_AT, [1], |row| row.get(0)).optional()?;
    let log = first_commit(blobs).map(Timestamp::micros);
    Ok(rows.zip(log).is_some_and(|(rows, log)| rows != log))
}

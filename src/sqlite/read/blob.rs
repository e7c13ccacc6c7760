//! hw_blob: payloads by digest, by prefix.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::Digest;
use crate::sqlite::row::{Columns, Word};

const BY_DIGEST: &str = "SELECT bid, size, segment, offset, stored, codec, skip, state, media FROM hw_blob
     WHERE substr(hash, 1, 5) = ?1 AND hash = ?2";
const PARTS: &str = "SELECT b.hash, b.bid, b.size, b.segment, b.offset, b.stored, b.codec, b.skip, b.state, b.media
     FROM hw_blob w CROSS JOIN json_each(w.parts) p CROSS JOIN hw_blob b ON b.bid = p.value WHERE w.bid = ?1
     ORDER BY p.key";
const BY_PREFIX: &str =
    "SELECT hash FROM hw_blob WHERE substr(hash, 1, 5) BETWEEN ?1 AND ?2 ORDER BY substr(hash, 1, 5)";
const HEADS_BY_PREFIX: &str = "SELECT b.hash FROM hw_blob b CROSS JOIN hw_head h ON h.hid = b.bid
     WHERE substr(b.hash, 1, 5) BETWEEN ?1 AND ?2 ORDER BY substr(b.hash, 1, 5)";

/// A payload's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobRow {
    pub(crate) bid: i64,
    /// Uncompressed bytes.
    pub(crate) size: u64,
    /// Where its frame begins; none for a payload kept in parts, or erased.
    pub(crate) segment: Option<u64>,
    pub(crate) offset: Option<u64>,
    /// Bytes of the frame's body.
    pub(crate) stored: u64,
    pub(crate) codec: u64,
    /// Where it begins in a pack of several.
    pub(crate) skip: Option<u32>,
    pub(crate) state: BlobState,
    pub(crate) media: Option<String>,
}

/// Where a payload's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobState {
    /// In one frame.
    Present,
    /// In the frames of its parts.
    Parts,
    /// Nowhere any more.
    Erased,
}

fn blob(columns: &mut Columns) -> rusqlite::Result<BlobRow> {
    Ok(BlobRow {
        bid: columns.get()?,
        size: columns.word()?,
        segment: columns.some()?,
        offset: columns.some()?,
        stored: columns.word()?,
        codec: columns.word()?,
        skip: columns.get()?,
        // The table's CHECK leaves no fourth.
        state: match columns.get::<i64>()? {
            0 => BlobState::Present,
            1 => BlobState::Parts,
            _ => BlobState::Erased,
        },
        media: columns.get()?,
    })
}

/// The row of payload `digest`.
pub(crate) fn blob_row(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<BlobRow>> {
    let mut statement = connection.prepare_cached(BY_DIGEST)?;
    statement.query_row(params![digest.prefix(), digest.0.as_slice()], |row| blob(&mut Columns::new(row))).optional()
}

/// The parts of payload `bid`, in order.
pub(crate) fn parts(connection: &Connection, bid: i64) -> rusqlite::Result<Vec<(Digest, BlobRow)>> {
    let mut statement = connection.prepare_cached(PARTS)?;
    let rows = statement.query_map([bid], |row| {
        let mut columns = Columns::new(row);
        Ok((columns.word()?, blob(&mut columns)?))
    })?;
    rows.collect()
}

/// At most `limit` payloads, or heads' roots only, whose short key lies from `low` to `high` and for which `fits` holds.
pub(crate) fn by_prefix(
    connection: &Connection,
    heads: bool,
    (low, high): (&[u8], &[u8]),
    limit: usize,
    fits: impl Fn(&Digest) -> bool,
) -> rusqlite::Result<Vec<Digest>> {
    let mut statement = connection.prepare_cached(if heads { HEADS_BY_PREFIX } else { BY_PREFIX })?;
    let mut rows = statement.query([low, high])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let digest = digest(row)?;
        if fits(&digest) {
            found.push(digest);
            if found.len() >= limit {
                break;
            }
        }
    }
    Ok(found)
}

fn digest(row: &Row) -> rusqlite::Result<Digest> {
    row.get::<_, Word<Digest>>(0).map(|word| word.0)
}

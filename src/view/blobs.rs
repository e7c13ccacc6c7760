//! Payloads' rows.

use rusqlite::Connection;

use super::Answer;
use crate::model::Digest;
use crate::sqlite::read::blob;
pub(crate) use crate::sqlite::read::blob::{BlobRow, BlobState};
use crate::view::error::ReadError;

/// The row of payload `digest`.
pub(crate) fn blob_row(conn: &Connection, digest: &Digest) -> Result<Option<BlobRow>, ReadError> {
    blob::blob_row(conn, digest).answer()
}

/// The parts of payload `bid`, in order.
pub(crate) fn parts(conn: &Connection, bid: i64) -> Result<Vec<(Digest, BlobRow)>, ReadError> {
    blob::parts(conn, bid).answer()
}

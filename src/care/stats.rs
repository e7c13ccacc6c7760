//! What a store holds and what it costs on disk, from rows and file lengths: no payload is read.

use std::fs;
use std::path::Path;

use crate::model::{SessionId, Timestamp};
use crate::segment;
use crate::sqlite::stmt::stats as ask;
use crate::store::Store;
use crate::store::error::ReadError;
use crate::store::level::Meta;
use crate::store::open::database;

/// A store in numbers. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the number it names")]
pub struct Stats {
    pub commits: u64,
    pub sessions: Vec<SessionCost>,
    pub segments: u64,
    /// The lengths of the segments' files.
    pub log: u64,
    pub database: u64,
    /// SQLite's write-ahead log.
    pub wal: u64,
    pub payloads: u64,
    /// What the payloads are, uncompressed, each once.
    pub payload_bytes: u64,
    /// What they take in the log.
    pub payload_stored: u64,
    /// Payloads kept in parts, which count among the payloads each; erased; lost.
    pub in_parts: u64,
    pub erased: u64,
    pub lost: u64,
    /// What all rows name, a payload as often as it is named: what would be kept without looking for equal ones.
    pub named_bytes: u64,
    pub leases: Vec<Lease>,
}

/// What one session costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCost {
    /// The session.
    pub session: SessionId,
    /// Its own events.
    pub events: u64,
    /// Bytes in the log of payloads that only its rows name.
    pub own: u64,
    /// Of those that other sessions name too.
    pub shared: u64,
}

/// A session that is open for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The session.
    pub session: SessionId,
    /// Process and host.
    pub holder: String,
    /// Whether the holder still lives: if not, the lease is free.
    pub alive: bool,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl Stats {
    /// How many bytes of what rows name one byte of payloads stands for, uncompressed.
    pub fn dedupe(&self) -> f64 {
        ratio(self.named_bytes, self.payload_bytes)
    }

    /// How many bytes one stored byte stands for.
    pub fn compression(&self) -> f64 {
        ratio(self.payload_bytes, self.payload_stored)
    }
}

fn ratio(all: u64, kept: u64) -> f64 {
    if kept == 0 { 1.0 } else { all as f64 / kept as f64 }
}

/// The numbers of a store. The cost grows with its rows, not with its payloads' bytes.
///
/// # Errors
///
/// [`ReadError`].
pub fn stats(store: &Store) -> Result<Stats, ReadError> {
    let failed = |error: rusqlite::Error| ReadError::Database(Box::new(error));
    let root = store.root();
    let blobs = root.join("blobs");
    let mut stats = store.inner.read(|conn| {
        let meta = Meta::read(conn).map_err(failed)?;
        let mut named = 0;
        let mut statement = conn.prepare(ask::SESSIONS).map_err(failed)?;
        let sessions = statement.query_map([], |row| {
            named += row.get::<_, u64>(2)?;
            let session = row.get::<_, String>(0)?.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
            Ok(SessionCost { session, events: row.get(1)?, own: row.get(3)?, shared: row.get(4)? })
        });
        let sessions = sessions.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(failed)?;
        let mut statement = conn.prepare(ask::LEASES).map_err(failed)?;
        let leases = statement.query_map([], |row| {
            let session = row.get::<_, String>(0)?.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
            let holder: String = row.get(1)?;
            let alive = crate::store::lease::lives(root, &holder);
            Ok(Lease { session, holder: row.get(2)?, alive, since: Timestamp::from_micros(row.get(3)?) })
        });
        let leases = leases.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(failed)?;
        conn.query_row(ask::PAYLOADS, [], |row| {
            Ok(Stats {
                commits: meta.tx.0,
                sessions,
                segments: 0,
                log: 0,
                database: 0,
                wal: 0,
                payloads: row.get(0)?,
                payload_bytes: row.get(1)?,
                payload_stored: row.get(2)?,
                in_parts: row.get(3)?,
                erased: row.get(4)?,
                lost: row.get(5)?,
                named_bytes: named,
                leases,
            })
        })
        .map_err(failed)
    })?;
    // Only asked for its length: opening a file of the database would drop SQLite's locks.
    let len = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let numbers = segment::list(&blobs).map_err(|error| ReadError::Damaged {
        what: "the folder of segments".to_owned(),
        source: Some(Box::new(error)),
    })?;
    stats.segments = numbers.len() as u64;
    stats.log = numbers.iter().map(|number| len(&segment::segment_path(&blobs, *number))).sum();
    stats.database = len(&database(root));
    stats.wal = len(&root.join("store.sqlite-wal"));
    Ok(stats)
}

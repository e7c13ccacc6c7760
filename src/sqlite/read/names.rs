//! Local integers to what they stand for: sids to session ids, bids and hids to digests.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use crate::model::{Digest, HeadId, SessionId};
use crate::sqlite::row::{Columns, Dangling, Word};

const SESSION: &str = "SELECT id, started_at FROM hw_session WHERE sid = ?1";
const BLOB_HASHES: &str = "SELECT bid, hash FROM hw_blob WHERE bid BETWEEN ?1 AND ?2";

/// Bids this far ahead of the last one asked for are read on the way: about where a step costs as much as a seek.
const NEAR: i64 = 8;
/// How many bids are read ahead at most.
const AHEAD: i64 = 512;
/// Slots once bids are read ahead; a power of two above [`AHEAD`].
const SLOTS: usize = 2048;
/// Slots for the few names of a single row.
const FEW_SLOTS: usize = 16;

/// Finds names on one connection and remembers them.
///
/// Payload refs of neighbouring rows are mostly neighbours themselves, since bids are given in order of first
/// appearance. So a run of near, growing bids is read ahead, in windows that double, and a lone one by itself: reading
/// 100,000 messages costs one scan of their payloads' rows, not 100,000 seeks nor a join for each column.
pub(crate) struct Names<'c> {
    connection: &'c Connection,
    /// Ids, and when they began.
    sessions: HashMap<i64, (SessionId, i64)>,
    hashes: CachedStatement<'c>,
    /// A cache with one place for each bid, its remainder; bid 0 is none.
    slots: Vec<(i64, Digest)>,
    /// The greatest bid asked for, the greatest read, and the present window.
    asked: i64,
    read: i64,
    window: i64,
}

impl<'c> Names<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Names<'c>> {
        let hashes = connection.prepare_cached(BLOB_HASHES)?;
        let slots = vec![(0, Digest::ZERO); FEW_SLOTS];
        Ok(Names { connection, sessions: HashMap::new(), hashes, slots, asked: 0, read: 0, window: 1 })
    }

    /// The connection.
    pub(crate) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The id of session `sid`.
    pub(crate) fn session(&mut self, sid: i64) -> rusqlite::Result<SessionId> {
        self.begun(sid).map(|(id, _)| id)
    }

    /// The id of session `sid`, and when it began: what its times count from.
    pub(crate) fn begun(&mut self, sid: i64) -> rusqlite::Result<(SessionId, i64)> {
        if let Some(found) = self.sessions.get(&sid) {
            return Ok(found.clone());
        }
        let found = session(self.connection, sid)?.ok_or(Dangling { what: "session", id: sid })?;
        self.sessions.insert(sid, found.clone());
        Ok(found)
    }

    /// The head `hid`.
    pub(crate) fn head(&mut self, hid: i64) -> rusqlite::Result<HeadId> {
        self.digest(hid).map(HeadId)
    }

    /// The digest of payload `bid`.
    pub(crate) fn digest(&mut self, bid: i64) -> rusqlite::Result<Digest> {
        if let Some(digest) = self.cached(bid) {
            return Ok(digest);
        }
        let mut to = bid;
        if bid > self.read {
            // A step forward. Near the last one it is part of a run, worth a greater window.
            self.window = if bid.saturating_sub(self.asked) <= NEAR { (self.window * 2).min(AHEAD) } else { 1 };
            if self.window > NEAR && self.slots.len() < SLOTS {
                self.slots = vec![(0, Digest::ZERO); SLOTS];
            }
            to = bid.saturating_add(self.window.min(self.slots.len() as i64) - 1);
            self.read = to;
        }
        self.asked = self.asked.max(bid);
        let places = self.slots.len();
        let mut rows = self.hashes.query([bid, to])?;
        let mut found = None;
        while let Some(row) = rows.next()? {
            let at: i64 = row.get(0)?;
            let digest = row.get::<_, Word<Digest>>(1)?.0;
            if at == bid {
                found = Some(digest);
            }
            if let Some(slot) = self.slots.get_mut(place(at, places)) {
                *slot = (at, digest);
            }
        }
        drop(rows);
        found.ok_or_else(|| Dangling { what: "payload", id: bid }.into())
    }

    fn cached(&mut self, bid: i64) -> Option<Digest> {
        let (at, digest) = *self.slots.get(place(bid, self.slots.len()))?;
        if at != bid || bid == 0 {
            return None;
        }
        self.asked = self.asked.max(bid);
        Some(digest)
    }
}

/// The id of session `sid`, and when it began.
pub(super) fn session(connection: &Connection, sid: i64) -> rusqlite::Result<Option<(SessionId, i64)>> {
    let read = |row: &Row| Ok((Columns::new(row).word()?, row.get(1)?));
    connection.prepare_cached(SESSION)?.query_row([sid], read).optional()
}

fn place(bid: i64, places: usize) -> usize {
    // The number of places is a power of two: the low bits are the remainder.
    (bid as usize) & (places - 1)
}

impl Columns<'_, '_> {
    /// The next column, a bid, as a digest.
    pub(crate) fn digest(&mut self, names: &mut Names) -> rusqlite::Result<Digest> {
        let bid = self.get()?;
        names.digest(bid)
    }

    /// The next column, a bid or null, as a digest.
    pub(crate) fn some_digest(&mut self, names: &mut Names) -> rusqlite::Result<Option<Digest>> {
        self.get::<Option<i64>>()?.map(|bid| names.digest(bid)).transpose()
    }

    /// The next column, a hid or null, as a head.
    pub(crate) fn some_head(&mut self, names: &mut Names) -> rusqlite::Result<Option<HeadId>> {
        Ok(self.some_digest(names)?.map(HeadId))
    }
}

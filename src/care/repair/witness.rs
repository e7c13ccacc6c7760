//! The rows as a witness: what they say that a damaged part of the log held.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::journal::BatchKey;
use crate::model::{
    Derivation, DerivationKind, Digest, Event, EventNumber, HeadId, Record, SessionId, Timestamp, TranscriptRange, Tx,
};
use crate::sqlite::read::event;
use crate::sqlite::read::names::Names;
use crate::sqlite::stmt::repair as ask;
use crate::sqlite::{migrate, open, stmt};
use crate::store::level::Meta;
use crate::store::mark;
use crate::store::open::database;

/// The rows of a store, at one point.
pub(super) struct Witness {
    conn: Connection,
    pub(super) meta: Meta,
    pub(super) sessions: Vec<Known>,
}

/// A session as the rows know it.
pub(super) struct Known {
    pub(super) sid: i64,
    pub(super) id: SessionId,
    pub(super) last_event: u64,
    pub(super) digest: Digest,
}

fn digest(row: &Row<'_>, at: usize) -> rusqlite::Result<Digest> {
    let bytes: Vec<u8> = row.get(at)?;
    Digest::from_slice(&bytes).ok_or(rusqlite::Error::InvalidQuery)
}

fn session(row: &Row<'_>, at: usize) -> rusqlite::Result<SessionId> {
    row.get::<_, String>(at)?.parse().map_err(|_| rusqlite::Error::InvalidQuery)
}

impl Witness {
    /// The rows, if there are any that can be read.
    pub(super) fn open(root: &Path) -> Option<Witness> {
        let path = database(root);
        if !path.is_file() {
            return None;
        }
        // A journal that lies beside it must not be played back: the file is the witness as it is.
        let conn = match mark::has_stray_journal(&path).ok()? {
            true => open::reader_of_file(&path).ok()?,
            false => open::reader(&path).ok()?,
        };
        conn.execute_batch(stmt::meta::BEGIN_READ).ok()?;
        if migrate::version(&conn).ok()? != migrate::KNOWN {
            return None;
        }
        let meta = Meta::read(&conn).ok()?;
        let sessions = conn
            .prepare(ask::SESSIONS)
            .ok()?
            .query_map([], |row| {
                Ok(Known { sid: row.get(0)?, id: session(row, 1)?, last_event: row.get(2)?, digest: digest(row, 3)? })
            })
            .ok()?
            .collect::<rusqlite::Result<_>>()
            .ok()?;
        Some(Witness { conn, meta, sessions })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Events of a session after `since` up to `to`; as many as can be read.
    pub(super) fn events(&self, sid: i64, since: u64, to: u64) -> Vec<Event> {
        let limit = i64::try_from(to.saturating_sub(since)).unwrap_or(i64::MAX);
        let read = |since: u64, limit: i64| {
            let mut names = Names::new(&self.conn)?;
            event::events(&mut names, sid, i64::try_from(since).unwrap_or(i64::MAX), limit)
        };
        match read(since, limit) {
            Ok(events) => events,
            // One row that cannot be read must not hide those before it.
            Err(_) => (since..to).map_while(|n| read(n, 1).ok().and_then(|mut found| found.pop())).collect(),
        }
    }

    /// The records of payloads that appeared after `after`, which is there already, and before `before`.
    pub(super) fn payloads(&self, after: Option<Digest>, before: Option<Digest>) -> Vec<(Digest, Record, bool)> {
        let bid = |hash: Digest| {
            let found = self.conn.query_row(ask::BID, params![hash.prefix(), hash.0.as_slice()], |row| row.get(0));
            found.optional().ok().flatten()
        };
        let low: i64 = after.and_then(bid).unwrap_or(0);
        let high: i64 = before.and_then(bid).unwrap_or(i64::MAX);
        let found = self.conn.prepare(ask::PAYLOADS).and_then(|mut statement| {
            let rows = statement.query_map([low, high], |row| {
                let (hash, size, media, state): (_, _, Option<String>, i64) =
                    (digest(row, 1)?, row.get(2)?, row.get(3)?, row.get(4)?);
                let is_part: bool = row.get(5)?;
                let parts = match state {
                    1 => Some(crate::sqlite::apply::parts(&self.conn, row.get(0)?)?),
                    _ => None,
                };
                let record = match is_part && parts.is_none() {
                    true => Record::PayloadPart { hash, size },
                    false => Record::PayloadAdded { hash, size, media, parts },
                };
                Ok((hash, record, state == crate::sqlite::apply::ERASED))
            })?;
            // What comes before a row that cannot be read is good.
            Ok(rows.map_while(Result::ok).collect())
        });
        found.unwrap_or_default()
    }

    /// When commit `tx` was made.
    pub(super) fn at(&self, tx: Tx) -> Option<Timestamp> {
        let at = self.conn.query_row(ask::TX_AT, [tx.0], |row| row.get::<_, i64>(0));
        at.ok().and_then(Timestamp::from_micros)
    }

    /// The key under which commit `tx` was given.
    pub(super) fn key(&self, tx: Tx) -> Option<BatchKey> {
        let found = self.conn.query_row(ask::KEYS, [tx.0], |row| {
            let sid: i64 = row.get(0)?;
            let known = self.sessions.iter().find(|known| known.sid == sid);
            let session = known.map(|known| known.id.clone()).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(BatchKey {
                key: row.get(1)?,
                session,
                first_event: EventNumber(row.get(2)?),
                events: row.get(3)?,
                content: digest(row, 4)?,
            })
        });
        found.ok()
    }

    fn all<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let found = self.conn.prepare(sql).and_then(|mut statement| {
            let rows = statement.query_map([], read)?;
            Ok(rows.filter_map(Result::ok).collect())
        });
        found.unwrap_or_default()
    }

    pub(super) fn derivations(&self) -> Vec<Derivation> {
        self.all(ask::DERIVATIONS, |row| {
            let kind = match row.get::<_, String>(1)?.as_str() {
                "fork" => DerivationKind::Fork,
                "attach" => DerivationKind::Attach,
                _ => DerivationKind::Restore,
            };
            Ok(Derivation {
                id: digest(row, 0)?,
                kind,
                source_session: session(row, 2)?,
                source_head: HeadId(digest(row, 3)?),
                target_session: session(row, 4)?,
                target_event: EventNumber(row.get(5)?),
                at: Timestamp::from_micros(row.get(6)?).ok_or(rusqlite::Error::InvalidQuery)?,
            })
        })
    }

    pub(super) fn aliases(&self) -> Vec<(SessionId, SessionId)> {
        self.all(ask::ALIASES, |row| Ok((session(row, 0)?, session(row, 1)?)))
    }

    pub(super) fn titles(&self) -> HashMap<SessionId, Digest> {
        self.all(ask::TITLES, |row| Ok((session(row, 0)?, digest(row, 1)?))).into_iter().collect()
    }

    /// Name, target, whether that is a head, version; no target where the pin was taken away.
    pub(super) fn pins(&self) -> Vec<(SessionId, Option<Digest>, bool, u64)> {
        self.all(ask::PINS, |row| {
            let target: Option<Vec<u8>> = row.get(1)?;
            let target = target.and_then(|bytes| Digest::from_slice(&bytes));
            Ok((session(row, 0)?, target, row.get(2)?, row.get(3)?))
        })
    }

    /// The facts between two numbers.
    pub(super) fn facts(&self, after: u64, before: u64) -> Vec<Record> {
        let limits = [i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(before).unwrap_or(i64::MAX)];
        let found = self.conn.prepare(ask::FACTS).and_then(|mut statement| {
            let rows = statement.query_map(limits, |row| {
                Ok(Record::FactAdded { fact: row.get(0)?, tag: row.get(1)?, payload: digest(row, 2)? })
            })?;
            Ok(rows.map_while(Result::ok).collect())
        });
        found.unwrap_or_default()
    }

    fn bid(&self, hash: &Digest) -> Option<i64> {
        self.conn.query_row(ask::BID, params![hash.prefix(), hash.0.as_slice()], |row| row.get(0)).ok()
    }

    /// Display text that the rows cache of a payload, if it is that payload's.
    pub(super) fn text(&self, hash: &Digest) -> Option<Vec<u8>> {
        let text: String = self.conn.query_row(ask::TEXTS, [self.bid(hash)?], |row| row.get(0)).ok()?;
        Some(text.into_bytes()).filter(|bytes| Digest::of(bytes) == *hash)
    }

    /// The transcript of a compaction head.
    pub(super) fn transcript(&self, head: &HeadId) -> Option<Vec<TranscriptRange>> {
        let hid = self.bid(head.digest())?;
        let mut statement = self.conn.prepare(ask::TRANSCRIPT).ok()?;
        let rows = statement.query_map([hid], |row| {
            let (from, to) = (EventNumber(row.get(1)?), EventNumber(row.get(2)?));
            Ok(TranscriptRange { from, session: session(row, 0)?, to })
        });
        rows.ok()?.collect::<rusqlite::Result<_>>().ok()
    }
}

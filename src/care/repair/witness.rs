//! The rows as a witness: what they say that a damaged part of the log held.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::RepairError;
use super::salvage::Found;
use crate::journal::BatchKey;
use crate::model::{
    Derivation, DerivationKind, Digest, Event, EventNumber, HeadId, Record, SessionId, Timestamp, TranscriptRange, Tx,
};
use crate::sqlite::read::event;
use crate::sqlite::read::names::Names;
use crate::sqlite::reader::Reader;
use crate::sqlite::stmt::repair as ask;
use crate::sqlite::{fault, migrate, stmt};
use crate::store::error::{causes, chain, is_corrupt};
use crate::store::level::Meta;
use crate::store::mark;
use crate::store::open::database;

/// The rows of a store, at one point.
pub(super) struct Witness {
    conn: Reader,
    pub(super) meta: Meta,
    pub(super) sessions: Vec<Known>,
    /// Rows that could not be read.
    unread: RefCell<BTreeMap<&'static str, BTreeSet<String>>>,
    /// Whether SQLite called the database corrupt.
    is_corrupt: Cell<bool>,
    /// What SQLite was refused when it was asked.
    refused: RefCell<Option<RepairError>>,
}

/// Why the rows cannot be asked.
pub(super) struct Untold {
    pub(super) why: String,
    /// Whether SQLite calls the database corrupt.
    pub(super) is_corrupt: bool,
    /// That they can be asked at another time, or by a newer version: nothing is to be done without them.
    pub(super) refusal: Option<RepairError>,
}

/// What SQLite was refused, if it was.
fn refusal(error: &rusqlite::Error) -> Option<RepairError> {
    if fault::is_busy(error) {
        return Some(RepairError::Locked);
    }
    let source = || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(extended(error)), Some(error.to_string()));
    fault::is_refused(error)
        .then(|| RepairError::Io { what: "the database cannot be read".to_owned(), source: Box::new(source()) })
}

/// SQLite's code in full.
fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |error| error.extended_code)
}

/// Commits by which rows and log are told to be of one store.
const COMPARED: usize = 16;

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
    /// The rows, if there are any.
    pub(super) fn open(root: &Path) -> Result<Option<Witness>, Untold> {
        let path = database(root);
        let untold = |why| Untold { why, is_corrupt: false, refusal: None };
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = "the database cannot be looked at".to_owned();
                let refusal = Some(RepairError::Io { what, source: Box::new(error) });
                return Err(Untold { refusal, ..untold(String::new()) });
            }
            _ => return Ok(None),
        }
        let failed = |error: rusqlite::Error| Untold {
            why: format!("database-unreadable {}", chain(&error)),
            is_corrupt: fault::is_corrupt(&error),
            refusal: refusal(&error),
        };
        // A journal that lies beside it must not be played back: the file is the witness as it is.
        let journal = mark::has_stray_journal(root).map_err(|error| untold(format!("database-journal {error}")))?;
        let conn = if journal { Reader::of_file(&path) } else { Reader::open(&path) }.map_err(failed)?;
        conn.execute_batch(stmt::meta::BEGIN_READ).map_err(failed)?;
        match migrate::version(&conn) {
            Ok(migrate::KNOWN) => {}
            Ok(other) if other > migrate::KNOWN => {
                let what = format!("its schema has version {other}, this version knows {}", migrate::KNOWN);
                return Err(Untold { refusal: Some(RepairError::Newer(what)), ..untold(String::new()) });
            }
            Ok(other) => return Err(untold(format!("schema-differs its version is {other}"))),
            Err(error) => {
                let why = format!("database-unreadable {}", chain(&error));
                let refused = causes(&error).find_map(|cause| cause.downcast_ref().and_then(refusal));
                return Err(Untold { why, is_corrupt: is_corrupt(&error), refusal: refused });
            }
        }
        let meta = Meta::read(&conn).map_err(failed)?;
        let witness = Witness {
            conn,
            meta,
            sessions: Vec::new(),
            unread: RefCell::default(),
            is_corrupt: Cell::default(),
            refused: RefCell::default(),
        };
        let sessions = witness.all("hw_session", ask::SESSIONS, |row| {
            Ok(Known { sid: row.get(0)?, id: session(row, 1)?, last_event: row.get(2)?, digest: digest(row, 3)? })
        });
        Ok(Some(Witness { sessions, ..witness }))
    }

    /// Rows that could not be read, by table, in words.
    pub(super) fn unread(&self) -> Vec<String> {
        let unread = self.unread.borrow();
        unread.iter().map(|(table, places)| format!("rows of {table} that cannot be read: {}", places.len())).collect()
    }

    /// Notes what SQLite says of a row asked for elsewhere.
    pub(super) fn doubt(&self, error: &rusqlite::Error) {
        self.is_corrupt.set(self.is_corrupt.get() || fault::is_corrupt(error));
        if let Some(error) = refusal(error) {
            self.refused.borrow_mut().get_or_insert(error);
        }
    }

    /// What SQLite was refused when it was asked, once.
    pub(super) fn refusal(&self) -> Option<RepairError> {
        self.refused.take()
    }

    /// Whether SQLite called the database corrupt when it was asked.
    pub(super) fn is_corrupt(&self) -> bool {
        self.is_corrupt.get()
    }

    /// Notes that what `table` has at `place` cannot be read; asked again it is the same.
    fn missed(&self, table: &'static str, place: impl ToString, error: &rusqlite::Error) {
        self.doubt(error);
        self.unread.borrow_mut().entry(table).or_default().insert(place.to_string());
    }

    /// Whether the rows are those of another store than `commits` are, or of another history of it: of the last commits that both
    /// know, most were made at another time.
    pub(super) fn is_of_another(&self, commits: &BTreeMap<u64, Vec<Found>>) -> bool {
        let both = commits.range(..=self.meta.tx.0).rev().filter_map(|(tx, found)| Some((self.at(Tx(*tx))?, found)));
        let (mut same, mut other) = (0, 0);
        for (at, found) in both.take(COMPARED) {
            match found.iter().any(|found| found.head.at == at) {
                true => same += 1,
                false => other += 1,
            }
        }
        other > same
    }

    /// Whether others changed the rows while they were asked.
    pub(super) fn was_changed(&self) -> bool {
        self.conn.was_changed()
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
            Err(_) => {
                let one = |n| match read(n, 1) {
                    Ok(mut found) => found.pop(),
                    Err(error) => {
                        self.missed("hw_event", format!("{sid} {} {error:?}", n + 1), &error);
                        None
                    }
                };
                (since..to).map_while(one).collect()
            }
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
            Ok(rows.map_while(|row| self.read_or_missed("hw_blob", row)).collect())
        });
        self.read_or_missed("hw_blob", found).unwrap_or_default()
    }

    fn read_or_missed<T>(&self, table: &'static str, found: rusqlite::Result<T>) -> Option<T> {
        found.inspect_err(|error| self.missed(table, format!("{error:?}"), error)).ok()
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

    fn all<T>(&self, table: &'static str, sql: &str, mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let found = self.conn.prepare(sql).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            let (mut found, mut at) = (Vec::new(), 0_u64);
            // A row that cannot be read hides no other; a page that cannot ends the table.
            while let Some(row) = rows.next()? {
                at += 1;
                match read(row) {
                    Ok(row) => found.push(row),
                    Err(error) => self.missed(table, format!("row {at}: {error:?}"), &error),
                }
            }
            Ok(found)
        });
        self.read_or_missed(table, found).unwrap_or_default()
    }

    pub(super) fn derivations(&self) -> Vec<Derivation> {
        self.all("hw_derivation", ask::DERIVATIONS, |row| {
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
        self.all("hw_alias", ask::ALIASES, |row| Ok((session(row, 0)?, session(row, 1)?)))
    }

    pub(super) fn titles(&self) -> HashMap<SessionId, Digest> {
        self.all("hw_session", ask::TITLES, |row| Ok((session(row, 0)?, digest(row, 1)?))).into_iter().collect()
    }

    /// Name, target, whether that is a head, version; no target where the pin was taken away.
    pub(super) fn pins(&self) -> Vec<(SessionId, Option<Digest>, bool, u64)> {
        self.all("hw_pin", ask::PINS, |row| {
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
            Ok(rows.map_while(|row| self.read_or_missed("hw_fact", row)).collect())
        });
        self.read_or_missed("hw_fact", found).unwrap_or_default()
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

//! hw_session as the writer holds it: what a commit reads first and writes last.

use rusqlite::{Connection, OptionalExtension, params};

use super::stmt;
use crate::model::{Counters, Digest, SessionId};

/// The mutable part of a session's row, and what numbers its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) sid: i64,
    pub(crate) status: String,
    pub(crate) started_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) current: Option<i64>,
    pub(crate) base_up: Option<i64>,
    pub(crate) base_from: u64,
    pub(crate) basis: Option<i64>,
    pub(crate) last_event: u64,
    pub(crate) digest: Digest,
    pub(crate) deep: bool,
    pub(crate) inherited: Counters,
    /// The greatest numbers of messages, evals and snapshots of its own, once they were asked for.
    pub(crate) numbers: Option<[u64; 3]>,
}

impl SessionRow {
    /// The row of session `id`.
    pub(crate) fn find(conn: &Connection, id: &SessionId) -> rusqlite::Result<Option<SessionRow>> {
        conn.prepare_cached(stmt::session::BY_ID)?
            .query_row([id.as_str()], |row| {
                let digest: Vec<u8> = row.get(10)?;
                Ok(SessionRow {
                    sid: row.get(0)?,
                    status: row.get(1)?,
                    started_at: row.get(2)?,
                    updated_at: row.get(3)?,
                    ended_at: row.get(4)?,
                    current: row.get(5)?,
                    base_up: row.get(6)?,
                    base_from: row.get(7)?,
                    basis: row.get(8)?,
                    last_event: row.get(9)?,
                    digest: Digest::from_slice(&digest).ok_or(rusqlite::Error::InvalidQuery)?,
                    deep: row.get(11)?,
                    inherited: Counters {
                        message: row.get(12)?,
                        turn: row.get(13)?,
                        call: row.get(14)?,
                        eval: row.get(15)?,
                        snapshot: row.get(16)?,
                        head: row.get(17)?,
                        invocation: row.get(18)?,
                        child: row.get(19)?,
                        event: 0,
                    },
                    numbers: None,
                })
            })
            .optional()
    }

    /// Writes the mutable part back.
    pub(crate) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(stmt::session::UPDATE)?.execute(params![
            self.sid,
            self.status,
            self.updated_at,
            self.ended_at,
            self.current,
            self.base_up,
            self.base_from,
            self.basis,
            self.last_event,
            self.digest.0.as_slice(),
            self.deep,
        ])?;
        Ok(())
    }
}

//! Records whose numbers only the rows can give: made inside the group, so that nobody who waits long enough is ever
//! told to try again.

use rusqlite::{OptionalExtension, params};

use super::error::CommitError;
use super::pins::Expected;
use super::writer::sql_error;
use crate::model::{Digest, PinTarget, Record, SessionId};
use crate::sqlite::stmt;

/// A record to be made.
#[derive(Debug, Clone)]
pub(super) enum Late {
    /// A fact; with `expect`, only after that one.
    Fact { tag: String, payload: Digest, expect: Option<u64> },
    /// A pin; without a target, its end.
    Pin { name: SessionId, target: Option<PinTarget>, expected: Expected },
}

impl Late {
    /// The record, with its number.
    pub(super) fn record(&self, conn: &rusqlite::Connection) -> Result<(Record, u64), CommitError> {
        match self {
            Late::Fact { tag, payload, expect } => {
                let mut statement = conn.prepare_cached(stmt::name::LAST_FACT).map_err(sql_error)?;
                let last: u64 = statement.query_row([], |row| row.get(0)).map_err(sql_error)?;
                if let Some(expected) = expect.filter(|expected| *expected != last) {
                    return Err(CommitError::StaleFact { expected, found: last });
                }
                Ok((Record::FactAdded { fact: last + 1, tag: tag.clone(), payload: *payload }, last + 1))
            }
            Late::Pin { name, target, expected } => {
                let held: Option<(u64, i64)> = conn
                    .prepare_cached(stmt::name::PIN)
                    .and_then(|mut s| {
                        s.query_row(params![name.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
                    })
                    .map_err(sql_error)?;
                // A pin that was taken away keeps its row, so that its versions never repeat.
                let (last, found) = held.map_or((0, None), |(version, bid)| (version, (bid != 0).then_some(version)));
                let stale = match expected {
                    Expected::Any => false,
                    Expected::Absent => found.is_some(),
                    Expected::Version(version) => found != Some(*version),
                };
                if stale {
                    return Err(CommitError::StalePin { name: name.clone(), found });
                }
                if target.is_none() && found.is_none() {
                    return Err(CommitError::Missing { what: format!("pin {name}") });
                }
                let head = matches!(target, Some(PinTarget::Head(_)));
                let target = target.as_ref().map(PinTarget::digest);
                let version = last + 1;
                Ok((Record::PinSet { name: name.clone(), target, head, version }, version))
            }
        }
    }
}

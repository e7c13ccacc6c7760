//! Answers: what is visible at a head, what happened, and why.
//!
//! This floor promises that what is read at a head equals the fold of the events in its spans, and that no answer
//! costs more because a history is long: rows are found by range and by number, never by going through all. The
//! floor above opens a read transaction around each answer, so that all of it is of one point.

pub(crate) mod blobs;
pub mod error;
pub(crate) mod events;
pub(crate) mod heads;
pub(crate) mod history;
pub(crate) mod names;
pub(crate) mod resolve;
pub(crate) mod sessions;
pub(crate) mod state;
pub(crate) mod trace;
pub mod types;
pub(crate) mod usage;

#[cfg(test)]
mod tests;

use crate::sqlite::fault::is_corrupt;
use error::ReadError;

/// A result of the floor below as one of this one.
trait Answer<T> {
    fn answer(self) -> Result<T, ReadError>;
}

impl<T> Answer<T> for rusqlite::Result<T> {
    fn answer(self) -> Result<T, ReadError> {
        use rusqlite::Error;
        self.map_err(|error| match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows => {
                ReadError::Damaged { what: "a row of the database".to_owned(), source: Some(Box::new(error)) }
            }
            error if is_corrupt(&error) => {
                ReadError::Damaged { what: "the database".to_owned(), source: Some(Box::new(error)) }
            }
            error => ReadError::Database(Box::new(error)),
        })
    }
}

fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { what: what.into(), source: None }
}

fn not_found(what: &'static str, name: impl Into<String>) -> ReadError {
    ReadError::NotFound { what, name: name.into() }
}

//! SQLite's codes as our faults: by code, never by message.

use rusqlite::ErrorCode;

/// Whether the error means that there is no space: SQLite says it in several ways.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => {
            // 778 is a write, 4874 the growth of the shared-memory file: both fail so on a full disk.
            code.code == ErrorCode::DiskFull || matches!(code.extended_code, 778 | 4874)
        }
        _ => false,
    }
}

/// Whether the error means that the file is no whole database.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether a row is refused: its key is there already, or a CHECK fails.
pub(crate) fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

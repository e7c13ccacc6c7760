//! SQLite's codes as our faults: by code, never by message.

use rusqlite::ErrorCode;

/// Whether the error means that there is no space: SQLite says it in several ways.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => code.code == ErrorCode::DiskFull || is_ambiguous(error),
        _ => false,
    }
}

/// Whether the error is a write that failed, which SQLite says of a quota and a limit on file size as it does of a broken
/// disk; of its shared memory it says no more even where the disk is full. [`is_full`] takes it for want of room; who knows
/// the folder asks whether there is room.
pub(crate) fn is_ambiguous(error: &rusqlite::Error) -> bool {
    is_shared_memory(error)
        || matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE)
}

/// Whether the file of shared memory could not be made longer.
pub(crate) fn is_shared_memory(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether the error means that the file is no whole database.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) || is_cut_off(error)
}

/// Whether the file ends within a page, which SQLite counts among what the system refused.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

/// Whether SQLite was refused something: a file, room, memory, a lock. That passes, and says nothing of what is in the database. Of
/// some refusals SQLite says that the database is corrupt: see [`super::doubt`].
pub(crate) fn is_refused(error: &rusqlite::Error) -> bool {
    let refusals = [
        ErrorCode::SystemIoFailure,
        ErrorCode::CannotOpen,
        ErrorCode::DiskFull,
        ErrorCode::OutOfMemory,
        ErrorCode::PermissionDenied,
        ErrorCode::AuthorizationForStatementDenied,
        ErrorCode::ReadOnly,
        ErrorCode::FileLockingProtocolFailed,
        ErrorCode::OperationInterrupted,
        ErrorCode::NoLargeFileSupport,
    ];
    let refused = error.sqlite_error_code().is_some_and(|code| refusals.contains(&code));
    is_busy(error) || refused && !is_cut_off(error)
}

/// Whether somebody else holds a lock on the database.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether a row is refused: its key is there already, or a CHECK fails.
pub(crate) fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

//! The files of a verified backup take the places of those before.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{BackupError, Staged, io_error, is_there, note, remove};
use crate::segment;
use crate::store::open::database;

/// Lets them. The log changes hands in one step: whoever looks in between finds the whole log of before or the whole new one,
/// and makes the rows from it.
pub(super) fn take(stage: &Path, to: &Path, staged: &Staged) -> Result<(), BackupError> {
    let synced = |folder: &Path| segment::sync_dir(folder).map_err(io_error("the backup's folder cannot be synced"));
    // Without it nobody trusts the rows: wherever this ends, they are those of the log.
    remove(&to.join("mark"))?;
    synced(to)?;
    if !at_once(&stage.join("blobs"), &to.join("blobs")).map_err(io_error("the backup's files cannot be named"))? {
        one_by_one(stage, to, staged)?;
    }
    synced(to)?;
    for name in ["store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal"] {
        remove(&to.join(name))?;
    }
    // None of these may be back beside the new rows after a power loss.
    synced(to)?;
    if is_there(&database(stage))? {
        named(&database(stage), &database(to))?;
        synced(to)?;
        note(to)?;
    } else {
        remove(&database(to))?;
    }
    synced(to)
}

fn named(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::rename(from, to).map_err(io_error("the backup's files cannot be named"))
}

/// Puts the folder of segments `new` in the place of `old`, which is then where `new` was; false where the system cannot, or
/// `old` holds what is nobody's to take away.
fn at_once(new: &Path, old: &Path) -> io::Result<bool> {
    if !old.try_exists()? {
        return fs::rename(new, old).map(|()| true);
    }
    if !segment::strangers(old)?.is_empty() {
        return Ok(false);
    }
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The same file by file, the first first: cut off, the log holds all of before and some of what is new.
fn one_by_one(stage: &Path, to: &Path, staged: &Staged) -> Result<(), BackupError> {
    let (from, blobs) = (stage.join("blobs"), to.join("blobs"));
    for number in &staged.new {
        named(&segment::segment_path(&from, *number), &segment::segment_path(&blobs, *number))?;
        // A later segment says where this one ends.
        segment::sync_dir(&blobs).map_err(io_error("the backup's folder cannot be synced"))?;
    }
    for number in &staged.beyond {
        remove(&segment::segment_path(&blobs, *number))?;
    }
    segment::sync_dir(&blobs).map_err(io_error("the backup's folder cannot be synced"))
}

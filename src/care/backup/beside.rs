//! What is made on the way to a backup's or a new store's place: in a folder beside it, whose lock says that whoever makes it lives.

use std::fs;
use std::path::{Path, PathBuf};

use super::{BackupError, io_error, lock_error, parent, refused};
use crate::segment::{self, LockError, LockFile, LockGuard};

/// What the name of such a folder has behind `.NAME.`, before 32 hexadecimal digits.
const KINDS: [&str; 2] = ["tmp-backup-", "tmp-restore-"];

/// A folder, removed with all that is in it when this is dropped.
pub(super) struct Beside {
    folder: PathBuf,
    /// What killed ones to the same place had left, and this one removed.
    pub(super) removed: Vec<PathBuf>,
    _alive: LockGuard,
}

impl Beside {
    /// For a backup to `to`.
    pub(super) fn for_backup(to: &Path) -> Result<Beside, BackupError> {
        Beside::make(to, KINDS[0])
    }

    /// For a store that is restored to `to`.
    pub(super) fn for_restore(to: &Path) -> Result<Beside, BackupError> {
        Beside::make(to, KINDS[1])
    }

    fn make(to: &Path, kind: &str) -> Result<Beside, BackupError> {
        let removed = sweep(to);
        let failed = || io_error(format!("a folder beside {} cannot be made", to.display()));
        loop {
            let folder = parent(to).join(format!("{}{kind}{}", prefix(to), uuid::Uuid::new_v4().simple()));
            segment::create_dir_private(&folder).map_err(failed())?;
            let lock = folder.join("lock");
            let alive = match LockFile::open(&lock) {
                Ok(mut file) => file.exclusive_blocking().map_err(lock_error)?,
                // Before it had its lock it was taken for a dead one's.
                Err(LockError::Io { .. }) if !folder.exists() => continue,
                Err(error) => return Err(refused("the lock of a folder cannot be taken".to_owned(), Box::new(error))),
            };
            if lock.exists() {
                return Ok(Beside { folder, removed, _alive: alive });
            }
        }
    }

    /// A place in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What cannot be removed is for the next one to the same place.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn prefix(to: &Path) -> String {
    let name = to.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!(".{name}.")
}

/// Removes what killed ones left beside `to`: their locks can be had. One that is alive keeps its own, and so does what cannot be
/// looked at.
fn sweep(to: &Path) -> Vec<PathBuf> {
    let prefix = prefix(to);
    let is_ours = |name: &str| {
        let digits = name.strip_prefix(&prefix).and_then(|rest| KINDS.iter().find_map(|kind| rest.strip_prefix(kind)));
        digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let Ok(entries) = fs::read_dir(parent(to)) else { return Vec::new() };
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        let folder = entry.path();
        if let Ok(mut lock) = LockFile::open(&folder.join("lock"))
            && let Ok(Some(_dead)) = lock.try_exclusive()
            && fs::remove_dir_all(&folder).is_ok()
        {
            removed.push(folder);
        }
    }
    removed.sort();
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dead one's folder goes, also one that had no lock yet; a live one's stays, and so does what only looks like one.
    #[test]
    fn only_what_the_dead_left_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let to = at("monday.tar");
        let alive = Beside::for_backup(&to).unwrap();
        fs::write(alive.path("tar"), "half of it").unwrap();
        let digits = "0123456789abcdef0123456789abcdef";
        let dead = [format!(".monday.tar.tmp-backup-{digits}"), format!(".monday.tar.tmp-restore-{digits}")];
        let others = [
            format!(".tuesday.tar.tmp-backup-{digits}"),
            ".monday.tar.tmp-backup-0123".to_owned(),
            format!(".monday.tar.tmp-backup-{digits}0"),
            format!(".monday.tar.mine-{digits}"),
        ];
        for name in dead.iter().chain(&others) {
            fs::create_dir_all(at(name).join("store/blobs")).unwrap();
        }
        fs::write(at(&dead[0]).join("lock"), "").unwrap();
        let next = Beside::for_backup(&to).unwrap();
        assert_eq!(next.removed, dead.clone().map(|name| at(&name)));
        assert!(alive.path("tar").exists() && next.folder.exists() && others.iter().all(|name| at(name).exists()));
        drop((alive, next));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), others.len());
    }
}

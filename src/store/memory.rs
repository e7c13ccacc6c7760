//! Stores for tests: a private folder that goes with its store.

use std::path::Path;

use tempfile::TempDir;

use super::open::{self, Home};
use super::{OpenError, Options, Store};
use crate::segment::is_memory_with_room;

/// Where Linux has memory as a file system.
const MEMORY: &str = "/dev/shm";
/// With less room left there, the folder for temporary files is the better place.
const ROOM: u64 = 64 << 20;

impl Store {
    /// A store for tests: the same code as any other, in a private folder that is removed with its last handle. It lies in
    /// `/dev/shm` where that is memory and has 64 MiB left, else in the folder for temporary files; nothing appended is
    /// synced. Two of them never meet; a second opening of its [`root`](Store::root) does not keep it. A process that is killed leaves its folder, `headwater-memory-…`, behind.
    ///
    /// ```
    /// use headwater::store::{NewSession, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let folder = store.root().to_owned();
    /// store.create_session(NewSession::named("demo".parse()?))?.begin_turn("what is 2 + 2?")?;
    /// store.close()?;
    /// assert!(!folder.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing remains.
    pub fn in_memory() -> Result<Store, OpenError> {
        Store::in_memory_with(Options::default())
    }

    /// The same with options, of which `create` and `zero_fill` are not asked.
    ///
    /// # Errors
    ///
    /// As for [`Store::in_memory`].
    pub fn in_memory_with(options: Options) -> Result<Store, OpenError> {
        let folder = folder(Path::new(MEMORY), ROOM).map_err(|error| OpenError::Io {
            what: "a folder for a store in memory cannot be made".to_owned(),
            source: Box::new(error),
        })?;
        let options = Options { create: true, zero_fill: false, ..options };
        open::open(Home::Passing(folder), options)
    }
}

fn folder(memory: &Path, room: u64) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("headwater-memory-");
    if is_memory_with_room(memory, room)
        && let Ok(folder) = builder.tempdir_in(memory)
    {
        return Ok(folder);
    }
    builder.tempdir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_or_missing_memory_file_system_is_not_used() {
        let elsewhere = std::env::temp_dir();
        for (memory, room) in [(Path::new("/nowhere"), 0), (Path::new("/proc"), 0), (Path::new(MEMORY), u64::MAX)] {
            let folder = folder(memory, room).unwrap();
            assert_eq!(folder.path().parent(), Some(elsewhere.as_path()), "{}", memory.display());
        }
        if is_memory_with_room(Path::new(MEMORY), 1) {
            assert_eq!(folder(Path::new(MEMORY), 1).unwrap().path().parent(), Some(Path::new(MEMORY)));
        }
    }
}

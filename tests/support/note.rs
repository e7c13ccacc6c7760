//! The note that vouches for a database, as the library would write it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The note about the file as it is now; nothing if there is none.
pub fn note(database: &Path) -> String {
    let Ok(meta) = fs::symlink_metadata(database) else { return String::new() };
    let note =
        format!("headwater 1 inode {} ctime {}.{:09} size {}", meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len());
    format!("{note} crc {:08x}\n", crc32fast::hash(note.as_bytes()))
}

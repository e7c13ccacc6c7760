//! Putting what a repair made in the place of what was there: a few renames, which whoever comes next brings to their end.
//!
//! ```text
//! repair/blobs/           the mended log, whole
//! repair/store.sqlite     rows made from it
//! repair/manifest.json    what was done
//! repair/ready            written and synced last: from here on there is no way back; it holds the quarantine's name
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::checkpoint::database;
use super::mark;
use crate::segment::{self, LockGuard, is_folder, is_there};
use crate::sqlite::open::{self as sqlite, Journal};

const READY: &str = "ready";
const MANIFEST: &str = "manifest.json";

/// Where a repair makes what is to take the place of the store's files.
pub(crate) fn stage(root: &Path) -> PathBuf {
    root.join("repair")
}

/// Whether a repair made everything, and did not put all of it in place.
pub(crate) fn is_ready(root: &Path) -> io::Result<bool> {
    is_there(&stage(root).join(READY))
}

/// Says that what is in the stage is whole. All of it is durable then.
pub(crate) fn make_ready(root: &Path, quarantine: &str, manifest: &[u8]) -> io::Result<()> {
    let stage = stage(root);
    for (name, bytes) in [(MANIFEST, manifest), (READY, quarantine.as_bytes())] {
        let mut file = segment::create_file_private(&stage.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        segment::sync_dir(&stage)?;
    }
    segment::sync_dir(root)
}

/// Puts what is ready in its place, and what was there into the quarantine, whose folder it gives; none if nothing is ready.
/// Each step may have been made before. The store is the caller's alone, and the mark's lock held.
pub(crate) fn finish(root: &Path, journal: Journal, noting: &LockGuard) -> io::Result<Option<PathBuf>> {
    let stage = stage(root);
    let name = match fs::read_to_string(stage.join(READY)) {
        Ok(name) => name,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // It becomes a path below the root, whatever the file says.
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let folder = root.join("quarantine").join(if name.is_empty() { "unnamed" } else { &name });
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    segment::sync_dir(root)?;
    let blobs = root.join("blobs");
    if is_folder(&stage.join("blobs"))? {
        if is_there(&folder.join("blobs"))? {
            // Moved before; an opening may have made an empty one since.
            let _ = fs::remove_dir(&blobs);
        } else {
            fs::rename(&blobs, folder.join("blobs"))?;
        }
        fs::rename(stage.join("blobs"), &blobs)?;
    }
    let made = stage.join("store.sqlite");
    if is_there(&made)? {
        for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal"] {
            let (from, to) = (root.join(name), folder.join(name));
            if is_there(&from)? && !is_there(&to)? {
                fs::rename(from, to)?;
            }
        }
        fs::rename(made, database(root))?;
    }
    // Where things went to before where they came from: nothing must be gone from both.
    for path in [&folder, &root.join("quarantine"), root, &stage] {
        segment::sync_dir(path)?;
    }
    let failed = |error: rusqlite::Error| io::Error::other(error);
    drop(sqlite::writer(&database(root), journal).map_err(failed)?);
    mark::note(root, &database(root), noting)?;
    drop_links(&folder.join("blobs"), &blobs)?;
    if is_there(&stage.join(MANIFEST))? {
        fs::rename(stage.join(MANIFEST), folder.join(MANIFEST))?;
    }
    fs::remove_file(stage.join(READY))?;
    fs::remove_dir_all(&stage)?;
    Ok(Some(folder))
}

/// Segments that were kept stand in both folders under one inode: in the quarantine they are no evidence.
fn drop_links(quarantined: &Path, live: &Path) -> io::Result<()> {
    if !is_folder(quarantined)? {
        return Ok(());
    }
    for number in segment::list(quarantined)? {
        let (old, new) = (segment::segment_path(quarantined, number), segment::segment_path(live, number));
        let inode = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        if inode(&old).is_some() && inode(&old) == inode(&new) {
            fs::remove_file(old)?;
        }
    }
    Ok(())
}

//! The files themselves: whose they are, who else may use them, links, strangers among the segments.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Findings;
use super::codes;
use crate::segment;

/// Looks at what lies in the store's folder and in those below it that are read.
pub(super) fn look(root: &Path, found: &mut Findings) -> io::Result<()> {
    let owner = fs::metadata(root)?.uid();
    one(root, root, owner, found)?;
    for folder in [root.to_owned(), root.join("blobs"), root.join("open")] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            one(root, &entry?.path(), owner, found)?;
        }
    }
    for name in segment::strangers(&root.join("blobs"))? {
        found.issue(codes::FILE_STRAY, format!("blobs/{}", name.to_string_lossy()));
    }
    Ok(())
}

fn one(root: &Path, path: &Path, owner: u32, found: &mut Findings) -> io::Result<()> {
    // The root itself may be reached over a link: whoever made it chose so.
    let meta = match if path == root { fs::metadata(path) } else { fs::symlink_metadata(path) } {
        Ok(meta) => meta,
        // Files come and go while the store is used.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let name =
        || path.strip_prefix(root).ok().filter(|name| *name != Path::new("")).unwrap_or(path).display().to_string();
    if meta.is_symlink() {
        found.issue(codes::FILE_LINK, name());
        return Ok(());
    }
    if meta.uid() != owner {
        found.issue(codes::FILE_OWNER, format!("{}, of user {}, not {owner}", name(), meta.uid()));
    }
    // A folder that others cannot enter keeps everything below it: only its own mode counts then.
    if path == root || fs::metadata(root)?.mode() & 0o077 != 0 {
        // A plain copy may be read by others, as its folder says; what others may write proves nothing any more.
        if meta.mode() & 0o022 != 0 {
            found.issue(codes::FILE_OPEN, format!("{} has mode {:o}", name(), meta.mode() & 0o7777));
        } else if meta.mode() & 0o044 != 0 {
            found.count("files-others-may-read", 1);
        }
    }
    Ok(())
}

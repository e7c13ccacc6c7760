//! Looking into a storage folder, whose names come from anywhere: no link is followed, nothing but regular files is read, and
//! a name that is not plain is passed over.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::exchange::ImportError;
use crate::exchange::source::{self, MAX_LINE};
use crate::model::Digest;

/// What was passed over: a word, and what it is.
pub type Odd = Vec<(&'static str, String)>;

/// Whether a name, or an id that is to be one, can be a part of a path and of what is kept of it.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.len() <= 255
        && !name.contains(|letter: char| letter == '/' || letter == '\\' || letter.is_control())
}

/// Whether all that leads from `root` to `name`, itself included, are folders.
pub fn is_folder(root: &Path, name: &str) -> bool {
    let mut path = root.to_owned();
    let is = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    is(&path)
        && name.split('/').all(|part| {
            path.push(part);
            is(&path)
        })
}

/// The folders, or else the `.json` files, directly in the folder `name` of `root`: their names from there, sorted. None
/// where there is no such folder.
pub fn list(root: &Path, name: &str, folders: bool, odd: &mut Odd) -> io::Result<Vec<String>> {
    if !is_folder(root, name) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let folder = root.join(name);
    let unread =
        |error: io::Error| io::Error::new(error.kind(), format!("{} cannot be listed: {error}", folder.display()));
    for entry in std::fs::read_dir(&folder).map_err(unread)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let file = entry.file_name();
        let shown = || format!("{name}/{}", file.to_string_lossy().escape_debug());
        let Some(plain) = file.to_str().filter(|name| is_plain(name)) else {
            // Its writer's own name for a file that is not whole yet.
            if !file.to_string_lossy().starts_with('.') {
                odd.push(("bad-name", format!("{} has no plain name: it is passed over", shown())));
            }
            continue;
        };
        if kind.is_dir() == folders && (folders || (kind.is_file() && plain.ends_with(".json"))) {
            found.push(format!("{name}/{plain}"));
        } else {
            odd.push(("not-a-file", format!("{} is a link, or not of its place, and is passed over", shown())));
        }
    }
    found.sort();
    odd.sort();
    Ok(found)
}

/// The name of a file without its folder and `.json`.
pub fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.strip_suffix(".json").unwrap_or(file)
}

/// A file's bytes, their size and hash; of one that is too long to be looked at no bytes.
pub struct Bytes {
    pub bytes: Option<Vec<u8>>,
    pub digest: Digest,
}

/// Reads a file of a storage folder; none where it is not there, or no file.
pub fn read(root: &Path, name: &str) -> Result<Option<Bytes>, ImportError> {
    let path = root.join(name);
    if name.rsplit_once('/').is_some_and(|(folder, _)| !is_folder(root, folder)) {
        return Ok(None);
    }
    let mut file = match source::open(&path) {
        Ok(file) => file,
        // The program that writes it may take it away at any time.
        Err(ImportError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(ImportError::NotAFile { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let io = |source| ImportError::Io { path: path.clone(), source };
    let mut bytes = Vec::new();
    (&mut file).take(MAX_LINE as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() <= MAX_LINE {
        return Ok(Some(Bytes { digest: Digest::of(&bytes), bytes: Some(bytes) }));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes);
    drop(bytes);
    hasher.update_reader(file).map_err(io)?;
    Ok(Some(Bytes { bytes: None, digest: Digest(*hasher.finalize().as_bytes()) }))
}

/// The storage folder that a file of that name lies in.
pub fn root_of(path: &Path, name: &str) -> Option<PathBuf> {
    path.ancestors().nth(name.split('/').count()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_parts_of_paths() {
        for good in ["msg_1", "a b", "é", "a..b", "-x"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", "a\u{1}b", &"x".repeat(256)] {
            assert!(!is_plain(bad), "{bad}");
        }
    }

    #[test]
    fn links_are_not_followed_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("message/s")).unwrap();
        std::fs::write(root.join("message/s/m.json"), "{}").unwrap();
        std::os::unix::fs::symlink(root.join("message"), root.join("part")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.join("message/s/h.json")).unwrap();
        let mut odd = Vec::new();
        assert_eq!(list(&root, "message/s", false, &mut odd).unwrap(), ["message/s/m.json"]);
        assert_eq!(odd[0].0, "not-a-file");
        assert!(list(&root, "part", true, &mut odd).unwrap().is_empty());
        assert!(read(&root, "message/s/h.json").unwrap().is_none());
        assert!(read(&root, "part/s/m.json").unwrap().is_none());
        assert!(read(&root, "message/s/none.json").unwrap().is_none());
        assert_eq!(read(&root, "message/s/m.json").unwrap().unwrap().bytes.unwrap(), b"{}");
    }
}

//! The names in the log's folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".seg";
const TEMPORARY_PREFIX: &str = "tmp-";

/// The file of segment `number` in the log's folder.
pub fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}{SUFFIX}"))
}

/// A name, fresh each time, that [`list`] ignores.
pub(super) fn temporary_path(dir: &Path) -> PathBuf {
    dir.join(format!("{TEMPORARY_PREFIX}{}", uuid::Uuid::new_v4().simple()))
}

/// The numbers of the segments in a log's folder, in order. Gaps are for the caller to notice; all other
/// names are ignored.
///
/// # Errors
///
/// The system's, also if there is no such folder.
pub fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What lies in a log's folder and is neither a segment nor one being built, in order.
///
/// # Errors
///
/// The system's, but for a folder that is not there: nothing lies in it.
pub fn strangers(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let known = name.to_str().is_some_and(|name| number_of(name).is_some() || name.starts_with(TEMPORARY_PREFIX));
        if !known {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what writers that died left under temporary names, and says how many there were. Only for one
/// who holds the write lock: no other writer is at work then.
///
/// # Errors
///
/// The system's; some may have been removed.
pub fn remove_temporaries(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
        if ours && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Only the one spelling that [`segment_path`] gives, so that no two names mean one segment.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0)?;
    (format!("{number:010}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let others = ["tmp-1", "1.seg", "0000000000.seg", "00000000001.seg", "+000000003.seg", "0000000004.seg~"];
        for name in others {
            fs::write(dir.join(name), "").unwrap();
        }
        for number in [10_000_000_000, 7, 2] {
            fs::write(segment_path(dir, number), "").unwrap();
        }
        fs::write(temporary_path(dir), "").unwrap();
        assert_eq!(list(dir).unwrap(), [2, 7, 10_000_000_000]);
        assert_eq!(remove_temporaries(dir).unwrap(), 2);
        assert_eq!(remove_temporaries(dir).unwrap(), 0);
        assert_eq!(list(dir).unwrap().len(), 3);
    }
}

//! A backup in one file: a tar of what its folder holds.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::beside::Beside;
use super::{BackupError, BackupReport, io_error, named};
use crate::segment;
use crate::store::open::database;

/// Endings of archives that are not written: a folder of such a name is never what was meant.
const OTHERS: [&str; 15] =
    ["7z", "bz2", "gz", "lz4", "lzma", "rar", "tar", "tbz", "tbz2", "tgz", "txz", "tzst", "xz", "zip", "zst"];

/// Refuses the name of an archive of another kind than `.tar`, unless a folder has it already.
pub(super) fn known(to: &Path) -> Result<(), BackupError> {
    let ending = to.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
    if ending != "tar" && OTHERS.contains(&ending.to_lowercase().as_str()) && !to.is_dir() {
        let what = "of archives only .tar is written: compress it afterwards";
        return Err(BackupError::Destination { path: to.to_owned(), what });
    }
    Ok(())
}

/// One file: a tar of what a backup's folder holds. It is made beside it, from a folder that is verified.
pub(super) fn make(root: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: to.to_owned(), what: "never overwritten" });
    }
    let beside = Beside::for_backup(to)?;
    let (stage, file, again) = (beside.path("store"), beside.path("tar"), beside.path("again"));
    let report = super::to_folder(root, &stage)?;
    pack(&stage, &file).map_err(io_error(format!("{} cannot be written", to.display())))?;
    // What was written is unpacked again and passes the same check.
    unpack(&file, &again).and_then(|_| super::finish(&again, 0))?;
    named(&file, to, "the backup")?;
    Ok(BackupReport { to: to.to_owned(), removed: beside.removed.clone(), ..report })
}

fn pack(from: &Path, file: &Path) -> io::Result<()> {
    let out = segment::create_file_private(file)?;
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, out));
    tar.mode(tar::HeaderMode::Deterministic);
    let mut names = vec![PathBuf::from("store.sqlite")];
    names.extend(
        segment::list(&from.join("blobs"))?.into_iter().map(|number| segment::segment_path(Path::new("blobs"), number)),
    );
    for name in names {
        if !segment::is_there(&from.join(&name))? {
            continue;
        }
        tar.append_path_with_name(from.join(&name), &name)?;
    }
    let mut out = tar.into_inner()?;
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Takes a backup's file apart, into a folder that is made. Only what a backup holds is taken: names are ours, never the file's.
pub(super) fn unpack(file: &Path, to: &Path) -> Result<PathBuf, BackupError> {
    let failed = || format!("{} cannot be read", file.display());
    segment::create_dir_private(to).map_err(io_error("a folder to unpack into cannot be made"))?;
    let blobs = to.join("blobs");
    segment::create_dir_private(&blobs).map_err(io_error("a folder to unpack into cannot be made"))?;
    let mut tar = tar::Archive::new(File::open(file).map_err(io_error(failed()))?);
    for entry in tar.entries().map_err(io_error(failed()))? {
        let mut entry = entry.map_err(io_error(failed()))?;
        let name = entry.path().map_err(io_error(failed()))?.into_owned();
        let number = name.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        let target = match number {
            Some(number) if name == segment::segment_path(Path::new("blobs"), number) => {
                segment::segment_path(&blobs, number)
            }
            _ if name == Path::new("store.sqlite") => database(to),
            _ => continue,
        };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut out = segment::create_file_private(&target).map_err(io_error(failed()))?;
        io::copy(&mut entry, &mut out).and_then(|_| out.sync_all()).map_err(io_error(failed()))?;
    }
    if segment::list(&blobs).map_err(io_error(failed()))?.is_empty()
        && !segment::is_there(&database(to)).map_err(io_error(failed()))?
    {
        return Err(BackupError::NotFound { what: "backup", path: file.to_owned() });
    }
    segment::sync_dir(&blobs).map_err(io_error("the folder cannot be synced"))?;
    Ok(to.to_owned())
}

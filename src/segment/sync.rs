//! Opening files safely, making them durable, and asking what they lie on.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::sabotage::{self, Sabotage};

/// Makes a file's bytes, and its length where needed to read them, durable.
///
/// # Errors
///
/// The system's. Linux drops the bytes that it failed to write: a second call that succeeds proves
/// nothing, so it must not be made.
pub fn fdatasync(file: &File) -> io::Result<()> {
    if sabotage::is(Sabotage::SegmentSync) {
        return Ok(());
    }
    if sabotage::is(Sabotage::AcknowledgedFirst) {
        return sabotage::sync_later(file);
    }
    rustix::fs::fdatasync(file).map_err(io::Error::from)
}

/// Makes a file's bytes and all of its metadata durable.
///
/// # Errors
///
/// As for [`fdatasync`].
pub fn fsync(file: &File) -> io::Result<()> {
    rustix::fs::fsync(file).map_err(io::Error::from)
}

/// Makes the names in a folder durable.
///
/// # Errors
///
/// The system's; the names may or may not be durable then.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    if sabotage::is(Sabotage::FolderSync) {
        return Ok(());
    }
    fsync(&File::open(path)?)
}

/// Whether zeros of that length may be written ahead in `file`: they must not take the last of a disk, which SQLite needs
/// to commit. Where the system does not say, they may.
pub(super) fn has_room_to_fill(file: &File, length: u64) -> bool {
    rustix::fs::fstatvfs(file).map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) / 8 >= length)
}

/// Bytes that must be free before a disk counts as one with room.
const ROOM: u64 = 1 << 20;

/// Whether more could be written in the folder `dir`: what SQLite does not say of a write that failed. A limit on the size
/// of files counts as no room, since it cannot be told which file would meet it.
pub fn has_room(dir: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    if rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some() {
        return false;
    }
    if rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM) {
        return false;
    }
    // A quota shows in no number: only in a write.
    let probe = tempfile::tempfile_in(dir).and_then(|file| file.write_all_at(&[0; 64 << 10], 0));
    !probe.is_err_and(|error| super::error::is_full(&error))
}

/// Whether `path` lies in memory, with room for that many bytes. Where the system does not say, it does not.
pub fn is_memory_with_room(path: &Path, room: u64) -> bool {
    filesystem_magic(path).is_ok_and(|magic| magic == TMPFS_MAGIC)
        && rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= room)
}

/// Creates a folder that only its owner may enter; one that exists is left as it is.
///
/// # Errors
///
/// The system's, also if the name is taken by something other than a folder.
pub fn create_dir_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Whether there is anything at `path`. What cannot be looked at is not taken for absent.
///
/// # Errors
///
/// The system's: a folder on the way may not be entered, say.
pub fn is_there(path: &Path) -> io::Result<bool> {
    found(path).map(|meta| meta.is_some())
}

/// Whether there is a folder at `path`, or a link to one. What cannot be looked at is not taken for absent.
///
/// # Errors
///
/// As for [`is_there`].
pub fn is_folder(path: &Path) -> io::Result<bool> {
    found(path).map(|meta| meta.is_some_and(|meta| meta.is_dir()))
}

fn found(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::metadata(path) {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        meta => meta.map(Some),
    }
}

/// Creates a file that only its owner may use, open for reading and writing.
///
/// # Errors
///
/// The system's, also if the name is taken.
pub fn create_file_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Why a file was not opened.
pub(super) enum OpenFault {
    Missing,
    NotRegular,
    Io(io::Error),
}

/// Opens a regular file, never following a link nor waiting for the other end of a pipe.
pub(super) fn open_regular(path: &Path, options: &mut OpenOptions) -> Result<File, OpenFault> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        let code = error.raw_os_error();
        if error.kind() == io::ErrorKind::NotFound {
            OpenFault::Missing
        } else if [Errno::LOOP, Errno::ISDIR, Errno::NXIO].iter().any(|errno| code == Some(errno.raw_os_error())) {
            OpenFault::NotRegular
        } else {
            OpenFault::Io(error)
        }
    })?;
    let metadata = file.metadata().map_err(OpenFault::Io)?;
    if metadata.is_file() { Ok(file) } else { Err(OpenFault::NotRegular) }
}

/// What a path lies on, as far as locks and shared memory are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A file system of this machine.
    Local,
    /// One that other machines may share, named: locks and mapped memory cannot be trusted. FUSE counts,
    /// since virtiofs cannot be told from it.
    Network(&'static str),
}

/// From `linux/magic.h`.
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// From `linux/magic.h` and the sources of those that are not in it.
#[cfg(target_os = "linux")]
const NETWORK_MAGIC: [(u32, &str); 17] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x00c3_6400, "ceph"),
    (0x7375_7245, "coda"),
    (0x564c, "ncp"),
    (0x7461_636f, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
];

/// Tells what kind of file system an existing path lies on; one that is not known is taken for local.
///
/// # Errors
///
/// The system's, also if nothing is at `path`.
#[cfg(target_os = "linux")]
pub fn filesystem_kind(path: &Path) -> io::Result<FileSystem> {
    filesystem_magic(path).map(kind_of_magic)
}

#[cfg(target_os = "linux")]
fn filesystem_magic(path: &Path) -> io::Result<u32> {
    let status = rustix::io::retry_on_intr(|| rustix::fs::statfs(path))?;
    // The field is signed and as wide as a word; the magic is 32 bits, and may have been sign-extended.
    Ok(status.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
fn filesystem_magic(_path: &Path) -> io::Result<u32> {
    Ok(0)
}

/// Tells what kind of file system an existing path lies on: always local, where that cannot be asked.
///
/// # Errors
///
/// None.
#[cfg(not(target_os = "linux"))]
pub fn filesystem_kind(_path: &Path) -> io::Result<FileSystem> {
    Ok(FileSystem::Local)
}

#[cfg(target_os = "linux")]
fn kind_of_magic(magic: u32) -> FileSystem {
    NETWORK_MAGIC
        .iter()
        .find(|(known, _)| *known == magic)
        .map_or(FileSystem::Local, |(_, name)| FileSystem::Network(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_created_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, file) = (folder.path().join("dir"), folder.path().join("file"));
        create_dir_private(&dir).unwrap();
        create_dir_private(&dir).unwrap();
        create_file_private(&file).unwrap();
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create_file_private(&file).is_err());
        assert!(create_dir_private(&file).is_err());
        sync_dir(&dir).unwrap();
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        create_file_private(&file).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let open = |path: &Path| open_regular(path, OpenOptions::new().read(true));
        assert!(open(&file).is_ok());
        assert!(matches!(open(&link), Err(OpenFault::NotRegular)));
        assert!(matches!(open(folder.path()), Err(OpenFault::NotRegular)));
        assert!(matches!(open(&folder.path().join("none")), Err(OpenFault::Missing)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn shared_file_systems_are_named() {
        assert_eq!(kind_of_magic(0x6969), FileSystem::Network("nfs"));
        assert_eq!(kind_of_magic(0xff53_4d42), FileSystem::Network("cifs"));
        assert_eq!(kind_of_magic(0xef53), FileSystem::Local);
        assert!(filesystem_kind(&std::env::temp_dir()).is_ok());
    }
}

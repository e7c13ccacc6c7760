//! Making a segment: built under a temporary name, synced, then named.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::error::{AdoptError, ReadError};
use super::frame::{FRAME_HEADER_LEN, Frame, FrameRef, encode_header};
use super::header::{SEGMENT_HEADER_LEN, SegmentHeader};
use super::log::Appended;
use super::names::{segment_path, temporary_path};
use super::position::Position;
use super::sync::{create_file_private, fsync, has_room_to_fill, sync_dir};
use super::write::fill_new;

const BUFFER: usize = 256 << 10;

/// How a new segment is to be.
pub(super) struct Plan {
    pub predecessor_end: Position,
    /// Zeros after the frames up to this file length at most; none for 0.
    pub fill_at_most: u64,
}

/// A segment that is whole and durable under its own name.
#[derive(Debug)]
pub(super) struct Created {
    pub file: File,
    pub header: SegmentHeader,
    pub appended: Appended,
}

/// Creates the segment after `plan.predecessor_end`, with `frames` in it.
pub(super) fn create_segment(
    dir: &Path,
    plan: &Plan,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
) -> Result<Created, AdoptError> {
    let segment = plan.predecessor_end.segment.saturating_add(1);
    let target = segment_path(dir, segment);
    let io = |source| AdoptError::Io { segment, source };
    // The name is taken without replacing anything below; asking first saves the work.
    if exists(&target).map_err(io)? {
        return Err(AdoptError::Exists { segment });
    }
    let temporary = temporary_path(dir);
    let result = create_file_private(&temporary)
        .map_err(io)
        .and_then(|file| fill_file(file, SegmentHeader::fresh(segment, plan.predecessor_end), plan, frames))
        .and_then(|created| {
            rename_new(&temporary, &target).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => AdoptError::Exists { segment },
                _ => io(error),
            })?;
            Ok(created)
        });
    let created = match result {
        Ok(created) => created,
        Err(error) => {
            // The error is what matters; the name is ignored, and removed by the next writer.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
    };
    if let Err(error) = sync_dir(dir) {
        // A segment whose name may vanish must not be continued by anyone. Nobody relies on it yet.
        let _ = fs::remove_file(&target);
        return Err(io(error));
    }
    Ok(created)
}

/// Whether anything, even a dangling link, has this name.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn fill_file(
    file: File,
    header: SegmentHeader,
    plan: &Plan,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
) -> Result<Created, AdoptError> {
    let (segment, seed) = (header.number, header.seed());
    let io = |source| AdoptError::Io { segment, source };
    let mut writer = BufWriter::with_capacity(BUFFER, &file);
    writer.write_all(&header.encode()).map_err(io)?;
    let (mut offset, mut places) = (SEGMENT_HEADER_LEN, Vec::new());
    for frame in frames {
        let Frame { header: old, body } = frame.map_err(|source| AdoptError::Read { source })?;
        let frame = FrameRef { kind: old.kind, codec: old.codec, body: &body };
        writer.write_all(&encode_header(frame, old.group, seed)).map_err(io)?;
        writer.write_all(&body).map_err(io)?;
        places.push(Position::new(segment, offset));
        offset += FRAME_HEADER_LEN + body.len() as u64;
    }
    if plan.fill_at_most > 0 {
        let zeros = fill_new(offset, plan.fill_at_most) - offset;
        if has_room_to_fill(&file, zeros) {
            io::copy(&mut io::Read::take(io::repeat(0), zeros), &mut writer).map_err(io)?;
        }
    }
    writer.flush().map_err(io)?;
    drop(writer);
    fsync(&file).map_err(io)?;
    Ok(Created { file, header, appended: Appended { end: Position::new(segment, offset), places } })
}

/// Gives a file its name, unless something has it already.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not know the flag: a link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            // The segment has its name; the other one is ignored, and removed by the next writer.
            let _ = fs::remove_file(from);
            Ok(())
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { predecessor_end: Position::START, fill_at_most: 4096 };

    #[test]
    fn nothing_is_replaced_and_nothing_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::write(segment_path(dir, 1), "mine").unwrap();
        let error = create_segment(dir, &PLAN, std::iter::empty()).unwrap_err();
        assert!(matches!(error, AdoptError::Exists { segment: 1 }));
        let temporary = temporary_path(dir);
        fs::write(&temporary, "other").unwrap();
        let error = rename_new(&temporary, &segment_path(dir, 1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(temporary).unwrap();
        assert_eq!(fs::read(segment_path(dir, 1)).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    }

    #[test]
    fn a_frame_that_cannot_be_read_leaves_no_segment() {
        let folder = tempfile::tempdir().unwrap();
        let unreadable = Err(ReadError::NoFrame { position: Position::first_of(1) });
        let error = create_segment(folder.path(), &PLAN, std::iter::once(unreadable)).unwrap_err();
        assert!(matches!(error, AdoptError::Read { .. }));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_new_segment_is_small_and_filled() {
        let folder = tempfile::tempdir().unwrap();
        let created = create_segment(folder.path(), &PLAN, std::iter::empty()).unwrap();
        assert_eq!(created.appended, Appended { end: Position::first_of(1), places: Vec::new() });
        assert_eq!(created.file.metadata().unwrap().len(), 4096);
        assert_eq!(created.header.predecessor_end, Position::START);
    }
}

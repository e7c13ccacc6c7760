//! Appending groups of frames: one write, one sync, and an error that says what it leaves.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::create::{Plan, create_segment};
use super::current::{Current, Look};
use super::error::{AdoptError, AppendError, EndMismatch, ReadError, SegmentError, TrimError};
use super::frame::{FRAME_HEADER_LEN, Frame, FrameRef, GROUP_LIMIT, Kind, encode};
use super::header::SEGMENT_HEADER_LEN;
use super::position::Position;
use super::sync::{fdatasync, has_room_to_fill};
use super::write::{FILL_LEAST, WriteFault, fill_until, write_group};

/// A buffer larger than this is given back after use.
const BUFFER_KEPT: usize = 8 << 20;
/// How a log is written; it may differ from one opening to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A group that would make a segment longer than this, in bytes, goes into a new one.
    pub segment_size: u64,
    /// Whether zeros are written ahead of the frames, which makes the syncs that follow shorter.
    pub zero_fill: bool,
    /// Whether what is appended is synced. Only a log that ends with its process may do without.
    pub sync: bool,
}

impl Default for LogOptions {
    /// 64 MiB, filled ahead, synced.
    fn default() -> LogOptions {
        LogOptions { segment_size: 64 << 20, zero_fill: true, sync: true }
    }
}

/// What was appended. It is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the log ends now.
    pub end: Position,
    /// Where each frame begins, in the order given.
    pub places: Vec<Position>,
}

/// A log open for appending.
///
/// Each call but [`open`](Log::open) is for one who holds the write lock; other processes may have appended
/// since the last call. Where the log ends is the caller's knowledge: nothing is ever written elsewhere.
///
/// # Examples
///
/// ```
/// use headwater::segment::{FrameRef, Kind, Log, LogOptions, Position, Readers};
///
/// let folder = tempfile::tempdir()?;
/// let mut log = Log::open(folder.path(), LogOptions::default())?;
/// let frames = [
///     FrameRef { kind: Kind::Payload, codec: 0, body: b"a payload" },
///     FrameRef { kind: Kind::Commit, codec: 0, body: b"a commit that names it" },
/// ];
/// let appended = log.append(Position::START, 1, &frames)?;
/// let frame = Readers::new(folder.path()).get(appended.places[0])?;
/// assert_eq!(frame.body, b"a payload");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Log {
    pub(super) dir: PathBuf,
    options: LogOptions,
    pub(super) current: Option<Current>,
    buffer: Vec<u8>,
    /// Where the log was last seen to end, and its file's length: what follows at that place need not look again, once.
    seen: Option<(Position, u64)>,
    pub(super) poisoned: bool,
}

impl Log {
    /// Opens the log in the folder `dir`, which may be empty. No segment is touched yet.
    ///
    /// # Errors
    ///
    /// The system's, if `dir` is no folder.
    pub fn open(dir: &Path, options: LogOptions) -> io::Result<Log> {
        if !dir.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Log { dir: dir.to_owned(), options, current: None, buffer: Vec::new(), seen: None, poisoned: false })
    }

    /// Whether an append had an unknown outcome: only a new `Log` writes again, after its caller has read
    /// what is there.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Appends a group of frames at `end`, in a new segment if it does not fit, and makes it durable.
    ///
    /// # Errors
    ///
    /// [`AppendError::Unknown`] if the group may be in the log or not; after any other error, no commit
    /// frame of it is whole there. [`AppendError::NotAtEnd`] if `end` is not where the log ends: the
    /// caller reads what follows, and continues in a new segment that [`adopt`](Log::adopt) makes.
    pub fn append(&mut self, end: Position, group: u64, frames: &[FrameRef<'_>]) -> Result<Appended, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let bytes = frames.iter().map(|frame| FRAME_HEADER_LEN + frame.body.len() as u64).sum::<u64>();
        if bytes >= GROUP_LIMIT {
            return Err(AppendError::GroupTooLarge { bytes, limit: GROUP_LIMIT });
        }
        let file_len = self.file_len_at(end)?;
        if frames.is_empty() {
            return Ok(Appended { end, places: Vec::new() });
        }
        if self.must_roll(end, bytes) {
            let (end, file_len) = self.roll(end, bytes)?;
            return self.write(end, file_len, group, frames);
        }
        self.write(end, file_len, group, frames)
    }

    /// Makes room for a group of `bytes` bytes with frame headers: where it will begin, which is `end` or the start
    /// of a new segment, and how many bytes the group may have there. An append at that place follows, under the
    /// same lock.
    ///
    /// # Errors
    ///
    /// As for [`append`](Log::append); nothing was appended.
    pub fn make_room(&mut self, end: Position, bytes: u64) -> Result<(Position, u64), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if bytes >= GROUP_LIMIT {
            return Err(AppendError::GroupTooLarge { bytes, limit: GROUP_LIMIT });
        }
        let file_len = self.file_len_at(end)?;
        let (end, file_len) = if self.must_roll(end, bytes) { self.roll(end, bytes)? } else { (end, file_len) };
        self.seen = Some((end, file_len));
        Ok((end, self.options.segment_size.saturating_sub(end.offset).max(bytes)))
    }

    /// The length of the file that the log ends in, at `end`: as just seen, or looked at now.
    fn file_len_at(&mut self, end: Position) -> Result<u64, AppendError> {
        if let Some((at, file_len)) = self.seen.take()
            && at == end
        {
            return Ok(file_len);
        }
        match self.look(end).map_err(|source| AppendError::Segment { segment: end.segment, source })? {
            Look::AtEnd { file_len } => Ok(file_len),
            Look::Mismatch(why) => Err(AppendError::NotAtEnd { end, why }),
        }
    }

    fn must_roll(&self, end: Position, bytes: u64) -> bool {
        let holds_frames = end.offset > SEGMENT_HEADER_LEN;
        let fits = end.offset.saturating_add(bytes) <= self.options.segment_size;
        end == Position::START || (holds_frames && !fits)
    }

    /// Makes a new segment after `end` that holds `frames`, bodies and groups as they are, and makes it
    /// durable under its name. What lies beyond `end` in the segment before is superseded by it.
    ///
    /// With no frames, this leaves a torn segment for a new one.
    ///
    /// # Errors
    ///
    /// [`AdoptError`]; no segment was made then.
    pub fn adopt<I>(&mut self, end: Position, frames: I) -> Result<Appended, AdoptError>
    where
        I: IntoIterator<Item = Result<Frame, ReadError>>,
    {
        if self.poisoned {
            return Err(AdoptError::Poisoned);
        }
        let plan = Plan { predecessor_end: end, fill_at_most: self.fill_size() };
        let created = create_segment(&self.dir, &plan, frames.into_iter())?;
        let appended = created.appended.clone();
        self.current = Some(Current::new(created));
        Ok(appended)
    }

    /// Looks whether the log ends at `end`: `None` if it does, else what is there. This costs a few
    /// system calls, so it can be asked before each append; an append or [`make_room`](Log::make_room) at `end` that
    /// follows, under the same lock, does not look again.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] if the segment that `end` is in cannot be used.
    pub fn end_mismatch(&mut self, end: Position) -> Result<Option<EndMismatch>, SegmentError> {
        self.seen = None;
        Ok(match self.look(end)? {
            Look::AtEnd { file_len } => {
                self.seen = Some((end, file_len));
                None
            }
            Look::Mismatch(why) => Some(why),
        })
    }

    /// Cuts off the zeros after `end`, for a clean close, and says whether there were any.
    ///
    /// # Errors
    ///
    /// [`TrimError`]; nothing was cut off then.
    pub fn trim(&mut self, end: Position) -> Result<bool, TrimError> {
        if self.poisoned {
            return Err(TrimError::Poisoned);
        }
        if let Some(current) = &mut self.current {
            // What is cut off cannot be looked at later, so all of it is looked at now.
            current.zeros_seen = false;
        }
        let segment = end.segment;
        match self.look(end).map_err(|source| TrimError::Segment { segment, source })? {
            Look::Mismatch(why) => Err(TrimError::NotAtEnd { end, why }),
            Look::AtEnd { file_len } if file_len <= end.offset => Ok(false),
            Look::AtEnd { .. } => match &self.current {
                Some(current) => {
                    current.file.set_len(end.offset).map_err(|source| TrimError::Io { source })?;
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    fn fill_size(&self) -> u64 {
        if self.options.zero_fill { self.options.segment_size } else { 0 }
    }

    /// A new, empty segment after `end`, for a group of `bytes` bytes: where its first frame goes, and its
    /// file's length.
    fn roll(&mut self, end: Position, bytes: u64) -> Result<(Position, u64), AppendError> {
        let fill_at_most = if bytes < FILL_LEAST { self.fill_size() } else { 0 };
        let plan = Plan { predecessor_end: end, fill_at_most };
        let created = create_segment(&self.dir, &plan, std::iter::empty()).map_err(|error| match error {
            AdoptError::Exists { segment } => AppendError::NotAtEnd { end, why: EndMismatch::Later { segment } },
            AdoptError::Io { source, .. } => AppendError::Plain { source },
            other => AppendError::Plain { source: io::Error::other(other) },
        })?;
        let file_len = created.file.metadata().map_err(|source| AppendError::Plain { source })?.len();
        let end = created.appended.end;
        self.current = Some(Current::new(created));
        Ok((end, file_len))
    }

    /// The write and the sync. Everything before has been checked.
    fn write(
        &mut self,
        end: Position,
        file_len: u64,
        group: u64,
        frames: &[FrameRef<'_>],
    ) -> Result<Appended, AppendError> {
        let Some(current) = &mut self.current else {
            return Err(AppendError::Plain { source: io::Error::other("no segment is open") });
        };
        let buffer = &mut self.buffer;
        buffer.clear();
        let mut places = Vec::with_capacity(frames.len());
        let mut first_commit_end = None;
        for frame in frames {
            places.push(Position::new(end.segment, end.offset + buffer.len() as u64));
            encode(buffer, *frame, group, current.seed);
            if frame.kind == Kind::Commit && first_commit_end.is_none() {
                first_commit_end = Some(buffer.len());
            }
        }
        let group_len = buffer.len();
        let group_end = end.offset + group_len as u64;
        if self.options.zero_fill {
            let mut until = fill_until(group_end, group_len as u64, file_len, self.options.segment_size);
            if until > file_len && !has_room_to_fill(&current.file, until - file_len) {
                until = group_end;
            }
            buffer.resize((until - end.offset) as usize, 0);
        }

        let pwrite = |bytes: &[u8], offset| current.file.write_at(bytes, offset);
        let written = write_group(pwrite, buffer, group_len, end.offset);
        if buffer.capacity() > BUFFER_KEPT {
            *buffer = Vec::new();
        }
        if let Err(fault) = written {
            current.zeros_seen = false;
            let error = classify(fault, first_commit_end);
            self.poisoned = matches!(error, AppendError::Unknown { .. });
            return Err(error);
        }
        if self.options.sync
            && let Err(source) = fdatasync(&current.file)
        {
            self.poisoned = true;
            return Err(AppendError::Unknown { source });
        }
        Ok(Appended { end: Position::new(end.segment, group_end), places })
    }
}

/// Up to the first whole commit frame, nothing that counts can be in the log.
fn classify(fault: WriteFault, first_commit_end: Option<usize>) -> AppendError {
    let WriteFault { written, source } = fault;
    match first_commit_end {
        Some(commit_end) if written >= commit_end => AppendError::Unknown { source },
        _ => AppendError::Plain { source },
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;

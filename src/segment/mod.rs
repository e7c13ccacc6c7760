//! Checked frames in append-only files: the bytes of the log, and the locks that order its writers.
//!
//! A log is a folder of segments, `0000000001.seg` and so on. A segment is a header, then frames, then
//! zeros. [`Log`] appends groups of frames with one write and one sync; [`SegmentReader`] and [`Readers`]
//! read them back, and never return a byte that failed its checksum.
//!
//! This floor promises that a returned [`Appended`] is durable, that an error says whether the group can
//! be in the log, that bytes once written are never written again, and that hostile bytes give an error
//! and no panic. It leaves to the floor above what the frames mean, where the live log ends (a
//! [`Position`] kept in the database), holding the write lock around [`Log`], and telling a tear from
//! damage, for which [`SegmentReader`] answers the questions.

mod create;
mod current;
mod error;
mod frame;
mod header;
mod locks;
mod log;
mod names;
mod position;
mod reader;
mod readers;
mod reading;
pub(crate) mod sabotage;
mod salvage;
mod scan;
mod search;
mod sync;
mod turnstile;
mod write;

pub use error::{
    AdoptError, AppendError, BadFrame, EndMismatch, LockError, ReadError, SegmentError, TrimError, is_full,
};
pub use frame::{FRAME_HEADER_LEN, Frame, FrameHeader, FrameRef, GROUP_LIMIT, Kind, Seed, encode};
pub use header::{FORMAT_VERSION, SEGMENT_HEADER_LEN, SegmentHeader};
pub use locks::{LockFile, LockGuard};
pub use log::{Appended, Log, LogOptions};
pub use names::{list, remove_temporaries, segment_path, strangers};
pub use position::Position;
pub use reader::SegmentReader;
pub use readers::Readers;
pub(crate) use reading::Reading;
pub use salvage::{Piece, Salvage};
pub use scan::{End, Frames};
pub use sync::{
    FileSystem, create_dir_private, create_file_private, fdatasync, filesystem_kind, fsync, has_room, is_folder,
    is_memory_with_room, is_there, sync_dir,
};
pub use turnstile::Turnstile;

//! Reading frames anywhere in the log, by many threads.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{ReadError, SegmentError};
use super::frame::Frame;
use super::position::Position;
use super::reader::SegmentReader;

/// More than a store of some gigabytes has segments, and well below the 1,024 files a process may have open.
const OPEN_AT_MOST: usize = 128;

/// The segments of a log, each opened when first read and kept open.
#[derive(Debug)]
pub struct Readers {
    dir: PathBuf,
    /// Least recently used first.
    open: Mutex<Vec<Arc<SegmentReader>>>,
    /// What was made of frames, the oldest first.
    made: Mutex<VecDeque<(Position, Arc<Vec<u8>>)>>,
}

/// What was made of frames and is held: neighbours are mostly asked for together.
const HELD_AT_MOST: usize = 8;

impl Readers {
    /// Readers of the log in `dir`; nothing is opened yet.
    pub fn new(dir: &Path) -> Readers {
        Readers { dir: dir.to_owned(), open: Mutex::default(), made: Mutex::default() }
    }

    /// The log's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the frame at `position`.
    ///
    /// # Errors
    ///
    /// [`ReadError`], by what is wrong at that place.
    pub fn get(&self, position: Position) -> Result<Frame, ReadError> {
        self.read_at(position, 0)
    }

    /// The same with one read instead of two, if `body_len_hint` is the body's length.
    ///
    /// # Errors
    ///
    /// As for [`get`](Readers::get).
    pub fn read_at(&self, position: Position, body_len_hint: u32) -> Result<Frame, ReadError> {
        let segment = position.segment;
        let reader = self.segment(segment).map_err(|source| ReadError::Segment { segment, source })?;
        reader.read_frame_hinted(position.offset, body_len_hint)
    }

    /// What `make` makes of the frame at `position`, or made of it before: a few are held.
    ///
    /// # Errors
    ///
    /// As for [`get`](Readers::get), and those of `make`.
    pub fn made_of<E: From<ReadError>>(
        &self,
        position: Position,
        body_len_hint: u32,
        make: impl FnOnce(Frame) -> Result<Vec<u8>, E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        let held = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, made)) = held().iter().find(|(of, _)| *of == position) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(make(self.read_at(position, body_len_hint)?)?);
        let mut held = held();
        if held.len() >= HELD_AT_MOST {
            held.pop_front();
        }
        held.push_back((position, Arc::clone(&made)));
        Ok(made)
    }

    /// The reader of one segment.
    ///
    /// # Errors
    ///
    /// [`SegmentError`], by what is wrong with the file.
    pub fn segment(&self, number: u64) -> Result<Arc<SegmentReader>, SegmentError> {
        // Held while a file is opened, so that no file is opened twice; and a list left by a thread that
        // panicked is whole, since nothing can fail between its changes.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = open.iter().rposition(|reader| reader.number() == number) {
            let reader = Arc::clone(&open[index]);
            open[index..].rotate_left(1);
            return Ok(reader);
        }
        let reader = Arc::new(SegmentReader::open(&self.dir, number)?);
        if open.len() >= OPEN_AT_MOST {
            open.remove(0);
        }
        open.push(Arc::clone(&reader));
        Ok(reader)
    }

    /// Closes all files, for one who replaces or removes segments.
    pub fn clear(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameRef, Kind};
    use super::super::log::{Log, LogOptions};
    use super::*;

    #[test]
    fn threads_read_what_is_appended_and_files_stay_few() {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions { segment_size: 4096, ..LogOptions::default() };
        let mut log = Log::open(folder.path(), options).unwrap();
        let readers = Readers::new(folder.path());
        let (mut end, mut places) = (Position::START, Vec::new());
        for group in 1..=200u64 {
            let body = vec![group as u8; 3000];
            let frames = [FrameRef { kind: Kind::Commit, codec: 0, body: &body }];
            let appended = log.append(end, group, &frames).unwrap();
            assert_eq!(readers.read_at(appended.places[0], 3000).unwrap().body, body);
            (end, places) = (appended.end, [places, appended.places].concat());
        }
        assert_eq!(end.segment, 200);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for (place, group) in places.iter().zip(1..) {
                        assert_eq!(readers.get(*place).unwrap().header.group, group);
                    }
                });
            }
        });
        assert_eq!(readers.open.lock().unwrap().len(), OPEN_AT_MOST);
        let missing = readers.get(Position::first_of(999)).unwrap_err();
        assert!(matches!(missing, ReadError::Segment { segment: 999, source: SegmentError::Missing { .. } }));
        readers.clear();
        assert!(readers.get(places[0]).is_ok());
    }
}

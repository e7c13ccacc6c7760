//! How far a reading of the whole log is, in bytes.

use std::fs;
use std::path::Path;

use super::{Position, segment_path};
use crate::progress::{Observer, Progress, Unit};

/// A reading of segments in their order, of which an observer is told.
pub struct Reading<'a> {
    observer: &'a Observer,
    stage: &'static str,
    /// The segments, each with the bytes of those before it.
    before: Vec<(u64, u64)>,
    total: u64,
}

impl<'a> Reading<'a> {
    /// A reading of the segments `numbers` in `dir`, up to `end` where it ends before them.
    pub fn new(
        observer: &'a Observer,
        stage: &'static str,
        dir: &Path,
        numbers: &[u64],
        end: Option<Position>,
    ) -> Reading<'a> {
        let (mut before, mut total) = (Vec::with_capacity(numbers.len()), 0);
        for number in numbers.iter().copied().filter(|number| end.is_none_or(|end| *number <= end.segment)) {
            before.push((number, total));
            // A size that cannot be told only makes the figure worse: reading the segment says what is wrong.
            let len = fs::metadata(segment_path(dir, number)).map_or(0, |meta| meta.len());
            total += end.filter(|end| end.segment == number).map_or(len, |end| end.offset);
        }
        Reading { observer, stage, before, total }
    }

    /// Tells that the log was read up to `at`.
    pub fn reached(&self, at: Position) {
        let found = self.before.binary_search_by_key(&at.segment, |(number, _)| *number).ok();
        let before = found.and_then(|at| self.before.get(at)).map_or(0, |(_, before)| *before);
        let done = before.saturating_add(at.offset);
        self.observer.tell(Progress { stage: self.stage, done, total: self.total, unit: Unit::Bytes });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_was_read_of_all_segments_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (number, len) in [(1, 100), (2, 50), (3, 1_000)] {
            fs::write(segment_path(dir.path(), number), vec![0; len]).unwrap();
        }
        let told = Arc::new(Mutex::new(Vec::new()));
        let observer = Observer::new({
            let told = Arc::clone(&told);
            move |progress| told.lock().unwrap().push((progress.done, progress.total))
        });
        let whole = Reading::new(&observer, "reading", dir.path(), &[1, 2, 3], None);
        whole.reached(Position::new(1, 40));
        whole.reached(Position::new(3, 10));
        // The third is zero-filled ahead: only what stands before the end counts.
        let part = Reading::new(&observer, "reading", dir.path(), &[1, 2, 3], Some(Position::new(3, 20)));
        part.reached(Position::new(3, 20));
        assert_eq!(*told.lock().unwrap(), [(40, 1_150), (160, 1_150), (170, 170)]);
    }
}

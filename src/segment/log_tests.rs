use std::fs::{self, OpenOptions};

use super::super::names::{list, segment_path};
use super::super::reader::SegmentReader;
use super::super::readers::Readers;
use super::super::scan::End;
use super::*;

struct Bench {
    folder: tempfile::TempDir,
    log: Log,
}

fn bench(segment_size: u64, zero_fill: bool) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), LogOptions { segment_size, zero_fill, sync: true }).unwrap();
    Bench { folder, log }
}

impl Bench {
    fn append(&mut self, end: Position, group: u64, size: usize) -> Position {
        self.try_append(end, group, size).unwrap().end
    }

    fn try_append(&mut self, end: Position, group: u64, size: usize) -> Result<Appended, AppendError> {
        let body = vec![group as u8; size];
        let payload = FrameRef { kind: Kind::Payload, codec: 2, body: &body };
        let commit = FrameRef { kind: Kind::Commit, codec: 1, body: b"commit" };
        self.log.append(end, group, &[payload, commit])
    }

    fn len(&self, segment: u64) -> u64 {
        self.path(segment).metadata().unwrap().len()
    }

    fn path(&self, segment: u64) -> PathBuf {
        segment_path(self.folder.path(), segment)
    }

    fn reader(&self, segment: u64) -> SegmentReader {
        SegmentReader::open(self.folder.path(), segment).unwrap()
    }

    fn poke(&self, place: Position, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.path(place.segment)).unwrap();
        file.write_all_at(bytes, place.offset).unwrap();
    }
}

#[test]
fn groups_follow_each_other_and_come_back() {
    let mut bench = bench(1 << 20, true);
    let mut end = Position::START;
    for group in 1..=100 {
        end = bench.append(end, group, 2000);
        assert_eq!(bench.log.end_mismatch(end).unwrap(), None);
    }
    assert_eq!(end, Position::new(1, 64 + 100 * (24 + 2000 + 24 + 6)));
    let reader = bench.reader(1);
    let mut frames = reader.frames(64, None);
    for group in 1..=100 {
        let (offset, payload) = frames.next().unwrap().unwrap();
        assert_eq!((payload.header.group, payload.header.codec), (group, 2));
        assert_eq!(payload.body, vec![group as u8; 2000]);
        assert_eq!(Readers::new(bench.folder.path()).get(Position::new(1, offset)).unwrap(), payload);
        assert_eq!(frames.next().unwrap().unwrap().1.header.kind, Kind::Commit);
    }
    assert!(frames.next().is_none());
    assert_eq!(frames.end(), Some(End::Zeros(end.offset)));
}

#[test]
fn an_empty_store_is_small_and_filling_goes_ahead() {
    let mut bench = bench(1 << 20, true);
    let mut end = bench.append(Position::START, 1, 10);
    assert_eq!(bench.len(1), 64 << 10);
    let mut lengths = 0;
    for group in 2..200 {
        let before = bench.len(1);
        end = bench.append(end, group, 4000);
        lengths += u64::from(bench.len(1) != before);
    }
    assert!(lengths < 8, "filled {lengths} times");
    assert_eq!(bench.len(1), 1 << 20);
}

#[test]
fn segments_form_a_chain_and_a_group_never_spans_two() {
    for zero_fill in [true, false] {
        let mut bench = bench(4096, zero_fill);
        let mut ends = vec![Position::START];
        for group in 1..=5 {
            ends.push(bench.append(ends[ends.len() - 1], group, 1500));
        }
        // Over the size: alone in a segment, then the next group is in another.
        ends.push(bench.append(ends[5], 6, 100_000));
        ends.push(bench.append(ends[6], 7, 10));
        let segments: Vec<u64> = ends[1..].iter().map(|end| end.segment).collect();
        assert_eq!(segments, [1, 1, 2, 2, 3, 4, 5]);
        assert_eq!(list(bench.folder.path()).unwrap(), [1, 2, 3, 4, 5]);
        let predecessors = [ends[0], ends[2], ends[4], ends[5], ends[6]];
        for (number, predecessor_end) in (1..).zip(predecessors) {
            let reader = bench.reader(number);
            assert_eq!(reader.header().predecessor_end, predecessor_end);
            let whole = reader.frames(64, None).find_end().unwrap();
            assert!(matches!(whole, End::Zeros(_) | End::Eof(_)));
        }
    }
}

#[test]
fn the_first_group_may_be_over_the_size_and_none_over_the_limit() {
    let mut bench = bench(4096, true);
    let end = bench.append(Position::START, 1, 50_000);
    assert_eq!((end.segment, list(bench.folder.path()).unwrap().len()), (1, 1));
    // A body is never touched, so eleven references to one make a group over the limit.
    let body = vec![0; 100 << 20];
    let frame = FrameRef { kind: Kind::Payload, codec: 0, body: &body };
    let error = bench.log.append(end, 2, &[frame; 11]).unwrap_err();
    assert!(matches!(error, AppendError::GroupTooLarge { .. }));
    assert_eq!(bench.log.end_mismatch(end).unwrap(), None);
}

#[test]
fn two_logs_take_turns() {
    let mut one = bench(4096, true);
    let mut two = Log::open(one.folder.path(), LogOptions::default()).unwrap();
    let frame = FrameRef { kind: Kind::Commit, codec: 0, body: &[7; 900] };
    let mut end = Position::START;
    for group in (1..40).step_by(2) {
        end = one.append(end, group, 900);
        end = two.append(end, group + 1, &[frame]).unwrap().end;
    }
    let mut groups = Vec::new();
    for number in list(one.folder.path()).unwrap() {
        groups.extend(one.reader(number).frames(64, None).map(|frame| frame.unwrap().1.header.group));
    }
    groups.dedup();
    assert_eq!(groups, (1..=40).collect::<Vec<u64>>());
}

#[test]
fn nothing_is_written_where_the_log_does_not_end() {
    let mut bench = bench(1 << 20, true);
    let first = bench.append(Position::START, 1, 10);
    let end = bench.append(first, 2, 10);
    let before = fs::read(bench.path(1)).unwrap();
    let mut refused = |end| match bench.try_append(end, 3, 10) {
        Err(AppendError::NotAtEnd { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(first), EndMismatch::Bytes { offset: first.offset });
    assert_eq!(refused(Position::START), EndMismatch::Later { segment: 1 });
    assert_eq!(refused(Position::new(1, 60)), EndMismatch::InHeader);
    assert_eq!(refused(Position::new(1, 1 << 30)), EndMismatch::Short { length: 64 << 10 });
    assert_eq!(fs::read(bench.path(1)).unwrap(), before);
    let missing = bench.try_append(Position::new(4, 64), 3, 10).unwrap_err();
    assert!(matches!(missing, AppendError::Segment { segment: 4, source: SegmentError::Missing { .. } }));

    // A tear far behind the end is seen by one who opens the file anew, as after a power loss.
    bench.poke(Position::new(1, 60_000), &[1]);
    bench.log = Log::open(bench.folder.path(), LogOptions::default()).unwrap();
    assert_eq!(bench.log.end_mismatch(end).unwrap(), Some(EndMismatch::Bytes { offset: 60_000 }));
}

#[test]
fn after_a_tear_the_log_goes_on_in_a_new_segment() {
    let mut bench = bench(1 << 20, true);
    let end = bench.append(Position::START, 1, 10);
    bench.poke(end, &[2; 30]);
    assert!(matches!(bench.try_append(end, 2, 10), Err(AppendError::NotAtEnd { .. })));
    let next = bench.log.adopt(end, []).unwrap();
    assert_eq!(next, Appended { end: Position::first_of(2), places: Vec::new() });
    let after = bench.append(next.end, 2, 10);
    assert_eq!(bench.reader(2).header().predecessor_end, end);
    assert!(matches!(bench.try_append(end, 3, 10), Err(AppendError::NotAtEnd { .. })));
    assert!(matches!(bench.log.adopt(end, []), Err(AdoptError::Exists { segment: 2 })));
    assert_eq!(bench.log.end_mismatch(after).unwrap(), None);
}

#[test]
fn adopted_frames_keep_all_but_their_checksums() {
    let mut bench = bench(1 << 20, true);
    let first = bench.append(Position::START, 1, 10);
    let second = bench.append(first, 2, 300_000);
    bench.append(second, 3, 10);
    let old = bench.reader(1);
    let wanted: Vec<Frame> = old.frames(first.offset, Some(second.offset)).map(|frame| frame.unwrap().1).collect();
    assert_eq!(wanted.len(), 2);
    let run = old.frames(first.offset, Some(second.offset)).map(|frame| frame.map(|(_, frame)| frame));
    let adopted = bench.log.adopt(first, run).unwrap();
    let new = bench.reader(2);
    assert_eq!(new.header().predecessor_end, first);
    for (place, old) in adopted.places.iter().zip(&wanted) {
        let frame = new.read_frame(place.offset).unwrap();
        assert_eq!((frame.header.kind, frame.header.codec), (old.header.kind, old.header.codec));
        assert_eq!((frame.header.group, &frame.body), (old.header.group, &old.body));
        assert_ne!(frame.header.body_crc, old.header.body_crc);
    }
    assert_eq!(new.frames(64, None).find_end().unwrap(), End::Zeros(adopted.end.offset));
    bench.append(adopted.end, 4, 10);
}

#[test]
fn trimming_cuts_zeros_only() {
    let mut bench = bench(1 << 20, true);
    assert!(!bench.log.trim(Position::START).unwrap());
    let first = bench.append(Position::START, 1, 10);
    let end = bench.append(first, 2, 10);
    assert!(matches!(bench.log.trim(first), Err(TrimError::NotAtEnd { .. })));
    bench.poke(Position::new(1, 65_000), &[9]);
    assert!(matches!(bench.log.trim(end), Err(TrimError::NotAtEnd { .. })));
    bench.poke(Position::new(1, 65_000), &[0]);
    assert!(bench.log.trim(end).unwrap());
    assert_eq!(bench.len(1), end.offset);
    assert!(!bench.log.trim(end).unwrap());
    assert_eq!(bench.reader(1).frames(64, None).find_end().unwrap(), End::Eof(end.offset));
    bench.append(end, 3, 10);
}

#[test]
fn a_failed_write_is_plain_up_to_the_first_whole_commit() {
    let classify = |written, commit| classify(WriteFault { written, source: io::Error::other("") }, commit);
    assert!(matches!(classify(99, Some(100)), AppendError::Plain { .. }));
    assert!(matches!(classify(100, Some(100)), AppendError::Unknown { .. }));
    assert!(matches!(classify(500, None), AppendError::Plain { .. }));
    let full = WriteFault { written: 0, source: rustix::io::Errno::NOSPC.into() };
    assert!(super::classify(full, Some(10)).is_full());
}

#[test]
fn a_poisoned_log_writes_nothing() {
    let mut bench = bench(1 << 20, true);
    let end = bench.append(Position::START, 1, 10);
    bench.log.poisoned = true;
    assert!(matches!(bench.try_append(end, 2, 10), Err(AppendError::Poisoned)));
    assert!(matches!(bench.log.adopt(end, []), Err(AdoptError::Poisoned)));
    assert!(matches!(bench.log.trim(end), Err(TrimError::Poisoned)));
    assert!(bench.log.is_poisoned());
}

#[test]
fn a_link_in_place_of_the_segment_is_refused() {
    let mut bench = bench(1 << 20, true);
    let end = bench.append(Position::START, 1, 10);
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::rename(bench.path(1), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, bench.path(1)).unwrap();
    bench.log = Log::open(bench.folder.path(), LogOptions::default()).unwrap();
    let error = bench.try_append(end, 2, 10).unwrap_err();
    assert!(matches!(error, AppendError::Segment { source: SegmentError::NotRegular { .. }, .. }));
}

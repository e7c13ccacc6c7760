//! The log by itself: every frame, every payload against its digest, the chain of commits, the roots.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Findings;
use super::codes;
use super::roots::{self, Later, Unproven};
use crate::blob::{self, BlobError, codec::CodecError};
use crate::journal::{self, Ended, ReplayError, Replayed};
use crate::model::line::Item;
use crate::model::{Body, Digest, Event, Record, Root, SessionId, Tx};
use crate::progress::Observer;
use crate::segment::{self, End, Position, Readers, Reading, SegmentError, SegmentReader};
use crate::store::error::chain;
use crate::store::level::Meta;

/// Goes through all frames up to where the rows end (or the log, without rows). False if a commit could not be read:
/// rows cannot be made from such a log.
pub(in crate::care) fn go_through(
    blobs: &Path,
    meta: Option<&Meta>,
    observer: &Observer,
    found: &mut Findings,
) -> bool {
    let before = found.issues.len();
    let numbers = match segment::list(blobs) {
        Ok(numbers) => numbers,
        Err(error) => {
            unlisted(error, found);
            return false;
        }
    };
    let readers = Readers::new(blobs);
    let mut walk = Walk {
        readers: &readers,
        reading: Reading::new(observer, "reading the log", blobs, &numbers, meta.map(|meta| meta.end)),
        found,
        last: Tx(0),
        digest: Digest::ZERO,
        sessions: HashMap::new(),
        later: Later::default(),
        lost: BTreeMap::new(),
        sound: true,
    };
    let mut segments = Vec::new();
    for (at, number) in numbers.iter().copied().enumerate() {
        if meta.is_some_and(|meta| number > meta.end.segment) {
            // Beyond the rows' end: a live writer's, or a dead one's that the next opening adopts.
            break;
        }
        let expected = at as u64 + 1;
        if number != expected {
            walk.found.issue(codes::SEGMENT_MISSING, format!("segment {expected}"));
            walk.sound = false;
            break;
        }
        let until = match walk.ends_at(blobs, number, numbers.get(at + 1).copied(), meta) {
            Ok(until) => until,
            Err(()) => break,
        };
        segments.push((number, until));
        let end = match meta.filter(|meta| meta.end.segment == number) {
            Some(_) => EndsBy::Rows,
            None if meta.is_none() && numbers.len() == at + 1 => EndsBy::Nothing,
            None => EndsBy::Log,
        };
        walk.segment(blobs, number, until, end);
    }
    let Walk { last, sound, later, lost, .. } = walk;
    for (digest, at) in lost {
        found.issue(codes::PAYLOAD_LOST, format!("{digest} at {at}"));
    }
    later.prove(blobs, &segments, found);
    found.count("segments", numbers.len() as u64);
    if let Some(meta) = meta
        && last < meta.tx
        && found.issues.len() == before
    {
        found.issue(codes::LOG_SHORT, format!("the log holds {last} commits, the rows {}", meta.tx));
        return false;
    }
    sound
}

/// Goes through the commits of one segment.
pub(super) fn replay_segment<E: From<ReplayError>>(
    blobs: &Path,
    number: u64,
    until: Option<u64>,
    each: impl FnMut(Replayed) -> Result<(), E>,
) -> Result<Ended, E> {
    let reader = SegmentReader::open(blobs, number).map_err(ReplayError::from)?;
    journal::replay(&reader, 0, until, each)
}

/// What says where a segment's live frames end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndsBy {
    Rows,
    /// The next segment.
    Log,
    /// It may end in a tear.
    Nothing,
}

struct Walk<'a> {
    readers: &'a Readers,
    reading: Reading<'a>,
    found: &'a mut Findings,
    last: Tx,
    digest: Digest,
    sessions: HashMap<SessionId, (u64, Digest)>,
    later: Later,
    /// Payloads that a repair found nowhere, and that nobody has put again since.
    lost: BTreeMap<Digest, Position>,
    sound: bool,
}

impl Walk<'_> {
    /// Where the live frames of segment `number` end: none if that is wherever they do. An error was told.
    fn ends_at(
        &mut self,
        blobs: &Path,
        number: u64,
        next: Option<u64>,
        meta: Option<&Meta>,
    ) -> Result<Option<u64>, ()> {
        if let Some(meta) = meta.filter(|meta| meta.end.segment == number) {
            return Ok(Some(meta.end.offset));
        }
        let Some(next) = next else { return Ok(None) };
        match SegmentReader::open(blobs, next) {
            Ok(reader) if reader.header().predecessor_end.segment == number => {
                return Ok(Some(reader.header().predecessor_end.offset));
            }
            Ok(reader) => {
                let end = reader.header().predecessor_end;
                self.found.issue(codes::SEGMENT_CHAIN, format!("segment {next} begins after {end}"));
            }
            // A gap is told when it is come to; this segment ends where its frames do.
            Err(SegmentError::Missing { .. }) => return Ok(None),
            Err(error) => self.found.unread(codes::SEGMENT_DAMAGED, chain(&error), error),
        }
        self.sound = false;
        Err(())
    }

    fn segment(&mut self, blobs: &Path, number: u64, until: Option<u64>, end: EndsBy) {
        let may_be_torn = end == EndsBy::Nothing;
        let reader = match SegmentReader::open(blobs, number) {
            Ok(reader) => reader,
            Err(error) => {
                self.sound = false;
                return self.found.unread(codes::SEGMENT_DAMAGED, chain(&error), error);
            }
        };
        let ended = journal::replay(&reader, 0, until, |commit| {
            self.reading.reached(commit.end);
            self.commit(&commit);
            Ok::<(), ReplayError>(())
        });
        match ended {
            Ok(ended) => {
                // Where nothing says how far the log goes, a bad frame is a tear unless a later group follows it.
                let group = ended.group.max(self.last.next().0);
                let mut torn = |at| {
                    may_be_torn
                        && match reader.later_group_after(at, group) {
                            Ok(later) => later.is_none(),
                            Err(error) => {
                                self.found.unread(codes::FRAME_DAMAGED, chain(&error), error);
                                false
                            }
                        }
                };
                let (at, whole) = match ended.end {
                    End::Until(at) => (at, true),
                    End::Eof(at) => (at, until.is_none()),
                    End::Zeros(at) => (at, until.is_none() && (!may_be_torn || torn(at))),
                    End::Bad { offset, .. } => (offset, torn(offset)),
                };
                if !whole && end == EndsBy::Rows && matches!(ended.end, End::Eof(_)) {
                    self.sound = false;
                    let place = format!("segment {number} ends at {at}, the rows say {}", until.unwrap_or(at));
                    self.found.issue(codes::LOG_SHORT, place);
                } else if !whole && end == EndsBy::Rows && reader.read_frame(at).is_ok() {
                    // The frame is there, and the rows end inside of it: they are what is wrong.
                    self.sound = false;
                    let place = format!("hw_tx: the log does not end at {number}:{}", until.unwrap_or(at));
                    self.found.issue(codes::ROW_DIFFERS, place);
                } else if !whole {
                    self.sound = false;
                    self.found.issue(codes::FRAME_DAMAGED, Position::new(number, at).to_string());
                }
            }
            Err(
                error @ (ReplayError::BadCommit { .. } | ReplayError::BadPack { .. } | ReplayError::Payloads { .. }),
            ) => {
                self.sound = false;
                self.found.issue(codes::COMMIT_DAMAGED, chain(&error));
            }
            Err(error) => {
                self.sound = false;
                self.found.unread(codes::FRAME_DAMAGED, chain(&error), error);
            }
        }
        if let (Some(until), Ok(len)) = (until, reader.file_len())
            && let Ok(Some(_)) = reader.first_nonzero_after(until)
        {
            self.found.count("superseded-bytes", len.saturating_sub(until));
        }
    }

    fn commit(&mut self, found: &Replayed) {
        let (at, head) = (found.frame.at, &found.commit.head);
        if head.tx != self.last.next() || head.previous != self.digest {
            self.sound = false;
            let place = format!("commit {} at {at} does not follow commit {}", head.tx, self.last);
            self.found.issue(codes::COMMIT_CHAIN, place);
        }
        (self.last, self.digest) = (head.tx, found.commit.digest());
        self.found.count("commits", 1);
        let mut frames = found.payloads.iter();
        let mut roots: HashMap<Digest, Root> = HashMap::new();
        for line in &found.commit.lines {
            match &line.item {
                Item::Record(
                    Record::PayloadAdded { hash, size, parts: None, .. } | Record::PayloadPart { hash, size },
                ) => {
                    let Some(frame) = frames.next() else { continue };
                    let (place, at) = (frame.place(*size), frame.frame.at);
                    match blob::read(self.readers, &place, hash) {
                        Ok(bytes) if bytes.len() as u64 == *size => {
                            if self.lost.remove(hash).is_some() {
                                // Readers find it here, and so do those who prove what needs it.
                                self.later.again.insert(*hash, place);
                            }
                            self.found.count("payloads-read", 1);
                            if bytes.starts_with(b"{\"basis\":")
                                && let Ok(root) = serde_json::from_slice(&bytes)
                            {
                                roots.insert(*hash, root);
                            }
                        }
                        Ok(_) => self.found.issue(codes::PAYLOAD_DAMAGED, format!("{hash} at {at}")),
                        Err(BlobError::Codec(CodecError::Lost)) => {
                            self.lost.insert(*hash, at);
                        }
                        Err(error) => {
                            let place = format!("{hash} at {at}: {}", chain(&error));
                            self.found.unread(codes::PAYLOAD_DAMAGED, place, error);
                        }
                    }
                }
                Item::Record(Record::PayloadAdded { hash, size, parts: Some(parts), .. }) => {
                    self.later.parts.insert(*hash, (*size, parts.clone()));
                }
                Item::Event(event) => self.event(event, line.digest, &roots),
                _ => {}
            }
        }
    }

    fn event(&mut self, event: &Event, line: Digest, roots: &HashMap<Digest, Root>) {
        let (number, chain) = self.sessions.entry(event.session.clone()).or_insert((0, Digest::ZERO));
        if event.number.0 != number.saturating_add(1) {
            let place = format!("event {} of {} follows {number}", event.number, event.session);
            self.found.issue(codes::EVENT_ORDER, place);
        }
        if let Body::HeadCreated(head) = &event.body {
            match roots.get(head.digest()) {
                Some(root) if roots::holds(root, *number, *chain) => {}
                Some(_) => self.found.issue(codes::HEAD_ROOT, head.to_string()),
                None => self.later.heads.push(Unproven { head: *head, boundary: *number, digest: *chain }),
            }
            self.found.count("roots", 1);
        }
        (*number, *chain) = (event.number.0, chain.chain(line));
    }
}

/// The folder of segments is not there, is none, or is closed to this process; or the disk failed.
fn unlisted(error: io::Error, found: &mut Findings) {
    let told = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::PermissionDenied];
    match told.contains(&error.kind()) {
        true => found.issue(codes::LOG_UNREADABLE, error.to_string()),
        false => found.unread(codes::LOG_UNREADABLE, error.to_string(), error),
    }
}

/// Whether the log is at least as long as the rows say: no frame is read.
pub(super) fn ends(blobs: &Path, meta: &Meta, found: &mut Findings) {
    if meta.end == Position::START {
        return;
    }
    match segment::list(blobs) {
        Ok(numbers) => {
            for number in (1..=meta.end.segment).filter(|number| numbers.binary_search(number).is_err()) {
                found.issue(codes::SEGMENT_MISSING, format!("segment {number}"));
            }
        }
        Err(error) => return unlisted(error, found),
    }
    match SegmentReader::open(blobs, meta.end.segment) {
        Ok(reader) => match reader.file_len() {
            Ok(len) if len >= meta.end.offset => {}
            Ok(len) => {
                let segment = meta.end.segment;
                let place = format!("segment {segment} has {len} bytes, the rows say {}", meta.end);
                found.issue(codes::LOG_SHORT, place);
            }
            Err(error) => found.unread(codes::LOG_SHORT, error.to_string(), error),
        },
        Err(SegmentError::Missing { .. }) => {}
        Err(error) => found.unread(codes::SEGMENT_DAMAGED, chain(&error), error),
    }
    found.count("commits", meta.tx.0);
}

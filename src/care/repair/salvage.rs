//! All that is whole in the segments, those set aside included: commits by number, payloads by hash.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::RepairError;
use crate::blob::{self, codec::Codec, pack};
use crate::journal::{Commit, TxHeader};
use crate::model::line::Item;
use crate::model::{Digest, Record, SessionId};
use crate::segment::{self, Frame, Kind, Piece, Position, ReadError, Salvage, SegmentError};

/// A frame in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// A commit found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) end: u64,
    pub(super) head: TxHeader,
    pub(super) digest: Digest,
    /// In the part of its segment that counts.
    pub(super) live: bool,
    /// Sessions of its events, with their first and last.
    pub(super) sessions: Vec<(SessionId, u64, u64)>,
}

/// Where a payload begins in a pack, and its size; none where its frame is its own.
type InPack = Option<(u32, u32)>;

fn cut(bytes: &[u8], start: u32, size: u32) -> Option<&[u8]> {
    bytes.get(start as usize..)?.get(..size as usize)
}

struct File {
    path: PathBuf,
    /// Of a segment in the log's own folder; none for one set aside.
    number: Option<u64>,
}

/// What is left.
pub(super) struct Sources {
    files: Vec<File>,
    open: RefCell<VecDeque<(usize, Rc<Salvage>)>>,
    last_pack: RefCell<Option<(Place, Rc<Pack>)>>,
    pub(super) commits: BTreeMap<u64, Vec<Found>>,
    payloads: HashMap<Digest, (Place, InPack)>,
    /// Segments of the log that are not whole in the part that counts.
    pub(super) dirty: Vec<u64>,
    /// Places that are damaged, for people.
    pub(super) damaged: Vec<String>,
}

/// Files held open at once.
const OPEN: usize = 32;

impl Sources {
    /// Reads every segment of the store: those of the log, then those set aside or in quarantine. `end` is where the rows say
    /// that the log ends.
    pub(super) fn read(root: &Path, end: Option<Position>) -> Result<Sources, RepairError> {
        let blobs = root.join("blobs");
        let io = |source| RepairError::Io { what: "the segments cannot be read".to_owned(), source: Box::new(source) };
        let numbers = segment::list(&blobs).map_err(io)?;
        let mut sources = Sources {
            files: Vec::new(),
            open: RefCell::default(),
            last_pack: RefCell::default(),
            commits: BTreeMap::new(),
            payloads: HashMap::new(),
            dirty: Vec::new(),
            damaged: Vec::new(),
        };
        let last = numbers.last().copied().unwrap_or(0).max(end.map_or(0, |end| end.segment));
        for number in 1..=last {
            if numbers.binary_search(&number).is_err() {
                sources.hurt(number, format!("segment {number} is missing"));
                continue;
            }
            let until = live_until(&blobs, number)?;
            let known = end.filter(|end| end.segment == number).map(|end| end.offset);
            let path = segment::segment_path(&blobs, number);
            sources.file(File { path, number: Some(number) }, until, known.or(until), number == last)?;
        }
        for path in set_aside(root).map_err(io)? {
            sources.file(File { path, number: None }, Some(0), None, false)?;
        }
        sources.dirty.dedup();
        Ok(sources)
    }

    fn hurt(&mut self, number: u64, what: String) {
        self.dirty.push(number);
        self.damaged.push(what);
    }

    /// Reads one file: `until` is where what counts of it ends, if that is known, `at_least` how far it must reach.
    fn file(&mut self, file: File, until: Option<u64>, at_least: Option<u64>, last: bool) -> Result<(), RepairError> {
        let (index, number) = (self.files.len(), file.number);
        let salvage = match Salvage::open(&file.path) {
            Ok(salvage) => salvage,
            Err(error @ SegmentError::Newer { .. }) => return Err(RepairError::Newer(error.to_string())),
            Err(error @ SegmentError::Io { .. }) => {
                return Err(RepairError::Io { what: "a segment cannot be read".to_owned(), source: Box::new(error) });
            }
            Err(error) => {
                if let Some(number) = number {
                    self.hurt(number, error.to_string());
                }
                return Ok(());
            }
        };
        self.files.push(file);
        if let Some(number) = number {
            match salvage.header() {
                Some(header) if header.number == number => {}
                Some(header) => self.hurt(number, format!("the file of segment {number} is segment {}", header.number)),
                None => self.hurt(number, format!("the header of segment {number}")),
            }
        }
        let mut group = Group::default();
        let whole = salvage.pieces(|piece| {
            match piece {
                Piece::Frame(offset, frame) => {
                    let place = Place { file: index, offset };
                    let live = number.is_some() && until.is_none_or(|until| offset < until);
                    self.frame(place, &frame, live, number, &mut group);
                }
                Piece::Damaged(from, to) => {
                    group = Group { broken: true, end: to, ..Group::default() };
                    // Bytes at the end of the last segment that nothing follows are a tear, as a dead writer leaves it.
                    let counts = until.is_none_or(|until| from < until);
                    let beyond = at_least.is_none_or(|known| from >= known);
                    let torn = last && beyond && until.is_none() && to >= length(&salvage);
                    if let Some(number) = number.filter(|_| counts && !torn) {
                        self.hurt(number, format!("bytes {from} to {to} of segment {number}"));
                    }
                }
            }
            Ok::<(), ReadError>(())
        });
        whole.map_err(|error| RepairError::Io {
            what: "a segment cannot be read".to_owned(),
            source: Box::new(error),
        })?;
        // Live frames that are not there at all: cut off, or zeros in their place.
        if let (Some(number), Some(known)) = (number, at_least)
            && group.end < known
            && known > segment::SEGMENT_HEADER_LEN
            && !self.dirty.contains(&number)
        {
            self.hurt(number, format!("segment {number} ends before {known}"));
        }
        Ok(())
    }

    fn frame(&mut self, place: Place, frame: &Frame, live: bool, number: Option<u64>, group: &mut Group) {
        if frame.header.group != group.group {
            let broken = group.broken && group.group == 0;
            *group = Group { group: frame.header.group, broken, ..Group::default() };
        }
        group.end = place.offset + frame.header.frame_len();
        match frame.header.kind {
            Kind::Payload => {
                if frame.header.codec == Codec::PACK.0 {
                    let (bytes, directory) = (pack::unpack(&frame.body), pack::directory(&frame.body));
                    for (start, size) in directory.unwrap_or_default() {
                        let cut = bytes.as_ref().ok().and_then(|bytes| cut(bytes, start, size));
                        let hash = cut.map(Digest::of);
                        if let Some(hash) = hash {
                            self.payloads.entry(hash).or_insert((place, Some((start, size))));
                        }
                        group.payloads.push_back((hash, false));
                    }
                    return;
                }
                let bytes = blob::codec::decode(Codec(frame.header.codec), &frame.body, blob::PART).ok();
                let hash = bytes.map(|bytes| Digest::of(&bytes));
                if let Some(hash) = hash {
                    self.payloads.entry(hash).or_insert((place, None));
                }
                group.payloads.push_back((hash, frame.header.codec == Codec::LOST.0));
            }
            Kind::Commit => match Commit::decode(&frame.body) {
                Ok(commit) => {
                    let mut sessions: Vec<(SessionId, u64, u64)> = Vec::new();
                    let mut in_order = true;
                    for line in &commit.lines {
                        match &line.item {
                            Item::Event(event) => match sessions.iter_mut().find(|(id, ..)| *id == event.session) {
                                Some(run) => run.2 = event.number.0,
                                None => sessions.push((event.session.clone(), event.number.0, event.number.0)),
                            },
                            Item::Record(
                                Record::PayloadAdded { hash, parts: None, .. } | Record::PayloadPart { hash, .. },
                            ) => {
                                in_order &= match group.payloads.pop_front() {
                                    Some((found, lost)) => found == Some(*hash) || lost,
                                    None => false,
                                };
                            }
                            _ => {}
                        }
                    }
                    if let Some(number) = number.filter(|_| live && !in_order && !group.broken) {
                        self.hurt(number, format!("the payloads of commit {} in segment {number}", commit.head.tx));
                    }
                    let (head, digest, end) = (commit.head.clone(), commit.digest(), group.end);
                    let tx = head.tx.0;
                    self.commits.entry(tx).or_default().push(Found { place, end, head, digest, live, sessions });
                }
                Err(error) => {
                    if let Some(number) = number.filter(|_| live) {
                        let why = crate::store::error::chain(&error);
                        self.hurt(number, format!("the commit at {number}:{}: {why}", place.offset));
                    }
                }
            },
        }
    }

    /// The segment of the log that a file is; none for one set aside.
    pub(super) fn number(&self, place: Place) -> Option<u64> {
        self.files.get(place.file).and_then(|file| file.number)
    }

    /// The frame at a place that was found before.
    pub(super) fn read_frame(&self, place: Place) -> Result<Frame, RepairError> {
        let io = |source: Box<dyn std::error::Error + Send + Sync>| RepairError::Io {
            what: "a frame that was just found cannot be read again".to_owned(),
            source,
        };
        let mut open = self.open.borrow_mut();
        let salvage = match open.iter().find(|(file, _)| *file == place.file) {
            Some((_, salvage)) => Rc::clone(salvage),
            None => {
                let file = self.files.get(place.file).ok_or_else(|| io("no such file".into()))?;
                let salvage = Rc::new(Salvage::open(&file.path).map_err(|error| io(Box::new(error)))?);
                open.truncate(OPEN - 1);
                open.push_front((place.file, Rc::clone(&salvage)));
                salvage
            }
        };
        salvage.read_frame(place.offset).map_err(|error| io(Box::new(error)))
    }

    /// Whether a payload's bytes are somewhere.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.payloads.contains_key(digest)
    }

    /// A payload's bytes.
    pub(super) fn bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, RepairError> {
        let Some((place, in_pack)) = self.payloads.get(digest) else { return Ok(None) };
        let again = || RepairError::Inside("a payload that was just read cannot be read again".to_owned());
        match *in_pack {
            Some((start, size)) => {
                let pack = self.pack(*place)?;
                Ok(Some(cut(&pack.bytes, start, size).ok_or_else(again)?.to_vec()))
            }
            None => {
                let frame = self.read_frame(*place)?;
                let bytes = blob::codec::decode(Codec(frame.header.codec), &frame.body, blob::PART);
                Ok(Some(bytes.map_err(|_| again())?))
            }
        }
    }

    /// Whether a payload is in a pack.
    pub(super) fn is_packed(&self, digest: &Digest) -> bool {
        self.payloads.get(digest).is_some_and(|(_, in_pack)| in_pack.is_some())
    }

    /// The codec and body of a payload's frame, of one that is in no pack.
    pub(super) fn frame_of(&self, digest: &Digest) -> Result<Option<(Codec, Vec<u8>)>, RepairError> {
        let Some((place, None)) = self.payloads.get(digest) else { return Ok(None) };
        let frame = self.read_frame(*place)?;
        Ok(Some((Codec(frame.header.codec), frame.body)))
    }

    /// The body of the pack that holds the first of `wanted`, and those behind it, and nothing else; and how many these are.
    pub(super) fn whole_pack(&self, wanted: &[Digest]) -> Result<Option<(Vec<u8>, usize)>, RepairError> {
        let Some((place, Some((0, _)))) = wanted.first().and_then(|first| self.payloads.get(first)) else {
            return Ok(None);
        };
        let pack = self.pack(*place)?;
        let count = pack.directory.len();
        let is_whole = wanted.len() >= count
            && wanted
                .iter()
                .zip(&pack.directory)
                .all(|(hash, at)| self.payloads.get(hash) == Some(&(*place, Some(*at))));
        Ok(is_whole.then(|| (pack.body.clone(), count)))
    }

    /// The pack at a place, which neighbours ask for one after the other.
    fn pack(&self, place: Place) -> Result<Rc<Pack>, RepairError> {
        let mut last = self.last_pack.borrow_mut();
        if let Some((_, pack)) = last.as_ref().filter(|(of, _)| *of == place) {
            return Ok(Rc::clone(pack));
        }
        let body = self.read_frame(place)?.body;
        let read = pack::unpack(&body).and_then(|bytes| Ok((bytes, pack::directory(&body)?)));
        let (bytes, directory) =
            read.map_err(|_| RepairError::Inside("a pack that was just read cannot be read again".to_owned()))?;
        let pack = Rc::new(Pack { body, bytes, directory });
        *last = Some((place, Rc::clone(&pack)));
        Ok(pack)
    }
}

/// A pack, taken apart.
struct Pack {
    body: Vec<u8>,
    bytes: Vec<u8>,
    directory: Vec<(u32, u32)>,
}

/// The group of frames being read: payloads that no commit took yet.
#[derive(Default)]
struct Group {
    group: u64,
    payloads: VecDeque<(Option<Digest>, bool)>,
    /// Something before is missing: what belongs to whom cannot be told by order.
    broken: bool,
    end: u64,
}

fn length(salvage: &Salvage) -> u64 {
    salvage.file_len().unwrap_or(u64::MAX)
}

/// Where the live frames of a segment end, as far as the next segment's header tells.
fn live_until(blobs: &Path, number: u64) -> Result<Option<u64>, RepairError> {
    let next = match Salvage::open(&segment::segment_path(blobs, number + 1)) {
        Ok(next) => next,
        Err(error @ SegmentError::Io { .. }) => {
            return Err(RepairError::Io { what: "a segment cannot be read".to_owned(), source: Box::new(error) });
        }
        Err(_) => return Ok(None),
    };
    let end = next.header().map(|header| header.predecessor_end).filter(|end| end.segment == number);
    Ok(end.map(|end| end.offset))
}

/// Segments that openings and repairs moved out of the way, in the order of their names.
fn set_aside(root: &Path) -> io::Result<Vec<PathBuf>> {
    let absent = |error: &io::Error| [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind());
    let mut found = Vec::new();
    for folder in ["set-aside", "quarantine"] {
        let entries = match fs::read_dir(root.join(folder)) {
            Err(error) if absent(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let folder = entry?.path();
            for below in [folder.join("blobs"), folder] {
                let numbers = match segment::list(&below) {
                    Err(error) if absent(&error) => continue,
                    numbers => numbers?,
                };
                found.extend(numbers.into_iter().map(|number| segment::segment_path(&below, number)));
            }
        }
    }
    found.sort();
    Ok(found)
}

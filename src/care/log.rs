//! The log by itself: every frame, every payload against its digest, the chain of commits, the roots.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;

use super::check::{CheckError, FROM_BACKUP, FROM_LOG, Findings, Looked};
use crate::blob;
use crate::journal::{self, ReplayError};
use crate::model::line::Item;
use crate::model::{Body, Digest, HeadId, Record, Root, SessionId, Tx};
use crate::progress::Observer;
use crate::segment::{self, End, Position, Readers, Reading, SegmentReader};
use crate::store::level::Meta;

/// Goes through all frames up to where the rows end (or the log, without rows). False if a commit could not be read:
/// rows cannot be made from such a log.
pub(super) fn go_through(blobs: &Path, meta: Option<&Meta>, observer: &Observer, found: &mut Findings) -> bool {
    let before = found.issues.len();
    let numbers = match segment::list(blobs) {
        Ok(numbers) => numbers,
        Err(error) => {
            found.issue("log-unreadable", error.to_string(), "look at the permissions of the folder blobs");
            return false;
        }
    };
    let readers = Readers::new(blobs);
    let reading = Reading::new(observer, "reading the log", blobs, &numbers, meta.map(|meta| meta.end));
    let mut walk = Walk {
        readers: &readers,
        reading,
        found,
        last: Tx(0),
        digest: Digest::ZERO,
        sessions: HashMap::new(),
        sound: true,
    };
    for (at, number) in numbers.iter().copied().enumerate() {
        if meta.is_some_and(|meta| number > meta.end.segment) {
            // Beyond the rows' end: a live writer's, or a dead one's that the next opening adopts.
            break;
        }
        let expected = at as u64 + 1;
        if number != expected {
            walk.found.issue("segment-missing", format!("segment {expected}"), FROM_BACKUP);
            return false;
        }
        let takes_over =
            numbers.get(at + 1).map(|next| SegmentReader::open(blobs, *next).map(|r| r.header().predecessor_end));
        let until = match takes_over {
            _ if meta.is_some_and(|meta| meta.end.segment == number) => meta.map(|meta| meta.end.offset),
            Some(Ok(end)) if end.segment == number => Some(end.offset),
            Some(Ok(end)) => {
                walk.found.issue("segment-chain", format!("segment {} begins after {end}", number + 1), FROM_BACKUP);
                return false;
            }
            Some(Err(error)) => {
                walk.found.issue("segment-damaged", crate::store::error::chain(&error), FROM_BACKUP);
                return false;
            }
            None => None,
        };
        walk.segment(blobs, number, until, numbers.len() == at + 1 && meta.is_none());
    }
    let (last, sound) = (walk.last, walk.sound);
    found.count("segments", numbers.len() as u64);
    if let Some(meta) = meta
        && last < meta.tx
        && found.issues.len() == before
    {
        found.issue("log-short", format!("the log holds {last} commits, the rows {}", meta.tx), FROM_BACKUP);
        return false;
    }
    sound
}

struct Walk<'a> {
    readers: &'a Readers,
    reading: Reading<'a>,
    found: &'a mut Findings,
    last: Tx,
    digest: Digest,
    sessions: HashMap<SessionId, (u64, Digest)>,
    sound: bool,
}

impl Walk<'_> {
    fn segment(&mut self, blobs: &Path, number: u64, until: Option<u64>, may_be_torn: bool) {
        let reader = match SegmentReader::open(blobs, number) {
            Ok(reader) => reader,
            Err(error) => {
                self.sound = false;
                return self.found.issue("segment-damaged", crate::store::error::chain(&error), FROM_BACKUP);
            }
        };
        let ended = journal::replay(&reader, 0, until, |commit| {
            self.commit(&commit);
            self.reading.reached(commit.end);
            Ok::<(), ReplayError>(())
        });
        match ended {
            Ok(ended) => {
                let (at, whole) = match ended.end {
                    End::Until(at) => (at, true),
                    End::Zeros(at) | End::Eof(at) => (at, until.is_none()),
                    End::Bad { offset, .. } => (offset, may_be_torn),
                };
                if !whole {
                    self.sound = false;
                    self.found.issue("frame-damaged", Position::new(number, at).to_string(), FROM_BACKUP);
                }
            }
            Err(error) => {
                self.sound = false;
                self.found.issue("frame-damaged", crate::store::error::chain(&error), FROM_BACKUP);
            }
        }
        if let (Some(until), Ok(len)) = (until, reader.file_len())
            && let Ok(Some(_)) = reader.first_nonzero_after(until)
        {
            self.found.count("superseded-bytes", len.saturating_sub(until));
        }
    }

    fn commit(&mut self, found: &journal::Replayed) {
        let (at, head) = (found.frame.at, &found.commit.head);
        if head.tx != self.last.next() || head.previous != self.digest {
            self.sound = false;
            let place = format!("commit {} at {at} does not follow commit {}", head.tx, self.last);
            self.found.issue("commit-chain", place, FROM_BACKUP);
        }
        (self.last, self.digest) = (head.tx, found.commit.digest());
        self.found.count("commits", 1);
        let mut frames = found.payloads.iter();
        let mut roots: HashMap<Digest, Vec<u8>> = HashMap::new();
        for line in &found.commit.lines {
            match &line.item {
                Item::Record(
                    Record::PayloadAdded { hash, size, parts: None, .. } | Record::PayloadPart { hash, size },
                ) => {
                    let Some(frame) = frames.next() else { continue };
                    match blob::read(self.readers, frame.at, frame.header.body_len, *size, hash) {
                        Ok(bytes) if bytes.len() as u64 == *size => {
                            self.found.count("payloads-read", 1);
                            if bytes.len() < 65_536 && bytes.starts_with(b"{\"basis\":") {
                                roots.insert(*hash, bytes);
                            }
                        }
                        Ok(_) => self.found.issue("payload-damaged", format!("{hash} at {}", frame.at), FROM_BACKUP),
                        Err(error) => {
                            let why = crate::store::error::chain(&error);
                            self.found.issue("payload-damaged", format!("{hash} at {}: {why}", frame.at), FROM_BACKUP);
                        }
                    }
                }
                Item::Event(event) => {
                    let (number, chain) = self.sessions.entry(event.session.clone()).or_insert((0, Digest::ZERO));
                    if event.number.0 != number.saturating_add(1) {
                        let place = format!("event {} of {} follows {number}", event.number, event.session);
                        self.found.issue("event-order", place, FROM_BACKUP);
                    }
                    if let Body::HeadCreated(head) = &event.body {
                        let root =
                            roots.get(head.digest()).and_then(|bytes| serde_json::from_slice::<Root>(bytes).ok());
                        let holds = root.is_some_and(|root| root.digest == *chain && root.span.1.0 == *number);
                        if !holds {
                            self.found.issue("head-root", head.to_string(), FROM_BACKUP);
                        }
                        self.found.count("roots", 1);
                    }
                    (*number, *chain) = (event.number.0, chain.chain(line.digest));
                }
                _ => {}
            }
        }
    }
}

/// Whether the log is at least as long as the rows say: no frame is read.
pub(super) fn ends(blobs: &Path, meta: &Meta, found: &mut Findings) {
    if meta.end == Position::START {
        return;
    }
    let short = |found: &mut Findings, why: String| found.issue("log-short", why, FROM_BACKUP);
    match SegmentReader::open(blobs, meta.end.segment) {
        Ok(reader) => match reader.file_len() {
            Ok(len) if len >= meta.end.offset => {}
            Ok(len) => short(found, format!("segment {} has {len} bytes, the rows say {}", meta.end.segment, meta.end)),
            Err(error) => short(found, error.to_string()),
        },
        Err(error) => short(found, crate::store::error::chain(&error)),
    }
    found.count("commits", meta.tx.0);
}

/// Proves one head: its root and those above it by hash, the events in its spans by the digest chain, its payloads.
pub(super) fn head(
    conn: &Connection,
    blobs: &Path,
    meta: &Meta,
    head: &HeadId,
    found: &mut Findings,
) -> Result<(), Looked> {
    let readers = Readers::new(blobs);
    // Session, boundary and digest that each root on the way claims.
    let mut claims: HashMap<SessionId, Vec<(u64, Digest, HeadId)>> = HashMap::new();
    let mut next = Some(*head);
    while let Some(head) = next.take() {
        let Some(place) = crate::sqlite::apply::find_blob(conn, head.digest())? else {
            if claims.is_empty() {
                return Err(Looked::Check(CheckError::NoHead(head)));
            }
            found.issue("head-up", head.to_string(), FROM_LOG);
            break;
        };
        let Some(at) = place.at else {
            found.issue("head-root", head.to_string(), FROM_BACKUP);
            break;
        };
        let stored = u32::try_from(place.stored).unwrap_or(0);
        let root = blob::read(&readers, at, stored, place.size, head.digest())
            .map_err(|error| crate::store::error::chain(&error))
            .and_then(|bytes| serde_json::from_slice::<Root>(&bytes).map_err(|error| error.to_string()));
        match root {
            Ok(root) => {
                found.count("roots", 1);
                claims.entry(root.session).or_default().push((root.span.1.0, root.digest, head));
                next = root.up;
            }
            Err(why) => found.issue("head-root", format!("{head}: {why}"), FROM_BACKUP),
        }
    }
    let mut chains: HashMap<SessionId, (u64, Digest)> = HashMap::new();
    for number in 1..=meta.end.segment {
        let until = match number == meta.end.segment {
            true => Some(meta.end.offset),
            false => SegmentReader::open(blobs, number + 1).ok().map(|reader| reader.header().predecessor_end.offset),
        };
        let reader = match SegmentReader::open(blobs, number) {
            Ok(reader) => reader,
            Err(error) => {
                found.issue("segment-damaged", crate::store::error::chain(&error), FROM_BACKUP);
                continue;
            }
        };
        let walked = journal::replay(&reader, 0, until, |commit| {
            for line in &commit.commit.lines {
                let Item::Event(event) = &line.item else { continue };
                let Some(wanted) = claims.get_mut(&event.session) else { continue };
                let (number, chain) = chains.entry(event.session.clone()).or_insert((0, Digest::ZERO));
                (*number, *chain) = (event.number.0, chain.chain(line.digest));
                found.count("events", 1);
                wanted.retain(|(boundary, digest, _)| boundary != number || digest != chain);
            }
            Ok::<(), ReplayError>(())
        });
        if let Err(error) = walked {
            found.issue("frame-damaged", crate::store::error::chain(&error), FROM_BACKUP);
        }
    }
    for (boundary, _, head) in claims.into_values().flatten() {
        found.issue(
            "head-digest",
            format!("{head}: the events up to {boundary} are not those it was sealed over"),
            FROM_BACKUP,
        );
    }
    Ok(())
}

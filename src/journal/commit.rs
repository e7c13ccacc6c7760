//! The body of a commit frame: a fixed head, then the batch's lines, compressed.
//!
//! ```text
//! 0   u16  version of this form
//! 2   u8   codec of the lines
//! 3   u8   1 when the first line is the batch's key
//! 4   u32  bytes of the lines before compression
//! 8   u64  tx
//! 16  i64  time, microseconds since 1970
//! 24  32   digest of commit tx-1
//! 56  …    the lines, joined by newlines
//! ```

use serde::{Deserialize, Serialize};

use super::columns;
use crate::blob::codec::{self, Class, Codec, CodecError};
use crate::model::line::{self, BadLine, Item};
use crate::model::{Digest, Event, EventNumber, Record, SessionId, Timestamp, Tx};

/// The version of this form: from 2 on lines may be in columns, and payloads in packs.
pub const VERSION: u16 = 2;
/// The greatest size of a batch's lines, uncompressed.
pub const LINE_LIMIT: usize = 256 << 20;
/// Bytes of a commit's head.
pub const HEAD: usize = 56;
/// Lines of fewer bytes have too little in common to be taken apart.
const IN_COLUMNS: usize = 4 << 10;

/// A commit that cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is")]
pub enum BadCommit {
    #[error("the commit frame is too short")]
    Short,
    #[error("the commit has form {0}, which is newer than this version reads")]
    Newer(u16),
    #[error("the commit's lines cannot be decompressed")]
    Codec(#[source] CodecError),
    #[error(transparent)]
    Line(BadLine),
    #[error("the commit's time is out of range")]
    Time,
    #[error("the commit's head is malformed")]
    Head,
}

/// The key under which a caller can retry a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchKey {
    /// The key, unique in its session.
    #[serde(rename = "batch/key")]
    pub key: String,
    /// The session.
    #[serde(rename = "batch/session")]
    pub session: SessionId,
    /// A digest of what the caller gave, which tells a retry from other content.
    #[serde(rename = "batch/content")]
    pub content: Digest,
    /// The first event of the batch.
    #[serde(rename = "batch/first-event")]
    pub first_event: EventNumber,
    /// How many events of the session it holds.
    #[serde(rename = "batch/events")]
    pub events: u64,
}

/// One line: what it says, its bytes' digest.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it says.
    pub item: Item,
    /// BLAKE3 of its bytes: what session digests and commit digests are made of.
    pub digest: Digest,
}

/// The lines of a batch, ready for a frame: everything of a commit but its place in the journal.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// The lines but the key.
    pub lines: Vec<Line>,
    /// The key.
    pub key: Option<BatchKey>,
    text: Vec<u8>,
    packed: Vec<u8>,
    codec: u8,
}

impl Lines {
    /// Adds the line of an event; returns its digest.
    pub fn push_event(&mut self, event: &Event) -> Digest {
        let digest = self.write(&line::encode_event(event));
        self.lines.push(Line { item: Item::Event(Box::new(event.clone())), digest });
        digest
    }

    /// Adds the line of a store record.
    pub fn push_record(&mut self, record: Record) {
        let digest = self.write(&line::encode_record(&record));
        self.lines.push(Line { item: Item::Record(record), digest });
    }

    /// Adds a line as it stands; returns its digest.
    pub fn push_text(&mut self, text: &[u8]) -> Result<Digest, BadCommit> {
        let item = line::decode(text).map_err(BadCommit::Line)?;
        let digest = self.write(text);
        self.lines.push(Line { item, digest });
        Ok(digest)
    }

    /// The text of each line but the key's, before [`Lines::pack`].
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        texts(&self.text)
    }

    /// Adds the lines of `more` behind these. The key is this one's.
    pub fn append(&mut self, more: Lines) {
        if self.lines.is_empty() {
            (self.lines, self.text) = (more.lines, more.text);
            return;
        }
        if !more.text.is_empty() {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(&more.text);
        self.lines.extend(more.lines);
    }

    fn write(&mut self, bytes: &[u8]) -> Digest {
        if !self.text.is_empty() {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(bytes);
        Digest::of(bytes)
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The bytes of the lines so far, uncompressed.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Compresses the lines: the part of a commit's work that needs no lock.
    pub fn pack(&mut self) {
        if let Some(key) = &self.key {
            let mut first = key_line(key);
            first.push(b'\n');
            first.append(&mut self.text);
            self.text = first;
        }
        let columns = if self.text.len() > IN_COLUMNS { columns::encode(&self.text) } else { None };
        (self.codec, self.packed) = match columns {
            Some(packed) => (Codec::COLUMNS.0, packed),
            None => {
                let (codec, packed) = codec::encode(&self.text, Class::Lines);
                (codec.0, packed.into_owned())
            }
        };
    }

    /// The length of the frame's body.
    pub fn body_len(&self) -> usize {
        HEAD + self.packed.len()
    }

    /// The frame's body, once its place in the journal is known.
    pub fn body(&self, head: &TxHeader) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body_len());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.push(self.codec);
        out.push(u8::from(self.key.is_some()));
        out.extend_from_slice(&u32::try_from(self.text.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&head.tx.0.to_le_bytes());
        out.extend_from_slice(&head.at.micros().to_le_bytes());
        out.extend_from_slice(&head.previous.0);
        out.extend_from_slice(&self.packed);
        out
    }

    /// The digest of the commit that puts these lines at `head`: the next one's `previous`.
    pub fn digest(&self, head: &TxHeader) -> Digest {
        digest(head, self.key.as_ref(), &self.lines)
    }
}

fn key_line(key: &BatchKey) -> Vec<u8> {
    serde_json::to_vec(key).unwrap_or_default()
}

impl TxHeader {
    /// The digest of the commit that puts lines with these digests here.
    pub fn digest_of<'a>(&self, key: Option<&BatchKey>, lines: impl Iterator<Item = &'a Digest>) -> Digest {
        digest_of(self, key, lines)
    }
}

fn digest(head: &TxHeader, key: Option<&BatchKey>, lines: &[Line]) -> Digest {
    digest_of(head, key, lines.iter().map(|line| &line.digest))
}

/// BLAKE3 over tx, time, previous digest, the key line with its length, and the digest of each line.
fn digest_of<'a>(head: &TxHeader, key: Option<&BatchKey>, lines: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head.tx.0.to_le_bytes());
    hasher.update(&head.at.micros().to_le_bytes());
    hasher.update(&head.previous.0);
    let key = key.map(key_line).unwrap_or_default();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(&key);
    for line in lines {
        hasher.update(&line.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// A commit's place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxHeader {
    /// Its number.
    pub tx: Tx,
    /// When.
    pub at: Timestamp,
    /// The digest of commit tx-1; zero before the first.
    pub previous: Digest,
}

/// A commit as read from the log.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its place in the journal.
    pub head: TxHeader,
    /// Its key.
    pub key: Option<BatchKey>,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Commit {
    /// Reads the body of a commit frame.
    pub fn decode(body: &[u8]) -> Result<Commit, BadCommit> {
        let opened = open(body)?;
        let lines = texts(&opened.text)
            .map(|bytes| Ok(Line { item: line::decode(bytes).map_err(BadCommit::Line)?, digest: Digest::of(bytes) }))
            .collect::<Result<Vec<Line>, BadCommit>>()?;
        Ok(Commit { head: opened.head, key: opened.key, lines })
    }

    /// The lines of a commit frame's body as they stand, ready to be put at another place in the journal.
    pub fn lines(body: &[u8]) -> Result<Lines, BadCommit> {
        let opened = open(body)?;
        let mut lines = Lines::default();
        for text in texts(&opened.text) {
            lines.push_text(text)?;
        }
        lines.key = opened.key;
        Ok(lines)
    }

    /// The digest of this commit: the next one's `previous`.
    pub fn digest(&self) -> Digest {
        digest(&self.head, self.key.as_ref(), &self.lines)
    }

    /// Place and digest of the commit in a frame's body, whose lines are not read.
    pub fn sealed(body: &[u8]) -> Result<(TxHeader, Digest), BadCommit> {
        let Opened { head, key, text } = open(body)?;
        let lines: Vec<Digest> = texts(&text).map(Digest::of).collect();
        let digest = digest_of(&head, key.as_ref(), lines.iter());
        Ok((head, digest))
    }

    /// How many payload frames of its group are this commit's.
    pub fn payload_frames(&self) -> usize {
        self.lines.iter().filter(|line| takes_frame(&line.item)).count()
    }
}

/// Whether a line's payload is the next payload frame of the group.
pub fn takes_frame(item: &Item) -> bool {
    matches!(item, Item::Record(Record::PayloadAdded { parts: None, .. }) | Item::Record(Record::PayloadPart { .. }))
}

/// A body, decompressed.
struct Opened {
    head: TxHeader,
    key: Option<BatchKey>,
    /// The lines but the key's.
    text: Vec<u8>,
}

fn texts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

impl TxHeader {
    /// Reads the head of a commit frame's body.
    pub fn decode(head: &[u8; HEAD]) -> Result<TxHeader, BadCommit> {
        let version = u16::from_le_bytes([head[0], head[1]]);
        if version > VERSION {
            return Err(BadCommit::Newer(version));
        }
        let eight = |at: usize| <[u8; 8]>::try_from(&head[at..at + 8]).unwrap_or_default();
        if version == 0 {
            return Err(BadCommit::Head);
        }
        Ok(TxHeader {
            tx: Tx(u64::from_le_bytes(eight(8))),
            at: Timestamp::from_micros(i64::from_le_bytes(eight(16))).ok_or(BadCommit::Time)?,
            previous: Digest::from_slice(&head[24..]).ok_or(BadCommit::Short)?,
        })
    }
}

fn open(body: &[u8]) -> Result<Opened, BadCommit> {
    let bytes: &[u8; HEAD] = body.first_chunk().ok_or(BadCommit::Short)?;
    let head = TxHeader::decode(bytes)?;
    let (codec, has_key) = (Codec(bytes[2]), bytes[3]);
    let raw = usize::try_from(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])).unwrap_or(usize::MAX);
    if has_key > 1 || raw > LINE_LIMIT {
        return Err(BadCommit::Head);
    }
    let mut text = match codec {
        Codec::COLUMNS => columns::decode(&body[HEAD..], raw),
        codec => codec::decode(codec, &body[HEAD..], raw),
    }
    .map_err(BadCommit::Codec)?;
    if text.len() != raw {
        return Err(BadCommit::Head);
    }
    let mut key = None;
    if has_key == 1 {
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        key = Some(serde_json::from_slice(&text[..end]).map_err(|error| BadCommit::Line(BadLine::from(error)))?);
        text.drain(..text.len().min(end + 1));
    }
    Ok(Opened { head, key, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Status, session::SessionStatus};

    fn lines(keyed: bool) -> Lines {
        let mut lines = Lines::default();
        for n in 1..4 {
            lines.push_event(&Event {
                session: "demo".parse().unwrap(),
                number: EventNumber(n),
                at: Timestamp::default(),
                body: Body::SessionStatus(SessionStatus { status: Status::RUNNING, ended_at: None, payload: None }),
            });
        }
        lines.push_record(Record::PayloadAdded { hash: Digest::ZERO, size: 3, media: None, parts: None });
        lines.key = keyed.then(|| BatchKey {
            key: "a\nb".into(),
            session: "demo".parse().unwrap(),
            content: Digest::ZERO,
            first_event: EventNumber(1),
            events: 3,
        });
        lines.pack();
        lines
    }

    #[test]
    fn a_commit_reads_back_as_it_was_written() {
        for keyed in [false, true] {
            let lines = lines(keyed);
            let head = TxHeader { tx: Tx(7), at: Timestamp::default(), previous: Digest::of(b"6") };
            let commit = Commit::decode(&lines.body(&head)).unwrap();
            let mut older = lines.body(&head);
            older[..2].copy_from_slice(&1_u16.to_le_bytes());
            assert_eq!(Commit::decode(&older).unwrap().digest(), commit.digest());
            assert_eq!((&commit.head, &commit.key), (&head, &lines.key));
            assert_eq!(commit.digest(), lines.digest(&head));
            assert_eq!(commit.payload_frames(), 1);
            let items = |lines: &[Line]| lines.iter().map(|l| l.item.clone()).collect::<Vec<_>>();
            assert_eq!(items(&commit.lines), items(&lines.lines));
        }
    }

    #[test]
    fn a_short_or_newer_commit_is_an_error() {
        let body = lines(false).body(&TxHeader { tx: Tx(1), at: Timestamp::default(), previous: Digest::ZERO });
        for cut in 0..body.len() {
            assert!(Commit::decode(&body[..cut]).is_err(), "cut at {cut}");
        }
        let mut newer = body;
        newer[0] = 9;
        assert!(matches!(Commit::decode(&newer), Err(BadCommit::Newer(9))));
    }
}

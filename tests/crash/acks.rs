//! What a child notes outside of the store, a line for each thing that was acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write};
use std::path::Path;
use std::str::FromStr;

use headwater::model::{Digest, HeadId, SessionId};

/// One thing that was acknowledged, or that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// A batch: its session, name, first event, number of marks, and the payload that all of them carry.
    Batch { session: SessionId, name: String, first: u64, marks: u64, payload: Digest },
    /// A session holds at least so many events.
    Events { session: SessionId, events: u64 },
    /// A head, and the digest of what was read at it.
    Head { session: SessionId, head: HeadId, seen: Digest },
    /// A payload, and its length.
    Payload { digest: Digest, len: u64 },
    /// A commit of unknown outcome.
    Unknown { session: SessionId, first: u64, digest: Digest, name: String },
    /// Something failed: where, and the kind of error.
    Failed { what: String, kind: String },
    /// How long a commit took, in microseconds.
    Took { micros: u64 },
    /// A copy is being made in the folder that the store is in: it holds what was acknowledged so far.
    Copying { name: String },
    /// It was made.
    Copied { name: String },
    /// The child came to its end.
    Done,
}

/// The file of the notes.
pub struct Acks(File);

impl Acks {
    pub fn open(path: &Path) -> Acks {
        Acks(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    /// One write, so that lines of several processes and threads stay whole.
    pub fn note(&self, ack: &Ack) {
        let line = match ack {
            Ack::Batch { session, name, first, marks, payload } => {
                format!("batch {session} {name} {first} {marks} {payload}\n")
            }
            Ack::Events { session, events } => format!("events {session} {events}\n"),
            Ack::Head { session, head, seen } => format!("head {session} {head} {seen}\n"),
            Ack::Payload { digest, len } => format!("payload {digest} {len}\n"),
            Ack::Unknown { session, first, digest, name } => format!("unknown {session} {first} {digest} {name}\n"),
            Ack::Failed { what, kind } => format!("failed {what} {}\n", kind.replace(char::is_whitespace, "_")),
            Ack::Took { micros } => format!("took {micros}\n"),
            Ack::Copying { name } => format!("copying {name}\n"),
            Ack::Copied { name } => format!("copied {name}\n"),
            Ack::Done => "done\n".to_owned(),
        };
        // Not by `write`, so that tampering with that call leaves the notes alone.
        let written = (&self.0).write_vectored(&[IoSlice::new(line.as_bytes())]).unwrap();
        assert_eq!(written, line.len(), "a note was cut short");
    }
}

/// All notes; a last line that was cut short was not acknowledged.
pub fn read(path: &Path) -> Vec<Ack> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parse).collect()
}

/// One line.
pub fn parse(line: &str) -> Ack {
    let words: Vec<&str> = line.split_whitespace().collect();
    fn word<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }
    match words[..] {
        ["batch", session, name, first, marks, payload] => Ack::Batch {
            session: word(session),
            name: name.to_owned(),
            first: word(first),
            marks: word(marks),
            payload: word(payload),
        },
        ["events", session, events] => Ack::Events { session: word(session), events: word(events) },
        ["head", session, head, seen] => Ack::Head { session: word(session), head: word(head), seen: word(seen) },
        ["payload", digest, len] => Ack::Payload { digest: word(digest), len: word(len) },
        ["unknown", session, first, digest, name] => {
            Ack::Unknown { session: word(session), first: word(first), digest: word(digest), name: name.to_owned() }
        }
        ["failed", what, kind] => Ack::Failed { what: what.to_owned(), kind: kind.to_owned() },
        ["took", micros] => Ack::Took { micros: word(micros) },
        ["copying", name] => Ack::Copying { name: name.to_owned() },
        ["copied", name] => Ack::Copied { name: name.to_owned() },
        ["done"] => Ack::Done,
        _ => panic!("a note that nobody writes: {line:?}"),
    }
}

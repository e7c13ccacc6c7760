//! The source, kept. What a batch imported is kept as one annotation whose payload holds the source's own bytes, with
//! those parts cut out that a row's payload holds: nothing is stored twice, and every record can be written again byte
//! for byte. The same payload says how far the import came, so that the next one goes on from there.

use std::collections::HashMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::source::Position;
use super::{Diagnostic, ImportError};
use crate::model::{Body, Digest, EvalNumber, EventNumber, MessageNumber, SessionId};
use crate::store::Store;
use crate::store::error::ReadError;

/// The annotation's type.
pub const KIND: &str = "import/source";

/// The first line of the payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Progress<S> {
    /// The format's name.
    pub format: String,
    /// The version of this form.
    pub version: u32,
    /// How many records were imported, those of earlier batches included.
    pub records: u64,
    /// How many bytes of the source, and line ends in them.
    pub bytes: u64,
    /// Line ends in those bytes.
    pub lines: u64,
    /// BLAKE3 of those bytes.
    pub hash: Digest,
    /// The annotation of the batch before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<EventNumber>,
    /// How many events follow the annotation in its commit.
    pub tail: u64,
    /// What was odd in the batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// How many diagnostics the batches before have.
    #[serde(default)]
    pub diagnostics_before: u64,
    /// What the format must remember.
    pub state: S,
}

impl<S> Progress<S> {
    /// The place it tells of.
    pub fn position(&self) -> Position {
        Position { bytes: self.bytes, lines: self.lines, hash: self.hash }
    }
}

/// A row's payload that stands for a part of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hole {
    /// A message's content, as a JSON string.
    Text(MessageNumber),
    /// A message's content as it is.
    Content(MessageNumber),
    /// An eval's code, as a JSON string.
    CodeText(EvalNumber),
    /// An eval's code as it is.
    Code(EvalNumber),
    /// An annotation's payload as it is.
    Note(EventNumber),
    /// The code of an eval that is not recorded yet, by a number of the format's.
    Later(u64),
}

// JSON text has none of these: they cannot be part of a source.
const OPEN: u8 = 1;
const CLOSE: u8 = 2;

/// The source of a batch, with holes.
#[derive(Debug, Default)]
pub struct Template {
    bytes: Vec<u8>,
    /// Parts that became the code of an eval since: where they lie, and their number.
    later: Vec<(std::ops::Range<usize>, u64)>,
}

impl Template {
    /// Adds `source`, with `holes` cut out; they are in order and do not overlap.
    pub fn add(&mut self, source: &[u8], holes: &[(std::ops::Range<usize>, Hole)]) {
        let mut at = 0;
        for (range, hole) in holes {
            self.bytes.extend_from_slice(&source[at..range.start]);
            match hole {
                Hole::Later(number) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(&source[range.clone()]);
                    self.later.push((start..self.bytes.len(), *number));
                }
                hole => self.bytes.extend_from_slice(&mark(*hole)),
            }
            at = range.end;
        }
        self.bytes.extend_from_slice(&source[at..]);
    }

    /// Its size so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The payload. `evals` says which evals the parts kept for later became; others stay as they are.
    pub fn payload<S: Serialize>(self, progress: &Progress<S>, evals: &HashMap<u64, EvalNumber>) -> Vec<u8> {
        // Plain structs into memory: cannot fail.
        let mut out = serde_json::to_vec(progress).unwrap_or_default();
        out.push(b'\n');
        let mut at = 0;
        for (range, number) in self.later {
            let Some(eval) = evals.get(&number) else { continue };
            out.extend_from_slice(&self.bytes[at..range.start]);
            out.extend_from_slice(&mark(Hole::Code(*eval)));
            at = range.end;
        }
        out.extend_from_slice(&self.bytes[at..]);
        out
    }
}

fn mark(hole: Hole) -> Vec<u8> {
    let (letter, number) = match hole {
        Hole::Text(message) => ('m', message.0),
        Hole::Content(message) => ('M', message.0),
        Hole::CodeText(eval) => ('c', eval.0),
        Hole::Code(eval) => ('C', eval.0),
        Hole::Note(event) => ('N', event.0),
        Hole::Later(number) => ('?', number),
    };
    let mut out = vec![OPEN];
    out.extend_from_slice(format!("{letter}{number}").as_bytes());
    out.push(CLOSE);
    out
}

fn hole(text: &[u8]) -> Option<Hole> {
    let (letter, digits) = text.split_first()?;
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match letter {
        b'm' => Hole::Text(MessageNumber(number)),
        b'M' => Hole::Content(MessageNumber(number)),
        b'c' => Hole::CodeText(EvalNumber(number)),
        b'C' => Hole::Code(EvalNumber(number)),
        b'N' => Hole::Note(EventNumber(number)),
        _ => return None,
    })
}

/// The last annotation of `session`, and its payload.
pub fn last(store: &Store, session: &SessionId, events: u64) -> Result<Option<(EventNumber, Digest)>, ReadError> {
    let (mut end, mut step) = (events, 16);
    while end > 0 {
        let since = end.saturating_sub(step);
        let limit = usize::try_from(end - since).unwrap_or(usize::MAX);
        let events = store.events_since(session, EventNumber(since), limit)?;
        if let Some(found) = events.iter().rev().find(|event| event.kind == KIND) {
            return Ok(found.payload_ref.map(|digest| (found.id, digest)));
        }
        end = since;
        step = (step * 4).min(16_384);
    }
    Ok(None)
}

/// Reads the progress of a payload.
pub fn progress<'a, S: Deserialize<'a>>(payload: &'a [u8]) -> Result<Progress<S>, ReadError> {
    let (head, _) = split(payload)?;
    serde_json::from_slice(head).map_err(|error| damaged(Some(error.into())))
}

fn split(payload: &[u8]) -> Result<(&[u8], &[u8]), ReadError> {
    let at = payload.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged(None))?;
    Ok((&payload[..at], &payload[at + 1..]))
}

fn damaged(source: Option<crate::store::error::Cause>) -> ReadError {
    ReadError::Damaged { what: "the kept source of an import".to_owned(), source }
}

/// The diagnostics of the batches up to the one at `event`.
pub fn diagnostics(store: &Store, session: &SessionId, event: EventNumber) -> Result<Vec<Diagnostic>, ReadError> {
    let mut batches = Vec::new();
    let mut next = Some(event);
    while let Some(event) = next {
        let Some(digest) = store.event(session, event)?.payload_ref else { break };
        let payload = store.blobs().get(&digest)?;
        let progress: Progress<serde::de::IgnoredAny> = progress(&payload)?;
        batches.push(progress.diagnostics);
        next = progress.previous.filter(|_| progress.diagnostics_before > 0);
    }
    Ok(batches.into_iter().rev().flatten().collect())
}

/// Writes what was imported into `session` as it was in the source, byte for byte.
///
/// Not there: lines that were too long, and a torn last line.
pub fn write_source(store: &Store, session: &SessionId, out: &mut impl Write) -> Result<(), ImportError> {
    let blobs = store.blobs();
    let mut payloads = Payloads::default();
    let mut templates = Vec::new();
    for event in store.events(session)? {
        match &event.body {
            Body::MessageAdded(row) => {
                payloads.messages.insert(row.message, row.content);
            }
            Body::EvalAdded(row) => {
                if let Some(code) = row.code {
                    payloads.evals.insert(row.eval, code);
                }
            }
            Body::Annotation(row) => {
                if let Some(payload) = row.payload {
                    payloads.notes.insert(event.number, payload);
                    if row.kind == KIND {
                        templates.push(payload);
                    }
                }
            }
            _ => {}
        }
    }
    let io = |source| ImportError::Io { path: std::path::PathBuf::new(), source };
    for digest in templates {
        let payload = blobs.get(&digest)?;
        let (_, mut rest) = split(&payload)?;
        while let Some(open) = rest.iter().position(|byte| *byte == OPEN) {
            out.write_all(&rest[..open]).map_err(io)?;
            let close = rest.iter().position(|byte| *byte == CLOSE).ok_or_else(|| damaged(None))?;
            let hole = hole(&rest[open + 1..close]).ok_or_else(|| damaged(None))?;
            let bytes = blobs.get(&payloads.of(hole).ok_or_else(|| damaged(None))?)?;
            if matches!(hole, Hole::Text(_) | Hole::CodeText(_)) {
                let text = String::from_utf8(bytes).map_err(|error| damaged(Some(error.into())))?;
                out.write_all(json_string(&text).as_bytes()).map_err(io)?;
            } else {
                out.write_all(&bytes).map_err(io)?;
            }
            rest = &rest[close + 1..];
        }
        out.write_all(rest).map_err(io)?;
    }
    Ok(())
}

#[derive(Default)]
struct Payloads {
    messages: HashMap<MessageNumber, Digest>,
    evals: HashMap<EvalNumber, Digest>,
    notes: HashMap<EventNumber, Digest>,
}

impl Payloads {
    fn of(&self, hole: Hole) -> Option<Digest> {
        match hole {
            Hole::Text(message) | Hole::Content(message) => self.messages.get(&message),
            Hole::CodeText(eval) | Hole::Code(eval) => self.evals.get(&eval),
            Hole::Note(event) => self.notes.get(&event),
            Hole::Later(_) => None,
        }
        .copied()
    }
}

/// A text as the JSON string that most writers make of it. A text is only cut out of a source that wrote it so.
pub fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_marked_and_read_back() {
        for hole_ in [
            Hole::Text(MessageNumber(1)),
            Hole::Content(MessageNumber(20)),
            Hole::CodeText(EvalNumber(3)),
            Hole::Code(EvalNumber(u64::MAX)),
            Hole::Note(EventNumber(0)),
        ] {
            let marked = mark(hole_);
            assert_eq!(hole(&marked[1..marked.len() - 1]), Some(hole_));
        }
        assert_eq!(hole(b""), None);
        assert_eq!(hole(b"mx"), None);
    }

    #[test]
    fn a_part_kept_for_later_is_cut_out_only_if_it_became_an_eval() {
        let mut template = Template::default();
        template
            .add(b"[1,2,3]\n", &[(1..2, Hole::Later(7)), (3..4, Hole::Later(8)), (5..6, Hole::Text(MessageNumber(9)))]);
        let progress = Progress {
            format: "x".to_owned(),
            version: 1,
            records: 1,
            bytes: 8,
            lines: 1,
            hash: Digest::of(b"[1,2,3]\n"),
            previous: None,
            tail: 2,
            diagnostics: Vec::new(),
            diagnostics_before: 0,
            state: (),
        };
        let payload = template.payload(&progress, &HashMap::from([(8, EvalNumber(4))]));
        assert_eq!(split(&payload).unwrap().1, b"[1,\x01C4\x02,\x01m9\x02]\n");
        assert_eq!(super::progress::<()>(&payload).unwrap().position(), progress.position());
    }
}

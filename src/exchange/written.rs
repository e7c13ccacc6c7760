//! A kept source, written again: the holes filled from the rows' payloads and the kept sources of other sessions.

use std::collections::HashMap;
use std::io::{self, Write};

use super::ExportError;
use super::export::{Output, Stream};
use super::kept::{self, damaged};
use super::template::{Hole, Piece, ascii_json_string, json_string, pieces};
use crate::model::{Body, Digest, EvalNumber, Event, EventNumber, MessageNumber, SessionId};
use crate::store::Store;

/// How many kept sources may lie behind one, each shared by the next.
pub(super) const MAX_DEPTH: u32 = 64;
/// How many events are held at a time.
const PAGE: usize = 1_024;

/// Writes what was imported into `session` as it was in the source, byte for byte. Not there: a torn last line.
///
/// # Errors
///
/// [`ExportError::NeedsFolder`] where the source was several files; [`ExportError::Output`]; [`ExportError::Read`].
pub fn write_source(store: &Store, session: &SessionId, out: &mut impl Write) -> Result<(), ExportError> {
    copy(store, session, 0, u64::MAX, &mut Stream(out))
}

/// Writes the bytes that the kept source of `session` has from `from` to `to`.
pub(super) fn copy(
    store: &Store,
    session: &SessionId,
    from: u64,
    to: u64,
    out: &mut dyn Output,
) -> Result<(), ExportError> {
    Copy { store, session, range: (from, to), depth: 0 }.run(out)
}

/// Writes a payload.
pub(super) fn copy_payload(store: &Store, payload: &Digest, out: &mut dyn Output) -> Result<(), ExportError> {
    Clip { at: 0, range: (0, u64::MAX), out, failed: None }.payload(store, payload)
}

struct Copy<'c> {
    store: &'c Store,
    session: &'c SessionId,
    range: (u64, u64),
    depth: u32,
}

impl Copy<'_> {
    fn run(&self, out: &mut dyn Output) -> Result<(), ExportError> {
        if self.depth > MAX_DEPTH {
            return Err(damaged(None).into());
        }
        let (mut since, mut at, mut rows) = (EventNumber(0), 0, Payloads::default());
        // A batch, and its last event: a compaction's summary follows what keeps the source.
        let mut open: Option<(Vec<u8>, u64, u64)> = None;
        while at < self.range.1 {
            let events = self.store.events_page(self.session, since, PAGE)?;
            let Some(last) = events.last() else { break };
            since = last.number;
            for event in &events {
                if let Some(digest) = rows.take(event) {
                    let payload = self.store.blobs().get(&digest)?;
                    let progress = kept::progress::<serde::de::IgnoredAny>(&payload)?;
                    open = Some((payload, event.number.0 + progress.tail, progress.bytes));
                }
                let Some((payload, _, end)) = open.take_if(|(_, last, _)| *last <= event.number.0) else { continue };
                if end > self.range.0 && at < self.range.1 {
                    self.batch(&payload, at, &rows, out)?;
                }
                at = end;
                rows = Payloads::default();
            }
        }
        Ok(())
    }

    fn batch(&self, payload: &[u8], start: u64, rows: &Payloads, out: &mut dyn Output) -> Result<(), ExportError> {
        let (_, template) = kept::split(payload)?;
        let mut clip = Clip { at: start, range: self.range, out, failed: None };
        for piece in pieces(template) {
            if clip.at >= self.range.1 {
                break;
            }
            match piece.map_err(|()| damaged(None))? {
                Piece::Bytes(bytes) => clip.bytes(bytes)?,
                Piece::Part(name, mark) => clip.part(name, mark)?,
                Piece::Hole(Hole::Shared(session, from, to)) => {
                    let skipped = self.range.0.saturating_sub(clip.at).min(to.saturating_sub(from));
                    let wanted = self.range.1.saturating_sub(clip.at).min(to.saturating_sub(from));
                    let range = (from + skipped, from.saturating_add(wanted));
                    clip.at += to.saturating_sub(from);
                    if range.0 < range.1 {
                        Copy { store: self.store, session: &session, range, depth: self.depth + 1 }.run(clip.out)?;
                    }
                }
                Piece::Hole(Hole::Slice(message, from, to)) => {
                    let digest = rows.messages.get(&message).ok_or_else(|| damaged(None))?;
                    let bytes = self.store.blobs().get(digest)?;
                    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                    let slice = range.and_then(|(from, to)| bytes.get(from..to)).ok_or_else(|| damaged(None))?;
                    clip.bytes(slice)?;
                }
                Piece::Hole(hole) => {
                    let digest = rows.of(&hole).ok_or_else(|| damaged(None))?;
                    let write = match hole {
                        Hole::Text(_) | Hole::CodeText(_) | Hole::ResultText(_) | Hole::PayloadText(_) => json_string,
                        Hole::AsciiText(_) => ascii_json_string,
                        _ => {
                            clip.payload(self.store, &digest)?;
                            continue;
                        }
                    };
                    let bytes = self.store.blobs().get(&digest)?;
                    let text = String::from_utf8(bytes).map_err(|error| damaged(Some(error.into())))?;
                    clip.bytes(write(&text).as_bytes())?;
                }
            }
        }
        Ok(())
    }
}

/// Passes on what lies in a range.
struct Clip<'o> {
    at: u64,
    range: (u64, u64),
    out: &'o mut dyn Output,
    failed: Option<ExportError>,
}

impl Clip<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let length = bytes.len() as u64;
        let from = self.range.0.saturating_sub(self.at).min(length);
        let to = self.range.1.saturating_sub(self.at).min(length);
        self.at += length;
        if from < to {
            // Both are at most the length of the slice.
            let (from, to) = (usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0));
            self.out.write(&bytes[from..to])?;
        }
        Ok(())
    }

    fn part(&mut self, name: &str, mark: &[u8]) -> Result<(), ExportError> {
        if self.range.0 <= self.at && self.at < self.range.1 {
            self.out.part(name, mark)?;
        }
        self.at += mark.len() as u64;
        Ok(())
    }

    fn payload(&mut self, store: &Store, digest: &Digest) -> Result<(), ExportError> {
        let result = store.blobs().copy_to(digest, self);
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(result?),
        }
    }
}

impl Write for Clip<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.bytes(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the output refused it"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The payloads of a batch's rows.
#[derive(Default)]
struct Payloads {
    messages: HashMap<MessageNumber, Digest>,
    evals: HashMap<EvalNumber, Digest>,
    results: HashMap<EvalNumber, Digest>,
    notes: HashMap<EventNumber, Digest>,
}

impl Payloads {
    /// Takes in the payloads of an event; gives that of a batch's end.
    fn take(&mut self, event: &Event) -> Option<Digest> {
        match &event.body {
            Body::MessageAdded(row) => {
                self.messages.insert(row.message, row.content);
            }
            Body::EvalAdded(row) => {
                self.evals.extend(row.code.map(|code| (row.eval, code)));
                self.results.extend(row.result.or(row.error).map(|result| (row.eval, result)));
            }
            Body::Annotation(row) if row.kind == kept::KIND => return row.payload,
            Body::Annotation(row) => {
                self.notes.extend(row.payload.map(|payload| (event.number, payload)));
            }
            _ => {}
        }
        None
    }

    fn of(&self, hole: &Hole) -> Option<Digest> {
        match hole {
            Hole::Text(message) | Hole::AsciiText(message) | Hole::Content(message) | Hole::Slice(message, ..) => {
                self.messages.get(message).copied()
            }
            Hole::CodeText(eval) | Hole::Code(eval) => self.evals.get(eval).copied(),
            Hole::ResultText(eval) => self.results.get(eval).copied(),
            Hole::Note(event) => self.notes.get(event).copied(),
            Hole::PayloadText(digest) | Hole::Payload(digest) => Some(*digest),
            Hole::Shared(..) | Hole::Later(_) => None,
        }
    }
}

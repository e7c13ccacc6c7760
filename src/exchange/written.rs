//! A kept source, written again: the holes filled from the rows' payloads and the kept sources of other sessions.

use std::collections::HashMap;
use std::io::{self, Write};

use super::export::{Output, Stream};
use super::json::indented;
use super::kept::{self, damaged};
use super::template::{Hole, Piece, ascii_json_string, json_string, pieces};
use super::{ExportError, FORMATS, shared};
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
    restore(store, session, &mut Stream(out))
}

/// Writes what was imported into `session` as it was in the source.
pub(super) fn restore(store: &Store, session: &SessionId, out: &mut dyn Output) -> Result<(), ExportError> {
    let last = kept::last(store, session, store.session(session)?.events)?;
    let kept = last.map(|(event, _)| kept::Kept::read(store, session, event)).transpose()?;
    let restore = kept.and_then(|kept| {
        let known = FORMATS.iter().find(|known| known.name == kept.progress.format)?;
        Some((known.restore?, kept.progress.state))
    });
    match restore {
        Some((restore, state)) => restore(state.get(), shared::flat(store, session, 0, u64::MAX)?, out),
        None => copy(store, session, 0, u64::MAX, out),
    }
}

/// Writes the bytes that the kept source of `session` has from `from` to `to`: those of the stream it was read as.
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

/// Where a batch lies in the stream, and how far it stays there.
struct Place {
    from: u64,
    stays: u64,
    to: u64,
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
        let staying = self.staying()?;
        // A batch, and its last event: a compaction's summary follows what keeps the source.
        let mut open: Option<(Vec<u8>, u64, Place)> = None;
        while at < self.range.1 || !staying.is_empty() {
            let events = self.store.events_page(self.session, since, PAGE)?;
            let Some(last) = events.last() else { break };
            since = last.number;
            for event in &events {
                if let Some(digest) = rows.take(event) {
                    let payload = self.store.blobs().get(&digest)?;
                    let progress = kept::progress::<serde::de::IgnoredAny>(&payload)?;
                    let stays = staying.get(&event.number).copied().unwrap_or(u64::MAX);
                    let place = Place { from: progress.from.unwrap_or(at), stays, to: progress.bytes };
                    open = Some((payload, event.number.0 + progress.tail, place));
                }
                let Some((payload, _, place)) = open.take_if(|(_, last, _)| *last <= event.number.0) else { continue };
                let range = (self.range.0, self.range.1.min(place.stays));
                if place.to > range.0 && place.from < range.1 {
                    self.batch(&payload, place.from, range, &rows, out)?;
                }
                at = place.to;
                rows = Payloads::default();
            }
        }
        Ok(())
    }

    /// Of a source that was written anew since it was imported first: how far each batch stays, but for those that stay whole.
    fn staying(&self) -> Result<HashMap<EventNumber, u64>, ExportError> {
        let mut staying = HashMap::new();
        let Some((event, _)) = kept::last(self.store, self.session, self.store.session(self.session)?.events)? else {
            return Ok(staying);
        };
        if kept::Kept::read(self.store, self.session, event)?.progress.rewrites == 0 {
            return Ok(staying);
        }
        let mut stays = u64::MAX;
        for kept in kept::backwards(self.store, self.session, Some(event)) {
            let kept = kept?;
            if stays < u64::MAX {
                staying.insert(kept.event, stays);
            }
            stays = kept.progress.from.unwrap_or(u64::MAX).min(stays);
        }
        Ok(staying)
    }

    fn batch(
        &self,
        payload: &[u8],
        start: u64,
        range: (u64, u64),
        rows: &Payloads,
        out: &mut dyn Output,
    ) -> Result<(), ExportError> {
        let (_, template) = kept::split(payload)?;
        let mut clip = Clip { at: start, range, out, failed: None };
        for piece in pieces(template) {
            if clip.at >= range.1 {
                break;
            }
            match piece.map_err(|()| damaged(None))? {
                Piece::Bytes(bytes) => clip.bytes(bytes)?,
                Piece::Part(name, mark) => clip.part(name, mark)?,
                Piece::Hole(Hole::Shared(session, from, to)) => {
                    let skipped = range.0.saturating_sub(clip.at).min(to.saturating_sub(from));
                    let wanted = range.1.saturating_sub(clip.at).min(to.saturating_sub(from));
                    let shared = (from + skipped, from.saturating_add(wanted));
                    clip.at += to.saturating_sub(from);
                    if shared.0 < shared.1 {
                        let copy = Copy { store: self.store, session: &session, range: shared, depth: self.depth + 1 };
                        copy.run(clip.out)?;
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
                        Hole::Indented(_, level) | Hole::IndentedContent(_, level) => {
                            let bytes = self.store.blobs().get(&digest)?;
                            clip.bytes(&indented(&bytes, level))?;
                            continue;
                        }
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
            Body::EvalAdded(row) | Body::EvalPut(row) => {
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
            Hole::Text(message)
            | Hole::AsciiText(message)
            | Hole::Content(message)
            | Hole::Slice(message, ..)
            | Hole::IndentedContent(message, _) => self.messages.get(message).copied(),
            Hole::CodeText(eval) | Hole::Code(eval) | Hole::Indented(eval, _) => self.evals.get(eval).copied(),
            Hole::ResultText(eval) => self.results.get(eval).copied(),
            Hole::Note(event) => self.notes.get(event).copied(),
            Hole::PayloadText(digest) | Hole::Payload(digest) => Some(*digest),
            Hole::Shared(..) | Hole::Later(_) => None,
        }
    }
}

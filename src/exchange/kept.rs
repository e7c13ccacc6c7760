//! The source, kept. What a batch imported is kept as one annotation whose payload is a line of JSON, how far the import
//! came, and then the source's own bytes with holes: see [`template`](super::template). So the next import goes on from
//! there, and every record can be written again.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Diagnostic;
use super::format::Format;
use super::template::{Hole, Template};
use crate::model::{Digest, EventNumber, SessionId, Timestamp};
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
    /// How many bytes of the source.
    pub bytes: u64,
    /// Of a source that was written anew: how many bytes of what was kept before stay. This batch goes on behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// How many batches up to here have a `from`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rewrites: u64,
    /// Line ends in those bytes.
    pub lines: u64,
    /// BLAKE3 of those bytes; none where they were appended one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Digest>,
    /// The time of the last record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The annotation of the batch before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<EventNumber>,
    /// The annotation that lists the files beside the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<EventNumber>,
    /// How many events follow the annotation in its commit.
    pub tail: u64,
    /// How many of those follow the move to the head, before which the head's own event is.
    #[serde(default)]
    pub after: u64,
    /// The bytes of a last record that is no part of the history, such as what closes a list: the head at the end lies before it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub closing: u64,
    /// How many kept sources lie behind this one, each shared by the next.
    #[serde(default)]
    pub depth: u32,
    /// The heads that were sealed in the batch, but for the one at its end.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// What was odd in the batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// How many diagnostics the batches before have.
    #[serde(default)]
    pub diagnostics_before: u64,
    /// What the format must remember.
    pub state: S,
}

impl<F: Format> Progress<F> {
    /// Before the first batch.
    pub(super) fn new() -> Progress<F> {
        Progress {
            format: F::NAME.to_owned(),
            version: 1,
            records: 0,
            bytes: 0,
            from: None,
            rewrites: 0,
            lines: 0,
            hash: None,
            at: None,
            previous: None,
            files: None,
            tail: 0,
            after: 0,
            closing: 0,
            depth: 0,
            marks: Vec::new(),
            diagnostics: Vec::new(),
            diagnostics_before: 0,
            state: F::default(),
        }
    }
}

/// How far the import had come when a head was sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mark {
    /// Its `head/created`.
    pub head: EventNumber,
    /// As in [`Progress`].
    pub records: u64,
    /// As in [`Progress`].
    pub bytes: u64,
    /// As in [`Progress`].
    pub lines: u64,
    /// As in [`Progress`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What the format must know to go on from there.
    pub state: Box<RawValue>,
}

/// How far the last import came.
pub(super) struct Last<F> {
    /// The annotation; none before the first batch.
    pub(super) event: Option<EventNumber>,
    pub(super) payload: Option<Digest>,
    pub(super) progress: Progress<F>,
    /// Whether the source was written anew, so that the next batch takes the place of what was kept behind `progress`.
    pub(super) is_rewritten: bool,
}

impl<F: serde::de::DeserializeOwned> Last<F> {
    pub(super) fn of(store: &Store, session: &SessionId, events: u64) -> Result<Option<Last<F>>, ReadError> {
        let Some((event, digest)) = last(store, session, events)? else { return Ok(None) };
        let progress = progress(&store.blobs().get(&digest)?)?;
        Ok(Some(Last { event: Some(event), payload: Some(digest), progress, is_rewritten: false }))
    }

    /// The number of the session's last event if nothing was added since.
    pub(super) fn end(&self) -> Option<u64> {
        self.event.map(|event| event.0 + self.progress.tail)
    }
}

/// The payload of a batch.
pub(super) fn payload<S: Serialize>(
    progress: &Progress<S>,
    template: Template,
    answers: &std::collections::HashMap<u64, Hole>,
) -> Vec<u8> {
    // Plain structs into memory: cannot fail.
    let mut out = serde_json::to_vec(progress).unwrap_or_default();
    out.push(b'\n');
    template.write_to(&mut out, answers);
    out
}

/// The last annotation of `session` among its first `events`, and its payload.
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

/// The progress of a payload, and its template.
pub(super) fn split(payload: &[u8]) -> Result<(&[u8], &[u8]), ReadError> {
    let at = payload.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged(None))?;
    Ok((&payload[..at], &payload[at + 1..]))
}

pub(super) fn damaged(source: Option<crate::store::error::Cause>) -> ReadError {
    ReadError::Damaged { what: "the kept source of an import".to_owned(), source }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A batch of a kept source, the state not looked at.
pub(super) struct Kept {
    pub(super) event: EventNumber,
    pub(super) progress: Progress<Box<RawValue>>,
}

impl Kept {
    pub(super) fn read(store: &Store, session: &SessionId, event: EventNumber) -> Result<Kept, ReadError> {
        let digest = store.event(session, event)?.payload_ref.ok_or_else(|| damaged(None))?;
        let payload = store.blobs().get(&digest)?;
        let progress = progress(&payload)?;
        Ok(Kept { event, progress })
    }

    /// The heads of the batch that lie within the bytes which stay, in order. `stays` is how many bytes later batches leave.
    pub(super) fn marks(&self, stays: &mut u64) -> Vec<Mark> {
        let marks = self.progress.marks.iter().cloned().chain(std::iter::once(self.end()));
        let marks = marks.filter(|mark| mark.bytes <= *stays).collect();
        *stays = self.progress.from.unwrap_or(u64::MAX).min(*stays);
        marks
    }

    /// The batch as a mark: its last head.
    pub(super) fn end(&self) -> Mark {
        let progress = &self.progress;
        let closing = u64::from(progress.closing > 0).min(progress.records).min(progress.lines);
        Mark {
            head: EventNumber((self.event.0 + progress.tail).saturating_sub(progress.after + 1)),
            records: progress.records - closing,
            bytes: progress.bytes.saturating_sub(progress.closing),
            lines: progress.lines - closing,
            at: progress.at,
            state: progress.state.clone(),
        }
    }
}

/// The batches of `session`, from the one at `event` backwards.
pub(super) fn backwards<'a>(
    store: &'a Store,
    session: &'a SessionId,
    event: Option<EventNumber>,
) -> impl Iterator<Item = Result<Kept, ReadError>> + 'a {
    let mut next = event;
    std::iter::from_fn(move || {
        let event = next.take()?;
        let kept = Kept::read(store, session, event);
        // The chain goes down only, whatever a payload says.
        next = kept.as_ref().ok().and_then(|kept| kept.progress.previous).filter(|previous| *previous < event);
        Some(kept)
    })
}

/// The diagnostics of the batches up to the one at `event`.
pub fn diagnostics(store: &Store, session: &SessionId, event: EventNumber) -> Result<Vec<Diagnostic>, ReadError> {
    let mut batches = Vec::new();
    for kept in backwards(store, session, Some(event)) {
        let kept = kept?;
        let more = kept.progress.diagnostics_before > 0;
        batches.push(kept.progress.diagnostics);
        if !more {
            break;
        }
    }
    Ok(batches.into_iter().rev().flatten().collect())
}

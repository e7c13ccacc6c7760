//! Value refs: a value in the record, or a file beside the journal that is named with its hash.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::Fractal;
use super::folder::{folder_of, inside};
use super::record::{Edn, Row};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::source;
use crate::exchange::template::Hole;
use crate::model::Digest;
use crate::model::edn::{Document, Value};

/// Blobs up to this size go into the batch that names them; larger ones into commits of their own, in parts.
const SMALL: u64 = 1 << 20;
/// Values shorter than this stay in the kept source: their hash would be no shorter.
const MIN_VALUE: usize = 256;
/// What payloads of EDN are.
pub const MEDIA: &str = "application/edn";

/// Parts of a record that are payloads now.
pub type Holes = Vec<(Range<usize>, Hole)>;

/// Where a value of the record lies in the bytes of its step.
pub fn range_of(step: &Step<'_, '_>, value: Value<'_, '_>) -> Range<usize> {
    let before = step.record_start();
    let span = value.span();
    before + span.start..before + span.end
}

impl Fractal {
    /// Keeps a value as a payload, as it is written.
    pub(super) fn put(&mut self, step: &mut Step<'_, '_>, value: Value<'_, '_>, holes: &mut Holes) -> Digest {
        let digest = step.batch.put_media(value.text().as_bytes(), MEDIA);
        if value.text().len() >= MIN_VALUE {
            holes.push((range_of(step, value), Hole::Payload(digest)));
        }
        digest
    }

    /// A value that is, or of headwater's own is named by, a field.
    pub(super) fn put_or_deref(
        &mut self,
        step: &mut Step<'_, '_>,
        field: &str,
        value: Option<Value<'_, '_>>,
        holes: &mut Holes,
    ) -> Result<Option<Digest>, Stop> {
        match value {
            Some(value) if value.get("value/kind").is_some() => self.deref(step, field, Some(value), holes),
            value => Ok(value.map(|value| self.put(step, value, holes))),
        }
    }

    /// The first of these fields of a row that is there, as a payload: a string's text, what a value ref refers to.
    pub(super) fn first_of(
        &mut self,
        step: &mut Step<'_, '_>,
        row: Row<'_, '_>,
        fields: &[&str],
        holes: &mut Holes,
    ) -> Result<Option<Digest>, Stop> {
        let found = fields.iter().find_map(|field| {
            let value = row.value.get(field).filter(|value| !value.is_nil())?;
            Some((*field, value))
        });
        let Some((field, value)) = found else { return Ok(None) };
        match value.string() {
            Some(text) => Ok(Some(step.batch.put(text.as_bytes()))),
            None => self.put_or_deref(step, field, Some(value), holes),
        }
    }

    /// What a row says beyond `known`, as a payload.
    pub(super) fn extra(
        &mut self,
        step: &mut Step<'_, '_>,
        row: Row<'_, '_>,
        known: &[&str],
    ) -> Result<Option<Digest>, Stop> {
        if row.has("extra-ref") {
            return self.deref(step, "extra-ref", row.get("extra-ref"), &mut Holes::new());
        }
        Ok(row.rest(known).map(|rest| step.batch.put_value(rest.as_bytes())))
    }

    /// What a value ref refers to, as a payload: the value in it, or the bytes of its blob. None, and a diagnostic, where that is not there.
    pub(super) fn deref(
        &mut self,
        step: &mut Step<'_, '_>,
        field: &str,
        reference: Option<Value<'_, '_>>,
        holes: &mut Holes,
    ) -> Result<Option<Digest>, Stop> {
        let Some(reference) = reference else { return Ok(None) };
        let kind = reference.get("value/kind").and_then(|kind| kind.keyword().map(std::borrow::Cow::into_owned));
        match kind.as_deref() {
            Some("inline") => Ok(reference.get("value").map(|value| self.put(step, value, holes))),
            Some("blob") => {
                let blob = self.blob(step, reference)?;
                if let Err(Bad { kind, message }) = &blob {
                    step.odd(kind, format!(":{field}: {message}"));
                }
                let digest = blob.ok();
                self.referred.extend(digest);
                Ok(digest)
            }
            _ => {
                step.odd("bad-ref", format!(":{field} is neither :inline nor :blob"));
                Ok(None)
            }
        }
    }

    fn blob(&self, step: &mut Step<'_, '_>, reference: Value<'_, '_>) -> Result<Result<Digest, Bad>, Stop> {
        let bad = |kind, message: String| Ok(Err(Bad { kind, message }));
        let Some(path) = reference.get("path").and_then(|path| path.string()) else {
            return bad("bad-ref", "a blob without a :path".to_owned());
        };
        let Some(folder) = folder_of(step.source()) else {
            return bad("missing-blob", format!("{path:?} is not there: the journal was imported alone"));
        };
        let Some(place) = inside(&folder, &path) else {
            return bad("path-escape", format!("{path:?} leads out of the run directory, and is not read"));
        };
        let mut file = match source::open(&place) {
            Ok(file) => file,
            Err(error) => return bad("missing-blob", format!("{path:?} cannot be read: {}", cause(&error))),
        };
        let mut sum = Sum::default();
        let (size, sha256) = match io::copy(&mut file, &mut sum) {
            Ok(_) => sum.finish(),
            Err(error) => return bad("missing-blob", format!("{path:?} cannot be read: {error}")),
        };
        let expected = reference.get("sha256").and_then(|sum| sum.string()).unwrap_or_default();
        let bytes = reference.get("bytes").and_then(|bytes| bytes.whole());
        if expected != sha256 || bytes.is_some_and(|bytes| bytes != size) {
            return bad("bad-blob", format!("{path:?} is {sha256} of {size} bytes, and should be {expected}"));
        }
        let read = |step: &mut Step<'_, '_>| -> io::Result<Result<Digest, crate::store::error::CommitError>> {
            file.seek(SeekFrom::Start(0))?;
            if size > SMALL {
                return Ok(step.store().blobs().put_from(file));
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            step.weigh(bytes.len());
            Ok(Ok(step.batch.put_media(&bytes, MEDIA)))
        };
        match read(step) {
            Ok(put) => Ok(Ok(put?)),
            Err(error) => bad("missing-blob", format!("{path:?} cannot be read: {error}")),
        }
    }
}

/// Values of headwater's own up to this size are written into their row.
pub const MAX_INLINE: u64 = 4_096;

/// A payload as an inline value: a value of EDN and nothing else, on one line.
pub fn inline(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(['\n', '\r']))?;
    let document = Document::read(bytes).ok()?;
    (document.root().text() == text).then_some(text)
}

/// The size and hash of what is written to it.
#[derive(Default)]
pub struct Sum {
    hasher: Sha256,
    size: u64,
}

impl Sum {
    /// The size, and the hash as the engine writes it.
    pub fn finish(self) -> (u64, String) {
        let mut text = "sha256:".to_owned();
        for byte in self.hasher.finalize() {
            text.push_str(&format!("{byte:02x}"));
        }
        (self.size, text)
    }
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a blob is not there.
struct Bad {
    kind: &'static str,
    message: String,
}

fn cause(error: &crate::exchange::ImportError) -> String {
    match error {
        crate::exchange::ImportError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// A string of the record as a payload, and the hole it leaves, where it is written as JSON would be.
pub fn text_hole(step: &Step<'_, '_>, value: Edn<'_>, text: &str, hole: Hole) -> Option<(Range<usize>, Hole)> {
    (crate::exchange::template::json_string(text) == value.text()).then(|| (range_of(step, value), hole))
}

//! What an import knows apart from the meaning of records: the reader, the batch being filled, what was kept before.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use super::super::beside::Survey;
use super::super::family::Family;
use super::super::format::Format;
use super::super::kept::{Last, Mark, Progress};
use super::super::reader::{Item, Position, Reader, Syntax};
use super::super::shared::Shared;
use super::super::source::Source;
use super::super::template::{Hole, Template, json_string};
use super::super::{Diagnostic, MAX_DIAGNOSTICS, Seen};
use super::{LIMIT, Step, Stop};
use crate::model::{Digest, EventNumber, Timestamp, TurnNumber};
use crate::store::{Batch, Store};

/// An import under way, whatever its format.
pub(in crate::exchange) struct Core<'a> {
    pub(super) store: &'a Store,
    pub(super) source: &'a Source,
    pub(super) reader: Reader<'a>,
    pub(super) syntax: Syntax,
    /// The current item, not imported yet.
    pub(super) item: Option<Item>,
    pub(super) torn: Option<Diagnostic>,
    /// The time of the last record.
    pub(super) at: Option<Timestamp>,
    pub(super) records: u64,
    pub(super) previous: Option<EventNumber>,
    /// Where the next batch goes on, of a source that was written anew; and how many batches did so.
    from: Option<u64>,
    rewrites: u64,
    /// The annotation that lists the files beside the source.
    pub(super) files: Option<EventNumber>,
    diagnostics_before: u64,
    depth: u32,
    pub(super) shared: Option<Shared>,
    pub(super) family: Family,
    /// Whether the current item is a record that another session has as its own.
    pub(super) is_known: bool,
    pub(super) batch: InBatch,
    seen: &'a mut dyn FnMut(Seen),
    told: u64,
}

/// What belongs to the batch being filled.
#[derive(Default)]
pub(in crate::exchange) struct InBatch {
    pub(super) template: Template,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) marks: Vec<Mark>,
    pub(super) records: u64,
    pub(super) bytes: usize,
    pub(super) asked: u64,
    /// The bytes of the last record if it is no part of the history.
    pub(super) closing: u64,
    /// What the parts kept for later became in this batch.
    pub(super) answers: HashMap<u64, Hole>,
}

impl InBatch {
    pub(super) fn reached(&self, (records, bytes): (u64, usize)) -> bool {
        self.records >= records || self.bytes >= bytes
    }

    pub(super) fn odd(&mut self, line: u64, kind: &str, message: String) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic::new(line, kind, message));
        }
    }
}

/// An item, held while the import changes.
pub(in crate::exchange) struct Held {
    pub(in crate::exchange) item: Item,
    pub(super) bytes: Vec<u8>,
    pub(super) range: Range<usize>,
    pub(super) line: u64,
    pub(super) before_on_line: u64,
    pub(super) is_whole_line: bool,
    /// Whether it is imported out of the order of the file.
    pub(super) is_in_window: bool,
}

impl Held {
    pub(super) fn nothing() -> Held {
        Held {
            item: Item::Blank,
            bytes: Vec::new(),
            range: 0..0,
            line: 0,
            before_on_line: 0,
            is_whole_line: false,
            is_in_window: false,
        }
    }

    /// A line that is one record.
    pub(super) fn line(line: &[u8], number: u64) -> Held {
        let range = 0..line.trim_ascii_end().len();
        Held { item: Item::Record, bytes: line.to_vec(), range, line: number, is_whole_line: true, ..Held::nothing() }
    }

    pub(in crate::exchange) fn record(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    /// The record as its format reads it.
    pub(super) fn read<F: Format>(&self) -> super::Read<'_, F> {
        match self.item {
            Item::Record => F::read(self.record()),
            _ => Err(String::new()),
        }
    }
}

impl<'a> Core<'a> {
    pub(super) fn new<F: Format>(
        store: &'a Store,
        source: &'a Source,
        syntax: Syntax,
        last: Option<&Last<F>>,
        shared: Option<Shared>,
        seen: &'a mut dyn FnMut(Seen),
    ) -> io::Result<Core<'a>> {
        let mut reader = Reader::of(&source.parts, syntax);
        let progress = last.map(|last| &last.progress);
        reader.skip(progress.map_or(0, |progress| progress.bytes))?;
        Ok(Core {
            store,
            source,
            reader,
            syntax,
            item: None,
            torn: None,
            at: progress.and_then(|progress| progress.at),
            records: progress.map_or(0, |progress| progress.records),
            previous: last.and_then(|last| last.event),
            from: last.filter(|last| last.is_rewritten).map(|last| last.progress.bytes),
            rewrites: progress.map_or(0, |progress| progress.rewrites),
            files: progress.and_then(|progress| progress.files),
            diagnostics_before: progress
                .map_or(0, |progress| progress.diagnostics_before + progress.diagnostics.len() as u64),
            depth: progress.map_or(0, |progress| progress.depth).max(shared.as_ref().map_or(0, |shared| shared.depth)),
            shared,
            family: Family::none(),
            is_known: false,
            batch: InBatch::default(),
            seen,
            told: 0,
        })
    }

    /// Goes to the next item that becomes something.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        self.item = self.reader.advance()?;
        self.settle_item()?;
        if self.reader.offset() >= self.told + (1 << 20) {
            self.tell();
        }
        Ok(())
    }

    /// After the item was read otherwise: the same as [`Core::advance`] from there.
    pub(super) fn settle(&mut self) {
        // What is neither blank nor a name stays as it is; those are met again by `fill`.
        if self.item == Some(Item::Torn) {
            self.tear();
        }
    }

    fn settle_item(&mut self) -> io::Result<()> {
        loop {
            match &self.item {
                // Empty lines and names are kept too, but begin no batch that has reached its limit.
                Some(Item::Blank) if self.batch.template.size() < LIMIT.1 => {
                    self.batch.template.add(self.reader.bytes(), &[]);
                }
                Some(Item::Part) => self.batch.template.add_part(self.reader.bytes()),
                Some(Item::Torn) => {
                    self.tear();
                    return Ok(());
                }
                _ => return Ok(()),
            }
            self.item = self.reader.advance()?;
        }
    }

    fn tear(&mut self) {
        let message = format!("the last line was not written to its end: {} bytes dropped", self.reader.bytes().len());
        self.torn = Some(Diagnostic::new(self.reader.line(), "torn-tail", message));
        self.item = None;
    }

    pub(super) fn has_more(&self) -> bool {
        self.item.is_some() || self.batch.template.size() > 0
    }

    /// Tells how far the reading came.
    pub(super) fn tell(&mut self) {
        self.told = self.reader.offset();
        (self.seen)(Seen { bytes: self.told, records: self.records });
    }

    pub(super) fn hold(&self, item: Item) -> Held {
        Held {
            item,
            bytes: self.reader.bytes().to_vec(),
            range: self.reader.record_range(),
            line: self.reader.line(),
            before_on_line: self.reader.before_on_line(),
            is_whole_line: self.reader.is_whole_line(),
            is_in_window: false,
        }
    }

    pub(super) fn step<'i, 'b>(&'i mut self, batch: &'i mut Batch<'b>, held: &'i Held) -> Step<'i, 'b>
    where
        'a: 'i,
    {
        Step::new(batch, self, held)
    }

    /// Keeps a line that is too long to be held, as a payload.
    pub(super) fn long_line(&mut self, batch: &mut Batch<'_>, turn: Option<TurnNumber>) -> Result<(), Stop> {
        let (line, start) = (self.reader.line(), self.reader.offset());
        let payload = self.store.blobs().put_from(self.reader.long())?;
        let length = self.reader.offset() - start;
        let message = format!("a line of {length} bytes is too long to be read: it is kept as it is");
        self.batch.odd(line, "line-too-long", message);
        let event = batch.add_annotation("import/long-line", turn, Some(payload))?;
        self.batch.template.add(b"-", &[(0..1, Hole::Note(event))]);
        self.batch.records += 1;
        Ok(())
    }

    /// Keeps the files beside the source, those whose bytes no row refers to as annotations.
    pub(super) fn keep_files(
        &mut self,
        batch: &mut Batch<'_>,
        survey: &Survey,
        refers_to: impl Fn(&Digest) -> bool,
    ) -> Result<(), Stop> {
        for (kind, message) in &survey.odd {
            self.batch.odd(0, kind, message.clone());
        }
        self.files = Some(survey.keep(self.store, batch, refers_to)?);
        Ok(())
    }

    /// Keeps an item that is shared with a parent, or is its record again; says whether it is.
    pub(super) fn take_shared(&mut self) -> Result<bool, Stop> {
        let Some(item) = self.item.clone() else { return Ok(false) };
        let start = self.reader.offset();
        let Some(shared) = self.shared.as_mut() else { return Ok(false) };
        let Some(run) = shared.run_at(start) else { return Ok(false) };
        let session = shared.session.clone();
        let end = match item {
            // Its bytes are the parent's: they are only passed over.
            Item::Long => {
                io::copy(&mut self.reader.long(), &mut io::sink()).map_err(|error| self.source.io(error))?;
                self.reader.offset()
            }
            _ => start + self.reader.bytes().len() as u64,
        };
        match run.parent {
            Some(parent) => {
                let from = parent + (start - run.from);
                self.batch.template.add_shared(&session, from, from + (end - start));
            }
            None => {
                let bytes = self.reader.bytes();
                let holes = known(self.store, bytes, self.reader.record_range())?;
                self.batch.template.add(bytes, &holes);
            }
        }
        if item == Item::Record {
            self.records += 1;
            self.batch.records += 1;
        }
        Ok(true)
    }

    /// Whether a record is one that another session has as its own.
    pub(super) fn is_of_another<F: Format>(&mut self, held: &Held, record: &F::Record<'_>) -> Result<bool, Stop> {
        let end = self.reader.offset() + self.reader.bytes().len() as u64;
        if self.shared.as_ref().is_some_and(|shared| end <= shared.common) {
            return Ok(true);
        }
        Ok(self.family.has::<F>(self.store, self.source, (held.record(), end), record)?)
    }

    /// The batch that is done, and how far it came.
    pub(super) fn progress<'s, F: Format>(
        &mut self,
        position: Position,
        (tail, after): (u64, u64),
        format: &str,
        state: &'s F,
    ) -> (InBatch, Progress<&'s F>) {
        let mut done = std::mem::take(&mut self.batch);
        let found = done.diagnostics.len() as u64;
        let from = self.from.take();
        self.rewrites += u64::from(from.is_some());
        let progress = Progress {
            format: format.to_owned(),
            version: 1,
            records: self.records,
            bytes: position.bytes,
            from,
            rewrites: self.rewrites,
            lines: position.lines,
            hash: Some(position.hash),
            at: self.at,
            previous: self.previous,
            files: self.files,
            tail,
            after,
            closing: done.closing,
            depth: self.depth,
            marks: std::mem::take(&mut done.marks),
            diagnostics: std::mem::take(&mut done.diagnostics),
            diagnostics_before: self.diagnostics_before,
            state,
        };
        self.diagnostics_before += found;
        (done, progress)
    }
}

/// A JSON string shorter than this is not looked for among the payloads.
const MIN_KNOWN: usize = 64;

/// The strings of a JSON text that are payloads of the store already.
pub(in crate::exchange) fn known(
    store: &Store,
    bytes: &[u8],
    record: Range<usize>,
) -> Result<Vec<(Range<usize>, Hole)>, crate::store::error::ReadError> {
    let mut holes = Vec::new();
    let mut at = record.start;
    while at < record.end {
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let mut end = at + 1;
        while end < record.end && bytes[end] != b'"' {
            end += 1 + usize::from(bytes[end] == b'\\');
        }
        let range = at..(end + 1).min(record.end);
        at = range.end;
        if range.len() < MIN_KNOWN {
            continue;
        }
        let Ok(text) = serde_json::from_slice::<String>(&bytes[range.clone()]) else { continue };
        if json_string(&text).as_bytes() != &bytes[range.clone()] {
            continue;
        }
        let digest = Digest::of(text.as_bytes());
        if store.blobs().contains(&digest)? {
            holes.push((range, Hole::PayloadText(digest)));
        }
    }
    Ok(holes)
}

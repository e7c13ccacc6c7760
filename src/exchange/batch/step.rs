//! One record on its way into a batch: what a format works with.

use std::ops::Range;

use serde_json::value::RawValue;

use super::super::ImportError;
use super::super::family::Family;
use super::super::format::Format;
use super::super::json::range_in;
use super::super::kept::Mark;
use super::super::reader::{Item, Reader};
use super::super::source::Source;
use super::super::template::{Hole, Template};
use super::Stop;
use super::core::{Core, Held, known};
use crate::model::{Annotation, EvalNumber, EventNumber, HeadId, Timestamp, TurnNumber};
use crate::store::{Batch, Store};

/// A part shorter than this stays in the kept source: a hole would be no shorter.
const MIN_HOLE: usize = 16;

/// A record, the batch its rows go into, and what keeps the source.
pub struct Step<'i, 'b> {
    /// The batch.
    pub batch: &'i mut Batch<'b>,
    core: &'i mut dyn Inside,
    held: &'i Held,
    piece: Template,
    is_kept: bool,
}

/// The import that a step is a part of, without its lifetime.
pub(in crate::exchange) trait Inside {
    fn of(&self) -> Known<'_>;
    fn batch(&mut self) -> &mut super::core::InBatch;
    /// Bytes and lines before the current item, and after it.
    fn place(&self, after: bool) -> (u64, u64);
    /// Whether the current item is one of another session too.
    fn is_repeated(&self) -> bool {
        false
    }
    /// What other sessions have of the source; none of records that have none.
    fn family(&mut self) -> Option<&mut Family> {
        None
    }
    /// Shows the records before the current item.
    fn before(&self, look: &mut dyn FnMut(&[u8])) -> Result<(), ImportError>;
}

/// What a step may look at.
pub(in crate::exchange) struct Known<'k> {
    pub(super) store: &'k Store,
    pub(super) source: &'k Source,
    pub(super) at: Option<Timestamp>,
    pub(super) records: u64,
}

impl Inside for Core<'_> {
    fn of(&self) -> Known<'_> {
        Known { store: self.store, source: self.source, at: self.at, records: self.records }
    }

    fn batch(&mut self) -> &mut super::core::InBatch {
        &mut self.batch
    }

    fn place(&self, after: bool) -> (u64, u64) {
        match after {
            true => (self.reader.offset() + self.reader.bytes().len() as u64, self.reader.lines_after()),
            false => (self.reader.offset(), self.reader.line() - 1),
        }
    }

    fn is_repeated(&self) -> bool {
        self.is_known
    }

    fn family(&mut self) -> Option<&mut Family> {
        Some(&mut self.family)
    }

    fn before(&self, look: &mut dyn FnMut(&[u8])) -> Result<(), ImportError> {
        let io = |error| self.source.io(error);
        let mut reader = Reader::of(&self.source.parts, self.syntax);
        while let Some(item) = reader.advance().map_err(io)? {
            if reader.offset() >= self.reader.offset() {
                break;
            }
            if item == Item::Record {
                look(reader.record());
            }
        }
        Ok(())
    }
}

impl<'i, 'b> Step<'i, 'b> {
    pub(super) fn new(batch: &'i mut Batch<'b>, core: &'i mut dyn Inside, held: &'i Held) -> Step<'i, 'b> {
        Step { batch, core, held, piece: Template::default(), is_kept: false }
    }

    /// The record's bytes, and the white space around it.
    pub fn bytes(&self) -> &'i [u8] {
        &self.held.bytes
    }

    /// The record.
    pub fn record(&self) -> &'i [u8] {
        self.held.record()
    }

    /// Where the record begins in [`Step::bytes`].
    pub fn record_start(&self) -> usize {
        self.held.range.start
    }

    /// How many bytes of the source lie before [`Step::bytes`].
    pub fn offset(&self) -> u64 {
        self.core.place(false).0
    }

    /// Counts bytes that the record brings with it from elsewhere, so that a batch stays small.
    pub fn weigh(&mut self, bytes: usize) {
        self.core.batch().bytes += bytes;
    }

    /// Where a part of the record lies in [`Step::bytes`]; none for what is no part of it.
    pub fn range_of(&self, value: &RawValue) -> Option<Range<usize>> {
        range_in(&self.held.bytes, value)
    }

    /// Whether the record has a line of its own.
    pub fn is_whole_line(&self) -> bool {
        self.held.is_whole_line
    }

    /// The number of the record in its source, from 1.
    pub fn number(&self) -> u64 {
        self.core.of().records + 1
    }

    /// How many bytes of the source end with the record.
    pub fn end(&self) -> u64 {
        self.core.place(true).0
    }

    /// The time of the record, or of the last one that had one.
    pub fn at(&self) -> Option<Timestamp> {
        self.core.of().at
    }

    /// The store that is imported into.
    pub fn store(&self) -> &Store {
        self.core.of().store
    }

    /// The source that is imported.
    pub fn source(&self) -> &Source {
        self.core.of().source
    }

    /// Shows the records of the source before this one, from its start: those of a run that is out of order may be
    /// shown although they come after it. What this costs grows with the source.
    ///
    /// # Errors
    ///
    /// [`Stop`] where the source cannot be read again.
    pub fn before(&self, look: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        Ok(self.core.before(look)?)
    }

    /// Keeps the record with `holes` cut out: parts of [`Step::bytes`] that are payloads of rows of this batch. Those too
    /// short to gain by it stay. Called once for a record, or not at all.
    pub fn keep(&mut self, mut holes: Vec<(Range<usize>, Hole)>) {
        if std::mem::replace(&mut self.is_kept, true) {
            return;
        }
        holes.retain(|(range, _)| range.len() >= MIN_HOLE);
        holes.sort_by_key(|(range, _)| range.start);
        self.piece.add(&self.held.bytes, &holes);
    }

    /// As [`Step::keep`], with those strings cut out too that [`Step::keep_known`] would.
    ///
    /// # Errors
    ///
    /// [`Stop`] where the store cannot be read.
    pub fn keep_more(&mut self, mut holes: Vec<(Range<usize>, Hole)>) -> Result<(), Stop> {
        let known = known(self.store(), &self.held.bytes, self.held.range.clone())?;
        let apart =
            |range: &Range<usize>| holes.iter().all(|(hole, _)| range.end <= hole.start || hole.end <= range.start);
        let known: Vec<_> = known.into_iter().filter(|(range, _)| apart(range)).collect();
        holes.extend(known);
        self.keep(holes);
        Ok(())
    }

    /// Keeps the record with those strings cut out that the store has as payloads already, of whatever session.
    ///
    /// # Errors
    ///
    /// [`Stop`] where the store cannot be read.
    pub fn keep_known(&mut self) -> Result<(), Stop> {
        let holes = known(self.store(), &self.held.bytes, self.held.range.clone())?;
        self.keep(holes);
        Ok(())
    }

    /// Keeps the record as an annotation: what the model has no row for. A type that can be none becomes
    /// `import/record`.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn note(&mut self, kind: &str, turn: Option<TurnNumber>) -> Result<EventNumber, Stop> {
        let kind = if Annotation::new(kind, None, None).is_ok() { kind } else { "import/record" };
        let payload = self.batch.put(self.held.record());
        let event = self.batch.add_annotation(kind, turn, Some(payload))?;
        if !std::mem::replace(&mut self.is_kept, true) {
            self.piece.add(&self.held.bytes, &[(self.held.range.clone(), Hole::Note(event))]);
        }
        Ok(event)
    }

    /// Reports something odd in the record, which does not stop the import.
    pub fn odd(&mut self, kind: &str, message: impl Into<String>) {
        self.core.batch().odd(self.held.line, kind, message.into());
    }

    /// A number for a part that becomes a row's payload later: the hole [`Hole::Later`] with it is cut out if that row is
    /// in this batch.
    pub fn ask(&mut self) -> u64 {
        let batch = self.core.batch();
        batch.asked += 1;
        batch.asked
    }

    /// Says which eval's code a number became, as it is, if it was given in this batch.
    pub fn answer(&mut self, number: Option<u64>, eval: EvalNumber) {
        self.answer_with(number, Hole::Code(eval));
    }

    /// Says what a number became, if it was given in this batch.
    pub fn answer_with(&mut self, number: Option<u64>, hole: Hole) {
        if let Some(number) = number {
            self.core.batch().answers.insert(number, hole);
        }
    }

    /// Says that the record is no part of the history, and goes when the source is written anew: if it is the last one, the head at
    /// the end lies before it.
    pub fn closes(&mut self) {
        self.core.batch().closing = self.held.bytes.len() as u64;
    }

    /// Whether another session has this record too, whose head lies before it: its rows are made again, but what is counted, such as usage, is
    /// the other's.
    pub fn is_repeated(&self) -> bool {
        self.core.is_repeated()
    }

    /// Seals a head: before the record, or after it once it is kept. A source that leaves the history here later
    /// becomes a fork of it.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn seal<F: Format>(&mut self, state: &mut F) -> Result<HeadId, Stop> {
        let events = self.batch.counters().event;
        let head = self.batch.seal()?;
        if self.batch.counters().event > events {
            self.mark(state);
        }
        for invocation in state.returned() {
            self.batch.record_caller_head(invocation, head)?;
        }
        Ok(head)
    }

    /// Notes that a head was sealed here by other means than [`Step::seal`]: the last event but one is its.
    pub fn mark<F: Format>(&mut self, state: &F) {
        let Some(state) = state.at_head().filter(|_| !self.held.is_in_window) else { return };
        let Ok(state) = serde_json::value::to_raw_value(&state) else { return };
        let (bytes, lines) = self.core.place(self.is_kept);
        let Known { at, records, .. } = self.core.of();
        let records = records + u64::from(self.is_kept);
        let head = EventNumber(self.batch.counters().event.saturating_sub(1));
        self.core.batch().marks.push(Mark { head, records, bytes, lines, at, state });
    }

    /// Lets other sources find the session, unless the record is another's.
    pub(super) fn tell_family<F: Format>(&mut self, record: &F::Record<'_>) -> Result<(), Stop> {
        if self.is_repeated() {
            return Ok(());
        }
        let Some(mut family) = self.core.family().map(|family| std::mem::replace(family, Family::none())) else {
            return Ok(());
        };
        let told = family.tell::<F>(self, record);
        if let Some(place) = self.core.family() {
            *place = family;
        }
        told
    }

    pub(super) fn tell_two_records(&mut self) {
        if self.held.before_on_line == 1 {
            self.odd("two-records", "more than one record on a line: a line end was not written");
        }
    }

    /// The kept record.
    pub(super) fn done(mut self) -> Template {
        self.keep(Vec::new());
        self.piece
    }
}

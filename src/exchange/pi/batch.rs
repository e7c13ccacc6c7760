//! Records become events, some hundred in a commit. A batch ends where a turn ends, so that a killed import leaves
//! whole turns, and the next one makes the same batches that an undisturbed one would have made; only a very long turn
//! is cut, with a head of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

mod meaning;

use super::record::{Message, Part, Record, Shape};
use super::{Last, Pending, State, commit, messages_before};
use crate::exchange::json::{range_in, text};
use crate::exchange::kept::{self, Hole, Progress, Template, json_string};
use crate::exchange::source::{Item, Position, Reader};
use crate::exchange::{Diagnostic, ImportError, MAX_DIAGNOSTICS};
use crate::model::{Annotation, CallType, EvalNumber, EventNumber, MessageNumber, Role, Status};
use crate::store::error::CommitError;
use crate::store::{Batch, NewMessage, Session};

/// From this many records or bytes on a batch ends with its turn.
const ENOUGH: (u64, usize) = (256, 2 << 20);
/// From this many on it ends within a turn.
const LIMIT: (u64, usize) = (2_048, 8 << 20);
/// Ids of tools that were given up, remembered in case a result comes late.
const MAX_GIVEN_UP: usize = 256;
/// A part shorter than this stays in the kept source: a hole would be no shorter.
const MIN_HOLE: usize = 16;

/// Why a batch was not filled.
pub enum Stop {
    Commit(CommitError),
    Import(ImportError),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Stop {
        Stop::Commit(error)
    }
}

impl From<crate::model::id::BadId> for Stop {
    fn from(error: crate::model::id::BadId) -> Stop {
        Stop::Commit(error.into())
    }
}

/// An import under way: the source, and what was made of it so far.
pub struct Importer<'a> {
    path: &'a Path,
    reader: Reader<BufReader<File>>,
    /// The current item, not imported yet.
    item: Option<Item>,
    torn: Option<Diagnostic>,
    state: State,
    records: u64,
    previous: Option<EventNumber>,
    diagnostics_before: u64,
    batch: InBatch,
}

/// What belongs to the batch being filled.
#[derive(Default)]
struct InBatch {
    template: Template,
    diagnostics: Vec<Diagnostic>,
    records: u64,
    bytes: usize,
    asked: u64,
    /// The evals that tools asked for in this batch became.
    evals: HashMap<u64, EvalNumber>,
}

/// How a batch ends.
enum End<'s> {
    Seal,
    Compact { frame: &'s str, keep: usize },
}

impl<'a> Importer<'a> {
    /// Goes on where `last` came to; the reader is there.
    pub fn new(path: &'a Path, reader: Reader<BufReader<File>>, last: Option<&Last>) -> Importer<'a> {
        let progress = last.map(|last| &last.progress);
        Importer {
            path,
            reader,
            item: None,
            torn: None,
            state: progress.map(|progress| progress.state.clone()).unwrap_or_default(),
            records: progress.map_or(0, |progress| progress.records),
            previous: last.map(|last| last.event),
            diagnostics_before: progress
                .map_or(0, |progress| progress.diagnostics_before + progress.diagnostics.len() as u64),
            batch: InBatch::default(),
        }
    }

    /// Goes to the next item that becomes something.
    pub fn advance(&mut self) -> io::Result<()> {
        loop {
            self.item = self.reader.advance()?;
            match &self.item {
                // Empty lines are kept too, but not for their own sake.
                Some(Item::Blank) => {
                    if self.batch.template.size() < LIMIT.1 {
                        self.batch.template.add(self.reader.bytes(), &[]);
                    }
                }
                Some(Item::Torn) => {
                    let message = format!(
                        "the last line was not written to its end: {} bytes dropped",
                        self.reader.bytes().len()
                    );
                    self.torn = Some(Diagnostic::new(self.reader.line(), "torn-tail", message));
                    self.item = None;
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether there is something left to import.
    pub fn has_more(&self) -> bool {
        self.item.is_some()
    }

    /// The diagnostic of a torn last line.
    pub fn torn(self) -> Option<Diagnostic> {
        self.torn
    }

    /// Imports what is left.
    pub fn run(&mut self, session: &Session) -> Result<(), ImportError> {
        while self.has_more() {
            let key = format!("import/{}", self.reader.position().bytes);
            commit(session, &key, |batch| self.fill(batch))?;
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> Stop {
        Stop::Import(ImportError::Io { path: PathBuf::from(self.path), source })
    }

    fn reached(&self, (records, bytes): (u64, usize)) -> bool {
        self.batch.records >= records || self.batch.bytes >= bytes
    }

    fn fill(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        loop {
            let Some(item) = self.item.clone() else {
                self.end_turn(batch)?;
                return self.finish(batch, self.reader.position(), End::Seal);
            };
            // A copy, so that the record can be looked at while the import changes.
            let source = self.reader.bytes().to_vec();
            let range = self.reader.record_range();
            let record = match item {
                Item::Record => Record::read(&source[range.clone()]).map_err(|error| error.to_string()),
                _ => Err(String::new()),
            };
            let shape = record.as_ref().map_err(String::clone).and_then(Record::shape);
            let begins_turn = matches!(&shape, Ok(Shape::Message(Role::User, _)));
            if begins_turn {
                let open = self.end_turn(batch)?;
                if self.reached(ENOUGH) {
                    return self.finish(batch, self.reader.position(), End::Seal);
                }
                if open {
                    batch.seal()?;
                }
            } else if self.reached(LIMIT) {
                return self.finish(batch, self.reader.position(), End::Seal);
            }
            if item == Item::Record {
                self.count_record();
            }
            self.batch.bytes += source.len();
            let at = record.as_ref().ok().and_then(Record::at).or(self.state.at);
            if let Some(at) = at {
                self.state.at = Some(at);
                batch.at(at);
            }
            match (item, shape) {
                (Item::Record, Ok(Shape::Header)) if self.records == 1 => self.batch.template.add(&source, &[]),
                (Item::Record, Ok(Shape::Header)) => self.note(batch, "pi/session", &source, range)?,
                (Item::Record, Ok(Shape::Other(kind))) => {
                    self.note(batch, &format!("pi/{kind}"), &source, range)?;
                }
                (Item::Record, Ok(Shape::Message(role, message))) => {
                    self.message(batch, &source, role, &message)?;
                }
                (Item::Record, Ok(Shape::Compaction(frame))) => {
                    let first_kept = record.ok().and_then(|record| record.first_kept().zip(record.summary));
                    return self.compaction(batch, &source, &frame, first_kept);
                }
                (Item::Record, Err(why)) => {
                    self.odd("bad-record", format!("a record that cannot be understood is kept as it is: {why}"));
                    self.note(batch, "import/bad-record", &source, range)?;
                }
                (Item::Bad(why), _) => {
                    self.odd("bad-line", format!("what is no record is kept as it is: {why}"));
                    self.note(batch, "import/bad-line", &source, range)?;
                }
                (Item::Long, _) => {
                    self.odd("line-too-long", "a line of more than 64 MiB was passed over".to_owned());
                    batch.add_annotation("import/line-too-long", self.state.turn, None)?;
                }
                (Item::Blank | Item::Torn, _) => {}
            }
            self.advance().map_err(|error| self.io(error))?;
        }
    }

    fn count_record(&mut self) {
        self.records += 1;
        self.batch.records += 1;
        if self.reader.is_whole_line() {
            self.state.entries += 1;
        }
        if self.reader.before_on_line() == 1 {
            self.odd("two-records", "more than one record on a line: a line end was not written".to_owned());
        }
    }

    fn odd(&mut self, kind: &str, message: String) {
        if self.batch.diagnostics.len() < MAX_DIAGNOSTICS {
            self.batch.diagnostics.push(Diagnostic::new(self.reader.line(), kind, message));
        }
    }

    /// Ends the batch at `position`: keeps its source, and seals it.
    fn finish(&mut self, batch: &mut Batch, position: Position, end: End<'_>) -> Result<(), Stop> {
        let done = std::mem::take(&mut self.batch);
        let found = done.diagnostics.len() as u64;
        let progress = Progress {
            format: super::FORMAT.name.to_owned(),
            version: 1,
            records: self.records,
            bytes: position.bytes,
            lines: position.lines,
            hash: position.hash,
            previous: self.previous,
            tail: if matches!(end, End::Seal) { 2 } else { 3 },
            diagnostics: done.diagnostics,
            diagnostics_before: self.diagnostics_before,
            state: &self.state,
        };
        let payload = done.template.payload(&progress, &done.evals);
        let payload = batch.put(&payload);
        self.previous = Some(batch.add_annotation(kept::KIND, None, Some(payload))?);
        self.diagnostics_before += found;
        for pending in &mut self.state.pending {
            pending.number = None;
        }
        match end {
            End::Seal => batch.seal()?,
            End::Compact { frame, keep } => batch.compact(frame, keep)?,
        };
        Ok(())
    }
}

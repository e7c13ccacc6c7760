//! Records become events, about a thousand in a commit. A batch ends where a turn ends, so that a killed import leaves
//! whole turns, and the next one makes the same batches that an undisturbed one would have made; only a very long turn
//! is cut, with a head of its own.

mod core;
mod direct;
mod step;

use std::collections::VecDeque;

use super::beside::{self, Survey};
use super::family::Family;
use super::format::Format;
use super::kept::{self, Last};
use super::order;
use super::reader::{Item, Position};
use super::shared::Shared;
use super::source::Source;
use super::{Diagnostic, ImportError, Seen};
use crate::model::{HeadId, SessionId};
use crate::store::error::{CommitError, ReadError};
use crate::store::{Batch, Session, Store};

pub(super) use self::core::known;
pub(super) use direct::Direct;
pub use step::Step;

use self::core::{Core, Held};

/// From this many records or bytes on a batch ends with its turn.
const ENOUGH: (u64, usize) = (1_024, 2 << 20);
/// From this many on it ends within a turn.
pub(super) const LIMIT: (u64, usize) = (2_048, 8 << 20);

/// Why a batch was not filled: nothing of it is written.
pub enum Stop {
    /// The store refuses an event.
    Commit(CommitError),
    /// The source or the store cannot be read.
    Import(ImportError),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Stop {
        Stop::Commit(error)
    }
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Stop {
        Stop::Import(error)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        Stop::Import(error.into())
    }
}

impl From<crate::model::id::BadId> for Stop {
    fn from(error: crate::model::id::BadId) -> Stop {
        Stop::Commit(error.into())
    }
}

/// What follows a record.
#[derive(Debug, Default)]
pub enum After {
    /// The next one.
    #[default]
    Next,
    /// A compaction head, whose summary is `frame` and which keeps the last `keep` messages. The record is kept.
    Compact {
        /// The text of the summary.
        frame: String,
        /// How many messages before it stay in the transcript.
        keep: usize,
    },
    /// A head. The record is kept.
    Seal,
}

impl After {
    /// Seals the head that follows, where the batch goes on.
    fn seal(&self, batch: &mut Batch<'_>) -> Result<(), CommitError> {
        match self {
            After::Next => Ok(()),
            After::Compact { frame, keep } => batch.compact(frame, *keep).map(drop),
            After::Seal => batch.seal().map(drop),
        }
    }
}

/// A record as its format reads it, or why it cannot; of what is no record nothing.
type Read<'h, F> = Result<<F as Format>::Record<'h>, String>;

/// How a batch ends.
enum End {
    Seal,
    Compact { frame: String, keep: usize },
}

/// An import under way: the source, and what was made of it so far.
pub(super) struct Importer<'a, F> {
    core: Core<'a>,
    state: F,
    /// Where records are out of order: the offset of the first, and how many items.
    disorder: VecDeque<(u64, usize)>,
}

impl<'a, F: Format> Importer<'a, F> {
    /// Begins at the source's start, or goes on where `last` came to.
    pub(super) fn new(
        store: &'a Store,
        source: &'a Source,
        last: Option<Last<F>>,
        shared: Option<Shared>,
        seen: &'a mut dyn FnMut(Seen),
    ) -> Result<Importer<'a, F>, ImportError> {
        let bytes = last.as_ref().map_or(0, |last| last.progress.bytes);
        let bytes = bytes.max(shared.as_ref().map_or(0, Shared::until));
        let core =
            Core::new(store, source, F::SYNTAX, last.as_ref(), shared, seen).map_err(|error| source.io(error))?;
        let disorder = if F::IS_ORDERED {
            order::disorder(source, bytes, F::SYNTAX, F::order).map_err(|error| source.io(error))?
        } else {
            VecDeque::new()
        };
        let state = last.map(|last| last.progress.state).unwrap_or_default();
        let mut importer = Importer { core, state, disorder };
        importer.core.advance().map_err(|error| source.io(error))?;
        Ok(importer)
    }

    /// Says what other sessions have of the source.
    pub(super) fn family(&mut self, family: Family) {
        self.core.family = family;
    }

    /// Whether there is something left to import.
    pub(super) fn has_more(&self) -> bool {
        self.core.has_more()
    }

    /// Whether there is something left to import, or a file beside the source is another than in `session`.
    pub(super) fn has_news(&self, session: Option<&SessionId>) -> Result<bool, ImportError> {
        Ok(self.has_more() || self.changed_files(session)?.is_some())
    }

    fn changed_files(&self, session: Option<&SessionId>) -> Result<Option<Survey>, ImportError> {
        let core = &self.core;
        beside::changed::<F>(core.store, core.source, session.zip(core.files), core.reader.offset())
    }

    /// The diagnostic of a torn last line.
    pub(super) fn torn(self) -> Option<Diagnostic> {
        self.core.torn
    }

    /// Imports what is left.
    pub(super) fn run(&mut self, session: &Session) -> Result<(), ImportError> {
        let had_more = self.has_more();
        while self.has_more() {
            self.next(session)?;
        }
        if had_more && self.state.is_open() {
            self.next(session)?;
        }
        if !had_more && let Some(survey) = self.changed_files(Some(session.id()))? {
            let key = format!("import/{}/files/{}", self.core.reader.offset(), survey.digest());
            self.write(session, &key)?;
        }
        Ok(())
    }

    fn next(&mut self, session: &Session) -> Result<(), ImportError> {
        // The batch before is part of it: where a source goes on behind an end, two may begin at one place.
        let previous = self.core.previous.map_or(0, |event| event.0);
        self.write(session, &format!("import/{}/{previous}", self.core.reader.offset()))
    }

    fn write(&mut self, session: &Session, key: &str) -> Result<(), ImportError> {
        let mut stopped = None;
        let result = session.write(|batch| {
            batch.import();
            batch.key(key);
            self.fill(batch).map_err(|stop| match stop {
                Stop::Commit(error) => error,
                // A batch's closure cannot return the errors of reading a source.
                Stop::Import(error) => {
                    stopped = Some(error);
                    CommitError::Invalid("the source could not be read".to_owned())
                }
            })
        });
        match (result, stopped) {
            (_, Some(error)) => Err(error),
            (result, None) => Ok(result?),
        }
    }

    fn advance(&mut self) -> Result<(), Stop> {
        self.core.advance().map_err(|error| Stop::Import(self.core.source.io(error)))
    }

    fn fill(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        loop {
            let Some(item) = self.core.item.clone() else {
                self.state.source_ended(&mut self.core.step(batch, &Held::nothing()))?;
                let session = batch.session().clone();
                if let Some(survey) = self.changed_files(Some(&session))? {
                    self.core.keep_files(batch, &survey, |payload| self.state.refers_to(payload))?;
                }
                return self.finish(batch, self.core.reader.position(), End::Seal);
            };
            if self.core.take_shared()? {
                if item == Item::Record {
                    self.state.passed(self.core.reader.record());
                }
                self.advance()?;
                continue;
            }
            if item == Item::Long {
                if self.core.batch.reached(LIMIT) {
                    return self.finish(batch, self.core.reader.position(), End::Seal);
                }
                self.core.long_line(batch, self.state.turn())?;
                self.advance()?;
                continue;
            }
            if let Some((_, count)) = self.disorder.pop_front_if(|(at, _)| *at == self.core.reader.offset()) {
                if self.core.batch.records > 0 && self.core.batch.reached((LIMIT.0 - count as u64, LIMIT.1)) {
                    self.disorder.push_front((self.core.reader.offset(), count));
                    return self.finish(batch, self.core.reader.position(), End::Seal);
                }
                self.window(batch, count)?;
                continue;
            }
            let held = self.core.hold(item);
            let record = held.read::<F>();
            let limit = if self.begin(batch, &held, &record)? { ENOUGH } else { LIMIT };
            if self.core.batch.reached(limit) {
                return self.finish(batch, self.core.reader.position(), End::Seal);
            }
            let (after, piece) = self.one(batch, &held, record)?;
            self.core.batch.template.append(piece);
            let end = match after {
                After::Next => None,
                After::Compact { frame, keep } => Some(End::Compact { frame, keep }),
                After::Seal => Some(End::Seal),
            };
            if let Some(end) = end {
                self.finish(batch, self.core.reader.position_after(), end)?;
                return self.advance();
            }
            self.advance()?;
        }
    }

    /// Ends the turn before an item that begins one; says whether it does.
    fn begin(&mut self, batch: &mut Batch<'_>, held: &Held, record: &Read<'_, F>) -> Result<bool, Stop> {
        if !record.as_ref().is_ok_and(|record| self.state.begins_turn(record)) {
            return Ok(false);
        }
        let is_enough = !held.is_in_window && self.core.batch.reached(ENOUGH);
        let mut step = self.core.step(batch, held);
        if self.state.end_turn(&mut step)? && !is_enough {
            step.seal(&mut self.state)?;
        }
        Ok(true)
    }

    fn one(
        &mut self,
        batch: &mut Batch<'_>,
        held: &Held,
        record: Read<'_, F>,
    ) -> Result<(After, super::template::Template), Stop> {
        self.core.batch.bytes += held.bytes.len();
        self.core.batch.closing = 0;
        if let Some(at) = record.as_ref().ok().and_then(F::at).or(self.core.at) {
            self.core.at = Some(at);
            batch.at(at);
        }
        self.core.is_known = match &record {
            Ok(record) => self.core.is_of_another::<F>(held, record)?,
            Err(_) => false,
        };
        let mut step = self.core.step(batch, held);
        let after = match (&held.item, record) {
            (Item::Record, Ok(record)) => {
                step.tell_two_records();
                step.tell_family::<F>(&record)?;
                self.state.record(&mut step, record)?
            }
            (Item::Record, Err(why)) => {
                step.odd("bad-record", format!("a record that cannot be understood is kept as it is: {why}"));
                step.note("import/bad-record", self.state.turn())?;
                After::Next
            }
            (Item::Bad(why), _) => {
                step.odd("bad-line", format!("what is no record is kept as it is: {why}"));
                step.note("import/bad-line", self.state.turn())?;
                After::Next
            }
            _ => After::Next,
        };
        let piece = step.done();
        if held.item == Item::Record {
            self.core.records += 1;
            self.core.batch.records += 1;
        }
        Ok((after, piece))
    }

    /// Imports `count` items in the order of their history; they are kept in that of the file.
    fn window(&mut self, batch: &mut Batch<'_>, count: usize) -> Result<(), Stop> {
        let mut items = Vec::new();
        while let Some(item) = self.core.item.take() {
            if items.len() == count {
                self.core.item = Some(item);
                break;
            }
            items.push(Held { is_in_window: true, ..self.core.hold(item) });
            self.core.item = self.core.reader.advance().map_err(|error| self.core.source.io(error))?;
        }
        let message = "records are not in the order of their history: they are taken in that order";
        self.core.batch.odd(items.first().map_or(0, |held| held.line), "out-of-order", message.to_owned());
        let order = order::sorted(items.iter().map(|held| (held.item == Item::Record, held.record())), F::order);
        let mut pieces: Vec<_> = items.iter().map(|_| None).collect();
        for at in order {
            let record = items[at].read::<F>();
            self.begin(batch, &items[at], &record)?;
            let (after, piece) = self.one(batch, &items[at], record)?;
            pieces[at] = Some(piece);
            after.seal(batch)?;
        }
        for piece in pieces.into_iter().flatten() {
            self.core.batch.template.append(piece);
        }
        self.core.settle();
        Ok(())
    }

    /// Ends the batch at `position`: keeps its source, and seals it.
    fn finish(&mut self, batch: &mut Batch<'_>, position: Position, end: End) -> Result<(), Stop> {
        let returned = self.state.returned();
        let after = returned.len() as u64;
        let tail = after + if matches!(end, End::Seal) { 2 } else { 3 };
        let (done, progress) = self.core.progress(position, (tail, after), F::NAME, &self.state);
        let payload = kept::payload(&progress, done.template, &done.answers);
        let payload = batch.put(&payload);
        self.core.previous = Some(batch.add_annotation(kept::KIND, None, Some(payload))?);
        self.state.batch_ended();
        let head: HeadId = match end {
            End::Seal => batch.seal()?,
            End::Compact { frame, keep } => batch.compact(&frame, keep)?,
        };
        for invocation in returned {
            batch.record_caller_head(invocation, head)?;
        }
        self.core.tell();
        Ok(())
    }
}

//! Records that a program appends one by one, without a file: the same rows as an import makes, the same kept source.

use std::io::BufReader;

use super::super::ImportError;
use super::super::format::Format;
use super::super::kept::{self, Last, Progress};
use super::super::reader::{Item, Reader, Syntax};
use super::super::shared::{flat, unreadable};
use super::super::source::Source;
use super::core::{Held, InBatch};
use super::step::{Inside, Known};
use super::{Step, Stop};
use crate::model::{SessionId, Timestamp};
use crate::store::error::CommitError;
use crate::store::{Batch, NewSession, Session, Store};

/// Appending records to a session's kept source.
pub(in crate::exchange) struct Direct<'a> {
    store: &'a Store,
    /// The session, once there is a kept source.
    session: Option<SessionId>,
    source: Source,
    syntax: Syntax,
    lines: &'a [Vec<u8>],
    /// How many of the lines were taken, and their bytes with those before.
    taken: usize,
    bytes: u64,
    ends: u64,
    at: Option<Timestamp>,
    records: u64,
    batch: InBatch,
}

impl<'a> Direct<'a> {
    /// Appends lines to a session whose kept source ends with `last`: one commit, and a head behind it.
    pub(in crate::exchange) fn write<F: Format>(
        session: &Session,
        last: Option<Last<F>>,
        lines: &'a [Vec<u8>],
    ) -> Result<(), ImportError> {
        let mut stopped = None;
        let store = session.store();
        let id = Some(session.id().clone());
        let result =
            session.write(|batch| Direct::fill(store, id, batch, last, lines).map_err(|stop| told(stop, &mut stopped)));
        stopped.map_or(Ok(result?), Err)
    }

    /// Makes a session of these lines, all or nothing.
    pub(in crate::exchange) fn create<F: Format>(
        store: &Store,
        new: NewSession,
        lines: &[Vec<u8>],
    ) -> Result<Session, ImportError> {
        let mut stopped = None;
        let made = store.create_session_with(new, |batch| {
            Direct::fill::<F>(store, None, batch, None, lines).map_err(|stop| told(stop, &mut stopped))
        });
        match (made, stopped) {
            (_, Some(error)) => Err(error),
            (made, None) => Ok(made?.0),
        }
    }

    fn fill<F: Format>(
        store: &'a Store,
        session: Option<SessionId>,
        batch: &mut Batch<'_>,
        last: Option<Last<F>>,
        lines: &'a [Vec<u8>],
    ) -> Result<(), Stop> {
        batch.import();
        let progress = last.as_ref().map(|last| &last.progress);
        let mut direct = Direct {
            store,
            session,
            source: Source { path: Default::default(), below: String::new(), parts: Vec::new() },
            syntax: F::SYNTAX,
            lines,
            taken: 0,
            bytes: progress.map_or(0, |progress| progress.bytes),
            ends: progress.map_or(0, |progress| progress.lines),
            at: progress.and_then(|progress| progress.at),
            records: progress.map_or(0, |progress| progress.records),
            batch: InBatch::default(),
        };
        let mut progress = match &last {
            Some(last) => Progress { previous: last.event, marks: Vec::new(), ..last.progress.clone() },
            None => Progress::new(),
        };
        progress.diagnostics_before += std::mem::take(&mut progress.diagnostics).len() as u64;
        for line in lines {
            direct.line(batch, &mut progress.state, line)?;
        }
        let done = direct.batch;
        let progress = Progress {
            records: direct.records,
            bytes: direct.bytes,
            lines: direct.ends,
            // That of all bytes so far would cost more with each line.
            hash: None,
            at: direct.at,
            tail: 2,
            after: 0,
            from: None,
            closing: 0,
            marks: done.marks,
            diagnostics: done.diagnostics,
            ..progress
        };
        let payload = kept::payload(&progress, done.template, &done.answers);
        let payload = batch.put(&payload);
        batch.add_annotation(kept::KIND, None, Some(payload))?;
        batch.seal()?;
        Ok(())
    }

    fn line<F: Format>(&mut self, batch: &mut Batch<'_>, state: &mut F, line: &[u8]) -> Result<(), Stop> {
        let held = Held::line(line, self.ends + 1);
        let record = F::read(held.record()).map_err(|why| Stop::Commit(CommitError::Invalid(why)))?;
        let begins = state.begins_turn(&record);
        if begins {
            let mut step = Step::new(batch, self, &held);
            if state.end_turn(&mut step)? {
                step.seal(state)?;
            }
        }
        if let Some(at) = F::at(&record) {
            self.at = Some(at);
            batch.at(at);
        }
        let mut step = Step::new(batch, self, &held);
        let after = state.record(&mut step, record)?;
        if state.is_settled() {
            state.end_turn(&mut step)?;
        }
        let piece = step.done();
        self.batch.template.append(piece);
        after.seal(batch)?;
        (self.taken, self.records) = (self.taken + 1, self.records + 1);
        self.bytes += line.len() as u64;
        self.ends += 1;
        Ok(())
    }
}

fn told(stop: Stop, stopped: &mut Option<ImportError>) -> CommitError {
    match stop {
        Stop::Commit(error) => error,
        // A batch's closure cannot return the errors of reading a source.
        Stop::Import(error) => {
            *stopped = Some(error);
            CommitError::Invalid("the source could not be read".to_owned())
        }
    }
}

impl Inside for Direct<'_> {
    fn of(&self) -> Known<'_> {
        Known { store: self.store, source: &self.source, at: self.at, records: self.records }
    }

    fn batch(&mut self) -> &mut InBatch {
        &mut self.batch
    }

    fn place(&self, after: bool) -> (u64, u64) {
        let line = self.lines.get(self.taken).filter(|_| after);
        (self.bytes + line.map_or(0, |line| line.len() as u64), self.ends + u64::from(line.is_some()))
    }

    fn before(&self, look: &mut dyn FnMut(&[u8])) -> Result<(), ImportError> {
        if let Some(session) = &self.session {
            let file = flat(self.store, session, 0, u64::MAX).map_err(|error| unreadable(&self.source, error))?;
            let mut reader = Reader::over(BufReader::new(file)).with_syntax(self.syntax);
            while let Some(item) = reader.advance().map_err(|error| self.source.io(error))? {
                if item == Item::Record {
                    look(reader.record());
                }
            }
        }
        self.lines[..self.taken].iter().for_each(|line| look(line));
        Ok(())
    }
}

//! Records become events, some hundred in a commit. A batch ends where a turn ends, so that a killed import leaves
//! whole turns, and the next one makes the same batches that an undisturbed one would have made; only a very long turn
//! is cut, with a head of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

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

/// A message's content, and what it leaves of its record.
struct Content<'r> {
    bytes: Vec<u8>,
    /// The part of the record that it is, and whether as a JSON string.
    hole: Option<(Range<usize>, bool)>,
    tools: Vec<Part<'r>>,
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

    /// What the model has no row for is an annotation with its bytes.
    fn note(&mut self, batch: &mut Batch, kind: &str, source: &[u8], range: Range<usize>) -> Result<(), Stop> {
        let kind = if Annotation::new(kind, None, None).is_ok() { kind } else { "pi/record" };
        let payload = batch.put(&source[range.clone()]);
        let event = batch.add_annotation(kind, self.state.turn, Some(payload))?;
        self.batch.template.add(source, &[(range, Hole::Note(event))]);
        Ok(())
    }

    fn message(&mut self, batch: &mut Batch, source: &[u8], role: Role, message: &Message<'_>) -> Result<(), Stop> {
        let is_bash = matches!(&role, Role::Other(role) if role == "bashExecution");
        let content = content(source, if is_bash { message.output } else { message.content });
        if role == Role::User {
            self.begin_turn(batch, &content)?;
        } else if self.state.turn.is_some() {
            // The source went on after an import that took it for ended.
            self.state.ended = false;
        }
        let mut holes = Vec::new();
        let mut new = NewMessage::new(role.clone(), content.bytes.clone());
        if let Some(turn) = self.state.turn {
            new = new.turn(turn);
        }
        let number = match role {
            Role::Assistant => self.answer(batch, source, message, new, &content, &mut holes)?,
            Role::Tool => {
                self.tool_result(batch, message, &content)?;
                batch.add_message(new)?
            }
            _ => {
                if is_bash {
                    self.bash(batch, source, message, &content, &mut holes)?;
                }
                batch.add_message(new)?
            }
        };
        if let Some((range, is_text)) = content.hole {
            holes.push((range, if is_text { Hole::Text(number) } else { Hole::Content(number) }));
        }
        holes.retain(|(range, _)| range.len() >= MIN_HOLE);
        holes.sort_by_key(|(range, _)| range.start);
        self.batch.template.add(source, &holes);
        Ok(())
    }

    fn begin_turn(&mut self, batch: &mut Batch, content: &Content<'_>) -> Result<(), Stop> {
        let input = batch.put(&content.bytes);
        let at = self.state.at;
        let turn = batch.begin_turn(|turn| {
            turn.input = Some(input);
            turn.started_at = at;
        })?;
        self.state = State {
            entries: self.state.entries,
            turn: Some(turn),
            given_up: std::mem::take(&mut self.state.given_up),
            at,
            ..State::default()
        };
        Ok(())
    }

    /// A call and its answer.
    fn answer(
        &mut self,
        batch: &mut Batch,
        source: &[u8],
        message: &Message<'_>,
        new: NewMessage,
        content: &Content<'_>,
        holes: &mut Vec<(Range<usize>, Hole)>,
    ) -> Result<MessageNumber, Stop> {
        let (turn, ended) = (self.state.turn, self.state.at);
        let started = message.at().or(ended);
        if let Some(at) = started {
            batch.at(at);
        }
        let call = batch.begin_call(CallType::Root, |call| {
            call.turn = turn;
            call.provider = message.provider();
            call.model = message.model();
            call.started_at = started;
        })?;
        if let Some(at) = ended {
            batch.at(at);
        }
        let stop = message.stop_reason();
        let error = message.error_message();
        let status = match stop.as_deref() {
            Some("aborted") => Status::ABORTED,
            Some("error") => Status::ERROR,
            _ => Status::OK,
        };
        let response = (!content.bytes.is_empty()).then(|| batch.put(&content.bytes));
        let raw_error = error.as_ref().map(|error| batch.put(error.as_bytes()));
        let usage = message.usage();
        batch.update_call(call, |row| {
            row.status = status;
            row.response = response;
            row.error = raw_error;
            row.tokens_input = usage.input();
            row.tokens_output = usage.output();
            row.tokens_cached = usage.cached();
            row.cost = usage.cost();
            row.ended_at = ended;
        })?;
        let number = batch.add_message(new.call(call))?;
        for tool in &content.tools {
            let place = self.batch.asked;
            self.batch.asked += 1;
            self.state.pending.push(Pending {
                id: tool.id().unwrap_or_default(),
                name: tool.name(),
                code: tool.arguments.map(|code| code.get().to_owned()),
                message: number,
                call,
                at: ended,
                number: Some(place),
            });
            if let Some(range) = tool.arguments.filter(|_| content.cuts_tools()).and_then(|code| range_in(source, code))
            {
                holes.push((range, Hole::Later(place)));
            }
        }
        self.state.answer = response;
        self.state.stop = stop;
        self.state.error = error;
        Ok(number)
    }

    /// The eval that a result ends.
    fn tool_result(&mut self, batch: &mut Batch, message: &Message<'_>, content: &Content<'_>) -> Result<(), Stop> {
        let id = message.tool_call_id();
        let found = self.state.pending.iter().position(|pending| Some(&pending.id) == id.as_ref());
        let pending = found.map(|at| self.state.pending.remove(at));
        if pending.is_none() && id.is_some_and(|id| self.state.given_up.contains(&id)) {
            let message = "the result of a tool that was recorded as unfinished before: it is a message alone";
            self.odd("late-result", message.to_owned());
            return Ok(());
        }
        let value = batch.put(&content.bytes);
        let status = if message.is_error() { Status::ERROR } else { Status::OK };
        let name = message.tool_name();
        self.eval(batch, pending, status.clone(), |eval| {
            eval.name = eval.name.take().or(name);
            if status == Status::ERROR {
                eval.error = Some(value);
            } else {
                eval.result = Some(value);
            }
        })
    }

    fn eval(
        &mut self,
        batch: &mut Batch,
        pending: Option<Pending>,
        status: Status,
        fill: impl FnOnce(&mut crate::model::Eval),
    ) -> Result<(), Stop> {
        let code = pending.as_ref().and_then(|pending| pending.code.as_ref()).map(|code| batch.put(code.as_bytes()));
        let place = pending.as_ref().and_then(|pending| pending.number);
        let (turn, ended) = (self.state.turn, self.state.at);
        let number = batch.add_eval(status, |eval| {
            eval.turn = turn;
            eval.code = code;
            eval.ended_at = ended;
            if let Some(pending) = pending {
                eval.name = pending.name;
                eval.message = Some(pending.message);
                eval.call = Some(pending.call);
                eval.started_at = pending.at;
            }
            fill(eval);
        })?;
        if let Some(place) = place {
            self.batch.evals.insert(place, number);
        }
        Ok(())
    }

    /// A command that the user ran: an eval that no call asked for.
    fn bash(
        &mut self,
        batch: &mut Batch,
        source: &[u8],
        message: &Message<'_>,
        content: &Content<'_>,
        holes: &mut Vec<(Range<usize>, Hole)>,
    ) -> Result<(), Stop> {
        let code = text(message.command);
        let digest = code.as_ref().map(|code| batch.put(code.as_bytes()));
        let result = batch.put(&content.bytes);
        let status = match (message.cancelled(), message.exit_code()) {
            (true, _) => Status::ABORTED,
            (false, Some(0) | None) => Status::OK,
            (false, Some(_)) => Status::ERROR,
        };
        let number = EvalNumber(batch.counters().eval + 1);
        self.eval(batch, None, status, |eval| {
            eval.name = Some("bash".to_owned());
            eval.code = digest;
            eval.result = Some(result);
        })?;
        let written = message.command.zip(code).filter(|(raw, code)| json_string(code) == raw.get());
        if let Some(range) = written.and_then(|(raw, _)| range_in(source, raw)) {
            holes.push((range, Hole::CodeText(number)));
        }
        Ok(())
    }

    /// Ends the turn, if one is open; says whether.
    fn end_turn(&mut self, batch: &mut Batch) -> Result<bool, Stop> {
        let Some(turn) = self.state.turn.filter(|_| !self.state.ended) else { return Ok(false) };
        if let Some(at) = self.state.at {
            batch.at(at);
        }
        for pending in std::mem::take(&mut self.state.pending) {
            self.state.given_up.push(pending.id.clone());
            self.eval(batch, Some(pending), Status::UNFINISHED, |_| {})?;
        }
        let excess = self.state.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.state.given_up.drain(..excess);
        let status = match self.state.stop.as_deref() {
            Some("stop" | "length") => Status::FINAL,
            Some("aborted") => Status::ABORTED,
            Some("error") => Status::ERROR,
            _ => Status::UNFINISHED,
        };
        let final_value = self.state.answer.filter(|_| status == Status::FINAL);
        let failed = status == Status::ABORTED || status == Status::ERROR;
        let error = self.state.error.as_ref().filter(|_| failed).map(|error| batch.put(error.as_bytes()));
        let at = self.state.at;
        batch.update_turn(turn, |row| {
            row.status = status;
            row.final_value = final_value;
            row.error = error;
            row.ended_at = at;
        })?;
        self.state.ended = true;
        Ok(true)
    }

    /// A summary that stands for what came before the first record that Pi keeps.
    fn compaction(
        &mut self,
        batch: &mut Batch,
        source: &[u8],
        frame: &str,
        first_kept: Option<(u64, &RawValue)>,
    ) -> Result<(), Stop> {
        // After a settled answer the turn is over; otherwise Pi compacts in its middle and goes on.
        let settled = matches!(self.state.stop.as_deref(), Some("stop" | "length")) && self.state.pending.is_empty();
        if settled && self.end_turn(batch)? {
            batch.seal()?;
        }
        let messages = batch.counters().message;
        let keep = match first_kept {
            Some((index, _)) if index < self.state.entries => {
                let before = messages_before(self.path, index).map_err(Stop::Import)?;
                usize::try_from(messages.saturating_sub(before)).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        let written = first_kept.map(|(_, raw)| raw).filter(|raw| json_string(frame) == raw.get());
        let hole = written.and_then(|raw| range_in(source, raw)).filter(|range| range.len() >= MIN_HOLE);
        let holes: Vec<_> = hole.map(|range| (range, Hole::Text(MessageNumber(messages + 1)))).into_iter().collect();
        self.batch.template.add(source, &holes);
        self.finish(batch, self.reader.position_after(), End::Compact { frame, keep })?;
        self.advance().map_err(|error| self.io(error))
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

impl Content<'_> {
    /// Whether the tools' arguments can be cut out of the record: not where they lie within a hole already.
    fn cuts_tools(&self) -> bool {
        !matches!(self.hole, Some((_, false)))
    }
}

/// A message's content: its text where it has one text, nothing where it has none, else the JSON as it is written.
fn content<'r>(source: &[u8], value: Option<&'r RawValue>) -> Content<'r> {
    let Some(value) = value else { return Content { bytes: Vec::new(), hole: None, tools: Vec::new() } };
    let as_text = |raw: &RawValue, text: String, tools| {
        let written = json_string(&text) == raw.get();
        let hole = range_in(source, raw).filter(|_| written).map(|range| (range, true));
        Content { bytes: text.into_bytes(), hole, tools }
    };
    if let Some(text) = text(Some(value)) {
        return as_text(value, text, Vec::new());
    }
    let mut parts = Part::list(value).unwrap_or_default();
    let kinds: Vec<Option<String>> = parts.iter().map(Part::kind).collect();
    let known = kinds.iter().all(|kind| matches!(kind.as_deref(), Some("text" | "thinking" | "toolCall")));
    let mut texts = parts.iter().zip(&kinds).filter(|(_, kind)| kind.as_deref() == Some("text")).map(|(part, _)| part);
    let (first, more) = (texts.next(), texts.next().is_some());
    let one_text = first.and_then(|part| part.text).and_then(|raw| text(Some(raw)).map(|text| (raw, text)));
    let no_text = first.is_none() && known && value.get().starts_with('[') && is_list(value, parts.len());
    let mut next = kinds.iter();
    parts.retain(|_| next.next().is_some_and(|kind| kind.as_deref() == Some("toolCall")));
    match one_text {
        Some((raw, text)) if known && !more => as_text(raw, text, parts),
        None if no_text => Content { bytes: Vec::new(), hole: None, tools: parts },
        _ => Content {
            bytes: value.get().as_bytes().to_vec(),
            hole: range_in(source, value).map(|range| (range, false)),
            tools: parts,
        },
    }
}

/// Whether `value` is a list of that many parts: one that could not be read counts none.
fn is_list(value: &RawValue, parts: usize) -> bool {
    parts > 0 || value.get().trim_start_matches('[').trim_start().starts_with(']')
}

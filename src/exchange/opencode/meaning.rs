//! What a message and its parts mean: turns, messages, calls, evals, invocations, compactions.

use super::fill::{Holes, Import, chain, short};
use super::record::{Message, Part};
use super::walk::stem;
use super::{Answer, Open};
use crate::exchange::batch::Stop;
use crate::exchange::json::{range_in, text};
use crate::exchange::template::{Hole, json_string};
use crate::model::{Body, Call, CallNumber, CallType, Digest, MessageNumber, Role, Status, Turn};
use crate::store::error::CommitError;
use crate::store::{Batch, NewMessage};

/// So many bytes of a message's parts are held; others are read again.
const HELD: usize = 8 << 20;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Tool,
    StepStart,
    StepFinish,
    Compaction,
    Other,
}

/// A part's file.
pub(super) struct File {
    pub(super) at: usize,
    pub(super) kind: Kind,
    bytes: Option<Vec<u8>>,
    /// Where it lies in the content, if that is a list.
    slice: Option<(u64, u64)>,
}

/// A message's content.
#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// Whether it is the text of its one part.
    is_text: bool,
    /// All texts of the message, those that were there before included.
    said: String,
}

/// The message that is looked at.
pub(super) struct This<'m> {
    at: usize,
    pub(super) message: Message<'m>,
    pub(super) files: Vec<File>,
    pub(super) open: Open,
}

impl Import<'_> {
    /// Nothing comes to the message before any more: what it waited for is given up.
    pub(super) fn settle(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        self.pause(batch)?;
        if self.state.open.take().is_some() {
            let at = usize::try_from(self.state.units).unwrap_or(usize::MAX);
            self.state.units += 1;
            self.state.chain = chain(&self.survey, at.saturating_add(1));
        }
        Ok(())
    }

    /// What is at work in the last message has its evals, without results so far.
    pub(super) fn pause(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        let Some(mut open) = self.state.open.take() else { return Ok(()) };
        let at = usize::try_from(self.state.units).unwrap_or(usize::MAX);
        let running = std::mem::take(&mut open.running);
        let files = self.survey.units.get(at).map_or(0..0, |unit| unit.first + 1..unit.first + unit.count);
        for file in files.filter(|_| !running.is_empty()) {
            let name = stem(&self.survey.files[file].name).to_owned();
            if !running.contains(&name) {
                continue;
            }
            let bytes = self.read(file)?.bytes.unwrap_or_default();
            if let Ok(part) = Part::read(&bytes) {
                let call = open.calls.last().map(|(call, _)| *call);
                let (eval, _) = self.eval(batch, &part, Status::UNFINISHED, (open.message, call, None), &[])?;
                open.unfinished.push((name.clone(), eval));
                open.evals.push(name);
            }
        }
        self.state.open = Some(open);
        Ok(())
    }

    /// A message, or what came to it since it was looked at last.
    pub(super) fn unit(&mut self, batch: &mut Batch<'_>, at: usize, grows: bool) -> Result<(), Stop> {
        if !grows {
            self.settle(batch)?;
        }
        let unit = &self.survey.units[at];
        let (first, meaning, id) = (unit.first, unit.meaning, unit.id.clone());
        if let Some(at) = unit.at {
            batch.at(at);
        }
        if unit.is_user && !grows {
            self.end_turn(batch)?;
            self.seal(batch)?;
        }
        let bytes = self.read(first)?.bytes.unwrap_or_default();
        let message = Message::read(&bytes).map_err(CommitError::Invalid)?;
        let open = self.state.open.take().filter(|_| grows).unwrap_or_else(|| Open {
            id,
            meaning,
            message: None,
            said: Vec::new(),
            evals: Vec::new(),
            running: Vec::new(),
            unfinished: Vec::new(),
            calls: Vec::new(),
            is_followed: false,
        });
        let mut this = This { at, message, files: self.parts(at)?, open: Open { meaning, ..open } };
        let is_summary = this.is_summary();
        let content = self.content(&mut this)?;
        if this.message.is_user() {
            self.begin_turn(batch, &this, &content, grows)?;
        } else {
            self.run_turn(batch)?;
            self.calls(batch, &mut this, &content)?;
        }
        let is_new = grows && !content.bytes.is_empty();
        let mut holes_of = None;
        if !is_summary && (!grows || is_new || this.open.message.is_none()) && !this.waits(self.survey.units.len()) {
            let role = if this.message.is_user() { Role::User } else { Role::Assistant };
            let mut new = NewMessage::new(role, content.bytes.clone());
            new.turn = self.state.turn;
            new.call = this.open.calls.last().map(|(call, _)| *call);
            let number = batch.add_message(new)?;
            this.open.message.get_or_insert(number);
            holes_of = Some(number);
        }
        self.tools(batch, &mut this)?;
        let summary = is_summary && this.open.message.is_none();
        if summary {
            let number = MessageNumber(batch.counters().message + 1);
            (this.open.message, holes_of) = (Some(number), Some(number));
        }
        self.keep_said(&this, &content, holes_of.filter(|_| !summary || content.is_text))?;
        self.keep_known(first, &bytes)?;
        self.answered(batch, &this, &content);
        let turn = self.state.turn.filter(|_| this.message.is_user());
        let calls = this.open.calls.iter().map(|(call, _)| *call).collect();
        self.state.made.push((this.open.id.clone(), turn, calls));
        if this.open.message.is_none() {
            // All of it is to be said yet.
            this.open.said.clear();
        }
        let completed = this.message.completed();
        let (open, keep) = (this.open, self.kept_messages(at));
        self.state.open = Some(open);
        if let Some(completed) = completed {
            batch.at(completed);
        }
        if summary {
            let head = batch.compact(&content.said, keep)?;
            self.mark(batch, head);
        }
        Ok(())
    }

    /// The parts of a message.
    fn parts(&mut self, at: usize) -> Result<Vec<File>, Stop> {
        let unit = &self.survey.units[at];
        let (mut files, mut held) = (Vec::new(), 0);
        for at in unit.first + 1..unit.first + unit.count {
            let bytes = self.read(at)?.bytes.unwrap_or_default();
            let kind = Part::read(&bytes).ok().and_then(|part| part.kind());
            let kind = match kind.as_deref() {
                Some("text") => Kind::Text,
                Some("tool") => Kind::Tool,
                Some("step-start") => Kind::StepStart,
                Some("step-finish") => Kind::StepFinish,
                Some("compaction") => Kind::Compaction,
                _ => Kind::Other,
            };
            held += bytes.len();
            let bytes = (held <= HELD).then_some(bytes);
            files.push(File { at, kind, bytes, slice: None });
        }
        Ok(files)
    }

    pub(super) fn bytes_of(&mut self, file: &File) -> Result<Vec<u8>, Stop> {
        match &file.bytes {
            Some(bytes) => Ok(bytes.clone()),
            None => Ok(self.read(file.at)?.bytes.unwrap_or_default()),
        }
    }

    /// What a message says, beyond what was said of it before: its text, where it has one and no other part that says
    /// something; nothing, where it has none; else the list of its parts.
    fn content(&mut self, this: &mut This<'_>) -> Result<Content, Stop> {
        let (mut list, mut texts, mut new, mut count) = (b"[".to_vec(), Vec::new(), Vec::new(), 0);
        for number in 0..this.files.len() {
            if !this.files[number].kind.says() {
                continue;
            }
            let at = this.files[number].at;
            let (name, hash) = (stem(&self.survey.files[at].name).to_owned(), short(&self.survey.files[at].digest));
            let bytes = self.bytes_of(&this.files[number])?;
            let is_text = this.files[number].kind == Kind::Text;
            let said = Part::read(&bytes).ok().and_then(|part| text(part.text)).filter(|_| is_text);
            texts.extend(said.clone());
            match this.open.said.iter_mut().find(|(part, _)| *part == name) {
                Some((_, known)) if *known == hash => continue,
                Some((_, known)) => *known = hash,
                None => this.open.said.push((name, hash)),
            }
            new.extend(said);
            if count > 0 {
                list.push(b',');
            }
            let from = list.len() as u64;
            list.extend_from_slice(bytes.trim_ascii());
            this.files[number].slice = Some((from, list.len() as u64));
            count += 1;
        }
        list.push(b']');
        let said = texts.join("\n\n");
        let is_one = new.len() == 1;
        Ok(match new.pop() {
            _ if this.is_summary() => Content { bytes: said.clone().into_bytes(), is_text: is_one, said },
            _ if count == 0 => Content { bytes: Vec::new(), is_text: false, said },
            Some(text) if count == 1 => Content { bytes: text.into_bytes(), is_text: true, said },
            _ => Content { bytes: list, is_text: false, said },
        })
    }

    /// Keeps the files of the parts that the content was made of, and others of no row.
    fn keep_said(&mut self, this: &This<'_>, content: &Content, number: Option<MessageNumber>) -> Result<(), Stop> {
        for file in &this.files {
            if matches!(file.kind, Kind::Tool) || self.is_kept(file.at) {
                continue;
            }
            let bytes = self.bytes_of(file)?;
            let Some(((from, to), number)) = file.slice.zip(number) else {
                self.keep_known(file.at, &bytes)?;
                continue;
            };
            let mut holes = Holes::new();
            if !content.is_text {
                let start = bytes.len() - bytes.trim_ascii_start().len();
                holes.push((start..start + bytes.trim_ascii().len(), Hole::Slice(number, from, to)));
            } else if file.kind == Kind::Text
                && let Some(raw) = Part::read(&bytes).ok().and_then(|part| part.text)
                && text(Some(raw))
                    .is_some_and(|text| text.as_bytes() == content.bytes && json_string(&text) == raw.get())
            {
                holes.extend(range_in(&bytes, raw).map(|range| (range, Hole::Text(number))));
            }
            self.keep(file.at, &bytes, holes);
        }
        Ok(())
    }

    fn begin_turn(
        &mut self,
        batch: &mut Batch<'_>,
        this: &This<'_>,
        content: &Content,
        grows: bool,
    ) -> Result<(), Stop> {
        if grows {
            self.run_turn(batch)?;
            if let Some(turn) = self.state.turn.filter(|_| !content.bytes.is_empty()) {
                let input = batch.put(&content.bytes);
                batch.update_turn(turn, |row| row.input = Some(input))?;
            }
            return Ok(());
        }
        let input = batch.put(&content.bytes);
        let at = self.survey.units[this.at].at;
        let known = self.past.rows.get(&this.open.id).and_then(|rows| rows.turn).filter(|_| self.base.is_none());
        let turn = match known {
            // It is on a branch that was left: this one has it too.
            Some(number) => {
                let mut row = Turn::new(number);
                (row.head_before, row.input, row.started_at) = (batch.current_head(), Some(input), at);
                batch.append(Body::TurnPut(row))?;
                number
            }
            None => batch.begin_turn(|turn| {
                turn.input = Some(input);
                turn.started_at = at.or(turn.started_at);
            })?,
        };
        (self.state.turn, self.state.ended, self.state.answer) = (Some(turn), false, None);
        Ok(())
    }

    /// The session goes on with a turn that an import took for ended: it runs again.
    fn run_turn(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        if let Some(turn) = self.state.turn.filter(|_| std::mem::take(&mut self.state.ended)) {
            batch.update_turn(turn, |row| {
                row.status = Status::RUNNING;
                (row.final_value, row.error, row.ended_at) = (None, None, None);
            })?;
        }
        Ok(())
    }

    /// Ends the turn, as far as can be told.
    pub(super) fn end_turn(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        let Some(turn) = self.state.turn.filter(|_| !self.state.ended) else { return Ok(()) };
        self.state.ended = true;
        let answer = self.state.answer.clone();
        batch.update_turn(turn, |row| {
            row.status = answer.as_ref().map_or(Status::UNFINISHED, |answer| answer.status.clone());
            if let Some(answer) = answer {
                (row.final_value, row.error) = (answer.value, answer.error);
            }
        })?;
        Ok(())
    }

    /// One call for each step that was finished, else one for the whole message.
    fn calls(&mut self, batch: &mut Batch<'_>, this: &mut This<'_>, content: &Content) -> Result<(), Stop> {
        let rows = self.past.rows.get(&this.open.id).cloned();
        if self.base.is_some() && rows.is_some() {
            // They are in the session that this is a fork of.
            return Ok(());
        }
        let rows = rows.unwrap_or_default();
        let mut steps = Vec::new();
        for file in this.files.iter().filter(|file| file.kind == Kind::StepFinish) {
            steps.push(Some(self.bytes_of(file)?));
        }
        if steps.is_empty() {
            steps.push(None);
        }
        let (failed, last) = (this.message.failed(), steps.len() - 1);
        let error = this.message.error.filter(|_| failed.is_some()).map(|raw| batch.put(raw.get().as_bytes()));
        let response = (!content.bytes.is_empty()).then(|| batch.put(&content.bytes));
        let (started, completed) = (self.survey.units[this.at].at, this.message.completed());
        for (number, step) in steps.iter().enumerate() {
            let mut row = Call::new(CallNumber(0), CallType::Root);
            row.status = if step.is_some() || this.message.is_over() { Status::OK } else { Status::UNFINISHED };
            (row.turn, row.started_at, row.ended_at) = (self.state.turn, started, completed.or(started));
            (row.provider, row.model) = (this.message.provider(), this.message.model());
            match step.as_deref().map(Part::read) {
                Some(Ok(part)) => part.usage(&mut row),
                _ => this.message.usage(&mut row),
            }
            if number == last {
                row.error = error;
                row.response = response;
                row.status = failed.clone().unwrap_or(row.status);
            }
            let hash = short(&Digest::of(format!("{row:?}").as_bytes()));
            match (this.open.calls.get(number).copied(), rows.calls.get(number).copied()) {
                (Some((_, known)), _) if known == hash => {}
                (Some((call, _)), _) => {
                    batch.update_call(call, |was| {
                        row.response = row.response.or(was.response);
                        *was = row;
                    })?;
                    this.open.calls[number].1 = hash;
                }
                (None, Some(call)) => {
                    // It is on a branch that was left, and is counted once.
                    row.call = call;
                    batch.append(Body::CallPut(row))?;
                    this.open.calls.push((call, hash));
                }
                (None, None) => {
                    let started = row.started_at;
                    let call = batch.begin_call(CallType::Root, |begun| {
                        (begun.turn, begun.started_at) = (row.turn, started);
                        (begun.provider, begun.model) = (row.provider.clone(), row.model.clone());
                    })?;
                    batch.update_call(call, |was| *was = row)?;
                    this.open.calls.push((call, hash));
                }
            }
        }
        Ok(())
    }

    /// How the turn would end with this answer.
    fn answered(&mut self, batch: &mut Batch<'_>, this: &This<'_>, content: &Content) {
        if this.message.is_user() {
            return;
        }
        let failed = this.message.failed();
        let goes_on = this.message.finish().as_deref() == Some("tool-calls") || !this.open.running.is_empty();
        let status = match failed {
            Some(failed) => failed,
            None if this.message.is_over() && !goes_on => Status::FINAL,
            None => Status::UNFINISHED,
        };
        let said = content.said.trim();
        let before = self.state.answer.take().and_then(|answer| answer.value).filter(|_| said.is_empty());
        let value = if said.is_empty() { before } else { Some(batch.put(content.said.as_bytes())) };
        let error = this.message.error.filter(|_| status != Status::FINAL);
        let error = error.filter(|raw| raw.get() != "null").map(|raw| batch.put(raw.get().as_bytes()));
        let value = value.filter(|_| status == Status::FINAL);
        self.state.answer = Some(Answer { status, value, error });
    }

    /// How many messages a compaction at this one keeps.
    fn kept_messages(&self, at: usize) -> usize {
        let units = &self.survey.units;
        let unit = &units[at];
        let asked = unit.parent.as_ref().and_then(|parent| units[..at].iter().rfind(|unit| unit.id == *parent));
        let tail = unit.tail.as_ref().or(asked.and_then(|asked| asked.tail.as_ref()));
        tail.and_then(|tail| units[..at].iter().position(|unit| unit.id == *tail)).map_or(0, |first| at - first)
    }
}

impl Kind {
    /// Whether such a part is a part of the message's content.
    fn says(self) -> bool {
        !matches!(self, Kind::Tool | Kind::StepStart | Kind::StepFinish)
    }
}

impl This<'_> {
    /// Whether the message is a compaction's summary.
    fn is_summary(&self) -> bool {
        let has_part = self.files.iter().any(|file| file.kind == Kind::Compaction);
        let is_done = self.message.is_summary() && self.message.is_over() && self.message.failed().is_none();
        !self.message.is_user() && (has_part || is_done)
    }

    /// Whether the message may become a summary, and is none yet: it is none where another follows.
    fn waits(&self, count: usize) -> bool {
        self.message.is_summary() && !self.message.is_over() && self.at + 1 == count
    }
}

//! What each kind of record means: turns and their branches, messages, calls, compactions.

use std::ops::Range;

use serde_json::value::RawValue;

use super::ahead::Answer;
use super::aside::Parent;
use super::record::{Message, Part, Record, Shape, one_text};
use super::{Answered, Claude, Sub};
use crate::exchange::batch::{After, Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::{Hole, ascii_json_string, json_string};
use crate::exchange::tools::{Asked, Ending, Tools, TurnState, Turns};
use crate::model::{Call, CallType, MessageNumber, Role, Status, TurnNumber};
use crate::store::{NewMessage, ReadError};

pub(super) type Holes = Vec<(Range<usize>, Hole)>;

impl Claude {
    pub(super) fn take(
        &mut self,
        step: &mut Step<'_, '_>,
        record: &Record<'_>,
        shape: Shape,
        message: &Message<'_>,
    ) -> Result<After, Stop> {
        let is_side = *self.is_side.get_or_insert(!step.source().below.is_empty());
        self.find_again(step, is_side)?;
        if record.is_sidechain() != is_side {
            // It belongs to another session of the same file, which was imported before and has its texts as payloads.
            step.keep_known()?;
            return Ok(After::Next);
        }
        if self.aside.borrow().has(record) {
            step.odd("repeated-id", "a record with this uuid was there before: the first counts");
            step.note("claude-code/repeated", self.state.turn)?;
            return Ok(After::Next);
        }
        let parent = self.aside.borrow_mut().parent(record);
        if parent == (Parent::Unknown { is_missing: true }) {
            step.odd("missing-parent", "its parent is not among the records before it: it follows the one before");
        }
        if shape == Shape::Input {
            self.begin(step, message, parent)?;
        }
        self.aside.borrow_mut().add(record, parent, shape == Shape::Input, self.inputs);
        if !matches!(shape, Shape::Meta | Shape::Other) {
            self.state.touched(step)?;
        }
        match shape {
            Shape::Input => {}
            Shape::Meta => {
                if let Some((_, text)) = message.content.and_then(one_text) {
                    self.notified(step, &text)?;
                }
                self.said(step, message)?;
            }
            Shape::Stopped => {
                self.state.goes_on();
                self.was_stopped = true;
                self.said(step, message)?;
            }
            Shape::Results => {
                self.state.goes_on();
                self.results(step, record, message)?;
            }
            Shape::Answer => {
                self.state.goes_on();
                self.answer(step, record, message)?;
            }
            Shape::Summary => return self.compaction(step, message),
            Shape::Other => self.other(step, record)?,
        }
        Ok(After::Next)
    }

    /// Goes on where an import stopped: what came before is found again in the source.
    fn find_again(&mut self, step: &Step<'_, '_>, is_side: bool) -> Result<(), Stop> {
        let mut aside = self.aside.borrow_mut();
        if std::mem::replace(&mut aside.is_found, true) || step.number() == 1 || !aside.is_empty() {
            return Ok(());
        }
        step.before(&mut |record| {
            if let Ok(record) = Record::read(record)
                && let Ok((shape, message)) = record.shape()
            {
                aside.pass(&record, shape, &message, is_side);
            }
        })
    }

    /// An input: a turn begins, behind the one that its parent lies in.
    fn begin(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>, parent: Parent) -> Result<(), Stop> {
        if let Some(head) = step.batch.current_head() {
            self.aside.borrow_mut().ends.insert(self.inputs, head);
        }
        let before = match parent {
            Parent::After(input) => input,
            Parent::Root => 0,
            Parent::Unknown { .. } => self.inputs,
        };
        if before != self.inputs {
            self.branch(step, before)?;
        }
        let (bytes, raw) = content(message.content);
        let input = step.batch.put(&bytes);
        let at = step.at();
        let turn = step.batch.begin_turn(|turn| {
            turn.input = Some(input);
            turn.started_at = at;
        })?;
        self.inputs += 1;
        *self = Claude {
            inputs: self.inputs,
            shared_inputs: self.shared_inputs,
            first: self.first.or(Some(turn)),
            state: TurnState::begun(turn),
            tools: std::mem::take(&mut self.tools),
            is_side: self.is_side,
            aside: std::rc::Rc::clone(&self.aside),
            away: std::mem::take(&mut self.away),
            returned: std::mem::take(&mut self.returned),
            ..Claude::default()
        };
        self.add(step, Role::User, bytes, raw)
    }

    /// Leaves the branch: goes back to the head behind an earlier input.
    fn branch(&mut self, step: &mut Step<'_, '_>, input: u64) -> Result<(), Stop> {
        let known = self.aside.borrow().ends.get(&input).copied();
        let head = match (known, input.checked_sub(self.shared_inputs + 1), self.first) {
            (Some(head), ..) => Some(head),
            (None, Some(number), Some(first)) => {
                match step.store().head_of_turn(step.batch.session(), TurnNumber(first.0 + number)) {
                    Ok(head) => Some(head),
                    Err(ReadError::NotFound { .. }) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            // Before its first own input: the genesis, whatever the fork shares with its parent.
            _ if input == self.shared_inputs => step.store().heads(step.batch.session())?.first().map(|head| head.head),
            _ => None,
        };
        match head {
            Some(head) => {
                step.seal(self)?;
                // What was called on the branch that is left is not in sight from here.
                let (_, root) = step.batch.before_turns(head, 0)?;
                self.forget_away(root.counters.invocation);
                self.tools.forget();
                Ok(step.batch.go_on_from(head)?)
            }
            None => {
                step.odd("unknown-branch", "the place that it goes back to has no head: it follows the record before");
                Ok(())
            }
        }
    }

    /// A message whose content is that of the record.
    fn add(
        &mut self,
        step: &mut Step<'_, '_>,
        role: Role,
        bytes: Vec<u8>,
        raw: Option<(&RawValue, bool)>,
    ) -> Result<(), Stop> {
        let number = MessageNumber(step.batch.counters().message + 1);
        let hole = raw.and_then(|(raw, is_text)| match is_text {
            true => text_hole(step, raw, std::str::from_utf8(&bytes).unwrap_or_default(), number),
            false => step.range_of(raw).map(|range| (range, Hole::Content(number))),
        });
        let mut new = NewMessage::new(role, bytes);
        new.turn = self.state.turn;
        step.batch.add_message(new)?;
        step.keep(hole.into_iter().collect());
        Ok(())
    }

    /// What the program says in the user's name.
    fn said(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>) -> Result<(), Stop> {
        let (bytes, raw) = content(message.content);
        self.add(step, Role::User, bytes, raw)
    }

    /// A record of an answer; at its first one the whole answer becomes a call and a message.
    fn answer(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, message: &Message<'_>) -> Result<(), Stop> {
        let id = message.id();
        let is_next = |last: &Answered| last.left > 0 && last.id.is_some() && last.id == id;
        match self.last.as_mut().filter(|last| is_next(last)) {
            Some(last) => last.left -= 1,
            None => self.new_answer(step, record, message)?,
        }
        let Some(last) = self.last.clone() else { return Ok(()) };
        let mut holes = Holes::new();
        let Some(content) = message.content else { return Ok(()) };
        let cut = |step: &Step<'_, '_>, raw: &RawValue, holes: &mut Holes| {
            let said = text(Some(raw)).filter(|text| !text.trim().is_empty());
            if let Some(said) = said.filter(|_| last.is_here) {
                holes.extend(text_hole(step, raw, &said, last.message));
            }
        };
        if content.get().starts_with('"') {
            cut(step, content, &mut holes);
        }
        for part in Part::list(content).unwrap_or_default() {
            match part.kind().as_deref() {
                Some("text") => {
                    if let Some(raw) = part.text {
                        cut(step, raw, &mut holes);
                    }
                }
                Some("tool_use") => self.ask(step, &part, (last.message, last.call), &mut holes)?,
                _ => {}
            }
        }
        step.keep(holes);
        Ok(())
    }

    fn new_answer(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, message: &Message<'_>) -> Result<(), Stop> {
        let found = self.aside.borrow_mut().answer(step.source(), step.offset())?;
        let answer = found.unwrap_or_else(|| Answer::of(step.offset(), record, message));
        let content = answer.content();
        let before = self.last.take().filter(|last| answer.id.is_some() && last.id == answer.id);
        let is_known = answer.id.as_ref().is_some_and(|id| self.aside.borrow_mut().answered(id));
        let response = (!content.is_empty()).then(|| step.batch.put(&content));
        let is_real = answer.model.as_deref() != Some("<synthetic>");
        let error = response.filter(|_| record.is_api_error());
        let say = |row: &mut Call| {
            row.status = if error.is_some() { Status::ERROR } else { Status::OK };
            row.error = error;
            row.response = response.filter(|_| error.is_none()).or(row.response);
            if is_real {
                let is_claude = answer.model.as_ref().is_some_and(|model| model.starts_with("claude"));
                row.provider = is_claude.then(|| "anthropic".to_owned());
                row.model.clone_from(&answer.model);
                row.tokens_input = answer.used.input;
                row.tokens_output = answer.used.output;
                row.tokens_cached = answer.used.cached;
                row.cost = answer.cost;
            }
            row.ended_at = answer.ended;
        };
        let call = match before {
            // The source grew within the answer.
            Some(before) => {
                if let Some(call) = before.call {
                    step.batch.update_call(call, say)?;
                }
                before.call
            }
            // It is the call of the session that this is a fork of.
            None if step.is_repeated() => None,
            None if is_known => {
                step.odd("repeated-answer", "a part of an answer that was recorded before: its use is counted there");
                None
            }
            None if is_real || record.is_api_error() => {
                let (turn, at) = (self.state.turn, step.at());
                Some(step.batch.add_call(CallType::Root, |row| {
                    (row.turn, row.started_at) = (turn, at);
                    say(row);
                })?)
            }
            None => None,
        };
        let mut new = NewMessage::new(Role::Assistant, content);
        (new.turn, new.call) = (self.state.turn, call);
        let number = step.batch.add_message(new)?;
        self.answer = response.filter(|_| !answer.has_tools && error.is_none());
        self.stop.clone_from(&answer.stop);
        self.error = error;
        self.was_stopped = false;
        self.last = Some(Answered {
            is_here: answer.text().is_some(),
            id: answer.id,
            left: answer.records - 1,
            message: number,
            call,
        });
        Ok(())
    }

    /// A summary that stands for all that came before.
    fn compaction(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>) -> Result<After, Stop> {
        // The turn goes on behind it, until the next input.
        let (bytes, raw) = content(message.content);
        let number = MessageNumber(step.batch.counters().message + 1);
        let frame = String::from_utf8_lossy(&bytes).into_owned();
        let hole = raw.and_then(|(raw, is_text)| match is_text {
            true => text_hole(step, raw, &frame, number),
            false => step.range_of(raw).map(|range| (range, Hole::Content(number))),
        });
        step.keep(hole.into_iter().collect());
        Ok(After::Compact { frame, keep: 0 })
    }

    /// What the model has no row for. What is shown live, and what is kept of files, is most of the records: their event
    /// keeps the order, and their bytes stay in the kept source.
    fn other(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Result<(), Stop> {
        match record.kind().as_deref() {
            Some("progress") => {
                self.agent_shown(step, record);
                step.batch.add_annotation("claude-code/progress", self.state.turn, None)?;
                if record.data.is_some_and(|data| data.get().len() > 4_096) {
                    step.keep_known()?;
                }
            }
            Some("file-history-snapshot") => {
                step.batch.add_annotation("claude-code/file-history-snapshot", self.state.turn, None)?;
            }
            _ => {
                if let Some(text) = record.queued() {
                    self.notified(step, &text)?;
                }
                if let Some(title) = record.title() {
                    step.batch.set_title(&title)?;
                }
                step.note(&record.note(), self.state.turn)?;
            }
        }
        Ok(())
    }
}

impl Turns for Claude {
    type More = Sub;

    fn at_work(&mut self) -> (&mut TurnState, &mut Tools<Sub>) {
        (&mut self.state, &mut self.tools)
    }

    fn ending(&mut self, _: &mut Step<'_, '_>, is_settled: bool) -> Result<Ending, Stop> {
        let is_final = match self.stop.as_deref() {
            Some("end_turn" | "stop_sequence" | "max_tokens" | "refusal") => true,
            // Many versions never say how an answer stopped: one that asks for no tool is the last.
            None => self.answer.is_some() && is_settled,
            Some(_) => false,
        };
        let status = match self.error {
            Some(_) => Status::ERROR,
            None if self.was_stopped => Status::ABORTED,
            None if is_final => Status::FINAL,
            None => Status::UNFINISHED,
        };
        Ok(Ending { final_value: self.answer.filter(|_| status == Status::FINAL), status, error: self.error })
    }

    fn gives_up(&mut self, step: &mut Step<'_, '_>, asked: &Asked<Sub>) -> Result<(), Stop> {
        self.came_back(step, asked, &Status::UNFINISHED, None)
    }
}

/// A content: its text where it is one, else its JSON; and where it lies, and whether as a JSON string.
fn content(value: Option<&RawValue>) -> (Vec<u8>, Option<(&RawValue, bool)>) {
    match (value, value.and_then(one_text)) {
        (_, Some((raw, text))) => (text.into_bytes(), Some((raw, true))),
        (Some(value), None) => (value.get().as_bytes().to_vec(), Some((value, false))),
        (None, None) => (Vec::new(), None),
    }
}

/// The hole of a text that is the content of a message, if it is written as one of the writers we know does.
pub(super) fn text_hole(
    step: &Step<'_, '_>,
    raw: &RawValue,
    text: &str,
    message: MessageNumber,
) -> Option<(Range<usize>, Hole)> {
    let range = step.range_of(raw)?;
    if json_string(text) == raw.get() {
        return Some((range, Hole::Text(message)));
    }
    (ascii_json_string(text) == raw.get()).then_some((range, Hole::AsciiText(message)))
}

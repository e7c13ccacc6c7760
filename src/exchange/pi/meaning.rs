//! What each kind of record means: turns, messages, calls, evals, compactions.

use std::ops::Range;

use serde_json::value::RawValue;

use super::record::{Message, Part, Record, Shape};
use super::{Pi, messages_before};
use crate::exchange::batch::{After, Step, Stop};
use crate::exchange::json::{range_in, text};
use crate::exchange::template::{Hole, json_string};
use crate::exchange::tools::{Answer, Asked, Ending, Tools, TurnState, Turns, add_eval};
use crate::model::{CallType, EvalNumber, MessageNumber, Role, Status};
use crate::store::NewMessage;

/// A message's content, and what it leaves of its record.
struct Content<'r> {
    bytes: Vec<u8>,
    /// The part of the record that it is, and whether as a JSON string.
    hole: Option<(Range<usize>, bool)>,
    tools: Vec<Part<'r>>,
}

impl Pi {
    pub(super) fn message(&mut self, step: &mut Step<'_, '_>, role: Role, message: &Message<'_>) -> Result<(), Stop> {
        let is_bash = is_bash(&role);
        let content = content(step.bytes(), if is_bash { message.output } else { message.content() });
        if role == Role::User {
            self.begin_turn(step, &content)?;
        } else if role != Role::Summary {
            // The source went on after an import that took it for ended.
            self.state.goes_on();
        }
        let mut holes = Vec::new();
        let mut new = NewMessage::new(role.clone(), content.bytes.clone());
        if let Some(turn) = self.state.turn {
            new = new.turn(turn);
        }
        let number = match role {
            Role::Assistant => self.answer(step, message, new, &content, &mut holes)?,
            Role::Tool => {
                self.tool_result(step, message, &content)?;
                step.batch.add_message(new)?
            }
            _ => {
                if is_bash && !self.is_repeated(step) {
                    self.bash(step, message, &content, &mut holes)?;
                }
                step.batch.add_message(new)?
            }
        };
        if let Some((range, is_text)) = content.hole {
            holes.push((range, if is_text { Hole::Text(number) } else { Hole::Content(number) }));
        }
        step.keep(holes);
        Ok(())
    }

    fn begin_turn(&mut self, step: &mut Step<'_, '_>, content: &Content<'_>) -> Result<(), Stop> {
        let input = step.batch.put(&content.bytes);
        let at = step.at();
        let turn = step.batch.begin_turn(|turn| {
            turn.input = Some(input);
            turn.started_at = at;
        })?;
        *self = Pi {
            entries: self.entries,
            repeated: self.repeated,
            leaf: self.leaf.take(),
            tree: self.tree.take(),
            state: TurnState::begun(turn),
            // Asked for before the first turn: all others were closed with theirs.
            tools: std::mem::take(&mut self.tools),
            ..Pi::default()
        };
        Ok(())
    }

    /// A call and its answer.
    fn answer(
        &mut self,
        step: &mut Step<'_, '_>,
        message: &Message<'_>,
        new: NewMessage,
        content: &Content<'_>,
        holes: &mut Vec<(Range<usize>, Hole)>,
    ) -> Result<MessageNumber, Stop> {
        if self.is_repeated(step) {
            self.answer = (!content.bytes.is_empty()).then(|| step.batch.put(&content.bytes));
            (self.stop, self.error) = (message.stop_reason(), message.error_message());
            return Ok(step.batch.add_message(new)?);
        }
        let (turn, ended) = (self.state.turn, step.at());
        let started = message.at().or(ended);
        let stop = message.stop_reason();
        let error = message.error_message();
        let status = match stop.as_deref() {
            Some("aborted") => Status::ABORTED,
            Some("error") => Status::ERROR,
            _ => Status::OK,
        };
        let response = (!content.bytes.is_empty()).then(|| step.batch.put(&content.bytes));
        let raw_error = error.as_ref().map(|error| step.batch.put(error.as_bytes()));
        let usage = message.usage();
        let call = step.batch.add_call(CallType::Root, |row| {
            row.turn = turn;
            row.provider = message.provider();
            row.model = message.model();
            row.started_at = started;
            row.status = status;
            row.response = response;
            row.error = raw_error;
            row.tokens_input = usage.input();
            row.tokens_output = usage.output();
            row.tokens_cached = usage.cached();
            row.cost = usage.cost();
            row.ended_at = ended;
        })?;
        let number = step.batch.add_message(new.call(call))?;
        for tool in &content.tools {
            let place = step.ask();
            self.tools.ask(Asked {
                id: tool.id().unwrap_or_default(),
                name: tool.name(),
                code: tool.arguments.map(|code| code.get().to_owned()),
                message: Some(number),
                call: Some(call),
                at: ended,
                place: Some((place, false)),
                ..Asked::default()
            });
            if let Some(range) = tool.arguments.filter(|_| content.cuts_tools()).and_then(|code| step.range_of(code)) {
                holes.push((range, Hole::Later(place)));
            }
        }
        self.answer = response;
        self.stop = stop;
        self.error = error;
        Ok(number)
    }

    /// The eval that a result ends.
    fn tool_result(
        &mut self,
        step: &mut Step<'_, '_>,
        message: &Message<'_>,
        content: &Content<'_>,
    ) -> Result<(), Stop> {
        let id = message.tool_call_id();
        let answer = self.tools.answered(id.as_deref());
        // Of the session that this one was forked from, unless its end is that of an eval which is in sight here.
        if self.is_repeated(step) && !matches!(&answer, Answer::To(Asked { eval: Some(_), .. })) {
            return Ok(());
        }
        let Some(asked) = answer.unless_late(step) else { return Ok(()) };
        let value = step.batch.put(&content.bytes);
        let status = if message.is_error() { Status::ERROR } else { Status::OK };
        let name = message.tool_name();
        add_eval(step, self.state.turn, asked, status.clone(), |eval| {
            eval.name = eval.name.take().or(name);
            if status == Status::ERROR {
                eval.error = Some(value);
            } else {
                eval.result = Some(value);
            }
        })?;
        Ok(())
    }

    /// A command that the user ran: an eval that no call asked for.
    fn bash(
        &mut self,
        step: &mut Step<'_, '_>,
        message: &Message<'_>,
        content: &Content<'_>,
        holes: &mut Vec<(Range<usize>, Hole)>,
    ) -> Result<(), Stop> {
        let code = text(message.command);
        let digest = code.as_ref().map(|code| step.batch.put(code.as_bytes()));
        let result = step.batch.put(&content.bytes);
        let status = match (message.cancelled(), message.exit_code()) {
            (true, _) => Status::ABORTED,
            (false, Some(0) | None) => Status::OK,
            (false, Some(_)) => Status::ERROR,
        };
        let number = EvalNumber(step.batch.counters().eval + 1);
        add_eval::<()>(step, self.state.turn, None, status, |eval| {
            eval.name = Some("bash".to_owned());
            eval.code = digest;
            eval.result = Some(result);
        })?;
        let written = message.command.zip(code).filter(|(raw, code)| json_string(code) == raw.get());
        if let Some(range) = written.and_then(|(raw, _)| step.range_of(raw)) {
            holes.push((range, Hole::CodeText(number)));
        }
        Ok(())
    }

    /// A summary that stands for what came before the first record that Pi keeps.
    pub(super) fn compaction(
        &mut self,
        step: &mut Step<'_, '_>,
        frame: String,
        record: &Record<'_>,
    ) -> Result<After, Stop> {
        // After a settled answer the turn is over; otherwise Pi compacts in its middle and goes on.
        let settled = matches!(self.stop.as_deref(), Some("stop" | "length")) && self.tools.is_empty();
        if settled && self.end(step)? {
            step.seal(self)?;
        }
        let messages = step.batch.counters().message;
        let keep = match record.first_kept() {
            _ if record.first_kept_id().is_some() => self.keeps(step),
            Some(index) if index < self.entries => {
                let before = messages_before(step.source(), index)?;
                usize::try_from(messages.saturating_sub(before)).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        let written = record.summary.filter(|raw| json_string(&frame) == raw.get());
        let hole = written.and_then(|raw| step.range_of(raw));
        step.keep(hole.map(|range| (range, Hole::Text(MessageNumber(messages + 1)))).into_iter().collect());
        Ok(After::Compact { frame, keep })
    }
}

impl Turns for Pi {
    type More = ();

    fn at_work(&mut self) -> (&mut TurnState, &mut Tools) {
        (&mut self.state, &mut self.tools)
    }

    fn ending(&mut self, step: &mut Step<'_, '_>, _: bool) -> Result<Ending, Stop> {
        let status = match self.stop.as_deref() {
            Some("stop" | "length") => Status::FINAL,
            Some("aborted") => Status::ABORTED,
            Some("error") => Status::ERROR,
            _ => Status::UNFINISHED,
        };
        let final_value = self.answer.filter(|_| status == Status::FINAL);
        let failed = status == Status::ABORTED || status == Status::ERROR;
        let error = self.error.as_ref().filter(|_| failed).map(|error| step.batch.put(error.as_bytes()));
        Ok(Ending { status, final_value, error })
    }
}

impl Content<'_> {
    /// Whether the tools' arguments can be cut out of the record: not where they lie within a hole already.
    fn cuts_tools(&self) -> bool {
        !matches!(self.hole, Some((_, false)))
    }
}

fn is_bash(role: &Role) -> bool {
    matches!(role, Role::Other(role) if role == "bashExecution")
}

/// The message that a record becomes, if it becomes one.
pub(super) fn said(shape: Shape<'_>) -> Option<(Role, Vec<u8>)> {
    match shape {
        Shape::Message(role, message) => {
            let written = if is_bash(&role) { message.output } else { message.content() };
            Some((role, content(&[], written).bytes))
        }
        Shape::Compaction(frame) => Some((Role::Summary, frame.into_bytes())),
        Shape::Header | Shape::Other(_) => None,
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

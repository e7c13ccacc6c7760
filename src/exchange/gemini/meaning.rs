//! What each record means: turns, messages, calls, compactions, going back.

use std::ops::Range;

use serde_json::value::RawValue;

use super::aside::{hash, set_pin, short};
use super::record::{Content, End, Message, Record, Set, Tokens, Tool, Written, values};
use super::{Answer, Gemini};
use crate::exchange::batch::{After, Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::Hole;
use crate::exchange::tools::{Ending, Tools, TurnState, Turns};
use crate::model::{CallType, Digest, MessageNumber, Role, Status, TurnNumber};
use crate::store::{NewMessage, ReadError};

/// How many of a turn's answers are remembered, of which more may be told.
const MAX_ANSWERS: usize = 16;

pub(super) type Holes = Vec<(Range<usize>, Hole)>;

/// The messages of a list.
pub(super) fn list(value: Option<&RawValue>) -> Vec<Message<'_>> {
    values(value).into_iter().filter_map(Message::of).collect()
}

impl Content<'_> {
    fn hash(&self) -> u64 {
        hash(&self.bytes)
    }

    /// The hole that it leaves in its record as the content of a message.
    fn hole(&self, step: &Step<'_, '_>, message: MessageNumber) -> Holes {
        let hole = |written| match written {
            Written::Text => Hole::Text(message),
            Written::Plain => Hole::Content(message),
            Written::Indented(level) => Hole::IndentedContent(message, level),
        };
        let cut = self.part.and_then(|(value, written)| Some((step.range_of(value)?, hole(written))));
        cut.into_iter().collect()
    }
}

impl Gemini {
    pub(super) fn take(&mut self, step: &mut Step<'_, '_>, record: Record<'_>) -> Result<After, Stop> {
        self.aside.borrow_mut().find_again(step)?;
        match record {
            Record::Header(fields) => {
                self.header(step)?;
                for message in list(fields.messages) {
                    self.message(step, &message)?;
                }
            }
            Record::Message(message) => self.message(step, &message)?,
            Record::Rewind(id) => self.go_back(step, &id)?,
            Record::Set(set) => return self.set(step, &set),
            Record::End(end) if self.is_whole => self.object_ends(step, end)?,
            Record::End(_) => {
                step.odd("bad-line", "what is no record is kept as it is");
                step.note("import/bad-line", self.state.turn)?;
            }
            Record::Other => {
                step.note("gemini/record", self.state.turn)?;
            }
        }
        Ok(After::Next)
    }

    fn header(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        if step.number() > 1 {
            step.note("gemini/session", self.state.turn)?;
            return Ok(());
        }
        self.is_whole = step.source().parts.first().is_some_and(|part| part.through.is_some());
        Ok(())
    }

    fn message(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>) -> Result<(), Stop> {
        if self.left > 0 {
            self.left -= 1;
            self.aside.borrow_mut().pass_message(message);
            self.more_of(step, message)?;
            return step.keep_known();
        }
        if self.aside.borrow().has(&message.id) {
            if !self.more_of(step, message)? {
                step.odd(
                    "repeated-id",
                    "a message of this id was there before, and no more is told of it: the first counts",
                );
                step.note("gemini/repeated", self.state.turn)?;
            }
            return step.keep_known();
        }
        if self.aside.borrow().is_empty() {
            set_pin(step, &message.id)?;
        }
        let is_input = message.is_input();
        if is_input && let Some(head) = step.batch.current_head() {
            self.aside.borrow_mut().ends.insert(self.inputs, head);
        }
        self.aside.borrow_mut().add(&message.id, is_input);
        match message.kind.as_str() {
            "user" if is_input => self.input(step, message),
            "user" => {
                self.goes_on(step)?;
                self.say(step, Role::Tool, message)
            }
            "gemini" => self.answer(step, message),
            kind => {
                if kind == "error" {
                    self.goes_on(step)?;
                    let said = Content::of(message.fields.content);
                    self.failed = Some(step.batch.put(&said.bytes));
                }
                step.note(&format!("gemini/{kind}"), self.state.turn)?;
                Ok(())
            }
        }
    }

    /// The turn has more than it had when it was taken for ended.
    fn goes_on(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.state.goes_on();
        self.state.touched(step)
    }

    fn input(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>) -> Result<(), Stop> {
        // Of a list of messages in one record the turns lie within it.
        if self.end(step)? {
            step.batch.seal()?;
        }
        let content = Content::of(message.fields.content);
        let input = step.batch.put(&content.bytes);
        let at = step.at();
        let turn = step.batch.begin_turn(|turn| {
            turn.input = Some(input);
            turn.started_at = at;
        })?;
        self.forget_turn();
        self.state = TurnState { until: at, ..TurnState::begun(turn) };
        self.first = self.first.or(turn.0.checked_sub(self.inputs));
        self.inputs += 1;
        self.say(step, Role::User, message)
    }

    fn forget_turn(&mut self) {
        (self.state, self.answer, self.failed, self.cancelled) = (TurnState::default(), None, None, false);
        self.answers.clear();
    }

    fn say(&mut self, step: &mut Step<'_, '_>, role: Role, message: &Message<'_>) -> Result<(), Stop> {
        let content = Content::of(message.fields.content);
        let mut new = NewMessage::new(role, content.bytes.clone());
        new.turn = self.state.turn;
        let number = step.batch.add_message(new)?;
        step.keep(content.hole(step, number));
        Ok(())
    }

    /// What the model gave: a call, a message, and the tools with their results.
    fn answer(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>) -> Result<(), Stop> {
        self.goes_on(step)?;
        let content = Content::of(message.fields.content);
        let tools = Tool::list(message.fields.tool_calls);
        let digest = content.digest();
        self.failed = None;
        self.cancelled = false;
        self.answer = (!content.is_blank() && tools.is_empty()).then_some(digest);
        if step.is_repeated() {
            // The call and its tools are the parent's.
            return self.say(step, Role::Assistant, message);
        }
        let tokens = Tokens::of(message.fields.tokens);
        let (turn, at) = (self.state.turn, step.at());
        let model = text(message.fields.model);
        let response = (!content.bytes.is_empty()).then(|| step.batch.put(&content.bytes));
        let extra = extra(step, tokens);
        let call = step.batch.begin_call(CallType::Root, |call| {
            call.status = Status::OK;
            call.turn = turn;
            call.provider = Some("google".to_owned());
            call.model = model;
            call.response = response;
            call.started_at = at;
            call.ended_at = at;
            count(call, tokens);
            call.extra = extra;
        })?;
        let mut new = NewMessage::new(Role::Assistant, content.bytes.clone());
        (new.turn, new.call) = (self.state.turn, Some(call));
        let number = step.batch.add_message(new)?;
        let mut holes = content.hole(step, number);
        let mut answer = Answer {
            id: short(&message.id),
            message: number,
            call,
            content: content.hash(),
            is_counted: tokens.is_some(),
            tools: 0,
        };
        self.tools(step, &mut answer, &tools, &mut holes)?;
        if self.answers.len() == MAX_ANSWERS {
            // Of those that still wait for a tool the last one is the least likely to be told more of.
            let at = self.answers.iter().position(|answer| !self.waits(answer)).unwrap_or(MAX_ANSWERS - 1);
            self.answers.remove(at);
        }
        self.answers.push(answer);
        step.keep(holes);
        Ok(())
    }

    /// A message that was there before: what more it says of its call and tools. Says whether it is one of which that can be.
    fn more_of(&mut self, step: &mut Step<'_, '_>, message: &Message<'_>) -> Result<bool, Stop> {
        let Some(at) = self.answers.iter().position(|answer| answer.id == short(&message.id)) else { return Ok(false) };
        if step.is_repeated() {
            return Ok(true);
        }
        let mut answer = self.answers.remove(at);
        let tokens = Tokens::of(message.fields.tokens).filter(|_| !answer.is_counted);
        if tokens.is_some() {
            self.goes_on(step)?;
            let extra = extra(step, tokens);
            step.batch.update_call(answer.call, |call| {
                count(call, tokens);
                call.extra = extra.or(call.extra);
            })?;
            answer.is_counted = true;
        }
        let mut holes = Holes::new();
        let tools = Tool::list(message.fields.tool_calls);
        if self.tools(step, &mut answer, &tools, &mut holes)? {
            self.goes_on(step)?;
            if at == self.answers.len() {
                self.answer = None;
            }
        }
        let content = Content::of(message.fields.content).hash();
        if content != answer.content {
            // Messages stay as they are: the text that stands there now is told of beside.
            answer.content = content;
            self.goes_on(step)?;
            step.odd("changed-message", "the text of a message is another than before: the first counts");
            step.note("gemini/changed", self.state.turn)?;
        }
        self.answers.insert(at, answer);
        step.keep_more(holes)?;
        Ok(true)
    }

    /// The object ends. The head that is sealed lies before this record, which goes when the object is written anew.
    fn object_ends(&mut self, step: &mut Step<'_, '_>, end: End) -> Result<(), Stop> {
        self.left = 0;
        step.closes();
        if end.is_torn {
            step.odd(
                "torn-tail",
                "the file ends within its messages: those before are imported, the rest is kept as bytes",
            );
        }
        if end.is_bad {
            step.odd("bad-line", "what stands around the messages is no JSON: it is kept as bytes");
        }
        self.entitle(step, end.summary)
    }

    fn entitle(&mut self, step: &mut Step<'_, '_>, summary: Option<String>) -> Result<(), Stop> {
        let Some(summary) = summary else { return Ok(()) };
        let title = Digest::of(summary.as_bytes());
        if self.title.replace(title) != Some(title) {
            step.batch.set_title(&summary)?;
        }
        Ok(())
    }

    /// Fields of the header anew. A list of messages is what the model's context is from here on: those that were not there
    /// before stand for all but the ones at its end that were.
    fn set(&mut self, step: &mut Step<'_, '_>, set: &Set<'_>) -> Result<After, Stop> {
        self.entitle(step, text(set.summary))?;
        if set.has_more {
            step.note("gemini/set", self.state.turn)?;
        }
        if set.messages.is_none() {
            return Ok(After::Next);
        }
        let messages = list(set.messages);
        let is_new: Vec<bool> = messages.iter().map(|message| !self.aside.borrow().has(&message.id)).collect();
        let Some(last) = is_new.iter().rposition(|is_new| *is_new) else {
            step.note("gemini/checkpoint", self.state.turn)?;
            return Ok(After::Next);
        };
        let has_end = self.asked.is_empty() && (self.answer.is_some() || self.failed.is_some());
        if has_end && self.end(step)? {
            step.seal(self)?;
        }
        let mut frame = String::new();
        for (message, _) in messages.iter().zip(&is_new).filter(|(_, is_new)| **is_new) {
            let content = Content::of(message.fields.content);
            if !content.is_blank() {
                frame.push_str(if frame.is_empty() { "" } else { "\n\n" });
                frame.push_str(&String::from_utf8_lossy(&content.bytes));
            }
            self.aside.borrow_mut().add(&message.id, false);
        }
        step.keep_known()?;
        let is_row = |message: &&Message<'_>| matches!(message.kind.as_str(), "user" | "gemini");
        let keep = messages[last + 1..].iter().filter(is_row).count();
        Ok(After::Compact { frame, keep })
    }

    /// The chat goes back to before a message, to the head before its turn.
    fn go_back(&mut self, step: &mut Step<'_, '_>, id: &str) -> Result<(), Stop> {
        let found = self.aside.borrow_mut().go_back(id);
        if found.is_none() {
            step.odd("unknown-message", "there is no message of the id that the chat goes back to: it begins anew");
        }
        let input = found.unwrap_or(0);
        let known = self.aside.borrow().ends.get(&input).copied();
        let head = match (known, self.first) {
            (Some(head), _) => Some(head),
            // The head behind the input before.
            (None, Some(first)) if input > 0 => {
                match step.store().head_of_turn(step.batch.session(), TurnNumber(first + input - 1)) {
                    Ok(head) => Some(head),
                    Err(ReadError::NotFound { .. }) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            _ => step.store().heads(step.batch.session())?.first().map(|head| head.head),
        };
        match head {
            Some(head) => {
                step.seal(self)?;
                step.batch.go_on_from(head)?;
                self.asked.forget();
                self.forget_turn();
            }
            None => {
                step.odd("unknown-branch", "the place that the chat goes back to has no head: it goes on from here")
            }
        }
        Ok(())
    }
}

impl Turns for Gemini {
    type More = ();

    fn at_work(&mut self) -> (&mut TurnState, &mut Tools) {
        (&mut self.state, &mut self.asked)
    }

    fn ending(&mut self, _: &mut Step<'_, '_>, _: bool) -> Result<Ending, Stop> {
        let (status, final_value, error) = match (self.failed, self.answer) {
            (Some(error), _) => (Status::ERROR, None, Some(error)),
            (None, Some(answer)) => (Status::FINAL, Some(answer), None),
            (None, None) if self.cancelled => (Status::ABORTED, None, None),
            (None, None) => (Status::UNFINISHED, None, None),
        };
        Ok(Ending { status, final_value, error })
    }
}

fn count(call: &mut crate::model::Call, tokens: Option<Tokens>) {
    let Some(tokens) = tokens else { return };
    call.tokens_input = tokens.input;
    call.tokens_output = tokens.output;
    call.tokens_cached = tokens.cached;
    call.tokens_reasoning = tokens.thoughts;
}

/// What no column of a call has: the tokens of prompts that tools within it made.
fn extra(step: &mut Step<'_, '_>, tokens: Option<Tokens>) -> Option<Digest> {
    let tool = tokens?.tool.filter(|tool| *tool > 0)?;
    Some(step.batch.put(format!("{{\"tokens-tool\":{tool}}}").as_bytes()))
}

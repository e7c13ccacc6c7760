//! What each kind of record means: turns, messages, compactions. What the model gave is told twice, as an item and as an
//! event: the item is the message, whichever comes first.

use std::borrow::Cow;
use std::ops::Range;

use super::Codex;
use super::record::{Content, Payload, Record};
use super::shape::Shape;
use crate::exchange::batch::{After, Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::Hole;
use crate::exchange::tools::{Ending, Tools, TurnState, Turns};
use crate::model::{Digest, MessageNumber, Role, Status};
use crate::store::NewMessage;

/// How many texts are remembered that a record may repeat.
const MAX_SAID: usize = 16;

type Holes = Vec<(Range<usize>, Hole)>;

impl Content<'_> {
    /// The hole that it leaves in its record as the content of a message.
    pub(super) fn hole(&self, step: &Step<'_, '_>, message: MessageNumber) -> Holes {
        let hole = |is_text| if is_text { Hole::Text(message) } else { Hole::Content(message) };
        let cut = self.part.and_then(|(value, is_text)| Some((step.range_of(value)?, hole(is_text))));
        cut.into_iter().collect()
    }

    /// Its text as a part of the record, where it is one text and written as most writers would.
    fn text_range(&self, step: &Step<'_, '_>) -> Option<Range<usize>> {
        self.part.filter(|(_, is_text)| *is_text).and_then(|(value, _)| step.range_of(value))
    }

    fn digest(&self) -> Digest {
        Digest::of(self.said().as_bytes())
    }
}

impl Codex {
    pub(super) fn take(
        &mut self,
        step: &mut Step<'_, '_>,
        record: &Record<'_>,
        shape: Shape<'_>,
    ) -> Result<After, Stop> {
        let payload = &record.payload;
        let is_aside = match &shape {
            Shape::Meta | Shape::Context | Shape::TaskStarted | Shape::Mirror | Shape::RolledBack(_) => true,
            Shape::Message(role, _) => role != "assistant",
            Shape::User(content) => !self.is_early(content),
            Shape::UserEvent(_) => self.inputs == 0,
            Shape::Other(_) => true,
            _ => false,
        };
        if !is_aside {
            self.state.touched(step)?;
        }
        match shape {
            Shape::Meta => self.meta(step, payload)?,
            Shape::Context => self.context(step, record)?,
            Shape::Compacted => return self.compaction(step, payload),
            Shape::User(content) => self.user(step, &content)?,
            Shape::Message(role, content) => self.message(step, &role, &content)?,
            // Mostly encrypted: it stays in the kept source, where it takes the least.
            Shape::Reasoning => {
                self.gave(step, |_| {})?;
            }
            Shape::ToolCall => self.tool_call(step, payload)?,
            Shape::ToolOutput => self.tool_output(step, payload)?,
            Shape::ToolAtOnce => self.tool_at_once(step, payload)?,
            Shape::TaskStarted if !self.has_begun() => self.forget_turn(),
            Shape::TaskStarted | Shape::Mirror => {}
            Shape::TaskComplete => {
                self.complete = self.state.turn.is_some();
                self.repeat(step, &Content::of(payload.last_agent_message), false);
            }
            Shape::UserEvent(content) => self.user_event(step, &content)?,
            Shape::AnswerEvent(content) => self.repeat(step, &content, true),
            Shape::TokenCount => self.count(step, payload.info)?,
            Shape::ToolEnd => self.tool_end(step, payload)?,
            Shape::Collab(kind) => self.collab(step, &kind, payload)?,
            Shape::Aborted => {
                self.break_off(Status::ABORTED, None);
                step.note("codex/turn_aborted", self.state.turn)?;
            }
            Shape::Failed => {
                let message = text(payload.message).map(|message| step.batch.put(message.as_bytes()));
                self.break_off(Status::ERROR, message);
                step.note("codex/error", self.state.turn)?;
            }
            Shape::RolledBack(turns) => return self.rolled_back(step, turns),
            Shape::Other(kind) => {
                step.note(&format!("codex/{kind}"), self.state.turn)?;
            }
        }
        Ok(After::Next)
    }

    /// Whether the turn has its input and nothing else yet.
    pub(super) fn has_begun(&self) -> bool {
        self.state.turn.is_some() && (self.inputs > 0 || self.early.is_some())
    }

    /// Whether an event told of this input already.
    pub(super) fn is_early(&self, content: &Content<'_>) -> bool {
        self.early.is_some_and(|early| early == content.digest())
    }

    fn forget_turn(&mut self) {
        (self.state, self.complete) = (TurnState::default(), false);
        (self.answer, self.failed, self.call) = (None, None, None);
        (self.inputs, self.early, self.aside) = (0, None, None);
    }

    fn break_off(&mut self, status: Status, error: Option<Digest>) {
        self.state.goes_on();
        (self.inputs, self.early) = (0, None);
        self.call_failed(&status);
        self.failed = Some((status.as_str().to_owned(), error));
    }

    /// The last turns were taken back: what follows stands on the head before them.
    fn rolled_back(&mut self, step: &mut Step<'_, '_>, turns: u64) -> Result<After, Stop> {
        let head = step.seal(self)?;
        let (head, root) = step.batch.before_turns(head, turns)?;
        step.batch.go_on_from(head)?;
        self.tools.forget();
        self.forget_turn();
        // What was called in those turns is not in sight from here, and its end cannot be told of.
        self.agents.retain(|agent| agent.invocation.0 <= root.counters.invocation);
        step.note("codex/thread_rolled_back", None)?;
        Ok(After::Seal)
    }

    fn meta(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        self.provider = text(payload.model_provider).or(self.provider.take());
        if step.number() > 1 {
            step.note("codex/session_meta", self.state.turn)?;
        }
        Ok(())
    }

    /// What the next calls are made with: an annotation where it is another than before.
    fn context(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Result<(), Stop> {
        self.call_is_over();
        self.model = text(record.payload.model).or(self.model.take());
        let Some(raw) = record.raw else { return Ok(()) };
        let context = Digest::of(raw.get().as_bytes());
        if self.context != Some(context) {
            let payload = step.batch.put(raw.get().as_bytes());
            step.batch.add_annotation("codex/turn_context", self.state.turn, Some(payload))?;
            self.context = Some(context);
        }
        let range = step.range_of(raw);
        step.keep(range.map(|range| (range, Hole::Payload(context))).into_iter().collect());
        Ok(())
    }

    fn begin_turn(&mut self, step: &mut Step<'_, '_>, content: &Content<'_>) -> Result<(), Stop> {
        let inputs = self.inputs;
        self.forget_turn();
        self.inputs = inputs;
        let input = step.batch.put(&content.bytes);
        let at = step.at();
        let turn = step.batch.begin_turn(|turn| {
            turn.input = Some(input);
            turn.started_at = at;
        })?;
        self.state = TurnState { until: at, ..TurnState::begun(turn) };
        Ok(())
    }

    fn user(&mut self, step: &mut Step<'_, '_>, content: &Content<'_>) -> Result<(), Stop> {
        if self.is_early(content) {
            self.early = None;
            self.repeat(step, content, false);
            return Ok(());
        }
        self.begin_turn(step, content)?;
        self.inputs += 1;
        let number = self.add(step, Role::User, content, |new| new)?;
        step.keep(content.hole(step, number));
        Ok(())
    }

    fn user_event(&mut self, step: &mut Step<'_, '_>, content: &Content<'_>) -> Result<(), Stop> {
        if self.inputs > 0 {
            self.inputs -= 1;
            self.repeat(step, content, false);
            return Ok(());
        }
        let is_aside = self.aside.is_some_and(|aside| aside == content.digest());
        self.begin_turn(step, content)?;
        if is_aside {
            // Its message is there: it looked like one of Codex's own.
            self.repeat(step, content, false);
            return Ok(());
        }
        self.early = Some(content.digest());
        let number = self.add(step, Role::User, content, |new| new)?;
        step.keep(content.hole(step, number));
        Ok(())
    }

    fn message(&mut self, step: &mut Step<'_, '_>, role: &str, content: &Content<'_>) -> Result<(), Stop> {
        let Ok(role) = Role::try_from(Cow::Borrowed(role)) else {
            step.note("codex/message", self.state.turn)?;
            return Ok(());
        };
        if role == Role::Assistant {
            let answer = step.batch.put(&content.bytes);
            let call = self.gave(step, |open| open.response = Some(answer))?;
            self.answer = Some(answer);
            let number = self.add(step, role, content, |new| NewMessage { call, ..new })?;
            let said = content.digest();
            if let Some(at) = self.told.iter().position(|(told, _)| *told == said) {
                let (_, place) = self.told.remove(at);
                step.answer_with(Some(place), Hole::Text(number));
            }
            step.keep(content.hole(step, number));
            return Ok(());
        }
        self.call_is_over();
        if role == Role::User {
            self.aside = Some(content.digest());
            self.notified(step, &content.said())?;
        }
        let number = self.add(step, role, content, |new| new)?;
        step.keep(content.hole(step, number));
        Ok(())
    }

    fn add(
        &mut self,
        step: &mut Step<'_, '_>,
        role: Role,
        content: &Content<'_>,
        change: impl FnOnce(NewMessage) -> NewMessage,
    ) -> Result<MessageNumber, Stop> {
        let new = NewMessage { turn: self.state.turn, ..NewMessage::new(role, content.bytes.clone()) };
        let number = step.batch.add_message(change(new))?;
        if matches!(content.part, None | Some((_, true))) {
            if self.said.len() == MAX_SAID {
                self.said.remove(0);
            }
            self.said.push((content.digest(), number));
        }
        Ok(number)
    }

    /// Keeps a record that tells again of a message, or, where it `is_before`, of one to come.
    fn repeat(&mut self, step: &mut Step<'_, '_>, content: &Content<'_>, is_before: bool) {
        let Some(range) = content.text_range(step) else { return };
        let digest = content.digest();
        let hole = match self.said.iter().rev().find(|(said, _)| *said == digest) {
            Some((_, number)) => Hole::Text(*number),
            None if is_before && self.told.len() < MAX_SAID => {
                let place = step.ask();
                self.told.push((digest, place));
                Hole::Later(place)
            }
            None => return,
        };
        step.keep(vec![(range, hole)]);
    }

    /// A summary that stands for what came before.
    fn compaction(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<After, Stop> {
        self.call_is_over();
        let is_settled = self.tools.is_empty() && (self.complete || self.answer.is_some() || self.failed.is_some());
        if is_settled && self.end(step)? {
            step.seal(self)?;
        }
        self.tell_call(step)?;
        let message = Content::of(payload.message);
        let content = match message.bytes.is_empty() {
            true => Content::of(payload.replacement_history),
            false => message,
        };
        let number = MessageNumber(step.batch.counters().message + 1);
        step.keep(content.hole(step, number));
        Ok(After::Compact { frame: String::from_utf8_lossy(&content.bytes).into_owned(), keep: 0 })
    }
}

impl Turns for Codex {
    type More = Option<bool>;

    fn at_work(&mut self) -> (&mut TurnState, &mut Tools<Option<bool>>) {
        (&mut self.state, &mut self.tools)
    }

    fn ending(&mut self, _: &mut Step<'_, '_>, _: bool) -> Result<Ending, Stop> {
        let (status, final_value, error) = match (&self.failed, self.answer) {
            (Some((status, error)), _) => (Status::new(status.clone())?, None, *error),
            (None, Some(answer)) => (Status::FINAL, Some(answer), None),
            (None, None) if self.complete => (Status::FINAL, None, None),
            (None, None) => (Status::UNFINISHED, None, None),
        };
        Ok(Ending { status, final_value, error })
    }

    fn tell_rest(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        if let Some(at) = step.at() {
            step.batch.at(at);
        }
        self.tell_call(step)
    }
}

//! Tools that an answer asks for, their results, and the subagents among them.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::meaning::{Holes, text_hole};
use super::record::{Agent, Message, Part, Record, one_text};
use super::{Claude, Sub};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::callee;
use crate::exchange::template::Hole;
use crate::exchange::tools::{Asked, add_eval};
use crate::model::{CallNumber, EvalNumber, MessageNumber, Role, SessionId, Status};
use crate::store::NewMessage;

/// How many results that nothing asked for are remembered, in case that comes behind them in their turn.
const MAX_EARLY: usize = 16;

/// A result that nothing had asked for, and its eval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Early {
    id: String,
    eval: EvalNumber,
}

/// Strings beside a result that are looked at for its text again.
const MAX_AGAIN: usize = 64;

impl Claude {
    /// A tool is asked for.
    pub(super) fn ask(
        &mut self,
        step: &mut Step<'_, '_>,
        part: &Part<'_>,
        (message, call): (MessageNumber, Option<CallNumber>),
        holes: &mut Holes,
    ) -> Result<(), Stop> {
        let name = part.name();
        let invocation = match name.as_deref() {
            Some("Task" | "Agent") if !step.is_repeated() => {
                let agent = Agent::of(part.input);
                let label = agent.description().map(|label| step.batch.put(label.as_bytes()));
                let input = agent.prompt().map(|prompt| step.batch.put(prompt.as_bytes()));
                let at = step.at();
                Some(step.batch.start_invocation(Status::new("subagent")?, |row| {
                    row.call = call;
                    row.label = label;
                    row.input = input;
                    row.started_at = at;
                })?)
            }
            _ => None,
        };
        let mut asked = Asked {
            id: part.id().unwrap_or_default(),
            name,
            code: part.input.map(|code| code.get().to_owned()),
            message: Some(message),
            call,
            at: step.at(),
            more: Sub { invocation, callee: None },
            ..Asked::default()
        };
        let range = part.input.and_then(|code| step.range_of(code));
        if let Some(at) = self.early.iter().position(|early| early.id == asked.id) {
            let early = self.early.remove(at);
            holes.extend(range.map(|range| (range, Hole::Code(early.eval))));
            return self.was_answered(step, &asked, &early);
        }
        let number = step.ask();
        asked.place = Some((number, false));
        self.tools.ask(asked);
        holes.extend(range.map(|range| (range, Hole::Later(number))));
        Ok(())
    }

    /// The result stood before the record that asks for it: its eval gets what it was asked.
    fn was_answered(&mut self, step: &mut Step<'_, '_>, asked: &Asked<Sub>, early: &Early) -> Result<(), Stop> {
        let code = asked.code.as_ref().map(|code| step.batch.put(code.as_bytes()));
        let mut said = (Status::OK, None);
        step.batch.update_eval(early.eval, |eval| {
            eval.name.clone_from(&asked.name);
            (eval.code, eval.message, eval.call) = (code, asked.message, asked.call);
            eval.started_at = asked.at;
            said = (eval.status.clone(), eval.result.or(eval.error));
        })?;
        self.came_back(step, asked, &said.0, said.1)
    }

    /// Which agent a tool at work is.
    pub(super) fn agent_shown(&mut self, step: &Step<'_, '_>, record: &Record<'_>) {
        let Some(agent) = Agent::of(record.data).id() else { return };
        let Some(tool) = record.parent_tool_use() else { return };
        if let Some(asked) = self.tools.find(&tool).filter(|asked| asked.more.invocation.is_some()) {
            asked.more.callee = Some(self.aside.borrow_mut().agent(step.source(), &agent));
        }
    }

    /// A record with results: each ends an eval, and all are one message.
    pub(super) fn results(
        &mut self,
        step: &mut Step<'_, '_>,
        record: &Record<'_>,
        message: &Message<'_>,
    ) -> Result<(), Stop> {
        let Some(content) = message.content else { return Ok(()) };
        let parts = Part::list(content).unwrap_or_default();
        let one = match parts.as_slice() {
            [part] => part.content.and_then(one_text),
            _ => None,
        };
        let number = MessageNumber(step.batch.counters().message + 1);
        let mut holes = Holes::new();
        let bytes = match &one {
            Some((raw, text)) => {
                if let Some((range, hole)) = text_hole(step, raw, text, number) {
                    again(step, record.tool_use_result, raw, &hole, &mut holes);
                    holes.push((range, hole));
                }
                text.clone().into_bytes()
            }
            None if parts.len() == 1 && parts[0].content.is_none() => Vec::new(),
            None => {
                let whole = if let [part] = parts.as_slice() { part.content.unwrap_or(content) } else { content };
                holes.extend(step.range_of(whole).map(|range| (range, Hole::Content(number))));
                whole.get().as_bytes().to_vec()
            }
        };
        for part in parts.iter().filter(|part| part.kind().as_deref() == Some("tool_result")) {
            self.result(step, record, part, (parts.len() == 1).then_some(&bytes))?;
        }
        let mut new = NewMessage::new(Role::Tool, bytes);
        new.turn = self.state.turn;
        step.batch.add_message(new)?;
        step.keep(holes);
        Ok(())
    }

    fn result(
        &mut self,
        step: &mut Step<'_, '_>,
        record: &Record<'_>,
        part: &Part<'_>,
        alone: Option<&Vec<u8>>,
    ) -> Result<(), Stop> {
        let id = part.tool_use_id();
        let Some(mut asked) = self.tools.answered(id.as_deref()).unless_late(step) else { return Ok(()) };
        let value = match (alone, part.content) {
            (Some(bytes), _) => Some(step.batch.put(bytes)),
            (None, Some(content)) => Some(match one_text(content) {
                Some((_, text)) => step.batch.put(text.as_bytes()),
                None => step.batch.put(content.get().as_bytes()),
            }),
            (None, None) => None,
        };
        let status = if part.is_error() { Status::ERROR } else { Status::OK };
        if let Some(asked) = asked.as_mut().filter(|asked| asked.more.invocation.is_some()) {
            if let Some(agent) = Agent::of(record.tool_use_result).id() {
                asked.more.callee = Some(self.aside.borrow_mut().agent(step.source(), &agent));
            }
            self.launched(&Agent::of(record.tool_use_result), asked.more.invocation);
            self.came_back(step, asked, &status, value)?;
        }
        let is_early = asked.is_none();
        let eval = add_eval(step, self.state.turn, asked, status.clone(), |eval| match status == Status::ERROR {
            true => eval.error = value,
            false => eval.result = value,
        })?;
        if let Some(id) = id.filter(|_| is_early) {
            if self.early.len() == MAX_EARLY {
                self.early.remove(0);
            }
            self.early.push(Early { id, eval });
        }
        Ok(())
    }

    /// A subagent is done, or was given up.
    pub(super) fn came_back(
        &mut self,
        step: &mut Step<'_, '_>,
        asked: &Asked<Sub>,
        status: &Status,
        value: Option<crate::model::Digest>,
    ) -> Result<(), Stop> {
        let Some(invocation) = asked.more.invocation else { return Ok(()) };
        let callee = match asked.more.callee.clone() {
            Some(callee) => Some(callee),
            None => {
                let code = asked.code.as_deref().and_then(|code| serde_json::from_str::<&RawValue>(code).ok());
                let prompt = Agent::of(code).prompt();
                let aside = &mut *self.aside.borrow_mut();
                prompt.map_or(Ok(None), |prompt| aside.sidechain(step.source(), &prompt))?
            }
        };
        let callee = callee.and_then(|callee| callee.parse::<SessionId>().ok());
        let after = callee.as_ref().map_or(Ok(None), |callee| callee::after(step, callee))?;
        // Which session it is was not known when it was called.
        let before = match &callee {
            Some(callee) => callee::before(step, callee, asked.at, after)?,
            None => None,
        };
        let at = step.at();
        let fill = |row: &mut crate::model::Invocation| {
            row.status = status.clone();
            row.callee = callee;
            row.callee_before = before;
            row.callee_after = after;
            row.ended_at = at;
        };
        if *status == Status::OK {
            step.batch.complete_invocation(invocation, |row| {
                fill(row);
                row.final_value = value;
            })?;
        } else {
            step.batch.fail_invocation(invocation, |row| {
                fill(row);
                row.error = value;
            })?;
        }
        self.returned.push(invocation);
        Ok(())
    }
}

/// Cuts out what is written once more in the same record: what the program keeps of a result beside it.
fn again(step: &Step<'_, '_>, beside: Option<&RawValue>, raw: &RawValue, hole: &Hole, holes: &mut Holes) {
    let mut next: Vec<&RawValue> = beside.into_iter().collect();
    for _ in 0..MAX_AGAIN {
        let Some(value) = next.pop() else { return };
        match value.get().as_bytes().first() {
            Some(b'"') if value.get() == raw.get() => {
                let range: Option<Range<usize>> = step.range_of(value);
                holes.extend(range.map(|range| (range, hole.clone())));
            }
            Some(b'{') => {
                let fields: std::collections::BTreeMap<std::borrow::Cow<'_, str>, &RawValue> =
                    serde_json::from_str(value.get()).unwrap_or_default();
                next.extend(fields.into_values());
            }
            Some(b'[') => {
                next.extend(serde_json::from_str::<Vec<&RawValue>>(value.get()).unwrap_or_default().iter().take(4));
            }
            _ => {}
        }
    }
}

//! Tools: what the model asked for, and what came of it. The arguments are a JSON string whose text is JSON.

use std::ops::Range;

use super::output::{Verdict, verdict};
use super::record::{Content, Payload};
use super::{Codex, Pending};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::{Hole, json_string};
use crate::model::{Eval, EvalNumber, Role, Status};
use crate::store::NewMessage;

/// Ids of tools that were given up, remembered in case a result comes late.
const MAX_GIVEN_UP: usize = 256;

/// The code a payload has, whether it is a JSON string, and where it lies.
fn code(step: &Step<'_, '_>, payload: &Payload<'_>) -> (Option<String>, Option<(Range<usize>, bool)>) {
    let Some(raw) = payload.code() else { return (None, None) };
    match text(Some(raw)) {
        Some(code) => {
            let is_as_written = json_string(&code) == raw.get();
            let range = step.range_of(raw).filter(|_| is_as_written);
            (Some(code), range.map(|range| (range, true)))
        }
        None => (Some(raw.get().to_owned()), step.range_of(raw).map(|range| (range, false))),
    }
}

impl Codex {
    pub(super) fn tool_call(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        let call = self.gave(step, |_| {})?;
        self.answer = None;
        let (code, range) = code(step, payload);
        let number = step.ask();
        self.pending.push(Pending {
            id: text(payload.call_id).unwrap_or_default(),
            name: text(payload.name).or_else(|| Some(name(payload))),
            code,
            call,
            at: step.at(),
            failed: None,
            place: range.as_ref().map(|(_, is_text)| (number, *is_text)),
        });
        step.keep(range.map(|(range, _)| (range, Hole::Later(number))).into_iter().collect());
        Ok(())
    }

    /// A tool that the provider ran within the call: its record says all that is known.
    pub(super) fn tool_at_once(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        let call = self.gave(step, |_| {})?;
        let (code, range) = code(step, payload);
        let status = match text(payload.status).as_deref() {
            Some("failed" | "incomplete") => Status::ERROR,
            Some("in_progress" | "open" | "searching") => Status::UNFINISHED,
            _ => Status::OK,
        };
        let number = EvalNumber(step.batch.counters().eval + 1);
        let pending = Pending {
            id: String::new(),
            name: Some(name(payload)),
            code,
            call,
            at: step.at(),
            failed: None,
            place: None,
        };
        self.eval(step, Some(pending), status, |_| {})?;
        let hole = |is_text| if is_text { Hole::CodeText(number) } else { Hole::Code(number) };
        step.keep(range.map(|(range, is_text)| (range, hole(is_text))).into_iter().collect());
        Ok(())
    }

    /// An event says how a tool ended, before or after its output does.
    pub(super) fn tool_end(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        let id = text(payload.call_id);
        if let Some(pending) = self.pending.iter_mut().find(|pending| Some(&pending.id) == id.as_ref()) {
            pending.failed = payload.has_failed();
        }
        step.keep_known()
    }

    pub(super) fn tool_output(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        self.result_came();
        self.goes_on();
        let id = text(payload.call_id);
        let content = Content::of(payload.output);
        let found = self.pending.iter().position(|pending| Some(&pending.id) == id.as_ref());
        let pending = found.map(|at| self.pending.remove(at));
        let call = pending.as_ref().and_then(|pending| pending.call);
        if pending.is_none() && id.is_some_and(|id| self.given_up.contains(&id)) {
            step.odd(
                "late-result",
                "the result of a tool that was recorded as unfinished before: it is a message alone",
            );
        } else {
            let said = verdict(payload.output, &content);
            let failed = pending.as_ref().and_then(|pending| pending.failed);
            let status = match (said, failed) {
                (Verdict::Aborted, _) => Status::ABORTED,
                (Verdict::Failed, _) | (Verdict::Unsaid, Some(true)) => Status::ERROR,
                _ => Status::OK,
            };
            if let Some(pending) = &pending {
                self.agent_output(step, pending, &content.said())?;
            }
            let value = step.batch.put(&content.bytes);
            let is_error = status == Status::ERROR;
            self.eval(step, pending, status, |eval| match is_error {
                true => eval.error = Some(value),
                false => eval.result = Some(value),
            })?;
        }
        let mut new = NewMessage::new(Role::Tool, content.bytes.clone());
        (new.turn, new.call) = (self.turn, call);
        let number = step.batch.add_message(new)?;
        step.keep(content.hole(step, number));
        Ok(())
    }

    /// Tools that gave no result, when their turn ends.
    pub(super) fn give_up(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        for pending in std::mem::take(&mut self.pending) {
            self.given_up.push(pending.id.clone());
            self.eval(step, Some(pending), Status::UNFINISHED, |_| {})?;
        }
        let excess = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..excess);
        Ok(())
    }

    fn eval(
        &mut self,
        step: &mut Step<'_, '_>,
        pending: Option<Pending>,
        status: Status,
        fill: impl FnOnce(&mut Eval),
    ) -> Result<(), Stop> {
        let code = pending.as_ref().and_then(|pending| pending.code.as_ref());
        let code = code.map(|code| step.batch.put(code.as_bytes()));
        let place = pending.as_ref().and_then(|pending| pending.place);
        let (turn, ended) = (self.turn, step.at());
        let number = step.batch.add_eval(status, |eval| {
            eval.turn = turn;
            eval.code = code;
            eval.ended_at = ended;
            if let Some(pending) = pending {
                eval.name = pending.name;
                eval.call = pending.call;
                eval.started_at = pending.at;
            }
            fill(eval);
        })?;
        if let Some((place, is_text)) = place {
            let hole = if is_text { Hole::CodeText(number) } else { Hole::Code(number) };
            step.answer_with(Some(place), hole);
        }
        Ok(())
    }
}

/// A tool without a name is called by its type: `local_shell`, `web_search`.
fn name(payload: &Payload<'_>) -> String {
    let kind = payload.kind();
    kind.strip_suffix("_call").unwrap_or(&kind).to_owned()
}

//! Tools: what the model asked for, and what came of it. The arguments are a JSON string whose text is JSON.

use std::ops::Range;

use super::Codex;
use super::output::{Verdict, verdict};
use super::record::{Content, Payload};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::{Hole, json_string};
use crate::exchange::tools::{Answer, Asked, add_eval};
use crate::model::{EvalNumber, Role, Status};
use crate::store::NewMessage;

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
        self.tools.ask(Asked {
            id: text(payload.call_id).unwrap_or_default(),
            name: text(payload.name).or_else(|| Some(name(payload))),
            code,
            message: None,
            call,
            at: step.at(),
            place: range.as_ref().map(|(_, is_text)| (number, *is_text)),
            ..Asked::default()
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
        let asked: Asked = Asked { name: Some(name(payload)), code, call, at: step.at(), ..Asked::default() };
        add_eval(step, self.state.turn, Some(asked), status, |_| {})?;
        let hole = |is_text| if is_text { Hole::CodeText(number) } else { Hole::Code(number) };
        step.keep(range.map(|(range, is_text)| (range, hole(is_text))).into_iter().collect());
        Ok(())
    }

    /// An event says how a tool ended, before or after its output does.
    pub(super) fn tool_end(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        if let Some(asked) = text(payload.call_id).and_then(|id| self.tools.find(&id)) {
            asked.more = payload.has_failed();
        }
        step.keep_known()
    }

    pub(super) fn tool_output(&mut self, step: &mut Step<'_, '_>, payload: &Payload<'_>) -> Result<(), Stop> {
        self.result_came();
        self.state.goes_on();
        let id = text(payload.call_id);
        let content = Content::of(payload.output);
        let answer = self.tools.answered(id.as_deref());
        let call = if let Answer::To(asked) = &answer { asked.call } else { None };
        if let Some(asked) = answer.unless_late(step) {
            let said = verdict(payload.output, &content);
            let failed = asked.as_ref().and_then(|asked| asked.more);
            let status = match (said, failed) {
                (Verdict::Aborted, _) => Status::ABORTED,
                (Verdict::Failed, _) | (Verdict::Unsaid, Some(true)) => Status::ERROR,
                _ => Status::OK,
            };
            if let Some(asked) = &asked {
                self.agent_output(step, asked, &content.said())?;
            }
            let value = step.batch.put(&content.bytes);
            let is_error = status == Status::ERROR;
            add_eval(step, self.state.turn, asked, status, |eval| match is_error {
                true => eval.error = Some(value),
                false => eval.result = Some(value),
            })?;
        }
        let mut new = NewMessage::new(Role::Tool, content.bytes.clone());
        (new.turn, new.call) = (self.state.turn, call);
        let number = step.batch.add_message(new)?;
        step.keep(content.hole(step, number));
        Ok(())
    }
}

/// A tool without a name is called by its type: `local_shell`, `web_search`.
fn name(payload: &Payload<'_>) -> String {
    let kind = payload.kind();
    kind.strip_suffix("_call").unwrap_or(&kind).to_owned()
}

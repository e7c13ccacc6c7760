//! Tools: one value of an answer's record says what was asked for and what came of it, once it came.

use super::meaning::Holes;
use super::record::{Content, Ended, Tool, Written};
use super::{Answer, Gemini};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::Hole;
use crate::exchange::tools::{Asked, add_eval};
use crate::model::{Digest, HeadId, SessionId, Status};

impl Gemini {
    /// The tools of an answer that are new in it, or have ended since; says whether there were any. `turn` is theirs.
    pub(super) fn tools(
        &mut self,
        step: &mut Step<'_, '_>,
        answer: &mut Answer,
        tools: &[Tool<'_>],
        holes: &mut Holes,
    ) -> Result<bool, Stop> {
        let mut is_any = false;
        for (place, tool) in (0..).zip(tools) {
            let id = format!("{:x}-{place}", answer.id);
            let known = self.asked.find(&id).map(|asked| asked.eval);
            let has_ended = tool.ended() != Ended::NotYet;
            if place < answer.tools && (known.is_none() || !has_ended) {
                continue;
            }
            is_any = true;
            let code = tool.args.map(Content::json);
            let asked = Asked {
                id,
                name: text(tool.name),
                code: code.as_ref().map(|code| String::from_utf8_lossy(&code.bytes).into_owned()),
                message: Some(answer.message),
                call: Some(answer.call),
                at: tool.at().or(step.at()),
                eval: known.flatten(),
                ..Asked::default()
            };
            if has_ended {
                self.asked.answered(Some(&asked.id));
                self.ended_tool(step, tool, asked, code.as_ref(), holes)?;
            } else {
                self.asked.ask(asked);
            }
        }
        answer.tools = answer.tools.max(tools.len() as u64);
        if is_any {
            let ended = tools.iter().map(Tool::ended).filter(|ended| *ended != Ended::NotYet);
            self.cancelled = ended.clone().next().is_some() && ended.into_iter().all(|ended| ended == Ended::Cancelled);
        }
        Ok(is_any)
    }

    /// Whether a tool of an answer has not ended.
    pub(super) fn waits(&self, answer: &Answer) -> bool {
        let id = format!("{:x}-", answer.id);
        self.asked.any(|asked| asked.id.starts_with(&id))
    }

    fn ended_tool(
        &mut self,
        step: &mut Step<'_, '_>,
        tool: &Tool<'_>,
        asked: Asked,
        code: Option<&Content<'_>>,
        holes: &mut Holes,
    ) -> Result<(), Stop> {
        let status = match tool.ended() {
            Ended::Badly => Status::ERROR,
            Ended::Cancelled => Status::ABORTED,
            Ended::Well | Ended::NotYet => Status::OK,
        };
        let output = tool.output();
        let value = output.as_ref().map(|output| step.batch.put(&output.bytes));
        if let Some(agent) = tool.agent() {
            self.agent(step, &agent, &asked, &status, value)?;
        }
        let (code_put, at) = (code.map(|code| step.batch.put(&code.bytes)), asked.at);
        let is_error = status == Status::ERROR;
        let number = add_eval(step, self.state.turn, Some(asked), status, |eval| {
            (eval.code, eval.started_at, eval.ended_at) = (code_put, None, at);
            match is_error {
                true => eval.error = value,
                false => eval.result = value,
            }
        })?;
        if let Some((raw, written)) = code.and_then(|code| code.part)
            && let Some(range) = step.range_of(raw)
        {
            let hole = match written {
                Written::Indented(level) => Hole::Indented(number, level),
                Written::Plain | Written::Text => Hole::Code(number),
            };
            holes.push((range, hole));
        }
        if let Some((raw, Written::Text)) = output.and_then(|output| output.part) {
            holes.extend(step.range_of(raw).map(|range| (range, Hole::ResultText(number))));
            // What was shown to the user is often the same.
            let again = tool.result_display.filter(|shown| shown.get() == raw.get());
            let again = again.and_then(|shown| step.range_of(shown));
            holes.extend(again.map(|range| (range, Hole::ResultText(number))));
        }
        Ok(())
    }

    /// A tool that was a subagent: its chat is a session of its own.
    fn agent(
        &mut self,
        step: &mut Step<'_, '_>,
        agent: &str,
        asked: &Asked,
        status: &Status,
        value: Option<Digest>,
    ) -> Result<(), Stop> {
        let callee = agent.parse::<SessionId>().ok();
        let after = callee.as_ref().map_or(Ok(None), |callee| head(step, callee))?;
        let label = asked.name.as_ref().map(|name| step.batch.put(name.as_bytes()));
        let input = asked.code.as_ref().map(|code| step.batch.put(code.as_bytes()));
        let at = asked.at;
        let invocation = step.batch.start_invocation(Status::new("subagent")?, |row| {
            row.call = asked.call;
            row.label = label;
            row.input = input;
            row.callee = callee;
            row.started_at = None;
        })?;
        if *status == Status::OK {
            step.batch.complete_invocation(invocation, |row| {
                (row.callee_after, row.final_value, row.ended_at) = (after, value, at);
            })?;
        } else {
            step.batch.fail_invocation(invocation, |row| {
                row.status = status.clone();
                (row.callee_after, row.error, row.ended_at) = (after, value, at);
            })?;
        }
        self.returned.push(invocation);
        Ok(())
    }
}

/// The current head of a session, if it is there.
fn head(step: &Step<'_, '_>, session: &SessionId) -> Result<Option<HeadId>, Stop> {
    match step.store().exists(session.as_str())? {
        true => Ok(step.store().session(session)?.current_head),
        false => Ok(None),
    }
}

//! Tools: one value of an answer's record says what was asked for and what came of it, once it came.

use super::meaning::Holes;
use super::record::{Content, Ended, Tool, Written};
use super::{Answer, Gemini, Pending};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::json::text;
use crate::exchange::template::Hole;
use crate::model::{CallNumber, Digest, EvalNumber, HeadId, MessageNumber, SessionId, Status, Timestamp};

/// A tool, put together from its record and from what was known before.
struct Asked {
    name: Option<String>,
    code: Option<Digest>,
    at: Option<Timestamp>,
    call: CallNumber,
    message: MessageNumber,
}

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
            let pending = answer.pending.iter().position(|pending| pending.place == place);
            let is_new = place >= answer.tools;
            if !is_new && (pending.is_none() || tool.ended() == Ended::NotYet) {
                continue;
            }
            is_any = true;
            let code = tool.args.map(Content::json);
            let asked = Asked {
                name: text(tool.name),
                code: code.as_ref().map(|code| step.batch.put(&code.bytes)),
                at: tool.at().or(step.at()),
                call: answer.call,
                message: answer.message,
            };
            if tool.ended() == Ended::NotYet {
                let Asked { name, code, at, .. } = asked;
                answer.pending.push(Pending { place, name, code, at });
                continue;
            }
            pending.map(|at| answer.pending.remove(at));
            self.ended_tool(step, tool, asked, code.as_ref(), holes)?;
        }
        answer.tools = answer.tools.max(tools.len() as u64);
        if is_any {
            let ended = tools.iter().map(Tool::ended).filter(|ended| *ended != Ended::NotYet);
            self.cancelled = ended.clone().next().is_some() && ended.into_iter().all(|ended| ended == Ended::Cancelled);
        }
        Ok(is_any)
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
        let number = EvalNumber(step.batch.counters().eval + 1);
        self.eval(step, asked, status, value)?;
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

    fn eval(
        &mut self,
        step: &mut Step<'_, '_>,
        asked: Asked,
        status: Status,
        value: Option<Digest>,
    ) -> Result<(), Stop> {
        let turn = self.turn;
        let is_error = status == Status::ERROR;
        step.batch.add_eval(status, |eval| {
            eval.turn = turn;
            eval.name = asked.name;
            eval.message = Some(asked.message);
            eval.call = Some(asked.call);
            eval.code = asked.code;
            eval.ended_at = asked.at;
            match is_error {
                true => eval.error = value,
                false => eval.result = value,
            }
        })?;
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
        let at = asked.at;
        let invocation = step.batch.start_invocation(Status::new("subagent")?, |row| {
            row.call = Some(asked.call);
            row.label = label;
            row.input = asked.code;
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

    /// Tools that gave no result, when their turn is over.
    pub(super) fn give_up(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        let mut answers = std::mem::take(&mut self.answers);
        for answer in &mut answers {
            for Pending { name, code, at, .. } in std::mem::take(&mut answer.pending) {
                let asked = Asked { name, code, at, call: answer.call, message: answer.message };
                self.eval(step, asked, Status::UNFINISHED, None)?;
            }
        }
        self.answers = answers;
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

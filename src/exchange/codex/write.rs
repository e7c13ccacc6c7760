//! A session as a rollout of Codex: what it holds beyond a kept source becomes records behind it. A rollout is a line: what
//! was left is told of as turns that were taken back.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Codex;
use super::record::Tokens;
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Task};
use crate::exchange::format::Format;
use crate::exchange::told::{self, Answer, Lines, Place, Plan, Start, Told, Tool, raw};
use crate::exchange::written;
use crate::model::{Call, EventNumber, HeadId, Message, SessionId, Status, Turn};

/// What a tool and its result are named by, before its number.
const TOOL: &str = "call_";

/// One record.
#[derive(Serialize)]
struct Line<'l, P> {
    timestamp: String,
    #[serde(rename = "type")]
    kind: &'l str,
    payload: P,
}

/// Writes the kept source, and behind it what the session's own log holds since; of a session without one, all that is
/// visible at its current head, behind the records that it shares.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let plan = Plan::of(task, Codex::NAME)?;
    let state = plan.state::<Codex>(task)?;
    let mut writer = Writer { lines: Lines::new(task, out), context: state.model, sum: state.sum, at: None };
    match &plan.start {
        Start::Own => task.write_kept(writer.lines.out)?,
        Start::Shared(session, mark) => {
            writer.meta(Some(session))?;
            written::copy(task.store, session, 0, mark.bytes, writer.lines.out)?;
        }
        Start::Nothing => {
            let source = task.store.session(task.session)?.source.map(|(session, _)| session);
            writer.meta(source.as_ref())?;
        }
    }
    writer.at = plan.head;
    told::tell(task, &plan.spans, &mut |told| writer.told(told))?;
    writer.lines.left_out.tell(task, "Codex");
    Ok(())
}

struct Writer<'w> {
    lines: Lines<'w>,
    /// The model that was last said to answer.
    context: Option<String>,
    /// What all calls used.
    sum: Tokens,
    /// The last head.
    at: Option<HeadId>,
}

impl Writer<'_> {
    fn line(&mut self, kind: &str, place: &Place, payload: impl Serialize) -> Result<(), ExportError> {
        self.lines.line(&Line { timestamp: place.at.to_string(), kind, payload })
    }

    fn meta(&mut self, parent: Option<&SessionId>) -> Result<(), ExportError> {
        let info = self.lines.task.store.session(self.lines.task.session)?;
        let at = info.started_at.to_string();
        let mut payload = json!({ "id": info.session, "timestamp": at, "cwd": "/", "originator": "headwater",
            "cli_version": env!("CARGO_PKG_VERSION"), "source": "cli" });
        if let (Some(parent), Some(fields)) = (parent, payload.as_object_mut()) {
            fields.insert("forked_from_id".to_owned(), parent.as_str().into());
        }
        let place = Place { session: info.session, event: EventNumber(1), at: info.started_at };
        self.line("session_meta", &place, payload)
    }

    fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Input(place, row) => self.input(&place, &row),
            Told::Answer(answer) => self.answer(&answer),
            Told::Said(place, row) | Told::Result(place, row) => {
                let text = self.lines.text(row.content)?;
                self.message(&place, "developer", "input_text", &text)
            }
            Told::Compacted(place, row, _) => {
                let message = self.lines.text(row.content)?;
                self.line("compacted", &place, json!({ "message": message }))
            }
            Told::Ended(place, turn) => self.ended(&place, &turn),
            Told::Sealed(head) => {
                self.at = Some(head);
                Ok(())
            }
            Told::Restored(place, head) => self.restored(&place, head),
            Told::Noted(_, kind, _) | Told::Other(kind) => {
                self.lines.left_out.add(kind);
                Ok(())
            }
        }
    }

    fn message(&mut self, place: &Place, role: &str, part: &str, text: &str) -> Result<(), ExportError> {
        let content = json!([{ "type": part, "text": text }]);
        self.line("response_item", place, json!({ "type": "message", "role": role, "content": content }))
    }

    fn input(&mut self, place: &Place, row: &Message) -> Result<(), ExportError> {
        let text = self.lines.text(row.content)?;
        self.line("event_msg", place, json!({ "type": "task_started" }))?;
        self.message(place, "user", "input_text", &text)?;
        self.line("event_msg", place, json!({ "type": "user_message", "message": text }))
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), ExportError> {
        let task = self.lines.task;
        let Some(place) = answer.place() else { return Ok(()) };
        if let Some(call) = answer.call().filter(|call| call.model.is_some() || self.context.is_some()) {
            // A call is of the model that was last said to answer.
            let model = call.model.clone().unwrap_or_else(|| "unknown".to_owned());
            if self.context.as_ref() != Some(&model) {
                self.line("turn_context", place, json!({ "cwd": "/", "model": model }))?;
                self.context = Some(model);
            }
        }
        if let Some((place, row)) = &answer.message {
            let text = self.lines.text(row.content)?;
            self.message(place, "assistant", "output_text", &text)?;
        }
        for tool in &answer.tools {
            let asked = json!({ "type": "function_call", "name": tool.name(), "arguments": tool.code(task)?,
                "call_id": tool.id(TOOL) });
            self.line("response_item", &tool.place, asked)?;
        }
        if let Some(call) = answer.call() {
            self.count(place, call)?;
        }
        answer.tools.iter().try_for_each(|tool| self.result(tool))
    }

    /// What a call used, and all of them together.
    fn count(&mut self, place: &Place, call: &Call) -> Result<(), ExportError> {
        let last = Tokens {
            input: call.tokens_input,
            output: call.tokens_output,
            cached: call.tokens_cached,
            reasoning: call.tokens_reasoning,
        };
        self.sum = self.sum.and(&last);
        let info = json!({ "total_token_usage": usage(&self.sum)?, "last_token_usage": usage(&last)? });
        self.line("event_msg", place, json!({ "type": "token_count", "info": info }))
    }

    fn result(&mut self, tool: &Tool) -> Result<(), ExportError> {
        let Some(output) = tool.value(self.lines.task)? else { return Ok(()) };
        if tool.is_failure() {
            let end = json!({ "type": "exec_command_end", "call_id": tool.id(TOOL), "exit_code": 1 });
            self.line("event_msg", &tool.place, end)?;
        }
        let result = json!({ "type": "function_call_output", "call_id": tool.id(TOOL), "output": output });
        self.line("response_item", &tool.place, result)
    }

    fn ended(&mut self, place: &Place, turn: &Turn) -> Result<(), ExportError> {
        let payload = match &turn.status {
            status if *status == Status::FINAL => {
                let last = turn.final_value.map(|value| self.lines.text(value)).transpose()?;
                json!({ "type": "task_complete", "last_agent_message": last })
            }
            status if *status == Status::ABORTED => json!({ "type": "turn_aborted", "reason": "interrupted" }),
            status => {
                let message = turn.error.map(|error| self.lines.text(error)).transpose()?;
                json!({ "type": "error", "message": message.unwrap_or_else(|| status.to_string()) })
            }
        };
        self.line("event_msg", place, payload)
    }

    /// The history goes on from another head: one before this one takes turns back.
    fn restored(&mut self, place: &Place, head: HeadId) -> Result<(), ExportError> {
        let store = self.lines.task.store;
        let before = self.at.replace(head);
        let inputs = |head: &HeadId| -> Result<u64, ExportError> {
            Ok(store.view_at(&place.session, head)?.rows.turns.len() as u64)
        };
        let (Some(before), there) = (before, inputs(&head)?) else { return Ok(()) };
        let here = inputs(&before)?;
        if store.head(&before)?.compaction != store.head(&head)?.compaction {
            self.lines.task.notice(
                "linear",
                "a compaction was left: a rollout takes back turns, and keeps what stands between them",
            );
        }
        match here.checked_sub(there) {
            Some(0) => Ok(()),
            Some(turns) => {
                let payload = json!({ "type": "thread_rolled_back", "num_turns": turns });
                self.line("event_msg", place, payload)
            }
            None => {
                self.lines
                    .task
                    .notice("linear", "a branch that was left is gone on with: a rollout has no way back to it");
                Ok(())
            }
        }
    }
}

fn usage(tokens: &Tokens) -> Result<Box<RawValue>, ExportError> {
    let mut fields = serde_json::Map::new();
    for (name, amount) in [
        ("input_tokens", tokens.input),
        ("cached_input_tokens", tokens.cached),
        ("output_tokens", tokens.output),
        ("reasoning_output_tokens", tokens.reasoning),
    ] {
        fields.extend(amount.map(|amount| (name.to_owned(), Value::from(amount))));
    }
    raw(&fields)
}

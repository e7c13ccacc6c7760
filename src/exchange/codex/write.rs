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
use crate::exchange::told::{self, Answer, LeftOut, Place, Plan, Start, Told};
use crate::exchange::written;
use crate::model::{Call, Digest, Eval, HeadId, Message, Role, SessionId, Status, Turn};

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
    let (context, sum) = (state.model, state.sum);
    let mut writer = Writer { task, out, context, sum, at: None, left_out: LeftOut::default() };
    match &plan.start {
        Start::Own => task.write_kept(writer.out)?,
        Start::Shared(session, mark) => {
            writer.meta(Some(session))?;
            written::copy(task.store, session, 0, mark.bytes, writer.out)?;
        }
        Start::Nothing => {
            let source = task.store.session(task.session)?.source.map(|(session, _)| session);
            writer.meta(source.as_ref())?;
        }
    }
    writer.at = plan.head;
    told::tell(task, &plan.spans, &mut |told| writer.told(told))?;
    writer.left_out.tell(task, "Codex");
    Ok(())
}

struct Writer<'w> {
    task: &'w Task<'w>,
    out: &'w mut dyn Output,
    /// The model that was last said to answer.
    context: Option<String>,
    /// What all calls used.
    sum: Tokens,
    /// The last head.
    at: Option<HeadId>,
    left_out: LeftOut,
}

impl Writer<'_> {
    fn line(&mut self, kind: &str, place: &Place, payload: impl Serialize) -> Result<(), ExportError> {
        let line = Line { timestamp: place.at.to_string(), kind, payload };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| ExportError::Output(error.into()))?;
        bytes.push(b'\n');
        self.out.write(&bytes)
    }

    fn meta(&mut self, parent: Option<&SessionId>) -> Result<(), ExportError> {
        let info = self.task.store.session(self.task.session)?;
        let at = info.started_at.to_string();
        let mut payload = json!({ "id": self.task.session, "timestamp": at, "cwd": "/", "originator": "headwater",
            "cli_version": env!("CARGO_PKG_VERSION"), "source": "cli" });
        if let (Some(parent), Some(fields)) = (parent, payload.as_object_mut()) {
            fields.insert("forked_from_id".to_owned(), parent.as_str().into());
        }
        let place = Place { session: info.session, event: crate::model::EventNumber(1), at: info.started_at };
        self.line("session_meta", &place, payload)
    }

    fn text(&self, payload: Digest) -> Result<String, ExportError> {
        Ok(told::text(self.task, payload)?)
    }

    fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Said(place, row) => self.said(&place, &row),
            Told::Answer(answer) => self.answer(&answer),
            Told::Result(place, row) => {
                let text = self.text(row.content)?;
                self.message(&place, "developer", "input_text", &text)
            }
            Told::Compacted(place, row, _) => {
                let message = self.text(row.content)?;
                self.line("compacted", &place, json!({ "message": message }))
            }
            Told::Ended(place, turn) => self.ended(&place, &turn),
            Told::Sealed(head) => {
                self.at = Some(head);
                Ok(())
            }
            Told::Restored(place, head) => self.restored(&place, head),
            Told::Noted(_, kind, _) | Told::Other(kind) => {
                self.left_out.add(kind);
                Ok(())
            }
        }
    }

    fn message(&mut self, place: &Place, role: &str, part: &str, text: &str) -> Result<(), ExportError> {
        let content = json!([{ "type": part, "text": text }]);
        self.line("response_item", place, json!({ "type": "message", "role": role, "content": content }))
    }

    fn said(&mut self, place: &Place, row: &Message) -> Result<(), ExportError> {
        let text = self.text(row.content)?;
        if row.role != Role::User {
            return self.message(place, "developer", "input_text", &text);
        }
        self.line("event_msg", place, json!({ "type": "task_started" }))?;
        self.message(place, "user", "input_text", &text)?;
        self.line("event_msg", place, json!({ "type": "user_message", "message": text }))
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), ExportError> {
        let message = answer.message.as_ref().map(|(place, _)| place);
        let call = answer.call.as_ref().map(|(place, _)| place);
        let Some(place) = message.or(call).or(answer.tools.first().map(|(place, _)| place)).cloned() else {
            return Ok(());
        };
        let call = answer.call.as_ref().map(|(_, call)| call);
        let model = call.and_then(|call| call.model.clone());
        if model.is_some() && model != self.context {
            self.line("turn_context", &place, json!({ "cwd": "/", "model": model }))?;
            self.context = model;
        }
        if let Some((place, row)) = &answer.message {
            let text = self.text(row.content)?;
            self.message(place, "assistant", "output_text", &text)?;
        }
        for (place, eval) in &answer.tools {
            let code = eval.code.map(|code| self.text(code)).transpose()?.unwrap_or_default();
            let name = eval.name.as_deref().unwrap_or("eval");
            let asked = json!({ "type": "function_call", "name": name, "arguments": code, "call_id": tool_id(eval) });
            self.line("response_item", place, asked)?;
        }
        if let Some(call) = call {
            self.count(&place, call)?;
        }
        for (place, eval) in &answer.tools {
            self.result(place, eval)?;
        }
        Ok(())
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

    fn result(&mut self, place: &Place, eval: &Eval) -> Result<(), ExportError> {
        let Some(value) = eval.observation.or(eval.result).or(eval.error) else { return Ok(()) };
        if eval.status != Status::OK && eval.status != Status::FINAL {
            let end = json!({ "type": "exec_command_end", "call_id": tool_id(eval), "exit_code": 1 });
            self.line("event_msg", place, end)?;
        }
        let output = self.text(value)?;
        let result = json!({ "type": "function_call_output", "call_id": tool_id(eval), "output": output });
        self.line("response_item", place, result)
    }

    fn ended(&mut self, place: &Place, turn: &Turn) -> Result<(), ExportError> {
        let payload = match &turn.status {
            status if *status == Status::FINAL => {
                let last = turn.final_value.map(|value| self.text(value)).transpose()?;
                json!({ "type": "task_complete", "last_agent_message": last })
            }
            status if *status == Status::ABORTED => json!({ "type": "turn_aborted", "reason": "interrupted" }),
            status => {
                let message = turn.error.map(|error| self.text(error)).transpose()?;
                json!({ "type": "error", "message": message.unwrap_or_else(|| status.to_string()) })
            }
        };
        self.line("event_msg", place, payload)
    }

    /// The history goes on from another head: one before this one takes turns back.
    fn restored(&mut self, place: &Place, head: HeadId) -> Result<(), ExportError> {
        let store = self.task.store;
        let before = self.at.replace(head);
        let inputs = |head: &HeadId| -> Result<u64, ExportError> {
            Ok(store.view_at(&place.session, head)?.rows.turns.len() as u64)
        };
        let (Some(before), there) = (before, inputs(&head)?) else { return Ok(()) };
        let here = inputs(&before)?;
        if store.head(&before)?.compaction != store.head(&head)?.compaction {
            self.task.notice(
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
                self.task.notice("linear", "a branch that was left is gone on with: a rollout has no way back to it");
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
    serde_json::value::to_raw_value(&fields).map_err(|error| ExportError::Output(error.into()))
}

/// What a tool and its result are named by.
fn tool_id(eval: &Eval) -> String {
    format!("call_{}", eval.eval)
}

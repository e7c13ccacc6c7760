//! A session as Pixir's log: what it holds beyond a kept source becomes canonical events.

use std::collections::VecDeque;
use std::io::BufReader;
use std::os::unix::fs::FileExt;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Pixir;
use super::record::Record;
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Task};
use crate::exchange::format::Format;
use crate::exchange::kept;
use crate::exchange::reader::{Item, Reader};
use crate::exchange::shared::flat;
use crate::exchange::told::{self, Calls, Inputs, Place, Plan, Start};
use crate::model::{
    Annotation, Body, Call, Digest, Eval, Event, EventNumber, Invocation, Message, Role, SessionId, Span, Status, Turn,
};
use crate::store::error::ReadError;

/// One line of the log.
#[derive(Debug, Serialize)]
pub(super) struct Line<'l> {
    pub(super) id: &'l str,
    pub(super) session_id: &'l str,
    pub(super) seq: u64,
    pub(super) ts: &'l str,
    #[serde(rename = "type")]
    pub(super) kind: &'l str,
    pub(super) data: &'l RawValue,
}

/// Writes the kept source, and behind it what the session's own log holds since; of a session without one, all that is
/// visible at its current head, and what a fork is of.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let store = task.store;
    let mut writer = Writer {
        task,
        out,
        seq: 0,
        told: VecDeque::new(),
        calls: 0,
        told_calls: Calls::default(),
        inputs: Inputs::default(),
    };
    let plan = Plan::of(task, Pixir::NAME)?;
    if let Some(source) = &task.kept {
        let state: Pixir = serde_json::from_str(&source.state)
            .map_err(|error| ExportError::Read(kept::damaged(Some(error.into()))))?;
        task.write_kept(writer.out)?;
        writer.seq = state.next_seq();
        return plan.spans.iter().try_for_each(|span| writer.span(span));
    }
    if let Some((source, head)) = &store.session(task.session)?.source {
        let data = json!({ "parent_session_id": source, "fork_root_session_id": root_of(task, source)?,
            "parent_head": head, "strategy": "replay_v1" });
        let first = store.event(task.session, EventNumber(1))?;
        writer.line("session_fork", &first.at.to_string(), 1, data)?;
    }
    if let Start::Shared(session, mark) = &plan.start {
        writer.replay(session, mark.bytes)?;
    }
    plan.spans.iter().try_for_each(|span| writer.span(span))
}

fn root_of(task: &Task<'_>, source: &SessionId) -> Result<SessionId, ReadError> {
    let mut root = source.clone();
    while let Some((source, _)) = task.store.session(&root)?.source {
        root = source;
    }
    Ok(root)
}

/// The types that a fork repeats: what is told of the parent's own calls, failures and summaries stays its own.
const REPLAYED: [&str; 9] = [
    "user_message",
    "assistant_message",
    "reasoning",
    "skill_activation",
    "subagent_event",
    "workflow_event",
    "tool_call",
    "tool_result",
    "permission_decision",
];

struct Writer<'w> {
    task: &'w Task<'w>,
    out: &'w mut dyn Output,
    seq: u64,
    /// Results of evals that were written, whose messages say the same again.
    told: VecDeque<Digest>,
    calls: u64,
    told_calls: Calls,
    inputs: Inputs,
}

impl Writer<'_> {
    fn span(&mut self, span: &Span) -> Result<(), ExportError> {
        told::events(self.task, span, &mut |event| self.event(&event))
    }

    /// Writes the records of a kept source again, in the order of their history, as the session's own.
    fn replay(&mut self, session: &SessionId, bytes: u64) -> Result<(), ExportError> {
        let mut file = flat(self.task.store, session, 0, bytes)?;
        let mut reader = Reader::over(BufReader::new(&mut file)).with_syntax(Pixir::SYNTAX);
        let mut records = Vec::new();
        while let Some(item) = reader.advance().map_err(ExportError::Output)? {
            if item == Item::Record {
                let seq = Pixir::order(reader.record());
                let at = reader.offset() + reader.record_range().start as u64;
                records.push((seq.is_none(), seq, at, reader.record().len()));
            }
        }
        drop(reader);
        records.sort_unstable();
        let mut bytes = Vec::new();
        for (_, _, at, length) in records {
            bytes.resize(length, 0);
            file.read_exact_at(&mut bytes, at).map_err(ExportError::Output)?;
            let Ok(record) = Record::read(&bytes) else { continue };
            let (Some(kind), Some(data)) = (record.kind(), record.data) else { continue };
            if REPLAYED.contains(&kind.as_str()) {
                self.raw(&kind, &record.ts().unwrap_or_default(), 0, data)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, kind: &str, ts: &str, event: u64, data: Value) -> Result<(), ExportError> {
        let data = serde_json::value::to_raw_value(&data).map_err(|error| ExportError::Output(error.into()))?;
        self.raw(kind, ts, event, &data)
    }

    /// The same of a row that `of` wrote: what a fork does not repeat is left out.
    fn tell(&mut self, of: &Event, kind: &str, data: Value) -> Result<(), ExportError> {
        if of.session != *self.task.session && !REPLAYED.contains(&kind) {
            return Ok(());
        }
        self.line(kind, &of.at.to_string(), of.number.0, data)
    }

    fn raw(&mut self, kind: &str, ts: &str, event: u64, data: &RawValue) -> Result<(), ExportError> {
        let session_id = self.task.session.as_str();
        let id = format!("{session_id}-{event}-{}", self.seq);
        let line = Line { id: &id, session_id, seq: self.seq, ts, kind, data };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| ExportError::Output(error.into()))?;
        bytes.push(b'\n');
        self.seq += 1;
        self.out.write(&bytes)
    }

    /// A payload as text; what is no text, or was erased, as its ref.
    fn text(&self, payload: Option<Digest>) -> Result<Value, ExportError> {
        let Some(payload) = payload else { return Ok(Value::Null) };
        match self.task.store.blobs().get(&payload) {
            Ok(bytes) => Ok(String::from_utf8(bytes).map_or_else(|_| json!({ "ref": payload }), Value::String)),
            Err(ReadError::Erased { .. }) => Ok(json!({ "ref": payload, "erased": true })),
            Err(error) => Err(error.into()),
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), ExportError> {
        self.inputs.take(event);
        match &event.body {
            Body::MessageAdded(row) => self.message(event, row),
            Body::TurnPut(row) => self.turn(event, row),
            // A call that was over when it was recorded has no second event.
            Body::CallStarted(row) | Body::CallPut(row) => self.call(event, row),
            // Of one that was told anew, the last version stands where the first one does.
            Body::EvalAdded(row) => self.eval(event, &told::last_eval(self.task, row)?),
            Body::InvocationStarted(row) => self.invocation(event, row, "started", "running"),
            Body::InvocationCompleted(row) => self.invocation(event, row, "finished", "completed"),
            Body::InvocationFailed(row) => self.invocation(event, row, "finished", "failed"),
            Body::Annotation(row) => self.annotation(event, row),
            Body::SnapshotAdded(row) => {
                let data = json!({ "kind": "headwater_snapshot", "snapshot": row.snapshot, "snapshot_kind": row.kind,
                    "vars": self.text(row.vars)? });
                self.tell(event, "workflow_event", data)
            }
            // Bookkeeping of the store; a turn begins with its message.
            Body::TurnStarted(_)
            | Body::EvalPut(_)
            | Body::SessionStarted(_)
            | Body::SessionStatus(_)
            | Body::SessionError(_)
            | Body::SessionRestored(_)
            | Body::RefUpdated(_)
            | Body::HeadCreated(_)
            | Body::CallerHeadRecorded(_) => Ok(()),
        }
    }

    fn message(&mut self, of: &Event, row: &Message) -> Result<(), ExportError> {
        let text = self.text(Some(row.content))?;
        match row.role {
            Role::User if self.is_input(of, row)? => self.tell(of, "user_message", json!({ "text": text })),
            Role::Assistant => self.tell(of, "assistant_message", json!({ "text": text })),
            Role::Summary => {
                // A compaction's frame is the last message of its head.
                let kind = if told::compaction_of(self.task, &of.session, of.number)?.is_some() {
                    "history_compaction"
                } else {
                    "branch_summary"
                };
                let data = json!({ "strategy": "headwater", "summary": text, "limitations": [],
                    "range": { "from_seq": 0, "to_seq": self.seq.saturating_sub(1) } });
                self.tell(of, kind, data)
            }
            Role::Tool | Role::Observation if self.told.iter().any(|told| *told == row.content) => Ok(()),
            Role::User | Role::System | Role::Tool | Role::Observation | Role::Other(_) => {
                let data = json!({ "kind": "headwater_message", "role": row.role, "text": text });
                self.tell(of, "workflow_event", data)
            }
        }
    }

    fn is_input(&mut self, of: &Event, row: &Message) -> Result<bool, ExportError> {
        let place = Place { session: of.session.clone(), event: of.number, at: of.at };
        self.inputs.is_input(self.task, &place, row)
    }

    fn turn(&mut self, of: &Event, row: &Turn) -> Result<(), ExportError> {
        if row.status.is_running() || row.status == Status::FINAL {
            return Ok(());
        }
        let data =
            json!({ "terminal_status": row.status, "error_kind": row.status, "error_message": self.text(row.error)? });
        self.tell(of, "turn_failed", data)
    }

    fn call(&mut self, of: &Event, row: &Call) -> Result<(), ExportError> {
        if row.status.is_running() || !told::is_model(&row.call_type) {
            return Ok(());
        }
        let Some(row) = self.told_calls.ended(self.task, &of.session, row.clone())? else { return Ok(()) };
        self.calls += 1;
        let mut summary = serde_json::Map::new();
        for (name, tokens) in [
            ("input_tokens", row.tokens_input),
            ("output_tokens", row.tokens_output),
            ("cached_tokens", row.tokens_cached),
            ("reasoning_tokens", row.tokens_reasoning),
        ] {
            summary.extend(tokens.map(|tokens| (name.to_owned(), tokens.into())));
        }
        let data = json!({ "model": row.model, "provider": row.provider, "call_index": self.calls - 1,
            "headwater_call_type": row.call_type, "status": row.status, "usage_available": !summary.is_empty(),
            "usage_summary_missing": summary.is_empty(), "usage": {}, "usage_summary": summary,
            "headwater_cost_nano_usd": row.cost });
        self.tell(of, "provider_usage", data)
    }

    fn eval(&mut self, of: &Event, row: &Eval) -> Result<(), ExportError> {
        let call_id = format!("call_{}", row.eval);
        let code = self.text(row.code)?;
        #[derive(Serialize)]
        struct Asked<'a> {
            call_id: &'a str,
            name: &'a str,
            args: &'a RawValue,
        }
        let args = match code.as_str() {
            Some(code) => told::arguments(code)?,
            None => serde_json::value::to_raw_value(&json!({ "code": code }))
                .map_err(|error| ExportError::Output(error.into()))?,
        };
        let asked = Asked { call_id: &call_id, name: row.name.as_deref().unwrap_or("eval"), args: &args };
        let asked = serde_json::value::to_raw_value(&asked).map_err(|error| ExportError::Output(error.into()))?;
        self.raw("tool_call", &of.at.to_string(), of.number.0, &asked)?;
        let value = row.observation.or(row.result).or(row.error);
        self.told.extend([row.observation, row.result, row.error].into_iter().flatten());
        self.told.drain(..self.told.len().saturating_sub(64));
        let data = if row.status == Status::OK || row.status == Status::FINAL {
            let output = if value.is_some() { self.text(value)? } else { "".into() };
            json!({ "call_id": call_id, "ok": true, "output": output })
        } else {
            let kind = if row.status == Status::ORPHANED { "orphan_tool_call" } else { row.status.as_str() };
            json!({ "call_id": call_id, "ok": false,
                "error": { "kind": kind, "message": self.text(row.error.or(value))?, "details": {},
                    "headwater_status": row.status } })
        };
        self.tell(of, "tool_result", data)
    }

    fn invocation(&mut self, of: &Event, row: &Invocation, event: &str, status: &str) -> Result<(), ExportError> {
        let mut data = json!({ "event": event, "status": status, "subagent_id": row.id, "child_session_id": row.callee,
            "agent": self.text(row.label)?, "task": self.text(row.input)? });
        if let Some(fields) = data.as_object_mut().filter(|_| event == "finished") {
            fields.insert("summary".to_owned(), self.text(row.final_value)?);
            fields.insert("reason".to_owned(), self.text(row.error)?);
        }
        self.tell(of, "subagent_event", data)
    }

    fn annotation(&mut self, of: &Event, row: &Annotation) -> Result<(), ExportError> {
        if row.kind == kept::KIND {
            return Ok(());
        }
        let data =
            json!({ "kind": "headwater_annotation", "annotation": row.kind, "payload": self.text(row.payload)? });
        self.tell(of, "workflow_event", data)
    }
}

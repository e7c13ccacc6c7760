//! A session as Pi's log, version 3: what it holds beyond a kept source becomes entries of the tree.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Pi;
use super::entry::{Answered, Entry, First, Said, Usage, is_tree, millis, part, raw, raw_number, tool_id};
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Stream, Task};
use crate::exchange::format::Format;
use crate::exchange::json::decimal;
use crate::exchange::told::{self, Answer, LeftOut, Place, Plan, Start, Told};
use crate::exchange::written;
use crate::model::{Call, Digest, Eval, EventNumber, HeadId, Message, Role, SessionId, Status, Turn};

/// Messages whose entries are remembered, for the first that a compaction keeps.
const MAX_ENTRIES: usize = 4_096;
/// Writes the kept source, and behind it what the session's own log holds since, each branch where it leaves; of a
/// session without one, all that is visible at its current head, behind the records that it shares.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let plan = Plan::of(task, Pi::NAME)?;
    let mut writer = Writer::new(task, out);
    match &plan.start {
        Start::Own => {
            writer.leaf = plan.state::<Pi>(task)?.leaf;
            let mut first = First { out: &mut *writer.out, line: Vec::new(), cut: false };
            task.write_kept(&mut first)?;
            let line = first.line;
            writer.is_tree = is_tree(&line);
        }
        Start::Shared(session, mark) => {
            writer.leaf = plan.state::<Pi>(task)?.leaf;
            let header = first_line(task, session, mark.bytes)?;
            writer.is_tree = is_tree(&header);
            writer.header(Some(session))?;
            written::copy(task.store, session, header.len() as u64, mark.bytes, writer.out)?;
        }
        Start::Nothing => {
            let info = task.store.session(task.session)?;
            writer.header(info.source.map(|(session, _)| session).as_ref())?;
            if let Some(title) = info.title {
                let place = Place { session: info.session, event: EventNumber(1), at: info.started_at };
                writer.entry("session_info", &place, json!({ "name": title }), None)?;
            }
        }
    }
    told::tell(task, &plan.spans, &mut |told| writer.told(told))?;
    writer.left_out.tell(task, "Pi");
    Ok(())
}

/// The first line of the first `bytes` of a kept source, with its end.
fn first_line(task: &Task<'_>, session: &SessionId, bytes: u64) -> Result<Vec<u8>, ExportError> {
    let mut end = 64 * 1_024;
    loop {
        let mut nothing = Vec::new();
        let mut first = First { out: &mut Stream(&mut nothing), line: Vec::new(), cut: true };
        written::copy(task.store, session, 0, bytes.min(end), &mut first)?;
        if first.is_whole() || end >= bytes {
            return Ok(first.line);
        }
        end *= 8;
    }
}

struct Writer<'w> {
    task: &'w Task<'w>,
    out: &'w mut dyn Output,
    /// Whether entries have ids: from version 2 on.
    is_tree: bool,
    leaf: Option<String>,
    /// The last entries at heads that were sealed here.
    heads: HashMap<HeadId, Option<String>>,
    /// The entries of messages.
    entries: VecDeque<(SessionId, EventNumber, String)>,
    written: u64,
    left_out: LeftOut,
}

impl<'w> Writer<'w> {
    fn new(task: &'w Task<'w>, out: &'w mut dyn Output) -> Writer<'w> {
        Writer {
            task,
            out,
            is_tree: true,
            leaf: None,
            heads: HashMap::new(),
            entries: VecDeque::new(),
            written: 0,
            left_out: LeftOut::default(),
        }
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), ExportError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| ExportError::Output(error.into()))?;
        bytes.push(b'\n');
        self.out.write(&bytes)
    }

    fn header(&mut self, parent: Option<&SessionId>) -> Result<(), ExportError> {
        let info = self.task.store.session(self.task.session)?;
        let mut header = json!({ "type": "session", "version": 3, "id": self.task.session,
            "timestamp": info.started_at.to_string(), "cwd": "/" });
        if let (Some(parent), Some(fields)) = (parent, header.as_object_mut()) {
            fields.insert("parentSession".to_owned(), format!("{parent}.jsonl").into());
        }
        self.line(&header)
    }

    /// Writes an entry behind the last one; its id.
    fn entry(
        &mut self,
        kind: &str,
        place: &Place,
        rest: Value,
        message: Option<Said<'_>>,
    ) -> Result<String, ExportError> {
        let of = format!("{} {} {} {}", self.task.session, place.session, place.event, self.written);
        let id = Digest::of(of.as_bytes()).to_string()[..16].to_owned();
        let leaf = self.leaf.clone();
        let rest = if let Value::Object(rest) = rest { rest } else { serde_json::Map::new() };
        let (own, parent) = if self.is_tree { (Some(id.as_str()), Some(leaf.as_deref())) } else { (None, None) };
        let timestamp = place.at.to_string();
        self.line(&Entry { kind, id: own, parent_id: parent, timestamp, rest: &rest, message })?;
        self.written += 1;
        if self.is_tree {
            self.leaf = Some(id.clone());
        }
        self.entries.push_back((place.session.clone(), place.event, id.clone()));
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
        Ok(id)
    }

    fn text(&self, payload: Digest) -> Result<String, ExportError> {
        Ok(told::text(self.task, payload)?)
    }

    fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Said(place, row) => self.said(&place, &row),
            Told::Answer(answer) => self.answer(&answer),
            Told::Result(place, row) => {
                let id = format!("message_{}", row.message);
                self.result(&place, id, None, &self.text(row.content)?, false)
            }
            Told::Compacted(place, row, head) => self.compacted(&place, &row, &head),
            Told::Ended(place, turn) => self.ended(&place, &turn),
            Told::Noted(place, kind, payload) => {
                let data = payload.map(|payload| self.text(payload)).transpose()?;
                self.entry("custom", &place, json!({ "customType": kind, "data": data }), None).map(drop)
            }
            Told::Sealed(head) => {
                self.heads.insert(head, self.leaf.clone());
                Ok(())
            }
            Told::Restored(_, head) => self.restored(&head),
            Told::Other(kind) => {
                self.left_out.add(kind);
                Ok(())
            }
        }
    }

    fn said(&mut self, place: &Place, row: &Message) -> Result<(), ExportError> {
        let text = self.text(row.content)?;
        match &row.role {
            Role::User => {
                let said =
                    Said { role: "user", content: vec![part(&text)?], timestamp: millis(place), ..Said::default() };
                self.entry("message", place, Value::Null, Some(said))?;
            }
            Role::Summary => {
                let from = self.leaf.clone().unwrap_or_else(|| "root".to_owned());
                self.entry("branch_summary", place, json!({ "fromId": from, "summary": text }), None)?;
            }
            role => {
                let rest = json!({ "customType": format!("headwater/{role}"), "content": text, "display": false });
                self.entry("custom_message", place, rest, None)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), ExportError> {
        let first = answer.message.as_ref().map(|(place, _)| place);
        let first =
            first.or(answer.call.as_ref().map(|(place, _)| place)).or(answer.tools.first().map(|(place, _)| place));
        let Some(place) = first.cloned() else { return Ok(()) };
        let mut content = Vec::new();
        if let Some((_, message)) = &answer.message {
            let text = self.text(message.content)?;
            if !text.is_empty() {
                content.push(part(&text)?);
            }
        }
        for (_, eval) in &answer.tools {
            content.push(self.asked(eval)?);
        }
        let call = answer.call.as_ref().map(|(_, call)| call);
        let answered = self.answered(call, !answer.tools.is_empty())?;
        let at = call.and_then(|call| call.started_at).map_or(millis(&place), |at| at.micros() / 1_000);
        let said = Said { role: "assistant", content, answer: Some(answered), timestamp: at, ..Said::default() };
        self.entry("message", &place, Value::Null, Some(said))?;
        for (place, eval) in &answer.tools {
            let Some(value) = eval.observation.or(eval.result).or(eval.error) else { continue };
            let is_error = eval.status != Status::OK && eval.status != Status::FINAL;
            let text = self.text(value)?;
            self.result(place, tool_id(eval), eval.name.clone(), &text, is_error)?;
        }
        Ok(())
    }

    /// A tool that an answer asks for.
    fn asked(&self, eval: &Eval) -> Result<Box<RawValue>, ExportError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            id: String,
            name: &'a str,
            arguments: Box<RawValue>,
        }
        let code = eval.code.map(|code| self.text(code)).transpose()?.unwrap_or_default();
        let name = eval.name.as_deref().unwrap_or("eval");
        raw(&Asked { kind: "toolCall", id: tool_id(eval), name, arguments: told::arguments(&code)? })
    }

    fn answered(&self, call: Option<&Call>, has_tools: bool) -> Result<Answered, ExportError> {
        let failed = call.filter(|call| call.status != Status::OK && call.status != Status::FINAL);
        let stop_reason = match failed.map(|call| &call.status) {
            Some(status) if *status == Status::ABORTED => "aborted",
            Some(_) => "error",
            None if has_tools => "toolUse",
            None => "stop",
        };
        let error = failed.and_then(|call| call.error).map(|error| self.text(error)).transpose()?;
        let word = |word: fn(&Call) -> Option<String>| call.and_then(word).unwrap_or_default();
        let cost = call.and_then(|call| call.cost).map(|cost| raw_number(&decimal(cost, 9))).transpose()?;
        Ok(Answered {
            api: word(|call| call.provider.clone()),
            provider: word(|call| call.provider.clone()),
            model: word(|call| call.model.clone()),
            usage: Usage {
                input: call.and_then(|call| call.tokens_input),
                output: call.and_then(|call| call.tokens_output),
                cache_read: call.and_then(|call| call.tokens_cached),
                cost: cost.map(|cost| HashMap::from([("total", cost)])),
            },
            stop_reason,
            error_message: error,
        })
    }

    fn result(
        &mut self,
        place: &Place,
        id: String,
        name: Option<String>,
        text: &str,
        is_error: bool,
    ) -> Result<(), ExportError> {
        let said = Said {
            role: "toolResult",
            tool_call_id: Some(id),
            tool_name: Some(name.unwrap_or_else(|| "eval".to_owned())),
            content: vec![part(text)?],
            is_error: Some(is_error),
            timestamp: millis(place),
            ..Said::default()
        };
        self.entry("message", place, Value::Null, Some(said)).map(drop)
    }

    fn compacted(&mut self, place: &Place, row: &Message, head: &HeadId) -> Result<(), ExportError> {
        let ranges = self.task.store.root_of(head)?.transcript.unwrap_or_default();
        let is_kept = |session: &SessionId, event: EventNumber| {
            ranges.iter().any(|range| range.session == *session && range.from <= event && event <= range.to)
        };
        let first = self.entries.iter().find(|(session, event, _)| is_kept(session, *event));
        let mut rest = json!({ "summary": self.text(row.content)?, "tokensBefore": 0 });
        match (first, rest.as_object_mut()) {
            (Some((_, _, id)), Some(fields)) => {
                fields.insert("firstKeptEntryId".to_owned(), id.as_str().into());
            }
            _ if ranges.iter().any(|range| range.from < place.event || range.session != place.session) => {
                self.task.notice(
                    "kept-tail",
                    "a compaction keeps messages that lie too far back: Pi will see its summary alone",
                );
            }
            _ => {}
        }
        self.entry("compaction", place, rest, None).map(drop)
    }

    /// A turn that failed without an answer that says so.
    fn ended(&mut self, place: &Place, turn: &Turn) -> Result<(), ExportError> {
        if turn.status == Status::FINAL {
            return Ok(());
        }
        let error = turn.error.map(|error| self.text(error)).transpose()?;
        let data = json!({ "turn": turn.turn, "status": turn.status, "error": error });
        self.entry("custom", place, json!({ "customType": "headwater/turn-ended", "data": data }), None).map(drop)
    }

    /// The history goes on from another head.
    fn restored(&mut self, head: &HeadId) -> Result<(), ExportError> {
        let leaf = match self.heads.get(head) {
            Some(leaf) => leaf.clone(),
            None => match told::state_at::<Pi>(self.task, head)? {
                Some(state) => state.leaf,
                None => return Ok(()),
            },
        };
        if !self.is_tree {
            self.task.notice("linear", "the source is of version 1, which has no branches: what was left stays in it");
            return Ok(());
        }
        self.leaf = leaf;
        Ok(())
    }
}

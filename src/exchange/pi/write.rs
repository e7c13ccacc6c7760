//! A session as Pi's log, version 3: what it holds beyond a kept source becomes entries of the tree.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Pi;
use super::entry::{Answered, Entry, First, Said, Usage, is_tree, millis, part};
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Stream, Task};
use crate::exchange::format::Format;
use crate::exchange::told::{self, Answer, Lines, Place, Plan, Start, Tail, Told, Tool, cost, raw};
use crate::exchange::written;
use crate::model::{Call, EventNumber, HeadId, Message, Role, SessionId, Status, Turn};

/// What a tool and its result are named by, before its number.
const TOOL: &str = "call_";
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
            let mut first = First { out: &mut *writer.lines.out, line: Vec::new(), cut: false };
            task.write_kept(&mut first)?;
            let line = first.line;
            writer.is_tree = is_tree(&line);
        }
        Start::Shared(session, mark) => {
            writer.leaf = plan.state::<Pi>(task)?.leaf;
            let header = first_line(task, session, mark.bytes)?;
            writer.is_tree = is_tree(&header);
            writer.header(Some(session))?;
            written::copy(task.store, session, header.len() as u64, mark.bytes, writer.lines.out)?;
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
    writer.lines.left_out.tell(task, "Pi");
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
    lines: Lines<'w>,
    /// Whether entries have ids: from version 2 on.
    is_tree: bool,
    leaf: Option<String>,
    /// The last entries at heads that were sealed here.
    heads: HashMap<HeadId, Option<String>>,
    /// The entries of messages.
    entries: VecDeque<(SessionId, EventNumber, String)>,
}

impl<'w> Writer<'w> {
    fn new(task: &'w Task<'w>, out: &'w mut dyn Output) -> Writer<'w> {
        let lines = Lines::new(task, out);
        Writer { lines, is_tree: true, leaf: None, heads: HashMap::new(), entries: VecDeque::new() }
    }

    fn header(&mut self, parent: Option<&SessionId>) -> Result<(), ExportError> {
        let info = self.lines.task.store.session(self.lines.task.session)?;
        let mut header = json!({ "type": "session", "version": 3, "id": info.session,
            "timestamp": info.started_at.to_string(), "cwd": "/" });
        if let (Some(parent), Some(fields)) = (parent, header.as_object_mut()) {
            fields.insert("parentSession".to_owned(), format!("{parent}.jsonl").into());
        }
        self.lines.line(&header)
    }

    /// Writes an entry behind the last one; its id.
    fn entry(
        &mut self,
        kind: &str,
        place: &Place,
        rest: Value,
        message: Option<Said<'_>>,
    ) -> Result<String, ExportError> {
        let id = self.lines.id(place).to_string()[..16].to_owned();
        let leaf = self.leaf.clone();
        let rest = if let Value::Object(rest) = rest { rest } else { serde_json::Map::new() };
        let (own, parent) = if self.is_tree { (Some(id.as_str()), Some(leaf.as_deref())) } else { (None, None) };
        let timestamp = place.at.to_string();
        self.lines.line(&Entry { kind, id: own, parent_id: parent, timestamp, rest: &rest, message })?;
        if self.is_tree {
            self.leaf = Some(id.clone());
        }
        self.entries.push_back((place.session.clone(), place.event, id.clone()));
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
        Ok(id)
    }

    fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Input(place, row) => {
                let content = vec![part(&self.lines.text(row.content)?)?];
                let said = Said { role: "user", content, timestamp: millis(&place), ..Said::default() };
                self.entry("message", &place, Value::Null, Some(said)).map(drop)
            }
            Told::Said(place, row) | Told::Result(place, row) => self.said(&place, &row),
            Told::Answer(answer) => self.answer(&answer),
            Told::Compacted(place, row, head) => self.compacted(&place, &row, &head),
            Told::Ended(place, turn) => self.ended(&place, &turn),
            Told::Noted(place, kind, payload) => {
                let data = payload.map(|payload| self.lines.text(payload)).transpose()?;
                self.entry("custom", &place, json!({ "customType": kind, "data": data }), None).map(drop)
            }
            Told::Sealed(head) => {
                self.heads.insert(head, self.leaf.clone());
                Ok(())
            }
            Told::Restored(_, head) => self.restored(&head),
            Told::Other(kind) => {
                self.lines.left_out.add(kind);
                Ok(())
            }
        }
    }

    fn said(&mut self, place: &Place, row: &Message) -> Result<(), ExportError> {
        let text = self.lines.text(row.content)?;
        match &row.role {
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
        let task = self.lines.task;
        let Some(place) = answer.place() else { return Ok(()) };
        let said = answer.text(task)?.map(|text| part(&text));
        let asked = answer.tools.iter().map(|tool| self.asked(tool));
        let content = said.into_iter().chain(asked).collect::<Result<Vec<_>, _>>()?;
        let answered = self.answered(answer)?;
        let at = answer.call().and_then(|call| call.started_at).map_or(millis(place), |at| at.micros() / 1_000);
        let said = Said { role: "assistant", content, answer: Some(answered), timestamp: at, ..Said::default() };
        self.entry("message", place, Value::Null, Some(said))?;
        for tool in &answer.tools {
            if let Some(text) = tool.value(task)? {
                self.result(&tool.place, tool.id(TOOL), tool.name(), &text, tool.is_failure())?;
            }
        }
        Ok(())
    }

    /// A tool that an answer asks for.
    fn asked(&self, tool: &Tool) -> Result<Box<RawValue>, ExportError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            id: String,
            name: &'a str,
            arguments: Box<RawValue>,
        }
        let arguments = tool.arguments(self.lines.task)?;
        raw(&Asked { kind: "toolCall", id: tool.id(TOOL), name: tool.name(), arguments })
    }

    fn answered(&self, answer: &Answer) -> Result<Answered, ExportError> {
        let call = answer.call();
        let stop_reason = match answer.failed() {
            Some(_) if answer.is_error() => "error",
            Some(_) => "aborted",
            None if !answer.tools.is_empty() => "toolUse",
            None => "stop",
        };
        let word = |word: fn(&Call) -> Option<String>| call.and_then(word).unwrap_or_default();
        let cost = call.map(cost).transpose()?.flatten();
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
            error_message: answer.error(self.lines.task)?,
        })
    }

    fn result(&mut self, place: &Place, id: String, name: &str, text: &str, is_error: bool) -> Result<(), ExportError> {
        let said = Said {
            role: "toolResult",
            tool_call_id: Some(id),
            tool_name: Some(name.to_owned()),
            content: vec![part(text)?],
            is_error: Some(is_error),
            timestamp: millis(place),
            ..Said::default()
        };
        self.entry("message", place, Value::Null, Some(said)).map(drop)
    }

    fn compacted(&mut self, place: &Place, row: &Message, head: &HeadId) -> Result<(), ExportError> {
        let tail = Tail::of(self.lines.task, head)?;
        let first = self.entries.iter().find(|(session, event, _)| tail.has(session, *event));
        let mut rest = json!({ "summary": self.lines.text(row.content)?, "tokensBefore": 0 });
        match (first, rest.as_object_mut()) {
            (Some((_, _, id)), Some(fields)) => {
                fields.insert("firstKeptEntryId".to_owned(), id.as_str().into());
            }
            _ if tail.is_before(&place.session, place.event) => {
                self.lines.task.notice(
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
        let error = turn.error.map(|error| self.lines.text(error)).transpose()?;
        let data = json!({ "turn": turn.turn, "status": turn.status, "error": error });
        self.entry("custom", place, json!({ "customType": "headwater/turn-ended", "data": data }), None).map(drop)
    }

    /// The history goes on from another head.
    fn restored(&mut self, head: &HeadId) -> Result<(), ExportError> {
        let leaf = match self.heads.get(head) {
            Some(leaf) => leaf.clone(),
            None => match told::state_at::<Pi>(self.lines.task, head)? {
                Some(state) => state.leaf,
                None => return Ok(()),
            },
        };
        if !self.is_tree {
            self.lines
                .task
                .notice("linear", "the source is of version 1, which has no branches: what was left stays in it");
            return Ok(());
        }
        self.leaf = leaf;
        Ok(())
    }
}

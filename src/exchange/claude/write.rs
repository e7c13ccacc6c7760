//! A session as Claude Code's log: what it holds beyond a kept source becomes records of the tree.

use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Claude;
use super::record::Record;
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Task};
use crate::exchange::format::Format;
use crate::exchange::json::{range_in, text};
use crate::exchange::shared::records;
use crate::exchange::told::{self, Answer, Lines, Place, Plan, Start, Told, Tool, cost, raw};
use crate::model::{Call, Digest, HeadId, Message, Role, SessionId, Status, Turn};

/// What a tool and its result are named by, before its number.
const TOOL: &str = "toolu_headwater_";

/// What every record has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'l> {
    parent_uuid: Option<&'l str>,
    is_sidechain: bool,
    user_type: &'static str,
    cwd: &'static str,
    session_id: &'l str,
    version: &'static str,
    #[serde(rename = "type")]
    kind: &'l str,
    #[serde(flatten)]
    rest: Rest,
    uuid: &'l str,
    timestamp: String,
}

/// What only some records have.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Rest {
    #[serde(skip_serializing_if = "Option::is_none")]
    subtype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logical_parent_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compact_metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_meta: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_compact_summary: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_api_error_message: bool,
    #[serde(rename = "costUSD", skip_serializing_if = "Option::is_none")]
    cost: Option<Box<RawValue>>,
}

/// The message of a record.
#[derive(Serialize)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    content: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

/// Writes the kept source, and behind it what the session's own log holds since, each branch where it leaves; of a
/// session without one, all that is visible at its current head, behind the records that it shares.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let plan = Plan::of(task, Claude::NAME)?;
    // A log of sidechains alone would have no session of its own.
    let is_new = matches!(plan.start, Start::Nothing);
    let is_child = !is_new && task.store.session(task.session)?.kind == Status::CHILD;
    let mut writer = Writer { lines: Lines::new(task, out), is_child, leaf: None, heads: HashMap::new() };
    match &plan.start {
        Start::Own => {
            task.write_kept(writer.lines.out)?;
            writer.leaf = leaf_of(task, task.session, u64::MAX)?;
        }
        Start::Shared(session, mark) => {
            writer.copy(session, mark.bytes)?;
            writer.leaf = leaf_of(task, session, mark.bytes)?;
        }
        Start::Nothing => {}
    }
    told::tell(task, &plan.spans, &mut |told| writer.told(told))?;
    writer.lines.left_out.tell(task, "Claude Code");
    Ok(())
}

/// The last record of the conversation in the first `bytes` of a kept source.
fn leaf_of(task: &Task<'_>, session: &SessionId, bytes: u64) -> Result<Option<String>, ExportError> {
    let mut leaf = None;
    records(task.store, session, bytes, Claude::SYNTAX, &mut |record| {
        let read = Record::read(record).ok();
        leaf = read.and_then(|record| text(record.uuid)).or(leaf.take());
        Ok(())
    })?;
    Ok(leaf)
}

struct Writer<'w> {
    lines: Lines<'w>,
    is_child: bool,
    leaf: Option<String>,
    /// The last records at heads that were sealed here.
    heads: HashMap<HeadId, Option<String>>,
}

impl Writer<'_> {
    /// Writes the records of another session as this one's.
    fn copy(&mut self, session: &SessionId, bytes: u64) -> Result<(), ExportError> {
        let Lines { task, out, .. } = &mut self.lines;
        let own = raw(task.session)?;
        records(task.store, session, bytes, Claude::SYNTAX, &mut |bytes| {
            let read = Record::read(bytes).ok();
            let place: Option<Range<usize>> = read.and_then(|read| range_in(bytes, read.session_id?));
            let (before, after) =
                place.map_or((bytes, &bytes[..0]), |place| (&bytes[..place.start], &bytes[place.end..]));
            out.write(before)?;
            if !after.is_empty() {
                out.write(own.get().as_bytes())?;
                out.write(after)?;
            }
            out.write(b"\n")
        })
    }

    fn line(&mut self, kind: &str, place: &Place, rest: Rest) -> Result<(), ExportError> {
        let uuid = self.lines.uuid(place);
        let leaf = self.leaf.take().filter(|_| rest.logical_parent_uuid.is_none());
        let line = Line {
            parent_uuid: leaf.as_deref(),
            is_sidechain: self.is_child,
            user_type: "external",
            cwd: "/",
            session_id: self.lines.task.session.as_str(),
            version: env!("CARGO_PKG_VERSION"),
            kind,
            rest,
            uuid: &uuid,
            timestamp: place.at.to_string(),
        };
        self.lines.line(&line)?;
        self.leaf = Some(uuid);
        Ok(())
    }

    fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Input(place, row) => {
                let text = self.lines.text(row.content)?;
                self.user(&place, &text, Rest::default())
            }
            Told::Said(place, row) => {
                let text = self.lines.text(row.content)?;
                if row.role == Role::User || row.role == Role::Summary {
                    return self.user(&place, &text, Rest { is_meta: true, ..Rest::default() });
                }
                let rest = Rest { subtype: Some("informational"), content: Some(text), ..Rest::default() };
                self.line("system", &place, rest)
            }
            Told::Answer(answer) => self.answer(&answer),
            Told::Result(place, row) => {
                let text = self.lines.text(row.content)?;
                self.user(&place, &text, Rest { is_meta: true, ..Rest::default() })
            }
            Told::Compacted(place, row, _) => self.compacted(&place, &row),
            Told::Ended(place, turn) => self.ended(&place, &turn),
            Told::Sealed(head) => {
                self.heads.insert(head, self.leaf.clone());
                Ok(())
            }
            Told::Restored(_, head) => self.restored(&head),
            Told::Noted(_, kind, _) | Told::Other(kind) => {
                self.lines.left_out.add(kind);
                Ok(())
            }
        }
    }

    fn user(&mut self, place: &Place, content: &(impl Serialize + ?Sized), rest: Rest) -> Result<(), ExportError> {
        let said = Said {
            id: None,
            kind: None,
            role: "user",
            model: None,
            content: raw(content)?,
            stop_reason: None,
            usage: None,
        };
        self.line("user", place, Rest { message: Some(said), ..rest })
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), ExportError> {
        let task = self.lines.task;
        let Some(place) = answer.place() else { return Ok(()) };
        let mut text = answer.text(task)?;
        if text.is_none() && answer.tools.is_empty() {
            text = answer.error(task)?;
        }
        let said = text.map(|text| raw(&json!({ "type": "text", "text": text })));
        let asked = answer.tools.iter().map(|tool| asked(task, tool));
        let content = said.into_iter().chain(asked).collect::<Result<Vec<_>, _>>()?;
        let call = answer.call();
        let said = Said {
            id: Some(format!("msg_{}", &Digest::of(self.lines.uuid(place).as_bytes()).to_string()[..24])),
            kind: Some("message"),
            role: "assistant",
            // What no call of a model gave.
            model: Some(call.map_or("<synthetic>".to_owned(), |call| call.model.clone().unwrap_or_default())),
            content: raw(&content)?,
            stop_reason: Some(if answer.tools.is_empty() { "end_turn" } else { "tool_use" }),
            usage: call.map(usage),
        };
        let cost = call.map(cost).transpose()?.flatten();
        // That the user stopped it is told where its turn ends.
        let is_api_error_message = answer.is_error();
        self.line("assistant", place, Rest { message: Some(said), is_api_error_message, cost, ..Rest::default() })?;
        answer.tools.iter().try_for_each(|tool| self.result(tool))
    }

    fn result(&mut self, tool: &Tool) -> Result<(), ExportError> {
        let Some(value) = tool.value(self.lines.task)? else { return Ok(()) };
        let result = json!([{ "tool_use_id": tool.id(TOOL), "type": "tool_result", "content": value,
            "is_error": tool.is_failure() }]);
        self.user(&tool.place, &result, Rest::default())
    }

    fn compacted(&mut self, place: &Place, row: &Message) -> Result<(), ExportError> {
        let rest = Rest {
            subtype: Some("compact_boundary"),
            content: Some("Conversation compacted".to_owned()),
            logical_parent_uuid: self.leaf.clone(),
            compact_metadata: Some(json!({ "trigger": "manual", "preTokens": 0 })),
            ..Rest::default()
        };
        self.line("system", place, rest)?;
        let text = self.lines.text(row.content)?;
        self.user(place, &text, Rest { is_compact_summary: true, ..Rest::default() })
    }

    /// A turn that the user stopped.
    fn ended(&mut self, place: &Place, turn: &Turn) -> Result<(), ExportError> {
        if turn.status == Status::ABORTED {
            return self.user(place, "[Request interrupted by user]", Rest::default());
        }
        Ok(())
    }

    /// The history goes on from another head.
    fn restored(&mut self, head: &HeadId) -> Result<(), ExportError> {
        if let Some(leaf) = self.heads.get(head) {
            self.leaf.clone_from(leaf);
        } else if let Some((session, mark)) = told::mark_at(self.lines.task, Claude::NAME, head)? {
            self.leaf = leaf_of(self.lines.task, &session, mark.bytes)?;
        }
        Ok(())
    }
}

fn usage(call: &Call) -> Value {
    json!({ "input_tokens": call.tokens_input, "output_tokens": call.tokens_output,
        "cache_read_input_tokens": call.tokens_cached })
}

/// A tool that an answer asks for.
fn asked(task: &Task<'_>, tool: &Tool) -> Result<Box<RawValue>, ExportError> {
    #[derive(Serialize)]
    struct Asked<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        id: String,
        name: &'a str,
        input: Box<RawValue>,
    }
    raw(&Asked { kind: "tool_use", id: tool.id(TOOL), name: tool.name(), input: tool.arguments(task)? })
}

//! OpenCode's files as they are written: one JSON object each, with the fields that it cannot do without.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::exchange::ExportError;
use crate::exchange::export::Task;
use crate::exchange::told::{Answer, Tool, broke_off, cost, raw};
use crate::model::{Call, Status, Timestamp};

/// What a tool is named by, before its number.
const TOOL: &str = "call_headwater_";

/// A message's file.
#[derive(Serialize, Clone)]
pub struct Message {
    pub id: String,
    #[serde(rename = "sessionID")]
    pub session: String,
    pub role: &'static str,
    pub time: Time,
    pub agent: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    #[serde(flatten)]
    pub answer: Option<Answered>,
}

#[derive(Serialize, Clone, Copy)]
pub struct Time {
    pub created: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<i64>,
}

/// Who is asked.
#[derive(Serialize, Clone)]
pub struct Model {
    #[serde(rename = "providerID")]
    pub provider: String,
    #[serde(rename = "modelID")]
    pub model: String,
}

/// What an answer has beyond what every message has.
#[derive(Serialize, Clone)]
pub struct Answered {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    #[serde(rename = "parentID")]
    pub parent: String,
    #[serde(flatten)]
    pub model: Model,
    pub mode: &'static str,
    path: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub summary: bool,
    cost: Box<RawValue>,
    tokens: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<&'static str>,
}

/// What was used. OpenCode counts the tokens of a message, which must all be there; those of a step are there as far as they are known.
#[derive(Serialize, Clone, Copy)]
pub struct Tokens {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<u64>,
    cache: Cache,
}

#[derive(Serialize, Clone, Copy)]
struct Cache {
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    write: u64,
}

/// Why a step ended.
pub fn finish(has_tools: bool) -> &'static str {
    if has_tools { "tool-calls" } else { "stop" }
}

impl Answered {
    /// Behind the message `parent`.
    pub fn of(task: &Task<'_>, answer: &Answer, parent: String, model: Model) -> Result<Answered, ExportError> {
        let cost = answer.call().map(cost).transpose()?.flatten();
        let failed = match answer.failed() {
            Some(call) => Some(error(&call.status, answer.error(task)?)),
            None => None,
        };
        Ok(Answered {
            finish: failed.is_none().then(|| finish(!answer.tools.is_empty())),
            error: failed,
            parent,
            model,
            mode: "build",
            path: json!({ "cwd": "/", "root": "/" }),
            summary: false,
            cost: cost.map_or_else(|| raw(&0), Ok)?,
            tokens: Tokens::of(answer.call()).whole(),
        })
    }
}

impl Tokens {
    fn of(call: Option<&Call>) -> Tokens {
        let amount = |amount: fn(&Call) -> Option<u64>| call.and_then(amount);
        Tokens {
            input: amount(|call| call.tokens_input),
            output: amount(|call| call.tokens_output),
            reasoning: amount(|call| call.tokens_reasoning),
            cache: Cache { read: amount(|call| call.tokens_cached), write: 0 },
        }
    }

    fn whole(self) -> Tokens {
        let some = |amount: Option<u64>| amount.or(Some(0));
        Tokens {
            input: some(self.input),
            output: some(self.output),
            reasoning: some(self.reasoning),
            cache: Cache { read: some(self.cache.read), write: 0 },
        }
    }
}

/// Why a message failed.
pub fn error(status: &Status, message: Option<String>) -> Value {
    let name = if broke_off(status) { "MessageAbortedError" } else { "UnknownError" };
    json!({ "name": name, "data": { "message": message.unwrap_or_else(|| status.to_string()) } })
}

/// A part's file.
#[derive(Serialize)]
pub struct Part<'p, T> {
    pub id: &'p str,
    #[serde(rename = "sessionID")]
    pub session: &'p str,
    #[serde(rename = "messageID")]
    pub message: &'p str,
    #[serde(flatten)]
    pub rest: T,
}

/// A text.
pub fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// What ends a step.
#[derive(Serialize)]
pub struct StepFinish {
    #[serde(rename = "type")]
    kind: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Box<RawValue>>,
    tokens: Tokens,
}

impl StepFinish {
    pub fn of(answer: &Answer) -> Result<StepFinish, ExportError> {
        let call = answer.call();
        let cost = call.map(cost).transpose()?.flatten();
        let reason = finish(!answer.tools.is_empty());
        Ok(StepFinish { kind: "step-finish", reason, cost, tokens: Tokens::of(call) })
    }
}

/// A tool, with what came of it.
#[derive(Serialize)]
pub struct ToolPart {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "callID")]
    call: String,
    tool: String,
    state: State,
}

#[derive(Serialize)]
struct State {
    status: &'static str,
    input: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    title: &'static str,
    metadata: Value,
    time: Span,
}

#[derive(Serialize)]
struct Span {
    start: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
}

impl ToolPart {
    /// `child` is the session that it opened.
    pub fn of(task: &Task<'_>, tool: &Tool, child: Option<&str>) -> Result<ToolPart, ExportError> {
        let value = tool.value(task)?;
        // Over several lines, if that is how it was written.
        let code = tool.code(task)?;
        let input = serde_json::from_str::<Box<RawValue>>(&code).ok().filter(|input| input.get().starts_with('{'));
        let input = input.map_or_else(|| tool.arguments(task), Ok)?;
        let end = millis(tool.eval.ended_at.unwrap_or(tool.place.at));
        let start = tool.eval.started_at.map_or(end, millis).min(end);
        let (status, output, error) = match tool.is_failure() {
            false => ("completed", Some(value.unwrap_or_default()), None),
            true if value.is_none() && tool.eval.status == Status::UNFINISHED => ("running", None, None),
            true => ("error", None, Some(value.unwrap_or_else(|| tool.eval.status.to_string()))),
        };
        let time = Span { start, end: (status != "running").then_some(end) };
        let metadata = child.map_or_else(|| json!({}), |child| json!({ "sessionId": child }));
        let state = State { status, input, output, error, title: "", metadata, time };
        Ok(ToolPart { kind: "tool", call: tool.id(TOOL), tool: tool.name().to_owned(), state })
    }
}

/// A time as OpenCode has it.
pub fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000)
}

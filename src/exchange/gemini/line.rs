//! Records of Gemini CLI's chats as they are written: a line each.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::exchange::ExportError;
use crate::exchange::export::Task;
use crate::exchange::told::{Answer, Tool};
use crate::model::{Call, Status};

/// What a tool and its result are named by, before its number.
const TOOL: &str = "call_";

/// One message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'l> {
    pub id: &'l str,
    pub timestamp: String,
    #[serde(rename = "type")]
    pub kind: &'l str,
    pub content: Value,
    #[serde(flatten)]
    pub answer: Option<Answered>,
}

/// What an answer has beyond its content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    thoughts: [(); 0],
    tokens: Option<Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Asked>,
}

/// What a call used, as far as it is known.
#[derive(Serialize)]
struct Tokens {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

/// A tool with what came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    id: String,
    name: String,
    args: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    status: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
}

/// A text, in the list of parts that it is.
pub fn parts(text: &str) -> Value {
    json!([{ "text": text }])
}

impl Answered {
    pub fn of(task: &Task<'_>, answer: &Answer) -> Result<Answered, ExportError> {
        let call = answer.call();
        Ok(Answered {
            thoughts: [],
            tokens: call.and_then(Tokens::of),
            model: call.and_then(|call| call.model.clone()),
            tool_calls: answer.tools.iter().map(|tool| Asked::of(task, tool)).collect::<Result<_, _>>()?,
        })
    }
}

impl Tokens {
    /// None where nothing is known.
    fn of(call: &Call) -> Option<Tokens> {
        let (input, output) = (call.tokens_input, call.tokens_output);
        let (cached, thoughts) = (call.tokens_cached, call.tokens_reasoning);
        let is_known = [input, output, cached, thoughts].iter().any(Option::is_some);
        let total = input
            .zip(output)
            .map(|(input, output)| input.saturating_add(output).saturating_add(thoughts.unwrap_or_default()));
        is_known.then_some(Tokens { input, output, cached, thoughts, total })
    }
}

impl Asked {
    fn of(task: &Task<'_>, tool: &Tool) -> Result<Asked, ExportError> {
        let (id, name) = (tool.id(TOOL), tool.name().to_owned());
        let value = tool.value(task)?;
        let status = match &tool.eval.status {
            status if *status == Status::ABORTED => "cancelled",
            // It never ended.
            status if *status == Status::UNFINISHED && value.is_none() => "executing",
            _ if tool.is_failure() => "error",
            _ => "success",
        };
        let response = if status == "error" { "error" } else { "output" };
        let result = value
            .map(|value| json!([{ "functionResponse": { "id": id, "name": name, "response": { response: value } } }]));
        let agent_id = tool.agent.as_ref().and_then(|agent| agent.callee.as_ref()).map(ToString::to_string);
        let (args, timestamp) = (tool.arguments(task)?, tool.place.at.to_string());
        Ok(Asked { id, name, args, result, status, timestamp, agent_id })
    }
}

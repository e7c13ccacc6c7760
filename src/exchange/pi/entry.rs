//! Entries of Pi's log as they are written, version 3, and the header that a kept source begins with.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::record::Record;
use crate::exchange::ExportError;
use crate::exchange::export::Output;
use crate::exchange::json::beginning;
use crate::exchange::source::MAX_LINE;
use crate::exchange::told::{Place, raw};

/// One entry.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'e> {
    #[serde(rename = "type")]
    pub kind: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Option<&'e str>>,
    pub timestamp: String,
    #[serde(flatten)]
    pub rest: &'e serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Said<'e>>,
}

/// The message of an entry.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Said<'e> {
    pub role: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    pub content: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    #[serde(flatten)]
    pub answer: Option<Answered>,
    pub timestamp: i64,
}

/// What an answer has beyond its content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    pub api: String,
    pub provider: String,
    pub model: String,
    pub usage: Usage,
    pub stop_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<HashMap<&'static str, Box<RawValue>>>,
}

/// Whether the entries of a file with that header have ids.
pub fn is_tree(header: &[u8]) -> bool {
    Record::read(beginning(header)).is_ok_and(|record| record.version.is_some_and(|version| version.get() != "1"))
}

/// Passes bytes on, and holds the first line, with its end; with `cut`, passes nothing on.
pub struct First<'o> {
    pub out: &'o mut dyn Output,
    pub line: Vec<u8>,
    pub cut: bool,
}

impl First<'_> {
    /// Whether the first line was seen to its end, as far as one is held.
    pub fn is_whole(&self) -> bool {
        self.line.ends_with(b"\n") || self.line.len() >= MAX_LINE
    }
}

impl Output for First<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        if self.line.len() < MAX_LINE && !self.line.ends_with(b"\n") {
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.line.extend(&bytes[..end.min(MAX_LINE - self.line.len())]);
        }
        if self.cut { Ok(()) } else { self.out.write(bytes) }
    }

    fn part(&mut self, name: &str, mark: &[u8]) -> Result<(), ExportError> {
        self.out.part(name, mark)
    }
}

pub fn part(text: &str) -> Result<Box<RawValue>, ExportError> {
    raw(&json!({ "type": "text", "text": text }))
}

pub fn millis(place: &Place) -> i64 {
    place.at.micros() / 1_000
}

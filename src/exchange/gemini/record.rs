//! Records as Gemini CLI writes them: a line of the newer form, or a part of the one object of the older.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::tape::{Decoder, END};
use crate::exchange::json::{beginning, compact, indented, kept, text, whole};
use crate::exchange::template::{MAX_LEVEL, json_string};
use crate::model::{Digest, Timestamp};

/// The fields of a record that have a meaning here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields<'a> {
    #[serde(default, borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub timestamp: Option<&'a RawValue>,
    #[serde(rename = "type", default, borrow)]
    pub kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub tool_calls: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub model: Option<&'a RawValue>,
    #[serde(rename = "$set", default, borrow)]
    pub set: Option<&'a RawValue>,
    #[serde(rename = "$rewindTo", default, borrow)]
    pub rewind_to: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub session_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub project_hash: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub start_time: Option<&'a RawValue>,
    /// Of a session, `main` or `subagent`.
    #[serde(rename = "kind", default, borrow)]
    pub session_kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub messages: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub summary: Option<&'a RawValue>,
}

/// What a record is.
#[derive(Debug)]
pub enum Record<'a> {
    /// Whose chat it is.
    Header(Fields<'a>),
    Message(Message<'a>),
    /// The chat goes back to before the message of that id.
    Rewind(String),
    /// Fields of the header anew.
    Set(Set<'a>),
    /// What stands around the messages of an object.
    End(End),
    /// None of these.
    Other,
}

/// A value if it is an object: what is derived would read a list too.
fn object(value: Option<&RawValue>) -> Option<&RawValue> {
    value.filter(|value| value.get().starts_with('{'))
}

/// The values of a list.
pub fn values(list: Option<&RawValue>) -> Vec<&RawValue> {
    list.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
}

/// One message.
#[derive(Debug)]
pub struct Message<'a> {
    pub id: String,
    pub kind: String,
    pub at: Option<Timestamp>,
    pub fields: Fields<'a>,
}

/// A `$set`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Set<'a> {
    #[serde(default, borrow)]
    pub messages: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub summary: Option<&'a RawValue>,
    #[serde(skip)]
    pub has_more: bool,
}

/// The rest of an object.
#[derive(Debug, Default)]
pub struct End {
    pub summary: Option<String>,
    /// The file ends within the messages.
    pub is_torn: bool,
    /// It is no JSON.
    pub is_bad: bool,
}

impl<'a> Record<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Record<'a>, String> {
        if let Some(rest) = bytes.strip_prefix(END) {
            return Ok(Record::End(End::of(rest)));
        }
        let fields: Fields<'a> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Record::of(fields))
    }

    fn of(fields: Fields<'a>) -> Record<'a> {
        if let Some(to) = text(fields.rewind_to) {
            return Record::Rewind(to);
        }
        if let Some(id) = text(fields.id) {
            let at = text(fields.timestamp).and_then(|at| at.parse().ok());
            return match text(fields.kind) {
                Some(kind) => Record::Message(Message { id, kind, at, fields }),
                None => Record::Other,
            };
        }
        if let Some(set) = object(fields.set) {
            return Set::of(set).map_or(Record::Other, Record::Set);
        }
        if text(fields.session_id).is_some() { Record::Header(fields) } else { Record::Other }
    }

    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Record::Header(fields) => text(fields.start_time)?.parse().ok(),
            Record::Message(message) => message.at,
            _ => None,
        }
    }
}

impl<'a> Message<'a> {
    /// A message of a list of them.
    pub fn of(raw: &'a RawValue) -> Option<Message<'a>> {
        match Record::read(object(Some(raw))?.get().as_bytes()) {
            Ok(Record::Message(message)) => Some(message),
            _ => None,
        }
    }

    pub fn is_input(&self) -> bool {
        self.kind == "user" && !self.is_result()
    }

    /// Whether it gives the model the results of its tools, and nothing else: a checkpoint of the model's context has those.
    pub fn is_result(&self) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Part<'a> {
            #[serde(default, borrow)]
            function_response: Option<&'a RawValue>,
        }
        let is_result = |part: &&RawValue| {
            let part = object(Some(part)).and_then(|part| serde_json::from_str::<Part<'_>>(part.get()).ok());
            part.is_some_and(|part| object(part.function_response).is_some())
        };
        let parts = values(self.fields.content);
        !parts.is_empty() && parts.iter().all(is_result)
    }
}

impl<'a> Set<'a> {
    fn of(raw: &'a RawValue) -> Option<Set<'a>> {
        let fields: std::collections::BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(raw.get()).ok()?;
        let set: Set<'a> = serde_json::from_str(raw.get()).ok()?;
        let has_more = fields.keys().any(|name| !["messages", "summary", "lastUpdated"].contains(&name.as_str()));
        Some(Set { has_more, ..set })
    }
}

impl End {
    fn of(rest: &[u8]) -> End {
        let (digits, rest) = rest.split_at(rest.iter().position(|byte| *byte == b' ').map_or(rest.len(), |at| at + 1));
        let mut decoded = Vec::with_capacity(rest.len());
        Decoder::default().decode(rest, &mut decoded);
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.trim_end().parse::<usize>().ok());
        let behind = length.and_then(|length| decoded.get(length..)).unwrap_or_default();
        let is_torn = behind.trim_ascii_start().first() != Some(&b']');
        match serde_json::from_slice::<Fields<'_>>(beginning(&decoded)) {
            Ok(fields) => End { summary: text(fields.summary), is_torn, is_bad: false },
            Err(_) => End { summary: None, is_torn, is_bad: !is_torn },
        }
    }
}

/// What a call of the model used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cached: Option<u64>,
    pub thoughts: Option<u64>,
    /// Of prompts that tools within the call made.
    pub tool: Option<u64>,
}

impl Tokens {
    /// None where nothing is said of them.
    pub fn of(value: Option<&RawValue>) -> Option<Tokens> {
        #[derive(Deserialize)]
        struct Amounts<'a> {
            #[serde(default, borrow)]
            input: Option<&'a RawValue>,
            #[serde(default, borrow)]
            output: Option<&'a RawValue>,
            #[serde(default, borrow)]
            cached: Option<&'a RawValue>,
            #[serde(default, borrow)]
            thoughts: Option<&'a RawValue>,
            #[serde(default, borrow)]
            tool: Option<&'a RawValue>,
        }
        let of: Amounts<'_> = serde_json::from_str(object(value)?.get()).ok()?;
        let amount = |value| kept(whole(value));
        Some(Tokens {
            input: amount(of.input),
            output: amount(of.output),
            cached: amount(of.cached),
            thoughts: amount(of.thoughts),
            tool: amount(of.tool),
        })
    }
}

/// A payload, and the part of the record that it is.
#[derive(Debug, Default)]
pub struct Content<'a> {
    pub bytes: Vec<u8>,
    /// The part, and how it was written.
    pub part: Option<(&'a RawValue, Written)>,
}

/// How a payload stands in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A text, as a JSON string.
    Text,
    /// JSON, as it is.
    Plain,
    /// JSON, indented from that level on.
    Indented(u32),
}

impl<'a> Content<'a> {
    /// The text of `value`, where it is one text or a list of one; else its JSON, without white space.
    pub fn of(value: Option<&'a RawValue>) -> Content<'a> {
        let Some(value) = value.filter(|value| value.get() != "null") else { return Content::default() };
        match one_text(value) {
            Some((raw, said)) => Content {
                part: (json_string(&said) == raw.get()).then_some((raw, Written::Text)),
                bytes: said.into_bytes(),
            },
            None => Content::json(value),
        }
    }

    /// The JSON of `value`, without white space.
    pub fn json(value: &'a RawValue) -> Content<'a> {
        let raw = value.get().as_bytes();
        let bytes = compact(raw);
        let written = if bytes == raw {
            Some(Written::Plain)
        } else {
            let line = raw.iter().rposition(|byte| *byte == b'\r').map(|at| &raw[at + 1..]);
            let spaces = line.map_or(0, |line| line.iter().take_while(|byte| **byte == b' ').count());
            let level = u32::try_from(spaces / 2).ok().filter(|level| *level <= MAX_LEVEL);
            level.filter(|level| indented(&bytes, *level) == raw).map(Written::Indented)
        };
        Content { bytes, part: written.map(|written| (value, written)) }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    pub fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }
}

/// The one text that a content is.
fn one_text(value: &RawValue) -> Option<(&RawValue, String)> {
    if let Some(said) = text(Some(value)) {
        return Some((value, said));
    }
    let parts: Vec<std::collections::BTreeMap<std::borrow::Cow<'_, str>, &RawValue>> =
        serde_json::from_str(value.get()).ok()?;
    match parts.as_slice() {
        [part] if part.len() == 1 => {
            let raw = *part.get("text")?;
            Some((raw, text(Some(raw))?))
        }
        _ => None,
    }
}

/// One tool that the model asked for, with what came of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool<'a> {
    #[serde(default, borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub args: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub result_display: Option<&'a RawValue>,
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, borrow)]
    agent_id: Option<&'a RawValue>,
}

/// How a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Well,
    Badly,
    Cancelled,
    NotYet,
}

impl<'a> Tool<'a> {
    /// The tools of a list; what is no object is one of which nothing is known.
    pub fn list(value: Option<&'a RawValue>) -> Vec<Tool<'a>> {
        let read = |raw| object(Some(raw)).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        values(value).into_iter().map(read).collect()
    }

    pub fn ended(&self) -> Ended {
        match text(self.status).as_deref() {
            Some("success") => Ended::Well,
            Some("error") => Ended::Badly,
            Some("cancelled") => Ended::Cancelled,
            _ if self.result.is_some_and(|result| result.get() != "null") => Ended::Well,
            _ => Ended::NotYet,
        }
    }

    pub fn at(&self) -> Option<Timestamp> {
        text(self.timestamp)?.parse().ok()
    }

    /// The session of the subagent that it is.
    pub fn agent(&self) -> Option<String> {
        text(self.agent_id)
    }

    /// What came of it: the text of its one response, else the JSON of the result.
    pub fn output(&self) -> Option<Content<'a>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Part<'a> {
            #[serde(default, borrow)]
            function_response: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(default, borrow)]
            response: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Said<'a> {
            #[serde(default, borrow)]
            output: Option<&'a RawValue>,
            #[serde(default, borrow)]
            error: Option<&'a RawValue>,
        }
        let result = self.result.filter(|result| result.get() != "null")?;
        let parts = values(Some(result));
        let one = if let [part] = parts.as_slice() { object(Some(part)) } else { None };
        let part: Option<Part<'a>> = one.and_then(|part| serde_json::from_str(part.get()).ok());
        let answer = object(part.and_then(|part| part.function_response));
        let answer: Option<Answer<'a>> = answer.and_then(|answer| serde_json::from_str(answer.get()).ok());
        let said = object(answer.and_then(|answer| answer.response));
        let said: Option<Said<'a>> = said.and_then(|said| serde_json::from_str(said.get()).ok());
        let said = said.and_then(|said| said.error.or(said.output));
        Some(match said.filter(|said| text(Some(said)).is_some()) {
            Some(said) => Content::of(Some(said)),
            None => Content::of(Some(result)),
        })
    }
}

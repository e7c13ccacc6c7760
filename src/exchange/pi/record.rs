//! The records of Pi: one JSON object a line, as docs/IMPORT.md describes them. Fields are taken as they are
//! written; one of an unexpected type counts as missing.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::json::{kept, text, whole};
use crate::model::{Role, Timestamp};

/// Any record.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub version: Option<&'a RawValue>,
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub summary: Option<&'a RawValue>,
    #[serde(rename = "firstKeptEntryIndex", default, borrow)]
    first_kept: Option<&'a RawValue>,
    #[serde(rename = "firstKeptEntryId", default, borrow)]
    first_kept_id: Option<&'a RawValue>,
    #[serde(rename = "parentId", default, deserialize_with = "written", borrow)]
    parent_id: Option<&'a RawValue>,
    #[serde(rename = "targetId", default, borrow)]
    target_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    label: Option<&'a RawValue>,
    #[serde(default, borrow)]
    name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(rename = "parentSession", default, borrow)]
    parent_session: Option<&'a RawValue>,
    #[serde(rename = "branchedFrom", default, borrow)]
    branched_from: Option<&'a RawValue>,
}

/// A field as it is written: `null` too is something that is said.
fn written<'de: 'a, 'a, D: serde::Deserializer<'de>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// What a record says of the one before it in its history.
#[derive(Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: it is the one before it in the file.
    Unsaid,
    /// There is none.
    Root,
    /// The record with that id.
    Entry(String),
}

/// The `message` of a record.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    #[serde(default, borrow)]
    role: Option<&'a RawValue>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    summary: Option<&'a RawValue>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, borrow)]
    provider: Option<&'a RawValue>,
    #[serde(default, borrow)]
    model: Option<&'a RawValue>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error_message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tool_call_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tool_name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    is_error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub command: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub output: Option<&'a RawValue>,
    #[serde(default, borrow)]
    exit_code: Option<&'a RawValue>,
    #[serde(default, borrow)]
    cancelled: Option<&'a RawValue>,
}

/// One part of a `content`.
#[derive(Debug, Deserialize)]
pub struct Part<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub arguments: Option<&'a RawValue>,
}

/// What a model's answer used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage<'a> {
    #[serde(default, borrow)]
    input: Option<&'a RawValue>,
    #[serde(default, borrow)]
    output: Option<&'a RawValue>,
    #[serde(default, borrow)]
    cache_read: Option<&'a RawValue>,
    #[serde(default, borrow)]
    cost: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Cost<'a> {
    #[serde(default, borrow)]
    total: Option<&'a RawValue>,
}

/// What a record becomes. Two things ask: the import, and the count of the messages before a compaction's first kept
/// record; so there is one answer.
#[derive(Debug)]
pub enum Shape<'a> {
    Header,
    Message(Role, Box<Message<'a>>),
    Compaction(String),
    Other(String),
}

impl Shape<'_> {
    /// Whether it is a header.
    pub fn is_header(&self) -> bool {
        matches!(self, Shape::Header)
    }

    /// Whether it becomes a message.
    pub fn is_message(&self) -> bool {
        matches!(self, Shape::Message(..) | Shape::Compaction(_))
    }
}

impl<'a> Record<'a> {
    /// Reads a record; an error for one that names a field twice.
    pub fn read(bytes: &'a [u8]) -> Result<Record<'a>, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Its `type`.
    pub fn kind(&self) -> Option<String> {
        text(self.kind)
    }

    /// Whether it can be no part of another record: parts of a `content` have a type too, but no time of their own.
    pub fn is_certain(&self) -> bool {
        self.at().is_some() && !matches!(self.shape(), Err(_) | Ok(Shape::Other(_)))
    }

    /// What it becomes; why it cannot be that.
    pub fn shape(&self) -> Result<Shape<'a>, String> {
        let kind = self.kind().ok_or("it has no `type`")?;
        match kind.as_str() {
            "session" => Ok(Shape::Header),
            "message" => {
                let message = self.message.ok_or("it has no `message`")?;
                let message: Message<'a> =
                    serde_json::from_str(message.get()).map_err(|error| format!("`message`: {error}"))?;
                let role = text(message.role).ok_or("its message has no `role`")?;
                let role = match role.as_str() {
                    "toolResult" => Role::Tool,
                    other => Role::try_from(Cow::Borrowed(other)).map_err(|error| error.to_string())?,
                };
                Ok(Shape::Message(role, Box::new(message)))
            }
            "custom_message" => {
                let message = Message { content: self.content, timestamp: self.timestamp, ..Message::default() };
                let role = Role::try_from(Cow::Borrowed("custom")).map_err(|error| error.to_string())?;
                Ok(Shape::Message(role, Box::new(message)))
            }
            "branch_summary" if text(self.summary).is_some() => {
                let message = Message { content: self.summary, timestamp: self.timestamp, ..Message::default() };
                Ok(Shape::Message(Role::Summary, Box::new(message)))
            }
            "compaction" => text(self.summary).map(Shape::Compaction).ok_or_else(|| "it has no `summary`".to_owned()),
            _ => Ok(Shape::Other(kind)),
        }
    }

    /// When it was written.
    pub fn at(&self) -> Option<Timestamp> {
        text(self.timestamp)?.parse().ok()
    }

    /// Of a compaction: the first record whose messages stay, counted from the header, which is 0.
    pub fn first_kept(&self) -> Option<u64> {
        whole(self.first_kept)
    }

    /// The same by its id, from version 2 on.
    pub fn first_kept_id(&self) -> Option<String> {
        text(self.first_kept_id)
    }

    /// Its id.
    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    /// What it follows.
    pub fn parent(&self) -> Parent {
        match self.parent_id {
            None => Parent::Unsaid,
            Some(id) => text(Some(id)).map_or(Parent::Root, Parent::Entry),
        }
    }

    /// Of a label: the record it is put on, and what it says; nothing where it is taken away.
    pub fn label(&self) -> Option<(String, Option<String>)> {
        Some((text(self.target_id)?, text(self.label).filter(|label| !label.is_empty())))
    }

    /// Of a `session_info`: the session's name.
    pub fn name(&self) -> Option<String> {
        text(self.name).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// Of a header: the file that the session was forked from.
    pub fn parent_file(&self) -> Option<String> {
        text(self.parent_session).or_else(|| text(self.branched_from))
    }
}

impl<'a> Message<'a> {
    /// What it says.
    pub fn content(&self) -> Option<&'a RawValue> {
        self.content.or(self.summary)
    }

    /// When it began: of an answer, when it was asked for.
    pub fn at(&self) -> Option<Timestamp> {
        Timestamp::from_micros(whole::<i64>(self.timestamp)?.checked_mul(1_000)?)
    }

    pub fn provider(&self) -> Option<String> {
        text(self.provider)
    }

    pub fn model(&self) -> Option<String> {
        text(self.model)
    }

    pub fn stop_reason(&self) -> Option<String> {
        text(self.stop_reason)
    }

    pub fn error_message(&self) -> Option<String> {
        text(self.error_message)
    }

    pub fn tool_call_id(&self) -> Option<String> {
        text(self.tool_call_id)
    }

    pub fn tool_name(&self) -> Option<String> {
        text(self.tool_name)
    }

    pub fn is_error(&self) -> bool {
        is_true(self.is_error)
    }

    pub fn cancelled(&self) -> bool {
        is_true(self.cancelled)
    }

    pub fn exit_code(&self) -> Option<i64> {
        whole(self.exit_code)
    }

    pub fn usage(&self) -> Usage<'_> {
        self.usage.and_then(|usage| serde_json::from_str(usage.get()).ok()).unwrap_or_default()
    }
}

fn is_true(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

impl<'a> Part<'a> {
    /// The parts of a content that is a list; none for another.
    pub fn list(content: &'a RawValue) -> Option<Vec<Part<'a>>> {
        serde_json::from_str(content.get()).ok()
    }

    pub fn kind(&self) -> Option<String> {
        text(self.kind)
    }

    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub fn name(&self) -> Option<String> {
        text(self.name)
    }
}

impl Usage<'_> {
    pub fn input(&self) -> Option<u64> {
        kept(whole(self.input))
    }

    pub fn output(&self) -> Option<u64> {
        kept(whole(self.output))
    }

    pub fn cached(&self) -> Option<u64> {
        kept(whole(self.cache_read))
    }

    /// Nano-USD.
    pub fn cost(&self) -> Option<u64> {
        let cost: Cost<'_> = serde_json::from_str(self.cost?.get()).ok()?;
        kept(crate::exchange::json::scaled(cost.total?.get(), 9))
    }
}

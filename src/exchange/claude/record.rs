//! The records of Claude Code: one JSON object a line, as docs/IMPORT.md describes them. Fields are taken as they are
//! written; one of an unexpected type counts as missing.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::json::{kept, scaled, text, whole};
use crate::model::{Digest, Timestamp};

type Raw<'a> = Option<&'a RawValue>;

/// Any record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Raw<'a>,
    #[serde(default, borrow)]
    pub uuid: Raw<'a>,
    #[serde(default, borrow)]
    pub parent_uuid: Raw<'a>,
    #[serde(default, borrow)]
    pub session_id: Raw<'a>,
    #[serde(default, borrow)]
    agent_id: Raw<'a>,
    #[serde(default, borrow)]
    timestamp: Raw<'a>,
    #[serde(default, borrow)]
    is_sidechain: Raw<'a>,
    #[serde(default, borrow)]
    is_meta: Raw<'a>,
    #[serde(default, borrow)]
    is_compact_summary: Raw<'a>,
    #[serde(default, borrow)]
    is_api_error_message: Raw<'a>,
    #[serde(rename = "costUSD", default, borrow)]
    cost: Raw<'a>,
    #[serde(default, borrow)]
    subtype: Raw<'a>,
    #[serde(default, borrow)]
    pub message: Raw<'a>,
    #[serde(default, borrow)]
    pub tool_use_result: Raw<'a>,
    #[serde(default, borrow)]
    pub data: Raw<'a>,
    #[serde(rename = "parentToolUseID", default, borrow)]
    parent_tool_use: Raw<'a>,
    #[serde(default, borrow)]
    forked_from: Raw<'a>,
    #[serde(default, borrow)]
    payload: Raw<'a>,
    #[serde(default, borrow)]
    summary: Raw<'a>,
    #[serde(default, borrow)]
    snapshot: Raw<'a>,
    #[serde(default, borrow)]
    operation: Raw<'a>,
    #[serde(default, borrow)]
    attachment: Raw<'a>,
    #[serde(default, borrow)]
    custom_title: Raw<'a>,
    #[serde(default, borrow)]
    content: Raw<'a>,
}

/// The `message` of a record.
#[derive(Debug, Default, Deserialize)]
pub struct Message<'a> {
    #[serde(default, borrow)]
    pub id: Raw<'a>,
    #[serde(default, borrow)]
    model: Raw<'a>,
    #[serde(default, borrow)]
    pub content: Raw<'a>,
    #[serde(default, borrow)]
    stop_reason: Raw<'a>,
    #[serde(default, borrow)]
    usage: Raw<'a>,
}

/// One block of a `content`.
#[derive(Debug, Deserialize)]
pub struct Part<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Raw<'a>,
    #[serde(default, borrow)]
    pub text: Raw<'a>,
    #[serde(default, borrow)]
    id: Raw<'a>,
    #[serde(default, borrow)]
    name: Raw<'a>,
    #[serde(default, borrow)]
    pub input: Raw<'a>,
    #[serde(default, borrow)]
    tool_use_id: Raw<'a>,
    #[serde(default, borrow)]
    is_error: Raw<'a>,
    #[serde(default, borrow)]
    pub content: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Usage<'a> {
    #[serde(default, borrow)]
    input_tokens: Raw<'a>,
    #[serde(default, borrow)]
    output_tokens: Raw<'a>,
    #[serde(default, borrow)]
    cache_read_input_tokens: Raw<'a>,
}

/// Of a fork: the session that a record was copied from.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForkedFrom<'a> {
    #[serde(default, borrow)]
    session_id: Raw<'a>,
}

/// What a subagent's call says in its result or in what was shown meanwhile: which agent it was, and what it was asked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent<'a> {
    #[serde(default, borrow)]
    agent_id: Raw<'a>,
    #[serde(default, borrow)]
    description: Raw<'a>,
    #[serde(default, borrow)]
    prompt: Raw<'a>,
    #[serde(default, borrow)]
    status: Raw<'a>,
}

/// What a record becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Input of the user: a turn begins.
    Input,
    /// What the program says in the user's name.
    Meta,
    /// The user stopped the turn.
    Stopped,
    /// Results of tools.
    Results,
    /// A summary that stands for what came before.
    Summary,
    /// A part of an answer.
    Answer,
    Other,
}

/// What an answer used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cached: Option<u64>,
}

/// How a record begins that only says that the user stopped the turn.
const STOPPED: &str = "[Request interrupted by user";

/// How the records begin with which the program tells what came of a command that the user ran, or of a task in the background.
const OUTPUTS: [&str; 6] = [
    "<local-command-caveat>",
    "<local-command-stdout>",
    "<local-command-stderr>",
    "<bash-stdout>",
    "<bash-stderr>",
    "<task-notification>",
];

/// Whether a first record is that of the list of what was asked in all sessions.
pub fn is_history(first: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(default, borrow)]
        display: Raw<'a>,
        #[serde(default, borrow)]
        project: Raw<'a>,
        #[serde(rename = "type", default, borrow)]
        kind: Raw<'a>,
    }
    serde_json::from_slice::<Asked<'_>>(first)
        .is_ok_and(|asked| text(asked.display).is_some() && text(asked.project).is_some() && asked.kind.is_none())
}

pub fn is_true(value: Raw<'_>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

/// What stands for an id where very many are kept.
pub fn short(id: &str) -> u64 {
    let digest = Digest::of(id.as_bytes());
    u64::from_le_bytes(digest.0[..8].try_into().unwrap_or_default())
}

impl<'a> Record<'a> {
    /// Reads a record; an error for one that names a field twice.
    pub fn read(bytes: &'a [u8]) -> Result<Record<'a>, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub fn kind(&self) -> Option<String> {
        text(self.kind)
    }

    /// Its type as an annotation's, with the subtype of what the program tells.
    pub fn note(&self) -> String {
        let kind = self.kind().unwrap_or_default();
        let sub = text(self.subtype).map(|sub| format!("/{sub}")).unwrap_or_default();
        format!("claude-code/{kind}{sub}")
    }

    /// Whether it has what records of this type have.
    pub fn is_known(&self) -> bool {
        let is_object = |value: Raw<'_>| value.is_some_and(|value| value.get().starts_with('{'));
        match self.kind().as_deref() {
            None => false,
            Some("user" | "assistant") => is_object(self.message),
            Some("summary") => text(self.summary).is_some(),
            Some("file-history-snapshot") => is_object(self.snapshot),
            Some("queue-operation") => text(self.operation).is_some(),
            Some("attachment") => is_object(self.attachment),
            Some(_) => text(self.session_id).is_some() && self.payload.is_none(),
        }
    }

    /// Whether it is a message of a session.
    pub fn is_message(&self) -> bool {
        let is_message = matches!(self.kind().as_deref(), Some("user" | "assistant"));
        is_message && self.is_known() && text(self.uuid).is_some() && text(self.session_id).is_some()
    }

    /// Whether it may be of a type that is not known yet.
    pub fn may_be_known(&self) -> bool {
        self.kind().is_some() && self.payload.is_none() && self.message.is_none()
    }

    /// What it becomes; why it cannot be that.
    pub fn shape(&self) -> Result<(Shape, Message<'a>), String> {
        let kind = self.kind().ok_or("it has no `type`")?;
        if kind != "user" && kind != "assistant" {
            return Ok((Shape::Other, Message::default()));
        }
        let message = self.message.ok_or("it has no `message`")?;
        let message: Message<'a> =
            serde_json::from_str(message.get()).map_err(|error| format!("`message`: {error}"))?;
        if kind == "assistant" {
            return Ok((Shape::Answer, message));
        }
        let is_result = |parts: &[Part<'_>]| parts.iter().any(|part| part.kind().as_deref() == Some("tool_result"));
        let shape = match message.content.and_then(Part::list) {
            _ if is_true(self.is_compact_summary) => Shape::Summary,
            Some(parts) if is_result(&parts) => Shape::Results,
            _ if is_true(self.is_meta) => Shape::Meta,
            _ => match message.content.and_then(one_text) {
                Some((_, text)) if text.starts_with(STOPPED) => Shape::Stopped,
                Some((_, text)) if OUTPUTS.iter().any(|output| text.trim_start().starts_with(output)) => Shape::Meta,
                _ => Shape::Input,
            },
        };
        Ok((shape, message))
    }

    pub fn at(&self) -> Option<Timestamp> {
        text(self.timestamp)?.parse().ok()
    }

    /// What waits in the queue for its turn.
    pub fn queued(&self) -> Option<String> {
        self.kind().filter(|kind| kind == "queue-operation").and_then(|_| text(self.content))
    }

    /// The title that the user gave the session.
    pub fn title(&self) -> Option<String> {
        self.kind().filter(|kind| kind == "custom-title").and_then(|_| text(self.custom_title))
    }

    /// Its time, as it is written.
    pub fn time(&self) -> Option<String> {
        text(self.timestamp)
    }

    pub fn session(&self) -> Option<String> {
        text(self.session_id)
    }

    pub fn agent(&self) -> Option<String> {
        text(self.agent_id)
    }

    pub fn is_sidechain(&self) -> bool {
        is_true(self.is_sidechain)
    }

    pub fn is_api_error(&self) -> bool {
        is_true(self.is_api_error_message)
    }

    /// Nano-USD.
    pub fn cost(&self) -> Option<u64> {
        kept(scaled(self.cost?.get(), 9))
    }

    pub fn parent_tool_use(&self) -> Option<String> {
        text(self.parent_tool_use)
    }

    pub fn forked_from(&self) -> Option<String> {
        let from: ForkedFrom<'_> = serde_json::from_str(self.forked_from?.get()).ok()?;
        text(from.session_id)
    }
}

impl Message<'_> {
    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub fn model(&self) -> Option<String> {
        text(self.model)
    }

    pub fn stop_reason(&self) -> Option<String> {
        text(self.stop_reason)
    }

    pub fn used(&self) -> Used {
        let usage: Usage<'_> = self.usage.and_then(|usage| serde_json::from_str(usage.get()).ok()).unwrap_or_default();
        Used {
            input: kept(whole(usage.input_tokens)),
            output: kept(whole(usage.output_tokens)),
            cached: kept(whole(usage.cache_read_input_tokens)),
        }
    }
}

impl<'a> Part<'a> {
    /// The blocks of a content that is a list; none for another.
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

    pub fn tool_use_id(&self) -> Option<String> {
        text(self.tool_use_id)
    }

    pub fn is_error(&self) -> bool {
        is_true(self.is_error)
    }
}

impl<'a> Agent<'a> {
    pub fn of(value: Raw<'a>) -> Agent<'a> {
        value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
    }

    pub fn id(&self) -> Option<String> {
        text(self.agent_id)
    }

    /// Whether it works in the background.
    pub fn is_launched(&self) -> bool {
        matches!(text(self.status).as_deref(), Some("async_launched" | "remote_launched"))
    }

    pub fn description(&self) -> Option<String> {
        text(self.description)
    }

    pub fn prompt(&self) -> Option<String> {
        text(self.prompt)
    }
}

/// The text of a content that has one and nothing else.
pub fn one_text(content: &RawValue) -> Option<(&RawValue, String)> {
    if let Some(text) = text(Some(content)) {
        return Some((content, text));
    }
    match Part::list(content)?.as_slice() {
        [part] if part.kind().as_deref() == Some("text") => Some((part.text?, text(part.text)?)),
        _ => None,
    }
}

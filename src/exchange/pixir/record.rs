//! The records of Pixir's session logs, as docs/IMPORT.md describes them. Fields are taken as they are written; one of an
//! unexpected type counts as missing.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::json::{kept, text, whole};
use crate::model::{Status, Timestamp};

/// The types that are kept and folded.
pub const CANONICAL: [&str; 14] = [
    "user_message",
    "assistant_message",
    "reasoning",
    "skill_activation",
    "subagent_event",
    "workflow_event",
    "session_fork",
    "branch_summary",
    "history_compaction",
    "provider_usage",
    "turn_failed",
    "tool_call",
    "tool_result",
    "permission_decision",
];

/// The types that are shown live and forgotten.
pub const EPHEMERAL: [&str; 5] = ["text_delta", "reasoning_delta", "status", "plan", "context_pressure"];

/// Any record.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub seq: Option<&'a RawValue>,
    #[serde(default, borrow)]
    ts: Option<&'a RawValue>,
    #[serde(rename = "type", default, borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub data: Option<&'a RawValue>,
}

impl<'a> Record<'a> {
    /// Reads a record; an error for one that names a field twice.
    pub fn read(bytes: &'a [u8]) -> Result<Record<'a>, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub fn session(&self) -> Option<String> {
        text(self.session_id)
    }

    pub fn kind(&self) -> Option<String> {
        text(self.kind)
    }

    /// Its number in the order of the history; none comes last.
    pub fn seq(&self) -> Option<u64> {
        whole(self.seq)
    }

    pub fn ts(&self) -> Option<String> {
        text(self.ts)
    }

    pub fn at(&self) -> Option<Timestamp> {
        self.ts()?.parse().ok()
    }

    /// Whether it has what every record of the format has.
    pub fn has_envelope(&self) -> bool {
        self.session().is_some() && self.kind().is_some() && self.ts().is_some() && (self.seq.or(self.data)).is_some()
    }

    /// Its `data`; that of another type than an object has no fields.
    pub fn fields(&self) -> Data<'a> {
        self.data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default()
    }
}

/// The fields of all types' `data` that mean something here.
#[derive(Debug, Default, Deserialize)]
pub struct Data<'a> {
    #[serde(default, borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub metadata: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub call_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub args: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub ok: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub output: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub model: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub provider: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub usage_summary: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub terminal_status: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub error_kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub error_message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub event: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub status: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub subagent_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub child_session_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub failed_child_session_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub agent: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub task: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub summary: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub reason: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub range: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub parent_session_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub fork_root_session_id: Option<&'a RawValue>,
}

/// What a call used, in the spellings that providers have.
#[derive(Debug, Default, Deserialize)]
pub struct Usage<'a> {
    #[serde(default, borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    completion_tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    cached_tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    reasoning_tokens: Option<&'a RawValue>,
    #[serde(default, borrow)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(default, borrow)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(default, borrow)]
    output_tokens_details: Option<&'a RawValue>,
    #[serde(default, borrow)]
    completion_tokens_details: Option<&'a RawValue>,
}

impl Usage<'_> {
    pub fn of(value: Option<&RawValue>) -> Usage<'_> {
        value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
    }

    pub fn input(&self) -> Option<u64> {
        kept(whole(self.input_tokens).or_else(|| whole(self.prompt_tokens)))
    }

    pub fn output(&self) -> Option<u64> {
        kept(whole(self.output_tokens).or_else(|| whole(self.completion_tokens)))
    }

    pub fn cached(&self) -> Option<u64> {
        let details = self.input_tokens_details.or(self.prompt_tokens_details);
        kept(whole(self.cached_tokens).or_else(|| whole(details.and_then(|_| Usage::of(details).cached_tokens))))
    }

    pub fn reasoning(&self) -> Option<u64> {
        let details = self.output_tokens_details.or(self.completion_tokens_details);
        kept(whole(self.reasoning_tokens).or_else(|| whole(details.and_then(|_| Usage::of(details).reasoning_tokens))))
    }
}

/// The `to_seq` of a range, or the `kind` of an error, and the status that headwater wrote there.
#[derive(Debug, Default, Deserialize)]
pub struct Inner<'a> {
    #[serde(default, borrow)]
    to_seq: Option<&'a RawValue>,
    #[serde(default, borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    partial: Option<&'a RawValue>,
    #[serde(default, borrow)]
    headwater_status: Option<&'a RawValue>,
}

impl Inner<'_> {
    pub fn of(value: Option<&RawValue>) -> Inner<'_> {
        value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
    }

    pub fn to_seq(&self) -> Option<u64> {
        whole(self.to_seq)
    }

    pub fn kind(&self) -> Option<String> {
        text(self.kind)
    }

    pub fn status(&self) -> Option<Status> {
        text(self.headwater_status).and_then(|status| Status::new(status).ok())
    }

    pub fn is_partial(&self) -> bool {
        is_true(self.partial)
    }
}

/// Whether a value is `true`.
pub fn is_true(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

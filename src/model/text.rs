//! Open sets of short words: statuses and roles.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::BadId;

const RULE: &str = "1 to 64 bytes without control characters";

fn word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The status of a session, turn, call, eval or invocation: one of the constants, or a word of the embedder's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Status(Cow<'static, str>);

#[expect(missing_docs, reason = "each constant is the word it names")]
impl Status {
    pub const SESSION: Status = Status(Cow::Borrowed("session"));
    pub const CHILD: Status = Status(Cow::Borrowed("child"));
    pub const OPEN: Status = Status(Cow::Borrowed("open"));
    pub const RUNNING: Status = Status(Cow::Borrowed("running"));
    pub const OK: Status = Status(Cow::Borrowed("ok"));
    pub const FINAL: Status = Status(Cow::Borrowed("final"));
    pub const ERROR: Status = Status(Cow::Borrowed("error"));
    pub const TIMEOUT: Status = Status(Cow::Borrowed("timeout"));
    pub const ABORTED: Status = Status(Cow::Borrowed("aborted"));
    pub const ORPHANED: Status = Status(Cow::Borrowed("orphaned"));
    pub const UNFINISHED: Status = Status(Cow::Borrowed("unfinished"));
    pub const STOPPED: Status = Status(Cow::Borrowed("stopped"));
}

impl Status {
    /// A status from text: 1 to 64 bytes without control characters.
    pub fn new(text: impl Into<String>) -> Result<Status, BadId> {
        let text = text.into();
        if word(&text) { Ok(Status(Cow::Owned(text))) } else { Err(BadId::new("status", &text, RULE)) }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the thing is still going on.
    pub fn is_running(&self) -> bool {
        *self == Status::RUNNING
    }

    /// Whether a session of this status is over.
    pub fn ends_session(&self) -> bool {
        [Status::FINAL, Status::ERROR, Status::TIMEOUT, Status::ABORTED, Status::STOPPED].contains(self)
    }
}

impl TryFrom<Cow<'_, str>> for Status {
    type Error = BadId;
    fn try_from(text: Cow<'_, str>) -> Result<Status, BadId> {
        Status::new(text)
    }
}

impl From<Status> for String {
    fn from(status: Status) -> String {
        status.0.into_owned()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who speaks in a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
#[expect(missing_docs, reason = "each variant is the word it names")]
pub enum Role {
    System,
    User,
    Assistant,
    Observation,
    Tool,
    Summary,
    /// A role of the embedder's: 1 to 64 bytes without control characters.
    Other(String),
}

impl Role {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Observation => "observation",
            Role::Tool => "tool",
            Role::Summary => "summary",
            Role::Other(text) => text,
        }
    }
}

impl TryFrom<Cow<'_, str>> for Role {
    type Error = BadId;
    fn try_from(text: Cow<'_, str>) -> Result<Role, BadId> {
        Ok(match &*text {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "observation" => Role::Observation,
            "tool" => Role::Tool,
            "summary" => Role::Summary,
            other if word(other) => Role::Other(other.to_owned()),
            other => return Err(BadId::new("role", other, RULE)),
        })
    }
}

impl From<Role> for String {
    fn from(role: Role) -> String {
        role.as_str().to_owned()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

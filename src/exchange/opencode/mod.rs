//! OpenCode's storage folders: a session is a tree of small JSON files, each rewritten as the session goes on. So its source is no
//! stream that only grows. What is kept of it is one: each version of a file that an import found, one behind the other. What
//! the session is now is made of the newest versions. docs/IMPORT.md says what becomes of each file.

mod file;
mod fill;
mod import;
mod meaning;
mod naming;
mod past;
mod record;
mod survey;
mod telling;
mod tool;
mod tree;
mod walk;
mod write;

use serde::{Deserialize, Serialize};

pub(super) use tree::is_database;

use super::format::{Known, Recognized};
use super::reader::JSON;
use crate::model::{CallNumber, Digest, EvalNumber, InvocationNumber, MessageNumber, Status, TurnNumber};

/// What output calls it.
pub const NAME: &str = "opencode";

/// The format.
pub(super) const KNOWN: Known = Known {
    name: NAME,
    about: "OpenCode storage folders",
    syntax: JSON,
    recognize: |_| Recognized::No,
    wants: tree::is_database,
    is_folder: tree::is_source,
    recognize_file: |path| Ok(tree::takes(path)),
    keeps_versions: true,
    sources: tree::sources,
    header: |_, source| tree::header(source),
    import: import::import,
    write: write::write,
    make: |_, _| None,
    restore: None,
};

/// What must be known at a head, to go on from there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct State {
    /// How many messages stand before it to which nothing can come any more, and the hash of what they mean.
    units: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Digest>,
    /// The one behind them, to which something may come.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Open>,
    /// The turn that messages belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<TurnNumber>,
    /// Whether that turn has ended, so far.
    ended: bool,
    /// How its last answer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    /// The messages of this batch, with their turns and calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    made: Vec<(String, Option<TurnNumber>, Vec<CallNumber>)>,
    /// The sessions that were called in this batch, and whether they came back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edges: Vec<(String, InvocationNumber, bool)>,
}

/// A message that something may come to, and what was made of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Open {
    id: String,
    /// The hash of what it meant.
    meaning: Digest,
    message: Option<MessageNumber>,
    /// Parts that are in the message, with the first digits of their hashes.
    said: Vec<(String, u64)>,
    /// Parts that are evals, and those that are to become some.
    evals: Vec<String>,
    running: Vec<String>,
    /// Those of the evals that are unfinished: their tools may end after all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unfinished: Vec<(String, EvalNumber)>,
    /// Its calls, with the hashes of what was said of them.
    calls: Vec<(CallNumber, u64)>,
    /// Whether messages stood behind it at the end of its batch: the session was taken back to it, or its import goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_followed: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Digest>,
}

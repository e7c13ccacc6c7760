//! Pixir's session logs: canonical events as NDJSON, read and written, and the operations of its log over a store.
//! docs/IMPORT.md says what becomes of each record.

pub mod log;
mod meaning;
mod record;
mod subagent;
mod write;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ExportError;
use super::batch::{After, Step, Stop};
use super::export::{Output, Task};
use super::format::{Format, Header, Recognized};
use super::json::{is_false, text};
use super::reader::{JSON, Syntax};
use super::source::Source;
use super::tools::{Tools, TurnState, Turns};
use crate::model::canonical::canonicalize;
use crate::model::{CallNumber, Digest, InvocationNumber, Timestamp, TurnNumber};
use record::{EPHEMERAL, Record};

/// What must be known between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Pixir {
    /// The records so far, and the number that the next one appended gets.
    count: u64,
    next_seq: u64,
    /// Whether a record had no number: it stands behind all that have one.
    #[serde(skip_serializing_if = "is_false")]
    has_unnumbered: bool,
    #[serde(flatten)]
    state: TurnState,
    /// The content of the turn's last whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Digest>,
    /// How the turn failed: its status, and the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<(String, Option<Digest>)>,
    /// The last call of the turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallNumber>,
    #[serde(skip_serializing_if = "Tools::is_blank")]
    tools: Tools,
    /// Subagents at work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subagents: Vec<Subagent>,
    /// Children that were called before, and their ordinals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<(String, u64)>,
}

/// A subagent at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Subagent {
    id: String,
    child: String,
    invocation: InvocationNumber,
}

impl Format for Pixir {
    const NAME: &'static str = "pixir";
    const ABOUT: &'static str = "Pixir";
    const IS_ORDERED: bool = true;
    const SYNTAX: Syntax =
        Syntax { is_certain: |record| Record::read(record).is_ok_and(|read| read.has_envelope()), ..JSON };
    type Record<'r> = (Record<'r>, String);

    fn recognize(first: &[u8]) -> Recognized {
        match Record::read(first) {
            Ok(record) if record.has_envelope() => Recognized::Yes,
            _ => Recognized::No,
        }
    }

    fn wants(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "ndjson")
    }

    fn header(first: &[u8], _: &Source) -> Header {
        let Ok(record) = Record::read(first) else { return Header::of(String::new()) };
        let mut header = Header::of(record.session().unwrap_or_default());
        header.at = record.at();
        if record.kind().as_deref() == Some("session_fork") {
            let fields = record.fields();
            header.parents =
                [fields.parent_session_id, fields.fork_root_session_id].into_iter().filter_map(text).collect();
            header.parents.dedup();
            header.parents.retain(|parent| *parent != header.root);
        }
        header
    }

    fn read(record: &[u8]) -> Result<Self::Record<'_>, String> {
        let record = Record::read(record).map_err(|error| error.to_string())?;
        let kind = record.kind().ok_or("it has no `type`")?;
        Ok((record, kind))
    }

    fn at((record, _): &Self::Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, (_, kind): &Self::Record<'_>) -> bool {
        kind == "user_message"
    }

    fn record(&mut self, step: &mut Step<'_, '_>, (record, kind): Self::Record<'_>) -> Result<After, Stop> {
        self.take(step, &record, &kind)
    }

    fn end_turn(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop> {
        self.end(step)
    }

    fn source_ended(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.pause(step)
    }

    fn is_open(&self) -> bool {
        self.state.is_open() || self.tools.is_open()
    }

    fn turn(&self) -> Option<TurnNumber> {
        self.state.turn
    }

    fn is_settled(&self) -> bool {
        self.has_end()
    }

    fn batch_ended(&mut self) {
        self.tools.batch_ended();
    }

    fn at_head(&self) -> Option<Pixir> {
        // A fork counts anew.
        Some(Pixir { count: 0, next_seq: 0, has_unnumbered: false, ..self.clone() })
    }

    fn passed(&mut self, record: &[u8]) {
        if let Ok(record) = Record::read(record) {
            self.count(&record);
        }
    }

    /// A fork copies records under new ids and numbers; what it does not copy tells of its own source.
    fn key(record: &[u8]) -> Option<Digest> {
        let Ok((read, kind)) = Self::read(record) else { return Some(Digest::of(record)) };
        if ["session_fork", "provider_usage", "turn_failed"].contains(&kind.as_str())
            || EPHEMERAL.contains(&kind.as_str())
        {
            return None;
        }
        let data = read.data.map(|data| data.get().as_bytes()).unwrap_or_default();
        let data = canonicalize(data).unwrap_or_else(|_| data.to_vec());
        let envelope = format!("{kind}\n{}\n", read.ts().unwrap_or_default());
        Some(Digest::of(&[envelope.as_bytes(), &data].concat()))
    }

    fn order(record: &[u8]) -> Option<u64> {
        Record::read(record).ok()?.seq()
    }

    fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
        write::write(task, out)
    }
}

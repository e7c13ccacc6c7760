//! Pi's session logs, version 1: linear JSONL. docs/IMPORT.md says what becomes of each record.

mod meaning;
mod record;

use serde::{Deserialize, Serialize};

use super::ImportError;
use super::batch::{After, Step, Stop};
use super::format::{Format, Header, Recognized};
use super::json;
use super::reader::{Item, JSON, Reader, Syntax};
use super::source::Source;
use crate::model::{CallNumber, Digest, MessageNumber, Role, Timestamp, TurnNumber};
use record::{Record, Shape};

/// What must be known between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Pi {
    /// Lines that Pi itself reads as one record: what its entry indexes count.
    entries: u64,
    /// The turn that records belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<TurnNumber>,
    /// Whether that turn has ended, so far.
    ended: bool,
    /// Whether the source ended within that turn, and nothing came since.
    #[serde(skip_serializing_if = "json::is_false")]
    paused: bool,
    /// The content of the turn's last answer, and why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Tools asked for that gave no result yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending: Vec<Pending>,
    /// The ids of those that were given up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<String>,
}

/// A tool that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pending {
    id: String,
    name: Option<String>,
    /// The JSON of its arguments, as it was written.
    code: Option<String>,
    message: MessageNumber,
    call: CallNumber,
    at: Option<Timestamp>,
    /// Its number among the tools asked for in this batch.
    #[serde(skip)]
    number: Option<u64>,
}

impl Format for Pi {
    const NAME: &'static str = "pi";
    const ABOUT: &'static str = "Pi, version 1";
    const SYNTAX: Syntax =
        Syntax { is_certain: |record| Record::read(record).is_ok_and(|read| read.is_certain()), ..JSON };
    type Record<'r> = (Record<'r>, Shape<'r>);

    fn recognize(first: &[u8]) -> Recognized {
        let Ok(record) = Record::read(first) else { return Recognized::No };
        if record.kind().as_deref() != Some("session") || json::text(record.id).is_none() {
            return Recognized::No;
        }
        match record.version.map(serde_json::value::RawValue::get) {
            None | Some("1") => Recognized::Yes,
            Some(version) => Recognized::OtherVersion(format!("Pi version {version}")),
        }
    }

    fn header(first: &[u8], _: &Source) -> Header {
        let record = Record::read(first).ok();
        let id = record.as_ref().and_then(|record| json::text(record.id)).unwrap_or_default();
        Header { at: record.and_then(|record| record.at()), ..Header::of(id) }
    }

    fn read(record: &[u8]) -> Result<Self::Record<'_>, String> {
        let record = Record::read(record).map_err(|error| error.to_string())?;
        let shape = record.shape()?;
        Ok((record, shape))
    }

    fn at((record, _): &Self::Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, (_, shape): &Self::Record<'_>) -> bool {
        matches!(shape, Shape::Message(Role::User, _))
    }

    fn record(&mut self, step: &mut Step<'_, '_>, (record, shape): Self::Record<'_>) -> Result<After, Stop> {
        self.resume(step)?;
        if step.is_whole_line() {
            self.entries += 1;
        }
        match shape {
            Shape::Header if step.number() == 1 => {}
            Shape::Header => {
                step.note("pi/session", self.turn)?;
            }
            Shape::Other(kind) => {
                step.note(&format!("pi/{kind}"), self.turn)?;
            }
            Shape::Message(role, message) => self.message(step, role, &message)?,
            Shape::Compaction(frame) => return self.compaction(step, frame, &record),
        }
        Ok(After::Next)
    }

    fn end_turn(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop> {
        self.end(step)
    }

    fn source_ended(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.pause(step)
    }

    fn turn(&self) -> Option<TurnNumber> {
        self.turn
    }

    fn batch_ended(&mut self) {
        for pending in &mut self.pending {
            pending.number = None;
        }
    }

    fn at_head(&self) -> Option<Pi> {
        // The turn is over: what its last answer was is in its row.
        Some(Pi { answer: None, error: None, pending: Vec::new(), ..self.clone() })
    }
}

/// How many messages the records before Pi's entry `index` became.
fn messages_before(source: &Source, index: u64) -> Result<u64, ImportError> {
    let mut reader = Reader::of(&source.parts, Pi::SYNTAX);
    let (mut entries, mut messages) = (0, 0);
    while let Some(item) = reader.advance().map_err(|error| source.io(error))? {
        if item != Item::Record {
            continue;
        }
        if reader.is_whole_line() {
            if entries == index {
                break;
            }
            entries += 1;
        }
        let shape = Record::read(reader.record()).ok().and_then(|record| record.shape().ok());
        messages += u64::from(shape.is_some_and(|shape| shape.is_message()));
    }
    Ok(messages)
}

//! Pi's session logs, versions 1 to 3: JSONL, linear at first, then a tree. docs/IMPORT.md says what becomes of each record.

mod entry;
mod label;
mod meaning;
mod record;
mod tree;
mod write;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::batch::{After, Step, Stop};
use super::export::{Output, Task};
use super::family::Answers;
use super::format::{Format, Header, Recognized};
use super::json;
use super::reader::{Item, JSON, Reader, Syntax};
use super::run::{first_record, short};
use super::source::Source;
use super::tools::{Tools, TurnState, Turns};
use super::{ExportError, ImportError};
use crate::model::{Digest, Role, Timestamp, TurnNumber};
use record::{Record, Shape};
use tree::Tree;

/// What must be known between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Pi {
    /// Lines that Pi itself reads as one record: what its entry indexes count.
    entries: u64,
    /// The id of the last record.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<String>,
    /// The end of the records that another session's calls and evals were made of.
    #[serde(skip_serializing_if = "is_zero")]
    repeated: u64,
    #[serde(skip)]
    tree: Option<Rc<RefCell<Tree>>>,
    #[serde(flatten)]
    state: TurnState,
    /// The content of the turn's last answer, and why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Tools::is_blank")]
    tools: Tools,
}

impl Format for Pi {
    const NAME: &'static str = "pi";
    const ABOUT: &'static str = "Pi, versions 1 to 3";
    const IS_TREE: bool = true;
    const SYNTAX: Syntax =
        Syntax { is_certain: |record| Record::read(record).is_ok_and(|read| read.is_certain()), ..JSON };
    const ANSWERS: Answers = Answers::OfAll;
    type Record<'r> = (Record<'r>, Shape<'r>);

    fn recognize(first: &[u8]) -> Recognized {
        let Ok(record) = Record::read(first) else { return Recognized::No };
        if record.kind().as_deref() != Some("session") || json::text(record.id).is_none() {
            return Recognized::No;
        }
        match record.version.map(serde_json::value::RawValue::get) {
            None | Some("1" | "2" | "3") => Recognized::Yes,
            Some(version) => Recognized::OtherVersion(format!("Pi version {version}")),
        }
    }

    fn header(first: &[u8], source: &Source) -> Header {
        let record = Record::read(first).ok();
        let id = record.as_ref().and_then(Record::id).unwrap_or_default();
        let parent = record.as_ref().and_then(Record::parent_file);
        let parents = parent.map(|parent| parents(source, &parent)).unwrap_or_default();
        Header { at: record.and_then(|record| record.at()), parents, ..Header::of(id) }
    }

    fn key(record: &[u8]) -> Option<Digest> {
        let is_header = Record::read(record).is_ok_and(|record| record.kind().as_deref() == Some("session"));
        (!is_header).then(|| Digest::of(record))
    }

    fn is_answer((_, shape): &Self::Record<'_>) -> bool {
        matches!(shape, Shape::Message(Role::Assistant, _))
    }

    fn read(record: &[u8]) -> Result<Self::Record<'_>, String> {
        let record = Record::read(record).map_err(|error| error.to_string())?;
        let shape = record.shape()?;
        Ok((record, shape))
    }

    fn at((record, _): &Self::Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, (record, shape): &Self::Record<'_>) -> bool {
        matches!(shape, Shape::Message(Role::User, _)) || (!shape.is_header() && self.leaves(record))
    }

    fn record(&mut self, step: &mut Step<'_, '_>, (record, shape): Self::Record<'_>) -> Result<After, Stop> {
        self.state.resume(step)?;
        if step.is_whole_line() {
            self.entries += 1;
        }
        if shape.is_header() {
            if step.number() > 1 {
                step.note("pi/session", self.state.turn)?;
            }
            return Ok(After::Next);
        }
        self.go(step, &record, matches!(shape, Shape::Message(Role::User, _)))?;
        let mut after = After::Next;
        match shape {
            Shape::Message(role, message) => self.message(step, role, &message)?,
            Shape::Compaction(frame) => after = self.compaction(step, frame, &record)?,
            Shape::Other(kind) => {
                if kind == "session_info"
                    && let Some(name) = record.name()
                {
                    step.batch.set_title(&name)?;
                }
                if kind == "label" {
                    self.label(step, &record)?;
                }
                step.note(&format!("pi/{kind}"), self.state.turn)?;
            }
            Shape::Header => {}
        }
        self.went(record.id());
        Ok(after)
    }

    fn end_turn(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop> {
        if let Ok(record) = Record::read(step.record()) {
            self.leave(step, &record)?;
        }
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

    fn batch_ended(&mut self) {
        self.tools.batch_ended();
    }

    fn repeats(&mut self, bytes: u64) {
        self.repeated = bytes;
    }

    fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
        write::write(task, out)
    }

    fn at_head(&self) -> Option<Pi> {
        if self.state.turn.is_some() && !self.state.ended {
            return Some(self.clone());
        }
        // The turn is over: what its last answer was is in its row.
        let mut head = Pi { answer: None, error: None, ..self.clone() };
        head.tools.forget();
        Some(head)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl Pi {
    /// Whether what the record tells of happened in the session that this one was forked from.
    fn is_repeated(&self, step: &Step<'_, '_>) -> bool {
        step.is_repeated() || step.end() <= self.repeated
    }
}

/// The ids that the session may have which a header says it was forked from: those of the file of that name beside
/// `source`, if there is one; else what the name ends with. No other folder is looked into.
fn parents(source: &Source, parent: &str) -> Vec<String> {
    // A path of any system.
    let name = parent.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut ids = Vec::new();
    let beside =
        source.path.parent().map(|folder| folder.join(name)).filter(|path| !name.is_empty() && path != &source.path);
    if let Some(first) = beside.and_then(|path| first_record(&Source::file(&path), Pi::SYNTAX).ok())
        && let Some(id) = Record::read(&first).ok().and_then(|record| record.id())
    {
        ids.push(format!("{id}-{}", &short(&Digest::of(&first))[..8]));
        ids.push(id);
    }
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    ids.push(stem.rsplit('_').next().unwrap_or(stem).to_owned());
    ids
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

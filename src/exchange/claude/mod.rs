//! Claude Code's session logs, and others of the same form: a tree of records as JSONL, subagents in files of their own or
//! between the records of their caller. docs/IMPORT.md says what becomes of each record.

mod ahead;
mod aside;
mod away;
mod copy;
mod meaning;
mod record;
mod side;
mod tool;
mod write;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::batch::{After, Step, Stop};
use super::export::{Output, Task};
use super::family::Answers;
use super::format::{Format, Header, Recognized};
use super::shared::Branch;
use super::source::Source;
use super::tools::{Tools, TurnState, Turns};
use super::{ExportError, ImportError};
use crate::model::{CallNumber, Digest, HeadId, InvocationNumber, MessageNumber, Status, Timestamp, TurnNumber};
use crate::store::Store;
use aside::Aside;
use away::Away;
use record::{Message, Record, Shape};
use tool::Early;

/// What must be known between two records.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Claude {
    /// How many inputs of the user there were, and how many of those in the session that this is a fork of.
    inputs: u64,
    shared_inputs: u64,
    /// The turn of the first input that is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<TurnNumber>,
    #[serde(flatten)]
    state: TurnState,
    /// The text of the turn's last answer, and how it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Digest>,
    /// Whether the user stopped it.
    was_stopped: bool,
    /// The last answer, and how many of its records are still to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Answered>,
    #[serde(skip_serializing_if = "Tools::is_blank")]
    tools: Tools<Sub>,
    /// Results in this turn that nothing had asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    early: Vec<Early>,
    /// Subagents in the background.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    away: Vec<Away>,
    /// Invocations that came back since the last head.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    returned: Vec<InvocationNumber>,
    /// Whether it is a subagent's; none before the first record.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_side: Option<bool>,
    /// What can be found again in the source.
    #[serde(skip)]
    aside: Rc<RefCell<Aside>>,
}

/// An answer that was made a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answered {
    id: Option<String>,
    left: u64,
    message: MessageNumber,
    call: Option<CallNumber>,
    /// Whether the message was added in this batch, and has one text.
    #[serde(skip)]
    is_here: bool,
}

/// What is remembered of a tool that is a subagent: the invocation, and its session as far as that is known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sub {
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<InvocationNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callee: Option<String>,
}

impl Format for Claude {
    const NAME: &'static str = "claude-code";
    const ABOUT: &'static str = "Claude Code, and logs of the same form";
    const IS_TREE: bool = true;
    const CHILDREN_ATTACH: bool = true;
    const ANSWERS: Answers = Answers::OfForks;
    type Record<'r> = (Record<'r>, Shape, Message<'r>);

    fn recognize(first: &[u8]) -> Recognized {
        match Record::read(first) {
            Ok(record) if record.is_known() => Recognized::Yes,
            _ if record::is_history(first) => Recognized::NoSession(
                "Claude Code's list of prompts (history.jsonl); the sessions are in `projects` beside it",
            ),
            _ => Recognized::No,
        }
    }

    fn recognize_file(path: &Path) -> io::Result<Recognized> {
        let is_log = Self::wants(path) && side::begins_later(path);
        Ok(if is_log { Recognized::Yes } else { Recognized::No })
    }

    fn sources(path: &Path) -> io::Result<Vec<Source>> {
        side::sources(path)
    }

    fn header(_: &[u8], source: &Source) -> Header {
        let about = source.parts.first().map(|part| side::about(&part.path)).unwrap_or_default();
        let mut header = Header::of(about.root);
        header.at = about.at;
        if source.below.is_empty() {
            header.parents = about.parents;
        } else {
            header.id = side::session(&header.root, &source.below);
            header.kind = Status::CHILD;
            let path = source.parts.first().map(|part| part.path.as_path());
            match path.is_some_and(|path| side::is_copy(path, &header.root, &source.below)) {
                true => header.after = vec![header.root.clone()],
                false => header.before = vec![header.root.clone()],
            }
        }
        header
    }

    fn read(record: &[u8]) -> Result<Self::Record<'_>, String> {
        let record = Record::read(record).map_err(|error| error.to_string())?;
        let (shape, message) = record.shape()?;
        Ok((record, shape, message))
    }

    fn at((record, ..): &Self::Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, (record, shape, _): &Self::Record<'_>) -> bool {
        *shape == Shape::Input
            && self.is_side.is_none_or(|is_side| is_side == record.is_sidechain())
            && !self.aside.borrow().has(record)
    }

    fn record(&mut self, step: &mut Step<'_, '_>, (record, shape, message): Self::Record<'_>) -> Result<After, Stop> {
        self.take(step, &record, shape, &message)
    }

    fn end_turn(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop> {
        self.end(step)
    }

    fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
        write::write(task, out)
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
        if let Some(last) = &mut self.last {
            last.is_here = false;
        }
    }

    fn at_head(&self) -> Option<Claude> {
        // A fork counts anew. The turn is over: what its last answer was is in its row.
        Some(Claude { state: self.state, tools: self.tools.clone(), is_side: self.is_side, ..Claude::default() })
    }

    fn returned(&mut self) -> Vec<InvocationNumber> {
        std::mem::take(&mut self.returned)
    }

    fn repeats(&mut self, _: u64) {
        // The state at the end of a batch is that of the parent's own import.
        *self = self.at_head().unwrap_or_default();
    }

    fn passed(&mut self, record: &[u8]) {
        if let Ok((record, shape, message)) = Self::read(record) {
            let mut aside = self.aside.borrow_mut();
            if aside.pass(&record, shape, &message, self.is_side.unwrap_or_default()) {
                self.inputs += 1;
                self.shared_inputs += 1;
            }
        }
    }

    fn branch(
        store: &Store,
        source: &Source,
        header: &Header,
        made: Option<HeadId>,
    ) -> Result<Option<Branch<Claude>>, ImportError> {
        let branch = copy::branch(store, source, header, made)?;
        Ok(branch.map(|mut branch| {
            // A subagent goes on from a main session's head, and is none.
            branch.last.progress.state.is_side = Some(!source.below.is_empty());
            branch
        }))
    }

    fn key(record: &[u8]) -> Option<Digest> {
        copy::key(record)
    }

    fn is_answer((_, shape, message): &Self::Record<'_>) -> bool {
        *shape == Shape::Answer && message.id.is_some()
    }

    fn is_aside(record: &[u8]) -> bool {
        Self::read(record).is_ok_and(|(_, shape, _)| shape == Shape::Other)
    }
}

//! Codex's rollouts, with the envelope and without, forks and spawned agents. docs/IMPORT.md says what becomes of each
//! record.

mod agent;
mod call;
mod meaning;
mod output;
mod record;
mod shape;
mod tool;
mod write;

use serde::{Deserialize, Serialize};

use super::batch::{After, Step, Stop};
use super::export::{Output, Task};
use super::family::Answers;
use super::format::{Format, Header, Recognized};
use super::json::text;
use super::reader::{Item, Reader};
use super::shared::{self, Branch};
use super::source::Source;
use super::tools::{Tools, TurnState, Turns};
use super::{ExportError, ImportError};
use crate::model::{Digest, HeadId, InvocationNumber, MessageNumber, Status, Timestamp, TurnNumber};
use crate::store::Store;
use call::Open;
use record::{Info, Made, Record, Tokens};
use shape::Shape;

/// What must be known between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Codex {
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// That of the nearest `turn_context`, and the hash of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Digest>,
    #[serde(flatten)]
    state: TurnState,
    /// The inputs that were not told of by an event yet.
    inputs: u64,
    /// An input that was told of before its record came.
    #[serde(skip_serializing_if = "Option::is_none")]
    early: Option<Digest>,
    /// The last message of role `user` that Codex seems to have written itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    aside: Option<Digest>,
    /// Whether Codex said that the turn is complete.
    complete: bool,
    /// The content of the turn's last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Digest>,
    /// How the turn failed: its status, and the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<(String, Option<Digest>)>,
    /// The last call.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Open>,
    /// What all calls used, as it was written: the hash of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Digest>,
    /// The same as amounts.
    #[serde(skip_serializing_if = "Tokens::is_none")]
    sum: Tokens,
    /// Tools that gave no result yet, and whether an event said that they failed.
    #[serde(skip_serializing_if = "Tools::is_blank")]
    tools: Tools<Option<bool>>,
    /// Spawned agents at work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<Agent>,
    /// The agents that were spawned, and their ordinals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<(String, u64)>,
    /// Invocations that came back since the last head.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    returned: Vec<InvocationNumber>,
    /// Answers that were told of before their record, and their number among the parts kept for later.
    #[serde(skip)]
    told: Vec<(Digest, u64)>,
    /// The last messages of this batch that an event may tell of again.
    #[serde(skip)]
    said: Vec<(Digest, MessageNumber)>,
}

/// A spawned agent at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Agent {
    child: String,
    invocation: InvocationNumber,
}

impl Format for Codex {
    const NAME: &'static str = "codex";
    const ABOUT: &'static str = "Codex rollouts";
    const CHILDREN_ATTACH: bool = true;
    const ANSWERS: Answers = Answers::OfAll;
    type Record<'r> = (Record<'r>, Shape<'r>);

    fn recognize(first: &[u8]) -> Recognized {
        match Record::read(first) {
            Ok(record) if record.begins_rollout(first) => Recognized::Yes,
            _ => record::other(first).map_or(Recognized::No, Recognized::NoSession),
        }
    }

    fn header(first: &[u8], source: &Source) -> Header {
        let Ok(record) = Record::read(first) else { return Header::of(String::new()) };
        let id = if record.kind == "session_meta" { text(record.payload.id) } else { None };
        let made = Made::of(record.payload.source);
        let mut header = Header::of(id.unwrap_or_default());
        header.at = record.payload.began().or(record.at());
        header.parents = text(record.payload.forked_from_id).into_iter().filter(|id| *id != header.root).collect();
        let caller = made.parent.filter(|id| *id != header.root);
        // What begins with another's records stands on its heads; else its caller's edge leads to its own.
        match copied(source).filter(|id| *id != header.root) {
            Some(id) => {
                header.after = vec![id];
                header.after.extend(caller);
            }
            None => header.before = caller.into_iter().collect(),
        }
        if made.is_subagent {
            header.kind = Status::CHILD;
        }
        header
    }

    fn read(record: &[u8]) -> Result<Self::Record<'_>, String> {
        let record = Record::read(record)?;
        let shape = Shape::of(&record);
        Ok((record, shape))
    }

    fn at((record, _): &Self::Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, (_, shape): &Self::Record<'_>) -> bool {
        match shape {
            Shape::TaskStarted => !self.has_begun(),
            Shape::User(content) => !self.is_early(content),
            Shape::UserEvent(_) => self.inputs == 0,
            Shape::RolledBack(_) => true,
            _ => false,
        }
    }

    fn record(&mut self, step: &mut Step<'_, '_>, (record, shape): Self::Record<'_>) -> Result<After, Stop> {
        self.take(step, &record, shape)
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
        self.told.clear();
        self.said.clear();
    }

    fn returned(&mut self) -> Vec<InvocationNumber> {
        std::mem::take(&mut self.returned)
    }

    fn passed(&mut self, record: &[u8]) {
        if let Ok(record) = Record::read(record)
            && record.kind == "session_meta"
            && let Some(provider) = text(record.payload.model_provider)
        {
            self.provider = Some(provider);
        }
    }

    /// The file of a spawned agent may begin with its parent's records, and older forks do, and need not say so in the header:
    /// then the second record is the parent's header, and it goes on from there.
    fn branch(
        store: &Store,
        source: &Source,
        header: &Header,
        made: Option<HeadId>,
    ) -> Result<Option<Branch<Codex>>, ImportError> {
        if !header.parents.is_empty() {
            return shared::from_parent(store, source, header, made);
        }
        if header.after.is_empty() {
            return Ok(None);
        }
        let spawned = Header { parents: header.after.clone(), ..header.clone() };
        let branch = shared::from_parent(store, source, &spawned, made)?;
        Ok(branch.filter(|branch| branch.shared.common > 0))
    }

    fn is_fork(header: &Header) -> bool {
        !header.parents.is_empty() || !header.after.is_empty()
    }

    fn is_answer((record, shape): &Self::Record<'_>) -> bool {
        matches!(shape, Shape::TokenCount)
            && Info::of(record.payload.info).is_some_and(|info| info.total_token_usage.is_some())
    }

    /// A fork copies records under the time of its making. A `session_meta` tells of its own source.
    fn key(record: &[u8]) -> Option<Digest> {
        let Ok(read) = Record::read(record) else { return Some(Digest::of(record)) };
        match read.raw {
            _ if read.kind == "session_meta" => None,
            Some(raw) => Some(Digest::of(format!("{}\n{}", read.kind, raw.get()).as_bytes())),
            None => Some(Digest::of(record)),
        }
    }
}

/// The id in the second record of the source, where that is a header too. What cannot be read is told of when it is imported.
fn copied(source: &Source) -> Option<String> {
    let mut reader = Reader::of(&source.parts, Codex::SYNTAX);
    let mut records = 0;
    while let Ok(Some(item)) = reader.advance() {
        records += u64::from(item == Item::Record);
        if records == 2 {
            let record = Record::read(reader.record()).ok().filter(|record| record.kind == "session_meta")?;
            return text(record.payload.id);
        }
    }
    None
}

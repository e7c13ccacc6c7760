//! fractal-engine's run directories: a journal of EDN maps, `events.ednl`, with its blobs and projections beside it, and the runs of
//! children below. docs/IMPORT.md says what becomes of each record.

mod below;
mod children;
mod folder;
mod meaning;
mod numbers;
mod project;
mod record;
mod restored;
mod row;
mod value;
mod write;

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::batch::{After, Step, Stop};
use super::beside::Beside;
use super::export::{Output, Task};
use super::format::{Format, Header, Recognized};
use super::reader::Syntax;
use super::shared::Branch;
use super::source::Source;
use super::{ExportError, ImportError};
use crate::model::{CallNumber, Digest, HeadId, InvocationNumber, Status, Timestamp, TurnNumber};
use crate::store::Store;
use numbers::Numbers;
use record::Record;

pub use folder::JOURNAL;

/// What must be known between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Fractal {
    messages: Numbers,
    turns: Numbers,
    calls: Numbers,
    evals: Numbers,
    snapshots: Numbers,
    /// The turn that records belong to.
    turn: Option<TurnNumber>,
    /// The last turn's and snapshot's ids in the journal: what lineage names.
    turn_id: Option<u64>,
    snapshot_id: Option<u64>,
    /// Whether that turn has ended, so far.
    ended: bool,
    /// The turn's user message: its id, and its content.
    asked: Option<(u64, Digest)>,
    /// Children that run.
    running: Vec<(CallNumber, InvocationNumber)>,
    /// The ordinals that children may still take.
    children: children::Free,
    /// Children that came back since the last head, which is to name the caller's side.
    returned: Vec<InvocationNumber>,
    /// Whether the rows of a session that was restored are shared with its source.
    is_shared: bool,
    /// The payloads that rows of this import refer to.
    #[serde(skip)]
    referred: HashSet<Digest>,
}

impl Format for Fractal {
    const NAME: &'static str = "fractal";
    const ABOUT: &'static str = "fractal-engine run directories and events.ednl";
    const SYNTAX: Syntax = Syntax { value: record::edn_map, is_certain: |_| false };
    const CHILDREN_ATTACH: bool = true;
    type Record<'r> = Record<'r>;

    fn recognize(first: &[u8]) -> Recognized {
        let Ok(record) = Record::read(first) else { return Recognized::No };
        let Some(version) = record.row("session").ok().and_then(|session| session.whole("artifact-version")) else {
            // Other programs may have events of that type too; ids of sessions are texts everywhere.
            let is_session = record.kind() == "session/started" && folder::session_id(&record).is_some();
            return if is_session { Recognized::Yes } else { Recognized::No };
        };
        match (record.kind(), version) {
            ("session/started", 1) => Recognized::Yes,
            ("session/started", other) => Recognized::OtherVersion(format!("fractal-engine artifact version {other}")),
            _ => Recognized::No,
        }
    }

    fn wants(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "ednl")
    }

    fn is_folder(path: &Path) -> bool {
        folder::is_run(path)
    }

    fn sources(path: &Path) -> io::Result<Vec<Source>> {
        folder::sources(path)
    }

    fn header(first: &[u8], source: &Source) -> Header {
        folder::header(first, source)
    }

    fn read(record: &[u8]) -> Result<Record<'_>, String> {
        Record::read(record)
    }

    fn at(record: &Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, record: &Record<'_>) -> bool {
        record.kind() == "turn/started"
    }

    fn record(&mut self, step: &mut Step<'_, '_>, record: Record<'_>) -> Result<After, Stop> {
        self.mean(step, &record)?;
        Ok(After::Next)
    }

    fn end_turn(&mut self, _: &mut Step<'_, '_>) -> Result<bool, Stop> {
        // A turn is as its last row says, also where that is `running`: nothing is made up.
        Ok(self.turn.is_some())
    }

    fn turn(&self) -> Option<TurnNumber> {
        self.turn
    }

    fn at_head(&self) -> Option<Fractal> {
        Some(Fractal { referred: HashSet::new(), returned: Vec::new(), ..self.clone_small() })
    }

    fn returned(&mut self) -> Vec<InvocationNumber> {
        std::mem::take(&mut self.returned)
    }

    fn branch(
        store: &Store,
        source: &Source,
        _: &Header,
        made: Option<HeadId>,
    ) -> Result<Option<Branch<Fractal>>, ImportError> {
        restored::branch(store, source, made)
    }

    fn beside(source: &Source) -> Option<Beside> {
        folder::beside(source)
    }

    fn refers_to(&self, payload: &Digest) -> bool {
        self.referred.contains(payload)
    }

    fn recipe(name: &str, bytes: &[u8], journal: &[u8]) -> Option<String> {
        project::recipe(name, bytes, journal)
    }

    fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
        write::write(task, out)
    }

    fn make(recipe: &str, journal: &[u8]) -> Option<Vec<u8>> {
        project::make(recipe, journal)
    }
}

impl Fractal {
    /// A copy without what this import alone knows, which may be much.
    fn clone_small(&self) -> Fractal {
        Fractal {
            messages: self.messages.clone(),
            turns: self.turns.clone(),
            calls: self.calls.clone(),
            evals: self.evals.clone(),
            snapshots: self.snapshots.clone(),
            turn: self.turn,
            turn_id: self.turn_id,
            snapshot_id: self.snapshot_id,
            ended: self.ended,
            asked: self.asked,
            running: self.running.clone(),
            children: self.children.clone(),
            returned: Vec::new(),
            is_shared: self.is_shared,
            referred: HashSet::new(),
        }
    }
}

/// The kind of a session, from its record.
fn kind_of(word: Option<String>) -> Status {
    match word.as_deref() {
        Some("child") => Status::CHILD,
        _ => Status::SESSION,
    }
}

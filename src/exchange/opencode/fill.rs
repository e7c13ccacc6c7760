//! What is new in a session's files becomes batches: the rows that messages make, and the bytes of each file that changed.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use super::import::{best, head_of};
use super::past::{At, Past, Place, REMOVED, Version};
use super::survey::{NONE, Survey, What};
use super::tree::Tree;
use super::walk::{self, Bytes};
use super::{NAME, State};
use crate::exchange::batch::{Stop, known};
use crate::exchange::kept::{self, Last, Mark, Progress};
use crate::exchange::template::{Hole, Template, part_mark};
use crate::exchange::{Diagnostic, ImportError, MAX_DIAGNOSTICS, Seen};
use crate::model::{Digest, EventNumber, HeadId, InvocationNumber, SessionId, Timestamp};
use crate::store::error::CommitError;
use crate::store::{Batch, Session, Store};

/// From this many files or bytes on a batch ends with its turn.
const ENOUGH: (u64, u64) = (1_024, 2 << 20);
/// From this many on it ends within a turn, behind a message.
const LIMIT: (u64, u64) = (2_048, 8 << 20);
/// A part shorter than this stays in the kept source: a hole would be no shorter.
const MIN_HOLE: usize = 16;

/// A session that another opened and no tool tells of: its id, its title, when it began.
pub(super) type Child = (String, Option<String>, Option<Timestamp>);

pub(super) type Holes = Vec<(Range<usize>, Hole)>;

/// What is to be done.
enum Work {
    /// Go to where so many messages stand.
    Reach(usize),
    /// A message, or what came to it.
    Unit(usize, bool),
    Seal,
    EndTurn,
    Child(Child),
    /// Keep a file of no message, or one of which no row changed.
    File(usize),
    Removed(String),
}

/// An import under way.
pub(super) struct Import<'a> {
    pub(super) store: &'a Store,
    tree: &'a Tree,
    pub(super) survey: Survey,
    pub(super) past: Past,
    pub(super) state: State,
    /// The session whose rows a fork shares: they are not made again, nor counted.
    pub(super) base: Option<SessionId>,
    /// Invocations that came back since the last head.
    pub(super) returned: Vec<InvocationNumber>,
    work: VecDeque<Work>,
    children: VecDeque<Child>,
    /// Files that were rewritten while they were read.
    is_changed: bool,
    template: Template,
    diagnostics: Vec<Diagnostic>,
    diagnostics_before: u64,
    marks: Vec<Mark>,
    depth: u32,
    previous: Option<EventNumber>,
    records: u64,
    bytes: u64,
    /// Records and bytes when the batch began.
    began: (u64, u64),
    seen: &'a mut dyn FnMut(Seen),
}

impl<'a> Import<'a> {
    pub(super) fn new(
        (store, session): (&'a Store, &SessionId),
        tree: &'a Tree,
        survey: Survey,
        past: Past,
        last: Option<Last<State>>,
        base: Option<(SessionId, Last<State>)>,
        seen: &'a mut dyn FnMut(Seen),
    ) -> Result<Import<'a>, ImportError> {
        let mut template = Template::default();
        let (mut depth, mut told) = (0, HashSet::new());
        let (mut records, mut bytes) = (0, 0);
        if let Some((parent, last)) = &base {
            (depth, records, bytes) = (last.progress.depth + 1, last.progress.records, last.progress.bytes);
            template.add_shared(parent, 0, bytes);
        }
        let mut import = Import {
            store,
            tree,
            survey,
            past,
            state: State::default(),
            base: base.map(|(session, _)| session),
            returned: Vec::new(),
            work: VecDeque::new(),
            children: VecDeque::new(),
            is_changed: false,
            template,
            diagnostics: Vec::new(),
            diagnostics_before: 0,
            marks: Vec::new(),
            depth,
            previous: None,
            records,
            bytes,
            began: (records, bytes),
            seen,
        };
        if let Some(last) = &last {
            let progress = &last.progress;
            import.depth = progress.depth;
            import.previous = last.event;
            (import.records, import.bytes) = (progress.records, progress.bytes);
            import.began = (progress.records, progress.bytes);
            import.diagnostics_before = progress.diagnostics_before + progress.diagnostics.len() as u64;
        }
        if let Some(last) = last.and_then(|last| last.event) {
            told.extend(kept::diagnostics(store, session, last)?.into_iter().map(|one| (one.kind, one.message)));
        }
        let odd = std::mem::take(&mut import.survey.odd);
        let new = odd.into_iter().filter(|(kind, message)| !told.contains(&((*kind).to_owned(), message.clone())));
        import.diagnostics =
            new.take(MAX_DIAGNOSTICS).map(|(kind, message)| Diagnostic::new(0, kind, message)).collect();
        Ok(import)
    }

    /// Says what is to be done: to go to where so many messages stand, one after the other, and to keep what changed.
    pub(super) fn plan(&mut self, goals: impl Iterator<Item = usize>, children: Vec<Child>) {
        self.children = children.into();
        self.work.extend(goals.map(Work::Reach));
        self.work.extend((0..self.survey.files.len()).map(Work::File));
        let gone = self.past.files.keys().filter(|name| !self.survey.has(name)).cloned();
        self.work.extend(gone.map(Work::Removed));
    }

    /// Whether the files are not what they were when they were looked at.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn run(&mut self, session: &Session) -> Result<(), ImportError> {
        let mut is_first = true;
        while is_first || !self.work.is_empty() {
            let previous = self.previous.map_or(0, |event| event.0);
            let key = format!("import/{}/{previous}", self.bytes);
            let mut stopped = None;
            let result = session.write(|batch| {
                batch.import();
                batch.key(&key);
                self.fill(batch, is_first).map_err(|stop| match stop {
                    Stop::Commit(error) => error,
                    // A batch's closure cannot return the errors of reading a source.
                    Stop::Import(error) => {
                        stopped = Some(error);
                        CommitError::Invalid("the source could not be read".to_owned())
                    }
                })
            });
            match (result, stopped) {
                (_, Some(error)) => return Err(error),
                (result, None) => result?,
            };
            is_first = false;
            (self.seen)(Seen { bytes: self.bytes, records: self.records });
        }
        Ok(())
    }

    fn fill(&mut self, batch: &mut Batch<'_>, is_first: bool) -> Result<(), Stop> {
        if is_first
            && let Some(title) = &self.survey.title
            && self.store.session(batch.session())?.title.as_ref() != Some(title)
        {
            batch.set_title(title)?;
        }
        while let Some(work) = self.work.pop_front() {
            self.one(batch, work)?;
            let next = self.work.front();
            let begins_turn = matches!(next, Some(Work::Unit(at, _)) if self.is_user(*at));
            let is_within = matches!(next, Some(Work::Unit(..) | Work::EndTurn | Work::Child(_) | Work::Seal));
            if self.reached(if is_within && !begins_turn { LIMIT } else { ENOUGH }) {
                if begins_turn {
                    self.settle(batch)?;
                    self.end_turn(batch)?;
                }
                break;
            }
        }
        self.finish(batch)
    }

    fn is_user(&self, at: usize) -> bool {
        self.survey.units.get(at).is_some_and(|unit| unit.is_user)
    }

    fn reached(&self, (records, bytes): (u64, u64)) -> bool {
        self.records - self.began.0 >= records || self.bytes - self.began.1 >= bytes
    }

    fn one(&mut self, batch: &mut Batch<'_>, work: Work) -> Result<(), Stop> {
        match work {
            Work::Reach(count) => self.reach(batch, count),
            Work::Unit(at, grows) => self.unit(batch, at, grows),
            Work::Seal => self.settle_and_seal(batch),
            Work::EndTurn => {
                self.pause(batch)?;
                self.end_turn(batch)
            }
            Work::Child(child) => self.child(batch, &child),
            Work::File(at) => self.file(batch, at),
            Work::Removed(name) => {
                self.template.add_part(&part_mark(&format!("{REMOVED}{name}")));
                self.bytes += part_mark(&format!("{REMOVED}{name}")).len() as u64;
                self.past.files.remove(&name);
                let payload = batch.put(name.as_bytes());
                batch.add_annotation("import/removed", None, Some(payload))?;
                Ok(())
            }
        }
    }

    /// Goes to the head from which the fewest messages lead there, and says which these are.
    fn reach(&mut self, batch: &mut Batch<'_>, count: usize) -> Result<(), Stop> {
        self.seal(batch)?;
        let found = best(&self.past, &self.survey, count);
        let Some(place) = self.past.places.get(found.place).cloned() else { return Ok(()) };
        let session = self.base.clone().unwrap_or_else(|| batch.session().clone());
        let head = head_of(self.store, &session, place.head)?;
        batch.go_on_from(head)?;
        let (made, edges) = (std::mem::take(&mut self.state.made), std::mem::take(&mut self.state.edges));
        self.state = State { made, edges, ..place.state };
        let mut work = Vec::new();
        for at in found.count..count {
            let unit = &self.survey.units[at];
            if at > found.count && unit.is_user {
                while self.children.front().is_some_and(|(.., began)| *began < unit.at) {
                    work.extend(self.children.pop_front().map(Work::Child));
                }
            }
            let grows = found.grows && at == found.count;
            if self.survey.reverted_to == Some(at) && at > 0 && !grows {
                work.push(Work::Seal);
            }
            work.push(Work::Unit(at, grows));
        }
        let is_last = !self.work.iter().any(|work| matches!(work, Work::Reach(_)));
        if is_last || !work.is_empty() {
            work.extend(self.children.drain(..).map(Work::Child));
        }
        // A head within a turn is one at which it runs.
        if is_last || !work.is_empty() {
            work.push(Work::EndTurn);
        }
        for work in work.into_iter().rev() {
            self.work.push_front(work);
        }
        Ok(())
    }

    /// Reads a file as it was when it was looked at.
    pub(super) fn read(&mut self, at: usize) -> Result<Bytes, Stop> {
        let file = &self.survey.files[at];
        match walk::read(&self.tree.root, &file.name)? {
            Some(read) if read.digest == file.digest => Ok(read),
            _ => {
                self.is_changed = true;
                let path = self.tree.root.join(&file.name);
                let source = std::io::Error::other("it was rewritten while it was read");
                Err(ImportError::Io { path, source }.into())
            }
        }
    }

    /// Whether the store has a file as it is now.
    pub(super) fn is_kept(&self, at: usize) -> bool {
        let file = &self.survey.files[at];
        self.past.files.get(&file.name).is_some_and(|kept| kept.digest == file.digest)
    }

    /// Keeps a file, unless it is, with `holes` cut out: parts that are payloads of rows of this batch.
    pub(super) fn keep(&mut self, at: usize, bytes: &[u8], mut holes: Holes) {
        if self.is_kept(at) {
            return;
        }
        holes.retain(|(range, _)| range.len() >= MIN_HOLE);
        holes.sort_by_key(|(range, _)| range.start);
        self.begin_file(at);
        self.template.add(bytes, &holes);
        self.bytes += bytes.len() as u64;
    }

    fn begin_file(&mut self, at: usize) {
        let file = &self.survey.files[at];
        let mark = part_mark(&file.name);
        self.past.files.insert(file.name.clone(), Version { digest: file.digest, at: self.bytes });
        self.template.add_part(&mark);
        self.bytes += mark.len() as u64;
        self.records += 1;
    }

    /// Keeps a file of which no row is made now.
    pub(super) fn keep_known(&mut self, at: usize, bytes: &[u8]) -> Result<(), Stop> {
        if !self.is_kept(at) {
            let holes = known(self.store, bytes, 0..bytes.len())?;
            self.keep(at, bytes, holes);
        }
        Ok(())
    }

    fn file(&mut self, batch: &mut Batch<'_>, at: usize) -> Result<(), Stop> {
        if self.is_kept(at) {
            return Ok(());
        }
        let Some(bytes) = self.read(at)?.bytes else {
            let file = crate::exchange::source::open(&self.tree.root.join(&self.survey.files[at].name))?;
            let payload = self.store.blobs().put_from(file)?;
            let event = batch.add_annotation("import/long-line", None, Some(payload))?;
            self.begin_file(at);
            self.template.add(b"-", &[(0..1, Hole::Note(event))]);
            self.bytes += self.store.blobs().size(&payload)?;
            return Ok(());
        };
        let kind = match &self.survey.files[at].what {
            What::Noted(kind) => kind,
            What::Bad(_) => "import/bad-record",
            What::Said | What::Common => return self.keep_known(at, &bytes),
        };
        let payload = batch.put(&bytes);
        let event = batch.add_annotation(kind, None, Some(payload))?;
        self.keep(at, &bytes, vec![(0..bytes.len(), Hole::Note(event))]);
        Ok(())
    }

    /// What is known here, as a head has it.
    fn known(&self) -> State {
        State { made: Vec::new(), edges: Vec::new(), ..self.state.clone() }
    }

    /// Seals a head: a session that is taken back to here can go on from it.
    pub(super) fn seal(&mut self, batch: &mut Batch<'_>) -> Result<HeadId, Stop> {
        let events = batch.counters().event;
        let head = batch.seal()?;
        if batch.counters().event > events {
            self.mark(batch, head);
        }
        self.tell_returned(batch, head)?;
        Ok(head)
    }

    /// Notes a head that was sealed just now.
    pub(super) fn mark(&mut self, batch: &Batch<'_>, head: HeadId) {
        let known = self.known();
        if let Ok(state) = serde_json::value::to_raw_value(&known) {
            let event = EventNumber(batch.counters().event.saturating_sub(1));
            let (records, bytes) = (self.records, self.bytes);
            self.marks.push(Mark { head: event, records, bytes, lines: 0, at: None, state });
        }
        self.past.places.push(Place { head: At::Head(head), state: known });
    }

    fn tell_returned(&mut self, batch: &mut Batch<'_>, head: HeadId) -> Result<(), Stop> {
        for invocation in std::mem::take(&mut self.returned) {
            batch.record_caller_head(invocation, head)?;
        }
        Ok(())
    }

    fn settle_and_seal(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        self.settle(batch)?;
        self.seal(batch).map(drop)
    }

    /// Ends the batch: keeps its source, and seals it.
    fn finish(&mut self, batch: &mut Batch<'_>) -> Result<(), Stop> {
        let after = self.returned.len() as u64;
        let diagnostics = std::mem::take(&mut self.diagnostics);
        let found = diagnostics.len() as u64;
        let count = self.survey.units.len() as u64;
        if let Some(open) = &mut self.state.open {
            open.is_followed = self.state.units + 1 < count;
        }
        let progress = Progress {
            format: NAME.to_owned(),
            version: 1,
            records: self.records,
            bytes: self.bytes,
            from: None,
            rewrites: 0,
            lines: 0,
            hash: None,
            at: None,
            previous: self.previous,
            files: None,
            tail: 2 + after,
            after,
            closing: 0,
            depth: self.depth,
            marks: std::mem::take(&mut self.marks),
            diagnostics,
            diagnostics_before: self.diagnostics_before,
            state: &self.state,
        };
        let payload = kept::payload(&progress, std::mem::take(&mut self.template), &Default::default());
        let payload = batch.put(&payload);
        self.previous = Some(batch.add_annotation(kept::KIND, None, Some(payload))?);
        self.diagnostics_before += found;
        self.began = (self.records, self.bytes);
        let head = batch.seal()?;
        self.tell_returned(batch, head)?;
        let state = self.known();
        self.past.take(&std::mem::take(&mut self.state));
        self.past.places.push(Place { head: At::Head(head), state: state.clone() });
        self.state = state;
        Ok(())
    }
}

/// The first digits of a hash.
pub(super) fn short(digest: &Digest) -> u64 {
    digest.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// The hash of the first messages.
pub(super) fn chain(survey: &Survey, count: usize) -> Option<Digest> {
    survey.chains.get(count).copied().filter(|chain| *chain != NONE)
}

//! The tree that the records of a file are, from version 2 on: which of them others leave from. It is found by reading the
//! file before it is imported, so that a head is sealed at each record at which a branch leaves, and at no other.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::Pi;
use super::meaning::said;
use super::record::{Parent, Record};
use crate::exchange::ImportError;
use crate::exchange::batch::{Step, Stop};
use crate::exchange::format::Format;
use crate::exchange::kept::{self, backwards};
use crate::exchange::reader::{Item, Reader};
use crate::exchange::source::Source;
use crate::exchange::tools::{TurnState, Turns};
use crate::model::{Digest, EventNumber, HeadId, Role, SessionId};
use crate::store::{NewMessage, Store};

/// The tree of the file that is imported, and the heads at its branch points. What it takes grows with the branches and
/// compactions, not with the records.
#[derive(Debug, Default)]
pub struct Tree {
    /// How many records were looked at.
    records: u64,
    /// The records that a head is sealed behind, by their ids.
    points: HashMap<String, Place>,
    /// Ids of parents that no record before their children has.
    missing: HashSet<String>,
    /// How many messages the compaction that is this record keeps.
    keeps: HashMap<u64, usize>,
    /// What the record that is labelled by this one was labelled before.
    labels: HashMap<u64, String>,
    /// The point whose record was the last one: its head is sealed before the next.
    awaited: Option<String>,
    heads: HashMap<String, Point>,
    /// What was imported before, once a branch leaves from there.
    before: Option<Before>,
}

/// A place in the history from which a branch can go on.
#[derive(Debug, Clone)]
pub struct Point {
    pub head: HeadId,
    pub state: Pi,
    /// The records between the head and the place that was asked for, by the hash of their ids: none if it is that place.
    pub between: HashSet<u64>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The branch, and the number of the record in the file.
    run: usize,
    number: u64,
    /// Messages of its history, without the record and with it.
    before: u64,
    after: u64,
}

/// The heads of earlier imports, by the record they stand behind, and each record's parent; all by the hash of the id.
#[derive(Debug)]
struct Before {
    marks: HashMap<u64, Mark>,
    parents: HashMap<u64, Option<u64>>,
}

#[derive(Debug, Clone)]
struct Mark {
    session: SessionId,
    head: EventNumber,
    state: Box<serde_json::value::RawValue>,
}

fn short(id: &str) -> u64 {
    let digest = Digest::of(id.as_bytes());
    digest.0.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

/// Shows each record that can be understood, with its number, but for headers.
fn each(source: &Source, mut look: impl FnMut(u64, &Record<'_>, bool)) -> Result<u64, ImportError> {
    let mut reader = Reader::of(&source.parts, Pi::SYNTAX);
    let mut number = 0;
    while let Some(item) = reader.advance().map_err(|error| source.io(error))? {
        if item != Item::Record {
            continue;
        }
        number += 1;
        let Ok(record) = Record::read(reader.record()) else { continue };
        let Ok(shape) = record.shape() else { continue };
        if !shape.is_header() {
            look(number, &record, shape.is_message());
        }
    }
    Ok(number)
}

impl Tree {
    /// Reads the file: once where it has no branch, compaction or label, else twice.
    pub fn of(source: &Source) -> Result<Tree, ImportError> {
        let (mut wanted, mut has_roots, mut leaf) = (HashMap::<String, Option<Place>>::new(), false, None::<String>);
        let records = each(source, |_, record, _| {
            match record.parent() {
                Parent::Unsaid => {}
                Parent::Root => has_roots |= leaf.is_some(),
                Parent::Entry(id) if leaf.as_ref() == Some(&id) => {}
                Parent::Entry(id) => drop(wanted.insert(id, None)),
            }
            let others = record.first_kept_id().into_iter().chain(record.label().map(|(target, _)| target));
            wanted.extend(others.map(|id| (id, None)));
            leaf = record.id().or(leaf.take());
        })?;
        let mut tree = Tree { records, ..Tree::default() };
        if wanted.is_empty() && !has_roots {
            return Ok(tree);
        }
        // Where each branch leaves: from which, behind which record. The first has none.
        let mut runs: Vec<Option<(usize, u64)>> = vec![None];
        let (mut now, mut leaf, mut points) = (Place::default(), None::<String>, HashSet::new());
        let mut labelled = HashMap::<String, String>::new();
        each(source, |number, record, is_message| {
            let branch = match record.parent() {
                Parent::Root if leaf.is_some() => Some(Place::default()),
                Parent::Entry(id) if leaf.as_ref() != Some(&id) => {
                    let place = wanted.get(&id).copied().flatten();
                    if place.is_some() {
                        points.insert(id)
                    } else {
                        tree.missing.insert(id)
                    };
                    place
                }
                _ => None,
            };
            if let Some(place) = branch {
                runs.push((place.number > 0).then_some((place.run, place.number)));
                now = Place { run: runs.len() - 1, ..place };
            }
            now = Place { number, before: now.after, after: now.after + u64::from(is_message), ..now };
            let first = record.first_kept_id().and_then(|id| wanted.get(&id).copied().flatten());
            if let Some(first) = first.filter(|first| is_behind(&runs, *first, now)) {
                let keep = now.before.saturating_sub(first.before);
                tree.keeps.insert(number, usize::try_from(keep).unwrap_or(usize::MAX));
            }
            if let Some((target, label)) = record.label()
                && wanted.get(&target).is_some_and(Option::is_some)
            {
                tree.labels.extend(labelled.remove(&target).map(|before| (number, before)));
                labelled.extend(label.map(|label| (target.clone(), label)));
                points.insert(target);
            }
            leaf = record.id().or(leaf.take());
            if let Some(place) = record.id().and_then(|id| wanted.get_mut(&id)) {
                *place = Some(now);
            }
        })?;
        tree.points = wanted.into_iter().filter_map(|(id, place)| Some((id, place?))).collect();
        tree.points.retain(|id, _| points.contains(id));
        Ok(tree)
    }
}

/// Whether `first` lies in the history of `now`.
fn is_behind(runs: &[Option<(usize, u64)>], first: Place, now: Place) -> bool {
    let (mut run, mut end) = (now.run, now.number);
    loop {
        if run == first.run {
            return first.number < end;
        }
        let Some(Some((up, cut))) = runs.get(run) else { return false };
        (run, end) = (*up, *cut + 1);
    }
}

impl Pi {
    fn tree(&mut self, step: &Step<'_, '_>) -> Result<Rc<RefCell<Tree>>, Stop> {
        let tree = Rc::clone(self.tree.get_or_insert_default());
        if tree.borrow().records < step.number() {
            // The first record of an import, or one that was written since.
            let fresh = Tree::of(step.source())?;
            let mut tree = tree.borrow_mut();
            *tree = Tree {
                awaited: tree.awaited.take(),
                heads: std::mem::take(&mut tree.heads),
                before: tree.before.take(),
                ..fresh
            };
        }
        Ok(tree)
    }

    /// Whether the record goes on elsewhere than behind the one before it.
    pub(super) fn leaves(&self, record: &Record<'_>) -> bool {
        match record.parent() {
            Parent::Unsaid => false,
            Parent::Root => self.leaf.is_some(),
            Parent::Entry(id) => {
                let is_missing = || self.tree.as_ref().is_some_and(|tree| tree.borrow().missing.contains(&id));
                self.leaf.as_ref() != Some(&id) && !is_missing()
            }
        }
    }

    /// Before the turn ends where the record leaves the branch: a tool that is at work where that one goes on may have its result there.
    pub(super) fn leave(&mut self, step: &Step<'_, '_>, record: &Record<'_>) -> Result<(), Stop> {
        if self.tools.is_empty() || !self.leaves(record) {
            return Ok(());
        }
        let parent = match record.parent() {
            Parent::Entry(id) => Some(id),
            _ => None,
        };
        let point = self.tree(step)?.borrow_mut().point(step, parent.as_deref())?;
        self.tools.leave_to(&point.state.tools);
        Ok(())
    }

    /// Goes where the record goes on: seals the head of the one before it, if others leave there, and goes back to that
    /// of its parent.
    pub(super) fn go(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, is_user: bool) -> Result<(), Stop> {
        let tree = self.tree(step)?;
        let awaited = tree.borrow_mut().awaited.take();
        if let Some(id) = awaited {
            let head = step.seal(self)?;
            let mut state = self.clone();
            state.tree = None;
            state.tools.batch_ended();
            tree.borrow_mut().heads.insert(id, Point { head, state, between: HashSet::new() });
        }
        let parent = match record.parent() {
            Parent::Entry(id) if self.leaf.as_ref() == Some(&id) => return Ok(()),
            Parent::Entry(id) => Some(id),
            Parent::Root if self.leaf.is_some() => None,
            _ => return Ok(()),
        };
        if let Some(id) = parent.as_ref().filter(|id| tree.borrow().missing.contains(*id)) {
            let message =
                format!("its parent {id:?} stands nowhere before it: it is taken to follow the record before it");
            step.odd("missing-parent", message);
            return Ok(());
        }
        // What the branch that is left has, has a head.
        self.end(step)?;
        step.seal(self)?;
        let point = tree.borrow_mut().point(step, parent.as_deref())?;
        step.batch.go_on_from(point.head)?;
        let (entries, repeated) = (self.entries, self.repeated);
        *self = Pi { entries, repeated, tree: self.tree.take(), leaf: parent, ..point.state };
        if !point.between.is_empty() {
            let message =
                "it goes on from within a turn that was imported before: the messages of that turn are added again";
            step.odd("late-branch", message);
            self.again(step, &point.between)?;
        }
        if is_user && self.end(step)? {
            step.seal(self)?;
        }
        Ok(())
    }

    /// Adds the messages of records that stand before this one again, since no head shows them alone. Their calls and
    /// evals are not: they happened once.
    fn again(&mut self, step: &mut Step<'_, '_>, between: &HashSet<u64>) -> Result<(), Stop> {
        let mut messages = Vec::new();
        let end = step.number();
        each(step.source(), |number, record, _| {
            let is_between = record.id().is_some_and(|id| between.contains(&short(&id)));
            if let Some(message) = record.shape().ok().filter(|_| is_between && number < end).and_then(said) {
                messages.push((record.at(), message));
            }
        })?;
        self.tools.forget();
        let now = step.at();
        for (at, (role, content)) in messages {
            if role == Role::User {
                self.state = TurnState::default();
            }
            if let Some(at) = at {
                step.batch.at(at);
            }
            step.weigh(content.len());
            step.batch.add_message(NewMessage::new(role, content))?;
        }
        if let Some(at) = now {
            step.batch.at(at);
        }
        Ok(())
    }

    /// Notes that the record is taken.
    pub(super) fn went(&mut self, id: Option<String>) {
        let Some(id) = id else { return };
        if let Some(tree) = &self.tree {
            let mut tree = tree.borrow_mut();
            if tree.points.contains_key(&id) {
                tree.awaited = Some(id.clone());
            }
        }
        self.leaf = Some(id);
    }

    /// How many messages the compaction that is this record keeps, where it names the first by its id.
    pub(super) fn keeps(&self, step: &Step<'_, '_>) -> usize {
        let tree = self.tree.as_ref().map(|tree| tree.borrow());
        tree.and_then(|tree| tree.keeps.get(&step.number()).copied()).unwrap_or(0)
    }
}

impl Tree {
    /// What the record that is labelled by record `number` was labelled before.
    pub fn label_before(&self, number: u64) -> Option<&str> {
        self.labels.get(&number).map(String::as_str)
    }

    /// The head behind the record with that id, if there is one of that place.
    pub fn head_at(&mut self, step: &Step<'_, '_>, id: &str) -> Result<Option<HeadId>, Stop> {
        if !self.points.contains_key(id) {
            return Ok(None);
        }
        let point = self.point(step, Some(id))?;
        Ok(point.between.is_empty().then_some(point.head))
    }

    /// The point behind the record with that id, or before all of them.
    fn point(&mut self, step: &Step<'_, '_>, id: Option<&str>) -> Result<Point, Stop> {
        let store = step.store();
        let Some(id) = id else { return Ok(root(store, step.batch.session())?) };
        if let Some(point) = self.heads.get(id) {
            return Ok(point.clone());
        }
        if self.before.is_none() {
            self.before = Some(Before::of(store, step.batch.session(), step.source())?);
        }
        let wanted = short(id);
        let before = self.before.as_ref();
        let (mut next, mut between) = (Some(wanted), HashSet::new());
        // Parents may go in a circle: no history is longer than all records.
        for _ in 0..=self.records {
            let Some((at, before)) = next.zip(before) else { break };
            if let Some(mark) = before.marks.get(&at) {
                let head = store.event(&mark.session, mark.head)?.head_id.ok_or_else(|| kept::damaged(None))?;
                let state =
                    serde_json::from_str(mark.state.get()).map_err(|error| kept::damaged(Some(error.into())))?;
                return Ok(Point { head, state, between });
            }
            between.insert(at);
            next = before.parents.get(&at).copied().flatten();
        }
        Ok(Point { between, ..root(store, step.batch.session())? })
    }
}

/// The genesis of the session whose rows are shared by all others, or of this one.
fn root(store: &Store, session: &SessionId) -> Result<Point, ImportError> {
    let mut session = session.clone();
    while let Some((up, _)) = store.session(&session)?.source {
        session = up;
    }
    let head = store.event(&session, EventNumber(2))?.head_id.ok_or_else(|| kept::damaged(None))?;
    Ok(Point { head, state: Pi::default(), between: HashSet::new() })
}

impl Before {
    fn of(store: &Store, session: &SessionId, source: &Source) -> Result<Before, ImportError> {
        let (mut marks, mut parents) = (HashMap::new(), HashMap::new());
        let mut leaf = None;
        each(source, |_, record, _| {
            let Some(id) = record.id().map(|id| short(&id)) else { return };
            let parent = match record.parent() {
                Parent::Unsaid => leaf,
                Parent::Root => None,
                Parent::Entry(parent) => Some(short(&parent)),
            };
            parents.insert(id, parent);
            leaf = Some(id);
        })?;
        // Of the sessions whose rows are shared, what lies behind the head at which they were left.
        let (mut next, mut end) = (Some(session.clone()), EventNumber(u64::MAX));
        while let Some(session) = next.take() {
            let info = store.session(&session)?;
            let last = kept::last(store, &session, info.events)?.map(|(event, _)| event);
            for kept in backwards(store, &session, last) {
                let kept = kept?;
                let ending = kept.end();
                for mark in std::iter::once(ending).chain(kept.progress.marks.into_iter().rev()) {
                    let Ok(state) = serde_json::from_str::<Pi>(mark.state.get()) else { continue };
                    if let Some(leaf) = state.leaf.filter(|_| mark.head <= end) {
                        let mark = Mark { session: session.clone(), head: mark.head, state: mark.state };
                        marks.entry(short(&leaf)).or_insert(mark);
                    }
                }
            }
            if let Some((up, head)) = info.source {
                let head = store.head(&head)?;
                // A head of a session further up is the end of what is shared with that one.
                (next, end) = (Some(up), head.event);
            }
        }
        Ok(Before { marks, parents })
    }
}

//! A session's files into the store: what is new since the last import, and where the history goes on.

use std::collections::HashSet;

use super::fill::Import;
use super::past::{At, Past, Place};
use super::survey::{NONE, Survey, What};
use super::tree::{self, Tree};
use super::walk::stem;
use super::{NAME, Open, State};
use crate::exchange::format::Header;
use crate::exchange::kept::{self, Last};
use crate::exchange::run::{ATTEMPTS, Identity, new_session, summary};
use crate::exchange::source::Source;
use crate::exchange::{ImportError, Imported, Seen};
use crate::model::{EventNumber, HeadId, SessionId};
use crate::store::error::{CommitError, SessionOpenError};
use crate::store::{Session, Store};
use crate::view::types::SessionInfo;

/// How often a session that went on by itself may have been left by its source.
const MAX_LEFT: usize = 64;

/// Imports one session.
pub(super) fn import(store: &Store, source: &Source, seen: &mut dyn FnMut(Seen)) -> Result<Imported, ImportError> {
    let mut imported = one(store, source, seen)?;
    // A session that came after the one that opened it.
    if let Some(tree) = Tree::of(source)
        && let Some(parent) = tree::parent(&tree)
        && let Some(caller) = session_of(store, &parent)?
        && !store.invocations_to(&imported.session)?.iter().any(|entry| entry.session == caller)
        && let Some(parent) = tree::session(&tree.root, &parent).map_err(|error| source.io(error))?
    {
        imported.new_events += one(store, &parent, &mut |_| {})?.new_events;
    }
    Ok(imported)
}

/// The session that the one of that id became.
pub(super) fn session_of(store: &Store, id: &str) -> Result<Option<SessionId>, ImportError> {
    let (session, info) = identity(&Header::of(id.to_owned())).find(store)?;
    Ok(info.map(|_| session))
}

/// A session's files change, all of them: only its id stays.
fn identity(header: &Header) -> Identity {
    Identity::of(NAME, header, "", header.root.as_bytes())
}

fn one(store: &Store, source: &Source, seen: &mut dyn FnMut(Seen)) -> Result<Imported, ImportError> {
    for _ in 0..ATTEMPTS {
        let none = || ImportError::NoRecords { path: source.path.clone() };
        let tree = Tree::of(source).ok_or_else(none)?;
        let survey = Survey::of(&tree)?;
        if !survey.is_known {
            return Err(none());
        }
        match attempt(store, source, &tree, survey, seen) {
            Ok(Some(imported)) => return Ok(imported),
            // Another import made or filled the session meanwhile, or a file was rewritten.
            Ok(None)
            | Err(ImportError::Open(SessionOpenError::Exists { .. }))
            | Err(ImportError::Commit(CommitError::Repeated { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let path = source.path.display();
    Err(ImportError::Commit(CommitError::Conflict(format!("another program keeps changing {path}, or imports it"))))
}

/// Where a session's files go.
struct Target {
    id: SessionId,
    info: Option<SessionInfo>,
    identity: Identity,
    last: Option<Last<State>>,
    past: Past,
    /// The session that this is to be a fork of, since it went on by itself, and how much of the kept source it has.
    base: Option<(SessionId, Last<State>)>,
}

fn target(store: &Store, header: &Header) -> Result<Target, ImportError> {
    let identity = identity(header);
    let (id, info) = identity.find(store)?;
    let mut target = Target { id, info, identity, last: None, past: Past::default(), base: None };
    for _ in 0..MAX_LEFT {
        let Some(info) = &target.info else { break };
        let Some(last) = Last::<State>::of(store, &target.id, info.events)? else { break };
        if let Some(event) = last.event {
            target.past = Past::of(store, &target.id, event)?;
        }
        if last.end() == Some(info.events) {
            (target.last, target.base) = (Some(last), None);
            break;
        }
        let identity = target.identity.leaving(NAME, &target.id, last.progress.bytes, b"");
        let (id, info) = identity.find(store)?;
        target.base = Some((std::mem::replace(&mut target.id, id), last));
        (target.info, target.identity) = (info, identity);
    }
    Ok(target)
}

/// One try; `None` where it must begin anew.
fn attempt(
    store: &Store,
    source: &Source,
    tree: &Tree,
    survey: Survey,
    seen: &mut dyn FnMut(Seen),
) -> Result<Option<Imported>, ImportError> {
    let header = tree::header(source);
    let Target { id, info, identity, last, mut past, base } = target(store, &header)?;
    let before = info.as_ref().map_or(0, |info| info.events);
    let count = survey.units.len();
    let wanted = survey.reverted_to.unwrap_or(count);
    let beginning = beginning(store, base.as_ref().map(|(session, _)| session).or(info.as_ref().map(|_| &id)))?;
    past.places.insert(0, Place { head: beginning, state: State::default() });
    let now = past.places.len() - 1;
    let (all, best) = (best(&past, &survey, count), best(&past, &survey, wanted));
    let is_there = |found: &Found, count: usize| found.count == count && !found.grows;
    let children = tree.children.iter().map(|file| tree::child(&tree.root, file));
    let children = children.filter(|(child, ..)| !survey.opened.contains(child) && !past.edges.contains_key(child));
    let mut children: Vec<_> = children.collect();
    children.sort_by_key(|(.., at)| *at);
    let is_new = |file: &super::survey::File| past.files.get(&file.name).is_none_or(|kept| kept.digest != file.digest);
    let has_news = !is_there(&all, count)
        || !is_there(&best, wanted)
        || best.place != now
        || survey.files.iter().any(|file| file.what != What::Common && is_new(file))
        || past.files.keys().any(|name| is_own(name) && !survey.has(name))
        || !children.is_empty()
        || survey.title.is_some() && info.as_ref().is_some_and(|info| info.title != survey.title);
    if !has_news {
        // Of a session that went on by itself nothing is to be left.
        let id = base.map_or(id, |(session, _)| session);
        let before = store.session(&id)?.events;
        return summary(NAME, store, &id, source, before, None).map(Some);
    }
    let session = match (&info, &base) {
        (Some(_), _) => store.open_session(&id)?,
        (None, None) => store.create_session(new_session(&header, &id, identity.origin))?,
        (None, Some((parent, _))) => {
            let start = if is_there(&all, count) { best.place } else { all.place };
            let place = past.places.get(start).map_or(beginning, |place| place.head);
            let head = head_of(store, parent, place)?;
            store.fork(&head, new_session(&header, &id, identity.origin))?
        }
    };
    // Between the look above and the lease another import, or a writer, may have added to it.
    let events = store.session(&id)?.events;
    let again = kept::last(store, &id, events)?.map(|(_, payload)| payload);
    let (payload, end) = (last.as_ref().and_then(|last| last.payload), last.as_ref().and_then(Last::end));
    if again != payload || end.is_some_and(|end| end != events) {
        return Ok(None);
    }
    let goals = [(wanted != count && !is_there(&all, count)).then_some(count), Some(wanted)];
    let mut import = Import::new((store, &id), tree, survey, past, last, base, seen)?;
    import.plan(goals.into_iter().flatten(), children);
    let done = import.run(&session);
    let is_changed = import.is_changed();
    Session::close(session)?;
    match done {
        Err(_) if is_changed => Ok(None),
        done => done.and_then(|()| summary(NAME, store, &id, source, before, None).map(Some)),
    }
}

/// Whether a file is the session's own: of those that others have too no change is news.
pub(super) fn is_own(name: &str) -> bool {
    name != "migration" && !name.starts_with("project/")
}

/// The head from which all of a session's history goes on; one that is not there yet makes it.
fn beginning(store: &Store, session: Option<&SessionId>) -> Result<At, ImportError> {
    const GENESIS: EventNumber = EventNumber(2);
    let Some(mut session) = session.cloned() else { return Ok(At::Event(GENESIS)) };
    while let Some((source, _)) = store.session(&session)?.source {
        session = source;
    }
    Ok(At::Head(head_of(store, &session, At::Event(GENESIS))?))
}

/// The head at a place.
pub(super) fn head_of(store: &Store, session: &SessionId, at: At) -> Result<HeadId, ImportError> {
    match at {
        At::Head(head) => Ok(head),
        At::Event(event) => {
            let head = store.event(session, event)?.head_id;
            Ok(head.ok_or_else(|| kept::damaged(None))?)
        }
    }
}

/// The place from which the fewest messages lead to the one that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) place: usize,
    /// How many messages are there.
    pub(super) count: usize,
    /// Whether something came to the one behind them.
    pub(super) grows: bool,
}

/// The best place for the first `wanted` messages. There is always one: the beginning.
pub(super) fn best(past: &Past, survey: &Survey, wanted: usize) -> Found {
    let mut best = Found { place: 0, count: 0, grows: false };
    for (place, at) in past.places.iter().enumerate() {
        let state = &at.state;
        let Ok(settled) = usize::try_from(state.units) else { continue };
        if settled > wanted || survey.chains.get(settled) != Some(&state.chain.unwrap_or(NONE)) {
            continue;
        }
        let has_more = settled + 1 < survey.units.len();
        let waited = |open: &Open| open.message.is_none();
        let found = match &state.open {
            None => Found { place, count: settled, grows: false },
            Some(open) => match survey.units.get(settled).filter(|_| settled < wanted) {
                Some(unit) if unit.id == open.id && unit.meaning == open.meaning && !(waited(open) && has_more) => {
                    Found { place, count: settled + 1, grows: false }
                }
                // Behind an older one it was made into rows as it was then: they are made anew.
                Some(unit) if place + 1 == past.places.len() && unit.id == open.id && is_grown(survey, unit, open) => {
                    Found { place, count: settled, grows: true }
                }
                _ => continue,
            },
        };
        if (found.count, found.grows) >= (best.count, best.grows) {
            best = found;
        }
    }
    best
}

/// Whether the message was the last one, and all that rows were made of is still there. One that others stood behind does not
/// grow any more: it was changed.
fn is_grown(survey: &Survey, unit: &super::survey::Unit, open: &Open) -> bool {
    if open.is_followed {
        return false;
    }
    let files = survey.files[unit.first..].iter().take(unit.count);
    let names: HashSet<&str> = files.map(|file| stem(&file.name)).collect();
    open.said.iter().map(|(part, _)| part).chain(&open.evals).all(|part| names.contains(part.as_str()))
}

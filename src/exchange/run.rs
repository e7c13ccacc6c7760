//! One source into the store: found again or made, gone on with, or made a fork of what it has in common with.

use std::collections::HashSet;
use std::io::BufReader;

use super::batch::Importer;
use super::family::{Family, relatives};
use super::format::{Format, Header, Rewritten};
use super::kept::{self, Last};
use super::reader::{Item, Reader};
use super::shared::{Agreement, Branch, Shared, agreement, branch_at, flat, from_session, unreadable};
use super::source::Source;
use super::written::MAX_DEPTH;
use super::{Diagnostic, ImportError, Imported, Seen};
use crate::model::{DerivationKind, Digest, HeadId, SessionId, Status};
use crate::store::error::{CommitError, ReadError, SessionOpenError};
use crate::store::{NewSession, Session, Store};
use crate::view::types::SessionInfo;

/// What is told of a source that was longer when it was imported.
const SHORTER: &str = "the source was longer when it was imported: nothing in it is new";

/// How often an import begins anew because another one was faster.
pub(super) const ATTEMPTS: usize = 8;

/// Imports one source.
pub(super) fn import<F: Format>(
    store: &Store,
    source: &Source,
    seen: &mut dyn FnMut(Seen),
) -> Result<Imported, ImportError> {
    let first = first_record(source, F::SYNTAX)?;
    let header = F::header(&first, source);
    let identity = Identity::of(F::NAME, &header, &source.below, &first);
    for _ in 0..ATTEMPTS {
        let place = place::<F>(store, source, &header, &identity)?;
        match attempt(store, source, &header, place, seen) {
            Ok(Some(imported)) => return Ok(imported),
            // Another import made or filled the session meanwhile.
            Ok(None)
            | Err(ImportError::Open(SessionOpenError::Exists { .. }))
            | Err(ImportError::Commit(CommitError::Repeated { .. } | CommitError::Conflict(_))) => {}
            Err(error) => return Err(error),
        }
    }
    let path = source.path.display();
    Err(ImportError::Commit(CommitError::Conflict(format!("another program keeps importing {path}"))))
}

/// The session that a source became; none where it was not imported.
pub(super) fn known_session<F: Format>(store: &Store, source: &Source) -> Result<Option<SessionId>, ImportError> {
    let first = match first_record(source, F::SYNTAX) {
        Err(ImportError::NoRecords { .. }) => return Ok(None),
        first => first?,
    };
    let header = F::header(&first, source);
    let (id, info) = Identity::of(F::NAME, &header, &source.below, &first).find(store)?;
    Ok(info.map(|_| id))
}

/// The first record of a source; refused where there is none.
pub(super) fn first_record(source: &Source, syntax: super::reader::Syntax) -> Result<Vec<u8>, ImportError> {
    // What is no file is told apart from what cannot be read.
    if let [part] = source.parts.as_slice() {
        super::source::open(&part.path)?;
    }
    let mut reader = Reader::of(&source.parts, syntax);
    loop {
        match reader.advance().map_err(|error| source.io(error))? {
            Some(Item::Record) => return Ok(reader.record().to_vec()),
            Some(_) => {}
            None => return Err(ImportError::NoRecords { path: source.path.clone() }),
        }
    }
}

/// What tells a source from others.
pub(super) struct Identity {
    /// The ids its session may have, the best first.
    ids: Vec<SessionId>,
    pub(super) origin: String,
}

impl Identity {
    pub(super) fn of(format: &str, header: &Header, below: &str, first: &[u8]) -> Identity {
        let hash = short(&Digest::of(header.told_by.as_deref().unwrap_or(first)));
        let root = if header.root.parse::<SessionId>().is_ok() { header.root.as_str() } else { "" };
        let below = if below.is_empty() { String::new() } else { format!("/{below}") };
        let hashed = match below.is_empty() {
            true => hash.clone(),
            false => short(&Digest::of(format!("{hash}{below}").as_bytes())),
        };
        let ids = [header.id.clone(), format!("{}-{}", header.id, &hashed[..8]), format!("{format}-{hashed}")];
        Identity {
            ids: ids.iter().filter_map(|id| id.parse().ok()).collect(),
            origin: format!("{format}:{root}{below}:{hash}"),
        }
    }

    /// Of the source whose history leaves that of `session` with `item`, after `same` bytes.
    pub(super) fn leaving(&self, format: &str, session: &SessionId, same: u64, item: &[u8]) -> Identity {
        let hash = short(&Digest::of(&[format!("{session}\n{same}\n").as_bytes(), item].concat()));
        let mut ids = vec![format!("{format}-{hash}")];
        ids.extend(self.ids.first().map(|id| format!("{id}-{}", &hash[..8])));
        Identity {
            ids: ids.iter().rev().filter_map(|id| id.parse().ok()).collect(),
            origin: format!("{}~{same}-{hash}", self.origin),
        }
    }

    pub(super) fn find(&self, store: &Store) -> Result<(SessionId, Option<SessionInfo>), ImportError> {
        let mut free = None;
        for id in &self.ids {
            if store.exists(id.as_str())? {
                let info = store.session(id)?;
                if info.origin.as_deref() == Some(&self.origin) {
                    return Ok((id.clone(), Some(info)));
                }
            } else if free.is_none() && is_free(store, id)? {
                free = Some(id.clone());
            }
        }
        free.map(|id| (id, None)).ok_or_else(|| {
            let message = format!("all ids that {} could have are taken", self.origin);
            ImportError::Commit(CommitError::Conflict(message))
        })
    }
}

/// Whether a session may be made with an id that no session has: it may be an alias or a pin.
fn is_free(store: &Store, id: &SessionId) -> Result<bool, ReadError> {
    let is_pin = match store.read_pin(id) {
        Ok(_) => true,
        Err(ReadError::NotFound { .. }) => false,
        Err(error) => return Err(error),
    };
    Ok(!is_pin && !is_session_name(store, id)? && !id.is_like_a_head())
}

/// Whether a name is the id or an alias of a session.
pub(super) fn is_session_name(store: &Store, name: &SessionId) -> Result<bool, ReadError> {
    match store.resolve_session(name.as_str()) {
        Ok(session) => Ok(session == *name || store.session(&session)?.aliases.contains(name)),
        Err(ReadError::NotFound { .. } | ReadError::Ambiguous { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The digits of a hash that names have.
pub(super) fn short(digest: &Digest) -> String {
    digest.to_string().chars().skip(3).take(16).collect()
}

/// Where a source goes.
struct Place<F> {
    id: SessionId,
    /// What is there; none for a session that is to be made.
    info: Option<SessionInfo>,
    origin: String,
    last: Option<Last<F>>,
    /// The head a new session is a fork of.
    head: Option<HeadId>,
    /// Or a child that is attached to it.
    is_attached: bool,
    shared: Option<Shared>,
    /// The session whose rows it shares, if that may have more of its records.
    kin: Option<SessionId>,
    /// All of the source is there already, whatever follows it there: why nothing is done.
    done: Option<&'static str>,
}

fn place<F: Format>(
    store: &Store,
    source: &Source,
    header: &Header,
    identity: &Identity,
) -> Result<Place<F>, ImportError> {
    let (id, info) = identity.find(store)?;
    let Some(info) = info else { return new_place(store, source, header, identity, id, None) };
    let mut best: Option<(u64, bool, Candidate<F>)> = None;
    let (mut next, mut met) = (vec![info], HashSet::new());
    while let Some(info) = next.pop() {
        if !met.insert(info.session.clone()) {
            continue;
        }
        let Some(candidate) = Candidate::of(store, source, info)? else { continue };
        next.extend(left_at::<F>(store, &candidate.info.session, &identity.origin, candidate.same())?);
        let (value, is_full) = (candidate.same(), matches!(candidate.fit, Fit::Begins { .. }));
        // Of two that have as much in common, the one that the source only goes on from.
        if best.as_ref().is_none_or(|(most, full, _)| (value, is_full) > (*most, *full)) {
            best = Some((value, is_full, candidate));
        }
    }
    let origin = identity.origin.clone();
    let Some((_, _, Candidate { info, last, fit })) = best else {
        // It was made, and its first batch was not written.
        let info = store.session(&id)?;
        return new_place(store, source, header, identity, id, Some(info));
    };
    let id = info.session.clone();
    let here = |last, done| Place {
        id: id.clone(),
        info: Some(info.clone()),
        origin: origin.clone(),
        last,
        head: None,
        is_attached: false,
        shared: None,
        kin: info.source.as_ref().map(|(session, _)| session.clone()),
        done,
    };
    if let Fit::Leaves { lines, .. } = fit
        && F::IS_REWRITTEN
        && last.end() == Some(info.events)
    {
        match rewritten(store, source, &id, &last, lines)? {
            (Rewritten::GoesOn(_), next) => return Ok(here(Some(next), None)),
            (Rewritten::IsPart, _) => return Ok(here(Some(last), Some(SHORTER))),
            (Rewritten::Leaves, _) => {}
        }
    }
    let same = match fit {
        Fit::IsPart => return Ok(here(Some(last), Some(SHORTER))),
        Fit::Begins { .. } if last.end() == Some(info.events) => {
            return Ok(here(Some(last), None));
        }
        // The session went on by itself.
        Fit::Begins { bytes } => bytes,
        Fit::Leaves { same, .. } => same,
    };
    let Some(item) = next_item_at(source, last.progress.bytes.min(same), same, F::SYNTAX)? else {
        return Ok(here(Some(last), Some("")));
    };
    let identity = identity.leaving(F::NAME, &id, same, &item);
    let mut branch = branch_at::<F>(store, source, &id, last.event, same)?;
    branch.last.progress.state.repeats(branch.shared.common);
    let (id, info) = identity.find(store)?;
    Ok(Place {
        id,
        info,
        origin: identity.origin,
        last: Some(branch.last),
        head: Some(branch.head),
        is_attached: false,
        kin: Some(branch.shared.session.clone()),
        shared: Some(branch.shared),
        done: None,
    })
}

/// What a source that was written anew is to what was imported; and that, as far as both have the same lines.
fn rewritten<F: Format>(
    store: &Store,
    source: &Source,
    session: &SessionId,
    last: &Last<F>,
    lines: u64,
) -> Result<(Rewritten, Last<F>), ImportError> {
    let old = flat(store, session, lines, u64::MAX).map_err(|error| unreadable(source, error))?;
    let mut old = Reader::over(BufReader::with_capacity(256 * 1024, old)).with_syntax(F::SYNTAX);
    let mut new = Reader::of(&source.parts, F::SYNTAX);
    new.skip(lines).map_err(|error| source.io(error))?;
    let position = new.position();
    let mut progress = last.progress.clone();
    let found = progress.state.rewritten(&mut old, &mut new).map_err(|error| source.io(error))?;
    if let Rewritten::GoesOn(records) = found {
        progress.records = progress.records.saturating_sub(records);
    }
    (progress.bytes, progress.lines, progress.hash) = (position.bytes, position.lines, Some(position.hash));
    Ok((found, Last { event: last.event, payload: last.payload, progress, is_rewritten: true }))
}

fn new_place<F: Format>(
    store: &Store,
    source: &Source,
    header: &Header,
    identity: &Identity,
    id: SessionId,
    info: Option<SessionInfo>,
) -> Result<Place<F>, ImportError> {
    let branch = match info.as_ref().map(|info| &info.source) {
        // It was made without a parent; so it stays.
        Some(None) => None,
        // Made, but its first batch was not written: at that head and no other.
        Some(Some((session, head))) => {
            let named = F::branch(store, source, header, Some(*head))?.filter(|branch| branch.head == *head);
            named.map_or_else(|| from_session(store, source, session, Some(*head)), |branch| Ok(Some(branch)))?
        }
        None => nearest(store, source, header, &id)?,
    };
    let is_named = branch.as_ref().is_some_and(|branch| header.parents.contains(&branch.shared.session.to_string()));
    let kin = branch.as_ref().filter(|_| !is_named).map(|branch| branch.shared.session.clone());
    let (head, shared, last) = match branch {
        Some(mut branch) => {
            branch.last.progress.state.repeats(branch.shared.common);
            (Some(branch.head), Some(branch.shared), Some(branch.last))
        }
        None => (None, None, None),
    };
    let is_attached = F::CHILDREN_ATTACH && header.kind == Status::CHILD;
    Ok(Place { id, info, origin: identity.origin.clone(), last, head, is_attached, shared, kin, done: None })
}

/// Where the history of a new source leaves that of another: one that it names, or one that begins alike.
fn nearest<F: Format>(
    store: &Store,
    source: &Source,
    header: &Header,
    id: &SessionId,
) -> Result<Option<Branch<F>>, ImportError> {
    let named = F::branch(store, source, header, None)?;
    let from = named.as_ref().map_or(0, |branch| branch.shared.common);
    let (common, other) = relatives::<F>(store, source, header, id, from)?;
    let Some(other) = other else { return Ok(named) };
    let best = match named {
        Some(named) if !other.shared.is_better_than(&named.shared) => named,
        _ => other,
    };
    Ok(Some(best.with_common(common)))
}

/// The sessions of sources that left `session` after `same` bytes: those that left it elsewhere have no more in common
/// with a source that leaves it there than the session has itself. One that left it before its first head was forked further up.
fn left_at<F: Format>(
    store: &Store,
    session: &SessionId,
    origin: &str,
    same: u64,
) -> Result<Vec<SessionInfo>, ImportError> {
    // One that is written anew may have left it elsewhere by now.
    let prefix = if F::IS_REWRITTEN { format!("{origin}~") } else { format!("{origin}~{same}-") };
    let (mut found, mut next) = (Vec::new(), Some(session.clone()));
    for _ in 0..MAX_DEPTH {
        let Some(session) = next.take() else { break };
        for derivation in store.derivations(&session)? {
            if derivation.kind != DerivationKind::Fork || derivation.source_session != session {
                continue;
            }
            let info = store.session(&derivation.target_session)?;
            if info.origin.as_deref().is_some_and(|origin| origin.starts_with(&prefix)) {
                found.push(info);
            }
        }
        next = store.session(&session)?.source.map(|(above, _)| above);
    }
    Ok(found)
}

/// How a source and what is kept of one fit.
enum Fit {
    /// What is kept is the beginning of the source.
    Begins { bytes: u64 },
    /// The source is the beginning of what is kept.
    IsPart,
    /// Both begin with the same bytes, so many of them whole lines.
    Leaves { same: u64, lines: u64 },
}

struct Candidate<F> {
    info: SessionInfo,
    last: Last<F>,
    fit: Fit,
}

impl<F: Format> Candidate<F> {
    fn of(store: &Store, source: &Source, info: SessionInfo) -> Result<Option<Candidate<F>>, ImportError> {
        let Some(last) = Last::<F>::of(store, &info.session, info.events)? else { return Ok(None) };
        let mut reader = Reader::of(&source.parts, F::SYNTAX);
        let bytes = last.progress.bytes;
        reader.skip(bytes).map_err(|error| source.io(error))?;
        let fit = if reader.position().bytes == bytes && Some(reader.position().hash) == last.progress.hash {
            Fit::Begins { bytes }
        } else {
            match agreement(store, &info.session, source)? {
                Agreement { same, .. } if same == bytes => Fit::Begins { bytes },
                Agreement { is_all: true, .. } => Fit::IsPart,
                Agreement { same, lines, .. } => Fit::Leaves { same, lines },
            }
        };
        Ok(Some(Candidate { info, last, fit }))
    }

    /// How many bytes both begin with; more than any where the source is all there.
    fn same(&self) -> u64 {
        match self.fit {
            Fit::Begins { bytes } => bytes,
            Fit::IsPart => u64::MAX,
            Fit::Leaves { same, .. } => same,
        }
    }
}

/// The first item that becomes something and does not end before `at`; the reading begins at `from`, between two items.
fn next_item_at(
    source: &Source,
    from: u64,
    at: u64,
    syntax: super::reader::Syntax,
) -> Result<Option<Vec<u8>>, ImportError> {
    let io = |error| source.io(error);
    let mut reader = Reader::of(&source.parts, syntax);
    reader.skip(from).map_err(io)?;
    while let Some(item) = reader.advance().map_err(io)? {
        let is_something = !matches!(item, Item::Blank | Item::Part | Item::Torn);
        if is_something && (item == Item::Long || reader.offset() + reader.bytes().len() as u64 > at) {
            return Ok(Some(reader.bytes().to_vec()));
        }
    }
    Ok(None)
}

/// One try; `None` where another import was faster.
fn attempt<F: Format>(
    store: &Store,
    source: &Source,
    header: &Header,
    place: Place<F>,
    seen: &mut dyn FnMut(Seen),
) -> Result<Option<Imported>, ImportError> {
    let Place { id, info, origin, last, head, is_attached, shared, kin, done } = place;
    let before = info.as_ref().map_or(0, |info| info.events);
    let (payload, end) = (last.as_ref().and_then(|last| last.payload), last.as_ref().and_then(Last::end));
    let known =
        last.as_ref().map_or(0, |last| last.progress.bytes).max(shared.as_ref().map_or(0, |shared| shared.common));
    let is_new = last.as_ref().is_none_or(|last| last.event.is_none());
    let mut importer = Importer::<F>::new(store, source, last, shared, seen)?;
    if done.is_none() && importer.has_news(info.as_ref().map(|info| &info.session))? {
        importer.family(Family::of::<F>(store, source, header, (&id, is_new), known, kin.as_ref())?);
        let session = match (&info, head) {
            (Some(_), _) => store.open_session(&id)?,
            (None, None) => store.create_session(new_session(header, &id, origin))?,
            (None, Some(head)) if is_attached => store.attach(&head, new_session(header, &id, origin))?,
            (None, Some(head)) => store.fork(&head, new_session(header, &id, origin))?,
        };
        // Between the look above and the lease another import, or a writer, may have added to it.
        let now = store.session(&id)?;
        let again = kept::last(store, &id, now.events)?.map(|(_, payload)| payload);
        if again != payload || end.is_some_and(|end| end != now.events) {
            return Ok(None);
        }
        importer.run(&session)?;
        Session::close(session)?;
    }
    let shorter = done.filter(|why| !why.is_empty()).map(|why| Diagnostic::new(0, "shorter", why));
    summary(F::NAME, store, &id, source, before, importer.torn().or(shorter)).map(Some)
}

pub(super) fn new_session(header: &Header, id: &SessionId, origin: String) -> NewSession {
    let mut new = NewSession::named(id.clone());
    new.origin = Some(origin);
    new.at = header.at;
    new.kind = header.kind.clone();
    new.title = header.title.clone();
    new
}

/// What the session holds now.
pub(super) fn summary(
    format: &'static str,
    store: &Store,
    id: &SessionId,
    source: &Source,
    before: u64,
    torn: Option<Diagnostic>,
) -> Result<Imported, ImportError> {
    let info = store.session(id)?;
    let counters = store.high_water_counters(id)?;
    let mut diagnostics = match kept::last(store, id, info.events)? {
        Some((event, _)) => kept::diagnostics(store, id, event)?,
        None => Vec::new(),
    };
    diagnostics.extend(torn);
    let alias = Some(info.aliases.first().unwrap_or(&info.session).clone());
    Ok(Imported {
        session: info.session,
        alias,
        source: source.path.clone(),
        format,
        forked_from: info.source.map(|(session, _)| session),
        events: info.events,
        messages: counters.message,
        turns: counters.turn,
        calls: counters.call,
        evals: counters.eval,
        heads: counters.head,
        invocations: counters.invocation,
        new_events: info.events.saturating_sub(before),
        diagnostics,
    })
}

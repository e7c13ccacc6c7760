//! Sources that begin as another one in the store does: the new session is a fork of that one, at the last head that lies
//! within what both have, and only the rest is imported as rows.

use std::io::{self, BufReader, Read, Seek};

use super::export::Output;
use super::format::{Format, Header};
use super::kept::{self, Kept, Last, Mark, Progress, backwards};
use super::reader::{Item, Reader, Syntax};
use super::source::{Source, SourceBytes};
use super::written::{self, MAX_DEPTH};
use super::{ExportError, ImportError};
use crate::model::{Digest, EventNumber, HeadId, SessionId};
use crate::store::Store;
use crate::store::error::ReadError;

/// What a source has in common with the kept source of another session.
pub(super) struct Shared {
    /// That session.
    pub(super) session: SessionId,
    /// How many kept sources lie behind.
    pub(super) depth: u32,
    /// How many bytes of the source are records that both begin with, those behind the last common head included.
    pub(super) common: u64,
    runs: Vec<Run>,
    at: usize,
}

/// A run of bytes of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: u64,
    to: u64,
    /// Where the parent has the same bytes; none where it has only the same records.
    pub(super) parent: Option<u64>,
}

/// A place in the history of a session at which another can begin.
pub struct Branch<F> {
    pub(super) head: HeadId,
    pub(super) shared: Shared,
    /// What is known there, as before the first batch of the new session.
    pub(super) last: Last<F>,
}

/// A branch, and how many bytes of the source lie before it.
type Agreed<F> = (u64, Branch<F>);

impl<F> Branch<F> {
    pub(super) fn with_common(mut self, common: u64) -> Branch<F> {
        self.shared.common = common;
        self
    }
}

impl Shared {
    /// How many bytes the source begins with that are not imported as rows.
    pub(super) fn until(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.to)
    }

    /// Whether more rows are shared, or as many and more is in common.
    pub(super) fn is_better_than(&self, other: &Shared) -> bool {
        (self.until(), self.common) > (other.until(), other.common)
    }

    /// The run that byte `at` lies in; asked in order.
    pub(super) fn run_at(&mut self, at: u64) -> Option<Run> {
        while self.runs.get(self.at).is_some_and(|run| run.to <= at) {
            self.at += 1;
        }
        self.runs.get(self.at).copied().filter(|run| run.from <= at)
    }
}

fn push(runs: &mut Vec<Run>, next: Run) {
    if let Some(run) = runs.last_mut()
        && run.to == next.from
        && run.parent.map(|parent| parent + (run.to - run.from)) == next.parent
    {
        run.to = next.to;
        return;
    }
    runs.push(next);
}

/// How far a source and a kept source agree.
pub(super) struct Agreement {
    /// The bytes both begin with.
    pub(super) same: u64,
    /// Those of them that are whole lines.
    pub(super) lines: u64,
    /// Whether these are the whole source.
    pub(super) is_all: bool,
}

pub(super) fn agreement(store: &Store, session: &SessionId, source: &Source) -> Result<Agreement, ImportError> {
    let input = BufReader::with_capacity(256 * 1024, source.bytes());
    let mut compare = Compare { input, same: 0, lines: 0, ended: None, buffer: Vec::new() };
    match written::copy(store, session, 0, u64::MAX, &mut compare) {
        Ok(()) => {}
        Err(ExportError::Output(error)) if compare.ended.is_none() => return Err(source.io(error)),
        Err(ExportError::Output(_)) => {}
        Err(ExportError::Read(error)) => return Err(error.into()),
        Err(other) => return Err(source.io(io::Error::other(other))),
    }
    Ok(Agreement { same: compare.same, lines: compare.lines, is_all: compare.ended == Some(true) })
}

struct Compare<'s> {
    input: BufReader<SourceBytes<'s>>,
    same: u64,
    lines: u64,
    /// Whether the source ended first, once they differ.
    ended: Option<bool>,
    buffer: Vec<u8>,
}

impl Output for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.buffer.clear();
        let wanted = bytes.len() as u64;
        (&mut self.input).take(wanted).read_to_end(&mut self.buffer).map_err(ExportError::Output)?;
        let same = self.buffer.iter().zip(bytes).take_while(|(one, other)| one == other).count();
        if let Some(end) = bytes[..same].iter().rposition(|byte| *byte == b'\n') {
            self.lines = self.same + end as u64 + 1;
        }
        self.same += same as u64;
        if same == bytes.len() {
            return Ok(());
        }
        self.ended = Some(same == self.buffer.len());
        Err(ExportError::Output(io::Error::other("they differ")))
    }

    fn part(&mut self, _: &str, mark: &[u8]) -> Result<(), ExportError> {
        self.write(mark)
    }
}

/// The last head of `session` that lies within the first `same` bytes of its source; if none does, the last of what it was forked from
/// that lies within the records `source` begins with too.
pub(super) fn branch_at<F: Format>(
    store: &Store,
    source: &Source,
    session: &SessionId,
    event: Option<EventNumber>,
    same: u64,
) -> Result<Branch<F>, ImportError> {
    let mut stays = u64::MAX;
    for kept in backwards(store, session, event) {
        let kept = kept?;
        let depth = kept.progress.depth + 1;
        if let Some(mark) = kept.marks(&mut stays).into_iter().rev().find(|mark| mark.bytes <= same) {
            let parent = (depth <= MAX_DEPTH && !F::IS_REWRITTEN).then_some(0);
            let run = Run { from: 0, to: mark.bytes, parent };
            let runs = if mark.bytes > 0 { vec![run] } else { Vec::new() };
            return Ok(branch(store, session, mark, runs, depth)?.with_common(same));
        }
    }
    // Its own genesis has all that it shares: what the source has of that lies in the sessions further up.
    let above = match store.session(session)?.source {
        Some((above, _)) => from_session::<F>(store, source, &above, None)?,
        None => None,
    };
    Ok(above.map_or_else(|| at_genesis(store, session), Ok)?.with_common(same))
}

/// The last head of `session`, which has so many events, whose state is `wanted`; with `made` that head alone. Nothing of the source is shared, only
/// rows.
pub(super) fn branch_where<F: Format>(
    store: &Store,
    session: &SessionId,
    events: u64,
    wanted: impl Fn(&F) -> bool,
    made: Option<HeadId>,
) -> Result<Option<Branch<F>>, ImportError> {
    let event = kept::last(store, session, events)?.map(|(event, _)| event);
    let mut stays = u64::MAX;
    for kept in backwards(store, session, event) {
        for mark in kept?.marks(&mut stays).into_iter().rev() {
            let state = serde_json::from_str::<F>(mark.state.get());
            if !state.is_ok_and(|state| wanted(&state)) {
                continue;
            }
            let found = branch(store, session, mark, Vec::new(), 0)?;
            if made.is_none_or(|made| made == found.head) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The beginning of a session, of whose history nothing is shared: of a fork that of what it was forked from.
fn at_genesis<F: Format>(store: &Store, session: &SessionId) -> Result<Branch<F>, ImportError> {
    let mut session = session.clone();
    while let Some((above, _)) = store.session(&session)?.source {
        session = above;
    }
    let (head, state) = (EventNumber(2), serde_json::value::to_raw_value(&F::default()));
    let state = state.map_err(|error| kept::damaged(Some(error.into())))?;
    branch(store, &session, Mark { head, records: 0, bytes: 0, lines: 0, at: None, state }, Vec::new(), 0)
}

fn branch<F: Format>(
    store: &Store,
    session: &SessionId,
    mark: Mark,
    runs: Vec<Run>,
    depth: u32,
) -> Result<Branch<F>, ImportError> {
    let head = store.event(session, mark.head)?.head_id.ok_or_else(|| kept::damaged(None))?;
    let state = serde_json::from_str(mark.state.get()).map_err(|error| kept::damaged(Some(error.into())))?;
    let depth = if depth > MAX_DEPTH { 0 } else { depth };
    let progress = Progress { at: mark.at, depth, state, ..Progress::new() };
    let shared = Shared { session: session.clone(), depth, common: 0, runs, at: 0 };
    Ok(Branch { head, shared, last: Last { event: None, payload: None, progress, is_rewritten: false } })
}

/// Where the history of `source` leaves that of the sources its header names as parents, the first that is in the store
/// and what that one was forked from itself.
///
/// With `made`, that head and no other: the session was made there, and its first batch was not written.
pub(super) fn from_parent<F: Format>(
    store: &Store,
    source: &Source,
    header: &Header,
    made: Option<HeadId>,
) -> Result<Option<Branch<F>>, ImportError> {
    for id in &header.parents {
        let Ok(id) = id.parse::<SessionId>() else { continue };
        if !store.exists(id.as_str())? {
            continue;
        }
        if let Some(branch) = from_session(store, source, &id, made)? {
            return Ok(Some(branch));
        }
    }
    Ok(None)
}

/// The same of one session, which is there; none where it was imported from no source of that format.
pub(super) fn from_session<F: Format>(
    store: &Store,
    source: &Source,
    id: &SessionId,
    made: Option<HeadId>,
) -> Result<Option<Branch<F>>, ImportError> {
    let prefix = format!("{}:", F::NAME);
    let (mut best, mut most_common): (Option<Agreed<F>>, u64) = (None, 0);
    let (mut next, mut is_known) = (Some(id.clone()), false);
    for _ in 0..MAX_DEPTH {
        let Some(session) = next.take() else { break };
        let info = store.session(&session)?;
        if !info.origin.as_deref().is_some_and(|origin| origin.starts_with(&prefix)) {
            break;
        }
        is_known = true;
        let (found, common) = against::<F>(store, &session, info.events, source, made)?;
        most_common = most_common.max(common);
        if let Some((bytes, branch)) = found
            && best.as_ref().is_none_or(|(most, _)| bytes > *most)
        {
            best = Some((bytes, branch));
        }
        next = info.source.map(|(session, _)| session);
    }
    let branch = match best {
        Some((_, branch)) => branch,
        None if is_known => at_genesis::<F>(store, id)?,
        None => return Ok(None),
    };
    Ok(Some(branch.with_common(most_common)))
}

/// The last head of `session` that lies within the records that `source` begins with too, and how many bytes of it; and
/// how many bytes those records are.
fn against<F: Format>(
    store: &Store,
    session: &SessionId,
    events: u64,
    source: &Source,
    made: Option<HeadId>,
) -> Result<(Option<Agreed<F>>, u64), ImportError> {
    let Some((event, _)) = kept::last(store, session, events)? else { return Ok((None, 0)) };
    let batches: Vec<Kept> = backwards(store, session, Some(event)).collect::<Result<_, ReadError>>()?;
    let depth = batches.first().map_or(0, |kept| kept.progress.depth) + 1;
    let mut stays = u64::MAX;
    let marks: Vec<Vec<Mark>> = batches.iter().map(|kept| kept.marks(&mut stays)).collect();
    let mut marks: Vec<Mark> = marks.into_iter().rev().flatten().collect();
    if let Some(made) = made {
        let event = store.head(&made)?;
        marks.retain(|mark| event.session == *session && mark.head == event.event);
    }
    let file = flat(store, session, 0, u64::MAX).map_err(|error| unreadable(source, error))?;
    let io = |error| source.io(error);
    let mut parent = Reader::over(BufReader::with_capacity(256 * 1024, file)).with_syntax(F::SYNTAX);
    let mut child = Reader::of(&source.parts, F::SYNTAX);
    let (mut runs, mut found, mut records, mut common, mut until) = (Vec::new(), None, 0, None, 0);
    // A head lies behind so many of the parent's records, and what both have ends there.
    let mut note = |records: u64, runs: &[Run], to: Option<u64>| {
        let at = marks.partition_point(|mark| mark.records < records);
        let mark = marks[at..].iter().take_while(|mark| mark.records == records).last();
        if let Some((mark, to)) = mark.zip(to) {
            found = Some((mark.clone(), runs.to_vec(), to));
        }
    };
    // The parent's item that the next record is compared with too.
    let mut held = None;
    'records: loop {
        let mut wanted = None;
        while wanted.is_none() {
            let Some(item) = child.advance().map_err(io)? else { break };
            wanted = key::<F>(&item, &child);
            if wanted.is_none() && !matches!(item, Item::Record | Item::Blank | Item::Part) {
                break;
            }
        }
        let is_aside = wanted.is_some() && F::is_aside(child.record());
        loop {
            let item = match held.take() {
                Some(item) => item,
                None => {
                    let Some(item) = parent.advance().map_err(io)? else { break 'records };
                    records += u64::from(item == Item::Record);
                    item
                }
            };
            let theirs = key::<F>(&item, &parent);
            let is_own = theirs.is_none() && matches!(item, Item::Record | Item::Blank | Item::Part);
            if is_aside && !is_own && theirs != wanted {
                held = Some(item);
                continue 'records;
            }
            if !is_own && (wanted.is_none() || (theirs != wanted && (theirs.is_none() || !F::IS_TREE))) {
                break 'records;
            }
            if theirs.is_some() && theirs == wanted {
                break;
            }
            if is_own && item == Item::Record {
                // What tells of the parent alone may lie between the last common record and its head.
                note(records, &runs, common);
            } else if !is_own {
                common = None;
            }
        }
        let from = child.offset();
        let to = from + child.bytes().len() as u64;
        // What another source keeps is only referred to where it stays.
        let same = child.bytes() == parent.bytes() && depth <= MAX_DEPTH && !F::IS_REWRITTEN;
        push(&mut runs, Run { from, to, parent: same.then(|| parent.offset()) });
        (common, until) = (Some(to), to);
        note(records, &runs, common);
    }
    let Some((mark, runs, bytes)) = found else { return Ok((None, until)) };
    Ok((Some((bytes, branch(store, session, mark, runs, depth)?)), until))
}

/// What tells that two items are the same; none for one that tells of its source, and for what is no part of a history.
fn key<F: Format>(item: &Item, reader: &Reader<'_>) -> Option<Digest> {
    match item {
        Item::Record => F::key(reader.record()),
        Item::Bad(_) => Some(Digest::of(reader.record())),
        _ => None,
    }
}

/// The bytes that the kept source of a session has from `from` to `to`, as a file.
pub(super) fn flat(store: &Store, session: &SessionId, from: u64, to: u64) -> Result<std::fs::File, ExportError> {
    // It is the temporary folder that refuses, neither the source nor the output.
    let refused = |source| ExportError::Io { path: std::env::temp_dir(), source };
    let mut file = tempfile::tempfile().map_err(refused)?;
    let mut out = Flat(io::BufWriter::new(&mut file));
    written::copy(store, session, from, to, &mut out).map_err(|error| match error {
        ExportError::Output(source) => refused(source),
        error => error,
    })?;
    io::Write::flush(&mut out.0).map_err(refused)?;
    drop(out);
    file.rewind().map_err(refused)?;
    Ok(file)
}

/// Shows the records in the first bytes of the kept source of a session.
pub(super) fn records(
    store: &Store,
    session: &SessionId,
    bytes: u64,
    syntax: Syntax,
    each: &mut dyn FnMut(&[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut file = flat(store, session, 0, bytes)?;
    let mut reader = Reader::over(io::BufReader::new(&mut file)).with_syntax(syntax);
    while let Some(item) = reader.advance().map_err(ExportError::Output)? {
        if item == Item::Record {
            each(reader.record())?;
        }
    }
    Ok(())
}

struct Flat<W>(W);

impl<W: io::Write> Output for Flat<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.0.write_all(bytes).map_err(ExportError::Output)
    }

    fn part(&mut self, _: &str, mark: &[u8]) -> Result<(), ExportError> {
        self.write(mark)
    }
}

pub(super) fn unreadable(source: &Source, error: ExportError) -> ImportError {
    match error {
        ExportError::Read(error) => error.into(),
        ExportError::Output(error) => source.io(error),
        ExportError::Io { path, source } => ImportError::Temporary { path, source },
        other => source.io(io::Error::other(other)),
    }
}

//! Sessions as files of a storage folder: of one that was imported the newest version of each, and what it holds beyond as OpenCode
//! would have written it; the same of the sessions that it opened.

use std::collections::{BTreeMap, BTreeSet};

use super::NAME;
use super::past::{REMOVED, Version, versions};
use super::record::{Message, Session};
use super::telling::{Before, Writer};
use super::walk::stem;
use crate::exchange::export::{Output, Task};
use crate::exchange::kept;
use crate::exchange::told::{Plan, Start, tell};
use crate::exchange::{ExportError, written};
use crate::model::SessionId;

/// A file that is looked into is not larger.
const MAX_LOOKED_INTO: usize = 16 << 20;

/// Writes a session's files, and those of its children.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let mut names = BTreeSet::new();
    let mut next: Vec<(SessionId, Option<String>)> = vec![(task.session.clone(), None)];
    while let Some((session, parent)) = next.pop() {
        let (store, task) = (task.store, task.of(&session)?);
        let is_kept = match &task.kept {
            Some(kept) => kept.last_event.0 == store.session(&session)?.events,
            None => false,
        };
        let mut taken = BTreeSet::new();
        for row in store.invocations_from(&session)?.into_iter().map(|entry| entry.row) {
            let Some(child) = row.callee else { continue };
            // A source names sessions of its own folder.
            if (!is_kept || own_id(&task, &child)?.is_some()) && task.takes(&child)? {
                taken.insert(child);
            }
        }
        let id = id_of(&task, &session)?;
        match is_kept {
            true => files(&task, &mut names, out)?,
            false => beyond(&task, (&id, parent), &taken, &mut names, out)?,
        }
        next.extend(taken.into_iter().map(|child| (child, Some(id.clone()))));
    }
    Ok(())
}

/// What a session is named by in its files: what it was, or an id that OpenCode takes for one.
pub(super) fn id_of(task: &Task<'_>, session: &SessionId) -> Result<String, ExportError> {
    Ok(match own_id(task, session)? {
        Some(own) => own,
        None if session.as_str().starts_with("ses_") => session.to_string(),
        None => format!("ses_{session}"),
    })
}

/// The id of a session that was imported, in its source.
fn own_id(task: &Task<'_>, session: &SessionId) -> Result<Option<String>, ExportError> {
    let origin = match task.store.exists(session.as_str())? {
        true => task.store.session(session)?.origin,
        false => None,
    };
    let own = origin.as_deref().and_then(|origin| origin.strip_prefix(NAME)?.strip_prefix(':')?.split(':').next());
    Ok(own.map(str::to_owned))
}

/// Writes a session that is no import, or went on since it was one: behind its kept source, if all of that is visible, else as a whole.
fn beyond(
    task: &Task<'_>,
    (id, parent): (&str, Option<String>),
    taken: &BTreeSet<SessionId>,
    names: &mut BTreeSet<String>,
    out: &mut dyn Output,
) -> Result<(), ExportError> {
    let mut plan = Plan::visible(task, NAME)?;
    let end = match (&task.kept, kept::last(task.store, task.session, task.store.session(task.session)?.events)?) {
        (Some(_), Some((event, _))) => Some(kept::Kept::read(task.store, task.session, event)?.end().head),
        _ => None,
    };
    let goes_on = match &plan.start {
        Start::Shared(session, mark) => session == task.session && Some(mark.head) == end,
        _ => false,
    };
    let mut before = Before::default();
    if goes_on {
        let mut seen = Seen { before: Before::default(), reverted: false, name: String::new(), bytes: None };
        files(task, &mut BTreeSet::new(), &mut seen)?;
        seen.end();
        before = seen.before;
        if seen.reverted {
            // What was taken back would come back with what follows.
            before = Before::default();
            plan = Plan::anew(task)?;
        } else {
            files(task, names, out)?;
        }
    } else {
        plan = Plan::anew(task)?;
    }
    let is_new = before.is_new();
    let mut writer = Writer::new(task, id, before, out);
    if is_new {
        writer.session(parent.as_deref())?;
    }
    tell(task, &plan.spans, &mut |told| writer.told(told))?;
    writer.finish(taken)
}

/// Writes the newest version of each file, but for those whose names were `written`: sessions have some in common.
fn files(task: &Task<'_>, written: &mut BTreeSet<String>, out: &mut dyn Output) -> Result<(), ExportError> {
    let mut newest = versions(task.store, task.session)?;
    newest.retain(|name, _| written.insert(name.clone()));
    let mut newest = Newest { files: newest, at: 0, is_open: false, out };
    written::copy(task.store, task.session, 0, u64::MAX, &mut newest)
}

struct Newest<'o> {
    files: BTreeMap<String, Version>,
    at: u64,
    is_open: bool,
    out: &'o mut dyn Output,
}

impl Output for Newest<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.at += bytes.len() as u64;
        if self.is_open { self.out.write(bytes) } else { Ok(()) }
    }

    fn part(&mut self, name: &str, mark: &[u8]) -> Result<(), ExportError> {
        self.is_open = !name.starts_with(REMOVED) && self.files.get(name).is_some_and(|file| file.at == self.at);
        self.at += mark.len() as u64;
        if self.is_open { self.out.part(name, mark) } else { Ok(()) }
    }
}

/// Looks at the files of a session, for what follows them.
struct Seen {
    before: Before,
    reverted: bool,
    name: String,
    /// Of a session's or message's file.
    bytes: Option<Vec<u8>>,
}

impl Seen {
    fn end(&mut self) {
        let Some(bytes) = self.bytes.take() else { return };
        if self.name.starts_with("session/") {
            self.reverted |= Session::read(&bytes).is_ok_and(|session| session.reverted_to().is_some());
        } else if let Ok(message) = Message::read(&bytes) {
            let id = message.id().unwrap_or_else(|| stem(&self.name).to_owned());
            self.before.message(id, &message);
        }
    }
}

impl Output for Seen {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        if let Some(own) = &mut self.bytes {
            own.extend(bytes);
        }
        self.bytes.take_if(|own| own.len() > MAX_LOOKED_INTO);
        Ok(())
    }

    fn part(&mut self, name: &str, _: &[u8]) -> Result<(), ExportError> {
        self.end();
        self.before.file(name);
        self.bytes = (name.starts_with("session/") || name.starts_with("message/")).then(Vec::new);
        name.clone_into(&mut self.name);
        Ok(())
    }
}

//! A session's files, written again: of each the newest version, and the same of the sessions that it opened.

use std::collections::BTreeSet;

use super::NAME;
use super::past::{REMOVED, Version, versions};
use crate::exchange::export::{Output, Task};
use crate::exchange::{ExportError, written};
use crate::model::SessionId;

/// Writes a session's files, and those of its children in the same folder.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let (store, session) = (task.store, task.session);
    let events = store.session(session)?.events;
    match &task.kept {
        Some(kept) if kept.last_event.0 == events => {}
        _ => {
            return Err(ExportError::NotExportable {
                session: session.clone(),
                format: NAME,
                why: "only what was imported can be written in this format, and the session holds more".to_owned(),
            });
        }
    }
    let mut names = BTreeSet::new();
    let mut next = vec![session.clone()];
    while let Some(session) = next.pop() {
        files(task, &session, &mut names, out)?;
        for row in store.invocations_from(&session)?.into_iter().map(|entry| entry.row) {
            let Some(child) = row.callee else { continue };
            if is_ours(task, &child)? && task.takes(&child)? {
                next.push(child);
            }
        }
    }
    Ok(())
}

fn is_ours(task: &Task<'_>, session: &SessionId) -> Result<bool, ExportError> {
    if !task.store.exists(session.as_str())? {
        return Ok(false);
    }
    let origin = task.store.session(session)?.origin;
    Ok(origin.is_some_and(|origin| origin.strip_prefix(NAME).is_some_and(|rest| rest.starts_with(':'))))
}

/// Writes the newest version of each file, but for those whose names were `written`: sessions have some in common.
fn files(
    task: &Task<'_>,
    session: &SessionId,
    written: &mut BTreeSet<String>,
    out: &mut dyn Output,
) -> Result<(), ExportError> {
    let mut newest = versions(task.store, session)?;
    newest.retain(|name, _| written.insert(name.clone()));
    let mut newest = Newest { files: newest, at: 0, is_open: false, out };
    written::copy(task.store, session, 0, u64::MAX, &mut newest)
}

struct Newest<'o> {
    files: std::collections::BTreeMap<String, Version>,
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

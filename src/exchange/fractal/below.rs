//! The children of a session that is written as a run: which calls opened them, and the folders that they go to.

use std::collections::{HashMap, HashSet};

use super::folder::{CHILDREN, JOURNAL};
use super::row::opens_child;
use super::write::Run;
use crate::exchange::ExportError;
use crate::model::{Call, CallNumber, Digest, Invocation, Label, SessionId};
use crate::store::Store;

/// A child of a call.
#[derive(Clone)]
pub struct Named {
    /// Its folder, from that of the run.
    pub dir: String,
    pub label: Option<Digest>,
    pub input: Option<Digest>,
}

/// The children of a run.
#[derive(Default)]
pub struct Below {
    /// What the session's invocations say of the calls that they are of: the child, and its folder.
    called: HashMap<CallNumber, (SessionId, Named)>,
    /// Calls in the journal that name a folder.
    calls: HashMap<CallNumber, Named>,
    /// The children to be written, in the order of the calls, and their folders.
    folders: Vec<(SessionId, String)>,
    /// The same by child, and the folders alone.
    dirs: HashMap<SessionId, String>,
    taken: HashSet<String>,
    /// Invocations of no call that is a child's own.
    without: u64,
}

impl Below {
    /// What is known before the journal is written.
    pub fn of(store: &Store, session: &SessionId) -> Result<Below, ExportError> {
        let mut below = Below::default();
        for row in store.invocations_from(session)?.into_iter().map(|entry| entry.row) {
            let (Some(call), Some(callee)) = (row.call, row.callee) else { continue };
            let name = row.child.map_or(Label::Invocation(row.invocation.0), Label::Child);
            let named = Named { dir: format!("{CHILDREN}/{name}"), label: row.label, input: row.input };
            below.called.entry(call).or_insert((callee, named));
        }
        Ok(below)
    }

    /// The folder of a call's child.
    pub fn of_call(&self, call: CallNumber) -> Option<&Named> {
        self.calls.get(&call)
    }
}

impl Run<'_> {
    /// Finds a folder for the child that a call opens.
    pub fn call_begins(&mut self, row: &Call) -> Result<(), ExportError> {
        if !opens_child(&row.call_type) {
            return Ok(());
        }
        let own = self.below.called.get(&row.call);
        let child = own.map(|(child, _)| child).or(row.child.as_ref());
        let Some(child) = child.cloned() else { return Ok(()) };
        let call = Label::Call(row.call.0);
        let mut named = own.map(|(_, named)| named.clone()).unwrap_or_else(|| Named {
            dir: format!("{CHILDREN}/{call}"),
            label: None,
            input: None,
        });
        let known = self.below.dirs.get(&child).cloned();
        match known {
            // It was called before.
            Some(dir) => named.dir = dir,
            None if self.task.takes(&child)? => {
                if !self.below.taken.insert(named.dir.clone()) {
                    named.dir = format!("{CHILDREN}/{call}");
                }
                self.below.dirs.insert(child.clone(), named.dir.clone());
                self.below.folders.push((child, named.dir.clone()));
            }
            None => {
                let why = "it is not in the store, in this export already, or too deep";
                self.task.notice("child", format!("the session {child} that {call} of {} opened: {why}", self.session));
                return Ok(());
            }
        }
        self.below.calls.insert(row.call, named);
        Ok(())
    }

    /// Counts those that no call tells.
    pub fn invocation_begins(&mut self, row: &Invocation) {
        let is_told = row.call.is_some_and(|call| self.below.calls.contains_key(&call));
        self.below.without += u64::from(!is_told);
    }

    /// Writes the children.
    pub fn children(&mut self) -> Result<(), ExportError> {
        if self.below.without > 0 {
            let message = format!("{} invocations of {} whose child is not written", self.below.without, self.session);
            self.task.notice("invocations", message);
        }
        for (child, dir) in std::mem::take(&mut self.below.folders) {
            self.task.write_child(&child, &dir, JOURNAL, self.out)?;
        }
        Ok(())
    }
}

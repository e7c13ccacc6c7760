//! What an import knows of the records before: found again in the source when it goes on, so that no state grows with it.

use std::collections::{HashMap, HashSet};

use super::ahead::{Ahead, Answer};
use super::record::{Message, Record, Shape, short};
use super::side::{self, Side};
use crate::exchange::ImportError;
use crate::exchange::json::text;
use crate::exchange::source::Source;
use crate::model::HeadId;

/// See the module.
#[derive(Default)]
pub struct Aside {
    /// The input that each record follows, by its short id: a dozen bytes a record.
    after: HashMap<u64, u64>,
    /// The answers there were.
    answers: HashSet<u64>,
    /// The head that the turn of an input ended with.
    pub ends: HashMap<u64, HeadId>,
    /// Whether what an earlier import read was found again.
    pub is_found: bool,
    /// Whether a record named one before it as its parent.
    is_tree: bool,
    inputs: u64,
    ahead: Option<Ahead>,
    root: Option<String>,
    sides: Option<Vec<Side>>,
}

/// Where a record stands in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// Behind this input; 0 is before the first.
    After(u64),
    /// It has none, in a source whose records have some.
    Root,
    /// It has none, or one that is not there: it follows the record before.
    Unknown { is_missing: bool },
}

impl Aside {
    /// Whether a record with that id was there.
    pub fn has(&self, record: &Record<'_>) -> bool {
        text(record.uuid).is_some_and(|uuid| self.after.contains_key(&short(&uuid)))
    }

    pub fn is_empty(&self) -> bool {
        self.after.is_empty()
    }

    /// The record's parent.
    pub fn parent(&mut self, record: &Record<'_>) -> Parent {
        let Some(parent) = text(record.parent_uuid) else {
            let has_id = record.uuid.is_some();
            return if self.is_tree && has_id { Parent::Root } else { Parent::Unknown { is_missing: false } };
        };
        match self.after.get(&short(&parent)) {
            Some(input) => {
                self.is_tree = true;
                Parent::After(*input)
            }
            None => Parent::Unknown { is_missing: true },
        }
    }

    /// Notes a record: an input, which is the last of so many, or one that stands behind its parent, whatever came meanwhile.
    pub fn add(&mut self, record: &Record<'_>, parent: Parent, is_input: bool, inputs: u64) {
        self.inputs = inputs;
        let Some(uuid) = text(record.uuid) else { return };
        let after = match parent {
            Parent::After(input) if !is_input => input,
            _ => inputs,
        };
        self.after.entry(short(&uuid)).or_insert(after);
    }

    /// Notes an answer; says whether it was there.
    pub fn answered(&mut self, id: &str) -> bool {
        !self.answers.insert(short(id))
    }

    /// Notes a record that was imported before; says whether it is an input.
    pub fn pass(&mut self, record: &Record<'_>, shape: Shape, message: &Message<'_>, is_side: bool) -> bool {
        if self.has(record) || (record.is_sidechain() != is_side) {
            return false;
        }
        let parent = self.parent(record);
        let is_input = shape == Shape::Input;
        self.add(record, parent, is_input, self.inputs + u64::from(is_input));
        if shape == Shape::Answer
            && let Some(id) = message.id()
        {
            self.answers.insert(short(&id));
        }
        is_input
    }

    /// The answer that begins at `offset`.
    pub fn answer(&mut self, source: &Source, offset: u64) -> Result<Option<Answer>, ImportError> {
        if self.ahead.is_none() {
            self.ahead = Some(Ahead::new(source, offset)?);
        }
        let Aside { ahead, after, .. } = self;
        ahead.as_mut().map_or(Ok(None), |ahead| ahead.take(source, offset, &|uuid| after.contains_key(&uuid)))
    }

    fn root(&mut self, source: &Source) -> &str {
        self.root
            .get_or_insert_with(|| source.parts.first().map(|part| side::about(&part.path).root).unwrap_or_default())
    }

    /// The session of an agent.
    pub fn agent(&mut self, source: &Source, agent: &str) -> String {
        side::session(self.root(source), &format!("agent-{agent}"))
    }

    /// The session of the sidechain in the same file that begins with that prompt, each once.
    pub fn sidechain(&mut self, source: &Source, prompt: &str) -> Result<Option<String>, ImportError> {
        if self.sides.is_none() {
            self.sides = Some(match source.parts.first() {
                Some(part) => side::sides(&part.path).map_err(|error| source.io(error))?.0,
                None => Vec::new(),
            });
        }
        let Some(sides) = self.sides.as_mut() else { return Ok(None) };
        let Some(at) = sides.iter().position(|side| side.prompt == Some(short(prompt))) else { return Ok(None) };
        let side = sides.remove(at);
        Ok(Some(side::session(self.root(source), &side.below)))
    }
}

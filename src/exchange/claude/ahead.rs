//! Answers seen ahead of their first record. One answer of the model is several records with one `message.id`, results of
//! its tools between them, and only the last says what it used; so a second reader goes as far ahead as an answer reaches.

use std::collections::{HashSet, VecDeque};

use serde_json::value::RawValue;

use super::record::{Part, Record, Shape, Used, short};
use crate::exchange::ImportError;
use crate::exchange::json::text;
use crate::exchange::reader::{Item, JSON, Reader};
use crate::exchange::source::Source;
use crate::model::Timestamp;

/// An answer is cut where it reaches over more records or bytes than this.
const FARTHEST: (u64, u64) = (4_096, 32 << 20);

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Where its first record begins.
    offset: u64,
    pub id: Option<String>,
    /// How many records it is.
    pub records: u64,
    pub model: Option<String>,
    pub stop: Option<String>,
    pub used: Used,
    pub cost: Option<u64>,
    pub ended: Option<Timestamp>,
    /// The one text that says something, if it is one; what is to be the content otherwise.
    texts: Vec<String>,
    parts: Vec<u8>,
    is_odd: bool,
    pub has_tools: bool,
}

impl Answer {
    /// One record by itself.
    pub fn of(offset: u64, record: &Record<'_>, message: &super::record::Message<'_>) -> Answer {
        let mut answer = Answer { offset, id: message.id(), ..Answer::default() };
        answer.add(record, message);
        answer
    }

    fn add(&mut self, record: &Record<'_>, message: &super::record::Message<'_>) {
        self.records += 1;
        self.model = message.model().or(self.model.take());
        self.stop = message.stop_reason().or(self.stop.take());
        let used = message.used();
        self.used = Used {
            input: used.input.or(self.used.input),
            output: used.output.or(self.used.output),
            cached: used.cached.or(self.used.cached),
        };
        self.cost = record.cost().or(self.cost);
        self.ended = record.at().or(self.ended);
        let Some(content) = message.content else { return };
        if let Some(text) = text(Some(content)) {
            self.part(content);
            self.texts.push(text);
            return;
        }
        let raw: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
        let parts = Part::list(content);
        self.is_odd |= parts.is_none();
        for part in parts.unwrap_or_default() {
            match part.kind().as_deref() {
                Some("text") => match text(part.text) {
                    Some(text) if text.trim().is_empty() => {}
                    Some(text) => self.texts.push(text),
                    None => self.is_odd = true,
                },
                Some("thinking" | "redacted_thinking") => {}
                Some("tool_use") => self.has_tools = true,
                _ => self.is_odd = true,
            }
        }
        raw.into_iter().for_each(|part| self.part(part));
        if self.is_odd && self.parts.is_empty() {
            self.part(content);
        }
    }

    fn part(&mut self, part: &RawValue) {
        self.parts.push(if self.parts.is_empty() { b'[' } else { b',' });
        self.parts.extend_from_slice(part.get().as_bytes());
    }

    /// The one text it has.
    pub fn text(&self) -> Option<&str> {
        match self.texts.as_slice() {
            [text] if !self.is_odd => Some(text),
            _ => None,
        }
    }

    /// The content of its message: its text where it has one, nothing where it has none, else all its blocks as JSON.
    pub fn content(&self) -> Vec<u8> {
        match self.text() {
            Some(text) => text.as_bytes().to_vec(),
            None if self.texts.is_empty() && !self.is_odd => Vec::new(),
            None => [&self.parts, &b"]"[..]].concat(),
        }
    }
}

/// The reader that goes ahead.
pub struct Ahead {
    reader: Reader<'static>,
    found: VecDeque<Answer>,
    /// The last one found may go on.
    is_open: bool,
    is_side: bool,
    records: u64,
    /// The ids of the records that were seen ahead.
    seen: HashSet<u64>,
}

impl Ahead {
    /// Begins at byte `offset`, between two records.
    pub fn new(source: &Source, offset: u64) -> Result<Ahead, ImportError> {
        let mut reader = Reader::of(&source.parts, JSON);
        reader.skip(offset).map_err(|error| source.io(error))?;
        let is_side = !source.below.is_empty();
        Ok(Ahead { reader, found: VecDeque::new(), is_open: false, is_side, records: 0, seen: HashSet::new() })
    }

    /// The answer that begins with the record at `offset`. A record whose id `is_known`, or was seen ahead, is no part of any.
    pub fn take(
        &mut self,
        source: &Source,
        offset: u64,
        is_known: &dyn Fn(u64) -> bool,
    ) -> Result<Option<Answer>, ImportError> {
        self.found.retain(|answer| answer.offset >= offset);
        if self.found.is_empty() && self.reader.offset() <= offset {
            self.seen.clear();
        }
        let start = self.records;
        while self.found.len() < 2 && (self.found.is_empty() || self.is_open) {
            let seen = self.found.front().map_or(0, |answer| self.reader.offset().saturating_sub(answer.offset));
            if !self.found.is_empty() && (self.records - start > FARTHEST.0 || seen > FARTHEST.1) {
                break;
            }
            match self.reader.advance().map_err(|error| source.io(error))? {
                Some(Item::Record) => self.look(offset, is_known),
                Some(Item::Torn) | None => {
                    self.is_open = false;
                    break;
                }
                Some(_) => {}
            }
        }
        Ok(self.found.pop_front_if(|answer| answer.offset == offset))
    }

    fn look(&mut self, offset: u64, is_known: &dyn Fn(u64) -> bool) {
        self.records += 1;
        let at = self.reader.offset();
        let Ok(record) = Record::read(self.reader.record()) else { return };
        if at < offset || record.is_sidechain() != self.is_side {
            return;
        }
        let uuid = text(record.uuid).map(|uuid| short(&uuid));
        if uuid.is_some_and(|uuid| (at > offset && is_known(uuid)) || !self.seen.insert(uuid)) {
            return;
        }
        let Ok((shape, message)) = record.shape() else { return };
        match shape {
            Shape::Answer => match self.found.back_mut() {
                Some(answer) if self.is_open && answer.id.is_some() && answer.id == message.id() => {
                    answer.add(&record, &message);
                }
                _ => {
                    self.found.push_back(Answer::of(at, &record, &message));
                    self.is_open = true;
                }
            },
            Shape::Input | Shape::Stopped | Shape::Summary => self.is_open = false,
            Shape::Meta | Shape::Results | Shape::Other => {}
        }
    }
}

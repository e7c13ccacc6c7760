//! What an import knows of the messages before: it is found again in the source where an import goes on, and is no part of the
//! state that is written.

use std::collections::HashMap;

use super::meaning::list;
use super::record::{Message, Record};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::run::is_session_name;
use crate::model::{Digest, HeadId, SessionId};
use crate::store::ReadError;

/// The messages so far, by the hashes of their ids, and the heads between the inputs.
#[derive(Debug, Default)]
pub struct Aside {
    /// Whether what was imported before was looked at.
    pub is_found: bool,
    /// How many inputs lie before the turn of each message.
    before: HashMap<u64, u64>,
    /// The messages in order, so that those can be taken back that a chat goes back before.
    order: Vec<u64>,
    inputs: u64,
    /// The heads behind so many inputs.
    pub ends: HashMap<u64, HeadId>,
}

/// The first digits of the hash of an id.
pub fn short(id: &str) -> u64 {
    hash(id.as_bytes())
}

/// The same of any bytes. In JSON it is a number that every reader keeps.
pub fn hash(bytes: &[u8]) -> u64 {
    let digest = Digest::of(bytes);
    digest.0.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

impl Aside {
    pub fn has(&self, id: &str) -> bool {
        self.before.contains_key(&short(id))
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Notes a message, which may be an input.
    pub fn add(&mut self, id: &str, is_input: bool) {
        let id = short(id);
        let before = if is_input { self.inputs } else { self.inputs.saturating_sub(1) };
        if self.before.insert(id, before).is_none() {
            self.order.push(id);
            self.inputs += u64::from(is_input);
        }
    }

    /// Takes back a message and those behind it; gives how many inputs lie before its turn, and none where it is not there: then
    /// all are taken back, as by the program itself.
    pub fn go_back(&mut self, id: &str) -> Option<u64> {
        let id = short(id);
        let found = self.before.get(&id).copied();
        while let Some(last) = self.order.pop() {
            self.before.remove(&last);
            if last == id {
                break;
            }
        }
        found
    }

    pub fn pass_message(&mut self, message: &Message<'_>) {
        if !self.has(&message.id) {
            self.add(&message.id, message.is_input());
        }
    }

    /// Notes a record that was imported before.
    pub fn pass(&mut self, record: &Record<'_>) {
        match record {
            Record::Message(message) => self.pass_message(message),
            Record::Header(fields) => {
                list(fields.messages).iter().for_each(|message| self.pass_message(message));
            }
            Record::Rewind(id) => drop(self.go_back(id)),
            Record::Set(set) => {
                for message in list(set.messages) {
                    self.add(&message.id, false);
                }
            }
            _ => {}
        }
    }

    /// Goes on where an import stopped: what came before is found again in the source.
    pub fn find_again(&mut self, step: &Step<'_, '_>) -> Result<(), Stop> {
        if std::mem::replace(&mut self.is_found, true) || step.number() == 1 || !self.is_empty() {
            return Ok(());
        }
        step.before(&mut |record| {
            if let Ok(record) = Record::read(record) {
                self.pass(&record);
            }
        })
    }
}

/// The pin by which a chat that begins with a copy of another finds it: it has the id of the first message.
pub fn pin(id: &str) -> Option<SessionId> {
    let fits = |letter: char| if letter.is_ascii_alphanumeric() || "_-.".contains(letter) { letter } else { '-' };
    let name: String = "gemini.".chars().chain(id.chars().map(fits)).take(128).collect();
    name.parse().ok().filter(|_| !id.is_empty())
}

/// Sets that pin to where the session begins, unless another has it.
pub fn set_pin(step: &mut Step<'_, '_>, id: &str) -> Result<(), Stop> {
    let (Some(pin), Some(head)) = (pin(id), step.batch.current_head()) else { return Ok(()) };
    match step.store().read_pin(&pin) {
        Err(ReadError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Ok(()),
    }
    if !pin.is_like_a_head() && !is_session_name(step.store(), &pin)? {
        step.batch.set_pin(&pin, Some(head))?;
    }
    Ok(())
}

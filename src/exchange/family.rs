//! Sources that begin alike, in whatever order they come. The first answer of the model that is a session's own row is a pin, so that another source
//! which has the record too finds the session: a fork whose parent comes later, or not at all.

use std::collections::HashSet;

use super::ImportError;
use super::batch::{Step, Stop};
use super::format::{Format, Header};
use super::reader::{Item, Reader};
use super::run::{is_session_name, short};
use super::shared::{self, Branch, flat, unreadable};
use super::source::Source;
use crate::model::{Digest, EventNumber, PinTarget, SessionId};
use crate::store::Store;
use crate::store::error::ReadError;

/// How many sessions may have an answer of the same record as their first.
const MAX_ALIKE: usize = 8;

/// The records of a source that other sessions have as their own, apart from those it begins with; and what others are to find it by.
pub(in crate::exchange) struct Family {
    /// The session that is imported; none if the format's sources are not found by their answers.
    session: Option<SessionId>,
    is_fork: bool,
    /// Whether it is found already, or need not be.
    is_pinned: bool,
    /// Whether sources that are forks were imported.
    has_forks: bool,
    /// The bytes that another session's source begins with too.
    until: u64,
    /// The records of other sessions, by their keys: of a tree, whose records may stand in another order.
    keys: HashSet<u64>,
}

/// What the model answered: how it is known.
pub enum Answers {
    /// Sources are not found by it.
    Unknown,
    /// By the forks that have it as their own.
    OfForks,
    /// By any source that has.
    OfAll,
}

fn pin(format: &str, is_fork: bool, key: &Digest, number: usize) -> Option<SessionId> {
    let of = if is_fork { ".fork" } else { "" };
    let number = if number > 0 { format!(".{number}") } else { String::new() };
    format!("{format}{of}.{}{number}", short(key)).parse().ok()
}

/// The pin that says that there are forks.
fn forks(format: &str) -> Option<SessionId> {
    format!("{format}.fork").parse().ok()
}

fn pinned(store: &Store, pin: &SessionId) -> Result<Option<SessionId>, ReadError> {
    match store.read_pin(pin) {
        Ok(pin) => match pin.target {
            PinTarget::Head(head) => Ok(Some(store.head(&head)?.session)),
            PinTarget::Payload(_) => Ok(None),
        },
        Err(ReadError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The sessions that have the answer as their first own one. Who says nothing of being a fork asks for forks alone: two sessions may be alike
/// without being one.
fn holders(store: &Store, format: &str, key: &Digest, is_fork: bool) -> Result<Vec<SessionId>, ReadError> {
    let mut found = Vec::new();
    for of_forks in [true, false].into_iter().filter(|of_forks| *of_forks || is_fork) {
        for number in 0..MAX_ALIKE {
            let Some(pin) = pin(format, of_forks, key, number) else { break };
            let Some(session) = pinned(store, &pin)? else { break };
            found.push(session);
        }
    }
    Ok(found)
}

/// What a source has in common with sessions that it does not name, behind the first `from` bytes: those that the others begin with too, and
/// the session it has most of.
pub(in crate::exchange) fn relatives<F: Format>(
    store: &Store,
    source: &Source,
    header: &Header,
    own: &SessionId,
    from: u64,
) -> Result<(u64, Option<Branch<F>>), ImportError> {
    let (mut common, mut best) = (from, None::<Branch<F>>);
    if matches!(F::ANSWERS, Answers::Unknown) {
        return Ok((common, None));
    }
    let mut seen = HashSet::from([own.clone()]);
    while let Some(key) = next_answer::<F>(source, common)? {
        let before = common;
        for session in holders(store, F::NAME, &key, F::is_fork(header))? {
            if !seen.insert(session.clone()) {
                continue;
            }
            let Some(branch) = shared::from_session::<F>(store, source, &session, None)? else { continue };
            common = common.max(branch.shared.common);
            if branch.shared.common > 0 && best.as_ref().is_none_or(|best| branch.shared.is_better_than(&best.shared)) {
                best = Some(branch);
            }
        }
        if common == before {
            break;
        }
    }
    Ok((common, best))
}

/// The first answer that ends behind the first `from` bytes.
fn next_answer<F: Format>(source: &Source, from: u64) -> Result<Option<Digest>, ImportError> {
    let io = |error| source.io(error);
    let mut reader = Reader::of(&source.parts, F::SYNTAX);
    reader.skip(from).map_err(io)?;
    while let Some(item) = reader.advance().map_err(io)? {
        if item == Item::Record && F::read(reader.record()).is_ok_and(|record| F::is_answer(&record)) {
            return Ok(F::key(reader.record()));
        }
    }
    Ok(None)
}

impl Family {
    /// Of a source that has no relatives.
    pub(in crate::exchange) fn none() -> Family {
        Family { session: None, is_fork: false, is_pinned: true, has_forks: false, until: 0, keys: HashSet::new() }
    }

    /// Of the source of a session, of which so many bytes are imported or shared. `kin` is the session whose rows it shares, if that may have more
    /// of its records.
    pub(in crate::exchange) fn of<F: Format>(
        store: &Store,
        source: &Source,
        header: &Header,
        (session, is_new): (&SessionId, bool),
        bytes: u64,
        kin: Option<&SessionId>,
    ) -> Result<Family, ImportError> {
        let is_fork = F::is_fork(header);
        let mut family = Family { session: Some(session.clone()), is_fork, ..Family::none() };
        if matches!(F::ANSWERS, Answers::Unknown) {
            return Ok(family);
        }
        let has_own = !is_new && has_own_calls(store, session)?;
        // What goes on with its own has no more of another's, unless its records may have come in another order.
        let kin = kin.filter(|_| !has_own || (F::IS_TREE && !is_fork));
        match F::ANSWERS {
            Answers::OfAll => family.is_pinned = has_own,
            Answers::OfForks if is_fork => family.is_pinned = has_own,
            _ => {}
        }
        if !F::IS_TREE {
            // Of a new session that is among the bytes already.
            let above = kin.filter(|_| !is_new);
            let above = above.map_or(Ok(None), |kin| shared::from_session::<F>(store, source, kin, None))?;
            let bytes = above.map_or(0, |branch| branch.shared.common).max(bytes);
            family.until = relatives::<F>(store, source, header, session, bytes)?.0;
            return Ok(family);
        }
        family.has_forks = forks(F::NAME).map_or(Ok(None), |pin| pinned(store, &pin))?.is_some();
        if let Some(kin) = kin {
            family.learn::<F>(store, source, kin)?;
        }
        Ok(family)
    }

    fn learn<F: Format>(&mut self, store: &Store, source: &Source, session: &SessionId) -> Result<(), ImportError> {
        let file = flat(store, session, 0, u64::MAX).map_err(|error| unreadable(source, error))?;
        let mut reader = Reader::over(std::io::BufReader::new(file)).with_syntax(F::SYNTAX);
        while let Some(item) = reader.advance().map_err(|error| source.io(error))? {
            if item == Item::Record {
                self.keys.extend(F::key(reader.record()).map(|key| brief(&key)));
            }
        }
        Ok(())
    }

    /// Whether the record that ends at byte `end` is another session's, which counts what it used.
    pub(in crate::exchange) fn has<F: Format>(
        &mut self,
        store: &Store,
        source: &Source,
        (bytes, end): (&[u8], u64),
        record: &F::Record<'_>,
    ) -> Result<bool, ImportError> {
        if end <= self.until {
            return Ok(true);
        }
        let Some(own) = self.session.clone().filter(|_| F::IS_TREE) else { return Ok(false) };
        let is_asked = self.has_forks && F::is_answer(record);
        if self.keys.is_empty() && !is_asked {
            return Ok(false);
        }
        let Some(key) = F::key(bytes) else { return Ok(false) };
        if is_asked && !self.keys.contains(&brief(&key)) {
            for session in holders(store, F::NAME, &key, self.is_fork)? {
                if session != own {
                    self.learn::<F>(store, source, &session)?;
                }
            }
        }
        Ok(self.keys.contains(&brief(&key)))
    }

    /// Lets others find the session by an answer that is its own row: the first one.
    pub(in crate::exchange) fn tell<F: Format>(
        &mut self,
        step: &mut Step<'_, '_>,
        record: &F::Record<'_>,
    ) -> Result<(), Stop> {
        if self.is_pinned || !F::is_answer(record) {
            return Ok(());
        }
        let (Some(key), Some(head)) = (F::key(step.record()), step.batch.current_head()) else { return Ok(()) };
        self.is_pinned = true;
        let mut pins: Vec<SessionId> =
            forks(F::NAME).filter(|_| F::IS_TREE && self.is_fork && !self.has_forks).into_iter().collect();
        for number in 0..MAX_ALIKE {
            let Some(pin) = pin(F::NAME, self.is_fork, &key, number) else { break };
            if pinned(step.store(), &pin)?.is_none() {
                pins.push(pin);
                break;
            }
        }
        for pin in pins {
            if !is_session_name(step.store(), &pin)? {
                step.batch.set_pin(&pin, Some(head))?;
            }
        }
        Ok(())
    }
}

/// Whether calls of the model are rows of the session's own.
fn has_own_calls(store: &Store, session: &SessionId) -> Result<bool, ReadError> {
    let Some(genesis) = store.event(session, EventNumber(2))?.head_id else { return Ok(false) };
    Ok(store.high_water_counters(session)?.call > store.root_of(&genesis)?.counters.call)
}

/// What stands for a key where very many are kept.
fn brief(key: &Digest) -> u64 {
    key.0.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

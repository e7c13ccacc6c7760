//! Copies of a session under another id: older versions copied all its records when it was resumed, and nothing in them tells of
//! it. They begin at the same moment, and an answer keeps its id.

use super::Claude;
use super::record::Shape;
use crate::exchange::ImportError;
use crate::exchange::format::{Format, Header};
use crate::exchange::json::text;
use crate::exchange::shared::{self, Branch};
use crate::exchange::source::Source;
use crate::model::canonical::canonicalize;
use crate::model::{Digest, HeadId, Status};
use crate::store::Store;

/// How many sessions that began at the same moment are compared.
const NEAREST: usize = 8;

/// What makes a record and its copy the same. Its id may be another; it has its time, and an answer has the id that the model's
/// provider gave. What the answer used may not have been known yet when one of both was written.
pub(super) fn key(bytes: &[u8]) -> Option<Digest> {
    let Ok((record, shape, message)) = Claude::read(bytes) else { return Some(Digest::of(bytes)) };
    let uuid = record.uuid?;
    let (id, said) = match message.id().filter(|_| shape == Shape::Answer) {
        Some(id) => (id, message.content),
        None => (record.time().or_else(|| text(Some(uuid))).unwrap_or_default(), record.message.or(record.data)),
    };
    let said = said.map(|said| said.get().as_bytes()).unwrap_or_default();
    let said = canonicalize(said).unwrap_or_else(|_| said.to_vec());
    Some(Digest::of(&[record.note().as_bytes(), b"\n", id.as_bytes(), b"\n", &said].concat()))
}

/// The session that a source which names no parent is a copy of.
pub(super) fn branch(
    store: &Store,
    source: &Source,
    header: &Header,
    made: Option<HeadId>,
) -> Result<Option<Branch<Claude>>, ImportError> {
    if let Some(branch) = shared::from_parent(store, source, header, made)? {
        return Ok(Some(branch));
    }
    if !header.after.is_empty() {
        let caller = Header { parents: header.after.clone(), ..header.clone() };
        let branch = shared::from_parent::<Claude>(store, source, &caller, made)?;
        return Ok(branch.filter(|branch| branch.shared.common > 0));
    }
    let Some(at) = header.at.filter(|_| header.kind == Status::SESSION) else { return Ok(None) };
    let begun = match made {
        Some(head) => vec![store.head(&head)?.session],
        None => store.imports_begun(at, NEAREST)?,
    };
    let mut best: Option<Branch<Claude>> = None;
    for session in begun {
        // A subagent's may be a copy of its caller's, but not the other way.
        if store.session(&session)?.kind == Status::CHILD {
            continue;
        }
        let of = Header { parents: vec![session.to_string()], ..header.clone() };
        let branch = shared::from_parent::<Claude>(store, source, &of, made)?.filter(|branch| branch.shared.common > 0);
        let most = best.as_ref().map_or(0, |best| best.shared.common);
        best = branch.filter(|branch| branch.shared.common > most).or(best);
    }
    Ok(best)
}

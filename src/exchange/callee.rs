//! The heads of a session that another one calls, as far as it is imported: at which it stood when it was called, and when it
//! came back. They are told by time, since nothing in the logs names them.

use super::batch::{Step, Stop};
use crate::model::{HeadId, HeadKind, SessionId, Timestamp};
use crate::view::types::HeadInfo;

/// The head at which `callee` stood when it was called, at that time: the last one sealed by then and, where that is known, before
/// the one with which it came back; else its first. None where it is not there.
pub(super) fn before(
    step: &Step<'_, '_>,
    callee: &SessionId,
    called: Option<Timestamp>,
    after: Option<HeadId>,
) -> Result<Option<HeadId>, Stop> {
    let heads = heads(step, callee)?;
    let until = heads.iter().position(|head| Some(head.head) == after).unwrap_or(heads.len());
    let last = heads[..until].iter().rev().find(|head| called.is_some_and(|at| head.at <= at));
    Ok(last.or(heads.first()).map(|head| head.head))
}

/// The head at which `callee` stood when it came back, at the record's time: the last one sealed by then, and, where all are
/// later, as clocks may have it, the current one. None where it is not there.
pub(super) fn after(step: &Step<'_, '_>, callee: &SessionId) -> Result<Option<HeadId>, Stop> {
    let heads = heads(step, callee)?;
    let is_done = |head: &&HeadInfo| head.kind != HeadKind::Genesis && step.at().is_some_and(|at| head.at <= at);
    let current = || heads.iter().find(|head| head.current);
    Ok(heads.iter().rev().find(is_done).or_else(current).map(|head| head.head))
}

fn heads(step: &Step<'_, '_>, session: &SessionId) -> Result<Vec<HeadInfo>, Stop> {
    match step.store().exists(session.as_str())? {
        true => Ok(step.store().heads(session)?),
        false => Ok(Vec::new()),
    }
}

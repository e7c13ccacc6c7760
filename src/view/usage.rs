//! Tokens and cost: of a session, of all below it, by model, by turn.

use std::collections::{BTreeMap, HashSet};

use rusqlite::Connection;

use super::Answer;
use super::heads::{Upwards, live};
use super::types::{ModelUsage, TurnUsage, Usage, Used};
use crate::model::{CallType, TurnNumber};
use crate::sqlite::read::head;
use crate::sqlite::read::tree::{self, Caller};
use crate::sqlite::read::uses::{CallUse, each_call};
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// Every event of a log.
const ALL: (i64, i64) = (0, i64::MAX);

/// What session `sid`, and the sessions below it, used.
pub(crate) fn usage(conn: &Connection, sid: i64) -> Result<Usage, ReadError> {
    let mut usage = Usage { inherited: inherited(conn, sid)?, ..Usage::default() };
    for below in reachable(conn, sid)? {
        let [root, leaf] = own(conn, below)?;
        match below == sid {
            true => (usage.root, usage.leaf) = (root, leaf),
            false => usage.children = usage.children.with(root).with(leaf),
        }
    }
    usage.tree = usage.root.with(usage.leaf).with(usage.children);
    Ok(usage)
}

/// The same by provider and model, in their order; of the session alone, or of its tree.
pub(crate) fn by_model(conn: &Connection, sid: i64, tree: bool) -> Result<Vec<ModelUsage>, ReadError> {
    let mut found: BTreeMap<(Option<String>, Option<String>), Used> = BTreeMap::new();
    let sids = if tree { reachable(conn, sid)? } else { vec![sid] };
    for sid in sids {
        each_call(conn, sid, ALL, Some(false), |call| {
            if part(&call.call_type).is_some() {
                let key = (call.provider.map(str::to_owned), call.model.map(str::to_owned));
                let used = found.entry(key).or_default();
                *used = used.with(one(call));
            }
        })
        .answer()?;
    }
    Ok(found.into_iter().map(|((provider, model), used)| ModelUsage { provider, model, used }).collect())
}

/// What the calls of each of session `sid`'s turns used, in their order; first those of no turn.
pub(crate) fn by_turn(conn: &Connection, sid: i64) -> Result<Vec<TurnUsage>, ReadError> {
    let mut found: BTreeMap<Option<u64>, Used> = BTreeMap::new();
    each_call(conn, sid, ALL, Some(false), |call| {
        if part(&call.call_type).is_some() {
            let used = found.entry(call.turn).or_default();
            *used = used.with(one(call));
        }
    })
    .answer()?;
    Ok(found.into_iter().map(|(turn, used)| TurnUsage { turn: turn.map(TurnNumber), used }).collect())
}

/// The session as a caller: what it inherited is none of its own.
pub(super) fn caller(conn: &Connection, sid: i64) -> Result<Caller, ReadError> {
    let above = live(conn, sid)?.inherited;
    Ok(Caller { sid, invocation: bound(above.invocation), call: bound(above.call) })
}

/// Session `sid` and all that it called, and these called, each once.
fn reachable(conn: &Connection, sid: i64) -> Result<Vec<i64>, ReadError> {
    let (mut found, mut seen) = (vec![sid], HashSet::from([sid]));
    let mut at = 0;
    while let Some(sid) = found.get(at).copied() {
        at += 1;
        for callee in tree::callees(conn, caller(conn, sid)?).answer()? {
            if seen.insert(callee) {
                found.push(callee);
            }
        }
    }
    Ok(found)
}

/// What session `sid`'s own root calls used, and its leaf calls.
pub(super) fn own(conn: &Connection, sid: i64) -> Result<[Used; 2], ReadError> {
    let mut parts = [Used::default(); 2];
    each_call(conn, sid, ALL, Some(false), |call| {
        if let Some(part) = part(&call.call_type).and_then(|part| parts.get_mut(part)) {
            *part = part.with(one(call));
        }
    })
    .answer()?;
    Ok(parts)
}

/// What was used at the head that session `sid` was made from; of calls that it ended itself, the version it wrote.
fn inherited(conn: &Connection, sid: i64) -> Result<Used, ReadError> {
    let mut used = Used::default();
    // What its first head hangs from is what it inherits.
    let Some((up, _)) = head::first_from(conn, sid, 0).answer()? else { return Ok(used) };
    let mut seen = HashSet::new();
    let mut add = |call: &CallUse| {
        if part(&call.call_type).is_some() && seen.insert(call.n) {
            used = used.with(one(call));
        }
    };
    // The latest version is met first.
    each_call(conn, sid, ALL, Some(true), &mut add).answer()?;
    for place in Upwards::from(conn, up) {
        let place = place?;
        each_call(conn, place.sid, (place.from, place.to), None, &mut add).answer()?;
    }
    Ok(used)
}

/// Which part of a session's own use a call of that type belongs to: 0 root, 1 leaf. The others are no provider's.
fn part(call_type: &CallType) -> Option<usize> {
    match call_type {
        CallType::Root => Some(0),
        CallType::Leaf | CallType::LeafBatchItem => Some(1),
        _ => None,
    }
}

fn one(call: &CallUse) -> Used {
    let [input, output, cached, reasoning, cost] = call.sums;
    Used {
        calls: 1,
        cache_hits: cached.map(|tokens| u64::from(tokens > 0)).into(),
        tokens_input: input.into(),
        tokens_output: output.into(),
        tokens_cached: cached.into(),
        tokens_reasoning: reasoning.into(),
        cost: cost.into(),
    }
}

//! Tokens and cost.

use std::collections::HashSet;

use rusqlite::Connection;

use super::Answer;
use super::heads::Upwards;
use super::types::{Sum, Usage, Used};
use crate::model::CallType;
use crate::sqlite::read::head;
use crate::sqlite::read::lineage::{self, CallUse};
use crate::sqlite::read::rows::last_versions;
use crate::view::error::ReadError;

/// What session `sid`, and the sessions below it, used.
pub(crate) fn usage(conn: &Connection, sid: i64) -> Result<Usage, ReadError> {
    let mut usage = own(conn, sid)?;
    let mut seen = HashSet::from([sid]);
    let mut next = lineage::callees(conn, sid).answer()?;
    while let Some(child) = next.pop() {
        if seen.insert(child) {
            let below = own(conn, child)?;
            usage.children = join(join(usage.children, below.root), below.leaf);
            next.extend(lineage::callees(conn, child).answer()?);
        }
    }
    usage.tree = join(join(usage.root, usage.leaf), usage.children);
    Ok(usage)
}

fn own(conn: &Connection, sid: i64) -> Result<Usage, ReadError> {
    let mut calls = Vec::new();
    lineage::call_uses(conn, sid, (0, i64::MAX), &mut calls).answer()?;
    let (ended_here, own): (Vec<CallUse>, Vec<CallUse>) = calls.into_iter().partition(|call| call.inherited);
    let mut usage = Usage::default();
    for call in last_versions(own, |call| call.n) {
        match call.call_type {
            CallType::Root => add(&mut usage.root, &call),
            CallType::Leaf | CallType::LeafBatchItem => add(&mut usage.leaf, &call),
            _ => {}
        }
    }
    // What its first head hangs from is what it inherits.
    if let Some((up, _)) = head::first_from(conn, sid, 0).answer()? {
        let mut runs = Vec::new();
        for place in Upwards::from(conn, up) {
            let place = place?;
            runs.push((place.sid, (place.from, place.to)));
        }
        let mut inherited = Vec::new();
        for (source, events) in runs.into_iter().rev() {
            lineage::call_uses(conn, source, events, &mut inherited).answer()?;
        }
        inherited.extend(ended_here);
        for call in last_versions(inherited, |call| call.n) {
            if matches!(call.call_type, CallType::Root | CallType::Leaf | CallType::LeafBatchItem) {
                add(&mut usage.inherited, &call);
            }
        }
    }
    Ok(usage)
}

fn add(used: &mut Used, call: &CallUse) {
    let one = |value: Option<u64>| value.map_or(Sum::Unknown(1), Sum::Known);
    let [input, output, cached, reasoning, cost] = call.sums;
    let call = Used {
        calls: 1,
        cache_hits: u64::from(cached.is_some_and(|tokens| tokens > 0)),
        tokens_input: one(input),
        tokens_output: one(output),
        tokens_cached: one(cached),
        tokens_reasoning: one(reasoning),
        cost: one(cost),
    };
    *used = join(*used, call);
}

fn join(a: Used, b: Used) -> Used {
    // What no call was summed for is known to be nothing, and makes an unknown sum no partial one.
    let sum = |x: Sum, y: Sum| match (a.calls, b.calls) {
        (0, _) => y,
        (_, 0) => x,
        _ => plus(x, y),
    };
    Used {
        calls: a.calls + b.calls,
        cache_hits: a.cache_hits + b.cache_hits,
        tokens_input: sum(a.tokens_input, b.tokens_input),
        tokens_output: sum(a.tokens_output, b.tokens_output),
        tokens_cached: sum(a.tokens_cached, b.tokens_cached),
        tokens_reasoning: sum(a.tokens_reasoning, b.tokens_reasoning),
        cost: sum(a.cost, b.cost),
    }
}

fn plus(a: Sum, b: Sum) -> Sum {
    let split = |sum| match sum {
        Sum::Known(sum) => (Some(sum), 0),
        Sum::Partial { sum, unknown } => (Some(sum), unknown),
        Sum::Unknown(unknown) => (None, unknown),
    };
    let ((x, p), (y, q)) = (split(a), split(b));
    match (x, y) {
        (None, None) => Sum::Unknown(p + q),
        // A database may hold any number: the greatest stands for what is beyond.
        _ => match (x.unwrap_or(0).saturating_add(y.unwrap_or(0)), p + q) {
            (sum, 0) => Sum::Known(sum),
            (sum, unknown) => Sum::Partial { sum, unknown },
        },
    }
}

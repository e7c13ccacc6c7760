//! The numbers that a row names.

use crate::model::{Body, Call};

/// A number that an event names, and how far above the greatest of its kind it may be.
pub(super) type Reference = (&'static str, Option<u64>, u64);

/// The turn, message, call, eval and invocation that an event names, its own among them where it writes a further version.
pub(super) fn references(body: &Body) -> [Reference; 5] {
    let [mut turn, mut message, mut call, mut eval, mut invocation] = [None; 5];
    let mut of_call = |row: &Call| (turn, eval) = (row.turn.map(|n| n.0), row.eval.map(|n| n.0));
    match body {
        Body::CallStarted(row) => of_call(row),
        Body::CallPut(row) => {
            of_call(row);
            call = Some(row.call.0);
        }
        Body::MessageAdded(row) => (turn, call) = (row.turn.map(|n| n.0), row.call.map(|n| n.0)),
        Body::TurnPut(row) => turn = Some(row.turn.0),
        Body::EvalAdded(row) => {
            (turn, message, call) = (row.turn.map(|n| n.0), row.message.map(|n| n.0), row.call.map(|n| n.0));
        }
        Body::EvalPut(row) => {
            (turn, message, call) = (row.turn.map(|n| n.0), row.message.map(|n| n.0), row.call.map(|n| n.0));
            eval = Some(row.eval.0);
        }
        Body::SnapshotAdded(row) => (turn, eval) = (row.turn.map(|n| n.0), row.eval.map(|n| n.0)),
        Body::InvocationStarted(row) => call = row.call.map(|n| n.0),
        Body::InvocationCompleted(row) | Body::InvocationFailed(row) | Body::CallerHeadRecorded(row) => {
            (call, invocation) = (row.call.map(|n| n.0), Some(row.invocation.0));
        }
        Body::Annotation(row) => turn = row.turn.map(|n| n.0),
        Body::SessionStarted(_)
        | Body::SessionStatus(_)
        | Body::SessionError(_)
        | Body::SessionRestored(_)
        | Body::RefUpdated(_)
        | Body::TurnStarted(_)
        | Body::HeadCreated(_) => {}
    }
    // An eval is recorded when it ended: a call that it makes names the next one.
    let running = u64::from(matches!(body, Body::CallStarted(_) | Body::CallPut(_)));
    [
        ("turn", turn, 0),
        ("message", message, 0),
        ("call", call, 0),
        ("eval", eval, running),
        ("invocation", invocation, 0),
    ]
}

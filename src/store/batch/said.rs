//! What the caller of a keyed batch said, as a digest: that of a retry is the same.

use crate::journal::Lines;
use crate::model::line::{self, Item};
use crate::model::{Body, CallNumber, Digest, EvalNumber, InvocationNumber, MessageNumber, SnapshotNumber, TurnNumber};

/// A digest of what the events say.
pub(super) fn by(lines: &Lines) -> Digest {
    let (mut hasher, mut row) = (blake3::Hasher::new(), Vec::new());
    for line in &lines.lines {
        if let Item::Event(event) = &line.item {
            row.clear();
            line::encode_row(&without_what_is_new(event.body.clone()), &mut row);
            for part in [event.body.kind().as_bytes(), b"\n", &row, b"\n"] {
                hasher.update(part);
            }
        }
    }
    Digest(*hasher.finalize().as_bytes())
}

/// An event without what a retry is given anew: numbers, times, heads.
fn without_what_is_new(mut body: Body) -> Body {
    match &mut body {
        Body::SessionStarted(_) | Body::SessionError(_) | Body::RefUpdated(_) | Body::HeadCreated(_) => {}
        Body::SessionStatus(row) => row.ended_at = None,
        Body::SessionRestored(row) => row.snapshot = None,
        Body::MessageAdded(row) => {
            row.message = MessageNumber(0);
            (row.turn, row.call) = (None, None);
        }
        Body::TurnStarted(row) | Body::TurnPut(row) => {
            row.turn = TurnNumber(0);
            (row.head_before, row.started_at, row.ended_at) = (None, None, None);
        }
        Body::CallStarted(row) | Body::CallPut(row) => {
            row.call = CallNumber(0);
            (row.turn, row.eval, row.child) = (None, None, None);
            (row.started_at, row.ended_at) = (None, None);
        }
        Body::EvalAdded(row) | Body::EvalPut(row) => {
            row.eval = EvalNumber(0);
            (row.turn, row.message, row.call) = (None, None, None);
            (row.started_at, row.ended_at) = (None, None);
        }
        Body::SnapshotAdded(row) => {
            row.snapshot = SnapshotNumber(0);
            (row.turn, row.eval) = (None, None);
        }
        Body::InvocationStarted(row)
        | Body::InvocationCompleted(row)
        | Body::InvocationFailed(row)
        | Body::CallerHeadRecorded(row) => {
            row.invocation = InvocationNumber(0);
            row.id.clear();
            (row.call, row.child, row.started_at, row.ended_at) = (None, None, None, None);
            (row.caller_before, row.caller_after) = (None, None);
            (row.callee_before, row.callee_after) = (None, None);
        }
        Body::Annotation(row) => row.turn = None,
    }
    body
}

//! The pure step: view + event = view. Over a head's spans it equals what the store reads at that head, over all
//! events of a session what the store reads of its log. It calls nothing and runs nothing: events carry results.

use super::event::{Body, Event};
use super::id::{EventNumber, SessionId};
use super::lineage::Invocation;
use super::turn::{Call, Eval, Message, Snapshot, Turn};

/// A row and the event that wrote this version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// The session whose event it is: the viewing one, or one that a fork inherits from.
    pub session: SessionId,
    /// The event.
    pub event: EventNumber,
    /// The row.
    pub row: T,
}

/// The rows visible at one point: each kind in the order of its numbers, of several versions the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the kind it holds")]
pub struct View {
    pub messages: Vec<Entry<Message>>,
    pub turns: Vec<Entry<Turn>>,
    pub calls: Vec<Entry<Call>>,
    pub evals: Vec<Entry<Eval>>,
    pub snapshots: Vec<Entry<Snapshot>>,
    pub invocations: Vec<Entry<Invocation>>,
}

/// A row's number among its kind.
pub(crate) trait Numbered {
    fn number(&self) -> u64;
}

macro_rules! numbered {
    ($($row:ty: $field:ident),*) => {$(
        impl Numbered for $row {
            fn number(&self) -> u64 {
                self.$field.0
            }
        }
    )*};
}
numbered!(Message: message, Turn: turn, Call: call, Eval: eval, Snapshot: snapshot, Invocation: invocation);

/// Puts a version of a row where its number belongs: nearly always at the end.
fn put<T: Numbered + Clone>(rows: &mut Vec<Entry<T>>, event: &Event, row: &T) {
    let entry = Entry { session: event.session.clone(), event: event.number, row: row.clone() };
    match rows.last() {
        Some(last) if last.row.number() >= row.number() => {
            match rows.binary_search_by_key(&row.number(), |e| e.row.number()) {
                Ok(at) => rows[at] = entry,
                Err(at) => rows.insert(at, entry),
            }
        }
        _ => rows.push(entry),
    }
}

impl View {
    /// Adds what one event says.
    pub fn apply(&mut self, event: &Event) {
        match &event.body {
            Body::MessageAdded(row) => put(&mut self.messages, event, row),
            Body::TurnStarted(row) | Body::TurnPut(row) => put(&mut self.turns, event, row),
            Body::CallStarted(row) | Body::CallPut(row) => put(&mut self.calls, event, row),
            Body::EvalAdded(row) | Body::EvalPut(row) => put(&mut self.evals, event, row),
            Body::SnapshotAdded(row) => put(&mut self.snapshots, event, row),
            Body::InvocationStarted(row)
            | Body::InvocationCompleted(row)
            | Body::InvocationFailed(row)
            | Body::CallerHeadRecorded(row) => put(&mut self.invocations, event, row),
            Body::SessionStarted(_)
            | Body::SessionStatus(_)
            | Body::SessionError(_)
            | Body::SessionRestored(_)
            | Body::RefUpdated(_)
            | Body::HeadCreated(_)
            | Body::Annotation(_) => {}
        }
    }
}

/// The view of `events`, in their order.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> View {
    let mut view = View::default();
    for event in events {
        view.apply(event);
    }
    view
}

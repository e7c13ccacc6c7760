//! The one JSON form of an event: a line. `stream` prints its compact part, everything but `row`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::digest::{Digest, HeadId};
use super::event::{Annotation, Body, Event};
use super::id::{EventNumber, SessionId};
use super::lineage::Invocation;
use super::record::Record;
use super::time::Timestamp;

/// The compact part of an event line: what happened, and the ids it concerns. Never payload text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the key it names, described in docs/FORMAT.md")]
pub struct Compact {
    #[serde(rename = "event/id")]
    pub id: EventNumber,
    #[serde(rename = "event/type")]
    pub kind: String,
    #[serde(rename = "event/session")]
    pub session: SessionId,
    #[serde(rename = "event/at")]
    pub at: Timestamp,
    #[serde(rename = "event/row-kind")]
    pub row_kind: String,
    #[serde(rename = "event/row-id")]
    pub row_id: String,
    #[serde(rename = "event/status", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(rename = "event/turn-id", default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<u64>,
    #[serde(rename = "event/message-id", default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<u64>,
    #[serde(rename = "event/eval-id", default, skip_serializing_if = "Option::is_none")]
    pub eval_id: Option<u64>,
    #[serde(rename = "event/call-id", default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<u64>,
    #[serde(rename = "event/snapshot-id", default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<u64>,
    #[serde(rename = "event/head-id", default, skip_serializing_if = "Option::is_none")]
    pub head_id: Option<HeadId>,
    #[serde(rename = "event/invocation-id", default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    #[serde(rename = "event/source-session-id", default, skip_serializing_if = "Option::is_none")]
    pub source_session_id: Option<SessionId>,
    #[serde(rename = "event/source-head-id", default, skip_serializing_if = "Option::is_none")]
    pub source_head_id: Option<HeadId>,
    #[serde(rename = "event/payload-ref", default, skip_serializing_if = "Option::is_none")]
    pub payload_ref: Option<Digest>,
}

impl Compact {
    /// The compact part of `event`.
    pub fn of(event: &Event) -> Compact {
        let mut c = Compact {
            id: event.number,
            kind: event.body.kind().to_owned(),
            session: event.session.clone(),
            at: event.at,
            row_kind: String::new(),
            row_id: String::new(),
            status: None,
            turn_id: None,
            message_id: None,
            eval_id: None,
            call_id: None,
            snapshot_id: None,
            head_id: None,
            invocation_id: None,
            source_session_id: None,
            source_head_id: None,
            payload_ref: None,
        };
        let mut row = |kind: &str, id: String| {
            c.row_kind = kind.to_owned();
            c.row_id = id;
        };
        match &event.body {
            Body::SessionStarted(started) => {
                row("session", event.session.to_string());
                if let Some(source) = &started.source {
                    c.source_session_id = Some(source.session.clone());
                    c.source_head_id = Some(source.head);
                }
            }
            Body::SessionStatus(status) => {
                row("session", event.session.to_string());
                c.status = Some(status.status.to_string());
                c.payload_ref = status.payload;
            }
            Body::SessionError(error) => {
                row("session", event.session.to_string());
                c.status = Some(error.status.to_string());
                c.payload_ref = Some(error.error);
            }
            Body::SessionRestored(restored) => {
                row("session", event.session.to_string());
                c.source_session_id = Some(restored.source_session.clone());
                c.source_head_id = Some(restored.source_head);
                c.snapshot_id = restored.snapshot.map(|n| n.0);
            }
            Body::RefUpdated(head) => {
                row("ref", "current-head".to_owned());
                c.head_id = Some(*head);
            }
            Body::HeadCreated(head) => {
                row("head", head.to_string());
                c.head_id = Some(*head);
                c.payload_ref = Some(head.0);
            }
            Body::MessageAdded(message) => {
                row("message", message.message.to_string());
                c.message_id = Some(message.message.0);
                c.turn_id = message.turn.map(|n| n.0);
                c.call_id = message.call.map(|n| n.0);
                c.payload_ref = Some(message.content);
            }
            Body::TurnStarted(turn) | Body::TurnPut(turn) => {
                row("turn", turn.turn.to_string());
                c.turn_id = Some(turn.turn.0);
                c.status = Some(turn.status.to_string());
                c.payload_ref = turn.final_value.or(turn.error).or(turn.input);
            }
            Body::CallStarted(call) | Body::CallPut(call) => {
                row("call", call.call.to_string());
                c.call_id = Some(call.call.0);
                c.turn_id = call.turn.map(|n| n.0);
                c.eval_id = call.eval.map(|n| n.0);
                c.status = Some(call.status.to_string());
                c.payload_ref = call.payload();
            }
            Body::EvalAdded(eval) | Body::EvalPut(eval) => {
                row("eval", eval.eval.to_string());
                c.eval_id = Some(eval.eval.0);
                c.turn_id = eval.turn.map(|n| n.0);
                c.message_id = eval.message.map(|n| n.0);
                c.call_id = eval.call.map(|n| n.0);
                c.status = Some(eval.status.to_string());
                c.payload_ref = eval.payload();
            }
            Body::SnapshotAdded(snapshot) => {
                row("snapshot", snapshot.snapshot.to_string());
                c.snapshot_id = Some(snapshot.snapshot.0);
                c.turn_id = snapshot.turn.map(|n| n.0);
                c.eval_id = snapshot.eval.map(|n| n.0);
                c.payload_ref = snapshot.vars;
            }
            Body::InvocationStarted(invocation)
            | Body::InvocationCompleted(invocation)
            | Body::InvocationFailed(invocation)
            | Body::CallerHeadRecorded(invocation) => {
                row("invocation", invocation.id.clone());
                c.invocation_id = Some(invocation.id.clone());
                c.call_id = invocation.call.map(|n| n.0);
                c.status = Some(invocation.status.to_string());
                c.payload_ref = invocation.payload();
            }
            Body::Annotation(annotation) => {
                row("annotation", event.number.to_string());
                c.turn_id = annotation.turn.map(|n| n.0);
                c.payload_ref = annotation.payload;
            }
        }
        c
    }
}

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a line of a commit cannot be read")]
pub struct BadLine(#[from] serde_json::Error);

/// What a line of a batch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event of a session.
    Event(Box<Event>),
    /// A store record.
    Record(Record),
    /// A record of a kind that this version does not know: kept in the log, changing no row.
    Unknown(String),
}

/// The line of `event`, without its newline.
pub fn encode_event(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    // Writing plain structs into memory cannot fail.
    let _ = serde_json::to_writer(&mut out, &Compact::of(event));
    out.pop();
    let end = out.len();
    out.extend_from_slice(b",\"row\":");
    if !encode_row(&event.body, &mut out) {
        out.truncate(end);
    }
    out.push(b'}');
    out
}

/// Writes the row of an event behind `out`; says whether it has one. That of others is the compact part, or the root.
pub(crate) fn encode_row(body: &Body, out: &mut Vec<u8>) -> bool {
    // Writing plain structs into memory cannot fail.
    let _ = match body {
        Body::SessionStarted(row) => serde_json::to_writer(out, row),
        Body::SessionStatus(row) => serde_json::to_writer(out, row),
        Body::SessionError(row) => serde_json::to_writer(out, row),
        Body::SessionRestored(row) => serde_json::to_writer(out, row),
        Body::RefUpdated(_) | Body::HeadCreated(_) => return false,
        Body::MessageAdded(row) => serde_json::to_writer(out, row),
        Body::TurnStarted(row) | Body::TurnPut(row) => serde_json::to_writer(out, row),
        Body::CallStarted(row) | Body::CallPut(row) => serde_json::to_writer(out, row),
        Body::EvalAdded(row) | Body::EvalPut(row) => serde_json::to_writer(out, row),
        Body::SnapshotAdded(row) => serde_json::to_writer(out, row),
        Body::InvocationStarted(row)
        | Body::InvocationCompleted(row)
        | Body::InvocationFailed(row)
        | Body::CallerHeadRecorded(row) => serde_json::to_writer(out, row),
        Body::Annotation(row) => serde_json::to_writer(out, row),
    };
    true
}

/// The line of a store record, without its newline.
pub fn encode_record(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

#[derive(Deserialize)]
struct EventLine<'a> {
    #[serde(rename = "event/id")]
    id: EventNumber,
    #[serde(rename = "event/type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(rename = "event/session")]
    session: SessionId,
    #[serde(rename = "event/at")]
    at: Timestamp,
    #[serde(rename = "event/head-id", default)]
    head_id: Option<HeadId>,
    #[serde(default, borrow)]
    row: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RecordLine<'a> {
    #[serde(borrow)]
    record: std::borrow::Cow<'a, str>,
}

/// Reads a line of a batch. Unknown fields are left alone: the bytes stay in the log.
pub fn decode(line: &[u8]) -> Result<Item, BadLine> {
    if line.starts_with(b"{\"record\":") {
        return match serde_json::from_slice::<Record>(line) {
            Ok(record) => Ok(Item::Record(record)),
            Err(error) => match serde_json::from_slice::<RecordLine>(line) {
                Ok(named) if !known_record(&named.record) => Ok(Item::Unknown(named.record.into_owned())),
                _ => Err(BadLine(error)),
            },
        };
    }
    let line: EventLine = serde_json::from_slice(line).map_err(BadLine)?;
    let head = || line.head_id.ok_or_else(|| BadLine(serde::de::Error::missing_field("event/head-id")));
    let row = line.row.map_or("{}", RawValue::get);
    fn read<'a, T: Deserialize<'a>>(row: &'a str) -> Result<T, BadLine> {
        serde_json::from_str(row).map_err(BadLine)
    }
    let body = match &*line.kind {
        "session/started" => Body::SessionStarted(read(row)?),
        "session/status" => Body::SessionStatus(read(row)?),
        "session/error" => Body::SessionError(read(row)?),
        "session/restored" => Body::SessionRestored(read(row)?),
        "session/ref-updated" => Body::RefUpdated(head()?),
        "message/added" => Body::MessageAdded(read(row)?),
        "turn/started" => Body::TurnStarted(read(row)?),
        "turn/put" => Body::TurnPut(read(row)?),
        "call/started" => Body::CallStarted(read(row)?),
        "call/put" => Body::CallPut(read(row)?),
        "eval/added" => Body::EvalAdded(read(row)?),
        "eval/put" => Body::EvalPut(read(row)?),
        "snapshot/added" => Body::SnapshotAdded(read(row)?),
        "head/created" => Body::HeadCreated(head()?),
        "invocation/started" => Body::InvocationStarted(read::<Invocation>(row)?),
        "invocation/completed" => Body::InvocationCompleted(read(row)?),
        "invocation/failed" => Body::InvocationFailed(read(row)?),
        "invocation/caller-head-recorded" => Body::CallerHeadRecorded(read(row)?),
        other => {
            let mut annotation: Annotation = read(row)?;
            annotation.kind = other.to_owned();
            Body::Annotation(annotation)
        }
    };
    Ok(Item::Event(Box::new(Event { session: line.session, number: line.id, at: line.at, body })))
}

/// Whether this version reads records of that kind: an error in one of those is damage, not novelty.
fn known_record(kind: &str) -> bool {
    super::record::KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_record_is_kept_and_a_broken_known_one_is_damage() {
        assert_eq!(decode(br#"{"record":"later/kind","x":1}"#).unwrap(), Item::Unknown("later/kind".to_owned()));
        assert!(decode(br#"{"record":"alias/set","name":1}"#).is_err());
    }

    #[test]
    fn every_kind_of_record_is_listed() {
        for kind in super::super::record::KINDS {
            let error = serde_json::from_str::<Record>(&format!(r#"{{"record":"{kind}"}}"#)).unwrap_err();
            assert!(error.to_string().starts_with("missing field"), "{kind}: {error}");
        }
    }
}

//! Rows, heads and sessions as JSON shows them.

use headwater::model::fold::Entry;
use headwater::model::{
    Digest, EventNumber, HeadId, Message, SessionId, SnapshotNumber, Span, Status, Timestamp, TurnNumber, View,
};
use headwater::store::Blobs;
use headwater::view::types::{HeadInfo, SessionInfo};
use serde::Serialize;

use super::Failure;
use super::content::{self, Content};

/// A row with the event that wrote this version of it.
#[derive(Serialize)]
pub struct Row<'a, T> {
    session: &'a SessionId,
    event: EventNumber,
    #[serde(flatten)]
    row: &'a T,
}

/// One row.
pub fn row<T>(entry: &Entry<T>) -> Row<'_, T> {
    Row { session: &entry.session, event: entry.event, row: &entry.row }
}

/// The rows of one kind.
pub fn rows<T>(entries: &[Entry<T>]) -> Vec<Row<'_, T>> {
    entries.iter().map(row).collect()
}

/// A view's rows, payloads by ref.
#[derive(Serialize)]
pub struct Rows<'a> {
    messages: Vec<Row<'a, Message>>,
    turns: Vec<Row<'a, headwater::model::Turn>>,
    calls: Vec<Row<'a, headwater::model::Call>>,
    evals: Vec<Row<'a, headwater::model::Eval>>,
    snapshots: Vec<Row<'a, headwater::model::Snapshot>>,
    invocations: Vec<Row<'a, headwater::model::Invocation>>,
}

impl<'a> Rows<'a> {
    pub fn new(view: &'a View) -> Rows<'a> {
        Rows {
            messages: rows(&view.messages),
            turns: rows(&view.turns),
            calls: rows(&view.calls),
            evals: rows(&view.evals),
            snapshots: rows(&view.snapshots),
            invocations: rows(&view.invocations),
        }
    }
}

/// A message with what it says: a text up to 64 KiB, else its ref and size.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said<'a> {
    session: &'a SessionId,
    event: EventNumber,
    message: u64,
    role: &'a str,
    chars: u64,
    turn: Option<u64>,
    call: Option<u64>,
    content: Content,
    content_ref: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<Digest>,
}

impl<'a> Said<'a> {
    pub fn read(blobs: &Blobs, entry: &'a Entry<Message>) -> Result<Said<'a>, Failure> {
        let row = &entry.row;
        Ok(Said {
            session: &entry.session,
            event: entry.event,
            message: row.message.0,
            role: row.role.as_str(),
            chars: row.chars,
            turn: row.turn.map(|turn| turn.0),
            call: row.call.map(|call| call.0),
            content: content::text(blobs, row.content)?,
            content_ref: row.content,
            extra: row.extra,
        })
    }
}

/// A session's own row.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session<'a> {
    session: &'a SessionId,
    aliases: &'a [SessionId],
    kind: &'a Status,
    origin: Option<&'a str>,
    title: Option<&'a str>,
    status: &'a Status,
    cache_id: Option<&'a str>,
    started_at: Timestamp,
    updated_at: Timestamp,
    ended_at: Option<Timestamp>,
    current_head: Option<HeadId>,
    events: u64,
    turns: u64,
    heads: u64,
    source_session: Option<&'a SessionId>,
    source_head: Option<HeadId>,
}

impl<'a> Session<'a> {
    pub fn new(info: &'a SessionInfo) -> Session<'a> {
        Session {
            session: &info.session,
            aliases: &info.aliases,
            kind: &info.kind,
            origin: info.origin.as_deref(),
            title: info.title.as_deref(),
            status: &info.status,
            cache_id: info.cache_id.as_deref(),
            started_at: info.started_at,
            updated_at: info.updated_at,
            ended_at: info.ended_at,
            current_head: info.current_head,
            events: info.events,
            turns: info.turns,
            heads: info.heads,
            source_session: info.source.as_ref().map(|(session, _)| session),
            source_head: info.source.as_ref().map(|(_, head)| *head),
        }
    }
}

/// A head.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Head<'a> {
    head: HeadId,
    session: &'a SessionId,
    event: EventNumber,
    at: Timestamp,
    kind: &'static str,
    ordinal: u64,
    current: bool,
    turn: Option<TurnNumber>,
    basis: Option<HeadId>,
    up: Option<HeadId>,
    span: &'a Span,
    depth: u64,
    compaction: Option<HeadId>,
    #[serde(rename = "final")]
    final_value: Option<Digest>,
    snapshot: Option<SnapshotNumber>,
    vars: Option<Digest>,
}

impl<'a> Head<'a> {
    pub fn new(info: &'a HeadInfo) -> Head<'a> {
        Head {
            head: info.head,
            session: &info.session,
            event: info.event,
            at: info.at,
            kind: info.kind.as_str(),
            ordinal: info.ordinal,
            current: info.current,
            turn: info.turn,
            basis: info.basis,
            up: info.up,
            span: &info.span,
            depth: info.depth,
            compaction: info.compaction,
            final_value: info.final_value,
            snapshot: info.snapshot,
            vars: info.vars,
        }
    }
}

//! Facts in words: the title of an event, and what it concerns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use headwater::model::fold::Entry;
use headwater::model::line::Compact;
use headwater::model::{
    Call, CallType, EventNumber, HeadId, HeadKind, Invocation, Message, Role, SessionId, Status, Turn, View,
};
use headwater::store::Store;
use headwater::view::types::HeadInfo;
use serde::Serialize;

use super::paint;
use super::{Failure, width};

/// What rows say about the facts of one session.
pub struct Rows {
    view: View,
    kinds: HashMap<HeadId, HeadKind>,
    /// The place of each invocation, by its id.
    invocations: HashMap<String, usize>,
}

/// An event in words.
pub struct Fact {
    pub title: Cow<'static, str>,
    pub detail: String,
}

/// A cause, as JSON: its number, with its session where that is another one.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Because {
    Here(EventNumber),
    Elsewhere { session: SessionId, event: EventNumber },
}

impl Because {
    /// The latest of `causes`, which come latest first, seen from `session`.
    pub fn latest(causes: &[(SessionId, EventNumber)], session: &SessionId) -> Option<Because> {
        causes.first().map(|(at, event)| {
            if at == session {
                Because::Here(*event)
            } else {
                Because::Elsewhere { session: at.clone(), event: *event }
            }
        })
    }

    /// `because #3`, for people.
    pub fn text(because: Option<&Because>) -> String {
        match because {
            Some(Because::Here(event)) => format!("because #{event}"),
            Some(Because::Elsewhere { session, event }) => format!("because {session}#{event}"),
            None => String::new(),
        }
    }
}

/// A head as people see it: `head-` and 12 digits.
const HEAD: usize = 17;

/// How lines about facts are aligned.
pub struct Shape {
    digits: usize,
    detail: usize,
}

/// The narrowest and the widest column for what a fact concerns.
const DETAIL: RangeInclusive<usize> = 24..=48;

/// The column of titles.
const TITLE: usize = 18;

/// What a cause takes: `because #1234`.
const CAUSE: usize = 13;

impl Shape {
    /// For events up to `last`, whose details take up to `detail` columns.
    pub fn new(last: EventNumber, detail: usize) -> Shape {
        let digits = last.0.to_string().len().max(4);
        let others = 2 + 1 + digits + 2 + TITLE + 2 + 2 + CAUSE;
        let room = super::text::line_width(usize::MAX).saturating_sub(others);
        Shape { digits, detail: detail.clamp(*DETAIL.start(), *DETAIL.end()).min(room.max(10)) }
    }

    /// One aligned line about a fact.
    pub fn line(&self, event: &Compact, fact: &Fact, because: &str) -> String {
        let role = match event.status.as_deref() {
            _ if is_error(event) => paint::Role::Bad,
            Some("aborted" | "orphaned") => paint::Role::Open,
            _ => paint::Role::Plain,
        };
        let number = paint::Role::Faint.paint(format!("#{:0>width$}", event.id.0, width = self.digits));
        let detail = width::clip(&fact.detail, self.detail);
        let mut line = format!("  {number}  {}", role.paint(&fact.title));
        // Nothing is left at the end of the line by what is not shown.
        if !detail.is_empty() || !because.is_empty() {
            line = format!("{line}{}  {detail}", gap(&fact.title, TITLE));
        }
        if !because.is_empty() {
            line = format!("{line}{}  {}", gap(&detail, self.detail), paint::Role::Faint.paint(because));
        }
        line
    }
}

/// The spaces that are missing after `text` in a column.
fn gap(text: &str, column: usize) -> String {
    " ".repeat(column.saturating_sub(width::columns(text)))
}

/// Whether the timeline shows it: of a turn's versions only the first and the last.
pub fn shown(event: &Compact) -> bool {
    event.kind != "turn/put" || event.status.as_deref() != Some(Status::RUNNING.as_str())
}

/// Whether it tells of an error.
pub fn is_error(event: &Compact) -> bool {
    let failed = || matches!(event.status.as_deref(), Some("error" | "timeout"));
    match event.kind.as_str() {
        "session/error" | "invocation/failed" => true,
        "call/started" | "call/put" | "eval/added" | "eval/put" | "turn/put" => failed(),
        _ => false,
    }
}

/// The row of a number, in rows that stand in the order of their numbers.
fn row<T>(rows: &[Entry<T>], number: Option<u64>, of: impl Fn(&T) -> u64) -> Option<&Entry<T>> {
    let at = rows.binary_search_by_key(&number?, |entry| of(&entry.row)).ok()?;
    rows.get(at)
}

impl Rows {
    pub fn new(view: View, heads: &[HeadInfo]) -> Rows {
        let kinds = heads.iter().map(|head| (head.head, head.kind)).collect();
        let ids = view.invocations.iter().map(|entry| entry.row.id.clone());
        let invocations = ids.zip(0..).collect();
        Rows { view, kinds, invocations }
    }

    /// Those of all of `session`'s own events.
    pub fn read(store: &Store, session: &SessionId) -> Result<Rows, Failure> {
        let view = store.event_view(session)?.rows;
        Ok(Rows::new(view, &store.heads(session)?))
    }

    /// How wide the widest detail may be that these rows give a fact.
    pub fn detail_width(&self) -> usize {
        let children = self.view.invocations.iter().filter_map(|entry| entry.row.callee.as_ref());
        let children = children.map(|callee| width::columns(callee.as_str()));
        let models = self.view.calls.iter().filter_map(|entry| entry.row.model.as_deref());
        let models = models.map(|model| width::columns(model) + ", orphaned".len());
        let heads = self.kinds.values().map(|kind| match kind {
            HeadKind::Compaction | HeadKind::TurnAborted => HEAD + 1 + kind.as_str().len(),
            HeadKind::Genesis | HeadKind::TurnFinal => HEAD,
        });
        children.chain(models).chain(heads).max().unwrap_or_default()
    }

    fn call(&self, event: &Compact) -> Option<&Call> {
        row(&self.view.calls, event.call_id, |call| call.call.0).map(|entry| &entry.row)
    }

    fn message(&self, event: &Compact) -> Option<&Message> {
        row(&self.view.messages, event.message_id, |message| message.message.0).map(|entry| &entry.row)
    }

    fn turn(&self, event: &Compact) -> Option<&Entry<Turn>> {
        row(&self.view.turns, event.turn_id, |turn| turn.turn.0)
    }

    fn invocation(&self, event: &Compact) -> Option<&Invocation> {
        let at = self.invocations.get(event.invocation_id.as_deref()?)?;
        self.view.invocations.get(*at).map(|entry| &entry.row)
    }

    /// `event` in words.
    pub fn fact(&self, event: &Compact) -> Fact {
        let status = event.status.clone().unwrap_or_default();
        let (title, detail) = match event.kind.as_str() {
            "session/started" => {
                let from = event.source_head_id.map(|head| format!("from {}", head.short()));
                ("session opened".into(), from.unwrap_or_else(|| event.session.to_string()))
            }
            "session/status" => ("status changed".into(), status),
            "session/error" => ("session failed".into(), status),
            "session/restored" => ("state restored".into(), source(event)),
            "session/ref-updated" => ("session advanced".into(), head(event)),
            "message/added" => self.message_added(event),
            "turn/started" => ("turn started".into(), turn(event)),
            "turn/put" => self.turn_put(event),
            "call/started" | "call/put" => self.call_fact(event),
            "eval/added" | "eval/put" => self.eval_added(event),
            "snapshot/added" => self.snapshot_added(event),
            "head/created" => {
                let kind = event.head_id.and_then(|head| self.kinds.get(&head).copied());
                match kind {
                    Some(HeadKind::Genesis) => ("genesis checkpoint".into(), head(event)),
                    Some(kind @ (HeadKind::Compaction | HeadKind::TurnAborted)) => {
                        ("checkpoint sealed".into(), format!("{} {}", head(event), kind.as_str()))
                    }
                    Some(HeadKind::TurnFinal) | None => ("checkpoint sealed".into(), head(event)),
                }
            }
            "invocation/started" => ("child opened".into(), self.callee(event)),
            "invocation/completed" => ("child settled".into(), self.callee(event)),
            "invocation/failed" => ("child failed".into(), self.callee(event)),
            "invocation/caller-head-recorded" => ("caller linked".into(), self.callee(event)),
            other => {
                (super::content::one_line(other, 40).into(), event.turn_id.map(|_| turn(event)).unwrap_or_default())
            }
        };
        Fact { title, detail }
    }

    fn message_added(&self, event: &Compact) -> (Cow<'static, str>, String) {
        let detail = format!("message {}", event.row_id);
        let Some(message) = self.message(event) else { return ("message added".into(), detail) };
        let title = match &message.role {
            Role::User => "user input".into(),
            Role::System => "system prompt".into(),
            Role::Assistant => "root answered".into(),
            Role::Observation => "observation".into(),
            Role::Tool => "tool result".into(),
            Role::Summary => "summary added".into(),
            Role::Other(role) => format!("{} message", super::content::one_line(role, 40)).into(),
        };
        (title, format!("{detail}, {}", super::text::count(message.chars, "char", "chars")))
    }

    fn turn_put(&self, event: &Compact) -> (Cow<'static, str>, String) {
        // Only its last version is at hand; an earlier one has no final value unless its status says so.
        let has_final = self.turn(event).is_some_and(|t| t.event == event.id && t.row.final_value.is_some());
        let title = match event.status.as_deref() {
            Some("running") => "turn updated",
            Some("error") => "turn failed",
            Some("timeout") => "turn timed out",
            Some("aborted") => "turn aborted",
            Some("final") => "FINAL returned",
            _ if has_final => "FINAL returned",
            _ => "turn ended",
        };
        (title.into(), turn(event))
    }

    fn call_fact(&self, event: &Compact) -> (Cow<'static, str>, String) {
        let call = self.call(event);
        let named = call.and_then(|call| call.model.as_deref().or(call.provider.as_deref()));
        let child = call.and_then(|call| call.child.as_ref()).map(SessionId::as_str);
        let mut detail = match named.or(child) {
            Some(name) => super::content::one_line(name, 40),
            None => format!("call {}", event.row_id),
        };
        let call_type = call.map_or(&CallType::Root, |call| &call.call_type);
        let who: Cow<'static, str> = match call_type {
            CallType::Root => "root model".into(),
            CallType::Leaf | CallType::LeafBatchItem => "leaf".into(),
            CallType::Child | CallType::ChildBatchItem | CallType::AttachedChild => "child".into(),
            CallType::Tool => "tool".into(),
            CallType::Other(other) => super::content::one_line(other, 40).into(),
        };
        let failed = matches!(event.status.as_deref(), Some("error" | "timeout" | "orphaned" | "aborted"));
        if event.kind == "call/started" && !failed {
            return (format!("{who} called").into(), detail);
        }
        let title = match event.status.as_deref().unwrap_or_default() {
            "running" => "call updated".into(),
            "error" | "timeout" | "orphaned" | "aborted" => format!("{who} failed").into(),
            _ if matches!(call_type, CallType::Root) => "model response".into(),
            _ => format!("{who} answered").into(),
        };
        if let Some(status @ ("error" | "timeout" | "orphaned" | "aborted")) = event.status.as_deref() {
            detail = format!("{detail}, {status}");
        }
        (title, detail)
    }

    fn eval_added(&self, event: &Compact) -> (Cow<'static, str>, String) {
        let eval = row(&self.view.evals, event.eval_id, |eval| eval.eval.0).map(|entry| &entry.row);
        let name = eval.and_then(|eval| eval.name.as_deref()).map(|name| super::content::one_line(name, 40));
        let mut detail = format!("eval {}", event.row_id);
        if let Some(name) = name.filter(|name| name != "repl") {
            detail = format!("{detail}, {name}");
        }
        if let Some(status) = event.status.as_deref().filter(|status| *status != "ok") {
            detail = format!("{detail}, {status}");
        }
        let title = if event.kind == "eval/put" { "eval updated" } else { "repl evaluated" };
        (title.into(), detail)
    }

    fn snapshot_added(&self, event: &Compact) -> (Cow<'static, str>, String) {
        let snapshot = row(&self.view.snapshots, event.snapshot_id, |snapshot| snapshot.snapshot.0);
        let vars = snapshot.map(|snapshot| super::text::count(snapshot.row.restorable, "var", "vars"));
        let detail = [format!("snapshot {}", event.row_id)].into_iter().chain(vars).collect::<Vec<_>>().join(", ");
        ("snapshot saved".into(), detail)
    }

    fn callee(&self, event: &Compact) -> String {
        let invocation = self.invocation(event);
        match invocation.and_then(|invocation| invocation.callee.as_ref()) {
            Some(callee) => callee.to_string(),
            None => event.row_id.clone(),
        }
    }
}

fn turn(event: &Compact) -> String {
    event.turn_id.map(|turn| format!("turn {turn}")).unwrap_or_default()
}

fn head(event: &Compact) -> String {
    event.head_id.map(|head| head.short()).unwrap_or_default()
}

fn source(event: &Compact) -> String {
    let head = event.source_head_id.map(|head| head.short()).unwrap_or_default();
    match &event.source_session_id {
        Some(session) if *session != event.session => format!("{head} of {session}"),
        _ => head,
    }
}

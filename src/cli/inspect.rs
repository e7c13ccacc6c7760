//! `inspect`: everything about a session.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{Counters, Derivation, Digest, EventNumber, HeadId, Invocation, SessionId, Span, Timestamp};
use headwater::view::types::{History, RefInfo};
use serde::Serialize;

use super::paint::Role;
use super::rows::{Head, Row, Rows, Session, rows};
use super::text::{Align, Cell, Column};
use super::usage::{Part, Parts};
use super::{Context, Failure, content, text};

/// Show everything about a session: heads, relations, counters, usage
///
/// The session's own rows, never inherited ones; usage counts its calls and those of the sessions below it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater inspect demo
  headwater inspect demo --json | jq .usage.total")]
pub struct Args {
    /// Id, unique prefix or alias
    session: String,
}

#[derive(Serialize)]
struct Reference {
    current: HeadId,
    previous: Option<HeadId>,
    event: EventNumber,
    fingerprint: Digest,
    #[serde(rename = "updated-at")]
    updated: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    session: Session<'a>,
    counters: Counters,
    reference: Option<Reference>,
    heads: Vec<Head<'a>>,
    spans: &'a [Span],
    derivations: &'a [Derivation],
    invocations: Vec<Row<'a, Invocation>>,
    invoked_by: Vec<Row<'a, Invocation>>,
    usage: Parts,
    rows: Rows<'a>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let session = store.resolve_session(&args.session)?;
    let history = store.history_view(&session)?;
    let spans = match history.session.current_head {
        Some(head) => store.spans(&head)?,
        None => Vec::new(),
    };
    let usage = Parts::from(store.usage(&session)?);
    if context.json {
        context.print_json(&Report {
            session: Session::new(&history.session),
            counters: history.counters,
            reference: history.reference.as_ref().map(reference),
            heads: history.heads.iter().map(Head::new).collect(),
            spans: &spans,
            derivations: &history.derivations,
            invocations: rows(&history.invocations),
            invoked_by: rows(&history.invoked_by),
            usage,
            rows: Rows::new(&history.rows),
        })?;
        return Ok(0);
    }
    let mut out = context.text();
    print(&mut out, &history, &spans, &usage)?;
    let name = text::name(&history.session);
    let commands = [
        (format!("show {name}"), "its state at the current checkpoint"),
        (format!("events {name}"), "what happened, and why"),
        (format!("inspect {name} --json"), "every row"),
    ];
    text::next(&mut out, context, &commands)?;
    out.flush()?;
    Ok(0)
}

fn reference(info: &RefInfo) -> Reference {
    Reference {
        current: info.current,
        previous: info.previous,
        event: info.event,
        fingerprint: info.fingerprint,
        updated: info.updated,
    }
}

fn print(out: &mut impl Write, history: &History, spans: &[Span], usage: &Parts) -> Result<(), Failure> {
    let info = &history.session;
    let mut facts = vec![("session", info.session.to_string())];
    let aliases: Vec<_> = info.aliases.iter().map(SessionId::as_str).collect();
    if !aliases.is_empty() {
        facts.push(("aliases", aliases.join(", ")));
    }
    if let Some(title) = &info.title {
        facts.push(("title", content::one_line(title, 80)));
    }
    let origin = info.origin.as_ref().map(|origin| format!(" from {}", content::one_line(origin, 60)));
    facts.push(("kind", format!("{}{}", info.kind, origin.unwrap_or_default())));
    facts.push(("status", Role::of_status(info.status.as_str()).paint(&info.status).to_string()));
    facts.push(("started", text::time_and_ago(info.started_at)));
    facts.push(("updated", text::time_and_ago(info.updated_at)));
    facts.extend(info.ended_at.map(|at| ("ended", text::time_and_ago(at))));
    facts.extend(info.source.as_ref().map(|(session, head)| ("source", format!("{} of {session}", head.short()))));
    let rows = &history.rows;
    let counts = [
        text::count(info.events, "event", "events"),
        text::count(len(rows.messages.len()), "message", "messages"),
        text::count(len(rows.turns.len()), "turn", "turns"),
        text::count(len(rows.calls.len()), "call", "calls"),
        text::count(len(rows.evals.len()), "eval", "evals"),
        text::count(len(rows.snapshots.len()), "snapshot", "snapshots"),
    ];
    facts.push(("own rows", counts.join(", ")));
    if !spans.is_empty() {
        let spans: Vec<_> = spans.iter().map(|span| format!("{} {}..{}", span.session, span.from, span.to)).collect();
        facts.push(("sees", spans.join(", ")));
    }
    facts.push(("usage", usage_text(&usage.total)));
    if let Some(reference) = &history.reference {
        facts.push(("fingerprint", reference.fingerprint.to_string()));
    }
    for (key, value) in facts {
        writeln!(out, "{}  {value}", Role::Faint.paint(format!("{key:<11}")))?;
    }
    heads(out, history)?;
    relations(out, history)
}

fn heads(out: &mut impl Write, history: &History) -> Result<(), Failure> {
    writeln!(out, "\n{}", Role::Title.paint("heads"))?;
    let list: Vec<_> = history
        .heads
        .iter()
        .map(|head| {
            vec![
                Cell::new(format!("#{:04}", head.event.0), Role::Faint),
                head.head.short().into(),
                head.kind.as_str().into(),
                head.turn.map(|turn| format!("turn {turn}")).unwrap_or_default().into(),
                text::when(head.at).into(),
                Cell::new(if head.current { "current" } else { "" }, Role::Good),
            ]
        })
        .collect();
    let columns = [Column::from(Align::Left); 4].into_iter();
    let columns: Vec<_> = columns.chain([Column::spare(Align::Left, 1), Align::Left.into()]).collect();
    text::table(out, "  ", &columns, &list)
}

fn relations(out: &mut impl Write, history: &History) -> Result<(), Failure> {
    if !history.derivations.is_empty() {
        writeln!(out, "\n{}", Role::Title.paint("derivations"))?;
        for row in &history.derivations {
            let head = row.source_head.short();
            let kind = row.kind.as_str();
            writeln!(out, "  {kind:<7}  {head} of {} -> {}", row.source_session, row.target_session)?;
        }
    }
    let callee = |entry: &Entry<Invocation>| entry.row.callee.as_ref().map(SessionId::to_string).unwrap_or_default();
    invocations(out, "children", &history.invocations, callee)?;
    invocations(out, "called by", &history.invoked_by, |entry| entry.session.to_string())
}

/// Invocations with the session at their other end.
fn invocations(
    out: &mut impl Write,
    title: &str,
    list: &[Entry<Invocation>],
    other: impl Fn(&Entry<Invocation>) -> String,
) -> Result<(), Failure> {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", Role::Title.paint(title))?;
    let list: Vec<_> = list
        .iter()
        .map(|entry| {
            let number = Cell::new(format!("#{:04}", entry.event.0), Role::Faint);
            let status = Cell::status(entry.row.status.as_str());
            vec![number, other(entry).into(), entry.row.invocation_type.as_str().into(), status]
        })
        .collect();
    text::table(out, "  ", &[Align::Left; 4], &list)
}

fn usage_text(usage: &Part) -> String {
    format!(
        "{}, {} tokens in, {} out, {}",
        text::count(usage.calls, "model call", "model calls"),
        usage.tokens_input.text(),
        usage.tokens_output.text(),
        usage.cost.dollars(),
    )
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

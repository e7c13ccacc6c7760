//! `inspect`: everything about a session.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{Counters, Derivation, Digest, EventNumber, HeadId, Invocation, SessionId, Span, Timestamp};
use headwater::view::types::{History, RefInfo, Usage, Used};
use serde::Serialize;

use super::rows::{Head, Row, Rows, Session, rows};
use super::usage::Shown;
use super::{Context, Failure, content, text};

/// Show everything about a session: heads, relations, counters, usage
#[derive(clap::Args)]
#[command(after_help = "Example:  headwater inspect demo --json | jq .usage.total")]
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
    usage: Usage,
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
    let usage = store.usage(&session)?;
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

fn print(out: &mut impl Write, history: &History, spans: &[Span], usage: &Usage) -> Result<(), Failure> {
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
    facts.push(("status", info.status.to_string()));
    facts.push(("started", text::time(info.started_at)));
    facts.push(("updated", text::time(info.updated_at)));
    facts.extend(info.ended_at.map(|at| ("ended", text::time(at))));
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
    facts.push(("usage", usage_text(&usage.tree)));
    if let Some(reference) = &history.reference {
        facts.push(("fingerprint", reference.fingerprint.to_string()));
    }
    for (key, value) in facts {
        writeln!(out, "{key:<11}  {value}")?;
    }
    heads(out, history)?;
    relations(out, history)
}

fn heads(out: &mut impl Write, history: &History) -> Result<(), Failure> {
    writeln!(out, "\nheads")?;
    let list: Vec<_> = history
        .heads
        .iter()
        .map(|head| {
            vec![
                format!("#{:04}", head.event.0),
                head.head.short(),
                head.kind.as_str().to_owned(),
                head.turn.map(|turn| format!("turn {turn}")).unwrap_or_default(),
                text::time(head.at),
                if head.current { "current".to_owned() } else { String::new() },
            ]
        })
        .collect();
    text::table(out, "  ", &[text::Align::Left; 6], &list)
}

fn relations(out: &mut impl Write, history: &History) -> Result<(), Failure> {
    if !history.derivations.is_empty() {
        writeln!(out, "\nderivations")?;
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
    writeln!(out, "\n{title}")?;
    let list: Vec<_> = list
        .iter()
        .map(|entry| {
            let number = format!("#{:04}", entry.event.0);
            vec![number, other(entry), entry.row.invocation_type.to_string(), entry.row.status.to_string()]
        })
        .collect();
    text::table(out, "  ", &[text::Align::Left; 4], &list)
}

fn usage_text(usage: &Used) -> String {
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

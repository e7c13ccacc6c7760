//! `diff`: what two heads see, and what only one of them does.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use headwater::model::{EventNumber, HeadId, SessionId, Span};
use headwater::store::Store;
use headwater::view::types::HeadInfo;
use serde::Serialize;

use super::text::{self, Align};
use super::{Context, Failure, at};

/// Compare two heads
///
/// What both see, and what only one of them does: events by number, rows by kind.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater diff demo@1 demo
  headwater diff demo@1 demo@0 --json | jq .right.counts")]
pub struct Args {
    /// A head: id, unique prefix of at least 4 hex digits, pin or SESSION@N (N turns back); a session means its current head
    left: String,
    /// The other one
    right: String,
}

/// What one side holds.
#[derive(Serialize)]
struct Part {
    spans: Vec<Span>,
    events: u64,
    counts: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Side {
    head: HeadId,
    session: SessionId,
    kind: &'static str,
    #[serde(flatten)]
    part: Part,
}

#[derive(Serialize)]
struct Common {
    spans: Vec<Span>,
    events: u64,
}

#[derive(Serialize)]
struct Report {
    left: Side,
    right: Side,
    common: Common,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let left = head(&store, &args.left)?;
    let right = head(&store, &args.right)?;
    let compared = store.compare(&left.head, &right.head)?;
    let report = Report {
        left: side(&store, left, compared.left)?,
        right: side(&store, right, compared.right)?,
        common: Common { events: compared.common.iter().map(Span::len).sum(), spans: compared.common },
    };
    if context.json {
        context.print_json(&report)?;
        return Ok(0);
    }
    let mut out = context.text();
    let (left, right) = (&report.left, &report.right);
    let names = (name(&store, &left.session)?, name(&store, &right.session)?);
    writeln!(out, "diff - {} ({}) and {} ({})", left.head.short(), names.0, right.head.short(), names.1)?;
    let mut rows =
        vec![vec!["both".to_owned(), events(report.common.events), ranges(&report.common.spans), String::new()]];
    for (label, part) in [("only left", &left.part), ("only right", &right.part)] {
        rows.push(vec![label.to_owned(), events(part.events), ranges(&part.spans), counts(&part.counts)]);
    }
    text::table(&mut out, "  ", &[Align::Left, Align::Right, Align::Left, Align::Left], &rows)?;
    out.flush()?;
    Ok(0)
}

/// A head by whatever names one; a session's name means its current head.
fn head(store: &Store, text: &str) -> Result<HeadInfo, Failure> {
    Ok(store.head(&at::head(store, text)?)?)
}

fn side(store: &Store, head: HeadInfo, spans: Vec<Span>) -> Result<Side, Failure> {
    let part = part(store, spans)?;
    Ok(Side { head: head.head, session: head.session, kind: head.kind.as_str(), part })
}

/// The rows that `spans` write, each counted once however many versions it has there.
fn part(store: &Store, spans: Vec<Span>) -> Result<Part, Failure> {
    const CHUNK: u64 = 1_000;
    let kinds = [
        ("message", "messages"),
        ("turn", "turns"),
        ("call", "calls"),
        ("eval", "evals"),
        ("snapshot", "snapshots"),
        ("invocation", "invocations"),
        ("annotation", "annotations"),
    ];
    let mut seen = HashSet::new();
    let mut counts: BTreeMap<_, _> = kinds.iter().map(|(_, plural)| (*plural, 0)).collect();
    for span in &spans {
        let mut since = span.from.0.saturating_sub(1);
        while since < span.to.0 {
            let limit = usize::try_from(CHUNK.min(span.to.0 - since)).unwrap_or(usize::MAX);
            let events = store.events_since(&span.session, EventNumber(since), limit)?;
            let Some(last) = events.last() else { break };
            since = last.id.0;
            for event in events {
                let Some((kind, plural)) = kinds.iter().find(|(kind, _)| *kind == event.row_kind) else { continue };
                // The number of an annotation is its event's: with the session it is one of a kind.
                if seen.insert((*kind, span.session.clone(), event.row_id))
                    && let Some(count) = counts.get_mut(plural)
                {
                    *count += 1;
                }
            }
        }
    }
    Ok(Part { events: spans.iter().map(Span::len).sum(), spans, counts })
}

fn name(store: &Store, session: &SessionId) -> Result<SessionId, Failure> {
    Ok(text::name(&store.session(session)?).clone())
}

fn events(number: u64) -> String {
    text::count(number, "event", "events")
}

fn ranges(spans: &[Span]) -> String {
    let spans: Vec<_> = spans.iter().map(|span| format!("{} {}..{}", span.session, span.from, span.to)).collect();
    if spans.is_empty() { "-".to_owned() } else { spans.join(", ") }
}

fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(plural, count)| text::count(*count, plural.trim_end_matches('s'), plural))
        .collect();
    counts.join(", ")
}

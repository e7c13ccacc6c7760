//! `events`: the audit panel and the timeline of a session, and the causal chain of one fact.

use std::collections::{HashMap, VecDeque};
use std::io::Write;

use headwater::model::line::Compact;
use headwater::model::{CallType, EventNumber, HeadId, SessionId, Timestamp};
use headwater::store::Store;
use headwater::store::error::ReadError;
use headwater::view::types::History;
use serde::Serialize;

use super::facts::{self, Because, Rows, Shape};
use super::paint::Role;
use super::{Context, Failure, json, text, width};

/// Show what happened in a session, in what order, and why
///
/// The audit panel and the timeline of the session's own log, each fact with the one that caused it. With --event, the
/// whole chain of causes of one fact.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater events demo
  headwater events demo --limit 5
  headwater events demo --event 31")]
pub struct Args {
    /// Id, unique prefix or alias
    session: String,
    /// Why fact N happened: its causes, and theirs
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    event: Option<u64>,
    /// The last N rows of the timeline [text: 100, JSON: all]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    limit: Option<usize>,
    /// Every row, updates of running turns too; with --event, causes beyond the head built on
    #[arg(long)]
    all: bool,
}

/// How much of a timeline a person is shown unasked.
const LIMIT: usize = 100;

/// How many events are held at once.
const CHUNK: usize = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Counts {
    facts: u64,
    turns: u64,
    model_calls: u64,
    leaves: u64,
    children: u64,
    checkpoints: u64,
    errors: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    event: EventNumber,
    title: &'a str,
    detail: &'a str,
    because: Option<Because>,
    at: Timestamp,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
struct Link<'a> {
    event: EventNumber,
    session: &'a SessionId,
    title: &'a str,
    detail: &'a str,
    because: Option<Because>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let session = store.resolve_session(&args.session)?;
    match args.event {
        Some(event) => chain(&store, &session, EventNumber(event), args.all, context)?,
        None => audit(&store, &session, args, context)?,
    }
    Ok(0)
}

/// Calls `each` with every event after `since`, a chunk in memory at a time.
fn scan(
    store: &Store,
    session: &SessionId,
    since: EventNumber,
    mut each: impl FnMut(Compact) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut since = since;
    loop {
        let events = store.events_since(session, since, CHUNK)?;
        let whole = events.len() == CHUNK;
        for event in events {
            since = event.id;
            each(event)?;
        }
        if !whole {
            return Ok(());
        }
    }
}

/// What is said about the whole, and where the timeline begins.
struct Panel {
    name: SessionId,
    counts: Counts,
    current: Option<(HeadId, EventNumber)>,
    since: EventNumber,
    /// Rows before the first one shown.
    left_out: usize,
    /// The last event that was counted: the panel and the timeline are of one point.
    last: EventNumber,
    rows: Rows,
}

fn panel(store: &Store, session: &SessionId, limit: usize, all: bool) -> Result<Panel, Failure> {
    let History { session: info, rows, heads, invocations, reference, .. } = store.history_view(session)?;
    let mut shown = 0_usize;
    let mut last_shown = VecDeque::new();
    let (mut facts, mut errors) = (EventNumber(0), 0);
    scan(store, session, EventNumber(0), |event| {
        facts = event.id;
        errors += u64::from(facts::is_error(&event));
        if all || facts::shown(&event) {
            shown += 1;
            last_shown.push_back(event.id);
            if last_shown.len() > limit {
                last_shown.pop_front();
            }
        }
        Ok(())
    })?;
    // An inherited call that ends here was called elsewhere: only what this session started counts.
    let calls = |types: &[CallType]| len(rows.calls.iter().filter(|call| types.contains(&call.row.call_type)).count());
    let counts = Counts {
        facts: facts.0,
        turns: info.turns,
        model_calls: calls(&[CallType::Root]),
        leaves: calls(&[CallType::Leaf, CallType::LeafBatchItem]),
        children: len(invocations.len()),
        checkpoints: info.heads.saturating_sub(1),
        errors,
    };
    Ok(Panel {
        name: text::name(&info).clone(),
        counts,
        current: reference.map(|reference| (reference.current, reference.event)),
        since: EventNumber(last_shown.front().map_or(facts.0, |first| first.0.saturating_sub(1))),
        left_out: shown - last_shown.len(),
        last: facts,
        rows: Rows::new(rows, &heads),
    })
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn audit(store: &Store, session: &SessionId, args: &Args, context: &Context) -> Result<(), Failure> {
    let unasked = if context.json || args.all { usize::MAX } else { LIMIT };
    let panel = panel(store, session, args.limit.unwrap_or(unasked), args.all)?;
    let timeline = |each: &mut dyn FnMut(Compact) -> Result<(), Failure>| {
        scan(store, session, panel.since, |event| {
            if event.id <= panel.last && (args.all || facts::shown(&event)) { each(event) } else { Ok(()) }
        })
    };
    let because = |event: EventNumber| -> Result<Option<Because>, Failure> {
        Ok(Because::latest(&store.causes(session, event)?, session))
    };
    if context.json {
        let mut object = json::Object::begin(context.json())?;
        object.put("session", session)?;
        object.put("counts", &panel.counts)?;
        object.put("current-head", &panel.current.map(|(head, _)| head))?;
        object.put("current-head-event", &panel.current.map(|(_, event)| event))?;
        object.array("timeline", |array| {
            timeline(&mut |event| {
                let fact = panel.rows.fact(&event);
                let because = because(event.id)?;
                let (title, detail) = (&*fact.title, fact.detail.as_str());
                array.push(&Row { event: event.id, title, detail, because, at: event.at, kind: &event.kind })
            })
        })?;
        return object.end();
    }
    let mut out = context.text();
    print_panel(&mut out, &panel)?;
    writeln!(out, "\n{}", Role::Title.paint("timeline"))?;
    let shape = Shape::new(panel.last, panel.rows.detail_width());
    if panel.left_out > 0 {
        writeln!(out, "  …      {} earlier, see --all", panel.left_out)?;
    }
    timeline(&mut |event| {
        let because = Because::text(because(event.id)?.as_ref());
        Ok(writeln!(out, "{}", shape.line(&event, &panel.rows.fact(&event), &because))?)
    })?;
    let name = &panel.name;
    let asked = panel.current.map_or(panel.last, |(_, event)| event);
    let commands = [
        (format!("show {name}"), "inspect current checkpoint"),
        (format!("events {name} --event {asked}"), "ask why that fact happened"),
        (format!("stream {name}"), "raw JSONL facts for scripts"),
    ];
    text::next(&mut out, context, &commands)?;
    Ok(out.flush()?)
}

fn print_panel(out: &mut impl Write, panel: &Panel) -> Result<(), Failure> {
    let counts = &panel.counts;
    let mut words = vec![
        text::count(counts.facts, "fact", "facts"),
        text::count(counts.turns, "turn", "turns"),
        text::count(counts.model_calls, "model call", "model calls"),
        text::count(counts.leaves, "leaf", "leaves"),
        text::count(counts.children, "child", "children"),
        text::count(counts.checkpoints, "checkpoint", "checkpoints"),
    ];
    if counts.errors > 0 {
        words.push(text::count(counts.errors, "error", "errors"));
    }
    writeln!(out, "audit - {}", Role::Title.paint(&panel.name))?;
    writeln!(out, "  {}", words.join(" - "))?;
    match panel.current {
        Some((head, event)) => writeln!(out, "  current checkpoint {} via event #{event}", head.short())?,
        None => writeln!(out, "  no current checkpoint")?,
    }
    Ok(writeln!(out, "  event log explains what happened; checkpoints restore state")?)
}

fn chain(store: &Store, session: &SessionId, event: EventNumber, all: bool, context: &Context) -> Result<(), Failure> {
    let links = store.causal_chain(session, event, all)?;
    if links.is_empty() {
        return Err(ReadError::NotFound { what: "event", name: event.to_string() }.into());
    }
    let mut rows: HashMap<SessionId, Rows> = HashMap::new();
    for link in &links {
        if !rows.contains_key(&link.event.session) {
            rows.insert(link.event.session.clone(), Rows::read(store, &link.event.session)?);
        }
    }
    let fact = |event: &Compact| rows.get(&event.session).map(|rows| rows.fact(event));
    let title = links.last().and_then(|link| fact(&link.event)).map(|fact| fact.title).unwrap_or_default();
    let linked = links.len();
    if context.json {
        let mut object = json::Object::begin(context.json())?;
        object.put("session", session)?;
        object.put("event", &event)?;
        object.put("title", &title)?;
        object.put("linked", &linked)?;
        object.array("chain", |array| {
            for link in &links {
                let Some(fact) = fact(&link.event) else { continue };
                array.push(&Link {
                    event: link.event.id,
                    session: &link.event.session,
                    title: &fact.title,
                    detail: &fact.detail,
                    because: Because::latest(&link.causes, &link.event.session),
                })?;
            }
            Ok(())
        })?;
        return object.end();
    }
    let mut out = context.text();
    let details = links.iter().filter_map(|link| fact(&link.event)).map(|fact| width::columns(&fact.detail));
    let last = links.iter().map(|link| link.event.id).max().unwrap_or_default();
    let shape = Shape::new(last, details.max().unwrap_or_default());
    writeln!(out, "why event #{event} - {}", Role::Title.paint(title))?;
    writeln!(out, "  {}\n", text::count(len(linked), "linked fact", "linked facts"))?;
    for link in &links {
        let Some(fact) = fact(&link.event) else { continue };
        let mut because = Because::text(Because::latest(&link.causes, &link.event.session).as_ref());
        if link.event.session != *session {
            because = format!("{because} in {}", link.event.session);
        }
        writeln!(out, "{}", shape.line(&link.event, &fact, because.trim_start()))?;
    }
    let name = text::name(&store.session(session)?).clone();
    let mut commands = vec![(format!("events {name}"), "the whole timeline")];
    let payload = links.last().and_then(|link| link.event.payload_ref);
    commands
        .extend(payload.map(|digest| (format!("cat {}", super::content::short(digest)), "the payload of that fact")));
    text::next(&mut out, context, &commands)?;
    Ok(out.flush()?)
}

//! `prime`: what an agent that takes a session over must know, in little text.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{Call, EventNumber, Invocation, Status, Turn};
use headwater::store::{Range, Scope, Store};
use headwater::view::types::{Node, Used};
use serde::Serialize;

use super::at::{At, Found};
use super::content::{self, Content};
use super::outcome::Outcome;
use super::usage::Shown;
use super::{Context, Failure, rows, text};

/// Tell in few words where a session stands, and how to go on
///
/// For whoever takes the session over, a person or an agent: what it was asked, what its last turns came to, which
/// calls and children never ended, and the commands that go on from there. At a head that was chosen it says only what that
/// head knows: tokens and cost are of the whole session, and left out.
#[derive(clap::Args)]
#[command(after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater prime demo
  headwater prime demo@1 --limit 1
  headwater prime demo --json | jq -r '.open[].text'")]
pub struct Args {
    /// A session, or a node below one: demo, demo/child-0001 [default: the session changed last]
    session: Option<String>,
    #[command(flatten)]
    at: At,
    /// How many of the last turns
    #[arg(long, value_name = "N", default_value_t = 5)]
    limit: usize,
}

/// How much of an input and of a final value.
const WIDTH: usize = 160;
/// How many calls, invocations and events are looked at for what is open, and how many children are named.
const LOOKED_AT: usize = 1_000;
const CHILDREN: usize = 20;

#[derive(Serialize)]
struct Said {
    turn: u64,
    status: Status,
    input: Option<Content>,
    #[serde(rename = "final")]
    final_value: Option<Content>,
}

/// Something that was begun and not ended, or failed.
#[derive(Serialize)]
struct Open {
    kind: &'static str,
    id: u64,
    status: String,
    text: String,
}

#[derive(Serialize)]
struct Child {
    node: String,
    session: Option<headwater::model::SessionId>,
    status: Status,
    label: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    session: rows::Session<'a>,
    head: Option<rows::Head<'a>>,
    status: &'a str,
    task: Option<Content>,
    turns: Vec<Said>,
    open: Vec<Open>,
    children: Vec<Child>,
    /// Of the whole session: none where a head was chosen.
    usage: Option<Used>,
    commands: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let found = args.at.find(&store, context, args.session.as_deref())?;
    let outcome = found.outcome(&store)?;
    let mut scope = found.scope();
    let mut first = store.records::<Turn>(found.session(), scope, Range::default())?.next().transpose()?;
    if first.is_none() && found.chosen.is_none() {
        // A first turn that was cut off is at no checkpoint, and the task all the same.
        scope = Scope::Log;
        first = store.records::<Turn>(found.session(), scope, Range::default())?.next().transpose()?;
    }
    let newest = store.records::<Turn>(found.session(), scope, Range::newest_first())?;
    let mut last = newest.take(args.limit).collect::<Result<Vec<_>, _>>()?;
    last.reverse();
    let read = |digest: Option<_>| digest.map(|digest| content::value(&store, digest)).transpose();
    let task = read(first.and_then(|turn| turn.row.input))?;
    let mut said = Vec::new();
    for Entry { row, .. } in last {
        let (input, final_value) = (read(row.input)?, read(row.final_value)?);
        said.push(Said { turn: row.turn.0, status: row.status, input, final_value });
    }
    let open = open(&store, &found)?;
    let children = children(&store, &found)?;
    let (turns, usage) = match found.chosen {
        Some(head) => (store.root_of(&head)?.counters.turn, None),
        None => (found.info.turns, Some(store.usage(found.session())?.tree)),
    };
    let commands = commands(&found, &outcome, &children);
    if context.json {
        context.print_json(&Report {
            session: rows::Session::new(&found.info),
            head: found.head.as_ref().map(rows::Head::new),
            status: &outcome.status,
            task,
            turns: said,
            open,
            children,
            usage,
            commands: commands.iter().map(|(command, _)| context.command(command)).collect(),
        })?;
        return Ok(outcome.code());
    }
    let mut out = context.text();
    writeln!(out, "{} - {}", found.called(), outcome.status)?;
    if let Some(head) = &found.head {
        writeln!(out, "  checkpoint {} of {}", head.head.short(), text::time(head.at))?;
    }
    let mut counts = text::count(turns, "turn", "turns");
    if let Some(usage) = &usage {
        let below = if children.is_empty() { "" } else { " with children" };
        let calls = text::count(usage.calls, "model call", "model calls");
        counts = format!("{counts} - {calls}{below} - {}{below}", usage.cost.dollars());
    }
    writeln!(out, "  {counts}")?;
    if let Some(task) = &task {
        writeln!(out, "\ntask\n  {}", task.one_line(WIDTH))?;
    }
    if !said.is_empty() {
        writeln!(out, "\nlast turns")?;
    }
    for turn in &said {
        let line = |content: &Option<Content>| content.as_ref().map(|content| content.one_line(WIDTH));
        writeln!(out, "  {} {}", turn.turn, turn.status)?;
        writeln!(out, "    asked  {}", line(&turn.input).unwrap_or_else(|| "(nothing)".to_owned()))?;
        writeln!(out, "    final  {}", line(&turn.final_value).unwrap_or_else(|| "(none)".to_owned()))?;
    }
    writeln!(out, "\nopen")?;
    if open.is_empty() {
        writeln!(out, "  nothing")?;
    }
    for item in &open {
        writeln!(out, "  {} {} {}  {}", item.kind, item.id, item.status, item.text)?;
    }
    if !children.is_empty() {
        writeln!(out, "\nlast children")?;
    }
    for child in &children {
        let label = child.label.as_deref().map(|label| content::one_line(label, 80)).unwrap_or_default();
        writeln!(out, "  {}  {}  {label}", child.node, child.status)?;
    }
    text::next(&mut out, context, &commands)?;
    out.flush()?;
    Ok(outcome.code())
}

/// What is not settled: what still runs or failed among the last things, and what no checkpoint keeps yet.
fn open(store: &Store, found: &Found) -> Result<Vec<Open>, Failure> {
    let (session, blobs) = (found.session(), store.blobs());
    // A turn that was cut off lies beside the branch: of the whole log the last one tells.
    let scope = found.chosen.map_or(Scope::Log, Scope::Head);
    let preview = |digest: Option<_>| -> Result<String, Failure> {
        Ok(digest.map(|digest| content::preview(&blobs, digest, 80)).transpose()?.unwrap_or_default())
    };
    let unsettled =
        |status: &Status| status.is_running() || matches!(status.as_str(), "error" | "timeout" | "orphaned");
    let mut open = Vec::new();
    let last = store.records::<Turn>(session, scope, Range::newest_first())?.next().transpose()?;
    if let Some(Entry { row, .. }) = last.as_ref().filter(|turn| turn.row.status.as_str() != "final") {
        let text = preview(row.error.or(row.input))?;
        open.push(Open { kind: "turn", id: row.turn.0, status: row.status.to_string(), text });
    }
    // Of the last turn alone: what went wrong before it, it knew of.
    let turn = last.map(|turn| turn.row.turn);
    for call in store.records::<Call>(session, scope, Range::newest_first())?.take(LOOKED_AT) {
        let Entry { row, .. } = call?;
        if row.turn != turn {
            break;
        }
        if unsettled(&row.status) {
            let text = format!("{} {}", row.call_type.as_str(), preview(row.error.or(row.input))?);
            open.push(Open { kind: "call", id: row.call.0, status: row.status.to_string(), text });
        }
    }
    for invocation in store.records::<Invocation>(session, scope, Range::newest_first())?.take(CHILDREN) {
        let Entry { row, .. } = invocation?;
        if unsettled(&row.status) {
            let callee = row.callee.as_ref().map(ToString::to_string).unwrap_or_default();
            let text = format!("{callee} {}", preview(row.error.or(row.input))?);
            open.push(Open { kind: "invocation", id: row.invocation.0, status: row.status.to_string(), text });
        }
    }
    let since = store.reference(session)?.map_or(EventNumber(0), |reference| reference.event);
    let later = store.events_since(session, since, LOOKED_AT)?;
    let in_none = later.iter().rev().take_while(|event| event.kind != "head/created").any(|event| kept(&event.kind));
    if found.chosen.is_none() && in_none {
        let text = "facts that no checkpoint keeps yet".to_owned();
        open.push(Open { kind: "event", id: since.0 + 1, status: "unsealed".to_owned(), text });
    }
    Ok(open)
}

/// Whether a head would keep it: not bookkeeping.
fn kept(kind: &str) -> bool {
    !kind.starts_with("session/") && kind != "invocation/caller-head-recorded"
}

/// The last children, in their order.
fn children(store: &Store, found: &Found) -> Result<Vec<Child>, Failure> {
    let scope = found.chosen.map_or(Scope::Log, Scope::Head);
    let newest = store.records::<Invocation>(found.session(), scope, Range::newest_first())?;
    let mut children = Vec::new();
    for invocation in newest.take(CHILDREN) {
        let label = headwater::model::Label::Invocation(invocation?.row.invocation.0);
        let mut name = found.name.clone();
        name.address = name.address.child(label);
        // A row of the session that this one was made from is no child of it.
        let node: Node = match store.load_node(&name) {
            Ok(node) => node,
            Err(headwater::store::ReadError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        children.push(Child {
            node: node.name.to_string(),
            session: node.session,
            status: node.status,
            label: node.label,
        });
    }
    children.reverse();
    Ok(children)
}

fn commands(found: &Found, outcome: &Outcome, children: &[Child]) -> Vec<(String, &'static str)> {
    let name = found.called();
    let head = found.chosen.map(|head| format!(" --head {}", head.short())).unwrap_or_default();
    let mut commands = vec![(format!("resume {name} \"TASK\"{head}"), "go on from here")];
    let fork = text::fork_name(text::name(&found.info));
    commands.push((format!("fork {name}{head} --name {fork}"), "try another way, this one untouched"));
    commands.push((format!("show {name}{head} --json"), "every message and row"));
    commands.extend(outcome.final_value.map(|_| (format!("show {name}{head} --final"), "the final value in full")));
    commands.push((format!("events {name}"), "what happened, and why"));
    commands.extend((!children.is_empty()).then(|| (format!("tree {name}"), "children and forks")));
    commands
}

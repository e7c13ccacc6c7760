//! `show`: the state of a session at a head.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{Call, CallType, Eval, HeadId, Invocation, Message, TurnNumber};
use headwater::store::{Range, Scope, Store};
use headwater::view::types::{HeadInfo, SessionInfo};
use serde::Serialize;

use super::at::{At, Found};
use super::content::{self, Content};
use super::outcome::{self, Outcome};
use super::paint::Role;
use super::rows::{self, Said};
use super::{Context, Failure, json, leaves, text};

/// Show the state of a session at its current head, or another
///
/// What a session that goes on from there would see: its last messages and the final value; with --json every row.
#[derive(clap::Args)]
#[command(after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater show demo
  headwater show demo@1
  headwater show demo --turn 1 --final
  headwater show demo --json | jq -r '.messages[] | .role + \": \" + .content'")]
pub struct Args {
    /// A session, a node below one, NODE@N, a head, or a pin of one [default: the session changed last]
    #[arg(value_name = "NODE")]
    session: Option<String>,
    #[command(flatten)]
    at: At,
    /// Print only the final value, as it was given
    #[arg(long = "final")]
    final_value: bool,
    /// Print only the leaf calls, as `leaves` does
    #[arg(long, conflicts_with = "final_value")]
    leaves: bool,
}

/// How many messages a person is shown.
const MESSAGES: usize = 8;

/// How many of the last calls are looked at for a leaf.
const LOOKED_AT: usize = 64;

/// How much of each, where no terminal sets a limit.
const WIDTH: usize = 100;

/// What stands before a message.
const BEFORE: usize = 2 + 6 + 1 + 11 + 2;

#[derive(Serialize)]
struct Stands {
    turn: Option<TurnNumber>,
    status: String,
    #[serde(rename = "final")]
    final_value: Option<Content>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let found = args.at.find(&store, context, args.session.as_deref())?;
    let outcome = found.outcome(&store)?;
    if args.leaves {
        return leaves::print(&store, context, &found, None);
    }
    let called = found.called();
    let Found { info, head, chosen, .. } = found;
    if args.final_value {
        print_final(&store, context, &info, &outcome)?;
    } else if context.json {
        print_json(&store, context, &info, head.as_ref(), &outcome)?;
    } else {
        print_text(&store, context, &info, head.as_ref(), (&called, chosen), &outcome)?;
    }
    Ok(outcome.code())
}

fn stands(store: &Store, outcome: &Outcome) -> Result<Stands, Failure> {
    let final_value = outcome.final_value.map(|digest| content::value(store, digest)).transpose()?;
    Ok(Stands { turn: outcome.turn, status: outcome.status.clone(), final_value })
}

fn print_final(store: &Store, context: &Context, info: &SessionInfo, outcome: &Outcome) -> Result<(), Failure> {
    if context.json {
        return context.print_json(&stands(store, outcome)?);
    }
    let Some(digest) = outcome.final_value else {
        context.notice(&format!("{} has no final value: {}", text::name(info), outcome.status));
        return Ok(());
    };
    let mut out = context.bytes();
    if content::copy(store, digest, &mut out)? != Some(b'\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn print_json(
    store: &Store,
    context: &Context,
    info: &SessionInfo,
    head: Option<&HeadInfo>,
    outcome: &Outcome,
) -> Result<(), Failure> {
    let state = match head {
        Some(head) => store.view_at(&info.session, &head.head)?,
        None => store.event_view(&info.session)?,
    };
    let counters = match head {
        Some(head) => store.root_of(&head.head)?.counters,
        None => store.high_water_counters(&info.session)?,
    };
    let view = &state.rows;
    let blobs = store.blobs();
    let mut object = json::Object::begin(context.json())?;
    object.put("session", &rows::Session::new(info))?;
    object.put("head", &head.map(rows::Head::new))?;
    object.put("outcome", &stands(store, outcome)?)?;
    object.put("counters", &counters)?;
    object.array("messages", |array| {
        view.messages.iter().try_for_each(|entry| array.push(&Said::read(&blobs, entry)?))
    })?;
    object.put("turns", &rows::rows(&view.turns))?;
    object.put("calls", &rows::rows(&view.calls))?;
    object.put("evals", &rows::rows(&view.evals))?;
    object.put("snapshots", &rows::rows(&view.snapshots))?;
    object.put("invocations", &rows::rows(&view.invocations))?;
    object.end()
}

fn print_text(
    store: &Store,
    context: &Context,
    info: &SessionInfo,
    head: Option<&HeadInfo>,
    (name, chosen): (&str, Option<HeadId>),
    outcome: &Outcome,
) -> Result<(), Failure> {
    let mut out = context.text();
    let going_on = if info.status.is_running() && outcome.status != info.status.as_str() { ", running" } else { "" };
    writeln!(
        out,
        "{} - {}{going_on}",
        Role::Title.paint(name),
        Role::of_status(&outcome.status).paint(&outcome.status)
    )?;
    let line = text::line_width(WIDTH + 2).saturating_sub(2);
    if let Some(title) = &info.title {
        writeln!(out, "  {}", content::one_line(title, line))?;
    }
    match head {
        Some(head) => {
            let which = if head.current { "current checkpoint" } else { "checkpoint" };
            let turn = head.turn.map(|turn| format!(", turn {turn}")).unwrap_or_default();
            let kind = head.kind.as_str();
            let sealed = format!("of {}", text::time_and_ago(head.at));
            text::wrapped(
                &mut out,
                &[&format!("{which} {}", head.head.short()), &format!("({kind}{turn})"), &sealed],
                " ",
            )?;
        }
        None => writeln!(out, "  no current checkpoint: what was recorded so far")?,
    }
    let counts = [
        text::count(info.events, "fact", "facts"),
        text::count(info.turns, "turn", "turns"),
        text::count(info.heads.saturating_sub(1), "checkpoint", "checkpoints"),
    ];
    text::wrapped(&mut out, &counts.each_ref().map(String::as_str), " - ")?;
    let aborted = outcome::aborted_head(store, info)?.filter(|_| chosen.is_none());
    if let Some(head) = aborted {
        let keeps = format!("{} keeps what it had built", head.short());
        text::wrapped(&mut out, &["the last turn was aborted:", &keeps], " ")?;
    }
    if let Some((session, head)) = &info.source {
        writeln!(out, "  from {} of {session}", head.short())?;
    }
    let (said, more) = last_messages(store, info, head)?;
    if !said.is_empty() {
        writeln!(out, "\n{}", Role::Title.paint(if more { "last messages" } else { "messages" }))?;
        let blobs = store.blobs();
        let room = text::line_width(BEFORE + WIDTH).saturating_sub(BEFORE).max(12);
        for entry in &said {
            let text = match entry.row.chars {
                0 => "(empty)".to_owned(),
                _ => content::preview(&blobs, entry.row.content, room)?,
            };
            let role = content::one_line(entry.row.role.as_str(), 20);
            let number = Role::Faint.paint(format!("{:<6}", entry.row.message.0));
            writeln!(out, "  {number} {role:<11}  {text}")?;
        }
    }
    if let Some(digest) = outcome.final_value {
        let value = content::preview(&store.blobs(), digest, line)?;
        writeln!(out, "\n{}\n  {value}", Role::Title.paint("final"))?;
    }
    let mut commands = next(store, info, (name, chosen), outcome)?;
    commands.extend(aborted.map(|head| (format!("show {}", head.short()), "what the aborted turn had built")));
    text::next(&mut out, context, &commands)?;
    Ok(out.flush()?)
}

/// The last messages visible, the oldest first, and whether there are more.
fn last_messages(
    store: &Store,
    info: &SessionInfo,
    head: Option<&HeadInfo>,
) -> Result<(Vec<Entry<Message>>, bool), Failure> {
    let scope = head.map_or(Scope::Current, |head| Scope::Head(head.head));
    let newest = store.messages(&info.session, scope, Range::newest_first())?;
    let mut said = newest.take(MESSAGES + 1).collect::<Result<Vec<_>, _>>()?;
    said.reverse();
    let more = said.len() > MESSAGES;
    if more {
        said.remove(0);
    }
    Ok((said, more))
}

/// The commands that drill in, those first that lead to something.
fn next(
    store: &Store,
    info: &SessionInfo,
    (name, chosen): (&str, Option<HeadId>),
    outcome: &Outcome,
) -> Result<Vec<(String, &'static str)>, Failure> {
    let head = chosen.map(|head| format!(" --head {}", head.short())).unwrap_or_default();
    let scope = chosen.map_or(Scope::Current, Scope::Head);
    let session = &info.session;
    let mut commands = vec![(format!("events {name}"), "what happened, and why")];
    let last_eval = store.records::<Eval>(session, scope, Range::newest_first())?.next().transpose()?;
    commands.extend(last_eval.map(|eval| (format!("step {name} {}{head}", eval.row.eval), "the last step in full")));
    let child = store.records::<Invocation>(session, Scope::Log, Range::newest_first())?.next().transpose()?;
    commands.extend(child.map(|_| (format!("tree {name}"), "its children and forks")));
    let mut calls = store.records::<Call>(session, scope, Range::newest_first())?.take(LOOKED_AT);
    let is_leaf = |call: &CallType| matches!(call, CallType::Leaf | CallType::LeafBatchItem);
    if calls.any(|call| call.is_ok_and(|call| is_leaf(&call.row.call_type))) {
        commands.push((format!("leaves {name}{head}"), "what leaf models were asked"));
    }
    commands.push((format!("cost {name}"), "tokens and cost"));
    commands.push((format!("show {name}{head} --json"), "every row, with its payloads"));
    commands.push((format!("inspect {name}"), "heads, relations, usage"));
    commands.extend(outcome.final_value.map(|digest| (format!("cat {}", content::short(digest)), "the final value")));
    commands.push((format!("resume {name} \"TASK\"{head}"), "go on from here"));
    let fork = text::fork_name(text::name(info));
    commands.push((format!("fork {name}{head} --name {fork}"), "start another from here"));
    Ok(commands)
}

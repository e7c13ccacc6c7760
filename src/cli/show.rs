//! `show`: the state of a session at a head.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{HeadId, Message, SessionId, TurnNumber};
use headwater::store::Store;
use headwater::view::types::{HeadInfo, SessionInfo};
use serde::Serialize;

use super::at::At;
use super::content::{self, Content};
use super::outcome::{self, Outcome};
use super::paint::Role;
use super::rows::{self, Said};
use super::{Context, Failure, json, text};

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
    /// Id, unique prefix or alias, SESSION@N, or a head [default: the session changed last]
    session: Option<String>,
    #[command(flatten)]
    at: At,
    /// Print only the final value, as it was given
    #[arg(long = "final")]
    final_value: bool,
}

/// How many messages a person is shown.
const MESSAGES: usize = 8;

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
    let (session, chosen) = match &args.session {
        Some(named) => args.at.session(&store, named)?,
        None => {
            let session = latest(&store)?;
            let chosen = args.at.resolve(&store, &session)?;
            (session, chosen)
        }
    };
    let info = store.session(&session)?;
    let head = chosen.or(info.current_head).map(|head| store.head(&head)).transpose()?;
    if let Some(head) = head.as_ref().filter(|head| head.session != session) {
        let other = text::name(&store.session(&head.session)?).clone();
        let short = head.head.short();
        return Err(Failure::new("invalid", format!("{short} is a head of {other}"))
            .hint(context.command(&format!("show {short}")))
            .details(serde_json::json!({ "head": head.head, "session": head.session })));
    }
    let outcome = outcome::of(&store, &info, head.as_ref())?;
    if args.final_value {
        print_final(&store, context, &info, &outcome)?;
    } else if context.json {
        print_json(&store, context, &info, head.as_ref(), &outcome)?;
    } else {
        print_text(&store, context, &info, head.as_ref(), chosen, &outcome)?;
    }
    Ok(outcome.code())
}

fn latest(store: &Store) -> Result<SessionId, Failure> {
    let sessions = store.sessions()?;
    let last = sessions.into_iter().max_by_key(|session| session.updated_at);
    last.map(|session| session.session).ok_or_else(|| {
        Failure::new("not-found", "there is no session in the store yet")
            .hint("headwater run TASK --script simple --name NAME records one")
    })
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
    chosen: Option<HeadId>,
    outcome: &Outcome,
) -> Result<(), Failure> {
    let mut out = context.text();
    let name = text::name(info);
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
            writeln!(out, "  {which} {} ({kind}{turn}) of {}", head.head.short(), text::time_and_ago(head.at))?;
        }
        None => writeln!(out, "  no current checkpoint: what was recorded so far")?,
    }
    let counts = [
        text::count(info.events, "fact", "facts"),
        text::count(info.turns, "turn", "turns"),
        text::count(info.heads.saturating_sub(1), "checkpoint", "checkpoints"),
    ];
    writeln!(out, "  {}", counts.join(" - "))?;
    let aborted = outcome::aborted_head(store, info)?.filter(|_| chosen.is_none());
    if let Some(head) = aborted {
        writeln!(out, "  the last turn was aborted: {} keeps what it had built", head.short())?;
    }
    if let Some((session, head)) = &info.source {
        writeln!(out, "  from {} of {session}", head.short())?;
    }
    let (said, more) = last_messages(store, info, head)?;
    if !said.is_empty() {
        writeln!(out, "\n{}", Role::Title.paint(if more { "last messages" } else { "messages" }))?;
        let blobs = store.blobs();
        let room = text::line_width(BEFORE + WIDTH).saturating_sub(BEFORE).max(20);
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
    let mut commands = next(name, chosen, outcome);
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
    let mut said = match head {
        Some(head) if head.current => {
            let mut said = store.last_messages(&info.session, MESSAGES + 1)?;
            said.reverse();
            said
        }
        Some(head) => store.view_at(&info.session, &head.head)?.rows.messages,
        None => store.event_view(&info.session)?.rows.messages,
    };
    let more = said.len() > MESSAGES;
    if more {
        said.drain(..said.len() - MESSAGES);
    }
    Ok((said, more))
}

fn next(name: &SessionId, chosen: Option<HeadId>, outcome: &Outcome) -> Vec<(String, &'static str)> {
    let head = chosen.map(|head| format!(" --head {}", head.short())).unwrap_or_default();
    let mut commands = vec![
        (format!("events {name}"), "what happened, and why"),
        (format!("show {name}{head} --json"), "every row, with its payloads"),
        (format!("inspect {name}"), "heads, relations, usage"),
    ];
    commands.extend(outcome.final_value.map(|digest| (format!("cat {}", content::short(digest)), "the final value")));
    commands.push((format!("resume {name} \"TASK\"{head}"), "go on from here"));
    commands.push((format!("fork {name}{head} --name {}", text::fork_name(name)), "start another from here"));
    commands
}

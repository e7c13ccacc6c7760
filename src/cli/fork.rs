//! `fork`: a new session that goes on from a head of another.

use std::io::Write;

use clap::ValueHint;
use headwater::model::{HeadId, SessionId};
use serde::Serialize;

use super::at::At;
use super::engine::{self, Script};
use super::paint::Role;
use super::{Context, Failure, text};

/// Start a new session from a head of another; nothing is copied
///
/// The new session sees all that its source saw at that head. The source gains no event.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater fork demo --name demo-2
  headwater fork demo@1 \"try another way\" --name other
  headwater fork demo --turn 1 --name from-turn-1")]
pub struct Args {
    /// Id, unique prefix or alias of the source, SESSION@N, a head, or a pin of one
    session: String,
    /// What is asked of the new session; without it no turn is played
    task: Option<String>,
    /// The name of the new session
    #[arg(long, value_name = "NAME")]
    name: Option<SessionId>,
    /// The script that plays the model, as of `run`
    #[arg(long, value_name = "SCRIPT", default_value = "simple", visible_alias = "fake-script")]
    #[arg(requires = "task", value_hint = ValueHint::FilePath)]
    script: String,
    #[command(flatten)]
    at: At,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    session: SessionId,
    alias: Option<SessionId>,
    head: Option<HeadId>,
    source_session: SessionId,
    source_head: HeadId,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    // A script that cannot be played changes nothing.
    let script = args.task.as_ref().map(|_| Script::load(&args.script)).transpose()?;
    let store = context.open_store(false)?;
    let (asked, chosen) = args.at.session(&store, &args.session)?;
    let head = match chosen {
        Some(head) => head,
        None => store.session(&asked)?.current_head.ok_or_else(|| {
            Failure::new("no-head", format!("session {asked} has no current head"))
                .hint("headwater events SESSION shows its checkpoints")
        })?,
    };
    let source = store.head(&head)?.session;
    let fork = store.fork(&head, context.new_session(args.name.as_ref()))?;
    let session = fork.id().clone();
    if let (Some(task), Some(script)) = (&args.task, &script) {
        engine::play(&fork, task, script)?;
    }
    fork.close()?;
    let info = store.session(&session)?;
    if context.json {
        context.print_json(&Report {
            session,
            alias: Some(text::name(&info).clone()),
            head: info.current_head,
            source_session: source,
            source_head: head,
        })?;
    } else {
        let mut out = context.text();
        let name = text::name(&info);
        let from = text::name(&store.session(&source)?).clone();
        writeln!(out, "{} - forked from {from} at {}", Role::Title.paint(name), head.short())?;
        if let Some(head) = &info.current_head {
            writeln!(out, "  current checkpoint {}", head.short())?;
        }
        let commands = [
            (format!("show {name}"), "inspect its state"),
            (format!("resume {name} \"TASK\""), "go on with it"),
            (format!("diff {} {}", head.short(), format_args!("{name}@0")), "compare it with its source"),
        ];
        text::next(&mut out, context, &commands)?;
        out.flush()?;
    }
    store.close()?;
    Ok(0)
}

//! `run`: a new session, played from a script by the reference engine. What it prints, `resume TASK` prints too.

use std::io::Write;

use headwater::model::SessionId;
use headwater::store::Store;

use super::engine::{self, Script};
use super::{Context, Failure, content, outcome};

/// Records a new session, played from a script
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater run \"add two numbers\" --script simple --name demo
  headwater run \"sum the parts\" --script map-rlm --json
  headwater run \"try this\" --script ./replies.json")]
pub struct Args {
    /// What the session is asked
    task: String,
    /// simple, lm, map-lm, rlm (children), map-rlm, attach, abort, compact, or a JSON file (docs/SCRIPTS.md)
    #[arg(long, visible_alias = "fake-script", value_name = "SCRIPT", default_value = "simple")]
    script: String,
    /// The new session's id; one is made where it is not given
    #[arg(long)]
    name: Option<SessionId>,
}

/// Plays the script; the exit code says how the last turn ended.
pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    // A script that cannot be played makes no store.
    let script = Script::load(&args.script)?;
    let store = context.open_store(true)?;
    let session = store.create_session(context.new_session(args.name.as_ref()))?;
    let id = session.id().clone();
    engine::play(&session, &args.task, &script)?;
    session.close()?;
    finish(&store, &id, context)
}

/// Prints how `session` stands, and gives the exit code that says so.
pub fn finish(store: &Store, session: &SessionId, context: &Context) -> Result<u8, Failure> {
    let (report, code) = outcome::report(store, session)?;
    if context.json {
        context.print_json(&report)?;
        return Ok(code);
    }
    let mut out = context.text();
    let turn = report.turn.map_or_else(String::new, |turn| format!("  turn {turn}"));
    writeln!(out, "{}{turn}  {}", report.session, report.status)?;
    if let Some(value) = report.final_value {
        let text = match value {
            content::Content::Json(json) => json.get().to_owned(),
            content::Content::Text(text) => text,
            content::Content::Ref { digest, size } => format!("({size} bytes: headwater cat {digest})"),
            content::Content::Erased { .. } => "(erased)".to_owned(),
        };
        writeln!(out, "  final  {}", content::one_line(&text, 200))?;
    }
    if let Some(head) = report.head {
        writeln!(out, "  head   {}", head.short())?;
    }
    let name = report.alias.as_ref().unwrap_or(&report.session);
    writeln!(out, "\nnext:")?;
    writeln!(out, "  headwater events {name}           # what happened, and why")?;
    writeln!(out, "  headwater show {name}             # the state at the current head")?;
    writeln!(out, "  headwater resume {name} TASK      # one more turn")?;
    writeln!(out, "  headwater fork {name} --name NEW  # another way from here")?;
    out.flush()?;
    Ok(code)
}

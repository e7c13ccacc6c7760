//! `run`: a new session, played from a script by the reference engine. What it prints, `resume TASK` prints too.

use clap::ValueHint;
use headwater::model::SessionId;

use super::engine::{self, Script};
use super::{Context, Failure, outcome};

/// Record a new session, played from a script
///
/// Plays a scripted model, offline: no model is called, no code is run. What is recorded is what a live engine would
/// have recorded, each step as one durable commit. The store is made in ./.headwater where there is none.
#[derive(clap::Args)]
#[command(after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater run \"add two numbers\" --script simple --name sum
  headwater run \"sum the parts\" --script map-rlm --json
  headwater run \"try this\" --script ./replies.json")]
pub struct Args {
    /// What the session is asked
    task: String,
    /// simple, lm, map-lm, rlm (children), map-rlm, attach, abort, compact, or a JSON file (docs/SCRIPTS.md)
    #[arg(long, visible_alias = "fake-script", value_name = "SCRIPT", default_value = "simple")]
    #[arg(value_hint = ValueHint::FilePath)]
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
    let code = outcome::print(context, &store, &id)?;
    store.close()?;
    Ok(code)
}

//! `resume`: go on with a session, from its current head or another.

use clap::ValueHint;

use super::at::At;
use super::engine::{self, Script};
use super::{Context, Failure, outcome};

/// Go on with a session; with a task, play a script into it
///
/// From the current head, or another one: the events after that stay in the log, and are no longer seen. Without a task
/// the session is only made ready, what a killed writer left open is closed.
#[derive(clap::Args)]
#[command(after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater resume demo \"and now double it\"
  headwater resume demo@1 \"try another way\" --script lm
  headwater resume demo \"from the start of turn 2\" --turn 1")]
pub struct Args {
    /// Id, unique prefix or alias, SESSION@N, a head, or a pin of one
    session: String,
    /// What is asked; without it the session is only made ready
    task: Option<String>,
    /// The script that plays the model, as of `run`
    #[arg(long, value_name = "SCRIPT", default_value = "simple", visible_alias = "fake-script")]
    #[arg(requires = "task", value_hint = ValueHint::FilePath)]
    script: String,
    #[command(flatten)]
    at: At,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    // A script that cannot be played changes nothing.
    let script = args.task.as_ref().map(|_| Script::load(&args.script)).transpose()?;
    let store = context.open_store(false)?;
    let (session, head) = args.at.session(&store, &args.session)?;
    let writer = store.resume(&session, head.as_ref())?;
    if let (Some(task), Some(script)) = (&args.task, &script) {
        engine::play(&writer, task, script)?;
    }
    writer.close()?;
    let code = outcome::print(context, &store, &session)?;
    store.close()?;
    Ok(code)
}

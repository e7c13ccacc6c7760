//! `resume`: go on with a session, from its current head or another.

use super::at::At;
use super::engine::{self, Script};
use super::{Context, Failure, outcome};

/// Go on with a session; with a task, play one scripted turn
#[derive(clap::Args)]
#[command(
    after_help = "Exits with the outcome: 0 final value, 2 none, 3 timeout, 1 error.\n\nExample:  headwater resume demo \"and now double it\" --turn 1"
)]
pub struct Args {
    /// A session or node; SESSION@N for N turns back
    session: String,
    /// What is asked; without it the session is only made ready
    task: Option<String>,
    /// The script that plays the model
    #[arg(long, value_name = "SCRIPT", default_value = "simple", visible_alias = "fake-script")]
    script: String,
    #[command(flatten)]
    at: At,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    // A script that cannot be played changes nothing.
    let script = args.task.as_ref().map(|_| Script::load(&args.script)).transpose()?;
    let store = context.open_store(false)?;
    let found = args.at.find_any(&store, Some(&args.session))?;
    let session = found.session().clone();
    let writer = store.resume(&session, found.chosen.as_ref())?;
    if let (Some(task), Some(script)) = (&args.task, &script) {
        engine::play(&writer, task, script)?;
    }
    writer.close()?;
    let code = outcome::print(context, &store, &session)?;
    store.close()?;
    Ok(code)
}

//! `alias`: a name for a session.

use std::io::Write;

use headwater::model::SessionId;

use super::{Context, Failure};

/// Give a session a name
///
/// It may be used wherever the id may. A name that is taken, by a session, an alias or a pin, is refused, and one that reads as
/// a head's id.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater alias demo release-notes")]
pub struct Args {
    /// Id, unique prefix or alias
    session: String,
    /// The name: letters, digits, `_`, `-` and `.`
    name: SessionId,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let session = store.resolve_session(&args.session)?;
    store.set_alias(&args.name, &session)?;
    if context.json {
        context.print_json(&serde_json::json!({ "alias": args.name, "session": session }))?;
    } else {
        let mut out = context.text();
        writeln!(out, "{} is {session}", args.name)?;
        out.flush()?;
    }
    store.close()?;
    Ok(0)
}

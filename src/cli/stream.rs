//! `stream`: the compact events of a session, one JSON object a line.

use std::io::Write;
use std::time::Duration;

use headwater::model::EventNumber;

use super::{Context, Failure};

/// Print the raw event rows as JSON lines
///
/// For scripts: one JSON object for each event, in order, never the text of a payload.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater stream demo --since 30
  headwater stream demo | jq -r '.\"event/type\"' | sort | uniq -c
  headwater stream demo --follow")]
pub struct Args {
    /// Id, unique prefix or alias
    session: String,
    /// Wait for new events, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only events after number N
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
}

/// How many events are held at once.
const CHUNK: usize = 1_000;

/// How often `--follow` looks for new events: another process may write them.
const POLL: Duration = Duration::from_millis(100);

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let session = store.resolve_session(&args.session)?;
    let mut since = EventNumber(args.since);
    let mut out = context.json();
    loop {
        let events = store.events_since(&session, since, CHUNK)?;
        for event in &events {
            serde_json::to_writer(&mut out, event)?;
            out.write_all(b"\n")?;
            if args.follow {
                out.flush()?;
            }
            since = event.id;
        }
        if events.len() == CHUNK {
            continue;
        }
        out.flush()?;
        if !args.follow {
            return Ok(0);
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a poll: nothing tells a reader of another process's commits")]
fn pause() {
    std::thread::sleep(POLL);
}

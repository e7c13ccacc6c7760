//! `stream`: the compact events of a session, one JSON object a line.

use std::io::Write;

use headwater::model::EventNumber;
use headwater::model::line::Compact;
use headwater::store::{Item, RecvError, Store, Topic};

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

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let session = store.resolve_session(&args.session)?;
    let since = EventNumber(args.since);
    let mut out = context.json();
    if args.follow {
        return follow(&store, Topic::Session { session, since }, &mut out);
    }
    let mut since = since;
    loop {
        let events = store.events_since(&session, since, CHUNK)?;
        for event in &events {
            print(&mut out, event)?;
            since = event.id;
        }
        if events.len() < CHUNK {
            out.flush()?;
            return Ok(0);
        }
    }
}

fn print(out: &mut impl Write, event: &Compact) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, event)?;
    Ok(out.write_all(b"\n")?)
}

/// What is there, then what comes, until interrupted.
fn follow(store: &Store, topic: Topic, out: &mut impl Write) -> Result<u8, Failure> {
    let mut subscription = store.subscribe(topic)?;
    loop {
        let item = match subscription.try_recv() {
            Err(RecvError::Empty) => {
                out.flush()?;
                subscription.recv()
            }
            item => item,
        };
        match item {
            Ok(Item::Event(event)) => print(out, &Compact::of(&event))?,
            // Nobody of this process emits any.
            Ok(Item::Ephemeral(_) | Item::Gap { .. }) | Err(RecvError::Empty) => {}
            Err(RecvError::Closed) => return Ok(0),
            Err(RecvError::Read(error)) => return Err(error.into()),
        }
    }
}

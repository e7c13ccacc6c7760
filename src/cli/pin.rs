//! `pin`: names for heads and payloads.

use std::io::Write;

use headwater::exchange::is_of_imports;
use headwater::model::{Pin, PinTarget, SessionId};
use headwater::store::error::ReadError;
use headwater::store::{Expected, Store};
use serde_json::{Value, json};

use super::text::{Align, table};
use super::{Context, Failure};

/// Name a head or a payload, read or take away a name, or list them
///
/// A pin is a name for a head wherever a head is asked for, and for a payload in `cat`. It can be moved; each change gives
/// it the next version, and with --expect it is changed only if nobody else did meanwhile.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater pin release demo@0
  headwater pin release demo@1 --expect 1
  headwater pin now demo@0 && headwater show demo --head now
  headwater pin
  headwater pin release --remove")]
pub struct Args {
    /// The pin; without it all are listed
    name: Option<SessionId>,
    /// A head, SESSION@N, `b3:…` or another pin; without it the pin is read
    #[arg(group = "change")]
    target: Option<String>,
    /// Only if the pin has this version; 0 if there is to be none yet
    #[arg(long, value_name = "VERSION", requires = "change")]
    expect: Option<u64>,
    /// Take the pin away
    #[arg(long, requires = "name", group = "change")]
    remove: bool,
    /// List those, too, by which imports find sources again
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let Some(name) = &args.name else { return list(&store, args.all, context) };
    let expected = match args.expect {
        None => Expected::Any,
        Some(0) => Expected::Absent,
        Some(version) => Expected::Version(version),
    };
    if args.remove {
        store.unpin(name, expected)?;
        if context.json {
            context.print_json(&json!({ "pin": name, "removed": true }))?;
        } else {
            say(context, &format!("{name} is no pin any more"))?;
        }
        store.close()?;
        return Ok(0);
    }
    let pin = match &args.target {
        Some(target) => {
            let target = resolve(&store, target)?;
            Pin { name: name.clone(), target, version: store.pin(name, target, expected)? }
        }
        None => store.read_pin(name)?,
    };
    if context.json {
        context.print_json(&shape(&pin))?;
    } else {
        say(context, &format!("{name} is {} (version {})", short(&pin), pin.version))?;
    }
    store.close()?;
    Ok(0)
}

fn list(store: &Store, all: bool, context: &Context) -> Result<u8, Failure> {
    let mut pins = store.pins()?;
    let number = pins.len();
    if !all {
        pins.retain(|pin| !is_of_imports(&pin.name));
    }
    let hidden = number - pins.len();
    if context.json {
        context.print_json(&pins.iter().map(shape).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let rows = pins.iter().map(|pin| vec![pin.name.to_string(), short(pin), format!("version {}", pin.version)]);
    let mut out = context.text();
    table(&mut out, "", &[Align::Left, Align::Left, Align::Left], &rows.collect::<Vec<_>>())?;
    if hidden > 0 {
        writeln!(out, "{hidden} more by which imports find sources again: --all lists them")?;
    }
    out.flush()?;
    Ok(0)
}

fn say(context: &Context, line: &str) -> Result<(), Failure> {
    let mut out = context.text();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// A payload by `b3:…`; else a head by whatever names one; else a payload by what is left.
fn resolve(store: &Store, text: &str) -> Result<PinTarget, Failure> {
    if text.starts_with("b3:") {
        return Ok(PinTarget::Payload(store.blobs().resolve(text)?));
    }
    match store.resolve_head(text) {
        Ok(head) => Ok(PinTarget::Head(head)),
        Err(error @ (ReadError::NotFound { .. } | ReadError::BadId(_))) => match store.blobs().resolve(text) {
            Ok(digest) => Ok(PinTarget::Payload(digest)),
            Err(ReadError::NotFound { .. } | ReadError::BadId(_)) => Err(error.into()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn short(pin: &Pin) -> String {
    match &pin.target {
        PinTarget::Head(head) => head.short(),
        PinTarget::Payload(digest) => digest.to_string(),
    }
}

fn shape(pin: &Pin) -> Value {
    let (head, payload) = match &pin.target {
        PinTarget::Head(head) => (Some(head), None),
        PinTarget::Payload(digest) => (None, Some(digest)),
    };
    json!({ "pin": pin.name, "head": head, "payload-ref": payload, "version": pin.version })
}

//! `cat`: the bytes of a payload, or of a head's root.

use std::fmt::Write as _;
use std::io::Write;

use headwater::model::Digest;
use headwater::store::Store;
use headwater::store::error::ReadError;
use serde::Serialize;

use super::{Context, Failure, at, content, terminal};

/// Print a payload, or the root of a head
///
/// The bytes as they were recorded: message texts, code, requests, responses, final values. Only on a terminal are
/// control codes left out.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater cat demo@0 | jq .counters
  headwater show demo --json | jq -r '.turns[0].input' | xargs headwater cat")]
pub struct Args {
    /// `b3:…` or a unique prefix of it (at least 4 hex digits), a pin, a head, or SESSION@N
    #[arg(value_name = "REF")]
    reference: String,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "ref")]
    digest: Digest,
    size: u64,
    text: Option<&'a str>,
    /// In hexadecimal, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let digest = resolve(&store, &args.reference)?;
    if context.json {
        let bytes = store.blobs().get(&digest)?;
        let text = std::str::from_utf8(&bytes).ok();
        let hex = || {
            bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
                // Into a string: cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        context.print_json(&Payload { digest, size, text, bytes: text.is_none().then(hex) })?;
    } else {
        let mut out = context.bytes();
        let last = content::copy(&store, digest, &mut out)?;
        if terminal::is_one() && last != Some(b'\n') {
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(0)
}

/// A payload by ref; else a head by whatever names one.
fn resolve(store: &Store, text: &str) -> Result<Digest, Failure> {
    if text.starts_with("b3:") {
        return Ok(store.blobs().resolve(text)?);
    }
    if text.starts_with("head-") || text.contains('@') {
        return Ok(store.resolve_head(text)?.0);
    }
    // As everywhere: a session's id, an alias, then a pin.
    if let Some(session) = at::exactly(store, text)? {
        return Ok(at::current(store, &session)?.0);
    }
    match store.blobs().resolve(text) {
        Ok(digest) => Ok(digest),
        Err(error @ (ReadError::NotFound { .. } | ReadError::BadId(_))) => match store.resolve_head(text) {
            Ok(head) => Ok(head.0),
            Err(ReadError::NotFound { .. } | ReadError::BadId(_)) => Err(error.into()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

//! `head`: one head, and an anchor taken of it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use headwater::care::Anchor;
use headwater::model::HeadId;
use headwater::store::Store;
use serde::Serialize;

use super::rows::Head;
use super::{Context, Failure, at, text};

/// Show a head, or export its chain as an anchor
///
/// An anchor is a small file to keep elsewhere: with it, `check --anchor` tells a store that was rolled back to an older
/// copy or rewritten as a whole, which nothing inside the store can tell.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater head demo
  headwater head demo@1 --json
  headwater head demo --export demo.anchor")]
pub struct Args {
    /// A head, or a session, whose current head is meant
    #[arg(value_name = "HEAD|SESSION")]
    head: String,
    /// Write an anchor to FILE, which must not be there yet: number and digest of the last commit, the head, and those
    /// from which its branches left; no content
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

#[derive(Serialize)]
struct Exported<'a> {
    head: HeadId,
    tx: u64,
    digest: String,
    heads: usize,
    file: &'a Path,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let head = at::head(&store, &args.head)?;
    match &args.export {
        Some(file) => export(&store, &head, file, context)?,
        None => show(&store, &head, context)?,
    }
    store.close()?;
    Ok(0)
}

fn export(store: &Store, head: &HeadId, file: &Path, context: &Context) -> Result<(), Failure> {
    let anchor = Anchor::take(store, head)?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new("exists", format!("{} exists already", file.display()))
            .hint("choose another name: an anchor is never replaced"),
        _ => Failure::cannot("write", file, &error),
    };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(anchor.to_lines()?.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    if context.json {
        return context.print_json(&Exported {
            head: *head,
            tx: anchor.tx.0,
            digest: anchor.digest.to_string(),
            heads: anchor.heads.len(),
            file,
        });
    }
    let mut out = context.text();
    writeln!(
        out,
        "{} at commit {}: {}",
        head.short(),
        anchor.tx,
        text::count(anchor.heads.len() as u64, "head", "heads")
    )?;
    writeln!(
        out,
        "keep {} elsewhere; headwater check --anchor {} compares",
        file.display(),
        text::shell(&file.display().to_string())
    )?;
    Ok(out.flush()?)
}

fn show(store: &Store, head: &HeadId, context: &Context) -> Result<(), Failure> {
    let info = store.head(head)?;
    if context.json {
        return context.print_json(&Head::new(&info));
    }
    let mut out = context.text();
    writeln!(out, "{}", info.head)?;
    writeln!(
        out,
        "  {} of {}, number {}, sealed {}",
        info.kind.as_str(),
        info.session,
        info.ordinal,
        text::time(info.at)
    )?;
    writeln!(out, "  events {} to {}", info.span.from, info.span.to)?;
    let linked = [("built on", info.basis), ("branch left at", info.up), ("compaction", info.compaction)];
    for (what, head) in linked.into_iter().filter_map(|(what, head)| head.map(|head| (what, head))) {
        writeln!(out, "  {what} {}", head.short())?;
    }
    Ok(out.flush()?)
}

//! `backup`: a verified copy while others write.

use std::io::Write;
use std::path::{Path, PathBuf};

use headwater::care::{self, BackupReport};
use serde::Serialize;

use super::{Context, Failure, stats, text};

/// Copy the store, while it is used, to a folder or a file
///
/// A folder is brought further by each backup to it: only what grew is copied. A name that ends in .tar makes one file, which must
/// not be there yet. The copy is read again and checked before anything of an earlier backup is replaced; one that holds what the store
/// has not is left as it is. It opens as a store at once.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater backup backup-of-demo
  headwater backup monday.tar --json")]
pub struct Args {
    /// A folder that is empty, missing or an earlier backup of this store; or a file that ends in .tar
    dest: PathBuf,
}

#[derive(Serialize)]
struct Report<'a> {
    to: &'a Path,
    commits: u64,
    segments: u64,
    bytes: u64,
    copied: u64,
    verified: bool,
    removed: &'a [PathBuf],
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let report = care::backup(&context.root(false)?, &args.dest)?;
    say("backup", &report, context)
}

/// What was copied.
pub fn say(verb: &str, report: &BackupReport, context: &Context) -> Result<u8, Failure> {
    let BackupReport { tx, segments, bytes, copied, to, removed } = report;
    if context.json {
        let (commits, segments, bytes, copied) = (*tx, *segments, *bytes, *copied);
        context.print_json(&Report { to, commits, segments, bytes, copied, verified: true, removed })?;
        return Ok(0);
    }
    let mut out = context.text();
    let size = stats::bytes(*bytes);
    writeln!(out, "{verb} - {} in {size}, verified", text::count(*tx, "commit", "commits"))?;
    writeln!(out, "  {}: {} copied", to.display(), stats::bytes(*copied))?;
    for path in removed {
        writeln!(out, "  {}: left by one that was killed, removed", path.display())?;
    }
    out.flush()?;
    Ok(0)
}

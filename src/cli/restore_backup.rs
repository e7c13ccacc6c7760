//! `restore-backup`: a store made from a backup.

use std::path::PathBuf;

use headwater::care;

use super::{Context, Failure, backup};

/// Make a store from a backup, in a new place
///
/// The backup is a folder or a .tar file that `backup` wrote, or any folder that holds blobs/. Nothing is ever overwritten: the new
/// place must not be there yet. What was restored is checked first.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater restore-backup monday.tar restored
  headwater restore-backup backup-of-demo restored-2")]
pub struct Args {
    /// The backup: a folder or a file
    source: PathBuf,
    /// The new store's folder
    dest: PathBuf,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let report = care::restore(&args.source, &args.dest)?;
    backup::say("restored", &report, context)
}

//! `completions`: what a shell needs to complete the command's arguments.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Context, Failure};

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:  headwater completions bash > ~/.local/share/bash-completion/completions/headwater")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "headwater", &mut script);
    let mut out = context.bytes();
    out.write_all(&script)?;
    out.flush()?;
    Ok(0)
}

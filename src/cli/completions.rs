//! `completions`: what a shell needs to complete the command's arguments.

use std::io::Write;

use clap_complete::Shell;

use super::{Context, Failure, help};

/// Print the completions for a shell
///
/// Where they go depends on the shell; a new shell knows them.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater completions bash > ~/.local/share/bash-completion/completions/headwater
  headwater completions fish > ~/.config/fish/completions/headwater.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "headwater", &mut script);
    let mut out = context.bytes();
    out.write_all(&script)?;
    out.flush()?;
    Ok(0)
}

//! The command: one file for each verb. This floor promises documented output (docs/CLI.md), documented exit
//! codes and no panic; all it knows of a store it learns through the library's public API.

mod alias;
mod at;
mod backup;
mod cat;
mod check;
mod completions;
mod content;
mod context;
mod cost;
mod diff;
mod engine;
mod events;
mod export;
mod facts;
mod fail;
mod fork;
mod head;
mod help;
mod import;
mod inspect;
mod json;
mod leaves;
mod ls;
mod man;
mod outcome;
mod paint;
mod pin;
mod prime;
mod progress;
mod repair;
mod restore_backup;
mod resume;
mod rows;
mod run;
mod show;
mod stats;
mod step;
mod stream;
mod table;
mod terminal;
mod text;
mod tree;
mod usage;
mod width;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anstream::AutoStream;
use clap::{FromArgMatches, Parser, Subcommand, ValueHint};

pub use context::Context;
pub use fail::Failure;

use paint::Role;
use terminal::{Guard, Pass};

/// The options that every verb takes.
const EVERYWHERE: &str = "With every verb";

/// A durable store for agent and LLM sessions: what happened, why, and how to go on from there.
#[derive(Parser)]
#[command(name = "headwater", version, max_term_width = 100, arg_required_else_help = true)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
#[command(after_help = "Examples:
  headwater run \"add two numbers\" --script simple --name demo
  headwater show demo
  headwater events demo
  headwater help events

A session is named by its id, a unique prefix of it, or an alias; a head by its id, a unique
prefix of it (at least 4 hex digits), a pin, or SESSION@N, N turns back. Colours: NO_COLOR, CLICOLOR_FORCE; width: COLUMNS.")]
struct Cli {
    /// The store; otherwise the nearest .headwater/ at or above the current folder
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE, value_hint = ValueHint::DirPath)]
    store: Option<PathBuf>,
    /// Print JSON; errors too, on stderr
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Import(import::Args),
    Export(export::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Show(show::Args),
    Tree(tree::Args),
    Prime(prime::Args),
    Cost(cost::Args),
    Leaves(leaves::Args),
    Step(step::Args),
    Events(events::Args),
    #[command(visible_alias = "tail")]
    Stream(stream::Args),
    Inspect(inspect::Args),
    Resume(resume::Args),
    Fork(fork::Args),
    Diff(diff::Args),
    Head(head::Args),
    Cat(cat::Args),
    Check(check::Args),
    Repair(repair::Args),
    Backup(backup::Args),
    RestoreBackup(restore_backup::Args),
    Stats(stats::Args),
    Alias(alias::Args),
    Pin(pin::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Verb {
    fn run(self, context: &Context) -> Result<u8, Failure> {
        match self {
            Verb::Run(args) => run::run(args, context),
            Verb::Import(args) => import::run(&args, context),
            Verb::Export(args) => export::run(&args, context),
            Verb::Ls(args) => ls::run(&args, context),
            Verb::Show(args) => show::run(&args, context),
            Verb::Tree(args) => tree::run(&args, context),
            Verb::Prime(args) => prime::run(&args, context),
            Verb::Cost(args) => cost::run(&args, context),
            Verb::Leaves(args) => leaves::run(&args, context),
            Verb::Step(args) => step::run(&args, context),
            Verb::Events(args) => events::run(&args, context),
            Verb::Stream(args) => stream::run(&args, context),
            Verb::Inspect(args) => inspect::run(&args, context),
            Verb::Resume(args) => resume::run(&args, context),
            Verb::Fork(args) => fork::run(&args, context),
            Verb::Diff(args) => diff::run(&args, context),
            Verb::Head(args) => head::run(&args, context),
            Verb::Cat(args) => cat::run(&args, context),
            Verb::Check(args) => check::run(&args, context),
            Verb::Repair(args) => repair::run(&args, context),
            Verb::Backup(args) => backup::run(&args, context),
            Verb::RestoreBackup(args) => restore_backup::run(&args, context),
            Verb::Stats(args) => stats::run(&args, context),
            Verb::Alias(args) => alias::run(&args, context),
            Verb::Pin(args) => pin::run(&args, context),
            Verb::Completions(args) => completions::run(&args, context),
            Verb::Man(args) => man::run(&args, context),
        }
    }
}

/// Parses the arguments, runs the verb, prints its failure, and says how it ended.
pub fn main() -> ExitCode {
    // Past a limit on file sizes the system kills a process that does not catch this signal; caught, the write fails as
    // on a full disk. If it cannot be caught, that is what was so before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    // A usage error must know how to print itself before the arguments are understood.
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == OsStr::new("--json"));
    let (result, json) = match help::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => {
            let context = Context { store: cli.store, json: cli.json };
            let result = cli.verb.run(&context).map_err(|failure| context.hinted(failure));
            (result, context.json)
        }
        Err(error) => (usage(&error, json), json),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.is_quiet() {
                print_failure(&failure, json);
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Help and version go to stdout and are no failure; all else is wrong usage.
fn usage(error: &clap::Error, json: bool) -> Result<u8, Failure> {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // clap writes to the terminal itself; a closed pipe is no error here either.
            let _ = error.print();
            Ok(0)
        }
        _ if json => {
            let text = error.render().to_string();
            let words = text.lines().take_while(|line| !line.is_empty()).flat_map(str::split_whitespace);
            let message = words.collect::<Vec<_>>().join(" ");
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            let mut failure = Failure::usage(message);
            failure.details = serde_json::json!({ "text": text });
            Err(failure)
        }
        _ => {
            let _ = error.print();
            Ok(1)
        }
    }
}

fn print_failure(failure: &Failure, json: bool) {
    // Nobody can be told that stderr is closed.
    let _ = if json {
        complain(Pass::Json, format_args!("{}", failure.to_json()))
    } else {
        let hint = failure.hint.iter().map(|hint| format!("\nhint: {}", width::harmless(hint)));
        let message = width::harmless(&failure.message);
        complain(Pass::Coloured, format_args!("{}: {message}{}", Role::Bad.paint("error"), hint.collect::<String>()))
    };
}

/// One line on stderr, or two.
fn complain(pass: Pass, line: fmt::Arguments<'_>) -> io::Result<()> {
    let pass = if io::stderr().is_terminal() { pass } else { Pass::All };
    let mut err = Guard::new(AutoStream::auto(io::stderr().lock()), pass);
    writeln!(err, "{line}")?;
    err.flush()
}

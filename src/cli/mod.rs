//! The command: one file for each verb. This floor promises documented output (docs/CLI.md), documented exit
//! codes and no panic; all it knows of a store it learns through the library's public API.

mod alias;
mod at;
mod cat;
mod check;
mod completions;
mod content;
mod cost;
mod diff;
mod engine;
mod events;
mod facts;
mod fail;
mod fork;
mod import;
mod inspect;
mod json;
mod leaves;
mod ls;
mod outcome;
mod prime;
mod resume;
mod rows;
mod run;
mod show;
mod step;
mod stream;
mod text;
mod tree;
mod usage;

use std::ffi::OsStr;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anstream::AutoStream;
use clap::{Parser, Subcommand};
use headwater::model::SessionId;
use headwater::store::{NewSession, Options, Store};
use serde::Serialize;

pub use fail::Failure;

/// A durable store for agent and LLM sessions: what happened, why, and how to go on from there.
#[derive(Parser)]
#[command(name = "headwater", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Start with:  headwater run \"add two numbers\" --script simple --name demo")]
struct Cli {
    /// The store; otherwise the nearest .headwater/ at or above the current folder
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print JSON; errors too, on stderr
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Import(import::Args),
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
    Cat(cat::Args),
    Check(check::Args),
    Alias(alias::Args),
    Completions(completions::Args),
}

impl Verb {
    fn run(self, context: &Context) -> Result<u8, Failure> {
        match self {
            Verb::Run(args) => run::run(args, context),
            Verb::Import(args) => import::run(&args, context),
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
            Verb::Cat(args) => cat::run(&args, context),
            Verb::Check(args) => check::run(&args, context),
            Verb::Alias(args) => alias::run(&args, context),
            Verb::Completions(args) => completions::run(&args, context),
        }
    }
}

/// What every verb is given.
pub struct Context {
    store: Option<PathBuf>,
    /// Whether to print JSON.
    pub json: bool,
}

/// Text for people: colour codes are dropped where nobody sees them (a pipe, `NO_COLOR`).
pub type Text = BufWriter<AutoStream<StdoutLock<'static>>>;

impl Context {
    /// Opens the store; `create` makes it, at `--store` or `./.headwater`, where there is none.
    ///
    /// Says on stderr, in one line, if the store had to be rebuilt or something was set aside.
    pub fn root(&self, create: bool) -> Result<PathBuf, Failure> {
        let here = std::env::current_dir()
            .map_err(|error| Failure::new("io", format!("the current folder cannot be read: {error}")))?;
        match &self.store {
            Some(root) => Ok(root.clone()),
            None => match Store::find(&here) {
                Some(root) => Ok(root),
                None if create => Ok(here.join(".headwater")),
                None => Err(fail::no_store("at or above", &here)),
            },
        }
    }

    /// Opens the store, and makes it if wanted; says on stderr what else opening did.
    pub fn open_store(&self, create: bool) -> Result<Store, Failure> {
        let root = self.root(create)?;
        let store = Store::open_with(&root, Options { create, ..Options::default() })?;
        let report = store.report();
        let mut said: Vec<String> = Vec::new();
        if let Some((why, commits)) = &report.rebuilt {
            said.push(format!("rebuilt store.sqlite from {commits} commits of the log: {why}"));
        }
        said.extend(report.notes.iter().cloned());
        if !said.is_empty() {
            self.notice(&said.join("; "));
        }
        Ok(store)
    }

    /// A command of ours to go on with, for the same store.
    pub fn command(&self, rest: &str) -> String {
        match &self.store {
            Some(root) => format!("headwater {rest} --store {}", text::shell(&root.display().to_string())),
            None => format!("headwater {rest}"),
        }
    }

    /// One line on stderr that is not an error; with `--json` an object.
    pub fn notice(&self, text: &str) {
        let line = if self.json {
            serde_json::json!({ "ok": true, "notice": text }).to_string()
        } else {
            format!("headwater: {text}")
        };
        // Nobody can be told that stderr is closed.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Prints `value` as one line of JSON.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut out = self.bytes();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Where text goes; flush it at the end, so that a full disk is noticed.
    pub fn text(&self) -> Text {
        BufWriter::new(AutoStream::auto(io::stdout().lock()))
    }

    /// Where bytes go unchanged: JSON and payloads.
    pub fn bytes(&self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::new(io::stdout().lock())
    }

    /// What a `--name` means: the id of the new session; without one the store makes an id.
    pub fn new_session(&self, name: Option<&SessionId>) -> NewSession {
        name.map_or_else(NewSession::fresh, |name| NewSession::named(name.clone()))
    }
}

/// Parses the arguments, runs the verb, prints its failure, and says how it ended.
pub fn main() -> ExitCode {
    // Past a limit on file sizes the system kills a process that does not catch this signal; caught, the write fails as
    // on a full disk. If it cannot be caught, that is what was so before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    // A usage error must know how to print itself before the arguments are understood.
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == OsStr::new("--json"));
    let (result, json) = match Cli::try_parse() {
        Ok(cli) => {
            let context = Context { store: cli.store, json: cli.json };
            (cli.verb.run(&context), context.json)
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
    let mut err = AutoStream::auto(io::stderr().lock());
    // Nobody can be told that stderr is closed.
    let _ = if json {
        writeln!(err, "{}", failure.to_json())
    } else {
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let first = writeln!(err, "{red}error{red:#}: {}", failure.message);
        match &failure.hint {
            Some(hint) => first.and_then(|()| writeln!(err, "hint: {hint}")),
            None => first,
        }
    };
}

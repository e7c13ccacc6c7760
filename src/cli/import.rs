//! `import`: session logs of other programs, read in.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use headwater::exchange::{self, ImportError, Imported, Seen};
use headwater::progress::{Progress, Unit};
use serde::Serialize;

use super::paint::Role;
use super::{Context, Failure, content, progress, text};

/// Read in session logs of other programs
///
/// The format of a log is told by its first record: pi (versions 1 to 3), pixir, fractal (of fractal-engine), claude-code, codex
/// and gemini (of Gemini CLI), as `export --format` names them; that of opencode by its folder. Importing a log again adds what
/// is new in it, and nothing else. Every record is kept, so that `export` can write the source again.
#[derive(clap::Args)]
#[command(
    after_help = "Exits with 0 when every log was read, whatever was odd in it, else with 1. What lies in a folder and is no log is left.

Examples:
  headwater import session.jsonl
  headwater import ./logs --json"
)]
pub struct Args {
    /// Files, and folders of which every session log is read
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Name the files that are passed over, rather than count them
    #[arg(long)]
    names: bool,
}

#[derive(Serialize)]
struct Report {
    imported: Vec<Imported>,
    failed: Vec<Failed>,
    /// What lies in the folders and holds no session.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<Failed>,
    /// What lies there and was not looked at.
    #[serde(rename = "passed-over", skip_serializing_if = "Vec::is_empty")]
    passed: Vec<Passed>,
}

/// The files with one ending.
#[derive(Serialize)]
struct Passed {
    ending: String,
    count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

/// Counts a file by its ending.
fn pass(passed: &mut BTreeMap<String, Passed>, path: &Path, is_named: bool) {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let is_one = ending.len() <= MAX_ENDING
        && ending.starts_with(|first: char| first.is_ascii_alphabetic())
        && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let ending = if is_one { ending } else { String::new() };
    let one = passed.entry(ending.clone()).or_insert(Passed { ending, count: 0, names: Vec::new() });
    one.count += 1;
    if is_named {
        one.names.push(path.display().to_string());
    }
}

/// What is longer behind the last dot of a name is no ending.
const MAX_ENDING: usize = 12;

impl Report {
    fn tell(&mut self, one: &exchange::Found, error: ImportError) {
        let may_be_left = one.may_be_left(&error);
        let list = if may_be_left { &mut self.left } else { &mut self.failed };
        list.push(failed(&one.path, error));
    }
}

#[derive(Serialize)]
struct Failed {
    source: String,
    kind: &'static str,
    message: String,
    #[serde(skip)]
    hint: Option<String>,
}

/// Imports every file; 0 when all were read.
pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let mut report = Report { imported: Vec::new(), failed: Vec::new(), left: Vec::new(), passed: Vec::new() };
    let (mut files, mut passed) = (Vec::new(), BTreeMap::new());
    for path in &args.paths {
        let there = std::fs::symlink_metadata(path);
        let there = there.map_err(|source| ImportError::Io { path: path.clone(), source });
        let mut tell = |path: &Path| pass(&mut passed, path, args.names);
        match there.and_then(|_| exchange::find_telling(path, &mut tell)) {
            Ok(found) if found.is_empty() => {
                let message = format!("there is no session log below {}", path.display());
                report.failed.push(Failed {
                    source: path.display().to_string(),
                    kind: "not-found",
                    message,
                    hint: None,
                });
            }
            Ok(found) => files.extend(found),
            Err(error) => report.failed.push(failed(path, error)),
        }
    }
    report.passed = passed.into_values().collect();
    report.passed.iter_mut().for_each(|one| one.names.sort());
    // Where there is nothing that can be read, no store is made.
    let known = files.iter().position(|one| match one.recognize() {
        Ok(()) => true,
        Err(error) => {
            report.tell(one, error);
            false
        }
    });
    files.drain(..known.unwrap_or(files.len()));
    if !files.is_empty() {
        let store = context.open_store(true)?;
        let line = progress::Line::new(context);
        let observer = line.observer();
        let total = files.len() as u64;
        for (one, done) in exchange::ordered(files).into_iter().zip(0..) {
            let size = std::fs::symlink_metadata(&one.path).map_or(0, |meta| meta.len());
            let mut seen = |seen: Seen| {
                // Of many files it says which one, of one how much of it.
                let (done, total, unit) =
                    if total > 1 { (done, total, Unit::Items) } else { (seen.bytes, size, Unit::Bytes) };
                observer.tell(Progress { stage: "importing files", done, total, unit });
            };
            for result in one.import(&store, &mut seen) {
                match result {
                    Ok(imported) => report.imported.push(imported),
                    Err(error) => report.tell(&one, error),
                }
            }
        }
        store.close()?;
    }
    let code = u8::from(!report.failed.is_empty());
    if context.json {
        context.print_json(&report)?;
    } else {
        print(&report, context)?;
    }
    Ok(code)
}

fn failed(path: &Path, error: ImportError) -> Failed {
    let source = path.display().to_string();
    let Some(kind) = error.kind() else {
        let failure = match error {
            ImportError::Open(error) => error.into(),
            ImportError::Commit(error) => error.into(),
            ImportError::Read(error) => error.into(),
            other => Failure::new("error", other.to_string()),
        };
        return Failed { source, kind: failure.kind, message: failure.message, hint: failure.hint };
    };
    let hint = match error {
        ImportError::UnknownFormat { .. } | ImportError::UnsupportedVersion { .. } => {
            let formats: Vec<_> = exchange::FORMATS.iter().map(|format| format.about).collect();
            Some(format!("what can be read: {}", formats.join(", ")))
        }
        ImportError::NoSession { .. } => {
            Some("give the folder it lies in: what can be imported there is found".to_owned())
        }
        ImportError::NotAFile { .. } => Some("give the file itself, or a folder of session logs".to_owned()),
        _ => None,
    };
    let mut message = error.to_string();
    if let Some(cause) = error.source() {
        message = format!("{message}: {cause}");
    }
    Failed { source, kind, message, hint }
}

fn print(report: &Report, context: &Context) -> Result<(), Failure> {
    let mut out = context.text();
    for one in &report.imported {
        writeln!(out, "{}  from {}", one.session, content::one_line(&one.source.display().to_string(), 300))?;
        writeln!(
            out,
            "  {} events ({} new)  {} turns  {} messages  {} calls  {} evals  {} heads",
            one.events, one.new_events, one.turns, one.messages, one.calls, one.evals, one.heads
        )?;
        for odd in one.diagnostics.iter().take(SHOWN) {
            let at = if odd.line > 0 { format!("line {}: ", odd.line) } else { String::new() };
            writeln!(out, "  {at}{}", content::one_line(&odd.message, 200))?;
        }
        if one.diagnostics.len() > SHOWN {
            writeln!(out, "  and {} more: --json shows all", one.diagnostics.len() - SHOWN)?;
        }
    }
    for one in &report.left {
        writeln!(out, "left: {}", content::one_line(&one.message, 400))?;
    }
    if !report.passed.is_empty() {
        let kinds = report.passed.iter().map(|one| match one.ending.as_str() {
            "" => format!("{} others", one.count),
            ending => format!("{} .{ending}", one.count),
        });
        writeln!(out, "passed over, not looked at: {}", kinds.collect::<Vec<_>>().join(", "))?;
        for name in report.passed.iter().flat_map(|one| &one.names) {
            writeln!(out, "  {}", content::one_line(name, 400))?;
        }
    }
    for one in &report.failed {
        writeln!(out, "{}: {}", Role::Bad.paint("not imported"), content::one_line(&one.message, 400))?;
        if let Some(hint) = &one.hint {
            writeln!(out, "  hint: {hint}")?;
        }
    }
    if let Some(one) = report.imported.last() {
        let commands = [
            (format!("events {}", one.session), "what happened, and why"),
            (format!("show {}", one.session), "the state at the current checkpoint"),
            ("ls".to_owned(), "all sessions"),
        ];
        text::next(&mut out, context, &commands)?;
    }
    Ok(out.flush()?)
}

/// How many diagnostics of a file are printed for people.
const SHOWN: usize = 10;

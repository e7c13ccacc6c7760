//! `check`: the store proves itself, or says what is wrong.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use headwater::care::{Anchor, Mode};
use headwater::view::types::CheckReport;
use serde::Serialize;

use super::paint::Role;
use super::{Context, Failure, progress, text, width};

/// Compare the rows with the log, and every payload with its hash
///
/// Changes nothing. Reads the whole store unless told to be quick.
#[derive(clap::Args)]
#[command(after_help = "Exits with 0 when it finds nothing, 4 when it finds something, 1 when it could not look.

Examples:
  headwater check
  headwater check --quick
  headwater check --head demo@0
  headwater check --anchor demo.anchor
  headwater check --json | jq -r '.issues[] | .where'")]
pub struct Args {
    /// Leave out what takes long: reading every payload
    #[arg(long, conflicts_with = "head")]
    quick: bool,
    /// Prove one head by hash
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// Compare with an anchor, which `headwater head --export` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "head"])]
    anchor: Option<PathBuf>,
}

/// What the exit code says of damage.
const FOUND: u8 = 4;

#[derive(Serialize)]
struct Report {
    #[serde(rename = "check/mode")]
    mode: &'static str,
    status: &'static str,
    counts: BTreeMap<&'static str, u64>,
    #[serde(rename = "issue-count")]
    issue_count: usize,
    issues: Vec<Issue>,
    trusted: bool,
}

#[derive(Serialize)]
struct Issue {
    code: &'static str,
    #[serde(rename = "where")]
    place: String,
    advice: String,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let report = match check(args, context) {
        Ok(report) => report,
        // A store too damaged to be opened or read through is what a check is there to find.
        Err(failure) if failure.kind == "damaged" => CheckReport {
            mode: mode(args),
            counts: BTreeMap::new(),
            issues: vec![headwater::view::types::Issue {
                code: "damaged",
                place: failure.message,
                advice: failure.hint.unwrap_or_default(),
            }],
            trusted: false,
        },
        Err(failure) => return Err(failure),
    };
    let code = if report.issues.is_empty() { 0 } else { FOUND };
    if context.json {
        let issues = report.issues.into_iter();
        let issues = issues.map(|issue| Issue { code: issue.code, place: issue.place, advice: issue.advice });
        let issues: Vec<_> = issues.collect();
        context.print_json(&Report {
            mode: report.mode,
            status: if issues.is_empty() { "ok" } else { "issues" },
            counts: report.counts,
            issue_count: issues.len(),
            issues,
            trusted: report.trusted,
        })?;
    } else {
        print(&report, context)?;
    }
    Ok(code)
}

fn mode(args: &Args) -> &'static str {
    if args.anchor.is_some() {
        "anchor"
    } else if args.head.is_some() {
        "head"
    } else if args.quick {
        "quick"
    } else {
        "deep"
    }
}

fn check(args: &Args, context: &Context) -> Result<CheckReport, Failure> {
    // Never through an opening that could mend: an untrusted database would be rebuilt before it was looked at.
    let root = context.root(false)?;
    if let Some(file) = &args.anchor {
        return Ok(headwater::care::check(&root, Mode::Anchor(Box::new(read_anchor(file)?)))?);
    }
    let mode = match &args.head {
        Some(head) => match head.parse() {
            Ok(head) => Mode::Head(head),
            Err(_) => Mode::Head(context.open_store(false)?.resolve_head(head)?),
        },
        None if args.quick => Mode::Quick,
        None => Mode::Deep,
    };
    let line = progress::Line::new(context);
    Ok(headwater::care::check_observed(&root, mode, &line.observer())?)
}

/// Bytes of the longest file that is read as an anchor: some 250,000 heads.
const LONGEST: u64 = 64 << 20;

fn read_anchor(file: &Path) -> Result<Anchor, Failure> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::file(file, &error))?;
    let bad = |failure: Failure| failure.hint("an anchor is what `headwater head HEAD --export FILE` wrote");
    let none = |what| bad(Failure::new("bad-anchor", format!("{} is no anchor: it {what}", file.display())));
    if bytes.len() as u64 > LONGEST {
        return Err(none("is too long for one"));
    }
    let text = String::from_utf8(bytes).map_err(|_| none("is no text"))?;
    Anchor::from_lines(&text).map_err(|error| bad(Failure::caused("bad-anchor", &error)))
}

fn print(report: &CheckReport, context: &Context) -> Result<(), Failure> {
    let mut out = context.text();
    let (role, verdict) = match report.issues.len() {
        0 => (Role::Good, "ok".to_owned()),
        1 => (Role::Bad, "1 issue".to_owned()),
        many => (Role::Bad, format!("{many} issues")),
    };
    writeln!(out, "check {} - {}", report.mode, role.paint(verdict))?;
    if !report.counts.is_empty() {
        let counts = report.counts.iter().map(|(kind, count)| {
            let kind = kind.replace('-', " ");
            format!("{count} {}", if *count == 1 { kind.trim_end_matches('s') } else { &kind })
        });
        let counts: Vec<_> = counts.collect();
        let counts: Vec<&str> = counts.iter().map(String::as_str).collect();
        text::wrapped(&mut out, &counts, " - ")?;
    }
    // A database that was not read was not compared with anything.
    let unread = ["database-missing", "database-journal", "database-unreadable"];
    if !report.trusted && !report.issues.iter().any(|issue| unread.contains(&issue.code)) {
        writeln!(
            out,
            "  the database is not the one noted at the last checkpoint; it was compared with the log all the same"
        )?;
    }
    for issue in &report.issues {
        writeln!(out, "\n  {}  {}", Role::Bad.paint(issue.code), width::harmless(&issue.place))?;
        writeln!(out, "    {}", issue.advice)?;
    }
    out.flush()?;
    Ok(())
}

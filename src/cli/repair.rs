//! `repair`: what can be mended, and mending it.

use std::io::Write;
use std::path::PathBuf;

use headwater::care::{self, RepairReport};
use headwater::model::{Digest, HeadId, SessionId};
use serde::Serialize;

use super::paint::Role;
use super::{Context, Failure, text};

/// Mend a damaged store: show the plan first, then do it
///
/// Without --yes nothing is changed: the plan names every commit, session, head and payload that is damaged, and what becomes
/// of it. With it the log is put together again from what is whole of it, from its copies and from the rows, and the rows are
/// made anew. What is replaced is moved to quarantine/ in the store's folder, with a manifest; nothing is deleted.
#[derive(clap::Args)]
#[command(after_help = "Exits with 0 when it could look, also where something is lost; 1 when it could not.

Examples:
  headwater repair
  headwater repair --yes
  headwater repair --json | jq '.hurt'")]
pub struct Args {
    /// Do what the plan says
    #[arg(long, visible_alias = "apply")]
    yes: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "repair/mode")]
    mode: &'static str,
    status: &'static str,
    damaged: &'a [String],
    log: bool,
    rows: bool,
    segments: Segments,
    commits: Commits,
    payloads: Payloads<'a>,
    #[serde(rename = "events-from-rows")]
    from_rows: Vec<FromRows<'a>>,
    hurt: Vec<Hurt<'a>>,
    #[serde(rename = "records-lost")]
    records_lost: &'a [String],
    quarantine: Option<&'a PathBuf>,
}

#[derive(Serialize)]
struct Segments {
    kept: u64,
    written: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Commits {
    kept: u64,
    chained_again: u64,
    in_part: u64,
    proven: u64,
    from_rows: u64,
    lost: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Payloads<'a> {
    made_again: &'a [Digest],
    lost: &'a [Digest],
}

#[derive(Serialize)]
struct FromRows<'a> {
    session: &'a SessionId,
    events: u64,
    proven: bool,
}

#[derive(Serialize)]
struct Hurt<'a> {
    session: &'a SessionId,
    from: u64,
    events: u64,
    heads: &'a [HeadId],
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let root = context.root(false)?;
    let report = if args.yes { care::repair(&root)? } else { care::plan(&root)? };
    if context.json {
        context.print_json(&json(&report))?;
    } else {
        print(&report, context)?;
    }
    Ok(0)
}

fn status(report: &RepairReport) -> &'static str {
    match (report.is_needed(), report.is_loss()) {
        (false, _) => "sound",
        (true, false) => "whole",
        (true, true) => "loss",
    }
}

fn json(report: &RepairReport) -> Report<'_> {
    let commits = &report.commits;
    Report {
        mode: if report.applied { "applied" } else { "plan" },
        status: status(report),
        damaged: &report.damaged,
        log: report.log,
        rows: report.rows,
        segments: Segments { kept: report.segments_kept, written: report.segments_written },
        commits: Commits {
            kept: commits.kept,
            chained_again: commits.chained_again,
            in_part: commits.in_part,
            proven: commits.proven,
            from_rows: commits.from_rows,
            lost: commits.lost,
        },
        payloads: Payloads { made_again: &report.payloads.made_again, lost: &report.payloads.lost },
        from_rows: report
            .events_from_rows
            .iter()
            .map(|(session, events)| FromRows { session, events: *events, proven: !report.unproven.contains(session) })
            .collect(),
        hurt: report
            .hurt
            .iter()
            .map(|hurt| Hurt { session: &hurt.session, from: hurt.from, events: hurt.events, heads: &hurt.heads })
            .collect(),
        records_lost: &report.records_lost,
        quarantine: report.quarantine.as_ref(),
    }
}

fn print(report: &RepairReport, context: &Context) -> Result<(), Failure> {
    let mut out = context.text();
    let mode = if report.applied { "done" } else { "plan" };
    let verdict = match status(report) {
        "sound" => Role::Good.paint("nothing to repair".to_owned()),
        "whole" => Role::Good.paint("all of it can be mended".to_owned()),
        _ => Role::Bad.paint("something is lost".to_owned()),
    };
    writeln!(out, "repair {mode} - {verdict}")?;
    for damaged in report.damaged.iter().take(20) {
        writeln!(out, "  damaged  {damaged}")?;
    }
    if report.damaged.len() > 20 {
        writeln!(out, "  and {} more; --json names all", report.damaged.len() - 20)?;
    }
    let commits = &report.commits;
    let counts = [
        (commits.kept, "kept"),
        (commits.proven, "made again and proven"),
        (commits.from_rows, "made again from rows"),
        (commits.in_part, "kept in part"),
        (commits.lost, "lost"),
    ];
    if report.log {
        let counts: Vec<_> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        writeln!(out, "\n  commits   {}", counts.join(", "))?;
        writeln!(out, "  segments  {} stay, {} written anew", report.segments_kept, report.segments_written)?;
    }
    if report.rows {
        writeln!(out, "  rows      made anew from the log")?;
    }
    for digest in &report.payloads.made_again {
        writeln!(out, "  payload   {digest} made again")?;
    }
    for digest in &report.payloads.lost {
        writeln!(out, "  payload   {digest} {}", Role::Bad.paint("lost".to_owned()))?;
    }
    for (session, events) in &report.events_from_rows {
        let doubt = if report.unproven.contains(session) { ", which their digest does not prove" } else { "" };
        writeln!(out, "  session   {session}: {} from rows{doubt}", text::count(*events, "event", "events"))?;
    }
    for hurt in &report.hurt {
        let heads = match hurt.heads.len() as u64 {
            0 => String::new(),
            many => format!(", {} among them", text::count(many, "head", "heads")),
        };
        writeln!(out, "  session   {}: set aside from event {} on{heads}", hurt.session, hurt.from)?;
    }
    for record in &report.records_lost {
        writeln!(out, "  record    {record} lost")?;
    }
    if let Some(folder) = &report.quarantine {
        writeln!(out, "\n  what was replaced is in {}", folder.display())?;
    } else if report.is_needed() {
        text::next(&mut out, context, &[("repair --yes".to_owned(), "do this; what is replaced is kept")])?;
    }
    Ok(out.flush()?)
}

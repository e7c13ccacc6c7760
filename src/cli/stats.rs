//! `stats`: what a store holds and costs.

use std::io::Write;

use headwater::care::{self, Stats};
use headwater::model::{SessionId, Timestamp};
use serde::Serialize;

use super::{Context, Failure, text};

/// What the store holds, and what each session costs on disk
///
/// Sizes are bytes. A session's own bytes are those of payloads that no other session names: what removing it would free. Shared
/// ones are named by others too. No payload is read.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater stats
  headwater stats --json | jq '.sessions[0]'")]
pub struct Args {}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    commits: u64,
    segments: u64,
    log: u64,
    database: u64,
    wal: u64,
    payloads: Payloads,
    sessions: Vec<Session<'a>>,
    leases: Vec<Lease<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Payloads {
    count: u64,
    bytes: u64,
    stored: u64,
    named: u64,
    in_parts: u64,
    erased: u64,
    lost: u64,
    dedupe: f64,
    compression: f64,
}

#[derive(Serialize)]
struct Session<'a> {
    session: &'a SessionId,
    events: u64,
    own: u64,
    shared: u64,
}

#[derive(Serialize)]
struct Lease<'a> {
    session: &'a SessionId,
    holder: &'a str,
    alive: bool,
    since: Option<Timestamp>,
}

pub fn run(_: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let stats = care::stats(&store)?;
    if context.json {
        context.print_json(&json(&stats))?;
    } else {
        print(&stats, context)?;
    }
    store.close()?;
    Ok(0)
}

/// Two digits are enough to compare.
fn round(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

fn json(stats: &Stats) -> Report<'_> {
    Report {
        commits: stats.commits,
        segments: stats.segments,
        log: stats.log,
        database: stats.database,
        wal: stats.wal,
        payloads: Payloads {
            count: stats.payloads,
            bytes: stats.payload_bytes,
            stored: stats.payload_stored,
            named: stats.named_bytes,
            in_parts: stats.in_parts,
            erased: stats.erased,
            lost: stats.lost,
            dedupe: round(stats.dedupe()),
            compression: round(stats.compression()),
        },
        sessions: stats
            .sessions
            .iter()
            .map(|cost| Session { session: &cost.session, events: cost.events, own: cost.own, shared: cost.shared })
            .collect(),
        leases: stats
            .leases
            .iter()
            .map(|lease| Lease {
                session: &lease.session,
                holder: &lease.holder,
                alive: lease.alive,
                since: lease.since,
            })
            .collect(),
    }
}

fn print(stats: &Stats, context: &Context) -> Result<(), Failure> {
    let mut out = context.text();
    let segments = text::count(stats.segments, "segment", "segments");
    writeln!(out, "{} - {}", text::count(stats.commits, "commit", "commits"), segments)?;
    writeln!(out, "  log {} - database {} - WAL {}", bytes(stats.log), bytes(stats.database), bytes(stats.wal))?;
    let stored = format!(
        "{} of {}, stored in {}:",
        text::count(stats.payloads, "payload", "payloads"),
        bytes(stats.payload_bytes),
        bytes(stats.payload_stored)
    );
    let ratios = format!("compressed {:.2} times, each kept once {:.2} times", stats.compression(), stats.dedupe());
    text::wrapped(&mut out, &[&stored, &ratios], " ")?;
    for (count, what) in [(stats.in_parts, "in parts"), (stats.erased, "erased"), (stats.lost, "lost")] {
        if count > 0 {
            writeln!(out, "  {count} {what}")?;
        }
    }
    for cost in &stats.sessions {
        let events = text::count(cost.events, "event", "events");
        let costs = format!("{events}, {} of its own, {} shared", bytes(cost.own), bytes(cost.shared));
        text::wrapped(&mut out, &[cost.session.as_str(), &costs], "  ")?;
    }
    for lease in &stats.leases {
        let state = if lease.alive { "writes" } else { "is gone; it wrote" };
        writeln!(out, "  {} {state} {}", lease.holder, lease.session)?;
    }
    Ok(out.flush()?)
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

//! `ls`: the sessions of the store.

use std::io::Write;

use headwater::model::{HeadId, SessionId, Status, Timestamp};
use headwater::view::types::SessionInfo;
use serde::Serialize;

use super::paint::Role;
use super::text::{self, Align, Cell, Column};
use super::{Context, Failure, content};

/// List the sessions, the last changed first
///
/// Children that a session opened are sessions too, of kind child.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater ls
  headwater ls --json | jq -r '.[] | select(.status != \"final\") | .session'")]
pub struct Args {}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Item<'a> {
    session: &'a SessionId,
    alias: Option<&'a SessionId>,
    status: &'a Status,
    kind: &'a Status,
    events: u64,
    turns: u64,
    heads: u64,
    current_head: Option<HeadId>,
    updated_at: Timestamp,
}

pub fn run(_: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let mut sessions = store.sessions()?;
    sessions.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.session.cmp(&b.session)));
    if context.json {
        let items: Vec<_> = sessions.iter().map(item).collect();
        context.print_json(&items)?;
        return Ok(0);
    }
    let mut out = context.text();
    if sessions.is_empty() {
        writeln!(out, "no sessions yet")?;
        let run = "run \"add two numbers\" --script simple --name demo".to_owned();
        text::next(&mut out, context, &[(run, "record one")])?;
    } else {
        let titled = sessions.iter().any(|session| session.title.is_some());
        let columns = if titled { COLUMNS.len() } else { COLUMNS.len() - 1 };
        let header = COLUMNS[..columns].iter().map(|(name, ..)| Cell::new(*name, Role::Faint)).collect();
        let mut rows = vec![header];
        rows.extend(sessions.iter().map(row));
        let columns = COLUMNS.map(|(_, align, spare)| Column::spare(align, spare));
        text::table(&mut out, "", &columns, &rows)?;
    }
    out.flush()?;
    Ok(0)
}

fn item(info: &SessionInfo) -> Item<'_> {
    Item {
        session: &info.session,
        alias: Some(text::name(info)),
        status: &info.status,
        kind: &info.kind,
        events: info.events,
        turns: info.turns,
        heads: info.heads,
        current_head: info.current_head,
        updated_at: info.updated_at,
    }
}

/// The columns: name, side, and when it is left out for want of room.
const COLUMNS: [(&str, Align, u8); 9] = [
    ("SESSION", Align::Left, 0),
    ("STATUS", Align::Left, 0),
    ("KIND", Align::Left, 3),
    ("EVENTS", Align::Right, 4),
    ("TURNS", Align::Right, 1),
    ("HEADS", Align::Right, 6),
    ("CURRENT HEAD", Align::Left, 5),
    ("UPDATED", Align::Left, 2),
    ("TITLE", Align::Left, 0),
];

fn row(info: &SessionInfo) -> Vec<Cell> {
    vec![
        text::name(info).as_str().into(),
        Cell::status(info.status.as_str()),
        info.kind.as_str().into(),
        info.events.to_string().into(),
        info.turns.to_string().into(),
        info.heads.to_string().into(),
        Cell::new(info.current_head.map_or_else(|| "-".to_owned(), |head| head.short()), Role::Faint),
        text::when(info.updated_at).into(),
        info.title.as_deref().map(|title| content::one_line(title, 40)).unwrap_or_default().into(),
    ]
}

//! `ls`: the sessions of the store.

use std::io::Write;

use headwater::model::{HeadId, SessionId, Status, Timestamp};
use headwater::view::types::SessionInfo;
use serde::Serialize;

use super::text::{self, Align};
use super::{Context, Failure, content};

/// List the sessions, the last changed first
#[derive(clap::Args)]
#[command(after_help = "Example:  headwater ls --json | jq -r '.[] | select(.status != \"final\") | .session'")]
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
        use Align::{Left, Right};
        let titled = sessions.iter().any(|session| session.title.is_some());
        let mut header = vec!["SESSION", "STATUS", "KIND", "EVENTS", "TURNS", "HEADS", "CURRENT HEAD", "UPDATED"];
        header.extend(titled.then_some("TITLE"));
        let mut rows = vec![header.into_iter().map(str::to_owned).collect()];
        rows.extend(sessions.iter().map(row));
        text::table(&mut out, "", &[Left, Left, Left, Right, Right, Right, Left, Left, Left], &rows)?;
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

fn row(info: &SessionInfo) -> Vec<String> {
    vec![
        text::name(info).to_string(),
        info.status.to_string(),
        info.kind.to_string(),
        info.events.to_string(),
        info.turns.to_string(),
        info.heads.to_string(),
        info.current_head.map_or_else(|| "-".to_owned(), |head| head.short()),
        text::time(info.updated_at),
        info.title.as_deref().map(|title| content::one_line(title, 40)).unwrap_or_default(),
    ]
}

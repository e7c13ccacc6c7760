//! How a session stands: its last turn, its status, its final value. What `run` and `resume` print, and what the exit
//! codes of `run`, `resume` and `show` mean.

use std::io::Write;

use headwater::model::{Digest, EventNumber, HeadId, SessionId, Status, TurnNumber};
use headwater::store::Store;
use headwater::view::types::{HeadInfo, SessionInfo};
use serde::Serialize;

use super::content::{self, Content};
use super::paint::Role;
use super::{Context, Failure, text};

/// The last turn at a head.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub turn: Option<TurnNumber>,
    /// The turn's status; the session's where it is the worse one, or there is no turn.
    pub status: String,
    pub final_value: Option<Digest>,
}

impl Outcome {
    /// 0 final value, 2 none, 3 timeout, 1 error.
    pub fn code(&self) -> u8 {
        match self.status.as_str() {
            "error" => 1,
            "timeout" => 3,
            _ if self.final_value.is_some() => 0,
            _ => 2,
        }
    }
}

/// What `run` and `resume` print with `--json`.
#[derive(Serialize)]
pub struct Report {
    pub session: SessionId,
    pub alias: Option<SessionId>,
    pub turn: Option<TurnNumber>,
    pub status: String,
    pub head: Option<HeadId>,
    #[serde(rename = "final")]
    pub final_value: Option<Content>,
}

/// How `session` stands at its current head, and the exit code that says so.
pub fn report(store: &Store, session: &SessionId) -> Result<(Report, u8), Failure> {
    let info = store.session(session)?;
    let head = info.current_head.map(|head| store.head(&head)).transpose()?;
    let outcome = of(store, &info, head.as_ref())?;
    let code = outcome.code();
    let final_value = outcome.final_value.map(|digest| content::value(store, digest)).transpose()?;
    let report = Report {
        session: info.session.clone(),
        alias: Some(text::name(&info).clone()),
        turn: outcome.turn,
        status: outcome.status,
        head: info.current_head,
        final_value,
    };
    Ok((report, code))
}

/// Prints how `session` stands, as text or JSON; the exit code says so too.
pub fn print(context: &Context, store: &Store, session: &SessionId) -> Result<u8, Failure> {
    let (report, code) = report(store, session)?;
    if context.json {
        context.print_json(&report)?;
        return Ok(code);
    }
    let mut out = context.text();
    let name = report.alias.as_ref().unwrap_or(&report.session);
    writeln!(out, "{} - {}", Role::Title.paint(name), Role::of_status(&report.status).paint(&report.status))?;
    if let Some(turn) = report.turn {
        writeln!(out, "  turn        {turn}")?;
    }
    if let Some(head) = &report.head {
        writeln!(out, "  checkpoint  {}", head.short())?;
    }
    if let Some(value) = &report.final_value {
        writeln!(out, "  final       {}", value.one_line(text::line_width(100 + 14).saturating_sub(14)))?;
    }
    let aborted = aborted_head(store, &store.session(session)?)?;
    let mut commands = vec![
        (format!("show {name}"), "inspect current checkpoint"),
        (format!("events {name}"), "what happened, and why"),
        (format!("resume {name} \"TASK\""), "go on with it"),
        (format!("fork {name} --name {}", text::fork_name(name)), "start another from here"),
    ];
    if let Some(head) = aborted {
        writeln!(out, "  aborted at  {}", head.short())?;
        commands.insert(1, (format!("show {}", head.short()), "what the aborted turn had built"));
    }
    text::next(&mut out, context, &commands)?;
    out.flush()?;
    Ok(code)
}

/// The last turn at `head`, without reading the rows before it.
pub fn of(store: &Store, info: &SessionInfo, head: Option<&HeadInfo>) -> Result<Outcome, Failure> {
    // A turn that failed or was cut off leaves the current head where it was: then the session's status tells.
    let at_current = head.is_none_or(|head| head.current);
    if at_current && matches!(info.status.as_str(), "error" | "timeout" | "aborted") {
        let last = store.last_turn(&info.session)?;
        return Ok(Outcome {
            turn: last.map(|entry| entry.row.turn),
            status: info.status.to_string(),
            final_value: None,
        });
    }
    let last = head.map(|head| store.last_turn_at(&head.head)).transpose()?.flatten();
    let Some(turn) = last.map(|entry| entry.row) else {
        return Ok(Outcome { turn: None, status: info.status.to_string(), final_value: None });
    };
    // A head that a compaction sealed may lie within a turn.
    let status = if turn.status.is_running() { &info.status } else { &turn.status };
    Ok(Outcome { turn: Some(turn.turn), status: status.to_string(), final_value: turn.final_value })
}

/// The head that keeps what the last turn had built when it was aborted: the session's last one, but not its current.
pub fn aborted_head(store: &Store, info: &SessionInfo) -> Result<Option<HeadId>, Failure> {
    if info.status != Status::ABORTED {
        return Ok(None);
    }
    // It is sealed with the turn, and the status follows.
    let since = EventNumber(info.events.saturating_sub(8));
    let events = store.events_since(&info.session, since, 8)?;
    let sealed = events.into_iter().rev().find(|event| event.kind == "head/created").and_then(|event| event.head_id);
    Ok(sealed.filter(|head| Some(*head) != info.current_head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_say_how_a_turn_ended() {
        let outcome = |status: &str, final_value: bool| Outcome {
            turn: None,
            status: status.to_owned(),
            final_value: final_value.then_some(Digest::ZERO),
        };
        assert_eq!(outcome("final", true).code(), 0);
        assert_eq!(outcome("ok", false).code(), 2);
        assert_eq!(outcome("timeout", true).code(), 3);
        assert_eq!(outcome("error", false).code(), 1);
        assert_eq!(outcome("aborted", false).code(), 2);
    }
}

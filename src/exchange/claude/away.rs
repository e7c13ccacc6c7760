//! Subagents in the background: the result of their call says only that they were launched, and a notice later what became of
//! them.

use serde::{Deserialize, Serialize};

use super::Claude;
use super::record::Agent;
use crate::exchange::batch::{Step, Stop};
use crate::exchange::callee;
use crate::model::{InvocationNumber, SessionId, Status};

/// How many are remembered.
const MAX_AWAY: usize = 64;

/// One at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Away {
    agent: String,
    invocation: InvocationNumber,
}

impl Claude {
    /// Remembers a subagent whose call came back before it.
    pub(super) fn launched(&mut self, told: &Agent<'_>, invocation: Option<InvocationNumber>) {
        let Some((agent, invocation)) = told.id().zip(invocation).filter(|_| told.is_launched()) else { return };
        if self.away.len() == MAX_AWAY {
            self.away.remove(0);
        }
        self.away.push(Away { agent, invocation });
    }

    /// Forgets those that were launched after so many invocations.
    pub(super) fn forget_away(&mut self, invocations: u64) {
        self.away.retain(|away| away.invocation.0 <= invocations);
    }

    /// A notice, or another text of the program's.
    pub(super) fn notified(&mut self, step: &mut Step<'_, '_>, text: &str) -> Result<(), Stop> {
        let Some(notice) = text.trim_start().strip_prefix("<task-notification>") else { return Ok(()) };
        let agent = element(notice, "task-id").unwrap_or_default();
        let status = match element(notice, "status") {
            Some("completed") => Status::OK,
            Some("failed") => Status::ERROR,
            Some("killed" | "stopped") => Status::ABORTED,
            _ => return Ok(()),
        };
        let Some(at) = self.away.iter().position(|away| away.agent == agent) else { return Ok(()) };
        let Away { agent, invocation } = self.away.remove(at);
        let said = element(notice, "result").or(element(notice, "summary"));
        let value = said.map(|said| step.batch.put(said.as_bytes()));
        let callee = self.aside.borrow_mut().agent(step.source(), &agent).parse::<SessionId>();
        let after = callee.map_or(Ok(None), |callee| callee::after(step, &callee))?;
        let ended = step.at();
        if status == Status::OK {
            step.batch.complete_invocation(invocation, |row| {
                (row.final_value, row.callee_after, row.ended_at) = (value, after.or(row.callee_after), ended);
            })?;
        } else {
            step.batch.fail_invocation(invocation, |row| {
                (row.status, row.final_value, row.error) = (status, None, value);
                (row.callee_after, row.ended_at) = (after.or(row.callee_after), ended);
            })?;
        }
        if !self.returned.contains(&invocation) {
            self.returned.push(invocation);
        }
        Ok(())
    }
}

/// What stands in an element.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.trim())
}

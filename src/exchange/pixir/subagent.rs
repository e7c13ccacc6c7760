//! Subagents: children that a session calls, each call an invocation.

use super::record::Data;
use super::{Pixir, Subagent};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::json::text;
use crate::model::{SessionId, Status};

/// How many children are remembered, for their ordinals.
const MAX_CHILDREN: usize = 4_096;

impl Pixir {
    /// A child called, failed and tried again, or done. The record itself is an annotation besides.
    pub(super) fn subagent(&mut self, step: &mut Step<'_, '_>, data: &Data<'_>) -> Result<(), Stop> {
        let Some(id) = text(data.subagent_id) else { return Ok(()) };
        let child = text(data.child_session_id).unwrap_or_default();
        let status = text(data.status).unwrap_or_default();
        match text(data.event).unwrap_or_default().as_str() {
            // A child that is started while it is at work is the same call, told of again.
            "started" if self.at_work(&id, &child).is_some() => Ok(()),
            "started" | "input" => self.call(step, data, id, child),
            "retrying" => {
                let failed = text(data.failed_child_session_id).unwrap_or(child);
                self.done(step, data, &id, &failed, &Status::ERROR)
            }
            "closed" | "finished" | "completed" | "failed" | "timed_out" | "cancelled" | "detached" | "done" => {
                let status = match status.as_str() {
                    "completed" | "closed" => Status::OK,
                    "timed_out" => Status::TIMEOUT,
                    "cancelled" | "detached" => Status::ABORTED,
                    _ => Status::ERROR,
                };
                self.done(step, data, &id, &child, &status)
            }
            _ => Ok(()),
        }
    }

    fn at_work(&self, id: &str, child: &str) -> Option<usize> {
        let is_child = |one: &&Subagent| child.is_empty() || one.child == child;
        let found = self.subagents.iter().rev().find(|one| one.id == id && is_child(one))?;
        self.subagents.iter().position(|one| one.invocation == found.invocation)
    }

    /// The same, or else the last of that id whose child was not told of.
    fn at_work_or_unnamed(&self, id: &str, child: &str) -> Option<usize> {
        let unnamed = || self.subagents.iter().rposition(|one| one.id == id && one.child.is_empty());
        self.at_work(id, child).or_else(unnamed)
    }

    fn call(&mut self, step: &mut Step<'_, '_>, data: &Data<'_>, id: String, child: String) -> Result<(), Stop> {
        let label = text(data.agent).map(|agent| step.batch.put(agent.as_bytes()));
        let input = text(data.task).map(|task| step.batch.put(task.as_bytes()));
        let callee = child.parse::<SessionId>().ok();
        let known = self.children.iter().find(|(of, _)| *of == child).map(|(_, ordinal)| *ordinal);
        let ordinal = known.unwrap_or(step.batch.counters().child + 1);
        let (call, at) = (self.call, step.at());
        let invocation = step.batch.start_invocation(Status::new("subagent")?, |row| {
            row.call = call;
            row.label = label;
            row.input = input;
            row.callee = callee;
            row.child = Some(ordinal);
            row.started_at = at;
        })?;
        if known.is_none() && !child.is_empty() && self.children.len() < MAX_CHILDREN {
            self.children.push((child.clone(), ordinal));
        }
        self.subagents.push(Subagent { id, child, invocation });
        Ok(())
    }

    fn done(
        &mut self,
        step: &mut Step<'_, '_>,
        data: &Data<'_>,
        id: &str,
        child: &str,
        status: &Status,
    ) -> Result<(), Stop> {
        let Some(at) = self.at_work_or_unnamed(id, child) else { return Ok(()) };
        let Subagent { invocation, child: named, .. } = self.subagents.remove(at);
        let callee = child.parse::<SessionId>().ok().filter(|_| named.is_empty());
        let ended = step.at();
        if *status == Status::OK {
            let summary = text(data.summary).map(|summary| step.batch.put(summary.as_bytes()));
            step.batch.complete_invocation(invocation, |row| {
                row.final_value = summary;
                row.callee = callee.or(row.callee.take());
                row.ended_at = ended;
            })?;
        } else {
            let why = [data.error_message, data.error_kind, data.reason, data.summary].into_iter().find_map(text);
            let error = why.map(|why| step.batch.put(why.as_bytes()));
            step.batch.fail_invocation(invocation, |row| {
                row.status = status.clone();
                row.callee = callee.or(row.callee.take());
                row.error = error;
                row.ended_at = ended;
            })?;
        }
        Ok(())
    }
}

//! Spawned agents: children that a session calls, each call an invocation. What a tool's output says and what an event
//! says is the same; whichever comes first counts.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::Payload;
use super::{Agent, Codex};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::callee;
use crate::exchange::json::text;
use crate::exchange::tools::Asked;
use crate::model::{CallNumber, SessionId, Status};

/// How many children are remembered, for their ordinals.
const MAX_CHILDREN: usize = 256;

/// The arguments and outputs of the tools for agents, and what a notice says.
#[derive(Debug, Default, Deserialize)]
struct Fields<'a> {
    #[serde(default, borrow)]
    agent_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    thread_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    target: Option<&'a RawValue>,
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    agent_type: Option<&'a RawValue>,
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
    #[serde(default, borrow)]
    previous_status: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    fn of(json: Option<&'a str>) -> Fields<'a> {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    fn child(&self) -> Option<String> {
        [self.agent_id, self.thread_id, self.id, self.target].into_iter().find_map(text)
    }
}

type Statuses<'a> = std::collections::BTreeMap<String, &'a RawValue>;

impl Codex {
    /// An event of agents.
    pub(super) fn collab(&mut self, step: &mut Step<'_, '_>, kind: &str, payload: &Payload<'_>) -> Result<(), Stop> {
        let asked = text(payload.call_id.or(payload.event_id));
        let asked = asked.and_then(|id| self.tools.find(&id).cloned());
        match kind {
            "collab_agent_spawn_end" => {
                let Some(child) = text(payload.new_thread_id) else { return Ok(()) };
                let (label, input) = (text(payload.new_agent_role), text(payload.prompt));
                let arguments = asked.as_ref().and_then(|asked| asked.code.clone());
                let fields = Fields::of(arguments.as_deref());
                let label = label.or_else(|| text(fields.agent_type));
                let input = input.or_else(|| text(fields.message));
                self.call_agent(step, child, label, input, asked.and_then(|asked| asked.call))
            }
            "collab_agent_interaction_end" => match text(payload.receiver_thread_id) {
                Some(child) => {
                    let call = asked.and_then(|asked| asked.call);
                    self.call_agent(step, child, None, text(payload.prompt), call)
                }
                None => Ok(()),
            },
            "collab_waiting_end" => {
                self.all_statuses(step, payload.statuses)?;
                let listed: Vec<Fields<'_>> =
                    payload.agent_statuses.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
                for one in listed {
                    if let Some(child) = one.child() {
                        self.agent_status(step, &child, one.status)?;
                    }
                }
                Ok(())
            }
            "sub_agent_activity" => {
                let Some(child) = text(payload.agent_thread_id) else { return Ok(()) };
                let arguments = asked.as_ref().and_then(|asked| asked.code.clone());
                let input = text(Fields::of(arguments.as_deref()).message);
                match text(payload.activity).unwrap_or_default().as_str() {
                    "started" => self.call_agent(step, child, None, input, asked.and_then(|asked| asked.call)),
                    "completed" => self.agent_ended(step, &child, &Status::OK, None),
                    "interrupted" => self.agent_ended(step, &child, &Status::ABORTED, None),
                    _ => Ok(()),
                }
            }
            "collab_close_end" => match text(payload.receiver_thread_id) {
                Some(child) => self.agent_closed(step, &child, payload.status),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The output of a tool, which may be one for agents.
    pub(super) fn agent_output(
        &mut self,
        step: &mut Step<'_, '_>,
        asked: &Asked<Option<bool>>,
        output: &str,
    ) -> Result<(), Stop> {
        let (asks, says) = (Fields::of(asked.code.as_deref()), Fields::of(Some(output)));
        match asked.name.as_deref() {
            Some("spawn_agent") => match says.child() {
                Some(child) => self.call_agent(step, child, text(asks.agent_type), text(asks.message), asked.call),
                None => Ok(()),
            },
            Some("send_input") => match asks.child() {
                Some(child) => self.call_agent(step, child, None, text(asks.message), asked.call),
                None => Ok(()),
            },
            Some("wait" | "wait_agent") => self.all_statuses(step, says.status),
            Some("close_agent") => match asks.child() {
                Some(child) => self.agent_closed(step, &child, says.previous_status.or(says.status)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A message in which Codex tells the model what became of an agent.
    pub(super) fn notified(&mut self, step: &mut Step<'_, '_>, said: &str) -> Result<(), Stop> {
        let inner = said.trim().strip_prefix("<subagent_notification>");
        let Some(inner) = inner.and_then(|inner| inner.strip_suffix("</subagent_notification>")) else { return Ok(()) };
        let fields = Fields::of(Some(inner.trim()));
        match fields.child() {
            Some(child) => self.agent_status(step, &child, fields.status),
            None => Ok(()),
        }
    }

    fn all_statuses(&mut self, step: &mut Step<'_, '_>, statuses: Option<&RawValue>) -> Result<(), Stop> {
        let statuses: Statuses<'_> =
            statuses.and_then(|statuses| serde_json::from_str(statuses.get()).ok()).unwrap_or_default();
        for (child, status) in statuses {
            self.agent_status(step, &child, Some(status))?;
        }
        Ok(())
    }

    fn call_agent(
        &mut self,
        step: &mut Step<'_, '_>,
        child: String,
        label: Option<String>,
        input: Option<String>,
        call: Option<CallNumber>,
    ) -> Result<(), Stop> {
        // What a fork repeats is its parent's call; what is told twice is one.
        if step.is_repeated() || self.agents.iter().any(|agent| agent.child == child) {
            return Ok(());
        }
        let label = label.map(|label| step.batch.put(label.as_bytes()));
        let input = input.map(|input| step.batch.put(input.as_bytes()));
        let callee = child.parse::<SessionId>().ok();
        let known = self.children.iter().find(|(of, _)| *of == child).map(|(_, ordinal)| *ordinal);
        let ordinal = known.unwrap_or(step.batch.counters().child + 1);
        let at = step.at();
        // One that was never called before stood at its beginning, whatever its clock says.
        let called = at.filter(|_| known.is_some());
        let before = callee.as_ref().map_or(Ok(None), |callee| callee::before(step, callee, called, None))?;
        let invocation = step.batch.start_invocation(Status::new("subagent")?, |row| {
            row.call = call;
            row.label = label;
            row.input = input;
            row.callee = callee;
            row.callee_before = before;
            row.child = Some(ordinal);
            row.started_at = at;
        })?;
        if known.is_none() && self.children.len() < MAX_CHILDREN {
            self.children.push((child.clone(), ordinal));
        }
        self.agents.push(Agent { child, invocation });
        Ok(())
    }

    /// What an agent that was closed had come to: where it was still at work, it was broken off.
    fn agent_closed(&mut self, step: &mut Step<'_, '_>, child: &str, status: Option<&RawValue>) -> Result<(), Stop> {
        self.agent_status(step, child, status)?;
        self.agent_ended(step, child, &Status::ABORTED, None)
    }

    /// `"running"`, `"shutdown"`, `{"completed":text}`, `{"errored":text}`.
    fn agent_status(&mut self, step: &mut Step<'_, '_>, child: &str, status: Option<&RawValue>) -> Result<(), Stop> {
        let Some(status) = status else { return Ok(()) };
        let fields: Statuses<'_> = serde_json::from_str(status.get()).unwrap_or_default();
        let (word, said) = match fields.into_iter().next() {
            Some((word, said)) => (word, text(Some(said))),
            None => (text(Some(status)).unwrap_or_default(), None),
        };
        let status = match word.as_str() {
            "completed" => Status::OK,
            "errored" | "not_found" => Status::ERROR,
            "interrupted" | "shutdown" => Status::ABORTED,
            _ => return Ok(()),
        };
        self.agent_ended(step, child, &status, said)
    }

    fn agent_ended(
        &mut self,
        step: &mut Step<'_, '_>,
        child: &str,
        status: &Status,
        said: Option<String>,
    ) -> Result<(), Stop> {
        let Some(at) = self.agents.iter().position(|agent| agent.child == child) else { return Ok(()) };
        let invocation = self.agents.remove(at).invocation;
        let said = said.map(|said| step.batch.put(said.as_bytes()));
        let ended = step.at();
        let after = child.parse::<SessionId>().map_or(Ok(None), |callee| callee::after(step, &callee))?;
        if *status == Status::OK {
            step.batch.complete_invocation(invocation, |row| {
                row.final_value = said;
                row.callee_after = after;
                row.ended_at = ended;
            })?;
        } else {
            step.batch.fail_invocation(invocation, |row| {
                row.status = status.clone();
                row.error = said;
                row.callee_after = after;
                row.ended_at = ended;
            })?;
        }
        self.returned.push(invocation);
        Ok(())
    }
}

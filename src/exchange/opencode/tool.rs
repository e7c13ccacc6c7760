//! Tools: each is an eval once it ended, and one that opened a session is an invocation of it too.

use super::fill::{Child, Holes, Import};
use super::import::session_of;
use super::meaning::{Kind, This};
use super::record::{Part, State as Tool};
use super::walk::stem;
use crate::exchange::batch::Stop;
use crate::exchange::json::{range_in, text};
use crate::exchange::template::{Hole, json_string};
use crate::model::{CallNumber, Eval, EvalNumber, HeadId, MessageNumber, SessionId, Status, Timestamp};
use crate::store::Batch;
use crate::store::error::CommitError;

impl Import<'_> {
    /// The tools of a message: each is an eval once it ended.
    pub(super) fn tools(&mut self, batch: &mut Batch<'_>, this: &mut This<'_>) -> Result<(), Stop> {
        this.open.running.clear();
        let is_shared = self.base.is_some() && self.past.rows.contains_key(&this.open.id);
        let mut step = 0;
        for number in 0..this.files.len() {
            let (at, kind) = (this.files[number].at, this.files[number].kind);
            step += usize::from(kind == Kind::StepFinish);
            if kind != Kind::Tool {
                continue;
            }
            let bytes = self.bytes_of(&this.files[number])?;
            let part = Part::read(&bytes).map_err(CommitError::Invalid)?;
            let name = stem(&self.survey.files[at].name).to_owned();
            let call = this.open.calls.get(step).or(this.open.calls.last()).map(|(call, _)| *call);
            let state = part.state();
            if !is_shared {
                self.opened(batch, &state, call)?;
            }
            let ended = state.ended().or((this.message.is_over()).then_some(Status::UNFINISHED));
            let known = this.open.unfinished.iter().position(|(part, _)| *part == name);
            if let Some(known) = known
                && let Some(status) = state.ended()
            {
                let (_, eval) = this.open.unfinished.remove(known);
                let (_, holes) = self.eval(batch, &part, status, (this.open.message, call, Some(eval)), &bytes)?;
                self.keep(at, &bytes, holes);
                continue;
            }
            if is_shared || this.open.evals.contains(&name) {
                self.keep_known(at, &bytes)?;
                continue;
            }
            let Some(status) = ended else {
                this.open.running.push(name);
                self.keep_known(at, &bytes)?;
                continue;
            };
            let (eval, holes) = self.eval(batch, &part, status, (this.open.message, call, None), &bytes)?;
            self.keep(at, &bytes, holes);
            if state.ended().is_none() {
                this.open.unfinished.push((name.clone(), eval));
            }
            this.open.evals.push(name);
        }
        Ok(())
    }

    /// A tool that ended, or is over without: its eval, which may be `known`, and the parts of its file that the eval has.
    pub(super) fn eval(
        &mut self,
        batch: &mut Batch<'_>,
        part: &Part<'_>,
        status: Status,
        (message, call, known): (Option<MessageNumber>, Option<CallNumber>, Option<EvalNumber>),
        bytes: &[u8],
    ) -> Result<(EvalNumber, Holes), Stop> {
        let state = part.state();
        let code = state.input.map(|input| batch.put(input.get().as_bytes()));
        let value = if status == Status::ERROR { state.error } else { state.output };
        let said = text(value).or_else(|| value.map(|raw| raw.get().to_owned()));
        let value_put = said.as_ref().map(|said| batch.put(said.as_bytes()));
        let (turn, ended) = (self.state.turn, state.ended_at());
        if let Some(at) = ended.or(state.started_at()) {
            batch.at(at);
        }
        let fill = |eval: &mut Eval| {
            eval.status = status.clone();
            (eval.name, eval.turn, eval.message, eval.call) = (part.tool(), turn, message, call);
            (eval.started_at, eval.ended_at, eval.code) = (state.started_at(), ended, code);
            if status == Status::ERROR {
                eval.error = value_put;
            } else {
                eval.result = value_put;
            }
        };
        let number = match known {
            Some(number) => batch.update_eval(number, fill).map(|()| number)?,
            None => batch.add_eval(status.clone(), fill)?,
        };
        let mut holes = Holes::new();
        holes.extend(state.input.and_then(|raw| range_in(bytes, raw)).map(|range| (range, Hole::Code(number))));
        if let Some((raw, said)) = value.zip(said)
            && json_string(&said) == raw.get()
        {
            // Some tools note their output once more.
            let again = state.notes().into_iter().filter(|note| note.get() == raw.get()).chain([raw]);
            let ranges = again.filter_map(|raw| range_in(bytes, raw));
            holes.extend(ranges.map(|range| (range, Hole::ResultText(number))));
        }
        Ok((number, holes))
    }

    /// A tool that opened a session.
    fn opened(&mut self, batch: &mut Batch<'_>, state: &Tool<'_>, call: Option<CallNumber>) -> Result<(), Stop> {
        let Some(child) = state.child() else { return Ok(()) };
        let known = self.past.edges.get(&child).copied();
        let known = known.or(self.state.edges.iter().rev().find(|(id, ..)| *id == child).map(|(_, n, e)| (*n, *e)));
        let ended = state.ended();
        if known.is_some_and(|(_, is_over)| is_over || ended.is_none()) {
            return Ok(());
        }
        let (callee, after) = self.callee(&child)?;
        let (label, input) = (state.description(), state.prompt());
        let (label, input) =
            (label.map(|text| batch.put(text.as_bytes())), input.map(|text| batch.put(text.as_bytes())));
        let number = match known {
            Some((number, _)) => number,
            None => {
                let started = state.started_at();
                batch.start_invocation(Status::new("subagent")?, |row| {
                    (row.call, row.label, row.input, row.callee) = (call, label, input, callee.clone());
                    row.started_at = started.or(row.started_at);
                })?
            }
        };
        if let Some(status) = ended.clone() {
            let value = if status == Status::OK { state.output } else { state.error };
            let value = text(value).map(|value| batch.put(value.as_bytes()));
            let at = state.ended_at();
            let done = match status == Status::OK {
                true => batch.complete_invocation(number, |row| {
                    (row.final_value, row.callee_after) = (value, after);
                    row.ended_at = at.or(row.ended_at);
                }),
                false => batch.fail_invocation(number, |row| {
                    (row.error, row.callee_after) = (value, after);
                    row.ended_at = at.or(row.ended_at);
                }),
            };
            match done {
                Ok(()) => self.returned.push(number),
                // It was started on a branch that was left.
                Err(CommitError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.state.edges.push((child, number, ended.is_some()));
        Ok(())
    }

    /// A session that no tool tells of.
    pub(super) fn child(&mut self, batch: &mut Batch<'_>, (id, title, at): &Child) -> Result<(), Stop> {
        let (callee, after) = self.callee(id)?;
        let label = title.as_ref().map(|title| batch.put(title.as_bytes()));
        let at: Option<Timestamp> = *at;
        if let Some(at) = at {
            batch.at(at);
        }
        let number = batch.start_invocation(Status::new("subagent")?, |row| {
            (row.label, row.callee) = (label, callee);
            row.started_at = at.or(row.started_at);
        })?;
        batch.complete_invocation(number, |row| {
            row.callee_after = after;
        })?;
        self.returned.push(number);
        self.state.edges.push((id.clone(), number, true));
        Ok(())
    }

    /// The session of that id, and its current head if it is there.
    fn callee(&self, id: &str) -> Result<(Option<SessionId>, Option<HeadId>), Stop> {
        match session_of(self.store, id)? {
            Some(session) => {
                let head = self.store.session(&session)?.current_head;
                Ok((Some(session), head))
            }
            None => Ok((id.parse().ok(), None)),
        }
    }
}

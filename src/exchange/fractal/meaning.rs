//! What each kind of record means: messages, turns, calls, evals, snapshots, children, statuses.

use super::children::ordinal_of;
use super::record::{Record, Row, first_nano, first_whole, word};
use super::value::{Holes, text_hole};
use super::{Fractal, folder};
use crate::exchange::batch::{Step, Stop};
use crate::exchange::json::kept;
use crate::exchange::template::Hole;
use crate::model::{
    Body, Call, CallNumber, CallType, Digest, EvalNumber, Message, MessageNumber, Role, SessionError, SessionId,
    SessionStatus, SnapshotNumber, Status, TurnNumber,
};

/// Why a record did not become what it says.
pub(super) enum Not {
    Stop(Stop),
    /// It cannot be understood: it is kept as it is.
    Understood(String),
}

impl<E: Into<Stop>> From<E> for Not {
    fn from(error: E) -> Not {
        Not::Stop(error.into())
    }
}

type Done = Result<(), Not>;

fn not<T, E: ToString>(result: Result<T, E>) -> Result<T, Not> {
    result.map_err(|why| Not::Understood(why.to_string()))
}

impl Fractal {
    pub(super) fn mean(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Result<(), Stop> {
        let done = match record.kind() {
            "message/added" => self.message(step, record),
            "turn/started" | "turn/put" => self.turn_row(step, record),
            "call/started" | "call/put" => self.call(step, record),
            "eval/added" => self.eval(step, record),
            "snapshot/added" => self.snapshot(step, record),
            "session/restored" => self.restored(step, record),
            "session/final" => self.final_value(step, record),
            "session/status" => Self::status(step, record),
            "session/error" => self.error(step, record),
            // The turn's own row and its head say it.
            "turn-final" => Ok(()),
            other => step.note(&format!("fractal/{other}"), self.turn).map(|_| ()).map_err(Not::Stop),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Not::Stop(stop)) => Err(stop),
            Err(Not::Understood(why)) => {
                step.odd("bad-record", format!("a record that cannot be understood is kept as it is: {why}"));
                step.note("import/bad-record", self.turn).map(|_| ())
            }
        }
    }

    fn message(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let row = not(record.row("message"))?;
        let mut holes = Holes::new();
        self.add_message(step, row, true, &mut holes)?;
        step.keep(holes);
        Ok(())
    }

    pub(super) fn add_message(
        &mut self,
        step: &mut Step<'_, '_>,
        row: Row<'_, '_>,
        is_own: bool,
        holes: &mut Holes,
    ) -> Result<MessageNumber, Not> {
        let id = not(row.id())?;
        let role = row.word("role").ok_or_else(|| Not::Understood("its message has no :message/role".to_owned()))?;
        let role = not(Role::try_from(std::borrow::Cow::Owned(role)))?;
        let content = row.get("content");
        let text = content.and_then(|content| content.string());
        let bytes = match (&text, content) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(value)) => value.text().as_bytes(),
            (None, None) => b"",
        };
        let reference = row.get("content-ref");
        let (payload, chars) = match self.deref(step, "message/content-ref", reference, holes)? {
            // Bytes that are no text count as so many characters.
            Some(payload) => (payload, reference.and_then(|blob| blob.get("bytes")?.whole()).unwrap_or(0)),
            None => {
                let text = std::str::from_utf8(bytes).unwrap_or_default();
                (step.batch.put(bytes), text.chars().count() as u64)
            }
        };
        let added = Message {
            message: MessageNumber(0),
            role: role.clone(),
            content: payload,
            chars,
            turn: self.number_of_turn(step, row, is_own),
            call: self.number_of_call(step, row, "call-id", is_own),
            extra: self.extra(step, row, &["id", "role", "content", "turn-id", "call-id"])?,
        };
        step.batch.append(Body::MessageAdded(added))?;
        let number = MessageNumber(step.batch.counters().message);
        if let (Some(text), Some(value)) = (&text, content) {
            holes.extend(text_hole(step, value, text, Hole::Text(number)));
        }
        self.messages.put(id, number.0);
        if role == Role::User {
            self.asked = Some((id, payload));
        }
        Ok(number)
    }

    fn turn_row(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let row = not(record.row("turn"))?;
        let id = not(row.id())?;
        let mut holes = Holes::new();
        let status = row.status("status").unwrap_or(Status::RUNNING);
        let final_value = self.deref(step, "turn/final-ref", row.get("final-ref"), &mut holes)?;
        let summary = row.get("final-preview").map(|value| self.put(step, value, &mut holes));
        let summary = match row.get("summary-ref") {
            None => summary,
            reference => self.deref(step, "turn/summary-ref", reference, &mut holes)?,
        };
        let error = self.put_or_deref(step, "turn/error", row.get("error"), &mut holes)?;
        let extra = self.extra(step, row, TURN)?;
        let asked = row.whole("user-message-id");
        let input = self.asked.filter(|(message, _)| Some(*message) == asked).map(|(_, content)| content);
        let input = match row.get("input-ref") {
            None => input,
            reference => self.deref(step, "turn/input-ref", reference, &mut holes)?,
        };
        let (started_at, ended_at) = (row.time("started-at"), row.time("ended-at"));
        let is_over = !status.is_running();
        let fill = |turn: &mut crate::model::Turn| {
            turn.status = status;
            turn.started_at = started_at.or(turn.started_at);
            turn.ended_at = ended_at;
            turn.final_value = final_value;
            turn.summary = summary;
            turn.error = error;
            turn.extra = extra;
            turn.input = input.or(turn.input);
        };
        let turn = match (record.kind(), self.turns.get(id)) {
            ("turn/started", _) => {
                let turn = step.batch.begin_turn(fill)?;
                self.turns.put(id, turn.0);
                turn
            }
            (_, Some(turn)) => {
                step.batch.update_turn(TurnNumber(turn), fill)?;
                TurnNumber(turn)
            }
            _ => return Err(Not::Understood(format!("turn {id} was not started"))),
        };
        (self.turn, self.turn_id, self.ended) = (Some(turn), Some(id), is_over);
        step.keep(holes);
        Ok(())
    }

    fn call(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let row = not(record.row("call"))?;
        let id = not(row.id())?;
        let word = row.word("type").ok_or_else(|| Not::Understood("its call has no :call/type".to_owned()))?;
        let call_type = not(CallType::try_from(std::borrow::Cow::Owned(word)))?;
        let mut holes = Holes::new();
        let mut filled = Call::new(CallNumber(0), call_type.clone());
        filled.status = row.status("status").unwrap_or(Status::RUNNING);
        filled.turn = self.number_of_turn(step, row, true);
        filled.eval = self.parent_eval(step, row);
        filled.input = self.deref(step, "call/input-ref", row.get("input-ref"), &mut holes)?;
        filled.request = self.deref(step, "call/request-ref", row.get("request-ref"), &mut holes)?;
        filled.response = self.deref(step, "call/response-ref", row.get("response-ref"), &mut holes)?;
        let result = row.get("result-ref").or_else(|| row.get("final-ref"));
        filled.result = self.deref(step, "call/result-ref", result, &mut holes)?;
        filled.error = self.put_or_deref(step, "call/error", row.get("error"), &mut holes)?;
        (filled.provider, filled.model) = (row.word("provider"), row.word("model"));
        let (usage, cache) = (row.get("usage"), row.get("cache"));
        filled.tokens_input = first_whole(usage, INPUT);
        filled.tokens_output = first_whole(usage, OUTPUT);
        filled.tokens_cached = first_whole(cache, CACHED).or_else(|| first_whole(usage, CACHED));
        filled.tokens_reasoning = first_whole(usage, REASONING);
        filled.cost = first_nano(row.get("cost"), &["cost/usd", "usd"]);
        filled.batch = row.value.get("batch/id").and_then(super::record::word);
        filled.batch_index = kept(row.value.get("batch/index").and_then(|index| index.whole()));
        let dir = row.value.get("child/dir").and_then(super::record::word);
        if let Some(dir) = &dir {
            filled.child = folder::child_session(step.store(), step.source(), dir)?;
        }
        (filled.started_at, filled.ended_at) = (row.time("started-at"), row.time("ended-at"));
        filled.extra = self.extra(step, row, CALL)?;
        let call = match (record.kind(), self.calls.get(id)) {
            ("call/started", _) => {
                let started = filled.clone();
                let call = step.batch.begin_call(call_type.clone(), |call| *call = started)?;
                self.calls.put(id, call.0);
                if let Some(dir) = dir {
                    let named = row.value.get("child/session-id").and_then(super::record::word);
                    let named = ordinal_of(&dir).or_else(|| ordinal_of(&named?));
                    let task = self.first_of(step, row, &["child/task-ref", "call/task", "child/task"], &mut holes)?;
                    let label =
                        self.first_of(step, row, &["child/label-ref", "call/label", "child/label"], &mut holes)?;
                    let task = task.or(filled.input);
                    self.child_started(step, call, &call_type, (&dir, named), (label.or(task), task), &filled)?;
                }
                call
            }
            (_, Some(call)) => {
                let put = filled.clone();
                step.batch.update_call(CallNumber(call), |call| *call = put)?;
                CallNumber(call)
            }
            _ => return Err(Not::Understood(format!("call {id} was not started"))),
        };
        if !filled.status.is_running() {
            self.child_ended(step, call, &filled)?;
        }
        step.keep(holes);
        Ok(())
    }

    fn child_started(
        &mut self,
        step: &mut Step<'_, '_>,
        call: CallNumber,
        call_type: &CallType,
        (dir, named): (&str, Option<u64>),
        (label, input): (Option<Digest>, Option<Digest>),
        row: &Call,
    ) -> Done {
        if row.child.is_none() {
            step.odd("missing-child", format!("the run of the child in {dir:?} is not there"));
        }
        let kind = match call_type {
            CallType::ChildBatchItem => "map-rlm",
            CallType::AttachedChild => "attach",
            _ => "rlm",
        };
        let before = match &row.child {
            Some(child) => first_head(step, child)?,
            None => None,
        };
        let callee = row.child.clone();
        let ordinal = self.children.take(named, step.batch.counters().child);
        let invocation = step.batch.start_invocation(Status::new(kind)?, |invocation| {
            invocation.call = Some(call);
            invocation.callee = callee;
            invocation.callee_before = before;
            (invocation.label, invocation.input) = (label, input);
            invocation.child = Some(ordinal);
        })?;
        self.running.push((call, invocation));
        Ok(())
    }

    fn child_ended(&mut self, step: &mut Step<'_, '_>, call: CallNumber, row: &Call) -> Done {
        let Some(at) = self.running.iter().position(|(running, _)| *running == call) else { return Ok(()) };
        let (_, invocation) = self.running.remove(at);
        let after = match &row.child {
            Some(child) => step.store().session(child)?.current_head,
            None => None,
        };
        let (status, final_value, error) = (row.status.clone(), row.result, row.error);
        let ended_at = row.ended_at;
        let fill = |invocation: &mut crate::model::Invocation| {
            invocation.status = status;
            invocation.final_value = final_value;
            invocation.error = error;
            invocation.callee_after = after;
            invocation.ended_at = ended_at;
        };
        if row.status == Status::ERROR {
            step.batch.fail_invocation(invocation, fill)?;
        } else {
            step.batch.complete_invocation(invocation, fill)?;
        }
        self.returned.push(invocation);
        Ok(())
    }

    fn eval(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let row = not(record.row("eval"))?;
        let id = not(row.id())?;
        let mut holes = Holes::new();
        let status = row.status("status").filter(|status| !status.is_running()).unwrap_or(Status::UNFINISHED);
        let turn = self.number_of_turn(step, row, true);
        let call = self.number_of_call(step, row, "call-id", true);
        let message = row.whole("message-id").and_then(|message| self.messages.get(message)).map(MessageNumber);
        let code = row.get("code").map(|value| {
            let text = value.string();
            let bytes = text.as_deref().map_or(value.text(), |text| text);
            (step.batch.put(bytes.as_bytes()), value, text)
        });
        let result = match row.get("final-ref") {
            Some(reference) => self.deref(step, "eval/final-ref", Some(reference), &mut holes)?,
            None => row.get("value").map(|value| self.put(step, value, &mut holes)),
        };
        let error = self.put_or_deref(step, "eval/error", row.get("error"), &mut holes)?;
        let observation = self.deref(step, "eval/observation-ref", row.get("observation-ref"), &mut holes)?;
        let code_ref = self.deref(step, "eval/code-ref", row.get("code-ref"), &mut holes)?;
        let extra = self.extra(step, row, EVAL)?;
        let name = row.word("name");
        let (started_at, ended_at) = (row.time("started-at"), row.time("ended-at"));
        let number = step.batch.add_eval(status, |eval| {
            (eval.turn, eval.call, eval.message) = (turn, call, message);
            eval.code = code.as_ref().map(|(code, _, _)| *code).or(code_ref);
            (eval.name, eval.observation) = (name, observation);
            (eval.result, eval.error, eval.extra) = (result, error, extra);
            (eval.started_at, eval.ended_at) = (started_at, ended_at);
        })?;
        if let Some((_, value, Some(text))) = &code {
            holes.extend(text_hole(step, *value, text, Hole::CodeText(number)));
        }
        self.evals.put(id, number.0);
        step.keep(holes);
        Ok(())
    }

    fn snapshot(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let row = not(record.row("snapshot"))?;
        let id = not(row.id())?;
        let mut holes = Holes::new();
        let kind = row.status("kind").unwrap_or(Status::FINAL);
        let vars = self.deref(step, "snapshot/ref", row.get("ref"), &mut holes)?;
        let count = |name| row.get("summary").and_then(|summary| kept(summary.get(name)?.whole())).unwrap_or(0);
        let turn = self.number_of_turn(step, row, true);
        let eval = row.whole("eval-id").and_then(|eval| self.evals.get(eval)).map(EvalNumber);
        let extra = self.extra(step, row, SNAPSHOT)?;
        let number = step.batch.add_snapshot(kind, |snapshot| {
            (snapshot.vars, snapshot.turn, snapshot.eval, snapshot.extra) = (vars, turn, eval, extra);
            snapshot.restorable = count("var/restorable");
            snapshot.unrestorable = count("var/unrestorable");
        })?;
        let _: SnapshotNumber = number;
        self.snapshots.put(id, number.0);
        self.snapshot_id = Some(id);
        step.keep(holes);
        Ok(())
    }

    fn final_value(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let mut holes = Holes::new();
        let value = self.deref(step, "final/value-ref", record.get("final/value-ref"), &mut holes)?;
        step.batch.add_annotation("fractal/session/final", self.turn, value)?;
        step.keep(holes);
        Ok(())
    }

    fn status(step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let status = record.get("status").and_then(word);
        let status = status.ok_or_else(|| Not::Understood("it has no :status".to_owned()))?;
        let ended_at = record.get("ended-at").and_then(super::record::time);
        let status = not(Status::new(status))?;
        step.batch.append(Body::SessionStatus(SessionStatus { status, ended_at, payload: None }))?;
        Ok(())
    }

    fn error(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Done {
        let mut holes = Holes::new();
        let value = record.get("error").ok_or_else(|| Not::Understood("it has no :error".to_owned()))?;
        if let Some(error) = self.put_or_deref(step, "error", Some(value), &mut holes)? {
            step.batch.append(Body::SessionError(SessionError { status: Status::ERROR, error }))?;
        }
        step.keep(holes);
        Ok(())
    }

    /// The turn a row names; of one that is the journal's own but unknown a diagnostic.
    fn number_of_turn(&self, step: &mut Step<'_, '_>, row: Row<'_, '_>, is_own: bool) -> Option<TurnNumber> {
        let id = row.whole("turn-id")?;
        let number = self.turns.get(id);
        if number.is_none() && is_own {
            step.odd("unknown-row", format!("turn {id}, which the record names, was not started"));
        }
        number.map(TurnNumber)
    }

    fn number_of_call(
        &self,
        step: &mut Step<'_, '_>,
        row: Row<'_, '_>,
        field: &str,
        is_own: bool,
    ) -> Option<CallNumber> {
        // The calls of a session that was restored from are another's; their ids begin anew here.
        let id = row.whole(field).filter(|_| is_own)?;
        let number = self.calls.get(id);
        if number.is_none() {
            step.odd("unknown-row", format!("call {id}, which the record names, was not started"));
        }
        number.map(CallNumber)
    }
}

impl Fractal {
    /// The eval that made a call: it is recorded when it ended, so it may be the next one.
    fn parent_eval(&self, step: &mut Step<'_, '_>, row: Row<'_, '_>) -> Option<EvalNumber> {
        let id = row.whole("parent-eval-id")?;
        let last = step.batch.counters().eval;
        let number = self.evals.expect(id, last).filter(|number| *number <= last + 1);
        if number.is_none() {
            step.odd("unknown-row", format!("eval {id}, which the record names, is neither there nor the next one"));
        }
        number.map(EvalNumber)
    }
}

/// The genesis head of a session.
fn first_head(step: &Step<'_, '_>, session: &SessionId) -> Result<Option<crate::model::HeadId>, Stop> {
    let events = step.store().events_since(session, crate::model::EventNumber(0), 3)?;
    Ok(events.iter().find_map(|event| event.head_id))
}

/// What rows and links say of a turn, so that its remaining fields need not.
const TURN: &[&str] = &[
    "id",
    "status",
    "started-at",
    "ended-at",
    "final-ref",
    "final-preview",
    "error",
    "user-message-id",
    "assistant-message-ids",
    "observation-message-ids",
    "eval-ids",
    "call-ids",
];
const CALL: &[&str] = &[
    "id",
    "type",
    "status",
    "turn-id",
    "parent-eval-id",
    "input-ref",
    "request-ref",
    "response-ref",
    "result-ref",
    "final-ref",
    "error",
    "provider",
    "model",
    "started-at",
    "ended-at",
    "message-ids",
    "request-message-ids",
    "batch/id",
    "batch/index",
];
const EVAL: &[&str] = &[
    "id",
    "status",
    "turn-id",
    "call-id",
    "message-id",
    "code",
    "value",
    "final-value",
    "final-ref",
    "error",
    "started-at",
    "ended-at",
];
const SNAPSHOT: &[&str] = &["id", "kind", "ref", "turn-id", "eval-id"];

/// The names under which usage is counted, the first that is there.
const INPUT: &[&str] = &["usage/input-tokens", "usage/prompt-tokens", "input-tokens", "prompt-tokens"];
const OUTPUT: &[&str] = &["usage/output-tokens", "usage/completion-tokens", "output-tokens", "completion-tokens"];
const CACHED: &[&str] = &[
    "cache/cached-tokens",
    "cache/cached-input-tokens",
    "usage/cached-tokens",
    "usage/cached-input-tokens",
    "cached-tokens",
    "cached-input-tokens",
];
const REASONING: &[&str] = &["usage/reasoning-tokens", "reasoning-tokens"];

//! Plays a script through the library, as an engine records a live model: every step is a durable commit of its own.

use std::collections::BTreeMap;

use headwater::model::{
    Call, CallNumber, CallType, Digest, EvalNumber, HeadId, InvocationNumber, MessageNumber, Role, SessionId, Status,
    TurnNumber,
};
use headwater::store::error::SessionOpenError;
use headwater::store::{Batch, NewMessage, NewSession, Session};
use serde_json::json;
use serde_json::value::RawValue;

mod below;

use super::script::{Child, End, EvalScript, Leaf, Reply, Script, TurnScript};
use crate::cli::Failure;

/// How the last turn of a script ended.
#[derive(Debug, Clone)]
pub struct Played {
    pub status: Status,
    /// The head that was sealed: the current one, but for an aborted turn.
    pub head: HeadId,
    pub final_value: Option<Digest>,
}

/// How many messages a request repeats.
const WINDOW: usize = 32;

/// How many characters of a text stand for it in a summary.
const SUMMARY: usize = 80;

/// Plays all turns of `script`, stopping after one that fails. `task` is the input of each turn that has none of its
/// own. A session without messages first gets the script's system message.
pub fn play(session: &Session, task: &str, script: &Script) -> Result<Played, Failure> {
    let mut player = Player { session, task, window: Vec::new() };
    player.read_window()?;
    if let (Some(system), 0) = (&script.system, session.counters().message) {
        player.session.write(|batch| batch.add_message(NewMessage::new(Role::System, system.as_str())))?;
        player.said(Role::System, system);
    }
    let mut last = None;
    for turn in &script.turns {
        let played = player.turn(turn)?;
        let ended = matches!(played.status.as_str(), "error" | "timeout" | "aborted");
        last = Some(played);
        if ended {
            break;
        }
    }
    last.ok_or_else(|| Failure::new("bad-script", "the script has no turn"))
}

struct Player<'a> {
    session: &'a Session,
    task: &'a str,
    /// The last messages, for requests.
    window: Vec<(Role, String)>,
}

/// A turn being played.
struct Turn {
    number: TurnNumber,
    last_eval: Option<EvalNumber>,
    /// The invocations whose caller head is known once the turn is sealed.
    invocations: Vec<InvocationNumber>,
    /// What the snapshot holds.
    vars: Vec<(String, Box<RawValue>)>,
}

/// The call that answered, and the message it gave.
struct Answer {
    call: CallNumber,
    message: MessageNumber,
}

/// A call of an eval that has started.
struct Started<'s> {
    call: CallNumber,
    request: String,
    leaf: &'s Leaf,
}

/// A child that has started.
struct Opened<'s> {
    call: CallNumber,
    invocation: InvocationNumber,
    session: Session,
    task: String,
    child: &'s Child,
}

impl<'a> Player<'a> {
    fn read_window(&mut self) -> Result<(), Failure> {
        let store = self.session.store();
        let blobs = store.blobs();
        for entry in store.last_messages(self.session.id(), WINDOW)?.iter().rev() {
            let text = String::from_utf8_lossy(&blobs.get(&entry.row.content)?).into_owned();
            self.window.push((entry.row.role.clone(), text));
        }
        Ok(())
    }

    fn said(&mut self, role: Role, text: &str) {
        if self.window.len() == WINDOW {
            self.window.remove(0);
        }
        self.window.push((role, text.to_owned()));
    }

    /// `{task}` in a text of the script stands for the task.
    fn fill(&self, text: &str) -> String {
        text.replace("{task}", self.task)
    }

    fn turn(&mut self, script: &TurnScript) -> Result<Played, Failure> {
        let input = script.task.as_deref().map_or_else(|| self.task.to_owned(), |task| self.fill(task));
        let number = self.session.write(|batch| {
            let digest = batch.put(input.as_bytes());
            let turn = batch.begin_turn(|turn| turn.input = Some(digest))?;
            batch.add_message(NewMessage::new(Role::User, input.as_str()).turn(turn))?;
            batch.set_status(Status::RUNNING, None)?;
            Ok(turn)
        })?;
        self.said(Role::User, &input);
        let mut turn = Turn { number, last_eval: None, invocations: Vec::new(), vars: Vec::new() };
        for reply in &script.replies {
            if let Some(end @ (End::Error | End::Timeout | End::Aborted)) = reply.status {
                return self.fail(turn, end, reply.error.as_deref());
            }
            let answer = self.answer(&turn, reply)?;
            self.work(&mut turn, reply, &answer)?;
            self.note_progress(&turn, &reply.text)?;
            if reply.final_value.is_some() || reply.status == Some(End::None) {
                return self.end(turn, reply.final_value.as_deref(), script);
            }
        }
        self.end(turn, None, script)
    }

    /// One request to the root model and its answer.
    fn answer(&mut self, turn: &Turn, reply: &Reply) -> Result<Answer, Failure> {
        let text = self.fill(&reply.text);
        let (call, request) = self.ask(turn)?;
        let answer = self.session.write(|batch| {
            let response = json!({ "role": "assistant", "content": text, "stop": "end" }).to_string();
            let response = batch.put_value(response.as_bytes());
            batch.update_call(call, |call| answered(call, Some(response), &request, &text))?;
            let message = NewMessage::new(Role::Assistant, text.as_str()).turn(turn.number).call(call);
            Ok(Answer { call, message: batch.add_message(message)? })
        })?;
        self.said(Role::Assistant, &text);
        Ok(answer)
    }

    /// A new version of the running turn, for those who watch: what was said last.
    fn note_progress(&self, turn: &Turn, said: &str) -> Result<(), Failure> {
        let said: String = self.fill(said).lines().next().unwrap_or_default().chars().take(SUMMARY).collect();
        Ok(self.session.write(|batch| {
            let summary = batch.put(said.as_bytes());
            batch.update_turn(turn.number, |row| row.summary = Some(summary))
        })?)
    }

    /// Starts a root call.
    fn ask(&self, turn: &Turn) -> Result<(CallNumber, String), Failure> {
        let messages: Vec<_> =
            self.window.iter().map(|(role, text)| json!({ "role": role.as_str(), "content": text })).collect();
        let request = json!({ "model": "scripted-root", "messages": messages }).to_string();
        let call = self.session.write(|batch| {
            let digest = batch.put_value(request.as_bytes());
            batch.begin_call(CallType::Root, |call| {
                call.turn = Some(turn.number);
                call.request = Some(digest);
                asked(call, "scripted-root");
            })
        })?;
        Ok((call, request))
    }

    /// What the answer's code does: leaves, children, evals.
    fn work(&mut self, turn: &mut Turn, reply: &Reply, answer: &Answer) -> Result<(), Failure> {
        let mut values = Vec::new();
        // The eval is recorded when it ends; what its code calls names it before.
        let eval = EvalNumber(self.session.counters().eval + 1);
        values.extend(self.leaves(turn, reply, eval)?);
        values.extend(self.children(turn, reply, eval)?);
        let implied = EvalScript { name: "repl".to_owned(), code: String::new(), result: None, error: None };
        let evals = if reply.evals.is_empty() && !values.is_empty() {
            std::slice::from_ref(&implied)
        } else {
            reply.evals.as_slice()
        };
        for script in evals {
            let value = match (&script.result, values.len()) {
                (Some(result), _) => Some(result.clone()),
                (None, 0) => None,
                (None, 1) => values.pop(),
                (None, _) => Some(raw(&std::mem::take(&mut values))?),
            };
            self.eval(turn, script, value, answer)?;
        }
        Ok(())
    }

    fn eval(
        &mut self,
        turn: &mut Turn,
        script: &EvalScript,
        value: Option<Box<RawValue>>,
        answer: &Answer,
    ) -> Result<(), Failure> {
        let code = self.fill(&script.code);
        let shown = match (&script.error, &value) {
            (Some(error), _) => format!("error: {error}"),
            (None, Some(value)) => shown(value),
            (None, None) => "nil".to_owned(),
        };
        let status = if script.error.is_some() { Status::ERROR } else { Status::OK };
        let eval = self.session.write(|batch| {
            let code = batch.put(code.as_bytes());
            let result = value.as_ref().map(|value| batch.put_value(value.get().as_bytes()));
            let error = script.error.as_ref().map(|error| batch.put(error.as_bytes()));
            let observation = batch.put(shown.as_bytes());
            let eval = batch.add_eval(status, |eval| {
                eval.name = Some(script.name.clone());
                eval.turn = Some(turn.number);
                eval.message = Some(answer.message);
                eval.call = Some(answer.call);
                eval.code = Some(code);
                eval.result = result;
                eval.error = error;
                eval.observation = Some(observation);
            })?;
            batch.add_message(NewMessage::new(Role::Observation, shown.as_str()).turn(turn.number))?;
            Ok(eval)
        })?;
        turn.last_eval = Some(eval);
        if let Some(value) = value {
            turn.vars.push((format!("v{eval}"), value));
        }
        self.said(Role::Observation, &shown);
        Ok(())
    }

    /// The turn ends in order, with or without a value.
    fn end(&mut self, turn: Turn, value: Option<&RawValue>, script: &TurnScript) -> Result<Played, Failure> {
        let status = if value.is_some() { Status::FINAL } else { Status::OK };
        let count = turn.vars.len() as u64;
        let vars: BTreeMap<&str, &RawValue> = turn.vars.iter().map(|(name, value)| (name.as_str(), &**value)).collect();
        let vars = raw(&vars)?;
        let final_value = self.session.write(|batch| {
            let digest = value.map(|value| batch.put_value(value.get().as_bytes()));
            let summary =
                value.map(|value| batch.put(shown(value).chars().take(SUMMARY).collect::<String>().as_bytes()));
            batch.update_turn(turn.number, |row| {
                row.status = status.clone();
                row.final_value = digest;
                row.summary = summary;
            })?;
            let vars = batch.put_value(vars.get().as_bytes());
            batch.add_snapshot(Status::new("turn-final")?, |row| {
                row.vars = Some(vars);
                row.restorable = count;
                row.turn = Some(turn.number);
                row.eval = turn.last_eval;
            })?;
            Ok(digest)
        })?;
        let head = self.session.seal()?;
        self.settled(&turn, if value.is_some() { Status::FINAL } else { Status::OPEN }, head)?;
        if let Some(compact) = &script.compact {
            let frame = self.fill(&compact.frame);
            let sealed = self.session.write(|batch| batch.compact(&frame, compact.keep))?;
            let keep = self.window.len().saturating_sub(compact.keep);
            let kept = self.window.split_off(keep);
            self.window.retain(|(role, _)| *role == Role::System);
            self.window.push((Role::Summary, frame));
            self.window.extend(kept);
            return Ok(Played { status, head: sealed, final_value });
        }
        Ok(Played { status, head, final_value })
    }

    /// The model fails, or the engine dies while it is asked.
    fn fail(&mut self, turn: Turn, end: End, error: Option<&str>) -> Result<Played, Failure> {
        let (call, _) = self.ask(&turn)?;
        let (status, text) = match end {
            End::Timeout => (Status::TIMEOUT, "the model did not answer in time"),
            End::Aborted => (Status::ABORTED, "the turn was aborted"),
            End::Error | End::None => (Status::ERROR, "the model failed"),
        };
        let error = error.unwrap_or(text);
        let put = |batch: &mut Batch| {
            let error = batch.put(error.as_bytes());
            batch.update_call(call, |call| {
                call.status = if end == End::Aborted { Status::ORPHANED } else { status.clone() };
                call.error = Some(error);
            })?;
            batch.update_turn(turn.number, |row| {
                row.status = status.clone();
                row.error = Some(error);
            })
        };
        let head = if end == End::Aborted {
            // A dead engine records nothing more by itself: this is what its successor writes, in one commit.
            self.session.write(|batch| {
                put(batch)?;
                batch.seal_aborted()
            })?
        } else {
            self.session.write(put)?;
            self.session.seal()?
        };
        self.settled(&turn, status.clone(), head)?;
        Ok(Played { status, head, final_value: None })
    }

    /// What is known once the turn is sealed.
    fn settled(&self, turn: &Turn, status: Status, head: HeadId) -> Result<(), Failure> {
        for invocation in &turn.invocations {
            self.session.write(|batch| batch.record_caller_head(*invocation, head))?;
        }
        Ok(self.session.set_status(status)?)
    }
}

/// Why a child could not be opened.
enum Opening {
    Open(SessionOpenError),
    Word(headwater::model::id::BadId),
}

impl From<headwater::model::id::BadId> for Opening {
    fn from(error: headwater::model::id::BadId) -> Opening {
        Opening::Word(error)
    }
}

fn asked(call: &mut Call, model: &str) {
    call.provider = Some("scripted".to_owned());
    call.model = Some(model.to_owned());
}

/// A token is four characters, and costs 250 nano-USD read and 1,250 written: enough for sums that can be checked.
fn answered(call: &mut Call, response: Option<Digest>, request: &str, reply: &str) {
    let tokens = |text: &str| text.chars().count().div_ceil(4) as u64;
    let (input, output) = (tokens(request), tokens(reply));
    call.status = Status::OK;
    call.response = response;
    call.tokens_input = Some(input);
    call.tokens_output = Some(output);
    call.tokens_cached = Some(0);
    call.cost = Some(input * 250 + output * 1_250);
}

/// A value as the model is shown it: a text without its quotes.
fn shown(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(value).map_err(|error| Failure::new("error", error.to_string()))
}

//! What a session holds beyond its files, as more of them: a file for each message and each of its parts.

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;
use serde_json::json;

use super::file::{Answered, Message, Model, Part, StepFinish, Time, ToolPart, error, finish, millis, text};
use super::naming::Ids;
use super::record;
use super::walk::stem;
use super::write::id_of;
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Task};
use crate::exchange::told::{self, Answer, LeftOut, Place, Tail, Told};
use crate::model::{Call, EventNumber, HeadId, SessionId, Status, Turn};

/// How many messages are remembered, for a compaction to keep.
const MAX_REMEMBERED: usize = 4_096;
/// Who answers where that is not known.
const UNKNOWN: &str = "unknown";

/// What the files say that stand before those that are written.
#[derive(Default)]
pub struct Before {
    /// The greatest ids of messages and parts.
    message: String,
    part: String,
    /// The last input: when it was made, and its id.
    input: Option<(i64, String)>,
    /// When the last message was made.
    at: i64,
    has_session: bool,
}

impl Before {
    /// Whether there is no file of the session yet.
    pub fn is_new(&self) -> bool {
        !self.has_session
    }

    /// Notes a file of that name.
    pub fn file(&mut self, name: &str) {
        self.has_session |= name.starts_with("session/");
        if name.starts_with("part/") {
            let id = stem(name);
            self.part = std::mem::take(&mut self.part).max(id.to_owned());
        }
    }

    /// Notes a message.
    pub fn message(&mut self, id: String, message: &record::Message<'_>) {
        let at = message.created().map(millis);
        self.at = self.at.max(at.unwrap_or_default());
        if message.is_user() {
            self.input = std::mem::take(&mut self.input).max(Some((at.unwrap_or(i64::MAX), id.clone())));
        }
        self.message = std::mem::take(&mut self.message).max(id);
    }
}

/// Writes files.
pub struct Writer<'w> {
    task: &'w Task<'w>,
    out: &'w mut dyn Output,
    /// The id of the session.
    id: &'w str,
    messages: Ids,
    parts: Ids,
    /// The last input.
    input: Option<String>,
    at: i64,
    /// Who answered last, and is asked next.
    model: Model,
    /// The last answer, of which its turn's end may say how it ended.
    answer: Option<Message>,
    /// The last messages, for a compaction that keeps them.
    told: VecDeque<(SessionId, EventNumber, String)>,
    /// The sessions that tools opened.
    opened: BTreeSet<SessionId>,
    left_out: LeftOut,
}

impl<'w> Writer<'w> {
    /// Behind what was there before.
    pub fn new(task: &'w Task<'w>, id: &'w str, before: Before, out: &'w mut dyn Output) -> Writer<'w> {
        Writer {
            task,
            out,
            id,
            messages: Ids::behind("msg", before.message),
            parts: Ids::behind("prt", before.part),
            input: before.input.map(|(_, id)| id),
            at: before.at,
            model: Model { provider: UNKNOWN.to_owned(), model: UNKNOWN.to_owned() },
            answer: None,
            told: VecDeque::new(),
            opened: BTreeSet::new(),
            left_out: LeftOut::default(),
        }
    }

    fn file(&mut self, name: &str, value: &impl Serialize) -> Result<(), ExportError> {
        self.out.part(name, &[])?;
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| ExportError::Output(error.into()))?;
        self.out.write(&bytes)
    }

    /// Writes who the session is.
    pub fn session(&mut self, parent: Option<&str>) -> Result<(), ExportError> {
        let info = self.task.store.session(self.task.session)?;
        let (created, updated) = (millis(info.started_at), millis(info.updated_at));
        let title = info.title.unwrap_or_else(|| format!("New session - {}", info.started_at));
        let mut session = json!({ "id": self.id, "slug": self.task.session, "version": env!("CARGO_PKG_VERSION"),
            "projectID": "global", "directory": "/", "title": title, "time": { "created": created, "updated": updated } });
        if let (Some(parent), Some(fields)) = (parent, session.as_object_mut()) {
            fields.insert("parentID".to_owned(), parent.into());
        }
        self.file(&format!("session/global/{}.json", self.id), &session)
    }

    /// Writes what is left to be written. `children` are the sessions whose files say that this one is their parent.
    pub fn finish(mut self, children: &BTreeSet<SessionId>) -> Result<(), ExportError> {
        self.flush()?;
        let mut said = BTreeSet::new();
        for entry in self.task.store.invocations_from(self.task.session)? {
            let Some(callee) = &entry.row.callee else { continue };
            if children.contains(callee) && !self.opened.contains(callee) && said.insert(callee.clone()) {
                self.left_out.has_said(&entry.row);
            }
        }
        self.left_out.tell(self.task, "OpenCode");
        Ok(())
    }

    /// Writes the last answer.
    fn flush(&mut self) -> Result<(), ExportError> {
        match self.answer.take() {
            Some(answer) => self.message(&answer),
            None => Ok(()),
        }
    }

    fn message(&mut self, message: &Message) -> Result<(), ExportError> {
        self.file(&format!("message/{}/{}.json", self.id, message.id), message)
    }

    fn part(&mut self, message: &str, rest: impl Serialize) -> Result<(), ExportError> {
        let id = self.parts.next(self.task.session, self.at);
        let part = Part { id: &id, session: self.id, message, rest };
        self.file(&format!("part/{message}/{id}.json"), &part)
    }

    /// The next message's id and time: one is never older than the one before.
    fn next(&mut self, place: &Place) -> String {
        self.at = self.at.max(millis(place.at));
        let id = self.messages.next(self.task.session, self.at);
        self.told.push_back((place.session.clone(), place.event, id.clone()));
        if self.told.len() > MAX_REMEMBERED {
            self.told.pop_front();
        }
        id
    }

    /// Takes in what happened.
    pub fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Input(place, row) => {
                let said = told::text(self.task, row.content)?;
                let id = self.user(&place)?;
                if said.is_empty() { Ok(()) } else { self.part(&id, text(&said)) }
            }
            Told::Said(_, row) | Told::Result(_, row) => {
                self.left_out.add(format!("message of role {}", row.role));
                Ok(())
            }
            Told::Answer(answer) => match answer.place() {
                Some(place) => self.says(place, answer.text(self.task)?, &answer),
                None => Ok(()),
            },
            Told::Compacted(place, row, head) => {
                let summary = told::text(self.task, row.content)?;
                self.compacted(&place, summary, &head)
            }
            Told::Ended(_, turn) => self.ended(&turn),
            Told::Sealed(_) | Told::Restored(..) => Ok(()),
            Told::Noted(_, kind, _) | Told::Other(kind) => {
                self.left_out.add(kind);
                Ok(())
            }
        }
    }

    /// Writes a message of the user's, without its parts.
    fn user(&mut self, place: &Place) -> Result<String, ExportError> {
        self.flush()?;
        let id = self.next(place);
        let time = Time { created: self.at, completed: None };
        let model = Some(self.model.clone());
        let session = self.id.to_owned();
        self.message(&Message { id: id.clone(), session, role: "user", time, agent: "build", model, answer: None })?;
        self.input = Some(id.clone());
        Ok(id)
    }

    /// Who gave an answer: of what no call says, nobody that is known.
    fn model(&mut self, call: Option<&Call>) -> Model {
        let word = |word: Option<&String>| word.cloned().unwrap_or_else(|| UNKNOWN.to_owned());
        let provider = word(call.and_then(|call| call.provider.as_ref()));
        let model = Model { provider, model: word(call.and_then(|call| call.model.as_ref())) };
        if call.is_some_and(|call| call.model.is_some()) {
            self.model = model.clone();
        }
        model
    }

    /// Writes the parts of an answer, and keeps its own file back.
    fn says(&mut self, place: &Place, said: Option<String>, answer: &Answer) -> Result<(), ExportError> {
        self.flush()?;
        let task = self.task;
        let id = self.next(place);
        let model = self.model(answer.call());
        let parent = self.input.clone().unwrap_or_else(|| id.clone());
        self.part(&id, json!({ "type": "step-start" }))?;
        if let Some(said) = said {
            self.part(&id, text(&said))?;
        }
        for tool in &answer.tools {
            let agent = tool
                .agent
                .as_ref()
                .filter(|agent| agent.callee.as_ref().is_some_and(|callee| self.opened.insert(callee.clone())));
            let child = agent.and_then(|agent| agent.callee.as_ref()).map(|callee| id_of(task, callee)).transpose()?;
            agent.iter().for_each(|agent| self.left_out.has_said(agent));
            self.part(&id, ToolPart::of(task, tool, child.as_deref())?)?;
        }
        self.part(&id, StepFinish::of(answer)?)?;
        let ended = answer.call().and_then(|call| call.ended_at).map_or(self.at, millis);
        let time = Time { created: self.at, completed: Some(ended.max(self.at)) };
        let answer = Some(Answered::of(task, answer, parent, model)?);
        let session = self.id.to_owned();
        self.answer = Some(Message { id, session, role: "assistant", time, agent: "build", model: None, answer });
        Ok(())
    }

    /// How a turn ended is what its last answer says.
    fn ended(&mut self, turn: &Turn) -> Result<(), ExportError> {
        let why = turn.error.map(|error| told::text(self.task, error)).transpose()?;
        let Some(answer) = self.answer.as_mut().and_then(|message| message.answer.as_mut()) else { return Ok(()) };
        if turn.status == Status::ABORTED || turn.status == Status::ERROR {
            answer.error.get_or_insert_with(|| error(&turn.status, why));
            answer.finish = None;
        } else if answer.error.is_none() {
            answer.finish = Some(finish(turn.status != Status::FINAL));
        }
        Ok(())
    }

    /// A compaction is asked for by a message, and its summary is the answer.
    fn compacted(&mut self, place: &Place, summary: String, head: &HeadId) -> Result<(), ExportError> {
        let tail = Tail::of(self.task, head)?;
        let first = self.told.iter().find(|(session, event, _)| tail.has(session, *event)).map(|(.., id)| id.clone());
        if first.is_none() && tail.is_before(&place.session, place.event) {
            self.task.notice(
                "kept-tail",
                "a compaction keeps messages that lie too far back: OpenCode will see its summary alone",
            );
        }
        let asked = self.user(place)?;
        let mut part = json!({ "type": "compaction", "auto": false });
        if let (Some(first), Some(fields)) = (first, part.as_object_mut()) {
            fields.insert("tail_start_id".to_owned(), first.into());
        }
        self.part(&asked, part)?;
        self.says(place, Some(summary), &Answer::default())?;
        if let Some(answer) = self.answer.as_mut().and_then(|message| message.answer.as_mut()) {
            (answer.mode, answer.summary) = ("compaction", true);
        }
        self.flush()
    }
}

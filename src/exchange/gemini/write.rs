//! A session as a chat of Gemini CLI, in the form that it writes now: a line for each record. What is visible in a chat is one list, of
//! which it takes messages back, but never gives any again.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Gemini;
use super::line::{Answered, Line, parts};
use super::meaning::list;
use super::record::{Record, values};
use crate::exchange::ExportError;
use crate::exchange::export::{Output, Task};
use crate::exchange::format::Format;
use crate::exchange::json::{compact, text};
use crate::exchange::shared::records;
use crate::exchange::told::{self, Answer, Lines, Place, Plan, Start, Tail, Told, raw};
use crate::model::{EventNumber, HeadId, Message, SessionId, Status, Timestamp, Turn};

/// How many messages, and bytes of them, are remembered, for a compaction to keep.
const MAX_KEPT: (usize, usize) = (4_096, 8 << 20);
/// The hash that Gemini CLI gives the project at the root.
const PROJECT: &str = "8a5edab282632443219e051e4ade2d1d5bbc671c781051bf1437897cbdfea0f1";

/// Writes the kept source, and behind it what the session's own log holds since; of a session without one, all that is
/// visible at its current head, behind the records that it shares. What was kept as one object becomes lines, as Gemini CLI itself
/// makes of it when it goes on with such a chat.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let plan = Plan::of(task, Gemini::NAME)?;
    let is_whole = plan.state::<Gemini>(task)?.is_whole;
    let mut writer = Writer {
        lines: Lines::new(task, out),
        live: Vec::new(),
        begins: 0,
        heads: HashMap::new(),
        kept: VecDeque::new(),
        bytes: 0,
        failed: false,
        last: None,
    };
    match &plan.start {
        Start::Own if is_whole => writer.copy(task.session, u64::MAX)?,
        Start::Own => {
            task.write_kept(writer.lines.out)?;
            (writer.live, writer.begins) = live(task, task.session, u64::MAX)?;
        }
        Start::Shared(session, mark) => writer.copy(session, mark.bytes)?,
        Start::Nothing => {
            let info = task.store.session(task.session)?;
            writer.header(None)?;
            if let Some(title) = info.title {
                writer.lines.line(&json!({ "$set": { "summary": title } }))?;
            }
        }
    }
    told::tell(task, &plan.spans, &mut |told| writer.told(told))?;
    if let Some(at) = writer.last {
        writer.lines.line(&json!({ "$set": { "lastUpdated": at.to_string() } }))?;
    }
    writer.lines.left_out.tell(task, "Gemini CLI");
    Ok(())
}

/// The messages that a chat has at the end of the first `bytes` of its source, and how many of them Gemini CLI has forgotten.
fn live(task: &Task<'_>, session: &SessionId, bytes: u64) -> Result<(Vec<String>, usize), ExportError> {
    let mut live = Live::default();
    records(task.store, session, bytes, Gemini::SYNTAX, &mut |record| {
        if let Ok(record) = Record::read(record) {
            live.take(&record);
        }
        Ok(())
    })?;
    Ok((live.order, live.begins))
}

/// The messages of a chat, in order.
#[derive(Default)]
struct Live {
    order: Vec<String>,
    known: HashSet<String>,
    /// Where those begin that the last compaction left.
    begins: usize,
}

impl Live {
    fn take(&mut self, record: &Record<'_>) {
        match record {
            Record::Header(fields) => list(fields.messages).into_iter().for_each(|message| self.add(message.id)),
            Record::Message(message) => self.add(message.id.clone()),
            Record::Rewind(id) => {
                let at = self.order.iter().rposition(|own| own == id).unwrap_or(0);
                for id in self.order.drain(at..) {
                    self.known.remove(&id);
                }
                self.begins = self.begins.min(at);
            }
            Record::Set(set) if set.messages.is_some() => {
                self.begins = self.order.len();
                list(set.messages).into_iter().for_each(|message| self.add(message.id));
            }
            _ => {}
        }
    }

    fn add(&mut self, id: String) {
        if self.known.insert(id.clone()) {
            self.order.push(id);
        }
    }
}

struct Writer<'w> {
    lines: Lines<'w>,
    /// The ids of the messages that were not taken back.
    live: Vec<String>,
    /// How many of them the last compaction left behind.
    begins: usize,
    /// How many messages stood before a head that was sealed here, and the last of them.
    heads: HashMap<HeadId, (usize, Option<String>)>,
    /// The last messages, for a compaction that keeps them.
    kept: VecDeque<(SessionId, EventNumber, Box<RawValue>)>,
    bytes: usize,
    /// Whether the last record says that something failed.
    failed: bool,
    last: Option<Timestamp>,
}

impl Writer<'_> {
    /// Writes who the session is; what else there is to say of it is what its source says.
    fn header(&mut self, source: Option<&Record<'_>>) -> Result<(), ExportError> {
        let info = self.lines.task.store.session(self.lines.task.session)?;
        let project = match source {
            Some(Record::Header(fields)) => text(fields.project_hash).filter(|hash| !hash.is_empty()),
            _ => None,
        };
        let at = info.started_at.to_string();
        let kind = if info.kind == Status::CHILD { "subagent" } else { "main" };
        let project = project.unwrap_or_else(|| PROJECT.to_owned());
        self.lines.line(&json!({ "sessionId": info.session, "projectHash": project, "startTime": at,
            "lastUpdated": at, "kind": kind }))
    }

    /// Writes the records of a kept source as this session's, each on a line.
    fn copy(&mut self, session: &SessionId, bytes: u64) -> Result<(), ExportError> {
        let (mut found, mut is_first) = (Live::default(), true);
        let task = self.lines.task;
        records(task.store, session, bytes, Gemini::SYNTAX, &mut |bytes| {
            let record = Record::read(bytes);
            if std::mem::take(&mut is_first) {
                self.header(record.as_ref().ok())?;
                if let Ok(Record::Header(fields)) = &record {
                    values(fields.messages).iter().try_for_each(|message| self.lines.line(message))?;
                }
            } else {
                match &record {
                    Ok(Record::End(end)) => {
                        let title = end.summary.as_ref();
                        title.map_or(Ok(()), |title| self.lines.line(&json!({ "$set": { "summary": title } })))?;
                    }
                    _ => {
                        self.lines.out.write(&compact(bytes))?;
                        self.lines.out.write(b"\n")?;
                    }
                }
            }
            record.iter().for_each(|record| found.take(record));
            Ok(())
        })?;
        (self.live, self.begins) = (found.order, found.begins);
        Ok(())
    }

    /// Writes a message behind the last one.
    fn message(
        &mut self,
        kind: &str,
        place: &Place,
        content: Value,
        answer: Option<Answered>,
    ) -> Result<(), ExportError> {
        let (id, line) = self.made(kind, place, content, answer)?;
        self.lines.line(&line)?;
        self.live.push(id);
        self.last = self.last.max(Some(place.at));
        self.failed = kind == "error";
        if matches!(kind, "user" | "gemini") {
            self.bytes += line.get().len();
            self.kept.push_back((place.session.clone(), place.event, line));
            while self.kept.len() > MAX_KEPT.0 || self.bytes > MAX_KEPT.1 {
                let Some((.., line)) = self.kept.pop_front() else { break };
                self.bytes -= line.get().len();
            }
        }
        Ok(())
    }

    fn made(
        &self,
        kind: &str,
        place: &Place,
        content: Value,
        answer: Option<Answered>,
    ) -> Result<(String, Box<RawValue>), ExportError> {
        let id = self.lines.uuid(place);
        let line = raw(&Line { id: &id, timestamp: place.at.to_string(), kind, content, answer })?;
        Ok((id, line))
    }

    fn told(&mut self, told: Told) -> Result<(), ExportError> {
        match told {
            Told::Input(place, row) => {
                let text = self.lines.text(row.content)?;
                self.message("user", &place, parts(&text), None)
            }
            Told::Answer(answer) => self.answer(&answer),
            Told::Said(place, row) | Told::Result(place, row) => self.aside(&place, &row),
            Told::Compacted(place, row, head) => self.compacted(&place, &row, &head),
            Told::Ended(place, turn) => self.ended(&place, &turn),
            Told::Sealed(head) => {
                self.heads.insert(head, (self.live.len(), self.live.last().cloned()));
                Ok(())
            }
            Told::Restored(_, head) => self.restored(&head),
            Told::Noted(_, kind, _) | Told::Other(kind) => {
                self.lines.left_out.add(kind);
                Ok(())
            }
        }
    }

    /// What is shown, and not given to the model.
    fn aside(&mut self, place: &Place, row: &Message) -> Result<(), ExportError> {
        let text = self.lines.text(row.content)?;
        self.message("info", place, text.into(), None)
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), ExportError> {
        let task = self.lines.task;
        let Some(place) = answer.place() else { return Ok(()) };
        let text = answer.text(task)?.unwrap_or_default();
        let answered = Answered::of(task, answer)?;
        for agent in answer.tools.iter().filter_map(|tool| tool.agent.as_ref()).filter(|agent| agent.callee.is_some()) {
            self.lines.left_out.has_said(agent);
        }
        self.message("gemini", place, text.into(), Some(answered))?;
        match answer.error(task)? {
            Some(error) => self.message("error", place, error.into(), None),
            None => Ok(()),
        }
    }

    fn ended(&mut self, place: &Place, turn: &Turn) -> Result<(), ExportError> {
        if turn.status == Status::ABORTED {
            return self.message("info", place, "Request cancelled.".into(), None);
        }
        if turn.status != Status::ERROR || self.failed {
            return Ok(());
        }
        let error = turn.error.map(|error| self.lines.text(error)).transpose()?;
        self.message("error", place, error.unwrap_or_else(|| turn.status.to_string()).into(), None)
    }

    /// The model's context is a list of messages anew: the summary, and those that stay.
    fn compacted(&mut self, place: &Place, row: &Message, head: &HeadId) -> Result<(), ExportError> {
        #[derive(Serialize)]
        struct Set<'s> {
            #[serde(rename = "$set")]
            set: Messages<'s>,
        }
        #[derive(Serialize)]
        struct Messages<'s> {
            messages: Vec<&'s RawValue>,
        }
        let task = self.lines.task;
        let tail = Tail::of(task, head)?;
        let (id, summary) = self.made("user", place, parts(&self.lines.text(row.content)?), None)?;
        let first = self.kept.iter().position(|(session, event, _)| tail.has(session, *event));
        let reached = first.and_then(|first| self.kept.get(first));
        let reached = reached.map_or((&place.session, place.event), |(session, event, _)| (session, *event));
        if first.unwrap_or(0) == 0 && tail.is_before(reached.0, reached.1) {
            task.notice(
                "kept-tail",
                "a compaction keeps messages that lie too far back: Gemini CLI will see its summary and those behind them",
            );
        }
        let mut messages = vec![&*summary];
        messages.extend(self.kept.iter().skip(first.unwrap_or(self.kept.len())).map(|(.., line)| &**line));
        self.lines.line(&Set { set: Messages { messages } })?;
        self.begins = self.live.len();
        self.live.push(id);
        Ok(())
    }

    /// The history goes on from another head: what stands behind it is taken back.
    fn restored(&mut self, head: &HeadId) -> Result<(), ExportError> {
        let task = self.lines.task;
        let (count, last) = match self.heads.get(head) {
            Some(known) => known.clone(),
            None => match told::mark_at(task, Gemini::NAME, head)? {
                Some((session, mark)) => {
                    let (order, _) = live(task, &session, mark.bytes)?;
                    (order.len(), order.last().cloned())
                }
                None if task.store.head(head)?.basis.is_none() => (0, None),
                None => return Ok(()),
            },
        };
        let is_there = count.checked_sub(1).is_none_or(|last_at| self.live.get(last_at) == last.as_ref());
        if !is_there {
            task.notice("linear", "a branch that was left is gone on with: a chat has no way back to it");
            return Ok(());
        }
        let Some(next) = self.live.get(count).cloned() else { return Ok(()) };
        if count <= self.begins && self.begins > 0 {
            task.notice("linear", "a compaction was left: Gemini CLI begins anew where a chat goes back behind one");
        }
        self.lines.line(&json!({ "$rewindTo": next }))?;
        self.live.truncate(count);
        self.begins = self.begins.min(count);
        self.kept.clear();
        self.bytes = 0;
        Ok(())
    }
}

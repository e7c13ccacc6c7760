//! Sessions of headwater's own as run directories: the rows that are visible at the current head, with the engine's keys, values over 4 KB
//! and those that are no EDN as blobs. docs/IMPORT.md says what is lost.

use std::collections::{BTreeSet, HashMap};

use super::super::beside;
use super::super::export::{Output, Task};
use super::super::kept;
use super::below::Below;
use super::folder::JOURNAL;
use super::numbers::Numbers;
use super::row::{self, Ids};
use super::{Fractal, project, value};
use crate::exchange::ExportError;
use crate::exchange::format::Format;
use crate::exchange::told;
use crate::model::edn::Writer;
use crate::model::{Body, Digest, Event, EventNumber, Role, SessionId, Span, Timestamp};
use crate::store::Store;

/// How many events are held at a time.
const PAGE: usize = 1_024;
/// A journal up to this size gets projections.
const MAX_PROJECTED: usize = 16 << 20;

/// A run directory being written.
pub(super) struct Run<'r> {
    pub(super) store: &'r Store,
    pub(super) session: &'r SessionId,
    pub(super) task: &'r Task<'r>,
    pub(super) below: Below,
    /// How many events, and heads, of the session are on no way to its current head.
    outside: (u64, u64),
    pub(super) out: &'r mut dyn Output,
    pub(super) ids: Ids,
    event: u64,
    pub(super) blobs: BTreeSet<Digest>,
    /// The journal so far, unless it is too large.
    journal: Option<Vec<u8>>,
    /// The last user message with this content: a turn names its own.
    pub(super) asked: HashMap<Digest, u64>,
}

/// Passes bytes on, and keeps them where they are not too many.
struct Tee<'t> {
    out: &'t mut dyn Output,
    journal: &'t mut Option<Vec<u8>>,
}

impl Output for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        if let Some(journal) = self.journal.as_mut() {
            journal.extend_from_slice(bytes);
        }
        self.journal.take_if(|journal| journal.len() > MAX_PROJECTED);
        self.out.write(bytes)
    }

    fn part(&mut self, _: &str, _: &[u8]) -> Result<(), ExportError> {
        // A journal is one file.
        Err(kept::damaged(None).into())
    }
}

/// Writes a session: its kept source, where it has one, and then what it holds beyond.
pub(super) fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
    let store = task.store;
    let info = store.session(task.session)?;
    let spans = match &info.current_head {
        Some(head) => store.spans(head)?,
        None => Vec::new(),
    };
    let (mut after, mut ids, mut event) = (EventNumber(0), Ids::default(), 0);
    if let Some(kept) = &task.kept {
        let end = kept::last(store, task.session, info.events)?.map(|(event, _)| event);
        if !end.is_some_and(|end| spans.iter().any(|span| span.contains(task.session, end))) {
            return Err(ExportError::NotExportable {
                session: task.session.clone(),
                format: Fractal::NAME,
                why: "it went on from a head before the end of what was imported".to_owned(),
            });
        }
        let state: Fractal = serde_json::from_str(&kept.state).map_err(|error| kept::damaged(Some(error.into())))?;
        (after, ids, event) = (kept.last_event, Ids::of(state), kept.records);
    }
    out.part(JOURNAL, &[])?;
    let journal = Some(Vec::new());
    let (session, below, outside) = (task.session, Below::of(store, task.session)?, (0, 0));
    let (blobs, asked) = (BTreeSet::new(), HashMap::new());
    let mut run = Run { store, session, task, below, outside, out, ids, event, blobs, journal, asked };
    match &task.kept {
        Some(_) => task.write_kept(&mut Tee { out: run.out, journal: &mut run.journal })?,
        None => run.begin(&spans)?,
    }
    run.events(&spans, after, EventNumber(info.events))?;
    run.files(task.kept.is_some())?;
    run.children()
}

impl Run<'_> {
    /// `session/started`, and of a fork the messages that it goes on from.
    fn begin(&mut self, spans: &[Span]) -> Result<(), ExportError> {
        let info = self.store.session(self.session)?;
        let kind = if info.kind == crate::model::Status::CHILD { "child" } else { "root" };
        let mut row = Writer::new();
        row.begin_namespaced_map("session").keyword("id").string(self.session.as_str()).keyword("kind").keyword(kind);
        row.keyword("status").keyword("running").keyword("created-at").string(&info.started_at.to_string());
        row.keyword("artifact-version").number(1).keyword("surface-version").number(2);
        row.keyword("cache-id").string(info.cache_id.as_deref().unwrap_or(self.session.as_str())).end();
        self.line(info.started_at, "session/started", &[("session", row.finish())])?;
        let Some((source, head)) = info.source.filter(|_| spans.iter().any(|span| span.session != *self.session))
        else {
            return Ok(());
        };
        let rows = self.store.view_at(&source, &head)?.rows;
        let mut messages = Writer::new();
        messages.begin_vector();
        for entry in &rows.messages {
            messages.raw(&row::message(self, &entry.row)?);
        }
        let turn = rows.turns.last().map_or(0, |entry| entry.row.turn.0);
        let from = format!(
            "#:session{{:restored-from #:source{{:session-id {}, :turn-id {turn}}}, :lineage-kind :fork, :latest-turn-id {turn}}}",
            string(source.as_str())
        );
        let message = rows.messages.last().map_or(0, |entry| entry.row.message.0);
        let counters = format!("{{:message {message}, :turn {turn}}}");
        let fields = [("messages", messages.finish()), ("counters", counters), ("session-patch", from)];
        self.line(info.started_at, "session/restored", &fields)
    }

    /// The session's own events after `since`: those on the way to its head, and what became of the session itself.
    fn events(&mut self, spans: &[Span], mut since: EventNumber, to: EventNumber) -> Result<(), ExportError> {
        let mut own: Vec<&Span> = spans.iter().filter(|span| span.session == *self.session).collect();
        own.sort_unstable_by_key(|span| span.from);
        let is_in = |number: EventNumber| {
            let at = own.partition_point(|span| span.from <= number);
            at.checked_sub(1).and_then(|at| own.get(at)).is_some_and(|span| number <= span.to)
        };
        while since < to {
            let events = self.store.events_page(self.session, since, PAGE)?;
            let Some(last) = events.last() else { break };
            since = last.number;
            for event in events.iter().filter(|event| event.number <= to) {
                let is_inside = is_in(event.number);
                // A head is recorded behind the span that it ends.
                let is_head = is_in(EventNumber(event.number.0.saturating_sub(1)));
                match &event.body {
                    Body::SessionStatus(_) | Body::SessionError(_) => self.event(event)?,
                    _ if is_inside => self.event(event)?,
                    Body::HeadCreated(_) => self.outside.1 += u64::from(!is_head),
                    Body::SessionStarted(_)
                    | Body::SessionRestored(_)
                    | Body::RefUpdated(_)
                    | Body::CallerHeadRecorded(_) => {}
                    Body::Annotation(row) if row.kind.starts_with("import/") => {}
                    _ => self.outside.0 += 1,
                }
            }
        }
        let (events, heads) = self.outside;
        if events > 0 || heads > 0 {
            let session = self.session;
            let message =
                format!("{events} events of {session} outside its current head, with {heads} heads of their own");
            self.task.notice("outside-head", message);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), ExportError> {
        let at = event.at;
        match &event.body {
            Body::MessageAdded(row) => {
                let text = row::message(self, row)?;
                if row.role == Role::User {
                    self.asked.insert(row.content, self.ids.messages.id_of(row.message.0));
                }
                self.line(at, "message/added", &[("message", text)])
            }
            Body::TurnStarted(row) | Body::TurnPut(row) => {
                let text = row::turn(self, row)?;
                self.line(at, event.body.kind(), &[("turn", text)])?;
                if row.status == crate::model::Status::FINAL {
                    let turn = self.ids.turns.id_of(row.turn.0).to_string();
                    self.line(at, "turn-final", &[("turn/id", turn)])?;
                }
                Ok(())
            }
            Body::CallStarted(row) | Body::CallPut(row) => {
                if matches!(event.body, Body::CallStarted(_)) {
                    self.call_begins(row)?;
                }
                let text = row::call(self, row)?;
                self.line(at, event.body.kind(), &[("call", text.clone())])?;
                // A call that was over when it was recorded has no second event.
                match &event.body {
                    Body::CallStarted(row) if !row.status.is_running() => self.line(at, "call/put", &[("call", text)]),
                    _ => Ok(()),
                }
            }
            // Of one that was told anew, the last version stands where the first one does.
            Body::EvalAdded(row) => {
                let text = row::eval(self, &told::last_eval(self.task, row)?)?;
                self.line(at, "eval/added", &[("eval", text)])
            }
            Body::SnapshotAdded(row) => {
                let text = row::snapshot(self, row)?;
                self.line(at, "snapshot/added", &[("snapshot", text)])
            }
            Body::SessionStatus(row) => {
                let ended = row.ended_at.map_or_else(|| "nil".to_owned(), |at| string(&at.to_string()));
                self.line(at, "session/status", &[("status", row::word(row.status.as_str())), ("ended-at", ended)])
            }
            Body::SessionError(row) => {
                let error = self.reference(&row.error)?;
                self.line(at, "session/error", &[("error", error), ("ended-at", string(&at.to_string()))])
            }
            Body::Annotation(row) if !row.kind.starts_with("import/") => {
                let payload = row.payload.map(|payload| self.reference(&payload)).transpose()?;
                let payload = payload.unwrap_or_else(|| "nil".to_owned());
                self.line(at, "annotation", &[("kind", string(&row.kind)), ("payload-ref", payload)])
            }
            Body::InvocationStarted(row) => {
                self.invocation_begins(row);
                Ok(())
            }
            // Heads and children are told by turns and calls.
            _ => Ok(()),
        }
    }

    fn line(&mut self, at: Timestamp, kind: &str, fields: &[(&str, String)]) -> Result<(), ExportError> {
        self.event += 1;
        let mut line = Writer::new();
        line.begin_map().keyword("event/type").keyword(kind);
        for (name, value) in fields {
            line.keyword(name).raw(value);
        }
        line.keyword("event/id").number(self.event).keyword("event/at").string(&at.to_string()).end();
        let mut line = line.finish();
        line.push('\n');
        Tee { out: self.out, journal: &mut self.journal }.write(line.as_bytes())
    }

    /// A value ref to a payload: the value itself where it is a short line of EDN.
    pub(super) fn reference(&mut self, payload: &Digest) -> Result<String, ExportError> {
        let blobs = self.store.blobs();
        if blobs.size(payload)? <= value::MAX_INLINE {
            let bytes = blobs.get(payload)?;
            if let Some(text) = value::inline(&bytes) {
                return Ok(format!("{{:value/kind :inline, :value {text}}}"));
            }
        }
        let mut sum = value::Sum::default();
        blobs.copy_to(payload, &mut sum)?;
        let (size, sha256) = sum.finish();
        self.blobs.insert(*payload);
        Ok(format!("{{:value/kind :blob, :path {}, :sha256 \"{sha256}\", :bytes {size}}}", string(&blob_path(payload))))
    }

    /// The blobs and the projections; of an imported run also the files that it had, but for the projections.
    fn files(&mut self, is_imported: bool) -> Result<(), ExportError> {
        let mut written = BTreeSet::from([JOURNAL.to_owned()]);
        if let Some(journal) = self.journal.take() {
            for (name, bytes) in project::all(&journal) {
                self.out.part(&name, &[])?;
                self.out.write(&bytes)?;
                written.insert(name);
            }
        }
        for payload in std::mem::take(&mut self.blobs) {
            let path = blob_path(&payload);
            self.out.part(&path, &[])?;
            super::super::written::copy_payload(self.store, &payload, self.out)?;
            written.insert(path);
        }
        if is_imported {
            beside::write_others::<Fractal>(self.store, self.session, &written, self.out)?;
        }
        Ok(())
    }
}

fn blob_path(payload: &Digest) -> String {
    format!("blobs/values/{}.edn", payload.to_string().trim_start_matches("b3:"))
}

/// A string as EDN.
pub(super) fn string(text: &str) -> String {
    let mut writer = Writer::new();
    writer.string(text);
    writer.finish()
}

impl Ids {
    fn of(state: Fractal) -> Ids {
        let Fractal { messages, turns, calls, evals, snapshots, .. } = state;
        Ids { messages, turns, calls, evals, snapshots }
    }
}

impl Numbers {
    /// The id of a number: what it was, or what it is as ids go on.
    pub(super) fn id_of(&self, number: u64) -> u64 {
        let runs = self.runs();
        let known = runs.iter().rev().find(|(_, own, count)| number.checked_sub(*own).is_some_and(|at| at < *count));
        match (known, runs.iter().map(|(id, own, count)| (own + count - 1, id + count - 1)).max()) {
            (Some((id, own, _)), _) => id + (number - own),
            (None, Some((own, _))) if number > own => {
                let ids = runs.iter().map(|(id, _, count)| id + count - 1).max().unwrap_or(0);
                ids + (number - own)
            }
            _ => number,
        }
    }
}

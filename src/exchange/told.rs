//! What a session holds beyond a kept source, told as the log of an agent tells it: inputs, answers with the tools that
//! they asked for, results, summaries. A format's writer puts each into its own records.

use std::collections::{BTreeMap, HashSet, VecDeque};

use serde_json::value::RawValue;

use super::ExportError;
use super::export::Task;
use super::format::Format;
use super::kept::{self, Mark};
use crate::model::canonical::canonicalize;
use crate::model::{
    Body, Call, CallNumber, CallType, Digest, Eval, Event, EventNumber, HeadId, HeadKind, Message, Role, SessionId,
    Span, Status, Timestamp, Turn,
};
use crate::store::error::ReadError;
use crate::store::{Range, Scope};

/// How many events are held at a time.
const PAGE: usize = 1_024;
/// Results of tools that are remembered, because their messages say them again.
const MAX_RESULTS: usize = 256;

/// Where the history of an export begins.
pub enum Start {
    /// Behind the source that the session was imported from.
    Own,
    /// Behind a part of the source of another session, which this one goes on from.
    Shared(SessionId, Mark),
    /// At its first event.
    Nothing,
}

/// What is to be written behind the kept source.
pub struct Plan {
    /// What comes before.
    pub start: Start,
    /// The events, in the order of their history.
    pub spans: Vec<Span>,
    /// The last head of what comes before.
    pub head: Option<HeadId>,
}

impl Plan {
    /// Behind the session's own source all that its log holds since; of a session without one, all that is visible at its
    /// current head, behind the last source of that format on the way there, and what is not sealed yet.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn of(task: &Task<'_>, format: &str) -> Result<Plan, ReadError> {
        let info = task.store.session(task.session)?;
        let session = || task.session.clone();
        let to = EventNumber(info.events);
        if let Some(source) = &task.kept {
            let from = source.last_event.next();
            let last = kept::last(task.store, task.session, info.events)?;
            let end = last.map(|(event, _)| kept::Kept::read(task.store, task.session, event)).transpose()?;
            let head = end.map_or(Ok(None), |kept| head_at(task, task.session, kept.end().head))?;
            return Ok(Plan { start: Start::Own, spans: vec![Span { session: session(), from, to }], head });
        }
        let mut spans = match info.current_head {
            Some(head) => task.store.spans(&head)?,
            None => Vec::new(),
        };
        // What is not sealed yet: all behind the last span, where that is the session's own.
        let sealed = spans.last().filter(|span| span.session == *task.session).map_or(0, |span| span.to.0);
        spans.push(Span { session: session(), from: EventNumber(sealed + 1), to });
        // A kept source holds what was before it too: a fork's has the records it shares.
        for at in (0..spans.len()).rev() {
            let Some(mark) = mark_until(task, format, &spans[at])? else { continue };
            spans.drain(..at);
            spans[0].from = spans[0].from.max(mark.head.next());
            let head = head_at(task, &spans[0].session, mark.head)?;
            return Ok(Plan { start: Start::Shared(spans[0].session.clone(), mark), spans, head });
        }
        let own = spans.iter().filter(|span| span.session == *task.session);
        let visible: u64 = own.map(|span| (span.to.0 + 1).saturating_sub(span.from.0)).sum();
        if visible < info.events {
            task.notice("left-out", "branches that the session left: what is visible at its current head is written");
        }
        Ok(Plan { start: Start::Nothing, spans, head: None })
    }
}

impl Plan {
    /// The state of the format where the kept part ends.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`].
    pub fn state<F: Format>(&self, task: &Task<'_>) -> Result<F, ReadError> {
        match (&self.start, &task.kept) {
            (Start::Shared(_, mark), _) => state(mark.state.get()),
            (Start::Own, Some(kept)) => state(&kept.state),
            _ => Ok(F::default()),
        }
    }
}

/// The head whose `head/created` that event is.
fn head_at(task: &Task<'_>, session: &SessionId, event: EventNumber) -> Result<Option<HeadId>, ReadError> {
    Ok(task.store.event(session, event)?.head_id)
}

fn state<F: Format>(text: &str) -> Result<F, ReadError> {
    serde_json::from_str(text).map_err(|error| kept::damaged(Some(error.into())))
}

/// The state of the format at a head that an import of it sealed; none where no import of it did.
///
/// # Errors
///
/// [`ReadError`].
pub fn state_at<F: Format>(task: &Task<'_>, head: &HeadId) -> Result<Option<F>, ReadError> {
    mark_at(task, F::NAME, head)?.map(|(_, mark)| state(mark.state.get())).transpose()
}

/// How far which source was imported when a head was sealed; none where no import of that format sealed it.
///
/// # Errors
///
/// [`ReadError`].
pub fn mark_at(task: &Task<'_>, format: &str, head: &HeadId) -> Result<Option<(SessionId, Mark)>, ReadError> {
    let store = task.store;
    let info = store.head(head)?;
    let last = kept::last(store, &info.session, store.session(&info.session)?.events)?;
    for kept in kept::backwards(store, &info.session, last.map(|(event, _)| event)) {
        let kept = kept?;
        let end = kept.end();
        let mark = kept.progress.marks.into_iter().chain([end]).find(|mark| mark.head == info.event);
        if let Some(mark) = mark.filter(|_| kept.progress.format == format) {
            return Ok(Some((info.session.clone(), mark)));
        }
    }
    Ok(None)
}

/// A payload as text; what is no text, or was erased, as its hash.
///
/// # Errors
///
/// [`ReadError`].
pub fn text(task: &Task<'_>, payload: Digest) -> Result<String, ReadError> {
    match task.store.blobs().get(&payload) {
        Ok(bytes) => Ok(String::from_utf8(bytes).unwrap_or_else(|_| payload.to_string())),
        Err(ReadError::Erased { .. }) => Ok(payload.to_string()),
        Err(error) => Err(error),
    }
}

/// The arguments of a tool: its code where that is a JSON object, else one that has the code.
///
/// # Errors
///
/// None that is known: what was made of text is JSON.
pub fn arguments(code: &str) -> Result<Box<RawValue>, ExportError> {
    let parsed = serde_json::from_str::<Box<RawValue>>(code).ok().filter(|parsed| parsed.get().starts_with('{'));
    // A line end would end the record that it is written into.
    let is_one_line = |parsed: &RawValue| !parsed.get().contains(['\n', '\r']);
    let parsed = parsed.and_then(|parsed| match is_one_line(&parsed) {
        true => Some(parsed),
        false => String::from_utf8(canonicalize(code.as_bytes()).ok()?)
            .ok()
            .and_then(|text| RawValue::from_string(text).ok()),
    });
    match parsed {
        Some(parsed) => Ok(parsed),
        None => serde_json::value::to_raw_value(&serde_json::json!({ "code": code }))
            .map_err(|error| ExportError::Output(error.into())),
    }
}

/// What a format has no record for, counted by type.
#[derive(Default)]
pub struct LeftOut(BTreeMap<String, u64>);

impl LeftOut {
    /// One more event of that type.
    pub fn add(&mut self, kind: impl Into<String>) {
        *self.0.entry(kind.into()).or_default() += 1;
    }

    /// A notice for each type.
    pub fn tell(self, task: &Task<'_>, format: &str) {
        for (kind, count) in self.0 {
            task.notice("left-out", format!("{kind}, {count} of them: {format} has no record for it"));
        }
    }
}

/// How far the source of a span's session was imported when the head at its end, or the last before, was sealed.
fn mark_until(task: &Task<'_>, format: &str, span: &Span) -> Result<Option<Mark>, ReadError> {
    let info = task.store.session(&span.session)?;
    let last = kept::last(task.store, &span.session, info.events)?;
    for kept in kept::backwards(task.store, &span.session, last.map(|(event, _)| event)) {
        let kept = kept?;
        if kept.progress.format != format {
            break;
        }
        let mut marks = kept.progress.marks.clone();
        marks.push(kept.end());
        if let Some(mark) = marks.into_iter().rev().find(|mark| mark.head.0 <= span.to.0 + 1) {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

/// Shows the events of a span, in pages.
///
/// # Errors
///
/// What `each` gives, and [`ReadError`].
pub fn events(
    task: &Task<'_>,
    span: &Span,
    each: &mut dyn FnMut(Event) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut since = EventNumber(span.from.0.saturating_sub(1));
    while since < span.to {
        let limit = PAGE.min(usize::try_from(span.to.0 - since.0).unwrap_or(PAGE));
        let events = task.store.events_page(&span.session, since, limit)?;
        let Some(last) = events.last() else { break };
        since = last.number;
        events.into_iter().try_for_each(&mut *each)?;
    }
    Ok(())
}

/// The head that a message is the summary of, if it is that of a compaction: it is the last before the head.
///
/// # Errors
///
/// [`ReadError`].
pub fn compaction_of(task: &Task<'_>, session: &SessionId, message: EventNumber) -> Result<Option<HeadId>, ReadError> {
    let next = task.store.events_since(session, message, 1)?;
    let Some(head) = next.first().filter(|next| next.kind == "head/created").and_then(|next| next.head_id) else {
        return Ok(None);
    };
    Ok((task.store.head(&head)?.kind == HeadKind::Compaction).then_some(head))
}

/// Where something was told, and when.
#[derive(Debug, Clone)]
pub struct Place {
    /// The session whose event it is.
    pub session: SessionId,
    /// The event.
    pub event: EventNumber,
    /// When it was committed, or happened.
    pub at: Timestamp,
}

/// An answer of a model, and the tools that it asked for. One without a message was nothing but tools, one without a call
/// has no usage.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// What it said.
    pub message: Option<(Place, Message)>,
    /// What it used.
    pub call: Option<(Place, Call)>,
    /// Its tools, with what came of them.
    pub tools: Vec<(Place, Eval)>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Told {
    /// A message that is neither an answer nor a result.
    Said(Place, Message),
    /// An answer.
    Answer(Box<Answer>),
    /// A result that no eval has.
    Result(Place, Message),
    /// The transcript was compacted: the summary, and the head.
    Compacted(Place, Message, HeadId),
    /// A turn ended, well or not.
    Ended(Place, Turn),
    /// An annotation: its type and payload.
    Noted(Place, String, Option<Digest>),
    /// Something that logs of agents have no word for: its type.
    Other(String),
    /// A head was sealed.
    Sealed(HeadId),
    /// The session went back, or on, to a head.
    Restored(Place, HeadId),
}

/// Shows what happened in `spans`. What it holds meanwhile is one answer with its tools.
///
/// # Errors
///
/// What `each` gives, and [`ReadError`].
pub fn tell(
    task: &Task<'_>,
    spans: &[Span],
    each: &mut dyn FnMut(Told) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut teller = Teller { task, each, open: None, results: VecDeque::new(), calls: HashSet::new() };
    for span in spans {
        events(task, span, &mut |event| teller.event(event))?;
    }
    teller.flush()
}

struct Teller<'t> {
    task: &'t Task<'t>,
    each: &'t mut dyn FnMut(Told) -> Result<(), ExportError>,
    /// The answer that tools may still be added to.
    open: Option<Answer>,
    results: VecDeque<Digest>,
    /// The calls that were told of: of one that was said more of later, all is told at once.
    calls: HashSet<(SessionId, CallNumber)>,
}

impl Teller<'_> {
    fn flush(&mut self) -> Result<(), ExportError> {
        self.open.take().map_or(Ok(()), |answer| (self.each)(Told::Answer(Box::new(answer))))
    }

    /// The last that its session says of a call.
    fn last_of(&self, session: &SessionId, row: Call) -> Result<Call, ExportError> {
        let range = Range::of(row.call.0, row.call.0);
        let last = self.task.store.records::<Call>(session, Scope::Log, range)?.next().transpose()?;
        Ok(last.map_or(row, |entry| entry.row))
    }

    /// The call of an answer, if it is over and was not told of: its event may come behind what it gave.
    fn call_of(&mut self, place: &Place, call: Option<CallNumber>) -> Result<Option<(Place, Call)>, ExportError> {
        let Some(call) = call.filter(|call| !self.calls.contains(&(place.session.clone(), *call))) else {
            return Ok(None);
        };
        let range = Range::of(call.0, call.0);
        let row = self.task.store.records::<Call>(&place.session, Scope::Log, range)?.next().transpose()?;
        let Some(row) = row.map(|entry| entry.row).filter(|row| !row.status.is_running() && is_model(&row.call_type))
        else {
            return Ok(None);
        };
        self.calls.insert((place.session.clone(), call));
        Ok(Some((place.clone(), row)))
    }

    /// Tells of what ends an answer.
    fn say(&mut self, told: Told) -> Result<(), ExportError> {
        self.flush()?;
        (self.each)(told)
    }

    /// The open answer, if it is that of a call, or may be.
    fn answer_of(&mut self, call: Option<CallNumber>) -> Option<&mut Answer> {
        self.open.as_mut().filter(|open| match (&open.call, call) {
            (Some((_, own)), Some(call)) => own.call == call,
            _ => true,
        })
    }

    fn event(&mut self, event: Event) -> Result<(), ExportError> {
        let place = Place { session: event.session.clone(), event: event.number, at: event.at };
        match event.body {
            Body::MessageAdded(row) => self.message(place, row),
            // A call that was over when it was recorded has no second event.
            Body::CallStarted(row) | Body::CallPut(row) if !row.status.is_running() && is_model(&row.call_type) => {
                if !self.calls.insert((place.session.clone(), row.call)) {
                    return Ok(());
                }
                self.flush()?;
                let row = self.last_of(&place.session, row)?;
                self.open = Some(Answer { call: Some((place, row)), ..Answer::default() });
                Ok(())
            }
            Body::EvalAdded(row) => {
                let row = last_eval(self.task, &row)?;
                self.results.extend([row.observation, row.result, row.error].into_iter().flatten());
                let excess = self.results.len().saturating_sub(MAX_RESULTS);
                self.results.drain(..excess);
                if self.answer_of(row.call).is_none() {
                    self.flush()?;
                }
                if self.open.is_none() {
                    let call = self.call_of(&place, row.call)?;
                    self.open = Some(Answer { call, ..Answer::default() });
                }
                self.open.get_or_insert_default().tools.push((place, row));
                Ok(())
            }
            Body::TurnPut(row) if !row.status.is_running() => self.say(Told::Ended(place, row)),
            Body::Annotation(row) if row.kind == kept::KIND => Ok(()),
            Body::Annotation(row) => self.say(Told::Noted(place, row.kind, row.payload)),
            Body::HeadCreated(head) => self.say(Told::Sealed(head)),
            Body::SessionRestored(row) => self.say(Told::Restored(place, row.source_head)),
            // Bookkeeping of the store; a turn begins with its message, a call is told of when it ended.
            Body::TurnStarted(_)
            | Body::TurnPut(_)
            | Body::CallStarted(_)
            | Body::CallPut(_)
            | Body::EvalPut(_)
            | Body::SessionStarted(_)
            | Body::SessionStatus(_)
            | Body::RefUpdated(_)
            | Body::CallerHeadRecorded(_) => Ok(()),
            other => self.say(Told::Other(other.kind().to_owned())),
        }
    }

    fn message(&mut self, place: Place, row: Message) -> Result<(), ExportError> {
        match row.role {
            Role::Assistant => {
                let call = row.call;
                match self.answer_of(call).filter(|open| open.message.is_none() && open.tools.is_empty()) {
                    Some(open) => open.message = Some((place, row)),
                    None => {
                        self.flush()?;
                        let call = self.call_of(&place, row.call)?;
                        self.open = Some(Answer { message: Some((place, row)), call, ..Answer::default() });
                    }
                }
                Ok(())
            }
            // It is in the eval already, and the answer may have more of them.
            Role::Tool | Role::Observation if self.results.contains(&row.content) => Ok(()),
            Role::Tool | Role::Observation => self.say(Told::Result(place, row)),
            Role::Summary => match compaction_of(self.task, &place.session, place.event)? {
                Some(head) => self.say(Told::Compacted(place, row, head)),
                None => self.say(Told::Said(place, row)),
            },
            Role::User | Role::System | Role::Other(_) => self.say(Told::Said(place, row)),
        }
    }
}

/// The last that the session says of an eval: of one that was unfinished, its end may have come to be known.
pub fn last_eval(task: &Task<'_>, row: &Eval) -> Result<Eval, ReadError> {
    if row.status == Status::OK || row.status == Status::ERROR {
        return Ok(row.clone());
    }
    let number = Range::of(row.eval.0, row.eval.0);
    for scope in [Scope::Current, Scope::Log] {
        if let Some(entry) = task.store.records::<Eval>(task.session, scope, number)?.next().transpose()? {
            return Ok(entry.row);
        }
    }
    Ok(row.clone())
}

/// Whether a call asks a model.
pub fn is_model(call: &CallType) -> bool {
    matches!(call, CallType::Root | CallType::Leaf | CallType::LeafBatchItem)
}

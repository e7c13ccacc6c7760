//! Events, told as what happened: answers with their tools, though these come in an event each.

use std::collections::{HashSet, VecDeque};

use super::{Answer, Inputs, Place, Told, Tool, text};
use crate::exchange::ExportError;
use crate::exchange::export::Task;
use crate::exchange::kept;
use crate::exchange::template::json_string;
use crate::model::{
    Body, Call, CallNumber, CallType, Digest, Eval, Event, EventNumber, HeadId, HeadKind, Invocation, Message, Role,
    SessionId, Span, Status,
};
use crate::store::error::ReadError;
use crate::store::{Range, Scope};

/// How many events are held at a time.
const PAGE: usize = 1_024;
/// Results of tools that are remembered, because their messages say them again.
const MAX_RESULTS: usize = 256;
/// How many calls of one message are held, and how much of what stands between its tools.
const MAX_STEPS: usize = 1_024;
const MAX_BEHIND: usize = 1_024;
/// Messages up to this size are looked into for the results of tools.
const MAX_REPEATED: u64 = 16 << 20;

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

/// Shows what happened in `spans`. What it holds meanwhile is the rows of an answer, or of the steps of one, each with its tools.
///
/// # Errors
///
/// What `each` gives, and [`ReadError`].
pub fn tell(
    task: &Task<'_>,
    spans: &[Span],
    each: &mut dyn FnMut(Told) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut teller = Teller {
        task,
        each,
        open: VecDeque::new(),
        behind: Vec::new(),
        results: VecDeque::new(),
        before: Vec::new(),
        came_back: None,
        inputs: Inputs::default(),
        calls: Calls::default(),
    };
    for span in spans {
        events(task, span, &mut |event| teller.event(event))?;
    }
    teller.flush()
}

struct Teller<'t> {
    task: &'t Task<'t>,
    each: &'t mut dyn FnMut(Told) -> Result<(), ExportError>,
    /// The answers that tools may still be added to: the last one, and the calls before it that gave nothing else so far. What several
    /// calls gave may be one message, with their tools behind it.
    open: VecDeque<Answer>,
    /// What is to be told behind them.
    behind: Vec<Told>,
    results: VecDeque<Digest>,
    /// What came of the tools right before.
    before: Vec<Digest>,
    /// The invocation whose end stands right before.
    came_back: Option<Box<Invocation>>,
    inputs: Inputs,
    /// The calls that were told of: of one that was said more of later, all is told at once.
    calls: Calls,
}

impl Teller<'_> {
    fn flush(&mut self) -> Result<(), ExportError> {
        self.open.drain(..).try_for_each(|answer| (self.each)(Told::Answer(Box::new(answer))))?;
        self.behind.drain(..).try_for_each(&mut *self.each)
    }

    /// Tells of what stands between the tools of an answer, but behind it: it does not end there.
    fn note(&mut self, told: Told) -> Result<(), ExportError> {
        self.behind.push(told);
        if self.open.is_empty() || self.behind.len() > MAX_BEHIND { self.flush() } else { Ok(()) }
    }

    /// The call of an answer, if it is over and was not told of: its event may come behind what it gave.
    fn call_of(&mut self, place: &Place, call: Option<CallNumber>) -> Result<Option<(Place, Call)>, ExportError> {
        let Some(call) = call.filter(|call| !self.calls.has(&place.session, *call)) else { return Ok(None) };
        let range = Range::of(call.0, call.0);
        let row = self.task.store.records::<Call>(&place.session, Scope::Log, range)?.next().transpose()?;
        let Some(row) = row.map(|entry| entry.row).filter(|row| !row.status.is_running() && is_model(&row.call_type))
        else {
            return Ok(None);
        };
        Ok(self.calls.ended(self.task, &place.session, row)?.map(|row| (place.clone(), row)))
    }

    /// Tells of what ends an answer.
    fn say(&mut self, told: Told) -> Result<(), ExportError> {
        self.flush()?;
        (self.each)(told)
    }

    /// The open answer that is that of a call, or may be.
    fn answer_of(&mut self, call: Option<CallNumber>) -> Option<&mut Answer> {
        let own = self.open.iter().rposition(|open| call.is_some() && open.call().map(|own| own.call) == call);
        let may_be = |open: &Answer| call.is_none() || open.call.is_none();
        let at = own.or(self.open.len().checked_sub(1).filter(|last| may_be(&self.open[*last])));
        at.and_then(|at| self.open.get_mut(at))
    }

    fn event(&mut self, event: Event) -> Result<(), ExportError> {
        let place = Place { session: event.session.clone(), event: event.number, at: event.at };
        if matches!(event.body, Body::CallStarted(_) | Body::TurnStarted(_) | Body::TurnPut(_)) {
            self.before.clear();
        }
        let came_back = self.came_back.take();
        self.inputs.take(&event);
        match event.body {
            Body::MessageAdded(row) => self.message(place, row),
            // A call that was over when it was recorded has no second event.
            Body::CallStarted(row) | Body::CallPut(row) if !row.status.is_running() && is_model(&row.call_type) => {
                let Some(row) = self.calls.ended(self.task, &place.session, row)? else { return Ok(()) };
                if row.call_type != CallType::Root {
                    // What the code of a tool asked for comes behind the answer that the tool belongs to.
                    return self.note(Told::Answer(Box::new(Answer { call: Some((place, row)), ..Answer::default() })));
                }
                if self.open.len() >= MAX_STEPS || !self.open.iter().all(Answer::is_bare) {
                    self.flush()?;
                }
                self.open.push_back(Answer { call: Some((place, row)), ..Answer::default() });
                Ok(())
            }
            Body::EvalAdded(row) => {
                let row = last_eval(self.task, &row)?;
                let values = [row.observation, row.result, row.error];
                self.results.extend(values.into_iter().flatten());
                let excess = self.results.len().saturating_sub(MAX_RESULTS);
                self.results.drain(..excess);
                if self.before.len() < MAX_RESULTS {
                    self.before.extend(row.observation.or(row.result).or(row.error));
                }
                if self.answer_of(row.call).is_none() {
                    self.flush()?;
                    let call = self.call_of(&place, row.call)?;
                    self.open.push_back(Answer { call, ..Answer::default() });
                }
                let agent = came_back.filter(|agent| agent.call == row.call);
                let tool = Tool { place, eval: row, agent };
                if let Some(open) = self.answer_of(tool.eval.call) {
                    open.tools.push(tool);
                }
                Ok(())
            }
            Body::TurnPut(row) if !row.status.is_running() => self.say(Told::Ended(place, row)),
            Body::Annotation(row) if row.kind == kept::KIND => Ok(()),
            Body::Annotation(row) => self.note(Told::Noted(place, row.kind, row.payload)),
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
            other => {
                let kind = other.kind().to_owned();
                if let Body::InvocationCompleted(row) | Body::InvocationFailed(row) = other {
                    self.came_back = Some(Box::new(row));
                }
                self.note(Told::Other(kind))
            }
        }
    }

    fn message(&mut self, place: Place, row: Message) -> Result<(), ExportError> {
        let before = std::mem::take(&mut self.before);
        match row.role {
            Role::Assistant => {
                let call = row.call;
                match self.answer_of(call).filter(|open| open.message.is_none() && open.tools.is_empty()) {
                    Some(open) => open.message = Some((place, row)),
                    None => {
                        self.flush()?;
                        let call = self.call_of(&place, row.call)?;
                        self.open.push_back(Answer { message: Some((place, row)), call, ..Answer::default() });
                    }
                }
                Ok(())
            }
            // It is in the eval already, and the answer may have more of them.
            Role::Tool | Role::Observation if self.results.contains(&row.content) => {
                self.before = before;
                Ok(())
            }
            Role::Tool if self.repeats(&row, &before)? => Ok(()),
            Role::Tool | Role::Observation => self.say(Told::Result(place, row)),
            Role::Summary => match compaction_of(self.task, &place.session, place.event)? {
                Some(head) => self.say(Told::Compacted(place, row, head)),
                None => self.say(Told::Said(place, row)),
            },
            Role::User if self.inputs.is_input(self.task, &place, &row)? => self.say(Told::Input(place, row)),
            Role::User | Role::System | Role::Other(_) => self.say(Told::Said(place, row)),
        }
    }

    /// Whether a message gives the results of the tools right before it, all of them, in JSON of its format's.
    fn repeats(&self, row: &Message, values: &[Digest]) -> Result<bool, ExportError> {
        match self.task.store.blobs().size(&row.content) {
            Ok(size) if !values.is_empty() && size <= MAX_REPEATED => {}
            Ok(_) | Err(ReadError::Erased { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let said = text(self.task, row.content)?;
        if !said.starts_with(['[', '{']) {
            return Ok(false);
        }
        for value in values {
            let value = text(self.task, *value)?;
            if !said.contains(&value) && !said.contains(json_string(&value).trim_matches('"')) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The calls that were told of. One has an event for each version of it, of which any may say that it is over.
#[derive(Default)]
pub struct Calls(HashSet<(SessionId, CallNumber)>);

impl Calls {
    fn has(&self, session: &SessionId, call: CallNumber) -> bool {
        self.0.contains(&(session.clone(), call))
    }

    /// A call that is over: the last that its session says of it; none where it was told of.
    ///
    /// # Errors
    ///
    /// [`ExportError::Read`].
    pub fn ended(&mut self, task: &Task<'_>, session: &SessionId, row: Call) -> Result<Option<Call>, ExportError> {
        if !self.0.insert((session.clone(), row.call)) {
            return Ok(None);
        }
        let range = Range::of(row.call.0, row.call.0);
        let last = task.store.records::<Call>(session, Scope::Log, range)?.next().transpose()?;
        Ok(Some(last.map_or(row, |entry| entry.row)))
    }
}

impl Answer {
    /// Whether it is a call alone, so far.
    fn is_bare(&self) -> bool {
        self.message.is_none() && self.tools.is_empty()
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

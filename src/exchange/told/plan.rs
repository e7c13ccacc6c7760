//! What of a session is to be written behind which part of a kept source.

use crate::exchange::export::Task;
use crate::exchange::format::Format;
use crate::exchange::kept::{self, Mark};
use crate::model::{EventNumber, HeadId, SessionId, Span};
use crate::store::error::ReadError;

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
        if let Some(source) = &task.kept {
            let (session, from, to) = (task.session.clone(), source.last_event.next(), EventNumber(info.events));
            let last = kept::last(task.store, task.session, info.events)?;
            let end = last.map(|(event, _)| kept::Kept::read(task.store, task.session, event)).transpose()?;
            let head = end.map_or(Ok(None), |kept| head_at(task, task.session, kept.end().head))?;
            return Ok(Plan { start: Start::Own, spans: vec![Span { session, from, to }], head });
        }
        Plan::visible(task, format)
    }

    /// What is visible at the current head, and not sealed yet, behind the last source of that format on the way there, be it the
    /// session's own.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn visible(task: &Task<'_>, format: &str) -> Result<Plan, ReadError> {
        let mut spans = visible(task)?;
        // A kept source holds what was before it too: a fork's has the records it shares.
        for at in (0..spans.len()).rev() {
            let Some(mark) = mark_until(task, format, &spans[at])? else { continue };
            spans.drain(..at);
            spans[0].from = spans[0].from.max(mark.head.next());
            let head = head_at(task, &spans[0].session, mark.head)?;
            return Ok(Plan { start: Start::Shared(spans[0].session.clone(), mark), spans, head });
        }
        Plan::anew(task)
    }

    /// The same from the first event on.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn anew(task: &Task<'_>) -> Result<Plan, ReadError> {
        let events = task.store.session(task.session)?.events;
        let spans = visible(task)?;
        let own = spans.iter().filter(|span| span.session == *task.session);
        let visible: u64 = own.map(|span| (span.to.0 + 1).saturating_sub(span.from.0)).sum();
        if visible < events {
            task.notice("left-out", "branches that the session left: what is visible at its current head is written");
        }
        Ok(Plan { start: Start::Nothing, spans, head: None })
    }
}

/// The events that are visible at the current head, and those that are not sealed yet: all behind the last span, where that is the
/// session's own.
fn visible(task: &Task<'_>) -> Result<Vec<Span>, ReadError> {
    let info = task.store.session(task.session)?;
    let mut spans = match info.current_head {
        Some(head) => task.store.spans(&head)?,
        None => Vec::new(),
    };
    let sealed = spans.last().filter(|span| span.session == *task.session).map_or(0, |span| span.to.0);
    let (from, to) = (EventNumber(sealed + 1), EventNumber(info.events));
    spans.push(Span { session: task.session.clone(), from, to });
    Ok(spans)
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

/// How far the source of a span's session was imported when the head at its end, or the last before within it, was sealed.
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
            // One before it lies on another branch, unless it is where the span before ends.
            return Ok(Some(mark).filter(|mark| span.from <= mark.head));
        }
    }
    Ok(None)
}

//! Opens a store after something happened to it, and holds it against the notes of what was acknowledged.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater::care::{Mode, check};
use headwater::model::{Body, Digest, Event, EventNumber, SessionId};
use headwater::store::{NewSession, OpenReport, Options, Store};

use super::acks::Ack;
use super::copies;
use super::steps::seen;

/// What was found, when all is well.
#[derive(Debug, Clone)]
pub struct Found {
    pub reopened_in: Duration,
    pub report: OpenReport,
    /// Acknowledged things that were looked for.
    pub looked_for: usize,
    /// Commits of unknown outcome, and how many of them are durable.
    pub unknown: (usize, usize),
    /// Backups beside the store whose rows were made anew.
    pub copies_rebuilt: usize,
}

/// Opens the store and looks for everything acknowledged; then writes every session again. The error is the story.
pub fn verify(root: &Path, acks: &[Ack]) -> Result<Found, String> {
    let start = Instant::now();
    let store = Store::open_with(root, Options { patience: Duration::from_secs(5), ..Options::default() })
        .map_err(|error| format!("the store does not open: {error:?}"))?;
    let reopened_in = start.elapsed();
    let report = store.report().clone();
    let sessions = read_all(&store)?;
    let mut unknown = (0, 0);
    for ack in acks {
        if let Some(durable) = look_for(&store, &sessions, ack)? {
            unknown.0 += 1;
            unknown.1 += usize::from(durable);
        }
    }
    sound(root)?;
    write_again(&store, sessions.keys())?;
    store.close().map_err(|error| format!("the store does not close: {error:?}"))?;
    if !sound(root)? {
        return Err("the database is not trusted after a clean close".to_owned());
    }
    let copies_rebuilt = copies::hold(root, acks, true)?;
    Ok(Found { reopened_in, report, looked_for: acks.len(), unknown, copies_rebuilt })
}

/// Every session's events.
pub type Sessions = BTreeMap<SessionId, Vec<Event>>;

/// Reads every session, after a look at what holds for all stores.
pub fn read_all(store: &Store) -> Result<Sessions, String> {
    let sessions = events_of_all(store)?;
    for (session, events) in &sessions {
        let failed = |error| format!("{session} cannot be read: {error:?}");
        let view = store.event_view(session).map_err(failed)?;
        if Store::fold(events) != view.rows {
            return Err(format!("the events of {session} do not fold to its rows"));
        }
        store.view(session).map_err(failed)?;
        whole_batches(session, events)?;
    }
    Ok(sessions)
}

/// Every session's events, which have no gap.
pub fn events_of_all(store: &Store) -> Result<Sessions, String> {
    let mut sessions = BTreeMap::new();
    for info in store.sessions().map_err(|error| format!("the sessions cannot be read: {error:?}"))? {
        let session = info.session;
        let events = store.events(&session).map_err(|error| format!("{session} cannot be read: {error:?}"))?;
        if !events.iter().zip(1..).all(|(event, number)| event.number.0 == number) {
            return Err(format!("the events of {session} have a gap"));
        }
        sessions.insert(session, events);
    }
    Ok(sessions)
}

/// A batch is there whole or not at all: its marks, in order, and the message after them.
fn whole_batches(session: &SessionId, events: &[Event]) -> Result<(), String> {
    let mut at = 0;
    while let Some(event) = events.get(at) {
        let Some((name, 0, marks)) = mark(event) else {
            if mark(event).is_some() {
                return Err(format!("{session} holds the middle of a batch without its start at {}", event.number.0));
            }
            at += 1;
            continue;
        };
        for n in 0..marks {
            if events.get(at + n).and_then(mark) != Some((name, n, marks)) {
                return Err(format!("{session} holds the batch {name} in part"));
            }
        }
        at += marks;
        match events.get(at).map(|event| &event.body) {
            Some(Body::MessageAdded(_)) => at += 1,
            _ => return Err(format!("{session} holds the batch {name} in part: without its message")),
        }
    }
    Ok(())
}

/// The name, place and number of marks of a batch's mark.
fn mark(event: &Event) -> Option<(&str, usize, usize)> {
    let rest = event.body.kind().strip_prefix("batch/")?;
    let (rest, marks) = rest.rsplit_once('/')?;
    let (name, n) = rest.rsplit_once('/')?;
    Some((name, n.parse().ok()?, marks.parse().ok()?))
}

/// Looks for one thing. Of a commit of unknown outcome: whether it is durable.
pub fn look_for(store: &Store, sessions: &Sessions, ack: &Ack) -> Result<Option<bool>, String> {
    let events_of = |session: &SessionId| sessions.get(session).map_or(&[][..], Vec::as_slice);
    match ack {
        Ack::Batch { session, name, first, marks, payload } => {
            let events = events_of(session);
            for n in 0..*marks {
                let event = (first + n).checked_sub(1).and_then(|at| events.get(at as usize));
                let found = event.map(|event| (mark(event), payload_of(event)));
                if found != Some((Some((name.as_str(), n as usize, *marks as usize)), Some(*payload))) {
                    return Err(format!(
                        "the acknowledged batch {name} of {session} is lost: event {} is {found:?}",
                        first + n
                    ));
                }
            }
            payload_is_there(store, payload, None)?;
        }
        Ack::Events { session, events } => {
            let found = events_of(session).len() as u64;
            if found < *events {
                return Err(format!("{session} had {events} acknowledged events, and has {found}"));
            }
        }
        Ack::Head { session, head, seen: then } => {
            let now = seen(store, session, head)
                .map_err(|error| format!("the acknowledged head {} cannot be read: {error:?}", head.short()))?;
            if now != *then {
                return Err(format!("the head {} reads otherwise than it did", head.short()));
            }
        }
        Ack::Payload { digest, len } => payload_is_there(store, digest, Some(*len))?,
        Ack::Unknown { session, first, digest, name } => {
            let durable = store
                .outcome(session, EventNumber(*first), digest)
                .map_err(|error| format!("the outcome of {name} cannot be told: {error:?}"))?;
            // Nobody wrote the session since: what stands at the commit's first event is the commit. One of parts has none.
            let is_there = events_of(session).len() as u64 >= *first;
            if *first > 0 && durable != is_there {
                return Err(format!("the outcome of {name} is {durable}, and its event {first} is there: {is_there}"));
            }
            let found = events_of(session).iter().filter_map(mark).any(|(found, ..)| found == name);
            if found && !durable {
                return Err(format!("the outcome of {name} is denied, and it is there"));
            }
            return Ok(Some(durable));
        }
        // See `copies`.
        Ack::Copying { .. } | Ack::Copied { .. } => {}
        Ack::Failed { .. } | Ack::Took { .. } | Ack::Done => {}
    }
    Ok(None)
}

fn payload_of(event: &Event) -> Option<Digest> {
    match &event.body {
        Body::Annotation(annotation) => annotation.payload,
        _ => None,
    }
}

fn payload_is_there(store: &Store, digest: &Digest, len: Option<u64>) -> Result<(), String> {
    let bytes = store.blobs().get(digest).map_err(|error| format!("the payload {digest} is lost: {error:?}"))?;
    if Digest::of(&bytes) != *digest || len.is_some_and(|len| len != bytes.len() as u64) {
        return Err(format!("the payload {digest} reads otherwise than it was written"));
    }
    Ok(())
}

/// A deep check that finds nothing; whether the database is trusted.
pub fn sound(root: &Path) -> Result<bool, String> {
    let report = check(root, Mode::Deep).map_err(|error| format!("the store cannot be checked: {error:?}"))?;
    if report.issues.is_empty() {
        return Ok(report.trusted);
    }
    Err(format!("the deep check finds {:?}", report.issues))
}

/// No lease is stuck: every session can be opened for writing without stealing, and written.
pub fn write_again<'a>(store: &Store, sessions: impl Iterator<Item = &'a SessionId>) -> Result<(), String> {
    for session in sessions {
        let handle = store.open_session(session).map_err(|error| format!("{session} cannot be written: {error:?}"))?;
        let before = handle.counters().event;
        let number = handle
            .add_annotation("after/crash", Some(b"written again"))
            .map_err(|error| format!("{session} cannot be appended to: {error:?}"))?;
        if number.0 != before + 1 {
            return Err(format!("the event after {before} of {session} got the number {}", number.0));
        }
        handle.seal().map_err(|error| format!("{session} cannot be sealed: {error:?}"))?;
        handle.close().map_err(|error| format!("the lease of {session} cannot be given back: {error:?}"))?;
    }
    let fresh = NewSession { at: None, ..NewSession::fresh() };
    store.create_session(fresh).map_err(|error| format!("no session can be made: {error:?}"))?;
    Ok(())
}

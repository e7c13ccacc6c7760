//! Reading: each answer is of one point, taken in one read transaction.

use super::commit::Work;
use super::error::{CommitError, ReadError};
use super::{Inner, Store};
use crate::blob::{PART, Prepared, codec::Class};
use crate::journal::Lines;
use crate::model::fold::Entry;
use crate::model::line::Compact;
use crate::model::{
    Counters, Derivation, Digest, Event, EventNumber, HeadId, Invocation, Message, Record, Root, SessionId, Span,
    Timestamp, Turn, TurnNumber, View,
};
use crate::view::types::{Comparison, HeadInfo, History, Link, RefInfo, SessionInfo, StateView};
use crate::view::{events, heads, history, resolve, sessions, state, trace};

impl Store {
    pub(super) fn of<T>(
        &self,
        session: &SessionId,
        f: impl FnOnce(&rusqlite::Connection, i64) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.inner.read(|conn| f(conn, sessions::sid(conn, session)?))
    }

    /// Whether there is a session of that id.
    ///
    /// # Errors
    ///
    /// [`ReadError::BadId`] for a text that can be no id, rather than `false`.
    pub fn exists(&self, session: &str) -> Result<bool, ReadError> {
        let id: SessionId = session.parse()?;
        Ok(self.inner.read(|conn| sessions::find_session(conn, id.as_str()))?.is_some())
    }

    /// The session of that id, alias, unique prefix of either, or at that node ([`Store::resolve_node`]).
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Ambiguous`].
    pub fn resolve_session(&self, text: &str) -> Result<SessionId, ReadError> {
        self.inner.read(|conn| resolve::resolve_session(conn, text).map(|(_, session)| session))
    }

    /// The head of that id, unique prefix of at least four digits, pin, or `SESSION@N`: N turns back from the
    /// current head of the session, which may be named as a node.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Ambiguous`].
    pub fn resolve_head(&self, text: &str) -> Result<HeadId, ReadError> {
        self.inner.read(|conn| resolve::resolve_head(conn, text))
    }

    /// The head that ends turn `turn` of `session`.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn head_of_turn(&self, session: &SessionId, turn: TurnNumber) -> Result<HeadId, ReadError> {
        self.of(session, |conn, sid| heads::head_of_turn(conn, sid, turn))
    }

    /// All sessions, in order of first appearance.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, ReadError> {
        self.inner.read(sessions::sessions)
    }

    /// The imported sessions that began at that moment, at most `limit`, the last made first.
    pub(crate) fn imports_begun(&self, at: Timestamp, limit: usize) -> Result<Vec<SessionId>, ReadError> {
        self.inner.read(|conn| sessions::begun(conn, at, limit))
    }

    /// One session as it stands.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn session(&self, session: &SessionId) -> Result<SessionInfo, ReadError> {
        self.of(session, sessions::session_info)
    }

    /// One head.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn head(&self, head: &HeadId) -> Result<HeadInfo, ReadError> {
        self.inner.read(|conn| heads::head_info(conn, heads::hid(conn, head)?))
    }

    /// A session's own heads, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn heads(&self, session: &SessionId) -> Result<Vec<HeadInfo>, ReadError> {
        self.of(session, heads::heads)
    }

    /// The root of a head, verified against its id.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Damaged`].
    pub fn root_of(&self, head: &HeadId) -> Result<Root, ReadError> {
        self.inner.root(head)
    }

    /// The spans of a head, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn spans(&self, head: &HeadId) -> Result<Vec<Span>, ReadError> {
        self.inner
            .read(|conn| Ok(heads::spans(conn, heads::hid(conn, head)?)?.into_iter().map(|(_, span)| span).collect()))
    }

    /// The state at the session's current head; with none, that of its event log.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`]; [`ReadError::Damaged`] if the root is not what the head's id says.
    pub fn view(&self, session: &SessionId) -> Result<StateView, ReadError> {
        let view = self.of(session, state::view)?;
        self.proven(view)
    }

    /// The state at a head of the session. An old head reads the same for ever, but for the session's own row.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] for a head of another session; [`ReadError::Damaged`] if the root is not what its id says.
    pub fn view_at(&self, session: &SessionId, head: &HeadId) -> Result<StateView, ReadError> {
        let view = self.of(session, |conn, sid| state::view_at(conn, sid, heads::hid(conn, head)?))?;
        self.proven(view)
    }

    /// A view whose head's root is what its id says, and says what the rows say.
    fn proven(&self, view: StateView) -> Result<StateView, ReadError> {
        if let Some(head) = &view.head {
            let root = self.inner.root(&head.head)?;
            let same = root.session == head.session
                && root.span == (head.span.from, head.span.to)
                && root.up == head.up
                && root.basis == head.basis
                && root.kind == head.kind;
            if !same {
                let what = format!("the row of {}, which is not what its root says,", head.head.short());
                return Err(ReadError::Damaged { what, source: None });
            }
        }
        Ok(view)
    }

    /// The rows of all the session's own events, abandoned branches included, inherited ones not.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn event_view(&self, session: &SessionId) -> Result<StateView, ReadError> {
        self.of(session, state::event_view)
    }

    pub(super) fn working_view(&self, session: &SessionId) -> Result<StateView, ReadError> {
        self.of(session, state::working_view)
    }

    /// The event view with all of the session's relations.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn history_view(&self, session: &SessionId) -> Result<History, ReadError> {
        self.of(session, history::history)
    }

    /// The last messages at the session's current head, the newest first.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn last_messages(&self, session: &SessionId, limit: usize) -> Result<Vec<Entry<Message>>, ReadError> {
        self.of(session, |conn, sid| state::last_messages(conn, sid, limit))
    }

    /// The turn that the session wrote last, in its latest version: on an abandoned branch too, one it inherited not.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn last_turn(&self, session: &SessionId) -> Result<Option<Entry<Turn>>, ReadError> {
        self.of(session, |conn, sid| state::last_turn(conn, sid, (1, i64::MAX)))
    }

    /// The turn that was written last among those a head shows, as it was there.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn last_turn_at(&self, head: &HeadId) -> Result<Option<Entry<Turn>>, ReadError> {
        self.inner.read(|conn| state::last_turn_at(conn, heads::hid(conn, head)?))
    }

    /// The compact events after `since`, at most `limit`: what `stream` prints.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn events_since(
        &self,
        session: &SessionId,
        since: EventNumber,
        limit: usize,
    ) -> Result<Vec<Compact>, ReadError> {
        self.of(session, |conn, sid| events::events_compact(conn, sid, since, limit))
    }

    /// One event, compact.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn event(&self, session: &SessionId, event: EventNumber) -> Result<Compact, ReadError> {
        self.of(session, |conn, sid| events::event_compact(conn, sid, event))
    }

    /// One event, with its row.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn event_body(&self, session: &SessionId, event: EventNumber) -> Result<Event, ReadError> {
        self.of(session, |conn, sid| events::event_body(conn, sid, event))
    }

    /// All events of the session's own log, with their rows.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn events(&self, session: &SessionId) -> Result<Vec<Event>, ReadError> {
        self.events_page(session, EventNumber(0), usize::MAX)
    }

    /// The events of the session's own log after `since`, at most `limit`, with their rows.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn events_page(&self, session: &SessionId, since: EventNumber, limit: usize) -> Result<Vec<Event>, ReadError> {
        self.of(session, |conn, sid| events::events(conn, sid, since, limit))
    }

    /// The pure step over events: over a head's spans it equals [`Store::view_at`], over all of a session's events
    /// [`Store::event_view`].
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> View {
        crate::model::fold::fold(events)
    }

    /// The greatest number of each kind ever recorded for the session, inherited ones included.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn high_water_counters(&self, session: &SessionId) -> Result<Counters, ReadError> {
        self.of(session, sessions::counters)
    }

    /// The direct causes of an event, the latest first.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn causes(&self, session: &SessionId, event: EventNumber) -> Result<Vec<(SessionId, EventNumber)>, ReadError> {
        self.of(session, |conn, sid| trace::causes(conn, sid, event))
    }

    /// Why an event happened: its causes and theirs, ancestors first, the event last. The chain includes the event of
    /// the basis head and stops there, unless `all`.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn causal_chain(&self, session: &SessionId, event: EventNumber, all: bool) -> Result<Vec<Link>, ReadError> {
        self.of(session, |conn, sid| trace::causal_chain(conn, sid, event, all))
    }

    /// What two heads have in common, and what only one of them sees.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn compare(&self, left: &HeadId, right: &HeadId) -> Result<Comparison, ReadError> {
        self.inner.read(|conn| heads::compare(conn, heads::hid(conn, left)?, heads::hid(conn, right)?))
    }

    /// `session/current-head`, the head before it, and when it moved.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn reference(&self, session: &SessionId) -> Result<Option<RefInfo>, ReadError> {
        self.of(session, heads::reference)
    }

    /// The invocations that the session made.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn invocations_from(&self, session: &SessionId) -> Result<Vec<Entry<Invocation>>, ReadError> {
        self.of(session, history::invocations_from)
    }

    /// The invocations that called the session.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn invocations_to(&self, session: &SessionId) -> Result<Vec<Entry<Invocation>>, ReadError> {
        self.of(session, history::invocations_to)
    }

    /// The derivations with the session at either end.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn derivations(&self, session: &SessionId) -> Result<Vec<Derivation>, ReadError> {
        self.of(session, history::derivations)
    }

    /// The sessions that were attached to heads of this one, each with the head: its derivations of kind `attach`.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn attached_from(&self, session: &SessionId) -> Result<Vec<Derivation>, ReadError> {
        self.of(session, history::attached_from)
    }

    /// Makes `name` an alias of `session`. One that points to it already is no error.
    ///
    /// # Errors
    ///
    /// [`CommitError::Conflict`] if it is another session's id or alias, or a pin; [`CommitError::BadId`] if it reads as a head's
    /// id; [`CommitError::Missing`] if there is no such session. Nothing is changed.
    pub fn set_alias(&self, name: &SessionId, session: &SessionId) -> Result<(), CommitError> {
        self.inner.record(Record::AliasSet { name: name.clone(), session: session.clone() }, None)
    }

    /// Gives the session a title, or takes it away.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if there is no such session.
    pub fn set_title(&self, session: &SessionId, title: Option<&str>) -> Result<(), CommitError> {
        let payload = title.map(str::as_bytes);
        let record = Record::SessionTitled { session: session.clone(), title: payload.map(Digest::of) };
        self.inner.record(record, payload)
    }

    /// Whether a commit whose outcome was unknown is durable: `first_event` and `digest` are those of
    /// [`CommitError::Unknown`]. Ask a store opened anew.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn outcome(&self, session: &SessionId, first_event: EventNumber, digest: &Digest) -> Result<bool, ReadError> {
        let last = match self.session(session) {
            Ok(info) => info.events,
            Err(ReadError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if last < first_event.0 {
            return Ok(false);
        }
        self.inner.passed_through(session, digest)
    }
}

impl Inner {
    /// Commits one store record, and the payload it names if that is new.
    fn record(&self, record: Record, payload: Option<&[u8]>) -> Result<(), CommitError> {
        let (mut lines, payloads) = payload.map_or_else(|| Ok(Default::default()), |bytes| self.with_payload(bytes))?;
        lines.push_record(record);
        lines.pack();
        self.desk.commit(Work { guard: None, lines, payloads, late: None }).map(|_| ())
    }

    /// The begin of a commit that brings `bytes`, if they are new, for a record that names them.
    pub(super) fn with_payload(&self, bytes: &[u8]) -> Result<(Lines, Vec<Prepared>), CommitError> {
        let (mut lines, mut payloads) = (Lines::default(), Vec::new());
        let (hash, size) = (Digest::of(bytes), bytes.len() as u64);
        if self.has_payload(&hash)? {
            return Ok((lines, payloads));
        }
        let mut parts = None;
        if bytes.len() > PART {
            parts = Some(self.put_parts(bytes)?);
        } else {
            payloads.push(Prepared::new(bytes, Class::Payload));
        }
        lines.push_record(Record::PayloadAdded { hash, size, media: None, parts });
        Ok((lines, payloads))
    }
}

//! Sessions: made, opened for writing, resumed, forked, attached.

use std::collections::hash_map::Entry;

use super::batch::Batch;
use super::commit::{Claim, Pending, locked};
use super::error::{CommitError, SessionOpenError};
use super::state::State;
use super::{Session, Store};
use crate::model::session::Source;
use crate::model::{
    Body, Counters, Derivation, DerivationKind, HeadId, HeadKind, Record, Restored, Root, SessionId, SessionStarted,
    Status, Timestamp,
};

/// What a new session is to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id; a fresh one (UUIDv7) if none is given.
    pub id: Option<SessionId>,
    /// What it is: `session`, `child`, or a word of the embedder's.
    pub kind: Status,
    /// Where it comes from, in the embedder's words.
    pub origin: Option<String>,
    /// The key of a provider's cache.
    pub cache_id: Option<String>,
    /// An alias that is to point to it.
    pub alias: Option<SessionId>,
    /// A title.
    pub title: Option<String>,
    /// When it started, if not now.
    pub at: Option<Timestamp>,
}

impl NewSession {
    /// A session with this id.
    pub fn named(id: SessionId) -> NewSession {
        NewSession { id: Some(id), ..NewSession::fresh() }
    }

    /// A session with an id that nobody has.
    pub fn fresh() -> NewSession {
        NewSession { id: None, kind: Status::SESSION, origin: None, cache_id: None, alias: None, title: None, at: None }
    }
}

impl Store {
    /// Makes a session and takes its lease: `session/started`, its genesis head, and the move to it are one commit.
    ///
    /// # Errors
    ///
    /// [`SessionOpenError::Exists`] if the id is taken; [`CommitError::Conflict`] if it is an alias of another session or a pin,
    /// [`CommitError::BadId`] if it reads as a head's id. Nothing is changed by an error that says so or comes before the
    /// commit; after one in reading what was committed, the session is there.
    pub fn create_session(&self, new: NewSession) -> Result<Session, SessionOpenError> {
        self.make(new, None, |_| Ok(())).map(|(session, ())| session)
    }

    /// The same with the session's first events in the same commit.
    ///
    /// # Errors
    ///
    /// As for [`Store::create_session`], and those of `first`. A batch that `first` gave a key and that is there already is
    /// [`CommitError::Repeated`], with the same content, or [`CommitError::KeyConflict`], in place of `Exists`: to tell, `first`
    /// is run even where the id is taken.
    pub fn create_session_with<T>(
        &self,
        new: NewSession,
        first: impl FnOnce(&mut Batch<'_>) -> Result<T, CommitError>,
    ) -> Result<(Session, T), SessionOpenError> {
        self.make(new, None, first)
    }

    /// Opens the session for writing, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// As for [`Store::create_session`] and [`Store::open_session`].
    pub fn open_or_create(&self, new: NewSession) -> Result<Session, SessionOpenError> {
        let Some(id) = new.id.clone() else { return self.create_session(new) };
        match self.create_session(new) {
            Err(SessionOpenError::Exists { .. }) => self.open_session(&id),
            other => other,
        }
    }

    /// Opens a session for writing: takes its lease. What a killed writer left open is closed and sealed first, as
    /// `turn-aborted` if a turn was open.
    ///
    /// # Errors
    ///
    /// [`SessionOpenError::LeaseHeld`] while another open store, or another handle of this one, writes the session.
    pub fn open_session(&self, session: &SessionId) -> Result<Session, SessionOpenError> {
        self.take(session, false)
    }

    /// Takes the lease from whoever holds it: their next commit fails with [`CommitError::LeaseLost`].
    ///
    /// # Errors
    ///
    /// As for [`Store::open_session`], but for the lease.
    pub fn steal_session(&self, session: &SessionId) -> Result<Session, SessionOpenError> {
        self.take(session, true)
    }

    /// Opens a session to go on from `head`, or from the current head. A head that is not current is restored:
    /// `session/restored`, the move to it and the derivation are one commit.
    ///
    /// # Errors
    ///
    /// As for [`Store::open_session`]; [`SessionOpenError::NoHead`] if `head` is another session's.
    pub fn resume(&self, session: &SessionId, head: Option<&HeadId>) -> Result<Session, SessionOpenError> {
        let root = match head {
            Some(head) => {
                let root = self.root_of(head)?;
                if root.session != *session {
                    let (head, of) = (head.short(), &root.session);
                    return Err(SessionOpenError::NoHead(format!("{head} is a head of {of}, not of {session}")));
                }
                Some((*head, root))
            }
            None => None,
        };
        let handle = self.open_session(session)?;
        match (root, handle.current_head()) {
            (Some((head, root)), current) if current != Some(head) => handle.write(|batch| {
                batch.restore(head, &root);
                Ok(())
            })?,
            (None, None) => return Err(SessionOpenError::NoHead(format!("{session} has no current head"))),
            _ => {}
        }
        Ok(handle)
    }

    /// Makes a session that goes on from `source`, whatever session that head is of. No row is copied: its genesis head
    /// points at `source`. The source gains no event.
    ///
    /// # Errors
    ///
    /// As for [`Store::create_session`]; [`SessionOpenError::Read`] if the head does not exist or is damaged.
    pub fn fork(&self, source: &HeadId, new: NewSession) -> Result<Session, SessionOpenError> {
        let root = self.root_of(source)?;
        self.make(new, Some((DerivationKind::Fork, *source, root)), |_| Ok(())).map(|(session, ())| session)
    }

    /// The same for a child session, one that is to be invoked at a head of another.
    ///
    /// # Errors
    ///
    /// As for [`Store::fork`].
    pub fn attach(&self, source: &HeadId, new: NewSession) -> Result<Session, SessionOpenError> {
        let root = self.root_of(source)?;
        self.make(new, Some((DerivationKind::Attach, *source, root)), |_| Ok(())).map(|(session, ())| session)
    }

    fn make<T>(
        &self,
        new: NewSession,
        source: Option<(DerivationKind, HeadId, Root)>,
        first: impl FnOnce(&mut Batch<'_>) -> Result<T, CommitError>,
    ) -> Result<(Session, T), SessionOpenError> {
        let inner = &self.inner;
        let id = new.id.clone().unwrap_or_else(|| inner.clock.fresh_session());
        let taken = self.exists(id.as_str())?;
        let entered = match self.enter(&id) {
            Ok(entered) => Some(entered),
            Err(_) if taken => None,
            Err(error) => return Err(error),
        };
        let at = new.at.unwrap_or_else(|| inner.clock.now());
        let counters = source.as_ref().map(|(_, _, root)| root.counters).unwrap_or_default();
        let inherited = Counters { event: 0, ..counters };
        let state = State::new(id.clone(), source.as_ref().map(|(_, head, _)| *head), inherited);
        let mut batch = Batch::new(inner, state, at);
        if let Some((_, head, root)) = &source {
            batch.state.stand_on(*head, root);
        }
        batch.push(Body::SessionStarted(SessionStarted {
            kind: new.kind,
            status: Status::OPEN,
            origin: new.origin,
            cache_id: new.cache_id,
            source: source.as_ref().map(|(_, head, root)| Source {
                session: root.session.clone(),
                head: *head,
                counters: inherited,
            }),
        }));
        let started = batch.state.last_event;
        let (genesis, _) = batch.create(HeadKind::Genesis, None);
        batch.push(Body::RefUpdated(genesis));
        if let Some((kind, head, root)) = &source {
            batch.record(Record::DerivationAdded(Derivation {
                id: Derivation::digest(*kind, *head, &id, started),
                kind: *kind,
                source_session: root.session.clone(),
                source_head: *head,
                target_session: id.clone(),
                target_event: started,
                at,
            }));
        }
        if let Some(alias) = &new.alias {
            batch.set_alias(alias)?;
        }
        if let Some(title) = &new.title {
            batch.set_title(title)?;
        }
        let value = first(&mut batch)?;
        let (state, work) = batch.finish(Claim::New)?;
        let key = work.as_ref().and_then(|work| work.lines.key.clone());
        let (Some(entered), false) = (entered, taken) else { return Err(inner.taken(&id, key.as_ref())) };
        if let Some(work) = work {
            let pending = Pending::new(work);
            if inner.desk.queue.push(std::sync::Arc::clone(&pending)) {
                inner.desk.lead();
            }
            match pending.wait() {
                Ok(_) => {}
                Err(error) => {
                    if matches!(error, CommitError::Conflict(_)) && self.exists(id.as_str())? {
                        return Err(inner.taken(&id, key.as_ref()));
                    }
                    return Err(error.into());
                }
            }
        }
        let sid = inner.sid(&id).inspect_err(|_| {
            let _ = inner.give_new_lease_back(&id);
        })?;
        // The lease of a session that the commit made has the first fencing number.
        entered.stay(1);
        Ok((Session::new(self.clone(), sid, 1, state), value))
    }

    fn take(&self, session: &SessionId, steal: bool) -> Result<Session, SessionOpenError> {
        let entered = match self.enter(session) {
            Ok(entered) => entered,
            // The handle of this process that loses its lease leaves under its own fencing number.
            Err(_) if steal => Entered { store: self, session: Some(session.clone()) },
            Err(error) => return Err(error),
        };
        let (sid, fence) = self.inner.take_lease(session, steal)?;
        let state = self.inner.load_state(session).inspect_err(|_| {
            // No handle will: and nobody is to be told that this one writes. What cannot be given back is free
            // when the store closes.
            let _ = self.inner.give_lease_back(sid, fence);
        })?;
        let unsealed = state.dirty;
        entered.stay(fence);
        let handle = Session::new(self.clone(), sid, fence, state);
        if unsealed {
            // The writer before this one was killed, or closed without sealing.
            handle.write(|batch| batch.close_and_seal())?;
        }
        Ok(handle)
    }

    /// Notes that this process writes the session: one handle for each.
    fn enter(&self, session: &SessionId) -> Result<Entered<'_>, SessionOpenError> {
        if let Entry::Vacant(vacant) = locked(&self.inner.handles).entry(session.clone()) {
            vacant.insert(0);
            return Ok(Entered { store: self, session: Some(session.clone()) });
        }
        Err(SessionOpenError::LeaseHeld {
            session: session.clone(),
            holder: "another handle of this process".to_owned(),
        })
    }
}

/// Undoes [`Store::enter`] unless the handle is made.
struct Entered<'a> {
    store: &'a Store,
    session: Option<SessionId>,
}

impl Entered<'_> {
    fn stay(mut self, fence: u64) {
        if let Some(session) = self.session.take() {
            locked(&self.store.inner.handles).insert(session, fence);
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.store.inner.leave(session, 0);
        }
    }
}

impl Batch<'_> {
    /// Goes on from `head`, which this batch may have sealed: of this session, or of one whose rows it shares. What was not
    /// sealed before lies outside every head from now on. A head of another session does not become current: the
    /// next one that is sealed does.
    pub(crate) fn go_on_from(&mut self, head: HeadId) -> Result<(), CommitError> {
        self.drain();
        let root = self.root_of(&head)?;
        if self.state.basis != Some(head) || self.state.dirty {
            self.restore(head, &root);
        }
        Ok(())
    }

    /// The head behind which the last `turns` turns of `from` began, and its root: where there are not so many, that before the
    /// first of them.
    pub(crate) fn before_turns(&self, from: HeadId, turns: u64) -> Result<(HeadId, Root), CommitError> {
        let (mut head, mut root) = (from, self.root_of(&from)?);
        let mut before = (head, root.clone());
        let (mut left, mut last) = (turns, None);
        loop {
            // A genesis ends no turn, even where its root names the one it was made after.
            let turn = root.turn.filter(|_| root.kind != HeadKind::Genesis).map(|turn| (root.session.clone(), turn));
            // Several heads may be of one turn: it was cut, or went on.
            let is_of_last = turn.is_some() && turn == last;
            if !is_of_last && left == 0 {
                return Ok((head, root));
            }
            let Some(basis) = root.basis else { return Ok(before) };
            (head, root) = (basis, self.root_of(&basis)?);
            if turn.is_some() {
                left -= u64::from(!is_of_last);
                last = turn;
                before = (head, root.clone());
            }
        }
    }

    /// Goes on from `head`, which is not current.
    fn restore(&mut self, head: HeadId, root: &Root) {
        let (session, at) = (self.state.session.clone(), self.at);
        let event = self.push(Body::SessionRestored(Restored {
            source_session: root.session.clone(),
            source_head: head,
            snapshot: root.refs.snapshot,
        }));
        if root.session == session {
            self.push(Body::RefUpdated(head));
        }
        self.state.stand_on(head, root);
        self.record(Record::DerivationAdded(Derivation {
            id: Derivation::digest(DerivationKind::Restore, head, &session, event),
            kind: DerivationKind::Restore,
            source_session: root.session.clone(),
            source_head: head,
            target_session: session,
            target_event: event,
            at,
        }));
    }

    /// Closes what a dead writer left open, inside the span, and seals it.
    fn close_and_seal(&mut self) -> Result<HeadId, CommitError> {
        let calls: Vec<_> = self.state.calls.keys().copied().collect();
        for call in calls {
            self.update_call(crate::model::CallNumber(call), |row| row.status = Status::ORPHANED)?;
        }
        let turns: Vec<_> = self.state.turns.keys().copied().collect();
        for turn in &turns {
            self.update_turn(crate::model::TurnNumber(*turn), |row| row.status = Status::ABORTED)?;
        }
        if turns.is_empty() { self.seal() } else { self.seal_aborted() }
    }
}

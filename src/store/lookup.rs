//! What a writer reads before it writes: rows it does not hold, payloads that are there, leases.

use rusqlite::Connection;

use super::Inner;
use super::commit::{Work, locked};
use super::error::{CommitError, ReadError, SessionOpenError};
use super::state::State;
use super::writer::{lock_error, sql_error};
use crate::blob::{self, Prepared, codec::Class};
use crate::journal::Lines;
use crate::model::{
    Call, CallNumber, Counters, Digest, EventNumber, HeadId, Invocation, InvocationNumber, Record, Role, Root,
    SessionId, Span, Turn, TurnNumber,
};
use crate::sqlite::apply::find_blob;
use crate::sqlite::read::rows::Stored;
use crate::sqlite::session_row::SessionRow;
use crate::sqlite::stmt;
use crate::view;
use crate::view::heads::Run;

impl Inner {
    /// Runs `f` in one read transaction: everything it reads is of one point.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let database = |error: rusqlite::Error| ReadError::Database(Box::new(error));
        let conn = self.pool.get().map_err(|error| ReadError::Database(Box::new(error)))?;
        stmt::run(&conn, stmt::meta::BEGIN_READ).map_err(database)?;
        let result = f(&conn);
        // Ended explicitly, whatever happened: the pool takes a connection back as it is.
        stmt::run(&conn, stmt::meta::COMMIT).map_err(database)?;
        result
    }

    /// The same for an `f` that runs one statement, which is one read point by itself.
    pub(super) fn read_once<T>(&self, f: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        f(&*self.pool.get().map_err(|error| ReadError::Database(Box::new(error)))?)
    }

    pub(super) fn sid(&self, session: &SessionId) -> Result<i64, ReadError> {
        self.read(|conn| view::sessions::sid(conn, session))
    }

    /// Whether the payload is in the store.
    pub(super) fn has_payload(&self, digest: &Digest) -> Result<bool, CommitError> {
        let find = |conn: &Connection| find_blob(conn, digest).map_err(|error| ReadError::Database(Box::new(error)));
        Ok(self.read_once(find)?.is_some())
    }

    /// Commits a large payload's parts, each by itself; returns their refs.
    pub(super) fn put_parts(&self, bytes: &[u8]) -> Result<Vec<Digest>, CommitError> {
        bytes.chunks(blob::PART).map(|part| self.put_part(part)).collect()
    }

    /// Commits one part of a large payload.
    pub(super) fn put_part(&self, part: &[u8]) -> Result<Digest, CommitError> {
        let digest = Digest::of(part);
        if !self.has_payload(&digest)? {
            let prepared = Prepared::new(part, Class::Payload);
            let mut lines = Lines::default();
            lines.push_record(Record::PayloadPart { hash: digest, size: prepared.size });
            lines.pack();
            self.commit(Work { guard: None, lines, payloads: vec![prepared] })?;
        }
        Ok(digest)
    }

    /// The root of a head, verified against its id.
    pub(super) fn root(&self, head: &HeadId) -> Result<Root, ReadError> {
        let bytes = self.payload(head.digest()).map_err(|error| match error {
            ReadError::NotFound { .. } => ReadError::NotFound { what: "head", name: head.to_string() },
            other => other,
        })?;
        serde_json::from_slice(&bytes).map_err(|error| ReadError::Damaged {
            what: format!("the root of {}", head.short()),
            source: Some(Box::new(error)),
        })
    }

    fn runs(conn: &Connection, state: &State) -> Result<Vec<Run>, ReadError> {
        view::heads::working_spans(conn, view::sessions::sid(conn, &state.session)?)
    }

    /// The latest version of row `number` that the working branch shows.
    fn row<T: Stored>(&self, state: &State, what: &'static str, number: u64) -> Result<T, CommitError> {
        let found = self.read(|conn| view::state::latest::<T>(conn, &Self::runs(conn, state)?, number))?;
        found.ok_or_else(|| CommitError::Missing { what: format!("{what} {number} on the working branch") })
    }

    pub(super) fn turn(&self, state: &State, number: TurnNumber) -> Result<Turn, CommitError> {
        self.row(state, "turn", number.0)
    }

    pub(super) fn call(&self, state: &State, number: CallNumber) -> Result<Call, CommitError> {
        self.row(state, "call", number.0)
    }

    pub(super) fn invocation(&self, state: &State, number: InvocationNumber) -> Result<Invocation, CommitError> {
        self.row(state, "invocation", number.0)
    }

    /// The system messages with which the transcript begins: those before the first message of another role.
    pub(super) fn leading_system_messages(
        &self,
        state: &State,
        in_batch: &[EventNumber],
    ) -> Result<Vec<Span>, CommitError> {
        let mut found = Vec::new();
        let messages = self.read(|conn| {
            let runs = Self::runs(conn, state)?;
            // A transcript begins with a few of them at most.
            view::state::messages(conn, &runs, None, 16, false)
        })?;
        for entry in messages {
            if entry.row.role != Role::System || in_batch.contains(&entry.event) {
                break;
            }
            found.push(Span { session: entry.session, from: entry.event, to: entry.event });
        }
        Ok(found)
    }

    /// The runs of events of the working branch that hold its last `keep` messages, in order.
    pub(super) fn last_message_spans(&self, state: &State, keep: usize) -> Result<Vec<Span>, CommitError> {
        if keep == 0 {
            return Ok(Vec::new());
        }
        Ok(self.read(|conn| {
            let runs = Self::runs(conn, state)?;
            let last = view::state::messages(conn, &runs, None, keep, true)?;
            let Some(first) = last.last() else { return Ok(Vec::new()) };
            let holds = |run: &Run| run.1.contains(&first.session, first.event);
            let Some(at) = runs.iter().position(holds) else { return Ok(Vec::new()) };
            let mut spans: Vec<Span> = runs[at..].iter().map(|(_, span)| span.clone()).collect();
            spans[0].from = first.event;
            Ok(spans)
        })?)
    }

    /// What a writer of the session must know, read from the rows.
    pub(super) fn load_state(&self, session: &SessionId) -> Result<State, ReadError> {
        let database = |error: rusqlite::Error| ReadError::Database(Box::new(error));
        let (mut state, unsealed) = self.read(|conn| {
            let not_found = || ReadError::NotFound { what: "session", name: session.to_string() };
            let row = SessionRow::find(conn, session).map_err(database)?.ok_or_else(not_found)?;
            let head = |hid: Option<i64>| hid.map(|hid| view::heads::head_id(conn, hid)).transpose();
            let mut state = State::new(session.clone(), head(row.base_up)?, Counters::default());
            state.status = view::sessions::session_info(conn, row.sid)?.status;
            state.last_event = EventNumber(row.last_event);
            state.digest = row.digest;
            state.counters = view::sessions::counters(conn, row.sid)?;
            state.current = head(row.current)?;
            state.from = EventNumber(row.base_from);
            state.basis = head(row.basis)?;
            let unsealed = view::state::unsealed(conn, row.sid)?;
            state.dirty = unsealed.dirty;
            Ok((state, unsealed))
        })?;
        if let Some(basis) = state.basis {
            let root = self.root(&basis)?;
            state.stand_on(basis, &root);
        }
        state.take_open(unsealed.rows);
        Ok(state)
    }

    /// Takes the lease of a session; with `steal`, from whoever holds it. Returns its sid and the fencing number.
    pub(super) fn take_lease(&self, session: &SessionId, steal: bool) -> Result<(i64, u64), SessionOpenError> {
        let at = self.clock.now();
        let mut held_by = None;
        let taken = locked(&self.writer).alone(None, |writer| {
            let missing = || CommitError::from(ReadError::NotFound { what: "session", name: session.to_string() });
            let row = writer.applier.session(&writer.conn, session).map_err(sql_error)?.ok_or_else(missing)?;
            let lease = writer.holder.read(&writer.conn, row.sid).map_err(sql_error)?;
            if let Some(lease) = &lease {
                let mine = lease.holder == writer.holder.id();
                if !steal && !mine && writer.holder.is_alive(&lease.holder).map_err(lock_error)? {
                    held_by = Some(lease.who.clone());
                    return Ok((row.sid, 0));
                }
            }
            let fence = lease.map_or(0, |lease| lease.fence) + 1;
            writer.holder.write(&writer.conn, row.sid, fence, at).map_err(sql_error)?;
            Ok((row.sid, fence))
        });
        match (taken, held_by) {
            (_, Some(holder)) => Err(SessionOpenError::LeaseHeld { session: session.clone(), holder }),
            (Ok(taken), None) => Ok(taken),
            (Err(CommitError::Missing { .. }), None) => {
                Err(ReadError::NotFound { what: "session", name: session.to_string() }.into())
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Gives a lease back, if it is still ours.
    pub(super) fn give_lease_back(&self, sid: i64, fence: u64) -> Result<(), CommitError> {
        locked(&self.writer).alone(None, |writer| {
            let holder = writer.holder.id().to_owned();
            writer
                .conn
                .prepare_cached(stmt::meta::GIVE_LEASE_BACK)
                .and_then(|mut statement| statement.execute(rusqlite::params![sid, holder, fence]))
                .map_err(sql_error)?;
            Ok(())
        })
    }
}

//! What a writer reads before it writes: rows it does not hold, payloads that are there, leases.

use rusqlite::{Connection, OptionalExtension};

use super::Inner;
use super::commit::{Work, locked};
use super::error::{CommitError, ReadError, SessionOpenError};
use super::pool::Pool;
use super::state::State;
use super::writer::{lock_error, sql_error};
use crate::blob::{self, Prepared, codec::Class};
use crate::journal::{BatchKey, Lines};
use crate::model::{
    Call, CallNumber, Counters, Digest, Entry, Eval, EvalNumber, EventNumber, HeadId, Invocation, InvocationNumber,
    Message, Record, Role, Root, SessionId, Span, Turn, TurnNumber,
};
use crate::segment::sabotage::{self, Sabotage};
use crate::sqlite::apply::find_blob;
use crate::sqlite::read::rows::Stored;
use crate::sqlite::session_row::SessionRow;
use crate::sqlite::stmt;
use crate::view;
use crate::view::heads::Run;

/// A batch that was committed under a key.
pub(super) struct KeyRow {
    first_event: u64,
    events: u64,
    content: Vec<u8>,
}

impl KeyRow {
    /// The batch of session `sid` under that key.
    pub(super) fn find(conn: &Connection, sid: i64, key: &str) -> rusqlite::Result<Option<KeyRow>> {
        conn.prepare_cached(stmt::meta::KEY)?
            .query_row(rusqlite::params![sid, key], |row| {
                Ok(KeyRow { first_event: row.get(0)?, events: row.get(1)?, content: row.get(2)? })
            })
            .optional()
    }

    /// What the caller of another batch under the same key is told. A batch that adds nothing contradicts none: what it
    /// was to do is done.
    pub(super) fn refusal(self, key: &BatchKey) -> CommitError {
        let KeyRow { first_event, events, content } = self;
        let (session, text) = (key.session.clone(), key.key.clone());
        if content == key.content.0 || key.events == 0 {
            return CommitError::Repeated { session, key: text, first_event, events };
        }
        CommitError::KeyConflict { session, key: text }
    }
}

/// The event of a message, as a span.
fn place(entry: Entry<Message>) -> Span {
    Span { session: entry.session, from: entry.event, to: entry.event }
}

/// Runs `f` in one read transaction on one of the pool's connections.
pub(super) fn read_in<T>(pool: &Pool, f: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
    let database = |error: rusqlite::Error| ReadError::Database(Box::new(error));
    pool.with(|conn| {
        stmt::run(conn, stmt::meta::BEGIN_READ).map_err(database)?;
        let result = f(conn);
        // Ended explicitly, whatever happened. One that cannot be ended costs its connection.
        let ended = stmt::run(conn, stmt::meta::COMMIT);
        if ended.is_err() && !conn.is_autocommit() {
            let _ = stmt::run(conn, stmt::meta::ROLLBACK);
        }
        // What was asked for comes first: an end that fails says little of why.
        let value = result?;
        ended.map_err(database)?;
        Ok(value)
    })
}

impl Inner {
    /// Runs `f` in one read transaction: everything it reads is of one point.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        read_in(&self.pool, f)
    }

    /// The same for an `f` that runs one statement, which is one read point by itself.
    pub(super) fn read_once<T>(&self, f: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.pool.with(|conn| f(conn))
    }

    pub(super) fn sid(&self, session: &SessionId) -> Result<i64, ReadError> {
        self.read(|conn| view::sessions::sid(conn, session))
    }

    /// Whether the payload's bytes are in the store: one that was erased or lost can be put again.
    pub(super) fn has_payload(&self, digest: &Digest) -> Result<bool, CommitError> {
        let find = |conn: &Connection| find_blob(conn, digest).map_err(|error| ReadError::Database(Box::new(error)));
        // A reader's connection drops its pages after each commit, the writer's keeps them: better if it is free.
        if let Ok(writer) = self.desk.writer.try_lock()
            && writer.poison.is_none()
            && writer.conn.is_autocommit()
        {
            return Ok(find(&writer.conn)?.is_some_and(|place| place.holds_bytes()));
        }
        Ok(self.read_once(find)?.is_some_and(|place| place.holds_bytes()))
    }

    /// Which of the payloads are in the store, at one read point.
    pub(super) fn have_payloads(&self, digests: &[Digest]) -> Result<Vec<bool>, CommitError> {
        match digests {
            [] => Ok(Vec::new()),
            [one] => Ok(vec![self.has_payload(one)?]),
            several => Ok(self.read(|conn| {
                let found =
                    several.iter().map(|digest| Ok(find_blob(conn, digest)?.is_some_and(|place| place.holds_bytes())));
                found.collect::<rusqlite::Result<_>>().map_err(|error| ReadError::Database(Box::new(error)))
            })?),
        }
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
            self.desk.commit(Work { guard: None, lines, payloads: vec![prepared], late: None })?;
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

    /// The spans of a head.
    pub(super) fn spans_of(&self, head: &HeadId) -> Result<Vec<Span>, ReadError> {
        self.read(|conn| {
            let runs = view::heads::spans(conn, view::heads::hid(conn, head)?)?;
            Ok(runs.into_iter().map(|(_, span)| span).collect())
        })
    }

    fn runs(conn: &Connection, spans: &[Span]) -> Result<Vec<Run>, ReadError> {
        spans.iter().map(|span| Ok((view::sessions::sid(conn, &span.session)?, span.clone()))).collect()
    }

    /// The latest version of row `number` in `spans`.
    fn row<T: Stored>(&self, spans: &[Span], what: &'static str, number: u64) -> Result<T, CommitError> {
        let found = self.read(|conn| view::state::latest::<T>(conn, &Self::runs(conn, spans)?, number))?;
        found.ok_or_else(|| CommitError::Missing { what: format!("{what} {number} on the working branch") })
    }

    pub(super) fn turn(&self, spans: &[Span], number: TurnNumber) -> Result<Turn, CommitError> {
        self.row(spans, "turn", number.0)
    }

    pub(super) fn call(&self, spans: &[Span], number: CallNumber) -> Result<Call, CommitError> {
        self.row(spans, "call", number.0)
    }

    pub(super) fn eval(&self, spans: &[Span], number: EvalNumber) -> Result<Eval, CommitError> {
        self.row(spans, "eval", number.0)
    }

    pub(super) fn invocation(&self, spans: &[Span], number: InvocationNumber) -> Result<Invocation, CommitError> {
        self.row(spans, "invocation", number.0)
    }

    /// The system messages with which `spans` begin, and the message after them.
    pub(super) fn leading_system_messages(&self, spans: &[Span]) -> Result<(Vec<Span>, Option<Span>), CommitError> {
        // A transcript begins with a few of them at most.
        let mut limit = 16;
        loop {
            let messages =
                self.read(|conn| view::state::messages(conn, &Self::runs(conn, spans)?, None, limit, false))?;
            let system = messages.iter().take_while(|entry| entry.row.role == Role::System).count();
            if system < limit {
                let mut found: Vec<Span> = messages.into_iter().take(system + 1).map(place).collect();
                let next = if found.len() > system { found.pop() } else { None };
                return Ok((found, next));
            }
            limit *= 4;
        }
    }

    /// The message of `spans` that is the `nth` from their end, or the first where there are fewer.
    pub(super) fn message_from_the_end(&self, spans: &[Span], nth: usize) -> Result<Option<Span>, CommitError> {
        let last = self.read(|conn| view::state::messages(conn, &Self::runs(conn, spans)?, None, nth, true))?;
        Ok(last.into_iter().next_back().map(place))
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
        state.take_open(unsealed.rows, unsealed.since);
        Ok(state)
    }

    /// Takes the lease of a session; with `steal`, from whoever holds it. Returns its sid and the fencing number.
    pub(super) fn take_lease(&self, session: &SessionId, steal: bool) -> Result<(i64, u64), SessionOpenError> {
        let at = self.clock.now();
        let mut held_by = None;
        let taken = locked(&self.desk.writer).alone(None, |writer, _| {
            let missing = || CommitError::from(ReadError::NotFound { what: "session", name: session.to_string() });
            let row = writer.applier.session(&writer.conn, session).map_err(sql_error)?.ok_or_else(missing)?;
            let lease = writer.holder.read(&writer.conn, row.sid).map_err(sql_error)?;
            if let Some(lease) = &lease {
                let mine = lease.holder == writer.holder.id();
                if !steal
                    && !mine
                    && !sabotage::is(Sabotage::Lease)
                    && writer.holder.is_alive(&lease.holder).map_err(lock_error)?
                {
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

    /// Why a session cannot be made whose id is taken: it may be the same batch once more, told by its key.
    pub(super) fn taken(&self, session: &SessionId, key: Option<&BatchKey>) -> SessionOpenError {
        let exists = || SessionOpenError::Exists { session: session.clone() };
        let Some(key) = key else { return exists() };
        let found = self.read(|conn| {
            let database = |error: rusqlite::Error| ReadError::Database(Box::new(error));
            let row = SessionRow::find(conn, session).map_err(database)?;
            row.map_or(Ok(None), |row| KeyRow::find(conn, row.sid, &key.key)).map_err(database)
        });
        match found {
            Ok(Some(found)) => found.refusal(key).into(),
            Ok(None) => exists(),
            Err(error) => error.into(),
        }
    }

    /// Gives the first lease of a new session back, whose local number could not be read.
    pub(super) fn give_new_lease_back(&self, session: &SessionId) -> Result<(), CommitError> {
        let found = locked(&self.desk.writer).alone(None, |writer, _| {
            Ok(writer.applier.session(&writer.conn, session).map_err(sql_error)?.map(|row| row.sid))
        })?;
        found.map_or(Ok(()), |sid| self.give_lease_back(sid, 1))
    }

    /// Gives a lease back, if it is still ours.
    pub(super) fn give_lease_back(&self, sid: i64, fence: u64) -> Result<(), CommitError> {
        locked(&self.desk.writer).alone(None, |writer, _| {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A read whose transaction SQLite has ended already fails at its end too: what is told is why the read failed, and the
    /// connection serves the next reader.
    #[test]
    fn a_failed_read_is_told_and_not_how_its_transaction_ended() {
        let file = tempfile::NamedTempFile::new().unwrap();
        rusqlite::Connection::open(file.path()).unwrap().pragma_update(None, "user_version", 1).unwrap();
        let pool = Pool::new(file.path(), 1);
        let failed: Result<(), ReadError> = read_in(&pool, |conn| {
            stmt::run(conn, stmt::meta::ROLLBACK).unwrap();
            Err(ReadError::NotFound { what: "session", name: "demo".to_owned() })
        });
        assert!(matches!(failed, Err(ReadError::NotFound { .. })), "{failed:?}");
        let ended: Result<(), ReadError> = read_in(&pool, |conn| {
            stmt::run(conn, stmt::meta::ROLLBACK).unwrap();
            Ok(())
        });
        assert!(matches!(ended, Err(ReadError::Database(_))), "an end that fails is told where nothing else did");
        read_in(&pool, |_| Ok(())).unwrap();
    }
}

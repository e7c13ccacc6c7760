//! The write path, top to bottom: rows applied, frames appended, one sync, commit, then publish.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::commit::{Claim, Guard, Pending, Work};
use super::error::{CommitError, is_corrupt, is_refusal};
use super::lease::Holder;
use super::level::{self, FromLog, LevelError, Meta};
use super::lookup::KeyRow;
use super::names;
use crate::clock::Clock;
use crate::journal::{Lines, TxHeader};
use crate::model::{Digest, Tx};
use crate::segment::sabotage::{self, Sabotage};
use crate::segment::{
    AppendError, FRAME_HEADER_LEN, FrameRef, Kind, LockError, Log, Position, Readers, Turnstile, is_full,
};
use crate::sqlite::apply::{Applier, ApplyError, BlobPlace, Fetch, FramePlace};
use crate::sqlite::{fault, stmt};

/// Whoever holds it writes: the one connection that does, the log, the lock across processes.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) log: Log,
    pub(super) turnstile: Turnstile,
    pub(super) applier: Applier,
    pub(super) readers: Arc<Readers>,
    /// As this process last left or found it: another process may have gone on since.
    pub(super) meta: Meta,
    /// Where the rows stood when the log last proved them.
    pub(super) proven: Option<Meta>,
    pub(super) holder: Holder,
    pub(super) clock: Clock,
    /// Why nothing is written any more.
    pub(super) poison: Option<Poison>,
}

/// A commit whose rows are applied, and what the log is to hold of it.
struct Member {
    pending: Arc<Pending>,
    head: TxHeader,
    body: Vec<u8>,
}

/// What each commit's caller is to be told, once no lock is held.
pub(super) type Answers = Vec<(Arc<Pending>, Result<Tx, CommitError>)>;

/// Why a writer writes nothing.
pub(super) enum Poison {
    /// It was opened where nothing can be written.
    ReadOnly,
    /// After a failure of unknown outcome.
    Failure(String),
}

/// How a group failed, for all its members.
enum Fault {
    /// Nothing was changed.
    Plain(CommitError),
    /// The log decides.
    Unknown { what: &'static str, source: Arc<dyn std::error::Error + Send + Sync> },
}

impl Writer {
    /// Writes one group from the front of `queue`; what does not fit stays there. The answers are the caller's to give, when it holds no lock.
    pub(super) fn group(&mut self, queue: &mut VecDeque<Arc<Pending>>) -> Answers {
        let mut members = Vec::new();
        let mut refused = Vec::new();
        let outcome = self.try_group(queue, &mut members, &mut refused).map_err(|fault| match fault {
            Fault::Plain(error) => Fault::Plain(error.told_by(self.readers.dir())),
            unknown => unknown,
        });
        for (_, error) in &mut refused {
            *error = error.clone().told_by(self.readers.dir());
        }
        let mut answers: Answers = Vec::with_capacity(members.len() + refused.len());
        if let Err(fault) = outcome {
            if members.is_empty() && refused.is_empty() {
                // It failed before the first was taken, and would for each.
                for pending in std::mem::take(queue) {
                    let answer = self.answer(&fault, &pending);
                    answers.push((pending, Err(answer)));
                }
            }
            for member in members {
                let answer = self.answer(&fault, &member.pending);
                answers.push((member.pending, Err(answer)));
            }
        } else {
            answers.extend(members.into_iter().map(|member| (member.pending, Ok(member.head.tx))));
        }
        answers.extend(refused.into_iter().map(|(pending, error)| (pending, Err(error))));
        answers
    }

    /// Refuses where nothing is to be written any more.
    pub(super) fn refuses(&self) -> Result<(), CommitError> {
        match &self.poison {
            None => Ok(()),
            Some(Poison::ReadOnly) => Err(CommitError::ReadOnly),
            Some(Poison::Failure(why)) => Err(CommitError::Poisoned(why.clone())),
        }
    }

    fn answer(&self, fault: &Fault, pending: &Pending) -> CommitError {
        match fault {
            Fault::Plain(error) => error.clone(),
            Fault::Unknown { what, source } => {
                let guard = pending.work.guard.as_ref();
                CommitError::Unknown {
                    what: (*what).to_owned(),
                    session: guard.map(|g| g.session.clone()),
                    first_event: guard.map(|g| g.first_event),
                    digest: guard.map(|g| g.after),
                    source: Arc::clone(source),
                }
            }
        }
    }

    fn try_group(
        &mut self,
        queue: &mut VecDeque<Arc<Pending>>,
        members: &mut Vec<Member>,
        refused: &mut Vec<(Arc<Pending>, CommitError)>,
    ) -> Result<(), Fault> {
        self.refuses().map_err(Fault::Plain)?;
        let _write = self.turnstile.acquire().map_err(lock_fault)?;
        stmt::run(&self.conn, stmt::meta::BEGIN).map_err(sql_fault)?;
        let mut filled = self.fill(queue, members, refused, Each::Trusted);
        if let Ok(None) = filled {
            // One of them failed: all over again, each in a savepoint. Failures are rare, savepoints cost all.
            self.undo();
            for member in members.drain(..).rev() {
                queue.push_front(member.pending);
            }
            stmt::run(&self.conn, stmt::meta::BEGIN).map_err(sql_fault)?;
            filled = self.fill(queue, members, refused, Each::InSavepoint);
        }
        let result = filled.and_then(|filled| match filled {
            Some(filled) => self.finish(filled, members),
            None => Ok(()),
        });
        if result.is_err() {
            self.undo();
        }
        result
    }

    /// Rolls the transaction back, whatever is left of it.
    pub(super) fn undo(&mut self) {
        self.applier.forget();
        if !sabotage::is(Sabotage::CommitFirst)
            && let Err(error) = stmt::run(&self.conn, stmt::meta::ROLLBACK)
        {
            self.poison = Some(Poison::Failure(format!("a transaction could not be rolled back: {error}")));
        }
    }

    /// Brings the rows level, then applies commits until no more fit. None if one failed that was trusted: it is at the
    /// front of `queue` again, and the transaction is to be rolled back.
    fn fill(
        &mut self,
        queue: &mut VecDeque<Arc<Pending>>,
        members: &mut Vec<Member>,
        refused: &mut Vec<(Arc<Pending>, CommitError)>,
        each: Each,
    ) -> Result<Option<Filled>, Fault> {
        let mut meta = Meta::read(&self.conn).map_err(sql_fault)?;
        if meta != self.meta {
            // Another process wrote since.
            self.applier.forget();
        }
        self.prove(&meta).map_err(level_fault)?;
        let adopted = level::level(&self.conn, &mut self.applier, &mut self.log, &self.readers, &mut meta)
            .map_err(level_fault)?;
        let mut filled = Filled { adopted: adopted > 0 || meta.end != self.meta.end, start: meta.end, meta };
        let mut room = 0;
        // Display text and roots of this group are not in the log yet.
        let mut small: Small = HashMap::new();
        while let Some(pending) = queue.front().cloned() {
            let (lines, given) = match pending.work.settled(&self.conn) {
                Ok(settled) => settled,
                // What it was refused for may be a commit of this group that is refused itself.
                Err(_) if each == Each::Trusted && !members.is_empty() => return Ok(None),
                Err(error) => {
                    queue.pop_front();
                    refused.push((pending, error.clone()));
                    if self.conn.is_autocommit() {
                        return Err(Fault::Plain(error));
                    }
                    continue;
                }
            };
            let bytes = pending.work.bytes(&lines);
            if members.is_empty() {
                match self.log.make_room(filled.start, bytes) {
                    Ok(made) => (filled.start, room) = made,
                    Err(error @ AppendError::GroupTooLarge { .. }) => {
                        let Fault::Plain(error) = append_fault(error) else { break };
                        queue.pop_front();
                        drop(lines);
                        refused.push((pending, error));
                        continue;
                    }
                    Err(error) => return Err(append_fault(error)),
                }
            } else if bytes > room {
                break;
            }
            let payload_start = filled.payload_end(members);
            for payload in &pending.work.payloads {
                if let Some(bytes) = &payload.bytes {
                    small.insert(payload.digest, Arc::clone(bytes));
                }
            }
            if each == Each::InSavepoint {
                stmt::run(&self.conn, stmt::meta::SAVE).map_err(sql_fault)?;
            }
            match self.one(&pending.work, &lines, &filled.meta, payload_start, &small) {
                Ok((head, digest)) => {
                    if each == Each::InSavepoint {
                        stmt::run(&self.conn, stmt::meta::RELEASE).map_err(sql_fault)?;
                    }
                    // Taken from the queue only now: whatever fails before leaves it there to be answered.
                    queue.pop_front();
                    filled.meta.tx = head.tx;
                    filled.meta.digest = digest;
                    room = room.saturating_sub(bytes);
                    let body = lines.body(&head);
                    drop(lines);
                    pending.given.store(given, Ordering::Release);
                    members.push(Member { pending, head, body });
                }
                Err(_) if each == Each::Trusted => return Ok(None),
                Err(error) => {
                    self.applier.forget();
                    drop(lines);
                    if self.conn.is_autocommit() {
                        // SQLite rolled everything back: the whole group fails, this commit too.
                        queue.pop_front();
                        refused.push((pending, error.clone()));
                        return Err(Fault::Plain(error));
                    }
                    stmt::run(&self.conn, stmt::meta::UNDO).map_err(sql_fault)?;
                    stmt::run(&self.conn, stmt::meta::RELEASE).map_err(sql_fault)?;
                    queue.pop_front();
                    refused.push((pending, error));
                }
            }
        }
        Ok(Some(filled))
    }

    /// Applies one commit after `meta`; its payload frames will begin at `start`.
    fn one(
        &mut self,
        work: &Work,
        lines: &Lines,
        meta: &Meta,
        start: Position,
        small: &Small,
    ) -> Result<(TxHeader, Digest), CommitError> {
        if let Some(guard) = &work.guard {
            self.may_write(guard, work)?;
        }
        names::check(&self.conn, work.guard.as_ref(), lines)?;
        let head = TxHeader { tx: meta.tx.next(), at: self.clock.now(), previous: meta.digest };
        let (mut next, mut frame) = (start.offset, (start, 0));
        let places: Vec<FramePlace> = work
            .payloads
            .iter()
            .map(|payload| {
                if let Some(body) = &payload.body {
                    frame = (Position::new(start.segment, next), body.len() as u64);
                    next += FRAME_HEADER_LEN + frame.1;
                }
                FramePlace { at: frame.0, stored: frame.1, codec: payload.codec.0, skip: payload.skip }
            })
            .collect();
        let fetch = Live { small, log: FromLog(&self.readers) };
        self.applier
            .apply(&self.conn, &head, lines.key.as_ref(), &lines.lines, &places, &fetch)
            .map_err(apply_error)?;
        if let Some(Guard { session, claim: Claim::New, .. }) = &work.guard
            && let Some(row) = self.applier.session(&self.conn, session).map_err(sql_error)?
        {
            self.holder.write(&self.conn, row.sid, 1, head.at).map_err(sql_error)?;
        }
        let digest = lines.digest(&head);
        Ok((head, digest))
    }

    /// Lease, place in the session's log, batch key.
    fn may_write(&mut self, guard: &Guard, work: &Work) -> Result<(), CommitError> {
        let session = &guard.session;
        let row = self.applier.session(&self.conn, session).map_err(sql_error)?;
        let (fence, row) = match (&guard.claim, row) {
            (Claim::New, None) => return Ok(()),
            (Claim::New, Some(_)) => return Err(CommitError::Conflict(format!("session {session} exists already"))),
            (Claim::Lease(_), None) => return Err(CommitError::Missing { what: format!("session {session}") }),
            (Claim::Lease(fence), Some(row)) => (*fence, row),
        };
        let lease = self.holder.read(&self.conn, row.sid).map_err(sql_error)?;
        let held = lease.as_ref().is_some_and(|lease| lease.holder == self.holder.id() && lease.fence == fence);
        if !held && !sabotage::is(Sabotage::Lease) {
            let holder = lease.map(|lease| lease.who).filter(|who| !who.is_empty());
            return Err(CommitError::LeaseLost {
                session: session.clone(),
                holder: holder.unwrap_or_else(|| "nobody".to_owned()),
            });
        }
        if let Some(key) = &work.lines.key
            && let Some(found) = KeyRow::find(&self.conn, row.sid, &key.key).map_err(sql_error)?
        {
            return Err(found.refusal(key));
        }
        if row.last_event + 1 != guard.first_event.0 || row.digest != guard.before {
            return Err(CommitError::Behind { session: session.clone() });
        }
        Ok(())
    }

    /// Appends the group's frames, syncs them once, and commits the rows.
    fn finish(&mut self, filled: Filled, members: &[Member]) -> Result<(), Fault> {
        let Filled { adopted, start, mut meta, .. } = filled;
        if members.is_empty() {
            if !adopted {
                return stmt::run(&self.conn, stmt::meta::ROLLBACK).map_err(sql_fault);
            }
            meta.write(&self.conn).map_err(sql_fault)?;
            stmt::run(&self.conn, stmt::meta::COMMIT).map_err(sql_fault)?;
            self.proven = Some(meta.clone());
            self.meta = meta;
            return Ok(());
        }
        let payloads = members.iter().flat_map(|m| m.pending.work.frames());
        let mut frames: Vec<FrameRef<'_>> =
            payloads.map(|(codec, body)| FrameRef { kind: Kind::Payload, codec: codec.0, body }).collect();
        frames.extend(members.iter().map(|m| FrameRef { kind: Kind::Commit, codec: 0, body: &m.body }));
        let bytes: u64 = frames.iter().map(|f| FRAME_HEADER_LEN + f.body.len() as u64).sum();
        meta.end = Position::new(start.segment, start.offset + bytes);
        // All pages but the last of hw_tx, which says where the log ends, go to SQLite's WAL now: a disk that fills is
        // then found before the log grows, and nothing is of unknown outcome. COMMIT writes that one page.
        self.conn.cache_flush().map_err(sql_fault)?;
        for member in members {
            level::add_tx(&self.conn, &member.head).map_err(sql_fault)?;
        }
        meta.write(&self.conn).map_err(sql_fault)?;
        // The first tx of the group names it.
        let group = members.first().map_or(0, |m| m.head.tx.0);
        if sabotage::is(Sabotage::CommitFirst) {
            stmt::run(&self.conn, stmt::meta::COMMIT).map_err(sql_fault)?;
        }
        let appended = self.log.append(start, group, &frames).map_err(|error| match error {
            AppendError::Unknown { source } => {
                self.poison = Some(Poison::Failure(format!("a sync failed: {source}")));
                Fault::Unknown { what: "the log could not be synced", source: Arc::new(source) }
            }
            error => append_fault(error),
        })?;
        if appended.end != meta.end {
            self.poison = Some(Poison::Failure(format!("the log ends at {}, not {}", appended.end, meta.end)));
            let source = std::io::Error::other("the group was appended elsewhere");
            return Err(Fault::Unknown { what: "the log grew unexpectedly", source: Arc::new(source) });
        }
        if !self.conn.is_autocommit()
            && let Err(error) = stmt::run(&self.conn, stmt::meta::COMMIT)
        {
            // Durable, and not visible until the next writer or opening adopts it.
            self.poison = Some(Poison::Failure(format!("the database could not commit: {error}")));
            return Err(Fault::Unknown { what: "the database could not commit", source: Arc::new(error) });
        }
        self.proven = Some(meta.clone());
        self.meta = meta;
        Ok(())
    }
}

/// How the commits of a group are applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Each {
    /// As they come: a failure is the whole group's.
    Trusted,
    /// So that one that fails leaves nothing.
    InSavepoint,
}

/// A group being filled.
struct Filled {
    adopted: bool,
    /// Where the group's first frame goes.
    start: Position,
    meta: Meta,
}

impl Filled {
    /// Where the next commit's payload frames go: all payload frames of a group stand before its commits.
    fn payload_end(&self, members: &[Member]) -> Position {
        let frames = members.iter().flat_map(|m| m.pending.work.frames());
        let before: u64 = frames.map(|(_, body)| FRAME_HEADER_LEN + body.len() as u64).sum();
        Position::new(self.start.segment, self.start.offset + before)
    }
}

/// Roots and display text of the group under way.
type Small = HashMap<Digest, Arc<[u8]>>;

/// Payloads of the group under way, then those in the log.
struct Live<'a> {
    small: &'a Small,
    log: FromLog<'a>,
}

impl Fetch for Live<'_> {
    fn fetch(&self, digest: &Digest, place: &BlobPlace) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        match self.small.get(digest) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => self.log.fetch(digest, place),
        }
    }
}

fn sql_fault(error: rusqlite::Error) -> Fault {
    Fault::Plain(sql_error(error))
}

pub(super) fn sql_error(error: rusqlite::Error) -> CommitError {
    if fault::is_full(&error) {
        return CommitError::Full(Arc::new(error));
    }
    // One that SQLite calls corrupt is told by what the disk says.
    CommitError::Failed { what: "the database could not be written".to_owned(), source: Arc::new(error) }
}

fn apply_error(error: ApplyError) -> CommitError {
    match error {
        ApplyError::Conflict(why) => CommitError::Conflict(why),
        ApplyError::Missing(what) => CommitError::Missing { what },
        ApplyError::Contradicts(what) => CommitError::Damaged(what),
        ApplyError::Newer(what) => CommitError::NewerFormat(what),
        ApplyError::Sql(error) => sql_error(error),
        error if is_refusal(&error) => CommitError::Failed {
            what: "the commit could not read what it builds on".to_owned(),
            source: Arc::new(error),
        },
        ApplyError::Payload(error) => CommitError::Damaged(error.to_string()),
    }
}

pub(super) fn lock_error(error: LockError) -> CommitError {
    CommitError::Failed { what: "the write lock could not be taken".to_owned(), source: Arc::new(error) }
}

fn lock_fault(error: LockError) -> Fault {
    Fault::Plain(lock_error(error))
}

pub(super) fn level_error(error: LevelError) -> CommitError {
    if error.is_full() {
        return CommitError::Full(Arc::new(error));
    }
    if let Some(what) = error.newer() {
        return CommitError::NewerFormat(what);
    }
    if error.is_damage() && !is_corrupt(&error) {
        return CommitError::Damaged(super::error::chain(&error));
    }
    CommitError::Failed { what: "the rows could not be brought level with the log".to_owned(), source: Arc::new(error) }
}

fn level_fault(error: LevelError) -> Fault {
    Fault::Plain(level_error(error))
}

fn append_fault(error: AppendError) -> Fault {
    Fault::Plain(match error {
        AppendError::Plain { source } if is_full(&source) => CommitError::Full(Arc::new(source)),
        AppendError::GroupTooLarge { bytes, limit } => {
            CommitError::Invalid(format!("the batch takes {bytes} bytes, {limit} is the limit"))
        }
        AppendError::NotAtEnd { .. } => CommitError::Damaged(super::error::chain(&error)),
        error => CommitError::Failed { what: "the log could not be written".to_owned(), source: Arc::new(error) },
    })
}

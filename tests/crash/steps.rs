//! The steps of which the children's work is made: each commits, and notes what was acknowledged.

use std::path::Path;

use headwater::care::{self, BackupError};
use headwater::exchange;
use headwater::model::{CallType, Digest, HeadId, Role, SessionId, Status};
use headwater::store::error::{CommitError, OpenError, ReadError, SessionOpenError};
use headwater::store::{NewMessage, NewSession, Options, Session, Store};

use super::acks::{Ack, Acks};
use super::tools::Random;

/// How a step failed: noted already.
#[derive(Debug)]
pub struct Failure {
    pub kind: &'static str,
    pub text: String,
}

impl Failure {
    pub fn other(error: impl std::fmt::Debug) -> Failure {
        Failure { kind: "other", text: format!("{error:?}") }
    }
}

/// One child at work.
pub struct Work {
    pub root: std::path::PathBuf,
    pub acks: Acks,
    /// The round, worker or size: what the scenario makes of it.
    pub arg: u64,
}

pub fn id(name: &str) -> SessionId {
    name.parse().unwrap()
}

/// What is read at a head: it must read the same for ever.
pub fn seen(store: &Store, session: &SessionId, head: &HeadId) -> Result<Digest, ReadError> {
    let view = store.view_at(session, head)?;
    Ok(Digest::of(format!("{:?}", view.rows).as_bytes()))
}

impl Work {
    pub fn open(&self, options: Options) -> Result<Store, Failure> {
        self.noted("open", Store::open_with(&self.root, options), open_kind)
    }

    pub fn noted<T, E: std::fmt::Debug>(
        &self,
        what: &str,
        result: Result<T, E>,
        kind: impl Fn(&E) -> &'static str,
    ) -> Result<T, Failure> {
        result.map_err(|error| {
            let text = format!("{what}: {error:?}");
            let kind = kind(&error);
            self.acks.note(&Ack::Failed { what: what.to_owned(), kind: kind.to_owned() });
            Failure { kind, text }
        })
    }

    /// The same for what is committed without a session's handle: after an unknown outcome nothing more is written.
    fn noted_on<T, E: std::fmt::Debug>(
        &self,
        store: &Store,
        what: &str,
        result: Result<T, E>,
        kind: impl Fn(&E) -> &'static str,
    ) -> Result<T, Failure> {
        if result.as_ref().is_err_and(|error| kind(error) == "unknown") {
            let next = store.blobs().put(format!("after an unknown {what}").as_bytes());
            assert!(matches!(next, Err(CommitError::Poisoned(_))), "{what} of unknown outcome, then {next:?}");
        }
        self.noted(what, result, kind)
    }

    /// A new session.
    pub fn create(&self, store: &Store, name: &str) -> Result<Session, Failure> {
        let mut new = NewSession::named(id(name));
        new.alias = Some(id(&format!("{name}-alias")));
        new.title = Some(format!("the title of {name}"));
        let session = self.noted_on(store, "create", store.create_session(new), session_kind)?;
        self.opened(session)
    }

    pub fn fork(&self, store: &Store, head: &HeadId, name: &str) -> Result<Session, Failure> {
        let session = self.noted_on(store, "fork", store.fork(head, NewSession::named(id(name))), session_kind)?;
        self.opened(session)
    }

    /// Goes on with a session, from its current head or an older one.
    pub fn resume(&self, store: &Store, name: &str, head: Option<&HeadId>) -> Result<Session, Failure> {
        let session = self.noted_on(store, "resume", store.resume(&id(name), head), session_kind)?;
        self.opened(session)
    }

    fn opened(&self, session: Session) -> Result<Session, Failure> {
        let events = session.counters().event;
        self.acks.note(&Ack::Events { session: session.id().clone(), events });
        Ok(session)
    }

    /// One commit of several marks and a message, all with the same payload of `len` bytes.
    pub fn batch(&self, session: &Session, name: &str, marks: u64, len: usize) -> Result<(), Failure> {
        let payload = payload(session.id(), name, len);
        let written = session.write(|batch| {
            let digest = batch.put(&payload);
            let first = batch.counters().event + 1;
            for mark in 0..marks {
                batch.add_annotation(&format!("batch/{name}/{mark}/{marks}"), None, Some(digest))?;
            }
            batch.add_message(NewMessage::new(Role::User, format!("{name} says {first}")))?;
            Ok((first, digest))
        });
        let (first, payload) = self.committed(session, name, written)?;
        self.acks.note(&Ack::Batch { session: session.id().clone(), name: name.to_owned(), first, marks, payload });
        Ok(())
    }

    /// A turn with a call, in three commits, sealed.
    pub fn turn(&self, session: &Session, name: &str) -> Result<HeadId, Failure> {
        let turn = self.committed(session, name, session.begin_turn(&format!("{name}?")))?;
        self.events(session);
        let call = self.committed(
            session,
            name,
            session.write(|batch| {
                let request = batch.put(format!("request of {name}").as_bytes());
                batch.begin_call(CallType::Root, |row| row.request = Some(request))
            }),
        )?;
        self.events(session);
        let head = self.committed(
            session,
            name,
            session.write(|batch| {
                let answer = batch.put(format!("answer of {name}").as_bytes());
                batch.update_call(call, |row| {
                    row.status = Status::OK;
                    row.response = Some(answer);
                })?;
                batch.update_turn(turn, |row| {
                    row.status = Status::FINAL;
                    row.final_value = Some(answer);
                })?;
                batch.seal()
            }),
        )?;
        self.head(session, head)
    }

    pub fn seal(&self, session: &Session) -> Result<HeadId, Failure> {
        let head = self.committed(session, "seal", session.seal())?;
        self.head(session, head)
    }

    pub fn compact(&self, session: &Session, keep: usize) -> Result<HeadId, Failure> {
        let head = self.committed(session, "compact", session.compact("what came before", keep))?;
        self.head(session, head)
    }

    /// A payload by itself.
    pub fn payload(&self, store: &Store, name: &str, len: usize) -> Result<Digest, Failure> {
        let bytes = payload(&id("alone"), name, len);
        let digest = self.noted_on(store, "payload", store.blobs().put_from(bytes.as_slice()), commit_kind)?;
        self.acks.note(&Ack::Payload { digest, len: len as u64 });
        Ok(digest)
    }

    pub fn imported(&self, store: &Store, name: &str, file: &Path) -> Result<exchange::Imported, Failure> {
        self.noted_on(store, name, exchange::import(store, file), |error| match error {
            exchange::ImportError::Commit(error) => commit_kind(error),
            exchange::ImportError::Open(error) => session_kind(error),
            exchange::ImportError::Read(_) => "read",
            _ => "other",
        })
    }

    /// A backup, beside the store.
    pub fn backup(&self, name: &str) -> Result<(), Failure> {
        self.copy(name, |to| care::backup(&self.root, to))
    }

    /// A store made from a backup, beside the store.
    pub fn restored(&self, from: &str, name: &str) -> Result<(), Failure> {
        self.copy(name, |to| care::restore(&self.root.with_file_name(from), to))
    }

    fn copy(
        &self,
        name: &str,
        copy: impl FnOnce(&Path) -> Result<care::BackupReport, BackupError>,
    ) -> Result<(), Failure> {
        self.acks.note(&Ack::Copying { name: name.to_owned() });
        let made = copy(&self.root.with_file_name(name));
        self.noted(name, made, |error| match error {
            BackupError::Full { .. } => "full",
            BackupError::Io { .. } => "io",
            BackupError::Damaged(_) | BackupError::Unverified(_) => "damaged",
            _ => "other",
        })?;
        self.acks.note(&Ack::Copied { name: name.to_owned() });
        Ok(())
    }

    pub fn alias(&self, store: &Store, name: &str, session: &str) -> Result<(), Failure> {
        self.noted_on(store, "alias", store.set_alias(&id(name), &id(session)), commit_kind)
    }

    fn head(&self, session: &Session, head: HeadId) -> Result<HeadId, Failure> {
        self.events(session);
        let seen = self.noted("read", seen(session.store(), session.id(), &head), |_| "read")?;
        self.acks.note(&Ack::Head { session: session.id().clone(), head, seen });
        Ok(head)
    }

    pub fn events(&self, session: &Session) {
        self.acks.note(&Ack::Events { session: session.id().clone(), events: session.counters().event });
    }

    /// Notes how a commit failed, and that what comes after an unknown outcome is refused.
    pub fn committed<T>(&self, session: &Session, name: &str, result: Result<T, CommitError>) -> Result<T, Failure> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        self.acks.note(&Ack::Failed { what: "commit".to_owned(), kind: commit_kind(&error).to_owned() });
        if let CommitError::Unknown { session: of, first_event, digest, .. } = &error {
            let unknown = Ack::Unknown {
                session: of.clone().unwrap_or_else(|| session.id().clone()),
                first: first_event.map_or(0, |event| event.0),
                digest: digest.unwrap_or(Digest::ZERO),
                name: name.to_owned(),
            };
            self.acks.note(&unknown);
            for _ in 0..2 {
                let next = session.add_annotation("after/unknown", None);
                assert!(
                    matches!(next, Err(CommitError::Poisoned(_))),
                    "a commit after one of unknown outcome ended so: {next:?}"
                );
            }
        }
        Err(Failure { kind: commit_kind(&error), text: format!("{name}: {error:?}") })
    }

    /// Gives the lease back, then the store; a last WAL checkpoint that fails loses nothing.
    pub fn close(&self, store: Store) -> Result<(), Failure> {
        self.noted("close", store.close(), open_kind)
    }
}

/// The bytes that the batch of that name carries: other for each.
fn payload(session: &SessionId, name: &str, len: usize) -> Vec<u8> {
    let mut bytes = format!("{session}/{name}:").into_bytes();
    let seed = bytes.iter().fold(len as u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    bytes.extend(Random(seed).bytes(len.saturating_sub(bytes.len())));
    bytes
}

pub fn open_kind(error: &OpenError) -> &'static str {
    match error {
        OpenError::Full(_) => "full",
        OpenError::Io { .. } => "io",
        OpenError::InUse { .. } => "in-use",
        OpenError::Damaged { .. } => "damaged",
        _ => "other",
    }
}

pub fn session_kind(error: &SessionOpenError) -> &'static str {
    match error {
        SessionOpenError::Commit(error) => commit_kind(error),
        SessionOpenError::Read(_) => "read",
        SessionOpenError::LeaseHeld { .. } => "lease-held",
        SessionOpenError::Exists { .. } => "exists",
        _ => "other",
    }
}

pub fn commit_kind(error: &CommitError) -> &'static str {
    match error {
        CommitError::Full(_) => "full",
        CommitError::Failed { .. } => "failed",
        CommitError::Unknown { .. } => "unknown",
        CommitError::Poisoned(_) => "poisoned",
        CommitError::Behind { .. } => "behind",
        CommitError::Damaged(_) => "damaged",
        CommitError::Read(_) => "read",
        CommitError::LeaseLost { .. } => "lease-lost",
        _ => "other",
    }
}

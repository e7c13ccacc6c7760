//! A failure: what is printed when a verb cannot do its work. Message, hint, exit code, and a kind for scripts.

use std::error::Error;
use std::io;
use std::path::Path;

use headwater::care::{BackupError, CheckError, RepairError};
use headwater::model::id::BadId;
use headwater::segment::is_full;
use headwater::store::error::{CommitError, OpenError, ReadError, SessionOpenError};
use serde::Serialize;
use serde_json::{Value, json};

/// Why a verb failed. `kind` is part of the documented JSON: see docs/CLI.md.
#[derive(Debug)]
pub struct Failure {
    /// A kebab-case word that scripts may rely on.
    pub kind: &'static str,
    /// What went wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Facts for scripts; an object or null.
    pub details: Value,
    /// The exit code.
    pub code: u8,
}

/// Whoever read our output has enough: not an error, and nothing is printed.
const PIPE_CLOSED: &str = "pipe-closed";

#[derive(Serialize)]
struct Body<'a> {
    kind: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    details: &'a Value,
}

#[derive(Serialize)]
struct Envelope<'a> {
    ok: bool,
    error: Body<'a>,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), hint: None, details: Value::Null, code: 1 }
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With facts for scripts.
    pub fn details(mut self, details: Value) -> Failure {
        self.details = details;
        self
    }

    /// The arguments make no sense together, or a value is malformed.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new("usage", message).hint("headwater help VERB shows what a verb takes")
    }

    /// A file outside the store could not be read.
    pub fn file(path: &Path, error: &io::Error) -> Failure {
        Failure::cannot("read", path, error)
    }

    /// A file or folder outside the store could not be read, made or written: `what`.
    pub fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => "not-found",
            _ if is_full(error) => "disk-full",
            _ => "io",
        };
        Failure::new(kind, format!("cannot {what} {}: {error}", path.display()))
            .details(json!({ "path": path.display().to_string() }))
    }

    /// Whether nothing is to be printed.
    pub fn is_quiet(&self) -> bool {
        self.kind == PIPE_CLOSED
    }

    /// The one JSON object of `--json`.
    pub fn to_json(&self) -> String {
        let error =
            Body { kind: self.kind, message: &self.message, hint: self.hint.as_deref(), details: &self.details };
        // Plain strings and a value into memory: cannot fail.
        serde_json::to_string(&Envelope { ok: false, error }).unwrap_or_default()
    }

    pub fn caused(kind: &'static str, error: &dyn Error) -> Failure {
        let causes = causes(error);
        let mut message = error.to_string();
        if let Some(first) = causes.first() {
            message = format!("{message}: {first}");
        }
        let details = if causes.is_empty() { Value::Null } else { json!({ "causes": causes }) };
        Failure::new(kind, message).details(details)
    }
}

/// The texts of an error's sources, outermost first, each once.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if all.last() != Some(&text) {
            all.push(text);
        }
        next = cause.source();
    }
    all
}

const DAMAGED: &str = "headwater check says what is damaged; nothing was changed";
const AGAIN: &str = "do the same again";
const FULL: &str = "free some space, then do the same again: nothing was changed";

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { code: 0, ..Failure::new(PIPE_CLOSED, "") };
        }
        let kind = if is_full(&error) { "disk-full" } else { "io" };
        Failure::new(kind, format!("cannot write the output: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    /// Of writing JSON to the output: the only place where the command lets this conversion happen.
    fn from(error: serde_json::Error) -> Failure {
        io::Error::from(error).into()
    }
}

impl From<BadId> for Failure {
    fn from(error: BadId) -> Failure {
        Failure::new("bad-id", error.to_string())
            .details(json!({ "what": error.what, "text": error.text, "rule": error.rule }))
    }
}

fn path(path: &Path) -> Value {
    json!({ "path": path.display().to_string() })
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let message = error.to_string();
        match &error {
            OpenError::NotFound { path: at } => no_store("at", at),
            OpenError::NewerFormat { path: at, .. } => Failure::new("newer-format", message)
                .hint("install a newer headwater; nothing was changed")
                .details(path(at)),
            OpenError::Network { path: at, kind } => Failure::new("network-file-system", message)
                .hint("keep the store on a local disk")
                .details(json!({ "path": at.display().to_string(), "file-system": kind })),
            OpenError::Unsafe { path: at, advice, .. } => {
                Failure::new("unsafe", message).hint(advice.clone()).details(path(at))
            }
            OpenError::InUse { path: at, .. } => Failure::new("in-use", message)
                .hint("close the other programs that use this store, then do the same again")
                .details(path(at)),
            OpenError::Damaged { path: at, .. } => Failure::new("damaged", message)
                .hint("headwater check says what is damaged, headwater repair what can be mended; or restore a backup. Nothing was changed")
                .details(path(at)),
            OpenError::Full(_) => Failure::caused("disk-full", &error).hint(FULL),
            _ => Failure::caused("io", &error),
        }
    }
}

/// There is no store where one was looked for: `at` the path, or `at or above` it.
pub fn no_store(place: &str, looked: &Path) -> Failure {
    let looked = looked.display().to_string();
    Failure::new("not-found", format!("there is no store {place} {looked}"))
        .hint(
            "headwater run TASK --script simple --name NAME makes one here, as import does; --store DIR names another",
        )
        .details(json!({ "what": "store", "name": looked }))
}

impl From<SessionOpenError> for Failure {
    fn from(error: SessionOpenError) -> Failure {
        let message = error.to_string();
        match error {
            SessionOpenError::LeaseHeld { session, holder } => Failure::new("lease-held", message)
                .hint("wait until the other writer is done, or stop it: a dead writer's lease is free at once")
                .details(json!({ "session": session, "holder": holder })),
            SessionOpenError::Exists { session } => Failure::new("exists", message)
                .hint(format!("choose another name, or go on with it: headwater resume {session} TASK"))
                .details(json!({ "session": session })),
            SessionOpenError::NoHead(_) => {
                Failure::new("no-head", message).hint("headwater events SESSION shows its checkpoints")
            }
            SessionOpenError::Read(error) => error.into(),
            SessionOpenError::Commit(error) => error.into(),
            _ => Failure::new("error", message),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Failure {
        let message = error.to_string();
        match &error {
            CommitError::Invalid(_) | CommitError::Nested { .. } => Failure::new("invalid", message),
            CommitError::BadId(bad) => bad.clone().into(),
            CommitError::Missing { what } => {
                Failure::new("not-found", message).details(json!({ "what": "reference", "name": what }))
            }
            CommitError::Ephemeral { kind } => Failure::new("ephemeral", message).details(json!({ "type": kind })),
            CommitError::StaleHead { session, expected, found } => Failure::new("stale-head", message)
                .hint("someone else moved it: look at the session, then do the same again")
                .details(json!({ "session": session, "expected": expected, "found": found })),
            CommitError::LeaseLost { session, holder } => Failure::new("lease-lost", message)
                .hint("another writer took the session over; nothing was changed")
                .details(json!({ "session": session, "holder": holder })),
            CommitError::Behind { session } => Failure::new("behind", message).details(json!({ "session": session })),
            CommitError::KeyConflict { session, key } => {
                Failure::new("key-conflict", message).details(json!({ "session": session, "key": key }))
            }
            CommitError::StalePin { name, found } => Failure::new("stale-pin", message)
                .hint("look at the pin, then decide again: headwater pin NAME")
                .details(json!({ "pin": name, "found": found })),
            CommitError::StaleFact { expected, found } => {
                Failure::new("stale-fact", message).details(json!({ "expected": expected, "found": found }))
            }
            CommitError::Conflict(_) => Failure::new("conflict", message).hint("choose another name"),
            CommitError::Full(_) => Failure::caused("disk-full", &error).hint(FULL),
            CommitError::Unknown { session, first_event, digest, .. } => {
                let details = json!({ "session": session, "first-event": first_event, "digest": digest });
                Failure::caused("outcome-unknown", &error)
                    .hint("look at the session before doing it again: the commit may be there")
                    .details(details)
            }
            CommitError::ReadOnly => Failure::new("read-only", message)
                .hint("make its folder writable, or go on in a copy: headwater restore-backup STORE COPY"),
            CommitError::Poisoned(_) => Failure::new("poisoned", message).hint("do the same again"),
            CommitError::Damaged(_) => Failure::new("damaged", message).hint(DAMAGED),
            _ => Failure::caused("io", &error),
        }
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Failure {
        match &error {
            CheckError::NotFound(root) => no_store("at", root),
            CheckError::Newer(_) => {
                Failure::new("newer-format", error.to_string()).hint("install a newer headwater; nothing was changed")
            }
            CheckError::InUse => Failure::new("in-use", error.to_string()).hint("try again when it is done"),
            CheckError::Locked => Failure::new("in-use", error.to_string())
                .hint("close the other programs that use this store, then do the same again"),
            CheckError::Changed => Failure::new("changed", error.to_string()).hint(AGAIN),
            CheckError::Full { .. } => Failure::caused("disk-full", &error).hint(FULL),
            CheckError::NoHead(_) => {
                Failure::new("not-found", error.to_string()).hint("headwater inspect SESSION lists heads")
            }
            _ => Failure::caused("io", &error),
        }
    }
}

impl From<RepairError> for Failure {
    fn from(error: RepairError) -> Failure {
        let error = match error {
            RepairError::Refused(error) => return Failure::from(*error),
            error => error,
        };
        match &error {
            RepairError::NotFound(root) => no_store("at", root),
            RepairError::InUse => Failure::new("in-use", error.to_string())
                .hint("close the other programs that use this store, then do the same again"),
            RepairError::Newer(_) => {
                Failure::new("newer-format", error.to_string()).hint("install a newer headwater; nothing was changed")
            }
            RepairError::Locked => Failure::new("in-use", error.to_string())
                .hint("close the other programs that use this store, then do the same again"),
            RepairError::Full { .. } => Failure::caused("disk-full", &error).hint(FULL),
            RepairError::Inside(_) | RepairError::Rows(_) => {
                Failure::caused("damaged", &error).hint("the store is as it was: copy its folder, and restore a backup")
            }
            _ => Failure::caused("io", &error),
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Failure {
        match &error {
            BackupError::NotFound { what, path } => Failure::new("not-found", error.to_string())
                .details(json!({ "what": what, "name": path.display().to_string() })),
            BackupError::Exists { path, .. } => Failure::new("exists", error.to_string())
                .hint("choose another place")
                .details(json!({ "path": path.display().to_string() })),
            BackupError::Diverged { path, .. } => Failure::new("diverged", error.to_string())
                .hint("choose another place: the backup there is as it was")
                .details(json!({ "path": path.display().to_string() })),
            BackupError::Destination { path, .. } => Failure::new("bad-destination", error.to_string())
                .hint("choose another place: a folder, or a name that ends in .tar")
                .details(json!({ "path": path.display().to_string() })),
            BackupError::Full { .. } => Failure::caused("disk-full", &error).hint(FULL),
            BackupError::InUse => Failure::new("in-use", error.to_string()).hint("try again when it is done"),
            BackupError::Locked => Failure::new("in-use", error.to_string())
                .hint("close the other programs that use this store, then do the same again"),
            BackupError::Damaged(_) | BackupError::Unverified(_) => {
                Failure::new("damaged", error.to_string()).hint("headwater check says what is damaged, and where")
            }
            _ => Failure::caused("io", &error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        let message = error.to_string();
        match &error {
            ReadError::NotFound { what, name } => {
                let failure = Failure::new("not-found", message).details(json!({ "what": what, "name": name }));
                match *what {
                    "session" => failure.hint("headwater ls lists the sessions"),
                    "head" => failure.hint("headwater inspect SESSION lists its heads"),
                    "pin" => failure.hint("headwater pin lists the pins"),
                    "event" => failure.hint("headwater events SESSION lists its events"),
                    "payload" => failure.hint("headwater show SESSION --json names payloads, SESSION@0 a head"),
                    _ => failure,
                }
            }
            ReadError::Ambiguous { what, name, candidates } => Failure::new("ambiguous", message)
                .hint("give more of it")
                .details(json!({ "what": what, "name": name, "candidates": candidates })),
            ReadError::BadId(bad) => bad.clone().into(),
            ReadError::Erased { digest } => Failure::new("erased", message).details(json!({ "ref": digest })),
            ReadError::Damaged { what, .. } => {
                let what = what.clone();
                let failure = Failure::caused("damaged", &error).hint(DAMAGED);
                match failure.details {
                    Value::Object(mut details) => {
                        details.insert("what".to_owned(), Value::String(what));
                        Failure { details: Value::Object(details), ..failure }
                    }
                    _ => failure.details(json!({ "what": what })),
                }
            }
            ReadError::Changed => Failure::new("changed", message).hint(AGAIN),
            ReadError::Database(_) => Failure::caused("database", &error).hint(DAMAGED),
            _ => Failure::caused("io", &error),
        }
    }
}

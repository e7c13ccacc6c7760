//! A session's files as they are now: read once before its import, to see what is new, and in which order its messages stand.
//! What is remembered grows with the number of files, not with what is in them.

use std::collections::{HashMap, HashSet};

use super::record::{Message, Part, Session};
use super::tree::Tree;
use super::walk::{self, Bytes, Odd, is_plain, stem};
use crate::exchange::ImportError;
use crate::model::{Digest, Timestamp};

/// A file, and the hash of its bytes.
pub struct File {
    pub name: String,
    pub digest: Digest,
    pub what: What,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message, or a part of one.
    Said,
    /// One of no row: the type of the annotation that it becomes.
    Noted(&'static str),
    /// One that cannot be understood: why.
    Bad(String),
    /// One of the whole project's or storage's: no news by itself.
    Common,
}

/// A message and its parts.
pub struct Unit {
    pub id: String,
    pub is_user: bool,
    pub at: Option<Timestamp>,
    pub parent: Option<String>,
    /// The first message that a compaction in it keeps.
    pub tail: Option<String>,
    /// The place of its own file, and how many files it has with those of its parts, which follow.
    pub first: usize,
    pub count: usize,
    /// The hash of all that rows are made of.
    pub meaning: Digest,
}

/// What there is of a session.
pub struct Survey {
    pub files: Vec<File>,
    /// In the order of their history.
    pub units: Vec<Unit>,
    /// The hash of what the first messages mean: of none, of one, and so on.
    pub chains: Vec<Digest>,
    /// Where the session was taken back to: so many messages count.
    pub reverted_to: Option<usize>,
    pub title: Option<String>,
    /// Sessions that tools opened.
    pub opened: HashSet<String>,
    pub odd: Odd,
    names: HashSet<String>,
    /// Whether any file of the session's own could be read.
    pub is_known: bool,
}

/// The hash of no message.
pub const NONE: Digest = Digest([0; 32]);

/// That of the messages before and this one.
pub fn chained(before: Digest, id: &str, meaning: Digest) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0).update(&meaning.0).update(id.as_bytes());
    Digest(*hasher.finalize().as_bytes())
}

fn put(hasher: &mut blake3::Hasher, fields: &[Option<&str>]) {
    for field in fields {
        let text = field.unwrap_or_default();
        hasher.update(&[u8::from(field.is_some())]).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
}

impl Survey {
    pub fn of(tree: &Tree) -> Result<Survey, ImportError> {
        let mut survey = Survey {
            files: Vec::new(),
            units: Vec::new(),
            chains: vec![NONE],
            reverted_to: None,
            title: None,
            opened: HashSet::new(),
            odd: Odd::new(),
            names: HashSet::new(),
            is_known: false,
        };
        let io = |source| ImportError::Io { path: tree.root.clone(), source };
        let (mut revert, mut project) = (None, None);
        for (name, number) in tree.files.iter().zip(0..) {
            let Some(read) = walk::read(&tree.root, name)? else { continue };
            let session = read.bytes.as_deref().map(Session::read);
            let what = match session {
                Some(Ok(session)) if number == 0 => {
                    survey.title = session.title();
                    (revert, project) = (session.reverted_to(), session.project());
                    survey.is_known = true;
                    What::Noted("opencode/session")
                }
                Some(Ok(_)) => {
                    survey
                        .odd("repeated-id", format!("{name} is of the same session as another file: the first counts"));
                    What::Noted("opencode/repeated")
                }
                bad => survey.bad(name, bad.and_then(Result::err)),
            };
            survey.files.push(File { name: name.clone(), digest: read.digest, what });
        }
        if tree.files.is_empty() {
            survey.odd("missing-session", format!("the messages of {} have no session", tree.id));
        }
        let mut ids = HashSet::new();
        for name in walk::list(&tree.root, &format!("message/{}", tree.id), false, &mut survey.odd).map_err(io)? {
            survey.message(tree, name, &mut ids)?;
        }
        for folder in tree.parts.iter().filter(|folder| !ids.contains(stem(folder))) {
            survey.odd("missing-message", format!("the parts in {folder} have no message"));
            for name in walk::list(&tree.root, folder, false, &mut survey.odd).map_err(io)? {
                if let Some(read) = walk::read(&tree.root, &name)? {
                    survey.files.push(File { name, digest: read.digest, what: What::Noted("opencode/part") });
                }
            }
        }
        let project =
            project.filter(|project| is_plain(project)).map(|id| (format!("project/{id}.json"), What::Common));
        let beside = [
            Some((format!("session_diff/{}.json", tree.id), What::Noted("opencode/session_diff"))),
            Some((format!("todo/{}.json", tree.id), What::Noted("opencode/todo"))),
            project,
            Some(("migration".to_owned(), What::Common)),
        ];
        for (name, what) in beside.into_iter().flatten() {
            if let Some(read) = walk::read(&tree.root, &name)? {
                survey.files.push(File { name, digest: read.digest, what });
            }
        }
        survey.order();
        survey.names = survey.files.iter().map(|file| file.name.clone()).collect();
        if let Some(id) = revert {
            survey.reverted_to = survey.units.iter().position(|unit| unit.id == id);
            if survey.reverted_to.is_none() {
                survey.odd("missing-message", format!("the session was taken back to {id:?}, which is not there"));
            }
        }
        Ok(survey)
    }

    fn odd(&mut self, kind: &'static str, message: String) {
        self.odd.push((kind, message));
    }

    /// What cannot be understood. A file that is too long to be read is kept as one.
    fn bad(&mut self, name: &str, why: Option<String>) -> What {
        match why {
            Some(why) => {
                self.odd("bad-record", format!("{name} cannot be understood, and is kept as it is: {why}"));
                What::Bad(why)
            }
            None => {
                self.odd("line-too-long", format!("{name} is too long to be read: it is kept as it is"));
                What::Noted("import/long-line")
            }
        }
    }

    /// Takes in a message with its parts.
    fn message(&mut self, tree: &Tree, name: String, ids: &mut HashSet<String>) -> Result<(), ImportError> {
        let Some(Bytes { bytes, digest }) = walk::read(&tree.root, &name)? else { return Ok(()) };
        let message = match bytes.as_deref().map(Message::read) {
            Some(Ok(message)) => message,
            bad => {
                let what = self.bad(&name, bad.and_then(Result::err));
                self.files.push(File { name: name.clone(), digest, what });
                let id = stem(&name).to_owned();
                return if ids.insert(id.clone()) { self.strays(tree, &id) } else { Ok(()) };
            }
        };
        self.is_known = true;
        let id = message.id().filter(|id| is_plain(id)).unwrap_or_else(|| stem(&name).to_owned());
        if !ids.insert(id.clone()) {
            self.odd("repeated-id", format!("{name} has the id of another message: the first counts"));
            self.files.push(File { name, digest, what: What::Noted("opencode/repeated") });
            return Ok(());
        }
        let mut hasher = blake3::Hasher::new();
        put(&mut hasher, &message.meaning());
        hasher.update(&[u8::from(message.is_over())]);
        let mut unit = Unit {
            is_user: message.is_user(),
            at: message.created(),
            parent: message.parent(),
            tail: None,
            first: self.files.len(),
            count: 1,
            meaning: NONE,
            id,
        };
        self.files.push(File { name, digest, what: What::Said });
        self.parts(tree, &mut unit, &mut hasher)?;
        unit.meaning = Digest(*hasher.finalize().as_bytes());
        self.units.push(unit);
        Ok(())
    }

    fn parts(&mut self, tree: &Tree, unit: &mut Unit, hasher: &mut blake3::Hasher) -> Result<(), ImportError> {
        let io = |source| ImportError::Io { path: tree.root.clone(), source };
        let (mut ids, mut others) = (HashSet::new(), Vec::new());
        for name in walk::list(&tree.root, &format!("part/{}", unit.id), false, &mut self.odd).map_err(io)? {
            let Some(Bytes { bytes, digest }) = walk::read(&tree.root, &name)? else { continue };
            let part = match bytes.as_deref().map(Part::read) {
                Some(Ok(part)) => part,
                bad => {
                    let what = self.bad(&name, bad.and_then(Result::err));
                    others.push(File { name, digest, what });
                    continue;
                }
            };
            if part.session().is_some_and(|session| session != tree.id) {
                // Another session has a message of that name.
                self.odd("other-session", format!("{name} says that it is of another session, and is passed over"));
                continue;
            }
            let id = part.id().unwrap_or_else(|| stem(&name).to_owned());
            if !ids.insert(id) {
                self.odd("repeated-id", format!("{name} has the id of another part of its message: the first counts"));
                others.push(File { name, digest, what: What::Noted("opencode/repeated") });
                continue;
            }
            put(hasher, &[part.kind().as_deref(), Some(stem(&name))]);
            match part.meaning() {
                Some(meaning) => put(hasher, &meaning),
                None => drop(hasher.update(&digest.0)),
            }
            unit.tail = unit.tail.take().or_else(|| part.tail());
            self.opened.extend(part.state().child());
            unit.count += 1;
            self.files.push(File { name, digest, what: What::Said });
        }
        self.files.extend(others);
        Ok(())
    }

    /// The parts of a message that cannot be understood.
    fn strays(&mut self, tree: &Tree, id: &str) -> Result<(), ImportError> {
        let io = |source| ImportError::Io { path: tree.root.clone(), source };
        for name in walk::list(&tree.root, &format!("part/{id}"), false, &mut self.odd).map_err(io)? {
            let Some(Bytes { bytes, digest }) = walk::read(&tree.root, &name)? else { continue };
            let session = bytes.as_deref().and_then(|bytes| Part::read(bytes).ok()?.session());
            if session.is_none_or(|session| session == tree.id) {
                self.files.push(File { name, digest, what: What::Noted("opencode/part") });
            }
        }
        Ok(())
    }

    /// Puts the messages in order: by time and id, an answer behind what it answers.
    fn order(&mut self) {
        let key = |unit: &Unit| (unit.at.map_or(i64::MAX, Timestamp::micros), unit.id.clone());
        let keys: HashMap<String, (i64, String)> =
            self.units.iter().filter(|unit| unit.is_user).map(|unit| (unit.id.clone(), key(unit))).collect();
        let mut moved = Vec::new();
        self.units.sort_by_cached_key(|unit| {
            let own = key(unit);
            match unit.parent.as_ref().and_then(|parent| keys.get(parent)) {
                Some((at, parent)) if !unit.is_user && (*at, parent) > (own.0, &own.1) => {
                    moved.push(unit.id.clone());
                    (*at, parent.clone(), Some(own))
                }
                _ => (own.0, own.1, None),
            }
        });
        for id in moved {
            self.odd("out-of-order", format!("the answer {id} is older than what it answers: it stands behind it"));
        }
        for unit in &self.units {
            let before = self.chains.last().copied().unwrap_or(NONE);
            self.chains.push(chained(before, &unit.id, unit.meaning));
        }
    }
}

impl Survey {
    /// Whether there is a file of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

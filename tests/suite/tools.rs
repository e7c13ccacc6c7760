//! What several modules use.

use headwater::model::{HeadId, Role, Status};
use headwater::store::{CommitError, NewMessage, NewSession, Options, Session, Store};

/// A store in a fresh folder.
pub struct Fresh {
    pub folder: tempfile::TempDir,
    pub store: Store,
}

pub fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    Fresh { folder, store }
}

/// A store on which a story is told: the contract holds wherever it lies.
pub struct Home {
    pub store: Store,
    pub folder: Option<tempfile::TempDir>,
}

pub fn on_disk(options: Options) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_with(folder.path().join("store"), options).unwrap();
    Home { store, folder: Some(folder) }
}

pub fn in_memory(options: Options) -> Home {
    Home { store: Store::in_memory_with(options).unwrap(), folder: None }
}

/// Each story as two tests: on a disk and in memory.
macro_rules! on_both {
    ($($story:ident)*) => {
        mod on_disk {
            $(#[test] fn $story() { super::$story(&|options| crate::tools::on_disk(options)); })*
        }
        mod in_memory {
            $(#[test] fn $story() { super::$story(&|options| crate::tools::in_memory(options)); })*
        }
    };
}
pub(crate) use on_both;

/// Makes a store for a story.
pub type Make<'a> = &'a dyn Fn(Options) -> Home;

pub fn new(name: &str) -> NewSession {
    NewSession::named(name.parse().unwrap())
}

pub fn named(store: &Store, name: &str) -> Session {
    store.create_session(new(name)).unwrap()
}

/// One turn: a question, a call, an answer, a final value, a head.
pub fn turn(session: &Session, question: &str, answer: &str) -> Result<HeadId, CommitError> {
    let turn = session.begin_turn(question)?;
    let call = session.write(|batch| {
        let request = batch.put(question.as_bytes());
        batch.begin_call(headwater::model::CallType::Root, |row| row.request = Some(request))
    })?;
    session.write(|batch| {
        let response = batch.put(answer.as_bytes());
        batch.update_call(call, |row| {
            row.status = Status::OK;
            row.response = Some(response);
            row.tokens_output = Some(3);
        })?;
        batch.add_message(NewMessage::new(Role::Assistant, answer).turn(turn).call(call))
    })?;
    session.write(|batch| {
        let value = batch.put(answer.as_bytes());
        batch.update_turn(turn, |row| {
            row.status = Status::FINAL;
            row.final_value = Some(value);
        })?;
        batch.seal()
    })
}

//! A durable store for agent and LLM sessions: every fact of a session kept, the exact state of any head given back, the cause
//! of each fact known, and nothing lost that was acknowledged.
//!
//! It is an embedded library, and a command of the same name. It is no server and no agent: it calls no model and runs no
//! code. Events carry results, never recipes.
//!
//! ```
//! use headwater::model::{Role, Status};
//! use headwater::store::{NewSession, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let root = folder.path().join(".headwater");
//! let store = Store::open(&root)?;
//! let session = store.create_session(NewSession::named("demo".parse()?))?;
//!
//! let turn = session.begin_turn("what is 2 + 2?")?; // on disk when this returns
//! session.add_message(Role::Assistant, "4").turn(turn).commit()?;
//! let head = session.write(|batch| {
//!     let answer = batch.put(b"4");
//!     batch.update_turn(turn, |row| {
//!         row.status = Status::FINAL;
//!         row.final_value = Some(answer);
//!     })?;
//!     batch.seal()
//! })?;
//!
//! let fork = store.fork(&head, NewSession::named("demo-2".parse()?))?; // no row is copied
//! assert_eq!(fork.view()?.rows.messages.len(), 2);
//! for event in store.events(session.id())? {
//!     println!("{} {}", event.number, event.body.kind());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! *Recorded* survives the death of the process, *durable* the loss of power. A commit that returned is durable, whole, and at the
//! one place in its session's order that its numbers say; a second writer of a session is refused by name; a head reads the same for
//! ever. A failed commit left nothing behind, unless it is
//! [`CommitError::Unknown`](store::CommitError::Unknown), of which the log decides.
//!
//! # Limits
//!
//! Linux, local file systems ([`OpenError::Network`](store::OpenError::Network)). Calls block; [`Session::submit`](store::Session::submit)
//! gives a ticket that is also a `Future`, and no runtime is needed. A batch takes less than 1 GiB in the log. One handle writes a session; its
//! clones share it.
//!
//! # The house
//!
//! [`store`] is where to begin: open, create, resume, fork, read, subscribe. [`view`] is what reading gives, [`model`] the entities and
//! their one JSON form, [`care`] the proof that a store is whole, [`exchange`] the session logs of other programs. Below lie [`journal`]
//! (commits), [`blob`] (payloads) and [`segment`] (frames in files): for tools that look at the log itself. Floors, the way of a commit
//! and what a crash leaves are in `docs/ARCHITECTURE.md`, the disk in `docs/FORMAT.md`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod blob;
pub mod care;
pub mod clock;
pub mod exchange;
pub mod journal;
pub mod model;
pub mod progress;
pub mod segment;
mod sqlite;
pub mod store;
pub mod view;

/// The README's program is compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Puts a disk as a power loss leaves it into a folder, opens the store on it, and says whether all is well.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use headwater::model::Digest;
use headwater::store::{OpenReport, Options, Store};

use super::super::acks::Ack;
use super::super::copies;
use super::super::note::note;
use super::super::verify::{Sessions, events_of_all, look_for, read_all, sound, write_again};
use super::volume::State;

/// What was found, when all is well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    pub adopted: bool,
    pub rebuilt: bool,
    pub in_full: bool,
    pub looked_for: usize,
}

/// The stores of one scenario that were judged in full: what their sessions hold, and how they came to it.
#[derive(Default)]
pub struct Known(Mutex<HashSet<(Digest, bool, bool)>>);

/// Writes the files of `state` below `folder`.
pub fn lay_out(state: &State, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in &state.folders {
        fs::create_dir(folder.join(name))?;
    }
    for (name, content) in &state.files {
        fs::write(folder.join(name), content.bytes.as_slice())?;
    }
    for root in &state.vouched {
        fs::write(folder.join(root).join("mark"), note(&folder.join(root).join("store.sqlite")))?;
    }
    Ok(())
}

/// Opens the store in `folder`: all that was acknowledged is there. In full, which is when nobody came to the same
/// events in the same way before, or if `thorough`: nothing is half there, a deep check finds nothing; closed and opened
/// again the store is trusted, and reads the same; every session can be written.
pub fn judge(folder: &Path, acks: &[Ack], known: &Known, thorough: bool) -> Result<Found, String> {
    let root = folder.join("store");
    if thorough {
        copies::one_now(&root, acks)?;
    }
    let store = open(&root)?;
    let report = store.report().clone();
    let sessions = events_of_all(&store)?;
    for ack in acks {
        look_for(&store, &sessions, ack)?;
    }
    let (adopted, rebuilt) = (report.adopted > 0, report.rebuilt.is_some());
    let way = (Digest::of(format!("{sessions:?}").as_bytes()), adopted, rebuilt);
    let in_full = known.0.lock().unwrap().insert(way) || thorough;
    if in_full {
        whole(&root, store)?;
    }
    copies::hold(&root, acks, in_full)?;
    Ok(Found { adopted, rebuilt, in_full, looked_for: acks.len() })
}

fn whole(root: &Path, store: Store) -> Result<(), String> {
    sound(root)?;
    let first = content(&store, &read_all(&store)?)?;
    store.close().map_err(|error| format!("the store does not close: {error:?}"))?;
    let store = open(root)?;
    let OpenReport { rebuilt: None, adopted: 0, .. } = store.report() else {
        return Err(format!("closed cleanly, and opened again with {:?}", store.report()));
    };
    let sessions = read_all(&store)?;
    if content(&store, &sessions)? != first {
        return Err("the second opening reads otherwise than the first".to_owned());
    }
    write_again(&store, sessions.keys())?;
    sound(root)?;
    store.close().map_err(|error| format!("the store does not close again: {error:?}"))
}

fn open(root: &Path) -> Result<Store, String> {
    Store::open_with(root, Options { readers: 1, ..Options::default() })
        .map_err(|error| format!("the store does not open: {error:?}"))
}

fn content(store: &Store, sessions: &Sessions) -> Result<Digest, String> {
    let mut text = format!("{sessions:?}");
    for session in sessions.keys() {
        let failed = |error| format!("{session} cannot be read: {error:?}");
        text.push_str(&format!("{:?}", store.history_view(session).map_err(failed)?));
        text.push_str(&format!("{:?}", store.view(session).map_err(failed)?.rows));
    }
    Ok(Digest::of(text.as_bytes()))
}

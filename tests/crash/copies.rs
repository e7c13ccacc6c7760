//! Backups and what was restored from them, after something happened: each holds what was acknowledged when it began.

use std::fs;
use std::path::Path;

use headwater::care::{self, BackupError};
use headwater::store::{Options, Store};

use super::acks::Ack;
use super::verify::{events_of_all, look_for, sound};

/// Looks at every copy that the notes tell of, beside the store at `root`. One that was made holds what was acknowledged when it
/// began, whatever a later one to the same place did since; one that was not is whole, or is none. With `further`, they are
/// also used: opened, and brought further by another backup, which mends them. Gives how many had no rows that could be trusted.
pub fn hold(root: &Path, acks: &[Ack], further: bool) -> Result<usize, String> {
    let mut rebuilt = 0;
    let mut names: Vec<&String> = Vec::new();
    for ack in acks {
        if let Ack::Copying { name } = ack
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    for name in names {
        rebuilt += usize::from(one(root, name, acks, further).map_err(|why| format!("{name}: {why}"))?);
    }
    Ok(rebuilt)
}

/// A backup of a store that nobody opened since whatever happened to it holds what was acknowledged, too.
pub fn one_now(root: &Path, acks: &[Ack]) -> Result<(), String> {
    let place = root.with_file_name("unopened");
    match care::backup(root, &place) {
        Err(BackupError::NotFound { .. }) if acks.is_empty() => return Ok(()),
        made => made.map_err(|error| format!("an unopened store cannot be backed up: {error:?}"))?,
    };
    holds(&place, acks).map_err(|why| format!("the backup of an unopened store: {why}"))?;
    fs::remove_dir_all(&place).map_err(|error| error.to_string())
}

fn one(root: &Path, name: &str, acks: &[Ack], further: bool) -> Result<bool, String> {
    let place = root.with_file_name(name);
    let (mut begun, mut made) = (0, None);
    for (at, ack) in acks.iter().enumerate() {
        match ack {
            Ack::Copying { name: of } if of == name => begun = at,
            Ack::Copied { name: of } if of == name => made = Some(begun),
            _ => {}
        }
    }
    // What it holds for certain: of the last one made, or of the only one begun.
    let held = &acks[..made.unwrap_or_else(|| acks.iter().position(|ack| copying(ack, name)).unwrap_or(0))];
    let is_there = if name.ends_with(".tar") { place.is_file() } else { place.join("blobs").is_dir() };
    if !is_there && made.is_some() {
        return Err("it was made, and is not there".to_owned());
    }
    if is_there {
        let restored = root.with_file_name("looked-at");
        care::restore(&place, &restored).map_err(|error| format!("it cannot be restored: {error:?}"))?;
        holds(&restored, held)?;
        fs::remove_dir_all(&restored).map_err(|error| error.to_string())?;
    }
    if !further || name.ends_with(".tar") {
        return Ok(false);
    }
    let rebuilt = is_there && holds(&place, held)?.is_some();
    if name.starts_with("backup") {
        care::backup(root, &place).map_err(|error| format!("the next backup fails: {error:?}"))?;
        if let Some(why) = holds(&place, acks)? {
            return Err(format!("after the next backup it is rebuilt: {why}"));
        }
    }
    Ok(rebuilt)
}

fn copying(ack: &Ack, name: &str) -> bool {
    matches!(ack, Ack::Copying { name: of } if of == name)
}

/// Opens a copy: all of `acks` is there. Gives why its rows were made anew, if they were.
fn holds(place: &Path, acks: &[Ack]) -> Result<Option<String>, String> {
    let options = Options { create: false, readers: 1, ..Options::default() };
    let store = Store::open_with(place, options).map_err(|error| format!("it does not open: {error:?}"))?;
    let rebuilt = store.report().rebuilt.clone().map(|(why, _)| why);
    let sessions = events_of_all(&store)?;
    for ack in acks {
        look_for(&store, &sessions, ack)?;
    }
    sound(place)?;
    store.close().map_err(|error| format!("it does not close: {error:?}"))?;
    Ok(rebuilt)
}

//! Which sessions a file holds, and whose: a main one, a subagent's, sidechains between the records of their caller.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{Part, Record, Shape, short};
use crate::exchange::json::{self, text};
use crate::exchange::reader::{Item, JSON, Reader};
use crate::exchange::source::{self, MAX_LINE, Source};
use crate::model::Timestamp;

/// How far the beginning of a file is looked at.
const BEGINNING: (u64, u64) = (64, 1 << 20);

/// How many records may stand before the first message of a log whose first record has no known type.
const FIRST: u64 = 16;

/// How many folders up the file of a subagent's caller is looked for: `SESSION/subagents/workflows/NAME/agent-ID.jsonl`.
const FARTHEST: usize = 5;

/// Who a file is.
#[derive(Debug, Default)]
pub struct About {
    /// The id of the main session that it belongs to; empty where it tells none.
    pub root: String,
    /// What it is below that; empty for the main session.
    pub below: String,
    pub at: Option<Timestamp>,
    /// The sessions its records were copied from.
    pub parents: Vec<String>,
}

/// A sidechain between the records of its caller.
#[derive(Debug)]
pub struct Side {
    pub below: String,
    /// The short form of what it was asked.
    pub prompt: Option<u64>,
}

/// The id of the session of a subagent.
pub fn session(root: &str, below: &str) -> String {
    if root.is_empty() { below.to_owned() } else { format!("{root}.{below}") }
}

/// The records that a file begins with, as long as they are asked for. What cannot be read is told of when it is imported.
fn first_records(path: &Path, each: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) {
    let mut reader = Reader::of(&Source::file(path).parts, JSON);
    for _ in 0..BEGINNING.0 {
        let Ok(Some(item)) = reader.advance() else { return };
        if reader.offset() > BEGINNING.1 {
            return;
        }
        if item == Item::Record
            && let Ok(record) = Record::read(reader.record())
            && each(&record).is_break()
        {
            return;
        }
    }
}

/// Whether a file begins with records that tell of the program alone, of types that may be new, and goes on with messages.
pub fn begins_later(path: &Path) -> bool {
    let (mut seen, mut is_log) = (0, false);
    first_records(path, &mut |record| {
        seen += 1;
        is_log = record.is_message();
        let may_be = is_log || record.may_be_known();
        if is_log || !may_be || seen == FIRST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    is_log
}

/// Who a file is, from its beginning.
pub fn about(path: &Path) -> About {
    let mut about = About::default();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let (mut sessions, mut is_side, mut agent, mut first) = (Vec::new(), None, None, None);
    first_records(path, &mut |record| {
        first = first.or(record.at());
        // What stands before the first message is not copied with a session.
        about.at = about.at.or(record.at().filter(|_| record.uuid.is_some()));
        about.parents.extend(record.forked_from());
        if let Some(session) = record.session().filter(|session| !sessions.contains(session)) {
            sessions.push(session);
        }
        if record.uuid.is_some() && is_side.is_none() {
            is_side = Some(record.is_sidechain());
            agent = record.agent().filter(|_| record.is_sidechain());
        }
        ControlFlow::Continue(())
    });
    about.at = about.at.or(first);
    let named = stem.strip_prefix("agent-").filter(|_| is_side != Some(false)).map(str::to_owned);
    if let Some(agent) = agent.or(named) {
        about.below = format!("agent-{agent}");
        about.root = sessions.into_iter().next().unwrap_or_default();
        return about;
    }
    // A copy may name the session it was made from until its own records begin; that one lies beside it.
    let beside = |id: &String| id != stem && path.with_file_name(format!("{id}.jsonl")).is_file();
    about.root = match sessions.iter().any(|id| id == stem) || sessions.first().is_some_and(beside) {
        true => stem.to_owned(),
        // Its first records may name none; the program names the file after it.
        false => sessions.first().cloned().or(is_uuid(stem).then(|| stem.to_owned())).unwrap_or_default(),
    };
    // Copies come first; the last one that they name is the nearest.
    about.parents.extend(sessions.into_iter().take_while(|id| *id != about.root).collect::<Vec<_>>().into_iter().rev());
    let mut seen = Vec::new();
    about.parents.retain(|id| {
        let is_new = *id != about.root && !seen.contains(id);
        seen.push(id.clone());
        is_new
    });
    about
}

/// Whether a text has the form of the ids that the program gives.
fn is_uuid(text: &str) -> bool {
    let is_part =
        |(part, length): (&str, usize)| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('-').count() == 5 && text.split('-').zip([8, 4, 4, 4, 12]).all(is_part)
}

/// Whether the file of a subagent begins with records of its caller's, `root`, which lies beside it or above: what the program asks
/// in the midst of a session, such as for a summary, goes on from all that was said. Agents made for that have a name in their id, and may
/// leave out what was compacted; others are only compared with the caller's beginning.
pub fn is_copy(path: &Path, root: &str, below: &str) -> bool {
    let Some(caller) = caller(path, root) else { return false };
    let mut first = None;
    first_records(path, &mut |record| {
        first = text(record.uuid);
        if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let Some(first) = first else { return false };
    if below.strip_prefix("agent-").is_some_and(|agent| agent.contains('-')) {
        return has(&caller, &first).unwrap_or(false);
    }
    let mut is_there = false;
    first_records(&caller, &mut |record| {
        is_there = record.uuid.is_some() && text(record.uuid).as_ref() == Some(&first);
        if is_there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    is_there
}

/// The file of the session that a subagent's file belongs to.
fn caller(path: &Path, root: &str) -> Option<PathBuf> {
    let name = format!("{root}.jsonl");
    let is_name = !root.is_empty() && Path::new(&name).file_name().is_some_and(|file| file == name.as_str());
    let mut beside = path.ancestors().skip(1).take(FARTHEST).map(|folder| folder.join(&name));
    beside
        .find(|caller| is_name && caller != path && std::fs::symlink_metadata(caller).is_ok_and(|meta| meta.is_file()))
}

/// Whether a file has a record of that id.
fn has(path: &Path, uuid: &str) -> io::Result<bool> {
    let Ok(file) = source::open(path) else { return Ok(false) };
    let mut input = BufReader::with_capacity(256 * 1024, file);
    let mut line = Vec::new();
    while {
        line.clear();
        (&mut input).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)? > 0
    } {
        let Some(said) = std::str::from_utf8(&line).ok().filter(|said| said.contains(uuid)) else { continue };
        if Record::read(said.trim().as_bytes()).is_ok_and(|record| text(record.uuid).as_deref() == Some(uuid)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The sessions of a file: sidechains, then the main one.
pub fn sources(path: &Path) -> io::Result<Vec<Source>> {
    let about = about(path);
    let main = Source { below: about.below, ..Source::file(path) };
    if !main.below.is_empty() {
        return Ok(vec![main]);
    }
    let (sides, of) = sides(path)?;
    let of = Arc::new(of);
    let mut sources: Vec<Source> = sides
        .into_iter()
        .enumerate()
        .map(|(number, side)| {
            let mut source = Source { below: side.below, ..Source::file(path) };
            for part in &mut source.parts {
                let of = Arc::clone(&of);
                part.select =
                    Some(Arc::new(move |line| uuid_of(line).is_some_and(|uuid| of.get(&uuid) == Some(&number))));
            }
            source
        })
        .collect();
    sources.push(main);
    Ok(sources)
}

/// The sidechains in a file, and which of them each of their records belongs to.
pub fn sides(path: &Path) -> io::Result<(Vec<Side>, HashMap<u64, usize>)> {
    let (mut sides, mut of, mut agents) = (Vec::new(), HashMap::new(), HashMap::new());
    // What is no file is told of when it is imported.
    let Ok(file) = source::open(path) else { return Ok((sides, of)) };
    let mut input = BufReader::with_capacity(256 * 1024, file);
    let mut line = Vec::new();
    while {
        line.clear();
        (&mut input).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)? > 0
    } {
        let Some((record, uuid)) = sidechain(&line) else { continue };
        let agent = record.agent();
        let parent = text(record.parent_uuid).and_then(|parent| of.get(&short(&parent)).copied());
        let number = parent.or_else(|| agents.get(agent.as_ref()?).copied()).unwrap_or_else(|| {
            let below = match &agent {
                Some(agent) => format!("agent-{agent}"),
                None => format!("sidechain-{}", uuid.split('-').next().unwrap_or_default()),
            };
            let prompt = record.shape().ok().filter(|(shape, _)| *shape == Shape::Input);
            let prompt = prompt.and_then(|(_, message)| said(message.content?));
            sides.push(Side { below, prompt: prompt.map(|prompt| short(&prompt)) });
            sides.len() - 1
        });
        agents.extend(agent.map(|agent| (agent, number)));
        of.entry(short(&uuid)).or_insert(number);
    }
    Ok((sides, of))
}

/// The one text of a content.
fn said(content: &serde_json::value::RawValue) -> Option<String> {
    text(Some(content)).or_else(|| match Part::list(content)?.as_slice() {
        [part] => text(part.text),
        _ => None,
    })
}

/// A sidechain's record, and its id.
fn sidechain(line: &[u8]) -> Option<(Record<'_>, String)> {
    let said = std::str::from_utf8(line).ok()?;
    if !said.contains("\"isSidechain\":true") && !said.contains("\"isSidechain\": true") {
        return None;
    }
    let record = Record::read(json::beginning(said.trim_end().as_bytes())).ok().filter(Record::is_sidechain)?;
    let uuid = text(record.uuid)?;
    Some((record, uuid))
}

fn uuid_of(line: &[u8]) -> Option<u64> {
    sidechain(line).map(|(_, uuid)| short(&uuid))
}

//! Run directories: which folders they are, the sessions in them, and who those are.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::super::beside::Beside;
use super::super::format::{Format, Header};
use super::super::run::{first_record, known_session};
use super::super::source::{Part, Source};
use super::record::{Record, Row};
use super::{Fractal, kind_of, restored};
use crate::exchange::ImportError;
use crate::model::SessionId;
use crate::store::Store;

/// The journal of a run directory.
pub const JOURNAL: &str = "events.ednl";
/// The folder of a run in which the runs of its children are.
pub const CHILDREN: &str = "children";
/// How deep children of children are looked for.
const MAX_DEPTH: usize = 64;

/// Whether a folder has a journal. Links are not followed.
pub fn is_run(path: &Path) -> bool {
    is_folder(path) && std::fs::symlink_metadata(path.join(JOURNAL)).is_ok_and(|meta| meta.is_file())
}

fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// The run that `path` is a child of, and its path below that; itself where it is none's.
fn root_of(path: &Path) -> (PathBuf, String) {
    let (mut root, mut below) = (path.to_owned(), Vec::new());
    while below.len() < 2 * MAX_DEPTH {
        let (Some(name), Some(children)) = (root.file_name(), root.parent()) else { break };
        let Some(parent) = children.parent().filter(|_| children.file_name().is_some_and(|name| name == CHILDREN))
        else {
            break;
        };
        let Some(name) = name.to_str().filter(|_| is_run(parent)) else { break };
        below.extend([name.to_owned(), CHILDREN.to_owned()]);
        root = parent.to_owned();
    }
    below.reverse();
    (root, below.join("/"))
}

/// The runs that a path holds, children before those that called them; a journal alone is one too.
pub fn sources(path: &Path) -> io::Result<Vec<Source>> {
    if !is_folder(path) {
        return Ok(vec![Source::file(path)]);
    }
    let (root, below) = root_of(path);
    let mut found = Vec::new();
    let mut next = vec![(path.to_owned(), below, 0)];
    while let Some((folder, below, depth)) = next.pop() {
        if depth < MAX_DEPTH {
            for name in children(&folder)? {
                let child = folder.join(CHILDREN).join(&name);
                let path = if below.is_empty() { String::new() } else { format!("{below}/") };
                next.push((child, format!("{path}{CHILDREN}/{name}"), depth + 1));
            }
        }
        let part = Part { name: String::new(), path: folder.join(JOURNAL), whole: false, select: None, through: None };
        found.push(Source { path: root.clone(), below, parts: vec![part] });
    }
    // Found from the top down.
    found.reverse();
    Ok(found)
}

/// The names of the runs directly below a run, sorted.
pub fn children(folder: &Path) -> io::Result<Vec<String>> {
    let folder = folder.join(CHILDREN);
    if !is_folder(&folder) {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        // A name that is no text is none that the engine gave.
        if let Some(name) = entry.file_name().to_str().filter(|_| is_run(&entry.path())) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The folder that a source's journal is in; none where the journal was named alone.
pub fn folder_of(source: &Source) -> Option<PathBuf> {
    let journal = &source.parts.first()?.path;
    (*journal != source.path).then(|| journal.parent().map(Path::to_owned))?
}

/// What belongs to a run beside its journal: all in its folder but the runs of its children.
pub fn beside(source: &Source) -> Option<Beside> {
    let folder = folder_of(source)?;
    let skip = |path: &Path| is_run(path) && path.parent().is_some_and(|parent| parent.ends_with(CHILDREN));
    let below = if source.below.is_empty() { String::new() } else { format!("{}/", source.below) };
    let names = children(&folder).unwrap_or_default();
    let children = names.into_iter().map(|name| {
        let name = format!("{CHILDREN}/{name}");
        let part = Part {
            name: String::new(),
            path: folder.join(&name).join(JOURNAL),
            whole: false,
            select: None,
            through: None,
        };
        (name.clone(), Source { path: source.path.clone(), below: format!("{below}{name}"), parts: vec![part] })
    });
    let children = children.collect();
    Some(Beside { folder, main: JOURNAL, skip, children })
}

/// The id of the session that a first record starts.
pub fn session_id(record: &Record<'_>) -> Option<String> {
    record.row("session").ok()?.get("id")?.string().map(std::borrow::Cow::into_owned)
}

/// Who a source is.
pub fn header(first: &[u8], source: &Source) -> Header {
    let record = Record::read(first).ok();
    let id = record.as_ref().and_then(session_id).unwrap_or_default();
    let session: Option<Row<'_, '_>> = record.as_ref().and_then(|record| record.row("session").ok());
    let root = if source.below.is_empty() { id.clone() } else { root_id(&source.path).unwrap_or_else(|| id.clone()) };
    let mut header = Header::of(root.clone());
    header.id = match source.below.as_str() {
        "" => id,
        below => {
            let names: Vec<&str> = below.split('/').filter(|name| *name != CHILDREN).collect();
            format!("{root}.{}", names.join("."))
        }
    };
    header.at = session
        .and_then(|session| session.time("created-at"))
        .or_else(|| record.as_ref().and_then(super::record::Record::at));
    header.kind = kind_of(session.and_then(|session| session.word("kind")));
    header.after = restored::origin(source).ok().flatten().map(|origin| origin.session).into_iter().collect();
    header
}

fn root_id(folder: &Path) -> Option<String> {
    let part = Part { name: String::new(), path: folder.join(JOURNAL), whole: false, select: None, through: None };
    let source = Source { path: folder.to_owned(), below: String::new(), parts: vec![part] };
    let first = first_record(&source, Fractal::SYNTAX).ok()?;
    session_id(&Record::read(&first).ok()?)
}

/// The session that the child in the folder `dir` of a run became, which is imported before.
pub fn child_session(store: &Store, source: &Source, dir: &str) -> Result<Option<SessionId>, ImportError> {
    let Some(folder) = folder_of(source) else { return Ok(None) };
    let Some(path) = inside(&folder, dir).filter(|path| is_run(path)) else { return Ok(None) };
    let (root, below) = root_of(&path);
    let part = Part { name: String::new(), path: path.join(JOURNAL), whole: false, select: None, through: None };
    known_session::<Fractal>(store, &Source { path: root, below, parts: vec![part] })
}

/// The place that the relative path `name` has below `folder`; none for one that leads out of it, by dots, from the root, or over a link.
pub fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let relative = Path::new(name);
    let mut path = folder.to_owned();
    let mut parts = 0;
    for part in relative.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => continue,
            _ => return None,
        }
        parts += 1;
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
            return None;
        }
    }
    (parts > 0 && !name.contains('\0')).then_some(path)
}

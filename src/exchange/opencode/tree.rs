//! Storage folders: which they are, the sessions in them, and the order in which these are imported.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::record::{Message, Part, Session};
use super::walk::{self, is_folder, is_plain, stem};
use crate::exchange::format::{Header, Recognized};
use crate::exchange::source::{self, Source};
use crate::model::{Digest, Status};

/// How many files of a folder are looked at to see whether it is a storage folder.
const LOOKED_AT: usize = 64;
/// A file that says who a session is, or whose a part is, is not larger.
const MAX_ABOUT: u64 = 16 << 20;
/// What the names of a source's parts begin with that are its children's.
const CHILD: &str = "child/";

/// What of a storage folder is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    All,
    /// The sessions whose files are in this folder.
    Folder(String),
    /// That of this file, and those below it.
    File(String),
}

/// Whether a folder is a storage folder, or that of its sessions, or that of a project's.
pub fn is_source(path: &Path) -> bool {
    scope(path).is_some()
}

/// Whether a file is a session's by where it lies. A database of a newer version is none that is read.
pub fn takes(path: &Path) -> Recognized {
    if is_database(path) {
        let mut begins = [0; 16];
        let is_sqlite = source::open(path).is_ok_and(|mut file| file.read_exact(&mut begins).is_ok());
        if is_sqlite && begins.starts_with(b"SQLite format 3\0") {
            return Recognized::OtherVersion("OpenCode's SQLite form (its `storage` folder can be read)".to_owned());
        }
    }
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    match scope(path) {
        Some(_) if is_file => Recognized::Yes,
        _ => Recognized::No,
    }
}

/// Whether a file has the name of OpenCode's database.
pub fn is_database(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("opencode") && name.ends_with(".db"))
}

fn scope(path: &Path) -> Option<(PathBuf, Scope)> {
    let path = std::path::absolute(path).ok()?;
    if is_storage(&path) {
        return Some((path, Scope::All));
    }
    let mut names = Vec::new();
    for folder in path.ancestors().take(4) {
        if names.last() == Some(&"session") && is_storage(folder) {
            names.reverse();
            let name = names.join("/");
            let is_file = names.len() == 3 && name.ends_with(".json");
            let scope = match names.len() {
                1 => Scope::All,
                2 if is_folder(folder, &name) => Scope::Folder(name),
                3 if is_file => Scope::File(name),
                _ => return None,
            };
            return Some((folder.to_owned(), scope));
        }
        names.push(folder.file_name()?.to_str()?);
    }
    None
}

/// Whether there are sessions' or messages' files where they must be: folders of those names may be anything's. Where they cannot be listed it is
/// one by the names of all: why is told when it is read.
fn is_storage(root: &Path) -> bool {
    if !is_folder(root, "session") && !is_folder(root, "message") {
        return false;
    }
    let is_unread = std::cell::Cell::new(false);
    let listed = |name: &str, folders: bool| {
        walk::list(root, name, folders, &mut Vec::new()).unwrap_or_else(|_| {
            is_unread.set(true);
            Vec::new()
        })
    };
    let has = |kind: &str, is: &dyn Fn(&[u8]) -> bool| {
        let folders = listed(kind, true);
        let files = folders.iter().take(LOOKED_AT).flat_map(|folder| listed(folder, false).into_iter().take(LOOKED_AT));
        files.take(LOOKED_AT).any(|file| about(root, &file).is_some_and(|bytes| is(&bytes)))
    };
    has("session", &|bytes| Session::read(bytes).is_ok_and(|session| session.is_known()))
        || has("message", &|bytes| {
            Message::read(bytes).is_ok_and(|message| message.id().is_some() && message.created().is_some())
        })
        || (is_unread.get() && ["session", "message", "part"].iter().all(|name| is_folder(root, name)))
}

fn about(root: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = source::open(&root.join(name)).ok()?;
    file.take(MAX_ABOUT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What a storage folder says of a session.
#[derive(Default)]
struct Found {
    files: Vec<String>,
    parent: Option<String>,
    children: Vec<String>,
    /// Folders of parts that say they are its, and have no message of that name.
    parts: Vec<String>,
}

/// The id of a session, by its file; what its parent is.
fn who(root: &Path, name: &str) -> (String, Option<String>) {
    let bytes = about(root, name).unwrap_or_default();
    let session = Session::read(&bytes).unwrap_or_default();
    let id = session.id().filter(|id| is_plain(id)).unwrap_or_else(|| stem(name).to_owned());
    (id, session.parent())
}

fn index(root: &Path) -> io::Result<BTreeMap<String, Found>> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let odd = &mut Vec::new();
    for folder in walk::list(root, "session", true, odd)? {
        for file in walk::list(root, &folder, false, odd)? {
            let (id, parent) = who(root, &file);
            let one = found.entry(id).or_default();
            one.parent = one.parent.take().or(parent);
            one.files.push(file);
        }
    }
    // Messages whose session has no file.
    for folder in walk::list(root, "message", true, odd)? {
        let one = found.entry(stem(&folder).to_owned()).or_default();
        if one.files.is_empty() {
            one.files.push(folder);
        }
    }
    let parents: Vec<_> = found.iter().filter_map(|(id, one)| Some((id.clone(), one.parent.clone()?))).collect();
    for (id, parent) in parents {
        if let Some(parent) = found.get_mut(&parent).filter(|_| parent != id) {
            parent.children.push(id);
        }
    }
    Ok(found)
}

/// Finds parts without a message. What is remembered of a message is a number.
fn strays(root: &Path, found: &mut BTreeMap<String, Found>) -> io::Result<()> {
    let odd = &mut Vec::new();
    let mut messages = HashSet::new();
    let short =
        |name: &str| Digest::of(name.as_bytes()).0.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    for folder in walk::list(root, "message", true, odd)? {
        messages.extend(walk::list(root, &folder, false, odd)?.iter().map(|file| short(stem(file))));
    }
    for folder in walk::list(root, "part", true, odd)? {
        if messages.contains(&short(stem(&folder))) {
            continue;
        }
        let files = walk::list(root, &folder, false, odd)?;
        let session = files.iter().take(LOOKED_AT).find_map(|file| Part::read(&about(root, file)?).ok()?.session());
        if let Some(one) = session.and_then(|session| found.get_mut(&session)) {
            one.parts.push(folder);
        }
    }
    Ok(())
}

/// The sessions that a path holds, children before those that opened them.
pub fn sources(path: &Path) -> io::Result<Vec<Source>> {
    let Some((root, scope)) = scope(path) else { return Ok(vec![Source::file(path)]) };
    let mut found = index(&root)?;
    let wanted: Vec<String> = match &scope {
        Scope::All => {
            strays(&root, &mut found)?;
            found.keys().cloned().collect()
        }
        Scope::Folder(folder) => {
            let is_in = |one: &Found| {
                one.files
                    .iter()
                    .any(|file| file.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')))
            };
            found.iter().filter(|(_, one)| is_in(one)).map(|(id, _)| id.clone()).collect()
        }
        Scope::File(file) => {
            found.iter().find(|(_, one)| one.files.contains(file)).map(|(id, _)| id.clone()).into_iter().collect()
        }
    };
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    for id in &wanted {
        // A session, and how many of its children were looked at; a cycle ends where it began.
        let mut path = vec![(id, 0)];
        if !seen.insert(id.clone()) {
            continue;
        }
        while let Some((id, done)) = path.last_mut() {
            match found.get(*id).and_then(|one| one.children.get(*done)) {
                Some(child) => {
                    *done += 1;
                    if seen.insert(child.clone()) {
                        path.push((child, 0));
                    }
                }
                None => {
                    order.push(*id);
                    path.pop();
                }
            }
        }
    }
    Ok(order.into_iter().filter_map(|id| source_of(&root, &found, id)).collect())
}

fn source_of(root: &Path, found: &BTreeMap<String, Found>, id: &str) -> Option<Source> {
    let one = found.get(id)?;
    let part = |name: String, file: &str| source::Part {
        name,
        path: root.join(file),
        whole: true,
        select: None,
        through: None,
    };
    let children = one.children.iter().filter_map(|child| found.get(child)?.files.first());
    let mut parts: Vec<source::Part> = one.files.iter().map(|file| part(file.clone(), file)).collect();
    parts.extend(one.parts.iter().map(|folder| part(folder.clone(), folder)));
    parts.extend(children.map(|file| part(format!("{CHILD}{file}"), file)));
    Some(Source { path: root.join(one.files.first()?), below: String::new(), parts })
}

/// The session that opened this one.
pub fn parent(tree: &Tree) -> Option<String> {
    who(&tree.root, tree.files.first()?).1.filter(|parent| *parent != tree.id)
}

/// A session of a storage folder, if it has it.
pub fn session(root: &Path, id: &str) -> io::Result<Option<Source>> {
    Ok(source_of(root, &index(root)?, id))
}

/// A session in a storage folder.
pub struct Tree {
    pub root: PathBuf,
    /// Its id there, which is the name of a folder too.
    pub id: String,
    /// Its own files, the first of which says who it is: none where it has only messages.
    pub files: Vec<String>,
    /// Folders of parts that have no message of that name.
    pub parts: Vec<String>,
    /// The files of the sessions that it opened.
    pub children: Vec<String>,
}

impl Tree {
    /// Of a source that [`sources`] gave.
    pub fn of(source: &Source) -> Option<Tree> {
        let first = source.parts.first()?;
        let root = walk::root_of(&first.path, &first.name)?;
        let names = || source.parts.iter().map(|part| part.name.as_str());
        let of = |kind: &str| names().filter(|name| name.starts_with(kind)).map(str::to_owned).collect::<Vec<_>>();
        let files = of("session/");
        let id = match files.first() {
            Some(file) => who(&root, file).0,
            None => stem(&first.name).to_owned(),
        };
        let children = names().filter_map(|name| name.strip_prefix(CHILD)).map(str::to_owned).collect();
        Some(Tree { root, id, files, parts: of("part/"), children })
    }
}

/// Who a source is.
pub fn header(source: &Source) -> Header {
    let Some(tree) = Tree::of(source) else { return Header::of(String::new()) };
    let mut header = Header::of(tree.id.clone());
    let bytes = tree.files.first().and_then(|file| about(&tree.root, file)).unwrap_or_default();
    let session = Session::read(&bytes).unwrap_or_default();
    header.at = session.created();
    header.title = session.title();
    header.kind = if session.parent().is_some() { Status::CHILD } else { Status::SESSION };
    header.after = tree.children.iter().map(|file| who(&tree.root, file).0).collect();
    header
}

/// What a child's file says of it: its id, its title, and when it began.
pub fn child(root: &Path, file: &str) -> (String, Option<String>, Option<crate::model::Timestamp>) {
    let bytes = about(root, file).unwrap_or_default();
    let session = Session::read(&bytes).unwrap_or_default();
    (who(root, file).0, session.title(), session.created())
}

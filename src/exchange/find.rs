//! What there is to import: the sources below a folder, each with its format, those that others need before them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{Known, Recognized};
use super::run::first_record;
use super::source::Source;
use super::{FORMATS, ImportError, Imported, Seen};
use crate::model::Timestamp;
use crate::store::Store;

/// A file, or a folder that is one source.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Of a folder: the format that takes it for one source.
    folder: Option<&'static Known>,
    /// Whether it was found in a folder, rather than named.
    is_within: bool,
    /// Why the folder cannot be listed.
    unreadable: Option<Arc<io::Error>>,
}

/// Files of programs whose logs are read that hold what nobody else is to see: they are not opened, whatever may be in them.
const SECRETS: [&str; 8] = [
    "auth.json",
    ".credentials.json",
    "credentials.json",
    "oauth_creds.json",
    "google_accounts.json",
    "mcp-auth.json",
    "mcp-oauth-tokens.json",
    ".env",
];

/// The sources that `path` names: itself, or of a folder all below it. They are sorted, and those that others need, such
/// as the parents of forks, stand before them; a cycle of those is broken, and what is not there is not waited for.
/// Links in folders are not followed. A folder below that cannot be listed is one of them: importing it says why.
///
/// # Errors
///
/// [`ImportError::Io`]: the folder cannot be read.
pub fn find(path: &Path) -> Result<Vec<Found>, ImportError> {
    find_telling(path, &mut |_| {})
}

/// The same, and `passed` is told of each regular file that no format takes for a log: those are not imported.
///
/// # Errors
///
/// As [`find`].
pub fn find_telling(path: &Path, passed: &mut dyn FnMut(&Path)) -> Result<Vec<Found>, ImportError> {
    // What does not exist is found out when it is opened.
    if !std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return Ok(vec![Found::file(path, false)]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        if let Some(known) = FORMATS.iter().find(|known| (known.is_folder)(&folder)) {
            found.push(Found { folder: Some(known), ..Found::file(&folder, true) });
            continue;
        }
        let listed = list(&folder, &mut |path, is_folder| {
            if is_folder {
                folders.push(path);
            } else if !is_secret(&path) && FORMATS.iter().any(|known| (known.wants)(&path)) {
                found.push(Found::file(&path, true));
            } else {
                passed(&path);
            }
        });
        match listed {
            Ok(()) => {}
            Err(source) if folder == path => return Err(ImportError::Io { path: folder, source }),
            Err(error) => found.push(Found { unreadable: Some(Arc::new(error)), ..Found::file(&folder, true) }),
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(ordered(found))
}

/// Shows the folders and regular files in a folder, and which of both each is.
fn list(folder: &Path, each: &mut dyn FnMut(PathBuf, bool)) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            each(entry.path(), kind.is_dir());
        }
    }
    Ok(())
}

fn is_secret(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| SECRETS.contains(&name))
}

/// The same with those first that others need, whatever folders they were found in, of several the last begun; of those that began at one moment and
/// name no parent, of which one may be a copy of the other, the smaller first; otherwise in the order given.
pub fn ordered(found: Vec<Found>) -> Vec<Found> {
    if found.len() < 2 {
        return found;
    }
    let mut places: HashMap<Name, usize> = HashMap::new();
    let mut begun: HashMap<(&str, Timestamp), Vec<usize>> = HashMap::new();
    // Who waits for whom, as names.
    let (mut needs, mut needed) = (Vec::new(), Vec::new());
    for (at, one) in found.iter().enumerate() {
        // What cannot be read now is told of when it is imported.
        let Ok((known, sources)) = one.sources() else { continue };
        for source in &sources {
            let Ok(first) = first_record(source, known.syntax) else { continue };
            let header = (known.header)(&first, source);
            if source.below.is_empty() {
                places.entry((known.name, header.root)).or_insert(at);
                if let Some(start) = header.at.filter(|_| header.parents.is_empty()) {
                    begun.entry((known.name, start)).or_default().push(at);
                }
            }
            let named = |id| -> Name { (known.name, id) };
            needed.extend(header.before.into_iter().map(|id| (named(id), Reverse(header.at), at)));
            needs.extend(header.parents.into_iter().chain(header.after).map(|id| (at, named(id))));
        }
    }
    let mut wanted = vec![Vec::new(); found.len()];
    needs.iter().for_each(|(at, name)| wanted[*at].extend(places.get(name)));
    // Of those that one waits for, a later one may have been called by an earlier one.
    needed.sort();
    for (number, (name, _, at)) in needed.iter().enumerate() {
        let later = number.checked_sub(1).map(|number| &needed[number]).filter(|(of, ..)| of == name);
        wanted[*at].extend(later.map(|(.., later)| *later).filter(|later| later != at));
        places.get(name).into_iter().for_each(|place| wanted[*place].push(*at));
    }
    for mut same in begun.into_values().filter(|same| same.len() > 1) {
        same.sort_by_key(|at| (std::fs::metadata(&found[*at].path).map_or(0, |meta| meta.len()), *at));
        same.windows(2).for_each(|pair| wanted[pair[1]].push(pair[0]));
    }
    let order = before(&wanted);
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| found.get_mut(at)?.take()).collect()
}

/// The name of a format, and the id of a session in it.
type Name = (&'static str, String);

/// All places in order, each behind those it needs; of a cycle the first stays first.
fn before(needs: &[Vec<usize>]) -> Vec<usize> {
    let (mut order, mut seen) = (Vec::new(), vec![false; needs.len()]);
    for start in 0..needs.len() {
        // A place and how many of its needs were looked at.
        let mut path = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((at, done)) = path.last_mut() {
            match needs[*at].get(*done) {
                Some(need) => {
                    *done += 1;
                    if !std::mem::replace(&mut seen[*need], true) {
                        path.push((*need, 0));
                    }
                }
                None => {
                    order.push(*at);
                    path.pop();
                }
            }
        }
    }
    order
}

impl Found {
    fn file(path: &Path, is_within: bool) -> Found {
        Found { path: path.to_owned(), folder: None, is_within, unreadable: None }
    }

    /// The format, and what becomes a session each.
    fn sources(&self) -> Result<(&'static Known, Vec<Source>), ImportError> {
        let io = |source| ImportError::Io { path: self.path.clone(), source };
        if let Some(error) = &self.unreadable {
            return Err(io(io::Error::new(error.kind(), error.to_string())));
        }
        let known = match self.folder {
            Some(known) => known,
            None => recognized(&self.path)?,
        };
        Ok((known, (known.sources)(&self.path).map_err(io)?))
    }

    /// Whether it may be passed over where it cannot be imported for that reason: it was found in a folder, not named, and holds no
    /// session, or is no log of a known format.
    pub fn may_be_left(&self, why: &ImportError) -> bool {
        self.is_within
            && match why {
                ImportError::NoSession { .. } | ImportError::NoRecords { .. } | ImportError::UnknownFormat { .. } => {
                    true
                }
                // It lies beside the folder that can be read.
                ImportError::UnsupportedVersion { path, .. } => super::opencode::is_database(path),
                _ => false,
            }
    }

    /// Whether a format knows it; reads its first records and changes nothing.
    ///
    /// # Errors
    ///
    /// [`ImportError`]: why importing it would change nothing.
    pub fn recognize(&self) -> Result<(), ImportError> {
        self.sources().map(|_| ())
    }

    /// Imports what is there, each session by itself: one that fails stops no other. `seen` is told how far the
    /// reading of each came.
    pub fn import(&self, store: &Store, seen: &mut dyn FnMut(Seen)) -> Vec<Result<Imported, ImportError>> {
        match self.sources() {
            Ok((known, sources)) => sources.iter().map(|source| (known.import)(store, source, seen)).collect(),
            Err(error) => vec![Err(error)],
        }
    }
}

fn recognized(path: &Path) -> Result<&'static Known, ImportError> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        let folder = FORMATS.iter().find(|known| (known.is_folder)(path));
        return folder.ok_or_else(|| ImportError::NotAFile { path: path.to_owned(), what: "a folder" });
    }
    let refused = |known: Recognized| match known {
        Recognized::Yes | Recognized::No => None,
        Recognized::OtherVersion(version) => Some(ImportError::UnsupportedVersion { path: path.to_owned(), version }),
        Recognized::NoSession(what) => Some(ImportError::NoSession { path: path.to_owned(), what }),
    };
    let source = Source::file(path);
    super::source::open(path)?;
    for known in &FORMATS {
        let recognized = (known.recognize_file)(path).map_err(|error| source.io(error))?;
        if recognized == Recognized::Yes {
            return Ok(known);
        }
        refused(recognized).map_or(Ok(()), Err)?;
    }
    let mut unread = None;
    for known in &FORMATS {
        match first_record(&source, known.syntax) {
            Ok(first) => {
                let recognized = (known.recognize)(&first);
                if recognized == Recognized::Yes {
                    return Ok(known);
                }
                refused(recognized).map_or(Ok(()), Err)?;
                unread = Some(ImportError::UnknownFormat { path: path.to_owned() });
            }
            Err(error @ ImportError::NoRecords { .. }) => {
                unread.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(unread.unwrap_or_else(|| ImportError::UnknownFormat { path: path.to_owned() }))
}

/// Imports one file, or folder that is one source; its format is told by its first record. Of a path that gives several
/// sessions all are imported, and the main one is told of.
///
/// # Errors
///
/// See [`ImportError`]: each variant says what it leaves.
pub fn import(store: &Store, path: &Path) -> Result<Imported, ImportError> {
    let found = Found::file(path, false);
    let (known, sources) = found.sources()?;
    let mut main = None;
    for source in &sources {
        let imported = (known.import)(store, source, &mut |_| {})?;
        if main.is_none() || source.below.is_empty() {
            main = Some(imported);
        }
    }
    main.ok_or_else(|| ImportError::NoRecords { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn what_is_needed_comes_first_and_a_cycle_does_no_harm() {
        assert_eq!(before(&[vec![], vec![], vec![]]), [0, 1, 2]);
        assert_eq!(before(&[vec![2], vec![0], vec![]]), [2, 0, 1]);
        assert_eq!(before(&[vec![1], vec![2], vec![0]]), [2, 1, 0]);
        assert_eq!(before(&[vec![0], vec![0, 1]]), [0, 1]);
    }
}

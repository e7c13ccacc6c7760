//! The files that belong to a source beside its records: kept byte for byte, by name, and written again with it. They are compared as a
//! whole at the end of each import, since other programs rewrite them; what changed is kept anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::batch::Stop;
use super::export::Output;
use super::format::{Format, Known};
use super::run::known_session;
use super::source::{self, Source};
use super::{ExportError, ImportError, kept, written};
use crate::model::{Digest, EventNumber, SessionId};
use crate::store::{Batch, Store};

/// The annotation of a file that no row refers to; its payload is the file.
const FILE: &str = "import/file";
/// The annotation that lists them all; its payload is a [`Manifest`] as JSON.
const FILES: &str = "import/files";
/// Files up to this size are looked at as a whole, and go into the batch.
const SMALL: u64 = 16 << 20;
/// So many bytes of files go into a batch; what is more is committed before it.
const MAX_BATCH: u64 = 8 << 20;
/// How deep sources lie in one another.
const MAX_DEPTH: usize = 64;

/// Makes a file from records.
type Make = fn(&str, &[u8]) -> Option<Vec<u8>>;

/// What belongs to a source beside its records.
#[derive(Clone)]
pub struct Beside {
    /// Where it is.
    pub folder: PathBuf,
    /// The name of the file there that has the records.
    pub main: &'static str,
    /// The folders in it that do not belong to it.
    pub skip: fn(&Path) -> bool,
    /// The sources that lie in it: their paths from its folder.
    pub children: Vec<(String, Source)>,
}

/// The files of a source, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    main: String,
    files: Vec<Kept>,
    children: Vec<Child>,
}

/// A file: its payload, or how it is made from the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipe: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Child {
    name: String,
    session: SessionId,
}

/// The files as they are now.
pub(super) struct Survey {
    manifest: Manifest,
    paths: Vec<(PathBuf, u64)>,
    before: Option<Manifest>,
    pub(super) odd: Vec<(&'static str, String)>,
}

/// The files beside a source, if they are others than when it was imported last. `files` is the annotation of that time; `length` is
/// how much of the records was imported.
pub(super) fn changed<F: Format>(
    store: &Store,
    source: &Source,
    files: Option<(&SessionId, EventNumber)>,
    length: u64,
) -> Result<Option<Survey>, ImportError> {
    let Some(beside) = F::beside(source) else { return Ok(None) };
    let before = files.map(|(session, event)| read(store, session, event)).transpose()?;
    let survey = Survey::of::<F>(store, source, &beside, before, length)?;
    Ok(Some(survey).filter(|survey| survey.before.as_ref() != Some(&survey.manifest)))
}

fn read(store: &Store, session: &SessionId, event: EventNumber) -> Result<Manifest, crate::store::error::ReadError> {
    let digest = store.event(session, event)?.payload_ref.ok_or_else(|| kept::damaged(None))?;
    serde_json::from_slice(&store.blobs().get(&digest)?).map_err(|error| kept::damaged(Some(error.into())))
}

impl Survey {
    fn of<F: Format>(
        store: &Store,
        source: &Source,
        beside: &Beside,
        before: Option<Manifest>,
        length: u64,
    ) -> Result<Survey, ImportError> {
        let main = beside.main.to_owned();
        let manifest = Manifest { main, files: Vec::new(), children: Vec::new() };
        let mut survey = Survey { manifest, paths: Vec::new(), before, odd: Vec::new() };
        let found = survey.list(beside).map_err(|error| source.io(error))?;
        let mut records = None;
        for (name, path) in found {
            let io = |source| ImportError::Io { path: path.clone(), source };
            let mut file = source::open(&path)?;
            let size = file.metadata().map_err(io)?.len();
            let mut kept = Kept { name, payload: None, recipe: None };
            if size <= SMALL {
                let mut bytes = Vec::new();
                (&mut file).take(SMALL).read_to_end(&mut bytes).map_err(io)?;
                if records.is_none() {
                    records = Some(journal(source, length).map_err(|error| source.io(error))?);
                }
                kept.recipe = F::recipe(&kept.name, &bytes, records.as_deref().unwrap_or_default());
                if kept.recipe.is_none() {
                    kept.payload = Some(Digest::of(&bytes));
                }
            } else {
                kept.payload = Some(sum(file).map_err(io)?);
            }
            survey.manifest.files.push(kept);
            survey.paths.push((path, size));
        }
        for (name, source) in &beside.children {
            if let Some(session) = known_session::<F>(store, source)? {
                survey.manifest.children.push(Child { name: name.clone(), session });
            }
        }
        Ok(survey)
    }

    /// The regular files of the folder, by name; what is passed over is told of.
    fn list(&mut self, beside: &Beside) -> io::Result<Vec<(String, PathBuf)>> {
        let (mut found, mut folders) = (Vec::new(), vec![beside.folder.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                let name = path.strip_prefix(&beside.folder).ok().and_then(Path::to_str);
                let shown = path.strip_prefix(&beside.folder).unwrap_or(&path).display();
                match name {
                    _ if kind.is_dir() && (beside.skip)(&path) => {}
                    _ if kind.is_dir() => folders.push(path),
                    _ if !kind.is_file() => {
                        self.odd.push(("not-a-file", format!("{shown} is a link or no file, and is passed over")));
                    }
                    None => self.odd.push(("bad-name", format!("the name of {shown} is no text: it is passed over"))),
                    Some(name) if name == beside.main => {}
                    Some(name) => found.push((name.to_owned(), path)),
                }
            }
        }
        found.sort();
        self.odd.sort();
        Ok(found)
    }

    /// What tells this state of the files from others.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        // Plain structs into memory: cannot fail.
        serde_json::to_vec(&self.manifest).unwrap_or_default()
    }

    /// Keeps the files; gives the annotation that lists them.
    pub(super) fn keep(
        &self,
        store: &Store,
        batch: &mut Batch<'_>,
        refers_to: impl Fn(&Digest) -> bool,
    ) -> Result<EventNumber, Stop> {
        let mut weight = 0;
        for (kept, (path, size)) in self.manifest.files.iter().zip(&self.paths) {
            let Some(payload) = kept.payload else { continue };
            let is_known = self.before.as_ref().is_some_and(|before| before.files.contains(kept));
            if is_known || refers_to(&payload) {
                continue;
            }
            let io = |source| ImportError::Io { path: path.clone(), source };
            weight += size;
            let mut file = source::open(path)?;
            let put = if weight > MAX_BATCH {
                store.blobs().put_from(file)?
            } else {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(io)?;
                batch.put(&bytes)
            };
            if put != payload {
                return Err(io(io::Error::other("the file changed while it was read")).into());
            }
            batch.add_annotation(FILE, None, Some(payload))?;
        }
        let payload = batch.put(&self.bytes());
        Ok(batch.add_annotation(FILES, None, Some(payload))?)
    }
}

/// The records that were imported; nothing where they are too much to be looked at as a whole.
fn journal(source: &Source, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if length <= SMALL {
        source.bytes().take(length).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn sum(file: File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Writes the records and files of a source, and of those that lie in it; says whether there are files.
pub(super) fn write(
    known: &Known,
    store: &Store,
    session: &SessionId,
    out: &mut dyn Output,
) -> Result<bool, ExportError> {
    let Some(manifest) = last(store, session)? else { return Ok(false) };
    write_below(known.make, store, session, &manifest, "", 0, out)?;
    Ok(true)
}

/// Writes the files beside a source whose names are not among those `written`, but for those that are made from the
/// records, and the sources that lie in it.
pub(super) fn write_others<F: Format>(
    store: &Store,
    session: &SessionId,
    written: &BTreeSet<String>,
    out: &mut dyn Output,
) -> Result<(), ExportError> {
    let Some(manifest) = last(store, session)? else { return Ok(()) };
    for file in manifest.files.iter().filter(|file| !written.contains(&file.name)) {
        if let Some(payload) = &file.payload {
            out.part(&file.name, &[])?;
            written::copy_payload(store, payload, out)?;
        }
    }
    for child in &manifest.children {
        if let Some(manifest) = last(store, &child.session)? {
            let prefix = format!("{}/", child.name);
            write_below(F::make, store, &child.session, &manifest, &prefix, 1, out)?;
        }
    }
    Ok(())
}

fn last(store: &Store, session: &SessionId) -> Result<Option<Manifest>, ExportError> {
    let events = store.session(session)?.events;
    let Some((_, digest)) = kept::last(store, session, events)? else { return Ok(None) };
    let payload = store.blobs().get(&digest)?;
    let progress: kept::Progress<serde::de::IgnoredAny> = kept::progress(&payload)?;
    Ok(progress.files.map(|event| read(store, session, event)).transpose()?)
}

fn write_below(
    make: Make,
    store: &Store,
    session: &SessionId,
    manifest: &Manifest,
    prefix: &str,
    depth: usize,
    out: &mut dyn Output,
) -> Result<(), ExportError> {
    if depth > MAX_DEPTH {
        return Err(kept::damaged(None).into());
    }
    out.part(&format!("{prefix}{}", manifest.main), &[])?;
    written::copy(store, session, 0, u64::MAX, out)?;
    let mut records = None;
    for file in &manifest.files {
        out.part(&format!("{prefix}{}", file.name), &[])?;
        match (&file.payload, &file.recipe) {
            (Some(payload), _) => written::copy_payload(store, payload, out)?,
            (None, Some(recipe)) => {
                if records.is_none() {
                    let mut bytes = Vec::new();
                    written::write_source(store, session, &mut bytes)?;
                    records = Some(bytes);
                }
                let made = make(recipe, records.as_deref().unwrap_or_default());
                out.write(&made.ok_or_else(|| kept::damaged(None))?)?;
            }
            (None, None) => return Err(kept::damaged(None).into()),
        }
    }
    for child in &manifest.children {
        let Some(manifest) = last(store, &child.session)? else { continue };
        let prefix = format!("{prefix}{}/", child.name);
        write_below(make, store, &child.session, &manifest, &prefix, depth + 1, out)?;
    }
    Ok(())
}

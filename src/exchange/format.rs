//! What a format is: how its sources are told, and what its records mean. All else is the same for every format.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::{After, Step, Stop};
use super::beside::Beside;
use super::export::{Output, Task, Writer};
use super::family::Answers;
use super::reader::{JSON, Reader, Syntax};
use super::shared::{self, Branch};
use super::source::Source;
use super::{ExportError, ImportError, Imported, Seen, kept, run};
use crate::model::{Digest, HeadId, InvocationNumber, Status, Timestamp, TurnNumber};
use crate::store::Store;

/// A format: the value is what an import must remember between two records. It is written with each batch and, by
/// [`Format::at_head`], with each head, so it must be small, whatever the length of the source.
///
/// For each item that is a record the core calls [`Format::read`], ends the turn before it if [`Format::begins_turn`],
/// then calls [`Format::record`]. Batches, what is no record, what came before, and keeping the source are its own
/// matter.
pub trait Format: Clone + Default + Serialize + DeserializeOwned + 'static {
    /// What output calls it.
    const NAME: &'static str;
    /// Whose logs these are.
    const ABOUT: &'static str;
    /// How its records are written.
    const SYNTAX: Syntax = JSON;
    /// Whether a fork's file may leave out records of its parent that lie between those it has: a tree's branch.
    const IS_TREE: bool = false;
    /// Whether a program writes a source anew as a whole, so that what was imported need not be its beginning: then
    /// [`Format::rewritten`] is asked.
    const IS_REWRITTEN: bool = false;
    /// Whether a child that goes on from another session's head was attached to it, rather than forked.
    const CHILDREN_ATTACH: bool = false;
    /// Which sources are found by the answers that others have as their own.
    const ANSWERS: Answers = Answers::Unknown;
    /// A record that was read.
    type Record<'r>;

    /// Whether a source whose first record this is has the format.
    fn recognize(first: &[u8]) -> Recognized;

    /// Whether a file has the format, or is one that holds no session, where its first line does not tell.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    fn recognize_file(_path: &Path) -> io::Result<Recognized> {
        Ok(Recognized::No)
    }

    /// Whether a file found in a folder may be a source.
    fn wants(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "jsonl")
    }

    /// Whether a folder is one source as it is: then nothing else is looked for in it.
    fn is_folder(_path: &Path) -> bool {
        false
    }

    /// The sources that a file or folder of the format is: each becomes a session. The first is the main one; those it
    /// refers to may stand before it, since they are imported in this order.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    fn sources(path: &Path) -> io::Result<Vec<Source>> {
        Ok(vec![Source::file(path)])
    }

    /// Who the source is, from its first record.
    fn header(first: &[u8], source: &Source) -> Header;

    /// Reads a record; why it cannot be understood.
    ///
    /// # Errors
    ///
    /// A text for a diagnostic: the record is then kept as an annotation.
    fn read(record: &[u8]) -> Result<Self::Record<'_>, String>;

    /// When the record was written.
    fn at(record: &Self::Record<'_>) -> Option<Timestamp>;

    /// Whether the record ends the turn before it.
    fn begins_turn(&self, record: &Self::Record<'_>) -> bool;

    /// Makes rows of one record. What [`Step::keep`] is not called for is kept as it is.
    ///
    /// # Errors
    ///
    /// [`Stop`]: the batch is not written.
    fn record(&mut self, step: &mut Step<'_, '_>, record: Self::Record<'_>) -> Result<After, Stop>;

    /// Ends the turn, if one is open; says whether there is something to seal.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn end_turn(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop>;

    /// The source has no more for now. If it goes on later with the same turn, the format goes on with it: what may still
    /// come, such as the result of a tool, must not be given up here.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn source_ended(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.end_turn(step).map(drop)
    }

    /// The turn that records belong to now.
    fn turn(&self) -> Option<TurnNumber> {
        None
    }

    /// Whether the turn has its end, as far as can be told before the next one begins: asked where records are appended
    /// one by one.
    fn is_settled(&self) -> bool {
        false
    }

    /// Whether a turn runs, or a tool is waited for, of which [`Format::source_ended`] has not told the end: asked where a source ends right behind
    /// a compaction, whose batch it ended with.
    fn is_open(&self) -> bool {
        false
    }

    /// A batch was written: numbers that [`Step::ask`] gave are void.
    fn batch_ended(&mut self) {}

    /// What a source that leaves the history at this head must know, to go on there; none if none can.
    fn at_head(&self) -> Option<Self> {
        Some(self.clone())
    }

    /// The invocations that came back since the last head: the next one is recorded as their caller's. Asked when one is
    /// sealed.
    fn returned(&mut self) -> Vec<InvocationNumber> {
        Vec::new()
    }

    /// Where the history of a source that is not in the store leaves that of another which is; none where it leaves none.
    /// With `made`, that head and no other: the session was made there, and its first batch was not written.
    ///
    /// # Errors
    ///
    /// [`ImportError`].
    fn branch(
        store: &Store,
        source: &Source,
        header: &Header,
        made: Option<HeadId>,
    ) -> Result<Option<Branch<Self>>, ImportError> {
        shared::from_parent(store, source, header, made)
    }

    /// The files that belong to a source beside its records, and are kept with it.
    fn beside(_source: &Source) -> Option<Beside> {
        None
    }

    /// Whether a row of this import refers to that payload, so that a file with its bytes needs nothing more.
    fn refers_to(&self, _payload: &Digest) -> bool {
        false
    }

    /// How [`Format::make`] makes the file `name` beside the records, which has these bytes, from the records; none if it
    /// cannot.
    fn recipe(_name: &str, _bytes: &[u8], _records: &[u8]) -> Option<String> {
        None
    }

    /// Makes a file from the records.
    fn make(_recipe: &str, _records: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Whether a source that was written anew goes on from what was imported of it. The readers stand where the first line begins that is
    /// another: of what was imported, and of what the source is now. If it goes on, the state is then what the next record, the first
    /// of the latter, meets.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    fn rewritten(&mut self, _old: &mut Reader<'_>, _new: &mut Reader<'_>) -> io::Result<Rewritten> {
        Ok(Rewritten::Leaves)
    }

    /// Writes the source that was read as `stream`, where a part is read [through](super::source::Part::through) something.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    fn restore(&self, mut stream: File, out: &mut dyn Output) -> Result<(), ExportError> {
        io::copy(&mut stream, &mut Writer(out)).map(drop).map_err(ExportError::of_output)
    }

    /// The records that end within the first `bytes` of the source of a fork are those of its parent too, also where no
    /// head lies between them: what is made of them again happened there.
    fn repeats(&mut self, _bytes: u64) {}

    /// A record that is shared with the source of a fork was passed over: its rows are there.
    fn passed(&mut self, _record: &[u8]) {}

    /// What makes two records of a fork and its parent the same; none for a record that tells of its own source, such
    /// as a header.
    fn key(record: &[u8]) -> Option<Digest> {
        Some(Digest::of(record))
    }

    /// Whether a source says that it begins with another's records.
    fn is_fork(header: &Header) -> bool {
        !header.parents.is_empty()
    }

    /// Whether the record tells of an answer of the model and what it used, and its [`Format::key`] is hardly another's.
    fn is_answer(_record: &Self::Record<'_>) -> bool {
        false
    }

    /// Whether the source of a fork may have the record where its parent has not, or the other way: what is shown live.
    fn is_aside(_record: &[u8]) -> bool {
        false
    }

    /// Where the record stands in the order of the history, if not where it stands in the file. Records without one
    /// come last.
    fn order(_record: &[u8]) -> Option<u64> {
        None
    }

    /// Whether [`Format::order`] is to be asked.
    const IS_ORDERED: bool = false;

    /// Writes as the format's records what a session holds beyond a kept source: see [`Task`].
    ///
    /// # Errors
    ///
    /// [`ExportError::NotExportable`] where the format cannot.
    fn write(task: &Task<'_>, _out: &mut dyn Output) -> Result<(), ExportError> {
        Err(ExportError::NotExportable {
            session: task.session.clone(),
            format: Self::NAME,
            why: "only what was imported can be written in this format, and the session holds more".to_owned(),
        })
    }
}

/// What a first record says about its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognized {
    /// It has the format.
    Yes,
    /// It has not.
    No,
    /// It has a version of the format that is not read: which.
    OtherVersion(String),
    /// It is another file of the same program, which holds no session: what it is.
    NoSession(&'static str),
}

/// What a source that was written anew is to what was imported of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewritten {
    /// It goes on from there, in place of so many records of what was imported.
    GoesOn(u64),
    /// It is a part of it: its program is about to write the rest.
    IsPart,
    /// It is another history.
    Leaves,
}

/// Who a source is.
#[derive(Debug, Clone)]
pub struct Header {
    /// The id that the source gives the session at its root.
    pub root: String,
    /// The id the session gets if it is free and well formed.
    pub id: String,
    /// When it began.
    pub at: Option<Timestamp>,
    /// What the session is.
    pub kind: Status,
    /// A title.
    pub title: Option<String>,
    /// The ids of sources this one was forked from: those whose records it may begin with, the best first.
    pub parents: Vec<String>,
    /// The ids of sources that are to be imported before it, its parents apart.
    pub after: Vec<String>,
    /// The ids of sources that it is to be imported before.
    pub before: Vec<String>,
    /// What tells it from others of its id, where that is not its first record.
    pub told_by: Option<Vec<u8>>,
}

impl Header {
    /// A session of that id, of which no more is known.
    pub fn of(id: String) -> Header {
        Header {
            root: id.clone(),
            id,
            at: None,
            kind: Status::SESSION,
            title: None,
            parents: Vec::new(),
            after: Vec::new(),
            before: Vec::new(),
            told_by: None,
        }
    }
}

type Restore = fn(&str, File, &mut dyn Output) -> Result<(), ExportError>;

fn restore<F: Format>(state: &str, stream: File, out: &mut dyn Output) -> Result<(), ExportError> {
    let state: F = serde_json::from_str(state).map_err(|error| kept::damaged(Some(error.into())))?;
    state.restore(stream, out)
}

pub(super) type Import = fn(&Store, &Source, &mut dyn FnMut(Seen)) -> Result<Imported, ImportError>;

/// A known format.
pub struct Known {
    /// What output calls it.
    pub name: &'static str,
    /// Whose logs these are.
    pub about: &'static str,
    pub(super) syntax: Syntax,
    pub(super) recognize: fn(&[u8]) -> Recognized,
    pub(super) recognize_file: fn(&Path) -> io::Result<Recognized>,
    pub(super) wants: fn(&Path) -> bool,
    pub(super) is_folder: fn(&Path) -> bool,
    /// Whether what is kept has several versions of a file, of which the newest are written.
    pub(super) keeps_versions: bool,
    pub(super) sources: fn(&Path) -> io::Result<Vec<Source>>,
    pub(super) header: fn(&[u8], &Source) -> Header,
    pub(super) import: Import,
    pub(super) write: fn(&Task<'_>, &mut dyn Output) -> Result<(), ExportError>,
    pub(super) make: fn(&str, &[u8]) -> Option<Vec<u8>>,
    /// Writes a source of that state from the stream it was read as; none where that is the source.
    pub(super) restore: Option<Restore>,
}

impl Known {
    pub(super) const fn of<F: Format>() -> Known {
        Known {
            name: F::NAME,
            about: F::ABOUT,
            syntax: F::SYNTAX,
            recognize: F::recognize,
            recognize_file: F::recognize_file,
            wants: F::wants,
            is_folder: F::is_folder,
            keeps_versions: false,
            sources: F::sources,
            header: F::header,
            import: run::import::<F>,
            write: F::write,
            make: F::make,
            restore: if F::IS_REWRITTEN { Some(restore::<F>) } else { None },
        }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

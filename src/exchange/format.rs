//! What a format is: how its sources are told, and what its records mean. All else is the same for every format.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::{After, Step, Stop};
use super::beside::Beside;
use super::export::{Output, Task};
use super::reader::{JSON, Syntax};
use super::shared::{self, Branch};
use super::source::Source;
use super::{ExportError, ImportError, Imported, Seen, run};
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
    /// Whether a child that goes on from another session's head was attached to it, rather than forked.
    const CHILDREN_ATTACH: bool = false;
    /// A record that was read.
    type Record<'r>;

    /// Whether a source whose first record this is has the format.
    fn recognize(first: &[u8]) -> Recognized;

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

    /// Whether a turn runs of which [`Format::source_ended`] has not told the end: asked where a source ends right behind
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
        }
    }
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
    pub(super) wants: fn(&Path) -> bool,
    pub(super) is_folder: fn(&Path) -> bool,
    /// Whether a file is told by where it lies, or how it begins, whatever its first line is; why it is refused.
    pub(super) takes: fn(&Path) -> Recognized,
    /// Whether its sources are rewritten: what is kept has several versions of a file, and the newest are written.
    pub(super) is_rewritten: bool,
    pub(super) sources: fn(&Path) -> io::Result<Vec<Source>>,
    pub(super) header: fn(&[u8], &Source) -> Header,
    pub(super) import: Import,
    pub(super) write: fn(&Task<'_>, &mut dyn Output) -> Result<(), ExportError>,
    pub(super) make: fn(&str, &[u8]) -> Option<Vec<u8>>,
}

impl Known {
    pub(super) const fn of<F: Format>() -> Known {
        Known {
            name: F::NAME,
            about: F::ABOUT,
            syntax: F::SYNTAX,
            recognize: F::recognize,
            wants: F::wants,
            is_folder: F::is_folder,
            takes: |_| Recognized::No,
            is_rewritten: false,
            sources: F::sources,
            header: F::header,
            import: run::import::<F>,
            write: F::write,
            make: F::make,
        }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

//! Gemini CLI's chats: one JSON object that is written anew with each message, or a line for each. docs/IMPORT.md says what
//! becomes of each record.

mod aside;
mod layout;
mod line;
mod meaning;
mod record;
mod tape;
mod tool;
mod write;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batch::{After, Step, Stop};
use super::export::{Output, Task, Writer};
use super::family::Answers;
use super::format::{Format, Header, Recognized, Rewritten};
use super::json::{beginning, compact, text};
use super::reader::{Item, Reader, Syntax, json_object};
use super::shared::{self, Branch};
use super::source::{self, Source};
use super::tools::{Tools, TurnState, Turns};
use super::{ExportError, ImportError};
use crate::model::{
    CallNumber, Digest, HeadId, InvocationNumber, MessageNumber, Pin, PinTarget, Status, Timestamp, TurnNumber,
};
use crate::store::{ReadError, Store};
use aside::{Aside, pin, short};
use layout::{OF_SUBAGENT, is_chat, scan};
use record::Record;
use tape::{END, Tape};

/// What must be known between two records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Gemini {
    /// Whether the source is one object, rather than lines.
    is_whole: bool,
    /// How many messages follow that were imported before the object was written anew.
    left: u64,
    /// Inputs so far, and the number of the first turn if it was the first input's.
    inputs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Digest>,
    /// The turn that messages belong to.
    #[serde(flatten)]
    state: TurnState,
    /// Tools that were asked for: each by the hash of its answer's id and its place there.
    #[serde(skip_serializing_if = "Tools::is_blank")]
    asked: Tools,
    /// The content of the turn's last answer, unless it asks for tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Digest>,
    /// Why the turn failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Digest>,
    /// Whether the user cancelled the tools of the last answer.
    cancelled: bool,
    /// The last answers of the turn, of which more may be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Answer>,
    /// Invocations that came back since the last head.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    returned: Vec<InvocationNumber>,
    /// What can be found again in the source.
    #[serde(skip)]
    aside: Rc<RefCell<Aside>>,
}

/// An answer that was made a call and a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    /// The hash of its id.
    id: u64,
    message: MessageNumber,
    call: CallNumber,
    /// The hash of its content.
    content: u64,
    is_counted: bool,
    /// How many tools it asked for.
    tools: u64,
}

/// What the first value of a text is: a record, or the last line of an object's stream.
fn value(text: &[u8]) -> Result<usize, String> {
    if text.starts_with(END) { Ok(text.trim_ascii_end().len()) } else { json_object(text) }
}

/// What a chat's file is, if it is one object: read through its layout.
fn whole(path: &Path) -> io::Result<Option<Source>> {
    let file = opened(path)?;
    let meta = file.metadata()?;
    let Some(layout) = scan(BufReader::with_capacity(256 * 1024, file))? else { return Ok(None) };
    let mut source = Source::file(path);
    for part in &mut source.parts {
        let (layout, meta) = (layout.clone(), meta.clone());
        part.through = Some(Arc::new(move |file: File| {
            let now = file.metadata()?;
            if now.len() != layout.length || now.modified()? != meta.modified()? {
                return Err(io::Error::other("the file was written anew while it was read"));
            }
            Ok(Box::new(BufReader::with_capacity(256 * 1024, Tape::new(file, layout.clone()))))
        }));
    }
    Ok(Some(source))
}

fn opened(path: &Path) -> io::Result<File> {
    source::open(path).map_err(|error| match error {
        ImportError::Io { source, .. } => source,
        other => io::Error::new(io::ErrorKind::InvalidInput, other.to_string()),
    })
}

/// What another file of Gemini CLI is, by how it begins.
fn other(start: &[u8]) -> Option<&'static str> {
    let start = compact(beginning(start));
    let has = |text: &str| start.windows(text.len()).any(|part| part == text.as_bytes());
    if start.starts_with(b"[{") && has("\"messageId\":") && has("\"sessionId\":") {
        return Some("Gemini CLI's list of prompts (logs.json); the chats are in `chats` beside it");
    }
    let are_turns =
        ["[{\"role\":\"", "[{\"parts\":[", "{\"history\":[{\""].iter().any(|text| start.starts_with(text.as_bytes()));
    if are_turns && has("\"parts\":[") {
        return Some("a checkpoint of Gemini CLI, a copy of the model's context; the chats are in `chats` beside it");
    }
    let is_tape = start.starts_with(b"{\"method\":\"") && has("\"response\":") && has("enerateContent");
    is_tape.then_some("a tape of answers of the Gemini API, as tests of Gemini CLI have")
}

/// How much of a file tells what it is, and whether it is worth a look.
const START: u64 = 4_096;
const LOOK: u64 = 64 * 1024;

/// Whether a file of whatever name is a chat. What cannot be read is none.
fn seems_chat(path: &Path) -> bool {
    let mut start = Vec::new();
    let is_read = opened(path).is_ok_and(|file| file.take(LOOK).read_to_end(&mut start).is_ok());
    let name = b"\"messages\"";
    is_read
        && beginning(&start).starts_with(b"{")
        && start.windows(name.len()).any(|part| part == name)
        && opened(path).is_ok_and(|file| is_chat(BufReader::with_capacity(256 * 1024, file)).unwrap_or_default())
}

impl Format for Gemini {
    const NAME: &'static str = "gemini";
    const ABOUT: &'static str = "Gemini CLI";
    const SYNTAX: Syntax = Syntax { value, is_certain: |_| false };
    const IS_REWRITTEN: bool = true;
    const ANSWERS: Answers = Answers::OfAll;
    type Record<'r> = Record<'r>;

    fn recognize(first: &[u8]) -> Recognized {
        match Record::read(first) {
            Ok(Record::Header(fields)) if text(fields.project_hash).is_some() && fields.kind.is_none() => {
                Recognized::Yes
            }
            _ => Recognized::No,
        }
    }

    fn recognize_file(path: &Path) -> io::Result<Recognized> {
        let mut start = Vec::new();
        opened(path)?.take(START).read_to_end(&mut start)?;
        if let Some(what) = other(&start) {
            return Ok(Recognized::NoSession(what));
        }
        let is_object = beginning(&start).first() == Some(&b'{');
        let is_chat = is_object && is_chat(BufReader::with_capacity(256 * 1024, opened(path)?))?;
        Ok(if is_chat { Recognized::Yes } else { Recognized::No })
    }

    fn wants(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A subagent's lies one folder below.
        let in_chats = path.ancestors().skip(1).take(2).any(|folder| folder.ends_with("chats"));
        // Of what lies beside the chats it is told why it is left.
        let is_other =
            (name == "logs.json" || name.starts_with("checkpoint-")) && path.with_file_name("chats").is_dir();
        name.ends_with(".jsonl") || (name.ends_with(".json") && (in_chats || is_other || seems_chat(path)))
    }

    fn sources(path: &Path) -> io::Result<Vec<Source>> {
        Ok(vec![whole(path)?.unwrap_or_else(|| Source::file(path))])
    }

    fn header(first: &[u8], source: &Source) -> Header {
        let Ok(Record::Header(fields)) = Record::read(first) else { return Header::of(String::new()) };
        let mut header = Header::of(text(fields.session_id).unwrap_or_default());
        header.at = text(fields.start_time).and_then(|at| at.parse().ok());
        if text(fields.session_kind).as_deref() == Some("subagent") {
            header.kind = Status::CHILD;
        }
        // An object that is cut off has not said yet what it is: it is the same chat when it has.
        let is_object = source.parts.iter().any(|part| part.through.is_some());
        header.told_by = first.strip_suffix(OF_SUBAGENT).filter(|_| is_object).map(|start| [start, b"}"].concat());
        // The form before may have been imported, of which this one is a copy.
        header.parents = vec![header.root.clone()];
        header.after = agents(&source.path, &header.root);
        header
    }

    fn read(record: &[u8]) -> Result<Self::Record<'_>, String> {
        Record::read(record)
    }

    fn at(record: &Self::Record<'_>) -> Option<Timestamp> {
        record.at()
    }

    fn begins_turn(&self, record: &Self::Record<'_>) -> bool {
        match record {
            Record::Message(message) => self.left == 0 && message.is_input() && !self.aside.borrow().has(&message.id),
            Record::Rewind(_) => true,
            _ => false,
        }
    }

    fn record(&mut self, step: &mut Step<'_, '_>, record: Self::Record<'_>) -> Result<After, Stop> {
        self.take(step, record)
    }

    fn end_turn(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop> {
        self.end(step)
    }

    /// What a tool gives may still be written into its answer.
    fn source_ended(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.pause(step)
    }

    fn turn(&self) -> Option<TurnNumber> {
        self.state.turn
    }

    /// A fork has the answers of its parent.
    fn at_head(&self) -> Option<Gemini> {
        Some(Gemini { answer: None, answers: Vec::new(), ..self.clone() })
    }

    fn is_open(&self) -> bool {
        self.state.is_open() || self.asked.is_open()
    }

    fn returned(&mut self) -> Vec<InvocationNumber> {
        std::mem::take(&mut self.returned)
    }

    fn rewritten(&mut self, old: &mut Reader<'_>, new: &mut Reader<'_>) -> io::Result<Rewritten> {
        if !self.is_whole {
            return Ok(Rewritten::Leaves);
        }
        let (mut ids, mut records) = (Vec::new(), 0);
        while let Some(item) = old.advance()? {
            records += u64::from(item == Item::Record);
            ids.extend(id(&item, old));
        }
        let mut known = ids.iter().copied();
        let mut next = known.next();
        while next.is_some() {
            let Some(item) = new.advance()? else { return Ok(Rewritten::Leaves) };
            // Its program had not written it to its end.
            if let (Item::Record, Ok(Record::End(end))) = (&item, Record::read(new.record()))
                && end.is_torn
            {
                return Ok(Rewritten::IsPart);
            }
            let Some(id) = id(&item, new) else { continue };
            if Some(id) != next {
                return Ok(Rewritten::Leaves);
            }
            next = known.next();
        }
        self.left += ids.len() as u64;
        Ok(Rewritten::GoesOn(records))
    }

    fn restore(&self, stream: File, out: &mut dyn Output) -> Result<(), ExportError> {
        let mut stream = stream;
        let out = &mut Writer(out);
        let written = if self.is_whole { tape::restore(stream, out) } else { io::copy(&mut stream, out).map(drop) };
        written.map_err(ExportError::of_output)
    }

    fn write(task: &Task<'_>, out: &mut dyn Output) -> Result<(), ExportError> {
        write::write(task, out)
    }

    /// A chat may begin with a copy of another: of the same id where the older form became the newer, or with its first message.
    fn branch(
        store: &Store,
        source: &Source,
        header: &Header,
        made: Option<HeadId>,
    ) -> Result<Option<Branch<Gemini>>, ImportError> {
        let mut parents: Vec<String> = header.parents.clone();
        let first = first_id(source).map_err(|error| source.io(error))?;
        if let Some(pin) = first.and_then(|id| pin(&id)) {
            match store.read_pin(&pin) {
                Ok(found) => parents.extend(session_of(store, &found)?),
                Err(ReadError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for parent in parents {
            let header = Header { parents: vec![parent], ..header.clone() };
            let branch = shared::from_parent(store, source, &header, made)?;
            if let Some(branch) = branch.filter(|branch| branch.shared.common > 0) {
                return Ok(Some(branch));
            }
        }
        Ok(None)
    }

    fn passed(&mut self, record: &[u8]) {
        if let Ok(record) = Record::read(record) {
            self.aside.borrow_mut().pass(&record);
        }
    }

    fn is_answer(record: &Self::Record<'_>) -> bool {
        matches!(record, Record::Message(message) if message.kind == "gemini" && message.fields.tokens.is_some())
    }

    /// The same message may be indented in one form and not in the other.
    fn key(record: &[u8]) -> Option<Digest> {
        match Record::read(record) {
            Ok(Record::Header(_) | Record::End(_)) => None,
            Ok(Record::Set(set)) if set.messages.is_none() => None,
            _ => Some(Digest::of(&compact(record))),
        }
    }
}

/// What a message is known by.
fn id(item: &Item, reader: &Reader<'_>) -> Option<u64> {
    match (item, Record::read(reader.record())) {
        (Item::Record, Ok(Record::Message(message))) => Some(short(&message.id)),
        _ => None,
    }
}

/// The id of the first message of a source.
fn first_id(source: &Source) -> io::Result<Option<String>> {
    let mut reader = Reader::of(&source.parts, Gemini::SYNTAX);
    while let Some(item) = reader.advance()? {
        if let (Item::Record, Ok(Record::Message(message))) = (item, Record::read(reader.record())) {
            return Ok(Some(message.id));
        }
    }
    Ok(None)
}

/// The subagents of a chat: their files are in a folder of its name.
fn agents(path: &Path, root: &str) -> Vec<String> {
    if root.is_empty() || Path::new(root).components().count() != 1 || root.contains(['/', '\0']) {
        return Vec::new();
    }
    let folder: PathBuf = path.with_file_name(root);
    // What cannot be listed is not waited for.
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let chats =
        names.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl" || extension == "json"));
    let mut found: Vec<String> =
        chats.filter_map(|path| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned)).collect();
    found.retain(|id| id != root);
    found.sort();
    found
}

/// The session of the head that a pin names.
fn session_of(store: &Store, pin: &Pin) -> Result<Option<String>, ImportError> {
    Ok(match pin.target {
        PinTarget::Head(head) => Some(store.head(&head)?.session.to_string()),
        PinTarget::Payload(_) => None,
    })
}

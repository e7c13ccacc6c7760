//! Session logs of other programs, read in and written again, and sessions as files for other programs ([`files`]). This
//! floor promises that every record of a source is kept so that it can be written again byte for byte, that importing a
//! source again adds nothing, that an interrupted import goes on where it was, and that a source which cannot be read
//! changes nothing. What the command prints of it is left to the floor above.
//!
//! One core does this for every format: [`find`](mod@find) what there is, [`reader`] its records, `run` where they go,
//! [`batch`] make commits of them, [`kept`] what stays of the source, `shared` and `family` what it has in common with
//! others. A format says what its records mean: see [`Format`](format::Format).

pub mod batch;
pub mod beside;
mod callee;
pub mod claude;
pub mod codex;
pub mod error;
pub mod export;
mod family;
pub mod files;
pub mod find;
pub mod format;
pub mod fractal;
pub mod gemini;
pub mod json;
pub mod kept;
pub mod opencode;
mod order;
pub mod pi;
pub mod pixir;
pub mod reader;
mod run;
pub mod shared;
pub mod source;
mod sum;
pub mod template;
pub mod told;
pub mod tools;
mod written;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::SessionId;

pub use batch::Step;
pub use error::{ExportError, ImportError};
pub use export::{Exported, export, export_to};
pub use find::{Found, find, find_telling, import, ordered};
pub use format::{Known, Recognized};
pub use written::write_source;

/// The formats, in the order they are tried.
pub static FORMATS: [Known; 7] = [
    Known::of::<pi::Pi>(),
    Known::of::<pixir::Pixir>(),
    Known::of::<fractal::Fractal>(),
    Known::of::<claude::Claude>(),
    Known::of::<codex::Codex>(),
    Known::of::<gemini::Gemini>(),
    opencode::KNOWN,
];

/// Whether a pin is one by which imports find sources again: its name begins with a format's, and a dot.
pub fn is_of_imports(pin: &SessionId) -> bool {
    FORMATS.iter().any(|format| pin.as_str().strip_prefix(format.name).is_some_and(|rest| rest.starts_with('.')))
}

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the thing it names, or their number in the session")]
pub struct Imported {
    pub session: SessionId,
    pub alias: Option<SessionId>,
    #[serde(serialize_with = "shown")]
    pub source: PathBuf,
    pub format: &'static str,
    /// The session whose rows it shares, of a fork, or of a source that left what was imported of it before.
    pub forked_from: Option<SessionId>,
    pub events: u64,
    pub messages: u64,
    pub turns: u64,
    pub calls: u64,
    pub evals: u64,
    pub heads: u64,
    pub invocations: u64,
    /// How many events this import added.
    pub new_events: u64,
    /// What was odd in the source, in its order; at most [`MAX_DIAGNOSTICS`] of each batch.
    pub diagnostics: Vec<Diagnostic>,
}

/// How far the reading of a source came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of the source that were read.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
}

/// A path as JSON has it: text, whatever its bytes are.
fn shown<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// How many diagnostics of a batch are kept.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// Something odd in a source, which did not stop its import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The line, from 1; 0 for the source as a whole.
    pub line: u64,
    /// A word for scripts: `two-records`, `bad-line`, `bad-record`, `torn-tail`, `line-too-long`, `out-of-order`,
    /// `shorter`, `late-result`, and those of a format.
    pub kind: String,
    /// What it is, in words.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn new(line: u64, kind: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { line, kind: kind.to_owned(), message: message.into() }
    }
}

//! What every verb is given: which store is meant, and where output goes.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::PathBuf;

use anstream::AutoStream;
use headwater::model::SessionId;
use headwater::store::{NewSession, Options, Store};
use serde::Serialize;

use super::terminal::{self, Guard, Pass};
use super::{Failure, complain, fail, progress, text, width};

/// What every verb is given.
pub struct Context {
    /// The store that was named.
    pub store: Option<PathBuf>,
    /// Whether to print JSON.
    pub json: bool,
}

/// Text for people: colour codes are dropped where nobody sees them (a pipe, `NO_COLOR`), all others on a terminal.
pub type Text = BufWriter<Guard<AutoStream<StdoutLock<'static>>>>;

/// Bytes as they are; on a terminal, without what would make it do more than show text.
pub type Bytes = BufWriter<Guard<StdoutLock<'static>>>;

impl Context {
    /// The folder of the store: the one named, else the nearest at or above the current folder, else, with `create`,
    /// `./.headwater`.
    pub fn root(&self, create: bool) -> Result<PathBuf, Failure> {
        let here = std::env::current_dir()
            .map_err(|error| Failure::new("io", format!("the current folder cannot be read: {error}")))?;
        match &self.store {
            Some(root) => Ok(root.clone()),
            None => match Store::find(&here) {
                Some(root) => Ok(root),
                None if create => Ok(here.join(".headwater")),
                None => Err(fail::no_store("at or above", &here)),
            },
        }
    }

    /// Opens the store; with `create` makes it where there is none. Says on stderr, in one line, if it had to be rebuilt or
    /// something was set aside.
    pub fn open_store(&self, create: bool) -> Result<Store, Failure> {
        let root = self.root(create)?;
        let line = progress::Line::new(self);
        let store = Store::open_with(&root, Options { create, observer: line.observer(), ..Options::default() })?;
        drop(line);
        let report = store.report();
        let mut said: Vec<String> = Vec::new();
        if let Some((why, commits)) = &report.rebuilt {
            said.push(format!("rebuilt store.sqlite from {commits} commits of the log: {why}"));
        }
        said.extend(report.notes.iter().cloned());
        if !said.is_empty() {
            self.notice(&said.join("; "));
        }
        Ok(store)
    }

    /// A command of ours to go on with, for the same store.
    pub fn command(&self, rest: &str) -> String {
        match &self.store {
            Some(root) => format!("headwater {rest} --store {}", text::shell(&root.display().to_string())),
            None => format!("headwater {rest}"),
        }
    }

    /// The failure, the commands of its hint for the same store.
    pub fn hinted(&self, mut failure: Failure) -> Failure {
        if let (Some(root), Some(hint)) = (&self.store, &failure.hint)
            && !hint.contains("--store")
        {
            let named = format!("headwater --store {} ", text::shell(&root.display().to_string()));
            failure.hint = Some(hint.replace("headwater ", &named));
        }
        failure
    }

    /// One line on stderr that is not an error; with `--json` an object.
    pub fn notice(&self, text: &str) {
        // Nobody can be told that stderr is closed.
        let _ = if self.json {
            let object = serde_json::json!({ "ok": true, "notice": text });
            complain(Pass::Json, format_args!("{object}"))
        } else {
            complain(Pass::Coloured, format_args!("headwater: {}", width::harmless(text)))
        };
    }

    /// Prints `value` as one line of JSON.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut out = self.json();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Where text goes; flush it at the end, so that a full disk is noticed.
    pub fn text(&self) -> Text {
        BufWriter::new(Guard::new(AutoStream::auto(io::stdout().lock()), on_terminal(Pass::Coloured)))
    }

    /// Where payloads go: unchanged, but for a terminal.
    pub fn bytes(&self) -> Bytes {
        BufWriter::new(Guard::new(io::stdout().lock(), on_terminal(Pass::Plain)))
    }

    /// Where JSON goes.
    pub fn json(&self) -> Bytes {
        BufWriter::new(Guard::new(io::stdout().lock(), on_terminal(Pass::Json)))
    }

    /// What a `--name` means: the id of the new session; without one the store makes an id.
    pub fn new_session(&self, name: Option<&SessionId>) -> NewSession {
        name.map_or_else(NewSession::fresh, |name| NewSession::named(name.clone()))
    }
}

/// What may pass where a terminal is written to; elsewhere all of it.
fn on_terminal(pass: Pass) -> Pass {
    if terminal::is_one() { pass } else { Pass::All }
}

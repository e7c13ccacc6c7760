//! The command, from outside: output, exit codes, the shapes of its JSON. docs/CLI.md is what it is held to.

mod alias;
mod branch;
mod care;
mod disturbed;
mod events;
mod help;
mod homes;
mod listing;
mod nodes;
mod pages;
mod payload;
mod pin;
mod record;
mod scripts;
mod state;
mod stream;
mod terminal;
mod usage;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, in which the command is run.
struct Home(TempDir);

/// How a run ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Home {
        Home(TempDir::new().unwrap())
    }

    /// With a session `demo` of one turn.
    fn demo() -> Home {
        let home = Home::new();
        home.ok(&["run", "add two numbers", "--script", "simple", "--name", "demo"]);
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("headwater"));
        command.current_dir(self.path()).args(args).env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Its output, having ended with 0 and nothing to complain about.
    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}: {}", ran.out);
        ran.out
    }

    /// The JSON it prints with `--json`.
    fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--json"]].concat());
        assert_eq!(out.matches('\n').count(), 1, "one line: {out}");
        serde_json::from_str(&out).unwrap()
    }

    /// The error it prints with `--json`: one object, nothing on stdout, exit code 1.
    fn error(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}");
        let error: Value = serde_json::from_str(&ran.err).unwrap();
        assert_eq!(keys(&error), ["error", "ok"]);
        assert_eq!(error["ok"], false);
        assert_eq!(keys(&error["error"]), ["details", "hint", "kind", "message"]);
        error["error"].clone()
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The keys of an object, in alphabetical order.
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The items of an array.
fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// Whether it is a whole head id.
fn is_head(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("head-") && text.len() == 69)
}

/// Whether it is a time in the form all output has.
fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 27 && text.as_bytes()[10] == b'T' && text.ends_with('Z'))
}

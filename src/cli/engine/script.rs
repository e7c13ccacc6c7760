//! Script files: what the scripted model answers. Strict: an unknown key or a reply that contradicts itself is an
//! error that names the place. The form is described in docs/SCRIPTS.md.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::builtin;
use crate::cli::Failure;

/// The greatest script file that is read.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What a model answers, turn by turn.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    system: Option<String>,
    replies: Option<Vec<Reply>>,
    turns: Option<Vec<TurnScript>>,
}

/// A script that was checked.
#[derive(Debug, Clone)]
pub struct Script {
    /// The system message of a new session.
    pub system: Option<String>,
    /// At least one.
    pub turns: Vec<TurnScript>,
}

/// One turn.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnScript {
    /// The input, where it is not the task of the command.
    pub task: Option<String>,
    pub replies: Vec<Reply>,
    /// After the turn, the transcript is compacted.
    pub compact: Option<Compact>,
}

/// One answer of the root model and what follows from it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reply {
    pub text: String,
    pub evals: Vec<EvalScript>,
    /// Calls of a leaf model, made by the code of the first eval.
    pub leaves: Vec<Leaf>,
    /// Sessions of their own, opened by the code of the first eval.
    pub children: Vec<Child>,
    /// Whether the leaves are one batch, and the children another.
    pub batch: bool,
    #[serde(rename = "final")]
    pub final_value: Option<Box<RawValue>>,
    pub status: Option<End>,
    /// The error of a `status` that is one.
    pub error: Option<String>,
}

/// How a turn ends that has no final value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The turn ends without a value.
    None,
    /// The model fails.
    Error,
    /// The model does not answer in time.
    Timeout,
    /// The engine dies while the model is being asked.
    Aborted,
}

/// Code or a tool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalScript {
    #[serde(default = "repl")]
    pub name: String,
    pub code: String,
    pub result: Option<Box<RawValue>>,
    pub error: Option<String>,
}

fn repl() -> String {
    "repl".to_owned()
}

/// One call of a leaf model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    pub prompt: String,
    pub reply: Option<String>,
    pub error: Option<String>,
}

/// A child session.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    pub task: String,
    /// A built-in script; `simple` where neither it nor `replies` is given.
    pub script: Option<String>,
    /// Its only turn.
    pub replies: Option<Vec<Reply>>,
    /// Whether it starts at the caller's current head instead of from nothing.
    #[serde(default)]
    pub attach: bool,
}

/// A compaction.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compact {
    /// The text that stands for what is no longer shown to the model.
    pub frame: String,
    /// How many of the last messages stay.
    pub keep: usize,
}

impl Script {
    /// The built-in script of that name, else the file of that path.
    pub fn load(name: &str) -> Result<Script, Failure> {
        if let Some(script) = Script::built_in(name) {
            return script;
        }
        let path = Path::new(name);
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
        match read {
            Ok(size) if size as u64 > MAX_FILE => {
                Err(bad(name, format!("it is larger than {} MiB", MAX_FILE / 1024 / 1024), None))
            }
            Ok(_) => Script::parse(name, &text),
            Err(error) => {
                let names = builtin::NAMES.join(", ");
                Err(Failure::file(path, &error).hint(format!("a script is a JSON file or one of {names}")))
            }
        }
    }

    /// The built-in script of that name.
    pub fn built_in(name: &str) -> Option<Result<Script, Failure>> {
        builtin::text(name).map(|text| Script::parse(name, text))
    }

    /// A script of one turn.
    pub fn of_replies(replies: Vec<Reply>) -> Script {
        Script { system: None, turns: vec![TurnScript { task: None, replies, compact: None }] }
    }

    fn parse(name: &str, text: &str) -> Result<Script, Failure> {
        // serde_json's own message ends with the line and column.
        let file: File =
            serde_json::from_str(text).map_err(|error| bad(name, error.to_string(), Some(error.line())))?;
        let bad = |what: String| {
            let line = line_of(text, what.split(':').next().unwrap_or_default());
            let at = line.map(|line| format!("line {line}, ")).unwrap_or_default();
            bad(name, format!("{at}{what}"), line)
        };
        let (turns, place) = match (file.replies, file.turns) {
            (Some(replies), None) => (vec![TurnScript { task: None, replies, compact: None }], ""),
            (None, Some(turns)) => (turns, "turns"),
            _ => return Err(bad("it needs either `replies` or `turns`".to_owned())),
        };
        if turns.is_empty() {
            return Err(bad("turns: there is none".to_owned()));
        }
        for (i, turn) in turns.iter().enumerate() {
            let prefix = if place.is_empty() { String::new() } else { format!("{place}[{i}].") };
            check(&turn.replies, &prefix).map_err(bad)?;
        }
        Ok(Script { system: file.system, turns })
    }
}

/// The line on which the value at `place` begins: `turns[1].replies[0].leaves[2]`. None where it is not there.
fn line_of(text: &str, place: &str) -> Option<usize> {
    let mut at = text;
    for step in place.split('.') {
        let (key, indexes) = step.split_once('[').unwrap_or((step, ""));
        at = serde_json::from_str::<BTreeMap<String, &RawValue>>(at).ok()?.get(key)?.get();
        for index in indexes.split('[').filter_map(|index| index.strip_suffix(']')) {
            at = serde_json::from_str::<Vec<&RawValue>>(at).ok()?.get(index.parse::<usize>().ok()?)?.get();
        }
    }
    // What is found is a piece of `text` itself.
    let before = text.get(..(at.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?)?;
    Some(before.matches('\n').count() + 1)
}

fn bad(name: &str, what: String, line: Option<usize>) -> Failure {
    Failure::new("bad-script", format!("the script {name} cannot be played: {what}"))
        .hint("docs/SCRIPTS.md describes script files")
        .details(serde_json::json!({ "script": name, "line": line }))
}

/// What the types cannot say.
fn check(replies: &[Reply], prefix: &str) -> Result<(), String> {
    if replies.is_empty() {
        return Err(format!("{prefix}replies: there is none"));
    }
    for (i, reply) in replies.iter().enumerate() {
        let place = format!("{prefix}replies[{i}]");
        let ends = reply.final_value.is_some() || reply.status.is_some();
        if reply.final_value.is_some() && reply.status.is_some() {
            return Err(format!("{place}: `final` and `status` contradict each other"));
        }
        if ends && i + 1 < replies.len() {
            return Err(format!("{place}: it ends the turn, but replies follow"));
        }
        if reply.error.is_some() && !matches!(reply.status, Some(End::Error | End::Timeout | End::Aborted)) {
            return Err(format!("{place}.error: it needs the `status` error, timeout or aborted"));
        }
        let answers = !matches!(reply.status, Some(End::Error | End::Timeout | End::Aborted));
        let works = !(reply.evals.is_empty() && reply.leaves.is_empty() && reply.children.is_empty());
        if !answers && (works || !reply.text.is_empty()) {
            return Err(format!("{place}: the model does not answer, so there is neither `text` nor work"));
        }
        for (j, eval) in reply.evals.iter().enumerate() {
            if eval.result.is_some() && eval.error.is_some() {
                return Err(format!("{place}.evals[{j}]: `result` and `error` contradict each other"));
            }
        }
        for (j, leaf) in reply.leaves.iter().enumerate() {
            if leaf.reply.is_some() == leaf.error.is_some() {
                return Err(format!("{place}.leaves[{j}]: it needs either `reply` or `error`"));
            }
        }
        for (j, child) in reply.children.iter().enumerate() {
            let place = format!("{place}.children[{j}]");
            match (&child.script, &child.replies) {
                (Some(_), Some(_)) => return Err(format!("{place}: `script` and `replies` contradict each other")),
                (Some(script), None) if builtin::text(script).is_none() => {
                    return Err(format!("{place}.script: {script:?} is none of {}", builtin::NAMES.join(", ")));
                }
                (None, Some(replies)) => check(replies, &format!("{place}."))?,
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_script_can_be_played() {
        for name in builtin::NAMES {
            let script = Script::built_in(name).unwrap().unwrap();
            assert!(!script.turns.is_empty(), "{name}");
        }
        assert!(Script::built_in("no-such").is_none());
    }

    #[test]
    fn an_error_names_the_line() {
        let text = "{\n \"turns\": [\n  {\"replies\": [{\"final\": 1}]},\n  {\"replies\": [\n    {\"text\": \"a\"},\n    {\"text\": \"b\",\n     \"error\": \"x\"}\n  ]}\n]}";
        let failure = Script::parse("s.json", text).unwrap_err();
        assert!(failure.message.contains("line 7, turns[1].replies[1].error: it needs"), "{}", failure.message);
        assert_eq!(failure.details["line"], 7);
        let failure = Script::parse("s.json", "{\"replies\":\n\n[{\"txt\":1}]}").unwrap_err();
        assert_eq!(failure.details["line"], 3, "{}", failure.message);
        assert_eq!(line_of(text, "turns[1].replies[1]"), Some(6));
        assert_eq!(line_of(text, "turns[2]"), None);
    }

    #[test]
    fn an_error_names_the_place() {
        for (text, place) in [
            (r#"{"replies":[{"txt":"a"}]}"#, "unknown field `txt`, expected"),
            (r#"{"replies":[{"text":1}]}"#, "line 1 column"),
            (r#"{}"#, "either `replies` or `turns`"),
            (r#"{"replies":[],"turns":[]}"#, "either `replies` or `turns`"),
            (r#"{"turns":[]}"#, "turns: there is none"),
            (r#"{"turns":[{"replies":[]}]}"#, "turns[0].replies: there is none"),
            (r#"{"replies":[{"final":1},{"text":"b"}]}"#, "replies[0]: it ends the turn"),
            (r#"{"replies":[{"final":1,"status":"error"}]}"#, "replies[0]: `final` and `status`"),
            (r#"{"replies":[{"text":"a","status":"timeout"}]}"#, "replies[0]: the model does not answer"),
            (r#"{"replies":[{"text":"a","error":"x"}]}"#, "replies[0].error"),
            (r#"{"replies":[{"evals":[{"code":"a","result":1,"error":"x"}]}]}"#, "replies[0].evals[0]"),
            (r#"{"replies":[{"leaves":[{"prompt":"a"}]}]}"#, "replies[0].leaves[0]"),
            (r#"{"replies":[{"children":[{"task":"a","script":"b"}]}]}"#, "replies[0].children[0].script"),
            (
                r#"{"turns":[{"replies":[{"children":[{"task":"a","replies":[]}]}]}]}"#,
                "turns[0].replies[0].children[0].replies: there is none",
            ),
        ] {
            let failure = Script::parse("s.json", text).unwrap_err();
            assert_eq!(failure.kind, "bad-script");
            assert!(failure.message.contains(place), "{text}: {}", failure.message);
        }
    }
}

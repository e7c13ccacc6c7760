//! The Claude Code logs of the shared folder: counted by hand from their lines, and compared with what the store says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange;
use headwater::store::{Options, Store};
use serde_json::Value;

/// What the lines of a file say, by the rules of docs/IMPORT.md and nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    messages: u64,
    turns: u64,
    calls: u64,
    evals: u64,
    heads: u64,
    invocations: u64,
    input: u64,
    output: u64,
    cached: u64,
}

fn text_of<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

fn blocks<'v>(row: &'v Value, kind: &str) -> Vec<&'v Value> {
    let parts = row["message"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter(|part| text_of(part, "type") == Some(kind)).collect()
}

/// What came of a command that the user ran, or that the turn was stopped.
fn is_told_by_the_program(row: &Value) -> bool {
    let content = &row["message"]["content"];
    let one = content
        .as_array()
        .filter(|parts| parts.len() == 1 && parts[0]["type"] == "text")
        .map(|parts| &parts[0]["text"]);
    let Some(text) = one.unwrap_or(content).as_str() else { return false };
    let begins = ["<local-command-", "<bash-std", "<task-notification>"];
    text.starts_with("[Request interrupted by user") || begins.iter().any(|begin| text.trim_start().starts_with(begin))
}

/// Of the file's whole records, those of the main session or of the one subagent it is.
fn counted(text: &str, is_side: bool) -> Counts {
    let mut counts = Counts { heads: 1, ..Counts::default() };
    let (mut uuids, mut answers, mut usage) = (HashSet::new(), HashSet::new(), HashMap::new());
    let (mut pending, mut given_up): (Vec<String>, HashSet<String>) = Default::default();
    for (number, line) in text.lines().enumerate() {
        let Ok(row) = serde_json::from_str::<Value>(line) else { continue };
        if !row.is_object() || row.get("isSidechain").and_then(Value::as_bool).unwrap_or_default() != is_side {
            continue;
        }
        if text_of(&row, "uuid").is_some_and(|uuid| !uuids.insert(uuid.to_owned())) {
            continue;
        }
        let is = |name: &str| row.get(name) == Some(&Value::Bool(true));
        match text_of(&row, "type") {
            Some("user") => {
                counts.messages += 1;
                let results = blocks(&row, "tool_result");
                if is("isCompactSummary") {
                    counts.heads += 1;
                } else if !results.is_empty() {
                    for result in results {
                        let id = text_of(result, "tool_use_id").unwrap_or_default();
                        match pending.iter().position(|one| one == id) {
                            Some(at) => drop(pending.remove(at)),
                            None if given_up.contains(id) => {}
                            None => counts.evals += 1,
                        }
                    }
                } else if !is("isMeta") && !is_told_by_the_program(&row) {
                    counts.turns += 1;
                    counts.heads += 1;
                    given_up.extend(pending.drain(..));
                }
            }
            Some("assistant") => {
                let id = text_of(&row["message"], "id").map_or_else(|| format!("line {number}"), str::to_owned);
                let is_new = answers.insert(id.clone());
                counts.messages += u64::from(is_new);
                let is_real = row["message"]["model"] != "<synthetic>";
                counts.calls += u64::from(is_new && is_real);
                if is_real {
                    usage.insert(id, row["message"]["usage"].clone());
                }
                for tool in blocks(&row, "tool_use") {
                    counts.evals += 1;
                    counts.invocations += u64::from(matches!(text_of(tool, "name"), Some("Task" | "Agent")));
                    pending.push(text_of(tool, "id").unwrap_or_default().to_owned());
                }
            }
            _ => {}
        }
    }
    let sum = |name: &str| usage.values().filter_map(|usage| usage.get(name)?.as_u64()).sum();
    (counts.input, counts.output, counts.cached) =
        (sum("input_tokens"), sum("output_tokens"), sum("cache_read_input_tokens"));
    // What stands before the first turn alone is sealed too.
    counts.heads += u64::from(counts.heads == 1);
    counts
}

fn found(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            out.push(path);
        }
    }
}

#[test]
fn the_shared_claude_code_logs_come_in_as_counted_and_go_out_byte_for_byte() {
    let shared = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let folder = shared.join("data/claude-code");
    if !folder.is_dir() {
        eprintln!(
            "the_shared_claude_code_logs_come_in_as_counted_and_go_out_byte_for_byte: skipped, {} is not there",
            folder.display()
        );
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let store = Store::open_with(&path, Options { create: true, ..Options::default() }).unwrap();
    let mut files = Vec::new();
    found(&folder, &mut files);
    let (mut sources, mut seen) = (0, 0);
    for one in exchange::find(&folder).unwrap() {
        for imported in one.import(&store, &mut |_| {}) {
            let imported = imported.unwrap();
            assert_eq!(imported.format, "claude-code", "{}", imported.source.display());
            let text = fs::read_to_string(&imported.source).unwrap();
            sources += text.len() as u64;
            seen += 1;
            let is_side = imported.session.as_str().contains(".agent-");
            let whole =
                match text.ends_with('\n') || serde_json::from_str::<Value>(text.lines().last().unwrap()).is_ok() {
                    true => text.clone(),
                    false => text[..text.rfind('\n').unwrap() + 1].to_owned(),
                };
            let counts = Counts {
                messages: imported.messages,
                turns: imported.turns,
                calls: imported.calls,
                evals: imported.evals,
                heads: imported.heads,
                invocations: imported.invocations,
                ..tokens(&store, &imported.session)
            };
            assert_eq!(counts, counted(&whole, is_side), "{}", imported.source.display());
            let mut out = Vec::new();
            exchange::write_source(&store, &imported.session, &mut out).unwrap();
            assert!(out == whole.as_bytes(), "{} is not written as it was", imported.source.display());
        }
        for again in one.import(&store, &mut |_| {}) {
            assert_eq!(again.unwrap().new_events, 0, "{}", one.path.display());
        }
    }
    assert_eq!(seen, files.len());
    drop(store);
    let mut stored = 0;
    let mut folders = vec![path];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => stored += entry.metadata().unwrap().len(),
            }
        }
    }
    assert!(stored * 100 <= sources * 35, "{stored} bytes for {sources}");
}

/// The use of a session's own calls, each call as it ended.
fn tokens(store: &Store, session: &headwater::model::SessionId) -> Counts {
    let mut calls = BTreeMap::new();
    for event in store.events(session).unwrap() {
        if let headwater::model::Body::CallStarted(row) | headwater::model::Body::CallPut(row) = event.body {
            calls.insert(row.call, row);
        }
    }
    let sum = |of: fn(&headwater::model::Call) -> Option<u64>| calls.values().filter_map(of).sum();
    Counts {
        input: sum(|call| call.tokens_input),
        output: sum(|call| call.tokens_output),
        cached: sum(|call| call.tokens_cached),
        ..Counts::default()
    }
}

//! OpenCode's storage folders come in with each message, step and tool once, whenever their files were rewritten since, and go
//! out as the bytes they were.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use headwater::exchange::{self, ImportError, Imported};
use headwater::model::{Digest, HeadKind, SessionId};
use headwater::store::{NewMessage, Options, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A storage folder, as files in memory: what is written is what is there.
#[derive(Debug, Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn put(&mut self, name: &str, value: &Value) {
        self.0.insert(name.to_owned(), serde_json::to_vec_pretty(value).unwrap());
    }

    fn raw(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.0.insert(name.to_owned(), bytes.into());
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&self.0[name]).unwrap();
        change(&mut value);
        self.put(name, &value);
    }

    fn session(&mut self, id: &str, parent: Option<&str>, at: u64) {
        let mut value = json!({"id": id, "version": "1.1.0", "projectID": "p1", "directory": "/tmp/x",
            "title": format!("About {id}"), "time": {"created": at, "updated": at}});
        if let Some(parent) = parent {
            value["parentID"] = json!(parent);
        }
        self.put(&format!("session/p1/{id}.json"), &value);
    }

    fn user(&mut self, session: &str, id: &str, at: u64, text: &str) {
        let message = json!({"id": id, "sessionID": session, "role": "user", "time": {"created": at},
            "agent": "build", "model": {"providerID": "anthropic", "modelID": "claude"}});
        self.put(&format!("message/{session}/{id}.json"), &message);
        self.part(session, id, "1", json!({"type": "text", "text": text}));
    }

    fn assistant(&mut self, session: &str, (id, parent): (&str, &str), at: u64, finish: Option<&str>) {
        let mut message = json!({"id": id, "sessionID": session, "role": "assistant", "parentID": parent,
            "time": {"created": at}, "modelID": "claude", "providerID": "anthropic", "mode": "build", "cost": 0,
            "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}});
        if let Some(finish) = finish {
            message["finish"] = json!(finish);
            message["time"]["completed"] = json!(at + 500);
        }
        self.put(&format!("message/{session}/{id}.json"), &message);
    }

    fn part(&mut self, session: &str, message: &str, number: &str, mut part: Value) {
        let id = format!("prt_{message}_{number}");
        part["id"] = json!(id);
        part["sessionID"] = json!(session);
        part["messageID"] = json!(message);
        self.put(&format!("part/{message}/{id}.json"), &part);
    }

    fn step(&mut self, session: &str, message: &str, number: &str, input: u64, output: u64) {
        self.part(
            session,
            message,
            number,
            json!({"type": "step-finish", "reason": "stop", "cost": 0.0000025,
            "tokens": {"input": input, "output": output, "reasoning": 1, "cache": {"read": 10, "write": 3}}}),
        );
    }

    fn write(&self, root: &Path) {
        let _ = fs::remove_dir_all(root);
        for (name, bytes) in &self.0 {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

fn tool(status: &str, command: &str, output: Option<&str>) -> Value {
    let mut state = json!({"status": status, "input": {"command": command}, "time": {"start": 1_700_000_000_600_u64}});
    if let Some(output) = output {
        state[if status == "error" { "error" } else { "output" }] = json!(output);
        state["time"]["end"] = json!(1_700_000_000_700_u64);
        state["title"] = json!(command);
        state["metadata"] = json!({"exit": 0});
    }
    json!({"type": "tool", "callID": "call_1", "tool": "bash", "state": state})
}

const T: u64 = 1_700_000_000_000;

/// A session of two turns: a tool and an answer, a patch and a second step.
fn harbour() -> Files {
    let mut files = Files::default();
    files.raw("migration", "2");
    files.put("project/p1.json", &json!({"id": "p1", "worktree": "/tmp/x"}));
    files.put("todo/ses_a.json", &json!([{"content": "look", "status": "pending"}]));
    files.put("session_diff/ses_a.json", &json!([]));
    files.session("ses_a", None, T);
    files.user("ses_a", "msg_01", T + 100, "How many boats are in the \"old\" harbour?");
    files.assistant("ses_a", ("msg_02", "msg_01"), T + 200, Some("tool-calls"));
    files.part("ses_a", "msg_02", "1", json!({"type": "step-start"}));
    files.part("ses_a", "msg_02", "2", json!({"type": "text", "text": "I will count them, one by one."}));
    files.part(
        "ses_a",
        "msg_02",
        "3",
        tool("completed", "ls boats", Some("a\nb\nand a third one, é, which is long\n")),
    );
    files.step("ses_a", "msg_02", "4", 100, 20);
    files.assistant("ses_a", ("msg_03", "msg_01"), T + 900, Some("stop"));
    files.part("ses_a", "msg_03", "1", json!({"type": "reasoning", "text": "Three, then.", "time": {"start": 1}}));
    files.part("ses_a", "msg_03", "2", json!({"type": "text", "text": "Three."}));
    files.step("ses_a", "msg_03", "3", 130, 5);
    files.user("ses_a", "msg_04", T + 2_000, "And the new one?");
    files.assistant("ses_a", ("msg_05", "msg_04"), T + 2_100, Some("stop"));
    files.part("ses_a", "msg_05", "1", tool("error", "ls new", Some("no such folder")));
    files.step("ses_a", "msg_05", "2", 150, 7);
    files.part("ses_a", "msg_05", "3", json!({"type": "text", "text": "There is none."}));
    files.part("ses_a", "msg_05", "4", json!({"type": "patch", "hash": "abc", "files": ["/tmp/x/y"]}));
    files.step("ses_a", "msg_05", "5", 160, 8);
    files
}

struct Place {
    folder: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open_with(folder.path().join("store"), Options { create: true, ..Options::default() }).unwrap();
        Place { folder, store }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    fn import_path(&self, path: &Path) -> Vec<Imported> {
        let found = exchange::find(path).unwrap();
        found.iter().flat_map(|found| found.import(&self.store, &mut |_| {})).map(|one| one.unwrap()).collect()
    }

    fn import(&self, files: &Files) -> Vec<Imported> {
        files.write(&self.root());
        let imported = self.import_path(&self.root());
        let again = self.import_path(&self.root());
        assert!(again.iter().all(|one| one.new_events == 0), "imported twice");
        imported
    }

    fn export(&self, session: &str) -> BTreeMap<String, Vec<u8>> {
        let to = tempfile::tempdir_in(self.folder.path()).unwrap();
        let path = to.path().join("out");
        exchange::export_to(&self.store, &id(session), None, &path).unwrap();
        let (mut found, mut folders) = (BTreeMap::new(), vec![path.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => {
                        let name = entry.path().strip_prefix(&path).unwrap().to_str().unwrap().to_owned();
                        found.insert(name, fs::read(entry.path()).unwrap());
                    }
                }
            }
        }
        found
    }

    fn text(&self, digest: Option<Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    /// What is visible at the current head: messages, turns, calls, evals.
    fn state(&self, session: &str) -> Value {
        let rows = self.store.view(&id(session)).unwrap().rows;
        let messages: Vec<_> = rows
            .messages
            .iter()
            .map(|entry| json!([entry.row.role.to_string(), self.text(Some(entry.row.content)), entry.row.turn]))
            .collect();
        let turns: Vec<_> = rows.turns.iter().map(|entry| &entry.row).collect();
        let turns: Vec<_> = turns
            .iter()
            .map(|row| {
                json!([row.status.as_str(), self.text(row.input), self.text(row.final_value), self.text(row.error)])
            })
            .collect();
        let calls: Vec<_> = rows.calls.iter().map(|entry| &entry.row).collect();
        let calls: Vec<_> = calls
            .iter()
            .map(|row| {
                json!([
                    row.status.as_str(),
                    row.provider,
                    row.model,
                    row.tokens_input,
                    row.tokens_output,
                    row.tokens_cached,
                    row.tokens_reasoning,
                    row.cost
                ])
            })
            .collect();
        let evals: Vec<_> = rows.evals.iter().map(|entry| &entry.row).collect();
        let evals: Vec<_> = evals
            .iter()
            .map(|row| {
                json!([row.name, row.status.as_str(), self.text(row.code), self.text(row.result), self.text(row.error)])
            })
            .collect();
        json!({"messages": messages, "turns": turns, "calls": calls, "evals": evals})
    }

    /// What all calls used, each once: input, output, cost; and how many there are.
    fn usage(&self, session: &str) -> [u64; 4] {
        let used = self.store.usage(&id(session)).unwrap().root;
        let sums = [used.tokens_input, used.tokens_output, used.cost].map(|sum| sum.known().unwrap_or_default());
        let [input, output, cost] = sums.map(|sum| u64::try_from(sum).unwrap());
        [input, output, cost, used.calls]
    }

    fn annotations(&self, session: &str) -> Vec<String> {
        let events = self.store.events(&id(session)).unwrap();
        let kinds = events.iter().map(|event| event.body.kind().to_owned());
        kinds
            .filter(|kind| kind.starts_with("opencode/") || kind.starts_with("import/"))
            .filter(|kind| kind != "import/source")
            .collect()
    }
}

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

fn counts(imported: &Imported) -> [u64; 6] {
    let Imported { messages, turns, calls, evals, heads, invocations, .. } = imported;
    [*messages, *turns, *calls, *evals, *heads, *invocations]
}

fn odd(imported: &Imported) -> Vec<&str> {
    imported.diagnostics.iter().map(|one| one.kind.as_str()).collect()
}

fn assert_same(made: &BTreeMap<String, Vec<u8>>, original: &Files) {
    assert_eq!(made.keys().collect::<Vec<_>>(), original.0.keys().collect::<Vec<_>>());
    for (name, bytes) in &original.0 {
        assert!(made[name] == *bytes, "{name} differs");
    }
}

#[test]
fn each_message_step_and_tool_is_there_once() {
    let place = Place::new();
    let files = harbour();
    let imported = place.import(&files);
    assert_eq!(imported.len(), 1);
    assert_eq!((imported[0].session.as_str(), imported[0].format), ("ses_a", "opencode"));
    assert_eq!(counts(&imported[0]), [5, 2, 4, 2, 3, 0]);
    assert!(imported[0].diagnostics.is_empty(), "{:?}", imported[0].diagnostics);

    let state = place.state("ses_a");
    assert_eq!(state["messages"][0], json!(["user", "How many boats are in the \"old\" harbour?", 1]));
    assert_eq!(state["messages"][1], json!(["assistant", "I will count them, one by one.", 1]));
    let list: Value = serde_json::from_str(state["messages"][2][1].as_str().unwrap()).unwrap();
    assert_eq!((&list[0]["type"], &list[1]["text"]), (&json!("reasoning"), &json!("Three.")));
    assert_eq!(state["turns"][0], json!(["final", "How many boats are in the \"old\" harbour?", "Three.", ""]));
    assert_eq!(state["turns"][1][2], "There is none.");
    assert_eq!(state["calls"][0], json!(["ok", "anthropic", "claude", 100, 20, 10, 1, 2_500]));
    assert_eq!(state["calls"][3][3], 160);
    let evals = &state["evals"];
    assert_eq!(evals[0][3], "a\nb\nand a third one, é, which is long\n");
    assert_eq!(evals[1], json!(["bash", "error", "{\n      \"command\": \"ls new\"\n    }", "", "no such folder"]));
    assert_eq!(place.usage("ses_a"), [540, 40, 10_000, 4]);
    let view = place.store.view(&id("ses_a")).unwrap();
    assert_eq!(view.session.title.as_deref(), Some("About ses_a"));
    assert_eq!(view.session.started_at.to_string(), "2023-11-14T22:13:20.000000Z");
    let calls: Vec<_> = view.rows.evals.iter().map(|entry| entry.row.call.unwrap().0).collect();
    assert_eq!(calls, [1, 3], "the step before its end");
    assert!(view.rows.evals.iter().all(|entry| entry.row.message.is_some()));
    assert_same(&place.export("ses_a"), &files);
}

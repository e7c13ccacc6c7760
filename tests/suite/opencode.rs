//! OpenCode's storage folders come in with each message, step and tool once, whenever their files were rewritten since, and go
//! out as the bytes they were.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use headwater::exchange::{self, ImportError, Imported};
use headwater::model::{Body, Digest, HeadKind, SessionId, TurnNumber};
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
        let place = |turn: Option<TurnNumber>| rows.turns.iter().position(|entry| Some(entry.row.turn) == turn);
        let messages: Vec<_> = rows
            .messages
            .iter()
            .map(|entry| json!([entry.row.role.to_string(), self.text(Some(entry.row.content)), place(entry.row.turn)]))
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
    assert_eq!(state["messages"][0], json!(["user", "How many boats are in the \"old\" harbour?", 0]));
    assert_eq!(state["messages"][1], json!(["assistant", "I will count them, one by one.", 0]));
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

/// The files of [`harbour`] while its last answer was being made: a tool at work, no usage yet.
fn at_work() -> Files {
    let mut files = harbour();
    for part in ["2", "3", "4", "5"] {
        files.0.remove(&format!("part/msg_05/prt_msg_05_{part}.json"));
    }
    files.part("ses_a", "msg_05", "1", tool("running", "ls new", None));
    files.assistant("ses_a", ("msg_05", "msg_04"), T + 2_100, None);
    files
}

#[test]
fn what_came_since_is_added_and_nothing_is_counted_twice() {
    let place = Place::new();
    let before = place.import(&at_work());
    // A tool at work is unfinished, and its call has no usage.
    assert_eq!(counts(&before[0]), [5, 2, 3, 2, 3, 0]);
    let state = place.state("ses_a");
    assert_eq!((&state["turns"][1][0], &state["calls"][2][0]), (&json!("unfinished"), &json!("unfinished")));
    assert_eq!(place.usage("ses_a")[..3], [230, 25, 5_000]);
    assert_same(&place.export("ses_a"), &at_work());

    let after = place.import(&harbour());
    assert_eq!(after[0].session, before[0].session);
    let fresh = Place::new();
    let once = fresh.import(&harbour());
    let [_, turns, calls, evals, ..] = counts(&once[0]);
    assert_eq!(counts(&after[0])[1..4], [turns, calls, evals]);
    assert_eq!(place.usage("ses_a"), fresh.usage("ses_a"));
    let (state, fresh_state) = (place.state("ses_a"), fresh.state("ses_a"));
    for rows in ["turns", "calls", "evals"] {
        assert_eq!(state[rows], fresh_state[rows], "{rows}");
    }
    // What was said since is a message of its own.
    let said = state["messages"].as_array().unwrap();
    assert_eq!((said.len(), &said[4][1]), (6, &json!("")));
    assert_eq!(said[5], fresh_state["messages"][4]);
    assert_same(&place.export("ses_a"), &harbour());
}

#[test]
fn a_tool_that_was_left_at_work_is_unfinished_once_the_session_goes_on() {
    let place = Place::new();
    let mut files = at_work();
    place.import(&files);
    files.user("ses_a", "msg_06", T + 3_000, "Never mind.");
    let imported = place.import(&files);
    assert_eq!(counts(&imported[0]), [6, 3, 3, 2, 4, 0]);
    assert_eq!(place.state("ses_a")["evals"][1][1], "unfinished");
    // Its result makes another history of that turn: the calls are the same ones.
    files.part("ses_a", "msg_05", "1", tool("completed", "ls new", Some("found after all")));
    place.import(&files);
    let state = place.state("ses_a");
    assert_eq!(state["evals"][1][1], "ok");
    let fresh = Place::new();
    fresh.import(&files);
    assert_eq!(state, fresh.state("ses_a"));
    assert_eq!(place.usage("ses_a"), fresh.usage("ses_a"));
    assert_eq!(place.store.session(&id("ses_a")).unwrap().turns, 3);
    assert_same(&place.export("ses_a"), &files);
}

#[test]
fn what_changes_no_row_is_kept_and_changes_none() {
    let place = Place::new();
    let mut files = harbour();
    place.import(&files);
    let before = place.state("ses_a");
    files.change("message/ses_a/msg_01.json", |value| value["summary"] = json!({"title": "Boats", "diffs": []}));
    files.change("part/msg_02/prt_msg_02_3.json", |value| value["state"]["time"]["compacted"] = json!(7));
    files.change("session/p1/ses_a.json", |value| value["title"] = json!("Boats, counted"));
    files.0.remove("todo/ses_a.json");
    let imported = place.import(&files);
    assert_eq!(place.state("ses_a"), before);
    assert_eq!(counts(&imported[0])[..4], [5, 2, 4, 2]);
    assert_eq!(place.store.session(&id("ses_a")).unwrap().title.as_deref(), Some("Boats, counted"));
    assert!(place.annotations("ses_a").contains(&"import/removed".to_owned()));
    assert_same(&place.export("ses_a"), &files);
    // What all sessions have in common is no news by itself.
    files.raw("migration", "3");
    assert_eq!(place.import(&files)[0].new_events, 0);
}

#[test]
fn a_session_that_was_taken_back_goes_on_from_before_that_message() {
    let place = Place::new();
    let mut files = harbour();
    place.import(&files);
    let whole = place.state("ses_a");
    let full_head = place.store.session(&id("ses_a")).unwrap().current_head;
    files.change("session/p1/ses_a.json", |value| value["revert"] = json!({"messageID": "msg_04", "snapshot": "x"}));
    let imported = place.import(&files);
    assert_eq!(counts(&imported[0])[..4], [5, 2, 4, 2], "nothing is made again");
    assert_eq!(place.state("ses_a")["messages"].as_array().unwrap().len(), 3);
    assert_eq!(place.state("ses_a")["turns"].as_array().unwrap().len(), 1);
    assert_eq!(place.usage("ses_a")[3], 4, "what was left was paid for");

    // The same as if it had been imported only now.
    let fresh = Place::new();
    let once = fresh.import(&files);
    assert_eq!(counts(&once[0])[..4], [5, 2, 4, 2]);
    assert_eq!(fresh.state("ses_a"), place.state("ses_a"));
    assert_same(&fresh.export("ses_a"), &files);

    // Taken back no more.
    let reverted = files.clone();
    files.change("session/p1/ses_a.json", |value| drop(value.as_object_mut().unwrap().remove("revert")));
    place.import(&files);
    assert_eq!(place.state("ses_a"), whole);
    assert_ne!(place.store.session(&id("ses_a")).unwrap().current_head, full_head, "the head has its own file");

    // Taken back again, and gone on with: OpenCode removes what was left.
    let mut files = reverted;
    place.import(&files);
    files.change("session/p1/ses_a.json", |value| drop(value.as_object_mut().unwrap().remove("revert")));
    files.0.retain(|name, _| !name.contains("msg_04") && !name.contains("msg_05"));
    files.user("ses_a", "msg_06", T + 5_000, "And the ferry?");
    files.assistant("ses_a", ("msg_07", "msg_06"), T + 5_100, Some("stop"));
    files.part("ses_a", "msg_07", "1", json!({"type": "text", "text": "It leaves at ten."}));
    files.step("ses_a", "msg_07", "2", 1, 1);
    place.import(&files);
    let fresh = Place::new();
    fresh.import(&files);
    assert_eq!(place.state("ses_a"), fresh.state("ses_a"));
    assert_eq!(place.usage("ses_a")[3], 5);
    assert_same(&place.export("ses_a"), &files);
}

#[test]
fn a_message_that_was_changed_while_the_session_was_taken_back_to_it_is_there_once() {
    // Taken back into its turn, or to the end of it, where a head is; with those behind it removed, or there again.
    for (reverted_to, changed, is_removed) in [
        ("msg_02", "msg_01", true),
        ("msg_02", "msg_01", false),
        ("msg_04", "msg_03", true),
        ("msg_04", "msg_03", false),
    ] {
        let place = Place::new();
        let mut files = harbour();
        place.import(&files);
        files.change("session/p1/ses_a.json", |value| value["revert"] = json!({"messageID": reverted_to}));
        place.import(&files);
        files.change("session/p1/ses_a.json", |value| drop(value.as_object_mut().unwrap().remove("revert")));
        if is_removed {
            let behind = |name: &String| {
                (2..=5).map(|at| format!("msg_0{at}")).any(|id| *id >= *reverted_to && name.contains(&id))
            };
            files.0.retain(|name, _| !behind(name));
        }
        files.part("ses_a", changed, "1", json!({"type": "text", "text": "Said otherwise."}));
        place.import(&files);
        let fresh = Place::new();
        fresh.import(&files);
        assert_eq!(place.state("ses_a"), fresh.state("ses_a"), "{reverted_to} {is_removed}");
        assert_eq!(place.usage("ses_a")[3], 4, "each call is counted once");
        assert_same(&place.export("ses_a"), &files);
    }
}

#[test]
fn a_session_can_be_taken_back_to_within_a_turn() {
    for message in ["msg_03", "msg_02"] {
        let place = Place::new();
        let mut files = harbour();
        place.import(&files);
        files.change("session/p1/ses_a.json", |value| {
            value["revert"] = json!({"messageID": message, "partID": format!("prt_{message}_2")});
        });
        place.import(&files);
        let fresh = Place::new();
        fresh.import(&files);
        let messages = |place: &Place| place.state("ses_a")["messages"].clone();
        assert_eq!(messages(&place).as_array().unwrap().len(), if message == "msg_03" { 2 } else { 1 });
        assert_eq!(messages(&place), messages(&fresh));
        assert_eq!(place.usage("ses_a"), fresh.usage("ses_a"), "calls are counted once");
        assert_same(&place.export("ses_a"), &files);
    }
}

/// A session whose tool opened another, which opened a third that no tool tells of.
fn fleet() -> Files {
    let mut files = harbour();
    files.session("ses_b", Some("ses_a"), T + 300);
    files.user("ses_b", "msg_b1", T + 310, "Count the boats.");
    files.assistant("ses_b", ("msg_b2", "msg_b1"), T + 320, Some("stop"));
    files.part("ses_b", "msg_b2", "1", json!({"type": "text", "text": "Three of them."}));
    files.step("ses_b", "msg_b2", "2", 40, 4);
    files.session("ses_c", Some("ses_b"), T + 330);
    files.user("ses_c", "msg_c1", T + 340, "Look again.");
    files.part("ses_a", "msg_02", "3", json!({"type": "tool", "callID": "c", "tool": "task", "state": {
        "status": "completed", "input": {"description": "count", "prompt": "Count the boats.", "subagent_type": "general"},
        "output": "Three of them.", "title": "count", "metadata": {"sessionId": "ses_b"},
        "time": {"start": T + 300, "end": T + 600}}}));
    files
}

#[test]
fn sessions_that_a_session_opened_are_called_by_it() {
    let place = Place::new();
    let imported = place.import(&fleet());
    let names: Vec<_> = imported.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(names, ["ses_c", "ses_b", "ses_a"], "children stand before those that opened them");
    let calls = place.store.invocations_from(&id("ses_a")).unwrap();
    assert_eq!(calls.len(), 1);
    let row = &calls[0].row;
    assert_eq!((row.invocation_type.as_str(), row.status.as_str()), ("subagent", "ok"));
    assert_eq!((row.call.unwrap().0, row.callee.as_ref().unwrap().as_str()), (1, "ses_b"));
    assert_eq!((place.text(row.label), place.text(row.input)), ("count".to_owned(), "Count the boats.".to_owned()));
    assert_eq!(place.text(row.final_value), "Three of them.");
    assert_eq!(row.callee_after, place.store.session(&id("ses_b")).unwrap().current_head);
    assert!(row.caller_after.is_some());
    let calls = place.store.invocations_from(&id("ses_b")).unwrap();
    assert_eq!((calls.len(), calls[0].row.callee.as_ref().unwrap().as_str()), (1, "ses_c"));
    assert_eq!(place.store.session(&id("ses_b")).unwrap().kind.as_str(), "child");
    let used = place.store.usage(&id("ses_a")).unwrap();
    assert_eq!(used.children.tokens_input.known(), Some(40));
    // All of them go out together, and each by itself.
    assert_same(&place.export("ses_a"), &fleet());
    assert!(place.export("ses_c").contains_key("message/ses_c/msg_c1.json"));
}

#[test]
fn it_does_not_matter_which_session_comes_first() {
    let edges = |place: &Place, of: &str| -> Vec<String> {
        let rows = place.store.invocations_from(&id(of)).unwrap();
        rows.iter().map(|entry| entry.row.callee.as_ref().unwrap().to_string()).collect()
    };
    // The children's files come in later imports, one of them alone.
    let place = Place::new();
    let mut files = fleet();
    files.0.retain(|name, _| {
        !name.contains("ses_c") && !name.contains("ses_b") && !name.contains("msg_b") && !name.contains("msg_c")
    });
    place.import(&files);
    assert_eq!(edges(&place, "ses_a"), ["ses_b"]);
    let mut files = fleet();
    files.0.retain(|name, _| !name.contains("ses_c") && !name.contains("msg_c"));
    place.import(&files);
    assert!(edges(&place, "ses_b").is_empty());
    let events = |place: &Place| -> u64 { place.store.sessions().unwrap().iter().map(|info| info.events).sum() };
    // What the session that opened it gets is new, too: also where its own files were there before.
    let before = events(&place);
    fleet().write(&place.root());
    let imported = place.import_path(&place.root().join("session/p1/ses_c.json"));
    assert_eq!((imported.len(), imported[0].session.as_str()), (1, "ses_c"));
    assert!(imported[0].new_events > imported[0].events, "{imported:?}");
    assert_eq!(imported[0].new_events, events(&place) - before);
    assert_eq!(edges(&place, "ses_b"), ["ses_c"]);
    assert!(place.import_path(&place.root()).iter().all(|one| one.new_events == 0));
    assert_eq!(edges(&place, "ses_a"), ["ses_b"]);

    // A session's file means those below it too.
    let place = Place::new();
    fleet().write(&place.root());
    let imported = place.import_path(&place.root().join("session/p1/ses_b.json"));
    assert_eq!(imported.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["ses_c", "ses_b"]);
    assert_eq!(place.import_path(&place.root().join("session/p1")).len(), 3);
    assert_eq!(place.import_path(&place.root().join("session")).len(), 3);
    // Sessions that opened each other.
    let mut files = fleet();
    files.change("session/p1/ses_a.json", |value| value["parentID"] = json!("ses_c"));
    files.change("session/p1/ses_c.json", |value| value["title"] = json!("round"));
    assert_eq!(place.import(&files).len(), 3);
    assert_eq!(edges(&place, "ses_c"), ["ses_a"]);
}

#[test]
fn a_compaction_is_a_head_that_keeps_what_it_says() {
    let place = Place::new();
    let mut files = harbour();
    files.user("ses_a", "msg_06", T + 4_000, "unused");
    files.part("ses_a", "msg_06", "1", json!({"type": "compaction", "auto": true, "tail_start_id": "msg_04"}));
    files.assistant("ses_a", ("msg_07", "msg_06"), T + 4_100, None);
    files.change("message/ses_a/msg_07.json", |value| value["summary"] = json!(true));
    files.part("ses_a", "msg_07", "1", json!({"type": "text", "text": "We counted"}));
    // While it is being made it is no message yet.
    let imported = place.import(&files);
    assert_eq!(counts(&imported[0])[..3], [6, 3, 5]);
    files.change("message/ses_a/msg_07.json", |value| value["time"]["completed"] = json!(T + 4_200));
    files.part("ses_a", "msg_07", "1", json!({"type": "text", "text": "We counted the boats of two harbours."}));
    files.user("ses_a", "msg_08", T + 5_000, "Go on.");
    let imported = place.import(&files);
    assert_eq!(counts(&imported[0])[..4], [8, 4, 5, 2]);
    let state = place.state("ses_a");
    let said: Vec<_> = state["messages"].as_array().unwrap().iter().map(|one| one[0].as_str().unwrap()).collect();
    assert_eq!(said, ["user", "assistant", "assistant", "user", "assistant", "user", "summary", "user"]);
    let heads = place.store.heads(&id("ses_a")).unwrap();
    let head = heads.iter().find(|head| head.kind == HeadKind::Compaction).unwrap();
    let transcript = place.store.root_of(&head.head).unwrap().transcript.unwrap();
    let first = |range: usize| match place.store.event_body(&id("ses_a"), transcript[range].from).unwrap().body {
        Body::MessageAdded(row) => place.text(Some(row.content)),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (first(0), first(1)),
        ("We counted the boats of two harbours.".to_owned(), "And the new one?".to_owned())
    );
    assert_same(&place.export("ses_a"), &files);
}

#[test]
fn answers_that_failed_say_how() {
    let place = Place::new();
    let mut files = harbour();
    files.assistant("ses_a", ("msg_03", "msg_01"), T + 900, None);
    files.change("message/ses_a/msg_03.json", |value| {
        value["error"] = json!({"name": "MessageAbortedError", "data": {"message": "stopped"}});
    });
    files.change("message/ses_a/msg_05.json", |value| value["error"] = json!({"name": "APIError", "data": {}}));
    place.import(&files);
    let state = place.state("ses_a");
    let turns: Vec<_> = state["turns"].as_array().unwrap().iter().map(|turn| turn[0].as_str().unwrap()).collect();
    assert_eq!(turns, ["aborted", "error"]);
    assert!(state["turns"][0][3].as_str().unwrap().contains("stopped"));
    let calls: Vec<_> = state["calls"].as_array().unwrap().iter().map(|call| call[0].as_str().unwrap()).collect();
    assert_eq!(calls, ["ok", "aborted", "ok", "error"]);
}

#[test]
fn a_session_that_went_on_by_itself_is_left_as_it_is() {
    let place = Place::new();
    let mut files = harbour();
    place.import(&files);
    let session = place.store.open_session(&id("ses_a")).unwrap();
    session
        .write(|batch| {
            batch.add_message(NewMessage::new(headwater::model::Role::User, "of our own"))?;
            batch.seal()?;
            Ok(())
        })
        .unwrap();
    session.close().unwrap();
    let files_before = files.clone();
    let state = place.state("ses_a");
    assert_eq!(place.import(&files)[0].new_events, 0);
    files.user("ses_a", "msg_06", T + 3_000, "Meanwhile, in OpenCode.");
    let imported = place.import(&files);
    assert_eq!(imported[0].forked_from.as_ref().unwrap().as_str(), "ses_a");
    assert_eq!(place.state("ses_a"), state);
    let fork = imported[0].session.as_str();
    let fresh = Place::new();
    fresh.import(&files);
    assert_eq!(place.state(fork)["messages"], fresh.state("ses_a")["messages"]);
    assert_eq!(place.usage(fork)[3], 0, "its calls are the other's");
    assert_same(&place.export(fork), &files);
    files.user("ses_a", "msg_07", T + 4_000, "And more.");
    let imported = place.import(&files);
    assert_eq!(imported[0].session.as_str(), fork);
    assert_same(&place.export(fork), &files);
    // Its own files come first as they were; a message that began no turn has none.
    let path = place.folder.path().join("x");
    let gone_on = exchange::export_to(&place.store, &id("ses_a"), None, &path).unwrap();
    assert!(gone_on.notices.iter().any(|one| one.message.starts_with("message of role user, 1")), "{gone_on:?}");
    assert_same(&crate::imports::files(&path), &files_before);
}

/// An agent that writes its files step by step: what it does next is told by numbers.
#[derive(Default)]
struct Agent {
    files: Files,
    clock: u64,
    messages: Vec<(String, bool)>,
    tools: Vec<(String, String)>,
    parts: u64,
    asked: String,
    reverted: Option<usize>,
    /// Whether messages were taken away, and whether one was changed that had been imported while it was the last.
    removed: bool,
    split: bool,
    /// The last message when it was imported last.
    imported: Option<String>,
}

impl Agent {
    fn new() -> Agent {
        let mut agent = Agent { clock: T, ..Agent::default() };
        agent.files.session("ses_a", None, T);
        agent.files.raw("migration", "2");
        agent
    }

    fn next(&mut self, op: u8, pick: usize, text: &str) {
        self.clock += 100;
        self.parts += 1;
        let number = format!("{:04}", self.parts);
        let last = self.messages.last().cloned();
        match (op, last) {
            (0 | 1, _) if self.reverted.is_some() => self.clean(),
            (0, _) | (1, None) => {
                let id = format!("msg_{:04}", self.messages.len() as u64 + self.clock - T);
                self.files.user("ses_a", &id, self.clock, text);
                self.asked = id.clone();
                self.messages.push((id, true));
            }
            (1, Some(_)) => {
                let id = format!("msg_{:04}", self.messages.len() as u64 + self.clock - T);
                self.files.assistant("ses_a", (&id, &self.asked), self.clock, None);
                self.files.part("ses_a", &id, "0000", json!({"type": "text", "text": text}));
                self.messages.push((id, false));
            }
            (2, Some((id, false))) => {
                self.files.part("ses_a", &id, &number, tool("running", text, None));
                self.tools.push((id, number));
            }
            (3, _) => {
                if let Some((id, number)) = self.tools.pop() {
                    let status = if pick.is_multiple_of(3) { "error" } else { "completed" };
                    self.files.part("ses_a", &id, &number, tool(status, text, Some(text)));
                }
            }
            (4, Some((id, false))) => self.files.step("ses_a", &id, &number, pick as u64 % 1_000, 1),
            (5, Some((id, false))) => {
                let at = self.clock;
                self.files.change(&format!("message/ses_a/{id}.json"), |value| {
                    value["time"]["completed"] = json!(at);
                    value["finish"] = json!("stop");
                    value["tokens"]["input"] = json!(pick % 500);
                });
            }
            (6, _) => self.files.change("session/p1/ses_a.json", |value| value["title"] = json!(text)),
            (7, Some(_)) => {
                let at = pick % self.messages.len();
                let id = self.messages[at].0.clone();
                self.files.change("session/p1/ses_a.json", |value| value["revert"] = json!({"messageID": id}));
                self.reverted = Some(at);
            }
            (8, _) => {
                self.files
                    .change("session/p1/ses_a.json", |value| drop(value.as_object_mut().unwrap().remove("revert")));
                self.reverted = None;
            }
            (9, Some(_)) => {
                let id = &self.messages[pick % self.messages.len()].0;
                let summary = json!({"title": text, "diffs": []});
                self.files.change(&format!("message/ses_a/{id}.json"), |value| value["summary"] = summary);
            }
            (10, Some(_)) => {
                let at = pick % self.messages.len();
                let (id, is_user) = self.messages[at].clone();
                let part = if is_user { "1" } else { "0000" };
                self.split |= self.imported.as_ref() == Some(&id);
                self.files.part("ses_a", &id, part, json!({"type": "text", "text": format!("{text}, again")}));
            }
            (11, Some((id, false))) => {
                self.split |= self.imported.as_ref() == Some(&id);
                self.files.part("ses_a", &id, &number, json!({"type": "reasoning", "text": text}));
            }
            (12, Some((id, false))) => {
                self.split |= self.imported.as_ref() == Some(&id);
                self.files.change(&format!("message/ses_a/{id}.json"), |value| value["summary"] = json!(true));
            }
            _ => {}
        }
    }

    /// What OpenCode does before a session that was taken back goes on.
    fn clean(&mut self) {
        let Some(at) = self.reverted.take() else { return };
        self.removed = true;
        for (id, _) in self.messages.drain(at..) {
            self.files.0.retain(|name, _| !name.contains(&id));
            self.tools.retain(|(message, _)| *message != id);
        }
        self.files.change("session/p1/ses_a.json", |value| drop(value.as_object_mut().unwrap().remove("revert")));
        self.asked = self.messages.iter().rfind(|(_, is_user)| *is_user).map(|(id, _)| id.clone()).unwrap_or_default();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However often a session is imported while it grows, is changed and taken back, its state is that of its files.
    #[test]
    fn the_state_is_that_of_the_newest_files_whenever_they_were_imported(
        steps in prop::collection::vec((0_u8..13, any::<u16>(), "[a-z\\\\\"é\u{1}]{0,30}", prop::bool::weighted(0.25)), 1..32),
    ) {
        let place = Place::new();
        let mut agent = Agent::new();
        for (op, pick, text, is_imported) in steps {
            agent.next(op, usize::from(pick), &text);
            if is_imported {
                place.import(&agent.files);
                agent.imported = agent.messages.last().map(|(id, _)| id.clone());
            }
        }
        place.import(&agent.files);
        let fresh = Place::new();
        let once = fresh.import(&agent.files);
        let (state, expected) = (place.state("ses_a"), fresh.state("ses_a"));
        for rows in ["calls", "evals"] {
            prop_assert_eq!(&state[rows], &expected[rows], "{}", rows);
        }
        if !agent.split {
            prop_assert_eq!(&state, &expected);
        }
        if !agent.removed {
            prop_assert_eq!(place.usage("ses_a"), fresh.usage("ses_a"));
        }
        // Counted from the files alone.
        let users = agent.messages.iter().filter(|(_, is_user)| *is_user).count() as u64;
        let waits = agent.messages.last().is_some_and(|(id, _)| {
            let last: Value = serde_json::from_slice(&agent.files.0[&format!("message/ses_a/{id}.json")]).unwrap();
            last["summary"] == true && last["time"].get("completed").is_none()
        });
        let messages = agent.messages.len() as u64 - u64::from(waits);
        prop_assert_eq!([once[0].messages, once[0].turns], [messages, users]);
        assert_same(&place.export("ses_a"), &agent.files);
        assert_same(&fresh.export("ses_a"), &agent.files);
    }
}

#[test]
fn files_that_say_nonsense_are_kept_and_the_rest_is_imported() {
    let place = Place::new();
    let mut files = harbour();
    files.raw("part/msg_02/prt_0.json", "{\"type\":\"text\",\"text\":\"torn");
    files.raw("part/msg_02/prt_1.json", b"{\"type\":\"text\",\"text\":\"\xff\xfe\"}".to_vec());
    files.raw("part/msg_02/prt_2.json", "");
    files.raw("part/msg_02/prt_3.json", b"\0\0\0\x01m1\x02".to_vec());
    files.raw(
        "part/msg_02/prt_4.json",
        format!("{{\"type\":\"text\",\"text\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)),
    );
    files.raw("part/msg_02/prt_5.json", "{\"type\":\"text\",\"text\":\"a\",\"text\":\"b\"}");
    files.raw("message/ses_a/msg_06.json", "[1, 2]");
    files.raw("part/msg_06/prt_1.json", "{\"type\":\"text\",\"text\":\"of no message\"}");
    files.raw("message/ses_a/msg_07.json", "{\"id\":\"msg_07\",\"role\":\"system\"}");
    let mut twice = serde_json::from_slice::<Value>(&files.0["message/ses_a/msg_01.json"]).unwrap();
    files.put("message/ses_a/msg_08.json", &twice);
    twice["id"] = json!("../../../../etc");
    twice["time"] = json!({"created": T + 6_000});
    files.put("message/ses_a/msg_09.json", &twice);
    files.part("ses_a", "msg_05", "1x", tool("completed", "twice", Some("one id")));
    files.change("part/msg_05/prt_msg_05_1x.json", |value| value["id"] = json!("prt_msg_05_1"));
    files.change("part/msg_02/prt_msg_02_4.json", |value| value["tokens"]["input"] = json!(u64::MAX));
    let huge = "{\"type\":\"step-finish\",\"tokens\":{\"input\":1e999,\"output\":-5},\"cost\":99999999999999999999999}";
    files.raw("part/msg_03/prt_msg_03_9.json", huge);
    let imported = place.import(&files);
    // Of a part's file that is an object, only the text may be no text.
    assert_eq!(counts(&imported[0])[..4], [6, 3, 5, 2]);
    let mut kinds = odd(&imported[0]);
    kinds.sort_unstable();
    assert_eq!(kinds, [["bad-record"; 7].as_slice(), &["repeated-id", "repeated-id"]].concat());
    let state = place.state("ses_a");
    assert!(state["calls"][0][3].is_null() && state["calls"][2][3].is_null() && state["calls"][2][7].is_null());
    let notes = place.annotations("ses_a");
    let count = |kind: &str| notes.iter().filter(|note| *note == kind).count();
    assert_eq!((count("import/bad-record"), count("opencode/repeated"), count("opencode/part")), (7, 2, 1));
    assert_same(&place.export("ses_a"), &files);
}

#[test]
fn messages_without_a_session_and_parts_without_a_message_are_not_lost() {
    let place = Place::new();
    let mut files = harbour();
    files.part("ses_a", "msg_gone", "1", json!({"type": "text", "text": "whose message was removed"}));
    files.user("ses_lost", "msg_l1", T, "Is anybody there?");
    files.part("ses_lost", "msg_01", "1", json!({"type": "text", "text": "in another's folder"}));
    let imported = place.import(&files);
    assert_eq!(imported.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["ses_a", "ses_lost"]);
    assert_eq!(odd(&imported[0]), ["missing-message", "other-session"]);
    assert_eq!(odd(&imported[1]), ["missing-session"]);
    assert_eq!(counts(&imported[1])[..2], [1, 1]);
    assert!(place.annotations("ses_a").contains(&"opencode/part".to_owned()));
    let made = place.export("ses_a");
    assert!(made.contains_key("part/msg_gone/prt_msg_gone_1.json"));
    assert!(!made.contains_key("part/msg_01/prt_msg_01_1.json"), "the file is another session's now");
    // Its file comes later.
    files.session("ses_lost", None, T);
    let imported = place.import(&files);
    assert_eq!(imported[1].session.as_str(), "ses_lost");
    assert_eq!(place.store.session(&id("ses_lost")).unwrap().title.as_deref(), Some("About ses_lost"));
    assert_eq!(place.store.sessions().unwrap().len(), 2);
}

#[test]
fn no_link_is_followed_and_no_name_leads_out() {
    let place = Place::new();
    let files = harbour();
    files.write(&place.root());
    let outside = place.folder.path().join("secret.json");
    fs::write(&outside, "{\"type\":\"text\",\"text\":\"secret\"}").unwrap();
    let root = place.root();
    symlink(&outside, root.join("part/msg_02/prt_0.json")).unwrap();
    symlink(place.folder.path(), root.join("part/msg_99")).unwrap();
    fs::create_dir(root.join("part/msg_02/folder.json")).unwrap();
    fs::write(root.join("part/msg_02/a\nb.json"), "{}").unwrap();
    fs::write(root.join("part/msg_02/.oc-prt_9.json.12.tmp"), "{").unwrap();
    let status = std::process::Command::new("mkfifo").arg(root.join("part/msg_02/pipe.json")).status().unwrap();
    assert!(status.success());
    let mut hostile = serde_json::from_slice::<Value>(&files.0["session/p1/ses_a.json"]).unwrap();
    hostile["id"] = json!("../../..");
    fs::write(root.join("session/p1/ses_z.json"), hostile.to_string()).unwrap();
    let imported = place.import_path(&root);
    assert_eq!(imported.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["ses_a", "ses_z"]);
    let mut kinds = odd(&imported[0]);
    kinds.sort_unstable();
    assert_eq!(kinds, ["bad-name", "not-a-file", "not-a-file", "not-a-file"]);
    assert!(!place.state("ses_a").to_string().contains("secret"));
    assert_same(&place.export("ses_a"), &files);
    // A message folder that is a link holds nothing.
    fs::remove_dir_all(root.join("part/msg_02")).unwrap();
    symlink(root.join("part/msg_03"), root.join("part/msg_02")).unwrap();
    place.import_path(&root);
    assert!(!place.export("ses_a").keys().any(|name| name.starts_with("part/msg_02/")));
}

#[test]
fn an_answer_older_than_its_question_stands_behind_it() {
    let place = Place::new();
    let mut files = harbour();
    files.change("message/ses_a/msg_05.json", |value| value["time"] = json!({"created": T - 7_000, "completed": T}));
    files.change("message/ses_a/msg_03.json", |value| value["time"] = json!({"completed": "late"}));
    let imported = place.import(&files);
    assert_eq!(odd(&imported[0]), ["out-of-order"]);
    let said: Vec<_> = place.state("ses_a")["messages"].as_array().unwrap().iter().map(|one| one[0].clone()).collect();
    // What has no time stands last.
    assert_eq!(said, ["user", "assistant", "user", "assistant", "assistant"]);
    assert_same(&place.export("ses_a"), &files);
}

#[test]
fn what_is_no_storage_folder_is_told_apart() {
    let place = Place::new();
    let root = place.folder.path().join("opencode");
    harbour().write(&root.join("storage"));
    fs::write(root.join("opencode.db"), b"SQLite format 3\0 and more").unwrap();
    fs::write(root.join("auth.json"), "{}").unwrap();
    let found = exchange::find(&root).unwrap();
    assert_eq!(found.len(), 2);
    match found[0].recognize() {
        Err(ImportError::UnsupportedVersion { version, .. }) => assert!(version.contains("SQLite"), "{version}"),
        other => panic!("{other:?}"),
    }
    assert!(found[1].recognize().is_ok());
    // Folders with those names that are anything's.
    let code = place.folder.path().join("code");
    fs::create_dir_all(code.join("session/p1")).unwrap();
    fs::create_dir_all(code.join("message/x")).unwrap();
    fs::write(code.join("session/p1/package.json"), "{\"id\":\"x\"}").unwrap();
    assert!(exchange::find(&code).unwrap().is_empty());
    let file = code.join("session/p1/package.json");
    assert!(matches!(
        exchange::import(&place.store, &file),
        Err(ImportError::NoRecords { .. } | ImportError::UnknownFormat { .. })
    ));
    // A session whose only file cannot be read makes none.
    let empty = place.folder.path().join("empty");
    let mut files = harbour();
    files.raw("session/p1/ses_bad.json", "{");
    files.write(&empty);
    let results: Vec<_> =
        exchange::find(&empty).unwrap().iter().flat_map(|one| one.import(&place.store, &mut |_| {})).collect();
    assert!(matches!(results.as_slice(), [Ok(_), Err(ImportError::NoRecords { .. })]), "{results:?}");
    assert_eq!(place.store.sessions().unwrap().len(), 1);
}

#[test]
fn a_long_session_is_several_commits_and_goes_on_where_it_was_broken_off() {
    let mut files = Files::default();
    files.session("ses_a", None, T);
    for turn in 0..120_u64 {
        let (question, at) = (format!("msg_{turn:04}_a"), T + turn * 1_000);
        files.user("ses_a", &question, at, &format!("Question {turn}: {}", "where is it? ".repeat(20)));
        for answer in ["b", "c"] {
            let id = format!("msg_{turn:04}_{answer}");
            files.assistant("ses_a", (&id, &question), at + 1, Some("stop"));
            files.part("ses_a", &id, "1", json!({"type": "text", "text": format!("Answer {turn}{answer}")}));
            files.part("ses_a", &id, "2", tool("completed", "ls", Some(&format!("{turn} {}", "file\n".repeat(40)))));
            files.step("ses_a", &id, "3", turn, 1);
        }
    }
    let place = Place::new();
    let imported = place.import(&files);
    assert_eq!(counts(&imported[0]), [360, 120, 240, 240, 121, 0]);
    let commits = place.annotations("ses_a");
    assert_eq!(commits.len(), 1, "{commits:?}");
    assert_same(&place.export("ses_a"), &files);

    // A file that cannot be read any more stops it, behind whole batches.
    let broken = Place::new();
    files.write(&broken.root());
    let bad = broken.root().join("part/msg_0100_b/prt_msg_0100_b_2.json");
    let source = exchange::find(&broken.root()).unwrap().remove(0);
    let mut tries = 0;
    let results = source.import(&broken.store, &mut |_| {
        // After the first commit the file is another one at each look.
        tries += 1;
        fs::write(&bad, format!("{{\"type\":\"text\",\"text\":\"{tries}\"}}")).unwrap();
    });
    assert!(results[0].is_ok(), "{:?}", results[0]);
    files.raw("part/msg_0100_b/prt_msg_0100_b_2.json", fs::read(&bad).unwrap());
    broken.import(&files);
    let fresh = Place::new();
    fresh.import(&files);
    assert_eq!(broken.state("ses_a"), fresh.state("ses_a"));
    assert_eq!(broken.usage("ses_a"), fresh.usage("ses_a"));
    assert_same(&broken.export("ses_a"), &files);
}

#[test]
fn a_file_too_long_to_be_looked_at_is_kept_in_bounded_memory() {
    let place = Place::new();
    let files = harbour();
    files.write(&place.root());
    let long = place.root().join("part/msg_02/prt_long.json");
    let size = headwater::exchange::source::MAX_LINE as u64 + 7;
    fs::File::create(&long).unwrap().set_len(size).unwrap();
    let imported = place.import_path(&place.root());
    assert_eq!(odd(&imported[0]), ["line-too-long"]);
    assert_eq!(counts(&imported[0])[..4], [5, 2, 4, 2]);
    assert_eq!(place.import_path(&place.root())[0].new_events, 0);
    let made = place.export("ses_a");
    let long = &made["part/msg_02/prt_long.json"];
    assert!(long.len() as u64 == size && long.iter().all(|byte| *byte == 0));
    assert_eq!(made.len(), files.0.len() + 1);
}

#[test]
fn a_storage_folder_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    harbour().write(&place.root());
    let may = |folder: &Path, mode: u32| fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(place.folder.path().join("closed")).unwrap();
    for name in ["session", "session/p1", "message", "../closed"] {
        let folder = place.root().join(name);
        may(&folder, 0o311);
        if fs::read_dir(&folder).is_ok() {
            eprintln!("skipped: who runs this may read everything");
            may(&folder, 0o755);
            return;
        }
        let found = exchange::find(place.root().parent().unwrap()).unwrap();
        let results: Vec<_> = found.iter().flat_map(|one| one.import(&place.store, &mut |_| {})).collect();
        may(&folder, 0o755);
        let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        let [error] = &errors[..] else { panic!("{name}: {errors:?}") };
        let ImportError::Io { source, .. } = error else { panic!("{name}: {error:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied, "{name}");
    }
    assert_eq!(place.import_path(&place.root()).len(), 1);
}

//! Claude Code's logs come in as what they mean, whatever tree their records make, and go out as the bytes they were.

use std::fs;
use std::path::PathBuf;

use headwater::exchange::{self, Imported};
use headwater::model::{Body, Digest, HeadKind, SessionId, Status};
use headwater::store::{Options, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(super) struct Place {
    pub(super) folder: TempDir,
    pub(super) store: Store,
}

impl Place {
    pub(super) fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open_with(folder.path().join("store"), Options { create: true, ..Options::default() }).unwrap();
        Place { folder, store }
    }

    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("projects").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(super) fn import(&self, text: &str) -> Imported {
        exchange::import(&self.store, &self.file("log.jsonl", text.as_bytes())).unwrap()
    }

    /// All that was written to `projects`, as one command imports it.
    pub(super) fn import_all(&self) -> Vec<Imported> {
        let found = exchange::find(&self.folder.path().join("projects")).unwrap();
        found.iter().flat_map(|one| one.import(&self.store, &mut |_| {})).map(Result::unwrap).collect()
    }

    pub(super) fn export(&self, session: &SessionId) -> String {
        let mut out = Vec::new();
        exchange::write_source(&self.store, session, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    pub(super) fn text(&self, digest: Option<Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    /// The messages at the current head.
    pub(super) fn said(&self, session: &SessionId) -> Vec<(String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        rows.messages.iter().map(|entry| (entry.row.role.to_string(), self.text(Some(entry.row.content)))).collect()
    }

    pub(super) fn evals(&self, session: &SessionId) -> Vec<(String, String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        let row = |row: &headwater::model::Eval| {
            let value = self.text(row.result.or(row.error));
            (row.name.clone().unwrap_or_default(), row.status.to_string(), value)
        };
        rows.evals.iter().map(|entry| row(&entry.row)).collect()
    }

    pub(super) fn turns(&self, session: &SessionId) -> Vec<String> {
        let rows = self.store.view(session).unwrap().rows;
        rows.turns.iter().map(|entry| entry.row.status.to_string()).collect()
    }
}

pub(super) fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

pub(super) fn counts(imported: &Imported) -> [u64; 6] {
    let Imported { messages, turns, calls, evals, heads, invocations, .. } = imported;
    [*messages, *turns, *calls, *evals, *heads, *invocations]
}

pub(super) fn kinds(imported: &Imported) -> Vec<(u64, &str)> {
    imported.diagnostics.iter().map(|one| (one.line, one.kind.as_str())).collect()
}

/// A log being written: each record's parent is the one before, unless told.
#[derive(Default)]
pub(super) struct Log {
    pub(super) session: &'static str,
    pub(super) text: String,
    pub(super) last: Option<String>,
    pub(super) count: u64,
    pub(super) agent: Option<&'static str>,
}

impl Log {
    pub(super) fn new(session: &'static str) -> Log {
        Log { session, ..Log::default() }
    }

    /// Adds a record; gives its id.
    pub(super) fn add(&mut self, kind: &str, fields: Value) -> String {
        self.count += 1;
        let uuid = format!("{}-{}{}", self.count, self.session, self.agent.unwrap_or_default());
        let mut row = json!({ "parentUuid": self.last, "isSidechain": self.agent.is_some(), "sessionId": self.session,
            "type": kind, "uuid": uuid,
            "timestamp": format!("2026-05-01T10:{:02}:{:02}.000Z", self.count / 60 % 60, self.count % 60) });
        let row = row.as_object_mut().unwrap();
        if let Some(agent) = self.agent {
            row.insert("agentId".to_owned(), agent.into());
        }
        row.extend(fields.as_object().unwrap().clone());
        let uuid = row["uuid"].as_str().unwrap().to_owned();
        self.text += &format!("{}\n", Value::from(row.clone()));
        self.last = Some(uuid.clone());
        uuid
    }

    pub(super) fn user(&mut self, text: &str) -> String {
        self.add("user", json!({ "message": { "role": "user", "content": text } }))
    }

    pub(super) fn part(&mut self, id: &str, part: Value, output: u64) -> String {
        let usage = json!({ "input_tokens": 100, "output_tokens": output, "cache_read_input_tokens": 7 });
        self.add(
            "assistant",
            json!({ "message": { "id": id, "model": "claude-x", "role": "assistant", "content": [part],
                "stop_reason": null, "usage": usage } }),
        )
    }

    pub(super) fn say(&mut self, id: &str, text: &str) -> String {
        self.part(id, json!({ "type": "text", "text": text }), 5)
    }

    pub(super) fn ask(&mut self, id: &str, tool: &str, name: &str, input: Value) -> String {
        self.part(id, json!({ "type": "tool_use", "id": tool, "name": name, "input": input }), 9)
    }

    pub(super) fn result(&mut self, tool: &str, content: Value, is_error: bool, beside: Value) -> String {
        let block = json!({ "type": "tool_result", "tool_use_id": tool, "content": content, "is_error": is_error });
        self.add("user", json!({ "message": { "role": "user", "content": [block] }, "toolUseResult": beside }))
    }
}

const FIXTURE: &str = include_str!("../fixtures/claude-code.jsonl");

#[test]
fn each_kind_of_record_has_its_place() {
    let place = Place::new();
    let imported = place.import(FIXTURE);
    assert_eq!((imported.session.as_str(), counts(&imported)), ("lighthouse", [7, 3, 2, 1, 5, 1]));
    assert_eq!(kinds(&imported), []);
    // The last input is another try of the one before, behind the compaction's turn.
    let said = place.said(&imported.session);
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "summary", "user", "assistant"]);
    assert_eq!(said[4].1, "Fill it at once.");
    let rows = place.store.view(&imported.session).unwrap().rows;
    assert_eq!((rows.calls[0].row.tokens_output, rows.calls[0].row.cost), (Some(12), Some(12_500_000)));
    assert_eq!(rows.invocations[0].row.callee, Some(id("lighthouse.agent-a7")));
    let notes: Vec<String> = place
        .store
        .events(&imported.session)
        .unwrap()
        .iter()
        .map(|event| event.body.kind().to_owned())
        .filter(|kind| kind.starts_with("claude-code/"))
        .collect();
    assert_eq!(
        notes,
        [
            "claude-code/file-history-snapshot",
            "claude-code/progress",
            "claude-code/system/compact_boundary",
            "claude-code/summary",
        ]
    );
    assert_eq!(place.export(&imported.session), FIXTURE);
    // Whole, or first up to any place.
    for at in (0..FIXTURE.len()).step_by(397).filter(|at| FIXTURE[..*at].contains('\n')) {
        let part = Place::new();
        part.import(&FIXTURE[..at]);
        let grown = part.import(FIXTURE);
        // A tool at work at the cut has an eval for that, and one with its result.
        let again = kinds(&grown).iter().filter(|(_, kind)| *kind == "late-result").count() as u64;
        assert_eq!((grown.turns, grown.calls, grown.evals - again), (3, 2, 1), "cut at {at}");
        let edges = part.store.view(&grown.session).unwrap().rows.invocations;
        assert!(edges.iter().all(|edge| edge.row.status == Status::OK), "cut at {at}: {edges:?}");
        assert_eq!(part.export(&grown.session), FIXTURE);
    }
}

#[test]
fn an_answer_of_several_records_is_one_call_and_one_message() {
    let place = Place::new();
    let mut log = Log::new("answer");
    log.user("Read both notes — please.");
    log.part("m1", json!({ "type": "thinking", "thinking": "two of them", "signature": "s" }), 1);
    log.say("m1", "I read them: é, 😀 and all.");
    log.ask("m1", "t1", "Read", json!({ "file_path": "/notes/one.md", "limit": 1e2 }));
    // Tools run while the answer is still being written.
    log.add("progress", json!({ "data": { "type": "hook_progress" }, "parentToolUseID": "t1" }));
    log.result(
        "t1",
        json!("the first note, of more than sixteen letters"),
        false,
        json!({ "stdout": "the first note, of more than sixteen letters" }),
    );
    log.ask("m1", "t2", "Read", json!({ "file_path": "/notes/two.md" }));
    log.result("t2", json!([{ "type": "text", "text": "no such file: two.md" }]), true, json!("Error"));
    log.say("m2", "There is one note.");
    let imported = place.import(&log.text);
    assert_eq!(imported.session, id("answer"));
    assert_eq!(counts(&imported), [5, 1, 2, 2, 2, 0]);
    assert_eq!(kinds(&imported), []);
    let said = place.said(&imported.session);
    let said: Vec<(&str, &str)> = said.iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
    assert_eq!(
        said,
        [
            ("user", "Read both notes — please."),
            ("assistant", "I read them: é, 😀 and all."),
            ("tool", "the first note, of more than sixteen letters"),
            ("tool", "no such file: two.md"),
            ("assistant", "There is one note."),
        ]
    );
    let rows = place.store.view(&imported.session).unwrap().rows;
    let call = &rows.calls[0].row;
    // The use is told on each record, and only the last is right.
    assert_eq!((call.tokens_input, call.tokens_output, call.tokens_cached), (Some(100), Some(9), Some(7)));
    assert_eq!((call.provider.as_deref(), call.model.as_deref()), (Some("anthropic"), Some("claude-x")));
    assert_eq!(rows.evals[1].row.message.unwrap().0, 2);
    assert_eq!(rows.evals[1].row.call.unwrap().0, 1);
    assert_eq!(place.text(rows.evals[0].row.code), r#"{"file_path":"/notes/one.md","limit":100.0}"#);
    let evals = place.evals(&imported.session);
    assert_eq!(
        (evals[0].1.as_str(), evals[1].1.as_str(), evals[1].2.as_str()),
        ("ok", "error", "no such file: two.md")
    );
    assert_eq!(place.turns(&imported.session), ["final"]);
    assert_eq!(place.export(&imported.session), log.text);
}

#[test]
fn a_prompt_that_is_tried_again_is_a_branch_and_the_results_of_parallel_tools_are_none() {
    let place = Place::new();
    let mut log = Log::new("branch");
    log.user("one");
    let asked = log.ask("m1", "t1", "Bash", json!({ "command": "a" }));
    log.ask("m1", "t2", "Bash", json!({ "command": "b" }));
    log.result("t2", json!("b"), false, Value::Null);
    log.last = Some(asked);
    log.result("t1", json!("a"), false, Value::Null);
    let end = log.say("m2", "done one");
    let retry = log.last.clone();
    log.user("two");
    log.say("m3", "done two");
    log.last = retry.clone();
    log.user("two, again");
    let back = log.say("m4", "done two, again");
    assert_eq!(Some(&end), retry.as_ref());
    let imported = place.import(&log.text);
    assert_eq!(counts(&imported), [9, 3, 4, 2, 4, 0]);
    let said: Vec<String> = place.said(&imported.session).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["one", "", "b", "a", "done one", "two, again", "done two, again"]);
    let heads = place.store.heads(&imported.session).unwrap();
    // Both tries stand on the head behind the first turn.
    assert_eq!((heads[2].basis, heads[3].basis), (Some(heads[1].head), Some(heads[1].head)));
    assert_eq!(place.store.session(&imported.session).unwrap().current_head, Some(heads[3].head));
    assert_eq!(place.export(&imported.session), log.text);

    // A later import goes back to a branch that was left before, and to the very beginning.
    log.last = Some(back);
    log.user("three");
    log.last = retry;
    log.user("two, a third time");
    log.last = None;
    log.user("one, again");
    let grown = place.import(&log.text);
    assert_eq!(counts(&grown), [12, 6, 4, 2, 7, 0]);
    let heads = place.store.heads(&imported.session).unwrap();
    assert_eq!(heads[4].basis, Some(heads[3].head));
    assert_eq!(heads[5].basis, Some(heads[1].head));
    assert_eq!(heads[6].basis, Some(heads[0].head));
    assert_eq!(place.said(&imported.session), [("user".to_owned(), "one, again".to_owned())]);
    assert_eq!(place.export(&imported.session), log.text);
}

#[test]
fn a_compaction_is_a_head_whose_transcript_begins_with_its_summary() {
    let place = Place::new();
    let mut log = Log::new("compact");
    log.user("go");
    log.say("m1", "gone");
    let before = log.last.take();
    log.add(
        "system",
        json!({ "subtype": "compact_boundary", "logicalParentUuid": before, "content": "Conversation compacted" }),
    );
    log.add("user", json!({ "isCompactSummary": true, "message": { "role": "user", "content": "They went." } }));
    log.say("m2", "still gone");
    log.user("come back");
    let imported = place.import(&log.text);
    assert_eq!(counts(&imported), [5, 2, 2, 0, 4, 0]);
    let heads = place.store.heads(&imported.session).unwrap();
    let kinds: Vec<HeadKind> = heads.iter().map(|head| head.kind).collect();
    assert_eq!(kinds, [HeadKind::Genesis, HeadKind::Compaction, HeadKind::TurnFinal, HeadKind::TurnFinal]);
    let transcript = place.store.root_of(&heads[1].head).unwrap().transcript.unwrap();
    assert_eq!(transcript.len(), 1);
    assert_eq!(place.said(&imported.session)[2], ("summary".to_owned(), "They went.".to_owned()));
    assert_eq!(place.export(&imported.session), log.text);
}

/// A call of a subagent in a log of its own, one between the records, one that never came back.
fn family() -> (String, String, String) {
    let mut log = Log::new("family");
    log.user("send them");
    log.ask("m1", "t1", "Task", json!({ "description": "look", "prompt": "Look around.", "subagent_type": "Explore" }));
    let asked = log.ask("m1", "t2", "Agent", json!({ "description": "count", "prompt": "Count them." }));
    let mut agent = Log { agent: Some("a1"), ..Log::new("family") };
    agent.user("Look around.");
    agent.say("s1", "Nothing there.");
    let mut side = Log { agent: Some(""), ..Log::new("family") };
    side.user("Count them.");
    side.say("s2", "Seven.");
    let side = side.text.replace(",\"agentId\":\"\"", "").replace("\"agentId\":\"\",", "").replace("-family", "-side");
    log.text += &side;
    log.last = Some(asked);
    log.result("t2", json!("Seven."), false, json!({ "totalTokens": 9 }));
    log.result("t1", json!([{ "type": "text", "text": "Nothing there." }]), false, json!({ "agentId": "a1" }));
    log.ask("m2", "t3", "Task", json!({ "prompt": "Never mind." }));
    log.add("progress", json!({ "parentToolUseID": "t3", "data": { "type": "agent_progress", "agentId": "a9" } }));
    log.user("enough");
    (log.text, agent.text, side)
}

#[test]
fn subagents_are_sessions_and_invocations() {
    let place = Place::new();
    let (main, agent, side) = family();
    place.file("p/family.jsonl", main.as_bytes());
    place.file("p/family/subagents/agent-a1.jsonl", agent.as_bytes());
    let imported = place.import_all();
    let names: Vec<&str> = imported.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(names, ["family.agent-a1", "family.sidechain-1", "family"]);
    assert_eq!(counts(&imported[0]), [2, 1, 1, 0, 2, 0]);
    assert_eq!(counts(&imported[1]), [2, 1, 1, 0, 2, 0]);
    assert_eq!(counts(&imported[2]), [6, 2, 2, 3, 3, 3]);
    let rows = place.store.view(&id("family")).unwrap().rows;
    let invocations: Vec<_> = rows
        .invocations
        .iter()
        .map(|entry| {
            let row = &entry.row;
            let callee = row.callee.as_ref().map(SessionId::as_str).unwrap_or_default();
            (row.status.to_string(), callee.to_owned(), place.text(row.input), place.text(row.final_value))
        })
        .collect();
    let own = |texts: [&str; 4]| texts.map(str::to_owned).into();
    let expected: [(String, String, String, String); 3] = [
        own(["ok", "family.agent-a1", "Look around.", "Nothing there."]),
        own(["ok", "family.sidechain-1", "Count them.", "Seven."]),
        own(["unfinished", "family.agent-a9", "Never mind.", ""]),
    ];
    assert_eq!(invocations, expected);
    assert_eq!(rows.invocations[0].row.call.unwrap().0, 1);
    for (entry, callee) in rows.invocations.iter().zip(["family.agent-a1", "family.sidechain-1"]) {
        let heads = place.store.heads(&id(callee)).unwrap();
        assert_eq!((entry.row.callee_before, entry.row.callee_after), (Some(heads[0].head), Some(heads[1].head)));
    }
    assert!(rows.invocations.iter().all(|entry| entry.row.caller_after.is_some()));
    assert_eq!(place.store.session(&id("family.agent-a1")).unwrap().kind.as_str(), "child");
    // All of the file is in the main session; the sidechain has its lines.
    assert_eq!(place.export(&id("family")), main);
    assert_eq!(place.export(&id("family.agent-a1")), agent);
    assert_eq!(place.export(&id("family.sidechain-1")), side);
    assert!(place.import_all().iter().all(|one| one.new_events == 0));
}

#[test]
fn a_session_that_copies_another_shares_its_rows_and_counts_no_use_twice() {
    let place = Place::new();
    let mut log = Log::new("old");
    log.user("one");
    log.say("m1", "done one");
    let fork = log.text.clone();
    log.user("two");
    log.say("m2", "done two");
    place.file("p/old.jsonl", log.text.as_bytes());
    // A copy names its source on each record, or has its source's id on them.
    let told = fork.replace("\"sessionId\":\"old\"", "\"forkedFrom\":{\"sessionId\":\"old\"},\"sessionId\":\"told\"");
    let mut more = Log { count: 40, last: log.last.clone(), ..Log::new("told") };
    more.last = Some("2-old".to_owned());
    more.user("two, elsewhere");
    more.say("m3", "done elsewhere");
    let others = &more.text.replace("told", "aaaa").replace("m3", "m4");
    place.file("p/told.jsonl", (told.clone() + &more.text).as_bytes());
    place.file("p/aaaa.jsonl", (fork.clone() + others).as_bytes());
    let imported = place.import_all();
    let of = |name: &str| imported.iter().find(|one| one.session == id(name)).unwrap();
    for name in ["told", "aaaa"] {
        assert_eq!(of(name).forked_from, Some(id("old")), "{name}");
        let said: Vec<String> = place.said(&id(name)).into_iter().map(|(_, text)| text).collect();
        assert_eq!(said, ["one", "done one", "two, elsewhere", "done elsewhere"]);
        let calls = place.store.events(&id(name)).unwrap();
        assert_eq!(calls.iter().filter(|event| matches!(event.body, Body::CallStarted(_))).count(), 1);
    }
    assert_eq!(place.export(&id("told")), told + &more.text);
    assert_eq!(place.export(&id("aaaa")), fork + others);
    assert!(place.import_all().iter().all(|one| one.new_events == 0));
}

#[test]
fn what_is_odd_is_told_and_kept() {
    let place = Place::new();
    let mut log = Log::new("odd");
    let first = log.user("one");
    log.add("user", json!({ "uuid": first.clone(), "message": { "content": "another under the same id" } }));
    log.last = Some("nowhere".to_owned());
    log.say("m1", "done");
    // A record that is its own parent, and one whose parent comes later.
    log.last = Some("4-odd".to_owned());
    log.user("mine");
    log.last = Some("6-odd".to_owned());
    log.user("two");
    log.say("m1", "a part of the answer from before");
    log.add(
        "assistant",
        json!({ "isApiErrorMessage": true, "message": { "id": "e1", "model": "<synthetic>",
        "content": [{ "type": "text", "text": "API Error: 529" }], "usage": { "input_tokens": 0 } } }),
    );
    log.user("[Request interrupted by user]");
    log.result("nobody", json!("late"), false, Value::Null);
    log.text += "{\"type\":\"user\"}\n";
    log.text += "{\"type\":\"user\",\"uuid\":\"u\",\"uuid\":\"v\",\"message\":{}}\nnull and void\n";
    log.text += "{\"type\":\"queue-operation\",\"operation\":\"enqueue\",\"n\":123456789012345678901234567890.10}\n";
    log.text += "{\"type\":\"summary\",\"summary\":\"\\ud800 half\",\"leafUuid\":\"x\"}  {\"type\":\"mode\"}\n";
    let imported = place.import(&log.text);
    assert_eq!(
        kinds(&imported),
        [
            (2, "repeated-id"),
            (3, "missing-parent"),
            (4, "missing-parent"),
            (5, "missing-parent"),
            (6, "repeated-answer"),
            (10, "bad-record"),
            (11, "bad-record"),
            (12, "bad-line"),
            (14, "two-records"),
        ]
    );
    assert_eq!(counts(&imported), [8, 3, 2, 1, 4, 0]);
    assert_eq!(place.turns(&imported.session), ["final", "unfinished", "error"]);
    let rows = place.store.view(&imported.session).unwrap().rows;
    let error = &rows.calls[1].row;
    assert_eq!((error.status.as_str(), error.model.as_deref(), error.tokens_input), ("error", None, None));
    assert_eq!(place.text(error.error), "API Error: 529");
    assert_eq!(place.export(&imported.session), log.text);
    let again = place.import(&log.text);
    assert_eq!((again.new_events, again.diagnostics.len()), (0, 9));
}

#[test]
fn a_turn_that_the_user_stopped_is_aborted() {
    let place = Place::new();
    let mut log = Log::new("stopped");
    log.user("count to a million");
    log.say("m1", "One, two");
    log.user("[Request interrupted by user]");
    log.user("no more");
    log.say("m2", "As you like.");
    log.ask("m2", "t1", "Bash", json!({}));
    log.result("t1", json!("ok"), false, Value::Null);
    let imported = place.import(&log.text);
    assert_eq!(place.turns(&imported.session), ["aborted", "unfinished"]);
    log.ask("m3", "t2", "Bash", json!({}));
    let grown = place.import(&log.text);
    log.result("t2", json!("not too late"), false, Value::Null);
    let late = place.import(&log.text);
    // It was at work when the source ended: its eval has its result now.
    assert_eq!(kinds(&late), []);
    assert_eq!((grown.evals, late.evals, late.messages), (2, 2, grown.messages + 1));
    let evals = place.evals(&late.session);
    assert_eq!((evals[1].1.as_str(), evals[1].2.as_str()), ("ok", "not too late"));
    assert_eq!(place.export(&late.session), log.text);
}

#[test]
fn an_answer_may_reach_over_the_end_of_a_batch() {
    let place = Place::new();
    let mut log = Log::new("long");
    log.user("go on");
    log.ask("m1", "t1", "Bash", json!({ "command": "sleep for a long while" }));
    for _ in 0..3_000 {
        log.add("progress", json!({ "data": { "type": "bash_progress", "output": "..." } }));
    }
    log.say("m1", "It sleeps, and goes on sleeping.");
    log.result("t1", json!("it slept for a long while"), false, Value::Null);
    log.say("m2", "Awake.");
    let imported = place.import(&log.text);
    // One more head where the turn is cut.
    assert_eq!(counts(&imported), [4, 1, 2, 1, 3, 0]);
    assert_eq!(place.said(&imported.session)[1].1, "It sleeps, and goes on sleeping.");
    assert_eq!(place.evals(&imported.session)[0].1, "ok");
    assert_eq!(place.export(&imported.session), log.text);
    assert_eq!(place.import(&log.text).new_events, 0);
}

#[test]
fn a_log_that_left_what_was_imported_is_a_fork() {
    let place = Place::new();
    let mut log = Log::new("left");
    log.user("one");
    let one = log.say("m1", "done one");
    log.user("two");
    let two = log.say("m2", "done two");
    let (common, count) = (log.text.clone(), log.count);
    log.user("three");
    place.import(&log.text);
    let mut other = Log { text: common, count, last: Some(two.clone()), ..Log::new("left") };
    other.user("three, otherwise");
    other.say("m3", "done three");
    // Back to the last turn that both have, and to one before.
    other.last = Some(two);
    other.user("three, once more");
    other.last = Some(one);
    other.user("two, once more");
    let forked = place.import(&other.text);
    assert_eq!(forked.forked_from, Some(id("left")));
    assert_eq!(kinds(&forked), [(8, "unknown-branch")]);
    assert_eq!(forked.turns, 5);
    let said: Vec<String> = place.said(&forked.session).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["one", "done one", "two", "done two", "three, once more", "two, once more"]);
    assert_eq!(place.export(&forked.session), other.text);
    assert_eq!(place.export(&id("left")), log.text);
    assert_eq!(place.import(&other.text).new_events, 0);
    assert_eq!(place.import(&log.text).new_events, 0);
}

#[test]
fn old_costs_are_counted_once_and_exactly() {
    let place = Place::new();
    let mut log = Log::new("cost");
    log.user("go");
    for cost in ["0.010500000000000001", "0.020500000000000001"] {
        let text = json!({ "message": { "id": "m1", "model": "claude-x", "content": [{ "type": "text", "text": cost }] },
            "costUSD": "COST" });
        log.add("assistant", text);
        log.text = log.text.replace("\"COST\"", cost);
    }
    let imported = place.import(&log.text);
    let rows = place.store.view(&imported.session).unwrap().rows;
    let costs: Vec<Option<u64>> = rows.calls.iter().map(|entry| entry.row.cost).collect();
    assert_eq!(costs, [Some(20_500_000)]);
    assert!(place.said(&imported.session)[1].1.starts_with("[{\"text\":\"0.0105"));
    assert_eq!(place.export(&imported.session), log.text);
}

/// A log whose records stand anywhere in the tree.
fn random(picks: &[(u8, usize, u8)]) -> String {
    let mut log = Log::new("random");
    let mut ids: Vec<Option<String>> = vec![None];
    for (number, (kind, parent, id)) in picks.iter().enumerate() {
        log.last.clone_from(&ids[if *parent < 12 { ids.len() - 1 } else { parent % ids.len() }]);
        let (answer, tool) = (format!("m{}", id / 16), format!("t{}", id % 8));
        ids.push(Some(match kind % 9 {
            0 | 1 => log.user(&format!("input {number} \u{1}\u{2} \"quoted\"")),
            2 => log.say(&answer, &format!("answer {number} é")),
            3 => log.ask(&answer, &tool, "Bash", json!({ "command": format!("run the number {number}") })),
            4 => log.ask(&answer, &tool, "Task", json!({ "prompt": format!("do {number}") })),
            5 => log.result(&tool, json!(format!("result of {number}, long enough")), id % 3 == 0, Value::Null),
            6 => log.add("progress", json!({ "data": { "type": "hook_progress" } })),
            7 => log.add("user", json!({ "isCompactSummary": true, "message": { "content": "in short" } })),
            _ => log.add("system", json!({ "subtype": "turn_duration", "durationMs": number })),
        }));
        if id % 31 == 0 {
            log.text += "no record\n";
        }
    }
    log.text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever tree the records make, wherever the source was cut when it was imported first: it is written again as it
    /// was, each answer's use is counted once, and importing it again adds nothing.
    #[test]
    fn any_tree_comes_in_and_goes_out(
        picks in proptest::collection::vec((any::<u8>(), 0_usize..16, any::<u8>()), 1..80),
        cut in 0_usize..80,
    ) {
        let text = random(&picks);
        let place = Place::new();
        let part: String = text.split_inclusive('\n').take(cut + 1).collect();
        if part.lines().any(|line| line.starts_with('{')) {
            place.import(&part);
        }
        let grown = place.import(&text);
        prop_assert_eq!(place.export(&grown.session), text.clone());
        prop_assert_eq!(place.import(&text).new_events, 0);
        let whole = Place::new();
        let at_once = whole.import(&text);
        prop_assert_eq!(whole.export(&at_once.session), text.clone());
        prop_assert_eq!((grown.turns, grown.calls, grown.invocations), (at_once.turns, at_once.calls, at_once.invocations));
        let answers: std::collections::BTreeSet<u8> =
            picks.iter().filter(|(kind, ..)| (2..5).contains(&(kind % 9))).map(|(.., id)| id / 16).collect();
        prop_assert_eq!(at_once.calls, answers.len() as u64);
        let issues = headwater::care::check(place.store.root(), headwater::care::Mode::Deep).unwrap().issues;
        prop_assert_eq!(issues, []);
    }
}

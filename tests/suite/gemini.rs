//! Gemini CLI's chats come in from both forms, again after they were written anew, and go out as the bytes they were last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange::export::Stream;
use headwater::exchange::{self, ImportError, Imported};
use headwater::model::{Digest, HeadKind, SessionId};
use headwater::store::{Options, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const HARBOR: &str = include_str!("../fixtures/gemini/harbor.json");
const PIER: &str = include_str!("../fixtures/gemini/pier.jsonl");

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

    fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("tmp/0123/chats").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn try_import(&self, name: &str, bytes: &[u8]) -> Result<Imported, ImportError> {
        fs::write(self.path(name), bytes).unwrap();
        exchange::import(&self.store, &self.path(name))
    }

    /// Imports it, sees that it comes out again as it is, and that it is then nothing new.
    fn import(&self, name: &str, text: impl AsRef<[u8]>) -> Imported {
        let imported = self.try_import(name, text.as_ref()).unwrap();
        let out = self.export(&imported.session);
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(text.as_ref()));
        assert_eq!(out, text.as_ref());
        let again = exchange::import(&self.store, &self.path(name)).unwrap();
        assert_eq!((again.new_events, &again.session), (0, &imported.session));
        imported
    }

    fn export(&self, session: &SessionId) -> Vec<u8> {
        let mut out = Vec::new();
        exchange::export(&self.store, session, Some("gemini"), &mut Stream(&mut out)).unwrap();
        let mut same = Vec::new();
        exchange::write_source(&self.store, session, &mut same).unwrap();
        assert_eq!(out, same);
        out
    }

    fn text(&self, digest: Option<Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    fn said(&self, session: &SessionId) -> Vec<(String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        rows.messages.iter().map(|entry| (entry.row.role.to_string(), self.text(Some(entry.row.content)))).collect()
    }

    fn turns(&self, session: &SessionId) -> Vec<(String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        rows.turns.iter().map(|entry| (entry.row.status.to_string(), self.text(entry.row.final_value))).collect()
    }

    fn annotations(&self, session: &SessionId) -> Vec<String> {
        let events = self.store.events(session).unwrap();
        let kinds = events.iter().map(|event| event.body.kind().to_owned());
        kinds.filter(|kind| kind.starts_with("gemini/") || kind.starts_with("import/bad")).collect()
    }

    fn usage(&self, session: &SessionId) -> [u64; 5] {
        self.tokens(session)
    }

    /// What all calls used, of whatever branch: calls, input, output, cached, reasoning.
    fn tokens(&self, session: &SessionId) -> [u64; 5] {
        let mut last = BTreeMap::new();
        for event in self.store.events(session).unwrap() {
            if let headwater::model::Body::CallStarted(call) | headwater::model::Body::CallPut(call) = event.body {
                last.insert(call.call, call);
            }
        }
        let mut sum = [last.len() as u64, 0, 0, 0, 0];
        for call in last.values() {
            let amounts = [call.tokens_input, call.tokens_output, call.tokens_cached, call.tokens_reasoning];
            amounts.iter().zip(&mut sum[1..]).for_each(|(amount, sum)| *sum += amount.unwrap_or_default());
        }
        sum
    }
}

fn counts(imported: &Imported) -> [u64; 6] {
    let Imported { messages, turns, calls, evals, heads, invocations, .. } = imported;
    [*messages, *turns, *calls, *evals, *heads, *invocations]
}

fn kinds(imported: &Imported) -> Vec<&str> {
    imported.diagnostics.iter().map(|one| one.kind.as_str()).collect()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// A chat of these messages, written as the older form.
fn chat(id: &str, messages: &[Value]) -> Value {
    let stamp = messages.len();
    json!({
        "sessionId": id,
        "projectHash": "0123",
        "startTime": "2026-02-03T08:00:00.000Z",
        "lastUpdated": format!("2026-02-03T08:{stamp:02}:00.000Z"),
        "messages": messages,
    })
}

fn user(id: &str, text: &str) -> Value {
    json!({"id": id, "timestamp": "2026-02-03T08:00:01.000Z", "type": "user", "content": text})
}

fn answer(id: &str, text: &str, input: u64) -> Value {
    json!({"id": id, "timestamp": "2026-02-03T08:00:02.000Z", "type": "gemini", "content": text, "thoughts": [],
        "tokens": {"input": input, "output": 1, "cached": 0, "thoughts": 2, "tool": 0, "total": input + 3}, "model": "acme"})
}

fn tool(id: &str, output: &str) -> Value {
    json!({"id": id, "name": "look", "args": {"at": [id, "the harbor"]},
        "result": [{"functionResponse": {"id": id, "name": "look", "response": {"output": output}}}],
        "status": "success", "timestamp": "2026-02-03T08:00:03.000Z"})
}

#[test]
fn each_message_call_and_tool_of_an_object_is_there_once() {
    let place = Place::new();
    let imported = place.import("session-harbor.json", HARBOR);
    assert_eq!((imported.session.as_str(), imported.format), ("harbor-0001", "gemini"));
    assert_eq!(counts(&imported), [7, 3, 4, 4, 4, 0]);
    assert_eq!(kinds(&imported), [""; 0]);
    assert_eq!(place.store.session(&imported.session).unwrap().title.as_deref(), Some("When the harbor opens"));

    let said = place.said(&imported.session);
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles.join(" "), "user assistant assistant user assistant user assistant");
    assert!(said[3].1.starts_with(r#"[{"text":"Write it on this sign."},{"inlineData":"#), "{}", said[3].1);
    assert_eq!(
        place.turns(&imported.session),
        [
            ("final".to_owned(), "It opens at six in the morning.".to_owned()),
            ("error".to_owned(), String::new()),
            ("final".to_owned(), "Yes.".to_owned())
        ]
    );
    let rows = place.store.view(&imported.session).unwrap().rows;
    assert_eq!(place.text(rows.turns[1].row.error), "[API Error: quota exceeded]");

    let evals: Vec<_> = rows
        .evals
        .iter()
        .map(|entry| {
            let row = &entry.row;
            let said = (place.text(row.result), place.text(row.error));
            (row.name.clone().unwrap(), row.status.to_string(), row.call.unwrap().0, place.text(row.code), said)
        })
        .collect();
    let of = |name: &str, status: &str, call: u64, code: &str, result: &str, error: &str| {
        (name.to_owned(), status.to_owned(), call, code.to_owned(), (result.to_owned(), error.to_owned()))
    };
    let hours = "Open from six in the morning\nto nine in the evening.";
    let missing = "File not found: notes.txt, in none of the folders";
    let refused = "[Operation Cancelled] Reason: User cancelled.";
    assert_eq!(
        evals,
        [
            of("read_file", "ok", 1, r#"{"path":"board.txt","lines":[1,20],"options":{}}"#, hours, ""),
            of("read_file", "error", 1, r#"{"path":"notes.txt"}"#, "", missing),
            of("ask_master", "aborted", 1, r#"{"question":"May I look into your notes?"}"#, refused, ""),
            of(
                "write_file",
                "unfinished",
                3,
                r#"{"path":"sign.txt","content":"Open from six in the morning"}"#,
                "",
                ""
            ),
        ]
    );
    let calls: Vec<_> = rows
        .calls
        .iter()
        .map(|entry| {
            let row = &entry.row;
            assert_eq!((row.status.as_str(), row.provider.as_deref()), ("ok", Some("google")));
            let tokens = (row.tokens_input, row.tokens_output, row.tokens_cached, row.tokens_reasoning);
            (row.model.as_deref().unwrap(), row.turn.unwrap().0, tokens, place.text(row.extra))
        })
        .collect();
    let tokens = |input, output, cached, thoughts| (Some(input), Some(output), Some(cached), Some(thoughts));
    assert_eq!(
        calls,
        [
            ("gemini-acme-pro", 1, tokens(1000, 50, 200, 30), String::new()),
            ("gemini-acme-pro", 1, tokens(1200, 20, 900, 0), r#"{"tokens-tool":7}"#.to_owned()),
            ("gemini-acme-flash", 2, tokens(1400, 30, 1200, 5), String::new()),
            ("gemini-acme-flash", 3, (None, None, None, None), String::new()),
        ]
    );
    assert_eq!(place.annotations(&imported.session), ["gemini/info", "gemini/error", "gemini/warning"]);
}

#[test]
fn lines_that_complete_or_take_back_messages_are_followed() {
    let place = Place::new();
    let imported = place.import("session-pier.jsonl", PIER);
    assert_eq!((imported.session.as_str(), imported.format), ("pier-0001", "gemini"));
    assert_eq!(counts(&imported), [10, 4, 5, 2, 6, 1]);
    assert_eq!(kinds(&imported), [""; 0]);
    // The messages that were taken back are none of the current ones; their calls were made all the same.
    let said = place.said(&imported.session);
    assert!(!said.iter().any(|(_, text)| text.contains("Nobody knows")), "{said:?}");
    assert_eq!(place.tokens(&imported.session), [5, 3110, 38, 1650, 5]);
    let heads = place.store.heads(&imported.session).unwrap();
    let left: Vec<_> = heads.iter().filter(|head| head.basis == Some(heads[1].head)).collect();
    assert_eq!(left.len(), 2, "two turns follow the first");
    let compaction: Vec<_> = heads.iter().filter(|head| head.kind == HeadKind::Compaction).collect();
    assert_eq!(compaction.len(), 1);
    assert_eq!(place.store.session(&imported.session).unwrap().title.as_deref(), Some("The measures of the pier"));
    assert_eq!(place.annotations(&imported.session), ["gemini/set"]);

    let rows = place.store.view(&imported.session).unwrap().rows;
    let invocation = &rows.invocations[0].row;
    assert_eq!(invocation.callee.as_ref().unwrap().as_str(), "surveyor-77");
    assert_eq!((invocation.status.as_str(), invocation.call.unwrap().0), ("ok", 1));
    assert_eq!(place.text(invocation.final_value), "Measured again: 212.5 metres");
    assert_eq!(place.text(rows.evals[1].row.code), r#"{"objective":"measure it again"}"#);
}

/// Whatever line an import came to, the next one makes of the rest what one import of all makes.
#[test]
fn lines_may_come_in_any_number_of_imports() {
    let whole = Place::new();
    let all = whole.import("session-pier.jsonl", PIER);
    let ends: Vec<usize> = PIER.match_indices('\n').map(|(at, _)| at + 1).collect();
    for cut in &ends[..ends.len() - 1] {
        let place = Place::new();
        place.import("session-pier.jsonl", &PIER[..*cut]);
        let imported = place.import("session-pier.jsonl", PIER);
        let mut expected = counts(&all);
        expected[4] = imported.heads;
        assert_eq!(counts(&imported), expected, "cut at {cut}");
        assert_eq!(place.said(&imported.session), whole.said(&all.session), "cut at {cut}");
        assert_eq!(place.turns(&imported.session), whole.turns(&all.session), "cut at {cut}");
        assert_eq!(place.tokens(&imported.session), whole.tokens(&all.session), "cut at {cut}");
    }
}

#[test]
fn an_object_written_anew_adds_what_is_new_in_it() {
    let place = Place::new();
    let name = "session-a.json";
    let mut messages = vec![user("u1", "Where is the harbor master?")];
    let first = place.import(name, pretty(&chat("a", &messages)));
    assert_eq!(counts(&first)[..4], [1, 1, 0, 0]);

    let mut reply = answer("a1", "", 100);
    reply.as_object_mut().unwrap().remove("tokens");
    reply["toolCalls"] =
        json!([{"id": "t1", "name": "look", "args": {"at": ["t1", "the harbor"]}, "status": "executing"}]);
    messages.push(reply.clone());
    let second = place.import(name, pretty(&chat("a", &messages)));
    assert_eq!((second.session.clone(), counts(&second)[..4].to_vec()), (first.session.clone(), vec![2, 1, 1, 1]));
    assert_eq!(place.turns(&second.session), [("unfinished".to_owned(), String::new())]);

    // The tool has its result, another one came, and what was used is known.
    reply["toolCalls"] = json!([tool("t1", "He is at the far end of the pier, as always."), tool("t2", "He waves.")]);
    reply["tokens"] = json!({"input": 100, "output": 5, "cached": 10, "thoughts": 1, "tool": 0, "total": 106});
    messages[1] = reply;
    let third = place.import(name, pretty(&chat("a", &messages)));
    assert_eq!(counts(&third)[..4], [2, 1, 1, 2]);
    assert_eq!(place.usage(&third.session), [1, 100, 5, 10, 1]);

    messages.extend([
        answer("a2", "At the far end of the pier.", 200),
        user("u2", "Thank you."),
        answer("a3", "Bye.", 300),
    ]);
    let fourth = place.import(name, pretty(&chat("a", &messages)));
    assert_eq!(counts(&fourth)[..4], [5, 2, 3, 2]);
    assert_eq!(fourth.forked_from, None);
    assert_eq!(place.usage(&fourth.session), [3, 600, 7, 10, 5]);
    assert_eq!(
        place.turns(&fourth.session),
        [("final".to_owned(), "At the far end of the pier.".to_owned()), ("final".to_owned(), "Bye.".to_owned())]
    );
    // Nothing but what stands around the messages is another.
    let mut same = chat("a", &messages);
    same["lastUpdated"] = json!("2026-02-04T00:00:00.000Z");
    same["summary"] = json!("The harbor master");
    let fifth = place.import(name, pretty(&same));
    assert_eq!(counts(&fifth)[..4], [5, 2, 3, 2]);
    assert_eq!(place.store.session(&fifth.session).unwrap().title.as_deref(), Some("The harbor master"));
    assert_eq!(place.store.sessions().unwrap().len(), 1);
    // Earlier forms of it are not forks of it: the newest bytes are those of the export.
    let sixth = place.import(name, serde_json::to_string(&same).unwrap());
    assert_eq!((counts(&sixth)[..4].to_vec(), sixth.session), (vec![5, 2, 3, 2], fifth.session));
}

/// Where both the session and its source went on, the source is a fork; that one it goes on in.
#[test]
fn an_object_whose_session_went_on_by_itself_is_a_fork() {
    let place = Place::new();
    let name = "session-e.json";
    let mut messages = vec![user("u1", "Where is the master of the harbor?"), answer("a1", "At the end.", 10)];
    let first = place.import(name, pretty(&chat("e", &messages)));
    let session = place.store.open_session(&first.session).unwrap();
    session.begin_turn("And where is the lamp?").unwrap();
    session.close().unwrap();
    for turn in 2..5 {
        messages.push(user(&format!("u{turn}"), "Thank you."));
        let next = place.import(name, pretty(&chat("e", &messages)));
        assert_eq!((next.forked_from, next.turns), (Some(first.session.clone()), turn));
        assert_eq!(place.tokens(&next.session), [0; 5]);
    }
    assert_eq!(place.store.sessions().unwrap().len(), 2);
}

/// An object whose beginning changed is kept anew; killed in the middle of that, an import leaves what the next one goes on from.
#[test]
fn an_interrupted_import_of_an_object_written_anew_goes_on() {
    let place = Place::new();
    let name = "session-long.json";
    let mut messages = Vec::new();
    for turn in 0..12 {
        messages.push(user(&format!("u{turn}"), &format!("{turn}").repeat(400_000)));
        messages.push(answer(&format!("a{turn}"), &format!("answer {turn}, ").repeat(40_000), 10));
    }
    place.import(name, pretty(&chat("long", &messages)));
    messages[1]["model"] = json!("another");
    messages.push(user("v", "One more."));
    messages.push(answer("w", "Here it is.", 10));
    let text = pretty(&chat("long", &messages));
    fs::write(place.path(name), &text).unwrap();

    // What is in the log after each batch.
    let blobs = place.folder.path().join("store/blobs");
    let mut copies: Vec<(u64, TempDir)> = Vec::new();
    let found = exchange::find(&place.path(name)).unwrap();
    let whole = found[0].import(&place.store, &mut |seen| {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("blobs")).unwrap();
        for entry in fs::read_dir(&blobs).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join("blobs").join(path.file_name().unwrap())).unwrap();
        }
        copies.push((seen.bytes, copy));
    });
    let whole = whole.into_iter().next().unwrap().unwrap();
    assert_eq!(counts(&whole)[..4], [26, 13, 13, 0]);
    let mut kept = BTreeSet::new();
    for (_, copy) in copies {
        let store = Store::open(copy.path()).unwrap();
        let before = store.session(&whole.session).unwrap().events;
        if !kept.insert(before) {
            continue;
        }
        let imported = exchange::import(&store, &place.path(name)).unwrap();
        assert_eq!(
            (&imported.session, counts(&imported)[..4].to_vec()),
            (&whole.session, vec![26, 13, 13, 0]),
            "{before}"
        );
        let mut out = Vec::new();
        exchange::write_source(&store, &imported.session, &mut out).unwrap();
        assert!(out == text.as_bytes(), "{before}");
    }
    assert!(kept.len() > 1, "{kept:?}");
}

/// A program that writes a file anew empties it first.
#[test]
fn an_object_met_while_it_is_written_anew_takes_nothing_back() {
    let place = Place::new();
    let all = place.import("session-h.json", HARBOR);
    let mut parts = 0;
    for cut in (0..HARBOR.len() - 100).step_by(401).filter(|cut| HARBOR.is_char_boundary(*cut)) {
        let Ok(part) = place.try_import("session-h.json", &HARBOR.as_bytes()[..cut]) else { continue };
        parts += 1;
        assert_eq!((&part.session, part.new_events), (&all.session, 0), "{cut}");
        assert_eq!(kinds(&part), ["shorter"], "{cut}");
        assert_eq!(place.export(&part.session), HARBOR.as_bytes());
    }
    assert!(parts > 5);
    assert_eq!(place.import("session-h.json", HARBOR).new_events, 0);
}

#[test]
fn a_list_that_was_cut_is_a_fork_at_the_last_common_head() {
    let place = Place::new();
    let name = "session-b.json";
    let mut messages = Vec::new();
    for turn in 0..4 {
        messages.push(user(&format!("u{turn}"), &format!("Question number {turn}, a long one of the harbor")));
        messages.push(answer(&format!("a{turn}"), &format!("Answer number {turn}, a long one of the harbor"), 10));
        place.import(name, pretty(&chat("b", &messages)));
    }
    let whole = place.import(name, pretty(&chat("b", &messages)));
    messages.truncate(4);
    messages.push(user("v2", "Another question"));
    messages.push(answer("w2", "Another answer", 10));
    let cut = place.import(name, pretty(&chat("b", &messages)));
    assert_ne!(cut.session, whole.session);
    assert_eq!(cut.forked_from, Some(whole.session.clone()));
    assert_eq!(counts(&cut)[..4], [6, 3, 3, 0]);
    // What both have was used once: the fork has one call of its own.
    assert_eq!(place.tokens(&cut.session), [1, 10, 1, 0, 2]);
    let shared = place.store.session(&cut.session).unwrap().source.unwrap().1;
    assert_eq!(place.store.view_at(&whole.session, &shared).unwrap().rows.turns.len(), 2);

    // The fork goes on by itself, and the first chat is still known.
    messages.push(user("v3", "And another"));
    let more = place.import(name, pretty(&chat("b", &messages)));
    assert_eq!((&more.session, counts(&more)[1]), (&cut.session, 4));
    assert_eq!(place.store.sessions().unwrap().len(), 2);
}

/// A head that was sealed behind bytes which are another since is no place to leave from.
#[test]
fn a_fork_does_not_leave_from_what_was_written_anew() {
    let place = Place::new();
    let name = "session-g.json";
    let mut early = answer("a1", "I will look.", 10);
    early.as_object_mut().unwrap().remove("tokens");
    place.import(name, pretty(&chat("g", &[user("u1", "Where is the lamp?"), early])));
    let now = |last: Value| [user("u1", "Where is the lamp?"), answer("a1", "I will look.", 10), last];
    let whole = place.import(name, pretty(&chat("g", &now(answer("a2", "At the end.", 20)))));
    assert_eq!(place.tokens(&whole.session), [2, 30, 2, 0, 4]);
    let cut = place.import(name, pretty(&chat("g", &now(answer("b2", "At the gate.", 40)))));
    assert_eq!(cut.forked_from, Some(whole.session.clone()));
    assert_eq!(place.said(&cut.session).len(), 3);
    assert_eq!(place.turns(&cut.session), [("final".to_owned(), "At the gate.".to_owned())]);
    assert_eq!(place.tokens(&cut.session), [1, 40, 1, 0, 2]);
    let left = place.store.session(&cut.session).unwrap().source.unwrap().1;
    assert_eq!(place.store.heads(&whole.session).unwrap()[0].head, left);
    // Both are still known by what they were last.
    let first = place.import(name, pretty(&chat("g", &now(answer("a2", "At the end.", 20)))));
    assert_eq!((first.session, first.new_events), (whole.session, 0));
}

/// The older form becomes the newer one when a chat is taken up again.
#[test]
fn a_chat_that_begins_with_a_copy_of_another_shares_its_rows() {
    let messages = [
        user("u1", "Where is the master of the harbor?"),
        answer("a1", "At the end.", 10),
        user("u2", "Thanks."),
        answer("a2", "Bye.", 20),
    ];
    let more = [user("u3", "One more."), answer("a3", "Yes?", 30)];
    for id in ["c", "d"] {
        let place = Place::new();
        let old = place.import("session-c.json", pretty(&chat("c", &messages)));
        let header = json!({"sessionId": id, "projectHash": "0123", "startTime": "2026-02-03T08:00:00.000Z", "lastUpdated": "x"});
        let lines: Vec<String> = [&header].into_iter().chain(&messages).chain(&more).map(Value::to_string).collect();
        let new = place.import("session-c.jsonl", lines.join("\n") + "\n");
        assert_eq!(
            (new.forked_from.clone(), counts(&new)[..4].to_vec()),
            (Some(old.session.clone()), vec![6, 3, 3, 0]),
            "{id}"
        );
        assert_eq!(place.tokens(&new.session), [1, 30, 1, 0, 2], "{id}");
    }
}

#[test]
fn a_folder_is_taken_whole_and_what_is_no_chat_is_left() {
    let place = Place::new();
    let chats = place.path("session-harbor.json");
    fs::write(&chats, HARBOR).unwrap();
    fs::write(place.path("session-pier.jsonl"), PIER).unwrap();
    let agent = json!({"sessionId": "surveyor-77", "projectHash": "0123", "startTime": "2026-05-03T08:00:05.000Z", "lastUpdated": "x", "kind": "subagent"});
    let lines = [agent, user("x1", "measure it again"), answer("x2", "Measured again: 212.5 metres", 40)]
        .map(|row| row.to_string() + "\n");
    fs::write(place.path("pier-0001/surveyor-77.jsonl"), lines.concat()).unwrap();
    let project = place.folder.path().join("tmp/0123");
    let logs = json!([{"sessionId": "harbor-0001", "messageId": 0, "type": "user", "message": "hi", "timestamp": "2026-01-01T00:00:00Z"}]);
    fs::write(project.join("logs.json"), pretty(&logs)).unwrap();
    fs::write(project.join("checkpoint-x.json"), r#"[{"role":"user","parts":[{"text":"hi"}]}]"#).unwrap();
    fs::write(project.join("settings.json"), r#"{"messages":[]}"#).unwrap();
    let elsewhere = place.folder.path().join("tmp/elsewhere.json");
    fs::write(&elsewhere, pretty(&chat("elsewhere", &[user("u1", "Is this found?")]))).unwrap();

    let found = exchange::find(&place.folder.path().join("tmp")).unwrap();
    let mut left = Vec::new();
    let sessions: BTreeSet<String> = found
        .iter()
        .flat_map(|one| one.import(&place.store, &mut |_| {}).into_iter().map(move |imported| (one, imported)))
        .filter_map(|(one, imported)| match imported {
            Ok(imported) => Some(imported.session.to_string()),
            Err(error) => {
                assert!(one.may_be_left(&error), "{error}");
                left.push(one.path.file_name().unwrap().to_str().unwrap().to_owned());
                None
            }
        })
        .collect();
    assert_eq!(left, ["checkpoint-x.json", "logs.json"]);
    assert_eq!(sessions, ["elsewhere", "harbor-0001", "pier-0001", "surveyor-77"].map(str::to_owned).into());
    // The subagent came first, so that its head is known.
    let rows = place.store.view(&"pier-0001".parse().unwrap()).unwrap().rows;
    let callee = place.store.session(&"surveyor-77".parse().unwrap()).unwrap();
    assert_eq!(rows.invocations[0].row.callee_after, callee.current_head);
    assert_eq!(callee.kind.as_str(), "child");

    let tape = "{\"method\":\"generateContentStream\",\"response\":[{\"candidates\":[]}]}\n";
    fs::write(project.join("answers.json"), tape).unwrap();
    for (name, what) in
        [("logs.json", "list of prompts"), ("checkpoint-x.json", "checkpoint"), ("answers.json", "tape")]
    {
        let error = exchange::import(&place.store, &project.join(name)).unwrap_err();
        assert_eq!(error.kind(), Some("no-session"), "{name}");
        assert!(error.to_string().contains(what), "{name}: {error}");
    }
    // Lists of other programs are none of these.
    fs::write(project.join("other.json"), r#"[{"role":"user","content":"hi"}]"#).unwrap();
    let error = exchange::import(&place.store, &project.join("other.json")).unwrap_err();
    assert!(["unknown-format", "no-records"].contains(&error.kind().unwrap()), "{error}");
}

#[test]
fn a_file_that_ends_in_the_middle_has_the_messages_before() {
    let whole = Place::new();
    let all = whole.import("session-harbor.json", HARBOR);
    for cut in (0..HARBOR.len()).step_by(61).filter(|cut| HARBOR.is_char_boundary(*cut)) {
        let place = Place::new();
        let bytes = &HARBOR[..cut];
        let Some(start) = HARBOR.find("\"messages\": [").filter(|at| at + 13 <= cut) else {
            assert!(place.try_import("session-harbor.json", bytes.as_bytes()).is_err(), "{cut}");
            continue;
        };
        let imported = place.import("session-harbor.json", bytes);
        let is_torn = !bytes[start..].contains("\n  ]");
        assert_eq!(kinds(&imported).contains(&"torn-tail"), is_torn, "{cut}");
        let entire = bytes.matches("\n    }").count() as u64;
        let others = place.annotations(&imported.session).len() as u64;
        assert_eq!(imported.messages + others, entire, "{cut}");
        // Written to its end, it is the same chat.
        let done = place.import("session-harbor.json", HARBOR);
        assert_eq!((&done.session, counts(&done)[..4].to_vec()), (&all.session, counts(&all)[..4].to_vec()), "{cut}");
    }
}

/// Newer versions write what a chat is behind its messages, and into chats that had none.
#[test]
fn what_a_chat_is_may_be_told_later() {
    let messages =
        [user("u1", "how deep?"), answer("g1", "nine feet", 10), user("u2", "and now?"), answer("g2", "eight", 20)];
    let said = |messages: &[Value], rest: &str| {
        let head = r#"{"sessionId":"depth","projectHash":"0123","startTime":"2026-02-03T08:00:00.000Z","messages":"#;
        format!("{head}{}{rest}}}", json!(messages))
    };
    let older = said(&messages[..3], "");
    for kind in ["main", "subagent"] {
        let whole = said(&messages, &format!(r#","kind":"{kind}","summary":"Depths""#));
        let torn = &whole[..whole.find("eight").unwrap()];
        for before in [older.as_str(), torn] {
            let place = Place::new();
            let first = place.import("session-depth.json", before);
            let done = place.import("session-depth.json", &whole);
            assert_eq!((&done.session, &done.forked_from, done.calls), (&first.session, &None, 2), "{before}");
            assert_eq!(place.export(&done.session), whole.as_bytes());
            assert_eq!(place.import("session-depth.json", &whole).new_events, 0);
            // Met while it is written anew, it takes nothing back.
            let part = place.try_import("session-depth.json", torn.as_bytes()).unwrap();
            assert_eq!((&part.session, part.new_events), (&first.session, 0), "{before}");
        }
    }
}

#[test]
fn what_is_odd_is_told_of_and_kept() {
    let place = Place::new();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let odd: Vec<u8> = [
        b"{\"sessionId\":\"odd\",\"messages\":[\n{\"id\":\"u1\",\"type\":\"user\",\"content\":\"first of all\"},".to_vec(),
        b"{\"id\":\"u2\",\"id\":\"u3\",\"type\":\"user\",\"content\":\"two ids\"},".to_vec(),
        format!("{{\"id\":\"u4\",\"type\":\"user\",\"content\":{deep}}},").into_bytes(),
        b"{\"id\":\"u5\",\"type\":\"user\",\"content\":\"\xff\xfe\"},".to_vec(),
        b"{\"id\":\"u6\",\"type\":\"user\",\"content\":\"a\0b\"}, 7, null, , \"text\",".to_vec(),
        b"{\"id\":\"u1\",\"type\":\"user\",\"content\":\"again\"},{\"type\":\"user\"},{\"id\":\"k\",\"type\":\"new kind\"},".to_vec(),
        b"{\"id\":\"a1\",\"type\":\"gemini\",\"content\":null,\"tokens\":{\"input\":1e99,\"output\":18446744073709551615}},".to_vec(),
        b"{\"id\":\"a2\",\"type\":\"gemini\",\"content\":\"x\\u0001\\u0002\",\"tokens\":7,\"toolCalls\":[1,{\"status\":[]}]}\r\n\t]".to_vec(),
        b",\"x\":[}}}\0".to_vec(),
    ]
    .concat();
    let imported = place.import("session-odd.json", &odd);
    let kinds: BTreeSet<&str> = kinds(&imported).into_iter().collect();
    assert_eq!(kinds, ["bad-line", "bad-record", "repeated-id"].into());
    assert_eq!(counts(&imported)[..4], [4, 2, 2, 2]);
    assert_eq!(place.tokens(&imported.session), [2, 0, 0, 0, 0]);
    assert!(place.annotations(&imported.session).contains(&"gemini/repeated".to_owned()));

    for (name, lines) in [
        (
            "session-l.jsonl",
            "{\"$rewindTo\":\"nobody\"}\n#\t#5 {}\n{\"id\":\"m\",\"type\":\"user\",\"content\":\"x\"}\n{\"$rewindTo\":\"m\"}\n{\"$set\":7}\n",
        ),
        (
            "session-m.jsonl",
            "{\"$set\":{\"messages\":[{\"id\":\"n\",\"type\":\"user\",\"content\":\"all there is\"}]}}\n{\"id\":\"n\",\"type\":\"user\"}\n",
        ),
    ] {
        let header = json!({"sessionId": name, "projectHash": "0"}).to_string();
        let imported = place.import(name, format!("{header}\n{lines}"));
        assert!(imported.events > 2, "{name}");
    }
}

/// What a script counts in the messages of a chat: messages, turns, calls, evals; calls with tokens, input, output, cached, thoughts.
fn counted(messages: &[Value]) -> ([u64; 4], [u64; 5]) {
    let (mut counts, mut used) = ([0; 4], [0; 5]);
    for message in messages {
        let kind = message["type"].as_str().unwrap();
        counts[0] += u64::from(kind == "user" || kind == "gemini");
        counts[1] += u64::from(kind == "user");
        if kind == "gemini" {
            counts[2] += 1;
            used[0] += 1;
            let tools = message["toolCalls"].as_array().map(Vec::as_slice).unwrap_or_default();
            counts[3] += tools.len() as u64;
            for (at, name) in ["input", "output", "cached", "thoughts"].into_iter().enumerate() {
                used[at + 1] += message["tokens"][name].as_u64().unwrap_or_default();
            }
        }
    }
    (counts, used)
}

/// A message of a generated chat: an input, or an answer with so many tools, with a text, with its tokens or not yet.
#[derive(Debug, Clone)]
enum Step {
    Ask,
    Answer { tools: usize, has_text: bool },
    Tell(&'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Ask),
        5 => (0..4_usize, any::<bool>()).prop_map(|(tools, has_text)| Step::Answer { tools, has_text }),
        1 => prop_oneof![Just("info"), Just("error"), Just("warning")].prop_map(Step::Tell),
    ];
    prop::collection::vec(step, 1..24)
}

/// The messages of a chat; of the last one, if it is an answer, only so many tools are there, and no tokens.
fn made(steps: &[Step], last: Option<usize>) -> Vec<Value> {
    let mut messages = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let id = format!("id-{at}");
        messages.push(match step {
            Step::Ask => user(&id, &format!("Question {at}: where does the boat number {at} lie, and why?")),
            Step::Tell(kind) => {
                json!({"id": id, "timestamp": "2026-02-03T08:00:09.000Z", "type": kind, "content": "something"})
            }
            Step::Answer { tools, has_text } => {
                let mut message =
                    answer(&id, if *has_text { "It lies at the pier, like all boats." } else { "" }, at as u64);
                let is_partial = at + 1 == steps.len() && last.is_some();
                let there = if is_partial { last.unwrap_or_default().min(*tools) } else { *tools };
                if there > 0 {
                    let calls = (0..there).map(|tool_at| {
                        tool(&format!("t{at}-{tool_at}"), &format!("output {tool_at} of {at}\n in lines"))
                    });
                    message["toolCalls"] = calls.collect();
                }
                if is_partial {
                    message.as_object_mut().unwrap().remove("tokens");
                }
                message
            }
        });
    }
    messages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// However often a chat was imported while it grew, its rows are those of its last form, imported alone.
    #[test]
    fn a_chat_that_grows_is_the_chat_it_grew_to(
        steps in steps(),
        cuts in prop::collection::vec((0..24_usize, 0..4_usize), 0..4),
        compact in any::<bool>(),
    ) {
        let write = |messages: &[Value]| {
            let chat = chat("grown", messages);
            if compact { chat.to_string() } else { pretty(&chat) + "\n" }
        };
        let place = Place::new();
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, tools)| (at.min(steps.len()), tools)).collect();
        cuts.sort();
        for (at, tools) in cuts {
            place.import("session-grown.json", write(&made(&steps[..at], Some(tools))));
        }
        let messages = made(&steps, None);
        let grown = place.import("session-grown.json", write(&messages));
        let (expected, used) = counted(&messages);
        prop_assert_eq!(counts(&grown)[..4].to_vec(), expected.to_vec());
        prop_assert_eq!(place.tokens(&grown.session), used);
        prop_assert_eq!(place.store.sessions().unwrap().len(), 1);

        let alone = Place::new();
        let once = alone.import("session-grown.json", write(&messages));
        prop_assert_eq!(place.said(&grown.session), alone.said(&once.session));
        prop_assert_eq!(place.turns(&grown.session), alone.turns(&once.session));
        prop_assert_eq!(once.heads, 1 + once.turns.max(1));
    }
}

/// A change of some bytes: a part of the text again, elsewhere, or away, or other bytes in its place.
fn changed(text: &[u8], (from, to, at): (usize, usize, usize), with: &[u8], how: u8) -> Vec<u8> {
    let place = |at: usize| at % (text.len() + 1);
    let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
    let mut out = text.to_vec();
    match how % 3 {
        0 => drop(out.drain(from..to)),
        1 => drop(out.splice(place(at)..place(at), text[from..to].iter().copied())),
        _ => drop(out.splice(from..(from + with.len()).min(text.len()), with.iter().copied())),
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever a program wrote in the place of a chat: it comes in and goes out as it is, or is refused.
    #[test]
    fn whatever_is_written_anew_goes_out_as_it_is(
        changes in prop::collection::vec(
            (any::<(usize, usize, usize)>(), prop::sample::select(vec!["\"", "{", "]", ",", "\\", "\0", "\u{1}", "\n\r\t", "#\t#9 ", "id"]), 0..3_u8),
            1..5,
        ),
        is_pier in any::<bool>(),
    ) {
        let sound = if is_pier { PIER } else { HARBOR };
        let place = Place::new();
        place.import("session-x.json", sound);
        let mut bytes = sound.as_bytes().to_vec();
        for (places, with, how) in changes {
            bytes = changed(&bytes, places, with.as_bytes(), how);
            match place.try_import("session-x.json", &bytes) {
                Ok(imported) if is_pier => drop(imported),
                // It seems not to be written to its end.
                Ok(imported) if kinds(&imported).contains(&"shorter") => {}
                Ok(_) => drop(place.import("session-x.json", &bytes)),
                Err(error) => prop_assert!(["unknown-format", "no-records"].contains(&error.kind().unwrap()), "{error}"),
            }
        }
        for info in place.store.sessions().unwrap() {
            place.store.view(&info.session).unwrap();
        }
    }
}

#[test]
fn real_chats_come_in_whole() {
    let shared = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let folder = shared.join("data/gemini");
    if !folder.is_dir() {
        eprintln!("real_chats_come_in_whole: skipped, {} is not there", folder.display());
        return;
    }
    let place = Place::new();
    let mut files = Vec::new();
    for below in fs::read_dir(&folder).unwrap() {
        files.extend(fs::read_dir(below.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl"));
    let mut read = 0;
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let imported = match exchange::import(&place.store, &path) {
            Ok(imported) => imported,
            Err(error) => {
                assert!(!value["messages"].is_array(), "{}: {error}", path.display());
                continue;
            }
        };
        read += 1;
        assert_eq!(place.export(&imported.session), bytes, "{}", path.display());
        assert_eq!(exchange::import(&place.store, &path).unwrap().new_events, 0);
        let (expected, used) = counted(value["messages"].as_array().unwrap());
        assert_eq!(counts(&imported)[..4], expected, "{}", path.display());
        assert_eq!(place.tokens(&imported.session), used, "{}", path.display());
        assert_eq!(imported.heads, 1 + imported.turns.max(1), "{}", path.display());
    }
    assert!(read >= 6);
}

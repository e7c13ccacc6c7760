//! Pixir's logs come in with the meaning their events have, in the order of their numbers, and go out as the bytes they
//! were; a session of headwater's own goes out as such a log too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange::export::Stream;
use headwater::exchange::pixir::log::{Log, LogEvent};
use headwater::exchange::{self, Imported};
use headwater::model::{CallType, HeadKind, Role, SessionId, Status, Turn};
use headwater::store::{NewMessage, NewSession, Options, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

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

    fn import(&self, text: &str) -> Imported {
        let path = self.folder.path().join("session.ndjson");
        fs::write(&path, text).unwrap();
        exchange::import(&self.store, &path).unwrap()
    }

    fn export(&self, session: &SessionId) -> String {
        let mut out = Vec::new();
        exchange::export(&self.store, session, Some("pixir"), &mut Stream(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn text(&self, digest: Option<headwater::model::Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    /// What the rows say, wherever in the log they are, and whatever was sealed between them.
    fn rows(&self, session: &SessionId) -> Vec<String> {
        let rows = self.store.view(session).unwrap().rows;
        let mut all: Vec<String> = rows.messages.iter().map(|entry| format!("{:?}", entry.row)).collect();
        all.extend(rows.turns.into_iter().map(|entry| format!("{:?}", Turn { head_before: None, ..entry.row })));
        all.extend(rows.calls.iter().map(|entry| format!("{:?}", entry.row)));
        all.extend(rows.evals.iter().map(|entry| format!("{:?}", entry.row)));
        all
    }

    fn said(&self, session: &SessionId) -> Vec<(String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        rows.messages.iter().map(|entry| (entry.row.role.to_string(), self.text(Some(entry.row.content)))).collect()
    }

    fn annotations(&self, session: &SessionId) -> Vec<String> {
        let events = self.store.events(session).unwrap();
        let kinds = events.iter().map(|event| event.body.kind().to_owned());
        kinds.filter(|kind| kind.starts_with("pixir/") || kind.starts_with("import/")).collect()
    }
}

fn line(session: &str, seq: u64, kind: &str, data: Value) -> String {
    let ts = format!("2026-05-01T10:{:02}:{:02}.000000Z", seq / 60 % 60, seq % 60);
    let data = data.to_string();
    format!(
        "{{\"id\":\"e{seq}\",\"session_id\":\"{session}\",\"seq\":{seq},\"ts\":\"{ts}\",\"type\":\"{kind}\",\"data\":{data}}}\n"
    )
}

fn usage(seq: u64, input: u64) -> String {
    let data = json!({ "model": "acme-1", "provider": "acme", "call_index": 0, "usage": { "input_tokens": 1 },
        "usage_summary": { "input_tokens": input, "output_tokens": 20, "cached_tokens": 7, "reasoning_tokens": 3 } });
    line("p1", seq, "provider_usage", data)
}

/// A session with every canonical type but those of forks.
fn whole() -> String {
    [
        line("p1", 0, "user_message", json!({ "text": "Count the notes in my folder, please." })),
        line("p1", 1, "skill_activation", json!({ "name": "counting", "content": "# Counting\n" })),
        usage(2, 100),
        line("p1", 3, "reasoning", json!({ "item": { "id": "rs_1", "encrypted_content": "eA==" }, "model": "acme-1" })),
        line("p1", 4, "tool_call", json!({ "call_id": "c1", "name": "bash", "args": { "command": "ls notes | wc -l" } })),
        line("p1", 5, "tool_call", json!({ "call_id": "c2", "name": "read", "args": { "path": "/home/ada/notes/plan.md" } })),
        line("p1", 6, "permission_decision", json!({ "call_id": "c1", "decision": "allow" })),
        line("p1", 7, "tool_result", json!({ "call_id": "c1", "ok": true, "output": "2 notes are in the folder\n" })),
        line("p1", 8, "tool_result", json!({ "call_id": "c2", "ok": false, "error": { "kind": "not_found", "message": "no such file", "details": {} } })),
        usage(9, 140),
        line("p1", 10, "assistant_message", json!({ "text": "There are two notes." })),
        line("p1", 11, "subagent_event", json!({ "event": "started", "status": "running", "subagent_id": "s1", "child_session_id": "kid-a", "agent": "reviewer", "task": "look again" })),
        line("p1", 12, "subagent_event", json!({ "event": "retrying", "status": "queued", "subagent_id": "s1", "child_session_id": "kid-a", "failed_child_session_id": "kid-a", "error_kind": "websocket_closed" })),
        line("p1", 13, "subagent_event", json!({ "event": "started", "status": "running", "subagent_id": "s1", "child_session_id": "kid-b", "agent": "reviewer" })),
        line("p1", 14, "subagent_event", json!({ "event": "finished", "status": "completed", "subagent_id": "s1", "child_session_id": "kid-b", "summary": "two, indeed" })),
        line("p1", 15, "workflow_event", json!({ "kind": "workflow_finished", "workflow_id": "w1", "ok": true })),
        line("p1", 16, "user_message", json!({ "text": "And now?", "resources": [{ "path": "a.png", "sha256": "00" }] })),
        line("p1", 17, "tool_call", json!({ "call_id": "c3", "name": "bash", "args": { "command": "sleep 1000" } })),
        line("p1", 18, "turn_failed", json!({ "terminal_status": "provider_error", "error_kind": "overloaded", "error_message": "529 overloaded" })),
        line("p1", 19, "history_compaction", json!({ "strategy": "deterministic", "range": { "from_seq": 0, "to_seq": 9 }, "summary": "Ada has two notes, and no plan." })),
        line("p1", 20, "user_message", json!({ "text": "Thank you." })),
        line("p1", 21, "assistant_message", json!({ "text": "You are wel", "metadata": { "partial": true } })),
    ]
    .concat()
}

fn counts(imported: &Imported) -> [u64; 6] {
    [imported.messages, imported.turns, imported.calls, imported.evals, imported.heads, imported.invocations]
}

fn kinds(imported: &Imported) -> Vec<(u64, &str)> {
    imported.diagnostics.iter().map(|one| (one.line, one.kind.as_str())).collect()
}

#[test]
fn every_canonical_type_has_its_meaning() {
    let place = Place::new();
    let imported = place.import(&whole());
    assert_eq!((imported.session.as_str(), imported.format), ("p1", "pixir"));
    // Three user and two assistant messages, two results, one compaction; a head for each turn and the compaction.
    assert_eq!(counts(&imported), [8, 3, 2, 3, 5, 2]);
    assert_eq!(kinds(&imported), []);
    let rows = place.store.view(&imported.session).unwrap().rows;

    let turns: Vec<_> = rows
        .turns
        .iter()
        .map(|entry| (entry.row.status.to_string(), place.text(entry.row.final_value), place.text(entry.row.error)))
        .collect();
    let (empty, final_) = (String::new(), "There are two notes.".to_owned());
    assert_eq!(turns[0], ("final".to_owned(), final_, empty.clone()));
    assert_eq!(turns[1], ("error".to_owned(), empty.clone(), "529 overloaded".to_owned()));
    assert_eq!(turns[2], ("unfinished".to_owned(), empty.clone(), empty), "a partial answer is none");

    let call = &rows.calls[0].row;
    assert_eq!((call.model.as_deref(), call.provider.as_deref()), (Some("acme-1"), Some("acme")));
    let tokens = [call.tokens_input, call.tokens_output, call.tokens_cached, call.tokens_reasoning];
    assert_eq!(tokens, [Some(100), Some(20), Some(7), Some(3)]);
    assert!(place.text(call.extra).contains("call_index"));
    assert_eq!(place.text(rows.calls[1].row.response), "There are two notes.");

    let evals: Vec<_> = rows
        .evals
        .iter()
        .map(|entry| {
            let value = entry.row.result.or(entry.row.error);
            let name = entry.row.name.clone().unwrap();
            (name, entry.row.status.to_string(), place.text(entry.row.code), place.text(value))
        })
        .collect();
    assert_eq!(evals[0].2, r#"{"command":"ls notes | wc -l"}"#);
    assert_eq!((evals[0].1.as_str(), evals[0].3.as_str()), ("ok", "2 notes are in the folder\n"));
    assert_eq!((evals[1].0.as_str(), evals[1].1.as_str()), ("read", "error"));
    assert!(evals[1].3.contains("no such file"));
    assert_eq!((evals[2].1.as_str(), evals[2].3.as_str()), ("orphaned", ""), "it was never answered");
    assert_eq!(rows.evals[0].row.call.unwrap().0, 1);

    let invocations: Vec<_> = rows
        .invocations
        .iter()
        .map(|entry| {
            let row = &entry.row;
            (
                row.callee.clone().unwrap().to_string(),
                row.status.to_string(),
                place.text(row.final_value.or(row.error)),
                row.child,
            )
        })
        .collect();
    let owned = |child: &str, status: &str, value: &str, ordinal| {
        (child.to_owned(), status.to_owned(), value.to_owned(), Some(ordinal))
    };
    assert_eq!(invocations, [owned("kid-a", "error", "websocket_closed", 1), owned("kid-b", "ok", "two, indeed", 2)]);
    assert_eq!(place.store.invocations_to(&"kid-b".parse().unwrap()).map(|calls| calls.len()).unwrap_or(1), 1);

    let annotations = place.annotations(&imported.session);
    let count = |kind: &str| annotations.iter().filter(|one| *one == kind).count();
    for kind in ["skill_activation", "reasoning", "permission_decision", "workflow_event", "turn_failed"] {
        assert_eq!(count(&format!("pixir/{kind}")), 1, "{kind}");
    }
    assert_eq!(count("pixir/subagent_event"), 4);

    // What the compaction keeps: the frame, and the messages behind seq 9.
    let heads = place.store.heads(&imported.session).unwrap();
    let head = heads.iter().find(|head| head.kind == HeadKind::Compaction).unwrap();
    let ranges = place.store.root_of(&head.head).unwrap().transcript.unwrap();
    let kept: Vec<_> = ranges
        .iter()
        .flat_map(|range| rows.messages.iter().filter(|entry| range.from <= entry.event && entry.event <= range.to))
        .map(|entry| place.text(Some(entry.row.content)))
        .collect();
    assert_eq!(kept, ["Ada has two notes, and no plan.", "There are two notes.", "And now?"]);
    assert_eq!(place.export(&imported.session), whole());
}

#[test]
fn events_are_taken_in_the_order_of_their_numbers_and_kept_in_that_of_the_file() {
    let user = |seq, text: &str| line("o", seq, "user_message", json!({ "text": text }));
    let answer = |seq, text: &str| line("o", seq, "assistant_message", json!({ "text": text }));
    let unnumbered = "{\"id\":\"x\",\"session_id\":\"o\",\"seq\":null,\"ts\":\"2026-05-01T10:00:00Z\",\"type\":\"assistant_message\",\"data\":{\"text\":\"last\"}}\n";
    let text = [
        user(0, "first"),
        unnumbered.to_owned(),
        answer(3, "fourth"),
        user(2, "third"),
        "no record\n".to_owned(),
        answer(1, "second"),
        answer(3, "fifth, of the same number"),
    ]
    .concat();
    let place = Place::new();
    let imported = place.import(&text);
    let said: Vec<_> = place.said(&imported.session).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["first", "second", "third", "fourth", "fifth, of the same number", "last"]);
    assert_eq!(imported.turns, 2);
    assert_eq!(kinds(&imported), [(2, "out-of-order"), (5, "bad-line")]);
    assert_eq!(place.export(&imported.session), text);
    assert_eq!(place.import(&text), Imported { new_events: 0, ..imported });
}

#[test]
fn a_torn_line_among_records_out_of_order_is_dropped_until_it_is_whole() {
    let user = |seq, text: &str| line("t", seq, "user_message", json!({ "text": text }));
    let text = [user(0, "one"), user(5, "three"), user(3, "two"), user(4, "between")].concat();
    let place = Place::new();
    let imported = place.import(&text[..text.len() - 20]);
    assert_eq!(kinds(&imported), [(2, "out-of-order"), (4, "torn-tail")]);
    let said = |session: &SessionId| place.said(session).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(said(&imported.session), ["one", "two", "three"]);
    // What came with an earlier reading stays before: the log's own fold puts it where it belongs.
    let again = place.import(&text);
    assert_eq!(kinds(&again).last(), Some(&(4, "late-seq")));
    assert_eq!(said(&imported.session), ["one", "two", "three", "between"]);
    assert_eq!(place.export(&imported.session), text);
    let seqs: Vec<_> = fold(&place.store, "t").iter().map(|event| event.seq.unwrap()).collect();
    assert_eq!(seqs, [0, 3, 4, 5]);
}

#[test]
fn a_log_that_was_read_while_it_grew_gives_the_rows_of_the_whole() {
    let more = [
        line("p1", 22, "tool_call", json!({ "call_id": "c4", "name": "bash", "args": { "command": "sleep 5; date" } })),
        line("p1", 23, "reasoning", json!({ "item": {} })),
        line("p1", 24, "tool_result", json!({ "call_id": "c4", "ok": true, "output": "today" })),
        line(
            "p1",
            25,
            "tool_call",
            json!({ "call_id": "c5", "name": "bash", "args": { "command": "sleep 1000; date" } }),
        ),
        line("p1", 26, "branch_summary", json!({ "summary": "Nothing came of it." })),
        line(
            "p1",
            27,
            "tool_call",
            json!({ "call_id": "c6", "name": "bash", "args": { "command": "sleep 2000; date" } }),
        ),
    ];
    let text = whole() + &more.concat();
    let expected = Place::new();
    let session = expected.import(&text).session;
    let rows = expected.rows(&session);
    for (cut, _) in text.match_indices('\n') {
        let place = Place::new();
        place.import(&text[..=cut]);
        assert_eq!(place.import(&text[..=cut]).new_events, 0, "cut at {cut}");
        let imported = place.import(&text);
        assert_eq!(place.rows(&session), rows, "cut at {cut}");
        assert_eq!(kinds(&imported), []);
        assert_eq!(place.export(&session), text);
    }
    // Cut after every line.
    let place = Place::new();
    text.match_indices('\n').for_each(|(cut, _)| drop(place.import(&text[..=cut])));
    assert_eq!(place.rows(&session), rows);
    // What is still open at the end is given up when something else begins.
    let evals = || place.store.view(&session).unwrap().rows.evals.len();
    let before = evals();
    place.import(&(text + &line("p1", 28, "user_message", json!({ "text": "Never mind." }))));
    let last = place.store.view(&session).unwrap().rows.evals.pop().unwrap().row;
    assert_eq!((evals(), last.status), (before + 1, Status::ORPHANED));
}

#[test]
fn tools_asked_for_before_the_first_turn_are_answered_or_given_up_in_it() {
    let call = |seq, id: &str| {
        line("b", seq, "tool_call", json!({ "call_id": id, "name": "bash", "args": { "command": id } }))
    };
    let result = |seq, id: &str| line("b", seq, "tool_result", json!({ "call_id": id, "ok": true, "output": "done" }));
    let user = |seq| line("b", seq, "user_message", json!({ "text": "hello" }));
    let text = [call(0, "one"), call(1, "two"), call(2, "three"), result(3, "one"), user(4), result(5, "two"), user(6)]
        .concat();
    let place = Place::new();
    let imported = place.import(&text);
    let rows = place.store.view(&imported.session).unwrap().rows;
    let evals: Vec<_> = rows
        .evals
        .iter()
        .map(|entry| (place.text(entry.row.code), entry.row.status.clone(), entry.row.turn.map(|turn| turn.0)))
        .collect();
    let of = |id: &str, status, turn| (json!({ "command": id }).to_string(), status, turn);
    let wanted = [of("one", Status::OK, None), of("two", Status::OK, Some(1)), of("three", Status::ORPHANED, Some(1))];
    assert_eq!(evals, wanted);
    assert_eq!((kinds(&imported), imported.heads), (vec![], 3));
    assert_eq!(place.export(&imported.session), text);
}

#[test]
fn a_record_appended_behind_a_torn_one_is_imported() {
    let user = |seq| line("t", seq, "user_message", json!({ "text": format!("message {seq}") }));
    // Wherever the writer died.
    for cut in 1..user(1).len() - 1 {
        let text = [&user(0), &user(1)[..cut], &user(2), &user(3)].map(String::from).concat();
        let place = Place::new();
        let imported = place.import(&text);
        let said: Vec<_> = place.said(&imported.session).into_iter().map(|(_, text)| text).collect();
        assert_eq!(said, ["message 0", "message 2", "message 3"], "cut at {cut}");
        assert_eq!(kinds(&imported), [(2, "bad-line"), (2, "two-records")]);
        assert_eq!(place.export(&imported.session), text);
        assert_eq!(place.import(&text).new_events, 0);
    }
}

#[test]
fn an_ephemeral_line_is_reported_and_kept_but_is_no_event() {
    let text = [
        line("e", 0, "user_message", json!({ "text": "hello" })),
        line("e", 1, "text_delta", json!({ "chunk": "h" })),
        line("e", 2, "context_pressure", json!({ "tier": "low" })),
        line("e", 3, "a_type_of_tomorrow", json!({ "x": "y" })),
    ]
    .concat();
    let place = Place::new();
    let imported = place.import(&text);
    assert_eq!(kinds(&imported), [(2, "ephemeral"), (3, "ephemeral")]);
    assert_eq!(place.annotations(&imported.session), ["pixir/a_type_of_tomorrow", "import/source"]);
    assert_eq!(place.export(&imported.session), text);
}

/// The parent's log, and that of a fork at its first answer which went on by itself.
fn forked() -> (String, String) {
    let parent = whole();
    let mut child = line(
        "f1",
        0,
        "session_fork",
        json!({ "parent_session_id": "p1", "fork_root_session_id": "p1", "forked_to_seq": 15, "strategy": "replay_v1" }),
    );
    let mut seq = 0;
    for record in parent.lines().take(16) {
        let mut value: Value = serde_json::from_str(record).unwrap();
        if value["type"] == "provider_usage" {
            continue;
        }
        seq += 1;
        value["id"] = json!(format!("new{seq}"));
        value["session_id"] = json!("f1");
        value["seq"] = json!(seq);
        child.push_str(&(value.to_string() + "\n"));
    }
    child.push_str(&line(
        "f1",
        seq + 1,
        "branch_summary",
        json!({ "strategy": "d", "summary": "Two notes were counted." }),
    ));
    child.push_str(&line("f1", seq + 2, "user_message", json!({ "text": "Another way, please." })));
    child.push_str(&line("f1", seq + 3, "assistant_message", json!({ "text": "Gladly." })));
    (parent, child)
}

#[test]
fn a_fork_shares_the_rows_of_its_parent() {
    let (parent, child) = forked();
    let place = Place::new();
    let source = place.import(&parent);
    let fork = place.import(&child);
    assert_eq!(fork.forked_from, Some(source.session.clone()));
    assert_eq!(place.export(&fork.session), child);
    assert_eq!(place.import(&child), Imported { new_events: 0, ..fork.clone() });

    // It sees what a store without the parent sees, and wrote only what is its own.
    let alone = Place::new();
    let expected = alone.import(&child);
    assert_eq!(place.said(&fork.session), alone.said(&expected.session));
    let events = place.store.events(&fork.session).unwrap();
    let own: Vec<&str> = events.iter().map(|event| event.body.kind()).filter(|kind| *kind == "message/added").collect();
    assert_eq!(own.len(), 3, "the summary, and one turn");
    assert!(place.annotations(&fork.session).contains(&"pixir/session_fork".to_owned()));
    let usage = place.store.usage(&fork.session).unwrap();
    assert_eq!((usage.tree.calls, usage.inherited.calls), (0, 2), "calls are counted once");

    // A fork whose file comes before its parent's in a folder waits for it.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a-fork.ndjson"), &child).unwrap();
    fs::write(folder.path().join("b-parent.ndjson"), &parent).unwrap();
    let both = Place::new();
    let found = exchange::find(folder.path()).unwrap();
    let sessions: Vec<Imported> =
        found.iter().flat_map(|one| one.import(&both.store, &mut |_| {})).map(Result::unwrap).collect();
    assert_eq!(sessions.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["p1", "f1"]);
    assert_eq!(sessions[1].forked_from, Some(sessions[0].session.clone()));
    assert_eq!(headwater::care::check(place.store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
}

#[test]
fn a_long_chain_of_logs_that_part_comes_back() {
    let turn = |seq, text: &str| {
        line("deep", 2 * seq, "user_message", json!({ "text": format!("a question of some length about {text}") }))
            + &line("deep", 2 * seq + 1, "assistant_message", json!({ "text": "x".repeat(80) }))
    };
    let place = Place::new();
    let (mut common, mut last) = (turn(0, "all"), None);
    for depth in 1..=20 {
        let text = common.clone() + &turn(depth, "nothing");
        let imported = place.import(&text);
        assert_eq!(imported.forked_from.is_some(), depth > 1);
        assert_eq!(imported.turns, depth + 1);
        common.push_str(&turn(depth, &format!("step {depth}")));
        last.get_or_insert((imported.session, text));
        place.import(&common);
    }
    let (session, text) = last.unwrap();
    assert_eq!(place.export(&session), text);
    let deepest = place.import(&common);
    assert_eq!((deepest.new_events, place.export(&deepest.session)), (0, common));
    assert_eq!(place.store.sessions().unwrap().len(), 21);
}

#[test]
fn parents_that_do_not_exist_or_go_in_a_circle_stop_nothing() {
    let fork = |of: &str, parent: &str| {
        let data = json!({ "parent_session_id": parent, "fork_root_session_id": of, "forked_to_seq": 1 });
        line(of, 0, "session_fork", data) + &line(of, 1, "user_message", json!({ "text": "hello" }))
    };
    let folder = tempfile::tempdir().unwrap();
    for (of, parent) in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "nobody"), ("e", "e"), ("f", "../../etc")] {
        fs::write(folder.path().join(format!("{of}.ndjson")), fork(of, parent)).unwrap();
    }
    let place = Place::new();
    let found = exchange::find(folder.path()).unwrap();
    let imported: Vec<Imported> =
        found.iter().flat_map(|one| one.import(&place.store, &mut |_| {})).map(Result::unwrap).collect();
    let names: Vec<&str> = imported.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(names, ["c", "b", "a", "d", "e", "f"]);
    for one in &imported {
        assert_eq!(place.said(&one.session).len(), 1);
        assert_eq!(place.export(&one.session), fs::read_to_string(&one.source).unwrap());
    }
    assert_eq!(imported[2].forked_from, Some(imported[1].session.clone()));
}

#[test]
fn a_fork_that_was_made_but_not_filled_is_filled_from_where_it_was_made() {
    let (parent, child) = forked();
    let whole = Place::new();
    whole.import(&parent);
    let expected = whole.import(&child);
    let info = whole.store.session(&expected.session).unwrap();
    let (_, head) = info.source.unwrap();

    // An import was killed behind the session's own commit; meanwhile the parent's log went on.
    let place = Place::new();
    let cut = parent.match_indices('\n').nth(15).unwrap().0 + 1;
    place.import(&parent[..cut]);
    let made = NewSession { origin: info.origin.clone(), ..NewSession::named(expected.session.clone()) };
    let at = place.store.session(&"p1".parse().unwrap()).unwrap().current_head.unwrap();
    place.store.fork(&at, made).unwrap().close().unwrap();
    place.import(&parent);
    let filled = place.import(&child);
    assert_eq!(filled.session, expected.session);
    assert_eq!(place.said(&filled.session), whole.said(&expected.session));
    assert_eq!(place.export(&filled.session), child);
    assert_ne!(at, head, "it was not made where it would be made now");
}

#[test]
fn the_log_appends_folds_and_refuses_as_pixirs_own() {
    let place = Place::new();
    let log = Log::new(place.store.clone(), "/work/space");
    let event = |kind: &str, data: Value| LogEvent::new("s1", kind, &data.to_string()).unwrap();
    assert_eq!(log.path("s1"), Path::new("/work/space/.pixir/sessions/s1.ndjson"));
    assert!(!log.exists("s1").unwrap());
    assert_eq!(log.fold("s1").unwrap(), []);

    let first = log.append(event("user_message", json!({ "text": "hello" }))).unwrap();
    let second = log.append(event("assistant_message", json!({ "text": "hi there" }))).unwrap();
    assert_eq!((first.seq, second.seq), (Some(0), Some(1)));
    assert!(log.exists("s1").unwrap());
    let late = log.append(LogEvent { seq: Some(9), ..event("user_message", json!({ "text": "second" })) }).unwrap();
    let early = log.append(LogEvent { seq: Some(4), ..event("user_message", json!({ "text": "first" })) }).unwrap();
    let next = log.append(event("workflow_event", json!({ "kind": "workflow_started" }))).unwrap();
    assert_eq!(next.seq, Some(10));
    assert_eq!(log.fold("s1").unwrap(), [first.clone(), second.clone(), early.clone(), late.clone(), next.clone()]);
    assert_eq!(log.fold_append_order("s1").unwrap(), [first.clone(), second, late, early, next]);

    let kind = |result: Result<LogEvent, headwater::exchange::pixir::log::LogError>| result.unwrap_err().kind;
    let before = place.store.session(&"s1".parse().unwrap()).unwrap().events;
    assert_eq!(kind(log.append(event("text_delta", json!({ "chunk": "p" })))), "ephemeral_not_loggable");
    assert_eq!(kind(log.append(event("nothing_known", json!({})))), "ephemeral_not_loggable");
    assert_eq!(kind(log.append(event("user_message", json!([1])))), "invalid_args");
    assert_eq!(kind(LogEvent::new("s1", "user_message", "{no json")), "invalid_args");
    assert_eq!(kind(log.append(LogEvent { ts: "now".to_owned(), ..event("user_message", json!({})) })), "invalid_args");
    assert_eq!(place.store.session(&"s1".parse().unwrap()).unwrap().events, before, "a refusal changes nothing");
    let error = log.exists("../etc").unwrap_err();
    assert_eq!(error.kind, "invalid_args");
    assert_eq!(error.to_json()["error"]["details"]["field"], "session_id");
    assert_eq!(log.create_session("s1", vec![first.clone()]).unwrap_err().kind, "already_exists");

    // What was appended is a session like an imported one, and its export is found again.
    let session: SessionId = "s1".parse().unwrap();
    assert_eq!(place.said(&session).len(), 4);
    let rows = place.store.view(&session).unwrap().rows;
    assert_eq!(rows.turns[0].row.status, Status::FINAL);
    let text = place.export(&session);
    assert_eq!(text.lines().count(), 5);
    drop(log);
    assert_eq!(place.import(&text).new_events, 0);
    let other = Place::new();
    let imported = other.import(&text);
    let again = Log::new(other.store.clone(), ".");
    assert_eq!(again.fold("s1").unwrap()[0], first);
    assert_eq!(other.export(&imported.session), text);
    let more = again.append(event("assistant_message", json!({ "text": "and on" }))).unwrap();
    assert_eq!(more.seq, Some(11));
    assert!(other.export(&imported.session).starts_with(&text));
}

#[test]
fn threads_append_to_sessions_that_are_not_there_yet() {
    let place = Place::new();
    let log = Log::new(place.store.clone(), ".");
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (log, start) = (&log, &start);
            scope.spawn(move || {
                for round in 0..6 {
                    start.wait();
                    let data = json!({ "text": format!("{thread}") }).to_string();
                    let session = format!("round-{round}-{}", thread % 2);
                    log.append(LogEvent::new(&session, "user_message", &data).unwrap()).unwrap();
                }
            });
        }
    });
    for session in (0..6).flat_map(|round| [0, 1].map(|half| format!("round-{round}-{half}"))) {
        let events = log.fold(&session).unwrap();
        assert_eq!(events.iter().map(|event| event.seq.unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let mut texts: Vec<_> = events.iter().map(|event| event.data.get().to_owned()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 4, "each thread's own");
    }
}

#[test]
fn a_session_that_was_released_can_be_written_by_another() {
    let place = Place::new();
    let log = Log::new(place.store.clone(), ".");
    let event = || LogEvent::new("r", "user_message", r#"{"text":"hello"}"#).unwrap();
    log.append(event()).unwrap();
    let other = Log::new(place.store.clone(), ".");
    assert_eq!(other.append(event()).unwrap_err().kind, "log_write_failed");
    log.release("r").unwrap();
    assert_eq!(other.append(event()).unwrap().seq, Some(1));
    other.release("r").unwrap();
    assert_eq!(log.append(event()).unwrap().seq, Some(2));
    log.release("never written").unwrap_err();
    log.release("not-there").unwrap();
    assert!(!log.exists("not-there").unwrap());
}

#[test]
fn an_append_behind_the_last_number_is_refused() {
    let place = Place::new();
    let log = Log::new(place.store.clone(), ".");
    let event = |seq| LogEvent { seq, ..LogEvent::new("max", "user_message", r#"{"text":"hello"}"#).unwrap() };
    assert_eq!(log.append(event(Some(u64::MAX))).unwrap_err().kind, "invalid_args");
    assert!(!log.exists("max").unwrap());
    log.append(event(Some(u64::MAX - 1))).unwrap();
    assert_eq!(log.append(event(None)).unwrap_err().kind, "invalid_args");
    // A number in between is still free.
    assert_eq!(log.append(event(Some(7))).unwrap().seq, Some(7));
    assert_eq!(log.fold("max").unwrap().len(), 2);

    place.import(&line("ends", u64::MAX, "user_message", json!({ "text": "hello" })));
    let behind = LogEvent::new("ends", "user_message", r#"{"text":"hello"}"#).unwrap();
    assert_eq!(log.append(behind).unwrap_err().kind, "invalid_args");
}

#[test]
fn a_session_made_whole_is_there_whole_or_not_at_all() {
    let place = Place::new();
    let log = Log::new(place.store.clone(), ".");
    let event = |kind: &str, data: Value| LogEvent::new("s2", kind, &data.to_string()).unwrap();
    let refused =
        log.create_session("s2", vec![event("user_message", json!({ "text": "x" })), event("status", json!({}))]);
    assert_eq!(refused.unwrap_err().kind, "ephemeral_not_loggable");
    assert!(!log.exists("s2").unwrap());
    let events = vec![
        event("user_message", json!({ "text": "count" })),
        event("assistant_message", json!({ "text": "one" })),
        event("user_message", json!({ "text": "more" })),
    ];
    let written = log.create_session("s2", events).unwrap();
    assert_eq!(written.iter().map(|one| one.seq).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    assert_eq!(log.fold("s2").unwrap(), written);
    let compaction = json!({ "range": { "from_seq": 0, "to_seq": 0 }, "summary": "they counted" });
    log.append(event("history_compaction", compaction)).unwrap();
    let info = place.store.heads(&"s2".parse().unwrap()).unwrap();
    let head = info.iter().find(|head| head.kind == HeadKind::Compaction).unwrap();
    assert_eq!(place.store.root_of(&head.head).unwrap().transcript.unwrap().len(), 2, "the frame, and two messages");
    // A session that another hand went on with is left alone.
    drop(log);
    place.store.open_session(&"s2".parse().unwrap()).unwrap().begin_turn("mine").unwrap();
    let log = Log::new(place.store.clone(), ".");
    assert_eq!(log.append(event("user_message", json!({ "text": "x" }))).unwrap_err().kind, "not_a_log");
}

#[test]
fn a_session_of_headwaters_own_becomes_a_log() {
    let place = Place::new();
    let session = place.store.create_session(NewSession::named("own".parse().unwrap())).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    session
        .write(|batch| {
            let call = batch.begin_call(CallType::Root, |call| call.model = Some("acme-1".to_owned()))?;
            batch.update_call(call, |row| {
                row.status = Status::OK;
                row.tokens_input = Some(12);
            })?;
            let (code, value) = (batch.put(b"(+ 2 2)"), batch.put(b"4"));
            batch.add_eval(Status::OK, |eval| {
                eval.code = Some(code);
                eval.result = Some(value);
            })?;
            batch.add_message(NewMessage::new(Role::Observation, "4").turn(turn))?;
            batch.add_message(NewMessage::new(Role::Assistant, "It is 4.").turn(turn))?;
            batch.update_turn(turn, |row| row.status = Status::FINAL)?;
            batch.compact("they added", 2)
        })
        .unwrap();
    session.add_annotation("acme/note", Some(b"by the way")).unwrap();
    session.close().unwrap();
    let own: SessionId = "own".parse().unwrap();
    let text = place.export(&own);
    let types: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "user_message",
            "provider_usage",
            "tool_call",
            "tool_result",
            "assistant_message",
            "history_compaction",
            "workflow_event"
        ]
    );
    assert_eq!(text, place.export(&own), "the same each time");

    // Its import says the same, and so does that one's export.
    let other = Place::new();
    let imported = other.import(&text);
    assert_eq!(counts(&imported)[..4], [4, 1, 1, 1]);
    assert_eq!(other.export(&imported.session), text);
    assert_eq!(fold(&other.store, "own"), fold(&place.store, "own"));
}

fn fold(store: &Store, session: &str) -> Vec<LogEvent> {
    Log::new(store.clone(), ".").fold(session).unwrap()
}

#[test]
fn a_log_that_went_on_here_is_written_with_what_came_after() {
    let place = Place::new();
    let imported = place.import(&whole());
    let session = place.store.open_session(&imported.session).unwrap();
    let turn = session.begin_turn("one more").unwrap();
    session.add_message(Role::Assistant, "Here.").turn(turn).commit().unwrap();
    session.close().unwrap();
    let text = place.export(&imported.session);
    let rest = text.strip_prefix(&whole()).unwrap();
    let seqs: Vec<u64> =
        rest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [22, 23]);
    // A fork made here repeats what Pixir's own forks repeat.
    let head = place.store.heads(&imported.session).unwrap()[1].head;
    let fork = place.store.fork(&head, NewSession::named("branch".parse().unwrap())).unwrap();
    fork.begin_turn("elsewhere").unwrap();
    fork.seal().unwrap();
    fork.close().unwrap();
    let text = place.export(&"branch".parse().unwrap());
    let other = Place::new();
    let (parent, child) = (other.import(&whole()), other.import(&text));
    assert_eq!(child.forked_from, Some(parent.session));
    assert_eq!(place.said(&"branch".parse().unwrap()), other.said(&child.session));
    // Pi has no writer: it says so, and writes nothing.
    let mut out = Vec::new();
    let error = exchange::export(&place.store, &imported.session, Some("pi"), &mut Stream(&mut out)).unwrap_err();
    assert_eq!((error.kind(), out.len()), (Some("not-exportable"), 0));
}

/// What a line of a generated log is.
fn records() -> impl Strategy<Value = Vec<String>> {
    let text = prop_oneof!["[a-z ]{0,40}", "\\PC{0,30}", Just("x".repeat(70))];
    let value = (0..18_u8, text, 0..4_u8).prop_map(|(what, text, n)| match what {
        0..=3 => ("user_message", json!({ "text": text })),
        4 | 5 => ("assistant_message", json!({ "text": text })),
        6 => ("assistant_message", json!({ "text": text, "metadata": { "partial": true } })),
        7 | 8 => ("tool_call", json!({ "call_id": n, "name": "read", "args": { "path": text } })),
        9 => ("tool_call", json!({ "call_id": format!("c{n}"), "name": text, "args": { "command": text } })),
        10 => ("tool_result", json!({ "call_id": format!("c{n}"), "ok": n > 1, "output": text })),
        11 => ("tool_result", json!({ "call_id": format!("c{n}"), "ok": false, "error": { "message": text } })),
        12 => ("provider_usage", json!({ "model": text, "usage_summary": { "input_tokens": n } })),
        13 => ("turn_failed", json!({ "terminal_status": "interrupted", "error_message": text })),
        14 => ("branch_summary", json!({ "summary": text })),
        15 => ("history_compaction", json!({ "summary": text, "range": { "to_seq": n } })),
        16 => {
            let event = ["started", "retrying", "finished", "input"][usize::from(n)];
            ("subagent_event", json!({ "event": event, "subagent_id": "s", "child_session_id": format!("k{n}"), "status": "completed" }))
        }
        _ => ("text_delta", json!({ "chunk": text })),
    });
    let odd = prop_oneof![
        12 => value.prop_map(|(kind, data)| Some((kind, data))),
        1 => Just(None),
    ];
    prop::collection::vec((odd, 0..30_u8, any::<u8>()), 1..40).prop_map(|items| {
        let mut lines = vec![line("any", 0, "workflow_event", json!({}))];
        for (seq, (item, disorder, odd)) in (1..).zip(items) {
            let seq: u64 = if disorder == 0 { u64::from(odd) % 20 } else { seq };
            lines.push(match item {
                Some((kind, data)) if odd == 7 => {
                    line("any", seq, kind, data).replace(&format!("\"seq\":{seq},"), "\"seq\":null,")
                }
                Some((kind, data)) if odd == 8 => line("any", seq, kind, data).trim_end().to_owned(),
                Some((kind, data)) => line("any", seq, kind, data),
                None => ["\n", "{\"type\":1}\n", "{\"type\":\"x\",\"type\":\"y\"}\n", "\u{1}m1\u{2}\n", "[]\n", "  \n"]
                    [usize::from(odd) % 6]
                    .to_owned(),
            });
        }
        lines
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever lines a log has: it comes back byte for byte, adds nothing the second time, and cut anywhere and then
    /// continued it gives the same lines and, cut between turns, the same rows.
    #[test]
    fn any_log_comes_back_and_can_be_cut(lines in records(), cut in any::<prop::sample::Index>()) {
        let text = lines.concat();
        let whole = Place::new();
        let imported = whole.import(&text);
        let expected = counted(lines.iter().map(String::as_str));
        let of = |what: &str| expected.get(what).copied().unwrap_or_default();
        let [messages, turns, calls, evals, _, invocations] = counts(&imported);
        let wanted = [of("messages"), of("turns"), of("calls"), of("evals"), of("invocations")];
        prop_assert_eq!([messages, turns, calls, evals, invocations], wanted);
        let torn = imported.diagnostics.iter().any(|one| one.kind == "torn-tail");
        let back = whole.export(&imported.session);
        prop_assert!(text.starts_with(&back) && (torn || back == text), "{back}");
        prop_assert_eq!(whole.import(&text), Imported { new_events: 0, ..imported.clone() });

        let mut at = lines[0].len() + cut.index(text.len() - lines[0].len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let parts = Place::new();
        parts.import(&text[..at]);
        let later = parts.import(&text);
        prop_assert_eq!(parts.export(&later.session), back);
        prop_assert_eq!(parts.import(&text).new_events, 0);
        prop_assert_eq!(&later.session, &imported.session);
        // Only what is imported at once is put in order.
        if !imported.diagnostics.iter().any(|one| one.kind == "out-of-order") {
            prop_assert_eq!(parts.rows(&later.session), whole.rows(&imported.session));
        }
        let issues = headwater::care::check(parts.store.root(), headwater::care::Mode::Deep).unwrap().issues;
        prop_assert_eq!(issues, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Two logs that begin alike and then part: each comes back byte for byte, says what it says alone, and the second
    /// is a fork of the first, of which nothing changes.
    #[test]
    fn logs_that_part_share_what_they_have_in_common(
        one in records(), other in records(), at in any::<prop::sample::Index>(),
    ) {
        let common = 1 + at.index(one.len());
        let left = one.concat();
        let right = [&one[..common], &other[1..]].concat().concat();
        let (both, alone) = (Place::new(), Place::new());
        let first = both.import(&left);
        let before = both.store.events(&first.session).unwrap();
        let second = both.import(&right);
        let expected = alone.import(&right);
        prop_assert_eq!(both.export(&second.session), alone.export(&expected.session));
        prop_assert_eq!(both.import(&right).new_events, 0);
        if second.session != first.session {
            prop_assert_eq!(&second.forked_from, &Some(first.session.clone()));
            prop_assert_eq!(both.store.events(&first.session).unwrap(), before);
            let again = both.import(&left);
            prop_assert_eq!((again.session, again.new_events), (first.session, 0));
        }
        // Only what is imported at once is put in order.
        if !expected.diagnostics.iter().any(|one| one.kind == "out-of-order") {
            prop_assert_eq!(both.said(&second.session), alone.said(&expected.session));
            prop_assert_eq!(counts(&second)[..4].to_vec(), counts(&expected)[..4].to_vec());
        }
        let issues = headwater::care::check(both.store.root(), headwater::care::Mode::Deep).unwrap().issues;
        prop_assert_eq!(issues, []);
    }
}

/// Counts of the lines of a raw log, made without the code that is tested.
fn counted<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut open: Vec<(String, String)> = Vec::new();
    let (mut in_turn, mut asked, mut given_up) = (false, Vec::new(), Vec::new());
    let mut records: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    records.retain(|record| record["type"].is_string() && !record["session_id"].is_null());
    records.sort_by_key(|record| (record["seq"].is_null(), record["seq"].as_u64()));
    for value in records {
        let data = &value["data"];
        let mut add = |what| *counts.entry(what).or_insert(0) += 1;
        let call_id = data["call_id"].as_str().map(str::to_owned);
        match value["type"].as_str().unwrap() {
            "user_message" | "branch_summary" => {
                if in_turn {
                    asked.iter().for_each(|_| add("evals"));
                    given_up.append(&mut asked);
                }
                in_turn |= value["type"] == "user_message";
            }
            "tool_call" => asked.push(call_id),
            "tool_result" => match asked.iter().position(|id| id.is_some() && *id == call_id) {
                Some(at) => {
                    asked.remove(at);
                    add("evals");
                }
                None if call_id.is_some() && given_up.contains(&call_id) => {}
                None => add("evals"),
            },
            _ => {}
        }
        match value["type"].as_str().unwrap() {
            "user_message" => {
                add("messages");
                add("turns");
            }
            "assistant_message" | "tool_result" | "branch_summary" | "history_compaction" => add("messages"),
            "provider_usage" => add("calls"),
            "tool_call" | "text_delta" => {}
            "subagent_event" => {
                let of = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
                let who = (of("subagent_id"), of("child_session_id"));
                match data["event"].as_str().unwrap() {
                    "started" if open.contains(&who) => {}
                    "started" | "input" => {
                        add("invocations");
                        open.push(who);
                    }
                    _ => open.retain(|one| *one != who),
                }
                add("annotations");
            }
            _ => add("annotations"),
        }
    }
    counts
}

#[test]
fn real_pixir_logs_come_in_whole() {
    let shared = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let folder = shared.join("data/pixir");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let place = Place::new();
    let mut found = exchange::find(&folder).unwrap();
    found.retain(|one| one.path.extension().is_some_and(|extension| extension == "ndjson"));
    assert!(found.len() >= 6, "{found:?}");
    for one in found {
        let text = fs::read_to_string(&one.path).unwrap();
        let imported = one.import(&place.store, &mut |_| {}).pop().unwrap().unwrap();
        let expected = counted(text.lines());
        let of = |what: &str| expected.get(what).copied().unwrap_or_default();
        let [messages, turns, calls, evals, _, invocations] = counts(&imported);
        assert_eq!(
            [messages, turns, calls, evals, invocations],
            [of("messages"), of("turns"), of("calls"), of("evals"), of("invocations")],
            "{}",
            one.path.display()
        );
        let annotations = place.annotations(&imported.session);
        let own = annotations.iter().filter(|kind| kind.starts_with("pixir/")).count() as u64;
        assert_eq!(own, of("annotations"));
        assert_eq!(place.export(&imported.session), text);
        assert_eq!(one.import(&place.store, &mut |_| {}).pop().unwrap().unwrap().new_events, 0);
    }
}

#[test]
fn the_cost_and_type_of_our_own_calls_come_back() {
    let (place, other) = (Place::new(), Place::new());
    let session = place.store.create_session(NewSession::named("own".parse().unwrap())).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    for (call_type, cost) in [(CallType::Root, Some(2_500)), (CallType::LeafBatchItem, Some(7)), (CallType::Leaf, None)]
    {
        session
            .write(|batch| {
                let call = batch.begin_call(call_type, |call| call.turn = Some(turn))?;
                batch.update_call(call, |call| (call.status, call.cost) = (Status::OK, cost))
            })
            .unwrap();
    }
    session.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let imported = other.import(&place.export(&"own".parse().unwrap()));
    let calls = |place: &Place, session: &SessionId| -> Vec<_> {
        let rows = place.store.view(session).unwrap().rows;
        rows.calls.into_iter().map(|entry| (entry.row.call_type, entry.row.cost)).collect()
    };
    let ours = calls(&place, &"own".parse().unwrap());
    assert_eq!(ours[1], (CallType::LeafBatchItem, Some(7)));
    assert_eq!(calls(&other, &imported.session), ours);
    // Words that are no type of a call of the model, and amounts that no column holds, are nothing.
    let data = json!({ "headwater_call_type": "child", "headwater_cost_nano_usd": u64::MAX });
    let odd = [line("x", 0, "user_message", json!({ "text": "a" })), line("x", 1, "provider_usage", data)].concat();
    let odd = other.import(&odd);
    assert_eq!(calls(&other, &odd.session), [(CallType::Root, None)]);
}

//! Pixir's logs come in with the meaning their events have, in the order of their numbers, and go out as the bytes they
//! were; a session of headwater's own goes out as such a log too.

mod any;
mod log;
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::imports::{Place, kinds};
use headwater::exchange::pixir::log::{Log, LogEvent};
use headwater::exchange::{self, Imported};
use headwater::model::{CallType, HeadKind, Role, SessionId, Status};
use headwater::store::{NewMessage, NewSession, Store};
use proptest::prelude::*;
use serde_json::{Value, json};

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

#[test]
fn every_canonical_type_has_its_meaning() {
    let place = Place::of("pixir");
    let imported = place.import(whole());
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
    let place = Place::of("pixir");
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
    let place = Place::of("pixir");
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
    let expected = Place::of("pixir");
    let session = expected.import(&text).session;
    let rows = expected.rows(&session);
    for (cut, _) in text.match_indices('\n') {
        let place = Place::of("pixir");
        place.import(&text[..=cut]);
        assert_eq!(place.import(&text[..=cut]).new_events, 0, "cut at {cut}");
        let imported = place.import(&text);
        assert_eq!(place.rows(&session), rows, "cut at {cut}");
        assert_eq!(kinds(&imported), []);
        assert_eq!(place.export(&session), text);
    }
    // Cut after every line.
    let place = Place::of("pixir");
    text.match_indices('\n').for_each(|(cut, _)| drop(place.import(&text[..=cut])));
    assert_eq!(place.rows(&session), rows);
    // What is still open at the end is unfinished, and given up when something else begins.
    let evals = || place.store.view(&session).unwrap().rows.evals.len();
    let before = evals();
    place.import(&(text + &line("p1", 28, "user_message", json!({ "text": "Never mind." }))));
    let last = place.store.view(&session).unwrap().rows.evals.pop().unwrap().row;
    assert_eq!((evals(), last.status), (before, Status::ORPHANED));
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
    let place = Place::of("pixir");
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
        let place = Place::of("pixir");
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
    let place = Place::of("pixir");
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
    let place = Place::of("pixir");
    let source = place.import(&parent);
    let fork = place.import(&child);
    assert_eq!(fork.forked_from, Some(source.session.clone()));
    assert_eq!(place.export(&fork.session), child);
    assert_eq!(place.import(&child), Imported { new_events: 0, ..fork.clone() });

    // It sees what a store without the parent sees, and wrote only what is its own.
    let alone = Place::of("pixir");
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
    let both = Place::of("pixir");
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
    let place = Place::of("pixir");
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
    let place = Place::of("pixir");
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
    let whole = Place::of("pixir");
    whole.import(&parent);
    let expected = whole.import(&child);
    let info = whole.store.session(&expected.session).unwrap();
    let (_, head) = info.source.unwrap();

    // An import was killed behind the session's own commit; meanwhile the parent's log went on.
    let place = Place::of("pixir");
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

fn fold(store: &Store, session: &str) -> Vec<LogEvent> {
    Log::new(store.clone(), ".").fold(session).unwrap()
}

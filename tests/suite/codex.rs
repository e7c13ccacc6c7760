//! Codex's rollouts come in with each input, message, call and tool once, however often the file tells of it, and go out as
//! the bytes they were; forks and spawned agents find their parents.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange::export::Stream;
use headwater::exchange::{self, Imported};
use headwater::model::{DerivationKind, Digest, HeadKind, SessionId};
use headwater::store::{Options, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const FERRY: &str = include_str!("../fixtures/codex/ferry.jsonl");
const BARE: &str = include_str!("../fixtures/codex/bare.jsonl");

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

    pub(super) fn import(&self, text: &str) -> Imported {
        let path = self.folder.path().join("rollout.jsonl");
        fs::write(&path, text).unwrap();
        exchange::import(&self.store, &path).unwrap()
    }

    pub(super) fn export(&self, session: &SessionId) -> String {
        let mut out = Vec::new();
        exchange::export(&self.store, session, Some("codex"), &mut Stream(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    pub(super) fn text(&self, digest: Option<Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    pub(super) fn said(&self, session: &SessionId) -> Vec<(String, String)> {
        let rows = self.store.view(session).unwrap().rows;
        rows.messages.iter().map(|entry| (entry.row.role.to_string(), self.text(Some(entry.row.content)))).collect()
    }

    pub(super) fn annotations(&self, session: &SessionId) -> Vec<String> {
        let events = self.store.events(session).unwrap();
        let kinds = events.iter().map(|event| event.body.kind().to_owned());
        kinds.filter(|kind| kind.starts_with("codex/") || kind.starts_with("import/bad")).collect()
    }

    /// What the calls recorded for the session used: input, output, cached, reasoning; and how many of them say so.
    pub(super) fn usage(&self, session: &SessionId) -> [u64; 5] {
        let mut sum = [0; 5];
        let mut last = BTreeMap::new();
        for event in self.store.events(session).unwrap() {
            if let headwater::model::Body::CallPut(call) = event.body {
                last.insert(call.call, call);
            }
        }
        for call in last.values() {
            let amounts = [call.tokens_input, call.tokens_output, call.tokens_cached, call.tokens_reasoning];
            amounts.iter().zip(&mut sum).for_each(|(amount, sum)| *sum += amount.unwrap_or_default());
            sum[4] += u64::from(call.tokens_input.is_some());
        }
        sum
    }
}

fn counts(imported: &Imported) -> [u64; 6] {
    let Imported { messages, turns, calls, evals, heads, invocations, .. } = imported;
    [*messages, *turns, *calls, *evals, *heads, *invocations]
}

fn kinds(imported: &Imported) -> Vec<(u64, &str)> {
    imported.diagnostics.iter().map(|one| (one.line, one.kind.as_str())).collect()
}

#[test]
fn each_input_call_and_tool_is_there_once() {
    let place = Place::new();
    let imported = place.import(FERRY);
    assert_eq!((imported.session.as_str(), imported.format), ("ferry-0001", "codex"));
    // Calls: two of the first turn, two of the second, one broken off, one that compacted.
    assert_eq!(counts(&imported), [14, 4, 6, 6, 6, 0]);
    assert_eq!(kinds(&imported), [(47, "bad-line"), (48, "two-records"), (49, "torn-tail")]);

    let rows = place.store.view(&imported.session).unwrap().rows;
    let said = place.said(&imported.session);
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    let expected = "developer user user tool tool assistant user tool tool assistant user user summary user";
    assert_eq!(roles.join(" "), expected);
    let turns: Vec<(&str, String, String, String)> = rows
        .turns
        .iter()
        .map(|entry| {
            let row = &entry.row;
            (row.status.as_str(), place.text(row.input), place.text(row.final_value), place.text(row.error))
        })
        .collect();
    let ferry = "The last ferry leaves at 22:45, every day of the week.";
    assert_eq!((turns[0].0, turns[0].2.as_str()), ("final", ferry));
    assert_eq!((turns[1].0, turns[1].1.as_str(), turns[1].2.as_str()), ("final", "Write it on the sign.", "Done."));
    assert_eq!(turns[2].0, "aborted");
    assert!(turns[2].1.contains("input_image"));
    assert_eq!(
        (turns[3].0, turns[3].1.as_str(), turns[3].3.as_str()),
        ("error", "Are you there?", "stream disconnected")
    );

    let calls: Vec<_> = rows
        .calls
        .iter()
        .map(|entry| {
            let row = &entry.row;
            let turn = row.turn.map(|turn| turn.0);
            (
                row.status.as_str(),
                row.model.as_deref().unwrap(),
                turn,
                row.tokens_input,
                row.tokens_cached,
                row.tokens_reasoning,
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            ("ok", "acme-code-1", Some(1), Some(1000), Some(200), Some(20)),
            ("ok", "acme-code-1", Some(1), Some(1300), Some(1000), Some(0)),
            ("ok", "acme-code-1", Some(2), Some(1500), Some(1200), Some(0)),
            ("ok", "acme-code-2", Some(2), Some(1700), Some(1200), Some(0)),
            ("aborted", "acme-code-2", Some(3), None, None, None),
            ("ok", "acme-code-2", Some(3), Some(1800), Some(0), Some(0)),
        ]
    );
    assert!(rows.calls.iter().all(|entry| entry.row.provider.as_deref() == Some("acme") && entry.row.cost.is_none()));
    assert_eq!(place.text(rows.calls[1].row.response), ferry);

    let evals: Vec<_> = rows
        .evals
        .iter()
        .map(|entry| {
            let row = &entry.row;
            (row.name.as_deref().unwrap(), row.status.as_str(), row.call.map(|call| call.0), place.text(row.code))
        })
        .collect();
    assert_eq!(evals[0], ("shell", "error", Some(1), r#"{"command":["cat","notes.txt"], "timeout": 1e3}"#.to_owned()));
    assert_eq!(evals[1], ("shell", "ok", Some(1), r#"{"command":["cat","timetable.txt"]}"#.to_owned()));
    assert_eq!((evals[2].0, evals[2].1, evals[2].2), ("apply_patch", "ok", Some(3)));
    assert!(evals[2].3.starts_with("*** Begin Patch\n"));
    assert_eq!((evals[3].0, evals[3].1, evals[3].2), ("local_shell", "ok", Some(3)));
    assert_eq!((evals[4].0, evals[4].1, evals[4].2), ("web_search", "ok", Some(3)));
    assert_eq!((evals[5].0, evals[5].1, evals[5].2), ("shell", "unfinished", Some(5)));

    let kinds = place.annotations(&imported.session);
    assert_eq!(
        kinds,
        [
            "codex/turn_context",
            "codex/ghost_snapshot",
            "codex/turn_context",
            "codex/turn_aborted",
            "codex/error",
            "import/bad-line",
            "codex/new_kind",
            "codex/shutdown_complete",
        ]
    );
    let heads = place.store.heads(&imported.session).unwrap();
    assert_eq!(heads.iter().filter(|head| head.kind == HeadKind::Compaction).count(), 1);
    let torn = FERRY.rfind('\n').unwrap() + 1;
    assert_eq!(place.export(&imported.session), FERRY[..torn]);
    assert_eq!(place.import(FERRY).new_events, 0);
}

#[test]
fn a_rollout_without_the_envelope_is_read_too() {
    let place = Place::new();
    let imported = place.import(BARE);
    assert_eq!(imported.session.as_str(), "bare-1");
    assert_eq!(counts(&imported), [4, 1, 2, 1, 2, 0]);
    let rows = place.store.view(&imported.session).unwrap().rows;
    assert_eq!(place.text(rows.turns[0].row.final_value), "Anna and Brave.");
    assert_eq!(place.text(rows.evals[0].row.code), r#"{"command":["ls"]}"#);
    assert_eq!(place.export(&imported.session), BARE);
    assert_eq!(place.import(BARE).new_events, 0);
}

pub(super) fn row(second: u64, kind: &str, payload: &Value) -> String {
    let at = format!("2026-03-01T10:{:02}:{:02}.000Z", second / 60 % 60, second % 60);
    json!({"timestamp": at, "type": kind, "payload": payload}).to_string() + "\n"
}

/// The records of a turn: input, a tool, an answer, both with usage.
pub(super) fn turn(number: u64) -> Vec<(&'static str, Value)> {
    let (asked, answer) =
        (format!("Question {number}, a long one: what is the tide at the pier?"), format!("Answer {number}."));
    let usage = |call: u64| {
        let used = |input: u64| json!({"input_tokens": input, "cached_input_tokens": 1, "output_tokens": 2, "reasoning_output_tokens": 0});
        json!({"type": "token_count", "info": {"total_token_usage": used(100 * call), "last_token_usage": used(100)}})
    };
    let message = |role: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
    vec![
        ("event_msg", json!({"type": "task_started", "turn_id": format!("t{number}")})),
        ("response_item", message("user", &asked)),
        ("event_msg", json!({"type": "user_message", "message": asked})),
        (
            "response_item",
            json!({"type": "function_call", "name": "tide", "arguments": "{\"pier\": 1}", "call_id": format!("c{number}")}),
        ),
        ("event_msg", usage(2 * number - 1)),
        ("response_item", json!({"type": "function_call_output", "call_id": format!("c{number}"), "output": "low"})),
        ("response_item", message("assistant", &answer)),
        ("event_msg", usage(2 * number)),
        ("event_msg", json!({"type": "task_complete", "last_agent_message": answer})),
    ]
}

pub(super) fn rollout(id: &str, more: &Value, start: u64, records: &[(&str, Value)]) -> String {
    let mut meta = json!({"id": id, "timestamp": "2026-03-01T09:00:00.000Z", "cwd": "/x", "model_provider": "acme"});
    meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let lines = records.iter().zip(start + 1..).map(|((kind, payload), second)| row(second, kind, payload));
    std::iter::once(row(start, "session_meta", &meta)).chain(lines).collect()
}

#[test]
fn a_fork_shares_its_parents_rows_and_counts_only_its_own_calls() {
    let parent: Vec<_> = (1..=3).flat_map(turn).collect();
    // Copied to the middle of the second turn, behind its first call, under the times of the copying.
    let copied = parent[..9 + 5].to_vec();
    let own = [("event_msg", json!({"type": "turn_aborted", "reason": "interrupted"}))];
    let records: Vec<_> = copied.into_iter().chain(own).chain(turn(3)).collect();
    let fork = rollout("child", &json!({"forked_from_id": "parent"}), 500, &records);
    let parent = rollout("parent", &json!({}), 0, &parent);

    let place = Place::new();
    place.import(&parent);
    let imported = place.import(&fork);
    assert_eq!(imported.forked_from.as_ref().map(SessionId::as_str), Some("parent"));
    let derived = place.store.derivations(&imported.session).unwrap();
    assert_eq!(derived.iter().filter(|one| one.kind == DerivationKind::Fork).count(), 1);
    let rows = place.store.view(&imported.session).unwrap().rows;
    let status: Vec<&str> = rows.turns.iter().map(|entry| entry.row.status.as_str()).collect();
    assert_eq!(status, ["final", "aborted", "final"]);
    assert_eq!(rows.turns[0].session.as_str(), "parent");
    assert_eq!(place.usage(&"parent".parse().unwrap()), [600, 12, 6, 0, 6]);
    // Of the calls it was copied with none; of its own turn, two.
    assert_eq!(place.usage(&imported.session), [200, 4, 2, 0, 2]);
    assert_eq!(place.export(&imported.session), fork);
    assert_eq!(place.import(&fork).new_events, 0);
    assert_eq!(place.import(&parent).new_events, 0);

    // Without its parent it is whole by itself.
    let alone = Place::new();
    let imported = alone.import(&fork);
    assert_eq!(alone.usage(&imported.session), [500, 10, 5, 0, 5]);
    assert_eq!(alone.export(&imported.session), fork);
}

#[test]
fn a_spawned_agent_is_an_invocation_of_the_call_that_asked_for_it() {
    let spawn = json!({"type": "function_call", "name": "spawn_agent", "call_id": "s1",
        "arguments": "{\"agent_type\":\"explorer\",\"message\":\"Sound the harbour.\"}"});
    let wait = |call: &str| json!({"type": "function_call", "name": "wait", "call_id": call, "arguments": "{\"ids\":[\"kid\"]}"});
    let said = |call: &str, output: &str| json!({"type": "function_call_output", "call_id": call, "output": output});
    let mut records = turn(1);
    records.splice(
        6..6,
        [
            ("response_item", spawn),
            ("event_msg", json!({"type": "collab_agent_spawn_end", "call_id": "s1", "new_thread_id": "kid", "new_agent_role": "explorer", "prompt": "Sound the harbour."})),
            ("response_item", said("s1", "{\"agent_id\":\"kid\"}")),
            ("response_item", wait("w1")),
            ("response_item", said("w1", "{\"status\":{\"kid\":{\"completed\":\"Nine metres.\"}},\"timed_out\":false}")),
            ("response_item", json!({"type": "function_call", "name": "send_input", "call_id": "i1", "arguments": "{\"id\":\"kid\",\"message\":\"Again.\"}"})),
            ("response_item", said("i1", "{\"submission_id\":\"1\"}")),
            ("response_item", json!({"type": "message", "role": "user", "content": [{"type": "input_text",
                "text": "<subagent_notification>\n{\"agent_id\":\"kid\",\"status\":{\"errored\":\"aground\"}}\n</subagent_notification>"}]})),
        ],
    );
    let parent = rollout("boss", &json!({}), 0, &records);
    let source = json!({"source": {"subagent": {"thread_spawn": {"parent_thread_id": "boss", "depth": 1}}}});
    let child = rollout("kid", &source, 100, &turn(1));
    let place = Place::new();
    // The child's file sorts last: it is imported before its caller, whose edge leads to its heads.
    let folder = place.folder.path().join("sessions/2026/03/01");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rollout-b.jsonl"), &child).unwrap();
    fs::write(folder.join("rollout-a.jsonl"), &parent).unwrap();
    let found = exchange::find(&place.folder.path().join("sessions")).unwrap();
    let imported: Vec<_> =
        found.iter().flat_map(|one| one.import(&place.store, &mut |_| {})).map(Result::unwrap).collect();
    assert_eq!(imported.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["kid", "boss"]);
    assert_eq!(place.store.session(&"kid".parse().unwrap()).unwrap().kind.as_str(), "child");
    assert_eq!(imported[0].forked_from, None);

    let boss = &imported[1];
    assert_eq!((boss.invocations, boss.turns), (2, 1));
    let rows = place.store.view(&boss.session).unwrap().rows;
    let invocations: Vec<_> = rows
        .invocations
        .iter()
        .map(|entry| {
            let row = &entry.row;
            let texts = (place.text(row.label), place.text(row.input), place.text(row.final_value.or(row.error)));
            (row.status.as_str().to_owned(), row.callee.clone().unwrap().to_string(), row.child, texts, row.call)
        })
        .collect();
    let text = str::to_owned;
    assert_eq!(invocations.len(), 2);
    // The clock of the child is ahead, so that each call seems to come back at its current head.
    let heads = place.store.heads(&"kid".parse().unwrap()).unwrap();
    let edges = rows.invocations.iter().map(|entry| (entry.row.callee_before, entry.row.callee_after));
    assert_eq!(edges.collect::<Vec<_>>(), [(Some(heads[0].head), Some(heads[1].head)); 2]);
    let spawned = rows.evals.iter().find(|entry| entry.row.name.as_deref() == Some("spawn_agent")).unwrap();
    assert!(spawned.row.call.is_some());
    assert_eq!(
        invocations[0],
        (
            text("ok"),
            text("kid"),
            Some(1),
            (text("explorer"), text("Sound the harbour."), text("Nine metres.")),
            spawned.row.call
        )
    );
    let (status, callee, ordinal, texts, call) = &invocations[1];
    assert_eq!((status.as_str(), callee.as_str(), *ordinal), ("error", "kid", Some(1)));
    assert_eq!(texts, &(text(""), text("Again."), text("aground")));
    assert!(call.is_some());
    let events = place.store.events(&boss.session).unwrap();
    let recorded = events.iter().filter(|event| event.body.kind() == "invocation/caller-head-recorded").count();
    assert_eq!(recorded, 2);
    assert_eq!(place.export(&boss.session), parent);
}

#[test]
fn later_versions_tell_of_an_agent_by_its_activity() {
    let activity = |kind: &str, child: &str| json!({"type": "sub_agent_activity", "event_id": "s1", "agent_thread_id": child, "kind": kind});
    let spawn = json!({"type": "function_call", "name": "spawn_agent", "call_id": "s1", "arguments": "{\"message\":\"Sound.\"}"});
    let output = json!({"type": "function_call_output", "call_id": "s1", "output": "{\"task_name\":\"x\"}"});
    let mut records = turn(1);
    let events = [
        activity("started", "kid"),
        activity("interacted", "kid"),
        activity("completed", "kid"),
        activity("started", "two"),
    ];
    records.splice(6..6, std::iter::once(("response_item", spawn)).chain(events.map(|event| ("event_msg", event))));
    records.insert(11, ("response_item", output));
    let place = Place::new();
    let imported = place.import(&rollout("boss", &json!({}), 0, &records));
    assert_eq!(imported.invocations, 2);
    let rows = place.store.view(&imported.session).unwrap().rows;
    let told: Vec<_> = rows.invocations.iter().map(|entry| (entry.row.status.as_str(), entry.row.child)).collect();
    assert_eq!(told, [("ok", Some(1)), ("running", Some(2))]);
    assert!(rows.invocations[0].row.call.is_some());
    assert_eq!(place.text(rows.invocations[0].row.input), "Sound.");
}

#[test]
fn a_spawned_agent_that_begins_with_its_parents_records_goes_on_from_there() {
    let parent: Vec<_> = (1..=2).flat_map(turn).collect();
    let source = json!({"source": {"subagent": {"thread_spawn": {"parent_thread_id": "boss", "depth": 1}}}});
    // Its own header, its parent's, a whole turn and the first call of the next; then what it did itself.
    let meta = [("session_meta", json!({"id": "boss", "cwd": "/x"}))];
    let records: Vec<_> = meta.into_iter().chain(parent[..14].to_vec()).chain(turn(3)).collect();
    let child = rollout("kid", &source, 400, &records);
    let place = Place::new();
    place.import(&rollout("boss", &json!({}), 0, &parent));
    let imported = place.import(&child);
    assert_eq!(imported.forked_from.as_ref().map(SessionId::as_str), Some("boss"));
    let derived = place.store.derivations(&imported.session).unwrap();
    assert_eq!(derived.iter().map(|one| one.kind).collect::<Vec<_>>(), [DerivationKind::Attach]);
    assert_eq!(place.usage(&imported.session), [200, 4, 2, 0, 2]);
    assert_eq!(place.store.view(&imported.session).unwrap().rows.turns[0].session.as_str(), "boss");
    assert_eq!(place.export(&imported.session), child);
    assert_eq!(place.import(&child).new_events, 0);

    // The same in the other order: the rows are the agent's, and each call is counted once.
    let mut calls = parent.clone();
    let spawn = json!({"type": "function_call", "name": "spawn_agent", "call_id": "s1", "arguments": "{\"message\":\"Sound.\"}"});
    let said = json!({"type": "function_call_output", "call_id": "s1", "output": "{\"agent_id\":\"kid\"}"});
    calls.splice(14..14, [("response_item", spawn), ("response_item", said)]);
    let parent = rollout("boss", &json!({}), 0, &calls);
    let place = Place::new();
    let kid = place.import(&child).session;
    let boss = place.import(&parent);
    assert_eq!(boss.forked_from, Some(kid.clone()));
    assert_eq!(place.usage(&kid), [500, 10, 5, 0, 5]);
    assert_eq!(place.usage(&boss.session), [100, 2, 1, 0, 1]);
    assert_eq!((boss.turns, boss.invocations), (2, 1));
    assert_eq!(place.export(&boss.session), parent);
    assert_eq!(place.import(&parent).new_events, 0);
    assert_eq!(place.import(&child).new_events, 0);
    let name = headwater::model::NodeName::root(boss.session);
    // The agent's rows were there first, so that its caller hangs below it as a fork, too.
    let tree = place.store.tree(&name, headwater::view::types::TreeLimits::default()).unwrap();
    let nodes = tree.nodes.iter().map(|node| (node.name.to_string(), node.mark.is_some()));
    let name = |text: &str| text.to_owned();
    assert_eq!(nodes.take(2).collect::<Vec<_>>(), [(name("boss"), false), (name("boss/child-0001"), false)]);
    assert_eq!(tree.nodes[2].mark, Some(headwater::view::types::Mark::Cycle));
    // One of them spawned the agent, and has no count.
    assert_eq!(tree.nodes[0].subtree.calls, 7);
}

#[test]
fn a_tool_that_changes_its_mind_and_an_input_that_looks_like_codexs_own_are_counted_once() {
    let place = Place::new();
    let message =
        |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    let event = |text: &str| json!({"type": "user_message", "message": text});
    let answer = json!({"type": "message", "role": "assistant", "content": "ok"});
    let text = rollout(
        "odd",
        &json!({}),
        0,
        &[
            // An input in an element, told of by an event.
            ("response_item", message("<b>bold</b>")),
            ("event_msg", event("<b>bold</b>")),
            ("response_item", answer.clone()),
            // The event first.
            ("event_msg", event("second")),
            ("response_item", message("second")),
            ("response_item", answer.clone()),
            // Two at once, then their events.
            ("response_item", message("third")),
            ("response_item", message("fourth")),
            ("event_msg", event("third")),
            ("event_msg", event("fourth")),
            ("response_item", answer),
            ("response_item", json!({"type": "function_call_output", "call_id": "nobody", "output": "x"})),
            ("response_item", json!("no object")),
            (
                "event_msg",
                json!({"type": "token_count", "info": {"last_token_usage": {"input_tokens": 9_223_372_036_854_775_808_u64, "output_tokens": 1}}}),
            ),
        ],
    );
    let imported = place.import(&text);
    assert_eq!(counts(&imported), [8, 4, 3, 1, 5, 0]);
    assert_eq!(place.export(&imported.session), text);
    assert_eq!(place.usage(&imported.session), [0, 1, 0, 0, 0]);
}

fn records() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let text = prop::sample::select(vec![
        "",
        "a",
        "the tide is low at the pier today",
        "<x>y</x>",
        "\u{1}m1\u{2} \"q\" \u{e9}\u{1f30a}",
    ]);
    let id = prop::sample::select(vec!["c1", "c2", "c3"]);
    let amount = 0_u64..3;
    let record = (0..14_u8, text, id, amount).prop_map(|(kind, text, id, amount)| {
        let message =
            |role: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
        let used = json!({"input_tokens": amount, "output_tokens": amount});
        match kind {
            0 | 1 => ("response_item", message("user")),
            2 => ("event_msg", json!({"type": "user_message", "message": text})),
            3 => ("response_item", message("assistant")),
            4 => ("event_msg", json!({"type": "agent_message", "message": text})),
            5 => ("response_item", json!({"type": "function_call", "name": "shell", "arguments": text, "call_id": id})),
            6 => ("response_item", json!({"type": "function_call_output", "call_id": id, "output": text})),
            7 => (
                "event_msg",
                json!({"type": "token_count", "info": {"total_token_usage": used, "last_token_usage": used}}),
            ),
            8 => ("event_msg", json!({"type": "task_started"})),
            9 => ("event_msg", json!({"type": "task_complete", "last_agent_message": text})),
            10 => ("response_item", json!({"type": "reasoning", "encrypted_content": text.repeat(3)})),
            11 => ("turn_context", json!({"model": id})),
            12 => ("compacted", json!({"message": text})),
            _ => ("event_msg", json!({"type": "collab_agent_spawn_end", "call_id": id, "new_thread_id": id})),
        }
    });
    prop::collection::vec(record, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 200 }))]

    /// Whatever the order of its records, a rollout comes back byte for byte; imported in two parts it says as much as in
    /// one, and its inputs, calls with usage and tools are as many as its records say.
    #[test]
    fn any_rollout_comes_back_and_can_be_cut(records in records(), cut in any::<prop::sample::Index>()) {
        let text = rollout("any", &json!({}), 0, &records);
        let place = Place::new();
        let imported = place.import(&text);
        prop_assert_eq!(place.export(&imported.session), text.as_str());
        prop_assert_eq!(place.import(&text).new_events, 0);
        let items = |of: &str| records.iter().filter(|(_, payload)| payload["type"] == of).count() as u64;
        let outputs = items("function_call_output");
        prop_assert!(imported.evals >= items("function_call"), "{} of {}", imported.evals, items("function_call"));
        prop_assert!(imported.evals <= items("function_call") + outputs);
        let compacted = records.iter().filter(|(kind, _)| *kind == "compacted").count() as u64;
        prop_assert!(imported.heads >= imported.turns + compacted);

        let parts = Place::new();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let at: usize = lines[..1 + cut.index(lines.len())].iter().map(|line| line.len()).sum();
        parts.import(&text[..at]);
        let whole = parts.import(&text);
        prop_assert_eq!(parts.export(&whole.session), text.as_str());
        prop_assert_eq!((whole.turns, whole.messages), (imported.turns, imported.messages));
        prop_assert_eq!(parts.usage(&whole.session), place.usage(&imported.session));
        prop_assert_eq!(parts.said(&whole.session), place.said(&imported.session));
    }
}

/// What a file says, counted record by record, not as the importer does.
fn counted(text: &str) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut total = Value::Null;
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let inputs: Vec<&str> = rows.iter().filter_map(|row| row["payload"]["content"][0]["text"].as_str()).collect();
    for row in &rows {
        let payload = &row["payload"];
        let mut add = |what, amount: u64| *counts.entry(what).or_default() += amount;
        match (row["type"].as_str().unwrap(), payload["type"].as_str().unwrap_or_default()) {
            ("event_msg", "user_message") => {
                add("turns", 1);
                add("messages", u64::from(!inputs.contains(&payload["message"].as_str().unwrap())));
            }
            ("event_msg", "token_count") if payload["info"]["last_token_usage"].is_object() => {
                let now = &payload["info"]["total_token_usage"];
                if *now != total {
                    total = now.clone();
                    add("calls", 1);
                    for (what, field) in [
                        ("input", "input_tokens"),
                        ("output", "output_tokens"),
                        ("cached", "cached_input_tokens"),
                        ("reasoning", "reasoning_output_tokens"),
                    ] {
                        add(what, payload["info"]["last_token_usage"][field].as_u64().unwrap_or_default());
                    }
                }
            }
            ("event_msg", "collab_agent_spawn_end") => add("invocations", 1),
            ("response_item", "message") => add("messages", 1),
            ("response_item", "function_call" | "custom_tool_call") => add("evals", 1),
            ("response_item", "function_call_output" | "custom_tool_call_output") => {
                let output = payload["output"].as_str().unwrap();
                let code =
                    serde_json::from_str::<Value>(output).ok().and_then(|json| json["metadata"]["exit_code"].as_i64());
                let sentence = output.contains("failed in sandbox") && !output.starts_with('{');
                let is_error = code.is_some_and(|code| code != 0)
                    || sentence
                    || output.starts_with("apply_patch verification failed");
                add("messages", 1);
                add("errors", u64::from(is_error));
            }
            _ => {}
        }
    }
    counts
}

#[test]
fn real_rollouts_come_in_whole() {
    let shared = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let folder = shared.join("data/codex");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let place = Place::new();
    let found = exchange::find(&folder).unwrap();
    assert!(found.len() >= 8, "{found:?}");
    // Two of the files are of one session.
    for one in found {
        let name = one.path.display().to_string();
        let text = fs::read_to_string(&one.path).unwrap();
        let imported = one.import(&place.store, &mut |_| {}).pop().unwrap().unwrap();
        assert_eq!(place.export(&imported.session), text, "{name}");
        let again = one.import(&place.store, &mut |_| {}).pop().unwrap().unwrap();
        assert_eq!(again.new_events, 0, "{name}");
        if imported.forked_from.is_some() {
            continue;
        }
        let expected = counted(&text);
        let of = |what: &str| expected.get(what).copied().unwrap_or_default();
        let Imported { messages, turns, evals, heads, invocations, .. } = imported;
        assert_eq!(
            [messages, turns, evals, invocations],
            [of("messages"), of("turns"), of("evals"), of("invocations")],
            "{name}"
        );
        assert_eq!(
            place.usage(&imported.session),
            [of("input"), of("output"), of("cached"), of("reasoning"), of("calls")],
            "{name}"
        );
        assert_eq!(heads, 1 + turns + u64::from(turns == 0), "{name}");
        let rows = place.store.view(&imported.session).unwrap().rows;
        let errors = rows.evals.iter().filter(|entry| entry.row.status.as_str() == "error").count() as u64;
        assert_eq!(errors, of("errors"), "{name}");
    }
}

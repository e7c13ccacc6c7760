//! What real homes of Claude Code hold besides inputs, answers and tools: commands of the user, interruptions, retries, rows of
//! the program. Each is counted from the lines of the file, and compared with what the store says.

use std::collections::{BTreeMap, BTreeSet};

use headwater::exchange;
use headwater::model::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::claude::{Log, Place, id, kinds};

/// A record of the program: its type, and its fields.
fn told(log: &mut Log, pick: u8) {
    let row = match pick % 13 {
        0 => json!({ "type": "queue-operation", "operation": "enqueue", "content": "later", "sessionId": log.session }),
        1 => json!({ "type": "file-history-snapshot", "messageId": "x", "snapshot": { "trackedFileBackups": {} } }),
        2 => json!({ "type": "summary", "summary": "About boats", "leafUuid": "a-leaf-of-another-file" }),
        3 => json!({ "type": "custom-title", "customTitle": "Boats", "sessionId": log.session }),
        4 => json!({ "type": "agent-name", "agentName": "boats", "sessionId": log.session }),
        5 => json!({ "type": "last-prompt", "lastPrompt": "go", "sessionId": log.session }),
        6 => return drop(log.add("attachment", json!({ "attachment": { "type": "hook_success", "content": "ok" } }))),
        7 => {
            return drop(
                log.add("progress", json!({ "data": { "type": "hook_progress", "hookEvent": "PreToolUse" } })),
            );
        }
        8 => {
            return drop(log.add(
                "system",
                json!({ "subtype": "api_error", "level": "error", "retryAttempt": 1, "error": { "status": 529 } }),
            ));
        }
        9 => return drop(log.add("system", json!({ "subtype": "turn_duration", "durationMs": 7 }))),
        10 => {
            return drop(log.add(
                "system",
                json!({ "subtype": "microcompact_boundary", "microcompactMetadata": { "trigger": "auto" } }),
            ));
        }
        11 => return drop(log.add("system", json!({ "subtype": "stop_hook_summary", "hookCount": 1 }))),
        _ => {
            return drop(log.add(
                "system",
                json!({ "subtype": "local_command", "content": "<command-name>/model</command-name>" }),
            ));
        }
    };
    log.text += &format!("{row}\n");
}

/// What the lines say, by the rules of docs/IMPORT.md alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    turns: u64,
    messages: u64,
    calls: u64,
    evals: u64,
    failed_calls: u64,
    failed_evals: u64,
    heads: u64,
    input: u64,
    output: u64,
}

fn counted(text: &str) -> Counted {
    let mut counted = Counted { heads: 1, ..Counted::default() };
    let (mut answers, mut used) = (BTreeSet::new(), BTreeMap::new());
    for row in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (message, is) = (&row["message"], |name: &str| row[name] == true);
        let content = &message["content"];
        let said = content.as_str().unwrap_or_default();
        match row["type"].as_str().unwrap() {
            "user" => {
                counted.messages += 1;
                let result = &content[0];
                if is("isCompactSummary") {
                    counted.heads += 1;
                } else if result["type"] == "tool_result" {
                    counted.failed_evals += u64::from(result["is_error"] == true);
                } else if !is("isMeta")
                    && !["[Request interrupted", "<local-command-std", "<bash-std"]
                        .iter()
                        .any(|begin| said.starts_with(begin))
                {
                    counted.turns += 1;
                    counted.heads += 1;
                }
            }
            "assistant" => {
                let answer = message["id"].as_str().unwrap().to_owned();
                let is_synthetic = message["model"] == "<synthetic>";
                if answers.insert(answer.clone()) {
                    counted.messages += 1;
                    counted.calls += u64::from(!is_synthetic || is("isApiErrorMessage"));
                    counted.failed_calls += u64::from(is("isApiErrorMessage"));
                }
                if !is_synthetic {
                    let amount = |name: &str| message["usage"][name].as_u64().unwrap();
                    used.insert(answer, (amount("input_tokens"), amount("output_tokens")));
                }
                counted.evals += u64::from(content[0]["type"] == "tool_use");
            }
            _ => {}
        }
    }
    counted.input = used.values().map(|(input, _)| input).sum();
    counted.output = used.values().map(|(_, output)| output).sum();
    counted
}

fn as_imported(place: &Place, imported: &headwater::exchange::Imported) -> Counted {
    let (mut calls, mut failed_evals) = (BTreeMap::new(), 0);
    for event in place.store.events(&imported.session).unwrap() {
        match event.body {
            Body::CallStarted(row) | Body::CallPut(row) => drop(calls.insert(row.call, row)),
            Body::EvalAdded(row) => failed_evals += u64::from(row.status.as_str() == "error"),
            _ => {}
        }
    }
    Counted {
        turns: imported.turns,
        messages: imported.messages,
        calls: imported.calls,
        evals: imported.evals,
        failed_calls: calls.values().filter(|call| call.status.as_str() == "error").count() as u64,
        failed_evals,
        heads: imported.heads,
        input: calls.values().filter_map(|call| call.tokens_input).sum(),
        output: calls.values().filter_map(|call| call.tokens_output).sum(),
    }
}

#[test]
fn commands_of_the_user_and_what_came_of_them() {
    let place = Place::new();
    let mut log = Log::new("commands");
    log.add("user", json!({ "isMeta": true, "message": { "content": "Caveat: …" } }));
    log.user("<command-name>/model</command-name>\n<command-args></command-args>");
    log.user("<local-command-stdout>Set model</local-command-stdout>");
    log.user("<bash-input>ls</bash-input>");
    log.user("<bash-stdout>a</bash-stdout><bash-stderr></bash-stderr>");
    log.user("<command-message>review is running…</command-message>\n<command-name>/review</command-name>");
    log.add("user", json!({ "isMeta": true, "message": { "content": [{ "type": "text", "text": "Review it." }] } }));
    log.say("m1", "It is good.");
    log.add(
        "user",
        json!({ "message": { "content": [{ "type": "text", "text": "[Request interrupted by user for tool use]" }] } }),
    );
    log.user("[Requesting a boat]");
    let imported = place.import(&log.text);
    assert_eq!((imported.turns, imported.messages, imported.calls), (4, 10, 1));
    assert_eq!(place.turns(&imported.session), ["unfinished", "unfinished", "aborted", "unfinished"]);
    assert_eq!(place.export(&imported.session), log.text);
}

#[test]
fn an_answer_behind_an_interruption_goes_on_with_the_turn() {
    let place = Place::new();
    let mut log = Log::new("goes-on");
    log.user("count");
    log.ask("m1", "t1", "Bash", json!({}));
    log.result(
        "t1",
        json!("The user doesn't want to proceed with this tool use."),
        true,
        json!("User rejected tool use"),
    );
    let stopped = log.user("[Request interrupted by user for tool use]");
    let first = place.import(&log.text);
    assert_eq!((first.turns, place.turns(&first.session)), (1, vec!["aborted".to_owned()]));
    log.last = Some(stopped);
    log.say("m2", "I go on.");
    let grown = place.import(&log.text);
    assert_eq!((grown.turns, place.turns(&grown.session)), (1, vec!["final".to_owned()]));
    assert_eq!(place.export(&grown.session), log.text);
}

#[test]
fn the_title_that_the_user_gave_is_the_sessions() {
    let place = Place::new();
    let mut log = Log::new("title");
    log.user("go");
    for title in ["Boats", "Boats and bridges"] {
        log.text += &format!("{}\n", json!({ "type": "custom-title", "customTitle": title, "sessionId": "title" }));
    }
    let imported = place.import(&log.text);
    assert_eq!(place.store.session(&imported.session).unwrap().title.as_deref(), Some("Boats and bridges"));
    assert_eq!(place.export(&imported.session), log.text);
}

/// After going back, what the program writes first has the place that was gone back to as its parent, and the input has that.
#[test]
fn an_input_behind_a_record_of_the_program_is_another_try_too() {
    let mut log = Log::new("rewound");
    log.user("one");
    let one = log.say("m1", "done one");
    log.user("two");
    log.say("m2", "done two");
    log.last = Some(one);
    log.add("attachment", json!({ "attachment": { "type": "hook_success" } }));
    log.add("system", json!({ "subtype": "local_command", "content": "/rewind" }));
    let cut = log.text.len();
    log.user("two, again");
    log.say("m3", "done two, again");
    for at in [None, Some(cut)] {
        let place = Place::new();
        at.map(|at| place.import(&log.text[..at]));
        let imported = place.import(&log.text);
        let said: Vec<String> = place.said(&imported.session).into_iter().map(|(_, said)| said).collect();
        assert_eq!(said, ["one", "done one", "two, again", "done two, again"]);
        assert_eq!((imported.turns, imported.calls), (3, 3));
        assert_eq!(place.export(&imported.session), log.text);
    }
}

/// The call of an agent in the background comes back at once; what became of it is told later, in the queue or as a message.
#[test]
fn an_agent_in_the_background_comes_back_with_its_notice() {
    let place = Place::new();
    let notice = |agent: &str, status: &str| {
        format!(
            "<task-notification>\n<task-id>{agent}</task-id>\n<status>{status}</status>\n<summary>Agent {status}</summary>\n\
            <result>It was {status}.</result>\n</task-notification>"
        )
    };
    let mut log = Log::new("away");
    let first = log.user("send three");
    for agent in ["a1", "a2", "a3", "a4"] {
        log.ask(
            &format!("m-{agent}"),
            &format!("t-{agent}"),
            "Agent",
            json!({ "prompt": agent, "run_in_background": true }),
        );
        let beside = json!({ "isAsync": true, "status": "async_launched", "agentId": agent });
        log.result(&format!("t-{agent}"), json!("Async agent launched successfully."), false, beside);
    }
    let cut = log.text.len();
    log.user(&notice("a1", "completed"));
    let queued = json!({ "type": "queue-operation", "operation": "enqueue", "sessionId": "away", "content": notice("a2", "failed") });
    log.text += &format!("{queued}\n");
    log.user(&notice("a2", "completed"));
    log.user(&notice("nobody", "completed"));
    log.user(&notice("a3", "killed"));
    for at in [None, Some(cut)] {
        let place = Place::new();
        at.map(|at| place.import(&log.text[..at]));
        let imported = place.import(&log.text);
        assert_eq!((imported.turns, imported.invocations), (1, 4));
        let rows = place.store.view(&imported.session).unwrap().rows;
        let ends: Vec<_> = rows
            .invocations
            .iter()
            .map(|entry| (entry.row.status.to_string(), place.text(entry.row.final_value.or(entry.row.error))))
            .collect();
        let end = |status: &str, said: &str| (status.to_owned(), said.to_owned());
        assert_eq!(
            ends,
            [
                end("ok", "It was completed."),
                end("error", "It was failed."),
                end("aborted", "It was killed."),
                end("ok", "Async agent launched successfully.")
            ]
        );
        assert_eq!(place.export(&imported.session), log.text);
    }
    // One that was launched on a branch that was left has no edge here to be told of.
    log.last = Some(first);
    log.user("another try");
    log.last = None;
    log.user("from the beginning");
    log.user(&notice("a4", "completed"));
    let imported = place.import(&log.text);
    assert_eq!(place.store.view(&imported.session).unwrap().rows.invocations.len(), 0);
    assert_eq!(place.export(&imported.session), log.text);
}

/// Files of subagents beside their callers are imported first, whatever their names are.
#[test]
fn a_caller_comes_behind_its_subagents() {
    let place = Place::new();
    let mut log = Log::new("0-main");
    log.user("send one");
    log.ask("m1", "t1", "Task", json!({ "description": "look", "prompt": "Look." }));
    log.result("t1", json!("Nothing."), false, json!({ "agentId": "a1", "status": "completed" }));
    let mut agent = Log { agent: Some("a1"), ..Log::new("0-main") };
    agent.user("Look.");
    agent.say("s1", "Nothing.");
    place.file("p/0-main.jsonl", log.text.as_bytes());
    // It asked another one in turn, whose name comes after its own.
    agent.ask("s2", "t2", "Task", json!({ "prompt": "Look there." }));
    let mut last = Log { agent: Some("a2"), count: 3, ..Log::new("0-main") };
    last.user("Look there.");
    last.say("u1", "Nothing there.");
    agent.count = 9;
    agent.result("t2", json!("Nothing there."), false, json!({ "agentId": "a2" }));
    place.file("p/agent-a1.jsonl", agent.text.as_bytes());
    place.file("p/agent-a2.jsonl", last.text.as_bytes());
    let imported = place.import_all();
    let names: Vec<&str> = imported.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(names, ["0-main.agent-a2", "0-main.agent-a1", "0-main"]);
    let rows = place.store.view(&id("0-main.agent-a1")).unwrap().rows;
    let heads = place.store.heads(&id("0-main.agent-a2")).unwrap();
    let edge = &rows.invocations[0].row;
    assert_eq!((edge.callee_before, edge.callee_after), (Some(heads[0].head), Some(heads[1].head)));
    let rows = place.store.view(&id("0-main")).unwrap().rows;
    let heads = place.store.heads(&id("0-main.agent-a1")).unwrap();
    let edge = &rows.invocations[0].row;
    assert_eq!((edge.callee_before, edge.callee_after), (Some(heads[0].head), Some(heads[1].head)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever the program writes between them: turns, calls, tools, errors and what was used are those of the lines.
    #[test]
    fn any_home_is_counted_as_its_lines_say(picks in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..60), cut in 0_usize..80) {
        let mut log = Log::new("home");
        let mut tools: Vec<String> = Vec::new();
        log.user("begin");
        for (number, (kind, more)) in picks.iter().enumerate() {
            let (answer, tool) = (format!("m{number}"), format!("t{number}"));
            match kind % 9 {
                0 => { tools.clear(); log.user(&format!("input {number}")); }
                1 => { log.user("[Request interrupted by user]"); }
                2 => { tools.clear(); log.user("<command-name>/clear</command-name>"); log.user("<local-command-stdout>(no content)</local-command-stdout>"); }
                3 => { log.add("user", json!({ "isMeta": true, "message": { "role": "user", "content": "reminder" } })); }
                // An answer that is written again and again as it grows.
                4 => for part in 0..=u64::from(more % 4) {
                    log.part(&answer, json!({ "type": "text", "text": format!("part {part}") }), 10 * (part + 1));
                },
                5 => { log.ask(&answer, &tool, "Bash", json!({ "command": number })); tools.push(tool); }
                6 => if let Some(tool) = tools.pop() { log.result(&tool, json!("output"), more % 3 == 0, Value::Null); },
                7 => {
                    let is_error = more % 2 == 0;
                    let usage = json!({ "input_tokens": 0, "output_tokens": 0 });
                    let text = if is_error { "API Error: 529 overloaded" } else { "No response requested." };
                    log.add("assistant", json!({ "isApiErrorMessage": is_error, "message": { "id": answer, "model": "<synthetic>",
                        "content": [{ "type": "text", "text": text }], "usage": usage } }));
                }
                _ => told(&mut log, *more),
            }
        }
        let place = Place::new();
        let imported = place.import(&log.text);
        prop_assert_eq!(as_imported(&place, &imported), counted(&log.text));
        prop_assert_eq!(place.export(&imported.session), log.text.as_str());
        prop_assert_eq!(imported.diagnostics.len(), 0);

        let parts = Place::new();
        let part: String = log.text.split_inclusive('\n').take(cut + 1).collect();
        parts.import(&part);
        let grown = parts.import(&log.text);
        let (parts, whole) = (as_imported(&parts, &grown), as_imported(&place, &imported));
        // A tool at work at the cut has an eval for that, and one with its result.
        let again = grown.diagnostics.iter().filter(|odd| odd.kind == "late-result").count() as u64;
        prop_assert_eq!((parts.turns, parts.calls, parts.evals - again, parts.input), (whole.turns, whole.calls, whole.evals, whole.input));
    }
}

#[test]
fn a_tool_before_the_first_input_is_unfinished_too() {
    for is_compacted in [false, true] {
        let place = Place::new();
        let mut log = Log::new("before");
        log.ask("m1", "t1", "Bash", json!({ "command": "ls" }));
        if is_compacted {
            log.add("user", json!({ "isCompactSummary": true, "message": { "content": "In short." } }));
        }
        let imported = place.import(&log.text);
        assert_eq!(
            place.evals(&imported.session).into_iter().map(|(_, status, _)| status).collect::<Vec<_>>(),
            ["unfinished"]
        );
        assert_eq!(place.import(&log.text).new_events, 0);
        assert_eq!(place.export(&imported.session), log.text);
    }
}

#[test]
fn a_row_that_is_there_twice_within_an_answer_is_said_once() {
    let mut log = Log::new("twice");
    log.user("one");
    log.part("m1", json!({ "type": "text", "text": "first" }), 3);
    log.ask("m1", "t1", "Bash", json!({ "command": "ls" }));
    let lines: Vec<String> = log.text.lines().map(str::to_owned).collect();
    // The rows of the answer again, also behind the next one's first; and a row of an older answer amidst a newer one.
    log.text += &format!("{}\n{}\n", lines[1], lines[2]);
    log.result("t1", json!("a list"), false, Value::Null);
    log.part("m2", json!({ "type": "text", "text": "second" }), 5);
    log.text += &format!("{}\n", lines[1]);
    log.part("m2", json!({ "type": "text", "text": "and more" }), 8);
    let place = Place::new();
    let imported = place.import(&log.text);
    assert_eq!(kinds(&imported), [(4, "repeated-id"), (5, "repeated-id"), (8, "repeated-id")]);
    let said: Vec<String> = place.said(&imported.session).into_iter().map(|(_, text)| text).collect();
    let both = r#"[{"text":"second","type":"text"},{"text":"and more","type":"text"}]"#;
    assert_eq!(said, ["one", "first", "a list", both]);
    assert_eq!((imported.messages, imported.calls, imported.evals), (4, 2, 1));
    assert_eq!(place.export(&imported.session), log.text);
}

/// A session that has only begun may have records that do not name it: the name of its file does.
#[test]
fn a_file_that_has_only_begun_is_the_session_that_it_is_named_after() {
    const ID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let first = json!({ "type": "file-history-snapshot", "messageId": "x", "snapshot": {}, "isSnapshotUpdate": false });
    let mut log = Log::new(ID);
    log.user("one");
    log.say("m1", "done");
    let (begun, whole) = (format!("{first}\n"), format!("{first}\n{}", log.text));
    for name in [ID, "by-hand"] {
        let place = Place::new();
        let path = place.file(&format!("p/{name}.jsonl"), begun.as_bytes());
        exchange::import(&place.store, &path).unwrap();
        place.file(&format!("p/{name}.jsonl"), whole.as_bytes());
        let grown = exchange::import(&place.store, &path).unwrap();
        assert_eq!(grown.session.as_str(), ID);
        assert_eq!(place.export(&grown.session), whole);
        // What no name tells of is another session.
        assert_eq!(place.store.sessions().unwrap().len(), if name == ID { 1 } else { 2 });
    }
}

#[test]
fn a_file_may_begin_with_a_record_of_any_type() {
    let mut log = Log::new("from-afar");
    log.user("one");
    log.say("m1", "done");
    let first =
        json!({ "type": "teleported-from", "remoteSessionId": "session_01", "branch": "main", "messageCount": 2 });
    let place = Place::new();
    let text = format!("{first}\n{}", log.text);
    let imported = place.import(&text);
    assert_eq!(
        (imported.session.as_str(), imported.format, imported.turns, imported.calls),
        ("from-afar", "claude-code", 1, 1)
    );
    assert_eq!(place.export(&imported.session), text);
    let notes = place.store.events(&imported.session).unwrap();
    assert!(notes.iter().any(|event| event.body.kind() == "claude-code/teleported-from"));
    // Alone, it is no log.
    let path = place.file("p/alone.jsonl", format!("{first}\n{{\"type\":\"user\",\"message\":\"x\"}}\n").as_bytes());
    assert!(exchange::import(&place.store, &path).is_err());
}

/// The records of one answer may be written behind the results of its tools.
#[test]
fn a_result_that_stands_before_its_tool_is_the_tools() {
    let mut log = Log::new("early");
    log.user("one");
    log.say("m1", "I look.");
    log.result("t1", json!("all of it"), false, Value::Null);
    log.ask("m1", "t1", "Read", json!({ "path": "a" }));
    log.result("t2", json!("it failed"), true, json!({ "agentId": "a7" }));
    log.ask("m2", "t2", "Task", json!({ "description": "look", "prompt": "Look." }));
    log.result("t9", json!("nobody's"), false, Value::Null);
    log.user("two");
    let check = |place: &Place, imported: &headwater::exchange::Imported, cut: usize| {
        assert_eq!((imported.turns, imported.calls, imported.evals, imported.invocations), (2, 2, 3, 1), "{cut}");
        let evals: Vec<_> = place.store.view(&imported.session).unwrap().rows.evals;
        let told: Vec<_> = evals
            .iter()
            .map(|entry| {
                (
                    entry.row.name.as_deref(),
                    entry.row.status.as_str(),
                    entry.row.code.is_some(),
                    entry.row.call.is_some(),
                )
            })
            .collect();
        let is = |name, status| (Some(name), status, true, true);
        assert_eq!(told, [is("Read", "ok"), is("Task", "error"), (None, "ok", false, false)], "{cut}");
        let edges = place.store.view(&imported.session).unwrap().rows.invocations;
        assert_eq!(edges.iter().map(|entry| entry.row.status.as_str()).collect::<Vec<_>>(), ["error"], "{cut}");
        assert_eq!(place.export(&imported.session), log.text);
    };
    let place = Place::new();
    check(&place, &place.import(&log.text), 0);
    for cut in 1..log.text.lines().count() {
        let place = Place::new();
        place.import(&log.text.split_inclusive('\n').take(cut).collect::<String>());
        check(&place, &place.import(&log.text), cut);
    }
}

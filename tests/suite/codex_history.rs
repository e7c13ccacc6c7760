//! What became of a Codex thread besides its turns: turns taken back, compactions, forks made in the middle of a turn. Each is
//! counted from the lines of the file, and compared with what the store says.

use headwater::model::HeadKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::codex::{Place, rollout, turn};

type Row = (&'static str, Value);

fn rolled_back(turns: u64) -> Row {
    ("event_msg", json!({"type": "thread_rolled_back", "num_turns": turns}))
}

fn compacted(said: &str) -> Row {
    let history = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}]);
    ("compacted", json!({"message": said, "replacement_history": history}))
}

/// What the lines say, by the rules of docs/IMPORT.md alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    turns: u64,
    heads: u64,
    calls: u64,
    input: u64,
    /// The messages that the thread goes on from.
    said: Vec<String>,
}

fn counted(text: &str) -> Counted {
    let mut counted = Counted { heads: 1, ..Counted::default() };
    // Each turn's messages; what stands before the first is not taken back.
    let mut stack: Vec<Vec<String>> = vec![Vec::new()];
    let mut total = Value::Null;
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let payload = &row["payload"];
        let mut say = |said: &Value| stack.last_mut().unwrap().push(said.as_str().unwrap().to_owned());
        match (row["type"].as_str().unwrap(), payload["type"].as_str().unwrap_or_default()) {
            ("response_item", "message") => {
                if payload["role"] == "user" {
                    counted.turns += 1;
                    counted.heads += 1;
                    stack.push(Vec::new());
                }
                stack.last_mut().unwrap().push(payload["content"][0]["text"].as_str().unwrap().to_owned());
            }
            ("response_item", "function_call_output") => say(&payload["output"]),
            ("compacted", _) => {
                counted.heads += 1;
                say(&payload["message"]);
            }
            ("event_msg", "token_count") if payload["info"]["total_token_usage"] != total => {
                total = payload["info"]["total_token_usage"].clone();
                counted.calls += 1;
                counted.input += payload["info"]["last_token_usage"]["input_tokens"].as_u64().unwrap();
            }
            ("event_msg", "thread_rolled_back") => {
                counted.heads += 1;
                let turns = payload["num_turns"].as_u64().unwrap() as usize;
                stack.truncate(stack.len().saturating_sub(turns).max(1));
            }
            _ => {}
        }
    }
    counted.said = stack.concat();
    counted
}

fn as_imported(place: &Place, imported: &headwater::exchange::Imported) -> Counted {
    Counted {
        turns: imported.turns,
        heads: imported.heads,
        calls: imported.calls,
        input: place.usage(&imported.session)[0],
        said: place.said(&imported.session).into_iter().map(|(_, said)| said).collect(),
    }
}

#[test]
fn turns_that_were_taken_back_are_a_branch_that_was_left() {
    let mut records: Vec<Row> = (1..=3).flat_map(turn).collect();
    records.push(rolled_back(2));
    records.extend(turn(4));
    records.push(rolled_back(1));
    records.extend(turn(5));
    let text = rollout("back", &json!({}), 0, &records);
    let place = Place::new();
    let imported = place.import(&text);
    assert_eq!(as_imported(&place, &imported), counted(&text));
    let said = |records: &[u64]| -> Vec<String> {
        let of = |n: &u64| {
            [
                format!("Question {n}, a long one: what is the tide at the pier?"),
                "low".to_owned(),
                format!("Answer {n}."),
            ]
        };
        records.iter().flat_map(of).collect()
    };
    assert_eq!(counted(&text).said, said(&[1, 5]));
    // Both branches stand on the head behind the first turn, and what was called there is counted once.
    let heads = place.store.heads(&imported.session).unwrap();
    let kinds: Vec<Option<u64>> = heads.iter().map(|head| head.turn.map(|turn| turn.0)).collect();
    assert_eq!(kinds, [None, Some(1), Some(2), Some(3), None, Some(4), None, Some(5)]);
    assert_eq!([heads[2].basis, heads[4].basis], [Some(heads[1].head); 2]);
    assert_eq!(
        (heads[5].basis, heads[6].basis, heads[7].basis),
        (Some(heads[4].head), Some(heads[4].head), Some(heads[6].head))
    );
    assert_eq!(place.usage(&imported.session), [1000, 20, 10, 0, 10]);
    assert_eq!(place.export(&imported.session), text);
    assert_eq!(place.import(&text).new_events, 0);
}

#[test]
fn more_turns_than_there_were_are_taken_back_to_the_beginning_and_none_is_no_change() {
    let mut records = turn(1);
    records.extend([rolled_back(0), ("event_msg", json!({"type": "thread_rolled_back"})), rolled_back(4_000_000_000)]);
    let text = rollout("all", &json!({}), 0, &records);
    let place = Place::new();
    let imported = place.import(&text);
    assert_eq!((imported.turns, imported.heads), (1, 3));
    assert_eq!(place.said(&imported.session), []);
    let heads = place.store.heads(&imported.session).unwrap();
    assert_eq!(heads[2].basis, Some(heads[0].head));
    assert_eq!(place.store.session(&imported.session).unwrap().current_head, Some(heads[2].head));
    assert_eq!(place.annotations(&imported.session), ["codex/thread_rolled_back"; 3]);
    assert_eq!(place.export(&imported.session), text);
}

#[test]
fn what_was_called_in_a_turn_that_was_taken_back_may_end_later() {
    let spawn = |child: &str| {
        (
            "event_msg",
            json!({"type": "collab_agent_spawn_end", "call_id": child, "new_thread_id": child, "prompt": "Go."}),
        )
    };
    let closed = |child: &str| {
        (
            "event_msg",
            json!({"type": "collab_close_end", "receiver_thread_id": child, "status": {"completed": "Gone."}}),
        )
    };
    let mut records = turn(1);
    records.insert(6, spawn("early"));
    let mut second = turn(2);
    second.insert(6, spawn("late"));
    records.extend(second);
    records.push(rolled_back(1));
    records.extend([closed("early"), closed("late")]);
    records.extend(turn(3));
    let text = rollout("agents", &json!({}), 0, &records);
    let place = Place::new();
    let imported = place.import(&text);
    assert_eq!((imported.invocations, imported.turns), (2, 3));
    let rows = place.store.view(&imported.session).unwrap().rows;
    let seen: Vec<_> = rows
        .invocations
        .iter()
        .map(|entry| (entry.row.callee.clone().unwrap(), entry.row.status.to_string()))
        .collect();
    assert_eq!(seen, [("early".parse().unwrap(), "ok".to_owned())]);
    assert_eq!(place.export(&imported.session), text);
}

/// A thread: turns, compactions between them, and turns taken back.
fn threads() -> impl Strategy<Value = Vec<(u8, u64)>> {
    prop::collection::vec((0..8_u8, 1..4_u64), 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 200 }))]

    /// Whatever is taken back and compacted, wherever the file was cut when it was imported first: the thread goes on from
    /// what its lines leave, every call is counted once, and the file comes back.
    #[test]
    fn any_thread_goes_on_from_what_its_lines_leave(picks in threads(), cut in any::<prop::sample::Index>()) {
        let mut records = Vec::new();
        for (number, (kind, amount)) in (1..).zip(&picks) {
            match kind {
                0 | 1 => records.push(rolled_back(*amount)),
                2 => records.push(compacted(&format!("In short, {number}."))),
                _ => records.extend(turn(number)),
            }
        }
        let text = rollout("any", &json!({}), 0, &records);
        let place = Place::new();
        let imported = place.import(&text);
        let mut expected = counted(&text);
        // What stands before the first turn alone, or behind a compaction, has a head of its own.
        let extra = imported.heads - expected.heads;
        prop_assert!(extra <= 1, "{} of {}", imported.heads, expected.heads);
        expected.heads += extra;
        prop_assert_eq!(as_imported(&place, &imported), expected);
        prop_assert_eq!(place.export(&imported.session), text.as_str());
        prop_assert_eq!(place.import(&text).new_events, 0);

        let parts = Place::new();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let at: usize = lines[..1 + cut.index(lines.len())].iter().map(|line| line.len()).sum();
        parts.import(&text[..at]);
        let grown = parts.import(&text);
        prop_assert_eq!(parts.export(&grown.session), text.as_str());
        prop_assert_eq!(parts.said(&grown.session), place.said(&imported.session));
        prop_assert_eq!(parts.usage(&grown.session), place.usage(&imported.session));
        prop_assert_eq!((grown.turns, grown.calls), (imported.turns, imported.calls));
        let issues = headwater::care::check(parts.store.root(), headwater::care::Mode::Deep).unwrap().issues;
        prop_assert_eq!(issues, []);
        let compactions = parts.store.heads(&grown.session).unwrap();
        let compactions = compactions.iter().filter(|head| head.kind == HeadKind::Compaction).count();
        prop_assert_eq!(compactions, picks.iter().filter(|(kind, _)| *kind == 2).count());
    }
}

/// An agent that is called three times, each time for one turn.
#[test]
fn each_call_of_an_agent_leads_to_the_turn_that_it_made() {
    let mut boss = turn(1);
    let mut more = Vec::new();
    for number in 1..=3_u64 {
        let call = format!("s{number}");
        let (name, arguments) = match number {
            1 => ("spawn_agent", json!({"message": "Sound it."})),
            _ => ("send_input", json!({"id": "kid", "message": "Again."})),
        };
        more.push((
            "response_item",
            json!({"type": "function_call", "name": name, "call_id": call, "arguments": arguments.to_string()}),
        ));
        let output = json!({"agent_id": "kid"}).to_string();
        more.push(("response_item", json!({"type": "function_call_output", "call_id": call, "output": output})));
        // So long the agent works: a turn of it has ten records, a second each.
        more.extend((0..12).map(|_| ("event_msg", json!({"type": "background_event"}))));
        more.push((
            "event_msg",
            json!({"type": "collab_close_end", "receiver_thread_id": "kid", "status": {"completed": "Nine."}}),
        ));
    }
    boss.splice(6..6, more);
    // Its first record comes behind the seventh of its caller.
    let kid = rollout("kid", &json!({"source": {"subagent": {"thread_spawn": {"parent_thread_id": "boss"}}}}), 0, &[]);
    let kid = (1..=3)
        .flat_map(|number| {
            let start = 8 + (number - 1) * 15;
            turn(number)
                .into_iter()
                .zip(start..)
                .map(|((kind, payload), second)| super::codex::row(second, kind, &payload))
                .collect::<Vec<_>>()
        })
        .fold(kid, |text, line| text + &line);
    let place = Place::new();
    place.import(&kid);
    let imported = place.import(&rollout("boss", &json!({}), 0, &boss));
    assert_eq!(imported.invocations, 3);
    let heads: Vec<_> =
        place.store.heads(&"kid".parse().unwrap()).unwrap().iter().map(|head| Some(head.head)).collect();
    let rows = place.store.view(&imported.session).unwrap().rows;
    let edges: Vec<_> =
        rows.invocations.iter().map(|entry| (entry.row.callee_before, entry.row.callee_after)).collect();
    assert_eq!(edges, [(heads[0], heads[1]), (heads[1], heads[2]), (heads[2], heads[3])]);
}

fn message(role: &str, text: &str) -> Row {
    ("response_item", json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}))
}

#[test]
fn older_forks_say_whose_they_are_by_the_header_behind_their_own() {
    let parent: Vec<Row> = (1..=2).flat_map(turn).collect();
    // In the middle of the second turn it was broken off, as Codex marks it.
    let records: Vec<Row> = std::iter::once(("session_meta", json!({"id": "parent", "cwd": "/x"})))
        .chain(parent[..13].to_vec())
        .chain([message("user", "<turn_aborted>\nThe user interrupted.\n</turn_aborted>")])
        .chain([("event_msg", json!({"type": "turn_aborted", "reason": "interrupted"}))])
        .chain(turn(3))
        .collect();
    let (parent, fork) = (rollout("parent", &json!({}), 0, &parent), rollout("fork", &json!({}), 500, &records));
    let place = Place::new();
    let folder = place.folder.path().join("sessions");
    std::fs::create_dir_all(&folder).unwrap();
    // It sorts before its parent, and comes after it.
    std::fs::write(folder.join("rollout-a.jsonl"), &fork).unwrap();
    std::fs::write(folder.join("rollout-b.jsonl"), &parent).unwrap();
    let found = headwater::exchange::find(&folder).unwrap();
    let imported: Vec<_> =
        found.iter().flat_map(|one| one.import(&place.store, &mut |_| {})).map(Result::unwrap).collect();
    assert_eq!(imported.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["parent", "fork"]);
    let fork_of = &imported[1];
    assert_eq!(fork_of.forked_from, Some("parent".parse().unwrap()));
    let statuses: Vec<String> = place
        .store
        .view(&fork_of.session)
        .unwrap()
        .rows
        .turns
        .iter()
        .map(|entry| entry.row.status.to_string())
        .collect();
    assert_eq!(statuses, ["final", "aborted", "final"]);
    assert_eq!(place.usage(&"parent".parse().unwrap())[..2], [400, 8]);
    assert_eq!(place.usage(&fork_of.session)[..2], [200, 4]);
    assert_eq!(place.export(&fork_of.session), fork);
    assert!(found.iter().flat_map(|one| one.import(&place.store, &mut |_| {})).all(|one| one.unwrap().new_events == 0));

    // Whose header it has is not enough, where none of its records are that one's.
    let stranger = [("session_meta", json!({"id": "parent", "cwd": "/x"})), message("user", "Ahoy.")];
    let stranger = place.import(&rollout("stranger", &json!({}), 0, &stranger));
    assert_eq!((stranger.forked_from, stranger.turns), (None, 1));
}

#[test]
fn an_input_is_what_the_user_said() {
    let event = |text: &str| ("event_msg", json!({"type": "user_message", "message": text}));
    let image = (
        "response_item",
        json!({"type": "message", "role": "user", "content": [
        {"type": "input_text", "text": "<image name=[Image #1]>"}, {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_text", "text": "</image>"}, {"type": "input_text", "text": "What is it?"}]}),
    );
    let records = [
        message("developer", "<permissions instructions>…</permissions instructions>"),
        message("user", "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>…</INSTRUCTIONS>"),
        image,
        event("What is it?"),
        message("assistant", "A boat."),
        message("user", "Warning: apply_patch was requested via exec_command."),
        message("assistant", "I see."),
        // A user may write so.
        message("user", "Warning: the tide is out."),
        event("Warning: the tide is out."),
        message("assistant", "Thank you."),
        // A review is asked for by no message of the user's.
        ("event_msg", json!({"type": "entered_review_mode", "target": {"type": "uncommittedChanges"}})),
        message("user", "<user_action>\n<context>User initiated a review task.</context>\n</user_action>"),
        ("event_msg", json!({"type": "exited_review_mode", "review_output": null})),
    ];
    let place = Place::new();
    let text = rollout("inputs", &json!({}), 0, &records);
    let imported = place.import(&text);
    assert_eq!((imported.turns, imported.messages), (2, 9));
    let inputs: Vec<String> = place
        .store
        .view(&imported.session)
        .unwrap()
        .rows
        .turns
        .iter()
        .map(|entry| place.text(entry.row.input))
        .collect();
    assert!(inputs[0].contains("What is it?"));
    assert_eq!(inputs[1], "Warning: the tide is out.");
    assert_eq!(place.export(&imported.session), text);
}

/// What a `token_count` says, in each of the ways that versions have.
fn counts() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    prop::collection::vec((0..6_u8, 1..500_u64, 1..50_u64), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 200 }))]

    /// However often a total is told, with limits alone, without what the last call used, or begun anew: the calls used what
    /// the last one says of each, and no more.
    #[test]
    fn usage_is_counted_once(picks in counts(), has_last in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let (mut records, mut total, mut expected) = (vec![message("user", "Count.")], (0, 0), (0, 0, 0));
        let mut last = None;
        for (kind, input, output) in picks {
            let used = |(input, output): (u64, u64)| json!({"input_tokens": input, "cached_input_tokens": 0, "output_tokens": output, "total_tokens": input + output});
            let row = match kind {
                // Limits alone.
                0 => json!({"type": "token_count", "info": null, "rate_limits": {"primary": {"used_percent": input}}}),
                // The same again, with other limits.
                1 if last.is_some() => {
                    let mut again: Value = Option::clone(&last).unwrap();
                    again["rate_limits"] = json!({"primary": {"used_percent": input}});
                    again
                }
                _ => {
                    records.push(message("assistant", &format!("{input} and {output}")));
                    // A thread that was resumed may begin its total anew: with less than it had.
                    total = if kind == 2 && total.0 > input && total.1 > output { (input, output) } else { (total.0 + input, total.1 + output) };
                    expected = (expected.0 + input, expected.1 + output, expected.2 + 1);
                    let mut row = json!({"type": "token_count", "info": {"total_token_usage": used(total)}});
                    if has_last {
                        row["info"]["last_token_usage"] = used((input, output));
                    }
                    last = Some(row.clone());
                    row
                }
            };
            records.push(("event_msg", row));
        }
        let text = rollout("counts", &json!({}), 0, &records);
        let place = Place::new();
        let imported = place.import(&text);
        let [input, output, .., calls] = place.usage(&imported.session);
        prop_assert_eq!((input, output, calls, imported.calls), (expected.0, expected.1, expected.2, expected.2));
        let parts = Place::new();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        parts.import(&lines[..1 + cut.index(lines.len())].concat());
        let grown = parts.import(&text);
        prop_assert_eq!(parts.usage(&grown.session), place.usage(&imported.session));
    }
}

#[test]
fn a_tool_that_a_compaction_at_the_end_came_over_is_unfinished() {
    let ask = ("response_item", json!({"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "c1"}));
    let place = Place::new();
    let text = rollout("over", &json!({}), 0, &[ask, compacted("In short.")]);
    let imported = place.import(&text);
    let rows = place.store.view(&imported.session).unwrap().rows;
    assert_eq!(rows.evals.iter().map(|entry| entry.row.status.to_string()).collect::<Vec<_>>(), ["unfinished"]);
    assert_eq!(place.import(&text).new_events, 0);
    assert_eq!(place.export(&imported.session), text);
}

/// A tool of another program's ends with an event of its own, whose result says whether it failed; its output does not.
#[test]
fn how_a_tool_ended_is_what_its_event_says() {
    let ended = |end: Value, output: Value| {
        let mut end = end;
        end["call_id"] = json!("c1");
        [
            ("response_item", json!({"type": "function_call", "name": "find", "arguments": "{}", "call_id": "c1"})),
            ("event_msg", end),
            ("response_item", json!({"type": "function_call_output", "call_id": "c1", "output": output})),
        ]
    };
    let mcp = |result: Value| json!({"type": "mcp_tool_call_end", "result": result});
    let listed = json!("[{\"type\":\"text\",\"text\":\"no such thing\"}]");
    for (rows, status) in [
        (ended(mcp(json!({"Ok": {"content": [], "isError": true}})), listed.clone()), "error"),
        (ended(mcp(json!({"Ok": {"content": [], "isError": false}})), listed.clone()), "ok"),
        (ended(mcp(json!({"Ok": {"content": []}})), listed.clone()), "ok"),
        (ended(mcp(json!({"Err": "it timed out"})), listed.clone()), "error"),
        (ended(mcp(json!("odd")), listed.clone()), "ok"),
        (ended(json!({"type": "dynamic_tool_call_response", "success": false}), listed), "error"),
        (ended(json!({"type": "agent_reasoning"}), json!("exec command rejected by user")), "error"),
        (ended(json!({"type": "agent_reasoning"}), json!("Wall time: 3.1 seconds\naborted by user")), "aborted"),
    ] {
        let place = Place::new();
        let text = rollout("ended", &json!({}), 0, &rows);
        let imported = place.import(&text);
        let evals = place.store.view(&imported.session).unwrap().rows.evals;
        assert_eq!(evals.iter().map(|entry| entry.row.status.as_str()).collect::<Vec<_>>(), [status], "{text}");
        assert_eq!(place.export(&imported.session), text);
    }
}

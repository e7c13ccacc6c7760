//! Logs of Claude Code and Codex made to do harm, by hand or by a crash: what each thing in them becomes is in docs/IMPORT.md. Nothing
//! stops the rest of the file, and it is written again as it was.

use headwater::care::{Mode, check};
use headwater::exchange::{self, Imported};
use serde_json::{Value, json};

use super::claude::{Log, Place, id, kinds};

/// Imports the file whole, and in two parts wherever a line ends; gives the whole.
fn judge(name: &str, lines: &[Vec<u8>]) -> (Place, Imported) {
    let bytes = lines.concat();
    let place = Place::new();
    let written = |place: &Place, imported: &Imported| {
        let mut out = Vec::new();
        exchange::write_source(&place.store, &imported.session, &mut out).unwrap();
        out
    };
    let path = place.file(name, &bytes);
    let whole = exchange::import(&place.store, &path).unwrap();
    assert!(written(&place, &whole) == bytes, "{name} is written otherwise than it was read");
    assert_eq!(exchange::import(&place.store, &path).unwrap().new_events, 0);
    assert_eq!(check(place.store.root(), Mode::Deep).unwrap().issues, []);
    for at in (1..lines.len()).step_by(5) {
        let parts = Place::new();
        let path = parts.file(name, &lines[..at].concat());
        exchange::import(&parts.store, &path).unwrap();
        parts.file(name, &bytes);
        let grown = exchange::import(&parts.store, &path).unwrap();
        assert!(written(&parts, &grown) == bytes, "{name}, first up to line {at}");
        assert_eq!((grown.turns, grown.calls), (whole.turns, whole.calls), "{name}, first up to line {at}");
    }
    (place, whole)
}

fn deep(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// Lines that no format can read, and how they are told of.
fn no_records() -> (Vec<Vec<u8>>, [&'static str; 3]) {
    let lines =
        vec![b"{\"type\":\"x\",\"y\":\"\xff\xfe\"}\n".to_vec(), b"\0\0\0\n".to_vec(), b"{\"type\":\"user\n".to_vec()];
    (lines, ["bad-line"; 3])
}

fn told(imported: &Imported) -> Vec<&str> {
    kinds(imported).into_iter().map(|(_, kind)| kind).collect()
}

#[test]
fn a_log_of_claude_code_that_is_hostile_comes_in_and_goes_out() {
    let mut log = Log::new("hostile");
    let first = log.user("one \u{0} \u{1}m1\u{2} \u{202e}");
    // Ids: its own parent, a parent that comes later, one that nobody is, one that was there before.
    log.last = Some("2-hostile".to_owned());
    log.user("its own parent");
    log.last = Some("4-hostile".to_owned());
    log.user("a cycle");
    log.last = Some("3-hostile".to_owned());
    log.user("the other half of it");
    log.add("user", json!({ "uuid": first, "message": { "content": "the same id again" } }));
    // Clocks that run backwards, and are none.
    for at in ["1969-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "yesterday", ""] {
        log.add("user", json!({ "timestamp": at, "message": { "content": at } }));
    }
    // Tools with one id, results of nobody, agents by names that lead elsewhere or to itself.
    for (answer, agent) in [("m1", "../../etc"), ("m2", ""), ("m3", "hostile"), ("m4", "a\u{0}b")] {
        log.ask(answer, "t", "Task", json!({ "prompt": "again", "description": 7 }));
        log.result("t", json!([1, "x", null]), false, json!({ "agentId": agent }));
        log.result("t", json!({ "type": "text" }), true, json!([[[]]]));
    }
    let mut lines: Vec<Vec<u8>> = log.text.lines().map(|line| format!("{line}\n").into_bytes()).collect();
    let mut raw = |line: String| lines.push((line + "\n").into_bytes());
    let row = |fields: &str| format!(r#"{{"sessionId":"hostile","uuid":"u{}",{fields}}}"#, fields.len());
    // Amounts that are none, or beyond 64 bits.
    for usage in [
        r#"{"input_tokens":18446744073709551616,"output_tokens":-1,"cache_read_input_tokens":1.5}"#,
        r#"{"input_tokens":"7","output_tokens":[],"cache_read_input_tokens":9223372036854775808}"#,
        "7",
    ] {
        raw(row(&format!(
            r#""type":"assistant","costUSD":1e999,"message":{{"id":"u{}","model":7,"content":"x","usage":{usage}}}"#,
            usage.len()
        )));
    }
    // Fields twice, of another type, missing.
    raw(row(r#""type":"user","type":"user","message":{"content":"twice"}"#));
    raw(row(r#""type":"user","message":{"content":"a","content":"b"}"#));
    raw(row(r#""type":"user","message":[]"#));
    raw(row(r#""type":"assistant""#));
    raw(row(r#""type":"assistant","message":{"content":[1,"x",null,{"type":"tool_use"},{"type":"text"}]}"#));
    raw(row(r#""type":"user","message":{"content":[{"type":"tool_result"}]}"#));
    raw(row(r#""type":"user","isSidechain":"true","message":{"content":"\ud800 half"}"#));
    raw(row(r#""type":"system","subtype":"a\u0000b/../c""#));
    raw(r#"{"type":"import/source"}"#.to_owned());
    raw(r#"{"type":5}"#.to_owned());
    raw(row(&format!(r#""type":"user","message":{{"content":{}}}"#, deep(100_000))));
    raw(row(&format!(r#""type":"progress","data":{}"#, deep(100_000))));
    raw(row(&format!(
        r#""type":"assistant","message":{{"id":"deep","content":[{{"type":"tool_use","id":"d","name":"Bash","input":{}}}]}}"#,
        deep(100_000)
    )));
    let (more, bad) = no_records();
    lines.extend(more);
    lines.push(
        b"{\"type\":\"queue-operation\",\"operation\":\"a\"} {\"type\":\"queue-operation\",\"operation\":\"b\"}\n"
            .to_vec(),
    );
    let (_, imported) = judge("hostile.jsonl", &lines);
    let told = told(&imported);
    assert_eq!(told[..3], ["missing-parent", "missing-parent", "repeated-id"]);
    assert_eq!(told.iter().filter(|kind| **kind == "bad-line").count(), bad.len());
    assert_eq!(told.iter().filter(|kind| **kind == "bad-record").count(), 4, "{told:?}");
    assert_eq!(told.last(), Some(&"two-records"));
    assert_eq!((imported.invocations, imported.session), (4, id("hostile")));
}

#[test]
fn a_rollout_that_is_hostile_comes_in_and_goes_out() {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut count = 0;
    let mut raw = |line: String| lines.push((line + "\n").into_bytes());
    let mut row = |kind: &str, payload: &str| {
        count += 1;
        // Clocks that run backwards.
        format!(r#"{{"timestamp":"2026-03-01T10:00:{:02}.000Z","type":"{kind}","payload":{payload}}}"#, 59 - count % 60)
    };
    raw(row(
        "session_meta",
        r#"{"id":"hostile","forked_from_id":"hostile","source":{"subagent":{"thread_spawn":{"parent_thread_id":"hostile"}}}}"#,
    ));
    raw(row("session_meta", r#"{"id":"../../etc","model_provider":"a\u0000b"}"#));
    let say = |role: &str, text: &str| json!({"type": "message", "role": role, "content": text}).to_string();
    raw(row("response_item", &say("user", "one \u{0} \u{1}m1\u{2} \u{202e}")));
    raw(row("response_item", &say("", "nobody")));
    raw(row("response_item", r#"{"type":"message","role":"user","content":"\ud800 half"}"#));
    raw(row("response_item", r#"{"type":"message","role":7,"content":[1,null,{"type":"input_text"}]}"#));
    for call in ["c", "c", ""] {
        raw(row("response_item", &json!({"type": "function_call", "name": "spawn_agent", "call_id": call, "arguments": "{\"agent_type\":7}"}).to_string()));
    }
    for child in ["hostile", "../..", "", "a\u{0}b"] {
        raw(row(
            "event_msg",
            &json!({"type": "collab_agent_spawn_end", "call_id": "c", "new_thread_id": child}).to_string(),
        ));
        raw(row(
            "event_msg",
            &json!({"type": "collab_close_end", "receiver_thread_id": child, "status": {"completed": 7}}).to_string(),
        ));
    }
    for output in ["\"{\\\"agent_id\\\":\\\"hostile\\\"}\"", "[1,null]", "{\"success\":7}", "null"] {
        raw(row("response_item", &format!(r#"{{"type":"function_call_output","call_id":"c","output":{output}}}"#)));
    }
    for usage in [
        r#"{"input_tokens":18446744073709551616,"output_tokens":-1}"#,
        r#"{"input_tokens":9223372036854775808,"output_tokens":1.5,"cached_input_tokens":"7"}"#,
        r#"{"input_tokens":7,"output_tokens":[]}"#,
        "7",
        "null",
    ] {
        raw(row("event_msg", &format!(r#"{{"type":"token_count","info":{{"last_token_usage":{usage}}}}}"#)));
        raw(row("event_msg", &format!(r#"{{"type":"token_count","info":{{"total_token_usage":{usage}}}}}"#)));
    }
    for turns in ["-1", "1e3", "18446744073709551616", "\"2\"", "4294967295"] {
        raw(row("event_msg", &format!(r#"{{"type":"thread_rolled_back","num_turns":{turns}}}"#)));
    }
    raw(row("response_item", &say("user", "two")));
    raw(row("response_item", r#"{"type":"message","type":"message"}"#));
    raw(row("response_item", "null"));
    raw(row("event_msg", "[]"));
    raw(row("compacted", "7"));
    raw(row("turn_context", r#"{"model":["x"]}"#));
    raw(row("import/source", "{}"));
    raw(r#"{"type":"compacted","type":"compacted","payload":{}}"#.to_owned());
    raw(r#"{"timestamp":"yesterday","payload":{}}"#.to_owned());
    let nested = deep(100_000);
    raw(row("response_item", &format!(r#"{{"type":"message","role":"user","content":{nested}}}"#)));
    raw(row("response_item", &format!(r#"{{"type":"function_call","call_id":"d","name":"x","arguments":{nested}}}"#)));
    raw(row("event_msg", &format!(r#"{{"type":"token_count","info":{nested}}}"#)));
    raw(row("turn_context", &nested));
    let (more, bad) = no_records();
    lines.extend(more);
    lines.push(
        b"{\"timestamp\":\"\",\"type\":\"event_msg\",\"payload\":{}} {\"type\":\"event_msg\",\"payload\":{}}\n"
            .to_vec(),
    );
    let (place, imported) = judge("rollout.jsonl", &lines);
    let told = told(&imported);
    assert_eq!(told.iter().filter(|kind| **kind == "bad-line").count(), bad.len(), "{told:?}");
    assert_eq!(told.iter().filter(|kind| **kind == "bad-record").count(), 3, "{told:?}");
    assert_eq!(told.last(), Some(&"two-records"));
    assert_eq!((imported.forked_from, &imported.session), (None, &id("hostile")));
    // Of all these amounts one is an input that can be kept, told as a call's and as a total.
    let sum: u64 = place
        .store
        .events(&imported.session)
        .unwrap()
        .into_iter()
        .filter_map(|event| match event.body {
            headwater::model::Body::CallStarted(row) | headwater::model::Body::CallPut(row) => row.tokens_input,
            _ => None,
        })
        .max()
        .unwrap();
    assert_eq!(sum, 7);
}

/// Forks of each other, and of themselves: each is a session, whatever comes first.
#[test]
fn sessions_that_are_each_others_parents_come_in() {
    let place = Place::new();
    let meta = |id: &str, of: &str| json!({"timestamp": "2026-03-01T10:00:00Z", "type": "session_meta", "payload": {"id": id, "forked_from_id": of}});
    for (one, other) in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")] {
        place.file(&format!("rollout-{one}.jsonl"), format!("{}\n", meta(one, other)).as_bytes());
    }
    let row = |session: &str, of: &str| json!({"type": "user", "sessionId": session, "uuid": session, "forkedFrom": {"sessionId": of}, "message": {"content": "x"}});
    for (one, other) in [("e", "f"), ("f", "e"), ("g", "g")] {
        place.file(&format!("{one}.jsonl"), format!("{}\n", row(one, other)).as_bytes());
    }
    assert_eq!(place.import_all().len(), 7);
    assert!(place.import_all().iter().all(|one| one.new_events == 0));
    assert_eq!(check(place.store.root(), Mode::Deep).unwrap().issues, []);
}

/// What an older version wrote of a subagent between the records of its caller is two sessions', and its texts are kept once.
#[test]
fn a_sidechain_is_kept_once() {
    let text = |number: u64| -> String {
        // Nothing in it repeats, so that no packing hides a second copy.
        (0..60_u64)
            .map(|at| {
                format!(
                    "{:016x}",
                    (number * 1000 + at)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(17)
                        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
                )
            })
            .collect()
    };
    let mut log = Log::new("main");
    log.user("send one");
    let asked = log.ask("m1", "t1", "Task", json!({ "prompt": "Go." }));
    let mut side = Log { agent: Some(""), count: 2, ..Log::new("main") };
    side.user("Go.");
    for number in 0..100 {
        side.ask(&format!("s{number}"), &format!("u{number}"), "Bash", json!({ "command": number }));
        side.result(&format!("u{number}"), json!(text(number)), false, Value::Null);
    }
    let side = side.text.replace("\"agentId\":\"\",", "");
    log.text += &side;
    (log.last, log.count) = (Some(asked), 900);
    log.result("t1", json!("Gone."), false, Value::Null);
    let place = Place::new();
    place.file("main.jsonl", log.text.as_bytes());
    let imported = place.import_all();
    assert_eq!(imported.len(), 2);
    assert_eq!(place.export(&id("main")), log.text);
    assert_eq!(place.export(&imported[0].session), side);
    let kept: u64 = place
        .store
        .events(&id("main"))
        .unwrap()
        .iter()
        .filter_map(|event| match &event.body {
            headwater::model::Body::Annotation(row) if row.kind.as_str() == "import/source" => row.payload,
            _ => None,
        })
        .map(|payload| place.store.blobs().get(&payload).unwrap().len() as u64)
        .sum();
    assert!(kept < log.text.len() as u64 * 45 / 100, "{kept} of {}", log.text.len());
}

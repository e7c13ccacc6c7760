//! The built-in scripts do what their names say: not only in words, but in the rows.

use serde_json::Value;

use crate::{Home, is_head, items};

/// A home in which `script` was played into a session of its name.
fn played(script: &str) -> Home {
    let home = Home::new();
    home.run(&["run", "the task", "--script", script, "--name", script]);
    home
}

/// The rows of `kind` that have `value` at `key`.
fn rows(all: &Value, kind: &str, key: &str, value: &str) -> Vec<Value> {
    items(&all["rows"][kind]).iter().filter(|row| row[key] == value).cloned().collect()
}

#[test]
fn lm_asks_one_leaf_and_map_lm_a_batch_of_them() {
    let home = played("lm");
    let all = home.json(&["inspect", "lm"]);
    let leaves = rows(&all, "calls", "type", "leaf");
    assert_eq!(leaves.len(), 1);
    assert!(leaves[0]["batch"].is_null() && leaves[0]["eval"] == 1, "{}", leaves[0]);
    assert_eq!(home.json(&["cat", leaves[0]["input"].as_str().unwrap()])["text"], "the task");
    let home = played("map-lm");
    let leaves = rows(&home.json(&["inspect", "map-lm"]), "calls", "type", "leaf-batch-item");
    let batch: Vec<_> = leaves.iter().map(|leaf| (&leaf["batch"], &leaf["batch-index"], &leaf["eval"])).collect();
    let id = &leaves[0]["batch"];
    assert!(id.is_string());
    assert_eq!(batch, [(id, &0.into(), &1.into()), (id, &1.into(), &1.into()), (id, &2.into(), &1.into())]);
    assert_eq!(home.json(&["show", "map-lm", "--final"])["final"], serde_json::json!(["one", "two", "three"]));
}

#[test]
fn rlm_opens_children_one_after_the_other_and_map_rlm_all_at_once() {
    for (script, call_type, children) in
        [("rlm", "child", 2), ("children", "child", 2), ("map-rlm", "child-batch-item", 3)]
    {
        let home = played(script);
        let all = home.json(&["inspect", script]);
        let calls = rows(&all, "calls", "type", call_type);
        assert_eq!((calls.len(), items(&all["invocations"]).len()), (children, children), "{script}");
        for (call, invocation) in calls.iter().zip(items(&all["invocations"])) {
            assert_eq!((&call["child"], &call["status"]), (&invocation["callee"], &"ok".into()), "{script}");
            assert_eq!(call["batch"].is_string(), script == "map-rlm");
            for side in ["caller-before", "caller-after", "callee-before", "callee-after"] {
                assert!(is_head(&invocation[side]), "{script}: {side} of {invocation}");
            }
            let child = home.json(&["inspect", call["child"].as_str().unwrap()]);
            assert_eq!(
                (&child["session"]["kind"], &child["session"]["current-head"]),
                (&"child".into(), &invocation["callee-after"])
            );
            assert_eq!(items(&child["invoked-by"])[0]["id"], invocation["id"]);
        }
        // At once: all are opened before the first is settled.
        let kinds: Vec<_> = home
            .ok(&["stream", script])
            .lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                event["event/type"].as_str().unwrap().to_owned()
            })
            .filter(|kind| kind == "invocation/started" || kind == "invocation/completed")
            .collect();
        let opened_first = kinds.iter().take_while(|kind| *kind == "invocation/started").count();
        assert_eq!(opened_first, if script == "map-rlm" { 3 } else { 1 }, "{script}: {kinds:?}");
    }
}

#[test]
fn attach_opens_a_child_that_knows_what_its_caller_did() {
    let home = played("attach");
    let child = home.json(&["inspect", "attach.child-0001"]);
    let derived = &items(&child["derivations"])[0];
    assert_eq!((&derived["kind"], &derived["source-session"]), (&"attach".into(), &"attach".into()));
    let first_turn = home.json(&["show", "attach", "--turn", "1"]);
    assert_eq!(derived["source-head"], first_turn["head"]["head"]);
    assert_eq!(items(&child["heads"])[0]["up"], first_turn["head"]["head"]);
    let said = home.json(&["show", "attach.child-0001"])["messages"].clone();
    assert_eq!(items(&said)[..items(&first_turn["messages"]).len()], *items(&first_turn["messages"]));
    assert_eq!(items(&home.json(&["inspect", "attach"])["invocations"])[0]["type"], "attach");
    assert_eq!(home.json(&["show", "attach.child-0001", "--final"])["final"], 42);
}

#[test]
fn abort_leaves_the_current_head_and_keeps_what_there_was() {
    let home = played("abort");
    let all = home.json(&["inspect", "abort"]);
    let kinds: Vec<_> = items(&all["heads"]).iter().map(|head| (&head["kind"], &head["current"])).collect();
    assert_eq!(kinds, [(&"genesis".into(), &true.into()), (&"turn-aborted".into(), &false.into())]);
    assert_eq!(rows(&all, "calls", "status", "orphaned").len(), 1);
    assert_eq!(rows(&all, "turns", "status", "aborted").len(), 1);
}

#[test]
fn compact_keeps_a_transcript_that_the_model_is_shown() {
    let home = played("compact");
    let all = home.json(&["inspect", "compact"]);
    let compaction = items(&all["heads"]).iter().find(|head| head["kind"] == "compaction").unwrap();
    let root: Value = serde_json::from_str(&home.ok(&["cat", compaction["head"].as_str().unwrap()])).unwrap();
    assert!(!items(&root["transcript"]).is_empty(), "{root}");
    let last = items(&all["heads"]).last().unwrap();
    assert_eq!(last["compaction"], compaction["head"]);
    // The first request after it: system prompt, frame, the two messages kept, the new input.
    let request = items(&all["rows"]["calls"]).last().unwrap()["request"].as_str().unwrap().to_owned();
    let request: Value = serde_json::from_str(&home.ok(&["cat", &request])).unwrap();
    let roles: Vec<_> = items(&request["messages"]).iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["system", "summary", "assistant", "observation", "user"]);
    // All of it can still be seen.
    assert_eq!(items(&home.json(&["show", "compact"])["messages"]).len(), 14);
}

//! `pin`.

use serde_json::json;

use crate::{Home, is_head};

#[test]
fn a_pin_names_a_head_everywhere() {
    let home = Home::demo();
    home.ok(&["resume", "demo", "and then?"]);
    assert_eq!(home.json(&["pin"]), json!([]));
    let (old, new) = (home.json(&["show", "demo", "--head", "@1"]), home.json(&["show", "demo"]));
    let set = home.json(&["pin", "release", "demo@1"]);
    assert!(is_head(&set["head"]));
    assert_eq!(set, json!({ "pin": "release", "head": old["head"]["head"], "payload-ref": null, "version": 1 }));
    assert_eq!(home.json(&["show", "demo", "--head", "release"])["head"], old["head"]);
    assert_eq!(home.ok(&["cat", "release"]), home.ok(&["cat", "demo@1"]));
    let moved = home.json(&["pin", "release", "demo@0", "--expect", "1"]);
    assert_eq!((&moved["head"], &moved["version"]), (&new["head"]["head"], &json!(2)));
    assert_eq!(home.json(&["pin", "release"]), moved);
    let digest = new["messages"][0]["content-ref"].as_str().unwrap();
    let notes = home.json(&["pin", "notes", digest]);
    assert_eq!(notes, json!({ "pin": "notes", "head": null, "payload-ref": digest, "version": 1 }));
    assert_eq!(home.ok(&["cat", "notes"]), home.ok(&["cat", digest]));
    assert_eq!(home.json(&["pin", "copy", "release"])["head"], moved["head"]);
    let names: Vec<_> = home.json(&["pin"]).as_array().unwrap().iter().map(|pin| pin["pin"].clone()).collect();
    assert_eq!(names, ["copy", "notes", "release"]);
    let text = home.ok(&["pin"]);
    assert!(text.lines().count() == 3 && text.contains("version 2"), "{text}");
    assert_eq!(home.json(&["check"])["status"], "ok");
}

/// The names by which imports find sources again are there, and in nobody's way.
#[test]
fn pins_of_imports_are_listed_on_request() {
    let home = Home::demo();
    home.ok(&["pin", "release", "demo@0"]);
    let log = [
        r#"{"type":"session","version":3,"id":"p1","timestamp":"2026-08-01T10:00:00.000Z","cwd":"/w"}"#,
        r#"{"type":"message","id":"a1","parentId":null,"timestamp":"2026-08-01T10:00:01.000Z","message":{"role":"user","content":"Hello"}}"#,
        r#"{"type":"message","id":"a2","parentId":"a1","timestamp":"2026-08-01T10:00:02.000Z","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}],"provider":"p","model":"m","usage":{"input":3,"output":1,"cacheRead":0,"cacheWrite":0},"stopReason":"stop"}}"#,
    ];
    std::fs::write(home.path().join("log.jsonl"), log.join("\n") + "\n").unwrap();
    home.ok(&["import", "log.jsonl"]);
    let names = |args: &[&str]| -> Vec<String> {
        let pins = home.json(args);
        pins.as_array().unwrap().iter().map(|pin| pin["pin"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["pin"]), ["release"]);
    let all = names(&["pin", "--all"]);
    assert!(all.len() == 2 && all[0].starts_with("pi."), "{all:?}");
    assert!(home.ok(&["pin"]).ends_with("1 more by which imports find sources again: --all lists them\n"));
    assert!(home.ok(&["pin", "--all"]).contains(&all[0]));
}

#[test]
fn a_pin_that_is_not_as_expected_stays() {
    let home = Home::demo();
    home.ok(&["pin", "release", "demo@0", "--expect", "0"]);
    let before = home.json(&["pin", "release"]);
    for expect in ["0", "7"] {
        let error = home.error(&["pin", "release", "demo@0", "--expect", expect]);
        assert_eq!(
            (&error["kind"], &error["details"]),
            (&json!("stale-pin"), &json!({ "pin": "release", "found": 1 }))
        );
    }
    assert_eq!(home.error(&["pin", "new", "demo@0", "--expect", "1"])["details"]["found"], json!(null));
    assert_eq!(home.error(&["pin", "new", "nothing"])["kind"], "not-found");
    assert_eq!(home.error(&["pin", "new"])["details"], json!({ "what": "pin", "name": "new" }));
    assert_eq!(home.error(&["pin", "new", "--remove"])["kind"], "not-found");
    assert_eq!(home.error(&["pin", "release", "--remove", "--expect", "2"])["kind"], "stale-pin");
    assert_eq!(home.error(&["pin", "a b", "demo@0"])["kind"], "usage");
    assert_eq!(home.error(&["pin", "release", "--expect", "1"])["kind"], "usage");
    assert_eq!(home.json(&["pin", "release"]), before);
    let removed = home.json(&["pin", "release", "--remove", "--expect", "1"]);
    assert_eq!(removed, json!({ "pin": "release", "removed": true }));
    assert_eq!(home.error(&["show", "demo", "--head", "release"])["kind"], "not-found");
    assert_eq!(home.json(&["pin", "release", "demo@0", "--expect", "0"])["version"], 3, "versions never repeat");
}

/// Verbs that take a session or a head take the pin of one; sessions, aliases and pins share their names.
#[test]
fn a_pin_stands_where_a_head_may() {
    let home = Home::demo();
    home.ok(&["resume", "demo", "and then?"]);
    // Begins with the pin's name: the exact name wins.
    home.ok(&["run", "x", "--name", "release"]);
    home.ok(&["alias", "demo", "first"]);
    let old = home.json(&["pin", "rel", "demo@1"])["head"].clone();
    assert_eq!(home.json(&["show", "rel"])["head"]["head"], old);
    assert_eq!(home.json(&["show", "rel"])["session"]["session"], "demo");
    assert_eq!(home.json(&["head", "rel"])["head"], old);
    assert_eq!(home.json(&["diff", "rel", "first"])["left"]["head"], old);
    assert_eq!(home.json(&["prime", "rel"])["head"]["head"], old);
    assert_eq!(home.json(&["fork", "rel", "--name", "other"])["source-head"], old);
    assert_eq!(home.json(&["resume", "rel"])["session"], "demo");
    assert_eq!(home.json(&["head", "demo"])["head"], old);
    assert_eq!(home.error(&["show", "rel", "--turn", "1"])["kind"], "usage");
    for taken in ["demo", "first"] {
        assert_eq!(home.error(&["pin", taken, "demo@0"])["kind"], "conflict");
        assert_eq!(home.ok(&["cat", taken]), home.ok(&["cat", "demo@0"]));
    }
    assert_eq!(home.error(&["run", "x", "--name", "rel"])["kind"], "conflict");
    assert_eq!(home.error(&["run", "x", "--name", "first"])["kind"], "conflict");
    assert_eq!(home.error(&["alias", "demo", "head-abc"])["kind"], "bad-id");
}

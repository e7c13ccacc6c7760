//! `cat`.

use crate::{Home, items};

#[test]
fn cat_prints_payloads_and_roots_unchanged() {
    let home = Home::demo();
    let show = home.json(&["show", "demo"]);
    let asked = items(&show["messages"]).iter().find(|message| message["role"] == "user").unwrap();
    let reference = asked["content-ref"].as_str().unwrap();
    assert_eq!(home.ok(&["cat", reference]), "add two numbers");
    assert_eq!(home.ok(&["cat", &reference[..15]]), "add two numbers");
    let json = home.json(&["cat", reference]);
    assert_eq!(json, serde_json::json!({ "ref": reference, "size": 15, "text": "add two numbers" }));
    let head = show["head"]["head"].as_str().unwrap();
    let root = home.ok(&["cat", head]);
    for name in [&head[..17], "demo@0", &head[5..20]] {
        assert_eq!(home.ok(&["cat", name]), root, "{name}");
    }
    let root: serde_json::Value = serde_json::from_str(&root).unwrap();
    assert_eq!((&root["session"], &root["kind"]), (&"demo".into(), &"turn-final".into()));
    assert_eq!(home.json(&["cat", head])["ref"], format!("b3:{}", &head[5..]));
}

#[test]
fn cat_of_nothing_is_an_error() {
    let home = Home::demo();
    let missing = format!("b3:{}", "0".repeat(64));
    assert_eq!(home.error(&["cat", &missing])["kind"], "not-found");
    assert_eq!(home.error(&["cat", "demo@99"])["kind"], "not-found");
    assert!(["not-found", "bad-id"].contains(&home.error(&["cat", "what is this"])["kind"].as_str().unwrap()));
}

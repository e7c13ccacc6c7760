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

/// A payload of several parts goes through, in and out of a pipe; with a part damaged it is told, whatever was printed before.
#[test]
fn cat_copies_a_payload_of_many_parts() {
    let home = Home::demo();
    let bytes: Vec<u8> = (0..9_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let store = headwater::store::Store::open(home.path().join(".headwater")).unwrap();
    let digest = store.blobs().put(&bytes).unwrap().to_string();
    store.close().unwrap();
    let output = home.command(&["cat", &digest]).output().unwrap();
    assert!(output.status.success() && output.stdout == bytes);

    let segment = home.path().join(".headwater/blobs/0000000001.seg");
    let mut log = std::fs::read(&segment).unwrap();
    let needle = &bytes[bytes.len() - 100..];
    let at = log.windows(100).position(|window| window == needle).unwrap();
    log[at] ^= 1;
    std::fs::write(&segment, log).unwrap();
    let output = home.command(&["cat", &digest]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"));
    assert!(
        output.stdout.len() < bytes.len() && output.stdout == bytes[..output.stdout.len()],
        "what was printed is good"
    );
}

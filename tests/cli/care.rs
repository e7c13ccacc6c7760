//! `check`.

use crate::{Home, items, keys};

const KEYS: [&str; 6] = ["check/mode", "counts", "issue-count", "issues", "status", "trusted"];

#[test]
fn a_sound_store_has_no_issues() {
    let home = Home::demo();
    for (args, mode) in
        [(&["check"][..], "deep"), (&["check", "--quick"], "quick"), (&["check", "--head", "demo@0"], "head")]
    {
        let check = home.json(args);
        assert_eq!(keys(&check), KEYS);
        assert_eq!((&check["check/mode"], &check["status"]), (&mode.into(), &"ok".into()), "{check}");
        assert_eq!((&check["issue-count"], items(&check["issues"]).len()), (&0.into(), 0));
        assert!(check["counts"].as_object().unwrap().values().all(|count| count.is_u64()));
        assert!(check["trusted"].is_boolean());
    }
    assert!(home.ok(&["check"]).starts_with("check deep - ok\n"));
}

/// A byte changed in the middle of the log is found, wherever the store first stumbles over it, and `check` says so
/// with its own exit code.
#[test]
fn damage_is_found_and_exits_with_4() {
    let home = Home::demo();
    let segment = home.path().join(".headwater/blobs/0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
    let ran = home.run(&["check", "--json"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    let check: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(keys(&check), KEYS);
    assert_eq!(check["status"], "issues");
    assert_eq!(check["issue-count"], items(&check["issues"]).len());
    for issue in items(&check["issues"]) {
        assert_eq!(keys(issue), ["advice", "code", "where"]);
    }
    let text = home.run(&["check"]);
    assert_eq!(text.code, 4);
    assert!(text.out.starts_with("check deep - "), "{}", text.out);
}

//! `show` and `inspect`.

use crate::{Home, is_head, is_time, items, keys};

#[test]
fn show_gives_the_rows_at_the_current_head() {
    let home = Home::demo();
    let show = home.json(&["show", "demo"]);
    assert_eq!(
        keys(&show),
        ["calls", "counters", "evals", "head", "invocations", "messages", "outcome", "session", "snapshots", "turns"]
    );
    assert_eq!(show["session"]["current-head"], show["head"]["head"]);
    assert!(is_head(&show["head"]["head"]) && is_time(&show["head"]["at"]));
    assert_eq!((&show["head"]["kind"], &show["head"]["current"]), (&"turn-final".into(), &true.into()));
    assert_eq!(show["outcome"], serde_json::json!({ "turn": 1, "status": "final", "final": 4 }));
    let messages = items(&show["messages"]);
    assert_eq!(messages.len(), show["counters"]["message"]);
    let asked = messages.iter().find(|message| message["role"] == "user").unwrap();
    assert_eq!((&asked["content"], &asked["chars"]), (&"add two numbers".into(), &15.into()));
    assert_eq!(items(&show["calls"]).len(), 2);
    for row in ["turns", "calls", "evals", "snapshots"] {
        for row in items(&show[row]) {
            assert_eq!(row["session"], "demo");
            assert!(row["event"].is_u64());
        }
    }
    assert_eq!(home.json(&["show"]), show, "the session changed last");
    assert_eq!(home.json(&["show", "--final"]), show["outcome"]);
    assert_eq!(home.ok(&["show", "demo", "--final"]), "4\n");
}

#[test]
fn show_for_people_ends_with_the_commands_that_drill_in() {
    let home = Home::demo();
    let text = home.ok(&["show", "demo"]);
    assert!(text.starts_with("demo - final\n  current checkpoint head-"), "{text}");
    let (_, next) = text.split_once("\nnext:\n").unwrap();
    for line in next.lines() {
        let command = line.trim().split(" # ").next().unwrap().trim();
        assert!(command.starts_with("headwater "), "{line}");
        if command.contains("TASK") || command.contains("fork") {
            continue;
        }
        let args: Vec<_> = command.split_whitespace().skip(1).collect();
        home.ok(&args);
    }
}

#[test]
fn an_old_head_keeps_showing_what_it_did() {
    let home = Home::demo();
    let before = home.json(&["show", "demo"]);
    home.ok(&["resume", "demo", "again"]);
    for args in [["--turn", "1"], ["--head", "@1"], ["--head", "demo@1"]] {
        let after = home.json(&["show", "demo", args[0], args[1]]);
        assert_eq!(after["messages"], before["messages"], "{args:?}");
        assert_eq!(after["head"]["current"], false);
        assert_eq!(after["counters"], before["counters"]);
    }
    let now = home.json(&["show", "demo"]);
    assert!(items(&now["messages"]).len() > items(&before["messages"]).len());
}

#[test]
fn large_messages_are_shown_by_ref() {
    let home = Home::new();
    let task = "x".repeat(70_000);
    home.ok(&["run", &task, "--name", "large"]);
    let show = home.json(&["show", "large"]);
    let asked = items(&show["messages"]).iter().find(|message| message["role"] == "user").unwrap();
    assert_eq!(asked["content"], serde_json::json!({ "ref": asked["content-ref"], "size": 70_000 }));
    let preview = home.ok(&["show", "large"]);
    assert!(preview.lines().all(|line| line.chars().count() < 200));
}

#[test]
fn what_models_write_cannot_drive_the_terminal() {
    let home = Home::new();
    home.ok(&["run", "\u{1b}[2Jgone\u{7}", "--name", "evil"]);
    assert!(!home.ok(&["show", "evil"]).contains(['\u{1b}', '\u{7}']));
}

#[test]
fn inspect_tells_everything() {
    let home = Home::demo();
    home.ok(&["fork", "demo", "--name", "branch"]);
    let all = home.json(&["inspect", "demo"]);
    assert_eq!(
        keys(&all),
        [
            "counters",
            "derivations",
            "heads",
            "invocations",
            "invoked-by",
            "reference",
            "rows",
            "session",
            "spans",
            "usage"
        ]
    );
    assert_eq!(items(&all["heads"]).len(), 2);
    assert_eq!(all["reference"]["current"], all["session"]["current-head"]);
    assert_eq!(items(&all["spans"])[0]["session"], "demo");
    let derived = &items(&all["derivations"])[0];
    assert_eq!((&derived["kind"], &derived["target-session"]), (&"fork".into(), &"branch".into()));
    let total = &all["usage"]["total"];
    assert_eq!((&total["calls"], &total["cost"]["state"]), (&2.into(), &"known".into()));
    assert_eq!(items(&all["rows"]["calls"]).len(), 2);
    let text = home.ok(&["inspect", "demo"]);
    assert!(text.contains("\nheads\n") && text.contains("\nderivations\n"), "{text}");
    // What a fork inherits is not its own.
    let branch = home.json(&["inspect", "branch"]);
    assert_eq!(branch["usage"]["total"]["calls"], 0);
    assert_eq!(items(&branch["spans"])[0]["session"], "demo");
}

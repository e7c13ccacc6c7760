//! `events`: the audit panel, the timeline, the causal chain.

use serde_json::Value;

use crate::{Home, is_head, is_time, items, keys};

#[test]
fn the_audit_has_its_shape() {
    let home = Home::demo();
    let text = home.ok(&["events", "demo"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "audit - demo");
    assert!(lines[1].ends_with(" facts - 1 turn - 2 model calls - 0 leaves - 0 children - 1 checkpoint"), "{text}");
    assert!(lines[2].starts_with("  current checkpoint head-") && lines[2].contains(" via event #"));
    assert_eq!(lines[3], "  event log explains what happened; checkpoints restore state");
    assert_eq!((lines[4], lines[5]), ("", "timeline"));
    let end = lines.iter().rposition(|line| line.is_empty()).unwrap();
    for line in &lines[6..end] {
        // `  #0004  turn started        turn 1                    because #3`
        let number = &line[3..7];
        assert!(line.starts_with("  #") && number.parse::<u64>().is_ok() && &line[7..9] == "  ", "{line}");
    }
    let turn = lines.iter().find(|line| line.contains("turn started")).unwrap();
    assert_eq!(&turn[9..55], "turn started        turn 1                    ");
    assert!(turn[55..].starts_with("because #"), "{turn}");
    let current = lines[2].rsplit_once('#').unwrap().1;
    let next: Vec<String> = [
        format!("  {:<37}# inspect current checkpoint", "headwater show demo"),
        format!("  {:<37}# ask why that fact happened", format!("headwater events demo --event {current}")),
        format!("  {:<37}# raw JSONL facts for scripts", "headwater stream demo"),
    ]
    .into();
    assert_eq!(lines[end + 1], "next:");
    assert_eq!(&lines[end + 2..], next);
}

#[test]
fn the_timeline_tells_the_whole_turn_in_order() {
    let home = Home::demo();
    let events = home.json(&["events", "demo"]);
    assert_eq!(keys(&events), ["counts", "current-head", "current-head-event", "session", "timeline"]);
    assert_eq!(
        keys(&events["counts"]),
        ["checkpoints", "children", "errors", "facts", "leaves", "model-calls", "turns"]
    );
    assert!(is_head(&events["current-head"]));
    let rows = items(&events["timeline"]);
    let titles: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(titles[..3], ["session opened", "genesis checkpoint", "session advanced"]);
    let story = [
        "turn started",
        "user input",
        "root model called",
        "model response",
        "root answered",
        "repl evaluated",
        "FINAL returned",
        "snapshot saved",
        "checkpoint sealed",
        "session advanced",
    ];
    let mut after = 3;
    for title in story {
        after += titles[after..].iter().position(|t| *t == title).unwrap_or_else(|| panic!("{title}: {titles:?}"));
    }
    for row in rows {
        assert_eq!(keys(row), ["at", "because", "detail", "event", "title", "type"]);
        assert!(is_time(&row["at"]));
        assert!(row["because"].is_null() || row["because"].as_u64() < row["event"].as_u64(), "{row}");
    }
    let advanced = rows.iter().rfind(|row| row["type"] == "session/ref-updated").unwrap();
    assert_eq!(advanced["event"], events["current-head-event"]);
}

#[test]
fn limits_keep_the_end_of_the_timeline() {
    let home = Home::demo();
    let whole = home.json(&["events", "demo"]);
    let last = home.json(&["events", "demo", "--limit", "3"]);
    let whole = items(&whole["timeline"]);
    assert_eq!(items(&last["timeline"]), &whole[whole.len() - 3..]);
    assert_eq!(items(&home.json(&["events", "demo", "--limit", "0"])["timeline"]), [] as [Value; 0]);
    let text = home.ok(&["events", "demo", "--limit", "3"]);
    assert!(text.contains(&format!("{} earlier", whole.len() - 3)), "{text}");
}

#[test]
fn errors_are_counted_and_turns_show_when_they_end() {
    let home = Home::new();
    std::fs::write(home.path().join("s.json"), r#"{"replies":[{"status":"error"}]}"#).unwrap();
    assert_eq!(home.run(&["run", "x", "--script", "s.json", "--name", "bad"]).code, 1);
    let events = home.json(&["events", "bad"]);
    assert!(events["counts"]["errors"].as_u64() >= Some(1), "{events}");
    let titles: Vec<_> = items(&events["timeline"]).iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert!(titles.contains(&"turn failed"), "{titles:?}");
    assert!(home.ok(&["events", "bad"]).contains(" error"));
}

#[test]
fn children_and_leaves_are_counted_and_told() {
    let home = Home::new();
    home.ok(&["run", "x", "--script", "children", "--name", "parent"]);
    let events = home.json(&["events", "parent"]);
    assert_eq!((&events["counts"]["children"], &events["counts"]["model-calls"]), (&2.into(), &2.into()));
    let titles: Vec<_> = items(&events["timeline"]).iter().map(|row| row["title"].as_str().unwrap()).collect();
    for title in ["child called", "child opened", "child settled", "caller linked"] {
        assert!(titles.contains(&title), "{title}: {titles:?}");
    }
    home.ok(&["run", "x", "--script", "map-lm", "--name", "leaves"]);
    assert_eq!(home.json(&["events", "leaves"])["counts"]["leaves"], 3);
}

#[test]
fn a_chain_lists_ancestors_first_and_ends_with_the_fact() {
    let home = Home::demo();
    let event = home.json(&["events", "demo"])["current-head-event"].clone();
    let number = event.to_string();
    let why = home.json(&["events", "demo", "--event", &number]);
    assert_eq!(keys(&why), ["chain", "event", "linked", "session", "title"]);
    assert_eq!((&why["event"], &why["title"]), (&event, &"session advanced".into()));
    let chain = items(&why["chain"]);
    assert_eq!(why["linked"], chain.len());
    for link in chain {
        assert_eq!(keys(link), ["because", "detail", "event", "session", "title"]);
    }
    let numbers: Vec<_> = chain.iter().map(|link| link["event"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(numbers.last().copied(), event.as_u64());
    let text = home.ok(&["events", "demo", "--event", &number]);
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), format!("why event #{number} - session advanced"));
    assert_eq!(lines.next().unwrap(), format!("  {} linked facts", chain.len()));
    assert_eq!(home.error(&["events", "demo", "--event", "9999"])["kind"], "not-found");
}

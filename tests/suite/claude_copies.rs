//! Sessions of Claude Code that were resumed into a file of their own, with all records of the one before under new ids: what
//! they have in common is one session's, and every answer is counted once, however the files come in.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use headwater::exchange;
use headwater::model::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::claude::{Log, Place, id};

/// The records of `text` as a resume writes them into the file of `session`: another session's id on each, and where it
/// `renames`, ids of their own, as long as it has `records`.
fn copied(text: &str, session: &str, renames: bool, records: usize) -> String {
    let (mut last, mut out) = (Value::Null, String::new());
    let mut open: HashMap<String, usize> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let row: Value = serde_json::from_str(line).unwrap();
        if let Some(answer) = row["message"]["id"].as_str() {
            open.insert(answer.to_owned(), number);
        }
    }
    // An answer is copied whole.
    let answers = text.lines().take(records).filter_map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        open.get(row["message"]["id"].as_str()?).map(|number| number + 1)
    });
    let records = answers.max().unwrap_or_default().max(records);
    for (number, line) in text.lines().take(records).enumerate() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        // What is shown live is not part of what is copied.
        if row["type"] == "progress" {
            continue;
        }
        row["sessionId"] = json!(session);
        row["cwd"] = json!("/elsewhere");
        if renames {
            row["uuid"] = json!(format!("{session}-{number}"));
        }
        row["parentUuid"] = std::mem::replace(&mut last, row["uuid"].clone());
        out += &format!("{row}\n");
    }
    out
}

/// Goes on with a copy: a turn with a tool.
fn gone_on(text: &str, session: &'static str, number: u64) -> String {
    let last = text.lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut log = Log { count: 100 * number, ..Log::new(session) };
    log.last = last.and_then(|row| row["uuid"].as_str().map(str::to_owned));
    log.user(&format!("and then, {session}?"));
    log.ask(&format!("{session}-1"), &format!("{session}-t"), "Bash", json!({ "command": "date" }));
    log.result(&format!("{session}-t"), json!("today"), false, Value::Null);
    log.say(&format!("{session}-2"), &format!("then, {session}."));
    text.to_owned() + &log.text
}

/// What all answers of all files used: each answer once, as its last record says.
fn used<'t>(files: impl Iterator<Item = &'t str>) -> (u64, u64) {
    let mut used = BTreeMap::new();
    for line in files.flat_map(str::lines) {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["type"] == "assistant" {
            let id = row["message"]["id"].as_str().unwrap().to_owned();
            let output = row["message"]["usage"]["output_tokens"].as_u64().unwrap();
            let most = used.entry(id).or_insert(0);
            *most = output.max(*most);
        }
    }
    (used.len() as u64, used.values().sum())
}

/// What the calls of all sessions used.
fn stored(place: &Place) -> (u64, u64) {
    let mut calls = BTreeMap::new();
    for info in place.store.sessions().unwrap() {
        for event in place.store.events(&info.session).unwrap() {
            if let Body::CallPut(row) | Body::CallStarted(row) = event.body {
                calls.insert((info.session.clone(), row.call), row.tokens_output.unwrap_or_default());
            }
        }
    }
    (calls.len() as u64, calls.values().sum())
}

fn first() -> String {
    let mut log = Log::new("first");
    log.user("one");
    log.ask("m1", "t1", "Bash", json!({ "command": "ls" }));
    log.add("progress", json!({ "data": { "type": "hook_progress" }, "parentToolUseID": "t1" }));
    log.result("t1", json!("a list of some length"), false, Value::Null);
    log.part("m1", json!({ "type": "text", "text": "listed" }), 12);
    log.user("two");
    log.say("m2", "done two");
    log.text
}

#[test]
fn a_session_that_was_resumed_into_new_files_is_counted_once() {
    for renames in [false, true] {
        let one = first();
        let two = gone_on(&copied(&one, "second", renames, 99), "second", 1);
        let three = gone_on(&copied(&two, "a-third", renames, 99), "a-third", 2);
        let files = [("p/first.jsonl", &one), ("p/second.jsonl", &two), ("p/a-third.jsonl", &three)];

        // As a folder, where the last copy is the first file.
        let place = Place::new();
        files.iter().for_each(|(name, text)| drop(place.file(name, text.as_bytes())));
        let imported = place.import_all();
        let told: Vec<_> =
            imported.iter().map(|one| (one.session.as_str(), one.forked_from.clone(), one.turns)).collect();
        assert_eq!(told, [("first", None, 2), ("second", Some(id("first")), 3), ("a-third", Some(id("second")), 4)]);
        let odd: Vec<_> = imported.iter().flat_map(|one| &one.diagnostics).collect();
        assert!(odd.is_empty(), "{renames} {told:?} {odd:?}");
        assert_eq!(stored(&place), used(files.iter().map(|(_, text)| text.as_str())));
        assert_eq!(stored(&place), (6, 12 + 5 + 2 * (9 + 5)));
        let said: Vec<String> = place.said(&id("a-third")).into_iter().map(|(_, said)| said).collect();
        assert_eq!(said.len(), 5 + 4 + 4);
        assert_eq!(said.last().unwrap(), "then, a-third.");
        files.iter().for_each(|(name, text)| {
            let name = name.trim_start_matches("p/").trim_end_matches(".jsonl");
            assert_eq!(place.export(&id(name)), **text);
        });
        assert!(place.import_all().iter().all(|one| one.new_events == 0));

        // One by one, in the worst order: what is all in a copy is a fork of it without a row of its own.
        let place = Place::new();
        for (name, text) in files.iter().rev() {
            let path = place.file(name, text.as_bytes());
            exchange::import(&place.store, &path).unwrap();
        }
        assert_eq!(stored(&place), (6, 12 + 5 + 2 * (9 + 5)));
        assert_eq!(place.store.session(&id("first")).unwrap().source.map(|(of, _)| of), Some(id("a-third")));
        let said = place.said(&id("first"));
        assert_eq!(said.len(), 5, "{said:?}");
        assert_eq!(place.export(&id("first")), one);
    }
}

#[test]
fn sessions_that_only_begin_at_the_same_moment_have_nothing_in_common() {
    let place = Place::new();
    let mut log = Log::new("one");
    log.user("one");
    log.say("m1", "done");
    let mut other = Log::new("other");
    other.user("another");
    other.say("m2", "done");
    place.file("p/one.jsonl", log.text.as_bytes());
    place.file("p/other.jsonl", other.text.as_bytes());
    assert!(place.import_all().iter().all(|one| one.forked_from.is_none() && one.calls == 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Wherever a session was copied, also within a turn or an answer, whether its records kept their ids, in whatever order
    /// the files come in: each answer is one call, and each file comes back.
    #[test]
    fn any_copies_are_counted_once(
        cuts in proptest::collection::vec((0_usize..14, any::<bool>(), any::<prop::sample::Index>()), 1..4),
        turns in 0_usize..14,
    ) {
        const NAMES: [&str; 4] = ["copy-a", "copy-b", "copy-c", "copy-d"];
        let mut texts: Vec<String> = vec![first()];
        if turns < 8 {
            texts[0] = copied(&texts[0], "first", false, turns.max(1));
        }
        for (number, (records, renames, of)) in cuts.iter().enumerate() {
            let of = &texts[of.index(texts.len())];
            texts.push(gone_on(&copied(of, NAMES[number], *renames, 1 + records), NAMES[number], number as u64 + 1));
        }
        let place = Place::new();
        let names: Vec<&str> = std::iter::once("first").chain(NAMES).collect();
        let paths: Vec<PathBuf> =
            texts.iter().zip(&names).map(|(text, name)| place.file(&format!("p/{name}.jsonl"), text.as_bytes())).collect();
        let by_hand = Place::new();
        for at in (0..paths.len()).rev() {
            let path = by_hand.file(&format!("p/{}.jsonl", names[at]), texts[at].as_bytes());
            exchange::import(&by_hand.store, &path).unwrap();
        }
        place.import_all();
        for place in [&place, &by_hand] {
            for (text, name) in texts.iter().zip(&names) {
                prop_assert_eq!(&place.export(&id(name)), text);
            }
            prop_assert_eq!(stored(place), used(texts.iter().map(String::as_str)));
            prop_assert!(place.import_all().iter().all(|one| one.new_events == 0));
        }
    }
}

/// What the program asks in the midst of a session, for a summary or beside it, goes on from all that was said: the agent's file begins with
/// the caller's records, as they are known later, and is its caller's no fork.
#[test]
fn an_agent_that_goes_on_from_its_caller_has_only_what_is_its_own() {
    let mut caller = Log::new("caller");
    caller.user("one");
    caller.ask("m1", "t1", "Bash", json!({ "command": "ls" }));
    caller.add("progress", json!({ "data": { "type": "hook_progress" }, "parentToolUseID": "t1" }));
    caller.result("t1", json!("a list of some length"), false, Value::Null);
    caller.say("m2", "listed");
    caller.user("two");
    caller.say("m3", "done two");
    // All that was said, or what was said since the last summary.
    let agent = |name: &'static str, from: usize, calls: u64| {
        let mut text = String::new();
        for line in caller.text.lines().skip(from) {
            let mut row: Value = serde_json::from_str(line).unwrap();
            (row["isSidechain"], row["agentId"]) = (json!(true), json!(name));
            if text.is_empty() {
                row["parentUuid"] = Value::Null;
            }
            if row["message"]["id"] == "m2" {
                (row["message"]["stop_reason"], row["message"]["usage"]["output_tokens"]) =
                    (json!("end_turn"), json!(77));
            }
            text += &format!("{row}\n");
        }
        let mut log = Log { agent: Some(name), last: caller.last.clone(), count: 20, ..Log::new("caller") };
        log.user("Sum up what was said.");
        (0..calls).for_each(|number| drop(log.say(&format!("{name}-{number}"), "It was about a list.")));
        text + &log.text
    };
    let mut text = caller.text.clone();
    let mut rest = Log { last: None, count: 40, ..Log::new("caller") };
    rest.add("user", json!({ "isCompactSummary": true, "message": { "role": "user", "content": "A list was made." } }));
    rest.user("three");
    rest.say("m4", "done three");
    text += &rest.text;
    let files = [
        ("p/caller.jsonl", "caller", text),
        ("p/caller/subagents/agent-acompact-1f.jsonl", "caller.agent-acompact-1f", agent("acompact-1f", 0, 1)),
        ("p/caller/subagents/agent-aside-2f.jsonl", "caller.agent-aside-2f", agent("aside-2f", 5, 2)),
        ("p/caller/subagents/agent-a3f.jsonl", "caller.agent-a3f", agent("a3f", 1, 0)),
    ];
    let place = Place::new();
    files.iter().for_each(|(name, _, text)| drop(place.file(name, text.as_bytes())));
    let imported = place.import_all();
    let told: BTreeMap<_, _> = imported
        .iter()
        .map(|one| (one.session.as_str(), (one.forked_from.as_ref().map(|of| of.as_str()), one.turns)))
        .collect();
    let of = Some("caller");
    assert_eq!(told["caller"], (None, 3));
    assert_eq!(told["caller.agent-acompact-1f"], (of, 3));
    assert_eq!((told["caller.agent-aside-2f"].0, told["caller.agent-a3f"].0), (of, of));
    assert_eq!(imported[0].session, id("caller"));
    assert!(imported.iter().all(|one| one.diagnostics.is_empty()), "{imported:?}");
    // m1 to m4 are the caller's, as its own file says what they used.
    assert_eq!(stored(&place), (4 + 3, 9 + 5 * 6));
    assert_eq!(place.store.usage(&id("caller")).unwrap().root.calls, 4);
    let said: Vec<String> = place.said(&id("caller.agent-acompact-1f")).into_iter().map(|(_, said)| said).collect();
    assert_eq!(said.len(), 6 + 2, "{said:?}");
    assert_eq!(said.last().unwrap(), "It was about a list.");
    for (_, session, text) in &files {
        assert_eq!(place.export(&id(session)), *text, "{session}");
    }
    assert!(place.import_all().iter().all(|one| one.new_events == 0));

    // The agent alone, before its caller: that one is whole all the same.
    let place = Place::new();
    for (name, _, text) in files[..2].iter().rev() {
        let path = place.file(name, text.as_bytes());
        let imported = exchange::import(&place.store, &path).unwrap();
        assert_eq!(imported.forked_from, None, "{name}");
    }
    assert_eq!(place.store.usage(&id("caller")).unwrap().root.calls, 4);
    assert_eq!(place.export(&id("caller")), files[0].2);
}

//! Sessions that went on here, and forks made here, as chats of Gemini CLI.

use headwater::exchange::{self, Exported};
use headwater::model::{Body, Event, HeadKind, Role, SessionId, TurnNumber};
use headwater::store::NewSession;
use serde_json::Value;

use crate::imports::Place;
use crate::written::turn;

const HARBOR: &str = include_str!("../fixtures/gemini/harbor.json");
const PIER: &str = include_str!("../fixtures/gemini/pier.jsonl");

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn exported(place: &Place, session: &SessionId) -> (String, Exported) {
    let mut out = Vec::new();
    let done =
        exchange::export(&place.store, session, Some("gemini"), &mut exchange::export::Stream(&mut out)).unwrap();
    (String::from_utf8(out).unwrap(), done)
}

fn kinds(done: &Exported) -> Vec<&str> {
    done.notices.iter().map(|one| one.kind.as_str()).collect()
}

/// The messages that Gemini CLI has of a chat of lines, as it reads one: by id, in the order in which they came first.
fn live(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for record in records(text) {
        let known = |id: &str, ids: &[String]| ids.iter().position(|own| own == id);
        if let Some(to) = record["$rewindTo"].as_str() {
            ids.truncate(known(to, &ids).unwrap_or(0));
        } else if let Some(id) = record["id"].as_str() {
            if known(id, &ids).is_none() {
                ids.push(id.to_owned());
            }
        } else if let Some(list) = record["$set"]["messages"].as_array() {
            ids = list.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
        }
    }
    ids
}

#[test]
fn a_session_of_headwaters_own_becomes_a_chat() {
    let place = Place::of("gemini");
    let session = place.store.create_session(NewSession::named(id("own"))).unwrap();
    turn(&session, "Which bed?", "The south one.");
    session.write(|batch| batch.compact("they chose a bed", 1)).unwrap();
    session.add_annotation("acme/note", Some(b"by the way")).unwrap();
    turn(&session, "And the beans?", "There, too.");
    session.close().unwrap();
    let (text, done) = exported(&place, &id("own"));
    assert_eq!(text, exported(&place, &id("own")).0, "the same each time");
    assert_eq!(done.notices.len(), 1, "{:?}", done.notices);
    assert!(done.notices[0].message.starts_with("acme/note, 1 of them"), "{:?}", done.notices);

    let all = records(&text);
    for field in ["sessionId", "projectHash", "startTime", "lastUpdated"] {
        assert!(all[0][field].is_string(), "{field}");
    }
    for message in all.iter().filter(|record| record["id"].is_string()) {
        assert!(message["timestamp"].is_string() && message["type"].is_string(), "{message}");
    }
    let tools = &all[2]["toolCalls"];
    assert_eq!((&tools[0]["status"], &tools[1]["status"]), (&"success".into(), &"error".into()));
    assert_eq!(tools[0]["result"][0]["functionResponse"]["response"]["output"], "north: peas");
    assert_eq!(tools[1]["result"][0]["functionResponse"]["response"]["error"], "a bracket is missing");
    assert_eq!(tools[0]["id"], tools[0]["result"][0]["functionResponse"]["id"]);
    let tokens = &all[2]["tokens"];
    assert_eq!((&tokens["input"], &tokens["cached"], &tokens["total"]), (&120.into(), &7.into(), &150.into()));
    assert_eq!(all[3]["tokens"], Value::Null, "of which nothing is known");

    // A compaction's list is the summary, and the last word that it keeps, as it was.
    let compacted = all.iter().find_map(|record| record["$set"]["messages"].as_array()).unwrap();
    assert_eq!(compacted.len(), 2);
    assert_eq!(compacted[1], all[3]);
    let other = Place::of("gemini");
    let imported = other.import(&text);
    assert_eq!(imported.diagnostics, []);
    let kept = |place: &Place| -> Vec<String> {
        let heads = place.store.heads(&id("own")).unwrap();
        let head = heads.iter().find(|head| head.kind == HeadKind::Compaction).unwrap().head;
        let ranges = place.store.root_of(&head).unwrap().transcript.unwrap();
        let is_in = |event: &Event| ranges.iter().any(|range| range.from <= event.number && event.number <= range.to);
        let events = place.log(&id("own")).into_iter().filter(is_in);
        let said = events.filter_map(|event| match event.body {
            Body::MessageAdded(row) if row.role != Role::Tool => Some(place.text(Some(row.content))),
            _ => None,
        });
        said.filter(|text| !text.is_empty()).collect()
    };
    assert_eq!(kept(&other), ["The south one.", "they chose a bed"]);
    assert_eq!(kept(&other), kept(&place));
    other.is_sound();
}

#[test]
fn a_chat_that_went_on_here_takes_back_what_was_left() {
    let place = Place::of("gemini");
    let own = place.import(PIER).session;
    let session = place.store.resume(&own, None).unwrap();
    turn(&session, "One more.", "Here.");
    let here = turn(&session, "And another.", "There.");
    session.close().unwrap();
    let (text, _) = exported(&place, &own);
    let rest = text.strip_prefix(PIER).expect("its own bytes first");
    assert_eq!(records(rest).len(), 7, "two turns of three messages, and when that was");

    // Back behind the first of the two: the second is taken back, and what follows stands behind the first.
    let before = place.store.head(&here).unwrap().basis.unwrap();
    let session = place.store.resume(&own, Some(&before)).unwrap();
    turn(&session, "Or not?", "No.");
    session.close().unwrap();
    let (text, done) = exported(&place, &own);
    assert!(!kinds(&done).contains(&"linear"), "{done:?}");
    let all = records(&text);
    let question = |text: &str| all.iter().find(|record| record["content"][0]["text"] == text).unwrap()["id"].clone();
    let back = all.iter().rfind(|record| record["$rewindTo"].is_string()).unwrap();
    assert_eq!(back["$rewindTo"], question("And another."));
    let other = Place::of("gemini");
    let there = other.import(&text).session;
    let words = |place: &Place, session| -> Vec<_> {
        place.said(session).into_iter().filter(|(role, text)| role != "tool" && !text.is_empty()).collect()
    };
    assert_eq!(words(&other, &there), words(&place, &own));
    let used = |place: &Place, session| place.store.usage(session).unwrap().root.tokens_input;
    assert_eq!(used(&other, &there), used(&place, &own), "what was taken back was paid for");
    let last = live(&text);
    assert!(!last.contains(&question("And another.").as_str().unwrap().to_owned()));
    assert!(last.contains(&question("Or not?").as_str().unwrap().to_owned()));

    // On again with what was left: there is no way back to it.
    let session = place.store.resume(&own, Some(&here)).unwrap();
    turn(&session, "After all.", "Well.");
    session.close().unwrap();
    assert!(kinds(&exported(&place, &own).1).contains(&"linear"));
    other.is_sound();
}

#[test]
fn an_object_that_went_on_here_becomes_lines_as_gemini_cli_makes_them() {
    let place = Place::of("gemini");
    let path = place.file("chats/session-1.json", HARBOR);
    let own = exchange::import(&place.store, &path).unwrap().session;
    let session = place.store.resume(&own, None).unwrap();
    turn(&session, "One more.", "Here.");
    session.close().unwrap();
    let (text, _) = exported(&place, &own);
    let source: Value = serde_json::from_str(HARBOR).unwrap();
    let all = records(&text);
    for field in ["sessionId", "projectHash"] {
        assert_eq!(all[0][field], source[field]);
    }
    let messages = source["messages"].as_array().unwrap();
    assert_eq!(&all[1..=messages.len()], messages, "each of its messages, whole");
    let other = Place::of("gemini");
    let there = other.import(&text);
    assert_eq!((&there.session, there.diagnostics.len()), (&own, 0));
    let ours = place.store.view(&own).unwrap().rows;
    assert_eq!((there.turns, there.calls), (ours.turns.len() as u64, ours.calls.len() as u64));
    other.is_sound();
}

#[test]
fn a_fork_made_here_shares_its_first_messages() {
    let place = Place::of("gemini");
    let own = place.import(PIER).session;
    let first = place.store.head_of_turn(&own, TurnNumber(1)).unwrap();
    let fork = place.store.fork(&first, NewSession::named(id("branch"))).unwrap();
    turn(&fork, "Elsewhere?", "By the wall.");
    fork.close().unwrap();
    let (text, _) = exported(&place, &id("branch"));
    let other = Place::of("gemini");
    other.import(PIER);
    let there = exchange::import(&other.store, &other.file("branch.jsonl", &text)).unwrap();
    assert_eq!(there.forked_from, Some(own));
    let words = |place: &Place, session: &SessionId| -> Vec<_> {
        place.said(session).into_iter().filter(|(role, _)| role != "tool").collect()
    };
    assert_eq!(words(&other, &there.session), words(&place, &id("branch")));
    other.is_sound();
}

/// A branch of a session that was imported leaves before the end of its source: a fork of it has what lies before that, and no more.
#[test]
fn a_fork_of_a_branch_has_nothing_of_what_was_left() {
    for (format, text) in [("gemini", PIER), ("claude-code", include_str!("../fixtures/claude-code.jsonl"))] {
        let place = Place::of(format);
        let own = place.import(text).session;
        let first = place.store.head_of_turn(&own, TurnNumber(1)).unwrap();
        let session = place.store.resume(&own, Some(&first)).unwrap();
        let here = turn(&session, "Or elsewhere?", "Elsewhere.");
        session.close().unwrap();
        let fork = place.store.fork(&here, NewSession::named(id("branch"))).unwrap();
        turn(&fork, "And then?", "Home.");
        fork.close().unwrap();
        let other = Place::of(format);
        let there = other.import(place.export(&id("branch"))).session;
        let words = |place: &Place, session: &SessionId| -> Vec<_> {
            place.said(session).into_iter().filter(|(role, text)| role != "tool" && !text.is_empty()).collect()
        };
        assert_eq!(words(&other, &there), words(&place, &id("branch")), "{format}");
    }
}

#[test]
fn a_tool_that_was_a_session_is_told_of_as_an_agent() {
    let place = Place::of("gemini");
    let child = place.store.create_session(NewSession::named(id("scout"))).unwrap();
    turn(&child, "Look.", "I looked.");
    child.close().unwrap();
    let session = place.store.create_session(NewSession::named(id("own"))).unwrap();
    crate::written::calls_a_session(&session, &id("scout"));
    session.close().unwrap();
    let (text, done) = exported(&place, &id("own"));
    assert_eq!(done.notices, []);
    let all = records(&text);
    let tools: Vec<&Value> =
        all.iter().flat_map(|record| record["toolCalls"].as_array().into_iter().flatten()).collect();
    assert_eq!(tools[0]["agentId"], "scout");
    let other = Place::of("gemini");
    assert_eq!(other.import(&text).invocations, 1);
    let edge = other.store.invocations_from(&id("own")).unwrap().pop().unwrap().row;
    assert_eq!((edge.callee, other.text(edge.final_value)), (Some(id("scout")), "all is well".to_owned()));

    // A format that has no word for it says so.
    let mut out = Vec::new();
    let done = exchange::export(&place.store, &id("own"), Some("pi"), &mut exchange::export::Stream(&mut out)).unwrap();
    assert!(done.notices.iter().any(|one| one.message.starts_with("invocation/started, 1")), "{done:?}");
}

#[test]
fn a_compaction_that_keeps_what_lies_in_the_source_says_so() {
    let place = Place::of("gemini");
    let own = place.import(PIER).session;
    let session = place.store.resume(&own, None).unwrap();
    session.write(|batch| batch.compact("they measured", 2)).unwrap();
    session.close().unwrap();
    assert!(kinds(&exported(&place, &own).1).contains(&"kept-tail"));
}

//! Sessions of headwater's own, and those that went on here, written as the logs of agents: read again, they say the same.

use headwater::exchange;
use headwater::model::{CallType, HeadId, HeadKind, Role, SessionId, Status};
use headwater::store::{NewMessage, NewSession, Session};
use serde_json::Value;

use crate::imports::Place;

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// A turn with one call, which asks for two tools, and its last word.
pub fn turn(session: &Session, question: &str, answer: &str) -> HeadId {
    let turn = session.begin_turn(question).unwrap();
    session
        .write(|batch| {
            let call = batch.begin_call(CallType::Root, |call| {
                (call.turn, call.provider, call.model) =
                    (Some(turn), Some("acme".to_owned()), Some("acme-1".to_owned()));
            })?;
            batch.update_call(call, |row| {
                (row.status, row.cost) = (Status::OK, Some(1_500_000));
                (row.tokens_input, row.tokens_output, row.tokens_cached) = (Some(120), Some(30), Some(7));
            })?;
            let message = batch.add_message(NewMessage::new(Role::Assistant, "I look.").turn(turn).call(call))?;
            let tools = [
                ("{\"path\":\"beds.txt\"}", "north: peas", Status::OK),
                ("(+ 1", "a bracket is missing", Status::ERROR),
            ];
            for (code, text, status) in tools {
                let (code, value) = (batch.put(code.as_bytes()), batch.put(text.as_bytes()));
                batch.add_eval(status.clone(), |eval| {
                    (eval.turn, eval.call, eval.message, eval.code) =
                        (Some(turn), Some(call), Some(message), Some(code));
                    if status == Status::OK {
                        (eval.name, eval.result) = (Some("read".to_owned()), Some(value));
                    } else {
                        eval.error = Some(value);
                    }
                })?;
                batch.add_message(NewMessage::new(Role::Tool, text).turn(turn))?;
            }
            let last = batch.begin_call(CallType::Root, |call| call.turn = Some(turn))?;
            batch.update_call(last, |row| row.status = Status::OK)?;
            batch.add_message(NewMessage::new(Role::Assistant, answer).turn(turn).call(last))?;
            batch.update_turn(turn, |row| row.status = Status::FINAL)?;
            batch.seal()
        })
        .unwrap()
}

/// A turn whose one tool is another session.
pub fn calls_a_session(session: &Session, callee: &SessionId) {
    let turn = session.begin_turn("Send someone.").unwrap();
    session
        .write(|batch| {
            let call = batch.begin_call(CallType::Root, |call| (call.turn, call.status) = (Some(turn), Status::OK))?;
            let message = batch.add_message(NewMessage::new(Role::Assistant, "I do.").turn(turn).call(call))?;
            let (code, value) = (batch.put(br#"{"prompt":"Look."}"#), batch.put(b"all is well"));
            let invocation = batch.start_invocation(Status::new("subagent").unwrap(), |row| {
                (row.call, row.callee, row.input) = (Some(call), Some(callee.clone()), Some(code));
            })?;
            batch.complete_invocation(invocation, |row| row.final_value = Some(value))?;
            batch.add_eval(Status::OK, |eval| {
                (eval.turn, eval.call, eval.message) = (Some(turn), Some(call), Some(message));
                (eval.name, eval.code, eval.result) = (Some("task".to_owned()), Some(code), Some(value));
            })?;
            batch.update_turn(turn, |row| row.status = Status::FINAL)?;
            batch.seal()
        })
        .unwrap();
}

/// The raw records behind the first `skip` lines.
fn entries(text: &str, skip: usize) -> Vec<Value> {
    text.lines().skip(skip).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is said of a session's calls and evals, tool by tool.
fn told(place: &Place, session: &SessionId) -> Vec<(String, String, String)> {
    let rows = place.store.view(session).unwrap().rows;
    let eval = |row: &headwater::model::Eval| {
        (row.name.clone().unwrap_or_default(), row.status.to_string(), place.text(row.result.or(row.error)))
    };
    rows.evals.iter().map(|entry| eval(&entry.row)).collect()
}

/// An own session of two turns with a compaction between them, written in a format and read again in another store.
fn there_and_back(format: &'static str) -> (Place, Place, String) {
    let place = Place::of(format);
    let session = place.store.create_session(NewSession::named(id("0b5c1c52-6f0d-4c9c-8a3a-2f6f5d0c1a77"))).unwrap();
    turn(&session, "Which bed?", "The south one.");
    session.write(|batch| batch.compact("they chose a bed", 0)).unwrap();
    turn(&session, "And the beans?", "There, too.");
    let own = session.id().clone();
    session.close().unwrap();
    let text = place.export(&own);
    assert_eq!(text, place.export(&own), "the same each time");

    let other = Place::of(format);
    let imported = other.import(&text);
    assert_eq!((imported.format, &imported.session), (format, &own));
    assert_eq!((imported.turns, imported.calls, imported.evals), (2, 4, 4));
    assert_eq!(other.source(&own), text);
    assert_eq!(other.said(&own), place.said(&own));
    assert_eq!(told(&other, &own), told(&place, &own).into_iter().map(named).collect::<Vec<_>>());
    let used = |place: &Place| {
        let mut used = place.store.usage(&own).unwrap().root;
        if format == "codex" {
            // A rollout has no field for it.
            used.cost = used.tokens_reasoning;
        }
        used
    };
    assert_eq!(used(&other), used(&place));
    let ended = |place: &Place| -> Vec<String> {
        place.store.view(&own).unwrap().rows.turns.iter().map(|turn| turn.row.status.to_string()).collect()
    };
    assert_eq!(ended(&other), ended(&place));
    other.is_sound();
    (place, other, text)
}

/// A tool without a name is written as `eval`.
fn named((name, status, value): (String, String, String)) -> (String, String, String) {
    (if name.is_empty() { "eval".to_owned() } else { name }, status, value)
}

#[test]
fn as_a_log_of_claude_code() {
    let (_, _, text) = there_and_back("claude-code");
    let records = entries(&text, 0);
    for pair in records.windows(2).filter(|pair| pair[1]["subtype"] != "compact_boundary") {
        assert_eq!(pair[1]["parentUuid"], pair[0]["uuid"]);
    }
    let boundary = records.iter().position(|record| record["subtype"] == "compact_boundary").unwrap();
    assert_eq!(records[boundary]["parentUuid"], Value::Null);
    assert_eq!(records[boundary]["logicalParentUuid"], records[boundary - 1]["uuid"]);
}

const LIGHTHOUSE: &str = include_str!("../fixtures/claude-code.jsonl");

#[test]
fn a_log_of_claude_code_goes_on_from_the_record_where_it_was() {
    let place = Place::of("claude-code");
    let own = place.import(LIGHTHOUSE).session;
    let kept = place.source(&own);
    let skip = kept.lines().count();
    let before = entries(&kept, 0);
    let session = place.store.resume(&own, None).unwrap();
    turn(&session, "One more.", "Here.");
    session.close().unwrap();
    let text = place.export(&own);
    assert!(text.starts_with(&kept));
    let leaf = before.iter().rev().find(|record| record["uuid"].is_string()).unwrap();
    assert_eq!(entries(&text, skip)[0]["parentUuid"], leaf["uuid"]);

    // Back behind the first turn: a branch, which leaves behind its last record.
    let first = place.store.head_of_turn(&own, headwater::model::TurnNumber(1)).unwrap();
    let session = place.store.resume(&own, Some(&first)).unwrap();
    turn(&session, "Or tomorrow?", "Tomorrow.");
    session.close().unwrap();
    let text = place.export(&own);
    let branch =
        entries(&text, skip).into_iter().find(|record| record["message"]["content"] == "Or tomorrow?").unwrap();
    let parent = before.iter().find(|record| record["uuid"] == branch["parentUuid"]).unwrap();
    assert!(parent["timestamp"].as_str() < leaf["timestamp"].as_str());
    let other = Place::of("claude-code");
    let there = other.import(&text);
    assert_eq!(other.said(&there.session), place.said(&own));

    // A fork made here begins with what it shares, as its own.
    let fork = place.store.fork(&first, NewSession::named(id("0b5c1c52-6f0d-4c9c-8a3a-2f6f5d0c1a78"))).unwrap();
    turn(&fork, "Elsewhere?", "By the wall.");
    let fork = fork.id().clone();
    let text = place.export(&fork);
    assert!(entries(&text, 0).iter().all(|record| record.get("sessionId").is_none_or(|id| id == fork.as_str())));
    let path = other.file("fork.jsonl", &text);
    let there = exchange::import(&other.store, &path).unwrap().session;
    assert_eq!(other.said(&there), place.said(&fork));
    other.is_sound();
}

#[test]
fn as_a_rollout_of_codex() {
    let (_, other, text) = there_and_back("codex");
    let own = id("0b5c1c52-6f0d-4c9c-8a3a-2f6f5d0c1a77");
    let totals: Vec<u64> = entries(&text, 0)
        .iter()
        .filter_map(|record| record["payload"]["info"]["total_token_usage"]["input_tokens"].as_u64())
        .collect();
    assert_eq!(totals, [120, 120, 240, 240], "a call of unknown use adds nothing");

    // A rollout that was imported goes on, and takes back.
    let skip = text.lines().count();
    let heads = other.store.heads(&own).unwrap();
    let first = heads.iter().find(|head| head.kind == HeadKind::Compaction).unwrap().head;
    let session = other.store.resume(&own, Some(&first)).unwrap();
    turn(&session, "Or the north bed?", "Peas are there.");
    session.close().unwrap();
    let gone_on = other.export(&own);
    assert!(gone_on.starts_with(&text));
    let back = &entries(&gone_on, skip)[0];
    assert_eq!((&back["payload"]["type"], &back["payload"]["num_turns"]), (&"thread_rolled_back".into(), &1.into()));
    let third = Place::of("codex");
    let there = third.import(&gone_on);
    assert_eq!(third.said(&there.session), other.said(&own));
    let read = |place: &Place| place.store.usage(&own).unwrap().root.tokens_input;
    assert_eq!(read(&third), read(&other), "what was taken back was paid for");

    let fork = other.store.fork(&first, NewSession::named(id("0b5c1c52-6f0d-4c9c-8a3a-2f6f5d0c1a79"))).unwrap();
    turn(&fork, "Elsewhere?", "By the wall.");
    let fork = fork.id().clone();
    let text = other.export(&fork);
    let there = exchange::import(&third.store, &third.file("fork.jsonl", &text)).unwrap();
    assert_eq!(there.forked_from, Some(own));
    assert_eq!(third.said(&there.session), other.said(&fork));
    third.is_sound();
}

/// Of OpenCode's tools the input is JSON over several lines; of a rollout the call is told of behind what it gave.
#[test]
fn what_other_formats_imported_stays_one_answer_and_one_record() {
    let place = Place::of("pi");
    let session = place.store.create_session(NewSession::named(id("0b5c1c52-6f0d-4c9c-8a3a-2f6f5d0c1a70"))).unwrap();
    let began = session.begin_turn("Which bed?").unwrap();
    session
        .write(|batch| {
            let call = batch.begin_call(CallType::Root, |call| call.turn = Some(began))?;
            let message = batch.add_message(NewMessage::new(Role::Assistant, "I look.").turn(began).call(call))?;
            let (code, value) = (batch.put(b"{\n  \"path\": \"beds.txt\"\n}"), batch.put(b"north"));
            batch.add_eval(Status::OK, |eval| {
                (eval.turn, eval.call, eval.message) = (Some(began), Some(call), Some(message));
                (eval.code, eval.result) = (Some(code), Some(value));
            })?;
            batch.update_call(call, |row| (row.status, row.tokens_input) = (Status::OK, Some(9)))?;
            batch.update_turn(began, |row| row.status = Status::FINAL)?;
            batch.seal()
        })
        .unwrap();
    let own = session.id().clone();
    session.close().unwrap();
    for format in ["pi", "claude-code", "codex", "pixir", "gemini"] {
        let mut out = Vec::new();
        let mut stream = exchange::export::Stream(&mut out);
        exchange::export(&place.store, &own, Some(format), &mut stream).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{format}: {text}");
        let imported = Place::of(format).import(&text);
        assert_eq!((imported.calls, imported.evals), (1, 1), "{format}: {text}");
        assert_eq!(imported.diagnostics, [], "{format}");
    }
}

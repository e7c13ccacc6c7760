//! Whatever a session came from, in whatever format it is written, it says the same when it is read again: the same words, calls,
//! tools and turns, as far as the format has a place for them.

use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange;
use headwater::model::{Call, CallType, Entry, HeadKind, Message, Role, SessionId, Status};
use headwater::store::{NewMessage, NewSession};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::imports::{Place, copy};
use crate::written::turn;

/// What a format has no field for.
struct Writer {
    format: &'static str,
    /// Whether it is a folder.
    is_folder: bool,
    reasoning: bool,
    cost: bool,
    /// Whether a compaction is a head, and not a message alone.
    compacts: bool,
    /// Whether a compaction is asked for by an input of its own.
    asks: bool,
    /// Whether what failed is told in the model's name.
    tells_errors: bool,
}

const fn writer(format: &'static str) -> Writer {
    Writer { format, is_folder: false, reasoning: true, cost: true, compacts: true, asks: false, tells_errors: false }
}

const WRITERS: [Writer; 7] = [
    Writer { reasoning: false, ..writer("pi") },
    writer("pixir"),
    Writer { is_folder: true, compacts: false, ..writer("fractal") },
    Writer { reasoning: false, tells_errors: true, ..writer("claude-code") },
    Writer { cost: false, ..writer("codex") },
    Writer { cost: false, ..writer("gemini") },
    Writer { is_folder: true, asks: true, ..writer("opencode") },
];

/// What a session says at its current head.
#[derive(Debug, PartialEq)]
struct Story {
    said: Vec<(String, String)>,
    turns: usize,
    compactions: usize,
    /// Of each call of which something is known: model, input, output, cached, reasoning, cost.
    calls: Vec<(Option<String>, [Option<u64>; 5])>,
    /// Of each tool: its name, whether it ended well, what came of it.
    tools: Vec<(String, bool, String)>,
}

fn story(place: &Place, session: &SessionId, writer: &Writer) -> Story {
    let rows = place.store.view(session).unwrap().rows;
    let heads = place.store.heads(session).unwrap();
    let frames: Vec<_> =
        heads.iter().filter(|head| head.kind == HeadKind::Compaction).map(|head| head.event.0).collect();
    let failed = rows.calls.iter().filter(|entry| entry.row.status == Status::ERROR);
    let failed: Vec<_> = failed.map(|entry| Some(entry.row.call)).collect();
    let is_asked = |text: &str| writer.asks && text.contains("\"type\": \"compaction\"");
    let is_said = |entry: &&Entry<Message>| match entry.row.role {
        // What a program said in the user's name is told otherwise.
        Role::User => rows.turns.iter().any(|turn| turn.row.input == Some(entry.row.content)),
        Role::Assistant => !writer.tells_errors || !failed.contains(&entry.row.call),
        Role::Summary => !writer.compacts || frames.contains(&(entry.event.0 + 1)),
        _ => false,
    };
    let said = rows.messages.iter().filter(is_said);
    let said = said.map(|entry| (entry.row.role.to_string(), place.text(Some(entry.row.content))));
    let is_model = |call: &&Call| matches!(call.call_type, CallType::Root | CallType::Leaf | CallType::LeafBatchItem);
    let calls = rows.calls.iter().map(|entry| &entry.row).filter(is_model).map(|call| {
        let reasoning = call.tokens_reasoning.filter(|_| writer.reasoning);
        let cost = call.cost.filter(|_| writer.cost);
        // Some programs must name one.
        let model = call.model.clone().filter(|model| !model.is_empty() && model != "unknown");
        (model, [call.tokens_input, call.tokens_output, call.tokens_cached, reasoning, cost])
    });
    let tools = rows.evals.iter().map(|entry| &entry.row).map(|eval| {
        let value = place.text(eval.observation.or(eval.result).or(eval.error));
        // Pixir's errors are objects.
        let error = serde_json::from_str::<Value>(&value).ok().filter(|value| value["details"].is_object());
        let value = error.map_or(value, |error| error["message"].as_str().unwrap_or_default().to_owned());
        let is_well = eval.status == Status::OK || eval.status == Status::FINAL;
        (eval.name.clone().unwrap_or_else(|| "eval".to_owned()), is_well, value)
    });
    let mut calls: Vec<_> =
        calls.filter(|(_, amounts)| amounts.iter().any(|amount| amount.is_some_and(|amount| amount > 0))).collect();
    // Those that ran at the same time are told in the order of their ends.
    calls.sort();
    let mut tools: Vec<_> = tools.collect();
    // What has not ended at the end of a source may be none yet.
    while tools.pop_if(|(_, is_well, value)| !*is_well && value.is_empty()).is_some() {}
    Story {
        said: said.filter(|(_, text)| !text.trim().is_empty() && !is_asked(text)).collect(),
        turns: rows.turns.len(),
        compactions: frames.len(),
        calls,
        tools,
    }
}

impl Writer {
    /// Writes a session, and reads it into another store; none where nothing was written.
    fn there(&self, place: &Place, session: &SessionId) -> Option<(Place, SessionId, Vec<String>)> {
        let other = Place::of(self.format);
        let name = format!("made-{session}.{}", if self.format == "pixir" { "ndjson" } else { "jsonl" });
        let path = other.folder.path().join(if self.is_folder { "made".to_owned() } else { name });
        exchange::export_to(&place.store, session, Some(self.format), &path).unwrap();
        if path.metadata().unwrap().len() == 0 {
            return None;
        }
        let imported = other.import_all(&path);
        let is_it = |id: &str| id == session.as_str() || id.strip_prefix("ses_") == Some(session.as_str());
        let found = imported.iter().find(|one| is_it(one.session.as_str()));
        // A child's run by itself is another's root.
        let found = found.or(imported.last()).unwrap();
        assert_eq!(found.format, self.format);
        let odd = found.diagnostics.iter().map(|one| one.kind.clone()).collect();
        Some((other, found.session.clone(), odd))
    }

    /// What of a story the format says again.
    fn says(&self, mut story: Story) -> Story {
        if self.asks {
            story.turns += story.compactions;
        }
        if !self.compacts {
            story.compactions = 0;
        }
        story
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A session of our own: two turns, a compaction that keeps the last word, and a turn that was stopped.
fn own(place: &Place) -> SessionId {
    let id: SessionId = "0b5c1c52-6f0d-4c9c-8a3a-2f6f5d0c1a77".parse().unwrap();
    let session = place.store.create_session(NewSession::named(id.clone())).unwrap();
    turn(&session, "Which bed?", "The south one.");
    session.write(|batch| batch.compact("they chose a bed", 1)).unwrap();
    turn(&session, "And the beans?", "There, too.");
    let last = session.begin_turn("And the rest?").unwrap();
    session
        .write(|batch| {
            let call = batch.begin_call(CallType::Root, |call| call.turn = Some(last))?;
            batch.update_call(call, |row| {
                (row.status, row.tokens_reasoning, row.cost) = (Status::OK, Some(3), Some(1));
                row.tokens_input = Some(50);
            })?;
            batch.add_message(NewMessage::new(Role::Assistant, "The re").turn(last).call(call))?;
            batch.update_turn(last, |row| row.status = Status::ABORTED)?;
            batch.seal()
        })
        .unwrap();
    session.close().unwrap();
    id
}

/// A storage folder of OpenCode: a message of two steps, and one that failed.
fn opencode(root: &Path) {
    let file = |name: &str, value: serde_json::Value| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    };
    let at = 1_790_000_000_000_u64;
    file(
        "session/p/ses_boats.json",
        json!({ "id": "ses_boats", "projectID": "p", "title": "Boats",
        "time": { "created": at, "updated": at } }),
    );
    let message = |id: &str, value: serde_json::Value| file(&format!("message/ses_boats/{id}.json"), value);
    let part = |message: &str, number: u32, mut value: serde_json::Value| {
        let id = format!("prt_{}_{number}", &message[4..]);
        (value["id"], value["sessionID"], value["messageID"]) = (json!(id), json!("ses_boats"), json!(message));
        file(&format!("part/{message}/{id}.json"), value);
    };
    let finish = |input: u64| {
        json!({ "type": "step-finish", "reason": "stop", "cost": 0.25,
            "tokens": { "input": input, "output": 5, "reasoning": 1, "cache": { "read": 2, "write": 0 } } })
    };
    let tool = |command: &str, output: &str| {
        json!({ "type": "tool", "tool": "bash", "callID": "c", "state": { "status": "completed",
            "input": { "command": command }, "output": output, "time": { "start": at, "end": at + 1 } } })
    };
    message("msg_01", json!({ "id": "msg_01", "role": "user", "time": { "created": at } }));
    part("msg_01", 1, json!({ "type": "text", "text": "How many boats?" }));
    message(
        "msg_02",
        json!({ "id": "msg_02", "role": "assistant", "parentID": "msg_01", "modelID": "acme-1", "finish": "stop",
        "providerID": "acme", "time": { "created": at + 10, "completed": at + 20 } }),
    );
    part("msg_02", 1, tool("ls boats", "a\nb"));
    part("msg_02", 2, finish(100));
    part("msg_02", 3, tool("ls pier", "c"));
    part("msg_02", 4, finish(110));
    part("msg_02", 5, json!({ "type": "text", "text": "Three." }));
    part("msg_02", 6, finish(120));
    message("msg_03", json!({ "id": "msg_03", "role": "user", "time": { "created": at + 30 } }));
    part("msg_03", 1, json!({ "type": "text", "text": "And ships?" }));
    message(
        "msg_04",
        json!({ "id": "msg_04", "role": "assistant", "parentID": "msg_03", "modelID": "acme-1",
        "providerID": "acme", "time": { "created": at + 40 }, "tokens": { "input": 7 },
        "error": { "name": "MessageAbortedError", "data": { "message": "stop" } } }),
    );
    part("msg_04", 1, json!({ "type": "text", "text": "No" }));
}

/// Each source in a store of its own, with its session.
fn sources() -> Vec<(&'static str, Place, SessionId)> {
    let mut all = Vec::new();
    let place = Place::of("pi");
    let session = own(&place);
    all.push(("", place, session));
    for (format, name) in [
        ("pi", "pi/tree.jsonl"),
        ("pi", "pi-v1.jsonl"),
        ("pixir", "pixir.ndjson"),
        ("claude-code", "claude-code.jsonl"),
        ("codex", "codex/ferry.jsonl"),
        ("codex", "codex/bare.jsonl"),
        ("gemini", "gemini/harbor.json"),
        ("gemini", "gemini/pier.jsonl"),
        ("fractal", "fractal/harbor"),
        ("opencode", ""),
    ] {
        let place = Place::of(format);
        let path = match (format, name) {
            ("opencode", _) => place.folder.path().join("storage"),
            ("fractal", _) => place.folder.path().join("harbor"),
            _ => fixture(name),
        };
        match format {
            "opencode" => opencode(&path),
            "fractal" => copy(&fixture(name), &path),
            _ => {}
        }
        let session = place.import_all(&path).pop().unwrap().session;
        all.push((format, place, session));
    }
    all
}

/// Writes a session in these formats, and reads it again; what is wrong with that.
fn goes_round(
    writers: impl IntoIterator<Item = usize>,
    format: &str,
    place: &Place,
    session: &SessionId,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for writer in writers.into_iter().map(|writer| &WRITERS[writer]) {
        let ours = story(place, session, writer);
        let Some((other, there, odd)) = writer.there(place, session) else {
            // Of a session in which nothing was said there may be no record.
            wrong.extend((ours.turns > 0).then(|| format!("{format} {session} as {}: nothing", writer.format)));
            continue;
        };
        let is_own = format == writer.format;
        // Its own form comes out as it came in.
        let ours = if is_own { ours } else { writer.says(ours) };
        let theirs = story(&other, &there, writer);
        if ours != theirs || !(is_own || odd.is_empty()) {
            wrong.push(format!("{format} {session} as {}: {odd:?}\n{theirs:#?}\n is not\n{ours:#?}", writer.format));
        }
        if format.is_empty() {
            other.is_sound();
        }
    }
    wrong
}

#[test]
fn every_source_says_the_same_in_every_format() {
    let sources = sources();
    std::thread::scope(|scope| {
        let all: Vec<_> = sources
            .iter()
            .map(|(format, place, session)| scope.spawn(move || goes_round(0..WRITERS.len(), format, place, session)))
            .collect();
        let wrong: Vec<String> = all.into_iter().flat_map(|one| one.join().unwrap()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// What happens in a turn: an answer with tools, of each whether it ended well, or a compaction that keeps so many messages.
#[derive(Debug, Clone)]
enum Step {
    Answer { text: String, used: Option<(u16, u16)>, tools: Vec<(String, bool)> },
    Compact { text: String, keep: usize },
    Note,
}

fn any_text() -> impl Strategy<Value = String> {
    // Letters that JSON, and names of files, treat otherwise; no text that a format takes for its own.
    "[a-zé\"\\\\/ \n\t☂{}:,]{0,24}".prop_map(|text| format!("w{text}w"))
}

fn any_step() -> impl Strategy<Value = Step> {
    let used = proptest::option::of((1_u16.., 1_u16..));
    let tools = proptest::collection::vec((any_text(), any::<bool>()), 0..3);
    let answer = (any_text(), used, tools).prop_map(|(text, used, tools)| Step::Answer { text, used, tools });
    prop_oneof![6 => answer, 1 => (any_text(), 0_usize..3).prop_map(|(text, keep)| Step::Compact { text, keep }),
        1 => Just(Step::Note)]
}

/// Plays turns; each ends well, with a last word.
fn play(place: &Place, turns: &[(String, Vec<Step>)]) -> SessionId {
    let session = place.store.create_session(NewSession::named("any".parse().unwrap())).unwrap();
    for (input, steps) in turns {
        let turn = session.begin_turn(input).unwrap();
        let last = Step::Answer { text: "That is all.".to_owned(), used: Some((1, 1)), tools: Vec::new() };
        let mut frames = Vec::new();
        for step in steps.iter().chain([&last]) {
            match step {
                Step::Compact { text, keep } => frames.push((text, *keep)),
                Step::Note => drop(session.add_annotation("acme/note", None).unwrap()),
                Step::Answer { text, used, tools } => session
                    .write(|batch| {
                        let call = batch.begin_call(CallType::Root, |call| {
                            (call.turn, call.model) = (Some(turn), Some("acme-1".to_owned()));
                        })?;
                        batch.update_call(call, |row| {
                            row.status = Status::OK;
                            row.tokens_input = used.map(|(input, _)| input.into());
                            row.tokens_output = used.map(|(_, output)| output.into());
                        })?;
                        let message =
                            batch.add_message(NewMessage::new(Role::Assistant, text.as_str()).turn(turn).call(call))?;
                        for (text, is_well) in tools {
                            let (code, value) = (batch.put(br#"{"a":[1.50,"x"]}"#), batch.put(text.as_bytes()));
                            let status = if *is_well { Status::OK } else { Status::ERROR };
                            batch.add_eval(status, |eval| {
                                (eval.turn, eval.call, eval.message) = (Some(turn), Some(call), Some(message));
                                (eval.name, eval.code) = (Some("look".to_owned()), Some(code));
                                if *is_well { eval.result = Some(value) } else { eval.error = Some(value) }
                            })?;
                        }
                        Ok(())
                    })
                    .unwrap(),
            }
        }
        session.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
        session.seal().unwrap();
        for (text, keep) in frames {
            session.write(|batch| batch.compact(text, keep)).unwrap();
        }
    }
    let id = session.id().clone();
    session.close().unwrap();
    id
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn any_session_says_the_same_in_every_format(
        turns in proptest::collection::vec((any_text(), proptest::collection::vec(any_step(), 0..4)), 1..4),
    ) {
        let place = Place::of("pi");
        let session = play(&place, &turns);
        let wrong = goes_round(0..WRITERS.len(), "any", &place, &session);
        prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Longer sources of the shared folder say nothing new here.
const LONGEST: u64 = 256 * 1_024;

#[test]
fn the_shared_logs_say_the_same_in_every_format() {
    let shared = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("data");
    if !shared.is_dir() {
        eprintln!("skipped: the_shared_logs_say_the_same_in_every_format needs {}", shared.display());
        return;
    }
    let (mut wrong, mut count) = (Vec::new(), 0);
    for format in WRITERS.iter().map(|writer| writer.format) {
        for found in exchange::find(&shared.join(format)).unwrap() {
            if found.path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > LONGEST) {
                continue;
            }
            let place = Place::of(format);
            for imported in found.import(&place.store, &mut |_| {}).into_iter().flatten() {
                // Each in two formats: all of them in all take minutes.
                let two = [count % WRITERS.len(), (count + 3) % WRITERS.len()];
                wrong.extend(goes_round(two, imported.format, &place, &imported.session));
                count += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

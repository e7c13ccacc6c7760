//! Sessions of headwater's own, those that went on here, and forks made here, as storage folders of OpenCode.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange::{self, ExportError, Exported};
use headwater::model::{SessionId, TurnNumber};
use headwater::store::NewSession;
use serde_json::{Value, json};

use crate::imports::{Place, files};
use crate::written::{calls_a_session, turn};

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// Files of a storage folder, as JSON.
type Files = BTreeMap<String, Value>;

fn exported(place: &Place, session: &SessionId, name: &str) -> (PathBuf, Files, Exported) {
    let path = place.folder.path().join(name);
    let done = exchange::export_to(&place.store, session, Some("opencode"), &path).unwrap();
    let read = files(&path).into_iter().map(|(name, bytes)| (name, serde_json::from_slice(&bytes).unwrap())).collect();
    (path, read, done)
}

/// The files of one kind, in the order of their names.
fn of<'f>(files: &'f Files, folder: &str) -> Vec<&'f Value> {
    files.iter().filter(|(name, _)| name.starts_with(folder)).map(|(_, value)| value).collect()
}

/// The fields that OpenCode cannot do without, and that each file says where it is.
fn is_readable(files: &Files) {
    for (name, value) in files {
        let path: Vec<&str> = name.strip_suffix(".json").unwrap().split('/').collect();
        let text = |field: &str| value[field].as_str().unwrap_or_else(|| panic!("{name} has no {field}: {value}"));
        assert_eq!(text("id"), path[2], "{name}");
        match path[0] {
            "session" => {
                assert!(text("id").starts_with("ses_") && text("projectID") == path[1]);
                assert!(!text("title").is_empty() && !text("version").is_empty() && text("directory") == "/");
                assert!(value["time"]["created"].is_u64() && value["time"]["updated"].is_u64());
            }
            "message" => {
                assert!(
                    text("id").starts_with("msg_") && text("sessionID") == path[1] && value["time"]["created"].is_u64()
                );
                assert_eq!(text("agent"), "build");
                if text("role") == "assistant" {
                    for amount in [&value["cost"], &value["tokens"]["input"], &value["tokens"]["output"]] {
                        assert!(amount.is_number(), "{value}");
                    }
                    assert!(value["tokens"]["reasoning"].is_u64() && value["tokens"]["cache"]["read"].is_u64());
                    assert!(
                        text("parentID").starts_with("msg_")
                            && !text("modelID").is_empty()
                            && !text("providerID").is_empty()
                    );
                    assert!(
                        value["path"]["cwd"].is_string()
                            && value["path"]["root"].is_string()
                            && !text("mode").is_empty()
                    );
                } else {
                    assert!(value["model"]["providerID"].is_string() && value["model"]["modelID"].is_string());
                }
            }
            "part" => {
                assert!(
                    text("id").starts_with("prt_") && text("messageID") == path[1] && !text("sessionID").is_empty()
                );
                let state = &value["state"];
                if text("type") == "tool" {
                    assert!(
                        state["input"].is_object() && state["time"]["start"].is_u64() && !text("callID").is_empty()
                    );
                    assert!(state["output"].is_string() || state["error"].is_string() || state["status"] == "running");
                }
            }
            other => panic!("{other}"),
        }
    }
}

/// What a session says, results of tools apart.
fn words(place: &Place, session: &SessionId) -> Vec<(String, String)> {
    place.said(session).into_iter().filter(|(role, text)| role != "tool" && !text.is_empty()).collect()
}

/// An imported session of two turns.
fn boats(place: &Place) -> (SessionId, PathBuf) {
    let root = place.folder.path().join("storage");
    let at = 1_790_000_000_000_u64;
    let put = |name: &str, value: Value| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    };
    put(
        "session/p/ses_boats.json",
        json!({ "id": "ses_boats", "projectID": "p", "title": "Boats", "version": "1",
        "directory": "/", "time": { "created": at, "updated": at } }),
    );
    put("todo/ses_boats.json", json!([]));
    for (number, asked, said) in [(1, "How many boats?", "Three."), (3, "And ships?", "None.")] {
        let (input, answer) = (format!("msg_{number:02}"), format!("msg_{:02}", number + 1));
        let time = json!({ "created": at + number * 10, "completed": at + number * 10 });
        put(
            &format!("message/ses_boats/{input}.json"),
            json!({ "id": input, "sessionID": "ses_boats", "role": "user", "time": time }),
        );
        put(
            &format!("part/{input}/prt_{number}1.json"),
            json!({ "id": format!("prt_{number}1"), "messageID": input,
            "sessionID": "ses_boats", "type": "text", "text": asked }),
        );
        put(
            &format!("message/ses_boats/{answer}.json"),
            json!({ "id": answer, "sessionID": "ses_boats", "role": "assistant",
            "parentID": input, "time": time, "finish": "stop", "tokens": { "input": 10, "output": 1 } }),
        );
        put(
            &format!("part/{answer}/prt_{number}2.json"),
            json!({ "id": format!("prt_{number}2"), "messageID": answer,
            "sessionID": "ses_boats", "type": "text", "text": said }),
        );
    }
    let imported = place.import_all(&root);
    (imported[0].session.clone(), root)
}

#[test]
fn a_session_of_headwaters_own_becomes_a_storage_folder() {
    let place = Place::of("opencode");
    let session = place.store.create_session(NewSession::named(id("own"))).unwrap();
    turn(&session, "Which bed?", "The south one.");
    session.write(|batch| batch.compact("they chose a bed", 1)).unwrap();
    turn(&session, "And the beans?", "There, too.");
    session.close().unwrap();
    let (path, made, done) = exported(&place, &id("own"), "made");
    assert_eq!(done.notices, []);
    assert_eq!(made, exported(&place, &id("own"), "again").1, "the same each time");
    is_readable(&made);

    // In the order of their ids: two turns of three messages, and a compaction's question and answer.
    let messages = of(&made, "message/");
    let roles: Vec<&str> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    let (user, assistant) = ("user", "assistant");
    assert_eq!(roles, [user, assistant, assistant, user, assistant, user, assistant, assistant]);
    for pair in messages.windows(2) {
        assert!(pair[0]["time"]["created"].as_u64() <= pair[1]["time"]["created"].as_u64());
    }
    assert_eq!(messages[2]["parentID"], messages[0]["id"]);
    let kinds = |message: &Value| -> Vec<String> {
        let parts = of(&made, &format!("part/{}/", message["id"].as_str().unwrap()));
        parts.iter().map(|part| part["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(messages[1]), ["step-start", "text", "tool", "tool", "step-finish"]);
    assert_eq!((&messages[1]["finish"], &messages[2]["finish"]), (&"tool-calls".into(), &"stop".into()));
    assert_eq!(messages[1]["cost"].to_string(), "0.0015");
    assert_eq!((&messages[4]["summary"], &messages[4]["parentID"]), (&true.into(), &messages[3]["id"]));
    let asked = of(&made, &format!("part/{}/", messages[3]["id"].as_str().unwrap()));
    assert_eq!((&asked[0]["type"], &asked[0]["tail_start_id"]), (&"compaction".into(), &messages[2]["id"]));
    let tools: Vec<&Value> = of(&made, "part/").into_iter().filter(|part| part["type"] == "tool").collect();
    assert_eq!(
        (&tools[0]["state"]["status"], &tools[0]["state"]["output"]),
        (&"completed".into(), &"north: peas".into())
    );
    assert_eq!(tools[1]["state"]["error"], "a bracket is missing");

    let other = Place::of("opencode");
    let there = other.import_all(&path).pop().unwrap();
    assert_eq!((there.session.as_str(), there.diagnostics.len()), ("ses_own", 0));
    let used = |place: &Place, session: &SessionId| {
        let models = place.store.usage_by_model(session, false).unwrap();
        models.into_iter().find(|row| row.model.as_deref() == Some("acme-1")).unwrap().used
    };
    assert_eq!(used(&other, &there.session), used(&place, &id("own")));
    assert_eq!(there.calls, 5, "a compaction's answer is a call, of unknown use");
    other.is_sound();
    // What was read is written as it is.
    assert_eq!(exported(&other, &there.session, "made").1, made);
}

#[test]
fn a_session_that_went_on_here_keeps_its_files_and_gets_more() {
    let place = Place::of("opencode");
    let (own, root) = boats(&place);
    let session = place.store.resume(&own, None).unwrap();
    let here = turn(&session, "One more.", "Here.");
    session.close().unwrap();
    let (path, made, _) = exported(&place, &own, "made");
    let (before, now) = (files(&root), files(&path));
    for (name, bytes) in &before {
        assert_eq!(now.get(name), Some(bytes), "{name}");
    }
    let new: Files =
        made.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(a, b)| (a.clone(), b.clone())).collect();
    is_readable(&new);
    let names: Vec<&String> = made.keys().filter(|name| name.starts_with("message/")).collect();
    assert!(names[..4].iter().all(|name| before.contains_key(*name)) && names.len() == 7, "behind its own: {names:?}");
    let other = Place::of("opencode");
    let there = other.import_all(&path).pop().unwrap();
    assert_eq!((there.session.as_str(), there.turns, there.diagnostics.len()), ("ses_boats", 3, 0));
    assert_eq!(words(&other, &there.session), words(&place, &own));

    // It went back: what was left has no file.
    let first = place.store.head_of_turn(&own, TurnNumber(1)).unwrap();
    let session = place.store.resume(&own, Some(&first)).unwrap();
    turn(&session, "Or none?", "Three, as I said.");
    session.close().unwrap();
    let (path, made, done) = exported(&place, &own, "back");
    assert!(done.notices.iter().any(|one| one.kind == "left-out"), "{done:?}");
    is_readable(&made);
    let other = Place::of("opencode");
    let there = other.import_all(&path).pop().unwrap().session;
    assert_eq!(words(&other, &there), words(&place, &own));

    // A fork made here has its own ids.
    let fork = place.store.fork(&here, NewSession::named(id("branch"))).unwrap();
    turn(&fork, "Elsewhere?", "By the wall.");
    fork.close().unwrap();
    let (path, made, _) = exported(&place, &id("branch"), "branch");
    is_readable(&made);
    assert!(made.keys().all(|name| !before.contains_key(name)));
    let there = other.import_all(&path).pop().unwrap().session;
    assert_eq!((there.as_str(), words(&other, &there)), ("ses_branch", words(&place, &id("branch"))));
    other.is_sound();
}

#[test]
fn what_was_taken_back_does_not_come_back_with_what_follows() {
    let place = Place::of("opencode");
    let (own, root) = boats(&place);
    let file = root.join("session/p/ses_boats.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    value["revert"] = json!({ "messageID": "msg_03" });
    fs::write(&file, value.to_string()).unwrap();
    place.import_all(&root);
    let session = place.store.resume(&own, None).unwrap();
    turn(&session, "One more.", "Here.");
    session.close().unwrap();
    let (path, _, _) = exported(&place, &own, "made");
    let other = Place::of("opencode");
    let there = other.import_all(&path).pop().unwrap().session;
    assert_eq!(words(&other, &there), words(&place, &own));
    assert!(!words(&place, &own).iter().any(|(_, text)| text == "And ships?"));
}

#[test]
fn the_sessions_that_one_opened_are_written_with_it() {
    let place = Place::of("opencode");
    for name in ["scout", "other"] {
        let child = place.store.create_session(NewSession::named(id(name))).unwrap();
        turn(&child, "Look.", "I looked.");
        child.close().unwrap();
    }
    let session = place.store.create_session(NewSession::named(id("own"))).unwrap();
    calls_a_session(&session, &id("scout"));
    let kind = headwater::model::Status::new("subagent").unwrap();
    session.start_invocation(kind, |row| row.callee = Some(id("other"))).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let (path, made, done) = exported(&place, &id("own"), "made");
    assert_eq!(done.notices, []);
    is_readable(&made);
    let parents: Vec<_> = of(&made, "session/").into_iter().map(|one| (&one["id"], &one["parentID"])).collect();
    let parent: Value = "ses_own".into();
    assert_eq!(parents, [(&"ses_other".into(), &parent), (&parent, &Value::Null), (&"ses_scout".into(), &parent)]);
    let opened: Vec<&Value> = of(&made, "part/").into_iter().filter(|part| part["tool"] == "task").collect();
    assert_eq!(opened[0]["state"]["metadata"]["sessionId"], "ses_scout");
    let other = Place::of("opencode");
    let there = other.import_all(&path).pop().unwrap();
    assert_eq!((there.session.as_str(), there.invocations, there.diagnostics.len()), ("ses_own", 2, 0));
    let edges = other.store.invocations_from(&there.session).unwrap();
    let mut callees: Vec<_> = edges.iter().map(|edge| edge.row.callee.as_ref().unwrap().as_str()).collect();
    callees.sort_unstable();
    assert_eq!(callees, ["ses_other", "ses_scout"]);
    other.is_sound();
}

#[test]
fn what_is_there_is_not_replaced_and_nothing_is_half_written() {
    let place = Place::of("opencode");
    let session = place.store.create_session(NewSession::named(id("own"))).unwrap();
    turn(&session, "Which bed?", "The south one.");
    session.close().unwrap();
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join("made");
    let export = |path: &Path| exchange::export_to(&place.store, &id("own"), Some("opencode"), path);
    for make in [|path: &Path| fs::create_dir(path).unwrap(), |path: &Path| fs::write(path, "mine").unwrap()] {
        make(&path);
        assert!(matches!(export(&path), Err(ExportError::Io { .. })));
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1, "nothing beside it");
        if path.is_dir() { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
    let mut out = Vec::new();
    let stream = exchange::export(&place.store, &id("own"), Some("opencode"), &mut exchange::export::Stream(&mut out));
    assert!(matches!(stream, Err(ExportError::NeedsFolder)));
    export(&path).unwrap();
}

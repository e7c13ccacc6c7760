//! A session as a folder of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use headwater::exchange::files::{FileOptions, FilesError};
use headwater::model::{Digest, Role};
use serde_json::Value;

use super::tools::{fresh, named, turn};

fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_session_becomes_files_with_long_values_beside_them() {
    let home = fresh();
    let session = named(&home.store, "demo");
    turn(&session, "what is 2 + 2?", "4").unwrap();
    let long = "x".repeat(4_097);
    session.add_message(Role::Assistant, "y".repeat(4_096)).commit().unwrap();
    session.add_message(Role::User, long.as_str()).commit().unwrap();
    session.add_message(Role::User, long.as_str()).commit().unwrap();
    session.seal().unwrap();
    let out = home.folder.path().join("out");
    let written = home.store.export_files(session.id(), &out, FileOptions::default()).unwrap();
    let rows = home.store.view(session.id()).unwrap().rows;
    assert_eq!(written.rows as usize, rows.messages.len() + rows.turns.len() + rows.calls.len());
    assert_eq!((written.events, written.blobs), (home.store.session(session.id()).unwrap().events, 1));

    let messages = json(&out, "messages.json");
    let messages = messages.as_array().unwrap();
    assert_eq!(messages.len(), rows.messages.len());
    for (message, entry) in messages.iter().zip(&rows.messages) {
        assert_eq!((&message["message"], &message["event"]), (&entry.row.message.0.into(), &entry.event.0.into()));
        let bytes = home.store.blobs().get(&entry.row.content).unwrap();
        let content = &message["content"];
        if bytes.len() > 4_096 {
            assert_eq!((&content["value/kind"], &content["bytes"]), (&"blob".into(), &bytes.len().into()));
            let file = fs::read(out.join(content["path"].as_str().unwrap())).unwrap();
            assert_eq!((Digest::of(&file).to_string().as_str(), file), (content["digest"].as_str().unwrap(), bytes));
        } else {
            assert_eq!(
                *content,
                serde_json::json!({ "value/kind": "inline", "value": String::from_utf8(bytes).unwrap() })
            );
        }
    }
    let events = fs::read_to_string(out.join("events.jsonl")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len() as u64, written.events);
    assert_eq!(json(&out, "final.json")["value"]["value"], "4");
    assert_eq!(json(&out, "turns.json")[0]["input"]["value"], "what is 2 + 2?");
    assert_eq!(json(&out, "usage.json")["total"]["calls"], 1);
    assert_eq!(
        (&json(&out, "tree.json")["node"], &json(&out, "session.json")["session"]),
        (&"demo".into(), &"demo".into())
    );
    // Nothing of the way there is left beside it.
    assert_eq!(names(home.folder.path()), ["out", "store"].map(str::to_owned).into());
}

#[test]
fn an_export_is_replaced_by_its_own_kind_alone() {
    let home = fresh();
    let (demo, other) = (named(&home.store, "demo"), named(&home.store, "other"));
    turn(&demo, "what is 2 + 2?", "4").unwrap();
    turn(&other, "what is 1 + 1?", "2").unwrap();
    let out = home.folder.path().join("deep/out");
    let export =
        |session: &headwater::store::Session| home.store.export_files(session.id(), &out, FileOptions::default());
    export(&demo).unwrap();
    turn(&demo, "and 3 + 3?", "6").unwrap();
    export(&demo).unwrap();
    assert_eq!(json(&out, "turns.json").as_array().unwrap().len(), 2);
    assert_eq!(names(&home.folder.path().join("deep")), ["out".to_owned()].into());

    let refused = |why: &str| {
        let before = fs::read(out.join("turns.json")).ok();
        match export(&demo) {
            Err(FilesError::NotOurs { entry, .. }) => assert_eq!(entry, why),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(out.join("turns.json")).ok(), before);
        assert_eq!(names(&home.folder.path().join("deep")), ["out".to_owned()].into());
    };
    assert!(matches!(export(&other), Err(FilesError::NotOurs { .. })));
    fs::write(out.join("notes.txt"), "mine").unwrap();
    refused("notes.txt");
    fs::remove_file(out.join("notes.txt")).unwrap();
    fs::write(out.join("blobs/notes"), "mine").unwrap();
    refused("blobs/notes");
    fs::remove_file(out.join("blobs/notes")).unwrap();
    fs::remove_file(out.join("export.json")).unwrap();
    refused("no mark of this session's export");
    fs::remove_dir_all(&out).unwrap();
    fs::write(&out, "a file").unwrap();
    refused("a file");
    // An empty folder is nobody's.
    fs::remove_file(&out).unwrap();
    fs::create_dir(&out).unwrap();
    export(&demo).unwrap();
    assert_eq!(json(&out, "session.json")["session"], "demo");
}

//! A file that begins with a byte order mark is read as the same file without it, and written with it.

use std::fs;
use std::path::Path;

use headwater::exchange::{self, Imported};
use serde_json::json;

use super::imports::{Place, copy, files};

const MARK: &[u8] = "\u{feff}".as_bytes();

const SOURCES: [(&str, &str, &str); 6] = [
    ("pi", "s.jsonl", include_str!("../fixtures/pi-v1.jsonl")),
    ("pixir", "s.ndjson", include_str!("../fixtures/pixir.ndjson")),
    ("claude-code", "s.jsonl", include_str!("../fixtures/claude-code.jsonl")),
    ("codex", "s.jsonl", include_str!("../fixtures/codex/ferry.jsonl")),
    ("codex", "bare.jsonl", include_str!("../fixtures/codex/bare.jsonl")),
    (
        "gemini",
        "chats/s.json",
        r#"{"sessionId":"s","projectHash":"0","startTime":"2026-02-03T08:00:00.000Z","lastUpdated":"2026-02-03T08:00:00.000Z",
  "messages":[{"id":"u","timestamp":"2026-02-03T08:00:01.000Z","type":"user","content":"one"},
   {"id":"a","timestamp":"2026-02-03T08:00:02.000Z","type":"gemini","content":"two","tokens":{"input":1,"output":1,"cached":0,"thoughts":0,"tool":0,"total":2},"model":"m"}]}"#,
    ),
];

fn said(imported: &[Imported]) -> Vec<(String, [u64; 6], usize)> {
    let of = |one: &Imported| {
        let counts = [one.messages, one.turns, one.calls, one.evals, one.heads, one.invocations];
        (one.session.to_string(), counts, one.diagnostics.len())
    };
    imported.iter().map(of).collect()
}

#[test]
fn a_mark_at_the_start_of_a_file_costs_no_record() {
    for (format, name, text) in SOURCES {
        let plain = Place::of(format);
        let expected = plain.import_all(&plain.file(name, text));
        let place = Place::of(format);
        let marked = [MARK, text.as_bytes()].concat();
        let path = place.file(name, &marked);
        let imported = place.import_all(&path);
        assert_eq!(said(&imported), said(&expected), "{format} {name}");
        let main = imported.iter().find(|one| one.forked_from.is_none() && one.turns > 0).unwrap();
        assert!(main.turns > 0, "{format}");
        let whole = &marked[..marked.len().min(place.source_bytes(&main.session).len())];
        assert!(place.source_bytes(&main.session) == whole && whole.len() * 10 > marked.len() * 9, "{format}");
        assert!(place.import_all(&path).iter().all(|one| one.new_events == 0), "{format}");
        // What is found in a folder is found with it, too.
        let folder = place.import_all(path.parent().unwrap());
        assert!(folder.iter().all(|one| one.new_events == 0) && folder.len() == imported.len(), "{format}");
        place.is_sound();
    }
}

#[test]
fn a_mark_in_files_of_a_folder_costs_none_either() {
    let marked = |root: &Path, ends: &[&str]| {
        for (name, bytes) in files(root) {
            if ends.iter().any(|end| name.ends_with(end)) {
                fs::write(root.join(name), [MARK, &bytes].concat()).unwrap();
            }
        }
    };
    let run = |is_marked: bool| {
        let place = Place::of("fractal");
        let folder = place.folder.path().join("harbor");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fractal/harbor"), &folder);
        if is_marked {
            marked(&folder, &["events.ednl"]);
        }
        let imported = place.import_all(&folder);
        let out = place.folder.path().join("out");
        exchange::export_to(&place.store, &imported.last().unwrap().session, Some("fractal"), &out).unwrap();
        assert_eq!(files(&out), files(&folder));
        said(&imported)
    };
    assert_eq!(run(true), run(false));

    let run = |is_marked: bool| {
        let place = Place::of("opencode");
        let put =
            |name: &str, value: serde_json::Value| drop(place.file(format!("storage/{name}.json"), value.to_string()));
        put(
            "session/p/ses_1",
            json!({"id": "ses_1", "title": "t", "projectID": "p", "directory": "/x", "version": "1", "time": {"created": 1, "updated": 2}}),
        );
        put(
            "message/ses_1/msg_1",
            json!({"id": "msg_1", "sessionID": "ses_1", "role": "user", "time": {"created": 1}}),
        );
        put(
            "part/msg_1/prt_1",
            json!({"id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1", "type": "text", "text": "hello"}),
        );
        put(
            "message/ses_1/msg_2",
            json!({"id": "msg_2", "sessionID": "ses_1", "role": "assistant", "time": {"created": 2, "completed": 3},
            "finish": "stop", "parentID": "msg_1", "tokens": {"input": 1, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}, "cost": 0.5}),
        );
        put(
            "part/msg_2/prt_2",
            json!({"id": "prt_2", "sessionID": "ses_1", "messageID": "msg_2", "type": "text", "text": "hello, too"}),
        );
        let root = place.folder.path().join("storage");
        if is_marked {
            marked(&root, &[".json"]);
        }
        let imported = place.import_all(&root);
        assert_eq!((imported[0].messages, imported[0].calls, imported[0].turns), (2, 1, 1));
        let out = place.folder.path().join("out");
        exchange::export_to(&place.store, &imported[0].session, Some("opencode"), &out).unwrap();
        assert_eq!(files(&out), files(&root));
        assert_eq!(place.said(&imported[0].session)[1].1, "hello, too");
        said(&imported)
    };
    assert_eq!(run(true), run(false));
}

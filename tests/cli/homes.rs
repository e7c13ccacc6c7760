//! A home folder of each program is imported whole: all that is a session is taken, all else is left and told of, and what nobody else is
//! to see is not opened.

use std::fs;

use headwater::store::Store;
use serde_json::{Value, json};

use super::Home;

/// What must not get into a store.
const SECRET: &str = "sk-very-secret-0123456789";

struct Program {
    home: &'static str,
    files: Vec<(&'static str, String)>,
    /// What becomes of it.
    sessions: &'static [&'static str],
    left: &'static [(&'static str, &'static str)],
    /// How many files are passed over, by their endings.
    passed: &'static [(&'static str, u64)],
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// A file with a key, in the form of a chat: it is not opened, whatever is in it.
fn secret() -> String {
    json!({"sessionId": "stolen", "projectHash": "0", "startTime": "2026-01-01T00:00:00Z", "lastUpdated": "2026-01-01T00:00:00Z",
        "messages": [{"id": "1", "type": "user", "timestamp": "2026-01-01T00:00:00Z", "content": SECRET}]})
    .to_string()
}

fn claude() -> Program {
    let row = |session: &str, kind: &str, uuid: &str, message: Value| {
        json!({"parentUuid": null, "isSidechain": session.contains("agent"), "sessionId": session.split('.').next(), "type": kind,
            "agentId": session.split("agent-").nth(1), "uuid": uuid, "timestamp": "2026-05-01T10:00:00.000Z", "message": message})
    };
    let user = |session: &str| row(session, "user", &format!("{session}-1"), json!({"role": "user", "content": "ask"}));
    let answer = |session: &str| {
        row(
            session,
            "assistant",
            &format!("{session}-2"),
            json!({"id": format!("m-{session}"), "model": "claude-x", "role": "assistant",
            "content": [{"type": "text", "text": "answer"}], "usage": {"input_tokens": 1, "output_tokens": 2}}),
        )
    };
    let text = |text: &str| text.to_owned();
    Program {
        home: ".claude",
        files: vec![
            ("projects/-x/c1.jsonl", lines(&[user("c1"), answer("c1")])),
            ("projects/-x/c1/subagents/agent-a1.jsonl", lines(&[user("c1.agent-a1"), answer("c1.agent-a1")])),
            ("projects/-x/c1/subagents/agent-a1.meta.json", text("{\"agentType\":\"explorer\"}")),
            ("projects/-x/c1/tool-results/toolu_1.txt", text("a long output")),
            (
                "projects/-x/sessions-index.json",
                json!({"version": 1, "entries": [{"sessionId": "c1", "messages": 2}]}).to_string(),
            ),
            ("projects/-x/memory/MEMORY.md", text("# Memory")),
            (
                "history.jsonl",
                lines(&[
                    json!({"display": "ask", "pastedContents": {}, "timestamp": 1, "project": "/x", "sessionId": "c1"}),
                ]),
            ),
            ("todos/c1-agent-c1.json", text("[{\"content\":\"dig\",\"status\":\"pending\"}]")),
            ("shell-snapshots/snapshot-bash-1-x.sh", text("export A=1")),
            ("statsig/statsig.cached.evaluations.0a", text("{\"data\":\"{}\"}")),
            ("file-history/c1/0a1b@v1", text("old text")),
            ("plugins/installed_plugins.json", text("{\"version\":1,\"plugins\":{}}")),
            ("plugins/cache/acme/tests/cases.jsonl", lines(&[json!({"case": 1}), json!({"case": 2})])),
            ("plugins/cache/acme/empty.jsonl", String::new()),
            ("debug/c1.txt", text("debug")),
            ("ide/4242.lock", text("{\"pid\":4242}")),
            ("image-cache/c1/1.png", text("\u{89}PNG")),
            ("telemetry/1p_failed_events.c1.json", lines(&[json!({"event_type": "x"})])),
            ("settings.json", text("{\"model\":\"opus\"}")),
            (".credentials.json", secret()),
            ("stats-cache.json", text("{\"version\":1}")),
        ],
        sessions: &["c1", "c1.agent-a1"],
        left: &[
            ("history.jsonl", "no-session"),
            ("plugins/cache/acme/empty.jsonl", "no-records"),
            ("plugins/cache/acme/tests/cases.jsonl", "unknown-format"),
        ],
        passed: &[("", 2), ("json", 8), ("lock", 1), ("md", 1), ("png", 1), ("sh", 1), ("txt", 2)],
    }
}

fn codex() -> Program {
    let rollout = |id: &str| {
        lines(&[
            json!({"timestamp": "2026-03-01T10:00:00.000Z", "type": "session_meta", "payload": {"id": id, "timestamp": "2026-03-01T10:00:00.000Z", "cwd": "/x"}}),
            json!({"timestamp": "2026-03-01T10:00:01.000Z", "type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "ask"}]}}),
            json!({"timestamp": "2026-03-01T10:00:02.000Z", "type": "response_item", "payload": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "answer"}]}}),
        ])
    };
    let text = |text: &str| text.to_owned();
    Program {
        home: ".codex",
        files: vec![
            ("sessions/2026/03/01/rollout-2026-03-01T10-00-00-x1.jsonl", rollout("x1")),
            ("archived_sessions/rollout-2026-03-01T10-00-00-x2.jsonl", rollout("x2")),
            ("history.jsonl", lines(&[json!({"session_id": "x1", "ts": 1_772_000_000, "text": "ask"})])),
            (
                "session_index.jsonl",
                lines(&[json!({"id": "x1", "thread_name": "asked", "updated_at": "2026-03-01T10:00:02Z"})]),
            ),
            ("auth.json", secret()),
            ("config.toml", text("model = \"x\"")),
            ("version.json", text("{\"latest_version\":\"0.9\"}")),
            ("models_cache.json", text("{\"models\":[]}")),
            ("state_5.sqlite", text("SQLite format 3\0")),
            ("state_5.sqlite-wal", text("")),
            ("log/codex-tui.log", text("INFO")),
            ("shell_snapshots/x1.sh", text("export A=1")),
            ("prompts/review.md", text("Review it.")),
        ],
        sessions: &["x1", "x2"],
        left: &[("history.jsonl", "no-session"), ("session_index.jsonl", "no-session")],
        passed: &[("", 1), ("json", 3), ("log", 1), ("md", 1), ("sh", 1), ("sqlite", 1), ("toml", 1)],
    }
}

fn pi() -> Program {
    let text = |text: &str| text.to_owned();
    let session = lines(&[
        json!({"type": "session", "version": 3, "id": "p1", "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/x"}),
        json!({"type": "message", "id": "1", "parentId": null, "timestamp": "2026-01-01T00:00:01.000Z", "message": {"role": "user", "content": "ask"}}),
    ]);
    Program {
        home: ".pi",
        files: vec![
            ("agent/sessions/--x--/2026-01-01T00-00-00-000Z_p1.jsonl", session),
            ("agent/auth.json", secret()),
            ("agent/settings.json", text("{\"theme\":\"dark\"}")),
            ("agent/models.json", text("{\"providers\":{}}")),
            ("agent/bin/fd", text("\u{7f}ELF")),
            ("agent/extensions/note/index.ts", text("export default 1")),
        ],
        sessions: &["p1"],
        left: &[],
        passed: &[("", 1), ("json", 3), ("ts", 1)],
    }
}

fn gemini() -> Program {
    let text = |text: &str| text.to_owned();
    let chat = json!({"sessionId": "g1", "projectHash": "0a", "startTime": "2026-02-03T08:00:00.000Z", "lastUpdated": "2026-02-03T08:00:00.000Z",
        "messages": [{"id": "1", "timestamp": "2026-02-03T08:00:01.000Z", "type": "user", "content": "ask"}]});
    Program {
        home: ".gemini",
        files: vec![
            ("tmp/0a/chats/session-2026-02-03T08-00-g1.json", chat.to_string()),
            ("tmp/0a/logs.json", json!([{"sessionId": "g1", "messageId": 0, "type": "user", "message": "ask", "timestamp": "2026-02-03T08:00:01.000Z"}]).to_string()),
            ("tmp/0a/checkpoint-before.json", json!([{"role": "user", "parts": [{"text": "ask"}]}]).to_string()),
            ("tmp/0a/shell_history", text("ls")),
            ("history/0a/.git/objects/0a/1b2c", text("x\u{1}K")),
            ("extensions/acme/gemini-extension.json", text("{\"name\":\"acme\"}")),
            ("settings.json", text("{\"theme\":\"x\"}")),
            ("oauth_creds.json", secret()),
            ("google_accounts.json", secret()),
            ("installation_id", text("0a-1b")),
        ],
        sessions: &["g1"],
        left: &[("tmp/0a/checkpoint-before.json", "no-session"), ("tmp/0a/logs.json", "no-session")],
        passed: &[("", 3), ("json", 4)],
    }
}

fn opencode() -> Program {
    let text = |text: &str| text.to_owned();
    let session = json!({"id": "ses_1", "title": "t", "projectID": "p", "directory": "/x", "version": "1", "time": {"created": 1, "updated": 2}});
    Program {
        home: ".local/share/opencode",
        files: vec![
            ("storage/session/p/ses_1.json", session.to_string()),
            (
                "storage/message/ses_1/msg_1.json",
                json!({"id": "msg_1", "sessionID": "ses_1", "role": "user", "time": {"created": 1}}).to_string(),
            ),
            (
                "storage/part/msg_1/prt_1.json",
                json!({"id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1", "type": "text", "text": "ask"})
                    .to_string(),
            ),
            ("storage/project/p.json", text("{\"id\":\"p\",\"worktree\":\"/x\"}")),
            ("storage/migration", text("2")),
            // A session that was begun, and has nothing yet.
            ("storage/message/ses_2/", String::new()),
            ("opencode.db", text("SQLite format 3\0 and more")),
            ("opencode.db-wal", text("")),
            ("auth.json", secret()),
            ("mcp-auth.json", secret()),
            ("log/2026-01-01T000000.log", text("INFO")),
            ("snapshot/p/objects/0a/1b2c", text("x\u{1}K")),
            ("tool-output/tool_1", text("a long output")),
            ("bin/rg", text("\u{7f}ELF")),
        ],
        sessions: &["ses_1"],
        left: &[("opencode.db", "unsupported-version"), ("storage", "no-records")],
        passed: &[("", 4), ("json", 2), ("log", 1)],
    }
}

#[test]
fn all_that_is_a_session_is_taken_and_all_else_is_left() {
    for program in [claude(), codex(), pi(), gemini(), opencode()] {
        let home = Home::new();
        let root = home.path().join(program.home);
        for (name, bytes) in &program.files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::write(&path, bytes).unwrap();
            }
        }
        let what = program.home;
        let report = home.json(&["import", what]);
        assert_eq!(report["failed"], json!([]), "{what}");
        let all = |list: &str| report[list].as_array().cloned().unwrap_or_default();
        let mut sessions: Vec<_> =
            all("imported").iter().map(|one| one["session"].as_str().unwrap().to_owned()).collect();
        sessions.sort();
        assert_eq!(sessions, program.sessions, "{what}");
        let mut left: Vec<_> = all("left")
            .iter()
            .map(|one| {
                let source = one["source"].as_str().unwrap();
                (source.strip_prefix(&format!("{what}/")).unwrap().to_owned(), one["kind"].as_str().unwrap().to_owned())
            })
            .collect();
        left.sort();
        let expected: Vec<_> =
            program.left.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        assert_eq!(left, expected, "{what}");
        let passed: Vec<_> = all("passed-over")
            .iter()
            .map(|one| (one["ending"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap()))
            .collect();
        let expected: Vec<_> = program.passed.iter().map(|(ending, count)| ((*ending).to_owned(), *count)).collect();
        assert_eq!(passed, expected, "{what}");

        // Again it adds nothing; the names are told on request, and every file is somewhere.
        let again = home.json(&["import", what, "--names"]);
        assert!(again["imported"].as_array().unwrap().iter().all(|one| one["new-events"] == 0), "{what}");
        let names =
            again["passed-over"].as_array().unwrap().iter().flat_map(|one| one["names"].as_array().unwrap().clone());
        let names: Vec<_> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
        assert_eq!(names.len() as u64, program.passed.iter().map(|(_, count)| count).sum::<u64>(), "{what}");
        for (name, _) in program.files.iter().filter(|(_, bytes)| bytes.contains(SECRET)) {
            assert!(names.contains(&format!("{what}/{name}")), "{what}/{name} was looked at");
        }
        let text = home.ok(&["import", what]);
        assert!(text.contains("passed over, not looked at: "), "{text}");

        let store = Store::open(home.path().join(".headwater")).unwrap();
        for info in store.sessions().unwrap() {
            for event in store.events_since(&info.session, headwater::model::EventNumber(0), 10_000).unwrap() {
                let Some(payload) = event.payload_ref else { continue };
                let bytes = store.blobs().get(&payload).unwrap();
                assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{what}: a key is in the store");
            }
        }
    }
}

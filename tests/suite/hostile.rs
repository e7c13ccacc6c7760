//! Sources made to do harm: each comes in as it is, or is refused whole. Nothing outside of the store is made or read.

use std::fs;
use std::path::Path;

use headwater::care::{Mode, check};
use headwater::exchange::{self, ImportError};
use headwater::model::CallType;
use headwater::store::{CommitError, Store};
use serde_json::{Value, json};

use super::tools::fresh;

/// Values that stand in for others, each a way to get at something.
fn hostile() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    vec![
        json!(".."),
        json!("../../../../etc/passwd"),
        json!("/etc/passwd"),
        json!("a\0b"),
        json!("a\nb\r\u{1b}[2J\u{202e}"),
        json!(""),
        json!("x".repeat(100_000)),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(9_223_372_036_854_775_808_u64),
        json!(-1),
        json!(1.7e308),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!({"": {"": ""}}),
        deep,
        json!("0f3a-fixture"),
        json!("b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        json!("9999999-12-31T23:59:59Z"),
        json!("'); DROP TABLE hw_event; --"),
    ]
}

/// The paths of all values within one, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |key: String, value: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        places(value, &at, found);
        found.push(at);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| below(key.clone(), value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| below(n.to_string(), value)),
        _ => {}
    }
}

/// Whether a record is the first one, which names the session where the others do not.
fn at_first(record: &Value, records: &[Value]) -> bool {
    std::ptr::eq(record, &records[0])
}

fn said(store: &Store) -> String {
    let sessions = store.sessions().unwrap();
    sessions.iter().map(|info| format!("{:?}{:?}", info, store.events(&info.session).unwrap())).collect()
}

/// Imports the file, or is refused and has changed nothing; says which.
fn judge(store: &Store, file: &Path) -> bool {
    let before = said(store);
    match exchange::import(store, file) {
        Ok(imported) => {
            let mut out = Vec::new();
            exchange::write_source(store, &imported.session, &mut out).unwrap();
            assert!(out == fs::read(file).unwrap(), "{} is written otherwise than it was read", file.display());
            true
        }
        Err(error) => {
            let known = !matches!(error, ImportError::Commit(_) | ImportError::Read(_) | ImportError::Io { .. });
            assert!(known, "{error:?}");
            assert!(said(store) == before, "refused, and yet something changed: {error}");
            false
        }
    }
}

#[test]
fn every_value_of_a_source_may_be_hostile() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (mut whole, mut refused) = (0, 0);
    let within = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    for fixture in within(&fixtures).into_iter().chain(within(&fixtures.join("codex"))) {
        let Ok(text) = fs::read_to_string(&fixture) else { continue };
        let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let fresh = fresh();
        let file = fresh.folder.path().join("source.jsonl");
        let hostile = hostile();
        let mut next = 0;
        let most = if fixture.with_file_name("").ends_with("codex") { 1 } else { 12 };
        for at in 0..records.len().min(most) {
            let mut found = Vec::new();
            places(&records[at], "", &mut found);
            for place in found {
                let mut changed = records.clone();
                *changed[at].pointer_mut(&place).unwrap() = hostile[next % hostile.len()].clone();
                // A session of its own, unless that is what was changed.
                for (record, was) in changed.iter_mut().zip(&records) {
                    let id = ["session_id", "sessionId"].into_iter().find(|id| !was[*id].is_null()).unwrap_or("id");
                    if at_first(was, &records)
                        && was["payload"]["id"].is_string()
                        && record["payload"]["id"] == was["payload"]["id"]
                    {
                        record["payload"]["id"] = json!(format!("source-{next}"));
                    } else if record[id] == was[id] && (at_first(was, &records) || id != "id") {
                        record[id] = json!(format!("source-{next}"));
                    }
                }
                next += 1;
                let lines: Vec<String> = changed.iter().map(Value::to_string).collect();
                fs::write(&file, lines.join("\n") + "\n").unwrap();
                let came_in = judge(&fresh.store, &file);
                (whole, refused) = (whole + usize::from(came_in), refused + usize::from(!came_in));
            }
        }
        let mut beside: Vec<_> =
            fs::read_dir(fresh.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["source.jsonl", "store"]);
        assert_eq!(check(fresh.store.root(), Mode::Deep).unwrap().issues, []);
    }
    println!("{whole} came in, {refused} were refused");
    assert!(whole > 0 && refused > 0 && whole + refused >= 100, "{whole} came in, {refused} were refused");
}

/// Names that lead elsewhere, and files that are none.
#[test]
fn what_is_no_file_is_refused() {
    let fresh = fresh();
    let folder = fresh.folder.path();
    let link = |name: &str, to: &Path| {
        let path = folder.join(name);
        std::os::unix::fs::symlink(to, &path).unwrap();
        path
    };
    let pipe = folder.join("pipe.jsonl");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let socket = folder.join("socket.jsonl");
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let paths = [
        link("absolute.jsonl", Path::new("/etc/hostname")),
        link("dangling.jsonl", Path::new("nothing")),
        link("itself.jsonl", Path::new("itself.jsonl")),
        link("folder.jsonl", folder),
        pipe,
        socket,
        "/dev/zero".into(),
        "/dev/null".into(),
        folder.to_owned(),
    ];
    for path in paths {
        let refused = exchange::import(&fresh.store, &path);
        let fits = matches!(refused, Err(ImportError::NotAFile { .. } | ImportError::Io { .. }));
        assert!(fits, "{}: {refused:?}", path.display());
    }
    assert_eq!(fresh.store.sessions().unwrap(), []);
}

/// What no column holds is refused as what it is, and changes nothing.
#[test]
fn an_amount_beyond_what_is_kept_is_refused() {
    let fresh = fresh();
    let session = super::tools::named(&fresh.store, "demo");
    let before = said(&fresh.store);
    let call = |tokens| session.write(|batch| batch.begin_call(CallType::Root, |row| row.tokens_input = Some(tokens)));
    let refused = call(1 << 63).unwrap_err();
    assert!(matches!(&refused, CommitError::Invalid(what) if what.contains("input tokens")), "{refused:?}");
    assert_eq!(said(&fresh.store), before);
    call((1 << 63) - 1).unwrap();
}

//! The views in Debian's own sqlite3 3.40: each selects without error, and counts what the library counts.

use std::path::Path;
use std::process::Command;

use headwater::care::{self, Mode};
use headwater::model::{CallType, Status, Timestamp};

use super::tools::{fresh, named, turn};

const SHELL: &str = "/usr/bin/sqlite3";

fn ask(database: &Path, sql: &str) -> String {
    let out = Command::new(SHELL).arg("-readonly").arg("-batch").arg(database).arg(sql).output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn every_view_selects_in_the_shell() {
    if !Path::new(SHELL).exists() {
        eprintln!("SKIPPED every_view_selects_in_the_shell: there is no {SHELL}");
        return;
    }
    let home = fresh();
    let session = named(&home.store, "demo");
    let first = turn(&session, "what is 2 + 2?", "4").unwrap();
    session.compact("a sum was asked for", 1).unwrap();
    turn(&session, "and 3 + 3?", "6").unwrap();
    let fork = home.store.fork(&first, super::tools::new("fork")).unwrap();
    turn(&fork, "and 4 + 4?", "8").unwrap();
    session.add_message(headwater::model::Role::User, "not sealed").commit().unwrap();

    let (pin, gone) = ("release".parse().unwrap(), "gone".parse().unwrap());
    for name in [&pin, &gone] {
        home.store.pin(name, headwater::model::PinTarget::Head(first), headwater::store::Expected::Any).unwrap();
    }
    home.store.unpin(&gone, headwater::store::Expected::Any).unwrap();
    home.store.append_fact("acme/price", b"12", None).unwrap();

    let database = home.store.root().join("store.sqlite");
    let views = ask(&database, "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name");
    assert!(views.lines().count() > 20, "{views}");
    for view in views.lines() {
        ask(&database, &format!("SELECT * FROM \"{view}\""));
    }
    let count = |sql: &str| -> usize { ask(&database, sql).parse().unwrap() };
    for id in ["demo", "fork"] {
        let (events, view) =
            (home.store.events(&id.parse().unwrap()).unwrap(), home.store.view(&id.parse().unwrap()).unwrap());
        let history = home.store.history_view(&id.parse().unwrap()).unwrap();
        let of = |view: &str| count(&format!("SELECT count(*) FROM {view} WHERE session = '{id}'"));
        assert_eq!(of("event"), events.len());
        assert_eq!(of("history_view"), events.len());
        assert_eq!(of("head"), history.heads.len());
        assert_eq!(of("message"), history.rows.messages.len());
        assert_eq!(of("turn"), history.rows.turns.len());
        assert_eq!(of("call"), history.rows.calls.len());
        assert_eq!(of("current_message"), view.rows.messages.len());
        assert_eq!(of("current_turn"), view.rows.turns.len());
        assert_eq!(of("current_call"), view.rows.calls.len());
    }
    assert_eq!(count("SELECT count(*) FROM session"), 2);
    assert_eq!(count("SELECT count(*) FROM derivation"), 1);
    assert_eq!(ask(&database, "SELECT name, head, payload_ref, version FROM pin"), format!("release|{first}||1"));
    let price = headwater::model::Digest::of(b"12");
    assert_eq!(ask(&database, "SELECT id, tag, payload_ref FROM fact"), format!("1|acme/price|{price}"));
}

/// Words that rows share have numbers, the first 255 of them; times are kept as distances. Neither is seen: also where a text looks like
/// the number of a word, a time is not of whole milliseconds, or an event happened before its session.
#[test]
fn words_and_times_are_read_as_they_were_said() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let texts: Vec<String> = (0..300).map(|n| n.to_string()).chain(["word ".repeat(20).trim().to_owned()]).collect();
    let start = home.store.session(session.id()).unwrap().started_at.micros();
    let times: Vec<Timestamp> = [0, 1, 999, 1_000, 1_001, 86_400_000_000, -1, -1_000, -86_400_000_001]
        .map(|after| Timestamp::from_micros(start + after).unwrap())
        .to_vec();
    for commit in texts.chunks(100) {
        session
            .write(|batch| {
                for (text, at) in commit.iter().zip(times.iter().cycle()) {
                    batch.at(*at);
                    batch.add_annotation(text, None, None)?;
                    batch.add_eval(Status::OK, |row| {
                        (row.name, row.started_at, row.ended_at) = (Some(text.clone()), Some(*at), Some(start_of(*at)));
                    })?;
                    batch.add_call(CallType::Root, |row| {
                        (row.provider, row.model, row.status) = (None, Some(text.clone()), Status::OK);
                        (row.started_at, row.ended_at) = (Some(*at), None);
                    })?;
                }
                Ok(())
            })
            .unwrap();
    }
    let events = home.store.events(session.id()).unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.body.kind()).collect();
    assert!(texts.iter().all(|text| kinds.contains(&text.as_str())));
    let rows = home.store.event_view(session.id()).unwrap().rows;
    assert!(rows.evals.iter().map(|entry| entry.row.name.as_deref()).eq(texts.iter().map(|text| Some(text.as_str()))));
    assert!(rows.calls.iter().map(|entry| entry.row.model.as_deref()).eq(texts.iter().map(|text| Some(text.as_str()))));
    let report = care::check(home.store.root(), Mode::Deep).unwrap();
    assert_eq!(report.issues, []);

    let conn = rusqlite::Connection::open(home.store.root().join("store.sqlite")).unwrap();
    let column = |sql: &str| -> Vec<Option<String>> {
        conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let said = |text: &dyn ToString| Some(text.to_string());
    assert_eq!(column("SELECT type FROM event ORDER BY id"), kinds.iter().map(|kind| said(kind)).collect::<Vec<_>>());
    assert_eq!(column("SELECT at FROM event ORDER BY id"), events.iter().map(|e| said(&e.at)).collect::<Vec<_>>());
    let all = texts.iter().map(|text| said(text)).collect::<Vec<_>>();
    for sql in ["SELECT name FROM eval ORDER BY id", "SELECT model FROM call ORDER BY id"] {
        assert_eq!(column(sql), all);
    }
    let started = rows.evals.iter().map(|entry| entry.row.started_at.map(|at| at.to_string())).collect::<Vec<_>>();
    assert_eq!(column("SELECT started_at FROM eval ORDER BY id"), started);
    assert_eq!(column("SELECT started_at FROM call ORDER BY id"), started);
    let ended = rows.evals.iter().map(|entry| entry.row.ended_at.map(|at| at.to_string())).collect::<Vec<_>>();
    assert_eq!(column("SELECT ended_at FROM eval ORDER BY id"), ended);
}

/// The second in which a time lies.
fn start_of(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(1_000_000)).unwrap()
}

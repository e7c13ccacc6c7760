//! The views in Debian's own sqlite3 3.40: each selects without error, and counts what the library counts.

use std::path::Path;
use std::process::Command;

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

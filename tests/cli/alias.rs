//! `alias`.

use crate::Home;

#[test]
fn an_alias_names_its_session_everywhere() {
    let home = Home::demo();
    let set = home.json(&["alias", "demo", "other"]);
    assert_eq!(set, serde_json::json!({ "alias": "other", "session": "demo" }));
    assert_eq!(home.ok(&["stream", "other"]), home.ok(&["stream", "demo"]));
    assert!(home.ok(&["events", "other"]).starts_with("audit - other\n"));
    home.ok(&["alias", "demo", "other"]);
}

#[test]
fn an_alias_that_is_taken_or_points_nowhere_is_refused() {
    let home = Home::demo();
    home.ok(&["run", "x", "--name", "second"]);
    home.ok(&["alias", "demo", "name"]);
    assert_eq!(home.error(&["alias", "second", "name"])["kind"], "conflict");
    assert_eq!(home.error(&["alias", "nobody", "new-name"])["kind"], "not-found");
    assert_eq!(home.run(&["alias", "demo", "../x"]).code, 1);
    assert_eq!(home.json(&["show", "name"])["session"]["session"], "demo");
}

#[test]
fn a_session_s_own_id_is_no_name_for_another() {
    let home = Home::demo();
    home.ok(&["run", "x", "--name", "other"]);
    let error = home.error(&["alias", "demo", "other"]);
    assert_eq!(error["kind"], "conflict");
    assert_eq!(home.json(&["show", "other"])["session"]["session"], "other");
}

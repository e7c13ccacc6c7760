//! `ls`.

use crate::{Home, is_head, is_time, items, keys};

#[test]
fn ls_lists_the_last_changed_session_first() {
    let home = Home::demo();
    home.ok(&["run", "x", "--name", "later"]);
    home.ok(&["alias", "demo", "first-one"]);
    let list = home.json(&["ls"]);
    let names: Vec<_> = items(&list).iter().map(|item| item["session"].as_str().unwrap()).collect();
    assert_eq!(names, ["later", "demo"]);
    let item = &items(&list)[1];
    assert_eq!(
        keys(item),
        ["alias", "current-head", "events", "heads", "kind", "session", "status", "turns", "updated-at"]
    );
    assert_eq!((&item["alias"], &item["turns"], &item["heads"]), (&"first-one".into(), &1.into(), &2.into()));
    assert_eq!(items(&list)[0]["alias"], "later", "without an alias, a session is called by its id");
    assert!(is_head(&item["current-head"]) && is_time(&item["updated-at"]));
    let events = home.ok(&["stream", "demo"]).lines().count();
    assert_eq!(item["events"], events);
    assert_eq!(home.json(&["list"]), list);
    let text = home.ok(&["ls"]);
    assert!(text.lines().nth(2).unwrap().starts_with("first-one "), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour in a pipe");
}

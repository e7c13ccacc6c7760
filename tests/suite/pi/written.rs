//! Sessions of headwater's own, and those that went on here, written as Pi's logs.

use headwater::model::HeadId;

use super::*;
use crate::written::turn;

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// The raw entries behind the first `skip` lines.
fn entries(text: &str, skip: usize) -> Vec<Value> {
    text.lines().skip(skip).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_session_of_headwaters_own_becomes_a_log_that_says_the_same() {
    let place = Place::of("pi");
    let session = place.store.create_session(NewSession::named(id("own"))).unwrap();
    turn(&session, "Which bed?", "The south one.");
    session.write(|batch| batch.compact("they chose a bed", 1)).unwrap();
    session.add_annotation("acme/note", Some(b"by the way")).unwrap();
    turn(&session, "And the beans?", "There, too.");
    session.close().unwrap();

    let text = place.export(&id("own"));
    assert_eq!(text, place.export(&id("own")), "the same each time");
    let kinds: Vec<String> = entries(&text, 0).iter().map(|entry| entry["type"].as_str().unwrap().to_owned()).collect();
    let a_turn = ["message"; 5];
    assert_eq!(kinds, [&["session"][..], &a_turn, &["compaction", "custom"], &a_turn].concat());
    let kept = entries(&text, 0)[6]["firstKeptEntryId"].clone();
    assert_eq!(kept, entries(&text, 0)[5]["id"], "its last word stays");

    let other = Place::of("pi");
    let imported = other.import(&text);
    assert_eq!(other.said(&id("own")), place.said(&id("own")));
    let usage = |place: &Place| place.store.usage_by_model(&id("own"), false).unwrap();
    assert_eq!(usage(&other).last().map(|row| row.used), usage(&place).last().map(|row| row.used));
    let evals = |place: &Place| -> Vec<_> {
        let rows = place.store.view(&id("own")).unwrap().rows;
        let told = |row: &headwater::model::Eval| {
            (row.status.to_string(), place.text(row.result.or(row.error)), place.text(row.code))
        };
        rows.evals.iter().map(|entry| told(&entry.row)).collect()
    };
    let (here, there) = (evals(&place), evals(&other));
    assert_eq!(here.len(), 4);
    assert_eq!(
        here.iter().map(|eval| (&eval.0, &eval.1)).collect::<Vec<_>>(),
        there.iter().map(|eval| (&eval.0, &eval.1)).collect::<Vec<_>>()
    );
    assert_eq!((there[0].2.as_str(), there[1].2.as_str()), (here[0].2.as_str(), "{\"code\":\"(+ 1\"}"));
    assert_eq!(other.source(&imported.session), text);
    other.is_sound();
}

#[test]
fn a_log_that_went_on_here_goes_on_from_the_entry_where_it_was() {
    let place = Place::of("pi");
    let imported = place.import(TREE);
    let whole = Raw::of(TREE);
    let session = place.store.resume(&imported.session, None).unwrap();
    turn(&session, "One more.", "Here.");
    session.close().unwrap();
    let lines = TREE.lines().count();
    let text = place.export(&imported.session);
    assert!(text.starts_with(TREE));
    let own = entries(&text, lines);
    assert_eq!(own.len(), 5);
    assert_eq!(own[0]["parentId"], whole.records.last().unwrap()["id"], "behind the last entry of the source");

    // Back to the first answer: a branch, which leaves behind that answer's entry.
    let heads = place.store.heads(&imported.session).unwrap();
    let said = |head: &HeadId| {
        let rows = place.store.view_at(&imported.session, head).unwrap().rows;
        rows.messages.last().map(|entry| place.text(Some(entry.row.content)))
    };
    let first =
        heads.iter().find(|head| said(&head.head).as_deref() == Some("The south bed, which is empty.")).unwrap();
    let session = place.store.resume(&imported.session, Some(&first.head)).unwrap();
    turn(&session, "Or the north bed?", "Peas are there.");
    session.close().unwrap();
    let text = place.export(&imported.session);
    let own = entries(&text, lines);
    let answer =
        whole.records.iter().find(|record| record.to_string().contains("The south bed, which is empty.")).unwrap();
    assert_eq!(own[5]["parentId"], answer["id"]);

    // Whoever reads it sees what is to be seen here.
    let other = Place::of("pi");
    let there = other.import(&text);
    assert_eq!(other.said(&there.session), place.said(&imported.session));
    other.is_sound();
}

#[test]
fn a_fork_made_here_repeats_the_records_of_its_source() {
    let place = Place::of("pi");
    let imported = place.import(TREE);
    let head = place.store.session(&imported.session).unwrap().current_head.unwrap();
    let fork = place.store.fork(&head, NewSession::named(id("branch"))).unwrap();
    turn(&fork, "Elsewhere?", "By the wall.");
    fork.close().unwrap();
    let text = place.export(&id("branch"));
    let shared: Vec<&str> = TREE.lines().skip(1).collect();
    assert!(text.lines().skip(1).take(shared.len()).eq(shared.iter().copied()));
    let other = Place::of("pi");
    other.import(TREE);
    let path = other.file("branch.jsonl", &text);
    let there = exchange::import(&other.store, &path).unwrap();
    assert_eq!(there.forked_from, Some(imported.session));
    assert_eq!(other.said(&there.session), place.said(&id("branch")));
    other.is_sound();
}

#[test]
fn a_fork_of_a_log_with_a_very_long_header_has_one_header() {
    let place = Place::of("pi");
    let long = "x".repeat(600 << 10);
    let text = TREE.replacen("\"cwd\"", &format!("\"note\":\"{long}\",\"cwd\""), 1);
    let parent = place.import(&text);
    let head = place.store.session(&parent.session).unwrap().current_head.unwrap();
    let fork = place.store.fork(&head, NewSession::named(id("forked"))).unwrap();
    turn(&fork, "And the beans?", "There, too.");
    fork.close().unwrap();
    let written = place.export(&id("forked"));
    assert!(!written.contains(&long[..64 << 10]), "nothing of the header that was its parent's");
    let all = entries(&written, 0);
    assert_eq!(all.iter().filter(|entry| entry["type"] == "session").count(), 1);
    assert_eq!(all.len(), TREE.lines().count() + 5);
    // Its entries are a tree, as those of the parent are.
    assert!(all[1..].iter().all(|entry| entry["id"].is_string()));
    let imported = Place::of("pi").import(&written);
    assert_eq!((imported.diagnostics, imported.turns), (Vec::new(), parent.turns + 1));
}

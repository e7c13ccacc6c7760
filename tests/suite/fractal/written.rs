//! Sessions of headwater's own, written as runs.

use super::*;

/// A session of our own with a row of every kind, in values of every kind.
fn own_session(place: &Place) {
    let store = &place.store;
    let session = store.create_session(NewSession::named(id("own"))).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    session
        .write(|batch| {
            let (short, text, long) = (batch.put(b"[1 2.50 :a]"), batch.put(b"not EDN: {"), batch.put(&[b'x'; 9_000]));
            let (lines, bytes) = (batch.put(b"[1\n 2]"), batch.put(&[0, 255, 1, 2]));
            let extra = batch.put_value(br#"{"b":1.0,"a":[]}"#);
            let call = batch.begin_call(CallType::Root, |call| {
                (call.input, call.request, call.error) = (Some(short), Some(long), Some(text));
                (call.provider, call.model) = (Some("acme".to_owned()), Some("acme \"1\"".to_owned()));
                (call.tokens_input, call.tokens_reasoning, call.cost) = (Some(7), Some(2), Some(12_000_000_345));
                (call.batch, call.batch_index, call.extra) = (Some("b 1".to_owned()), Some(3), Some(extra));
            })?;
            batch.update_call(call, |call| {
                (call.status, call.response, call.result) = (Status::OK, Some(lines), Some(bytes));
            })?;
            let answer =
                batch.add_message(NewMessage::new(Role::Assistant, "4\u{1}\u{2}\n\"").turn(turn).call(call))?;
            batch
                .add_message(NewMessage::new(Role::Other("two words".to_owned()), vec![255, 0]).extra("{\"k\":1e2}"))?;
            let code = batch.put(b"(+ 2 2)");
            let eval = batch.add_eval(Status::ERROR, |eval| {
                (eval.message, eval.call, eval.name) = (Some(answer), Some(call), Some("clojure".to_owned()));
                (eval.code, eval.observation, eval.error) = (Some(code), Some(text), Some(lines));
            })?;
            batch.add_snapshot(Status::FINAL, |snapshot| {
                (snapshot.vars, snapshot.eval) = (Some(long), Some(eval));
                (snapshot.restorable, snapshot.unrestorable) = (3, 1);
            })?;
            batch.update_turn(turn, |turn| {
                (turn.status, turn.final_value) = (Status::FINAL, Some(short));
                (turn.summary, turn.extra) = (Some(text), Some(extra));
            })?;
            batch.add_annotation("weather/seen", Some(turn), Some(text))?;
            batch.seal()
        })
        .unwrap();
    session.close().unwrap();
}

/// The rows of a session, without what only the place of a row in its store tells.
fn fold(store: &Store, session: &SessionId) -> Vec<String> {
    let rows = store.view(session).unwrap().rows;
    let mut out: Vec<String> = rows.messages.iter().map(|entry| format!("{:?}", entry.row)).collect();
    out.extend(rows.turns.into_iter().map(|entry| format!("{:?}", Turn { head_before: None, ..entry.row })));
    out.extend(rows.calls.iter().map(|entry| format!("{:?}", entry.row)));
    out.extend(rows.evals.iter().map(|entry| format!("{:?}", entry.row)));
    out.extend(rows.snapshots.iter().map(|entry| format!("{:?}", entry.row)));
    out
}

/// Writes a session as a run, and reads that into another store.
fn there_and_back(place: &Place, session: &SessionId, into: &Place) -> BTreeMap<String, Vec<u8>> {
    let path = place.folder.path().join(format!("made-{session}"));
    exchange::export_to(&place.store, session, Some("fractal"), &path).unwrap();
    let imported = into.import_all(&path);
    assert_eq!(imported.len(), 1);
    assert!(imported[0].diagnostics.is_empty(), "{:?}", imported[0].diagnostics);
    files(&path)
}

#[test]
fn a_session_of_our_own_is_written_as_a_run_that_folds_to_the_same_rows() {
    let (place, other) = (Place::of("fractal"), Place::of("fractal"));
    own_session(&place);
    let made = there_and_back(&place, &id("own"), &other);
    assert_eq!(fold(&other.store, &id("own")), fold(&place.store, &id("own")));
    let journal = String::from_utf8(made["events.ednl"].clone()).unwrap();
    assert_eq!(lines(&journal, "turn-final"), 1);
    for line in journal.lines() {
        Document::read(line.as_bytes()).unwrap();
    }
    for name in ["events.edn", "messages.edn", "turns.edn", "calls.edn", "evals.edn", "snapshots.edn"] {
        assert!(Document::read(&made[name]).unwrap().root().items().count() > 0, "{name}");
    }
    assert_same(&other.export_run(&id("own")), &made);

    // A fork carries the messages of its source, which it finds again where that is.
    let head = place.store.view(&id("own")).unwrap().head.unwrap().head;
    let fork = place.store.fork(&head, NewSession::named(id("fork"))).unwrap();
    let turn = fork.begin_turn("and 3 + 3?").unwrap();
    fork.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
    fork.seal().unwrap();
    fork.close().unwrap();
    there_and_back(&place, &id("fork"), &other);
    assert_eq!(other.store.session(&id("fork")).unwrap().source.unwrap().0, id("own"));
    assert_eq!(fold(&other.store, &id("fork")), fold(&place.store, &id("fork")));
}

#[test]
fn a_run_that_went_on_here_is_written_with_its_own_bytes_first() {
    let (place, other) = (Place::of("fractal"), Place::of("fractal"));
    let run = place.run("harbor-fork");
    place.import_all(&run);
    let session = place.store.open_session(&id("harbor-fork")).unwrap();
    let turn = session.begin_turn("one more").unwrap();
    session.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let made = there_and_back(&place, &id("harbor-fork"), &other);
    let original = files(&run);
    assert!(made["events.ednl"].starts_with(&original["events.ednl"]));
    assert_eq!(made["lineage.edn"], original["lineage.edn"]);
    let journal = String::from_utf8(made["events.ednl"].clone()).unwrap();
    assert!(journal.contains(":turn #:turn{:id 3,") && journal.contains("#:message{:id 7, :role :user"), "ids go on");
    assert_eq!(fold(&other.store, &id("harbor-fork")), fold(&place.store, &id("harbor-fork")));
}

/// A run whose children were called, and came back, in another order than they are named.
fn called_out_of_order(place: &Place) -> PathBuf {
    let run = place.run("harbor");
    for (name, task) in [("child-0002", "second"), ("child-0003", "third")] {
        let to = run.join("children").join(name);
        copy(&run.join("children/child-0001"), &to);
        let journal = fs::read_to_string(to.join("events.ednl")).unwrap();
        fs::write(to.join("events.ednl"), journal.replace("Count the boats in berth 7.", task)).unwrap();
    }
    let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for line in journal.lines() {
        if !line.contains(":child/dir") {
            lines.push(line.to_owned());
            continue;
        }
        for (name, call) in [("child-0001", 4), ("child-0003", 42), ("child-0002", 41)] {
            let line = line.replace("child-0001", name).replace(":call/id 4,", &format!(":call/id {call},"));
            lines.push(line.replace(":call/turn-id", &format!(":call/task \"task of {name}\", :call/turn-id")));
        }
    }
    fs::write(run.join("events.ednl"), lines.join("\n") + "\n").unwrap();
    run
}

#[test]
fn children_are_labelled_as_their_folders_are_named_in_whatever_order_they_were_called() {
    let place = Place::of("fractal");
    place.import_all(&called_out_of_order(&place));
    assert_eq!(assert_labelled(&place.store, &id("harbor")), 3);
    let session = place.store.open_session(&id("harbor")).unwrap();
    session.start_invocation(Status::new("rlm").unwrap(), |_| {}).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let last = place.store.invocations_from(&id("harbor")).unwrap().pop().unwrap();
    assert_eq!(last.row.child, Some(4), "what comes later goes on above");
}

#[test]
fn the_task_of_a_child_is_its_invocations_input_and_label() {
    let place = Place::of("fractal");
    place.import_all(&called_out_of_order(&place));
    for entry in place.store.invocations_from(&id("harbor")).unwrap() {
        let task = format!("task of child-{:04}", entry.row.child.unwrap());
        assert_eq!((place.text(entry.row.input), place.text(entry.row.label)), (task.clone(), task));
    }
}

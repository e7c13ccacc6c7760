//! Sessions of headwater's own, written as Pixir's logs.

use super::*;

#[test]
fn a_session_of_headwaters_own_becomes_a_log() {
    let place = Place::of("pixir");
    let session = place.store.create_session(NewSession::named("own".parse().unwrap())).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    session
        .write(|batch| {
            let call = batch.begin_call(CallType::Root, |call| call.model = Some("acme-1".to_owned()))?;
            batch.update_call(call, |row| {
                row.status = Status::OK;
                row.tokens_input = Some(12);
            })?;
            let (code, value) = (batch.put(b"(+ 2 2)"), batch.put(b"4"));
            batch.add_eval(Status::OK, |eval| {
                eval.code = Some(code);
                eval.result = Some(value);
            })?;
            batch.add_message(NewMessage::new(Role::Observation, "4").turn(turn))?;
            batch.add_message(NewMessage::new(Role::Assistant, "It is 4.").turn(turn))?;
            batch.update_turn(turn, |row| row.status = Status::FINAL)?;
            batch.compact("they added", 2)
        })
        .unwrap();
    session.add_annotation("acme/note", Some(b"by the way")).unwrap();
    session.close().unwrap();
    let own: SessionId = "own".parse().unwrap();
    let text = place.export(&own);
    let types: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "user_message",
            "provider_usage",
            "tool_call",
            "tool_result",
            "assistant_message",
            "history_compaction",
            "workflow_event"
        ]
    );
    assert_eq!(text, place.export(&own), "the same each time");

    // Its import says the same, and so does that one's export.
    let other = Place::of("pixir");
    let imported = other.import(&text);
    assert_eq!(counts(&imported)[..4], [4, 1, 1, 1]);
    assert_eq!(other.export(&imported.session), text);
    assert_eq!(fold(&other.store, "own"), fold(&place.store, "own"));
}

#[test]
fn a_log_that_went_on_here_is_written_with_what_came_after() {
    let place = Place::of("pixir");
    let imported = place.import(whole());
    let session = place.store.open_session(&imported.session).unwrap();
    let turn = session.begin_turn("one more").unwrap();
    session.add_message(Role::Assistant, "Here.").turn(turn).commit().unwrap();
    session.close().unwrap();
    let text = place.export(&imported.session);
    let rest = text.strip_prefix(&whole()).unwrap();
    let seqs: Vec<u64> =
        rest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [22, 23]);
    // A fork made here repeats what Pixir's own forks repeat.
    let head = place.store.heads(&imported.session).unwrap()[1].head;
    let fork = place.store.fork(&head, NewSession::named("branch".parse().unwrap())).unwrap();
    fork.begin_turn("elsewhere").unwrap();
    fork.seal().unwrap();
    fork.close().unwrap();
    let text = place.export(&"branch".parse().unwrap());
    let other = Place::of("pixir");
    let (parent, child) = (other.import(whole()), other.import(&text));
    assert_eq!(child.forked_from, Some(parent.session));
    assert_eq!(place.said(&"branch".parse().unwrap()), other.said(&child.session));
}

#[test]
fn the_cost_and_type_of_our_own_calls_come_back() {
    let (place, other) = (Place::of("pixir"), Place::of("pixir"));
    let session = place.store.create_session(NewSession::named("own".parse().unwrap())).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    for (call_type, cost) in [(CallType::Root, Some(2_500)), (CallType::LeafBatchItem, Some(7)), (CallType::Leaf, None)]
    {
        session
            .write(|batch| {
                let call = batch.begin_call(call_type, |call| call.turn = Some(turn))?;
                batch.update_call(call, |call| (call.status, call.cost) = (Status::OK, cost))
            })
            .unwrap();
    }
    session.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let imported = other.import(place.export(&"own".parse().unwrap()));
    let calls = |place: &Place, session: &SessionId| -> Vec<_> {
        let rows = place.store.view(session).unwrap().rows;
        rows.calls.into_iter().map(|entry| (entry.row.call_type, entry.row.cost)).collect()
    };
    let ours = calls(&place, &"own".parse().unwrap());
    assert_eq!(ours[1], (CallType::LeafBatchItem, Some(7)));
    assert_eq!(calls(&other, &imported.session), ours);
    // Words that are no type of a call of the model, and amounts that no column holds, are nothing.
    let data = json!({ "headwater_call_type": "child", "headwater_cost_nano_usd": u64::MAX });
    let odd = [line("x", 0, "user_message", json!({ "text": "a" })), line("x", 1, "provider_usage", data)].concat();
    let odd = other.import(&odd);
    assert_eq!(calls(&other, &odd.session), [(CallType::Root, None)]);
}

#[test]
fn a_call_that_ended_and_a_tool_that_never_did_are_so_in_the_log() {
    let place = Place::of("pixir");
    let session = place.store.create_session(NewSession::named("own".parse().unwrap())).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    session
        .write(|batch| {
            // Whom it called is known when it comes back, as in logs of Claude Code.
            let one = batch.start_invocation(Status::new("subagent")?, |_| {})?;
            let two = batch.start_invocation(Status::new("subagent")?, |_| {})?;
            let final_value = Some(batch.put(b"four"));
            batch.complete_invocation(one, |row| {
                row.callee = "kid".parse().ok();
                row.final_value = final_value;
            })?;
            batch.fail_invocation(two, |row| row.callee = "other".parse().ok())?;
            for status in [Status::UNFINISHED, Status::ABORTED, Status::ORPHANED, Status::ERROR] {
                let code = batch.put(b"{}");
                batch.add_eval(status, |eval| eval.code = Some(code))?;
            }
            batch.update_turn(turn, |row| row.status = Status::FINAL)?;
            batch.seal().map(drop)
        })
        .unwrap();
    session.close().unwrap();
    let own: SessionId = "own".parse().unwrap();
    let told = |place: &Place| -> (Vec<(String, Option<String>)>, Vec<String>) {
        let rows = place.store.view(&own).unwrap().rows;
        let calls = rows.invocations.iter().map(|entry| &entry.row);
        let calls = calls.map(|row| (row.status.to_string(), row.callee.as_ref().map(ToString::to_string)));
        (calls.collect(), rows.evals.iter().map(|entry| entry.row.status.to_string()).collect())
    };
    let expected = told(&place);
    assert_eq!(
        expected.0,
        [("ok", "kid"), ("error", "other")].map(|(status, of)| (status.to_owned(), Some(of.to_owned())))
    );
    let other = Place::of("pixir");
    other.import(place.export(&own));
    assert_eq!(told(&other), expected);
}

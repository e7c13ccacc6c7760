//! What a batch may name: numbers that were given, whichever way the event is written; and calls between sessions.

use headwater::model::{
    Body, Call, CallNumber, CallType, Eval, EvalNumber, Event, Invocation, InvocationNumber, Message, MessageNumber,
    Role, Snapshot, SnapshotNumber, Status, Turn, TurnNumber,
};
use headwater::store::{CommitError, Options};

use super::tools::{Make, named, new, on_both, on_disk, turn};

on_both! {
    a_number_nobody_was_given_cannot_be_named
    an_invocation_is_recorded_by_the_callers_handle
    a_write_inside_a_write_is_refused_and_looking_is_not
    the_last_turn_is_found_without_reading_the_others
}

fn word(text: &'static str) -> Status {
    Status::try_from(std::borrow::Cow::Borrowed(text)).unwrap()
}

/// Each kind of row through `append`, with each of its references one beyond what there is.
fn a_number_nobody_was_given_cannot_be_named(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    turn(&session, "a question", "an answer").unwrap();
    session.add_eval(Status::OK, |_| {}).unwrap();
    session.add_snapshot(word("vars"), |_| {}).unwrap();
    session.start_invocation(word("rlm"), |_| {}).unwrap();
    let kind = || word("vars");
    let content = home.store.blobs().put(b"content").unwrap();
    let message = |turn, call| {
        let message = MessageNumber(0);
        Body::MessageAdded(Message { message, role: Role::User, content, chars: 7, turn, call, extra: None })
    };
    let call = |number, turn, eval| Call { turn, eval, ..Call::new(CallNumber(number), CallType::Leaf) };
    let eval = |turn, message, call| Eval { turn, message, call, ..Eval::new(EvalNumber(0), Status::OK) };
    let snapshot = |turn, eval| Snapshot { turn, eval, ..Snapshot::new(SnapshotNumber(0), kind()) };
    let invocation = |number, call| Invocation {
        invocation: InvocationNumber(number),
        call,
        ..home.store.invocations_from(session.id()).unwrap()[0].row.clone()
    };
    let (t, m, c, e) = (TurnNumber(9), MessageNumber(9), CallNumber(9), EvalNumber(9));
    let before = home.store.events(session.id()).unwrap();
    let bodies = [
        message(Some(t), None),
        message(None, Some(c)),
        message(Some(TurnNumber(0)), None),
        Body::TurnPut(Turn::new(TurnNumber(2))),
        Body::CallStarted(call(0, Some(t), None)),
        Body::CallStarted(call(0, None, Some(EvalNumber(3)))),
        Body::CallPut(call(2, None, None)),
        Body::CallPut(call(1, None, Some(e))),
        Body::EvalAdded(eval(Some(t), None, None)),
        Body::EvalAdded(eval(None, Some(m), None)),
        Body::EvalAdded(eval(None, None, Some(c))),
        Body::EvalPut(Eval::new(EvalNumber(2), Status::OK)),
        Body::EvalPut(Eval { turn: Some(t), ..Eval::new(EvalNumber(1), Status::OK) }),
        Body::SnapshotAdded(snapshot(Some(t), None)),
        Body::SnapshotAdded(snapshot(None, Some(EvalNumber(2)))),
        Body::InvocationStarted(invocation(0, Some(c))),
        Body::InvocationCompleted(invocation(2, None)),
        Body::InvocationFailed(invocation(2, None)),
        Body::CallerHeadRecorded(invocation(0, None)),
        Body::Annotation(headwater::model::Annotation::new("note", Some(t), None).unwrap()),
    ];
    for body in bodies {
        let refused = session.append(body.clone());
        assert!(matches!(refused, Err(CommitError::Missing { .. })), "{body:?}: {refused:?}");
        let refused = session.write(|batch| {
            batch.add_message(headwater::store::NewMessage::new(Role::User, "with it"))?;
            batch.append(body.clone())
        });
        assert!(matches!(refused, Err(CommitError::Missing { .. })), "{body:?}: {refused:?}");
    }
    let typed = [
        session.add_eval(Status::OK, |row| row.message = Some(m)).map(|_| ()),
        session.add_snapshot(kind(), |row| row.eval = Some(e)).map(|_| ()),
        session.write(|batch| batch.begin_call(CallType::Leaf, |row| row.eval = Some(e))).map(|_| ()),
        session.update_call(CallNumber(1), |row| row.turn = Some(t)),
        session.write(|batch| batch.update_eval(e, |_| {})),
        session.write(|batch| batch.update_eval(EvalNumber(1), |row| row.call = Some(c))),
        session.complete_invocation(InvocationNumber(2), |_| {}),
        session.complete_invocation(InvocationNumber(1), |row| row.call = Some(c)),
    ];
    for refused in typed {
        assert!(matches!(refused, Err(CommitError::Missing { .. })), "{refused:?}");
    }
    assert_eq!(home.store.events(session.id()).unwrap(), before, "nothing of any is left");

    // What exists can be named: a call names the eval that makes it, which is recorded when it ended.
    let good = [
        Body::CallStarted(call(0, Some(TurnNumber(1)), Some(EvalNumber(2)))),
        Body::EvalAdded(eval(Some(TurnNumber(1)), Some(MessageNumber(1)), Some(CallNumber(1)))),
        Body::SnapshotAdded(snapshot(Some(TurnNumber(1)), Some(EvalNumber(2)))),
        Body::InvocationFailed(invocation(1, Some(CallNumber(2)))),
        Body::CallerHeadRecorded(invocation(1, None)),
    ];
    session.append_all(good.to_vec()).unwrap();
    let running = |number| Eval::new(EvalNumber(number), Status::RUNNING);
    for running in [Body::EvalAdded(running(0)), Body::EvalPut(running(1))] {
        assert!(matches!(session.append(running), Err(CommitError::Invalid(_))));
    }
}

/// A caller, a child attached at one of its heads, the answer, the caller's head that holds it.
fn an_invocation_is_recorded_by_the_callers_handle(make: Make) {
    let home = make(Options::default());
    let (caller, kind) = (named(&home.store, "caller"), || word("attach"));
    let head = turn(&caller, "a question", "an answer").unwrap();
    let child = home.store.attach(&head, new("child")).unwrap();
    let _fork = home.store.fork(&head, new("fork")).unwrap();
    let begun = caller.start_invocation(kind(), |row| row.callee = Some(child.id().clone())).unwrap();
    let after = turn(&child, "do it", "done").unwrap();
    let value = home.store.blobs().put(b"done").unwrap();
    caller.complete_invocation(begun, |row| (row.callee_after, row.final_value) = (Some(after), Some(value))).unwrap();
    let sealed = caller.seal().unwrap();
    caller.record_caller_head(begun, sealed).unwrap();
    let failed = caller.start_invocation(kind(), |_| {}).unwrap();
    caller.fail_invocation(failed, |row| row.error = Some(value)).unwrap();

    let from = home.store.invocations_from(caller.id()).unwrap();
    let (first, second) = (&from[0].row, &from[1].row);
    assert_eq!((first.invocation, first.status.as_str(), first.child), (begun, "ok", Some(1)));
    assert_eq!((first.caller_before, first.caller_after), (Some(head), Some(sealed)));
    assert_eq!((first.callee_after, first.final_value), (Some(after), Some(value)));
    assert_eq!((second.invocation, second.status.as_str(), second.child), (failed, "error", Some(2)));
    assert_eq!(home.store.invocations_to(child.id()).unwrap(), from[..1]);
    let attached = home.store.attached_from(caller.id()).unwrap();
    assert_eq!(attached.len(), 1, "the fork is none");
    assert_eq!((&attached[0].target_session, attached[0].source_head), (child.id(), head));
    assert_eq!(home.store.attached_from(child.id()).unwrap(), []);
    let nowhere = headwater::model::HeadId(value);
    assert!(matches!(caller.record_caller_head(begun, nowhere), Err(CommitError::Missing { .. })));
}

/// What used to wait for itself for ever is told; what only looks sees the session without the batch.
fn a_write_inside_a_write_is_refused_and_looking_is_not(make: Make) {
    let home = make(Options::default());
    let (session, other) = (named(&home.store, "demo"), named(&home.store, "other"));
    let before = (session.counters(), session.current_head());
    session
        .write(|batch| {
            batch.begin_turn(|_| {})?;
            for nested in [
                session.begin_turn("inside").map(|_| ()),
                session.seal().map(|_| ()),
                session.submit(|batch| batch.add_annotation("note", None, None)).map(|_| ()),
                session.clone().write(|_| Ok(())),
            ] {
                assert!(matches!(nested, Err(CommitError::Nested { .. })), "{nested:?}");
            }
            assert_eq!((session.counters(), session.current_head()), before);
            assert_eq!(session.view().unwrap().rows.turns.len(), 0);
            // Another session is another matter.
            other.add_annotation("note", None)?;
            Ok(())
        })
        .unwrap();
    assert_eq!(session.counters().turn, 1);
    // The gate opens again after a refusal, and after a panic.
    assert!(session.write(|_| Err::<(), _>(CommitError::Invalid("no".to_owned()))).is_err());
    let clone = session.clone();
    assert!(
        std::thread::spawn(move || clone.write(|_| -> Result<(), _> { panic!("a caller's own defect") }))
            .join()
            .is_err()
    );
    session.add_annotation("note", None).unwrap();
}

fn the_last_turn_is_found_without_reading_the_others(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let session = named(store, "demo");
    let genesis = session.current_head().unwrap();
    assert_eq!(store.last_turn(session.id()).unwrap(), None);
    assert_eq!(store.last_turn_at(&genesis).unwrap(), None);
    let first = turn(&session, "one", "1").unwrap();
    let second = turn(&session, "two", "2").unwrap();
    let number = |found: Option<headwater::model::Entry<Turn>>| found.map(|entry| entry.row.turn.0);
    assert_eq!(number(store.last_turn_at(&first).unwrap()), Some(1));
    assert_eq!(number(store.last_turn_at(&second).unwrap()), Some(2));
    let fork = store.fork(&first, new("fork")).unwrap();
    assert_eq!(store.last_turn(fork.id()).unwrap(), None, "none of its own");
    let of_fork = store.last_turn_at(&fork.current_head().unwrap()).unwrap().unwrap();
    assert_eq!((of_fork.session.as_str(), of_fork.row.turn.0), ("demo", 1));
    let open = session.begin_turn("three").unwrap();
    let last = store.last_turn(session.id()).unwrap().unwrap();
    assert_eq!((last.row.turn, last.row.status.is_running()), (open, true));
    assert_eq!(number(store.last_turn_at(&second).unwrap()), Some(2), "a head reads the same for ever");

    let events: Vec<Event> = store.events(session.id()).unwrap();
    for event in &events {
        assert_eq!(store.event_body(session.id(), event.number).unwrap(), *event);
    }
    for beyond in [0, events.len() as u64 + 1, u64::MAX] {
        assert!(store.event_body(session.id(), headwater::model::EventNumber(beyond)).is_err());
    }
}

/// A session that commits while another handle waits for its turn: the order of numbers is the order of commits.
#[test]
fn batches_of_one_session_are_filled_one_at_a_time() {
    let home = on_disk(Options::default());
    let session = named(&home.store, "demo");
    let inside = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20 {
                    session
                        .write(|batch| {
                            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                            let number = batch.add_annotation("note", None, None);
                            std::thread::yield_now();
                            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            number
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(home.store.events(session.id()).unwrap().len(), 3 + 120);
}

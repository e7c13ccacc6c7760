//! A small store with some of everything in it.

use headwater::model::{CallType, Role, Status};
use headwater::store::{NewMessage, NewSession, Session, Store};

/// A turn with a call, a message, an eval and a snapshot, sealed.
pub fn turn(session: &Session, n: u32) {
    let turn = session.begin_turn(&format!("question {n}: what is {n} + {n}?")).unwrap();
    session
        .write(|batch| {
            let request = batch.put(format!("{{\"request\":{n}}}").as_bytes());
            let call = batch.begin_call(CallType::Root, |row| row.request = Some(request))?;
            let response = batch.put(format!("the answer is {}", n + n).as_bytes());
            batch.update_call(call, |row| {
                (row.status, row.response, row.tokens_output) = (Status::OK, Some(response), Some(5));
                (row.provider, row.model) = (Some("acme".to_owned()), Some("acme-1".to_owned()));
            })?;
            batch.add_message(NewMessage::new(Role::Assistant, format!("{}", n + n)).turn(turn).call(call))?;
            let code = batch.put(b"print(1 + 1)");
            batch.add_eval(Status::OK, |row| (row.name, row.code) = (Some("python".to_owned()), Some(code)))?;
            let vars = batch.put(format!("{{\"x\":{n}}}").as_bytes());
            batch.add_snapshot(Status::FINAL, |row| (row.vars, row.restorable) = (Some(vars), 1))?;
            batch.update_turn(turn, |row| (row.status, row.final_value) = (Status::FINAL, Some(response)))?;
            batch.seal()
        })
        .unwrap();
}

/// Some of everything.
pub fn fill(store: &Store) {
    let named = |name: &str| NewSession::named(name.parse().unwrap());
    let session = store
        .create_session(NewSession {
            alias: Some("first".parse().unwrap()),
            title: Some("A small store".to_owned()),
            origin: Some("test".to_owned()),
            cache_id: Some("cache".to_owned()),
            ..named("demo")
        })
        .unwrap();
    session.add_message(Role::System, "Be brief.").commit().unwrap();
    turn(&session, 1);
    let first = session.current_head().unwrap();
    turn(&session, 2);
    session.compact("Two sums were asked for.", 1).unwrap();
    turn(&session, 3);
    let noise: Vec<u8> = (0..6_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    session.add_annotation("note/large", Some(&noise)).unwrap();
    session
        .write(|batch| {
            batch.key("once");
            batch.set_status(Status::RUNNING, None)
        })
        .unwrap();
    let fork = store.fork(&first, named("fork")).unwrap();
    turn(&fork, 4);
    let child = store.attach(&fork.current_head().unwrap(), named("child")).unwrap();
    let (callee, before) = (child.id().clone(), child.current_head());
    let invocation = session
        .write(|batch| {
            let label = batch.put(b"a child");
            batch.start_invocation(Status::new("rlm")?, |row| {
                (row.callee, row.callee_before, row.label) = (Some(callee), before, Some(label));
            })
        })
        .unwrap();
    turn(&child, 5);
    let after = child.current_head();
    session.write(|batch| batch.complete_invocation(invocation, |row| row.callee_after = after)).unwrap();
    let head = session.seal().unwrap();
    session.write(|batch| batch.record_caller_head(invocation, head)).unwrap();
    session.close().unwrap();
    let session = store.resume(&"demo".parse().unwrap(), Some(&first)).unwrap();
    turn(&session, 6);
    session.fail(b"a raw error").unwrap();
    store.blobs().put(&"a text that compresses well, over and over. ".repeat(600).into_bytes()).unwrap();
    for n in 10..14 {
        turn(&session, n);
    }
}

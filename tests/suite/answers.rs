//! Trees, sums and ranges of a store that was really written, against its own events and against the plain sqlite3 shell.

use std::path::Path;
use std::process::Command;

use headwater::model::{Body, Call, CallType, Eval, Message, NodeName, Role, Status, Turn};
use headwater::store::{Content, NewMessage, Range, ReadError, Scope, Session, Store};
use headwater::view::types::{Mark, Sum, TreeLimits};

use super::tools::{Fresh, fresh, named, new, turn};

/// A call that costs so much, in two versions.
fn cost(session: &Session, kind: CallType, cost: Option<u64>) {
    session
        .write(|batch| {
            let call = batch.begin_call(kind, |row| row.cost = Some(1_000_000))?;
            batch.update_call(call, |row| (row.status, row.cost) = (Status::OK, cost))
        })
        .unwrap();
}

fn call(caller: &Session, callee: &Session) {
    caller
        .write(|batch| {
            let label = batch.put(b"the hard part");
            let invocation = batch.start_invocation(Status::new("rlm").unwrap(), |row| {
                (row.callee, row.label) = (Some(callee.id().clone()), Some(label));
            })?;
            batch.complete_invocation(invocation, |_| {})
        })
        .unwrap();
}

/// `demo` calls two sessions, which call the same third one; it is forked, too.
fn family() -> (Fresh, Vec<Session>) {
    let home = fresh();
    let demo = named(&home.store, "demo");
    let head = turn(&demo, "what is 2 + 2?", "4").unwrap();
    let others: Vec<_> = ["left", "right", "below"].map(|name| named(&home.store, name)).into();
    cost(&demo, CallType::Root, Some(10));
    cost(&demo, CallType::Tool, Some(5_000));
    cost(&others[0], CallType::Leaf, Some(20));
    cost(&others[1], CallType::LeafBatchItem, None);
    cost(&others[2], CallType::Root, Some(40));
    call(&demo, &others[0]);
    call(&demo, &others[1]);
    call(&others[0], &others[2]);
    call(&others[1], &others[2]);
    let fork = home.store.fork(&head, new("demo-2")).unwrap();
    cost(&fork, CallType::Root, Some(80));
    let sessions = [vec![demo], others, vec![fork]].concat();
    (home, sessions)
}

fn node(store: &Store, text: &str) -> NodeName {
    store.resolve_node(text).unwrap()
}

#[test]
fn a_session_reached_twice_counts_once_and_a_fork_pays_for_itself() {
    let (home, sessions) = family();
    let store = &home.store;
    let usage = store.usage(sessions[0].id()).unwrap();
    // One call of the turn says no cost, and neither does the one of `right`.
    assert_eq!(usage.tree.cost, Sum::Partial { sum: 10 + 20 + 40, unknown: 2 });
    assert_eq!((usage.root.calls, usage.leaf.calls, usage.children.calls), (2, 0, 3));
    assert_eq!((usage.children.cost, usage.inherited.calls), (Sum::Partial { sum: 60, unknown: 1 }, 0));
    let fork = store.usage(sessions[4].id()).unwrap();
    assert_eq!((fork.tree.cost, fork.inherited.calls), (Sum::Known(80), 1));

    // The same by going through every event.
    let mut by_events: Vec<Call> = Vec::new();
    for session in &sessions[..4] {
        for event in store.events(session.id()).unwrap() {
            if let Body::CallPut(row) = event.body
                && matches!(row.call_type, CallType::Root | CallType::Leaf | CallType::LeafBatchItem)
            {
                by_events.push(row);
            }
        }
    }
    assert_eq!(usage.tree.calls, by_events.len() as u64);
    assert_eq!(usage.tree.cost.known(), Some(by_events.iter().filter_map(|row| row.cost).map(u128::from).sum()));
    assert_eq!(usage.tree.cost.unknown_calls(), by_events.iter().filter(|row| row.cost.is_none()).count() as u64);

    let nodes = store.tree(&node(store, "demo"), TreeLimits::default()).unwrap().nodes;
    let seen: Vec<_> = nodes.iter().map(|node| (node.name.to_string(), node.mark)).collect();
    let expected = [
        ("demo", None),
        ("demo/child-0001", None),
        ("demo/child-0001/child-0001", None),
        ("demo/child-0002", None),
        ("demo/child-0002/child-0001", Some(Mark::Again)),
        ("demo-2", None),
    ];
    assert_eq!(seen, expected.map(|(name, mark)| (name.to_owned(), mark)));
    assert_eq!(nodes[0].subtree, usage.tree);
    assert_eq!(nodes[1].subtree.cost, Sum::Known(60));
    assert_eq!((nodes[1].label.as_deref(), nodes[0].more(), nodes[0].forks), (Some("the hard part"), 0, 1));
}

#[test]
fn nodes_are_named_by_the_way_down() {
    let (home, sessions) = family();
    let store = &home.store;
    for text in ["demo/child-0002/child-0001", "demo/root/child-2/child-1", "demo/invocation-0002/child-0001"] {
        let node = store.load_node(&node(store, text)).unwrap();
        assert_eq!(node.session.as_ref(), Some(sessions[3].id()), "{text}");
        assert_eq!(node.name.to_string(), "demo/child-0002/child-0001");
        assert_eq!(store.resolve_session(text).unwrap(), *sessions[3].id());
    }
    // An address alone is of the session changed last.
    sessions[0].begin_turn("and then?").unwrap();
    assert_eq!(store.last_changed().unwrap().unwrap().session, *sessions[0].id());
    assert_eq!(store.resolve_session("child-0001").unwrap(), *sessions[1].id());
    assert_eq!(store.resolve_session("root").unwrap(), *sessions[0].id());
    // Unless a session has that very name.
    let other = named(store, "child-0001");
    assert_eq!(store.resolve_session("child-0001").unwrap(), *other.id());
    for missing in ["demo/child-0003", "demo/child-0001/child-0002", "demo/call-0001"] {
        assert!(matches!(store.load_node(&node(store, missing)), Err(ReadError::NotFound { .. })), "{missing}");
        assert!(matches!(store.resolve_session(missing), Err(ReadError::NotFound { .. })), "{missing}");
    }
    assert!(matches!(store.resolve_node("demo/elsewhere"), Err(ReadError::BadId(_))));
    // A child whose session is not here is a node without one.
    sessions[0]
        .write(|batch| {
            batch.start_invocation(Status::new("rlm").unwrap(), |row| row.callee = Some("far-away".parse().unwrap()))
        })
        .unwrap();
    let far = store.load_node(&node(store, "demo/child-0003")).unwrap();
    assert_eq!((far.mark, far.status, far.info), (Some(Mark::Missing), Status::RUNNING, None));
}

#[test]
fn rows_are_read_by_range_and_stay_of_one_point() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let numbers = |records: headwater::store::Records<Message>| -> Vec<u64> {
        records.map(|entry| entry.unwrap().row.message.0).collect()
    };
    session
        .write(|batch| {
            for n in 0..1_000 {
                batch.add_message(NewMessage::new(Role::Assistant, format!("message {n}")))?;
            }
            batch.seal()
        })
        .unwrap();
    let of = |scope, range| home.store.messages(session.id(), scope, range).unwrap();
    assert_eq!(numbers(of(Scope::Current, Range::default())), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(numbers(of(Scope::Log, Range::of(400, 800))), (400..=800).collect::<Vec<_>>());
    let newest = Range { to: Some(990), ..Range::newest_first() };
    assert_eq!(numbers(of(Scope::Current, newest))[..3], [990, 989, 988]);
    // What is committed while it is read does not show.
    let mut reading = of(Scope::Working, Range::default());
    reading.next().unwrap().unwrap();
    session.add_message(Role::User, "later").commit().unwrap();
    assert_eq!(numbers(reading).len(), 999);
    assert_eq!(of(Scope::Working, Range::default()).count(), 1_001);

    session.add_message(Role::User, "long ".repeat(2_000)).commit().unwrap();
    let mut said = of(Scope::Log, Range::newest_first()).with_content(5_000);
    assert_eq!(said.next().unwrap().unwrap().1, Content::Large(10_000));
    assert_eq!(said.next().unwrap().unwrap().1, Content::Bytes(b"later".to_vec()));
}

#[test]
fn a_final_value_is_traced_to_its_turn() {
    let home = fresh();
    let session = named(&home.store, "demo");
    assert_eq!(home.store.trace(session.id()).unwrap(), None);
    turn(&session, "what is 2 + 2?", "4").unwrap();
    let last = session.begin_turn("and 3 + 3?").unwrap();
    session
        .write(|batch| {
            let asked = batch.begin_call(CallType::Root, |_| {})?;
            batch.update_call(asked, |row| row.status = Status::OK)?;
            let code = batch.put(b"(+ 3 3)");
            batch.add_eval(Status::OK, |row| (row.call, row.code) = (Some(asked), Some(code)))?;
            let leaf = batch.begin_call(CallType::Child, |_| {})?;
            batch.start_invocation(Status::new("rlm").unwrap(), |row| row.call = Some(leaf))?;
            let value = batch.put(b"6");
            batch.update_turn(last, |row| (row.status, row.final_value) = (Status::FINAL, Some(value)))?;
            batch.seal()
        })
        .unwrap();
    session.compact("two sums", 1).unwrap();
    let trace = home.store.trace(session.id()).unwrap().unwrap();
    assert_eq!((trace.turn.row.turn, &trace.turn.row.status), (last, &Status::FINAL));
    assert_eq!((trace.evals.len(), trace.calls.len(), trace.invocations.len()), (1, 2, 1));
    assert_eq!(trace.chain.last().unwrap().event.id, trace.turn.event);
    // A fork traces what it inherits.
    let fork = home.store.fork(&session.current_head().unwrap(), new("fork")).unwrap();
    assert_eq!(home.store.trace(fork.id()).unwrap().unwrap().turn, trace.turn);
}

#[test]
fn the_plain_shell_counts_the_same() {
    const SHELL: &str = "/usr/bin/sqlite3";
    if !Path::new(SHELL).exists() {
        eprintln!("SKIPPED the_plain_shell_counts_the_same: there is no {SHELL}");
        return;
    }
    let (home, sessions) = family();
    let ask = |sql: &str| {
        let database = home.store.root().join("store.sqlite");
        let out = Command::new(SHELL).arg("-readonly").arg("-batch").arg(database).arg(sql).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let last = "SELECT c.* FROM call c WHERE c.type IN ('root', 'leaf', 'leaf-batch-item') AND c.inherited = 0
        AND NOT EXISTS (SELECT 1 FROM call l WHERE l.session = c.session AND l.id = c.id AND l.event > c.event)";
    for session in &sessions {
        let usage = home.store.usage(session.id()).unwrap();
        let own = usage.root.with(usage.leaf);
        let sum = ask(&format!(
            "SELECT count(*), total(cost_nano_usd), sum(cost_nano_usd IS NULL) FROM ({last}) WHERE session = '{}'",
            session.id()
        ));
        let known = own.cost.known().unwrap_or(0);
        assert_eq!(sum, format!("{}|{known}.0|{}", own.calls, own.cost.unknown_calls()));
    }
    let children = ask("SELECT count(DISTINCT id) FROM invocation WHERE session = 'demo'");
    assert_eq!(children, home.store.load_node(&node(&home.store, "demo")).unwrap().children.to_string());
    let id = sessions[0].id();
    let count = |view: &str| ask(&format!("SELECT count(*) FROM {view} WHERE session = 'demo'"));
    assert_eq!(
        count("current_turn"),
        home.store.records::<Turn>(id, Scope::Current, Range::default()).unwrap().count().to_string()
    );
    assert_eq!(
        count("eval"),
        home.store.records::<Eval>(id, Scope::Log, Range::default()).unwrap().count().to_string()
    );
}

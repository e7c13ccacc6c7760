//! The histories that the design tells of, and names as people type them.

use super::world::World;
use crate::model::*;
use crate::view::error::ReadError;
use crate::view::types::{Sum, Used};
use crate::view::{blobs, heads, history, resolve, sessions, state, trace, usage};

fn turn(world: &mut World, s: usize, n: u64) {
    let mut row = Turn::new(TurnNumber(n));
    world.sessions[s].counters.turn = world.sessions[s].counters.turn.max(n);
    row.head_before = world.sessions[s].current.map(|head| world.heads[head].id);
    world.add(s, Body::TurnStarted(row.clone()));
    world.sessions[s].counters.message += 1;
    let message = Message {
        message: MessageNumber(world.sessions[s].counters.message),
        role: Role::User,
        content: Digest::of(b"hello"),
        chars: 5,
        turn: Some(row.turn),
        call: None,
        extra: None,
    };
    world.add(s, Body::MessageAdded(message));
    row.status = Status::FINAL;
    world.add(s, Body::TurnPut(row));
}

/// One turn to H1, a second to H2, back to H1, a third to H3, and a fork of H3: the picture in the design.
fn picture() -> (World, [usize; 4]) {
    let mut world = World::new();
    let s = world.session("demo", None, DerivationKind::Fork);
    turn(&mut world, s, 1);
    let h1 = world.seal(s, HeadKind::TurnFinal);
    turn(&mut world, s, 2);
    let h2 = world.seal(s, HeadKind::TurnFinal);
    world.restore(s, h1);
    turn(&mut world, s, 3);
    let h3 = world.seal(s, HeadKind::TurnFinal);
    let f = world.session("fork", Some(h3), DerivationKind::Fork);
    (world, [h1, h2, h3, f])
}

fn because(world: &World, s: usize, ev: u64) -> Vec<String> {
    let causes = trace::causes(&world.conn, world.sessions[s].sid, EventNumber(ev)).unwrap();
    causes.into_iter().map(|(session, ev)| format!("{session}#{ev}")).collect()
}

#[test]
fn causes_stay_on_their_branch() {
    let (mut world, [h1, h2, h3, f]) = picture();
    let ev = |head: usize| world.heads[head].ev;
    let (h1, h2, h3) = (ev(h1), ev(h2), ev(h3));
    // 1 started, 2 genesis, 3 advanced, 4 turn, 5 message, 6 turn's end, 7 H1, 8 advanced.
    assert_eq!((h1, h2, h3), (7, 12, 19));
    assert_eq!(because(&world, 0, 4), ["demo#3"]);
    assert_eq!(because(&world, 0, 6), ["demo#4", "demo#3"]);
    assert_eq!(because(&world, 0, 7), ["demo#6", "demo#3"]);
    assert_eq!(because(&world, 0, 8), ["demo#7"]);
    assert_eq!(because(&world, 0, 9), ["demo#8"]);
    // Back to H1 (14 restored, 15 advanced): its own event is what is left to name, its last move is on the other branch.
    assert_eq!(because(&world, 0, 14), ["demo#7", "demo#1"]);
    assert_eq!(because(&world, 0, 15), ["demo#7"]);
    assert_eq!(because(&world, 0, 16), ["demo#15"]);
    assert_eq!(because(&world, 0, 19), ["demo#18", "demo#15"]);
    // The move to H2 came after it was sealed and before its branch was left: no head is above it.
    assert_eq!(because(&world, 0, 13), ["demo#12"]);
    // In the fork, an inherited row is named with its session.
    assert_eq!(because(&world, f, 2), ["demo#19", "demo#18"]);
    let put = Turn { status: Status::ERROR, ..Turn::new(TurnNumber(3)) };
    let late = world.add(f, Body::TurnPut(put));
    assert_eq!(because(&world, f, late), ["demo#18"]);
    let again = world.add(f, Body::TurnPut(Turn::new(TurnNumber(3))));
    assert_eq!(because(&world, f, again), [format!("fork#{late}")]);
}

#[test]
fn a_chain_ends_at_the_head_it_was_built_on() {
    let (world, _) = picture();
    let chain = |all| -> Vec<u64> {
        let links = trace::causal_chain(&world.conn, world.sessions[0].sid, EventNumber(11), all).unwrap();
        links.into_iter().map(|link| link.event.id.0).collect()
    };
    assert_eq!(chain(false), [8, 9, 11]);
    assert_eq!(chain(true), [2, 3, 4, 6, 7, 8, 9, 11]);
}

#[test]
fn a_head_that_is_its_own_up_is_damage_and_no_endless_walk() {
    let (world, [h1, _, h3, _]) = picture();
    let (h1, h3) = (world.heads[h1].hid, world.heads[h3].hid);
    world.conn.execute("UPDATE hw_head SET up = ?1, basis = ?1 WHERE hid = ?2", [h3, h1]).unwrap();
    assert!(matches!(heads::spans(&world.conn, h3), Err(ReadError::Damaged { .. })));
    assert!(state::last_messages(&world.conn, world.sessions[0].sid, 50).is_err());
    assert!(resolve::resolve_head(&world.conn, "demo@9").is_err());
    assert!(trace::causal_chain(&world.conn, world.sessions[0].sid, EventNumber(19), true).is_ok());
}

#[test]
fn two_heads_are_compared_by_their_spans() {
    let (world, [_, h2, h3, _]) = picture();
    let found = heads::compare(&world.conn, world.heads[h2].hid, world.heads[h3].hid).unwrap();
    let runs = |spans: &[Span]| spans.iter().map(|span| (span.from.0, span.to.0)).collect::<Vec<_>>();
    assert_eq!(runs(&found.common), [(1, 6)]);
    assert_eq!(runs(&found.left), [(7, 11)]);
    assert_eq!(runs(&found.right), [(14, 18)]);
}

#[test]
fn names_are_found_and_ambiguities_list_what_they_fit() {
    let (mut world, [h1, _, h3, f]) = picture();
    world.session("fork-2", Some(h3), DerivationKind::Attach);
    world.conn.execute("INSERT INTO hw_alias (name, sid) VALUES ('main', ?1)", [world.sessions[0].sid]).unwrap();
    let conn = &world.conn;
    let session = |text: &str| resolve::resolve_session(conn, text).map(|(_, id)| id.to_string());
    assert_eq!(session("demo").unwrap(), "demo");
    assert_eq!(session("de").unwrap(), "demo");
    assert_eq!(session("mai").unwrap(), "demo");
    assert_eq!(session("fork").unwrap(), "fork");
    assert!(matches!(session("nothing"), Err(ReadError::NotFound { .. })));
    assert!(matches!(session("no/id"), Err(ReadError::BadId(_))));
    match session("fo") {
        Err(ReadError::Ambiguous { candidates, .. }) => assert_eq!(candidates, ["fork", "fork-2"]),
        other => panic!("{other:?}"),
    }

    let id = |head: usize| world.heads[head].id;
    let head = |text: &str| resolve::resolve_head(conn, text);
    assert_eq!(head(&id(h1).to_string()).unwrap(), id(h1));
    assert_eq!(head(&id(h1).short()).unwrap(), id(h1));
    assert_eq!(head(&id(h1).to_string()[5..30]).unwrap(), id(h1));
    assert!(matches!(head("head-000000000000"), Err(ReadError::NotFound { .. })));
    assert!(head("a b").is_err() && head("abc").is_err() && head("demo@x").is_err());
    assert_eq!(head("demo@0").unwrap(), id(h3));
    assert_eq!(head("demo@1").unwrap(), id(h1));
    assert_eq!(head("main@2").unwrap(), world.heads[0].id);
    assert!(matches!(head("demo@3"), Err(ReadError::NotFound { .. })));
    // A fork's genesis was built on its source, which ends a turn.
    assert_eq!(head("fork@1").unwrap(), id(h1));
    conn.execute("INSERT INTO hw_pin (name, bid, head, version) VALUES ('good', ?1, 1, 1)", [world.heads[h1].hid])
        .unwrap();
    assert_eq!(head("good").unwrap(), id(h1));
    assert_eq!(resolve::resolve_digest(conn, "good").unwrap(), id(h1).0);
    let hello = Digest::of(b"hello");
    assert_eq!(resolve::resolve_digest(conn, &hello.to_string()[..12]).unwrap(), hello);
    assert_eq!(resolve::resolve_digest(conn, &hello.to_string()[3..12]).unwrap(), hello);

    let row = blobs::blob_row(conn, &hello).unwrap().unwrap();
    assert_eq!((row.state, row.size), (blobs::BlobState::Present, 1));
    assert_eq!(blobs::blob_row(conn, &Digest::ZERO).unwrap(), None);
    assert_eq!(blobs::parts(conn, row.bid).unwrap(), []);

    assert_eq!(heads::head_of_turn(conn, world.sessions[0].sid, TurnNumber(1)).unwrap(), id(h1));
    assert_eq!(heads::head_of_turn(conn, world.sessions[f].sid, TurnNumber(3)).unwrap(), id(h3));
    assert!(heads::head_of_turn(conn, world.sessions[0].sid, TurnNumber(9)).is_err());
}

#[test]
fn a_history_knows_its_relations() {
    let (world, [h1, _, h3, f]) = picture();
    let conn = &world.conn;
    let demo = history::history(conn, world.sessions[0].sid).unwrap();
    assert_eq!((demo.heads.len(), demo.rows.turns.len(), demo.derivations.len()), (4, 3, 1));
    assert_eq!(demo.heads.iter().map(|head| head.ordinal).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(demo.heads[3].current && !demo.heads[2].current);
    let reference = demo.reference.unwrap();
    assert_eq!((reference.current, reference.previous), (world.heads[h3].id, Some(world.heads[h1].id)));
    let fork = sessions::session_info(conn, world.sessions[f].sid).unwrap();
    assert_eq!(fork.source, Some(("demo".parse().unwrap(), world.heads[h3].id)));
    assert_eq!((fork.turns, fork.heads), (0, 1));
    assert_eq!(sessions::sessions(conn).unwrap().len(), 2);
}

#[test]
fn usage_counts_last_versions_and_says_what_it_does_not_know() {
    let mut world = World::new();
    let s = world.session("demo", None, DerivationKind::Fork);
    let add = |world: &mut World, s: usize, n: u64, kind: CallType, cost: Option<u64>| {
        world.sessions[s].counters.call = n;
        let mut call = Call::new(CallNumber(n), kind);
        world.add(s, Body::CallStarted(call.clone()));
        (call.cost, call.tokens_cached) = (cost, Some(n));
        world.add(s, Body::CallPut(call));
    };
    add(&mut world, s, 1, CallType::Root, Some(10));
    add(&mut world, s, 2, CallType::Root, None);
    add(&mut world, s, 3, CallType::Leaf, Some(5));
    add(&mut world, s, 4, CallType::Tool, Some(1_000));
    let head = world.seal(s, HeadKind::TurnFinal);
    let f = world.session("fork", Some(head), DerivationKind::Fork);
    add(&mut world, f, 5, CallType::LeafBatchItem, Some(7));
    let of = |s: usize| usage::usage(&world.conn, world.sessions[s].sid).unwrap();
    let demo = of(s);
    assert_eq!(demo.root.cost, Sum::Partial { sum: 10, unknown: 1 });
    assert_eq!((demo.leaf.calls, demo.leaf.cost), (1, Sum::Known(5)));
    assert_eq!((demo.tree.calls, demo.tree.cost), (3, Sum::Partial { sum: 15, unknown: 1 }));
    assert_eq!((demo.root.tokens_input, demo.tree.cache_hits), (Sum::Unknown(2), Sum::Known(3)));
    assert_eq!((demo.children, demo.inherited), (Used::default(), Used::default()));
    let fork = of(f);
    assert_eq!((fork.tree.calls, fork.tree.cost, fork.inherited.calls), (1, Sum::Known(7), 3));
}

//! The bars of reading, on request: `cargo test --release --lib measure -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::world::World;
use crate::model::*;
use crate::view::records::{Cursor, Range, Scope};
use crate::view::types::TreeLimits;
use crate::view::{events, heads, resolve, sessions, state, trace, tree, usage};

fn best<T>(what: &str, mut work: impl FnMut() -> T) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        std::hint::black_box(work());
        least = least.min(start.elapsed());
    }
    println!("{what}: {least:?}");
    least
}

fn message(world: &mut World, s: usize, n: u64) {
    world.sessions[s].counters.message = n;
    let body = Message {
        message: MessageNumber(n),
        role: Role::Assistant,
        content: Digest::of(&n.to_le_bytes()),
        chars: 1_000,
        turn: Some(TurnNumber(1)),
        call: None,
        extra: None,
    };
    world.add(s, Body::MessageAdded(body));
}

#[test]
#[ignore = "takes a minute; prints times"]
fn measure_state() {
    let mut world = World::new();
    world.conn.execute_batch("BEGIN").unwrap();
    let s = world.session("demo", None, DerivationKind::Fork);
    for n in 1..=100_000 {
        message(&mut world, s, n);
    }
    let (sid, conn) = (world.sessions[s].sid, &world.conn);
    let runs = heads::working_spans(conn, sid).unwrap();
    best("100,000 messages", || assert_eq!(state::rows_at(conn, &runs).unwrap().messages.len(), 100_000));

    let mut world = World::new();
    world.conn.execute_batch("BEGIN").unwrap();
    let s = world.session("demo", None, DerivationKind::Fork);
    for n in 1..=50_000u64 {
        let mut call = Call::new(CallNumber(n), CallType::Root);
        call.turn = Some(TurnNumber(n / 10));
        call.request = Some(Digest::of(format!("request {n}").as_bytes()));
        (call.provider, call.model) = (Some("scripted".into()), Some("scripted-root".into()));
        world.add(s, Body::CallStarted(call.clone()));
        call.response = Some(Digest::of(format!("response {n}").as_bytes()));
        (call.tokens_input, call.tokens_output, call.cost) = (Some(1_000), Some(100), Some(5_000));
        (call.started_at, call.ended_at, call.status) =
            (Timestamp::from_micros(1), Timestamp::from_micros(2), Status::OK);
        world.add(s, Body::CallPut(call));
    }
    let (sid, conn) = (world.sessions[s].sid, &world.conn);
    let runs = heads::working_spans(conn, sid).unwrap();
    best("50,000 calls of two versions", || assert_eq!(state::rows_at(conn, &runs).unwrap().calls.len(), 50_000));
    best("their usage", || usage::usage(conn, sid).unwrap());
    best("10,000 of their lines", || {
        assert_eq!(events::events_compact(conn, sid, EventNumber(50_000), 10_000).unwrap().len(), 10_000);
    });
}

#[test]
#[ignore = "takes a minute; prints times"]
fn measure_long() {
    let mut world = World::new();
    world.conn.execute_batch("BEGIN").unwrap();
    let s = world.session("demo", None, DerivationKind::Fork);
    let mut n = 0;
    // Each turn 20 events; a branch now and then.
    for turn in 1..=50_000u64 {
        let current = world.sessions[s].current.unwrap();
        let mut row = Turn::new(TurnNumber(turn));
        world.sessions[s].counters.turn = turn;
        row.head_before = Some(world.heads[current].id);
        world.add(s, Body::TurnStarted(row.clone()));
        for _ in 0..14 {
            n += 1;
            message(&mut world, s, n);
        }
        let mut call = Call::new(CallNumber(turn), CallType::Root);
        world.sessions[s].counters.call = turn;
        call.turn = Some(TurnNumber(turn));
        world.add(s, Body::CallStarted(call.clone()));
        world.add(s, Body::CallPut(call));
        row.status = Status::FINAL;
        world.add(s, Body::TurnPut(row));
        world.seal_light(s);
        if turn % 50 == 0 {
            world.restore(s, current);
        }
    }
    let last = EventNumber(world.sessions[s].events.len() as u64);
    let (sid, conn) = (world.sessions[s].sid, &world.conn);
    println!("{last} events, {} heads, depth {}", world.heads.len(), world.depth(world.sessions[s].current.unwrap()));
    best("last 50 messages", || assert_eq!(state::last_messages(conn, sid, 50).unwrap().len(), 50));
    best("counters", || sessions::counters(conn, sid).unwrap());
    best("spans", || heads::spans(conn, world.heads[world.sessions[s].current.unwrap()].hid).unwrap());
    best("chain of the last event", || trace::causal_chain(conn, sid, last, false).unwrap());
    let middle = EventNumber(last.0 / 2);
    for at in 0..22 {
        let ev = EventNumber(middle.0 + at);
        best(&format!("chain of {}", world.sessions[s].events[ev.0 as usize - 1].body.kind()), || {
            trace::causal_chain(conn, sid, ev, false).unwrap().len()
        });
    }
    best("whole chain", || println!("{}", trace::causal_chain(conn, sid, last, true).unwrap().len()));
    best("demo@100", || resolve::resolve_head(conn, "demo@100").unwrap());
    best("one line", || events::event_compact(conn, sid, middle).unwrap());
    best("session", || sessions::session_info(conn, sid).unwrap());
}

fn answered(world: &mut World, s: usize, n: u64) {
    world.sessions[s].counters.call = n;
    let mut call = Call::new(CallNumber(n), CallType::Root);
    (call.turn, call.provider) = (Some(TurnNumber(n / 10)), Some("scripted".into()));
    call.model = Some(format!("model-{}", n % 3));
    world.add(s, Body::CallStarted(call.clone()));
    (call.tokens_input, call.cost, call.status) = (Some(1_000), Some(5_000), Status::OK);
    world.add(s, Body::CallPut(call));
}

#[test]
#[ignore = "takes a minute; prints times"]
fn measure_answers() {
    let mut world = World::new();
    world.conn.execute_batch("BEGIN").unwrap();
    let s = world.session("demo", None, DerivationKind::Fork);
    for n in 1..=100_000 {
        message(&mut world, s, n);
    }
    for n in 1..=50_000 {
        answered(&mut world, s, n);
    }
    world.seal_light(s);
    let (sid, conn) = (world.sessions[s].sid, &world.conn);
    let page = |range: Range, rows: usize| {
        let mut cursor = Cursor::open(conn, sid, Scope::Current, range).unwrap();
        assert_eq!(cursor.page::<Message>(conn, rows).unwrap().len(), rows);
    };
    best("the first 50 of 100,000 messages", || page(Range::default(), 50));
    best("50 from the middle", || page(Range::of(50_000, 50_049), 50));
    best("50 from the middle, newest first", || page(Range { to: Some(50_000), ..Range::newest_first() }, 50));
    best("the last 50", || page(Range::newest_first(), 50));
    let calls = |range: Range| {
        let mut cursor = Cursor::open(conn, sid, Scope::Current, range).unwrap();
        assert_eq!(cursor.page::<Call>(conn, 50).unwrap().len(), 50);
    };
    best("the last 50 of 50,000 calls", || calls(Range::newest_first()));
    best("50 calls from the middle", || calls(Range::of(25_000, 25_049)));
    best("usage of 50,000 calls in 100,000 events", || usage::usage(conn, sid).unwrap());
    best("the same by model", || assert_eq!(usage::by_model(conn, sid, true).unwrap().len(), 3));
    best("the same by turn", || assert_eq!(usage::by_turn(conn, sid).unwrap().len(), 5_001));

    let mut world = World::new();
    world.conn.execute_batch("BEGIN").unwrap();
    let top = world.session("demo", None, DerivationKind::Fork);
    for child in 1..=1_000u64 {
        let s = world.session(&format!("child-of-demo-{child}"), None, DerivationKind::Fork);
        for n in 1..=5 {
            answered(&mut world, s, n);
        }
        let callee = Some(world.sessions[s].id.clone());
        let mut row = super::forest::invocation(&mut world, top, callee, true);
        world.add(top, Body::InvocationStarted(row.clone()));
        row.status = Status::OK;
        world.add(top, Body::InvocationCompleted(row));
    }
    let conn = &world.conn;
    let name = |text: &str| resolve::resolve_node(conn, text).unwrap();
    let whole = || assert_eq!(tree::tree(conn, &name("demo"), TreeLimits::default()).unwrap().nodes.len(), 1_001);
    best("tree of 1,000 children", whole);
    let few = TreeLimits { breadth: 10, ..TreeLimits::default() };
    best("its first 10", || assert_eq!(tree::tree(conn, &name("demo"), few).unwrap().nodes.len(), 11));
    let one = TreeLimits { depth: 0, breadth: 0, nodes: 1 };
    best("one child by its address", || tree::tree(conn, &name("demo/child-0900"), one).unwrap());
}

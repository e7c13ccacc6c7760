//! Sessions that call one another at random, themselves and one twice included: trees, addresses and sums against what the
//! events say when they are gone through.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::World;
use crate::model::fold::fold;
use crate::model::*;
use crate::view::types::{Mark, Node, NodeKind, Sum, TreeLimits, Used};
use crate::view::{resolve, tree, usage};

#[derive(Debug, Clone)]
enum Step {
    /// A call of some type; what it says of its cost, twice.
    Call(u8, u8, Option<u32>, Option<u64>),
    /// An invocation, with or without an ordinal, of a session or of none; and whether it ends.
    Invoke(u8, u8, bool, bool),
    /// A call that opens a session, with or without an invocation beside it.
    Open(u8, u8, bool),
    /// A version of a call or invocation that was written before.
    Put(u8, u8),
    Fork(u8, bool),
    Seal(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        4 => (byte(), byte(), any::<Option<u32>>(), prop::option::of(prop_oneof![Just(i64::MAX as u64), 0..9u64]))
            .prop_map(|(s, kind, first, last)| Step::Call(s, kind, first, last)),
        3 => (byte(), byte(), any::<bool>(), any::<bool>()).prop_map(|(a, b, ordinal, ends)| Step::Invoke(a, b, ordinal, ends)),
        2 => (byte(), byte(), any::<bool>()).prop_map(|(a, b, both)| Step::Open(a, b, both)),
        1 => (byte(), byte()).prop_map(|(s, n)| Step::Put(s, n)),
        1 => (byte(), any::<bool>()).prop_map(|(s, attach)| Step::Fork(s, attach)),
        1 => byte().prop_map(Step::Seal),
    ]
}

pub(super) fn invocation(world: &mut World, s: usize, callee: Option<SessionId>, ordinal: bool) -> Invocation {
    let counters = &mut world.sessions[s].counters;
    counters.invocation += 1;
    counters.child += 1;
    Invocation {
        invocation: InvocationNumber(counters.invocation),
        id: format!("{s}/{}", counters.invocation),
        invocation_type: Status::new("rlm").unwrap(),
        status: Status::RUNNING,
        call: None,
        label: None,
        input: None,
        final_value: None,
        error: None,
        caller_before: None,
        caller_after: None,
        callee,
        callee_before: None,
        callee_after: None,
        child: ordinal.then_some(counters.child),
        started_at: None,
        ended_at: None,
    }
}

fn call(world: &mut World, s: usize, kind: CallType) -> Call {
    let counters = &mut world.sessions[s].counters;
    counters.call += 1;
    Call::new(CallNumber(counters.call), kind)
}

fn play(steps: &[Step]) -> World {
    let mut world = World::new();
    for s in 0..4 {
        world.session(&format!("s{s}"), None, DerivationKind::Fork);
    }
    for step in steps {
        let of = |byte: u8| usize::from(byte) % world.sessions.len();
        match *step {
            Step::Call(s, kind, first, last) => {
                let kinds = [CallType::Root, CallType::Leaf, CallType::LeafBatchItem, CallType::Tool, CallType::Child];
                let s = of(s);
                let mut row = call(&mut world, s, kinds[usize::from(kind) % kinds.len()].clone());
                (row.cost, row.tokens_cached) = (first.map(u64::from), first.map(|n| u64::from(n % 2)));
                row.model = Some(format!("model-{}", kind % 3)).filter(|_| kind < 200);
                world.add(s, Body::CallStarted(row.clone()));
                (row.cost, row.tokens_input) = (last, last);
                world.add(s, Body::CallPut(row));
            }
            Step::Invoke(a, b, ordinal, ends) => {
                let (a, callee) = (of(a), of(b));
                let callee = match b % 16 {
                    0 => None,
                    1 => Some("elsewhere".parse().unwrap()),
                    _ => Some(world.sessions[callee].id.clone()),
                };
                let mut row = invocation(&mut world, a, callee, ordinal);
                world.add(a, Body::InvocationStarted(row.clone()));
                if ends {
                    row.status = Status::OK;
                    world.add(a, Body::InvocationCompleted(row));
                }
            }
            Step::Open(a, b, both) => {
                let (a, callee) = (of(a), world.sessions[of(b)].id.clone());
                let mut row = call(&mut world, a, CallType::Child);
                row.child = Some(callee.clone());
                world.add(a, Body::CallStarted(row.clone()));
                if both {
                    let row = invocation(&mut world, a, Some(callee), true);
                    world.add(a, Body::InvocationStarted(row));
                }
                world.add(a, Body::CallPut(row));
            }
            Step::Put(s, n) => {
                // In a fork this is often a row of its source.
                let s = of(s);
                let view = fold(world.working(s).iter().map(|at| world.event(*at)));
                if let Some(entry) = view.calls.get(usize::from(n) % view.calls.len().max(1)) {
                    let mut row = entry.row.clone();
                    row.cost = Some(u64::from(n));
                    world.add(s, Body::CallPut(row));
                }
                if let Some(entry) = view.invocations.get(usize::from(n) % view.invocations.len().max(1)) {
                    world.add(s, Body::InvocationCompleted(entry.row.clone()));
                }
            }
            Step::Fork(s, attach) => {
                let head = world.sessions[of(s)].current.unwrap();
                let name = format!("s{}", world.sessions.len());
                let kind = if attach { DerivationKind::Attach } else { DerivationKind::Fork };
                world.session(&name, Some(head), kind);
            }
            Step::Seal(s) => {
                let s = of(s);
                world.seal(s, HeadKind::TurnFinal);
            }
        }
    }
    world
}

/// What the events of one session say, its own rows only.
struct Told {
    root: Used,
    leaf: Used,
    by_model: BTreeMap<Option<String>, Used>,
    /// Label and callee, in the order of a tree.
    children: Vec<(Label, Option<SessionId>)>,
}

fn told(world: &World, s: usize) -> Told {
    let session = &world.sessions[s];
    let view = fold(&session.events);
    let mut told =
        Told { root: Used::default(), leaf: Used::default(), by_model: BTreeMap::new(), children: Vec::new() };
    for row in view.calls.iter().map(|entry| &entry.row).filter(|row| row.call.0 > session.inherited.call) {
        let sum = |value: Option<u64>| value.map_or(Sum::Unknown(1), |value| Sum::Known(value.into()));
        let used = Used {
            calls: 1,
            cache_hits: sum(row.tokens_cached.map(|n| u64::from(n > 0))),
            tokens_input: sum(row.tokens_input),
            tokens_output: sum(row.tokens_output),
            tokens_cached: sum(row.tokens_cached),
            tokens_reasoning: sum(row.tokens_reasoning),
            cost: sum(row.cost),
        };
        match row.call_type {
            CallType::Root => told.root = told.root.with(used),
            CallType::Leaf | CallType::LeafBatchItem => told.leaf = told.leaf.with(used),
            _ => continue,
        }
        let model = told.by_model.entry(row.model.clone()).or_default();
        *model = model.with(used);
    }
    let own = |row: &&Invocation| row.invocation.0 > session.inherited.invocation;
    let mut named = BTreeSet::new();
    for row in view.invocations.iter().map(|entry| &entry.row) {
        named.extend(row.callee.clone());
        if own(&row) {
            let label = row.child.map_or(Label::Invocation(row.invocation.0), Label::Child);
            told.children.push((label, row.callee.clone()));
        }
    }
    for row in view.calls.iter().map(|entry| &entry.row).filter(|row| row.call.0 > session.inherited.call) {
        if let Some(child) = row.child.clone().filter(|child| !named.contains(child)) {
            told.children.push((Label::Call(row.call.0), Some(child)));
        }
    }
    told
}

fn index(world: &World, id: &SessionId) -> Option<usize> {
    world.sessions.iter().position(|session| session.id == *id)
}

fn reach(world: &World, told: &[Told], top: usize) -> BTreeSet<usize> {
    let (mut seen, mut next) = (BTreeSet::from([top]), vec![top]);
    while let Some(s) = next.pop() {
        let callees = told[s].children.iter().filter_map(|(_, callee)| index(world, callee.as_ref()?));
        // A call beside an invocation that a fork inherited opens the session, too.
        let calls = world.sessions[s].events.iter().filter_map(|event| match &event.body {
            Body::CallStarted(row) => index(world, row.child.as_ref()?),
            _ => None,
        });
        next.extend(callees.chain(calls).filter(|s| seen.insert(*s)));
    }
    seen
}

fn both(told: &Told) -> Used {
    told.root.with(told.leaf)
}

fn check(world: &World) {
    let conn = &world.conn;
    let told: Vec<Told> = (0..world.sessions.len()).map(|s| told(world, s)).collect();
    for (s, session) in world.sessions.iter().enumerate() {
        let below = reach(world, &told, s);
        let all = below.iter().fold(Used::default(), |sum, s| sum.with(both(&told[*s])));
        let children = below.iter().filter(|b| **b != s).fold(Used::default(), |sum, s| sum.with(both(&told[*s])));
        let found = usage::usage(conn, session.sid).unwrap();
        assert_eq!((found.root, found.leaf, found.children, found.tree), (told[s].root, told[s].leaf, children, all));

        let models = |tree: bool| {
            let found = usage::by_model(conn, session.sid, tree).unwrap();
            found.into_iter().map(|one| (one.model, one.used)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(models(false), told[s].by_model);
        let mut of_tree: BTreeMap<Option<String>, Used> = BTreeMap::new();
        for (model, used) in below.iter().flat_map(|s| &told[*s].by_model) {
            let sum = of_tree.entry(model.clone()).or_default();
            *sum = sum.with(*used);
        }
        assert_eq!(models(true), of_tree);
        let turns = usage::by_turn(conn, session.sid).unwrap();
        assert_eq!(turns.iter().fold(Used::default(), |sum, turn| sum.with(turn.used)), both(&told[s]));

        let name = NodeName::root(session.id.clone());
        let whole = tree::tree(conn, &name, TreeLimits::default()).unwrap().nodes;
        check_tree(world, &told, &whole);
        for (depth, breadth, nodes) in [(0, 9, 9), (1, 9, 99), (9, 1, 99), (9, 9, 3)] {
            let part = tree::tree(conn, &name, TreeLimits { depth, breadth, nodes }).unwrap().nodes;
            assert!(part.len() as u64 <= nodes.max(1) && part.iter().all(|node| node.depth <= depth));
            assert_eq!(part[0].shown + part[0].more(), whole[0].shown);
            check_tree(world, &told, &part);
        }
    }
}

fn check_tree(world: &World, told: &[Told], nodes: &[Node]) {
    let mut path: Vec<&Node> = Vec::new();
    let mut shown: BTreeSet<SessionId> = BTreeSet::new();
    for (at, node) in nodes.iter().enumerate() {
        path.truncate(node.depth as usize);
        let s = node.session.as_ref().and_then(|id| index(world, id));
        // A node's address leads back to it.
        if let NodeKind::Child(_) = node.kind {
            let again = tree::tree(&world.conn, &node.name, TreeLimits { depth: 0, breadth: 0, nodes: 1 }).unwrap();
            assert_eq!(
                (&again.nodes[0].session, again.nodes[0].subtree),
                (&node.session, node.subtree),
                "{}",
                node.name
            );
            let text = node.name.to_string();
            assert_eq!(resolve::resolve_node(&world.conn, &text).unwrap(), node.name);
            assert_eq!(
                resolve::resolve_session(&world.conn, &text).ok().map(|(_, id)| id),
                s.and(node.session.clone())
            );
        }
        let below: Vec<&Node> = nodes[at + 1..]
            .iter()
            .take_while(|below| below.depth > node.depth)
            .filter(|below| below.depth == node.depth + 1)
            .collect();
        assert_eq!(below.len() as u64, node.shown);
        let Some(s) = s else {
            assert_eq!((node.mark, node.info.as_ref(), node.more()), (Some(Mark::Missing), None, 0));
            continue;
        };
        let above = path.iter().any(|above| above.session == node.session);
        let seen = !shown.insert(world.sessions[s].id.clone());
        assert_eq!(node.mark, if above { Some(Mark::Cycle) } else { seen.then_some(Mark::Again) });
        assert_eq!((node.own, node.children), (both(&told[s]), told[s].children.len() as u64));
        let sum = reach(world, told, s).iter().fold(Used::default(), |sum, s| sum.with(both(&told[*s])));
        assert_eq!(node.subtree, sum, "{}", node.name);
        let children: Vec<_> = below
            .iter()
            .filter(|below| matches!(below.kind, NodeKind::Child(_)))
            .map(|below| (*below.name.address.steps().last().unwrap(), below.session.clone()))
            .collect();
        assert!(told[s].children.starts_with(&children), "{children:?} of {:?}", told[s].children);
        path.push(node);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn trees_and_sums_are_those_of_going_through_all(steps in prop::collection::vec(step(), 1..40)) {
        check(&play(&steps));
    }
}

#[test]
fn sums_beyond_64_bits_are_whole_and_shared_sessions_count_once() {
    let most = i64::MAX as u64;
    // s0 calls s1 and s2, both of which call s3; s3 calls s0.
    let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 0)];
    let mut steps: Vec<Step> = edges.iter().map(|(a, b)| Step::Invoke(*a, *b + 4, true, true)).collect();
    steps.extend((0..4).map(|s| Step::Call(s, 0, None, Some(most))));
    let world = play(&steps);
    check(&world);
    let found = usage::usage(&world.conn, world.sessions[0].sid).unwrap();
    assert_eq!(found.tree.cost, Sum::Known(u128::from(most) * 4));
    let nodes = tree::tree(&world.conn, &NodeName::root("s0".parse().unwrap()), TreeLimits::default()).unwrap().nodes;
    let marks: Vec<_> = nodes.iter().map(|node| (node.name.to_string(), node.mark)).collect();
    let name = |text: &str| text.to_owned();
    assert_eq!(
        marks,
        [
            (name("s0"), None),
            (name("s0/child-0001"), None),
            (name("s0/child-0001/child-0001"), None),
            (name("s0/child-0001/child-0001/child-0001"), Some(Mark::Cycle)),
            (name("s0/child-0002"), None),
            (name("s0/child-0002/child-0001"), Some(Mark::Again)),
        ]
    );
}

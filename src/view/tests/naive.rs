//! A random history is laid down; then everything that can be asked of it is, and compared with an answer got by
//! going through all events.

use proptest::prelude::*;

use super::ranges;
use super::world::{At, World};
use crate::model::fold::fold;
use crate::model::line::Compact;
use crate::model::*;
use crate::sqlite::row::bound;
use crate::view::records::Scope;
use crate::view::{events, heads, sessions, state, trace};

/// One step, by numbers that are taken modulo what there is.
type Step = (u8, u8, u8, u8);

fn payload(n: u8) -> Digest {
    Digest::of(&[n % 24])
}

/// The numbers of a kind visible, from which a step picks.
fn pick<T>(list: &[T], n: u8) -> Option<&T> {
    (!list.is_empty()).then(|| &list[usize::from(n) % list.len()])
}

pub(super) fn play(world: &mut World, steps: &[Step]) {
    world.session("s0", None, DerivationKind::Fork);
    for &(kind, a, b, c) in steps {
        let s = usize::from(a) % world.sessions.len();
        let view = fold(world.working(s).iter().map(|at| world.event(*at)));
        let turn = pick(&view.turns, b).map(|e| e.row.clone());
        let call = pick(&view.calls, c).map(|e| e.row.clone());
        let eval = pick(&view.evals, b).map(|e| e.row.eval).filter(|_| c % 3 == 0);
        let invocation = pick(&view.invocations, b).map(|e| e.row.clone());
        let head = usize::from(b) % world.heads.len();
        let some = (c % 3 > 0).then(|| payload(c));
        let counters = &mut world.sessions[s].counters;
        let body = match kind % 22 {
            0..=3 => {
                counters.message += 1;
                let role = [Role::User, Role::Assistant, Role::Other("critic".into())][usize::from(b % 3)].clone();
                Body::MessageAdded(Message {
                    message: MessageNumber(counters.message),
                    role,
                    content: payload(c),
                    chars: u64::from(b),
                    turn: turn.map(|t| t.turn),
                    call: call.filter(|_| b % 2 == 0).map(|c| c.call),
                    extra: some,
                })
            }
            4 => {
                counters.turn += 1;
                let mut row = Turn::new(TurnNumber(counters.turn));
                row.input = some;
                row.head_before = world.sessions[s].current.map(|head| world.heads[head].id);
                Body::TurnStarted(row)
            }
            5 | 6 => match turn {
                Some(mut row) => {
                    row.status = Status::FINAL;
                    row.final_value = some;
                    row.ended_at = Timestamp::from_micros(i64::from(c));
                    Body::TurnPut(row)
                }
                None => continue,
            },
            7 => {
                counters.call += 1;
                let types = [CallType::Root, CallType::Leaf, CallType::Other("judge".into())];
                let mut row = Call::new(CallNumber(counters.call), types[usize::from(b % 3)].clone());
                (row.turn, row.eval, row.request) = (turn.map(|t| t.turn), eval, some);
                (row.child, row.cost) = (Some(world.sessions[0].id.clone()).filter(|_| c % 4 == 0), Some(3));
                Body::CallStarted(row)
            }
            8 | 9 => match call {
                Some(mut row) => {
                    (row.status, row.response, row.tokens_input) = (Status::OK, some, Some(u64::from(c)));
                    Body::CallPut(row)
                }
                None => continue,
            },
            10 if c % 2 == 0 && !view.evals.is_empty() => {
                // In a fork this is often a row of its source.
                let Some(mut row) = pick(&view.evals, b).map(|e| e.row.clone()) else { continue };
                (row.result, row.ended_at) = (some, Timestamp::from_micros(i64::from(c)));
                Body::EvalPut(row)
            }
            10 => {
                counters.eval += 1;
                let mut row = Eval::new(EvalNumber(counters.eval), Status::OK);
                (row.turn, row.call, row.code) = (turn.map(|t| t.turn), call.map(|c| c.call), some);
                row.message = pick(&view.messages, c).map(|e| e.row.message);
                Body::EvalAdded(row)
            }
            11 => {
                counters.snapshot += 1;
                let mut row = Snapshot::new(SnapshotNumber(counters.snapshot), Status::new("turn-final").unwrap());
                (row.turn, row.eval, row.vars) = (turn.map(|t| t.turn), eval, some);
                Body::SnapshotAdded(row)
            }
            12 => {
                counters.invocation += 1;
                counters.child += 1;
                let current = world.sessions[s].current.map(|head| world.heads[head].id);
                let counters = world.sessions[s].counters;
                Body::InvocationStarted(Invocation {
                    invocation: InvocationNumber(counters.invocation),
                    id: format!("s{s}/{}", counters.invocation),
                    invocation_type: Status::new("rlm").unwrap(),
                    status: Status::RUNNING,
                    call: call.map(|c| c.call),
                    label: some,
                    input: None,
                    final_value: None,
                    error: None,
                    caller_before: current,
                    caller_after: None,
                    callee: Some(world.sessions[usize::from(c) % world.sessions.len()].id.clone()),
                    callee_before: None,
                    callee_after: None,
                    child: Some(counters.child),
                    started_at: None,
                    ended_at: None,
                })
            }
            13 | 14 => match invocation {
                Some(mut row) => match c % 3 {
                    0 => {
                        row.callee_after = Some(world.heads[head].id);
                        Body::InvocationCompleted(row)
                    }
                    1 => Body::InvocationFailed(row),
                    _ => {
                        row.caller_after = world.sessions[s].current.map(|head| world.heads[head].id);
                        Body::CallerHeadRecorded(row)
                    }
                },
                None => continue,
            },
            15 => Body::Annotation(Annotation::new("note", turn.map(|t| t.turn), some).unwrap()),
            16 if b % 2 == 0 => {
                Body::SessionStatus(SessionStatus { status: Status::RUNNING, ended_at: None, payload: some })
            }
            16 => Body::SessionError(SessionError { status: Status::ERROR, error: payload(c) }),
            17 | 18 => {
                let kind = [HeadKind::TurnFinal, HeadKind::TurnFinal, HeadKind::Compaction, HeadKind::TurnAborted];
                world.seal(s, kind[usize::from(b % 4)]);
                continue;
            }
            19 => {
                if world.sessions.len() < 6 {
                    let name = format!("s{}", world.sessions.len());
                    world.session(&name, Some(head), DerivationKind::Fork);
                }
                continue;
            }
            _ => {
                let own: Vec<usize> = (0..world.heads.len()).filter(|h| world.heads[*h].session == s).collect();
                let Some(head) = pick(&own, b).copied() else { continue };
                if kind % 22 == 20 {
                    world.restore(s, head)
                } else {
                    world.advance(s, head)
                }
                continue;
            }
        };
        world.add(s, body);
    }
}

/// The events before `ev` on its branch, by the letter of the rule.
fn branch(world: &World, s: usize, ev: u64) -> Vec<At> {
    let session = &world.sessions[s];
    let mut own: Vec<_> = world.heads.iter().filter(|head| head.session == s).collect();
    own.sort_by_key(|head| head.ev);
    let (up, from) = match own.iter().find(|head| head.ev >= ev && head.from <= ev) {
        Some(head) => (head.up, head.from),
        None if session.from <= ev => (session.up, session.from),
        None => own.iter().rev().find(|head| head.ev < ev).map_or((None, 1), |head| (head.up, head.from)),
    };
    let mut visible = up.map_or_else(Vec::new, |up| world.heads[up].visible.clone());
    visible.extend((from..ev).map(|ev| (s, ev)));
    visible
}

fn causes(world: &World, s: usize, ev: u64) -> Vec<At> {
    let visible = branch(world, s, ev);
    let last = |fits: &dyn Fn(&Body) -> bool| visible.iter().rev().find(|at| fits(&world.event(**at).body)).copied();
    let turn = |n: Option<TurnNumber>| {
        n.and_then(|n| last(&|body| matches!(body, Body::TurnStarted(t) | Body::TurnPut(t) if t.turn == n)))
    };
    let call = |n: Option<CallNumber>| {
        n.and_then(|n| last(&|body| matches!(body, Body::CallStarted(c) | Body::CallPut(c) if c.call == n)))
    };
    let eval = |n: Option<EvalNumber>| {
        n.and_then(|n| last(&|body| matches!(body, Body::EvalAdded(e) | Body::EvalPut(e) if e.eval == n)))
    };
    let message = |n: Option<MessageNumber>| {
        n.and_then(|n| last(&|body| matches!(body, Body::MessageAdded(m) if m.message == n)))
    };
    let snapshot = |n: Option<SnapshotNumber>| {
        n.and_then(|n| last(&|body| matches!(body, Body::SnapshotAdded(x) if x.snapshot == n)))
    };
    let invocation = |n: InvocationNumber| {
        last(&|body| match body {
            Body::InvocationStarted(i)
            | Body::InvocationCompleted(i)
            | Body::InvocationFailed(i)
            | Body::CallerHeadRecorded(i) => i.invocation == n,
            _ => false,
        })
    };
    let head = |id: Option<HeadId>| {
        id.map(|id| {
            let made = world.heads.iter().find(|head| head.id == id).unwrap();
            last(&|body| matches!(body, Body::HeadCreated(h) | Body::RefUpdated(h) if *h == id))
                .unwrap_or((made.session, made.ev))
        })
    };
    let session = |id: &SessionId| world.sessions.iter().position(|s| s.id == *id).map(|s| (s, 1));
    let event = world.event((s, ev));
    let found: Vec<Option<At>> = match &event.body {
        Body::SessionRestored(row) => {
            vec![session(&row.source_session), head(Some(row.source_head)), snapshot(row.snapshot)]
        }
        Body::RefUpdated(id) => vec![head(Some(*id))],
        Body::MessageAdded(row) => vec![turn(row.turn), call(row.call)],
        Body::TurnStarted(row) => vec![head(row.head_before)],
        Body::TurnPut(row) => vec![head(row.head_before), turn(Some(row.turn))],
        Body::CallStarted(row) => vec![turn(row.turn), eval(row.eval)],
        Body::CallPut(row) => {
            vec![turn(row.turn), eval(row.eval), call(Some(row.call)), row.child.as_ref().and_then(session)]
        }
        Body::EvalAdded(row) => vec![turn(row.turn), message(row.message), call(row.call)],
        Body::EvalPut(row) => vec![turn(row.turn), message(row.message), call(row.call), eval(Some(row.eval))],
        Body::SnapshotAdded(row) => vec![turn(row.turn), eval(row.eval)],
        Body::HeadCreated(id) => {
            let made = world.heads.iter().find(|head| head.id == *id).unwrap();
            let basis = made.basis.map(|basis| world.heads[basis].id);
            vec![head(basis), turn(made.turn.map(TurnNumber)), snapshot(made.snapshot.map(SnapshotNumber))]
        }
        Body::InvocationStarted(row) => vec![call(row.call), head(row.caller_before), head(row.callee_before)],
        Body::InvocationCompleted(row) => vec![invocation(row.invocation), head(row.callee_after)],
        Body::InvocationFailed(row) => vec![invocation(row.invocation)],
        Body::CallerHeadRecorded(row) => vec![invocation(row.invocation), head(row.caller_after)],
        _ => Vec::new(),
    };
    let mut found: Vec<At> = found.into_iter().flatten().filter(|at| at.0 != s || at.1 < ev).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn check(world: &World) {
    let conn = &world.conn;
    for (at, head) in world.heads.iter().enumerate() {
        let runs = heads::spans(conn, head.hid).unwrap();
        let visible: Vec<&Event> = head.visible.iter().map(|at| world.event(*at)).collect();
        let view = fold(visible.iter().copied());
        assert_eq!(state::rows_at(conn, &runs).unwrap(), view, "{}", head.id);
        ranges::check(world, world.sessions[head.session].sid, Scope::Head(head.id), &view);
        let seen: u64 = runs.iter().map(|(_, span)| span.len()).sum();
        assert_eq!(seen, head.visible.len() as u64);
        let info = heads::head_info(conn, head.hid).unwrap();
        assert_eq!((info.head, info.depth as i64), (head.id, world.depth(at)));
        assert_eq!((info.span.from.0, info.span.to.0), (head.from, head.to));
    }
    for (s, session) in world.sessions.iter().enumerate() {
        let of_log = fold(&session.events);
        assert_eq!(state::rows_of_log(conn, session.sid).unwrap(), of_log);
        ranges::check(world, session.sid, Scope::Log, &of_log);
        let working = heads::working_spans(conn, session.sid).unwrap();
        let visible = world.working(s);
        let view = fold(visible.iter().map(|at| world.event(*at)));
        assert_eq!(state::rows_at(conn, &working).unwrap(), view);
        ranges::check(world, session.sid, Scope::Working, &view);
        assert_eq!(events::events(conn, session.sid, EventNumber(0), usize::MAX).unwrap(), session.events);
        let lines: Vec<Compact> = session.events.iter().map(Compact::of).collect();
        assert_eq!(events::events_compact(conn, session.sid, EventNumber(0), usize::MAX).unwrap(), lines);
        assert_eq!(
            events::events_compact(conn, session.sid, EventNumber(2), 3).unwrap(),
            lines[2..].iter().take(3).cloned().collect::<Vec<_>>()
        );
        let counters = Counters { event: session.events.len() as u64, ..session.counters };
        assert_eq!(sessions::counters(conn, session.sid).unwrap(), counters);
        let info = sessions::session_info(conn, session.sid).unwrap();
        assert_eq!(info.heads, world.heads.iter().filter(|head| head.session == s).count() as u64);
        assert_eq!(info.turns, session.counters.turn - session.inherited.turn);

        let at_current = fold(world.heads[session.current.unwrap()].visible.iter().map(|at| world.event(*at)));
        ranges::check(world, session.sid, Scope::Current, &at_current);
        let mut newest = at_current.messages.clone();
        newest.reverse();
        newest.truncate(3);
        assert_eq!(state::last_messages(conn, session.sid, 3).unwrap(), newest);
        for from in [None, Some(MessageNumber(2)), Some(MessageNumber(5))] {
            let mut up = view.messages.clone();
            let mut down = up.clone();
            down.reverse();
            if let Some(from) = from {
                up.retain(|e| e.row.message >= from);
                down.retain(|e| e.row.message <= from);
            }
            up.truncate(4);
            down.truncate(4);
            assert_eq!(state::messages(conn, &working, from, 4, false).unwrap(), up);
            assert_eq!(state::messages(conn, &working, from, 4, true).unwrap(), down);
        }

        for event in &session.events {
            let mut found = trace::causes(conn, session.sid, event.number).unwrap();
            found.sort_unstable();
            let expected: Vec<_> = causes(world, s, event.number.0)
                .into_iter()
                .map(|(s, ev)| (world.sessions[s].id.clone(), EventNumber(ev)))
                .collect();
            assert_eq!(found, expected, "{}#{}", session.id, event.number);
            for all in [false, true] {
                let chain = trace::causal_chain(conn, session.sid, event.number, all).unwrap();
                assert_eq!(chain.last().unwrap().event.id, event.number);
                let ids: Vec<_> = chain.iter().map(|link| (link.event.session.clone(), link.event.id)).collect();
                let mut once = ids.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), ids.len());
                for (at, link) in chain.iter().enumerate() {
                    for cause in &link.causes {
                        let place = ids.iter().position(|id| id == cause);
                        assert!(place.is_none_or(|place| place < at), "{cause:?} after its effect");
                        assert!(!all || place.is_some());
                    }
                }
            }
        }
        assert_eq!(bound(info.events), session.events.len() as i64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn answers_are_those_of_going_through_all(steps in prop::collection::vec(any::<Step>(), 1..90)) {
        let mut world = World::new();
        play(&mut world, &steps);
        check(&world);
    }
}

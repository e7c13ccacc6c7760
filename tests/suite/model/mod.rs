//! The store against a model: lists of operations, generated, are done to both, and both must read the same.
//!
//! The model is written from the design's words, not from the code: a head *is* the list of the events it sees, a working
//! branch *is* a list that grows, a view is the last version of each number in that order. No span, no digest, no SQL.
//!
//! `HEADWATER_MODEL_CASES` and `HEADWATER_MODEL_OPS` set the length of a run. A failure prints its seed and writes it to
//! `tests/proptest-regressions/`, from where every later run repeats it first; once understood it becomes a fixed case here.

mod compare;
mod naive;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use world::World;

/// One thing said in a batch. Numbers pick among what is there.
#[derive(Debug, Clone)]
pub enum Fact {
    Message { role: u8, text: u8 },
    BeginTurn,
    UpdateTurn { pick: u8, status: u8 },
    BeginCall { kind: u8 },
    UpdateCall { pick: u8, status: u8 },
    RecordCall,
    Eval { status: u8 },
    UpdateEval { pick: u8, status: u8 },
    Snapshot { text: u8 },
    Annotation { text: u8 },
    Status { status: u8 },
    Invoke { callee: u8 },
    Settle { pick: u8, ok: bool },
    CallerHead { pick: u8, head: u8 },
    Seal,
    SealAborted,
    Compact { keep: u8 },
    Advance { head: u8 },
}

/// One operation.
#[derive(Debug, Clone)]
pub enum Op {
    Create,
    Batch {
        session: u8,
        facts: Vec<Fact>,
    },
    /// The closure fails at its end.
    FailedBatch {
        session: u8,
        facts: Vec<Fact>,
    },
    /// The store refuses the commit: a ref points to nothing.
    RefusedBatch {
        session: u8,
        facts: Vec<Fact>,
    },
    /// An update of a number that may not be in sight.
    UpdateAny {
        session: u8,
        number: u8,
        call: bool,
    },
    StaleAdvance {
        session: u8,
        head: u8,
    },
    ForeignAdvance {
        session: u8,
        head: u8,
    },
    Resume {
        session: u8,
        head: u8,
    },
    Fork {
        head: u8,
        attach: bool,
    },
    Drop {
        session: u8,
    },
    Alias {
        session: u8,
        name: u8,
    },
    Title {
        session: u8,
        text: u8,
    },
    Reopen,
    Rebuild,
}

fn fact() -> impl Strategy<Value = Fact> {
    let n = any::<u8>;
    prop_oneof![
        6 => (n(), n()).prop_map(|(role, text)| Fact::Message { role, text }),
        3 => Just(Fact::BeginTurn),
        3 => (n(), n()).prop_map(|(pick, status)| Fact::UpdateTurn { pick, status }),
        3 => n().prop_map(|kind| Fact::BeginCall { kind }),
        3 => (n(), n()).prop_map(|(pick, status)| Fact::UpdateCall { pick, status }),
        1 => Just(Fact::RecordCall),
        1 => n().prop_map(|status| Fact::Eval { status }),
        1 => (n(), n()).prop_map(|(pick, status)| Fact::UpdateEval { pick, status }),
        1 => n().prop_map(|text| Fact::Snapshot { text }),
        1 => n().prop_map(|text| Fact::Annotation { text }),
        1 => n().prop_map(|status| Fact::Status { status }),
        1 => n().prop_map(|callee| Fact::Invoke { callee }),
        1 => (n(), any::<bool>()).prop_map(|(pick, ok)| Fact::Settle { pick, ok }),
        1 => (n(), n()).prop_map(|(pick, head)| Fact::CallerHead { pick, head }),
        2 => Just(Fact::Seal),
        1 => Just(Fact::SealAborted),
        1 => (0..5_u8).prop_map(|keep| Fact::Compact { keep }),
        1 => n().prop_map(|head| Fact::Advance { head }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    let facts = || vec(fact(), 1..6);
    prop_oneof![
        1 => Just(Op::Create),
        16 => (n(), facts()).prop_map(|(session, facts)| Op::Batch { session, facts }),
        1 => (n(), facts()).prop_map(|(session, facts)| Op::FailedBatch { session, facts }),
        1 => (n(), facts()).prop_map(|(session, facts)| Op::RefusedBatch { session, facts }),
        1 => (n(), n(), any::<bool>()).prop_map(|(session, number, call)| Op::UpdateAny { session, number, call }),
        1 => (n(), n()).prop_map(|(session, head)| Op::StaleAdvance { session, head }),
        1 => (n(), n()).prop_map(|(session, head)| Op::ForeignAdvance { session, head }),
        3 => (n(), n()).prop_map(|(session, head)| Op::Resume { session, head }),
        2 => (n(), any::<bool>()).prop_map(|(head, attach)| Op::Fork { head, attach }),
        3 => n().prop_map(|session| Op::Drop { session }),
        1 => (n(), n()).prop_map(|(session, name)| Op::Alias { session, name }),
        1 => (n(), n()).prop_map(|(session, text)| Op::Title { session, text }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Rebuild),
    ]
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: number("HEADWATER_MODEL_CASES", 200),
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel("proptest-regressions"))),
        max_shrink_time: number("HEADWATER_MODEL_SHRINK_MS", 20_000),
        max_shrink_iters: 4096,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_reads_as_the_model_says(ops in vec(op(), 1..=number("HEADWATER_MODEL_OPS", 200) as usize)) {
        run(&ops);
    }
}

fn run(ops: &[Op]) {
    let mut world = World::new();
    for (at, op) in ops.iter().enumerate() {
        world.run(op);
        world.look(at);
    }
    world.look_at_everything();
}

#[test]
fn a_refused_batch_leaves_the_counters_of_the_handle() {
    run(&[Op::RefusedBatch { session: 0, facts: vec![Fact::Message { role: 0, text: 0 }] }]);
}

#[test]
fn a_call_that_was_sealed_while_it_ran_is_closed_with_the_session() {
    run(&[
        Op::Batch { session: 0, facts: vec![Fact::BeginCall { kind: 0 }] },
        Op::Batch { session: 0, facts: vec![Fact::Seal, Fact::Message { role: 0, text: 0 }] },
        Op::Drop { session: 0 },
        Op::Resume { session: 0, head: 1 },
    ]);
}

#[test]
fn a_batch_updates_what_is_in_sight_after_it_moved() {
    run(&[
        Op::Batch { session: 0, facts: vec![Fact::BeginCall { kind: 0 }] },
        Op::Resume { session: 0, head: 0 },
        Op::Batch {
            session: 0,
            facts: vec![Fact::Advance { head: 1 }, Fact::UpdateCall { pick: 0, status: 1 }, Fact::Compact { keep: 2 }],
        },
    ]);
}

#[test]
fn a_batch_updates_again_what_it_has_ended() {
    let end = Fact::UpdateTurn { pick: 0, status: 2 };
    let say = Fact::UpdateTurn { pick: 0, status: 6 };
    run(&[
        Op::Batch { session: 0, facts: vec![Fact::BeginTurn, end.clone(), say.clone()] },
        Op::Batch { session: 0, facts: vec![Fact::BeginTurn] },
        Op::Batch { session: 0, facts: vec![end, say] },
    ]);
}

#[test]
fn a_batch_goes_back_over_heads_of_its_own() {
    let say = Fact::Message { role: 1, text: 3 };
    run(&[Op::Batch {
        session: 0,
        facts: vec![
            say.clone(),
            Fact::BeginTurn,
            Fact::Seal,
            say.clone(),
            Fact::SealAborted,
            Fact::UpdateTurn { pick: 0, status: 1 },
            say.clone(),
            Fact::Seal,
            Fact::Advance { head: 1 },
            say,
            Fact::Compact { keep: 2 },
        ],
    }]);
}

#[test]
fn a_leading_system_message_stands_once_in_a_transcript() {
    let system = Fact::Message { role: 0, text: 1 };
    let user = Fact::Message { role: 1, text: 2 };
    run(&[
        Op::Batch { session: 0, facts: vec![system.clone(), user.clone(), Fact::Compact { keep: 4 }] },
        Op::Create,
        Op::Batch { session: 1, facts: vec![system, user] },
        Op::Batch { session: 1, facts: vec![Fact::Compact { keep: 4 }] },
    ]);
}

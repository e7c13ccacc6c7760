//! The contract of a store wherever it lies, and what is particular to one in memory.

use headwater::model::{EventNumber, HeadKind, Role};
use headwater::store::{CommitError, NewMessage, Options, SessionOpenError, Store};

use super::tools::{Make, named, new, on_both, turn};

on_both! {
    commits_are_whole_and_in_order
    heads_read_the_same_for_ever
    a_lease_has_one_holder
    a_key_is_used_once
    a_second_opening_reads_what_the_first_committed
}

fn commits_are_whole_and_in_order(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let before = home.store.events(session.id()).unwrap();
    let refused = session.write(|batch| {
        batch.add_message(NewMessage::new(Role::User, "half"))?;
        batch.set_alias(&"other".parse().unwrap())?;
        Err::<(), _>(CommitError::Invalid("no".to_owned()))
    });
    assert!(refused.is_err());
    assert_eq!(home.store.events(session.id()).unwrap(), before);
    assert!(!home.store.blobs().contains(&headwater::model::Digest::of(b"half")).unwrap());
    turn(&session, "what is 2 + 2?", "4").unwrap();
    let events = home.store.events(session.id()).unwrap();
    assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
    assert_eq!(Store::fold(&events), home.store.event_view(session.id()).unwrap().rows);
    assert_eq!(home.store.high_water_counters(session.id()).unwrap(), session.counters());
    home.store.set_alias(&"nickname".parse().unwrap(), session.id()).unwrap();
    assert_eq!(home.store.resolve_session("nick").unwrap(), *session.id());
}

fn heads_read_the_same_for_ever(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let first = turn(&session, "one", "1").unwrap();
    let seen = home.store.view_at(session.id(), &first).unwrap().rows;
    turn(&session, "two", "2").unwrap();
    let fork = home.store.fork(&first, new("fork")).unwrap();
    turn(&fork, "three", "3").unwrap();
    drop(session);
    let back = home.store.resume(&"demo".parse().unwrap(), Some(&first)).unwrap();
    turn(&back, "four", "4").unwrap();
    assert_eq!(home.store.view_at(back.id(), &first).unwrap().rows, seen);
    assert_eq!(home.store.view(fork.id()).unwrap().rows.messages.len(), 4);
    assert_eq!(home.store.view(back.id()).unwrap().rows.messages.len(), 4, "the abandoned turn is not in sight");
    let heads = home.store.heads(back.id()).unwrap();
    assert_eq!(heads.iter().filter(|head| head.kind == HeadKind::TurnFinal).count(), 3);
}

fn a_lease_has_one_holder(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let other = Store::open(home.store.root()).unwrap();
    for held in [home.store.open_session(session.id()).err(), other.open_session(session.id()).err()] {
        assert!(matches!(held, Some(SessionOpenError::LeaseHeld { .. })), "{held:?}");
    }
    let stolen = other.steal_session(session.id()).unwrap();
    let lost = session.add_message(Role::User, "from the old holder").commit();
    assert!(matches!(lost, Err(CommitError::LeaseLost { .. })), "{lost:?}");
    stolen.add_message(Role::User, "from the new one").commit().unwrap();
}

fn a_key_is_used_once(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let once = |text: &str| {
        session.write(|batch| {
            batch.key("key");
            batch.add_message(NewMessage::new(Role::User, text))
        })
    };
    once("hello").unwrap();
    assert!(matches!(once("hello"), Err(CommitError::Repeated { .. })));
    assert!(matches!(once("other"), Err(CommitError::KeyConflict { .. })));
}

fn a_second_opening_reads_what_the_first_committed(make: Make) {
    let home = make(Options { segment_size: 4_096, ..Options::default() });
    let session = named(&home.store, "demo");
    for n in 0..40 {
        session.add_message(Role::User, "x".repeat(n * 40)).commit().unwrap();
    }
    let other = Store::open(home.store.root()).unwrap();
    assert_eq!(other.events(session.id()).unwrap(), home.store.events(session.id()).unwrap());
    let report = headwater::care::check(home.store.root(), headwater::care::Mode::Deep).unwrap();
    assert_eq!(report.issues, []);
}

/// Made, used by threads, dropped in any order: two never meet, and nothing is left of either.
#[test]
fn stores_in_memory_never_meet_and_leave_nothing() {
    let (left, right) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let roots = [left.root().to_owned(), right.root().to_owned()];
    assert_ne!(roots[0], roots[1]);
    let session = named(&left, "demo");
    assert!(!right.exists("demo").unwrap());
    named(&right, "demo").begin_turn("mine").unwrap();
    for n in 0..100 {
        session.submit(|batch| batch.add_message(NewMessage::new(Role::User, format!("{n}")))).unwrap();
    }
    let subscription = left.subscribe(headwater::store::Topic::All { since: headwater::model::Tx(0) }).unwrap();
    left.close().unwrap();
    assert!(roots[0].exists(), "a session keeps its store");
    drop(session);
    assert!(!roots[0].exists(), "a subscription does not");
    drop(subscription);
    assert!(roots[1].exists());
    let clone = right.clone();
    std::thread::spawn(move || drop(clone)).join().unwrap();
    drop(right);
    assert!(!roots[1].exists());
}

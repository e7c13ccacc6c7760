//! One space of names: what a session's id, an alias or a pin means is never taken over by another.

use headwater::model::{PinTarget, SessionId};
use headwater::store::{CommitError, Expected, NewSession, Options, SessionOpenError, Store};

use super::tools::{Make, named, new, on_both, on_disk, turn};

on_both! {
    an_alias_is_no_session_s_id_and_no_session_an_alias
    a_pin_takes_no_name_and_none_is_made_over_it
    a_name_that_reads_as_a_head_is_refused
}

fn name(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// What a refusal says; a session that was made is none.
fn refusal<T>(result: Result<T, SessionOpenError>) -> String {
    match result {
        Err(SessionOpenError::Commit(CommitError::Conflict(why))) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was made"),
    }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, CommitError>) -> String {
    match result {
        Err(CommitError::Conflict(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn sessions(store: &Store) -> Vec<String> {
    store.sessions().unwrap().iter().map(|info| info.session.to_string()).collect()
}

fn an_alias_is_no_session_s_id_and_no_session_an_alias(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let (a, _b) = (named(store, "a"), named(store, "b"));
    let head = turn(&a, "x", "y").unwrap();
    store.set_alias(&name("first"), a.id()).unwrap();

    assert_eq!(conflict(store.set_alias(&name("b"), a.id())), "b is a session itself");
    assert_eq!(conflict(a.write(|batch| batch.set_alias(&name("b")))), "b is a session itself");
    assert_eq!(conflict(store.set_alias(&name("first"), &name("b"))), "first is an alias of a");
    store.set_alias(&name("first"), a.id()).unwrap();

    let taken = "first is an alias of a";
    assert_eq!(refusal(store.create_session(new("first"))), taken);
    assert_eq!(refusal(store.create_session_with(new("first"), |_| Ok(()))), taken);
    assert_eq!(refusal(store.open_or_create(new("first"))), taken);
    assert_eq!(refusal(store.fork(&head, new("first"))), taken);
    assert_eq!(refusal(store.attach(&head, new("first"))), taken);
    for (alias, why) in [("b", "b is a session itself"), ("first", taken)] {
        let named = NewSession { alias: Some(name(alias)), ..new("c") };
        assert_eq!(refusal(store.create_session(named)), why);
    }
    assert_eq!(sessions(store), ["a", "b"]);
    assert_eq!(store.resolve_session("first").unwrap(), name("a"));
    assert_eq!(store.resolve_session("b").unwrap(), name("b"));
    drop(named(store, "c"));
}

fn a_pin_takes_no_name_and_none_is_made_over_it(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let a = named(store, "a");
    let head = turn(&a, "x", "y").unwrap();
    store.set_alias(&name("first"), a.id()).unwrap();
    let pin = |text: &str| store.pin(&name(text), PinTarget::Head(head), Expected::Any);
    assert_eq!(conflict(pin("a")), "a is a session itself");
    assert_eq!(conflict(pin("first")), "first is an alias of a");
    assert_eq!(pin("release").unwrap(), 1);
    assert_eq!(refusal(store.create_session(new("release"))), "release is a pin");
    assert_eq!(conflict(store.set_alias(&name("release"), a.id())), "release is a pin");
    // A pin that was taken away is none.
    store.unpin(&name("release"), Expected::Any).unwrap();
    drop(named(store, "release"));
    assert_eq!(conflict(pin("release")), "release is a session itself");
}

fn a_name_that_reads_as_a_head_is_refused(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let a = named(store, "a");
    let head = turn(&a, "x", "y").unwrap();
    for bad in ["head-abc", "head-0", "head-DEADBEEF01"] {
        let bad = name(bad);
        assert!(matches!(store.set_alias(&bad, a.id()), Err(CommitError::BadId(_))), "{bad}");
        assert!(matches!(store.pin(&bad, PinTarget::Head(head), Expected::Any), Err(CommitError::BadId(_))), "{bad}");
        let made = store.create_session(NewSession::named(bad.clone())).err();
        assert!(matches!(made, Some(SessionOpenError::Commit(CommitError::BadId(_)))), "{bad}: {made:?}");
    }
    for good in ["head-of-state", "header", "head-"] {
        store.set_alias(&name(good), a.id()).unwrap();
    }
}

/// Two that are written at once: one of them has the name, whichever came first.
#[test]
fn of_an_alias_and_a_session_made_at_once_one_is_refused() {
    let home = on_disk(Options::default());
    let store = &home.store;
    let a = named(store, "a");
    for round in 0..20 {
        let wanted = name(&format!("n{round}"));
        let (alias, session) = std::thread::scope(|scope| {
            let alias = scope.spawn(|| store.set_alias(&wanted, a.id()));
            let session = scope.spawn(|| store.create_session(NewSession::named(wanted.clone())).map(drop));
            (alias.join().unwrap(), session.join().unwrap())
        });
        assert_ne!(alias.is_ok(), session.is_ok(), "{round}: {alias:?}, {session:?}");
    }
}

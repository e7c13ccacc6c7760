//! Pins: names for heads and payloads, moved by compare-and-set.

use headwater::care::{Mode, check};
use headwater::model::{Digest, HeadId, Pin, PinTarget, SessionId};
use headwater::store::{CommitError, Expected, Options, ReadError, Store};

use super::tools::{Make, named, on_both, on_disk, turn};

on_both! {
    a_pin_moves_only_from_where_it_is_expected
    a_pin_that_was_taken_away_never_repeats_a_version
    of_many_that_move_a_pin_at_once_one_wins_each_round
}

fn name(text: &str) -> SessionId {
    text.parse().unwrap()
}

fn stale(result: Result<u64, CommitError>) -> Option<u64> {
    match result {
        Err(CommitError::StalePin { found, .. }) => found,
        other => panic!("{other:?}"),
    }
}

/// Set, moved, refused: and what a name means follows the pin.
fn a_pin_moves_only_from_where_it_is_expected(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let session = named(store, "demo");
    let (first, second) = (turn(&session, "a", "b").unwrap(), turn(&session, "c", "d").unwrap());
    let notes = store.blobs().put(b"notes").unwrap();
    let release = name("release");
    assert!(matches!(store.read_pin(&release), Err(ReadError::NotFound { what: "pin", .. })));
    assert!(store.resolve_head("release").is_err());
    assert_eq!(stale(store.pin(&release, PinTarget::Head(first), Expected::Version(1))), None);

    assert_eq!(store.pin(&release, PinTarget::Head(first), Expected::Absent).unwrap(), 1);
    assert_eq!(store.resolve_head("release").unwrap(), first);
    assert_eq!(stale(store.pin(&release, PinTarget::Head(second), Expected::Absent)), Some(1));
    assert_eq!(stale(store.pin(&release, PinTarget::Head(second), Expected::Version(2))), Some(1));
    assert_eq!(store.pin(&release, PinTarget::Head(second), Expected::Version(1)).unwrap(), 2);
    assert_eq!(store.pin(&release, PinTarget::Head(second), Expected::Any).unwrap(), 3);
    assert_eq!(store.resolve_head("release").unwrap(), second);
    assert_eq!(store.pin(&name("notes"), PinTarget::Payload(notes), Expected::Any).unwrap(), 1);
    assert_eq!(store.blobs().resolve("notes").unwrap(), notes);
    assert_eq!(store.blobs().resolve("release").unwrap(), second.0, "a head's root is a payload");
    assert!(store.resolve_head("notes").is_err(), "a payload is no head");
    let pins = [
        Pin { name: name("notes"), target: PinTarget::Payload(notes), version: 1 },
        Pin { name: release.clone(), target: PinTarget::Head(second), version: 3 },
    ];
    assert_eq!(store.pins().unwrap(), pins);
    assert_eq!(store.read_pin(&release).unwrap(), pins[1]);

    let nothing = Digest::of(b"nobody put this");
    for target in [PinTarget::Payload(nothing), PinTarget::Head(HeadId(nothing)), PinTarget::Head(HeadId(notes))] {
        let missing = store.pin(&release, target, Expected::Any);
        assert!(matches!(missing, Err(CommitError::Missing { .. })), "{target:?}: {missing:?}");
    }
    assert_eq!(store.pins().unwrap(), pins, "what is refused changes nothing");
}

/// Whoever remembers a version from before a removal must not win against the pin that came after.
fn a_pin_that_was_taken_away_never_repeats_a_version(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let (one, two) = (store.blobs().put(b"one").unwrap(), store.blobs().put(b"two").unwrap());
    let pin = name("pin");
    assert!(matches!(store.unpin(&pin, Expected::Any), Err(CommitError::Missing { .. })));
    store.pin(&pin, PinTarget::Payload(one), Expected::Any).unwrap();
    assert!(matches!(store.unpin(&pin, Expected::Version(7)), Err(CommitError::StalePin { found: Some(1), .. })));
    store.unpin(&pin, Expected::Version(1)).unwrap();
    assert!(store.read_pin(&pin).is_err() && store.pins().unwrap().is_empty());
    assert!(store.blobs().resolve("pin").is_err());
    assert_eq!(stale(store.pin(&pin, PinTarget::Payload(two), Expected::Version(1))), None);
    assert!(matches!(store.unpin(&pin, Expected::Any), Err(CommitError::Missing { .. })));
    assert_eq!(store.pin(&pin, PinTarget::Payload(two), Expected::Absent).unwrap(), 3);
}

/// Eight threads, two openings of the store: of all that saw the same version exactly one moves the pin.
fn of_many_that_move_a_pin_at_once_one_wins_each_round(make: Make) {
    let home = make(Options::default());
    let other = Store::open(home.store.root()).unwrap();
    let target = PinTarget::Payload(home.store.blobs().put(b"target").unwrap());
    let pin = name("pin");
    for round in 0..10_u64 {
        let expected = if round == 0 { Expected::Absent } else { Expected::Version(round) };
        let won: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|n| {
                    let (store, pin) = (if n % 2 == 0 { &home.store } else { &other }, &pin);
                    scope.spawn(move || match store.pin(pin, target, expected) {
                        Ok(version) => {
                            assert_eq!(version, round + 1);
                            1
                        }
                        Err(CommitError::StalePin { found, .. }) => {
                            assert_eq!(found, Some(round + 1));
                            0
                        }
                        Err(error) => panic!("{error:?}"),
                    })
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(won, 1, "round {round}");
    }
}

/// Pins are rows made from the log: a rebuild gives the same, removed ones included, and `check` finds nothing to say.
#[test]
fn pins_and_facts_outlive_the_database() {
    let home = on_disk(Options::default());
    let (root, store) = (home.store.root().to_owned(), home.store);
    let session = named(&store, "demo");
    let head = turn(&session, "a", "b").unwrap();
    drop(session);
    let notes = store.blobs().put(b"notes").unwrap();
    for (text, target) in [("head", PinTarget::Head(head)), ("gone", PinTarget::Payload(notes))] {
        store.pin(&name(text), target, Expected::Any).unwrap();
    }
    store.unpin(&name("gone"), Expected::Any).unwrap();
    store.append_fact("acme/price", b"12", None).unwrap();
    store.append_fact("acme/price", b"13", Some(1)).unwrap();
    let before = (store.pins().unwrap(), store.facts_since(0, 10).unwrap());
    store.close().unwrap();
    std::fs::remove_file(root.join("store.sqlite")).unwrap();
    let store = Store::open(&root).unwrap();
    assert!(store.report().rebuilt.is_some());
    assert_eq!((store.pins().unwrap(), store.facts_since(0, 10).unwrap()), before);
    assert_eq!(store.pin(&name("gone"), PinTarget::Payload(notes), Expected::Absent).unwrap(), 3);
    assert_eq!(store.append_fact("acme/price", b"14", None).unwrap(), 3);
    assert_eq!(check(&root, Mode::Deep).unwrap().issues, []);
}

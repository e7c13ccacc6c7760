//! Leases are given back, whatever fails on the way to a handle.

use std::fs;

use headwater::store::{CommitError, ReadError, SessionOpenError, Store};

use super::tools::{fresh, named, turn};

/// The root a session would go on from is damaged: opening the session fails, and does not leave it taken.
#[test]
fn a_session_that_could_not_be_opened_is_not_held() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let head = {
        let session = named(&home.store, "demo");
        turn(&session, "what is 2 + 2?", "4").unwrap()
    };
    let place: (u64, u64) = rusqlite::Connection::open(root.join("store.sqlite"))
        .unwrap()
        .query_row("SELECT segment, offset FROM blob WHERE ref = ?1", [head.digest().to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let path = headwater::segment::segment_path(&root.join("blobs"), place.0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(place.1).unwrap() + 30] ^= 1;
    fs::write(&path, bytes).unwrap();
    let other = Store::open(&root).unwrap();
    for store in [&home.store, &other, &home.store] {
        let opened = store.open_session(&"demo".parse().unwrap());
        assert!(matches!(opened, Err(SessionOpenError::Read(ReadError::Damaged { .. }))), "{:?}", opened.err());
    }
}

/// Whoever holds a session lives as long as the lock of its own file: one whose file lies there unlocked is dead, and a row that names
/// another file of the store names nobody.
#[test]
fn a_lease_of_nobody_who_lives_is_free() {
    let home = fresh();
    let root = home.store.root().to_owned();
    drop(named(&home.store, "demo"));
    let dead = "0b0c4e94-6d5e-4b0f-8d7e-2f6f7a3a9c11";
    fs::write(root.join("open").join(dead), "").unwrap();
    for holder in [dead, "../lock", "../mark", ".", "", "nobody"] {
        let conn = rusqlite::Connection::open(root.join("store.sqlite")).unwrap();
        let sql = "INSERT OR REPLACE INTO hw_lease SELECT sid, ?1, 7, 'another', 0 FROM hw_session";
        assert_eq!(conn.execute(sql, [holder]).unwrap(), 1);
        drop(conn);
        let session = home.store.open_session(&"demo".parse().unwrap());
        let session = session.unwrap_or_else(|error| panic!("{holder:?} holds it: {error:?}"));
        session.add_annotation("note", None).unwrap();
        session.close().unwrap();
    }
}

/// A caller that was not told how its commit ended does the same again, under the same key: it is recognised, for a batch that
/// makes a session and for one that adds nothing.
#[test]
fn a_repeat_is_recognised_by_its_key() {
    let home = fresh();
    let make = |text: &str| {
        home.store.create_session_with(super::tools::new("demo"), |batch| {
            batch.key("first");
            batch.add_annotation("note", None, None)?;
            let payload = batch.put(text.as_bytes());
            batch.add_annotation("text", None, Some(payload))
        })
    };
    let (session, _) = make("one").unwrap();
    let events = session.counters().event;
    for open in [true, false] {
        let Err(SessionOpenError::Commit(CommitError::Repeated { first_event, events: held, .. })) = make("one") else {
            panic!("the batch is there already; the session is open: {open}")
        };
        assert_eq!((first_event, held), (1, events));
        let other = make("two");
        assert!(matches!(other, Err(SessionOpenError::Commit(CommitError::KeyConflict { .. }))), "{:?}", other.err());
        if open {
            session.clone().close().unwrap();
        }
    }
    let without = home.store.create_session(super::tools::new("demo"));
    assert!(matches!(without, Err(SessionOpenError::Exists { .. })));
    drop(session);

    let session = home.store.open_session(&"demo".parse().unwrap()).unwrap();
    let seal = || {
        session.write(|batch| {
            batch.key("sealed");
            batch.seal()
        })
    };
    let head = seal().unwrap();
    // The first time there was something to seal, the second time nothing.
    assert!(matches!(seal(), Err(CommitError::Repeated { .. })));
    assert_eq!(session.current_head(), Some(head));
    let nothing = || {
        session.write(|batch| {
            batch.key("nothing");
            Ok(())
        })
    };
    nothing().unwrap();
    assert!(matches!(nothing(), Err(CommitError::Repeated { events: 0, .. })));
    let other = session.write(|batch| {
        batch.key("nothing");
        batch.add_annotation("note", None, None)
    });
    assert!(matches!(other, Err(CommitError::KeyConflict { .. })), "{other:?}");
    assert_eq!(headwater::care::check(home.store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
}

//! Writers: threads that share a handle, commits queued, keys, leases, failures, large payloads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use headwater::model::{Annotation, Body, CallType, Digest, EventNumber, HeadKind, Role, Status};
use headwater::store::{CommitError, NewMessage, NewSession, Options, ReadError, SessionOpenError, Store};

use super::tools::{fresh, named, turn};

#[test]
fn threads_that_fan_out_share_one_handle() {
    const THREADS: u64 = 8;
    const EACH: u64 = 40;
    let home = fresh();
    let session = named(&home.store, "demo");
    let turn = session.begin_turn("fan out").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let session = session.clone();
            scope.spawn(move || {
                let mut last = 0;
                for n in 0..EACH {
                    let call = session
                        .write(|batch| {
                            batch.begin_call(CallType::LeafBatchItem, |row| {
                                (row.batch, row.batch_index) = (Some(format!("b{thread}")), Some(n));
                            })
                        })
                        .unwrap();
                    assert!(call.0 > last, "a thread's own numbers grow");
                    last = call.0;
                    session.update_call(call, |row| (row.status, row.tokens_output) = (Status::OK, Some(n))).unwrap();
                    session.add_eval(Status::OK, |row| row.call = Some(call)).unwrap();
                    assert!(session.counters().call >= call.0);
                    if n % 10 == 0 {
                        let view = session.view().unwrap();
                        assert_eq!(view.rows.calls.iter().find(|e| e.row.call == call).unwrap().row.status, Status::OK);
                    }
                }
            });
        }
    });
    let counters = session.counters();
    assert_eq!((counters.call, counters.eval), (THREADS * EACH, THREADS * EACH));
    assert_eq!(counters, home.store.high_water_counters(session.id()).unwrap());
    let events = home.store.events(session.id()).unwrap();
    assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)), "no gap, in order");
    assert_eq!(events.len() as u64, 3 + 2 + 3 * THREADS * EACH);
    let view = session.view().unwrap();
    assert_eq!(Store::fold(&events), view.rows);
    for thread in 0..THREADS {
        let batch = format!("b{thread}");
        let of = view.rows.calls.iter().filter(|entry| entry.row.batch.as_ref() == Some(&batch));
        let indexes: Vec<u64> = of.map(|entry| entry.row.batch_index.unwrap()).collect();
        assert_eq!(indexes, (0..EACH).collect::<Vec<_>>(), "each thread's calls in its order");
    }
    session.update_turn(turn, |row| row.status = Status::FINAL).unwrap();
    let head = session.seal().unwrap();
    assert_eq!(home.store.view_at(session.id(), &head).unwrap().rows.calls.len() as u64, THREADS * EACH);
}

struct Woken(AtomicU64, std::thread::Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.unpark();
    }
}

#[test]
fn a_ticket_can_be_waited_for_polled_and_awaited() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let say = |text: &str| session.submit(|batch| batch.add_message(NewMessage::new(Role::User, text))).unwrap();
    let (first, ticket) = say("one");
    let (second, other) = say("two");
    let (third, last) = say("three");
    assert_eq!((first.0, second.0, third.0), (1, 2, 3));
    let tx = ticket.unwrap().wait().unwrap();

    let woken = Arc::new(Woken(AtomicU64::new(0), std::thread::current()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = std::pin::pin!(other.unwrap());
    let awaited = loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => break done.unwrap(),
            Poll::Pending => std::thread::park(),
        }
    };
    assert!(awaited > tx);
    let last = last.unwrap();
    last.wait().unwrap();
    assert!(matches!(last.poll(), Some(Ok(_))));
    assert_eq!(session.view().unwrap().rows.messages.len(), 3);
    let (value, none) = session.submit(|_| Ok(7)).unwrap();
    assert!(value == 7 && none.is_none(), "an empty batch is no commit");
}

/// How many of those that were queued met the failure is a matter of threads: it is tried until some did.
#[test]
fn commits_queued_behind_a_failed_one_fail_with_it() {
    let met = (0..200).any(|_| queue_behind_a_failure() > 0);
    assert!(met, "no commit was ever queued behind one that failed");
}

fn queue_behind_a_failure() -> u32 {
    let home = fresh();
    let session = named(&home.store, "demo");
    turn(&session, "a question", "an answer").unwrap();
    let (counters, head, view) = (session.counters(), session.current_head(), session.view().unwrap());
    let nowhere = Digest::of(b"nobody put this");
    let other = named(&home.store, "other");
    let said =
        |text: &str| other.submit(|batch| batch.add_message(NewMessage::new(Role::User, text))).unwrap().1.unwrap();
    let before = said("before");
    let bad = session.submit(|batch| {
        batch.add_message(NewMessage::new(Role::User, "applied, and then undone"))?;
        batch.add_annotation("note", None, Some(nowhere))
    });
    let (_, bad) = bad.unwrap();
    let after = said("after");
    let behind: Vec<_> = (0..5)
        .map(|n| session.submit(|batch| batch.add_message(NewMessage::new(Role::User, format!("{n}")))).unwrap().1)
        .collect();
    assert!(matches!(bad.unwrap().wait(), Err(CommitError::Missing { .. })));
    let mut failed = 0;
    for ticket in behind.into_iter().flatten() {
        match ticket.wait() {
            Err(CommitError::Behind { .. }) => failed += 1,
            // Queued after the failure was known: it builds on what is there.
            Ok(_) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    if failed == 5 {
        assert_eq!((session.counters(), session.current_head()), (counters, head));
        assert_eq!(session.view().unwrap(), view);
    }
    let events = home.store.events(session.id()).unwrap();
    assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
    assert_eq!(session.counters().event, events.len() as u64);
    session.add_message(Role::User, "and on").commit().unwrap();
    // Whose commits shared the group is not touched by it, and nothing of it is left in the rows.
    assert!(before.wait().is_ok() && after.wait().is_ok());
    assert_eq!(home.store.events(other.id()).unwrap().len(), 5);
    assert_eq!(headwater::care::check(home.store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
    failed
}

#[test]
fn a_batch_key_tells_a_retry_from_other_content() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let once = |key: &str, text: &str| {
        session.write(|batch| {
            batch.key(key);
            batch.add_message(NewMessage::new(Role::User, text))
        })
    };
    once("k1", "hello").unwrap();
    let counters = session.counters();
    match once("k1", "hello") {
        Err(CommitError::Repeated { first_event, events, key, .. }) => {
            assert_eq!((first_event, events, key.as_str()), (counters.event, 1, "k1"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(once("k1", "other"), Err(CommitError::KeyConflict { .. })));
    assert_eq!(session.counters(), counters);
    once("k2", "hello").unwrap();
    assert!(matches!(once("", "x"), Err(CommitError::Invalid(_))));
    let root = home.store.root().to_owned();
    let id = session.id().clone();
    drop(session);
    home.store.close().unwrap();
    std::fs::remove_file(root.join("store.sqlite")).unwrap();
    let store = Store::open(&root).unwrap();
    let session = store.open_session(&id).unwrap();
    let again = session.write(|batch| {
        batch.key("k2");
        batch.add_message(NewMessage::new(Role::User, "hello"))
    });
    assert!(matches!(again, Err(CommitError::Repeated { .. })), "kept for ever, over a rebuild: {again:?}");
}

#[test]
fn a_stale_head_is_refused_by_name() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let genesis = session.current_head().unwrap();
    let first = turn(&session, "a", "b").unwrap();
    match session.advance(Some(genesis), genesis) {
        Err(CommitError::StaleHead { expected, found, .. }) => {
            assert_eq!((expected, found), (Some(genesis), Some(first)));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(session.advance(None, genesis), Err(CommitError::StaleHead { .. })));
    session.advance(Some(first), genesis).unwrap();
    assert_eq!(home.store.session(session.id()).unwrap().current_head, Some(genesis));
}

#[test]
fn a_lease_has_one_holder() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let session = named(&home.store, "demo");
    let id = session.id().clone();
    let other = Store::open(&root).unwrap();
    for held in [home.store.open_session(&id).err(), other.open_session(&id).err()] {
        assert!(matches!(held, Some(SessionOpenError::LeaseHeld { .. })), "{held:?}");
    }
    let stolen = other.steal_session(&id).unwrap();
    let lost = session.add_message(Role::User, "from the old holder").commit();
    assert!(matches!(lost, Err(CommitError::LeaseLost { .. })), "{lost:?}");
    stolen.add_message(Role::User, "from the new one").commit().unwrap();
    drop(session);
    let held = home.store.open_session(&id).err();
    assert!(matches!(held, Some(SessionOpenError::LeaseHeld { .. })), "the loser's drop frees nothing: {held:?}");
    stolen.seal().unwrap();
    drop(stolen);
    home.store.open_session(&id).unwrap().close().unwrap();

    // A store that is gone, its lease not given back: as after a kill.
    let kept = other.open_session(&id).unwrap();
    std::mem::forget(kept);
    let held = home.store.open_session(&id).err();
    assert!(matches!(held, Some(SessionOpenError::LeaseHeld { .. })), "{held:?}");
    let missing = other.open_session(&"nobody".parse().unwrap()).err();
    assert!(matches!(missing, Some(SessionOpenError::Read(ReadError::NotFound { .. }))), "{missing:?}");
}

/// As two processes would: a session goes from one opening of the store to another and back, and each goes on where the other one
/// stopped, whatever it remembers of it.
#[test]
fn a_session_that_goes_from_hand_to_hand_goes_on() {
    let home = fresh();
    let other = Store::open(home.store.root()).unwrap();
    let mine = named(&home.store, "mine");
    drop(named(&home.store, "demo"));
    let id = "demo".parse().unwrap();
    for round in 0..6 {
        let session = if round % 2 == 0 { &other } else { &home.store }.open_session(&id).unwrap();
        turn(&session, &format!("question {round}"), "an answer").unwrap();
        session.close().unwrap();
        mine.add_message(Role::User, format!("{round}")).commit().unwrap();
    }
    assert_eq!(home.store.view(&id).unwrap().rows.turns.len(), 6);
    let events = home.store.events(&id).unwrap();
    assert_eq!(Store::fold(&events), other.event_view(&id).unwrap().rows);
    assert_eq!(headwater::care::check(home.store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
}

#[test]
fn a_lease_in_a_copied_store_is_nobodys() {
    let home = fresh();
    let session = named(&home.store, "demo");
    session.begin_turn("left open").unwrap();
    let copy = home.folder.path().join("copy");
    let done = std::process::Command::new("cp").arg("-r").arg(home.store.root()).arg(&copy).status().unwrap();
    assert!(done.success());
    let store = Store::open(&copy).unwrap();
    let taken = store.open_session(session.id()).unwrap();
    assert_eq!(store.heads(taken.id()).unwrap().last().unwrap().kind, HeadKind::TurnAborted);
}

#[test]
fn names_and_types_are_checked() {
    let home = fresh();
    let session = named(&home.store, "demo");
    assert!(home.store.exists("demo").unwrap());
    assert!(!home.store.exists("other").unwrap());
    for bad in ["", "../demo", "-a", "a b", "é", &"x".repeat(236)] {
        assert!(matches!(home.store.exists(bad), Err(ReadError::BadId(_))), "{bad:?}");
    }
    let taken = home.store.create_session(NewSession::named("demo".parse().unwrap())).err();
    assert!(matches!(taken, Some(SessionOpenError::Exists { .. })), "{taken:?}");
    let counters = session.counters();
    for kind in headwater::model::event::EPHEMERAL {
        let refused = session.add_annotation(kind, Some(b"token"));
        assert!(matches!(refused, Err(CommitError::Ephemeral { .. })), "{kind}: {refused:?}");
        // By the other door too.
        let body = Body::Annotation(Annotation { kind: kind.to_owned(), turn: None, payload: None });
        let refused = session.append(body);
        assert!(matches!(refused, Err(CommitError::Ephemeral { .. })), "{kind}: {refused:?}");
    }
    assert!(matches!(session.add_annotation("turn/put", None), Err(CommitError::BadId(_))));
    assert!(matches!(session.add_annotation(&"x".repeat(129), None), Err(CommitError::BadId(_))));
    session.add_annotation(&"x".repeat(128), None).unwrap();
    assert_eq!(session.counters().event, counters.event + 1);
    home.store.set_alias(&"first".parse().unwrap(), session.id()).unwrap();
    let other = named(&home.store, "other");
    let taken = home.store.set_alias(&"first".parse().unwrap(), other.id());
    assert!(matches!(taken, Err(CommitError::Conflict(_))), "{taken:?}");
    let missing = home.store.set_alias(&"second".parse().unwrap(), &"nobody".parse().unwrap());
    assert!(matches!(missing, Err(CommitError::Missing { .. })), "{missing:?}");
}

#[test]
fn a_turn_whose_writer_went_away_is_closed_beside_the_branch() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let id = session.id().clone();
    let current = turn(&session, "a", "b").unwrap();
    let open = session.begin_turn("never answered").unwrap();
    session.write(|batch| batch.begin_call(CallType::Root, |_| {})).unwrap();
    drop(session);
    let session = home.store.open_session(&id).unwrap();
    assert_eq!(session.current_head(), Some(current), "the current head is where it was");
    let aborted = home.store.heads(&id).unwrap().pop().unwrap();
    assert_eq!((aborted.kind, aborted.turn, aborted.current), (HeadKind::TurnAborted, Some(open), false));
    let rows = home.store.view_at(&id, &aborted.head).unwrap().rows;
    assert_eq!(rows.calls.last().unwrap().row.status, Status::ORPHANED);
    assert_eq!(rows.turns.last().unwrap().row.status, Status::ABORTED);
    assert_eq!(session.view().unwrap().rows.turns.len(), 1, "and the branch goes on without it");
    let events = session.counters().event;
    drop(session);
    let session = home.store.open_session(&id).unwrap();
    assert_eq!(session.counters().event, events, "closed once");
}

#[test]
fn a_large_payload_comes_back_whole_and_is_stored_once() {
    let home = fresh();
    let session = named(&home.store, "demo");
    let mut state = 1_u64;
    let bytes: Vec<u8> = (0..9 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let digest = session.write(|batch| {
        let digest = batch.put(&bytes);
        batch.add_annotation("note/large", None, Some(digest))?;
        Ok(digest)
    });
    let digest = digest.unwrap();
    let blobs = home.store.blobs();
    assert_eq!(blobs.get(&digest).unwrap(), bytes);
    assert_eq!(blobs.size(&digest).unwrap(), bytes.len() as u64);
    blobs.verify(&digest).unwrap();
    let log = || -> u64 {
        let files = std::fs::read_dir(home.store.root().join("blobs")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let before = (log(), home.store.events(session.id()).unwrap().len());
    assert_eq!(blobs.put_from(&bytes[..]).unwrap(), digest);
    assert_eq!(blobs.put(&bytes).unwrap(), digest);
    assert_eq!((log(), home.store.events(session.id()).unwrap().len()), before, "a payload is stored once");
    for len in [0, 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 8 << 20] {
        let part = &bytes[1..=len];
        let digest = blobs.put_from(part).unwrap();
        assert_eq!(digest, Digest::of(part));
        assert!(blobs.get(&digest).unwrap() == part, "{len}");
        let mut out = Vec::new();
        blobs.copy_to(&digest, &mut out).unwrap();
        assert!(out == part, "{len}");
    }
    let root = home.store.root().to_owned();
    drop((session, blobs));
    home.store.close().unwrap();
    std::fs::remove_file(root.join("store.sqlite")).unwrap();
    let store = Store::open_with(&root, Options { create: false, ..Options::default() }).unwrap();
    assert!(store.blobs().get(&digest).unwrap() == bytes);
}

/// A WAL checkpoint costs syncs. Each commit that finds the WAL's file long must not ask for one: the file stays as long
/// as it once was, while the WAL in it begins anew.
#[test]
fn the_wal_begins_anew_in_place_and_is_not_checkpointed_for_its_length() {
    const WAL: u64 = 2 << 20;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = Store::open_with(&root, Options { wal_size: WAL, ..Options::default() }).unwrap();
    let session = named(&store, "demo");
    let mark = || std::fs::read(root.join("mark")).unwrap();
    let (mut notes, mut longest, mut last) = (0, 0, mark());
    for n in 0..1_200 {
        session.add_message(Role::User, format!("message {n}")).commit().unwrap();
        longest = longest.max(std::fs::metadata(root.join("store.sqlite-wal")).unwrap().len());
        let now = mark();
        if now != last {
            (notes, last) = (notes + 1, now);
        }
    }
    // Six pages a commit or so: some twelve times the size in all, each moved in two steps.
    assert!((2..=40).contains(&notes), "{notes} checkpoints");
    assert!(longest < 8 * WAL, "the WAL grew to {longest} bytes");
    drop(session);
    store.close().unwrap();
}

//! Subscribers: history first, then what is committed, each event once and in order; ephemeral items as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use headwater::model::{Event, EventNumber, Role, SessionId, Tx};
use headwater::store::{
    CommitError, Item, NewMessage, Options, ReadError, RecvError, Session, Store, Subscription, Topic,
};

use super::tools::{Make, named, new, on_both, on_disk, turn};

on_both! {
    history_goes_over_into_what_is_live_without_a_seam
    ephemeral_items_come_between_the_events_around_them
    a_slow_subscriber_loses_ephemeral_items_alone_and_is_told_how_many
    all_sessions_come_in_the_order_of_commits
    closing_ends_subscriptions_and_frees_the_store
    another_opening_of_the_store_is_heard
}

/// Long enough that a test which waits for it has failed.
const LONG: Duration = Duration::from_secs(20);

fn of(session: &Session, since: u64) -> Topic {
    Topic::Session { session: session.id().clone(), since: EventNumber(since) }
}

fn event(subscription: &mut Subscription) -> Event {
    match subscription.recv_timeout(LONG).unwrap() {
        Item::Event(event) => *event,
        other => panic!("{other:?}"),
    }
}

fn text(item: Item) -> String {
    match item {
        Item::Ephemeral(item) => String::from_utf8(item.payload.clone()).unwrap(),
        Item::Event(event) => format!("#{}", event.number),
        Item::Gap { dropped } => format!("gap {dropped}"),
    }
}

fn is_empty(subscription: &mut Subscription) -> bool {
    matches!(subscription.try_recv(), Err(RecvError::Empty))
}

/// Four threads commit while eight subscribers begin, each somewhere else: every one receives every event after its
/// beginning once, in order, and what it receives is what the store says.
fn history_goes_over_into_what_is_live_without_a_seam(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    for n in 0..300 {
        session.submit(|batch| batch.add_message(NewMessage::new(Role::User, format!("{n}")))).unwrap();
    }
    session.add_message(Role::User, "more than one chunk is history").commit().unwrap();
    let last = 3 + 301 + 4 * 25;
    let subscribers = std::thread::scope(|scope| {
        for _ in 0..4 {
            let session = session.clone();
            scope.spawn(move || {
                for _ in 0..25 {
                    session.add_message(Role::User, "live").commit().unwrap();
                }
            });
        }
        let readers: Vec<_> = (0..8_u64)
            .map(|n| {
                let (store, topic) = (home.store.clone(), of(&session, n * 45));
                scope.spawn(move || {
                    let mut subscription = store.subscribe(topic).unwrap();
                    let mut received = Vec::new();
                    while received.last().is_none_or(|event: &Event| event.number.0 < last) {
                        received.push(event(&mut subscription));
                    }
                    assert!(is_empty(&mut subscription), "and nothing twice");
                    (n * 45, received)
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    let events = home.store.events(session.id()).unwrap();
    assert_eq!(events.len() as u64, last);
    for (since, received) in subscribers {
        assert!(received == events[usize::try_from(since).unwrap()..], "since {since}");
    }
    let nobody = home.store.subscribe(Topic::Session { session: "nobody".parse().unwrap(), since: EventNumber(0) });
    assert!(matches!(nobody.err(), Some(ReadError::NotFound { .. })));
}

/// Deltas are received after the events before them and before the message they became; the log never sees them.
fn ephemeral_items_come_between_the_events_around_them(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let mut early = home.store.subscribe(of(&session, 3)).unwrap();
    assert!(is_empty(&mut early));
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    session.emit_ephemeral("token/delta", "it ").unwrap();
    session.emit_ephemeral("token/delta", "is 4").unwrap();
    session.add_message(Role::Assistant, "it is 4").turn(turn).commit().unwrap();
    session.emit_ephemeral("progress", "done").unwrap();
    // Nobody looked meanwhile: the order is the same.
    let received: Vec<String> = (0..6).map(|_| text(early.recv_timeout(LONG).unwrap())).collect();
    assert_eq!(received, ["#4", "#5", "it ", "is 4", "#6", "done"]);
    assert!(is_empty(&mut early));

    // One who looks all the time gets each at once; another session's are not for it.
    let other = named(&home.store, "other");
    other.emit_ephemeral("progress", "elsewhere").unwrap();
    session.emit_ephemeral("message/delta", "now").unwrap();
    assert_eq!(text(early.try_recv().unwrap()), "now");
    assert!(is_empty(&mut early));

    // An emission inside a batch, and one whose batch fails: neither waits for events that never come.
    let refused = session.write(|batch| {
        batch.add_message(NewMessage::new(Role::User, "never"))?;
        session.emit_ephemeral("progress", "inside")?;
        batch.add_annotation("turn/put", None, None)
    });
    assert!(matches!(refused, Err(CommitError::BadId(_))));
    assert_eq!(text(early.try_recv().unwrap()), "inside");
    let nowhere = headwater::model::Digest::of(b"nobody put this");
    assert!(session.write(|batch| batch.add_annotation("note", None, Some(nowhere))).is_err());
    session.emit_ephemeral("progress", "after a failure").unwrap();
    assert_eq!(text(early.recv_timeout(LONG).unwrap()), "after a failure");
    session.add_message(Role::User, "and on").commit().unwrap();
    assert_eq!(text(early.recv_timeout(LONG).unwrap()), "#7");

    for kind in ["token/delta", "message/delta", "reasoning/delta", "progress"] {
        let refused = session.add_annotation(kind, None);
        assert!(matches!(refused, Err(CommitError::Ephemeral { .. })), "{kind}: {refused:?}");
    }
    assert!(matches!(session.emit_ephemeral("note", ""), Err(CommitError::BadId(_))));
    assert!(matches!(session.emit_ephemeral("progress", vec![0; 65_537]), Err(CommitError::Invalid(_))));
    assert_eq!(home.store.session(session.id()).unwrap().events, 7, "nothing ephemeral is in the log");
    let mut late = home.store.subscribe(of(&session, 0)).unwrap();
    let all: Vec<String> = (0..7).map(|_| text(late.recv_timeout(LONG).unwrap())).collect();
    assert_eq!(all.last().map(String::as_str), Some("#7"), "nor told to who comes later");
}

/// A subscriber looks away while 5,000 deltas and 2,000 events pass. The events are all there; of the deltas the last
/// 1,024, after a mark that says how many are missing. By bytes the bound is 1 MiB.
fn a_slow_subscriber_loses_ephemeral_items_alone_and_is_told_how_many(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let mut subscription = home.store.subscribe(of(&session, 3)).unwrap();
    for n in 0..2_000 {
        session.submit(|batch| batch.add_message(NewMessage::new(Role::User, format!("{n}")))).unwrap();
    }
    session.view().unwrap();
    for n in 0..5_000 {
        session.emit_ephemeral("token/delta", format!("{n}")).unwrap();
    }
    for number in 4..2_004 {
        assert_eq!(event(&mut subscription).number, EventNumber(number));
    }
    assert_eq!(text(subscription.try_recv().unwrap()), "gap 3976");
    for n in 3_976..5_000 {
        assert_eq!(text(subscription.try_recv().unwrap()), n.to_string());
    }
    assert!(is_empty(&mut subscription), "one mark for one gap");
    for n in 0..40_u8 {
        session.emit_ephemeral("progress", vec![n; 64 << 10]).unwrap();
    }
    assert_eq!(text(subscription.try_recv().unwrap()), "gap 24");
    let first = subscription.try_recv().unwrap();
    assert!(matches!(&first, Item::Ephemeral(item) if item.payload[0] == 24), "{first:?}");
}

/// Three sessions take turns over many small segments. Whoever subscribes to all gets their events as they were committed,
/// from any commit on, and can go on later from where it stopped.
fn all_sessions_come_in_the_order_of_commits(make: Make) {
    let home = make(Options { segment_size: 2_048, ..Options::default() });
    let sessions: Vec<Session> = ["a", "b", "c"].iter().map(|name| named(&home.store, name)).collect();
    let mut expected: Vec<(SessionId, EventNumber)> = Vec::new();
    let mut from_tx = Vec::new();
    for session in &sessions {
        expected.extend((1..=3).map(|number| (session.id().clone(), EventNumber(number))));
    }
    for n in 0..150_usize {
        from_tx.push((home.store.last_tx().unwrap(), expected.len()));
        let session = &sessions[n * n % 3];
        match n % 4 {
            // Commits without events, and payloads between the commits.
            0 => {
                home.store.blobs().put(format!("payload {n} {}", "x".repeat(n * 7)).as_bytes()).unwrap();
            }
            1 => {
                let number = session.append_all(vec![note("one"), note("two")]).unwrap();
                expected.extend(number.into_iter().map(|number| (session.id().clone(), number)));
            }
            _ => {
                let number = session.append(note("three")).unwrap();
                expected.push((session.id().clone(), number));
            }
        }
    }
    let segments = std::fs::read_dir(home.store.root().join("blobs")).unwrap().count();
    assert!(segments > 5, "{segments} segments");
    let take = |subscription: &mut Subscription, most: usize| -> Vec<(SessionId, EventNumber)> {
        let items = std::iter::from_fn(|| match subscription.try_recv() {
            Ok(Item::Event(event)) => Some((event.session, event.number)),
            Err(RecvError::Empty) => None,
            other => panic!("{other:?}"),
        });
        items.take(most).collect()
    };
    for (since, already) in from_tx {
        let mut subscription = home.store.subscribe(Topic::All { since }).unwrap();
        assert_eq!(take(&mut subscription, usize::MAX), expected[already..], "since {}", since.0);
        assert_eq!(subscription.topic(), Topic::All { since: home.store.last_tx().unwrap() });
    }
    // Received in part, dropped, and gone on with: nothing is missing, and no more than one commit comes again.
    let mut received = Vec::new();
    let mut topic = Topic::All { since: Tx(0) };
    loop {
        let mut subscription = home.store.subscribe(topic).unwrap();
        let some = take(&mut subscription, 17);
        if some.is_empty() {
            break;
        }
        for one in some {
            if !received.contains(&one) {
                received.push(one);
            }
        }
        topic = subscription.topic();
    }
    assert_eq!(received, expected);
    // And live.
    let mut subscription = home.store.subscribe(Topic::All { since: home.store.last_tx().unwrap() }).unwrap();
    assert!(is_empty(&mut subscription));
    sessions[2].emit_ephemeral("progress", "first").unwrap();
    sessions[1].append(note("live")).unwrap();
    sessions[2].emit_ephemeral("progress", "last").unwrap();
    assert_eq!(text(subscription.recv_timeout(LONG).unwrap()), "first");
    assert_eq!(event(&mut subscription).session, *sessions[1].id());
    assert_eq!(text(subscription.recv_timeout(LONG).unwrap()), "last");
}

fn note(kind: &str) -> headwater::model::Body {
    headwater::model::Body::Annotation(headwater::model::Annotation::new(kind, None, None).unwrap())
}

/// One subscriber waits in a thread, another was never looked at: closing wakes the one, and what was open is closed when
/// it returns, so that the store can be had alone.
fn closing_ends_subscriptions_and_frees_the_store(make: Make) {
    let home = make(Options::default());
    let session = named(&home.store, "demo");
    let mut waiting = home.store.subscribe(of(&session, 3)).unwrap();
    let mut idle = home.store.subscribe(Topic::All { since: Tx(0) }).unwrap();
    assert_eq!(event(&mut idle).number, EventNumber(1));
    // The attendant, the watcher and the checkpointer are at work.
    for n in 0..50 {
        session.submit(|batch| batch.add_message(NewMessage::new(Role::User, format!("{n}")))).unwrap();
    }
    let waiter = std::thread::spawn(move || {
        let events = waiting.by_ref().map(Result::unwrap).count();
        (events, matches!(waiting.recv(), Err(RecvError::Closed)))
    });
    session.view().unwrap();
    session.close().unwrap();
    let root = home.store.root().to_owned();
    home.store.clone().close().unwrap();
    assert!(home.store.session(&"demo".parse().unwrap()).is_ok(), "another clone keeps it open");
    let super::tools::Home { store, folder } = home;
    store.close().unwrap();
    let (events, closed) = waiter.join().unwrap();
    assert!(closed && events <= 50, "{events}");
    // What was read stays to be received, then it ends.
    let rest = idle.by_ref().map(Result::unwrap).count();
    assert_eq!(rest, 2, "of the chunk that was read");
    assert!(matches!(idle.recv_timeout(Duration::ZERO), Err(RecvError::Closed)));
    match folder {
        None => assert!(!root.exists()),
        Some(_) => {
            std::fs::remove_file(root.join("store.sqlite")).unwrap();
            let store = Store::open(&root).unwrap();
            assert!(store.report().rebuilt.is_some(), "nobody else held it");
        }
    }
}

/// As another process would: a second opening of the same folder commits, and the first one's subscribers hear of it.
fn another_opening_of_the_store_is_heard(make: Make) {
    let home = make(Options::default());
    let mine = named(&home.store, "mine");
    let mut all = home.store.subscribe(Topic::All { since: home.store.last_tx().unwrap() }).unwrap();
    let mut one = home.store.subscribe(of(&mine, 3)).unwrap();
    assert!(is_empty(&mut all) && is_empty(&mut one));
    let other = Store::open(home.store.root()).unwrap();
    let theirs = named(&other, "theirs");
    let start = Instant::now();
    theirs.append(note("foreign")).unwrap();
    for number in 1..=4 {
        assert_eq!(event(&mut all).number, EventNumber(number));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut of_theirs = home.store.subscribe(of(&theirs, 4)).unwrap();
    assert!(is_empty(&mut of_theirs));
    // A foreign commit just before one of our own is not passed over.
    for round in 0..20 {
        theirs.append(note("foreign")).unwrap();
        mine.append(note("own")).unwrap();
        let (first, second) = (event(&mut all), event(&mut all));
        assert_eq!((first.session.as_str(), second.session.as_str()), ("theirs", "mine"), "round {round}");
        assert_eq!(event(&mut one).number, EventNumber(4 + round));
        assert_eq!(event(&mut of_theirs).number, EventNumber(5 + round), "told of by a commit of our own");
    }
    drop(mine);
    let stolen = other.open_session(&"mine".parse().unwrap()).unwrap();
    stolen.append(note("foreign")).unwrap();
    while event(&mut one).body.kind() != "foreign" {}
}

struct Woken(AtomicU64, std::thread::Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.unpark();
    }
}

/// A task without a runtime: it sleeps until it is woken, and is woken for each kind of news and for the end.
#[test]
fn a_subscription_can_be_polled_by_a_task() {
    let home = on_disk(Options::default());
    let session = named(&home.store, "demo");
    let mut subscription = home.store.subscribe(of(&session, 3)).unwrap();
    let woken = Arc::new(Woken(AtomicU64::new(0), std::thread::current()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut next = || loop {
        match subscription.poll_recv(&mut Context::from_waker(&waker)) {
            Poll::Ready(item) => return item.map(text).map_err(|error| error.to_string()),
            Poll::Pending => std::thread::park(),
        }
    };
    let (enough, received) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            session.append(note("one")).unwrap();
            session.emit_ephemeral("progress", "two").unwrap();
            session.append(note("three")).unwrap();
            received.recv().unwrap();
            drop(session);
            drop(home);
        });
        let items: Vec<_> = (0..3).map(|_| next().unwrap()).collect();
        assert_eq!(items, ["#4", "two", "#5"]);
        enough.send(()).unwrap();
        assert_eq!(next().unwrap_err(), "the store was closed");
    });
    assert!(woken.0.load(Ordering::SeqCst) >= 1);
}

/// Subscribers that never look, one that is blocked in its own work and one that panicked: writers go on all the same.
#[test]
fn nobody_who_does_not_look_holds_a_writer_back() {
    let home = on_disk(Options::default());
    let session = named(&home.store, "demo");
    let _never: Vec<_> = (0..50).map(|_| home.store.subscribe(of(&session, 0)).unwrap()).collect();
    let released = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut stuck = home.store.subscribe(of(&session, 0)).unwrap();
        let released = &released;
        scope.spawn(move || {
            let first = stuck.recv().unwrap();
            while !released.load(Ordering::Acquire) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            assert_eq!(text(first), "#1");
            assert_eq!(event(&mut stuck).number, EventNumber(2), "it goes on where it was");
        });
        let mut broken = home.store.subscribe(of(&session, 0)).unwrap();
        let panicked = std::thread::Builder::new()
            .spawn(move || {
                broken.recv().unwrap();
                std::panic::resume_unwind(Box::new("a subscriber's own defect"));
            })
            .unwrap();
        assert!(panicked.join().is_err());
        for n in 0..200 {
            session.emit_ephemeral("progress", format!("{n}")).unwrap();
            turn_of(&session, n);
        }
        released.store(true, Ordering::Release);
    });
    assert_eq!(home.store.session(session.id()).unwrap().turns, 200);
}

fn turn_of(session: &Session, n: usize) {
    session.begin_turn(&format!("question {n}")).unwrap();
}

/// What a subscriber is given adds up to what a fold of the log gives, heads and forks included.
#[test]
fn what_is_received_folds_to_the_state() {
    let home = on_disk(Options::default());
    let session = named(&home.store, "demo");
    let mut subscription = home.store.subscribe(Topic::All { since: Tx(0) }).unwrap();
    let head = turn(&session, "what is 2 + 2?", "4").unwrap();
    let fork = home.store.fork(&head, new("fork")).unwrap();
    turn(&fork, "and 3 + 3?", "6").unwrap();
    turn(&session, "and 4 + 4?", "8").unwrap();
    let last = home.store.last_tx().unwrap();
    let mut received = Vec::new();
    while subscription.topic() != (Topic::All { since: last }) {
        received.push(event(&mut subscription));
    }
    for id in ["demo", "fork"] {
        let id: SessionId = id.parse().unwrap();
        let own: Vec<Event> = received.iter().filter(|event| event.session == id).cloned().collect();
        assert_eq!(own, home.store.events(&id).unwrap());
        assert_eq!(Store::fold(&own), home.store.event_view(&id).unwrap().rows);
    }
}

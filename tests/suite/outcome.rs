//! What a caller asks who was not told how a commit ended: whether the log holds it.

use headwater::model::line::encode_event;
use headwater::model::{Digest, EventNumber, Role, SessionId};
use headwater::store::{Options, Store};

use super::tools::{Make, named, on_both, on_disk};

on_both! {
    what_the_log_holds_is_told_and_nothing_else
}

/// The session's digest after each of its events, as [`headwater::store::CommitError::Unknown`] names one.
pub(super) fn digests(store: &Store, session: &SessionId) -> Vec<Digest> {
    let lines = store.events(session).unwrap().iter().map(encode_event).collect::<Vec<_>>();
    let chain = |chain: &mut Digest, line: Vec<u8>| {
        *chain = chain.chain(Digest::of(&line));
        Some(*chain)
    };
    lines.into_iter().scan(Digest::ZERO, chain).collect()
}

/// Two sessions take turns over several segments. Each batch of each is found by its first event and the digest after it; none is
/// found by the digest of the other's, of what was never written, beyond the session's end, or in a session that is not there.
fn what_the_log_holds_is_told_and_nothing_else(make: Make) {
    let home = make(Options { segment_size: 4_096, ..Options::default() });
    let store = &home.store;
    let (demo, other) = (named(store, "demo"), named(store, "other"));
    for n in 0..30 {
        demo.add_message(Role::User, format!("{n} {}", "x".repeat(n * 20))).commit().unwrap();
        other.add_message(Role::User, format!("of the other {n}")).commit().unwrap();
    }
    assert!(std::fs::read_dir(store.root().join("blobs")).unwrap().count() > 2, "one segment alone");
    let ours = digests(store, demo.id());
    assert_eq!(ours.len(), 33);
    for (first, digest) in (1..).zip(&ours) {
        assert!(store.outcome(demo.id(), EventNumber(first), digest).unwrap(), "event {first}");
        assert!(!store.outcome(other.id(), EventNumber(1), digest).unwrap(), "event {first} is not the other's");
    }
    for (first, digest) in (1..).zip(digests(store, other.id())) {
        assert!(store.outcome(other.id(), EventNumber(first), &digest).unwrap());
    }
    let last = ours[ours.len() - 1];
    // The next batch, which was never written; and what it would come to.
    assert!(!store.outcome(demo.id(), EventNumber(34), &last.chain(Digest::of(b"never"))).unwrap());
    assert!(!store.outcome(demo.id(), EventNumber(34), &last).unwrap(), "it begins beyond the session's end");
    assert!(!store.outcome(demo.id(), EventNumber(33), &last.chain(Digest::of(b"never"))).unwrap());
    assert!(!store.outcome(&"nobody".parse().unwrap(), EventNumber(1), &last).unwrap());
}

/// The log alone says so, too.
#[test]
fn an_outcome_is_told_after_a_rebuild() {
    let home = on_disk(Options::default());
    let session = named(&home.store, "demo");
    session.add_message(Role::User, "is it there?").commit().unwrap();
    let (id, root) = (session.id().clone(), home.store.root().to_owned());
    let last = *digests(&home.store, &id).last().unwrap();
    drop(session);
    home.store.close().unwrap();
    std::fs::remove_file(root.join("store.sqlite")).unwrap();
    let store = Store::open(&root).unwrap();
    assert!(store.report().rebuilt.is_some());
    assert!(store.outcome(&id, EventNumber(4), &last).unwrap());
    assert!(!store.outcome(&id, EventNumber(4), &Digest::of(b"another")).unwrap());
}

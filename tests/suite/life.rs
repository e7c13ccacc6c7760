//! A session's life: recorded, closed, opened, resumed, forked, rebuilt.

use headwater::model::{EventNumber, Tx};
use headwater::store::{CommitError, Journal, NewSession, Options, Store, Topic};

use super::tools::{fresh, named, turn};

/// Two turns are recorded; the store is closed, opened, its database deleted, and opened again. Each time the same
/// state, history and causes are read.
#[test]
fn a_session_reads_the_same_after_reopening_and_after_a_rebuild() {
    let home = fresh();
    let root = home.store.root().to_owned();
    let session = named(&home.store, "demo");
    let first = turn(&session, "what is 2 + 2?", "4").unwrap();
    let second = turn(&session, "and 3 + 3?", "6").unwrap();
    assert_ne!(first, second);
    session.close().unwrap();
    let fork = home.store.fork(&first, NewSession::named("fork".parse().unwrap())).unwrap();
    turn(&fork, "and 4 + 4?", "8").unwrap();
    drop(fork);
    let resumed = home.store.resume(&"demo".parse().unwrap(), Some(&first)).unwrap();
    turn(&resumed, "and 5 + 5?", "10").unwrap();
    drop(resumed);

    let look = |store: &Store| {
        let mut seen = Vec::new();
        for name in ["demo", "fork"] {
            let id = name.parse().unwrap();
            let view = store.view(&id).unwrap();
            assert_eq!(Store::fold(&store.events(&id).unwrap()), store.event_view(&id).unwrap().rows);
            let chain = store.causal_chain(&id, EventNumber(view.session.events), true).unwrap();
            seen.push((view, store.history_view(&id).unwrap(), chain));
        }
        assert_eq!(store.view_at(&"demo".parse().unwrap(), &first).unwrap().rows.messages.len(), 2);
        assert_eq!(seen[1].0.rows.messages.len(), 4);
        assert_eq!(seen[0].0.rows.messages.len(), 4, "the abandoned turn is not in sight");
        assert_eq!(seen[0].1.rows.messages.len(), 6, "and still in the log");
        seen
    };
    let before = look(&home.store);
    home.store.close().unwrap();

    let store = Store::open(&root).unwrap();
    assert_eq!(store.report().rebuilt, None, "{:?}", store.report());
    assert_eq!(look(&store), before);
    store.close().unwrap();

    std::fs::remove_file(root.join("store.sqlite")).unwrap();
    let store = Store::open(&root).unwrap();
    assert!(store.report().rebuilt.is_some());
    assert_eq!(look(&store), before);
}

/// A database that is not the one noted is set aside, each time in a folder of its own: nothing is ever deleted.
#[test]
fn what_is_set_aside_stays() {
    let home = fresh();
    let root = home.store.root().to_owned();
    turn(&named(&home.store, "demo"), "what is 2 + 2?", "4").unwrap();
    let super::tools::Fresh { folder: _kept, store } = home;
    store.close().unwrap();
    for round in 1..4 {
        let database = root.join("store.sqlite");
        let bytes = std::fs::read(&database).unwrap();
        std::fs::remove_file(&database).unwrap();
        std::fs::write(&database, bytes).unwrap();
        let store = Store::open(&root).unwrap();
        let (why, notes) = (&store.report().rebuilt.as_ref().unwrap().0, store.report().notes.join("; "));
        assert!(why.contains("not trusted") && !notes.contains("not trusted"), "once: {why}; {notes}");
        assert!(notes.contains("was set aside as"), "{notes}");
        store.close().unwrap();
        assert!(root.join(format!("set-aside/{round}/store.sqlite")).is_file(), "round {round}");
    }
}

/// Commits are queued and nobody waits, so that the store's own thread writes them; then the last handles go. When `close`
/// returns the store can be had alone at once, each time.
#[test]
fn a_store_that_was_closed_is_held_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let options = || Options { patience: std::time::Duration::ZERO, ..Options::default() };
    for round in 0..15 {
        let store = Store::open_with(&root, options()).unwrap();
        assert_eq!(store.report().rebuilt.is_some(), round > 0);
        let session = named(&store, &format!("demo-{round}"));
        let subscription = store.subscribe(Topic::All { since: Tx(0) }).unwrap();
        let listener = std::thread::spawn(move || subscription.map(Result::unwrap).count());
        for _ in 0..20 {
            session.submit(|batch| batch.add_annotation("note", None, None)).unwrap();
        }
        drop(session);
        store.close().unwrap();
        std::fs::remove_file(root.join("store.sqlite")).unwrap();
        listener.join().unwrap();
    }
}

/// The first commit of a group makes the log roll and is then refused; the ones behind it are as good as ever.
#[test]
fn a_refused_commit_that_rolled_the_log_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 2_048, ..Options::default() };
    let store = Store::open_with(folder.path().join("store"), options).unwrap();
    let (left, right) = (named(&store, "left"), named(&store, "right"));
    store.set_alias(&"taken".parse().unwrap(), right.id()).unwrap();
    for n in 0..100 {
        let (_, bad) = left.submit(|batch| batch.set_alias(&"taken".parse().unwrap())).unwrap();
        let (_, good) = right.submit(|batch| batch.add_annotation(&format!("note-{n}"), None, None)).unwrap();
        assert!(matches!(bad.unwrap().wait(), Err(CommitError::Conflict(_))));
        good.unwrap().wait().unwrap();
    }
    assert!(headwater::segment::list(&store.root().join("blobs")).unwrap().len() > 3, "the log did not roll");
    let events = store.events(right.id()).unwrap();
    assert_eq!((events.len(), store.events(left.id()).unwrap().len()), (103, 3));
    assert_eq!(headwater::care::check(store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
}

/// With the rollback journal every commit changes the main file; it is noted all the same.
#[test]
fn a_store_with_a_rollback_journal_is_trusted_after_a_clean_close() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { journal: Journal::Rollback, ..Options::default() };
    for round in 0..3 {
        let store = Store::open_with(folder.path().join("store"), options()).unwrap();
        assert_eq!(store.report().rebuilt, None, "round {round}");
        turn(&named(&store, &format!("demo-{round}")), "what is 2 + 2?", "4").unwrap();
        store.close().unwrap();
    }
}

/// A power loss leaves the pages of a group in any order: its first is missing, later ones are there. That is a tear
/// of a commit nobody was told of, not damage.
#[test]
fn a_group_whose_first_page_is_missing_is_a_tear() {
    let home = fresh();
    let root = home.store.root().to_owned();
    turn(&named(&home.store, "demo"), "what is 2 + 2?", "4").unwrap();
    let super::tools::Fresh { folder, store } = home;
    store.close().unwrap();
    let segment = root.join("blobs/0000000001.seg");
    let before = std::fs::metadata(&segment).unwrap().len();

    let store = Store::open(&root).unwrap();
    let session = store.open_session(&"demo".parse().unwrap()).unwrap();
    let events = session.counters().event;
    let bytes = |seed: u64| -> Vec<u8> { (0..3_000_u64).map(|n| (n * n * seed + n / 7) as u8).collect() };
    session
        .write(|batch| {
            for seed in [3, 5, 11] {
                let payload = batch.put(&bytes(seed));
                batch.add_annotation("bytes", None, Some(payload))?;
            }
            Ok(())
        })
        .unwrap();
    let torn = folder.path().join("torn");
    std::fs::create_dir_all(torn.join("blobs")).unwrap();
    let mut copy = std::fs::read(&segment).unwrap();
    let from = usize::try_from(before).unwrap();
    copy[from..from + 1_000].fill(0);
    assert!(copy[from + 1_000..].iter().any(|byte| *byte != 0));
    std::fs::write(torn.join("blobs/0000000001.seg"), copy).unwrap();

    let store = Store::open(&torn).unwrap();
    assert_eq!(store.session(&"demo".parse().unwrap()).unwrap().events, events);
    turn(&store.open_session(&"demo".parse().unwrap()).unwrap(), "and 3 + 3?", "6").unwrap();
}

/// A role put together by hand is kept to the rule for roles: what could not be read back is never acknowledged.
#[test]
fn a_role_that_breaks_its_rule_is_refused() {
    use headwater::model::Role;
    let home = fresh();
    let session = named(&home.store, "demo");
    for bad in ["", "a\nb", &"x".repeat(65)] {
        let refused = session.add_message(Role::Other(bad.to_owned()), "hello").commit();
        assert!(matches!(refused, Err(CommitError::BadId(_))), "{bad:?}");
    }
    session.add_message(Role::Other("user".to_owned()), "hello").commit().unwrap();
    assert_eq!(session.view().unwrap().rows.messages[0].row.role, Role::User);
    let report = headwater::care::check(home.store.root(), headwater::care::Mode::Deep).unwrap();
    assert_eq!(report.issues, []);
}

/// Every b-tree is a page of an empty store, and those that a commit touches are written by it.
#[test]
fn an_empty_store_has_few_b_trees() {
    let home = fresh();
    let conn = rusqlite::Connection::open(home.store.root().join("store.sqlite")).unwrap();
    let count = "SELECT count(*) FROM sqlite_schema WHERE rootpage > 0";
    let others: u32 = conn.query_row(count, [], |row| row.get(0)).unwrap();
    assert!(others <= 31, "{others} and the schema's own");
    let pages: u32 = conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let size: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    assert!(pages * size <= 80 << 10, "{pages} pages of {size}");
}

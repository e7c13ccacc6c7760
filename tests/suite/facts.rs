//! Embedder facts: one order for the whole store, appended by compare-and-set where that is wanted.

use headwater::store::{CommitError, Options, Store};

use super::tools::{Make, named, on_both};

on_both! {
    facts_come_back_in_order_as_they_were_given
    a_fact_that_expects_another_last_one_is_refused
    openings_that_append_at_once_leave_no_gap_and_nobody_starves
}

fn facts_come_back_in_order_as_they_were_given(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    assert_eq!((store.last_fact().unwrap(), store.facts_since(0, 10).unwrap()), (0, vec![]));
    let large = vec![7_u8; (4 << 20) + 9];
    let values: [(&str, &[u8]); 4] = [("a", b"1"), ("b", b""), ("a", b"1"), ("tag with \"all\" sorts: é", &large)];
    for ((tag, value), number) in values.iter().zip(1..) {
        assert_eq!(store.append_fact(tag, value, None).unwrap(), number);
    }
    assert_eq!(store.last_fact().unwrap(), 4);
    let facts = store.facts_since(0, 10).unwrap();
    for ((fact, (tag, value)), number) in facts.iter().zip(values).zip(1..) {
        assert_eq!((fact.fact, fact.tag.as_str()), (number, tag));
        assert!(store.blobs().get(&fact.payload).unwrap() == value, "{tag}");
    }
    assert_eq!(store.facts_since(1, 2).unwrap(), facts[1..3]);
    assert_eq!(store.facts_since(4, 2).unwrap(), []);
    assert_eq!(store.facts_since(u64::MAX, usize::MAX).unwrap(), []);
    assert!(facts.windows(2).all(|pair| pair[0].at <= pair[1].at));
    for bad in ["", "a\nb", &"x".repeat(129)] {
        assert!(matches!(store.append_fact(bad, b"", None), Err(CommitError::Invalid(_))), "{bad:?}");
    }
    assert_eq!(store.last_fact().unwrap(), 4);
}

fn a_fact_that_expects_another_last_one_is_refused(make: Make) {
    let home = make(Options::default());
    let store = &home.store;
    let late = |expected: u64| match store.append_fact("a", b"late", Some(expected)) {
        Err(CommitError::StaleFact { expected: told, found }) => {
            assert_eq!(told, expected);
            found
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(late(1), 0);
    assert_eq!(store.append_fact("a", b"first", Some(0)).unwrap(), 1);
    assert_eq!((late(0), late(2), late(u64::MAX)), (1, 1, 1));
    assert_eq!(store.append_fact("a", b"second", Some(1)).unwrap(), 2);
    let tags: Vec<_> = store.facts_since(0, 9).unwrap().iter().map(|fact| fact.payload).collect();
    assert_eq!(tags.len(), 2);
    assert!(!store.blobs().contains(&headwater::model::Digest::of(b"late")).unwrap(), "nothing of it is left");
}

/// Six threads over two openings append while sessions commit: every number is given once, and each thread gets through
/// with its own share, since the number is given inside the group.
fn openings_that_append_at_once_leave_no_gap_and_nobody_starves(make: Make) {
    const EACH: usize = 20;
    let home = make(Options::default());
    let other = Store::open(home.store.root()).unwrap();
    let session = named(&home.store, "demo");
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6_usize)
            .map(|thread| {
                let store = if thread % 2 == 0 { &home.store } else { &other };
                let session = &session;
                scope.spawn(move || {
                    let mut own = Vec::new();
                    for n in 0..EACH {
                        own.push(store.append_fact(&format!("t{thread}"), format!("{n}").as_bytes(), None).unwrap());
                        if thread == 0 {
                            session.add_annotation("note", None).unwrap();
                        }
                    }
                    assert!(own.is_sorted());
                    own
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=6 * EACH as u64), "{numbers:?}");
    let facts = home.store.facts_since(0, usize::MAX).unwrap();
    for thread in 0..6 {
        let own = facts.iter().filter(|fact| fact.tag == format!("t{thread}"));
        let values: Vec<_> = own.map(|fact| home.store.blobs().get(&fact.payload).unwrap()).collect();
        assert!(values.iter().eq((0..EACH).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>().iter()));
    }
}

//! Reading, opening and rebuilding at 1 thousand and 100 thousand events; with `HEADWATER_BENCH_LARGE=1` at 1 million.

mod support;

use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::model::{Call, EventNumber, Status};
use headwater::store::{NewSession, Range, Scope, Store};
use headwater::view::types::TreeLimits;

use support::{folder, grow, name, prose, store_with, ten_events};

fn reads(c: &mut Criterion) {
    let large = std::env::var_os("HEADWATER_BENCH_LARGE").is_some();
    let sizes: &[u64] = if large { &[1_000, 100_000, 1_000_000] } else { &[1_000, 100_000] };
    let mut group = c.benchmark_group("read");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for &events in sizes {
        let folder = folder();
        let root = folder.path().join("store");
        let (store, sessions) = store_with(&root, 1);
        grow(&sessions[0], events);
        drop(sessions);
        store.close().expect("a clean close");

        group.bench_function(format!("open, {events} events"), |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    let start = Instant::now();
                    let store = Store::open(&root).expect("a store");
                    took += start.elapsed();
                    store.close().expect("a clean close");
                }
                took
            });
        });
        let store = Store::open(&root).expect("a store");
        let id = name("s0");
        group.bench_function(format!("last 50 messages, {events} events"), |b| {
            b.iter(|| black_box(store.last_messages(&id, 50).expect("messages")));
        });
        group.bench_function(format!("high_water_counters, {events} events"), |b| {
            b.iter(|| black_box(store.high_water_counters(&id).expect("counters")));
        });
        let last = store.session(&id).expect("a session").events;
        group.bench_function(format!("causal chain, {events} events"), |b| {
            b.iter(|| black_box(store.causal_chain(&id, EventNumber(last), false).expect("a chain")));
        });
        store.close().expect("a clean close");
        if events <= 100_000 {
            group.throughput(Throughput::Elements(events));
            group.bench_function(format!("rebuild, {events} events"), |b| {
                b.iter_custom(|iterations| {
                    let mut took = Duration::ZERO;
                    for _ in 0..iterations {
                        std::fs::remove_file(root.join("store.sqlite")).expect("the rows are gone");
                        let start = Instant::now();
                        let store = Store::open(&root).expect("a store");
                        took += start.elapsed();
                        store.close().expect("a clean close");
                    }
                    took
                });
            });
        }
    }
    group.finish();
}

fn payloads(c: &mut Criterion) {
    let mut group = c.benchmark_group("payload");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let folder = folder();
    let (store, _sessions) = store_with(&folder.path().join("store"), 1);
    let text = prose(7, 1700);
    let digest = store.blobs().put(text.as_bytes()).expect("a payload");
    let path = folder.path().join("bare");
    std::fs::write(&path, &text).expect("a file");
    let bare = std::fs::File::open(&path).expect("a file");
    group.bench_function("get, verified, 1.7 KB", |b| {
        b.iter(|| black_box(store.blobs().get(&digest).expect("the payload")));
    });
    group.bench_function("floor: pread, 1.7 KB", |b| {
        b.iter(|| {
            let mut bytes = vec![0; 1700];
            bare.read_exact_at(&mut bytes, 0).expect("the bytes");
            black_box(bytes)
        });
    });
    group.finish();
}

/// Answers to questions about a session of 10,000 and one of 100,000 events: pages of its rows, what its calls used.
fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("answers");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for events in [10_000, 100_000] {
        let folder = folder();
        let (store, sessions) = store_with(&folder.path().join("store"), 1);
        grow(&sessions[0], events);
        let id = name("s0");
        let middle = events * 3 / 20;
        let pages =
            [("first", Range::of(1, 50)), ("middle", Range::of(middle, middle + 49)), ("last", Range::newest_first())];
        for (what, range) in pages {
            group.bench_function(format!("{what} 50 messages, {events} events"), |b| {
                b.iter(|| {
                    let page = store.messages(&id, Scope::Current, range).expect("messages").take(50);
                    assert_eq!(page.filter(Result::is_ok).count(), 50);
                });
            });
        }
        group.bench_function(format!("last 50 calls, {events} events"), |b| {
            b.iter(|| {
                let calls = store.records::<Call>(&id, Scope::Current, Range::newest_first()).expect("calls");
                assert_eq!(calls.take(50).filter(Result::is_ok).count(), 50);
            });
        });
        group.throughput(Throughput::Elements(events / 5));
        group.bench_function(format!("usage of all calls, {events} events"), |b| {
            b.iter(|| black_box(store.usage(&id).expect("usage")));
        });
        group.bench_function(format!("usage by model, {events} events"), |b| {
            b.iter(|| black_box(store.usage_by_model(&id, true).expect("usage")));
        });
        group.bench_function(format!("usage by turn, {events} events"), |b| {
            b.iter(|| black_box(store.usage_by_turn(&id).expect("usage")));
        });
    }
    group.finish();
}

/// Trees of 100 and of 1,000 children: a part of one costs what the part has.
fn trees(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for children in [100, 1_000] {
        let folder = folder();
        let (store, sessions) = store_with(&folder.path().join("store"), 1);
        for child in 0..children {
            let callee = name(&format!("child-of-s0-{child}"));
            let session = store.create_session(NewSession::named(callee.clone())).expect("a session");
            session.write(|batch| ten_events(batch, child, "")).expect("a batch");
            sessions[0]
                .write(|batch| {
                    let number = batch.start_invocation(Status::new("rlm").expect("a type"), |row| {
                        row.callee = Some(callee.clone())
                    })?;
                    batch.complete_invocation(number, |row| row.status = Status::OK)
                })
                .expect("an invocation");
        }
        let node = |text: &str| store.resolve_node(text).expect("a node");
        let top = node("s0");
        let last = node(&format!("s0/child-{children:04}"));
        let few = TreeLimits { breadth: 10, ..TreeLimits::default() };
        let nodes = |limits| store.tree(&top, limits).expect("a tree").nodes.len();
        group.bench_function(format!("whole, {children} children"), |b| {
            b.iter(|| assert_eq!(nodes(TreeLimits::default()) as u64, children + 1));
        });
        group.bench_function(format!("10 of {children} children"), |b| b.iter(|| assert_eq!(nodes(few), 11)));
        group.bench_function(format!("one by its address, {children} children"), |b| {
            b.iter(|| black_box(store.load_node(&last).expect("a node")));
        });
    }
    group.finish();
}

criterion_group!(benches, reads, payloads, answers, trees);
criterion_main!(benches);

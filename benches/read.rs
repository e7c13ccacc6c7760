//! Reading, opening and rebuilding at 1 thousand and 100 thousand events; with `HEADWATER_BENCH_LARGE=1` at 1 million.

mod support;

use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::model::EventNumber;
use headwater::store::Store;

use support::{folder, grow, name, prose, store_with};

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

criterion_group!(benches, reads, payloads);
criterion_main!(benches);

//! Durable commits: a message of 1 KB from 1, 4, 16 and 64 sessions at once, beside the floors; seal and fork.

mod support;

use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use headwater::model::Role;
use headwater::store::NewSession;

use support::{
    BareRows, ZeroFile, bare_rows_at_once, commit_messages, folder, grow, log_bytes, name, p50, prose, store_with,
};

fn short(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
}

fn commits(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    short(&mut group);
    group.throughput(Throughput::Elements(1));
    let folder = folder();
    let mut seed = 1;
    for sessions in [1, 4, 16, 64] {
        let (store, handles) = store_with(&folder.path().join(format!("store{sessions}")), sessions);
        let (mut times, mut used, mut count) = (Vec::new(), Duration::ZERO, 0);
        group.bench_function(format!("{sessions} sessions"), |b| {
            b.iter_custom(|iterations| {
                let (took, each, busy) = commit_messages(&handles, iterations, &mut seed);
                used += busy;
                count += each.len() as u32;
                times.extend(each);
                // All committed as many as they had to: threads round up.
                took.mul_f64(iterations as f64 / (iterations.div_ceil(sessions as u64) * sessions as u64) as f64)
            });
        });
        println!("    p50 of a caller {:?}, CPU of a commit {:?}", p50(&mut times), used / count);
        drop(handles);
        drop(store);
    }

    let mut file = ZeroFile::new(&folder.path().join("zeros"), 64 << 20);
    let bytes = prose(1, 900);
    group.bench_function("floor: the same bytes into a zero-filled file, fdatasync", |b| {
        b.iter_custom(|iterations| (0..iterations).map(|_| file.write(bytes.as_bytes())).sum());
    });
    let path = folder.path().join("rows.sqlite");
    BareRows::create(&path);
    let mut rows: Vec<BareRows> = (1..=64).map(|sid| BareRows::open(&path, sid)).collect();
    group.bench_function("floor: bare SQLite FULL, the rows alone", |b| {
        b.iter_custom(|iterations| {
            seed += iterations;
            (0..iterations).map(|at| rows[0].commit(seed + at + (1 << 40))).sum()
        });
    });
    group.bench_function("floor: 64 connections, each its own FULL transactions", |b| {
        b.iter_custom(|iterations| {
            let (took, all) = bare_rows_at_once(&mut rows, iterations, &mut seed);
            took.mul_f64(iterations as f64 / all.len() as f64)
        });
    });
    group.finish();
}

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("heads");
    short(&mut group);
    let folder = folder();
    let root = folder.path().join("store");
    let (store, sessions) = store_with(&root, 1);
    let session = &sessions[0];
    grow(session, 1000);
    let mut seed = 1 << 32;
    let mut append = |batch: &mut headwater::store::Batch<'_>| {
        seed += 1;
        batch.add_message(headwater::store::NewMessage::new(Role::Assistant, prose(seed, 1024)))
    };
    group.bench_function("append, for comparison", |b| b.iter(|| session.write(&mut append).expect("a commit")));
    group.bench_function("append and seal", |b| {
        b.iter(|| session.write(|batch| append(batch).and_then(|_| batch.seal())).expect("a head"));
    });
    group.bench_function("seal alone", |b| {
        b.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                session.write(&mut append).expect("a commit");
                let start = Instant::now();
                session.seal().expect("a head");
                took += start.elapsed();
            }
            took
        });
    });
    let head = session.seal().expect("a head");
    let before = log_bytes(&root);
    let mut forks = 0_u64;
    group.bench_function("fork", |b| {
        b.iter(|| {
            forks += 1;
            store.fork(&head, NewSession::named(name(&format!("fork{forks}")))).expect("a fork")
        });
    });
    println!("    a fork adds {} bytes to the log", (log_bytes(&root) - before) / forks);
    group.finish();
}

criterion_group!(benches, commits, heads);
criterion_main!(benches);

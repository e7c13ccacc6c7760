//! The table of docs/BENCHMARKS.md: each work beside its floor, taken in turns so that a busy machine hits both.
//!
//! ```text
//! cargo bench --bench bars -- [commit] [size] [length] [bulk]
//! HEADWATER_BENCH_LARGE=1 cargo bench --bench bars -- length bulk
//! ```
//!
//! `HEADWATER_BENCH_PROSE=FILE` takes the messages of the size test from a file of yours.
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod support;

use std::cell::Cell;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headwater::model::{EventNumber, Role};
use headwater::store::{NewMessage, NewSession, Session, Store};

use support::{
    BareRows, ZeroFile, bare_rows_at_once, commit_messages, commits_and_groups, cpu, folder, grow, log_bytes, name,
    p50, percentile, prose, row_bytes, size_of, store_with,
};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |what: &str| wanted.is_empty() || wanted.iter().any(|arg| arg == what);
    println!("| work | bar | measured | ratio |\n|---|---|---|---|");
    if wants("commit") {
        commit();
    }
    if wants("size") {
        size();
    }
    if wants("length") {
        length();
    }
    if wants("bulk") {
        bulk();
    }
}

fn large() -> bool {
    std::env::var_os("HEADWATER_BENCH_LARGE").is_some()
}

fn row(work: &str, bar: &str, measured: &str, ratio: &str) {
    println!("| {work} | {bar} | {measured} | {ratio} |");
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Runs the works in turns; the middle time of each.
fn in_turns<const N: usize>(rounds: usize, mut works: [&mut dyn FnMut() -> Duration; N]) -> [Duration; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds {
        for (work, times) in works.iter_mut().zip(&mut times) {
            times.push(work());
        }
    }
    times.map(|mut times| p50(&mut times))
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn commit() {
    let folder = folder();
    let root = folder.path().join("one");
    let (store, one) = store_with(&root, 1);
    let mut seed = 1;
    commit_messages(&one, 200, &mut seed);
    let (log, count) = (log_bytes(&root), 500);
    commit_messages(&one, count, &mut seed);
    let bytes = vec![b'x'; ((log_bytes(&root) - log) / count) as usize];
    let mut zeros = ZeroFile::new(&folder.path().join("zeros"), 16 << 20);
    let path = folder.path().join("rows.sqlite");
    BareRows::create(&path);
    let mut rows = BareRows::open(&path, 1);
    let mut texts = (0..).map(|at| prose(at + (1 << 40), 1024));
    let [mut used, mut zero_used, mut rows_used] = [Duration::ZERO; 3];
    let rounds = 1500;
    let [store_time, zero_time, rows_time] = in_turns(
        rounds,
        [
            &mut || {
                let text = texts.next().unwrap_or_default();
                let before = cpu();
                let time = timed(|| one[0].add_message(Role::Assistant, text).commit().expect("a commit"));
                used += cpu() - before;
                time
            },
            &mut || {
                let before = cpu();
                let time = zeros.write(&bytes);
                zero_used += cpu() - before;
                time
            },
            &mut || {
                seed += 1;
                let before = cpu();
                let time = rows.commit(seed);
                rows_used += cpu() - before;
                time
            },
        ],
    );
    let (commits, groups) = commits_and_groups(&root);
    row(
        "durable commit of a 1 KB message, one session: p50",
        "<= 1.4 x the same bytes, fdatasync",
        &format!("{:.0} us, {:.0} us", us(store_time), us(zero_time)),
        &format!("{:.2}", us(store_time) / us(zero_time)),
    );
    row(
        "the same against bare SQLite FULL, the rows alone",
        "< 1",
        &format!("{:.0} us, {:.0} us", us(store_time), us(rows_time)),
        &format!("{:.2}", us(store_time) / us(rows_time)),
    );
    let each = |used: Duration| us(used) / rounds as f64;
    row(
        "the same: CPU; of the bare write and sync; of the bare rows",
        "<= 40 us",
        &format!("{:.0} us, {:.0} us, {:.0} us", each(used), each(zero_used), each(rows_used)),
        "",
    );
    row("the same: data syncs of the log a commit", "1.0", &format!("{:.3}", groups as f64 / commits as f64), "");
    drop(one);
    drop(store);

    let mut connections: Vec<BareRows> = (2..=65).map(|sid| BareRows::open(&path, sid)).collect();
    for sessions in [4, 16, 64] {
        let root = folder.path().join(format!("store{sessions}"));
        let (store, handles) = store_with(&root, sessions);
        commit_messages(&handles, 2_000, &mut seed);
        let (commits, groups) = commits_and_groups(&root);
        let (mut ours, mut floor, mut used) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let (mut times, mut floor_times) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let (took, each, busy) = commit_messages(&handles, 6_400, &mut seed);
            used += busy;
            ours += took;
            times.extend(each);
            let (took, each) = bare_rows_at_once(&mut connections[..sessions], 320, &mut seed);
            floor += took;
            floor_times.extend(each);
        }
        let rate = |times: &[Duration], took: Duration| times.len() as f64 / took.as_secs_f64();
        let (ours, floor) = (rate(&times, ours), rate(&floor_times, floor));
        let after = commits_and_groups(&root);
        row(
            &format!("{sessions} sessions committing at once"),
            if sessions == 64 { ">= 20 x as many connections, each FULL" } else { "" },
            &format!("{ours:.0}/s, {floor:.0}/s"),
            &format!("{:.1}", ours / floor),
        );
        row(
            &format!("{sessions} sessions: syncs a commit; p50, p99; CPU a commit"),
            if sessions == 64 { "<= 0.05" } else { "" },
            &format!(
                "{:.3}; {:.0} us, {:.0} us; {:.0} us",
                (after.1 - groups) as f64 / (after.0 - commits) as f64,
                us(p50(&mut times)),
                us(percentile(&mut times, 99)),
                us(used) / times.len() as f64
            ),
            "",
        );
        drop(handles);
        drop(store);
    }
}

/// What a closed store takes on disk.
struct Sizes {
    log: u64,
    rows: u64,
    all: u64,
}

fn sizes(store: Store, root: &Path) -> Sizes {
    store.close().expect("a clean close");
    Sizes { log: log_bytes(root), rows: row_bytes(root), all: size_of(root) }
}

fn size() {
    let folder = folder();
    let text = std::env::var_os("HEADWATER_BENCH_PROSE").map(|path| std::fs::read(path).expect("the file"));
    let message = |at: usize| match &text {
        Some(text) => text[(at * 1024) % (text.len() - 1024)..][..1024].to_vec(),
        None => prose(at as u64 + 1, 1024).into_bytes(),
    };
    let root = folder.path().join("steps");
    let (store, sessions) = store_with(&root, 1);
    for at in 0..1000 {
        let step = |batch: &mut headwater::store::Batch<'_>| {
            batch.add_message(NewMessage::new(Role::Assistant, message(at)))?;
            batch.seal()
        };
        sessions[0].write(step).expect("a step");
    }
    drop(sessions);
    let steps = sizes(store, &root);
    row(
        "1,000 steps, each a 1 KB message and a head",
        "<= 1.6 MB",
        &format!(
            "{:.2} MB: log {:.2}, rows {:.2}",
            steps.all as f64 / 1e6,
            steps.log as f64 / 1e6,
            steps.rows as f64 / 1e6
        ),
        "",
    );

    let root = folder.path().join("messages");
    let (store, sessions) = store_with(&root, 1);
    for at in 0..1000 {
        sessions[0].add_message(Role::Assistant, message(at)).commit().expect("a commit");
    }
    drop(sessions);
    let messages = sizes(store, &root);
    row(
        "a head: bytes added to log and rows",
        "<= 700",
        &format!("{} + {}", (steps.log - messages.log) / 1000, (steps.rows.saturating_sub(messages.rows)) / 1000),
        "",
    );

    for branches in [0, 1000] {
        let root = folder.path().join(format!("forks{branches}"));
        let (store, sessions) = store_with(&root, 1);
        let session = &sessions[0];
        session.add_message(Role::User, "hello").commit().expect("a commit");
        let mut head = session.seal().expect("a head");
        drop(sessions);
        for at in 0..branches {
            let fork = store.fork(&head, NewSession::named(name(&format!("branch{at:04}")))).expect("a fork");
            fork.add_message(Role::User, format!("{at}")).commit().expect("a commit");
            head = fork.seal().expect("a head");
        }
        let target = store.create_session(NewSession::named(name("target"))).expect("a session");
        let mut zeros = ZeroFile::new(&folder.path().join(format!("zeros{branches}")), 8 << 20);
        let (bytes, mut at, mut seed) = (vec![b'x'; 700], 0, 1_u64 << 50);
        let [fork, append, sync] = in_turns(
            1000,
            [
                &mut || {
                    at += 1;
                    let new = NewSession::named(name(&format!("fork{at:04}")));
                    timed(|| store.fork(&head, new).expect("a fork"))
                },
                &mut || {
                    seed += 1;
                    timed(|| target.add_message(Role::User, format!("{seed:020}")).commit().expect("a commit"))
                },
                &mut || zeros.write(&bytes),
            ],
        );
        let ratio = (us(fork) - us(sync)) / (us(append) - us(sync));
        row(
            &format!("a fork with {branches} branch points behind it, without its sync"),
            "<= 3 x an append",
            &format!("{:.0} us, {:.0} us, sync {:.0} us", us(fork), us(append), us(sync)),
            &format!("{ratio:.1}"),
        );
        drop(target);
        store.close().expect("a clean close");
        // The bytes of forks alone.
        let before = (log_bytes(&root), row_bytes(&root));
        let store = Store::open(&root).expect("a store");
        for at in 0..1000 {
            let new = NewSession::named(name(&format!("more{at:04}")));
            drop(store.fork(&head, new).expect("a fork"));
        }
        store.close().expect("a clean close");
        row(
            "the same: bytes added to log and rows",
            "<= 1,500",
            &format!("{} + {}", (log_bytes(&root) - before.0) / 1000, (row_bytes(&root) - before.1) / 1000),
            "",
        );
    }
}

/// A session of `events` events in a store of its own, opened anew.
fn long(root: &Path, events: u64) -> (Store, Session) {
    let (store, sessions) = store_with(root, 1);
    grow(&sessions[0], events);
    drop(sessions);
    store.close().expect("a clean close");
    let store = Store::open(root).expect("a store");
    let session = store.open_session(&name("s0")).expect("a session");
    (store, session)
}

fn length() {
    let events: u64 = if large() { 1_000_000 } else { 100_000 };
    let folder = folder();
    let (short_root, long_root) = (folder.path().join("short"), folder.path().join("long"));
    let (short, a) = long(&short_root, 1_000);
    let (long, b) = long(&long_root, events);
    let id = name("s0");
    let seed = Cell::new(1_u64 << 52);
    let report = |work: &str, bar: &str, [short, long]: [Duration; 2]| {
        row(
            &format!("{work} at event {events} against event 1,000"),
            bar,
            &format!("{:.0} us, {:.0} us", us(long), us(short)),
            &format!("{:.2}", us(long) / us(short)),
        );
    };
    let append = |session: &Session| {
        seed.set(seed.get() + 1);
        let text = prose(seed.get(), 1024);
        timed(|| session.add_message(Role::Assistant, text).commit().expect("a commit"))
    };
    report("append", "<= 1.2", in_turns(600, [&mut || append(&a), &mut || append(&b)]));
    let seal = |session: &Session| {
        append(session);
        timed(|| session.seal().expect("a head"))
    };
    let mut seal_a = Vec::new();
    let mut seal_b = Vec::new();
    for _ in 0..400 {
        seal_a.push(seal(&a));
        seal_b.push(seal(&b));
    }
    report("seal", "<= 1.2", [p50(&mut seal_a), p50(&mut seal_b)]);
    let (head_a, head_b) = (a.seal().expect("a head"), b.seal().expect("a head"));
    let mut forks = 0;
    let mut fork = |store: &Store, head| {
        forks += 1;
        let new = NewSession::named(name(&format!("fork{forks}")));
        timed(|| store.fork(head, new).expect("a fork"))
    };
    let (mut fork_a, mut fork_b) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        fork_a.push(fork(&short, &head_a));
        fork_b.push(fork(&long, &head_b));
    }
    report("fork", "<= 1.2", [p50(&mut fork_a), p50(&mut fork_b)]);
    let last = |store: &Store| timed(|| store.last_messages(&id, 50).expect("messages"));
    report("last 50 messages", "<= 1.2; <= 1 ms", in_turns(500, [&mut || last(&short), &mut || last(&long)]));
    let counters = |store: &Store| timed(|| store.high_water_counters(&id).expect("counters"));
    report("counters", "<= 1.2; <= 50 us", in_turns(1000, [&mut || counters(&short), &mut || counters(&long)]));
    let chain = |store: &Store, event| timed(|| store.causal_chain(&id, EventNumber(event), false).expect("a chain"));
    report("causal chain", "<= 5 ms", in_turns(200, [&mut || chain(&short, 500), &mut || chain(&long, events / 2)]));
    drop((a, b));
    short.close().expect("a clean close");
    long.close().expect("a clean close");

    let open = |root: &Path| {
        let start = Instant::now();
        let store = Store::open(root).expect("a store");
        let time = start.elapsed();
        store.close().expect("a clean close");
        time
    };
    report("open of a clean store", "<= 10 ms", in_turns(20, [&mut || open(&short_root), &mut || open(&long_root)]));
    let show = |root: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.arg("--store").arg(root).args(["show", "s0"]).stdout(std::process::Stdio::null());
        timed(|| command.status().expect("the command"))
    };
    report(
        "`headwater show`, a fresh process",
        "<= 30 ms",
        in_turns(10, [&mut || show(&short_root), &mut || show(&long_root)]),
    );

    std::fs::remove_file(long_root.join("store.sqlite")).expect("the rows are gone");
    let start = Instant::now();
    let long = Store::open(&long_root).expect("a store");
    let took = start.elapsed();
    let rate = long.session(&id).expect("a session").events as f64 / took.as_secs_f64();
    row("rebuild of the rows", ">= 150,000 events/s", &format!("{rate:.0} events/s"), "");

    let text = prose(7, 1700);
    let digest = long.blobs().put(text.as_bytes()).expect("a payload");
    let path = folder.path().join("bare");
    std::fs::write(&path, &text).expect("a file");
    let file = std::fs::File::open(&path).expect("a file");
    let many = |work: &mut dyn FnMut()| timed(|| (0..100).for_each(|_| work()));
    let [get, bare] = in_turns(
        200,
        [
            &mut || {
                many(&mut || {
                    black_box(long.blobs().get(&digest).expect("the payload"));
                })
            },
            &mut || {
                many(&mut || {
                    let mut bytes = vec![0; 1700];
                    file.read_exact_at(&mut bytes, 0).expect("the bytes");
                    black_box(bytes);
                })
            },
        ],
    );
    row(
        "payload get, hot, verified, 1.7 KB",
        "<= 3 x pread",
        &format!("{:.2} us, {:.2} us", us(get) / 100.0, us(bare) / 100.0),
        &format!("{:.1}", us(get) / us(bare)),
    );
}

/// Events of which three in ten have a payload of 1.7 KB, in batches of a thousand; against the same as JSON lines.
fn bulk() {
    let events: u64 = if large() { 1_000_000 } else { 100_000 };
    let folder = folder();
    let texts: Vec<String> = (0..events * 3 / 10).map(|at| prose(at + (1 << 44), 1700)).collect();
    let (store, sessions) = store_with(&folder.path().join("store"), 1);
    let start = Instant::now();
    let mut left = texts.chunks(300);
    for _ in 0..events / 1000 {
        let texts = left.next().unwrap_or_default();
        sessions[0]
            .write(|batch| {
                for text in texts {
                    batch.add_message(NewMessage::new(Role::Assistant, text.as_str()))?;
                }
                for _ in 0..700 {
                    batch.add_annotation("step", None, None)?;
                }
                Ok(())
            })
            .expect("a batch");
    }
    let ours = start.elapsed();
    drop(sessions);
    drop(store);

    let start = Instant::now();
    let mut file = BufWriter::new(std::fs::File::create(folder.path().join("log.jsonl")).expect("a file"));
    let mut texts = texts.iter();
    for event in 0..events {
        let text = if event % 10 < 3 { texts.next().map_or("", String::as_str) } else { "" };
        let line = serde_json::json!({
            "event/id": event, "event/type": "message/added", "event/session": "s0",
            "event/at": "2026-01-01T00:00:00.000000Z", "event/row-kind": "message", "text": text,
        });
        serde_json::to_writer(&mut file, &line).expect("a line");
        file.write_all(b"\n").expect("a line");
    }
    file.into_inner().expect("the file").sync_all().expect("a sync");
    let floor = start.elapsed();
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    row(
        &format!("bulk append of {events} events, three in ten with a payload of 1.7 KB"),
        ">= 0.65 x JSON lines, one fsync",
        &format!("{:.0}/s, {:.0}/s", rate(ours), rate(floor)),
        &format!("{:.2}", rate(ours) / rate(floor)),
    );
}

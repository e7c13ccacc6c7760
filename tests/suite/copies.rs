//! Copies of a live store: each opens to a correct store that holds all that was acknowledged before the copy began.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use headwater::care::{self, Mode};
use headwater::model::{EventNumber, Role};
use headwater::store::{Options, Store};

use super::tools::named;

const ROUNDS: u64 = 21;

fn copy(from: &Path, to: &Path, what: &[&str]) {
    std::fs::create_dir(to).unwrap();
    for name in what {
        // A file may vanish while it is copied; only what stays must be whole.
        let _ = Command::new("cp").arg("-r").arg(from.join(name)).arg(to).output().unwrap();
    }
    assert!(to.join("blobs").is_dir());
}

fn opens(root: &PathBuf, acknowledged: u64) {
    let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
    let id = "demo".parse().unwrap();
    let events = store.events(&id).unwrap();
    assert!(events.len() as u64 >= acknowledged, "{} of {acknowledged}: {:?}", events.len(), store.report());
    assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
    assert_eq!(store.event_view(&id).unwrap().rows, Store::fold(&events));
    for entry in store.event_view(&id).unwrap().rows.messages {
        store.blobs().get(&entry.row.content).unwrap();
    }
    store.close().unwrap();
    let report = care::check(root, Mode::Deep).unwrap();
    assert!(report.issues.is_empty(), "{:?}", report.issues);
}

#[test]
fn a_copy_of_a_live_store_holds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    // Small segments and a small WAL: rolls and checkpoints happen under the copying.
    let options = Options { segment_size: 256 << 10, wal_size: 64 << 10, ..Options::default() };
    let store = Store::open_with(folder.path().join("store"), options).unwrap();
    let session = named(&store, "demo");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(3));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                session.add_message(Role::User, format!("message {n} {}", "x".repeat(n % 900))).commit().unwrap();
                if n % 20 == 0 {
                    session.seal().unwrap();
                }
                acknowledged.store(session.counters().event, Ordering::SeqCst);
                n += 1;
            }
        });
        for round in 0..ROUNDS {
            let before = acknowledged.load(Ordering::SeqCst);
            let to = folder.path().join(format!("copy-{round}"));
            match round % 3 {
                0 => {
                    copy(store.root(), &to, &["blobs", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "mark"])
                }
                1 => copy(store.root(), &to, &["blobs"]),
                _ => copy(store.root(), &to, &["store.sqlite", "blobs", "mark"]),
            }
            opens(&to, before);
            std::fs::remove_dir_all(&to).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

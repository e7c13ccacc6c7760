//! Long work tells how far it is: a rebuild of the rows, and a check.

use std::sync::{Arc, Mutex};

use headwater::care::{self, Mode};
use headwater::model::Role;
use headwater::progress::{Observer, Progress};
use headwater::store::{NewSession, Options, Store};

/// An observer, and what it was told.
fn told() -> (Observer, Arc<Mutex<Vec<Progress>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    (Observer::new(move |progress| list.lock().unwrap().push(progress)), told)
}

/// That each stage goes forward, to its end and not beyond it.
fn went_to_its_end(told: &[Progress], stage: &str) {
    let steps: Vec<_> = told.iter().filter(|progress| progress.stage == stage).collect();
    assert!(steps.len() > 10, "{stage}: {steps:?}");
    assert!(steps.windows(2).all(|pair| pair[0].done <= pair[1].done), "{stage}: {steps:?}");
    let last = steps[steps.len() - 1];
    assert!(last.done <= last.total && last.done * 10 > last.total * 9, "{stage}: {last:?}");
}

#[test]
fn a_rebuild_and_a_check_tell_how_far_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let small = Options { segment_size: 1 << 20, zero_fill: false, ..Options::default() };
    let store = Store::open_with(&root, small.clone()).unwrap();
    let session = store.create_session(NewSession::named("demo".parse().unwrap())).unwrap();
    for n in 0_u32..30 {
        // Bytes that do not compress: the log goes over several segments.
        let noise: Vec<u8> =
            (0..60_000_u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(n) >> 13) as u8).collect();
        let text: String = noise.iter().map(|byte| char::from(33 + byte % 90)).collect();
        session.add_message(Role::User, format!("{n} {text}")).commit().unwrap();
    }
    session.close().unwrap();
    store.close().unwrap();
    let (observer, checked) = told();
    let report = care::check_observed(&root, Mode::Deep, &observer).unwrap();
    assert!(report.issues.is_empty(), "{report:?}");
    let checked = checked.lock().unwrap();
    went_to_its_end(&checked, "reading the log");
    went_to_its_end(&checked, "making the rows anew");
    went_to_its_end(&checked, "comparing the rows");
    std::fs::remove_file(root.join("store.sqlite")).unwrap();
    let (observer, rebuilt) = told();
    let store = Store::open_with(&root, Options { observer, ..small }).unwrap();
    assert!(store.report().rebuilt.is_some());
    went_to_its_end(&rebuilt.lock().unwrap(), "rebuilding the rows from the log");
}

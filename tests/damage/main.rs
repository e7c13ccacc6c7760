//! Damage to the files of a small store: bits flipped, files cut, zeroed, missing, swapped, taken from another store.
//!
//! Of each damage either the check tells, or it changes nothing that can be read: that is proven by opening the damaged
//! store, its database trusted as it is, and reading everything. Nothing may panic or hang.
//!
//! `HEADWATER_DAMAGE=5` tries five times as many places, `all` every bit and every length; `HEADWATER_SEED`
//! says which. What fails stays in its folder.

mod content;
#[path = "../support/fill.rs"]
mod fill;
mod judge;
#[path = "../support/ledger.rs"]
mod ledger;
#[path = "../support/note.rs"]
mod note;
mod places;
mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use headwater::care::{self, Mode};
use headwater::store::{OpenError, Options, Store};

use judge::{Judge, Outcome};
use places::{Kind, Place};
use samples::Samples;

/// Both stores, each by two threads, which take turns at the damages: one store's take longer than the other's.
/// At least so many damages are tried, and so many codes are told of them.
fn on_both(name: &str, (least, kinds): (u64, usize), run: impl Fn(&mut Judge, &mut Samples) + Sync) {
    let mut told = BTreeMap::new();
    let start = std::time::Instant::now();
    let seed = Samples::new(0).seed;
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = [Kind::Closed, Kind::Open]
            .into_iter()
            .flat_map(|kind| {
                let place = Place::new(kind);
                [(kind, 0, place.twin()), (kind, 1, place)]
            })
            .map(|(kind, half, place)| {
                scope.spawn(move || {
                    let mut judge = Judge::half(place, half);
                    run(&mut judge, &mut Samples::of(seed, kind as u64));
                    (kind, judge.finish())
                })
            })
            .collect();
        for thread in threads {
            let (kind, outcomes) = thread.join().expect("a failure is told above");
            println!("{name}, {kind:?} store, seed {seed}: {outcomes:?}");
            for (outcome, count) in outcomes {
                *told.entry(outcome).or_insert(0) += count;
            }
        }
    });
    let damages = told.values().sum::<u64>();
    let codes: BTreeSet<&str> = told.keys().filter_map(Outcome::code).collect();
    assert!(damages >= least && codes.len() >= kinds, "{name}: {damages} damages came to {told:?}");
    let harmless = told.get(&Outcome::Harmless).copied().unwrap_or(0);
    println!("{name}: {damages} damages in {:?}", start.elapsed());
    let what = format!("{damages} damages, of which {} were told and {harmless} changed nothing", damages - harmless);
    ledger::note(&format!("damage: {name}"), &what, seed);
}

#[test]
fn a_flipped_bit_is_told_or_changes_nothing() {
    on_both("flips", (5_000, 5), |judge, samples| {
        let total: u64 = judge.place.files().iter().map(|file| file.bytes.len() as u64).sum();
        let mut flips = samples.spread(total, 8, 12_500).into_iter().peekable();
        let mut before = 0;
        for file in judge.place.files() {
            let end = before + file.bytes.len() as u64;
            while let Some((at, bit)) = flips.next_if(|(at, _)| *at < end) {
                let at = usize::try_from(at - before).unwrap();
                let what = format!("bit {bit} of byte {at} of {} flipped", file.name);
                judge.place.put(&file.name, at, file.bytes[at] ^ (1 << bit));
                judge.judge(&what);
                judge.place.put(&file.name, at, file.bytes[at]);
            }
            before = end;
        }
    });
}

#[test]
fn a_file_cut_anywhere_is_told_or_changes_nothing() {
    on_both("cuts", (500, 3), |judge, samples| {
        for file in judge.place.files() {
            let len = file.bytes.len() as u64;
            for (at, _) in samples.spread(len, 1, 400) {
                judge.place.write(&file.name, &file.bytes[..usize::try_from(at).unwrap()]);
                judge.judge(&format!("{} cut to {at} bytes", file.name));
            }
            judge.place.write(&file.name, &file.bytes);
        }
    });
}

#[test]
fn a_zeroed_sector_is_told_or_changes_nothing() {
    on_both("zeroed sectors", (400, 4), |judge, _| {
        for file in judge.place.files() {
            for start in (0..file.bytes.len()).step_by(512) {
                let mut bytes = file.bytes.clone();
                let end = bytes.len().min(start + 512);
                bytes[start..end].fill(0);
                judge.place.write(&file.name, &bytes);
                judge.judge(&format!("bytes {start} to {end} of {} zeroed", file.name));
            }
            judge.place.write(&file.name, &file.bytes);
        }
    });
}

#[test]
fn missing_swapped_and_foreign_files_are_told_or_change_nothing() {
    let other = Place::of_another_store();
    on_both("files", (15, 4), |judge, _| {
        let files = judge.place.files();
        for file in &files {
            judge.place.remove(&file.name);
            judge.judge(&format!("{} missing", file.name));
            judge.place.write(&file.name, &[]);
            judge.judge(&format!("{} empty", file.name));
            for foreign in other.files().iter().filter(|foreign| foreign.name == file.name) {
                judge.place.write(&file.name, &foreign.bytes);
                judge.judge(&format!("{} of another store", file.name));
            }
            judge.place.write(&file.name, &file.bytes);
        }
        for (n, left) in files.iter().enumerate() {
            for right in &files[n + 1..] {
                judge.place.write(&left.name, &right.bytes);
                judge.place.write(&right.name, &left.bytes);
                judge.judge(&format!("{} and {} swapped", left.name, right.name));
                judge.place.write(&left.name, &left.bytes);
                judge.place.write(&right.name, &right.bytes);
            }
        }
        let foreign = other.files().into_iter().find(|file| file.name == "store.sqlite-wal").unwrap();
        judge.place.write(&foreign.name, &foreign.bytes);
        judge.judge("the WAL of another database");
        judge.place.restore();
    });
}

/// What a damaged database was not trusted for is made again from the log, whatever the damage.
#[test]
fn an_untrusted_database_is_made_again_from_the_log() {
    let mut place = Place::new(Kind::Open);
    let whole = content::of(&place.root).unwrap();
    let mut samples = Samples::new(7);
    println!("seed {}", samples.seed);
    for file in place.files().into_iter().filter(|file| file.name.starts_with("store.sqlite")) {
        for (at, bit) in samples.spread(file.bytes.len() as u64, 8, 40) {
            place.restore();
            let at = usize::try_from(at).unwrap();
            place.put(&file.name, at, file.bytes[at] ^ (1 << bit));
            place.distrust();
            let store = Store::open_with(&place.root, Options { create: false, ..Options::default() }).unwrap();
            assert!(store.report().rebuilt.is_some());
            store.close().unwrap();
            assert!(care::check(&place.root, Mode::Deep).unwrap().issues.is_empty());
            let read = content::of(&place.root);
            if read.as_ref() != Ok(&whole) {
                let kept = place.keep();
                panic!("{} byte {at} bit {bit}: {:?} in {}", file.name, read.map(|_| "other content"), kept.display());
            }
        }
    }
}

/// A log shorter than a trusted database knows is damage, to the opening already.
#[test]
fn a_log_cut_before_what_was_acknowledged_is_an_error() {
    let place = Place::new(Kind::Closed);
    let last = place.files().into_iter().rfind(|file| file.name.ends_with(".seg")).unwrap();
    place.write(&last.name, &last.bytes[..last.bytes.len() - 1]);
    place.trust();
    let opened = Store::open_with(&place.root, Options { create: false, ..Options::default() });
    assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{:?}", opened.err());
    assert_eq!(fs::read(place.root.join(&last.name)).unwrap().len(), last.bytes.len() - 1, "nothing was changed");
}

/// Without this the tests above could pass by telling always, or never.
#[test]
fn the_judge_tells_good_from_bad() {
    for kind in [Kind::Closed, Kind::Open] {
        let mut judge = Judge::new(Place::new(kind));
        assert_eq!(judge.judge("nothing at all"), Some(Outcome::Harmless));
        let log = judge.place.files().into_iter().find(|file| file.name.ends_with(".seg")).unwrap();
        judge.place.put(&log.name, 200, !log.bytes[200]);
        assert!(matches!(judge.judge("a byte of the log"), Some(Outcome::Told(_))));
        judge.place.restore();
        judge.place.lie();
        assert_eq!(judge.judge("a row"), Some(Outcome::Told("row-differs".to_owned())));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge.prove("a lie"))).is_err());
        // It was kept for whoever looks into a failure, and this is none.
        fs::remove_dir_all(judge.place.root.parent().unwrap()).unwrap();
    }
}

//! Hostile bytes, for a moment of every run: the sound inputs of each target, then mutations of them from a printed seed.
//!
//! Each target runs in a process of its own that may take half a gigabyte; an input that panics, takes more, or takes longer
//! than a second of computing is kept in the folder that the failure names. `HEADWATER_FUZZ_SECONDS` says how long each
//! target runs (10), `HEADWATER_SEED` which mutations; `HEADWATER_FUZZ_SEEDS=1` writes the sound inputs to `fuzz/corpus/`,
//! for libFuzzer (fuzz/README.md).

#[path = "../support/archive.rs"]
mod archive;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/ledger.rs"]
mod ledger;
#[path = "../support/note.rs"]
mod note;
mod seeds;
mod targets;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use targets::TARGETS;

/// What one input may take beyond what the process has.
const MEMORY: u64 = 512 << 20;
const COMPUTING: Duration = Duration::from_secs(1);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// A few changes: bits, bytes, words, pieces taken out, doubled, or from another input.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len());
        let piece = at..(at + 1 + random.below(32)).min(input.len()).max(at);
        match random.below(9) {
            0 | 1 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            2 if !input.is_empty() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\n'][random.below(7)],
            3 => {
                let word = seeds::WORDS[random.below(seeds::WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            4 => {
                input.drain(piece);
            }
            5 => {
                let doubled = input[piece].to_vec();
                input.splice(at..at, doubled);
            }
            6 => input.truncate(at),
            7 if !other.is_empty() => {
                let from = random.below(other.len());
                let to = (from + 1 + random.below(200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ if input.len() >= at + 8 => {
                let number = [0, 1, u64::MAX, 1 << 63, 1 << 32, 0x7fff_ffff, random.next()][random.below(7)];
                let len = [1, 2, 4, 8][random.below(4)];
                input[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
            }
            _ => {}
        }
    }
}

fn computed() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The process of a target: its inputs one by one, each written down before it is run.
#[test]
fn child() {
    let Ok(name) = std::env::var("HEADWATER_FUZZ_TARGET") else { return };
    let last = std::env::var("HEADWATER_FUZZ_LAST").unwrap();
    let seconds = std::env::var("HEADWATER_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut random = Random(std::env::var("HEADWATER_SEED").unwrap().parse().unwrap());
    let (_, target) = TARGETS.iter().chain(&CONTROLS).find(|(known, _)| *known == name).expect("a target of that name");
    let seeds = seeds::of(&name);
    let size = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = size.split(' ').next().unwrap().parse().unwrap();
    let most = Some(pages * 4096 + MEMORY);
    setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
    let run = |input: &[u8]| {
        fs::write(&last, input).unwrap();
        let before = computed();
        target(input);
        let took = computed() - before;
        assert!(took < COMPUTING, "an input took {took:?}");
    };
    let start = Instant::now();
    let mut inputs = 0;
    seeds.iter().for_each(|seed| run(seed));
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut input = seeds[random.below(seeds.len())].clone();
        mutate(&mut input, &seeds[random.below(seeds.len())], &mut random);
        run(&input);
        inputs += 1;
    }
    assert!(inputs > 0, "the sound inputs took all the time");
    println!("{name}: {} sound inputs, {inputs} mutated", seeds.len());
}

fn fuzz(name: &str) {
    if std::env::var_os("HEADWATER_FUZZ_SEEDS").is_some() {
        write_seeds(name);
    }
    let seed: u64 = match std::env::var("HEADWATER_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => seed,
        None => RandomState::new().hash_one(name) >> 16,
    };
    let folder = targets::folder();
    let last = folder.path().join("input");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture"])
        .env("HEADWATER_FUZZ_TARGET", name)
        .env("HEADWATER_FUZZ_LAST", &last);
    command
        .env("HEADWATER_SEED", seed.to_string())
        .env("HEADWATER_FUZZ_COMMAND", assert_cmd::cargo::cargo_bin!("headwater"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let kept = folder.keep().join("input");
        panic!("{name}, seed {seed}: {}; the input is {}\n{said}", output.status, kept.display());
    }
    let line = told.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).expect("it says what it did");
    println!("{name}: {line}, seed {seed}");
    ledger::note(&format!("fuzz: {name}"), line, seed);
}

fn write_seeds(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    fs::create_dir_all(&folder).unwrap();
    for (number, seed) in seeds::of(name).iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
    }
}

#[test]
fn frames_of_any_bytes() {
    fuzz("frame");
}

#[test]
fn commits_of_any_bytes() {
    fuzz("commit");
}

#[test]
fn json_of_any_bytes() {
    fuzz("json");
}

#[test]
fn names_of_any_bytes() {
    fuzz("names");
}

#[test]
fn sources_of_any_bytes() {
    fuzz("import");
}

#[test]
fn arguments_of_any_bytes() {
    fuzz("arguments");
}

#[test]
fn stores_of_any_bytes() {
    fuzz("store");
}

/// Targets with a defect, each met at the input of that name; the first one has none.
const CONTROLS: [(&str, targets::Target); 4] = [
    ("none", |_| {}),
    ("panics", |input| assert_ne!(input, b"panics", "a defect")),
    ("is-slow", |input| {
        let start = computed();
        while input == b"is-slow" && computed() - start < COMPUTING + Duration::from_millis(50) {}
    }),
    ("is-greedy", |input| {
        if input == b"is-greedy" {
            std::hint::black_box(vec![1_u8; (MEMORY + (64 << 20)) as usize]);
        }
    }),
];

/// Without this all of the above could pass by never running anything, or by not looking at what it comes to.
#[test]
fn a_target_that_fails_is_told() {
    for (name, words) in [
        ("none", None),
        ("panics", Some("a defect")),
        ("is-slow", Some("an input took 1.")),
        ("is-greedy", Some("memory allocation of ")),
        ("nobody", Some("a target of that name")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let last = folder.path().join("input");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child", "--exact", "--nocapture"]).env("HEADWATER_FUZZ_TARGET", name);
        command.env("HEADWATER_SEED", "1").env("HEADWATER_FUZZ_SECONDS", "1").env("HEADWATER_FUZZ_LAST", &last);
        let output = command.output().unwrap();
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), words.is_none(), "{name}: {told}{said}");
        match words {
            None => assert!(told.contains("none: 1 sound inputs, "), "{told}"),
            Some(words) => assert!(said.contains(words), "{name}: {said}"),
        }
        if let "panics" | "is-slow" | "is-greedy" = name {
            assert_eq!(fs::read(&last).unwrap(), name.as_bytes(), "the input that did it is kept");
        }
    }
}

/// What is mutated is sound: each target gets as far with it as it can get. Of what is refused at once, no mutation shows much.
#[test]
fn the_sound_inputs_are_sound() {
    let folder = targets::folder();
    let mut formats = std::collections::BTreeSet::new();
    for seed in seeds::made("import") {
        let place = targets::folder();
        let file = place.path().join("source.jsonl");
        fs::write(&file, &seed).unwrap();
        let store = headwater::store::Store::open(place.path().join("store")).unwrap();
        let imported = headwater::exchange::import(&store, &file);
        let imported = imported.unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&seed)));
        formats.insert(imported.format);
    }
    assert!(formats.len() >= 5, "{formats:?}");
    for seed in seeds::made("json") {
        assert!(headwater::model::canonical::canonicalize(&seed).is_ok(), "{}", String::from_utf8_lossy(&seed));
    }
    let commits = seeds::made("commit").iter().filter(|seed| headwater::journal::Commit::decode(seed).is_ok()).count();
    assert!(commits >= 20, "{commits} commits");
    let root = folder.path().join("segment");
    fs::create_dir(&root).unwrap();
    let frames = seeds::made("frame").iter().map(|seed| targets::frames_of(seed, &root)).max();
    assert!(frames > Some(10), "{frames:?} frames");
    let events: Vec<usize> = seeds::made("store").iter().map(|seed| targets::events_of(seed)).collect();
    assert!(events.len() >= 8 && events.iter().all(|events| *events > 5), "{events:?}");
}

//! What is mutated: sound inputs of each target, made by the library itself, and what was found once.

use std::fs;
use std::path::Path;

use headwater::blob::codec::{Codec, decode};
use headwater::segment::{Kind, Position, SegmentReader};
use headwater::store::{Options, Store};

use super::{archive, fill};

/// Words that a mutation puts in, since none would be guessed.
pub const WORDS: [&str; 36] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\\u0000",
    "\\ud800",
    "1e999",
    "9223372036854775807",
    "-1",
    "null",
    "true",
    "\n",
    "event/id",
    "event/type",
    "payload/added",
    "session/started",
    "head-",
    "b3:",
    "@1",
    "message",
    "toolCall",
    "content",
    "role",
    "--json",
    "--store",
    "--head",
    "show",
    "run",
    "import",
    "events",
    "--script",
    "simple",
    "18446744073709551616",
];

/// The sound inputs of a target, then the files kept for it.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = made(target);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut names: Vec<_> = fs::read_dir(kept).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    seeds.extend(names.into_iter().map(|name| fs::read(name).unwrap()));
    seeds
}

pub fn made(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "json" => texts(&[
            "{\"b\":[1,2.50,-0,1e400],\"a\":{\"\\u00e9\":\"\\n\\\"\",\"\":null}}",
            "[[[[[[[[true,false]]]]]]]]",
            "\"a \\ud83d\\ude00 text\"",
        ]),
        "names" => texts(&[
            "demo",
            "demo-2",
            "a-demo",
            "demo@1",
            "head-0123456789ab",
            "2026-08-01T10:00:00.000000Z",
            "b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ]),
        "import" => vec![
            include_bytes!("../fixtures/pi-v1.jsonl").to_vec(),
            include_bytes!("../fixtures/codex/ferry.jsonl").to_vec(),
            include_bytes!("../fixtures/codex/bare.jsonl").to_vec(),
            include_bytes!("../fixtures/gemini/harbor.json").to_vec(),
            include_bytes!("../fixtures/gemini/pier.jsonl").to_vec(),
            b"{\"id\":\"1\",\"seq\":1,\"type\":\"user_message\",\"session_id\":\"s\",\"ts\":\"2026-05-01T10:00:00.000000Z\",\"data\":{\"text\":\"hello\"}}\n".to_vec(),
            include_bytes!("../fixtures/fractal/harbor/events.ednl").to_vec(),
            b"{\"type\":\"session\",\"id\":\"s\",\"timestamp\":\"2025-03-01T10:00:00.000Z\",\"cwd\":\"x\"}\n".to_vec(),
        ],
        "arguments" => texts(&[
            "run\na task\n--script\nsimple\n--name\ndemo",
            "ls\n--json",
            "show\ndemo",
            "events\ndemo\n--event\n4",
            "fork\ndemo\n--name\nother",
            "diff\nhead-12\nhead-13",
            "import\nmissing.jsonl",
            "check\n--quick",
            "alias\nx\ndemo",
            "--store\nelsewhere\nls",
            "cat\nb3:12",
            "inspect\ndemo\n--json",
            "stream\ndemo\n--since\n3",
        ]),
        "frame" => vec![segment(), vec![1; 64], vec![0; 48]],
        "commit" => bodies(),
        "store" => {
            [0, 1].iter().flat_map(|how| stores().into_iter().map(|packed| [&[*how], &packed[..]].concat())).collect()
        }
        // A control has its own name for one.
        _ => texts(&[target]),
    }
}

fn small(fill_it: bool) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = Store::open_with(&root, Options { segment_size: 16 << 10, ..Options::default() }).unwrap();
    if fill_it {
        fill::fill(&store);
    } else {
        let session = store.create_session(headwater::store::NewSession::named("demo".parse().unwrap())).unwrap();
        fill::turn(&session, 1);
        session.close().unwrap();
    }
    store.close().unwrap();
    (folder, root)
}

/// The frames of a small store.
fn segment() -> Vec<u8> {
    let (_folder, root) = small(false);
    fs::read(root.join("blobs/0000000001.seg")).unwrap()[64..].to_vec()
}

/// The bodies of commits; and their lines.
fn bodies() -> Vec<Vec<u8>> {
    let (_folder, root) = small(true);
    let reader = SegmentReader::open(&root.join("blobs"), 1).unwrap();
    let frames = reader.frames(Position::first_of(1).offset, None).map_while(Result::ok);
    let commits = frames.filter(|(_, frame)| frame.header.kind == Kind::Commit).take(24);
    let mut seeds = Vec::new();
    for (_, frame) in commits {
        let length = u32::from_le_bytes(frame.body[4..8].try_into().unwrap()) as usize;
        // Lines in columns are a seed as they are.
        seeds.extend(decode(Codec(frame.body[2]), &frame.body[56..], length).ok());
        seeds.push(frame.body);
    }
    seeds
}

/// Small stores: the log alone, and with its database.
fn stores() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for full in [false, true] {
        let (_folder, root) = small(full);
        let mut files = archive::of_store(&root);
        all.push(archive::pack(&files));
        files.retain(|(name, _)| name != "store.sqlite");
        all.push(archive::pack(&files));
    }
    all
}

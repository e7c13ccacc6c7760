//! Stores of every format there was: they open, read as they did, are proven whole, and go on. A newer format is refused.
//!
//! Under `stores/`, for each version of the format, one store closed cleanly (`.zst`) and what is read from it (`.txt`).
//! After a change of the format, a new one is made and kept beside the old ones by
//!
//! ```text
//! HEADWATER_COMPAT=make cargo test --test compat
//! ```

#[path = "../support/archive.rs"]
mod archive;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/note.rs"]
mod note;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use archive::Files;
use headwater::care::{Mode, check};
use headwater::model::Role;
use headwater::model::line::Compact;
use headwater::store::{OpenError, Options, Store};
use note::note;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/stores")
}

fn open(root: &Path) -> Result<Store, OpenError> {
    Store::open_with(root, Options { create: false, ..Options::default() })
}

/// All that was recorded, in words that no version changes: events, and the bytes of what they refer to.
fn read(store: &Store) -> String {
    let mut out = String::new();
    for info in store.sessions().unwrap() {
        let session = &info.session;
        writeln!(out, "session {session} {} at {:?}", info.events, info.current_head).unwrap();
        for event in store.events(session).unwrap() {
            writeln!(out, "{}", serde_json::to_string(&Compact::of(&event)).unwrap()).unwrap();
        }
        for head in store.heads(session).unwrap() {
            let rows = store.view_at(session, &head.head).unwrap().rows;
            writeln!(out, "head {}: {} messages, {} turns", head.head, rows.messages.len(), rows.turns.len()).unwrap();
        }
        for message in store.view(session).unwrap().rows.messages {
            let content = store.blobs().get(&message.row.content).unwrap();
            writeln!(out, "message {} {:?}", message.row.role.as_str(), String::from_utf8_lossy(&content)).unwrap();
        }
    }
    out
}

/// The versions by which kept stores are named: of segments, commits, roots and the schema, as docs/FORMAT.md has them.
fn version_of_now() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FORMAT.md")).unwrap();
    let row = page.lines().rfind(|line| line.starts_with("| 0.") || line.starts_with("| 1.")).unwrap();
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let release = cells[0].split_whitespace().next().unwrap();
    format!("{release}-segment{}-commit{}-root{}-schema{}", cells[1], cells[2], cells[3], cells[4])
}

fn make(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root).unwrap();
    fill::fill(&store);
    store.close().unwrap();
    let store = open(&root).unwrap();
    let text = read(&store);
    store.close().unwrap();
    fs::create_dir_all(kept()).unwrap();
    let packed = zstd::encode_all(archive::pack(&archive::of_store(&root)).as_slice(), 19).unwrap();
    fs::write(kept().join(format!("{name}.zst")), packed).unwrap();
    fs::write(kept().join(format!("{name}.txt")), text).unwrap();
}

/// Every kept store: its name, its files, and what was read from it.
fn all() -> Vec<(String, Files, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(kept()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            let files = archive::unpack(&zstd::decode_all(fs::read(&path).unwrap().as_slice()).unwrap());
            let text = fs::read_to_string(path.with_extension("txt")).unwrap();
            found.push((path.file_stem().unwrap().to_string_lossy().into_owned(), files, text));
        }
    }
    found.sort();
    found
}

fn lay_out(files: &Files, trusted: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    archive::lay_out(files, folder.path());
    if trusted {
        fs::write(folder.path().join("mark"), note(&folder.path().join("store.sqlite"))).unwrap();
    }
    folder
}

#[test]
fn a_store_of_every_format_opens_reads_and_goes_on() {
    if std::env::var("HEADWATER_COMPAT").is_ok_and(|what| what == "make") {
        make(&version_of_now());
    }
    let all = all();
    let now = version_of_now();
    assert!(
        all.iter().any(|(name, ..)| *name == now),
        "no store of {now} is kept: HEADWATER_COMPAT=make cargo test --test compat"
    );
    for (name, files, text) in &all {
        // As it was left, its rows migrated where they have to be, or made again where they are from before the first release; and from the log
        // alone.
        let is_kept = !["schema3", "schema4"].iter().any(|early| name.ends_with(early));
        for trusted in [true, false] {
            let folder = lay_out(files, trusted);
            let root = folder.path();
            let store = open(root).unwrap_or_else(|error| panic!("{name}, trusted {trusted}: {error:?}"));
            assert_eq!(store.report().rebuilt.is_some(), !(trusted && is_kept), "{name}: {:?}", store.report());
            assert_eq!(&read(&store), text, "{name}, trusted {trusted}");
            let session = store.open_session(&"demo".parse().unwrap()).unwrap();
            session.add_message(Role::User, "and on it goes").commit().unwrap();
            session.seal().unwrap();
            session.close().unwrap();
            store.close().unwrap();
            let report = check(root, Mode::Deep).unwrap();
            assert!(report.issues.is_empty(), "{name}, trusted {trusted}: {:?}", report.issues);
        }
    }
}

/// Changes one file of a store; then it is refused as newer, and not a byte of it is touched.
fn is_refused(change: impl Fn(&Path)) {
    let (_, files, _) = all().pop().unwrap();
    let folder = lay_out(&files, true);
    change(folder.path());
    let before = archive::of_store(folder.path());
    let refused = open(folder.path()).err();
    assert!(matches!(refused, Some(OpenError::NewerFormat { .. })), "{refused:?}");
    assert_eq!(archive::of_store(folder.path()), before);
}

#[test]
fn a_newer_schema_is_refused() {
    is_refused(|root| {
        let conn = rusqlite::Connection::open(root.join("store.sqlite")).unwrap();
        let newer = "INSERT INTO refinery_schema_history SELECT version + 1000, name, applied_on, checksum \
            FROM refinery_schema_history ORDER BY version DESC LIMIT 1";
        assert_eq!(conn.execute(newer, []).unwrap(), 1);
        conn.pragma_update(None, "wal_checkpoint", "truncate").unwrap();
        drop(conn);
        fs::write(root.join("mark"), note(&root.join("store.sqlite"))).unwrap();
    });
}

#[test]
fn a_newer_segment_is_refused() {
    is_refused(|root| {
        let path = root.join("blobs/0000000001.seg");
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] += 1;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        fs::write(path, bytes).unwrap();
        // The rows have to be made again, so that the segment is read.
        fs::write(root.join("mark"), "").unwrap();
    });
}

#[test]
fn a_newer_commit_is_refused() {
    is_refused(|root| {
        let path = root.join("blobs/0000000001.seg");
        let mut bytes = fs::read(&path).unwrap();
        let seed = crc32fast::hash(&bytes[24..40]);
        let checksum = |bytes: &[u8]| {
            let mut hasher = crc32fast::Hasher::new_with_initial(seed);
            hasher.update(bytes);
            hasher.finalize()
        };
        // Frames from byte 64: the first commit is given the next version, and its checksums.
        let mut at = 64;
        while bytes[at] != 2 {
            at += 24 + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        }
        let end = at + 24 + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        bytes[at + 24] += 1;
        let body = checksum(&bytes[at + 24..end]);
        bytes[at + 16..at + 20].copy_from_slice(&body.to_le_bytes());
        let header = checksum(&bytes[at..at + 20]);
        bytes[at + 20..at + 24].copy_from_slice(&header.to_le_bytes());
        fs::write(path, bytes).unwrap();
        fs::write(root.join("mark"), "").unwrap();
    });
}

//! What is given hostile bytes: each takes any, and must neither panic nor take long nor much memory. `fuzz/` runs them under
//! libFuzzer, `main.rs` for a moment in every run of the tests.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use headwater::care::{Mode, check};
use headwater::exchange;
use headwater::journal::Commit;
use headwater::model::canonical::canonicalize;
use headwater::model::{Digest, HeadId, SessionId, Timestamp};
use headwater::segment::{
    FRAME_HEADER_LEN, FrameHeader, Position, SEGMENT_HEADER_LEN, Seed, SegmentHeader, SegmentReader,
};
use headwater::store::{NewSession, Options, Store};

use super::archive;
use super::note::note;

/// What is run on any bytes.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("frame", frame),
    ("commit", commit),
    ("json", json),
    ("names", names),
    ("import", import),
    ("arguments", arguments),
    ("store", store),
];

/// A folder in memory where there is such a place.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A segment of these frames, as they are; and as they would be with checksums that fit, so that what lies behind those
/// is reached.
pub fn frame(data: &[u8]) {
    let header = SegmentHeader { number: 1, id: [7; 16], predecessor_end: Position::START };
    let seed = Seed::of(&header.id);
    for resealed in [false, true] {
        let mut bytes = header.encode().to_vec();
        bytes.extend(data);
        if resealed {
            reseal(&mut bytes[SEGMENT_HEADER_LEN as usize..], &header.id);
        }
        if let Some(first) = bytes.get(SEGMENT_HEADER_LEN as usize..(SEGMENT_HEADER_LEN + FRAME_HEADER_LEN) as usize) {
            let _ = FrameHeader::decode(first.try_into().unwrap(), seed);
        }
        let folder = folder();
        fs::write(folder.path().join("0000000001.seg"), bytes).unwrap();
        let reader = SegmentReader::open(folder.path(), 1).unwrap();
        for frame in reader.frames(SEGMENT_HEADER_LEN, None) {
            let Ok((offset, frame)) = frame else { break };
            assert_eq!(reader.read_frame(offset).unwrap(), frame);
        }
        let _ = reader.later_group_after(SEGMENT_HEADER_LEN, 0);
    }
}

/// How many frames those bytes are, after a segment's header; `folder` is the log's.
#[cfg(test)]
pub fn frames_of(data: &[u8], folder: &Path) -> usize {
    let header = SegmentHeader { number: 1, id: [7; 16], predecessor_end: Position::START };
    let mut bytes = [&header.encode()[..], data].concat();
    reseal(&mut bytes[SEGMENT_HEADER_LEN as usize..], &header.id);
    fs::write(folder.join("0000000001.seg"), bytes).unwrap();
    let reader = SegmentReader::open(folder, 1).unwrap();
    reader.frames(SEGMENT_HEADER_LEN, None).map_while(Result::ok).count()
}

/// Gives every frame, as its lengths say where the next one is, checksums that fit.
fn reseal(mut frames: &mut [u8], id: &[u8; 16]) {
    let checksum = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(crc32fast::hash(id));
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    while frames.len() >= FRAME_HEADER_LEN as usize {
        let len = u32::from_le_bytes(frames[4..8].try_into().unwrap()) as usize;
        let end = (FRAME_HEADER_LEN as usize).saturating_add(len).min(frames.len());
        let body = checksum(&frames[FRAME_HEADER_LEN as usize..end]);
        frames[16..20].copy_from_slice(&body);
        let header = checksum(&frames[..20]);
        frames[20..24].copy_from_slice(&header);
        frames = &mut frames[end..];
    }
}

/// The body of a commit frame; and lines in a body that is otherwise sound.
pub fn commit(data: &[u8]) {
    let mut body = vec![1, 0, 0, 0];
    body.extend((data.len() as u32).to_le_bytes());
    body.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([0; 40]);
    body.extend(data);
    for body in [data, &body] {
        if let Ok(commit) = Commit::decode(body) {
            let _ = (commit.digest(), commit.payload_frames());
        }
    }
}

/// Canonical JSON is canonical already.
pub fn json(data: &[u8]) {
    if let Ok(canonical) = canonicalize(data) {
        assert_eq!(canonicalize(&canonical).as_deref(), Ok(canonical.as_slice()));
    }
}

thread_local! {
    static NAMED: (tempfile::TempDir, Store) = {
        let folder = folder();
        let store = Store::open(folder.path().join("store")).unwrap();
        for name in ["demo", "demo-2", "other"] {
            let mut new = NewSession::named(name.parse().unwrap());
            new.alias = Some(format!("a-{name}").parse().unwrap());
            store.create_session(new).unwrap().close().unwrap();
        }
        (folder, store)
    };
}

/// Ids, aliases, refs, times, and what people type for them.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(head) = text.parse::<HeadId>() {
        assert_eq!(head.to_string().parse::<HeadId>().unwrap(), head);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
    }
    NAMED.with(|(_, store)| {
        let _ = (
            store.resolve_session(&text),
            store.resolve_head(&text),
            store.blobs().resolve(&text),
            store.exists(&text),
        );
    });
}

/// A source of any format that is known: imported whole or refused, and imported again without effect.
pub fn import(data: &[u8]) {
    let folder = folder();
    let file = folder.path().join("source.jsonl");
    fs::write(&file, data).unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    if exchange::import(&store, &file).is_ok() {
        let again = exchange::import(&store, &file).unwrap();
        assert_eq!(again.new_events, 0, "imported twice");
    }
    for session in store.sessions().unwrap() {
        store.view(&session.session).unwrap();
    }
}

/// Lines are arguments of the command, which is where `HEADWATER_FUZZ_COMMAND` says. It works in a folder of its own, so
/// a separator of folders is no part of an argument.
pub fn arguments(data: &[u8]) {
    let Some(program) = std::env::var_os("HEADWATER_FUZZ_COMMAND") else { return };
    let folder = folder();
    let text: String = String::from_utf8_lossy(data).replace(['/', '\0'], "_").replace("..", "__");
    let mut command = Command::new(program);
    command.current_dir(folder.path()).args(text.lines().take(32)).env("HOME", folder.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0..=4)), "{}: {told}", output.status);
    assert!(!told.contains("panicked"), "{told}");
}

/// How many events a store has that is laid out from such an archive, sound as it is.
#[cfg(test)]
pub fn events_of(data: &[u8]) -> usize {
    let folder = folder();
    archive::lay_out(&archive::unpack(&data[1..]), folder.path());
    if data[0] % 2 == 1 {
        fs::write(folder.path().join("mark"), note(&folder.path().join("store.sqlite"))).unwrap();
    }
    let has_rows = data[0] % 2 == 1 && folder.path().join("store.sqlite").is_file();
    assert!(
        check(folder.path(), Mode::Deep)
            .unwrap()
            .issues
            .iter()
            .all(|issue| { ["file-open-to-others", "database-missing"].contains(&issue.code) })
    );
    let store = Store::open_with(folder.path(), Options { create: false, ..Options::default() }).unwrap();
    assert_eq!(store.report().rebuilt.is_none(), has_rows);
    store.sessions().unwrap().iter().map(|info| store.events(&info.session).unwrap().len()).sum()
}

/// A whole store, laid out from an archive; its database is vouched for if the first byte is odd. It is checked, opened and
/// read, whatever is found.
pub fn store(data: &[u8]) {
    let Some((how, packed)) = data.split_first() else { return };
    let folder = folder();
    let root = folder.path();
    archive::lay_out(&archive::unpack(packed), root);
    if how % 2 == 1 {
        fs::write(root.join("mark"), note(&root.join("store.sqlite"))).unwrap();
    }
    let _ = check(root, Mode::Deep);
    read(root);
}

fn read(root: &Path) {
    let options = Options { create: false, readers: 1, ..Options::default() };
    let Ok(store) = Store::open_with(root, options) else { return };
    for info in store.sessions().unwrap_or_default() {
        let session = &info.session;
        let _ = (store.events(session), store.event_view(session), store.history_view(session));
        let Ok(view) = store.view(session) else { continue };
        for message in view.rows.messages {
            let _ = store.blobs().get(&message.row.content);
        }
    }
}

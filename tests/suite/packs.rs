//! Small payloads of an import share frames: they read as others do, and what befalls a frame befalls no more than it holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::care::{self, Mode};
use headwater::exchange;
use headwater::model::Digest;
use headwater::segment::{Kind, SegmentReader, segment_path};
use headwater::store::{Options, Store};
use serde_json::json;

/// The codec of a pack.
const PACK: u8 = 6;

struct Place {
    folder: tempfile::TempDir,
    text: String,
    /// Every payload that rows name.
    payloads: BTreeMap<Digest, Vec<u8>>,
}

fn records(turns: usize) -> String {
    let mut text =
        json!({"type": "session", "id": "6f9619ff", "timestamp": "2026-01-01T00:00:00Z", "cwd": "/"}).to_string();
    for turn in 0..turns {
        let at = format!("2026-01-01T00:{:02}:{:02}Z", turn / 60, turn % 60);
        let said = format!("What is {turn} times {turn}? {}", "And why? ".repeat(turn * 7 % 400));
        let answer = json!([{"type": "text", "text": format!("It is {}.", turn * turn)}]);
        let usage = json!({"input": turn, "output": 3, "cacheRead": 0, "cost": {"total": 0.5}});
        for message in [
            json!({"role": "user", "content": said}),
            json!({"role": "assistant", "content": answer, "provider": "p", "model": "m", "usage": usage, "stopReason": "stop"}),
        ] {
            text.push_str(&format!("\n{}", json!({"type": "message", "timestamp": at, "message": message})));
        }
    }
    text + "\n"
}

impl Place {
    /// A store with an import; the rows are as they were before it in `before`.
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let (root, text) = (folder.path().join("store"), records(150));
        let store = Store::open(&root).unwrap();
        store.blobs().put(b"here before the import").unwrap();
        store.close().unwrap();
        fs::create_dir(folder.path().join("before")).unwrap();
        fs::copy(root.join("store.sqlite"), folder.path().join("before/store.sqlite")).unwrap();
        let source = folder.path().join("session.jsonl");
        fs::write(&source, &text).unwrap();
        let store = Store::open(&root).unwrap();
        exchange::import(&store, &source).unwrap();
        store.close().unwrap();
        let mut place = Place { folder, text, payloads: BTreeMap::new() };
        place.payloads = place.named().into_iter().map(|digest| (digest, place.read(&digest).unwrap())).collect();
        place
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn open(&self) -> Store {
        Store::open_with(self.root(), Options { create: false, ..Options::default() }).unwrap()
    }

    fn named(&self) -> Vec<Digest> {
        let conn = rusqlite::Connection::open(self.root().join("store.sqlite")).unwrap();
        let mut rows = conn.prepare("SELECT ref FROM blob").unwrap();
        let refs: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        refs.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let store = self.open();
        let bytes = store.blobs().get(digest).ok();
        store.close().unwrap();
        bytes
    }

    /// The payloads that can be read.
    fn there(&self) -> BTreeMap<Digest, Vec<u8>> {
        let store = self.open();
        let read = |digest: &Digest| Some((*digest, store.blobs().get(digest).ok()?));
        let there = self.payloads.keys().filter_map(read).collect();
        store.close().unwrap();
        there
    }

    /// All is as it was imported.
    fn is_whole(&self) {
        assert_eq!(self.there(), self.payloads);
        let store = self.open();
        let mut out = Vec::new();
        exchange::write_source(&store, &"6f9619ff".parse().unwrap(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), self.text);
        store.close().unwrap();
        assert_eq!(self.issues(), [""; 0]);
    }

    fn issues(&self) -> Vec<&'static str> {
        let issues = care::check(&self.root(), Mode::Deep).unwrap().issues.into_iter().map(|issue| issue.code);
        issues.filter(|code| *code != "file-open-to-others").collect()
    }

    fn segment(&self) -> PathBuf {
        segment_path(&self.root().join("blobs"), 1)
    }
}

/// Offset, kind, codec and length of each frame.
fn frames(root: &Path) -> Vec<(usize, Kind, u8, usize)> {
    let reader = SegmentReader::open(&root.join("blobs"), 1).unwrap();
    let of = |frame: Result<(u64, headwater::segment::Frame), _>| {
        let (offset, frame) = frame.map_err(|_: headwater::segment::ReadError| ()).unwrap();
        (offset as usize, frame.header.kind, frame.header.codec, frame.body.len())
    };
    reader.frames(64, None).map(of).collect()
}

#[test]
fn payloads_of_an_import_share_frames_and_rows_are_made_from_them() {
    let place = Place::new();
    let frames = frames(&place.root());
    assert!(frames.iter().any(|frame| frame.2 == PACK));
    let payloads = frames.iter().filter(|frame| frame.1 == Kind::Payload).count();
    assert!(payloads * 8 < place.payloads.len(), "{payloads} frames for {}", place.payloads.len());
    place.is_whole();
    // One by one, as nobody's neighbours.
    for (digest, bytes) in place.payloads.iter().step_by(37) {
        assert_eq!(place.read(digest).as_ref(), Some(bytes));
    }
    fs::remove_file(place.root().join("store.sqlite")).unwrap();
    place.is_whole();
}

#[test]
fn the_packs_of_a_dead_writer_are_adopted() {
    let place = Place::new();
    let database = place.root().join("store.sqlite");
    // The rows as they were when the writer had only appended.
    fs::copy(place.folder.path().join("before/store.sqlite"), &database).unwrap();
    fs::write(place.root().join("mark"), super::note::note(&database)).unwrap();
    let store = place.open();
    assert!(store.report().adopted > 0 && store.report().rebuilt.is_none(), "{:?}", store.report());
    store.close().unwrap();
    place.is_whole();
}

#[test]
fn a_bit_in_a_pack_costs_its_payloads_and_no_others() {
    let place = Place::new();
    let pack = frames(&place.root()).into_iter().filter(|frame| frame.2 == PACK).max_by_key(|frame| frame.3).unwrap();
    let conn = rusqlite::Connection::open(place.root().join("store.sqlite")).unwrap();
    let mut rows = conn.prepare("SELECT ref FROM blob WHERE \"offset\" = ?1").unwrap();
    let inside: Vec<Digest> = rows
        .query_map([pack.0], |row| row.get::<_, String>(0))
        .unwrap()
        .map(|text| text.unwrap().parse().unwrap())
        .collect();
    drop(rows);
    drop(conn);
    assert!(inside.len() > 20);
    let mut bytes = fs::read(place.segment()).unwrap();
    bytes[pack.0 + 24 + pack.3 / 2] ^= 4;
    fs::write(place.segment(), bytes).unwrap();
    assert!(!place.issues().is_empty());
    let report = care::repair(&place.root()).unwrap();
    assert_eq!(report.hurt, []);
    let lost = report.payloads.lost;
    assert!(!lost.is_empty() && lost.iter().all(|digest| inside.contains(digest)), "{lost:?}");
    assert!(place.issues().iter().all(|code| *code == "payload-lost"));
    let there = place.there();
    for (digest, bytes) in &place.payloads {
        assert_eq!(there.get(digest), (!lost.contains(digest)).then_some(bytes), "{digest}");
    }
    // What was lost is put again.
    let store = place.open();
    for digest in &lost {
        assert_eq!(store.blobs().put(&place.payloads[digest]).unwrap(), *digest);
    }
    store.close().unwrap();
    place.is_whole();
}

/// A commit is lost, and put together again from rows: the packs of what it named are whole, and stay so. The log does not grow by it.
#[test]
fn a_repair_keeps_packs_together() {
    let place = Place::new();
    let size = |frames: &[(usize, Kind, u8, usize)]| frames.iter().map(|frame| frame.3 + 24).sum::<usize>();
    let packs = |frames: &[(usize, Kind, u8, usize)]| frames.iter().filter(|frame| frame.2 == PACK).count();
    let before = frames(&place.root());
    let commit = before.iter().rfind(|frame| frame.1 == Kind::Commit).unwrap();
    let mut bytes = fs::read(place.segment()).unwrap();
    bytes[commit.0 + 24 + commit.3 / 2] ^= 4;
    fs::write(place.segment(), bytes).unwrap();
    let report = care::repair(&place.root()).unwrap();
    assert_eq!((report.payloads.lost.len(), report.hurt.len()), (0, 0), "{report:?}");
    let after = frames(&place.root());
    assert_eq!(packs(&after), packs(&before));
    assert!(size(&after) < size(&before) * 11 / 10, "{} from {}", size(&after), size(&before));
    place.is_whole();
    fs::remove_file(place.root().join("store.sqlite")).unwrap();
    place.is_whole();
}

/// A pack that is damaged is whole in a segment that was set aside: it is taken from there as it is.
#[test]
fn a_pack_is_taken_whole_from_a_copy() {
    let place = Place::new();
    let before = frames(&place.root());
    let aside = place.root().join("set-aside/1");
    fs::create_dir_all(&aside).unwrap();
    fs::copy(place.segment(), segment_path(&aside, 1)).unwrap();
    let largest = before.iter().filter(|frame| frame.2 == PACK).max_by_key(|frame| frame.3).unwrap();
    let mut bytes = fs::read(place.segment()).unwrap();
    bytes[largest.0 + 24 + largest.3 / 2] ^= 4;
    fs::write(place.segment(), bytes).unwrap();
    let report = care::repair(&place.root()).unwrap();
    assert!(!report.is_loss(), "{report:?}");
    let after = frames(&place.root());
    assert_eq!(
        after.iter().filter(|frame| frame.2 == PACK).count(),
        before.iter().filter(|frame| frame.2 == PACK).count()
    );
    place.is_whole();
}

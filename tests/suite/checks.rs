//! Each kind of damage is told by its own code: all are provoked, and docs/CHECK.md describes them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use headwater::care::{self, Anchor, CODES, Mode};
use headwater::journal::{Lines, TxHeader};
use headwater::model::{Annotation, Body, Digest, Event, EventNumber, HeadId, Record, SessionId, Timestamp, Tx};
use headwater::segment::{self, FrameRef, Kind, Log, LogOptions, Position, SegmentHeader};
use headwater::store::{Options, Store};

use super::repair::{Sample, files};

/// Rows changed behind the store's back, and what is told of it by a quick check already.
const ROWS: [(&str, &str); 24] = [
    ("commit-count", "DELETE FROM hw_tx WHERE tx = 3"),
    ("current-head", "UPDATE hw_session SET current = NULL WHERE id = 'demo'"),
    ("last-event", "UPDATE hw_session SET last_event = last_event + 1 WHERE id = 'other'"),
    ("event-row", "DELETE FROM hw_message WHERE n = 1"),
    ("cache-id", "UPDATE hw_session SET cache_id = ''"),
    ("head-session", "UPDATE hw_head SET ev = ev + 100000"),
    ("head-basis", "UPDATE hw_head SET basis = 999999 WHERE basis IS NOT NULL"),
    ("head-up", "UPDATE hw_head SET up = 999999 WHERE up IS NOT NULL"),
    ("head-compaction", "UPDATE hw_head SET compaction = 999999 WHERE compaction IS NOT NULL"),
    ("head-span", "UPDATE hw_head SET span_to = span_to - 1"),
    ("head-snapshot", "UPDATE hw_head SET snapshot = 77 WHERE snapshot IS NOT NULL"),
    ("head-final", "UPDATE hw_head SET final = 999999 WHERE final IS NOT NULL"),
    ("tabled-spans", "DELETE FROM hw_span WHERE ord = 1"),
    ("derivation-end", "UPDATE hw_derivation SET source_head = 999999"),
    ("attach-source", "DELETE FROM hw_derivation WHERE kind = 'fork'"),
    ("invocation-end", "UPDATE hw_invocation SET callee_before = 999999"),
    ("invocation-type", "UPDATE hw_invocation SET type = ''"),
    ("invocation-call", "UPDATE hw_invocation SET call = 777"),
    ("call-child", "UPDATE hw_call SET status = 'ok', child = 'nobody' WHERE child IS NOT NULL"),
    ("alias-target", "UPDATE hw_alias SET sid = 999"),
    ("pin-target", "INSERT INTO hw_pin VALUES ('release', 999999, 0, 1)"),
    ("fact-payload", "INSERT INTO hw_fact VALUES (1, 'tag', 999999, 0)"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease (sid, holder, fence, who, at) VALUES (1, '', 'none', '', 0)"),
    ("payload-place", "UPDATE hw_blob SET segment = NULL WHERE bid = 2"),
];

/// What only a comparison with the log tells.
const COMPARED: [(&str, &str); 4] = [
    ("row-differs", "UPDATE hw_message SET chars = chars + 1 WHERE n = 2"),
    ("row-missing", "DELETE FROM hw_batch_key"),
    ("row-extra", "INSERT INTO hw_alias VALUES ('nickname', 1)"),
    ("schema-differs", "CREATE INDEX mine ON hw_message (n)"),
];

fn told(root: &Path, mode: Mode) -> BTreeSet<&'static str> {
    let report = care::check(root, mode).unwrap();
    assert!(report.issues.iter().all(|issue| !issue.advice.is_empty()));
    report.issues.iter().map(|issue| issue.code).collect()
}

fn sql(root: &Path, sql: &str) {
    rusqlite::Connection::open(root.join("store.sqlite")).unwrap().execute_batch(sql).unwrap();
}

/// Appends a commit by hand, with frames before it, and has the rows say that the log ends after it.
fn append(root: &Path, fill: impl FnOnce(&mut Lines), payloads: &[(u8, &[u8])], previous: Option<Digest>) {
    let conn = rusqlite::Connection::open(root.join("store.sqlite")).unwrap();
    let (tx, digest, end) = conn
        .query_row("SELECT tx, digest, segment, offset FROM hw_tx ORDER BY tx DESC LIMIT 1", [], |row| {
            let digest: Vec<u8> = row.get(1)?;
            Ok((Tx(row.get(0)?), Digest::from_slice(&digest).unwrap(), Position::new(row.get(2)?, row.get(3)?)))
        })
        .unwrap();
    let mut lines = Lines::default();
    fill(&mut lines);
    lines.pack();
    let head = TxHeader { tx: tx.next(), at: Timestamp::default(), previous: previous.unwrap_or(digest) };
    let body = if lines.is_empty() { b"no commit at all".to_vec() } else { lines.body(&head) };
    let mut frames: Vec<_> =
        payloads.iter().map(|(codec, body)| FrameRef { kind: Kind::Payload, codec: *codec, body }).collect();
    frames.push(FrameRef { kind: Kind::Commit, codec: 0, body: &body });
    let mut log = Log::open(&root.join("blobs"), LogOptions::default()).unwrap();
    let end = log.append(end, tx.next().0, &frames).unwrap().end;
    conn.execute("UPDATE hw_tx SET digest = NULL, segment = NULL, offset = NULL WHERE tx = ?1", [tx.0]).unwrap();
    let digest = lines.digest(&head);
    let row = rusqlite::params![tx.0 + 1, digest.0.as_slice(), end.segment, end.offset];
    conn.execute("INSERT INTO hw_tx (tx, at, digest, segment, offset) VALUES (?1, 0, ?2, ?3, ?4)", row).unwrap();
}

fn event(session: &str, number: u64, body: Body) -> Event {
    Event { session: session.parse().unwrap(), number: EventNumber(number), at: Timestamp::default(), body }
}

fn note(session: &str, number: u64) -> Event {
    event(session, number, Body::Annotation(Annotation { kind: "note".to_owned(), turn: None, payload: None }))
}

fn added(lines: &mut Lines, hash: Digest, size: u64, parts: Option<Vec<Digest>>) {
    lines.push_record(Record::PayloadAdded { hash, size, media: None, parts });
}

#[test]
fn each_kind_of_damage_has_its_code() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    sample.restore();
    fs::set_permissions(root, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(told(root, Mode::Deep), BTreeSet::new());
    let seen = RefCell::new(BTreeSet::new());
    let expect = |code: &'static str, mode: Mode, damage: &dyn Fn()| {
        sample.restore();
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).unwrap();
        damage();
        let told = told(root, mode);
        assert!(told.contains(code), "{code} was not told, but {told:?}");
        seen.borrow_mut().insert(code);
    };
    for (code, change) in ROWS {
        expect(code, Mode::Quick, &|| sql(root, change));
    }
    for (code, change) in COMPARED {
        expect(code, Mode::Deep, &|| sql(root, change));
    }
    let database = root.join("store.sqlite");
    expect("database-missing", Mode::Deep, &|| fs::remove_file(&database).unwrap());
    expect("database-journal", Mode::Quick, &|| fs::write(root.join("store.sqlite-journal"), [0xd9; 600]).unwrap());
    expect("database-unreadable", Mode::Deep, &|| fs::write(&database, "this is no database. ".repeat(400)).unwrap());
    // A file that SQLite finds nothing wrong with, and no store: not what the system refused.
    expect("database-unreadable", Mode::Quick, &|| sql(root, "DROP TABLE hw_alias"));
    expect("database-corrupt", Mode::Deep, &|| {
        let conn = rusqlite::Connection::open(&database).unwrap();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'hw_head_turn'";
        let page: usize = conn.query_row(root, [], |row| row.get(0)).unwrap();
        let size: usize = conn.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        drop(conn);
        let mut bytes = fs::read(&database).unwrap();
        bytes[(page - 1) * size..page * size].fill(0);
        fs::write(&database, bytes).unwrap();
    });
    expect("file-open-to-others", Mode::Quick, &|| {
        fs::set_permissions(root, fs::Permissions::from_mode(0o777)).unwrap()
    });
    expect("file-link", Mode::Quick, &|| std::os::unix::fs::symlink("/nowhere", root.join("blobs/link")).unwrap());
    expect("file-stray", Mode::Quick, &|| fs::write(root.join("blobs/notes.txt"), "mine").unwrap());
    expect("repair-cut-off", Mode::Quick, &|| {
        fs::create_dir(root.join("repair")).unwrap();
        fs::write(root.join("repair/ready"), "20260101").unwrap();
    });
    let stranger = root.join("turn");
    if std::os::unix::fs::chown(&stranger, Some(12_345), None).is_ok() {
        expect("file-owner", Mode::Quick, &|| std::os::unix::fs::chown(&stranger, Some(12_345), None).unwrap());
    } else {
        println!("skipped: file-owner, which only root can provoke");
        seen.borrow_mut().insert("file-owner");
    }

    let blobs = root.join("blobs");
    let last = *segment::list(&blobs).unwrap().last().unwrap();
    expect("log-unreadable", Mode::Deep, &|| {
        fs::remove_dir_all(&blobs).unwrap();
        fs::write(&blobs, "").unwrap();
    });
    expect("log-short", Mode::Quick, &|| {
        let bytes = fs::read(sample.segment(last)).unwrap();
        fs::write(sample.segment(last), &bytes[..bytes.len() - 1]).unwrap();
    });
    expect("segment-missing", Mode::Quick, &|| fs::remove_file(sample.segment(2)).unwrap());
    let change = |number: u64, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(sample.segment(number)).unwrap();
        change(&mut bytes);
        fs::write(sample.segment(number), bytes).unwrap();
    };
    expect("segment-damaged", Mode::Deep, &|| change(2, &|bytes| bytes[17] ^= 1));
    expect("segment-chain", Mode::Deep, &|| {
        change(2, &|bytes| {
            let header = bytes[..64].try_into().unwrap();
            let header = SegmentHeader::decode(&header, Path::new("2")).unwrap();
            let header = SegmentHeader { predecessor_end: Position::new(7, 64), ..header };
            bytes[..64].copy_from_slice(&header.encode());
        });
    });
    expect("frame-damaged", Mode::Deep, &|| change(1, &|bytes| bytes[700] ^= 1));

    let demo = || sample.events[&"demo".parse::<SessionId>().unwrap()].len() as u64;
    let (hash, body) = (Digest::of(b"what was put"), b"something else");
    expect("commit-damaged", Mode::Deep, &|| append(root, |_| {}, &[], None));
    expect("commit-chain", Mode::Deep, &|| {
        append(root, |lines| _ = lines.push_event(&note("demo", demo() + 1)), &[], Some(Digest::of(b"another")));
    });
    expect("event-order", Mode::Deep, &|| {
        append(root, |lines| _ = lines.push_event(&note("demo", demo() + 9)), &[], None)
    });
    expect("log-contradicts", Mode::Deep, &|| {
        append(root, |lines| _ = lines.push_event(&note("nobody", 1)), &[], None)
    });
    expect("payload-damaged", Mode::Deep, &|| {
        append(root, |lines| added(lines, hash, body.len() as u64, None), &[(0, body)], None);
    });
    expect("payload-lost", Mode::Deep, &|| append(root, |lines| added(lines, hash, 12, None), &[(255, b"")], None));
    expect("payload-parts", Mode::Deep, &|| append(root, |lines| added(lines, hash, 12, Some(vec![hash])), &[], None));
    let fake = |sample: &Sample| {
        sample.restore();
        let store = Store::open_with(&sample.root, Options { create: false, ..Options::default() }).unwrap();
        let head = store.session(&"demo".parse().unwrap()).unwrap().current_head.unwrap();
        let mut root = store.root_of(&head).unwrap();
        store.close().unwrap();
        root.digest = Digest::of(b"other events");
        root.bytes()
    };
    let bytes = fake(&sample);
    let head = HeadId(Digest::of(&bytes));
    let sealed = |lines: &mut Lines| {
        added(lines, head.0, bytes.len() as u64, None);
        lines.push_event(&event("demo", demo() + 1, Body::HeadCreated(head)));
    };
    expect("head-root", Mode::Deep, &|| append(root, sealed, &[(0, &bytes)], None));
    expect("head-digest", Mode::Head(head), &|| {
        let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
        store.blobs().put(&bytes).unwrap();
        store.close().unwrap();
    });

    sample.restore();
    let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
    let current = store.session(&"demo".parse().unwrap()).unwrap().current_head.unwrap();
    let anchor = Anchor::take(&store, &current).unwrap();
    store.close().unwrap();
    assert_eq!(Anchor::from_lines(&anchor.to_lines().unwrap()).unwrap(), anchor);
    let mode = |anchor: &Anchor| Mode::Anchor(Box::new(anchor.clone()));
    assert!(anchor.heads.len() > 1, "it left from another head");
    assert!(!told(root, mode(&anchor)).iter().any(|code| code.starts_with("anchor")));
    expect("anchor-behind", mode(&Anchor { tx: Tx(anchor.tx.0 + 1), ..anchor.clone() }), &|| {});
    expect("anchor-store", mode(&Anchor { digest: hash, ..anchor.clone() }), &|| {});
    let mut other = anchor.clone();
    other.heads[0].digest = hash;
    expect("anchor-head", mode(&other), &|| {});

    let all: BTreeSet<_> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(seen.into_inner(), all, "a code that nothing provokes");
}

#[test]
fn the_page_describes_each_code() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CHECK.md")).unwrap();
    let described: Vec<&str> =
        page.lines().skip_while(|line| !line.starts_with("| code |")).filter(|line| line.starts_with("| `")).collect();
    let codes: Vec<String> =
        CODES.iter().map(|code| format!("| `{}` | {} | {} |", code.name, code.what, code.advice)).collect();
    assert_eq!(described, codes);
}

/// Looking changes no file but SQLite's shared memory, whatever is found.
#[test]
fn a_check_writes_nothing() {
    let sample = Sample::new();
    sample.restore();
    for (mode, damage) in [(Mode::Quick, false), (Mode::Deep, false), (Mode::Deep, true)] {
        if damage {
            let mut bytes = fs::read(sample.segment(1)).unwrap();
            bytes[500] ^= 1;
            fs::write(sample.segment(1), bytes).unwrap();
        }
        let before = files(&sample.root);
        care::check(&sample.root, mode).unwrap();
        for (path, bytes) in files(&sample.root) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let same = before.get(&path) == Some(&bytes);
            assert!(same || name == "store.sqlite-shm" || name == "store.sqlite-wal" && bytes.is_empty(), "{name}");
        }
    }
}

/// A root need not be in its head's own commit: it may have been put as a payload before, also as one in parts. The head's rows are
/// made from it all the same, live and by a rebuild, and it is proven.
#[test]
fn a_root_is_proven_wherever_it_stands() {
    let sample = Sample::new();
    for in_parts in [false, true] {
        sample.restore();
        fs::set_permissions(&sample.root, fs::Permissions::from_mode(0o700)).unwrap();
        let other = "other".parse::<SessionId>().unwrap();
        let store = Store::open(&sample.root).unwrap();
        store.open_session(&other).unwrap().add_annotation("note", None).unwrap();
        store.close().unwrap();
        // The head that will be sealed is known from a copy of the store.
        let copy = sample.root.parent().unwrap().join(format!("copy-{in_parts}"));
        care::backup(&sample.root, &copy).unwrap();
        let bytes = {
            let store = Store::open(&copy).unwrap();
            let head = store.open_session(&other).unwrap().current_head().unwrap();
            store.root_of(&head).unwrap().bytes()
        };
        if in_parts {
            let (left, right) = bytes.split_at(bytes.len() / 2);
            let (one, two) = (Digest::of(left), Digest::of(right));
            let fill = |lines: &mut Lines| {
                lines.push_record(Record::PayloadPart { hash: one, size: left.len() as u64 });
                lines.push_record(Record::PayloadPart { hash: two, size: right.len() as u64 });
                added(lines, Digest::of(&bytes), bytes.len() as u64, Some(vec![one, two]));
            };
            append(&sample.root, fill, &[(0, left), (0, right)], None);
            fs::remove_file(sample.root.join("store.sqlite")).unwrap();
        } else {
            let store = Store::open(&sample.root).unwrap();
            store.blobs().put(&bytes).unwrap();
            store.close().unwrap();
        }
        let store = Store::open(&sample.root).unwrap();
        // Opening it seals what its last writer left.
        let head = store.open_session(&other).unwrap().current_head().unwrap();
        assert_eq!(*head.digest(), Digest::of(&bytes));
        store.close().unwrap();
        assert_eq!(told(&sample.root, Mode::Deep), BTreeSet::new());
        assert_eq!(told(&sample.root, Mode::Head(head)), BTreeSet::new());
        fs::remove_file(sample.root.join("store.sqlite")).unwrap();
        let store = Store::open(&sample.root).unwrap();
        assert_eq!(store.view(&other).unwrap().head.unwrap().head, head);
    }
}

/// The row that says where the log ends is a row like any other: changed, it is what is told, and not a log that is whole.
#[test]
fn a_row_that_misplaces_the_end_of_the_log_is_what_is_told() {
    let sample = Sample::new();
    let last = "WHERE tx = (SELECT max(tx) FROM hw_tx)";
    for (change, code) in [
        ("digest = zeroblob(32)", "row-differs"),
        ("offset = offset - 1", "row-differs"),
        ("offset = offset + 1", "log-short"),
        ("offset = offset + 100000", "log-short"),
    ] {
        sample.restore();
        fs::set_permissions(&sample.root, fs::Permissions::from_mode(0o700)).unwrap();
        sql(&sample.root, &format!("UPDATE hw_tx SET {change} {last}"));
        assert_eq!(told(&sample.root, Mode::Deep), BTreeSet::from([code]), "{change}");
    }
}

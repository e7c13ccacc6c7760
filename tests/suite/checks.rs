//! Each kind of damage is told by its own code: all are provoked, and docs/CHECK.md describes them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use headwater::care::{self, Anchor, CODES, Mode};
use headwater::journal::{Lines, TxHeader};
use headwater::model::{
    Annotation, Body, Digest, Event, EventNumber, HeadId, Record, SessionId, Status, Timestamp, Tx,
};
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

/// What else each of these codes is told for: a row for each reason that the one above does not give, where it is the only one. Two
/// statements stand where one alone would be told for another reason.
const REASONS: &[(&str, &str)] = &[
    ("commit-count", "UPDATE hw_tx SET digest = zeroblob(32) WHERE tx = 2"),
    (
        "current-head",
        "UPDATE hw_session SET current = (SELECT max(hid) FROM hw_head WHERE sid <> 1) WHERE sid = 1;
         UPDATE hw_ref SET hid = (SELECT current FROM hw_session WHERE sid = 1) WHERE sid = 1",
    ),
    (
        "current-head",
        "UPDATE hw_session SET current = 999999 WHERE sid = 1; UPDATE hw_ref SET hid = 999999 WHERE sid = 1",
    ),
    (
        "last-event",
        "UPDATE hw_event SET ev = ev + 1 WHERE sid = 1 AND ev = (SELECT max(ev) FROM hw_event WHERE sid = 1)",
    ),
    ("last-event", "DELETE FROM hw_event WHERE sid = 1 AND ev = 2"),
    ("event-row", "DELETE FROM hw_ref WHERE made = 0"),
    ("event-row", "DELETE FROM hw_turn WHERE (sid, ev) IN (SELECT sid, ev FROM hw_event WHERE type = 7)"),
    ("event-row", "DELETE FROM hw_turn WHERE (sid, ev) IN (SELECT sid, ev FROM hw_event WHERE type = 8)"),
    ("event-row", "DELETE FROM hw_call WHERE (sid, ev) IN (SELECT sid, ev FROM hw_event WHERE type = 9)"),
    ("event-row", "DELETE FROM hw_call WHERE (sid, ev) IN (SELECT sid, ev FROM hw_event WHERE type = 10)"),
    ("event-row", "DELETE FROM hw_eval"),
    ("event-row", "DELETE FROM hw_snapshot"),
    ("event-row", "UPDATE hw_head SET ev = ev + 100000"),
    ("event-row", "DELETE FROM hw_invocation"),
    ("event-row", "UPDATE hw_event SET type = 15 WHERE type = 14; DELETE FROM hw_invocation"),
    ("event-row", "UPDATE hw_event SET type = 16 WHERE type = 14; DELETE FROM hw_invocation"),
    ("event-row", "UPDATE hw_event SET type = 17 WHERE type = 14; DELETE FROM hw_invocation"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 5"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 6"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 7"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 8"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 9"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 10"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 11"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 12"),
    ("event-row", "UPDATE hw_event SET type = 'note' WHERE type = 14"),
    ("cache-id", "UPDATE hw_session SET cache_id = 'a' || char(9)"),
    ("cache-id", "UPDATE hw_session SET cache_id = 'a' || char(127)"),
    ("head-session", "DELETE FROM hw_session WHERE id = 'other'"),
    ("head-session", "UPDATE hw_event SET type = 'note' WHERE type = 13"),
    ("head-session", "UPDATE hw_event SET ref = ref + 1 WHERE type = 13"),
    ("head-up", "UPDATE hw_head SET depth = 7 WHERE up IS NULL"),
    ("head-up", "UPDATE hw_head SET depth = depth + 3 WHERE up IS NOT NULL"),
    ("head-compaction", "UPDATE hw_head SET compaction = (SELECT min(hid) FROM hw_head WHERE kind <> 'compaction')"),
    ("head-span", "UPDATE hw_head SET span_from = span_to + 1"),
    ("head-span", "UPDATE hw_head SET span_from = 0"),
    ("head-snapshot", "UPDATE hw_head SET vars = 1 WHERE snapshot IS NULL"),
    (
        "head-snapshot",
        "UPDATE hw_head SET snapshot = 1, vars = (SELECT vars FROM hw_snapshot) WHERE sid = 1 AND snapshot IS NULL",
    ),
    ("head-snapshot", "UPDATE hw_head SET vars = 1 WHERE snapshot IS NOT NULL"),
    ("head-snapshot", "UPDATE hw_head SET vars = 999999 WHERE vars IS NOT NULL; UPDATE hw_snapshot SET vars = 999999"),
    ("tabled-spans", "INSERT INTO hw_span VALUES (1, 60, 1, 1, 1)"),
    ("tabled-spans", "UPDATE hw_span SET span_to = span_to - 1"),
    ("tabled-spans", "UPDATE hw_span SET span_from = span_from + 1"),
    ("tabled-spans", "UPDATE hw_span SET source = source + 1"),
    ("tabled-spans", "UPDATE hw_span SET ord = ord + 1"),
    ("derivation-end", "DELETE FROM hw_session WHERE id = 'fork'"),
    ("derivation-end", "UPDATE hw_derivation SET target_ev = 9999"),
    ("derivation-end", "UPDATE hw_derivation SET source = source + 1"),
    ("derivation-end", "UPDATE hw_derivation SET kind = 'restore' WHERE kind = 'fork'"),
    ("attach-source", "UPDATE hw_derivation SET target_ev = 2 WHERE kind = 'fork'"),
    ("attach-source", "UPDATE hw_derivation SET source_head = (SELECT max(hid) FROM hw_head) WHERE kind = 'fork'"),
    ("attach-source", "UPDATE hw_derivation SET kind = 'restore' WHERE kind = 'fork'"),
    ("invocation-end", "UPDATE hw_invocation SET callee = 'nobody', callee_before = (SELECT min(hid) FROM hw_head)"),
    ("invocation-end", "UPDATE hw_invocation SET caller_before = 999999"),
    ("invocation-end", "UPDATE hw_invocation SET caller_after = 999999"),
    ("invocation-end", "UPDATE hw_invocation SET callee_after = 999999"),
    ("invocation-type", "UPDATE hw_invocation SET type = hex(zeroblob(33))"),
    ("invocation-type", "UPDATE hw_invocation SET type = 'a' || char(10)"),
    ("invocation-type", "UPDATE hw_invocation SET type = 'a' || char(127)"),
    ("invocation-call", "DELETE FROM hw_version WHERE kind = 9"),
    ("call-child", "UPDATE hw_call SET status = 'final', child = 'nobody' WHERE child IS NOT NULL"),
    ("call-child", "UPDATE hw_call SET type = 5, status = 'ok', child = 'nobody' WHERE child IS NOT NULL"),
    ("call-child", "UPDATE hw_call SET type = 6, status = 'ok', child = 'nobody' WHERE child IS NOT NULL"),
    (
        "pin-target",
        "INSERT INTO hw_pin SELECT 'release', min(bid), 1, 1 FROM hw_blob WHERE bid NOT IN (SELECT hid FROM hw_head)",
    ),
    ("payload-place", "UPDATE hw_blob SET offset = NULL WHERE bid = 2"),
    ("payload-place", "UPDATE hw_blob SET segment = 99 WHERE bid = 2"),
];

/// The last bytes of the log, and what is kept in parts, or erased; and leases, of which nobody else knows anything.
const MORE_REASONS: &[(&str, &str)] = &[
    (
        "payload-place",
        "UPDATE hw_blob SET (segment, offset) = (SELECT segment, offset - 23 FROM hw_tx ORDER BY tx DESC LIMIT 1) WHERE bid = 2",
    ),
    ("payload-place", "UPDATE hw_blob SET state = 1, parts = '[' WHERE bid = 2"),
    ("payload-place", "UPDATE hw_blob SET state = 1, parts = '[]' WHERE bid = 2"),
    ("payload-place", "UPDATE hw_blob SET state = 1, parts = '[1, 999999]' WHERE bid = 2"),
    ("payload-place", "UPDATE hw_blob SET state = 2 WHERE bid = 2"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease VALUES (999, 'a', 1, 'b', 0)"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease VALUES (1, 'a', -1, 'b', 0)"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease VALUES (1, 'a', 9223372036854775807, 'b', 0)"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease VALUES (1, x'00', 1, 'b', 0)"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease VALUES (1, 'a', 1, x'00', 0)"),
    ("lease-row", "INSERT OR REPLACE INTO hw_lease VALUES (1, 'a', 1, 'b', 'now')"),
];

/// What only a comparison with the log tells.
const COMPARED: [(&str, &str); 6] = [
    ("row-differs", "UPDATE hw_message SET chars = chars + 1 WHERE n = 2"),
    ("row-missing", "DELETE FROM hw_batch_key"),
    ("row-extra", "INSERT INTO hw_alias VALUES ('nickname', 1)"),
    ("schema-differs", "CREATE INDEX mine ON hw_message (n)"),
    ("schema-differs", "DROP TRIGGER hw_head_ord"),
    ("schema-differs", "DROP VIEW blob; CREATE VIEW blob AS SELECT 'b3:00' AS ref"),
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
    expect("event-order", Mode::Deep, &|| append(root, |lines| _ = lines.push_event(&note("demo", demo())), &[], None));
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
    let mut other = anchor.clone();
    other.heads[1].head = HeadId(hash);
    expect("anchor-head", mode(&other), &|| {});

    let all: BTreeSet<_> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(seen.into_inner(), all, "a code that nothing provokes");
}

/// A code is told for each of its reasons, by the quick check; and for none of what a sound row may be.
#[test]
fn each_reason_for_a_code_is_told() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    let mut untold = Vec::new();
    for (code, change) in REASONS.iter().chain(MORE_REASONS).copied() {
        sample.restore();
        sql(root, change);
        if !told(root, Mode::Quick).contains(code) {
            untold.push((code, change));
        }
    }
    assert!(untold.is_empty(), "{untold:#?}");
    let sound = "INSERT OR REPLACE INTO hw_lease VALUES (1, 'a', 1, 'b', 0);
        INSERT INTO hw_pin SELECT 'release', max(hid), 1, 1 FROM hw_head;
        INSERT INTO hw_pin VALUES ('gone', 0, 0, 2);
        INSERT INTO hw_fact VALUES (1, 'tag', 1, 0);
        UPDATE hw_session SET cache_id = 'a cache, of ours';
        UPDATE hw_call SET status = 'ok' WHERE child IS NOT NULL";
    sample.restore();
    fs::set_permissions(root, fs::Permissions::from_mode(0o700)).unwrap();
    sql(root, sound);
    assert_eq!(told(root, Mode::Quick), BTreeSet::new());
}

/// Flips a bit of the frame that holds a payload.
fn hurt(sample: &Sample, digest: &Digest) {
    let conn = rusqlite::Connection::open(sample.root.join("store.sqlite")).unwrap();
    let sql = "SELECT segment, offset FROM blob WHERE ref = ?1";
    let (number, at): (u64, usize) =
        conn.query_row(sql, [digest.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    drop(conn);
    let mut bytes = fs::read(sample.segment(number)).unwrap();
    bytes[at + 26] ^= 4;
    fs::write(sample.segment(number), bytes).unwrap();
}

/// A head is proven with all that it hangs from: its root and those of the heads above it, the values that they name.
#[test]
fn a_head_is_proven_with_what_it_hangs_from() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    sample.restore();
    let store = Store::open(root).unwrap();
    let current = |name: &str| store.session(&name.parse().unwrap()).unwrap().current_head.unwrap();
    let fork = current("fork");
    let fork_root = store.root_of(&fork).unwrap();
    let (up, value) = (fork_root.up.unwrap(), fork_root.refs.final_value.unwrap());
    store.close().unwrap();
    let without =
        |digest: &Digest| sql(root, &format!("DELETE FROM hw_blob WHERE hash = x'{}'", &digest.to_string()[3..]));
    let cases: [(&str, &dyn Fn()); 5] = [
        ("head-root", &|| hurt(&sample, &fork.0)),
        ("head-root", &|| hurt(&sample, &up.0)),
        ("payload-damaged", &|| hurt(&sample, &value)),
        ("head-final", &|| without(&value)),
        ("head-up", &|| without(&up.0)),
    ];
    for (code, damage) in cases {
        sample.restore();
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(told(root, Mode::Head(fork)), BTreeSet::new());
        damage();
        assert!(told(root, Mode::Head(fork)).contains(code), "{code}");
    }
}

/// A root that says one thing otherwise than the log is no root of its head: the boundary alone, the digest alone; in its head's
/// commit, or as a payload that was there before.
#[test]
fn a_root_is_wrong_by_its_boundary_or_its_digest_alone() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    sample.restore();
    let store = Store::open(root).unwrap();
    let demo: SessionId = "demo".parse().unwrap();
    let digests = super::outcome::digests(&store, &demo);
    let (last, chain) = (digests.len() as u64, digests[digests.len() - 1]);
    let good = store.root_of(&store.session(&demo).unwrap().current_head.unwrap()).unwrap();
    store.close().unwrap();
    for (boundary, digest, is_good) in
        [(last, chain, true), (last - 1, chain, false), (last, Digest::of(b"other events"), false)]
    {
        let mut made = good.clone();
        (made.span.1, made.digest) = (EventNumber(boundary), digest);
        let bytes = made.bytes();
        let head = HeadId(Digest::of(&bytes));
        let created = event("demo", last + 1, Body::HeadCreated(head));
        for before in [false, true] {
            sample.restore();
            if before {
                append(root, |lines| added(lines, head.0, bytes.len() as u64, None), &[(0, &bytes)], None);
                append(root, |lines| _ = lines.push_event(&created), &[], None);
            } else {
                let sealed = |lines: &mut Lines| {
                    added(lines, head.0, bytes.len() as u64, None);
                    lines.push_event(&created);
                };
                append(root, sealed, &[(0, &bytes)], None);
            }
            let is_told = told(root, Mode::Deep).contains("head-root");
            assert_eq!(is_told, !is_good, "boundary {boundary} of {last}, put before: {before}");
        }
    }
}

/// Parts that are there make what their payload's hash and size say, or that is told.
#[test]
fn parts_that_make_another_payload_are_told() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    let (left, right) = (b"the left part", b"the right part");
    let (one, two) = (Digest::of(left), Digest::of(right));
    let (joined, size) = (Digest::of(&[&left[..], right].concat()), (left.len() + right.len()) as u64);
    for (hash, says, parts, is_good) in [
        (joined, size, [one, two], true),
        (joined, size + 1, [one, two], false),
        (joined, size, [two, one], false),
        (Digest::of(b"another"), size, [one, two], false),
    ] {
        sample.restore();
        let fill = |lines: &mut Lines| {
            lines.push_record(Record::PayloadPart { hash: one, size: left.len() as u64 });
            lines.push_record(Record::PayloadPart { hash: two, size: right.len() as u64 });
            added(lines, hash, says, Some(parts.to_vec()));
        };
        append(root, fill, &[(0, left), (0, right)], None);
        assert_eq!(told(root, Mode::Deep).contains("payload-parts"), !is_good, "{says} bytes of {parts:?}");
    }
}

/// Whoever else may write is told of: by the group or by all, the folder or, where others may enter it, a file in it; and no more.
#[test]
fn what_others_may_write_is_told_file_by_file() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    let set = |name: &str, mode: u32| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    let open = || {
        let issues = care::check(root, Mode::Quick).unwrap().issues.into_iter();
        let open = issues.filter(|issue| issue.code == "file-open-to-others").map(|issue| issue.place);
        open.collect::<Vec<_>>().join("; ")
    };
    let fresh = || {
        sample.restore();
        for path in files(root).into_keys() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        ["", "blobs"].into_iter().for_each(|name| set(name, 0o700));
    };
    for (folder, name, mode, is_told) in [
        (0o700, "", 0o700, false),
        (0o750, "", 0o750, false),
        (0o720, "", 0o720, true),
        (0o702, "", 0o702, true),
        (0o700, "store.sqlite", 0o666, false),
        (0o755, "store.sqlite", 0o644, false),
        (0o755, "store.sqlite", 0o620, true),
        (0o755, "store.sqlite", 0o602, true),
        (0o755, "blobs/0000000001.seg", 0o602, true),
        (0o755, "blobs", 0o777, true),
    ] {
        fresh();
        set("", folder);
        set(name, mode);
        let told = open();
        assert_eq!(!told.is_empty(), is_told, "{name:?} {mode:o} in {folder:o}: {told}");
        assert!(told.is_empty() || told.contains(&format!("mode {mode:o}")) && told.contains(name), "{told}");
    }
    fresh();
    fs::create_dir(root.join("open")).unwrap_or_default();
    std::os::unix::fs::symlink("/nowhere", root.join("open/link")).unwrap();
    assert!(told(root, Mode::Quick).contains("file-link"));
}

/// Every column of every table is what the log makes: each is changed in a row of its own, as many at once as the table has rows, and
/// the deep check tells of as many.
#[test]
fn a_change_of_any_column_is_told() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root).unwrap();
    super::fill::fill(&store);
    // A version, written by a fork, of a row of its source.
    let fork = store.open_session(&"fork".parse().unwrap()).unwrap();
    let inherited = fork.view().unwrap().rows.turns[0].row.turn;
    fork.update_turn(inherited, |row| row.status = Status::OK).unwrap();
    drop(fork);
    let head = store.session(&"demo".parse().unwrap()).unwrap().current_head.unwrap();
    let (pin, target) = ("release".parse().unwrap(), headwater::model::PinTarget::Head(head));
    store.pin(&pin, target, headwater::store::Expected::Any).unwrap();
    store.append_fact("tag", b"value", None).unwrap();
    store.close().unwrap();
    let database = root.join("store.sqlite");
    let whole = fs::read(&database).unwrap();
    let open = || {
        for name in ["store.sqlite-wal", "store.sqlite-shm"] {
            let _ = fs::remove_file(root.join(name));
        }
        fs::write(&database, &whole).unwrap();
        let conn = rusqlite::Connection::open(&database).unwrap();
        conn.pragma_update(None, "ignore_check_constraints", true).unwrap();
        conn
    };
    let list = |conn: &rusqlite::Connection, sql: &str| -> Vec<String> {
        let mut rows = conn.prepare(sql).unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('hw_lease', 'refinery_schema_history')";
    let (mut columns, mut untold) = (0, Vec::new());
    let tables = list(&open(), tables);
    for table in tables {
        let of = |what: &str| list(&open(), &format!("SELECT {what} FROM pragma_table_info('{table}') WHERE pk"));
        let (keys, others) = (of("name").join(", "), {
            let conn = open();
            list(&conn, &format!("SELECT name || ' ' || type FROM pragma_table_info('{table}') WHERE NOT pk"))
        });
        let rows = list(&open(), &format!("SELECT CAST(count(*) AS TEXT) FROM {table}"))[0].parse::<usize>().unwrap();
        assert!(rows > 0, "{table} is empty");
        let keyed = of("name").into_iter().map(|key| vec![format!("{key} KEY")]);
        let batches: Vec<Vec<String>> = others.chunks(rows).map(<[String]>::to_vec).chain(keyed).collect();
        for batch in batches {
            let conn = open();
            // From the last row on: what a change of a key moves is then another one.
            let place =
                |at: usize| format!("SELECT {keys} FROM {table} ORDER BY {keys} LIMIT 1 OFFSET {}", rows - 1 - at);
            for (at, column) in batch.iter().enumerate() {
                columns += 1;
                let (column, kind) = column.split_once(' ').unwrap();
                let value = match kind {
                    "KEY" => format!(
                        "CASE typeof({column}) WHEN 'integer' THEN {column} + 700000 WHEN 'blob' THEN zeroblob(31)
                         ELSE {column} || 'x' END"
                    ),
                    "INTEGER" => format!("coalesce({column}, 6) + 1"),
                    "BLOB" => "zeroblob(31)".to_owned(),
                    _ => format!("coalesce({column}, '') || 'x'"),
                };
                let change = format!("UPDATE {table} SET {column} = {value} WHERE ({keys}) = ({})", place(at));
                let done = conn.execute(&change, []).unwrap_or_else(|error| panic!("{change}: {error}"));
                assert_eq!(done, 1, "{change}");
            }
            drop(conn);
            let issues = care::check(&root, Mode::Deep).unwrap().issues;
            let told = issues.iter().filter(|issue| issue.code.starts_with("row-") && issue.place.starts_with(&table));
            // The row that says where the log ends is told as what it is to a reader of the log.
            if told.count() < batch.len() && (table != "hw_tx" || issues.is_empty()) {
                untold.push(format!("{table}, {batch:?}: {issues:?}"));
            }
        }
    }
    assert!(columns > 150, "{columns} columns");
    assert!(untold.is_empty(), "{untold:#?}");
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

/// Looking changes no file but SQLite's shared memory, makes none and takes none away, whatever is found.
#[test]
fn a_check_writes_nothing() {
    let sample = Sample::new();
    sample.restore();
    let store = Store::open(&sample.root).unwrap();
    let head = store.session(&"demo".parse().unwrap()).unwrap().current_head.unwrap();
    let anchor = Anchor::take(&store, &head).unwrap();
    store.close().unwrap();
    let (segment, database) = (sample.segment(1), sample.root.join("store.sqlite"));
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[500] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 8] = [
        ("none", &|| {}),
        ("log", &|| flip(&segment)),
        ("row", &|| sql(&sample.root, "DELETE FROM hw_message WHERE n = 1")),
        ("no database", &|| fs::remove_file(&database).unwrap()),
        // SQLite takes the WAL of an empty file for a stray one, and removes it.
        ("emptied", &|| {
            fs::write(&database, "").unwrap();
            fs::write(sample.root.join("store.sqlite-wal"), [7; 5_000]).unwrap();
        }),
        ("no segment", &|| fs::remove_file(&segment).unwrap()),
        ("cut off", &|| {
            fs::create_dir(sample.root.join("repair")).unwrap();
            fs::write(sample.root.join("repair/ready"), "20260101").unwrap();
            fs::write(sample.root.join("blobs/tmp-1"), "half").unwrap();
        }),
        ("in use", &|| {
            let store = Store::open(&sample.root).unwrap();
            store.blobs().put(b"in the WAL alone").unwrap();
            std::mem::forget(store);
        }),
    ];
    let modes = [Mode::Quick, Mode::Deep, Mode::Head(head), Mode::Anchor(Box::new(anchor))];
    for (damage, make) in damages {
        sample.restore();
        make();
        let shared = |path: &std::path::PathBuf| path.ends_with("store.sqlite-shm");
        let look = || files(&sample.root).into_iter().filter(|(path, _)| !shared(path)).collect::<Vec<_>>();
        let before = look();
        for mode in &modes {
            let report = care::check(&sample.root, mode.clone()).unwrap();
            let is_sound = report.issues.iter().all(|issue| issue.code == "file-open-to-others");
            assert!(is_sound || !["none", "in use"].contains(&damage), "{damage}: {:?}", report.issues);
            // SQLite leaves an empty WAL where it opened one.
            let after = look().into_iter().filter(|(path, bytes)| {
                !(path.ends_with("store.sqlite-wal") && bytes.is_empty()) || before.iter().any(|(was, _)| was == path)
            });
            assert!(after.eq(before.iter().cloned()), "{damage}, {} check", report.mode);
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

/// A commit that does not follow the one before it makes no rows: neither where it lies beyond their end, nor in a rebuild. A repair
/// takes the log up to it.
#[test]
fn a_commit_that_does_not_follow_is_never_applied() {
    let sample = Sample::new();
    let root = sample.root.as_path();
    for rebuilt in [false, true] {
        sample.restore();
        let rows = fs::read(root.join("store.sqlite")).unwrap();
        let next = sample.events[&"demo".parse::<SessionId>().unwrap()].len() as u64 + 1;
        append(root, |lines| _ = lines.push_event(&note("demo", next)), &[], Some(Digest::of(b"another")));
        match rebuilt {
            true => fs::remove_file(root.join("store.sqlite")).unwrap(),
            false => {
                fs::write(root.join("store.sqlite"), rows).unwrap();
                super::tools::note(root);
            }
        }
        let refused = Store::open(root).err();
        let told = matches!(&refused, Some(headwater::store::OpenError::Damaged { what, .. }) if what.contains("does not follow"));
        assert!(told, "rebuilt {rebuilt}: {refused:?}");
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

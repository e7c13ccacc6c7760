//! Damage, and what a repair makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use headwater::care::{self, Mode};
use headwater::model::{CallType, Event, PinTarget, Role, SessionId, Status};
use headwater::segment;
use headwater::store::{Expected, NewMessage, NewSession, Options, Session, Store};

use super::tools::turn;

/// A store with some of everything, closed, in segments of a few commits.
pub(super) struct Sample {
    _folder: tempfile::TempDir,
    pub(super) root: PathBuf,
    /// What every session holds.
    pub(super) events: BTreeMap<SessionId, Vec<Event>>,
    /// The files, to be put back.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

pub(super) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

pub(super) fn events(root: &Path) -> BTreeMap<SessionId, Vec<Event>> {
    let store = Store::open_with(root, Options { create: false, ..Options::default() }).unwrap();
    let sessions = store.sessions().unwrap();
    let events = sessions.into_iter().map(|info| {
        let events = store.events(&info.session).unwrap();
        assert_eq!(store.event_view(&info.session).unwrap().rows, Store::fold(&events));
        store.view(&info.session).unwrap();
        (info.session, events)
    });
    let events = events.collect();
    store.close().unwrap();
    events
}

fn work(session: &Session, n: usize) {
    let text = format!("question {n}: {}", "how much is that in all? ".repeat(n % 5 * 10));
    turn(session, &text, &format!("answer {n}")).unwrap();
}

impl Sample {
    pub(super) fn new() -> Sample {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let root = folder.path().join("store");
        let store = Store::open_with(&root, Options { segment_size: 8 << 10, ..Options::default() }).unwrap();
        let named = |name: &str| NewSession::named(name.parse().unwrap());
        let new =
            NewSession { title: Some("A sample".to_owned()), alias: Some("first".parse().unwrap()), ..named("demo") };
        let session = store.create_session(new).unwrap();
        work(&session, 1);
        let early = session.current_head().unwrap();
        let other = store.create_session(named("other")).unwrap();
        for n in 2..8 {
            work(&session, n);
            work(&other, n);
        }
        session.compact("what was said", 2).unwrap();
        session
            .write(|batch| {
                batch.key("keyed");
                let (vars, code) = (batch.put(b"{\"x\":1}"), batch.put(b"x = 1"));
                let eval = batch.add_eval(Status::OK, |row| row.code = Some(code))?;
                batch.add_snapshot(Status::new("turn-final")?, |row| (row.vars, row.eval) = (Some(vars), Some(eval)))
            })
            .unwrap();
        let fork = store.fork(&early, named("fork")).unwrap();
        work(&fork, 9);
        store.set_title(fork.id(), Some("a fork")).unwrap();
        session
            .write(|batch| {
                let label = batch.put(b"a child");
                let call = batch.begin_call(CallType::Child, |row| row.child = Some("fork".parse().unwrap()))?;
                batch.start_invocation(Status::new("rlm")?, |row| {
                    (row.call, row.callee, row.label) = (Some(call), Some("fork".parse().unwrap()), Some(label));
                })
            })
            .unwrap();
        session.write(|batch| batch.add_message(NewMessage::new(Role::User, "x".repeat(3_000)))).unwrap();
        session.seal().unwrap();
        drop(session);
        let session = store.resume(&"demo".parse().unwrap(), Some(&early)).unwrap();
        work(&session, 10);
        store.blobs().put(b"a payload of nobody's").unwrap();
        drop((session, other, fork));
        store.close().unwrap();
        let (files, events) = (files(&root), events(&root));
        Sample { _folder: folder, root, events, files }
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn segment(&self, number: u64) -> PathBuf {
        segment::segment_path(&self.blobs(), number)
    }

    fn segments(&self) -> Vec<u64> {
        segment::list(&self.blobs()).unwrap()
    }

    pub(super) fn restore(&self) {
        fs::remove_dir_all(&self.root).unwrap();
        for (path, bytes) in &self.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// Plans, which changes nothing, then repairs: what is done is what was planned, and a check finds nothing but
    /// payloads that are lost.
    pub(super) fn repair(&self) -> care::RepairReport {
        let before = files(&self.root);
        let plan = care::plan(&self.root).unwrap();
        let after = files(&self.root);
        for (path, bytes) in &before {
            // SQLite's shared memory is nobody's content.
            assert!(path.ends_with("store.sqlite-shm") || after.get(path) == Some(bytes), "{} changed", path.display());
        }
        let report = care::repair(&self.root).unwrap();
        let done = |report: &care::RepairReport| {
            (report.commits.clone(), report.payloads.clone(), report.hurt.clone(), report.rows, report.log)
        };
        assert_eq!(done(&plan), done(&report));
        let found = care::check(&self.root, Mode::Deep).unwrap();
        let issues: Vec<_> = found
            .issues
            .iter()
            .filter(|issue| !["payload-lost", "file-open-to-others"].contains(&issue.code))
            .collect();
        assert!(issues.is_empty(), "{issues:?}\n{report:?}");
        // All that is lost is told, by the repair and by whoever checks the store after it.
        let lost = found.issues.iter().filter(|issue| issue.code == "payload-lost");
        let lost: BTreeSet<_> = lost.map(|issue| issue.place.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(lost, report.payloads.lost.iter().map(ToString::to_string).collect());
        assert!(found.trusted);
        report
    }
}

/// Rows that equal what the log makes, and that nothing vouches for: an opening would not trust them, and a repair makes them anew.
#[test]
fn rows_that_nothing_vouches_for_are_made_anew() {
    let sample = Sample::new();
    fs::write(sample.root.join("mark"), "").unwrap();
    let report = sample.repair();
    assert!(report.rows && !report.log && !report.is_loss(), "{report:?}");
    assert_eq!(events(&sample.root), sample.events);
}

#[test]
fn there_is_nothing_to_do_for_a_sound_store() {
    let sample = Sample::new();
    let report = sample.repair();
    assert!(!report.is_needed() && !report.is_loss() && report.damaged.is_empty(), "{report:?}");
    assert_eq!(report.quarantine, None);
    assert_eq!(events(&sample.root), sample.events);
}

/// A bit flips anywhere in the log, the rows are whole: no event is lost, and at most the payload whose frame was hit.
#[test]
fn rows_and_log_mend_each_other() {
    let sample = Sample::new();
    let (mut proven, mut lost, mut made) = (0, 0, 0);
    for number in sample.segments() {
        let path = sample.segment(number);
        let bytes = sample.files[&path].clone();
        for at in (0..bytes.len()).step_by(419) {
            sample.restore();
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            fs::write(&path, damaged).unwrap();
            let report = sample.repair();
            let place = format!("byte {at} of segment {number}: {report:?}");
            assert!(report.hurt.is_empty() && report.records_lost.is_empty() && report.unproven.is_empty(), "{place}");
            assert!(report.payloads.lost.len() + report.payloads.made_again.len() <= 1, "{place}");
            assert_eq!(events(&sample.root), sample.events, "{place}");
            proven += report.commits.proven;
            lost += report.payloads.lost.len();
            made += report.payloads.made_again.len();
            if report.log {
                let quarantine = report.quarantine.unwrap();
                assert!(quarantine.join("manifest.json").is_file(), "{place}", place = quarantine.display());
                assert!(quarantine.join("blobs").join(path.file_name().unwrap()).is_file());
            }
        }
    }
    // Commits and payloads were met, or the damage was none.
    assert!(proven > 5 && made + lost > 3, "{proven} proven, {lost} lost, {made} made again");
}

/// A segment is gone, or the end of the log is: the rows know the events, and the bytes of payloads are named as lost.
#[test]
fn a_missing_segment_costs_payloads_and_no_events() {
    let sample = Sample::new();
    let mut lost = 0;
    for number in sample.segments() {
        sample.restore();
        fs::remove_file(sample.segment(number)).unwrap();
        let report = sample.repair();
        assert_eq!(events(&sample.root), sample.events, "segment {number}: {report:?}");
        assert!(report.hurt.is_empty(), "{report:?}");
        assert!(report.commits.from_rows + report.commits.proven > 0);
        let store = Store::open(&sample.root).unwrap();
        lost += report.payloads.lost.len();
        for digest in &report.payloads.lost {
            let read = store.blobs().get(digest);
            assert!(matches!(read, Err(headwater::store::ReadError::Damaged { .. })), "{read:?}");
        }
        // Work goes on, and what is put again is there again.
        let session = store.open_session(&"demo".parse().unwrap()).unwrap();
        work(&session, 40);
        drop(session);
        store.close().unwrap();
        let found = care::check(&sample.root, Mode::Deep).unwrap();
        assert!(
            found.issues.iter().all(|issue| ["payload-lost", "file-open-to-others"].contains(&issue.code)),
            "{found:?}"
        );
    }
    assert!(lost > 20, "{lost} payloads were lost");
}

/// A payload that was lost is put again, and reads as if it had never been away.
#[test]
fn a_lost_payload_can_be_put_again() {
    let sample = Sample::new();
    let digest = headwater::model::Digest::of(b"answer 5");
    let conn = rusqlite::Connection::open(sample.root.join("store.sqlite")).unwrap();
    let sql = "SELECT segment, offset FROM blob WHERE ref = ?1";
    let (number, at): (u64, usize) =
        conn.query_row(sql, [digest.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    drop(conn);
    sample.restore();
    let mut bytes = fs::read(sample.segment(number)).unwrap();
    bytes[at + 25] ^= 4;
    fs::write(sample.segment(number), bytes).unwrap();
    assert_eq!(sample.repair().payloads.lost, [digest]);
    let told = || {
        let issues = care::check(&sample.root, Mode::Deep).unwrap().issues;
        issues.into_iter().map(|issue| issue.code).filter(|code| *code != "file-open-to-others").collect::<Vec<_>>()
    };
    assert_eq!(told(), ["payload-lost"]);
    let store = Store::open(&sample.root).unwrap();
    assert!(store.blobs().get(&digest).is_err());
    assert_eq!(store.blobs().put(b"answer 5").unwrap(), digest);
    assert_eq!(store.blobs().get(&digest).unwrap(), b"answer 5");
    store.close().unwrap();
    assert_eq!(told(), [""; 0], "it can be read");
    fs::remove_file(sample.root.join("store.sqlite")).unwrap();
    let store = Store::open(&sample.root).unwrap();
    assert_eq!(store.blobs().get(&digest).unwrap(), b"answer 5", "in the log, too");
}

/// Database and log are both damaged: what hangs on the lost commit is set aside and named, all else is whole.
#[test]
fn without_rows_what_is_lost_is_named() {
    let sample = Sample::new();
    let mut hurt_once = 0;
    for number in sample.segments() {
        let path = sample.segment(number);
        let len = sample.files[&path].len();
        for at in [64 + len / 5, len / 2, len - len / 4] {
            sample.restore();
            fs::remove_file(sample.root.join("store.sqlite")).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let report = sample.repair();
            let after = events(&sample.root);
            for (session, was) in &sample.events {
                let now = after.get(session).map_or(&[][..], Vec::as_slice);
                assert_eq!(now, &was[..now.len()], "what is left is what was there");
                let named = report.hurt.iter().find(|hurt| hurt.session == *session);
                if now.len() < was.len() {
                    let missing_at_end = report.commits.lost > 0;
                    assert!(named.is_some() || missing_at_end, "{session} lost events and is not named: {report:?}");
                    hurt_once += 1;
                    if let Some(hurt) = named {
                        let lost = (now.len() as u64 + 1, (was.len() - now.len()) as u64);
                        assert!(
                            hurt.from == lost.0 && (1..=lost.1).contains(&hurt.events),
                            "{session}: {lost:?} {hurt:?}"
                        );
                    }
                } else {
                    assert!(named.is_none(), "{session} is whole, and named: {report:?}");
                }
            }
        }
    }
    assert!(hurt_once > 0);
}

/// Rows and a whole segment are lost: of a session whose first events were in it, all are named.
#[test]
fn without_rows_events_found_nowhere_are_counted() {
    let sample = Sample::new();
    fs::remove_file(sample.root.join("store.sqlite")).unwrap();
    fs::remove_file(sample.segment(1)).unwrap();
    let report = sample.repair();
    let after = events(&sample.root);
    let mut named = 0;
    for hurt in report.hurt.iter().filter(|hurt| !after.contains_key(&hurt.session)) {
        assert_eq!(hurt.from, 1, "{hurt:?}");
        assert_eq!(hurt.events, sample.events[&hurt.session].len() as u64, "{hurt:?}");
        named += 1;
    }
    assert!(named > 0, "{report:?}");
}

/// Rows that were changed by hand are made anew, and the log is left as it is.
#[test]
fn damaged_rows_are_made_anew() {
    let sample = Sample::new();
    let conn = rusqlite::Connection::open(sample.root.join("store.sqlite")).unwrap();
    conn.execute("UPDATE hw_message SET chars = chars + 1 WHERE n = 2", []).unwrap();
    conn.execute("DELETE FROM hw_turn WHERE n = 3", []).unwrap();
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(conn);
    super::tools::note(&sample.root);
    let report = sample.repair();
    assert!(report.rows && !report.log && !report.is_loss(), "{report:?}");
    assert_eq!(events(&sample.root), sample.events);
}

/// Commits of which every third is damaged: the rows know what each held, and each is proven by what the next one says of it. A second
/// repair finds nothing to do. The log is read a few times over, not once for each gap.
#[test]
fn many_gaps_are_filled_and_a_second_repair_finds_nothing() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root).unwrap();
    let session = store.create_session(NewSession::named("demo".parse().unwrap())).unwrap();
    for n in 0..900 {
        session.add_message(Role::User, format!("message {n}")).commit().unwrap();
    }
    session.seal().unwrap();
    drop(session);
    store.close().unwrap();
    let before = events(&root);
    let path = segment::segment_path(&root.join("blobs"), 1);
    let mut bytes = fs::read(&path).unwrap();
    let commits: Vec<u64> = {
        let reader = segment::SegmentReader::open(&root.join("blobs"), 1).unwrap();
        let frames = reader.frames(segment::Position::first_of(1).offset, None).map(Result::unwrap);
        frames.filter(|(_, frame)| frame.header.kind == segment::Kind::Commit).map(|(at, _)| at).collect()
    };
    for at in commits.iter().skip(4).step_by(3) {
        bytes[usize::try_from(*at).unwrap() + 30] ^= 0x20;
    }
    fs::write(&path, bytes).unwrap();
    let report = care::repair(&root).unwrap();
    assert!(report.commits.proven > 290 && !report.is_loss() && report.commits.from_rows == 0, "{:?}", report.commits);
    assert_eq!(events(&root), before);
    assert_eq!(care::check(&root, Mode::Deep).unwrap().issues, []);
    let now = files(&root.join("blobs"));
    let again = care::repair(&root).unwrap();
    assert!(!again.is_needed() && again.damaged.is_empty() && again.quarantine.is_none(), "{again:?}");
    assert!(files(&root.join("blobs")) == now);
}

/// What is said of the store and its sessions outside of any session's events: whichever commit of it is damaged, the rows have it.
#[test]
fn a_repair_keeps_titles_aliases_pins_and_facts() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root).unwrap();
    let session = store.create_session(NewSession::named("demo".parse().unwrap())).unwrap();
    work(&session, 1);
    let head = session.current_head().unwrap();
    let notes = store.blobs().put(b"notes").unwrap();
    let name = |name: &str| name.parse::<SessionId>().unwrap();
    store.set_title(session.id(), Some("first title")).unwrap();
    store.set_alias(&name("one"), session.id()).unwrap();
    store.set_title(session.id(), Some("second title")).unwrap();
    store.pin(&name("release"), PinTarget::Head(head), Expected::Any).unwrap();
    store.append_fact("price", b"12", None).unwrap();
    store.set_alias(&name("two"), session.id()).unwrap();
    store.pin(&name("release"), PinTarget::Payload(notes), Expected::Any).unwrap();
    store.append_fact("price", b"13", None).unwrap();
    work(&session, 2);
    drop(session);
    store.close().unwrap();
    let said = || {
        let store = Store::open_with(&root, Options { create: false, ..Options::default() }).unwrap();
        let info = store.session(&name("demo")).unwrap();
        let facts = store.facts_since(0, 9).unwrap().into_iter().map(|fact| (fact.fact, fact.tag, fact.payload));
        let said = (info.title, info.aliases, store.pins().unwrap(), facts.collect::<Vec<_>>());
        store.close().unwrap();
        said
    };
    let (before, whole) = (said(), files(&root));
    assert_eq!((before.1.len(), before.2.len(), before.3.len()), (2, 1, 2));
    let commits: Vec<u64> = {
        let reader = segment::SegmentReader::open(&root.join("blobs"), 1).unwrap();
        let frames = reader.frames(segment::Position::first_of(1).offset, None).map(Result::unwrap);
        frames.filter(|(_, frame)| frame.header.kind == segment::Kind::Commit).map(|(at, _)| at).collect()
    };
    // One after the other, and each with the one behind it: then none is proven by its neighbour.
    for width in [1, 2] {
        for gap in commits.windows(width) {
            fs::remove_dir_all(&root).unwrap();
            for (path, bytes) in &whole {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            super::tools::note(&root);
            let path = segment::segment_path(&root.join("blobs"), 1);
            let mut bytes = fs::read(&path).unwrap();
            gap.iter().for_each(|at| bytes[usize::try_from(*at).unwrap() + 30] ^= 0x20);
            fs::write(&path, bytes).unwrap();
            let report = care::repair(&root).unwrap();
            assert!(report.log && report.hurt.is_empty() && report.records_lost.is_empty(), "{gap:?}: {report:?}");
            assert_eq!(said(), before, "{gap:?}: {report:?}");
        }
    }
}

/// The WAL of another store takes its pages to this one: what the rows say then is not taken for what this log lost.
#[test]
fn rows_of_another_store_are_no_witness() {
    let (sample, other) = (Sample::new(), Sample::new());
    let store = Store::open(&other.root).unwrap();
    let session = store.create_session(NewSession::named("theirs".parse().unwrap())).unwrap();
    for n in 0..200 {
        session.add_message(Role::User, format!("theirs {n}")).commit().unwrap();
    }
    let wal = fs::read(other.root.join("store.sqlite-wal")).unwrap();
    assert!(!wal.is_empty());
    let _ = fs::remove_file(sample.root.join("store.sqlite-shm"));
    fs::write(sample.root.join("store.sqlite-wal"), wal).unwrap();
    let report = care::repair(&sample.root).unwrap();
    assert!(report.damaged.iter().any(|what| what.contains("another store")), "{:?}", report.damaged);
    assert!(report.rows && !report.log && !report.is_loss(), "{report:?}");
    assert_eq!(events(&sample.root), sample.events);
    assert_eq!(care::check(&sample.root, Mode::Deep).unwrap().issues, []);
}

/// A row that cannot be read is told of, and hides no other: both witnesses are damaged here.
#[test]
fn a_row_that_cannot_be_read_is_told_of() {
    let sample = Sample::new();
    let conn = rusqlite::Connection::open(sample.root.join("store.sqlite")).unwrap();
    conn.execute("UPDATE hw_session SET digest = x'00' WHERE id = 'fork'", []).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(conn);
    super::tools::note(&sample.root);
    let mut bytes = fs::read(sample.segment(2)).unwrap();
    bytes[600] ^= 1;
    fs::write(sample.segment(2), bytes).unwrap();
    let plan = care::plan(&sample.root).unwrap();
    let told = plan.damaged.iter().any(|what| what.contains("hw_session") && what.contains("cannot be read"));
    assert!(told && plan.log, "{:?}", plan.damaged);
}

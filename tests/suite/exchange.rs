//! Session logs of other programs come in whole, once, and can be written again byte for byte.
//!
//! The fixture is a Pi session with all that Pi's writers have been seen to do: two records on a line, a line cut off in
//! the middle, an empty line, escapes that other writers would not use, a torn last line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::imports::{Place, kinds};
use headwater::exchange::{self, ExportError, Imported};
use headwater::model::{HeadKind, Role, SessionId};

const FIXTURE: &[u8] = include_bytes!("../fixtures/pi-v1.jsonl");
const TORN: usize = "{\"type\":\"message\",\"timestamp\":\"2025-03-01T10:02:1".len();

fn counts(imported: &Imported) -> [u64; 5] {
    [imported.messages, imported.turns, imported.calls, imported.evals, imported.invocations]
}

#[test]
fn a_pi_session_becomes_turns_calls_evals_and_heads() {
    let place = Place::of("pi");
    let imported = place.try_import(FIXTURE).unwrap();
    assert_eq!(imported.session.as_str(), "0f3a-fixture");
    assert_eq!(imported.format, "pi");
    assert_eq!(counts(&imported), [13, 4, 5, 4, 0]);
    assert_eq!(imported.heads, 6);
    assert_eq!(imported.new_events, imported.events);
    assert_eq!(kinds(&imported), [(8, "bad-line"), (11, "two-records"), (18, "torn-tail")]);

    let view = place.store.view(&imported.session).unwrap();
    let rows = &view.rows;
    let roles: Vec<&str> = rows.messages.iter().map(|entry| entry.row.role.as_str()).collect();
    assert_eq!(
        roles,
        [
            "user",
            "assistant",
            "tool",
            "tool",
            "assistant",
            "user",
            "assistant",
            "user",
            "bashExecution",
            "assistant",
            "summary",
            "user",
            "assistant"
        ]
    );
    let said: Vec<String> = rows.messages.iter().map(|entry| place.text(Some(entry.row.content))).collect();
    assert_eq!(said[0], "Read the \"notes\"\nand the plan, please.");
    assert_eq!(said[3], "# Notes\n\n- one\n- two\n");
    assert_eq!(said[5], "Café: count the notes again, more slowly");
    assert_eq!(said[6], "");
    assert!(said[9].starts_with("[{\"type\":\"text\",\"text\":\"Two.\"}"), "{}", said[9]);
    assert!(said[11].contains("iVBORw0KGgo"));
    assert_eq!(rows.messages[10].row.role, Role::Summary);

    let turns: Vec<(&str, String, String)> = rows
        .turns
        .iter()
        .map(|entry| (entry.row.status.as_str(), place.text(entry.row.final_value), place.text(entry.row.error)))
        .collect();
    assert_eq!(turns[0], ("final", "There are two notes, and no plan.".to_owned(), String::new()));
    assert_eq!(turns[1], ("aborted", String::new(), "Request was aborted".to_owned()));
    assert_eq!(turns[2].0, "final");
    assert_eq!(turns[3], ("error", String::new(), "529 overloaded".to_owned()));

    let call = &rows.calls[0].row;
    assert_eq!(
        (call.status.as_str(), call.provider.as_deref(), call.model.as_deref()),
        ("ok", Some("acme"), Some("acme-1"))
    );
    assert_eq!((call.tokens_input, call.tokens_output, call.tokens_cached), (Some(1200), Some(40), Some(800)));
    let costs: Vec<Option<u64>> = rows.calls.iter().map(|entry| entry.row.cost).collect();
    assert_eq!(costs, [Some(29_977_500), None, Some(1), Some(500_000), None]);
    assert_eq!(call.started_at.unwrap().to_string(), "2025-03-01T10:00:02.000000Z");
    assert_eq!(call.ended_at.unwrap().to_string(), "2025-03-01T10:00:04.000000Z");

    let evals: Vec<(&str, &str, String)> = rows
        .evals
        .iter()
        .map(|entry| {
            let row = &entry.row;
            (row.name.as_deref().unwrap_or_default(), row.status.as_str(), place.text(row.code))
        })
        .collect();
    assert_eq!(
        evals,
        [
            ("read", "error", r#"{"path":"/home/ada/project/plan.md"}"#.to_owned()),
            ("read", "ok", r#"{"path": "/home/ada/project/notes.md", "limit": 1e2}"#.to_owned()),
            ("bash", "unfinished", r#"{"command":"sleep 100; wc -l notes.md"}"#.to_owned()),
            ("bash", "error", "grep -c '^- ' notes.md nothing.md".to_owned()),
        ]
    );
    assert_eq!(rows.evals[0].row.message.unwrap().0, 2);
    assert_eq!(rows.evals[0].row.call.unwrap().0, 1);
    assert_eq!(rows.evals[3].row.call, None);

    let heads: Vec<HeadKind> =
        place.store.heads(&imported.session).unwrap().into_iter().map(|head| head.kind).collect();
    use HeadKind::{Compaction, Genesis, TurnFinal};
    assert_eq!(heads, [Genesis, TurnFinal, TurnFinal, TurnFinal, Compaction, TurnFinal]);
}

#[test]
fn a_compaction_keeps_the_messages_pi_kept() {
    let place = Place::of("pi");
    let imported = place.try_import(FIXTURE).unwrap();
    let heads = place.store.heads(&imported.session).unwrap();
    let head = heads.iter().find(|head| head.kind == HeadKind::Compaction).unwrap();
    let root = place.store.root_of(&head.head).unwrap();
    let view = place.store.view_at(&imported.session, &head.head).unwrap();
    let kept: Vec<u64> = root
        .transcript
        .unwrap()
        .iter()
        .flat_map(|range| {
            let inside = |event| range.from <= event && event <= range.to;
            view.rows.messages.iter().filter(move |entry| inside(entry.event)).map(|entry| entry.row.message.0)
        })
        .collect();
    // The summary, then what came from record 7 on: the sixth message and after.
    assert_eq!(kept, [11, 6, 7, 8, 9, 10]);
}

#[test]
fn what_was_imported_is_written_again_byte_for_byte() {
    let place = Place::of("pi");
    let imported = place.try_import(FIXTURE).unwrap();
    let source = place.source_bytes(&imported.session);
    assert_eq!(String::from_utf8_lossy(&source), String::from_utf8_lossy(&FIXTURE[..FIXTURE.len() - TORN]));
}

#[test]
fn importing_again_adds_nothing() {
    let place = Place::of("pi");
    let first = place.try_import(FIXTURE).unwrap();
    let second = place.try_import(FIXTURE).unwrap();
    assert_eq!(second, Imported { new_events: 0, ..first.clone() });
    // Nor after a turn of its own, as long as the source stays as it was.
    let session = place.store.open_session(&first.session).unwrap();
    session.begin_turn("mine").unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    assert_eq!(place.try_import(FIXTURE).unwrap().new_events, 0);
}

#[test]
fn a_source_that_grew_gives_what_one_that_was_whole_gives() {
    let whole = Place::of("pi");
    let expected = whole.try_import(FIXTURE).unwrap();
    let source = whole.source_bytes(&expected.session);
    let rows = whole.rows(&expected.session);
    let first_line = FIXTURE.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in (first_line..FIXTURE.len()).step_by(97) {
        let place = Place::of("pi");
        place.try_import(&FIXTURE[..cut]).unwrap();
        let imported = place.try_import(FIXTURE).unwrap();
        assert_eq!(counts(&imported), counts(&expected), "cut at {cut}");
        assert_eq!(place.rows(&imported.session), rows, "cut at {cut}");
        assert_eq!(place.source_bytes(&imported.session), source, "cut at {cut}");
        assert_eq!(place.try_import(FIXTURE).unwrap().new_events, 0, "cut at {cut}");
    }
}

#[test]
fn a_source_that_grew_by_whole_turns_gives_the_same_turns() {
    // A turn ends where the next user message begins: cut there, its tool had its eval already.
    let cut = find(FIXTURE, b"{\"type\":\"message\",\"timestamp\":\"2025-03-01T10:01:10");
    let (whole, grown) = (Place::of("pi"), Place::of("pi"));
    let expected = whole.try_import(FIXTURE).unwrap();
    grown.try_import(&FIXTURE[..cut]).unwrap();
    let imported = grown.try_import(FIXTURE).unwrap();
    assert_eq!(imported.heads, expected.heads);
    let turns = |place: &Place| -> Vec<_> {
        place.store.view(&expected.session).unwrap().rows.turns.into_iter().map(|entry| entry.row.status).collect()
    };
    assert_eq!(turns(&whole), turns(&grown));
}

#[test]
fn two_stores_that_import_the_same_hold_the_same() {
    let (left, right) = (Place::of("pi"), Place::of("pi"));
    let session = left.try_import(FIXTURE).unwrap().session;
    right.try_import(FIXTURE).unwrap();
    assert_eq!(left.log(&session), right.log(&session));
}

#[test]
fn a_source_that_left_its_history_becomes_a_fork_of_it() {
    let place = Place::of("pi");
    let before = place.try_import(FIXTURE).unwrap();
    let log = place.log(&before.session);
    let mut changed = FIXTURE.to_vec();
    let at = find(&changed, b"{\"type\":\"message\",\"timestamp\":\"2025-03-01T10:01:10");
    let word = at + find(&changed[at..], b"count") + 2;
    changed[word] = b'U';
    let other = place.try_import(&changed).unwrap();
    assert_ne!(other.session, before.session);
    assert_eq!(other.forked_from, Some(before.session.clone()));
    assert_eq!(place.log(&before.session), log, "the source of the fork gains nothing");

    // It shares the turns before the changed record, and says all that a store of its own would say.
    let alone = Place::of("pi");
    let expected = alone.try_import(&changed).unwrap();
    let told = |place: &Place, session: &SessionId| -> Vec<(String, String)> {
        let rows = place.store.view(session).unwrap().rows;
        rows.messages.iter().map(|entry| (entry.row.role.to_string(), place.text(Some(entry.row.content)))).collect()
    };
    assert_eq!(told(&place, &other.session), told(&alone, &expected.session));
    assert_eq!((other.messages, other.turns), (expected.messages, expected.turns));
    // The answers behind the changed record are those of the first: they were paid for once.
    let own = place.log(&other.session);
    let calls = own.iter().filter(|event| event.body.kind() == "call/put").count() as u64;
    assert_eq!((calls, other.calls), (0, 3));
    let turns = own.iter().filter(|event| event.body.kind() == "turn/started").count() as u64;
    assert_eq!(turns, expected.turns - 2);
    let derivations = place.store.derivations(&other.session).unwrap();
    assert_eq!(derivations[0].source_session, before.session);
    let head = place.store.head(&derivations[0].source_head).unwrap();
    assert_eq!(head.turn.unwrap().0, 2);

    // Its bytes come back, it is found again, and it goes on; so does a third that leaves the second.
    assert_eq!(place.source_bytes(&other.session), changed[..changed.len() - TORN]);
    assert_eq!(place.try_import(&changed).unwrap(), Imported { new_events: 0, ..other.clone() });
    assert_eq!(place.try_import(FIXTURE).unwrap(), Imported { new_events: 0, ..before.clone() });
    changed.truncate(changed.len() - TORN);
    let mut third = changed.clone();
    changed.extend_from_slice(b"{\"type\":\"message\",\"message\":{\"role\":\"user\",\"content\":\"and on\"}}\n");
    let more = place.try_import(&changed).unwrap();
    assert_eq!((&more.session, more.turns), (&other.session, other.turns + 1));
    let at = find(&third, b"What is this?");
    third[at] = b'w';
    let third_ = place.try_import(&third).unwrap();
    assert_eq!(third_.forked_from, Some(other.session.clone()));
    assert_eq!(place.source_bytes(&third_.session), third);
    assert_eq!(place.try_import(&third).unwrap().new_events, 0);
    assert_eq!(place.store.sessions().unwrap().len(), 3);
    assert_eq!(headwater::care::check(place.store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
}

#[test]
fn a_source_that_is_shorter_than_it_was_has_nothing_new() {
    let place = Place::of("pi");
    let before = place.try_import(FIXTURE).unwrap();
    let first_line = find(FIXTURE, b"\n");
    for cut in (first_line..FIXTURE.len() - TORN - 1).step_by(211) {
        let again = place.try_import(&FIXTURE[..cut]).unwrap();
        assert_eq!((&again.session, again.new_events), (&before.session, 0), "cut at {cut}");
        assert_eq!(kinds(&again).last(), Some(&(0, "shorter")), "cut at {cut}");
    }
}

#[test]
fn a_source_and_a_session_that_both_went_on_part() {
    let place = Place::of("pi");
    let cut = find(FIXTURE, b"{\"type\":\"compaction\"");
    let imported = place.try_import(&FIXTURE[..cut]).unwrap();
    let session = place.store.open_session(&imported.session).unwrap();
    session.begin_turn("mine").unwrap();
    session.close().unwrap();
    let events = place.store.session(&imported.session).unwrap().events;
    let other = place.try_import(FIXTURE).unwrap();
    assert_eq!(other.forked_from, Some(imported.session.clone()));
    assert_eq!(place.source_bytes(&other.session), FIXTURE[..FIXTURE.len() - TORN]);
    assert_eq!(place.store.session(&imported.session).unwrap().events, events);
    let inputs: Vec<String> = place
        .store
        .view(&other.session)
        .unwrap()
        .rows
        .messages
        .iter()
        .filter(|entry| entry.row.role == Role::User)
        .map(|entry| place.text(Some(entry.row.content)))
        .collect();
    assert_eq!(inputs.len(), 4);
    assert!(!inputs.contains(&"mine".to_owned()));
    assert_eq!(place.try_import(FIXTURE).unwrap(), Imported { new_events: 0, ..other });
}

#[test]
fn the_same_id_with_another_first_record_is_another_session() {
    let place = Place::of("pi");
    let first = place.try_import(FIXTURE).unwrap();
    let other = String::from_utf8_lossy(FIXTURE).replace("/home/ada/project", "/home/bob/project");
    let second = place.try_import(other.as_bytes()).unwrap();
    assert_ne!(first.session, second.session);
    assert!(second.session.as_str().starts_with("0f3a-fixture-"));
    assert_eq!(place.try_import(other.as_bytes()).unwrap(), Imported { new_events: 0, ..second });
    assert_eq!(place.try_import(FIXTURE).unwrap().session, first.session);
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let place = Place::of("pi");
    let kind = |bytes: &[u8]| place.try_import(bytes).unwrap_err().kind();
    assert_eq!(kind(b""), Some("no-records"));
    assert_eq!(kind(b"\n\n"), Some("no-records"));
    assert_eq!(kind(b"not json\n[1]\n\"x\"\n{\"type\":\"session\""), Some("no-records"));
    assert_eq!(kind(&[0; 4096]), Some("no-records"));
    assert_eq!(kind(b"{}\n"), Some("unknown-format"));
    assert_eq!(kind(b"{\"type\":\"session\"}\n"), Some("unknown-format"));
    assert_eq!(kind(b"{\"type\":\"session\",\"id\":\"a\",\"version\":4}\n"), Some("unsupported-version"));

    let at = |path: &Path| exchange::import(&place.store, path).unwrap_err().kind();
    let link = place.folder.path().join("link.jsonl");
    std::os::unix::fs::symlink(place.file("real.jsonl", FIXTURE), &link).unwrap();
    assert_eq!(at(&link), Some("not-a-file"));
    assert_eq!(at(Path::new("/dev/zero")), Some("not-a-file"));
    assert_eq!(at(place.folder.path()), Some("not-a-file"));
    assert_eq!(at(&place.folder.path().join("nothing")), Some("not-found"));
    assert_eq!(place.store.sessions().unwrap(), []);
}

#[test]
fn hostile_records_are_kept_and_stop_nothing() {
    let header = r#"{"type":"session","id":"../../etc","timestamp":"yesterday"}"#;
    let records = [
        r#"{"type":"message","type":"message"}"#.to_owned(),
        r#"{"type":"message","message":{"role":"user","role":"user"}}"#.to_owned(),
        r#"{"type":"message","message":{"role":""}}"#.to_owned(),
        r#"{"type":"message","message":[]}"#.to_owned(),
        r#"{"type":5}"#.to_owned(),
        r#"{"type":"turn/put"}"#.to_owned(),
        format!(r#"{{"type":"{}"}}"#, "long".repeat(100)),
        r#"{"type":"a\u0000b\nc"}"#.to_owned(),
        r#"{"type":"session","id":"again"}"#.to_owned(),
        r#"{"type":"message","timestamp":"9999-12-31T23:59:59Z","message":{"role":"user","content":"nul \u0000 and \ud800 alone"}}"#.to_owned(),
        r#"{"type":"message","timestamp":7,"message":{"role":"assistant","content":[{"type":"toolCall"}],"usage":{"input":-1,"output":1.5,"cacheRead":"9","cost":{"total":1e999}}}}"#.to_owned(),
        r#"{"type":"message","message":{"role":"assistant","content":[1,"x",null],"usage":[],"stopReason":"stop"}}"#.to_owned(),
        r#"{"type":"message","message":{"role":"assistant","content":{"type":"text"},"usage":{"cost":0.5},"model":7}}"#.to_owned(),
        r#"{"type":"message","message":{"role":"toolResult","toolCallId":"nobody"}}"#.to_owned(),
        r#"{"type":"message","message":{"role":"bashExecution"}}"#.to_owned(),
        r#"{"type":"message","message":{"role":"user"}}"#.to_owned(),
        r#"{"type":"compaction","summary":"s","firstKeptEntryIndex":99999999}"#.to_owned(),
        r#"{"type":"compaction"}"#.to_owned(),
        format!(r#"{{"type":"deep","x":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000)),
        format!(r#"{{"type":"message","message":{{"role":"user","content":{}1{}}}}}"#, "[".repeat(5_000), "]".repeat(5_000)),
    ];
    let mut text = header.to_owned().into_bytes();
    for record in &records {
        text.push(b'\n');
        text.extend_from_slice(record.as_bytes());
    }
    text.extend_from_slice(b"\n{\"type\":\"x\",\"y\":\"\xff\xfe\"}\n\0\0\0\n");
    let place = Place::of("pi");
    let imported = place.try_import(&text).unwrap();
    assert!(imported.session.as_str().starts_with("pi-"), "{}", imported.session);
    assert_eq!(place.source_bytes(&imported.session), text);
    assert_eq!(counts(&imported), [9, 3, 3, 3, 0]);
    assert_eq!(place.try_import(&text).unwrap(), Imported { new_events: 0, ..imported.clone() });
    assert_eq!(headwater::care::check(place.store.root(), headwater::care::Mode::Deep).unwrap().issues, []);
}

#[test]
fn many_turns_are_several_batches() {
    let mut text = b"{\"type\":\"session\",\"id\":\"many\"}\n".to_vec();
    for i in 0..1_000 {
        text.extend_from_slice(
            format!(
                "{{\"type\":\"message\",\"message\":{{\"role\":\"user\",\"content\":\"question {i}\"}}}}\n{{\"type\":\"message\",\"message\":{{\"role\":\"assistant\",\"content\":\"answer {i}\",\"stopReason\":\"stop\"}}}}\n"
            )
            .as_bytes(),
        );
    }
    let whole = Place::of("pi");
    let imported = whole.try_import(&text).unwrap();
    assert_eq!(counts(&imported), [2_000, 1_000, 1_000, 0, 0]);
    assert_eq!(imported.heads, 1_001);
    assert_eq!(whole.source_bytes(&imported.session), text);
    let batches = whole.log(&imported.session).iter().filter(|event| event.body.kind() == "import/source").count();
    assert_eq!(batches, 2);
    assert_eq!(whole.try_import(&text).unwrap().new_events, 0);
}

#[test]
fn a_turn_that_never_ends_is_cut() {
    let mut text = b"{\"type\":\"session\",\"id\":\"long\"}\n{\"type\":\"message\",\"message\":{\"role\":\"user\",\"content\":\"go\"}}\n".to_vec();
    for i in 0..1_500 {
        text.extend_from_slice(
            format!(
                "{{\"type\":\"message\",\"message\":{{\"role\":\"assistant\",\"content\":[{{\"type\":\"toolCall\",\"id\":\"t{i}\",\"name\":\"bash\",\"arguments\":{{\"command\":\"echo {i} and more\"}}}}],\"stopReason\":\"toolUse\"}}}}\n{{\"type\":\"message\",\"message\":{{\"role\":\"toolResult\",\"toolCallId\":\"t{}\",\"content\":[{{\"type\":\"text\",\"text\":\"result {i}\"}}]}}}}\n",
                // Results lag behind, so that some tools are pending at the cut.
                i.max(3) - 3,
            )
            .as_bytes(),
        );
    }
    let place = Place::of("pi");
    let imported = place.try_import(&text).unwrap();
    assert_eq!(imported.turns, 1);
    assert_eq!(imported.heads, 3);
    assert_eq!(place.source_bytes(&imported.session), text);
    let view = place.store.view(&imported.session).unwrap();
    assert_eq!(view.rows.turns[0].row.status.as_str(), "unfinished");
    // A turn that goes on over a cut is one: nothing of it was closed in between, but at the end of the file.
    let unfinished = |place: &Place| {
        let evals = place.store.view(&imported.session).unwrap().rows.evals;
        evals.iter().filter(|entry| entry.row.status.as_str() == "unfinished").count()
    };
    assert_eq!(unfinished(&place), 3);
    assert!(view.rows.evals.iter().filter(|entry| entry.row.call.is_some()).all(|entry| entry.row.code.is_some()));
    // The last three may still give their results, until another turn begins.
    text.extend_from_slice(b"{\"type\":\"message\",\"message\":{\"role\":\"user\",\"content\":\"stop\"}}\n");
    place.try_import(&text).unwrap();
    assert_eq!(unfinished(&place), 3);
}

#[test]
fn a_line_too_long_to_be_held_is_kept_as_it_is() {
    let mut text = b"{\"type\":\"session\",\"id\":\"wide\"}\n{\"type\":\"blob\",\"x\":\"".to_vec();
    text.resize(text.len() + exchange::source::MAX_LINE, b'x');
    text.extend_from_slice(b"\"}\n{\"type\":\"message\",\"message\":{\"role\":\"user\",\"content\":\"hello\"}}\n");
    let place = Place::of("pi");
    let imported = place.try_import(&text).unwrap();
    assert_eq!(kinds(&imported), [(2, "line-too-long")]);
    assert_eq!((imported.messages, imported.turns), (1, 1));
    assert!(place.source_bytes(&imported.session) == text, "it is not what it was");
    assert_eq!(place.try_import(&text).unwrap(), Imported { new_events: 0, ..imported });
}

#[test]
fn an_export_is_made_whole_or_not_at_all() {
    let place = Place::of("pi");
    let imported = place.try_import(FIXTURE).unwrap();
    let path = place.folder.path().join("out.jsonl");
    fs::write(&path, "before").unwrap();
    assert_eq!(exchange::export_to(&place.store, &imported.session, None, &path).unwrap().format, "pi");
    assert_eq!(fs::read(&path).unwrap(), FIXTURE[..FIXTURE.len() - TORN]);
    // What cannot be written leaves what is there, and nothing beside it.
    let session = place.store.open_session(&imported.session).unwrap();
    session.begin_turn("mine").unwrap();
    session.close().unwrap();
    fs::write(&path, "before").unwrap();
    let error = exchange::export_to(&place.store, &imported.session, Some("opencode"), &path).unwrap_err();
    assert!(matches!(error, ExportError::Io { .. }), "a folder, and there is a file: {error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"before");
    let names: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let own = place.store.create_session(headwater::store::NewSession::named("own".parse().unwrap())).unwrap();
    let kind = |format| exchange::export_to(&place.store, own.id(), format, &path).unwrap_err().kind();
    assert_eq!((kind(None), kind(Some("nothing"))), (Some("not-exportable"), Some("unknown-format")));
}

#[test]
fn real_pi_sessions_come_in_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/pi/pi-mono");
    for (name, expected) in
        [("session-v1-root.jsonl", [455, 44, 220, 190, 46]), ("large-session.jsonl", [914, 88, 453, 391, 89])]
    {
        let path = folder.join(name);
        let Ok(source) = fs::read(&path) else {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        };
        let place = Place::of("pi");
        let imported = exchange::import(&place.store, &path).unwrap();
        let [messages, turns, calls, evals, _] = counts(&imported);
        assert_eq!([messages, turns, calls, evals, imported.heads], expected, "{name}");
        assert!(place.source_bytes(&imported.session) == source, "{name} is not what it was");
        let view = place.store.view(&imported.session).unwrap();
        let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in &view.rows.calls {
            *statuses.entry(entry.row.status.as_str()).or_default() += 1;
        }
        eprintln!("{name}: {statuses:?} {:?}", imported.diagnostics);
        assert_eq!(exchange::import(&place.store, &path).unwrap().new_events, 0);
        place.store.clone().close().unwrap();
        let kept = size(&place.folder.path().join("store"));
        eprintln!("{name}: {} bytes in, {kept} bytes kept: {:.3}", source.len(), kept as f64 / source.len() as f64);
    }
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() { size(&path) } else { meta.len() }
        })
        .sum()
}

fn find(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).position(|window| window == part).unwrap()
}

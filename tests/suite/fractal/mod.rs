//! fractal-engine's run directories come in whole, children and all, and can be written again byte for byte.
//!
//! The fixtures are a run with a child, a leaf batch whose ids are out of order, a failed turn, and values of every kind of EDN; and a fork of it
//! after its first turn.

mod any;
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use headwater::exchange::{self, ImportError, Imported};
use headwater::model::edn::Document;
use headwater::model::{Body, CallType, DerivationKind, EvalNumber, Role, SessionId, Status, Turn, TurnNumber};
use headwater::store::{NewMessage, NewSession, Store};
use headwater::view::types::Sum;
use proptest::prelude::*;

use crate::imports::{Place, copy, files};

impl Place {
    /// A copy of a fixture, which may be changed.
    fn run(&self, name: &str) -> PathBuf {
        let to = self.folder.path().join("runs").join(name);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fractal").join(name), &to);
        to
    }

    /// The files that an export writes.
    fn export_run(&self, session: &SessionId) -> BTreeMap<String, Vec<u8>> {
        let to = tempfile::tempdir_in(self.folder.path()).unwrap();
        let path = to.path().join("run");
        exchange::export_to(&self.store, session, None, &path).unwrap();
        files(&path)
    }

    fn count(&self, session: &SessionId, kind: &str) -> usize {
        let is = |body: &Body| matches!(body, Body::Annotation(row) if row.kind == kind);
        self.log(session).iter().filter(|event| is(&event.body)).count()
    }
}

fn assert_same(made: &BTreeMap<String, Vec<u8>>, original: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(made.keys().collect::<Vec<_>>(), original.keys().collect::<Vec<_>>());
    for (name, bytes) in original {
        assert!(made[name] == *bytes, "{name} differs");
    }
}

fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

fn odd(imported: &Imported) -> Vec<(u64, &str)> {
    imported.diagnostics.iter().map(|one| (one.line, one.kind.as_str())).collect()
}

fn counts(imported: &Imported) -> [u64; 6] {
    let Imported { messages, turns, calls, evals, heads, invocations, .. } = imported;
    [*messages, *turns, *calls, *evals, *heads, *invocations]
}

#[test]
fn a_run_becomes_sessions_turns_calls_evals_and_heads() {
    let place = Place::of("fractal");
    let imported = place.import_all(&place.run("harbor"));
    let names: Vec<_> = imported.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(names, ["harbor.child-0001", "harbor"], "children stand before their callers");
    assert_eq!(counts(&imported[0]), [3, 1, 1, 1, 2, 0]);
    assert_eq!(counts(&imported[1]), [5, 2, 5, 2, 3, 1]);
    assert!(imported.iter().all(|one| one.diagnostics.is_empty() && one.format == "fractal"));

    let view = place.store.view(&id("harbor")).unwrap();
    assert_eq!(view.session.status.as_str(), "error");
    assert_eq!(view.session.started_at.to_string(), "2026-03-01T09:00:00.500000Z");
    let rows = &view.rows;
    let said: Vec<_> = rows.messages.iter().map(|entry| place.text(Some(entry.row.content))).collect();
    assert_eq!(said[1], "How many boats are in the \"old\" harbor?");
    assert_eq!(said[3], "=> #{1/3 ##Inf 2N} \u{1} and \u{2}");
    assert_eq!(said[4], "And the new one? Café ⛵");
    assert_eq!(rows.messages[2].row.call.unwrap().0, 1);

    let turns: Vec<_> =
        rows.turns.iter().map(|entry| (entry.row.status.as_str(), place.text(entry.row.final_value))).collect();
    assert_eq!(turns, [("final", "3".to_owned()), ("error", String::new())]);
    assert_eq!(place.text(rows.turns[0].row.input), said[1]);
    assert_eq!(place.text(rows.turns[1].row.error), "#:error{:type :provider/failed, :message \"529\"}");

    // Calls are numbered as they began, whatever ids the engine gave them.
    let calls: Vec<_> = rows.calls.iter().map(|entry| &entry.row).collect();
    assert_eq!(calls[0].cost, Some(937_000));
    assert_eq!(
        (calls[0].tokens_input, calls[0].tokens_output, calls[0].tokens_cached),
        (Some(937), Some(44), Some(11))
    );
    assert!(place.text(calls[0].request).starts_with("#:request{:messages\n"));
    assert!(place.text(calls[0].response).starts_with("#:response{:finish-reason :stop"));
    assert_eq!((calls[1].batch_index, calls[2].batch_index), (Some(1), Some(0)));
    assert_eq!((&calls[1].call_type, calls[1].eval), (&CallType::LeafBatchItem, Some(EvalNumber(1))));
    assert_eq!(
        (calls[1].tokens_input, calls[1].cost, calls[1].batch.as_deref()),
        (Some(20), Some(15_040_000), Some("leaf-batch-1"))
    );
    assert_eq!((place.text(calls[1].input), place.text(calls[1].result)), ("2".to_owned(), "1/3".to_owned()));
    assert!(
        place.text(calls[1].extra).contains(r#""call/cost":{"cost/usd":0.015040000000000001}"#),
        "number text is kept"
    );
    assert_eq!(calls[3].child, Some(id("harbor.child-0001")));
    assert_eq!((calls[4].status.as_str(), calls[4].cost), ("error", None));

    let evals: Vec<_> = rows.evals.iter().map(|entry| &entry.row).collect();
    assert_eq!(place.text(evals[0].code), "(def n (map-lm [1 2] \"boats?\"))");
    assert_eq!(place.text(evals[0].result), "#{1/3 ##Inf 2N}");
    assert_eq!(place.text(evals[1].extra), r#"{"eval/elapsed-ms":9,"eval/stderr":"warn","eval/stdout":""}"#);
    let snapshot = &rows.snapshots[0].row;
    assert_eq!((snapshot.restorable, snapshot.turn, snapshot.eval), (1, Some(TurnNumber(1)), Some(EvalNumber(2))));
    assert!(place.text(snapshot.vars).contains("#inst \"2026-03-01T09:00:00.000-00:00\""));

    let heads = place.store.heads(&id("harbor")).unwrap();
    assert_eq!(heads[1].snapshot, Some(snapshot.snapshot), "the head of the turn has its snapshot");
    assert_eq!((heads[1].turn, heads[2].basis), (Some(TurnNumber(1)), Some(heads[1].head)));

    let called = place.store.invocations_from(&id("harbor")).unwrap();
    let called = &called[0].row;
    assert_eq!((called.invocation_type.as_str(), called.status.as_str(), called.call.unwrap().0), ("rlm", "final", 4));
    let child = place.store.heads(&id("harbor.child-0001")).unwrap();
    let sides = [called.caller_before, called.caller_after, called.callee_before, called.callee_after];
    assert_eq!(sides, [Some(heads[0].head), Some(heads[1].head), Some(child[0].head), Some(child[1].head)]);
}

#[test]
fn every_file_of_a_run_is_written_again_and_importing_again_adds_nothing() {
    let place = Place::of("fractal");
    let (run, fork) = (place.run("harbor"), place.run("harbor-fork"));
    // Projections as the engine writes them: before its last record.
    let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
    let before_last = journal.trim_end().rsplit_once('\n').unwrap().0;
    let pretty = |text: &str| Document::read(text.as_bytes()).unwrap().root().pretty(1 << 20).unwrap() + "\n";
    fs::write(run.join("events.edn"), pretty(&format!("[{before_last}]"))).unwrap();
    let messages: Vec<String> = journal
        .lines()
        .filter_map(|line| {
            Document::read(line.as_bytes()).unwrap().root().get("message").map(|row| row.text().to_owned())
        })
        .collect();
    fs::write(run.join("messages.edn"), pretty(&format!("[{}]", messages.join(" ")))).unwrap();
    fs::write(run.join("turns.edn"), "[not what the journal says]\n").unwrap();
    fs::write(run.join("notes.bin"), [0, 255, 1, 2]).unwrap();

    let first = place.import_all(place.folder.path().join("runs").as_path());
    assert_eq!(
        first.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(),
        ["harbor.child-0001", "harbor", "harbor-fork"]
    );
    assert_same(&place.export_run(&id("harbor")), &files(&run));
    assert_same(&place.export_run(&id("harbor-fork")), &files(&fork));
    assert_same(&place.export_run(&id("harbor.child-0001")), &files(&run.join("children/child-0001")));
    // Not kept as files: two projections that can be made again, two blobs that rows refer to.
    assert_eq!(place.count(&id("harbor"), "import/file"), 4, "session.edn, tree.edn, turns.edn, notes.bin");

    let events: Vec<u64> = first.iter().map(|one| one.events).collect();
    let again = place.import_all(place.folder.path().join("runs").as_path());
    assert!(again.iter().all(|one| one.new_events == 0));
    assert_eq!(again.iter().map(|one| one.events).collect::<Vec<_>>(), events);
    let checked = headwater::care::check(&place.folder.path().join("store"), headwater::care::Mode::Deep).unwrap();
    assert!(checked.issues.is_empty(), "{:?}", checked.issues);

    // A child's directory by itself is the same source as below its run.
    let child = place.import_all(&run.join("children/child-0001"));
    assert_eq!((child[0].session.as_str(), child[0].new_events), ("harbor.child-0001", 0));

    // Files change without a new record: the projections are rewritten at each turn's end.
    fs::write(run.join("tree.edn"), "{:tree/session-id \"harbor\", :tree/children []}\n").unwrap();
    fs::remove_file(run.join("notes.bin")).unwrap();
    let changed = place.import_all(&run);
    assert!(changed[1].new_events > 0);
    assert_eq!(changed[1].messages, 5);
    assert_same(&place.export_run(&id("harbor")), &files(&run));
    assert_eq!(place.import_all(&run)[1].new_events, 0);
}

#[test]
fn a_fork_shares_the_rows_of_its_source_where_that_is_in_the_store() {
    let place = Place::of("fractal");
    let (run, fork) = (place.run("harbor"), place.run("harbor-fork"));
    place.import_all(&run);
    let shared = &place.import_all(&fork)[0];
    assert_eq!(shared.forked_from, Some(id("harbor")));
    let source = place.store.heads(&id("harbor")).unwrap();
    assert_eq!(place.store.session(&id("harbor-fork")).unwrap().source, Some((id("harbor"), source[1].head)));
    let own = place.store.events(&id("harbor-fork")).unwrap();
    let added = own.iter().filter(|event| matches!(event.body, Body::MessageAdded(_))).count();
    assert_eq!(added, 2, "the four messages before are the source's");
    let rows = place.store.view(&id("harbor-fork")).unwrap().rows;
    let said: Vec<_> = rows.messages.iter().map(|entry| place.text(Some(entry.row.content))).collect();
    assert_eq!((said.len(), said[4].as_str(), said[5].as_str()), (6, "Go another way.", "(FINAL :done)"));
    assert_eq!(rows.turns.iter().map(|entry| entry.row.turn.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        place.store.usage(&id("harbor-fork")).unwrap().root.calls,
        1,
        "the source's calls are not counted again"
    );

    // Without its source it stands for itself, and says so.
    let alone = Place::of("fractal");
    let fork = alone.run("harbor-fork");
    let imported = &alone.import_all(&fork)[0];
    assert_eq!((imported.forked_from.clone(), imported.messages, imported.turns), (None, 6, 1));
    let rows = alone.store.view(&id("harbor-fork")).unwrap().rows;
    let same: Vec<_> = rows.messages.iter().map(|entry| alone.text(Some(entry.row.content))).collect();
    assert_eq!(same, said);
    assert_same(&alone.export_run(&id("harbor-fork")), &files(&fork));

    // A source of that name with other messages is another one.
    let other = Place::of("fractal");
    let run = other.run("harbor");
    let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
    fs::write(run.join("events.ednl"), journal.replace("You keep a harbor", "You keep a farm")).unwrap();
    other.import_all(&run);
    assert_eq!(other.import_all(&other.run("harbor-fork"))[0].forked_from, None);
}

#[test]
fn an_attached_child_stands_on_the_head_it_was_attached_to() {
    let place = Place::of("fractal");
    place.import_all(&place.run("harbor"));
    let dock = place.folder.path().join("runs/dock");
    let child = dock.join("children/attached-0001");
    copy(&place.run("harbor-fork"), &child);
    let journal = fs::read_to_string(child.join("events.ednl")).unwrap();
    let journal =
        journal.replace(":id \"harbor-fork\"", ":id \"attached-0001\"").replace(":kind :root", ":kind :child");
    fs::write(child.join("events.ednl"), journal.replace(":lineage-kind :fork", ":lineage-kind :attached-child"))
        .unwrap();
    let call = "{:call/type :attached-child, :call/id 1, :call/turn-id 1, :child/session-id \"attached-0001\", \
                :child/dir \"children/attached-0001\", :edge/type :attached";
    let lines = [
        "{:event/type :session/started, :session #:session{:id \"dock\", :kind :root, :artifact-version 1}, :event/id 1}".to_owned(),
        "{:event/type :turn/started, :turn #:turn{:id 1, :status :running}, :event/id 2}".to_owned(),
        format!("{{:event/type :call/started, :call {call}, :call/status :running}}, :event/id 3}}"),
        "{:event/type :attach-rlm-start, :call/id 1, :snapshot/id 1, :event/id 4}".to_owned(),
        format!("{{:event/type :call/put, :call {call}, :call/status :error, :call/error {{:error/type :attach/no-final}}}}, :event/id 5}}"),
    ];
    fs::write(dock.join("events.ednl"), lines.join("\n") + "\n").unwrap();
    let imported = place.import_all(&dock);
    assert_eq!(imported[0].forked_from, Some(id("harbor")));
    let derived = place.store.derivations(&id("dock.attached-0001")).unwrap();
    let source = place.store.heads(&id("harbor")).unwrap();
    assert_eq!((derived[0].kind, derived[0].source_head), (DerivationKind::Attach, source[1].head));
    let called = &place.store.invocations_from(&id("dock")).unwrap()[0].row;
    assert_eq!((called.invocation_type.as_str(), called.status.as_str()), ("attach", "error"));
    assert_eq!((called.callee.clone(), called.call.unwrap().0), (Some(id("dock.attached-0001")), 1));
    assert_eq!(place.text(called.error), "{:error/type :attach/no-final}");
    assert_eq!(place.count(&id("dock"), "fractal/attach-rlm-start"), 1);
    assert_same(&place.export_run(&id("dock")), &files(&dock));
}

#[test]
fn a_journal_that_grew_adds_the_rest_wherever_it_was_cut() {
    let whole = Place::of("fractal");
    let run = whole.run("harbor");
    let journal = fs::read(run.join("events.ednl")).unwrap();
    whole.import_all(&run);
    let rows = whole.store.view(&id("harbor")).unwrap().rows;
    for cut in (400..journal.len()).step_by(613) {
        let place = Place::of("fractal");
        let run = place.run("harbor");
        fs::write(run.join("events.ednl"), &journal[..cut]).unwrap();
        let part = &place.import_all(&run)[1];
        let is_torn = journal[cut - 1] != b'\n';
        assert_eq!(odd(part).iter().any(|(_, kind)| *kind == "torn-tail"), is_torn, "cut at {cut}");
        let kept: usize = journal[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        assert!(place.export_run(&id("harbor"))["events.ednl"] == journal[..kept], "cut at {cut}");
        fs::write(run.join("events.ednl"), &journal).unwrap();
        place.import_all(&run);
        assert!(place.export_run(&id("harbor"))["events.ednl"] == journal, "cut at {cut}");
        let grown = place.store.view(&id("harbor")).unwrap().rows;
        assert_eq!(
            (grown.messages.len(), grown.turns.len(), grown.calls.len(), grown.evals.len(), grown.snapshots.len()),
            (rows.messages.len(), rows.turns.len(), rows.calls.len(), rows.evals.len(), rows.snapshots.len()),
            "cut at {cut}"
        );
        let ended = |rows: &headwater::model::View| -> Vec<String> {
            rows.calls
                .iter()
                .map(|entry| entry.row.status.to_string())
                .chain(rows.turns.iter().map(|entry| entry.row.status.to_string()))
                .collect()
        };
        assert_eq!(ended(&grown), ended(&rows), "cut at {cut}");
    }
}

#[test]
fn what_is_no_record_is_kept_and_its_neighbours_are_not_lost() {
    let place = Place::of("fractal");
    let run = place.run("harbor");
    let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
    let mut lines: Vec<String> = journal.lines().map(str::to_owned).collect();
    lines[3].truncate(60);
    lines[8] = format!("{} {}", lines[8], lines[9]);
    lines[9] = String::new();
    lines.insert(12, "{:event/type :turn/put, :turn #:turn{:id 99, :status :final}, :event/id 0}".to_owned());
    lines.insert(13, "{:event/type :message/added, :message {:message/role :user}}".to_owned());
    lines.insert(14, "[:no :map]".to_owned());
    lines.insert(15, "{:event/type :call/started, :call #:call{:id 77, :type :\u{1}leaf}}".to_owned());
    lines.insert(16, "{:event/type :session/status, :status \"\"}".to_owned());
    lines.insert(17, format!("{{:event/type :deep, :at {}{}}}", "[".repeat(100_000), "]".repeat(100_000)));
    lines.insert(18, "{:event/type :call/started, :call #:call{:id 78, :type :leaf, :parent-eval-id 9}}".to_owned());
    lines.insert(19, "{:event/type :weather, :sky #{:blue}}".to_owned());
    fs::write(run.join("events.ednl"), lines.join("\n") + "\n").unwrap();
    let imported = &place.import_all(&run)[1];
    assert_eq!(
        odd(imported),
        [
            (4, "bad-line"),
            (9, "two-records"),
            (13, "bad-record"),
            (14, "bad-record"),
            (15, "bad-line"),
            (16, "bad-record"),
            (17, "bad-record"),
            (19, "unknown-row")
        ]
    );
    assert_eq!(counts(imported)[..4], [4, 2, 6, 2], "one message was cut off, one call came to it");
    assert_eq!(place.count(&id("harbor"), "fractal/weather"), 1);
    assert_same(&place.export_run(&id("harbor")), &files(&run));

    let nothing = Place::of("fractal");
    let path = nothing.folder.path().join("events.ednl");
    fs::write(&path, "{:event/type\nnot a record\n").unwrap();
    assert!(matches!(exchange::import(&nothing.store, &path), Err(ImportError::NoRecords { .. })));
    fs::write(&path, "{:event/type :weather}\n").unwrap();
    assert!(matches!(exchange::import(&nothing.store, &path), Err(ImportError::UnknownFormat { .. })));
    fs::write(&path, "{:event/type :session/started, :session #:session{:id \"x\", :artifact-version 2}}\n").unwrap();
    assert!(matches!(exchange::import(&nothing.store, &path), Err(ImportError::UnsupportedVersion { .. })));
    assert!(nothing.store.sessions().unwrap().is_empty());
}

#[test]
fn blobs_that_are_not_what_the_journal_says_are_told_of_and_nothing_outside_the_run_is_read() {
    type Change = fn(&Path);
    let cases: [(&str, &str, Change); 6] = [
        ("missing-blob", "", |run| fs::remove_file(run.join("blobs/calls/call-000001-request.edn")).unwrap()),
        ("bad-blob", "", |run| fs::write(run.join("blobs/calls/call-000001-request.edn"), "#:request{}\n").unwrap()),
        ("path-escape", "../outside.edn", |_| ()),
        ("path-escape", "/etc/hostname", |_| ()),
        ("path-escape", "blobs/../../outside.edn", |_| ()),
        ("path-escape", "elsewhere/outside.edn", |run| symlink(run.parent().unwrap(), run.join("elsewhere")).unwrap()),
    ];
    for (kind, path, change) in cases {
        let place = Place::of("fractal");
        let run = place.run("harbor");
        fs::write(run.parent().unwrap().join("outside.edn"), "{:secret 1}\n").unwrap();
        if !path.is_empty() {
            let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
            fs::write(run.join("events.ednl"), journal.replace("blobs/calls/call-000001-request.edn", path)).unwrap();
        }
        change(&run);
        let imported = &place.import_all(&run)[1];
        let found = odd(imported);
        assert!(found.contains(&(6, kind)) && found.contains(&(7, kind)), "{kind} {path}: {found:?}");
        assert!(!place.store.blobs().contains(&headwater::model::Digest::of(b"{:secret 1}\n")).unwrap());
        assert_eq!(place.store.view(&id("harbor")).unwrap().rows.calls[0].row.request, None);
        assert_eq!(counts(imported), [5, 2, 5, 2, 3, 1], "the import went on");
        assert_same(&place.export_run(&id("harbor")), &files(&run));
    }
}

#[test]
fn links_among_children_are_not_followed() {
    let place = Place::of("fractal");
    let run = place.run("harbor");
    symlink(&run, run.join("children/child-0002")).unwrap();
    symlink(run.join("children/child-0001"), run.join("children/child-0001/children")).unwrap();
    fs::create_dir_all(run.join("children/child-0003")).unwrap();
    symlink(run.join("events.ednl"), run.join("children/child-0003/events.ednl")).unwrap();
    let imported = place.import_all(&run);
    assert_eq!(imported.len(), 2);
    assert_eq!(odd(&imported[1]), [(0, "not-a-file"), (0, "not-a-file")]);
    assert_same(&place.export_run(&id("harbor")), &files(&run));
}

#[test]
fn a_journal_alone_is_a_source_too() {
    let place = Place::of("fractal");
    let run = place.run("harbor");
    let path = place.folder.path().join("alone.ednl");
    fs::copy(run.join("events.ednl"), &path).unwrap();
    let imported = exchange::import(&place.store, &path).unwrap();
    assert_eq!(counts(&imported), [5, 2, 5, 2, 3, 1]);
    let kinds: Vec<_> = odd(&imported).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ["missing-blob", "missing-blob", "missing-child", "missing-blob"]);
    let mut out = Vec::new();
    exchange::write_source(&place.store, &imported.session, &mut out).unwrap();
    assert!(out == fs::read(&path).unwrap());
}

/// That every child of a session is labelled as the folder is named that it came from.
fn assert_labelled(store: &Store, session: &SessionId) -> usize {
    let called = store.invocations_from(session).unwrap();
    let mut ordinals: Vec<_> = called.iter().map(|entry| entry.row.child).collect();
    for entry in &called {
        let callee = entry.row.callee.as_ref().unwrap().as_str();
        let ordinal = entry.row.child.unwrap();
        assert_eq!(callee.rsplit('.').next(), Some(format!("child-{ordinal:04}").as_str()));
    }
    ordinals.sort_unstable();
    ordinals.dedup();
    assert_eq!(ordinals.len(), called.len(), "no two have the same");
    called.len()
}

/// How many lines of a journal begin an event of that type: counted without a reader of EDN.
fn lines(journal: &str, kind: &str) -> u64 {
    journal.lines().filter(|line| line.starts_with(&format!("{{:event/type :{kind},"))).count() as u64
}

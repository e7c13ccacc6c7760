//! fractal-engine's run directories come in whole, children and all, and can be written again byte for byte.
//!
//! The fixtures are a run with a child, a leaf batch whose ids are out of order, a failed turn, and values of every kind of EDN; and a fork of it
//! after its first turn.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use headwater::exchange::{self, ImportError, Imported};
use headwater::model::edn::Document;
use headwater::model::{Body, CallType, DerivationKind, EvalNumber, Role, SessionId, Status, Turn, TurnNumber};
use headwater::store::{NewMessage, NewSession, Options, Store};
use headwater::view::types::Sum;
use proptest::prelude::*;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open_with(folder.path().join("store"), Options { create: true, ..Options::default() }).unwrap();
        Place { folder, store }
    }

    /// A copy of a fixture, which may be changed.
    fn run(&self, name: &str) -> PathBuf {
        let to = self.folder.path().join("runs").join(name);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fractal").join(name), &to);
        to
    }

    fn import(&self, path: &Path) -> Vec<Imported> {
        let found = exchange::find(path).unwrap();
        found
            .iter()
            .flat_map(|found| found.import(&self.store, &mut |_| {}))
            .map(|imported| imported.unwrap())
            .collect()
    }

    /// The files that an export writes.
    fn export(&self, session: &SessionId) -> BTreeMap<String, Vec<u8>> {
        let to = tempfile::tempdir_in(self.folder.path()).unwrap();
        let path = to.path().join("run");
        exchange::export_to(&self.store, session, None, &path).unwrap();
        files(&path)
    }

    fn text(&self, digest: Option<headwater::model::Digest>) -> String {
        digest.map(|digest| String::from_utf8(self.store.blobs().get(&digest).unwrap()).unwrap()).unwrap_or_default()
    }

    fn kinds(&self, session: &SessionId, kind: &str) -> usize {
        let is = |body: &Body| matches!(body, Body::Annotation(row) if row.kind == kind);
        self.store.events(session).unwrap().iter().filter(|event| is(&event.body)).count()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

/// The regular files below a folder, links apart.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
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
    let place = Place::new();
    let imported = place.import(&place.run("harbor"));
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
    let place = Place::new();
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

    let first = place.import(place.folder.path().join("runs").as_path());
    assert_eq!(
        first.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(),
        ["harbor.child-0001", "harbor", "harbor-fork"]
    );
    assert_same(&place.export(&id("harbor")), &files(&run));
    assert_same(&place.export(&id("harbor-fork")), &files(&fork));
    assert_same(&place.export(&id("harbor.child-0001")), &files(&run.join("children/child-0001")));
    // Not kept as files: two projections that can be made again, two blobs that rows refer to.
    assert_eq!(place.kinds(&id("harbor"), "import/file"), 4, "session.edn, tree.edn, turns.edn, notes.bin");

    let events: Vec<u64> = first.iter().map(|one| one.events).collect();
    let again = place.import(place.folder.path().join("runs").as_path());
    assert!(again.iter().all(|one| one.new_events == 0));
    assert_eq!(again.iter().map(|one| one.events).collect::<Vec<_>>(), events);
    let checked = headwater::care::check(&place.folder.path().join("store"), headwater::care::Mode::Deep).unwrap();
    assert!(checked.issues.is_empty(), "{:?}", checked.issues);

    // A child's directory by itself is the same source as below its run.
    let child = place.import(&run.join("children/child-0001"));
    assert_eq!((child[0].session.as_str(), child[0].new_events), ("harbor.child-0001", 0));

    // Files change without a new record: the projections are rewritten at each turn's end.
    fs::write(run.join("tree.edn"), "{:tree/session-id \"harbor\", :tree/children []}\n").unwrap();
    fs::remove_file(run.join("notes.bin")).unwrap();
    let changed = place.import(&run);
    assert!(changed[1].new_events > 0);
    assert_eq!(changed[1].messages, 5);
    assert_same(&place.export(&id("harbor")), &files(&run));
    assert_eq!(place.import(&run)[1].new_events, 0);
}

#[test]
fn a_fork_shares_the_rows_of_its_source_where_that_is_in_the_store() {
    let place = Place::new();
    let (run, fork) = (place.run("harbor"), place.run("harbor-fork"));
    place.import(&run);
    let shared = &place.import(&fork)[0];
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
    let alone = Place::new();
    let fork = alone.run("harbor-fork");
    let imported = &alone.import(&fork)[0];
    assert_eq!((imported.forked_from.clone(), imported.messages, imported.turns), (None, 6, 1));
    let rows = alone.store.view(&id("harbor-fork")).unwrap().rows;
    let same: Vec<_> = rows.messages.iter().map(|entry| alone.text(Some(entry.row.content))).collect();
    assert_eq!(same, said);
    assert_same(&alone.export(&id("harbor-fork")), &files(&fork));

    // A source of that name with other messages is another one.
    let other = Place::new();
    let run = other.run("harbor");
    let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
    fs::write(run.join("events.ednl"), journal.replace("You keep a harbor", "You keep a farm")).unwrap();
    other.import(&run);
    assert_eq!(other.import(&other.run("harbor-fork"))[0].forked_from, None);
}

#[test]
fn an_attached_child_stands_on_the_head_it_was_attached_to() {
    let place = Place::new();
    place.import(&place.run("harbor"));
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
    let imported = place.import(&dock);
    assert_eq!(imported[0].forked_from, Some(id("harbor")));
    let derived = place.store.derivations(&id("dock.attached-0001")).unwrap();
    let source = place.store.heads(&id("harbor")).unwrap();
    assert_eq!((derived[0].kind, derived[0].source_head), (DerivationKind::Attach, source[1].head));
    let called = &place.store.invocations_from(&id("dock")).unwrap()[0].row;
    assert_eq!((called.invocation_type.as_str(), called.status.as_str()), ("attach", "error"));
    assert_eq!((called.callee.clone(), called.call.unwrap().0), (Some(id("dock.attached-0001")), 1));
    assert_eq!(place.text(called.error), "{:error/type :attach/no-final}");
    assert_eq!(place.kinds(&id("dock"), "fractal/attach-rlm-start"), 1);
    assert_same(&place.export(&id("dock")), &files(&dock));
}

#[test]
fn a_journal_that_grew_adds_the_rest_wherever_it_was_cut() {
    let whole = Place::new();
    let run = whole.run("harbor");
    let journal = fs::read(run.join("events.ednl")).unwrap();
    whole.import(&run);
    let rows = whole.store.view(&id("harbor")).unwrap().rows;
    for cut in (400..journal.len()).step_by(613) {
        let place = Place::new();
        let run = place.run("harbor");
        fs::write(run.join("events.ednl"), &journal[..cut]).unwrap();
        let part = &place.import(&run)[1];
        let is_torn = journal[cut - 1] != b'\n';
        assert_eq!(odd(part).iter().any(|(_, kind)| *kind == "torn-tail"), is_torn, "cut at {cut}");
        let kept: usize = journal[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        assert!(place.export(&id("harbor"))["events.ednl"] == journal[..kept], "cut at {cut}");
        fs::write(run.join("events.ednl"), &journal).unwrap();
        place.import(&run);
        assert!(place.export(&id("harbor"))["events.ednl"] == journal, "cut at {cut}");
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
    let place = Place::new();
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
    let imported = &place.import(&run)[1];
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
    assert_eq!(place.kinds(&id("harbor"), "fractal/weather"), 1);
    assert_same(&place.export(&id("harbor")), &files(&run));

    let nothing = Place::new();
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
        let place = Place::new();
        let run = place.run("harbor");
        fs::write(run.parent().unwrap().join("outside.edn"), "{:secret 1}\n").unwrap();
        if !path.is_empty() {
            let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
            fs::write(run.join("events.ednl"), journal.replace("blobs/calls/call-000001-request.edn", path)).unwrap();
        }
        change(&run);
        let imported = &place.import(&run)[1];
        let found = odd(imported);
        assert!(found.contains(&(6, kind)) && found.contains(&(7, kind)), "{kind} {path}: {found:?}");
        assert!(!place.store.blobs().contains(&headwater::model::Digest::of(b"{:secret 1}\n")).unwrap());
        assert_eq!(place.store.view(&id("harbor")).unwrap().rows.calls[0].row.request, None);
        assert_eq!(counts(imported), [5, 2, 5, 2, 3, 1], "the import went on");
        assert_same(&place.export(&id("harbor")), &files(&run));
    }
}

#[test]
fn links_among_children_are_not_followed() {
    let place = Place::new();
    let run = place.run("harbor");
    symlink(&run, run.join("children/child-0002")).unwrap();
    symlink(run.join("children/child-0001"), run.join("children/child-0001/children")).unwrap();
    fs::create_dir_all(run.join("children/child-0003")).unwrap();
    symlink(run.join("events.ednl"), run.join("children/child-0003/events.ednl")).unwrap();
    let imported = place.import(&run);
    assert_eq!(imported.len(), 2);
    assert_eq!(odd(&imported[1]), [(0, "not-a-file"), (0, "not-a-file")]);
    assert_same(&place.export(&id("harbor")), &files(&run));
}

#[test]
fn a_journal_alone_is_a_source_too() {
    let place = Place::new();
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

/// How many lines of a journal begin an event of that type: counted without a reader of EDN.
fn lines(journal: &str, kind: &str) -> u64 {
    journal.lines().filter(|line| line.starts_with(&format!("{{:event/type :{kind},"))).count() as u64
}

/// What the calls of a journal cost in nano-USD, by the last row of each: counted without a reader of EDN.
fn cost(journal: &str) -> u64 {
    let mut costs = BTreeMap::new();
    for line in journal.lines().filter(|line| line.starts_with("{:event/type :call/put,")) {
        let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest.split([',', '}', ' ']).next().unwrap());
        let id = after(" :call/id ").or_else(|| after("}, :id ")).unwrap();
        let usd = after("#:cost{:usd ").and_then(|usd| usd.parse::<f64>().ok());
        costs.insert(id.to_owned(), usd.map_or(0, |usd| (usd * 1e9).round() as u64));
    }
    costs.values().sum()
}

#[test]
fn the_shared_runs_come_in_as_counted_and_go_out_byte_for_byte() {
    let shared = std::env::var_os("HEADWATER_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let root = shared.join("data/fractal/fractal-engine");
    if !root.is_dir() {
        println!(
            "the_shared_runs_come_in_as_counted_and_go_out_byte_for_byte: skipped, {} is not there",
            root.display()
        );
        return;
    }
    let place = Place::new();
    let imported = place.import(&root);
    assert!(imported.len() >= 10, "{}", imported.len());
    let mut source_bytes = 0;
    for one in &imported {
        let below: Vec<&str> = one.session.as_str().split('.').skip(1).collect();
        let below: String = below.iter().map(|name| format!("children/{name}/")).collect();
        let folder = one.source.join(below);
        let journal = fs::read_to_string(folder.join("events.ednl")).unwrap();
        let inherited = match &one.forked_from {
            None => [0; 4],
            Some(source) => {
                // What was before the head it was forked from: its first three turns.
                let rows = place.store.view(source).unwrap().rows;
                [rows.messages.len() as u64, rows.turns.len() as u64, rows.calls.len() as u64, rows.evals.len() as u64]
            }
        };
        let own = ["message/added", "turn/started", "call/started", "eval/added"].map(|kind| lines(&journal, kind));
        let expected: Vec<u64> = own.iter().zip(inherited).map(|(own, before)| own + before).collect();
        assert_eq!(counts(one)[..4], expected, "{}", one.session);
        assert!(one.diagnostics.is_empty(), "{}: {:?}", one.session, one.diagnostics);
        let own = place.store.usage(&one.session).unwrap();
        let said = |sum: Sum| match sum {
            Sum::Known(sum) | Sum::Partial { sum, .. } => sum,
            Sum::Unknown(_) => 0,
        };
        let known = said(own.root.cost) + said(own.leaf.cost);
        assert_eq!(known, u128::from(cost(&journal)), "{}", one.session);
        assert_labelled(&place.store, &one.session);
        let original = files(&folder);
        source_bytes += if one.session.as_str().contains('.') { 0 } else { original.values().map(Vec::len).sum() };
        assert_same(&place.export(&one.session), &original);
        // Each blob that a record names is the payload of a row.
        let named = journal.lines().filter(|line| line.starts_with("{:event/type :snapshot/added")).count();
        let kept = place.store.history_view(&one.session).unwrap();
        assert_eq!(kept.rows.snapshots.iter().filter(|entry| entry.row.vars.is_some()).count(), named);
    }
    assert!(imported.iter().any(|one| one.forked_from.is_some()), "the fork stands on its source");
    assert!(place.import(&root).iter().all(|one| one.new_events == 0));
    let stored: usize = files(&place.folder.path().join("store/blobs")).values().map(Vec::len).sum();
    println!("{source_bytes} bytes of runs take {stored} in the log");
    assert!(stored * 100 <= source_bytes * 35);
}

/// A session of our own with a row of every kind, in values of every kind.
fn own_session(place: &Place) {
    let store = &place.store;
    let session = store.create_session(NewSession::named(id("own"))).unwrap();
    let turn = session.begin_turn("what is 2 + 2?").unwrap();
    session
        .write(|batch| {
            let (short, text, long) = (batch.put(b"[1 2.50 :a]"), batch.put(b"not EDN: {"), batch.put(&[b'x'; 9_000]));
            let (lines, bytes) = (batch.put(b"[1\n 2]"), batch.put(&[0, 255, 1, 2]));
            let extra = batch.put_value(br#"{"b":1.0,"a":[]}"#);
            let call = batch.begin_call(CallType::Root, |call| {
                (call.input, call.request, call.error) = (Some(short), Some(long), Some(text));
                (call.provider, call.model) = (Some("acme".to_owned()), Some("acme \"1\"".to_owned()));
                (call.tokens_input, call.tokens_reasoning, call.cost) = (Some(7), Some(2), Some(12_000_000_345));
                (call.batch, call.batch_index, call.extra) = (Some("b 1".to_owned()), Some(3), Some(extra));
            })?;
            batch.update_call(call, |call| {
                (call.status, call.response, call.result) = (Status::OK, Some(lines), Some(bytes));
            })?;
            let answer =
                batch.add_message(NewMessage::new(Role::Assistant, "4\u{1}\u{2}\n\"").turn(turn).call(call))?;
            batch
                .add_message(NewMessage::new(Role::Other("two words".to_owned()), vec![255, 0]).extra("{\"k\":1e2}"))?;
            let code = batch.put(b"(+ 2 2)");
            let eval = batch.add_eval(Status::ERROR, |eval| {
                (eval.message, eval.call, eval.name) = (Some(answer), Some(call), Some("clojure".to_owned()));
                (eval.code, eval.observation, eval.error) = (Some(code), Some(text), Some(lines));
            })?;
            batch.add_snapshot(Status::FINAL, |snapshot| {
                (snapshot.vars, snapshot.eval) = (Some(long), Some(eval));
                (snapshot.restorable, snapshot.unrestorable) = (3, 1);
            })?;
            batch.update_turn(turn, |turn| {
                (turn.status, turn.final_value) = (Status::FINAL, Some(short));
                (turn.summary, turn.extra) = (Some(text), Some(extra));
            })?;
            batch.add_annotation("weather/seen", Some(turn), Some(text))?;
            batch.seal()
        })
        .unwrap();
    session.close().unwrap();
}

/// The rows of a session, without what only the place of a row in its store tells.
fn fold(store: &Store, session: &SessionId) -> Vec<String> {
    let rows = store.view(session).unwrap().rows;
    let mut out: Vec<String> = rows.messages.iter().map(|entry| format!("{:?}", entry.row)).collect();
    out.extend(rows.turns.into_iter().map(|entry| format!("{:?}", Turn { head_before: None, ..entry.row })));
    out.extend(rows.calls.iter().map(|entry| format!("{:?}", entry.row)));
    out.extend(rows.evals.iter().map(|entry| format!("{:?}", entry.row)));
    out.extend(rows.snapshots.iter().map(|entry| format!("{:?}", entry.row)));
    out
}

/// Writes a session as a run, and reads that into another store.
fn there_and_back(place: &Place, session: &SessionId, into: &Place) -> BTreeMap<String, Vec<u8>> {
    let path = place.folder.path().join(format!("made-{session}"));
    exchange::export_to(&place.store, session, Some("fractal"), &path).unwrap();
    let imported = into.import(&path);
    assert_eq!(imported.len(), 1);
    assert!(imported[0].diagnostics.is_empty(), "{:?}", imported[0].diagnostics);
    files(&path)
}

#[test]
fn a_session_of_our_own_is_written_as_a_run_that_folds_to_the_same_rows() {
    let (place, other) = (Place::new(), Place::new());
    own_session(&place);
    let made = there_and_back(&place, &id("own"), &other);
    assert_eq!(fold(&other.store, &id("own")), fold(&place.store, &id("own")));
    let journal = String::from_utf8(made["events.ednl"].clone()).unwrap();
    assert_eq!(lines(&journal, "turn-final"), 1);
    for line in journal.lines() {
        Document::read(line.as_bytes()).unwrap();
    }
    for name in ["events.edn", "messages.edn", "turns.edn", "calls.edn", "evals.edn", "snapshots.edn"] {
        assert!(Document::read(&made[name]).unwrap().root().items().count() > 0, "{name}");
    }
    assert_same(&other.export(&id("own")), &made);

    // A fork carries the messages of its source, which it finds again where that is.
    let head = place.store.view(&id("own")).unwrap().head.unwrap().head;
    let fork = place.store.fork(&head, NewSession::named(id("fork"))).unwrap();
    let turn = fork.begin_turn("and 3 + 3?").unwrap();
    fork.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
    fork.seal().unwrap();
    fork.close().unwrap();
    there_and_back(&place, &id("fork"), &other);
    assert_eq!(other.store.session(&id("fork")).unwrap().source.unwrap().0, id("own"));
    assert_eq!(fold(&other.store, &id("fork")), fold(&place.store, &id("fork")));
}

#[test]
fn a_run_that_went_on_here_is_written_with_its_own_bytes_first() {
    let (place, other) = (Place::new(), Place::new());
    let run = place.run("harbor-fork");
    place.import(&run);
    let session = place.store.open_session(&id("harbor-fork")).unwrap();
    let turn = session.begin_turn("one more").unwrap();
    session.update_turn(turn, |turn| turn.status = Status::FINAL).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let made = there_and_back(&place, &id("harbor-fork"), &other);
    let original = files(&run);
    assert!(made["events.ednl"].starts_with(&original["events.ednl"]));
    assert_eq!(made["lineage.edn"], original["lineage.edn"]);
    let journal = String::from_utf8(made["events.ednl"].clone()).unwrap();
    assert!(journal.contains(":turn #:turn{:id 3,") && journal.contains("#:message{:id 7, :role :user"), "ids go on");
    assert_eq!(fold(&other.store, &id("harbor-fork")), fold(&place.store, &id("harbor-fork")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Lines of a journal in any order, some twice, some cut, some with a byte changed, some glued together: it comes in or is refused, its
    /// bytes come back, and again adds nothing.
    #[test]
    fn any_journal_comes_back_byte_for_byte(
        picks in proptest::collection::vec((0_usize..64, 0_u8..12, 0_usize..400, any::<u8>()), 1..60),
        ends in any::<bool>(),
    ) {
        let place = Place::new();
        let run = place.run("harbor");
        let journal = fs::read(run.join("events.ednl")).unwrap();
        let lines: Vec<&[u8]> = journal.split(|byte| *byte == b'\n').collect();
        let mut bytes = [lines[0], b"\n"].concat();
        for (line, change, at, byte) in picks {
            let mut line = lines[line % (lines.len() - 1)].to_vec();
            let at = at % line.len();
            match change {
                0 => line.truncate(at),
                1 => line[at] = byte,
                _ => {}
            }
            bytes.extend(line);
            bytes.push(if change == 2 { b' ' } else { b'\n' });
        }
        if ends {
            bytes.pop();
        }
        fs::write(run.join("events.ednl"), &bytes).unwrap();
        let imported = &place.import(&run)[1];
        let is_torn = odd(imported).iter().any(|(_, kind)| *kind == "torn-tail");
        let made = place.export(&imported.session);
        prop_assert!(bytes.starts_with(&made["events.ednl"]));
        prop_assert!(is_torn || made["events.ednl"] == bytes);
        prop_assert_eq!(place.import(&run)[1].new_events, 0);
    }
}

/// A run whose children were called, and came back, in another order than they are named.
fn called_out_of_order(place: &Place) -> PathBuf {
    let run = place.run("harbor");
    for (name, task) in [("child-0002", "second"), ("child-0003", "third")] {
        let to = run.join("children").join(name);
        copy(&run.join("children/child-0001"), &to);
        let journal = fs::read_to_string(to.join("events.ednl")).unwrap();
        fs::write(to.join("events.ednl"), journal.replace("Count the boats in berth 7.", task)).unwrap();
    }
    let journal = fs::read_to_string(run.join("events.ednl")).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for line in journal.lines() {
        if !line.contains(":child/dir") {
            lines.push(line.to_owned());
            continue;
        }
        for (name, call) in [("child-0001", 4), ("child-0003", 42), ("child-0002", 41)] {
            let line = line.replace("child-0001", name).replace(":call/id 4,", &format!(":call/id {call},"));
            lines.push(line.replace(":call/turn-id", &format!(":call/task \"task of {name}\", :call/turn-id")));
        }
    }
    fs::write(run.join("events.ednl"), lines.join("\n") + "\n").unwrap();
    run
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

#[test]
fn children_are_labelled_as_their_folders_are_named_in_whatever_order_they_were_called() {
    let place = Place::new();
    place.import(&called_out_of_order(&place));
    assert_eq!(assert_labelled(&place.store, &id("harbor")), 3);
    let session = place.store.open_session(&id("harbor")).unwrap();
    session.start_invocation(Status::new("rlm").unwrap(), |_| {}).unwrap();
    session.seal().unwrap();
    session.close().unwrap();
    let last = place.store.invocations_from(&id("harbor")).unwrap().pop().unwrap();
    assert_eq!(last.row.child, Some(4), "what comes later goes on above");
}

#[test]
fn the_task_of_a_child_is_its_invocations_input_and_label() {
    let place = Place::new();
    place.import(&called_out_of_order(&place));
    for entry in place.store.invocations_from(&id("harbor")).unwrap() {
        let task = format!("task of child-{:04}", entry.row.child.unwrap());
        assert_eq!((place.text(entry.row.input), place.text(entry.row.label)), (task.clone(), task));
    }
}

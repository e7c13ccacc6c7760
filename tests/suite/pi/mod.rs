//! Pi's trees: a session whose records name their parents comes in as heads that leave each other where its branches do.
//!
//! The fixture is a session of which two prompts were tried on one answer, a third branch leaves within a turn, one label,
//! one compaction. Where a test says what Pi would show, it walks the parents of the raw lines itself.

mod written;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::imports::Place;
use headwater::exchange::{self, Imported};
use headwater::model::{EventNumber, HeadKind, SessionId, Status, TurnNumber};
use headwater::store::{NewSession, Store};
use proptest::prelude::*;
use serde_json::Value;

const TREE: &str = include_str!("../../fixtures/pi/tree.jsonl");

/// A file as Pi reads it: its records, and for the last of them those on the way from the root.
struct Raw {
    records: Vec<Value>,
    path: Vec<usize>,
}

impl Raw {
    fn of(text: &str) -> Raw {
        let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let path = Raw::path_to(&records, records.len() - 1);
        Raw { records, path }
    }

    fn path_to(records: &[Value], last: usize) -> Vec<usize> {
        let mut places = BTreeMap::new();
        let mut parents = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let known = record["parentId"].as_str().and_then(|parent| places.get(parent).copied());
            let is_linear = record.get("parentId").is_none() || (record["parentId"].is_string() && known.is_none());
            parents.push(if is_linear { at.checked_sub(1) } else { known });
            if let Some(id) = record["id"].as_str().filter(|_| record["type"] != "session") {
                places.insert(id.to_owned(), at);
            }
        }
        let mut path = vec![last];
        while let Some(up) = parents[path[path.len() - 1]] {
            path.push(up);
        }
        path.reverse();
        path
    }

    /// The role of the message that a record becomes.
    fn role(record: &Value) -> Option<&str> {
        match record["type"].as_str()? {
            "message" if record["message"]["role"] == "toolResult" => Some("tool"),
            "message" => record["message"]["role"].as_str(),
            "custom_message" => Some("custom"),
            "branch_summary" | "compaction" => Some("summary"),
            _ => None,
        }
    }

    /// The roles that the current head of the session must show.
    fn roles(&self) -> Vec<&str> {
        self.path.iter().filter_map(|at| Raw::role(&self.records[*at])).collect()
    }

    fn count(&self, wanted: impl Fn(&Value) -> bool) -> u64 {
        self.records.iter().filter(|record| wanted(record)).count() as u64
    }

    fn with_role<'r>(&'r self, role: &'r str) -> impl Iterator<Item = &'r Value> {
        self.records.iter().filter(move |record| record["type"] == "message" && record["message"]["role"] == role)
    }

    /// Messages, turns, calls, evals.
    fn counts(&self) -> [u64; 4] {
        let tools = self
            .with_role("assistant")
            .flat_map(|record| record["message"]["content"].as_array().into_iter().flatten());
        let asked: Vec<&str> =
            tools.filter(|part| part["type"] == "toolCall").filter_map(|part| part["id"].as_str()).collect();
        let unasked = |record: &&Value| !record["message"]["toolCallId"].as_str().is_some_and(|id| asked.contains(&id));
        [
            self.count(|record| Raw::role(record).is_some()),
            self.with_role("user").count() as u64,
            self.with_role("assistant").count() as u64,
            asked.len() as u64
                + self.with_role("toolResult").filter(unasked).count() as u64
                + self.with_role("bashExecution").count() as u64,
        ]
    }

    /// Cost in nano-USD, and tokens in, out and read from a cache, of all answers.
    fn usage(&self) -> [u64; 4] {
        self.with_role("assistant").fold([0; 4], |[cost, input, output, cached], record| {
            let usage = &record["message"]["usage"];
            let tokens = |name: &str| usage[name].as_u64().unwrap_or(0);
            let nano = (usage["cost"]["total"].as_f64().unwrap_or(0.0) * 1e9).round() as u64;
            [cost + nano, input + tokens("input"), output + tokens("output"), cached + tokens("cacheRead")]
        })
    }
}

fn counts(imported: &Imported) -> [u64; 4] {
    [imported.messages, imported.turns, imported.calls, imported.evals]
}

/// What all calls of the session's own log used.
fn usage(store: &Store, session: &SessionId) -> [u64; 4] {
    use headwater::model::Call;
    use headwater::store::{Range, Scope};
    let calls = store.records::<Call>(session, Scope::Log, Range::default()).unwrap();
    calls.map(|call| call.unwrap().row).fold([0; 4], |[cost, input, output, cached], call| {
        [
            cost + call.cost.unwrap_or(0),
            input + call.tokens_input.unwrap_or(0),
            output + call.tokens_output.unwrap_or(0),
            cached + call.tokens_cached.unwrap_or(0),
        ]
    })
}

fn roles(said: &[(String, String)]) -> Vec<&str> {
    said.iter().map(|(role, _)| role.as_str()).collect()
}

#[test]
fn the_current_head_is_the_last_branch_and_shows_nothing_of_the_others() {
    let place = Place::of("pi");
    let imported = place.import(TREE);
    let raw = Raw::of(TREE);
    assert_eq!(counts(&imported), raw.counts());
    assert_eq!(counts(&imported), [15, 4, 6, 3]);
    assert_eq!(usage(&place.store, &imported.session), raw.usage());
    assert_eq!(imported.diagnostics, []);
    let said = place.said(&imported.session);
    assert_eq!(roles(&said), raw.roles());
    let texts: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts[0], "Which bed gets the beans this year?");
    assert_eq!(texts[3], "Ada asked where the pumpkins go: beside the compost.");
    assert!(
        texts.iter().all(|text| !text.starts_with("And the pumpkins") && !text.starts_with("The south bed")),
        "{texts:?}"
    );
    let info = place.store.session(&imported.session).unwrap();
    assert_eq!(info.title.as_deref(), Some("Garden plan"));
    assert_eq!(place.source(&imported.session), TREE);
    assert_eq!(place.import(TREE), Imported { new_events: 0, ..imported });
    place.is_sound();
}

#[test]
fn a_prompt_that_was_tried_again_leaves_the_head_of_the_answer_before_it() {
    let place = Place::of("pi");
    let session = place.import(TREE).session;
    let heads = place.store.heads(&session).unwrap();
    let of_turn = |turn| heads.iter().filter(|head| head.turn == Some(TurnNumber(turn))).collect::<Vec<_>>();
    // Of the first turn: behind the tool's result, where the third branch leaves, and at its end; then that branch's.
    let [within, ended, again] = of_turn(1)[..] else { panic!("{:?}", of_turn(1)) };
    let left = |head: &headwater::view::types::HeadInfo| place.store.root_of(&head.head).unwrap().up;
    assert_eq!(left(of_turn(3)[0]), Some(ended.head), "the second try");
    assert_eq!(left(again), Some(within.head), "the branch within the turn");
    let before = |turn| {
        let view = place.store.view_at(&session, &of_turn(turn)[0].head).unwrap();
        view.rows.turns.iter().find(|entry| entry.row.turn.0 == turn).unwrap().row.head_before
    };
    assert_eq!((before(2), before(3)), (Some(ended.head), Some(ended.head)), "both tries have one basis");
    // What a branch was given up with is seen at its head: the unfinished tool, and the label behind it.
    let view = place.store.view_at(&session, &of_turn(2)[0].head).unwrap();
    let last = view.rows.evals.last().unwrap();
    assert_eq!((last.row.status.as_str(), last.row.name.as_deref()), ("unfinished", Some("bash")));
    assert_eq!(view.rows.turns.last().unwrap().row.status.as_str(), "aborted");
    let statuses = |head| {
        let turns = place.store.view_at(&session, head).unwrap().rows.turns;
        turns.iter().map(|entry| entry.row.status.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&within.head), ["running"]);
    assert_eq!(statuses(&ended.head), ["final"]);
}

/// What a name means never changes silently: a label does not take one that a session has.
#[test]
fn a_label_whose_pin_would_be_a_sessions_name_gets_none() {
    let place = Place::of("pi");
    let session = place.import(TREE).session;
    let taken: SessionId = format!("{session}.beans").parse().unwrap();
    place.store.create_session(NewSession::named(taken.clone())).unwrap().close().unwrap();
    let label = r#"{"type":"label","id":"90","parentId":"000000f3","targetId":"000000a4","label":"beans"}"#;
    let again = place.import(format!("{TREE}{label}\n"));
    assert!(again.diagnostics.iter().any(|one| one.kind == "label-taken"), "{:?}", again.diagnostics);
    assert!(place.store.read_pin(&taken).is_err());
    assert_eq!(place.source(&session), format!("{TREE}{label}\n"));
}

#[test]
fn a_label_is_a_pin_on_the_head_behind_its_record() {
    let place = Place::of("pi");
    let session = place.import(TREE).session;
    let pins = || -> Vec<(String, headwater::model::Digest)> {
        let pins = place.store.pins().unwrap().into_iter().map(|pin| (pin.name.to_string(), pin.target.digest()));
        // The other one says which session has the first answer.
        pins.filter(|(name, _)| !name.starts_with("pi.")).collect()
    };
    let ended = place.store.heads(&session).unwrap().into_iter().find(|head| {
        let view = place.store.view_at(&session, &head.head).unwrap();
        view.rows.messages.len() == 4 && view.rows.turns[0].row.status.as_str() == "final"
    });
    assert_eq!(pins(), [("7c1d-tree.beans-are-settled".to_owned(), ended.unwrap().head.0)]);
    // It moves when the record is labelled otherwise, and goes when the label does.
    let label = |id: &str, parent: &str, label: &str| {
        format!(r#"{{"type":"label","id":"{id}","parentId":"{parent}","targetId":"000000a4"{label}}}"#)
    };
    let again = format!("{TREE}{}\n", label("90", "000000f3", r#","label":"beans""#));
    place.import(&again);
    assert_eq!(pins()[0].0, "7c1d-tree.beans");
    assert_eq!(pins().len(), 1);
    let gone = format!("{again}{}\n", label("91", "90", ""));
    place.import(&gone);
    assert_eq!(pins(), []);
    assert_eq!(place.import(&gone).new_events, 0);
    place.is_sound();
}

#[test]
fn a_compaction_keeps_what_lies_behind_its_first_record_on_its_own_branch() {
    let place = Place::of("pi");
    let session = place.import(TREE).session;
    let heads = place.store.heads(&session).unwrap();
    let head = heads.iter().find(|head| head.kind == HeadKind::Compaction).unwrap();
    let ranges = place.store.root_of(&head.head).unwrap().transcript.unwrap();
    let view = place.store.view_at(&session, &head.head).unwrap();
    let inside = |event: EventNumber| ranges.iter().any(|range| range.from <= event && event <= range.to);
    let kept: Vec<&str> =
        view.rows.messages.iter().filter(|entry| inside(entry.event)).map(|entry| entry.row.role.as_str()).collect();
    assert_eq!(kept, ["summary", "assistant", "custom", "summary"]);
}

#[test]
fn a_file_that_ends_with_a_compaction_leaves_no_turn_running() {
    let text = [
        r#"{"type":"session","version":3,"id":"ends"}"#,
        r#"{"type":"message","id":"a","parentId":null,"message":{"role":"user","content":"Dig the bed."}}"#,
        r#"{"type":"message","id":"b","parentId":"a","message":{"role":"assistant","content":[{"type":"toolCall","id":"t1","name":"bash","arguments":{}}],"stopReason":"toolUse"}}"#,
        r#"{"type":"compaction","id":"c","parentId":"b","summary":"the bed is being dug","firstKeptEntryId":"b"}"#,
    ]
    .map(|line| format!("{line}\n"))
    .concat();
    let place = Place::of("pi");
    let imported = place.import(&text);
    let view = place.store.view(&imported.session).unwrap();
    let running = view.rows.turns.iter().filter(|turn| turn.row.status == Status::RUNNING).count();
    assert_eq!((view.rows.turns.len(), running), (1, 0), "as where any other record is the last");
    assert_eq!(place.import(&text).new_events, 0);
    place.is_sound();
}

#[test]
fn a_file_that_grows_gives_what_the_whole_file_gives() {
    let whole = Place::of("pi");
    let expected = whole.import(TREE);
    let said = whole.said(&expected.session);
    let lines: Vec<&str> = TREE.split_inclusive('\n').collect();
    for cut in 1..lines.len() {
        let place = Place::of("pi");
        let first = place.import(lines[..cut].concat());
        assert_eq!(
            roles(&place.said(&first.session)),
            Raw::of(&lines[..cut].concat()).roles(),
            "the first {cut} lines"
        );
        let imported = place.import(TREE);
        assert_eq!(counts(&imported)[1..3], counts(&expected)[1..3], "cut behind line {cut}");
        assert_eq!(
            usage(&place.store, &imported.session),
            usage(&whole.store, &expected.session),
            "cut behind line {cut}"
        );
        assert_eq!(place.source(&imported.session), TREE);
        // The third branch leaves within the first turn, behind line 6. Where that turn was imported to its end before,
        // its first three messages are there once more.
        let is_late = imported.diagnostics.iter().any(|one| one.kind == "late-branch");
        assert_eq!(is_late, (7..=13).contains(&cut), "cut behind line {cut}");
        assert_eq!(imported.messages, expected.messages + 3 * u64::from(is_late), "cut behind line {cut}");
        assert_eq!(place.said(&imported.session), said, "cut behind line {cut}");
        place.is_sound();
    }
}

/// A fork's file: a header that names the fixture, copies of some of its lines, and lines of its own.
fn fork_of(lines: &[usize], own: &str) -> String {
    let all: Vec<&str> = TREE.split_inclusive('\n').collect();
    let header = r#"{"type":"session","version":3,"id":"7c1d-fork","timestamp":"2026-02-02T09:00:00.000Z","cwd":"/home/ada/garden","parentSession":"/home/ada/.pi/agent/sessions/--home-ada--/2026-02-01T09-00-00-000Z_7c1d-tree.jsonl"}"#;
    let copies: String = lines.iter().map(|line| all[line - 1]).collect();
    format!("{header}\n{copies}{own}\n")
}

fn question(id: &str, parent: &str) -> String {
    format!(
        r#"{{"type":"message","id":"{id}","parentId":"{parent}","timestamp":"2026-02-02T09:00:01.000Z","message":{{"role":"user","content":"And the leeks?"}}}}"#
    )
}

#[test]
fn a_fork_shares_the_rows_of_its_parent_wherever_it_leaves() {
    let path = [2, 3, 4, 5, 6, 7, 11, 12, 13];
    let all: Vec<usize> = (2..=21).collect();
    for (what, text, is_shared) in [
        ("behind a turn of another branch", fork_of(&path, &question("99", "00000004")), true),
        ("behind a turn, before its parent's own end", fork_of(&path[..6], &question("99", "000000a4")), true),
        ("within a turn", fork_of(&path[..7], &question("99", "000000d1")), true),
        ("within the first turn", fork_of(&path[..4], &question("99", "000000a2")), false),
        ("at the end of all", fork_of(&all, &question("99", "000000f3")), true),
        ("at the end, to go back", fork_of(&all, &question("99", "000000a4")), true),
        ("at the end, to go back within a turn", fork_of(&all, &question("99", "000000a3")), true),
        ("at the end, to begin anew", fork_of(&all, &question("99", "").replace("\"\"", "null")), true),
    ] {
        let place = Place::of("pi");
        let parent = place.import(TREE);
        let log = place.store.events(&parent.session).unwrap();
        let fork = exchange::import(&place.store, &place.file("fork.jsonl", &text)).unwrap();
        assert_eq!(fork.forked_from, Some(parent.session.clone()), "{what}");
        let raw = Raw::of(&text);
        assert_eq!(roles(&place.said(&fork.session)), raw.roles(), "{what}");
        assert_eq!(place.source(&fork.session), text, "{what}");
        // Whatever was copied was paid for once; only the question is new.
        assert_eq!(usage(&place.store, &fork.session), [0; 4], "{what}");
        let own = place.store.events(&fork.session).unwrap();
        let messages = own.iter().filter(|event| event.body.kind() == "message/added").count();
        assert_eq!(messages <= 2, is_shared, "{what}: {messages} messages are rows of its own");
        assert_eq!(place.store.events(&parent.session).unwrap(), log, "{what}: the parent gains nothing");
        assert_eq!(exchange::import(&place.store, &place.file("fork.jsonl", &text)).unwrap().new_events, 0, "{what}");
        place.is_sound();
    }
}

#[test]
fn a_folder_gives_parents_before_their_forks() {
    let place = Place::of("pi");
    let folder = place.folder.path().join("sessions");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("a.jsonl"),
        fork_of(&[2, 3, 4, 5, 6, 7], &question("99", "000000a4")).replace("_7c1d-tree", "renamed"),
    )
    .unwrap();
    // The parent is found by its file's name, whatever that has to do with its id.
    fs::write(folder.join("2026-02-01T09-00-00-000Zrenamed.jsonl"), TREE).unwrap();
    let found = exchange::find(&folder).unwrap();
    let imported: Vec<Imported> =
        found.iter().flat_map(|one| one.import(&place.store, &mut |_| {})).map(Result::unwrap).collect();
    let sessions: Vec<&str> = imported.iter().map(|one| one.session.as_str()).collect();
    assert_eq!(sessions, ["7c1d-tree", "7c1d-fork"]);
    assert_eq!(imported[1].forked_from, Some(imported[0].session.clone()));
}

#[test]
fn a_file_that_left_what_was_imported_pays_for_no_call_twice() {
    let place = Place::of("pi");
    let first = place.import(TREE);
    // The last answer, in a turn of three records, is another.
    let changed = TREE.replace("It is in plan.txt now.", "It is in plan.txt now, and dated.");
    let other = place.import(&changed);
    assert_eq!(other.forked_from, Some(first.session.clone()));
    assert_eq!(usage(&place.store, &other.session)[0], 900_000, "the answer that differs, and no other");
    assert_eq!(place.source(&other.session), changed);
    // It goes on from a record that only the first has a head for.
    let grown = format!("{changed}{}\n", question("99", "000000a4"));
    let more = place.import(&grown);
    assert_eq!(more.session, other.session);
    assert_eq!(roles(&place.said(&more.session)), Raw::of(&grown).roles());
    assert_eq!(place.source(&more.session), grown);
    place.is_sound();
}

#[test]
fn parents_that_are_no_good_stop_nothing() {
    let header = r#"{"type":"session","version":3,"id":"bad"}"#;
    let said = |id: &str, parent: &str, text: &str| {
        format!(r#"{{"type":"message","id":{id},"parentId":{parent},"message":{{"role":"user","content":"{text}"}}}}"#)
    };
    let text = [
        header.to_owned(),
        said("\"a\"", "\"nowhere\"", "its parent is not there"),
        said("\"b\"", "\"b\"", "it is its own parent"),
        said("\"c\"", "\"d\"", "its parent comes later"),
        said("\"d\"", "\"c\"", "which goes round"),
        said("\"a\"", "\"d\"", "its id was there before"),
        said("\"e\"", "\"a\"", "the later one of that id is meant"),
        said("7", "[]", "no ids at all"),
        said("\"f\"", "\"c\"", "back"),
        "{\"type\":\"label\",\"id\":\"g\",\"parentId\":\"f\",\"targetId\":\"nobody\",\"label\":\"x\"}".to_owned(),
        "{\"type\":\"compaction\",\"id\":\"h\",\"parentId\":\"g\",\"summary\":\"s\",\"firstKeptEntryId\":\"e\"}"
            .to_owned(),
    ]
    .join("\n");
    let place = Place::of("pi");
    let imported = place.import(&text);
    let kinds: Vec<(u64, &str)> = imported.diagnostics.iter().map(|one| (one.line, one.kind.as_str())).collect();
    assert_eq!(kinds, [(2, "missing-parent"), (3, "missing-parent"), (4, "missing-parent")]);
    let said = place.said(&imported.session);
    let texts: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["its parent is not there", "it is its own parent", "its parent comes later", "back", "s"]);
    assert_eq!(place.source(&imported.session), text);
    assert_eq!(place.import(&text).new_events, 0);
    place.is_sound();
}

/// A step of a generated session: what kind of record, and how far back in the file its parent is (0: the one before).
fn records() -> impl Strategy<Value = Vec<(u8, usize)>> {
    let back = prop_oneof![4 => Just(0_usize), 1 => 1..40_usize];
    proptest::collection::vec((0..9_u8, back), 1..60)
}

/// The file of such a session. What is too far back is the root.
fn written(steps: &[(u8, usize)]) -> String {
    let mut out = "{\"type\":\"session\",\"version\":3,\"id\":\"made\"}\n".to_owned();
    let mut asked = Vec::new();
    for (at, (kind, back)) in steps.iter().enumerate() {
        let parent = match at.checked_sub(back + 1) {
            Some(parent) => format!("\"e{parent}\""),
            None => "null".to_owned(),
        };
        let body = match kind {
            0 | 1 => format!(r#""type":"message","message":{{"role":"user","content":"question number {at}"}}"#),
            2 => format!(
                r#""type":"message","message":{{"role":"assistant","content":[{{"type":"text","text":"answer number {at}"}}],"usage":{{"input":{at},"output":1,"cost":{{"total":0.00{at}}}}},"stopReason":"stop"}}"#
            ),
            3 | 4 => {
                asked.push(at);
                format!(
                    r#""type":"message","message":{{"role":"assistant","content":[{{"type":"toolCall","id":"t{at}","name":"bash","arguments":{{"command":"echo number {at}"}}}}],"usage":{{"input":{at},"output":2,"cacheRead":3}},"stopReason":"toolUse"}}"#
                )
            }
            5 => {
                let of = asked.pop().unwrap_or(999);
                format!(
                    r#""type":"message","message":{{"role":"toolResult","toolCallId":"t{of}","content":[{{"type":"text","text":"result number {at}"}}]}}"#
                )
            }
            6 => {
                format!(r#""type":"compaction","summary":"what was so far, at {at}","firstKeptEntryId":"e{}""#, at / 2)
            }
            7 => format!(r#""type":"label","targetId":"e{}","label":"mark {}""#, at / 3, at % 3),
            _ => format!(r#""type":"thinking_level_change","thinkingLevel":"{at}""#),
        };
        out.push_str(&format!("{{{body},\"id\":\"e{at}\",\"parentId\":{parent}}}\n"));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_in_whole_at_once_or_in_parts(steps in records(), cut in 0..60_usize) {
        let text = written(&steps);
        let raw = Raw::of(&text);
        let place = Place::of("pi");
        let imported = place.import(&text);
        prop_assert_eq!(&counts(&imported)[..3], &raw.counts()[..3]);
        prop_assert_eq!(usage(&place.store, &imported.session), raw.usage());
        let said = place.said(&imported.session);
        prop_assert_eq!(roles(&said), raw.roles());
        prop_assert_eq!(place.source(&imported.session), text.clone());
        prop_assert_eq!(place.import(&text).new_events, 0);

        let parts = Place::of("pi");
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        parts.import(lines[..(cut % lines.len()) + 1].concat());
        let session = parts.import(&text).session;
        prop_assert_eq!(parts.said(&session), said);
        prop_assert_eq!(usage(&parts.store, &session), raw.usage());
        prop_assert_eq!(parts.source(&session), text);
        parts.is_sound();
    }
}

#[test]
fn real_pi_sessions_of_newer_versions_come_in_whole() {
    let folder = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("data/pi");
    for name in [
        "pi-coding-agent-0.73.1/session-v3-branched.jsonl",
        "getspecstory/piagent-full_format.jsonl",
        "agentsview/pi-session.jsonl",
    ] {
        let path = folder.join(name);
        let Ok(text) = fs::read_to_string(&path) else {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        };
        let place = Place::of("pi");
        let imported = exchange::import(&place.store, &path).unwrap();
        let raw = Raw::of(&text);
        assert_eq!(counts(&imported), raw.counts(), "{name}");
        assert_eq!(usage(&place.store, &imported.session), raw.usage(), "{name}");
        assert_eq!(roles(&place.said(&imported.session)), raw.roles(), "{name}");
        assert!(place.source(&imported.session) == text, "{name} is not what it was");
        assert_eq!(exchange::import(&place.store, &path).unwrap().new_events, 0);
        eprintln!("{name}: {} heads, {:?}", imported.heads, imported.diagnostics);
        place.is_sound();
    }
}

/// Some programs write a note of what a tool sends out beside it, while it is at work: an entry that nothing goes on from.
#[test]
fn a_tool_whose_result_comes_beside_a_branch_that_was_left_ran_once() {
    let user = |id: &str, parent: &str, text: &str| {
        format!(
            r#"{{"type":"message","id":"{id}","parentId":"{parent}","timestamp":"2026-03-01T10:00:01.000Z","message":{{"role":"user","content":"{text}","timestamp":1}}}}"#
        )
    };
    let says = |id: &str, parent: &str, part: &str, stop: &str| {
        format!(
            r#"{{"type":"message","id":"{id}","parentId":"{parent}","timestamp":"2026-03-01T10:00:02.000Z","message":{{"role":"assistant","content":[{part}],"provider":"p","model":"m","usage":{{"input":1,"output":1}},"stopReason":"{stop}","timestamp":2}}}}"#
        )
    };
    let tool = |id: &str| format!(r#"{{"type":"toolCall","id":"{id}","name":"send","arguments":{{}}}}"#);
    let sent = r#"{"type":"text","text":"on its way"}"#;
    let result = |id: &str, parent: &str, tool: &str| {
        format!(
            r#"{{"type":"message","id":"{id}","parentId":"{parent}","timestamp":"2026-03-01T10:00:03.000Z","message":{{"role":"toolResult","toolCallId":"{tool}","toolName":"send","content":[{{"type":"text","text":"sent"}}],"isError":false,"timestamp":3}}}}"#
        )
    };
    let header = r#"{"type":"session","version":3,"id":"mirror","timestamp":"2026-03-01T10:00:00.000Z","cwd":"/"}"#;
    let lines = [
        header.to_owned(),
        user("u1", "null", "Send it.").replace("\"null\"", "null"),
        says("a1", "u1", &format!("{},{}", tool("t1"), tool("t2")), "toolUse"),
        says("x1", "a1", sent, "stop"),
        result("r1", "a1", "t1"),
        says("x2", "r1", sent, "stop"),
        result("r2", "r1", "t2"),
        says("a2", "r2", sent, "stop"),
        user("u2", "a2", "And?"),
        // One that is never answered on any way.
        says("a3", "u2", &tool("t3"), "toolUse"),
        says("x3", "a3", sent, "stop"),
        says("a4", "a3", sent, "stop"),
        user("u3", "a4", "Thanks."),
    ];
    let text = lines.map(|line| line + "\n").concat();
    let place = Place::of("pi");
    let imported = place.import(&text);
    assert_eq!(counts(&imported), Raw::of(&text).counts());
    let evals = place.store.view(&imported.session).unwrap().rows.evals;
    assert_eq!(evals.iter().map(|entry| entry.row.status.as_str()).collect::<Vec<_>>(), ["ok", "ok", "unfinished"]);
    assert_eq!(place.source(&imported.session), text);
    // In whatever parts it comes, each answer is one call.
    for lines in 2..text.lines().count() {
        let parts = Place::of("pi");
        parts.import(text.lines().take(lines).map(|line| format!("{line}\n")).collect::<String>());
        let grown = parts.import(&text);
        assert_eq!((grown.turns, grown.calls), (imported.turns, imported.calls), "{lines}");
        assert_eq!(parts.source(&grown.session), text);
    }
}

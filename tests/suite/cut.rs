//! A source that ends anywhere and goes on later gives the answers of one that was imported at once: of every format, at every
//! record. A tool that was asked for is one eval, whenever it is looked at.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange::Imported;
use headwater::model::{Eval, EvalNumber, Invocation, SessionId};
use headwater::view::types::{Sum, Used};

use super::imports::Place;

/// What there is to be told of a session, wherever in its log it stands.
#[derive(Debug, PartialEq)]
struct Answers {
    /// Messages, turns, calls, evals, invocations: as the import, and as the rows of the whole log count them.
    counts: [[u64; 5]; 2],
    used: Used,
    rows: Vec<String>,
    invocations: Vec<String>,
    source: String,
}

fn answers(place: &Place, imported: &Imported) -> Answers {
    let session = &imported.session;
    let all = place.store.history_view(session).unwrap();
    let Imported { messages, turns, calls, evals, invocations, .. } = imported;
    let rows = &all.rows;
    let lens = [rows.messages.len(), rows.turns.len(), rows.calls.len(), rows.evals.len(), rows.invocations.len()];
    let shown = |row: &Invocation| {
        let row = row.clone();
        format!("{:?}", Invocation { caller_before: None, caller_after: None, ..row })
    };
    Answers {
        counts: [[*messages, *turns, *calls, *evals, *invocations], lens.map(|len| len as u64)],
        used: place.store.usage(session).unwrap().tree,
        rows: place.rows(session),
        invocations: place
            .store
            .view(session)
            .unwrap()
            .rows
            .invocations
            .iter()
            .map(|entry| shown(&entry.row))
            .collect(),
        source: place.source(session),
    }
}

fn evals(place: &Place, session: &SessionId) -> Vec<Eval> {
    let rows = place.store.view(session).unwrap().rows;
    let all = place.store.history_view(session).unwrap().rows;
    assert_eq!(rows.evals, all.evals, "nothing but what is in sight");
    rows.evals.into_iter().map(|entry| entry.row).collect()
}

/// A log in three parts: up to a tool that was asked for, its result, and the next input.
struct Story {
    format: &'static str,
    asked: &'static str,
    result: &'static str,
    input: &'static str,
    /// The status of a tool whose turn ended without its result.
    given_up: &'static str,
}

const STORIES: [Story; 5] = [
    Story {
        format: "pi",
        asked: r#"{"type":"session","id":"cut","timestamp":"2026-05-01T10:00:00.000Z"}
{"type":"message","timestamp":"2026-05-01T10:00:01.000Z","message":{"role":"user","content":"How is the sea?"}}
{"type":"message","timestamp":"2026-05-01T10:00:02.000Z","message":{"role":"assistant","content":[{"type":"toolCall","id":"t1","name":"look","arguments":{"at":"the sea, from the pier"}}],"model":"acme-1","usage":{"input":70,"output":7},"stopReason":"toolUse"}}
"#,
        result: r#"{"type":"message","timestamp":"2026-05-01T10:00:03.000Z","message":{"role":"toolResult","toolCallId":"t1","content":[{"type":"text","text":"It is calm today."}]}}
"#,
        input: r#"{"type":"message","timestamp":"2026-05-01T10:00:09.000Z","message":{"role":"user","content":"Never mind."}}
"#,
        given_up: "unfinished",
    },
    Story {
        format: "pixir",
        asked: r#"{"id":"e0","session_id":"cut","seq":0,"ts":"2026-05-01T10:00:01.000000Z","type":"user_message","data":{"text":"How is the sea?"}}
{"id":"e1","session_id":"cut","seq":1,"ts":"2026-05-01T10:00:02.000000Z","type":"provider_usage","data":{"model":"acme-1","usage_summary":{"input_tokens":70,"output_tokens":7}}}
{"id":"e2","session_id":"cut","seq":2,"ts":"2026-05-01T10:00:02.000000Z","type":"tool_call","data":{"call_id":"t1","name":"look","args":{"at":"the sea, from the pier"}}}
"#,
        result: r#"{"id":"e3","session_id":"cut","ts":"2026-05-01T10:00:03.000000Z","type":"tool_result","data":{"call_id":"t1","ok":true,"output":"It is calm today."}}
"#,
        input: r#"{"id":"e4","session_id":"cut","ts":"2026-05-01T10:00:09.000000Z","type":"user_message","data":{"text":"Never mind."}}
"#,
        given_up: "orphaned",
    },
    Story {
        format: "claude-code",
        asked: r#"{"type":"user","sessionId":"cut","uuid":"u1","parentUuid":null,"isSidechain":false,"timestamp":"2026-05-01T10:00:01.000Z","message":{"role":"user","content":"How is the sea?"}}
{"type":"assistant","sessionId":"cut","uuid":"u2","parentUuid":"u1","isSidechain":false,"timestamp":"2026-05-01T10:00:02.000Z","message":{"id":"m1","role":"assistant","model":"claude-x","content":[{"type":"tool_use","id":"t1","name":"Look","input":{"at":"the sea, from the pier"}}],"usage":{"input_tokens":70,"output_tokens":7}}}
"#,
        result: r#"{"type":"user","sessionId":"cut","uuid":"u3","parentUuid":"u2","isSidechain":false,"timestamp":"2026-05-01T10:00:03.000Z","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"It is calm today."}]}}
"#,
        input: r#"{"type":"user","sessionId":"cut","uuid":"u4","parentUuid":"u2","isSidechain":false,"timestamp":"2026-05-01T10:00:09.000Z","message":{"role":"user","content":"Never mind."}}
"#,
        given_up: "unfinished",
    },
    Story {
        format: "codex",
        asked: r#"{"timestamp":"2026-05-01T10:00:00.000Z","type":"session_meta","payload":{"id":"cut","timestamp":"2026-05-01T10:00:00.000Z","cwd":"/tmp","originator":"cli","cli_version":"0.50.0"}}
{"timestamp":"2026-05-01T10:00:01.000Z","type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"How is the sea?"}]}}
{"timestamp":"2026-05-01T10:00:02.000Z","type":"response_item","payload":{"type":"function_call","name":"look","arguments":"{\"at\":\"the sea, from the pier\"}","call_id":"t1"}}
{"timestamp":"2026-05-01T10:00:02.000Z","type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":{"input_tokens":70,"output_tokens":7,"total_tokens":77},"last_token_usage":{"input_tokens":70,"output_tokens":7,"total_tokens":77}}}}
"#,
        result: r#"{"timestamp":"2026-05-01T10:00:03.000Z","type":"response_item","payload":{"type":"function_call_output","call_id":"t1","output":"It is calm today."}}
"#,
        input: r#"{"timestamp":"2026-05-01T10:00:09.000Z","type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"Never mind."}]}}
"#,
        given_up: "unfinished",
    },
    Story {
        format: "gemini",
        asked: r#"{"sessionId":"cut","projectHash":"0123","startTime":"2026-05-01T10:00:00.000Z"}
{"id":"u1","timestamp":"2026-05-01T10:00:01.000Z","type":"user","content":"How is the sea?"}
{"id":"a1","timestamp":"2026-05-01T10:00:02.000Z","type":"gemini","content":"","model":"acme","tokens":{"input":70,"output":7},"toolCalls":[{"id":"t1","name":"look","args":{"at":"the sea, from the pier"},"status":"executing"}]}
"#,
        result: r#"{"id":"a1","timestamp":"2026-05-01T10:00:03.000Z","type":"gemini","content":"","model":"acme","tokens":{"input":70,"output":7},"toolCalls":[{"id":"t1","name":"look","args":{"at":"the sea, from the pier"},"status":"success","result":[{"functionResponse":{"id":"t1","name":"look","response":{"output":"It is calm today."}}}]}]}
"#,
        input: r#"{"id":"u2","timestamp":"2026-05-01T10:00:09.000Z","type":"user","content":"Never mind."}
"#,
        given_up: "unfinished",
    },
];

/// Imports `text` at once into a place of its own.
fn at_once(format: &'static str, text: &str) -> Answers {
    let place = Place::of(format);
    let imported = place.import(text);
    answers(&place, &imported)
}

#[test]
fn a_tool_at_work_where_its_source_ended_is_one_eval_before_its_result_and_with_it() {
    for Story { format, asked, result, input, given_up } in STORIES {
        let place = Place::of(format);
        let cut = place.import(asked);
        let of = |place: &Place| evals(place, &cut.session);
        let unfinished = of(&place);
        assert_eq!((unfinished.len(), cut.evals, cut.calls), (1, 1, 1), "{format}");
        assert_eq!((unfinished[0].status.as_str(), unfinished[0].result), ("unfinished", None), "{format}");
        assert_eq!(place.text(unfinished[0].code), r#"{"at":"the sea, from the pier"}"#, "{format}");
        assert_eq!(answers(&place, &cut).used.tokens_input, Sum::Known(70), "{format}");
        assert_eq!(place.import(asked).new_events, 0, "{format}");
        assert_eq!(place.source(&cut.session), asked, "{format}");

        // The result comes: it is the same eval.
        let text = [asked, result].concat();
        let grown = place.import(&text);
        let with_result = of(&place);
        assert_eq!((with_result.len(), with_result[0].eval), (1, EvalNumber(1)), "{format}");
        assert_eq!((with_result[0].status.as_str(), grown.evals), ("ok", 1), "{format}");
        assert_eq!(place.text(with_result[0].result), "It is calm today.", "{format}");
        assert_eq!(with_result[0].code, unfinished[0].code, "{format}");
        assert_eq!(answers(&place, &grown), at_once(format, &text), "{format}");
        assert_eq!(grown.diagnostics, [], "{format}");
        assert_eq!(place.import(&text).new_events, 0, "{format}");
        let text = [asked, result, input].concat();
        let next = place.import(&text);
        assert_eq!(answers(&place, &next), at_once(format, &text), "{format}");
        place.is_sound();

        // Or the next input does: it stays the one eval that it was, whatever comes then.
        let place = Place::of(format);
        place.import(asked);
        let text = [asked, input].concat();
        let next = place.import(&text);
        let statuses: Vec<_> = of(&place).into_iter().map(|eval| eval.status.to_string()).collect();
        assert_eq!((statuses, next.evals), (vec![given_up.to_owned()], 1), "{format}");
        assert_eq!(answers(&place, &next), at_once(format, &text), "{format}");
        let text = [asked, input, result].concat();
        let late = place.import(&text);
        assert_eq!(answers(&place, &late), at_once(format, &text), "{format}");
        assert_eq!((of(&place).len(), late.evals), (1, 1), "{format}");
        place.is_sound();
    }
}

#[test]
fn a_tool_without_an_id_is_one_eval_with_the_result_that_has_none() {
    for Story { format, asked, result, input, given_up } in STORIES {
        // Gemini CLI writes a result into the tool; without an id Codex has no tool's output.
        if ["gemini", "codex"].contains(&format) {
            continue;
        }
        let bare = |text: &str| {
            let (mut bare, names) = (text.to_owned(), ["id", "toolCallId", "call_id", "tool_use_id"]);
            for name in names {
                bare = bare.replace(&format!("\"{name}\":\"t1\","), "").replace(&format!(",\"{name}\":\"t1\""), "");
            }
            assert!(!bare.contains("t1"), "{bare}");
            bare
        };
        let (asked, result) = (bare(asked), bare(result));
        let whole = [asked.as_str(), &result, input].concat();
        let place = Place::of(format);
        let imported = place.import(&whole);
        let found = evals(&place, &imported.session);
        assert_eq!((found.len(), found[0].status.as_str(), imported.evals), (1, "ok", 1), "{format}");
        assert_eq!(place.text(found[0].code), r#"{"at":"the sea, from the pier"}"#, "{format}");
        assert_eq!(place.text(found[0].result), "It is calm today.", "{format}");
        assert!(found[0].call.is_some(), "{format}");

        // In pieces it is the same one.
        let place = Place::of(format);
        place.import(&asked);
        let pieces = place.import(&whole);
        assert_eq!(answers(&place, &pieces), at_once(format, &whole), "{format}");
        place.is_sound();

        // Too late it is none.
        let late = [asked.as_str(), input, &result].concat();
        let place = Place::of(format);
        let imported = place.import(&late);
        let statuses: Vec<_> =
            evals(&place, &imported.session).into_iter().map(|eval| eval.status.to_string()).collect();
        assert_eq!(statuses, [given_up], "{format}");
        assert!(imported.diagnostics.iter().any(|one| one.kind == "late-result"), "{format}");
    }
}

const LOGS: [(&str, &str); 8] = [
    ("pi", include_str!("../fixtures/pi-v1.jsonl")),
    ("pi", include_str!("../fixtures/pi/tree.jsonl")),
    ("pixir", include_str!("../fixtures/pixir.ndjson")),
    ("claude-code", include_str!("../fixtures/claude-code.jsonl")),
    ("codex", include_str!("../fixtures/codex/bare.jsonl")),
    ("codex", include_str!("../fixtures/codex/ferry.jsonl")),
    ("gemini", include_str!("../fixtures/gemini/pier.jsonl")),
    ("fractal", include_str!("../fixtures/fractal/harbor/events.ednl")),
];

/// Whether messages that are there cannot be what they are in the whole: an answer of Claude Code of which the rest is a message of
/// its own, a turn of Pi from whose middle a branch leaves that nobody knew of.
fn is_told_in_two(imported: &Imported, before: &str, after: &str) -> bool {
    let answers = |text: &str| -> HashSet<String> {
        let records = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        records.filter_map(|record| Some(record.get("message")?.get("id")?.as_str()?.to_owned())).collect()
    };
    imported.diagnostics.iter().any(|one| one.kind == "late-branch") || !answers(before).is_disjoint(&answers(after))
}

/// The same, but for messages and what names them.
fn apart_from_messages(mut answers: Answers) -> Answers {
    answers.counts.iter_mut().for_each(|counts| counts[0] = 0);
    answers.rows.clear();
    answers
}

/// What is another in two answers, and no more of them.
fn difference(found: &Answers, whole: &Answers) -> String {
    let only = |one: &Answers, other: &Answers| -> Vec<String> {
        one.rows
            .iter()
            .chain(&one.invocations)
            .filter(|row| !other.rows.contains(row) && !other.invocations.contains(row))
            .cloned()
            .collect()
    };
    format!("{:?} for {:?}: {:#?} for {:#?}", found.counts, whole.counts, only(found, whole), only(whole, found))
}

#[test]
fn a_log_cut_at_any_record_and_gone_on_with_gives_the_answers_of_the_whole() {
    for (format, text) in LOGS {
        let at_once = || at_once(format, text);
        let (whole, bare) = (at_once(), apart_from_messages(at_once()));
        // Cut once, at each record; and cut behind every record.
        let by_record = Place::of(format);
        let mut is_in_two = false;
        for (cut, _) in text.match_indices('\n') {
            let (before, after) = text.split_at(cut + 1);
            let line = before.lines().count();
            let place = Place::of(format);
            let (Ok(_), Ok(one)) = (place.try_import(before), by_record.try_import(before)) else {
                assert_eq!(line, 1, "{format}: only a header alone may be no session");
                continue;
            };
            assert_eq!(
                (by_record.import(before).new_events, by_record.source(&one.session)),
                (0, before.to_owned()),
                "{format}, line {line}"
            );
            let imported = place.import(text);
            let in_two = is_told_in_two(&imported, before, after);
            is_in_two |= in_two || one.diagnostics.iter().any(|one| one.kind == "late-branch");
            let found = answers(&place, &imported);
            let (found, wanted) = if in_two { (apart_from_messages(found), &bare) } else { (found, &whole) };
            assert!(found == *wanted, "{format} cut behind line {line}: {}", difference(&found, wanted));
        }
        let imported = by_record.import(text);
        let found = answers(&by_record, &imported);
        let (found, wanted) = if is_in_two { (apart_from_messages(found), &bare) } else { (found, &whole) };
        assert!(found == *wanted, "{format} cut behind every line: {}", difference(&found, wanted));
        by_record.is_sound();
    }
}

/// Logs of a format in the shared data: not the longest.
fn shared(folder: &Path, most: u64) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if ["jsonl", "ndjson"].contains(&ending) && entry.metadata().unwrap().len() < most {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_shared_logs_cut_anywhere_and_gone_on_with_give_the_answers_of_the_whole() {
    let root = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("data");
    if !root.is_dir() {
        eprintln!(
            "the_shared_logs_cut_anywhere_and_gone_on_with_give_the_answers_of_the_whole: skipped, {} is not there",
            root.display()
        );
        return;
    }
    let (mut wrong, mut seen) = (Vec::new(), 0_usize);
    for format in ["pi", "pixir", "claude-code", "codex", "gemini"] {
        let logs = shared(&root.join(format), 80 << 10);
        for path in logs.iter().step_by(logs.len().div_ceil(24).max(1)) {
            let Ok(text) = fs::read_to_string(path) else { continue };
            let place = Place::of(format);
            let Ok(imported) = place.try_import(&text) else { continue };
            let whole = answers(&place, &imported);
            let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
            // Another place in each log.
            for part in [3_usize, 7] {
                seen += 1;
                let Some(cut) = ends.get((seen * 7 + part * ends.len() / 9) % ends.len().max(1)).copied() else {
                    continue;
                };
                let (before, after) = text.split_at(cut);
                let place = Place::of(format);
                if place.try_import(before).is_err() {
                    continue;
                }
                let imported = place.import(&text);
                let found = answers(&place, &imported);
                let in_two = is_told_in_two(&imported, before, after);
                let is_same = match in_two {
                    true => {
                        found.counts.map(|counts| counts[1..].to_vec())
                            == whole.counts.map(|counts| counts[1..].to_vec())
                            && found.used == whole.used
                    }
                    false => found == whole,
                };
                if !is_same {
                    let line = before.lines().count();
                    wrong.push(format!(
                        "{}, line {line}, in two {in_two}: {}",
                        path.display(),
                        difference(&found, &whole)
                    ));
                }
            }
        }
    }
    assert!(seen > 40, "{seen}");
    assert!(wrong.is_empty(), "{} of {seen}\n{}", wrong.len(), wrong.join("\n"));
}

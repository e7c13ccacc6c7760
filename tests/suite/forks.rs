//! Sources that begin as others do share their rows, and what a call used is counted once, in whatever order they come in.

use std::collections::BTreeSet;

use headwater::exchange::{self, Imported};
use headwater::model::{Call, SessionId};
use headwater::store::{Range, Scope};
use serde_json::{Value, json};

use super::imports::Place;

const FORMATS: [&str; 4] = ["pi", "codex", "claude-code", "gemini"];

/// The file of a session, and of a fork the session that it names and how many of its turns are that one's. A turn is an input and two
/// answers; `b` and `b/2` have the input and the first answer in common, and behind `x!` the history goes back to before it.
struct File<'f> {
    id: &'f str,
    parent: Option<(&'f str, usize)>,
    turns: &'f [&'f str],
}

fn minutes(turn: &str) -> u64 {
    turn.bytes().map(u64::from).sum::<u64>() % 60
}

impl File<'_> {
    fn name(&self) -> String {
        format!("{}.jsonl", self.id)
    }

    fn write(&self, format: &str) -> String {
        let lines = match format {
            "pi" => self.pi(),
            "codex" => self.codex(),
            "claude-code" => self.claude(),
            _ => self.gemini(),
        };
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Each turn's name, what was asked, and the two answers.
    fn said(&self) -> impl Iterator<Item = (usize, &str, String, [String; 2])> {
        self.turns.iter().enumerate().map(|(number, turn)| {
            let asked = turn.split('/').next().unwrap();
            (number, *turn, format!("ask {asked}"), [format!("first {asked}"), format!("then {turn}")])
        })
    }

    fn pi(&self) -> Vec<Value> {
        let began = if self.parent.is_some() { "2026-02-02" } else { "2026-01-01" };
        let mut header = json!({"type": "session", "version": 3, "id": self.id, "timestamp": format!("{began}T00:00:00.000Z"), "cwd": "/x"});
        if let Some((parent, _)) = self.parent {
            header["parentSession"] = json!(format!("/x/{parent}.jsonl"));
        }
        let (mut lines, mut last) = (vec![header], Value::Null);
        for (_, turn, asked, answers) in self.said() {
            let at = format!("2026-01-02T10:{:02}:00.000Z", minutes(turn.split('/').next().unwrap()));
            let before = last.clone();
            let mut add = |id: String, message: Value| {
                lines.push(json!({"type": "message", "id": id, "parentId": last, "timestamp": at, "message": message}));
                last = json!(id);
            };
            add(asked.clone(), json!({"role": "user", "content": asked}));
            for text in answers {
                let usage = json!({"input": 10, "output": 5, "cacheRead": 0, "cost": {"total": 0.25}});
                add(
                    text.clone(),
                    json!({"role": "assistant", "content": [{"type": "text", "text": text}], "provider": "acme", "model": "m",
                    "usage": usage, "stopReason": "stop"}),
                );
            }
            if turn.ends_with('!') {
                last = before;
            }
        }
        lines
    }

    fn codex(&self) -> Vec<Value> {
        let mut meta =
            json!({"id": self.id, "timestamp": "2026-03-01T09:00:00.000Z", "cwd": "/x", "model_provider": "acme"});
        if let Some((parent, _)) = self.parent {
            meta["forked_from_id"] = json!(parent);
        }
        let mut rows = vec![("session_meta", meta)];
        let mut total = 0;
        for (_, turn, asked, answers) in self.said() {
            let message = |role: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
            rows.push(("event_msg", json!({"type": "task_started", "turn_id": asked})));
            rows.push(("response_item", message("user", &asked)));
            rows.push(("event_msg", json!({"type": "user_message", "message": asked})));
            for text in &answers {
                total += 1;
                let used = |times: u64| json!({"input_tokens": 10 * times, "cached_input_tokens": 0, "output_tokens": 5 * times, "reasoning_output_tokens": 0});
                rows.push(("response_item", message("assistant", text)));
                rows.push(("event_msg", json!({"type": "token_count", "info": {"total_token_usage": used(total), "last_token_usage": used(1)}})));
            }
            rows.push(("event_msg", json!({"type": "task_complete", "last_agent_message": format!("then {turn}")})));
        }
        // A fork is written under the time of its making.
        let hour = 10 + self.id.len() % 10;
        let at = |(second, (kind, payload)): (usize, (&str, Value))| json!({"timestamp": format!("2026-03-01T{hour}:{:02}:{:02}.000Z", second / 60, second % 60), "type": kind, "payload": payload});
        rows.into_iter().enumerate().map(at).collect()
    }

    fn claude(&self) -> Vec<Value> {
        let (mut lines, mut last) = (Vec::new(), Value::Null);
        for (number, turn, asked, answers) in self.said() {
            let at = format!("2026-05-01T10:{:02}:00.000Z", minutes(turn.split('/').next().unwrap()));
            let before = last.clone();
            let mut add = |kind: &str, uuid: &str, message: Value| {
                let mut row = json!({"parentUuid": last, "isSidechain": false, "sessionId": self.id, "type": kind, "uuid": uuid, "timestamp": at, "message": message});
                if let Some((parent, _)) = self.parent.filter(|(_, copied)| number < *copied) {
                    row["forkedFrom"] = json!({"sessionId": parent, "messageUuid": uuid});
                }
                lines.push(row);
                last = json!(uuid);
            };
            add("user", &asked, json!({"role": "user", "content": asked}));
            for text in &answers {
                add(
                    "assistant",
                    text,
                    json!({"id": text, "model": "claude-x", "role": "assistant", "content": [{"type": "text", "text": text}],
                    "stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 5}}),
                );
            }
            if turn.ends_with('!') {
                last = before;
            }
        }
        lines
    }

    fn gemini(&self) -> Vec<Value> {
        let mut lines = vec![
            json!({"sessionId": self.id, "projectHash": "0123", "startTime": "2026-02-03T08:00:00.000Z", "lastUpdated": "2026-02-03T08:00:00.000Z"}),
        ];
        for (_, turn, asked, answers) in self.said() {
            let at = format!("2026-02-03T10:{:02}:00.000Z", minutes(turn.split('/').next().unwrap()));
            lines.push(json!({"id": asked, "timestamp": at, "type": "user", "content": asked}));
            for text in &answers {
                lines.push(json!({"id": text, "timestamp": at, "type": "gemini", "content": text, "thoughts": [], "model": "acme",
                    "tokens": {"input": 10, "output": 5, "cached": 0, "thoughts": 0, "tool": 0, "total": 15}}));
            }
        }
        lines
    }
}

fn import(place: &Place, format: &str, file: &File<'_>) -> Imported {
    exchange::import(&place.store, &place.file(file.name(), file.write(format))).unwrap()
}

/// How many calls all sessions have as their own rows, and the output tokens of them.
fn used(place: &Place) -> (u64, u64) {
    let sessions = place.store.sessions().unwrap();
    let calls = sessions.iter().flat_map(|info| {
        place.store.records::<Call>(&info.session, Scope::Log, Range::default()).unwrap().map(Result::unwrap)
    });
    calls.fold((0, 0), |(count, output), call| (count + 1, output + call.row.tokens_output.unwrap_or_default()))
}

/// What the calls of all these files used, each answer once.
fn counted<'f>(files: impl Iterator<Item = &'f [&'f str]>) -> (u64, u64) {
    let answers: BTreeSet<String> = files
        .flatten()
        .flat_map(|turn| [format!("first {}", turn.split('/').next().unwrap()), format!("then {turn}")])
        .collect();
    (answers.len() as u64, 5 * answers.len() as u64)
}

fn texts(turns: &[&str]) -> Vec<String> {
    let file = File { id: "", parent: None, turns };
    let shown = file.said().filter(|(_, turn, ..)| !turn.ends_with('!'));
    shown.flat_map(|(_, _, asked, [first, then])| [asked, first, then]).collect()
}

/// The messages at the session's current head.
fn shown(place: &Place, session: &SessionId) -> Vec<String> {
    place.said(session).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn what_leaves_a_fork_within_its_first_turn_shares_what_the_fork_shares() {
    for format in FORMATS {
        let place = Place::of(format);
        let mut sessions = BTreeSet::new();
        let versions: [&[&str]; 7] = [
            &["1"],
            &["1", "a"],
            &["1", "b"],
            &["1", "b/2"],
            &["1", "b/3", "c"],
            &["1", "b/3", "d"],
            &["1", "b/2", "e"],
        ];
        for turns in versions {
            let file = File { id: "base", parent: None, turns };
            let imported = import(&place, format, &file);
            sessions.insert(imported.session.clone());
            assert_eq!(shown(&place, &imported.session), texts(turns), "{format} {turns:?}");
            assert_eq!(imported.turns, turns.len() as u64, "{format} {turns:?}");
            let messages = place.store.events(&imported.session).unwrap();
            let messages = messages.iter().filter(|event| event.body.kind() == "message/added").count();
            assert!(messages <= 6, "{format} {turns:?}: {messages} messages are rows of its own");
            assert_eq!(place.source(&imported.session), file.write(format), "{format} {turns:?}");
            assert_eq!(import(&place, format, &file).new_events, 0, "{format} {turns:?}");
        }
        assert_eq!(used(&place), counted(versions.into_iter()), "{format}");
        assert_eq!(sessions.len(), 5, "{format}: each history is one session");
        place.is_sound();
    }
}

/// A session, its fork, a fork of that, and one of its later end.
const FAMILY: [File<'static>; 4] = [
    File { id: "grand", parent: None, turns: &["1", "2", "3"] },
    File { id: "parent", parent: Some(("grand", 2)), turns: &["1", "2", "p3", "p4"] },
    File { id: "fork", parent: Some(("parent", 3)), turns: &["1", "2", "p3", "f4"] },
    File { id: "last", parent: Some(("parent", 4)), turns: &["1", "2", "p3", "p4", "l5", "l6"] },
];

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let with = |at: usize| shorter.iter().map(move |order| [&order[..at], &[count - 1], &order[at..]].concat());
    (0..count).flat_map(with).collect()
}

#[test]
fn a_family_is_counted_once_in_whatever_order_it_comes() {
    for format in FORMATS {
        for order in orders(FAMILY.len()).into_iter().step_by(if format < "d" { 4 } else { 1 }) {
            let place = Place::of(format);
            let mut sessions = Vec::new();
            for (number, file) in order.iter().map(|number| (*number, &FAMILY[*number])) {
                let imported = import(&place, format, file);
                assert_eq!(shown(&place, &imported.session), texts(file.turns), "{format} {order:?}: {}", file.id);
                sessions.push((number, imported.session));
            }
            assert_eq!(used(&place), counted(FAMILY.iter().map(|file| file.turns)), "{format} {order:?}");
            for (number, session) in sessions {
                let file = &FAMILY[number];
                assert_eq!(place.source(&session), file.write(format), "{format} {order:?}: {}", file.id);
                assert_eq!(place.export(&session), file.write(format), "{format} {order:?}: {}", file.id);
                assert_eq!(import(&place, format, file).new_events, 0, "{format} {order:?}: {}", file.id);
            }
            if order[0] == 2 {
                place.is_sound();
            }
        }
    }
}

#[test]
fn a_fork_may_have_more_of_its_parent_than_was_imported_of_it() {
    for format in FORMATS {
        for order in orders(FAMILY.len()).into_iter().step_by(7) {
            for parts in 1..=2 {
                let place = Place::of(format);
                for file in order.iter().map(|number| &FAMILY[*number]) {
                    // What is copied is written at once.
                    let copied = file.parent.map_or(0, |(_, copied)| copied);
                    let turns = &file.turns[..file.turns.len().min(copied + parts)];
                    import(&place, format, &File { turns, ..*file });
                }
                for file in order.iter().map(|number| &FAMILY[*number]) {
                    let imported = import(&place, format, file);
                    let what = format!("{format} {order:?} {parts}: {}", file.id);
                    assert_eq!(shown(&place, &imported.session), texts(file.turns), "{what}");
                    assert_eq!(place.source(&imported.session), file.write(format), "{what}");
                }
                assert_eq!(used(&place), counted(FAMILY.iter().map(|file| file.turns)), "{format} {order:?} {parts}");
            }
        }
    }
}

#[test]
fn a_parent_may_have_branches_that_its_forks_left_out() {
    // Its forks have a branch each, without what was tried between.
    let family = [
        File { id: "tree", parent: None, turns: &["1", "x!", "2", "y!", "3", "4"] },
        File { id: "one", parent: Some(("tree", 2)), turns: &["1", "2", "o3"] },
        File { id: "two", parent: Some(("tree", 3)), turns: &["1", "2", "3", "t4"] },
    ];
    for format in ["pi", "claude-code"] {
        for order in orders(family.len()) {
            let place = Place::of(format);
            for file in order.iter().map(|number| &family[*number]) {
                let imported = import(&place, format, file);
                assert_eq!(shown(&place, &imported.session), texts(file.turns), "{format} {order:?}: {}", file.id);
                assert_eq!(place.source(&imported.session), file.write(format), "{format} {order:?}: {}", file.id);
                assert_eq!(import(&place, format, file).new_events, 0, "{format} {order:?}: {}", file.id);
            }
            assert_eq!(used(&place), counted(family.iter().map(|file| file.turns)), "{format} {order:?}");
            place.is_sound();
        }
    }
}

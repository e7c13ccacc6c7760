//! Generated logs, and real ones.

use super::*;

/// What a line of a generated log is.
fn records() -> impl Strategy<Value = Vec<String>> {
    let text = prop_oneof!["[a-z ]{0,40}", "\\PC{0,30}", Just("x".repeat(70))];
    let value = (0..18_u8, text, 0..4_u8).prop_map(|(what, text, n)| match what {
        0..=3 => ("user_message", json!({ "text": text })),
        4 | 5 => ("assistant_message", json!({ "text": text })),
        6 => ("assistant_message", json!({ "text": text, "metadata": { "partial": true } })),
        7 | 8 => ("tool_call", json!({ "call_id": n, "name": "read", "args": { "path": text } })),
        9 => ("tool_call", json!({ "call_id": format!("c{n}"), "name": text, "args": { "command": text } })),
        10 => ("tool_result", json!({ "call_id": format!("c{n}"), "ok": n > 1, "output": text })),
        11 => ("tool_result", json!({ "call_id": format!("c{n}"), "ok": false, "error": { "message": text } })),
        12 => ("provider_usage", json!({ "model": text, "usage_summary": { "input_tokens": n } })),
        13 => ("turn_failed", json!({ "terminal_status": "interrupted", "error_message": text })),
        14 => ("branch_summary", json!({ "summary": text })),
        15 => ("history_compaction", json!({ "summary": text, "range": { "to_seq": n } })),
        16 => {
            let event = ["started", "retrying", "finished", "input"][usize::from(n)];
            ("subagent_event", json!({ "event": event, "subagent_id": "s", "child_session_id": format!("k{n}"), "status": "completed" }))
        }
        _ => ("text_delta", json!({ "chunk": text })),
    });
    let odd = prop_oneof![
        12 => value.prop_map(|(kind, data)| Some((kind, data))),
        1 => Just(None),
    ];
    prop::collection::vec((odd, 0..30_u8, any::<u8>()), 1..40).prop_map(|items| {
        let mut lines = vec![line("any", 0, "workflow_event", json!({}))];
        for (seq, (item, disorder, odd)) in (1..).zip(items) {
            let seq: u64 = if disorder == 0 { u64::from(odd) % 20 } else { seq };
            lines.push(match item {
                Some((kind, data)) if odd == 7 => {
                    line("any", seq, kind, data).replace(&format!("\"seq\":{seq},"), "\"seq\":null,")
                }
                Some((kind, data)) if odd == 8 => line("any", seq, kind, data).trim_end().to_owned(),
                Some((kind, data)) => line("any", seq, kind, data),
                None => ["\n", "{\"type\":1}\n", "{\"type\":\"x\",\"type\":\"y\"}\n", "\u{1}m1\u{2}\n", "[]\n", "  \n"]
                    [usize::from(odd) % 6]
                    .to_owned(),
            });
        }
        lines
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever lines a log has: it comes back byte for byte, adds nothing the second time, and cut anywhere and then
    /// continued it gives the same lines and, cut between turns, the same rows.
    #[test]
    fn any_log_comes_back_and_can_be_cut(lines in records(), cut in any::<prop::sample::Index>()) {
        let text = lines.concat();
        let whole = Place::of("pixir");
        let imported = whole.import(&text);
        let expected = counted(lines.iter().map(String::as_str));
        let of = |what: &str| expected.get(what).copied().unwrap_or_default();
        let [messages, turns, calls, evals, _, invocations] = counts(&imported);
        let wanted = [of("messages"), of("turns"), of("calls"), of("evals"), of("invocations")];
        prop_assert_eq!([messages, turns, calls, evals, invocations], wanted);
        let torn = imported.diagnostics.iter().any(|one| one.kind == "torn-tail");
        let back = whole.export(&imported.session);
        prop_assert!(text.starts_with(&back) && (torn || back == text), "{back}");
        prop_assert_eq!(whole.import(&text), Imported { new_events: 0, ..imported.clone() });

        let mut at = lines[0].len() + cut.index(text.len() - lines[0].len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let parts = Place::of("pixir");
        parts.import(&text[..at]);
        let later = parts.import(&text);
        prop_assert_eq!(parts.export(&later.session), back);
        prop_assert_eq!(parts.import(&text).new_events, 0);
        prop_assert_eq!(&later.session, &imported.session);
        // Only what is imported at once is put in order.
        if !imported.diagnostics.iter().any(|one| one.kind == "out-of-order") {
            prop_assert_eq!(parts.rows(&later.session), whole.rows(&imported.session));
        }
        let issues = headwater::care::check(parts.store.root(), headwater::care::Mode::Deep).unwrap().issues;
        prop_assert_eq!(issues, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Two logs that begin alike and then part: each comes back byte for byte, says what it says alone, and the second
    /// is a fork of the first, of which nothing changes.
    #[test]
    fn logs_that_part_share_what_they_have_in_common(
        one in records(), other in records(), at in any::<prop::sample::Index>(),
    ) {
        let common = 1 + at.index(one.len());
        let left = one.concat();
        let right = [&one[..common], &other[1..]].concat().concat();
        let (both, alone) = (Place::of("pixir"), Place::of("pixir"));
        let first = both.import(&left);
        let before = both.store.events(&first.session).unwrap();
        let second = both.import(&right);
        let expected = alone.import(&right);
        // What is blank beyond what both have is nothing new.
        if second.session == first.session && !right.starts_with(&left) && second.new_events == 0 {
            prop_assert!(left.starts_with(right.trim_end()), "{right}");
            return Ok(());
        }
        prop_assert_eq!(both.export(&second.session), alone.export(&expected.session));
        prop_assert_eq!(both.import(&right).new_events, 0);
        if second.session != first.session {
            prop_assert_eq!(&second.forked_from, &Some(first.session.clone()));
            prop_assert_eq!(both.store.events(&first.session).unwrap(), before);
            let again = both.import(&left);
            prop_assert_eq!((again.session, again.new_events), (first.session, 0));
        }
        // Only what is imported at once is put in order.
        if !expected.diagnostics.iter().any(|one| one.kind == "out-of-order") {
            prop_assert_eq!(both.said(&second.session), alone.said(&expected.session));
            prop_assert_eq!(counts(&second)[..4].to_vec(), counts(&expected)[..4].to_vec());
        }
        let issues = headwater::care::check(both.store.root(), headwater::care::Mode::Deep).unwrap().issues;
        prop_assert_eq!(issues, []);
    }
}

/// Counts of the lines of a raw log, made without the code that is tested.
fn counted<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut open: Vec<(String, String)> = Vec::new();
    let (mut in_turn, mut asked, mut given_up) = (false, Vec::new(), Vec::new());
    let mut records: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    records.retain(|record| record["type"].is_string() && !record["session_id"].is_null());
    records.sort_by_key(|record| (record["seq"].is_null(), record["seq"].as_u64()));
    for value in records {
        let data = &value["data"];
        let mut add = |what| *counts.entry(what).or_insert(0) += 1;
        let call_id = data["call_id"].as_str().map(str::to_owned);
        match value["type"].as_str().unwrap() {
            "user_message" | "branch_summary" => {
                if in_turn {
                    asked.iter().for_each(|_| add("evals"));
                    given_up.append(&mut asked);
                }
                in_turn |= value["type"] == "user_message";
            }
            "tool_call" => asked.push(call_id),
            "tool_result" => match asked.iter().position(|id| id.is_some() && *id == call_id) {
                Some(at) => {
                    asked.remove(at);
                    add("evals");
                }
                None if call_id.is_some() && given_up.contains(&call_id) => {}
                None => add("evals"),
            },
            _ => {}
        }
        match value["type"].as_str().unwrap() {
            "user_message" => {
                add("messages");
                add("turns");
            }
            "assistant_message" | "tool_result" | "branch_summary" | "history_compaction" => add("messages"),
            "provider_usage" => add("calls"),
            "tool_call" | "text_delta" => {}
            "subagent_event" => {
                let of = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
                let who = (of("subagent_id"), of("child_session_id"));
                match data["event"].as_str().unwrap() {
                    "started" if open.contains(&who) => {}
                    "started" | "input" => {
                        add("invocations");
                        open.push(who);
                    }
                    _ => open.retain(|one| *one != who),
                }
                add("annotations");
            }
            _ => add("annotations"),
        }
    }
    // What is at work at the end is unfinished.
    *counts.entry("evals").or_insert(0) += asked.len() as u64;
    counts
}

#[test]
fn real_pixir_logs_come_in_whole() {
    let shared = std::env::var_os("HEADWATER_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let folder = shared.join("data/pixir");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let place = Place::of("pixir");
    let mut found = exchange::find(&folder).unwrap();
    found.retain(|one| one.path.extension().is_some_and(|extension| extension == "ndjson"));
    assert!(found.len() >= 6, "{found:?}");
    for one in found {
        let text = fs::read_to_string(&one.path).unwrap();
        let imported = one.import(&place.store, &mut |_| {}).pop().unwrap().unwrap();
        let expected = counted(text.lines());
        let of = |what: &str| expected.get(what).copied().unwrap_or_default();
        let [messages, turns, calls, evals, _, invocations] = counts(&imported);
        assert_eq!(
            [messages, turns, calls, evals, invocations],
            [of("messages"), of("turns"), of("calls"), of("evals"), of("invocations")],
            "{}",
            one.path.display()
        );
        let annotations = place.annotations(&imported.session);
        let own = annotations.iter().filter(|kind| kind.starts_with("pixir/")).count() as u64;
        assert_eq!(own, of("annotations"));
        assert_eq!(place.export(&imported.session), text);
        assert_eq!(one.import(&place.store, &mut |_| {}).pop().unwrap().unwrap().new_events, 0);
    }
}

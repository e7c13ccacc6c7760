//! Pixir's own log, kept in a store.

use super::*;

#[test]
fn the_log_appends_folds_and_refuses_as_pixirs_own() {
    let place = Place::of("pixir");
    let log = Log::new(place.store.clone(), "/work/space");
    let event = |kind: &str, data: Value| LogEvent::new("s1", kind, &data.to_string()).unwrap();
    assert_eq!(log.path("s1"), Path::new("/work/space/.pixir/sessions/s1.ndjson"));
    assert!(!log.exists("s1").unwrap());
    assert_eq!(log.fold("s1").unwrap(), []);

    let first = log.append(event("user_message", json!({ "text": "hello" }))).unwrap();
    let second = log.append(event("assistant_message", json!({ "text": "hi there" }))).unwrap();
    assert_eq!((first.seq, second.seq), (Some(0), Some(1)));
    assert!(log.exists("s1").unwrap());
    let late = log.append(LogEvent { seq: Some(9), ..event("user_message", json!({ "text": "second" })) }).unwrap();
    let early = log.append(LogEvent { seq: Some(4), ..event("user_message", json!({ "text": "first" })) }).unwrap();
    let next = log.append(event("workflow_event", json!({ "kind": "workflow_started" }))).unwrap();
    assert_eq!(next.seq, Some(10));
    assert_eq!(log.fold("s1").unwrap(), [first.clone(), second.clone(), early.clone(), late.clone(), next.clone()]);
    assert_eq!(log.fold_append_order("s1").unwrap(), [first.clone(), second, late, early, next]);

    let kind = |result: Result<LogEvent, headwater::exchange::pixir::log::LogError>| result.unwrap_err().kind;
    let before = place.store.session(&"s1".parse().unwrap()).unwrap().events;
    assert_eq!(kind(log.append(event("text_delta", json!({ "chunk": "p" })))), "ephemeral_not_loggable");
    assert_eq!(kind(log.append(event("nothing_known", json!({})))), "ephemeral_not_loggable");
    assert_eq!(kind(log.append(event("user_message", json!([1])))), "invalid_args");
    assert_eq!(kind(LogEvent::new("s1", "user_message", "{no json")), "invalid_args");
    assert_eq!(kind(log.append(LogEvent { ts: "now".to_owned(), ..event("user_message", json!({})) })), "invalid_args");
    assert_eq!(place.store.session(&"s1".parse().unwrap()).unwrap().events, before, "a refusal changes nothing");
    let error = log.exists("../etc").unwrap_err();
    assert_eq!(error.kind, "invalid_args");
    assert_eq!(error.to_json()["error"]["details"]["field"], "session_id");
    assert_eq!(log.create_session("s1", vec![first.clone()]).unwrap_err().kind, "already_exists");

    // What was appended is a session like an imported one, and its export is found again.
    let session: SessionId = "s1".parse().unwrap();
    assert_eq!(place.said(&session).len(), 4);
    let rows = place.store.view(&session).unwrap().rows;
    assert_eq!(rows.turns[0].row.status, Status::FINAL);
    let text = place.export(&session);
    assert_eq!(text.lines().count(), 5);
    drop(log);
    assert_eq!(place.import(&text).new_events, 0);
    let other = Place::of("pixir");
    let imported = other.import(&text);
    let again = Log::new(other.store.clone(), ".");
    assert_eq!(again.fold("s1").unwrap()[0], first);
    assert_eq!(other.export(&imported.session), text);
    let more = again.append(event("assistant_message", json!({ "text": "and on" }))).unwrap();
    assert_eq!(more.seq, Some(11));
    assert!(other.export(&imported.session).starts_with(&text));
}

#[test]
fn threads_append_to_sessions_that_are_not_there_yet() {
    let place = Place::of("pixir");
    let log = Log::new(place.store.clone(), ".");
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (log, start) = (&log, &start);
            scope.spawn(move || {
                for round in 0..6 {
                    start.wait();
                    let data = json!({ "text": format!("{thread}") }).to_string();
                    let session = format!("round-{round}-{}", thread % 2);
                    log.append(LogEvent::new(&session, "user_message", &data).unwrap()).unwrap();
                }
            });
        }
    });
    for session in (0..6).flat_map(|round| [0, 1].map(|half| format!("round-{round}-{half}"))) {
        let events = log.fold(&session).unwrap();
        assert_eq!(events.iter().map(|event| event.seq.unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let mut texts: Vec<_> = events.iter().map(|event| event.data.get().to_owned()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 4, "each thread's own");
    }
}

#[test]
fn a_session_that_was_released_can_be_written_by_another() {
    let place = Place::of("pixir");
    let log = Log::new(place.store.clone(), ".");
    let event = || LogEvent::new("r", "user_message", r#"{"text":"hello"}"#).unwrap();
    log.append(event()).unwrap();
    let other = Log::new(place.store.clone(), ".");
    assert_eq!(other.append(event()).unwrap_err().kind, "log_write_failed");
    log.release("r").unwrap();
    assert_eq!(other.append(event()).unwrap().seq, Some(1));
    other.release("r").unwrap();
    assert_eq!(log.append(event()).unwrap().seq, Some(2));
    log.release("never written").unwrap_err();
    log.release("not-there").unwrap();
    assert!(!log.exists("not-there").unwrap());
}

#[test]
fn an_append_behind_the_last_number_is_refused() {
    let place = Place::of("pixir");
    let log = Log::new(place.store.clone(), ".");
    let event = |seq| LogEvent { seq, ..LogEvent::new("max", "user_message", r#"{"text":"hello"}"#).unwrap() };
    assert_eq!(log.append(event(Some(u64::MAX))).unwrap_err().kind, "invalid_args");
    assert!(!log.exists("max").unwrap());
    log.append(event(Some(u64::MAX - 1))).unwrap();
    assert_eq!(log.append(event(None)).unwrap_err().kind, "invalid_args");
    // A number in between is still free.
    assert_eq!(log.append(event(Some(7))).unwrap().seq, Some(7));
    assert_eq!(log.fold("max").unwrap().len(), 2);

    place.import(line("ends", u64::MAX, "user_message", json!({ "text": "hello" })));
    let behind = LogEvent::new("ends", "user_message", r#"{"text":"hello"}"#).unwrap();
    assert_eq!(log.append(behind).unwrap_err().kind, "invalid_args");
}

#[test]
fn a_session_made_whole_is_there_whole_or_not_at_all() {
    let place = Place::of("pixir");
    let log = Log::new(place.store.clone(), ".");
    let event = |kind: &str, data: Value| LogEvent::new("s2", kind, &data.to_string()).unwrap();
    let refused =
        log.create_session("s2", vec![event("user_message", json!({ "text": "x" })), event("status", json!({}))]);
    assert_eq!(refused.unwrap_err().kind, "ephemeral_not_loggable");
    assert!(!log.exists("s2").unwrap());
    let events = vec![
        event("user_message", json!({ "text": "count" })),
        event("assistant_message", json!({ "text": "one" })),
        event("user_message", json!({ "text": "more" })),
    ];
    let written = log.create_session("s2", events).unwrap();
    assert_eq!(written.iter().map(|one| one.seq).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    assert_eq!(log.fold("s2").unwrap(), written);
    let compaction = json!({ "range": { "from_seq": 0, "to_seq": 0 }, "summary": "they counted" });
    log.append(event("history_compaction", compaction)).unwrap();
    let info = place.store.heads(&"s2".parse().unwrap()).unwrap();
    let head = info.iter().find(|head| head.kind == HeadKind::Compaction).unwrap();
    assert_eq!(place.store.root_of(&head.head).unwrap().transcript.unwrap().len(), 2, "the frame, and two messages");
    // A session that another hand went on with is left alone.
    drop(log);
    place.store.open_session(&"s2".parse().unwrap()).unwrap().begin_turn("mine").unwrap();
    let log = Log::new(place.store.clone(), ".");
    assert_eq!(log.append(event("user_message", json!({ "text": "x" }))).unwrap_err().kind, "not_a_log");
}

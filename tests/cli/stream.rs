//! `stream`: JSON lines.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::{Home, is_time};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_come_without_gap_and_with_their_keys() {
    let home = Home::demo();
    let out = home.ok(&["stream", "demo"]);
    assert!(out.lines().count() > 10, "{out}");
    for (event, number) in lines(&out).iter().zip(1..) {
        assert_eq!(event["event/id"], number);
        for key in ["event/type", "event/session", "event/at", "event/row-kind", "event/row-id"] {
            assert!(event[key].is_string(), "{key}: {event}");
        }
        assert!(is_time(&event["event/at"]));
        assert!(event.as_object().unwrap().keys().all(|key| key.starts_with("event/")));
        assert!(event.as_object().unwrap().values().all(|value| !value.is_null()));
    }
    assert!(!out.contains("add two numbers"), "never payload text");
    assert_eq!(home.ok(&["tail", "demo", "--json"]), out);
    let since = home.ok(&["stream", "demo", "--since", "5"]);
    assert_eq!(since.lines().collect::<Vec<_>>(), out.lines().skip(5).collect::<Vec<_>>());
    assert_eq!(home.ok(&["stream", "demo", "--since", "99999"]), "");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let home = Home::demo();
    for args in [&["stream", "demo"][..], &["show", "demo"], &["events", "demo"], &["ls", "--json"], &["--help"]] {
        let mut command = home.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed long before the command has anything to say.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn follow_sees_what_another_process_commits() {
    let home = Home::demo();
    let known = home.ok(&["stream", "demo"]).lines().count();
    let mut command = home.command(&["stream", "demo", "--follow", "--since", &known.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    home.ok(&["resume", "demo", "again"]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines(&line)[0]["event/id"], known + 1);
}

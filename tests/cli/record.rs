//! `run`: its report, its exit codes, and names.

use crate::{Home, is_head};

const KEYS: &[&str] = &["alias", "final", "head", "session", "status", "turn"];

#[test]
fn run_reports_the_turn_and_its_final_value() {
    let home = Home::new();
    let ran = home.json(&["run", "add two numbers", "--script", "simple", "--name", "demo"]);
    assert_eq!(crate::keys(&ran), KEYS);
    assert_eq!((&ran["session"], &ran["turn"], &ran["status"]), (&"demo".into(), &1.into(), &"final".into()));
    assert!(is_head(&ran["head"]));
    assert_eq!(ran["final"], 4);
    assert!(home.path().join(".headwater/store.sqlite").is_file());
    let text = Home::new().ok(&["run", "add two numbers", "--name", "demo"]);
    assert!(text.contains("next:\n  headwater show demo"), "{text}");
}

#[test]
fn a_taken_name_is_refused_and_nothing_changes() {
    let home = Home::demo();
    let before = home.ok(&["stream", "demo"]);
    let error = home.error(&["run", "again", "--name", "demo"]);
    assert_eq!(error["kind"], "exists");
    assert_eq!(home.ok(&["stream", "demo"]), before);
    assert_eq!(home.json(&["ls"]).as_array().unwrap().len(), 1);
}

#[test]
fn the_exit_code_is_the_outcome_of_run_and_show() {
    let home = Home::new();
    for (status, code) in [("none", 2), ("timeout", 3), ("error", 1)] {
        let script = home.path().join(format!("{status}.json"));
        let text = if status == "none" { r#""text":"hm","# } else { "" };
        std::fs::write(&script, format!(r#"{{"replies":[{{{text}"status":"{status}"}}]}}"#)).unwrap();
        let ran = home.run(&["run", "x", "--script", script.to_str().unwrap(), "--name", status, "--json"]);
        assert_eq!(ran.code, code, "{status}: {}", ran.err);
        assert_eq!(ran.err, "", "an outcome is no error of the command");
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert!(report["final"].is_null());
        assert_eq!(home.run(&["show", status]).code, code, "{status}");
        assert_eq!(home.run(&["show", status, "--json"]).code, code, "{status}");
        assert_eq!(home.run(&["resume", status]).code, code, "{status}");
    }
    let aborted = home.run(&["run", "x", "--script", "abort", "--name", "aborted"]);
    assert_eq!(aborted.code, 2);
    assert_eq!(home.run(&["show", "aborted"]).code, 2);
    assert_eq!(home.run(&["show", "aborted", "--final"]).code, 2);
}

#[test]
fn a_script_that_cannot_be_played_makes_no_store() {
    let home = Home::new();
    let error = home.error(&["run", "x", "--script", "no-such-script"]);
    assert_eq!(error["kind"], "not-found");
    assert!(!home.path().join(".headwater").exists());
}

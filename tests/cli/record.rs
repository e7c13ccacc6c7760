//! `run`: its report, its exit codes, and names.

use serde_json::Value;

use crate::{Home, is_head, keys};

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

#[test]
fn a_script_error_names_file_and_line() {
    let home = Home::new();
    for (text, line, what) in [
        ("{\"replies\":[\n {\"text\":\"a\"},\n {\"txt\":1}]}", 3, "unknown field `txt`"),
        (
            "{\"replies\":[\n {\"text\":\"a\",\"status\":\"timeout\"}]}",
            2,
            "line 2, replies[0]: the model does not answer",
        ),
        ("{\"turns\":[\n\n{\"replies\":[]}]}", 3, "line 3, turns[0].replies: there is none"),
    ] {
        std::fs::write(home.path().join("bad.json"), text).unwrap();
        for flag in ["--script", "--fake-script"] {
            let error = home.error(&["run", "x", flag, "bad.json"]);
            assert_eq!((&error["kind"], &error["details"]["line"]), (&"bad-script".into(), &line.into()), "{error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("bad.json") && message.contains(what), "{message}");
        }
    }
    assert!(!home.path().join(".headwater").exists());
}

#[test]
fn an_aborted_turn_can_be_looked_at() {
    let home = Home::new();
    let ran = home.run(&["run", "x", "--script", "abort", "--name", "dead"]);
    let head = ran.out.lines().find_map(|line| line.trim().strip_prefix("aborted at  ")).unwrap().to_owned();
    let shown = home.run(&["show", "dead"]).out;
    assert!(shown.contains(&format!("{head} keeps what it had built")), "{shown}");
    assert!(shown.contains(&format!("headwater show {head} ")), "{shown}");
    let built = home.run(&["show", &head, "--json"]);
    let built: serde_json::Value = serde_json::from_str(&built.out).unwrap();
    assert_eq!(built["head"]["kind"], "turn-aborted");
    assert_eq!(built["evals"].as_array().unwrap().len(), 1);
    // Once the session went on, it is one of its heads and no more than that.
    home.ok(&["resume", "dead", "again"]);
    assert!(!home.ok(&["show", "dead"]).contains("aborted"));
}

/// A session of ours goes out as a log of another program, and comes in again elsewhere.
#[test]
fn a_session_is_exported_and_imported_again() {
    let home = Home::demo();
    let text = home.ok(&["export", "demo", "--format", "pixir"]);
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["session_id"] == "demo"));
    let report = home.json(&["export", "demo", "--format", "pixir", "--output", "demo.ndjson"]);
    assert_eq!(keys(&report), ["format", "notices", "output", "session"]);
    assert_eq!(std::fs::read_to_string(home.path().join("demo.ndjson")).unwrap(), text);
    let imported = home.json(&["import", "demo.ndjson", "--store", "other"]);
    assert_eq!(imported["imported"][0]["format"], "pixir");
    assert_eq!(home.ok(&["export", "demo", "--store", "other"]), text, "its own format needs no name");

    assert_eq!(home.error(&["export", "demo", "--output", "x"])["kind"], "not-exportable");
    assert_eq!(home.json(&["export", "demo", "--format", "gemini", "--output", "chat.jsonl"])["format"], "gemini");
    assert_eq!(home.error(&["export", "demo", "--format", "none", "--output", "x"])["kind"], "unknown-format");
    assert_eq!(home.error(&["export", "demo", "--format", "pixir"])["kind"], "usage");
    assert!(!home.path().join("x").exists());
}

/// What a session called is written below it, and comes in as it was: the same tree, cost and standing.
#[test]
fn a_run_is_exported_with_its_children_and_comes_back_as_it_was() {
    let home = Home::new();
    for script in ["rlm", "map-rlm", "attach"] {
        home.ok(&["run", "a task", "--script", script, "--name", script]);
        let out = format!("run-{script}");
        home.ok(&["export", script, "--format", "fractal", "--output", &out]);
        assert!(home.path().join(&out).join("children/child-0001/events.ednl").exists(), "{script}");
        let imported = home.json(&["import", &out, "--store", "other"]);
        let imported = imported["imported"].as_array().unwrap();
        assert!(imported.iter().all(|one| one["diagnostics"].as_array().unwrap().is_empty()), "{imported:?}");
        let both = |args: &[&str]| {
            let ours = home.json(args);
            (ours, home.json(&[args, &["--store", "other"]].concat()))
        };
        let (ours, theirs) = both(&["tree", script]);
        let nodes = |tree: &Value| {
            fn all(node: &Value, out: &mut Vec<Vec<Value>>) {
                out.push(["address", "session", "label", "status", "type"].map(|key| node[key].clone()).to_vec());
                node["children"].as_array().into_iter().flatten().for_each(|child| all(child, out));
            }
            let mut out = Vec::new();
            all(tree, &mut out);
            out
        };
        assert_eq!(nodes(&theirs), nodes(&ours), "{script}");
        assert!(nodes(&ours).len() > 1, "{ours}");
        let (ours, theirs) = both(&["cost", script]);
        assert_eq!(theirs, ours, "{script}");
        for name in [script.to_owned(), format!("{script}.child-0001")] {
            let (ours, theirs) = both(&["show", &name]);
            assert_eq!(theirs["session"]["status"], ours["session"]["status"], "{name}");
            assert_ne!(ours["session"]["status"], "running", "{name}");
        }
    }
}

/// What is on no way to the current head is not in a run, and that is said.
#[test]
fn an_export_says_what_it_leaves_out() {
    let home = Home::new();
    home.run(&["run", "a task", "--script", "abort", "--name", "dead"]);
    let ran = home.run(&["export", "dead", "--format", "fractal", "--output", "dead"]);
    assert!(ran.err.contains("left out: ") && ran.err.contains("outside its current head"), "{}", ran.err);
    let report = home.json(&["export", "dead", "--format", "fractal", "--output", "again"]);
    assert_eq!(report["notices"][0]["kind"], "outside-head");
    home.ok(&["import", "dead", "--store", "other"]);
    let status = |more: &[&str]| -> Value {
        let shown = home.run(&[&["show", "dead", "--json"], more].concat());
        serde_json::from_str::<Value>(&shown.out).unwrap()["session"]["status"].clone()
    };
    assert_eq!((status(&["--store", "other"]), status(&[])), ("aborted".into(), "aborted".into()));
}

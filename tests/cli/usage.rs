//! Wrong usage, help, and a store that is not there.

use serde_json::Value;

use crate::{Home, keys};

#[test]
fn a_missing_store_is_an_error_of_every_reading_verb_and_none_is_made() {
    let home = Home::new();
    for args in [
        &["ls"][..],
        &["list"],
        &["show"],
        &["events", "demo"],
        &["stream", "demo"],
        &["inspect", "demo"],
        &["tree"],
        &["prime"],
        &["cost"],
        &["leaves"],
        &["step", "1"],
        &["resume", "demo"],
        &["fork", "demo", "--name", "x"],
        &["diff", "a", "b"],
        &["cat", "b3:0000"],
        &["check"],
        &["alias", "demo", "x"],
    ] {
        let error = home.error(args);
        assert_eq!(error["kind"], "not-found", "{args:?}");
        assert!(error["hint"].as_str().unwrap().contains("headwater run"), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    assert_eq!(home.error(&["ls", "--store", "elsewhere"])["kind"], "not-found");
    assert!(!home.path().join("elsewhere").exists());
}

#[test]
fn the_store_is_found_upwards_and_named_by_option() {
    let home = Home::demo();
    let deep = home.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let found = home.command(&["ls", "--json"]).current_dir(&deep).output().unwrap();
    assert!(String::from_utf8(found.stdout).unwrap().contains("\"demo\""));
    let store = home.path().join(".headwater");
    let named = home.command(&["--store", store.to_str().unwrap(), "ls"]).current_dir("/").output().unwrap();
    assert!(String::from_utf8(named.stdout).unwrap().contains("demo"));
    let run = home.ok(&["run", "x", "--name", "other", "--store", "my store"]);
    assert!(home.path().join("my store").is_dir());
    assert!(run.contains("headwater show other --store 'my store'"), "{run}");
    let missing = home.run(&["show", "nobody", "--store", "my store"]);
    assert!(missing.err.contains("\nhint: headwater --store 'my store' ls lists the sessions\n"), "{}", missing.err);
}

#[test]
fn wrong_usage_exits_with_1() {
    let home = Home::new();
    for args in [&["bogus"][..], &["events"], &["ls", "--nope"], &["stream", "x", "--since", "-1"], &[]] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
    for args in [&["bogus"][..], &["events"], &["resume", "x", "--head", "a", "--turn", "1"]] {
        let error = home.error(args);
        assert_eq!(error["kind"], "usage", "{args:?}");
        assert!(!error["message"].as_str().unwrap().contains('\n'));
        assert_eq!(keys(&error["details"]), ["text"]);
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(home.ok(&["completions", shell]).contains("headwater"), "{shell}");
    }
    assert_eq!(home.run(&["completions", "csh"]).code, 1);
}

#[test]
fn names_that_fit_nothing_or_several_say_so() {
    let home = Home::demo();
    home.ok(&["run", "x", "--name", "demo-2"]);
    home.ok(&["run", "x", "--name", "demo-3"]);
    let missing = home.error(&["events", "nobody"]);
    assert_eq!((&missing["kind"], &missing["details"]["name"]), (&"not-found".into(), &"nobody".into()));
    assert!(missing["hint"].as_str().unwrap().contains("headwater ls"));
    let several = home.error(&["events", "demo-"]);
    assert_eq!(several["kind"], "ambiguous");
    assert!(several["details"]["candidates"].as_array().unwrap().len() >= 2);
    // A whole id is never ambiguous.
    home.ok(&["events", "demo"]);
    let text = home.run(&["events", "nobody"]);
    assert_eq!((text.code, text.out.as_str()), (1, ""));
    assert!(text.err.starts_with("error: ") && text.err.contains("\nhint: "), "{}", text.err);
}

#[test]
fn an_import_of_nothing_makes_no_store() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("empty")).unwrap();
    std::fs::write(home.path().join("prose.jsonl"), "no record\nat all\n").unwrap();
    std::fs::write(home.path().join("other.jsonl"), "{\"of\":\"nobody\"}\n").unwrap();
    let ran = home.run(&["import", "no-such.jsonl", "empty", "prose.jsonl", "other.jsonl", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let kinds: Vec<_> = report["failed"].as_array().unwrap().iter().map(|failed| failed["kind"].clone()).collect();
    assert_eq!(kinds, ["not-found", "not-found", "no-records", "unknown-format"]);
    assert_eq!(report["imported"], serde_json::json!([]));
    assert!(!home.path().join(".headwater").exists());
}

#[test]
fn what_holds_no_session_is_left_in_a_folder_and_refused_by_name() {
    let home = Home::new();
    let project = home.path().join("tmp/0123");
    std::fs::create_dir_all(project.join("chats")).unwrap();
    std::fs::copy("tests/fixtures/gemini/harbor.json", project.join("chats/session-harbor.json")).unwrap();
    let prompts = r#"[{"sessionId":"harbor-0001","messageId":0,"type":"user","message":"hi"}]"#;
    std::fs::write(project.join("logs.json"), prompts).unwrap();
    let report = home.json(&["import", "tmp"]);
    assert_eq!(report["imported"][0]["session"], "harbor-0001");
    assert_eq!(
        (&report["failed"], &report["left"][0]["kind"]),
        (&serde_json::json!([]), &serde_json::json!("no-session"))
    );
    assert!(home.ok(&["import", "tmp"]).contains("left: tmp/0123/logs.json holds no session"));

    let ran = home.run(&["import", "tmp/0123/logs.json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("list of prompts"), "{}", ran.out);
    assert!(ran.out.contains("hint: give the folder"), "{}", ran.out);
}

#[test]
fn names_of_files_that_are_no_text_break_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let odd = |bytes: &'static [u8]| std::ffi::OsStr::from_bytes(bytes);
    std::fs::copy("tests/fixtures/pi-v1.jsonl", home.path().join(odd(b"x\xff\x1b[2J.jsonl"))).unwrap();
    for (verb, name) in
        [("import", odd(b"x\xff\x1b[2J.jsonl")), ("import", odd(b"none\xff")), ("man", odd(b"pages\xff"))]
    {
        let output = home.command(&[verb, "--json"]).arg(name).output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(value.to_string().contains('\u{fffd}'), "{value}");
        let text = crate::ran(home.command(&[verb]).arg(name).output().unwrap());
        assert!(text.out.contains('\u{fffd}') && !text.out.contains('\u{1b}'), "{}", text.out);
    }
    let store = crate::ran(home.command(&["run", "x", "--name", "a", "--store"]).arg(odd(b"s\xff")).output().unwrap());
    assert_eq!((store.code, store.err.as_str()), (0, ""));
    let not_text = crate::ran(home.command(&["show"]).arg(odd(b"\xff")).output().unwrap());
    assert_eq!(not_text.code, 1);
    assert!(not_text.err.contains("invalid UTF-8"), "{}", not_text.err);
}

/// A head that a verb has no use for is never left out silently.
#[test]
fn verbs_of_a_whole_session_refuse_a_head() {
    let home = Home::demo();
    let head = home.json(&["head", "demo"])["head"].as_str().unwrap().to_owned();
    for verb in ["cost", "tree"] {
        for node in ["demo@0", "demo@1", &head] {
            let error = home.error(&[verb, node]);
            let message = error["message"].as_str().unwrap();
            assert!(error["kind"] == "usage" && message.ends_with(&format!("headwater {verb} demo")), "{error}");
        }
    }
    let genesis = home.run(&["prime", "demo@1", "--json"]).out;
    let genesis: Value = serde_json::from_str(&genesis).unwrap();
    assert_eq!((&genesis["turns"], &genesis["usage"]), (&serde_json::json!([]), &serde_json::json!(null)));
    assert!(home.run(&["prime", "demo@1"]).out.contains("\n  0 turns\n"));
    assert!(home.json(&["prime", "demo"])["usage"]["calls"].is_u64());
}

#[test]
fn digits_that_are_too_few_are_told() {
    let home = Home::demo();
    for (verb, text) in [("show", "head-abc"), ("head", "head-a"), ("diff", "head-abc"), ("cat", "b3:abc")] {
        let args = if verb == "diff" { vec![verb, text, "demo"] } else { vec![verb, text] };
        let error = home.error(&args);
        assert!(error["message"].as_str().unwrap().contains("too short"), "{verb}: {error}");
    }
}

#[test]
fn help_names_the_formats_as_format_takes_them() {
    let home = Home::demo();
    for format in headwater::exchange::FORMATS.iter() {
        for verb in ["export", "import"] {
            let help = home.ok(&[verb, "--help"]);
            assert!(
                help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == format.name),
                "{verb}: {help}"
            );
        }
    }
}

//! What a person sees: colours on a terminal alone, lines that fit it, and nothing from a payload that drives it.

use std::process::Stdio;

use crate::{Home, ran};

/// What `args` write to a terminal `columns` wide; none where no program makes one.
fn on_terminal(home: &Home, columns: u16, args: &str, env: &[(&str, &str)]) -> Option<String> {
    let binary = assert_cmd::cargo::cargo_bin!("headwater");
    let line = format!("stty cols {columns} rows 40; {} {args}", binary.display());
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(home.path()).stdin(Stdio::null());
    command.env_remove("NO_COLOR").env_remove("COLUMNS").env("TERM", "xterm").envs(env.iter().copied());
    match command.output() {
        Ok(output) => Some(ran(output).out.replace("\r\n", "\n")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: no `script` to make a terminal with");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A title, a task and a reply that would clear the screen, set the window's title and turn the text around.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}x";

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let home = Home::demo();
    let Some(seen) = on_terminal(&home, 120, "ls", &[]) else { return };
    assert!(seen.contains("\u{1b}[32mfinal\u{1b}[0m"), "{seen:?}");
    assert!(seen.contains("just now") || seen.contains(" ago"), "{seen:?}");
    let plain = on_terminal(&home, 120, "ls", &[("NO_COLOR", "1")]).unwrap();
    assert!(!plain.contains('\u{1b}') && plain.contains("final"), "{plain:?}");
    let mut forced = home.command(&["ls"]);
    let forced = ran(forced.env("CLICOLOR_FORCE", "1").output().unwrap()).out;
    assert!(forced.contains("\u{1b}[32mfinal\u{1b}[0m"), "{forced:?}");
    assert!(!home.ok(&["ls"]).contains('\u{1b}'));
}

#[test]
fn lines_fit_the_terminal_in_any_script() {
    let home = Home::new();
    let task = "日本語の仕事はとても長くて端末の幅を越えるかもしれません、本当に長い";
    home.ok(&["run", task, "--script", "compact", "--name", &"a-long-name-".repeat(9)]);
    for columns in [40, 55, 100] {
        for verb in ["ls", "show", "events a-long", "inspect a-long"] {
            if columns == 40 && verb.ends_with("a-long") {
                // What is never shortened takes more.
                continue;
            }
            let Some(seen) = on_terminal(&home, columns, verb, &[("NO_COLOR", "1")]) else { return };
            // Facts, counts and commands are never cut: a terminal wraps them. Rows of lists are.
            for line in seen.lines().filter(|line| line.starts_with("  #") || verb == "ls" || line.contains('日')) {
                let wide: usize = line.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum();
                assert!(wide <= usize::from(columns), "{verb} on {columns}: {wide} in {line:?}");
            }
        }
    }
}

#[test]
fn columns_may_be_told_in_a_pipe() {
    let home = Home::demo();
    let wide = home.ok(&["ls"]);
    assert!(wide.contains("CURRENT HEAD"), "{wide}");
    let mut narrow = home.command(&["ls"]);
    let narrow = ran(narrow.env("COLUMNS", "40").output().unwrap()).out;
    assert!(narrow.lines().all(|line| line.len() <= 40) && narrow.contains("demo"), "{narrow}");
    assert!(!narrow.contains("CURRENT HEAD"), "{narrow}");
}

/// Commands to go on with are never cut; all else fits.
#[test]
fn tables_and_facts_fit_forty_columns() {
    let home = Home::demo();
    home.ok(&["run", "add two numbers", "--script", "rlm", "--name", "parts"]);
    for args in [
        ["cost", "parts"],
        ["cost", "demo"],
        ["leaves", "demo"],
        ["leaves", "parts"],
        ["tree", "parts"],
        ["show", "parts"],
    ] {
        let mut command = home.command(&args);
        let text = ran(command.env("COLUMNS", "40").output().unwrap()).out;
        let body = text.split("\nnext:").next().unwrap();
        for line in body.lines() {
            assert!(line.chars().count() <= 40, "{args:?}: {line:?}");
        }
        assert!(body.lines().count() > 1 || args[0] == "leaves", "{args:?}: {text}");
    }
}

#[test]
fn none_of_the_leaves_asked_for_is_not_no_leaves() {
    let home = Home::new();
    home.ok(&["run", "add two numbers", "--script", "lm", "--name", "demo"]);
    let none = home.ok(&["leaves", "demo", "--limit", "0"]);
    assert!(none.starts_with("demo - leaf calls, none of them asked for\n"), "{none}");
    assert!(none.contains("headwater leaves demo --limit 50"), "{none}");
}

#[test]
fn a_payload_cannot_drive_the_terminal() {
    let home = Home::new();
    home.ok(&["run", EVIL, "--script", "simple", "--name", "demo"]);
    let script = serde_json::json!({ "replies": [{ "text": EVIL, "final": EVIL }] }).to_string();
    std::fs::write(home.path().join("evil.json"), script).unwrap();
    home.ok(&["run", EVIL, "--script", "evil.json", "--name", "evil"]);
    let shown = home.json(&["show", "evil"]);
    let content = shown["messages"][0]["content-ref"].as_str().unwrap().to_owned();
    assert_eq!(home.ok(&["cat", &content]), EVIL, "a pipe gets the bytes as they are");
    let verbs = [
        "show evil".to_owned(),
        "show evil --final".to_owned(),
        "show evil --json".to_owned(),
        "show evil --final --json".to_owned(),
        "events evil".to_owned(),
        "inspect evil".to_owned(),
        "stream evil".to_owned(),
        format!("cat {content}"),
        format!("cat {content} --json"),
        format!("show '{EVIL}'"),
        format!("show '{EVIL}' --json"),
    ];
    for verb in verbs {
        let Some(seen) = on_terminal(&home, 100, &verb, &[("NO_COLOR", "1")]) else { return };
        let bad = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!seen.contains(bad), "{verb}: {seen:?}");
    }
    let seen = on_terminal(&home, 100, "show evil --json", &[]).unwrap();
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen, shown, "JSON on a terminal means the same");
}

#[test]
fn long_work_says_how_far_it_is_and_leaves_nothing_behind() {
    let home = Home::new();
    let log = include_str!("../fixtures/pi-v1.jsonl");
    for (folder, files) in [("many", 60), ("more", 3), ("most", 3)] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
        for n in 0..files {
            let own = log.replace("0f3a-fixture", &format!("{folder}-{n}"));
            std::fs::write(home.path().join(format!("{folder}/{n:03}.jsonl")), own).unwrap();
        }
    }
    let start = std::time::Instant::now();
    let Some(seen) = on_terminal(&home, 40, "import many > out.txt", &[]) else { return };
    // What is quicker than this shows nothing, as it should.
    if start.elapsed() > std::time::Duration::from_millis(1_000) {
        assert!(seen.contains("\rimporting files  ") && seen.contains(" of 60"), "{seen:?}");
        assert!(seen.ends_with("\r\u{1b}[K"), "the line is gone: {seen:?}");
        assert!(seen.split('\r').all(|line| line.len() <= 40 + 3), "{seen:?}");
        assert!(seen.matches('\r').count() < 60, "not one line for each file: {seen:?}");
    }
    assert_eq!(on_terminal(&home, 40, "import more --json > out.txt", &[]).unwrap(), "");
    let piped = home.run(&["import", "most"]);
    assert_eq!((piped.code, piped.err.as_str()), (0, ""));
}

/// What a store holds fits eighty columns, and fewer.
#[test]
fn what_care_says_fits_the_columns_there_are() {
    let home = Home::demo();
    for verb in ["stats", "check"] {
        for columns in [80, 60] {
            let mut command = home.command(&[verb]);
            let text = ran(command.env("COLUMNS", columns.to_string()).output().unwrap()).out;
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}: {text}");
        }
    }
}

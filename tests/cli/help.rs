//! Help and manual pages: every verb is there, and what they show as examples can be typed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Home, items};

/// The verbs, as `--help` lists them.
fn verbs(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| !line.starts_with("Recording:"));
    let list = list.take_while(|line| !line.starts_with("Options:")).filter_map(|line| line.strip_prefix("  "));
    list.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The examples at the end of a help text.
fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(str::trim).collect()
}

/// What the examples speak of: a session `demo` of two turns, a script, logs of another program, folders of shells.
fn prepared() -> Home {
    let home = Home::demo();
    home.ok(&["resume", "demo", "and double it"]);
    let script = r#"{"replies":[{"text":"Done.","final":1}]}"#;
    std::fs::write(home.path().join("replies.json"), script).unwrap();
    let log = include_str!("../fixtures/pi-v1.jsonl");
    for folder in ["logs", ".local/share/bash-completion/completions", ".config/fish/completions"] {
        std::fs::create_dir_all(home.path().join(folder)).unwrap();
    }
    for path in ["session.jsonl", "logs/session.jsonl"] {
        std::fs::write(home.path().join(path), log).unwrap();
    }
    home
}

/// Whether a shell finds `tool`.
fn is_there(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Runs `line` as a user would type it.
fn typed(home: &Home, line: &str) -> std::process::Output {
    let folder = Path::new(assert_cmd::cargo::cargo_bin!("headwater")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(home.path()).env("PATH", path).env("HOME", home.path());
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_examples_of_every_verb_can_be_typed() {
    let home = Home::new();
    let all = home.ok(&["--help"]);
    let verbs = verbs(&all);
    assert!(verbs.len() >= 14, "{all}");
    let missing: Vec<_> = ["jq", "man", "xargs"].into_iter().filter(|tool| !is_there(tool)).collect();
    let home = prepared();
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let help = home.ok(&["help", verb]);
        assert_eq!(help, home.ok(&[verb, "--help"]), "{verb}: both ways to ask give one answer");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{verb}: {help}");
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{verb}: {help}");
        for example in examples {
            if let Some(tool) = missing.iter().find(|tool| example.contains(&format!("| {tool} "))) {
                println!("skipped: no {tool} for {example}");
                continue;
            }
            // What goes on until it is interrupted is interrupted.
            let endless = example.contains("--follow");
            let line = if endless { format!("timeout 1 {example}") } else { example.to_owned() };
            let ran = typed(&home, &line);
            let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            let expected = if endless { 124 } else { 0 };
            assert_eq!((ran.status.code(), &*err), (Some(expected), ""), "{verb}: {example}: {out}");
        }
    }
    let home = Home::new();
    for example in examples(&all) {
        let ran = typed(&home, example);
        assert!(ran.status.success(), "{example}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn the_tour_of_the_readme_can_be_pasted() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("sessions")).unwrap();
    std::fs::write(home.path().join("sessions/one.jsonl"), include_str!("../fixtures/pi-v1.jsonl")).unwrap();
    let readme = include_str!("../../README.md");
    let tour: Vec<_> = readme.lines().filter(|line| line.starts_with("headwater ")).collect();
    assert!(tour.len() > 10, "{tour:?}");
    for line in tour {
        let ran = typed(&home, line);
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        assert!(!ran.stdout.is_empty(), "{line}");
    }
}

#[test]
fn manual_pages_say_what_help_says() {
    let home = Home::new();
    let pages = home.json(&["man", "pages/man1"]);
    let pages: Vec<_> = items(&pages["pages"]).iter().map(|page| page.as_str().unwrap()).collect();
    let verbs = verbs(&home.ok(&["--help"]));
    let named = |verb: &str| format!("pages/man1/headwater-{verb}.1");
    assert_eq!(pages.len(), verbs.len(), "one for each verb but help, and the command's own: {pages:?}");
    assert!(pages.contains(&"pages/man1/headwater.1"));
    let read = |page: &str| std::fs::read_to_string(home.path().join(page)).unwrap();
    assert_eq!(home.ok(&["man"]), read("pages/man1/headwater.1"), "without a folder, the command's own page");
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let page = read(&named(verb));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            let heading = if section.contains(' ') { format!(".SH \"{section}\"") } else { format!(".SH {section}") };
            assert!(page.contains(&heading), "{verb}: {section}: {page}");
        }
        assert!(read("pages/man1/headwater.1").contains(&format!("headwater\\-{verb}(1)")), "{verb}");
    }
    // As a reader sees it.
    if !is_there("groff") {
        return println!("skipped: no groff to read the pages with");
    }
    for page in &pages {
        let ran = Command::new("groff")
            .args(["-k", "-man", "-Tutf8", "-ww", "-rLL=100n"])
            .arg(home.path().join(page))
            .output();
        let ran = ran.unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{page}");
        assert!(ran.status.success(), "{page}");
    }
    let mut show = Command::new("groff");
    show.args(["-k", "-man", "-Tascii", "-P-cbou", "-rLL=100n"]).arg(home.path().join(named("show")));
    let show = String::from_utf8(show.output().unwrap().stdout).unwrap();
    assert!(show.contains("headwater show demo --turn 1 --final"), "{show}");
    assert!(show.contains("0 a final value, 2 none, 3 a timeout, 1 an error"), "{show}");
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let home = Home::new();
    std::fs::write(home.path().join("file"), "x").unwrap();
    let error = home.error(&["man", "file/man1"]);
    assert_eq!(error["kind"], "io");
    assert!(error["message"].as_str().unwrap().contains("cannot make file/man1"), "{error}");
}

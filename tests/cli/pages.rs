//! The commands that pages show, run and compared: docs/CLI.md and the `.trycmd` files beside this one.
//!
//! Each page is run from its top to its end in a folder of its own. What differs from run to run is left open: ids and
//! times, and whatever a page leaves out with `…`. After a change of output that is meant, `TRYCMD=overwrite cargo test
//! --test cli pages` rewrites the `.trycmd` files; docs/CLI.md is written by hand.

use std::fs;
use std::path::Path;

use regex::Regex;

/// What differs: ids of heads and payloads, times, fresh session ids, and what a page leaves out.
fn open_ends() -> Regex {
    let hex = "[0-9a-f]";
    let uuid = format!("{hex}{{8}}-{hex}{{4}}-7{hex}{{3}}-{hex}{{4}}-{hex}{{12}}");
    let time = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z";
    Regex::new(&format!("(head-|b3:){hex}{{4,64}}…?|{uuid}|{time}|…")).unwrap()
}

/// `text` with what differs left open, in the outputs of its `console` blocks.
fn loosened(text: &str) -> String {
    let open = open_ends();
    let member = Regex::new("^ +\"[a-z/-]+\":").unwrap();
    let mut out = String::new();
    let (mut inside, mut output) = (false, false);
    for line in text.lines() {
        let command = line.starts_with("$ ") || line.starts_with("? ");
        let fence = line.starts_with("```");
        if output && (command || fence) && !out.ends_with("\n\n") {
            // An empty line says that the output before it ends with a line end.
            out.push('\n');
        }
        inside = if fence { line == "```console" } else { inside };
        output = inside && !command && !fence;
        let goes_on = output && line.starts_with(' ') && member.is_match(line);
        if goes_on {
            // JSON that takes several lines on the page is one.
            out.pop();
        }
        let line = if goes_on { line.trim_start() } else { line };
        match line {
            "…" if output => out.push_str("..."),
            // trycmd compares every backslash as a slash, for the sake of paths.
            line if output => out.push_str(&open.replace_all(line, "$1[..]").replace('\\', "/")),
            line => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[test]
fn what_pages_show_is_what_happens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("docs/CLI.md")];
    let beside = fs::read_dir(root.join("tests/cli")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(beside.filter(|path| path.extension().is_some_and(|extension| extension == "trycmd")));
    assert!(pages.len() > 2, "{pages:?}");
    let dir = tempfile::tempdir().unwrap();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        assert!(text.matches("```console").count() > 0, "{}: nothing to run", page.display());
        let copy = dir.path().join(page.file_name().unwrap());
        fs::write(&copy, loosened(&text)).unwrap();
        // Where it starts, and that it has a folder of its own.
        fs::create_dir(copy.with_extension("in")).unwrap();
        fs::create_dir(copy.with_extension("out")).unwrap();
        fs::copy(root.join("tests/fixtures/pi-v1.jsonl"), copy.with_extension("in").join("session.jsonl")).unwrap();
    }
    let cases = trycmd::TestCases::new();
    cases.register_bin("headwater", assert_cmd::cargo::cargo_bin!("headwater"));
    cases.case(dir.path().join("*.md")).case(dir.path().join("*.trycmd"));
    // Run at the end of its life, and panics there.
    cases.run();
    if std::env::var("TRYCMD").is_ok_and(|mode| mode == "overwrite") {
        for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "trycmd")) {
            let now = fs::read_to_string(dir.path().join(page.file_name().unwrap())).unwrap();
            if now != loosened(&fs::read_to_string(page).unwrap()) {
                fs::write(page, now).unwrap();
            }
        }
    }
}

#[test]
fn only_what_differs_is_left_open() {
    let json = "```console\n$ headwater x\n{\"a\":1,\n \"b\":2}\n```\n";
    assert_eq!(loosened(json), "```console\n$ headwater x\n{\"a\":1,\"b\":2}\n\n```\n");
    let page = "head-1234abcd\n```console\n$ headwater show head-1234abcd\nat head-1234abcd of 2026-08-01 10:00:00Z: 12…\n…\n```\n";
    let loose = "head-1234abcd\n```console\n$ headwater show head-1234abcd\nat head-[..] of [..]: 12[..]\n...\n\n```\n";
    assert_eq!(loosened(page), loose);
}

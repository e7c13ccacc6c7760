//! A system that refuses: threads that cannot be had, reads that fail. What the command says of it is what happened.

use std::path::Path;
use std::process::Command;

use crate::{Home, items, ran};

/// A user who has no other process, so that a limit on processes counts threads alone.
const NOBODY: u32 = 64_999;

fn chown(path: &Path) -> bool {
    Command::new("chown")
        .args(["-R", &format!("{NOBODY}:{NOBODY}")])
        .arg(path)
        .status()
        .is_ok_and(|done| done.success())
}

/// Where no thread can be had, each thing is done by the one there is.
#[test]
fn without_threads_all_works() {
    let home = Home::new();
    let program = home.path().join("headwater");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("headwater"), &program).unwrap();
    let alone = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        command.args(["prlimit", "--nproc=1"]).args(args).current_dir(home.path());
        command.env("HOME", home.path()).env("TMPDIR", home.path()).output()
    };
    let can_be_had = alone(&["sh", "-c", "(true)"]).is_ok_and(|tried| !tried.status.success());
    if !(chown(home.path()) && can_be_had && alone(&["true"]).is_ok_and(|tried| tried.status.success())) {
        println!("skipped: without_threads_all_works: no other user can be had here, or no limit on processes");
        return;
    }
    let log: String = (0..3_000).map(|n| format!("{{\"type\":\"user\",\"uuid\":\"{n}\",\"sessionId\":\"s\",\"timestamp\":\"2026-08-01T10:00:00Z\",\"message\":{{\"role\":\"user\",\"content\":\"message {n} {}\"}}}}\n", "and so on ".repeat(n % 90))).collect();
    std::fs::write(home.path().join("log.jsonl"), log).unwrap();
    assert!(chown(home.path()));
    for args in [
        &["run", "add two numbers", "--script", "simple", "--name", "demo"][..],
        &["import", "log.jsonl"],
        &["ls"],
        &["show", "demo"],
        &["events", "demo"],
        &["check"],
        &["backup", "copy"],
        &["stream", "demo"],
    ] {
        let ran = ran(alone(&[&["./headwater"], args].concat()).unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}: {}", ran.out);
    }
}

/// A read that the system refuses says nothing of the bytes: wherever it is met, once or from then on, the command says so or does
/// without. It never calls the store damaged, sets nothing aside, and finds it as it was when the disk reads again.
#[test]
fn a_read_that_fails_is_no_damage() {
    let may = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    if !may.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: a_read_that_fails_is_no_damage: no strace, or it may not trace");
        return;
    }
    let names = ["store.sqlite", "store.sqlite-wal", "blobs/0000000001.seg"];
    let mut told = 0;
    for (noted, verbs) in [
        (
            true,
            &[
                &["show", "demo"][..],
                &["check"],
                &["check", "--quick"],
                &["check", "--head", "demo@0"],
                &["repair"],
                &["stream", "demo"],
                &["backup", "copy"],
                &["alias", "demo", "third"],
            ][..],
        ),
        (false, &[&["show", "demo"][..], &["check"], &["repair"]][..]),
    ] {
        let home = Home::demo();
        home.ok(&["run", "add three numbers", "--script", "children", "--name", "parts"]);
        let stream = home.ok(&["stream", "demo"]);
        let root = home.path().join(".headwater").canonicalize().unwrap();
        for args in verbs {
            for call in ["pread64", "preadv"] {
                for when in [1, 2, 3, 5, 9, 17, 40].iter().flat_map(|nth| [format!("{nth}"), format!("{nth}+")]) {
                    if !noted {
                        let _ = std::fs::remove_file(root.join("mark"));
                    }
                    let mut command = Command::new("strace");
                    command.args(["-f", "-qq", "-o", "/dev/null"]);
                    for name in names {
                        command.arg("-P").arg(root.join(name));
                    }
                    command.args([
                        "-e",
                        &format!("trace={call}"),
                        "-e",
                        &format!("inject={call}:error=EIO:when={when}"),
                    ]);
                    command.arg(assert_cmd::cargo::cargo_bin!("headwater")).args(*args).arg("--json");
                    let ran = ran(command.current_dir(home.path()).output().unwrap());
                    let place = format!("{args:?}, {call} {when}: {} {}{}", ran.code, ran.out, ran.err);
                    let _ = std::fs::remove_dir_all(home.path().join("copy"));
                    if ran.code == 0 {
                        continue;
                    }
                    let error: serde_json::Value =
                        serde_json::from_str(ran.err.lines().last().unwrap_or_default()).unwrap_or_default();
                    assert_eq!((ran.code, &error["error"]["kind"]), (1, &"io".into()), "{place}");
                    told += 1;
                    let moved = root.join("set-aside").exists() || root.join("quarantine").exists();
                    assert!(!(noted && moved), "{place}");
                }
            }
            assert_eq!(home.run(&["stream", "demo"]).out, stream, "{args:?}");
        }
        assert_eq!(home.json(&["check"])["issue-count"], 0);
    }
    assert!(told > 50, "{told}");
}

/// The files by which a store is known, and where others are moved to.
fn kept(root: &Path) -> Vec<Option<Vec<u8>>> {
    let names = ["store.sqlite", "blobs/0000000001.seg", "quarantine", "set-aside", "repair"];
    names.map(|name| root.join(name)).map(|path| path.exists().then(|| std::fs::read(path).unwrap_or_default())).into()
}

/// A store whose log has a damaged frame, of which the rows know everything.
fn damaged() -> Home {
    let home = Home::demo();
    let segment = home.path().join(".headwater/blobs/0000000001.seg");
    let whole = std::fs::read(&segment).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    // The frame of a commit: what payloads hold no row has.
    for at in (64..used).rev().step_by(40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&segment, &bytes).unwrap();
        if home.json(&["repair"])["status"] == "whole" {
            return home;
        }
    }
    panic!("no byte of the log is one that the rows know");
}

/// The rows say what a damaged frame held. Where the database cannot be opened at that moment they are not lost: a repair says what was
/// refused and changes nothing, a check does not call the database damaged; the same repair a moment later loses nothing.
#[test]
fn rows_out_of_reach_are_not_lost() {
    let may = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    if !may.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: rows_out_of_reach_are_not_lost: no strace, or it may not trace");
        return;
    }
    let mut home = damaged();
    let mut told = 0;
    for (call, error) in [
        ("openat", "EMFILE"),
        ("openat", "EACCES"),
        ("ftruncate", "ENOSPC"),
        ("fcntl", "ENOLCK"),
        ("fcntl", "EIO"),
        ("statx", "EIO"),
        ("newfstatat", "EIO"),
    ] {
        for when in ["1", "1+", "2", "2+", "3+"] {
            for args in [&["check"][..], &["check", "--quick"], &["repair"], &["repair", "--yes"]] {
                // SQLite takes that for somebody's lock, and waits for it.
                if error == "ENOLCK" && (when != "1+" || args != ["repair", "--yes"]) {
                    continue;
                }
                let root = home.path().join(".headwater").canonicalize().unwrap();
                let before = kept(&root);
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "-o", "/dev/null"]);
                for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
                    command.arg("-P").arg(root.join(name));
                }
                command.args([
                    "-e",
                    &format!("trace={call}"),
                    "-e",
                    &format!("inject={call}:error={error}:when={when}"),
                ]);
                command.arg(assert_cmd::cargo::cargo_bin!("headwater")).args(args).arg("--json");
                let ran = ran(command.current_dir(home.path()).output().unwrap());
                let place = format!("{args:?}, {call} {error} {when}: {} {}{}", ran.code, ran.out, ran.err);
                match (ran.code, args[0]) {
                    (1, _) => {
                        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
                        let kind = error["error"]["kind"].as_str().unwrap();
                        assert!(["io", "disk-full", "in-use"].contains(&kind), "{place}");
                        assert!(kept(&root) == before, "{place}");
                        told += 1;
                    }
                    // It did without; structure alone is whole.
                    (0, "check") if args.len() > 1 => {}
                    (4, "check") => assert!(!ran.out.contains("\"database-"), "{place}"),
                    (0, "repair") => {
                        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
                        assert_eq!(report["status"], "whole", "{place}");
                        if args.len() > 1 {
                            home = damaged();
                        }
                    }
                    _ => panic!("{place}"),
                }
            }
        }
    }
    assert!(told > 30, "{told}");
    let report = home.json(&["repair", "--yes"]);
    assert_eq!((&report["status"], items(&report["hurt"]).len()), (&"whole".into(), 0));
}

/// Another program that keeps a lock on the database is named as what it is, by whoever comes; nothing is changed.
#[test]
fn a_lock_of_another_program_is_told() {
    let ask = |home: Home, args: &'static [&str]| {
        let root = home.path().join(".headwater");
        // Reading the file while it is locked would drop this process's locks.
        let before = kept(&root);
        let shell = rusqlite::Connection::open(root.join("store.sqlite")).unwrap();
        shell.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; COMMIT").unwrap();
        let error = home.error(args);
        assert_eq!(error["kind"], "in-use", "{args:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("close the other programs"), "{args:?}: {error}");
        assert!(kept(&root) == before, "{args:?}");
    };
    let add = &["run", "add", "--script", "simple", "--name", "other"];
    std::thread::scope(|scope| {
        for args in [&["check"][..], &["repair"], &["repair", "--yes"]] {
            scope.spawn(move || ask(damaged(), args));
        }
        for args in [&["ls"][..], &["show", "demo"], add, &["backup", "copy"]] {
            scope.spawn(move || ask(Home::demo(), args));
        }
    });
}

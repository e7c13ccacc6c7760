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

/// A store or a backup that this user may not enter is there: nobody says that there is none.
#[test]
fn what_may_not_be_entered_is_not_absent() {
    let home = Home::demo();
    home.ok(&["backup", "copy"]);
    let program = home.path().join("headwater");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("headwater"), &program).unwrap();
    let alone = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        command.args(args).current_dir(home.path()).env("HOME", home.path()).output()
    };
    std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    if !alone(&["true"]).is_ok_and(|tried| tried.status.success()) {
        println!("skipped: what_may_not_be_entered_is_not_absent: no other user can be had here");
        return;
    }
    for (args, kind) in [
        (&["ls"][..], "unsafe"),
        (&["show", "demo"], "unsafe"),
        (&["run", "add", "--script", "simple", "--name", "x"], "unsafe"),
        (&["check"], "io"),
        (&["repair"], "io"),
        (&["repair", "--yes"], "io"),
        (&["backup", "/tmp/never"], "io"),
        (&["restore-backup", "copy", "/tmp/never"], "io"),
    ] {
        let ran = ran(alone(&[&["./headwater"], args, &["--json"]].concat()).unwrap());
        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_default();
        assert_eq!((ran.code, &error["error"]["kind"]), (1, &kind.into()), "{args:?}: {}{}", ran.out, ran.err);
        assert!(kind == "unsafe" || ran.err.contains("Permission denied"), "{args:?}: {}", ran.err);
    }
}

/// The temporary folder that is not there, and not the file that is, is named as what cannot be used.
#[test]
fn a_missing_temporary_folder_is_not_the_sources_fault() {
    let home = Home::new();
    let message = |n: u32| {
        format!("{{\"id\":\"{n}\",\"timestamp\":\"2026-01-01T00:00:0{n}Z\",\"type\":\"user\",\"content\":\"ask {n}\"}}")
    };
    let chat = |to: u32, seen: u32| {
        let messages: Vec<_> = (1..=to).map(message).collect();
        format!(
            "{{\"sessionId\":\"s\",\"projectHash\":\"p\",\"startTime\":\"2026-01-01T00:00:00Z\",\"lastUpdated\":\"2026-01-01T00:00:0{seen}Z\",\"messages\":[{}]}}",
            messages.join(",")
        )
    };
    std::fs::write(home.path().join("session-1.json"), chat(2, 2)).unwrap();
    home.ok(&["import", "session-1.json"]);
    std::fs::write(home.path().join("session-1.json"), chat(3, 3)).unwrap();
    let mut command = home.command(&["import", "session-1.json", "--json"]);
    let ran = ran(command.env("TMPDIR", "/nonexistent").output().unwrap());
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let failed = &report["failed"][0];
    assert_eq!(failed["kind"], "io", "{report}{}", ran.err);
    assert!(
        failed["message"].as_str().unwrap().starts_with("the temporary folder /nonexistent cannot be written"),
        "{failed}"
    );
    home.ok(&["import", "session-1.json"]);
}

/// A file that cannot be looked at is not left out of what is restored; an output for which there is no room is told as such.
#[test]
fn what_cannot_be_looked_at_is_not_left_out() {
    let may = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    if !may.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: what_cannot_be_looked_at_is_not_left_out: no strace, or it may not trace");
        return;
    }
    let home = Home::demo();
    home.ok(&["backup", "copy"]);
    home.ok(&["backup", "copy.tar"]);
    let mut told = 0;
    for when in 1..90 {
        let from = if when % 3 == 0 { "copy.tar" } else { "copy" };
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=statx"]);
        command.args(["-e", &format!("inject=statx:error=EACCES:when={when}")]);
        command.arg(assert_cmd::cargo::cargo_bin!("headwater")).args(["restore-backup", from, "back", "--json"]);
        let ran = ran(command.current_dir(home.path()).output().unwrap());
        if ran.code == 0 {
            assert!(home.path().join("back/store.sqlite").exists(), "{from} {when}: {}", ran.out);
            std::fs::remove_dir_all(home.path().join("back")).unwrap();
        } else {
            told += 1;
            assert!(!home.path().join("back").exists(), "{from} {when}: {}", ran.err);
        }
    }
    assert!(told > 10, "{told}");
}

/// An output for which there is no room is told as a full disk.
#[test]
fn an_output_without_room_is_a_full_disk() {
    let home = Home::new();
    let log: String = (0..2_000).map(|n| format!("{{\"type\":\"user\",\"uuid\":\"{n}\",\"sessionId\":\"s\",\"timestamp\":\"2026-08-01T10:00:00Z\",\"message\":{{\"role\":\"user\",\"content\":\"message {n}\"}}}}\n")).collect();
    std::fs::write(home.path().join("log.jsonl"), log).unwrap();
    home.ok(&["import", "log.jsonl"]);
    let mut command = Command::new("prlimit");
    command.arg("--fsize=65536").arg(assert_cmd::cargo::cargo_bin!("headwater"));
    let Ok(done) = command.args(["export", "s", "--output", "out", "--json"]).current_dir(home.path()).output() else {
        println!("skipped: an_output_without_room_is_a_full_disk: no prlimit");
        return;
    };
    let ran = ran(done);
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_default();
    assert_eq!((ran.code, &error["error"]["kind"]), (1, &"disk-full".into()), "{}{}", ran.out, ran.err);
    assert!(!home.path().join("out").exists());
}

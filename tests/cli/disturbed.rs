//! A system that refuses: threads that cannot be had, reads that fail. What the command says of it is what happened.

use std::path::Path;
use std::process::Command;

use crate::{Home, ran};

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

//! `check`.

use std::process::Stdio;

use crate::{Home, items, keys};

const KEYS: [&str; 6] = ["check/mode", "counts", "issue-count", "issues", "status", "trusted"];

#[test]
fn a_sound_store_has_no_issues() {
    let home = Home::demo();
    for (args, mode) in
        [(&["check"][..], "deep"), (&["check", "--quick"], "quick"), (&["check", "--head", "demo@0"], "head")]
    {
        let check = home.json(args);
        assert_eq!(keys(&check), KEYS);
        assert_eq!((&check["check/mode"], &check["status"]), (&mode.into(), &"ok".into()), "{check}");
        assert_eq!((&check["issue-count"], items(&check["issues"]).len()), (&0.into(), 0));
        assert!(check["counts"].as_object().unwrap().values().all(|count| count.is_u64()));
        assert!(check["trusted"].is_boolean());
    }
    assert!(home.ok(&["check"]).starts_with("check deep - ok\n"));
}

/// A byte changed in the middle of the log is found, wherever the store first stumbles over it, and `check` says so
/// with its own exit code.
#[test]
fn damage_is_found_and_exits_with_4() {
    let home = Home::demo();
    let segment = home.path().join(".headwater/blobs/0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
    let ran = home.run(&["check", "--json"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    let check: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(keys(&check), KEYS);
    assert_eq!(check["status"], "issues");
    assert_eq!(check["issue-count"], items(&check["issues"]).len());
    for issue in items(&check["issues"]) {
        assert_eq!(keys(issue), ["advice", "code", "where"]);
    }
    let text = home.run(&["check"]);
    assert_eq!(text.code, 4);
    assert!(text.out.starts_with("check deep - "), "{}", text.out);
}

fn segment(home: &Home) -> std::path::PathBuf {
    home.path().join(".headwater/blobs/0000000001.seg")
}

/// Changes a byte in the middle of the log, and of the events nothing is lost: the rows know them.
#[test]
fn a_repair_is_planned_then_done() {
    let home = Home::demo();
    let events = home.ok(&["stream", "demo"]);
    let plan = home.json(&["repair"]);
    assert_eq!((&plan["repair/mode"], &plan["status"]), (&"plan".into(), &"sound".into()));
    assert_eq!(
        keys(&plan),
        [
            "commits",
            "damaged",
            "events-from-rows",
            "hurt",
            "log",
            "payloads",
            "quarantine",
            "records-lost",
            "repair/mode",
            "rows",
            "segments",
            "status"
        ]
    );
    let mut bytes = std::fs::read(segment(&home)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 0x10;
    std::fs::write(segment(&home), &bytes).unwrap();
    let plan = home.json(&["repair"]);
    assert_ne!(plan["status"], "sound");
    assert!(!items(&plan["damaged"]).is_empty() && plan["quarantine"].is_null());
    assert_eq!(std::fs::read(segment(&home)).unwrap(), bytes, "a plan changes nothing");
    assert_eq!(home.run(&["check"]).code, 4);
    let text = home.ok(&["repair"]);
    assert!(text.starts_with("repair plan - ") && text.contains("headwater repair --yes"), "{text}");

    let done = home.json(&["repair", "--yes"]);
    assert_eq!(
        (&done["repair/mode"], &done["commits"], &done["hurt"]),
        (&"applied".into(), &plan["commits"], &plan["hurt"])
    );
    let quarantine = std::path::PathBuf::from(done["quarantine"].as_str().unwrap());
    assert!(quarantine.join("manifest.json").is_file());
    assert_eq!(std::fs::read(quarantine.join("blobs/0000000001.seg")).unwrap(), bytes, "nothing is deleted");
    assert_eq!(home.ok(&["stream", "demo"]), events);
    let check = home.run(&["check", "--json"]);
    let check: serde_json::Value = serde_json::from_str(&check.out).unwrap();
    assert!(items(&check["issues"]).iter().all(|issue| issue["code"] == "payload-lost"), "{check}");
    assert!(home.ok(&["repair"]).contains("nothing to repair"));
}

/// A repair is killed at each call by which it changes a name or a file: whatever is left opens, or can be repaired again, and
/// holds every event.
#[test]
fn a_repair_killed_anywhere_is_brought_to_its_end_or_begun_again() {
    let traced = std::process::Command::new("strace").arg("-V").output().is_ok_and(|ran| ran.status.success());
    if !traced {
        println!("skipped: a_repair_killed_anywhere_is_brought_to_its_end_or_begun_again: no strace");
        return;
    }
    let whole = Home::demo();
    let events = whole.ok(&["stream", "demo"]);
    let mut bytes = std::fs::read(segment(&whole)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 0x10;
    std::fs::write(segment(&whole), &bytes).unwrap();
    let mut killed = 0;
    for call in ["rename", "renameat2", "unlink,unlinkat", "fsync,fdatasync", "mkdir"] {
        for nth in 1..40 {
            let home = Home::new();
            let from = whole.path().join(".headwater");
            assert!(std::process::Command::new("cp").arg("-r").arg(from).arg(home.path()).status().unwrap().success());
            let ran = std::process::Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(assert_cmd::cargo::cargo_bin!("headwater"))
                .args(["repair", "--yes"])
                .current_dir(home.path())
                .output()
                .unwrap();
            let place = format!("killed at {call} {nth}");
            if ran.status.success() {
                assert!(nth > 1 || call == "renameat2" || call == "mkdir", "{call} was never met");
                break;
            }
            let signal = std::os::unix::process::ExitStatusExt::signal(&ran.status);
            assert_eq!(signal, Some(9), "{place}: {}", String::from_utf8_lossy(&ran.stderr));
            killed += 1;
            // As if nothing had happened, or brought to its end by this.
            let again = home.run(&["repair", "--yes", "--json"]);
            assert_eq!(again.code, 0, "{place}: {}", again.err);
            let stream = home.run(&["stream", "demo"]);
            assert_eq!((stream.code, &stream.out), (0, &events), "{place}: {}", stream.err);
            let check: serde_json::Value = serde_json::from_str(&home.run(&["check", "--json"]).out).unwrap();
            let bad = items(&check["issues"]).iter().any(|issue| issue["code"] != "payload-lost");
            assert!(!bad, "{place}: {check}");
        }
    }
    assert!(killed > 10, "{killed}");
}

#[test]
fn a_backup_is_made_and_restored() {
    let home = Home::demo();
    let events = home.ok(&["stream", "demo"]);
    for dest in ["copy", "copy.tar"] {
        let backup = home.json(&["backup", dest]);
        assert_eq!(keys(&backup), ["bytes", "commits", "copied", "removed", "segments", "to", "verified"]);
        let target = format!("{dest}.restored");
        let restored = home.json(&["restore-backup", dest, &target]);
        assert_eq!((&restored["commits"], &restored["to"]), (&backup["commits"], &target.as_str().into()));
        assert_eq!(restored["copied"], restored["bytes"], "all of it is new there");
        assert_eq!(home.ok(&["stream", "demo", "--store", &target]), events);
        assert_eq!(home.error(&["restore-backup", dest, &target])["kind"], "exists");
    }
    assert_eq!(home.error(&["backup", "copy.tar"])["kind"], "exists");
    assert_eq!(home.error(&["restore-backup", "nothing", "new"])["kind"], "not-found");
    assert!(home.ok(&["backup", "copy"]).contains("verified"));
}

#[test]
fn stats_tell_what_sessions_cost() {
    let home = Home::demo();
    home.ok(&["fork", "demo", "add three numbers", "--script", "simple", "--name", "demo-2"]);
    let stats = home.json(&["stats"]);
    assert_eq!(keys(&stats), ["commits", "database", "leases", "log", "payloads", "segments", "sessions", "wal"]);
    let sessions = items(&stats["sessions"]);
    assert_eq!(sessions.len(), 2);
    let of = |name: &str| sessions.iter().find(|session| session["session"] == name).unwrap();
    assert!(of("demo")["own"].as_u64() > Some(0) && of("demo-2")["shared"].as_u64() > Some(0), "{stats}");
    let sum: u64 = sessions.iter().map(|session| session["own"].as_u64().unwrap()).sum();
    assert!(sum < stats["payloads"]["stored"].as_u64().unwrap(), "what both name is nobody's own");
    assert!(stats["payloads"]["dedupe"].as_f64() > Some(1.0) && stats["log"].as_u64() > Some(0));
    assert!(home.ok(&["stats"]).contains("demo-2"));
}

#[test]
fn an_anchor_tells_a_store_that_was_rolled_back() {
    let home = Home::demo();
    home.ok(&["backup", "old"]);
    home.ok(&["resume", "demo", "add three numbers", "--script", "simple"]);
    let head = home.json(&["head", "demo"]);
    assert_eq!(head["current"], true);
    let exported = home.json(&["head", "demo", "--export", "demo.anchor"]);
    assert_eq!(keys(&exported), ["digest", "file", "head", "heads", "tx"]);
    assert_eq!(exported["head"], head["head"]);
    assert_eq!(home.error(&["head", "demo", "--export", "demo.anchor"])["kind"], "exists");
    let check = home.json(&["check", "--anchor", "demo.anchor"]);
    assert_eq!((&check["check/mode"], &check["status"]), (&"anchor".into(), &"ok".into()));
    let ran = home.run(&["check", "--anchor", "demo.anchor", "--json", "--store", "old"]);
    assert_eq!(ran.code, 4);
    let check: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let codes: Vec<_> = items(&check["issues"]).iter().map(|issue| issue["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"anchor-behind") && codes.contains(&"anchor-head"), "{codes:?}");
    let whole = std::fs::read(home.path().join("demo.anchor")).unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let last = whole[line..].iter().copied();
    let more: Vec<u8> = whole.iter().copied().chain(last).collect();
    for bytes in [b"hello\n", &b""[..], b"\xff\xfe\n", &whole[..line], &whole[..whole.len() - 9], &more] {
        std::fs::write(home.path().join("no.anchor"), bytes).unwrap();
        assert_eq!(home.error(&["check", "--anchor", "no.anchor"])["kind"], "bad-anchor", "{bytes:?}");
    }
    assert_eq!(home.error(&["check", "--anchor", "none.anchor"])["kind"], "not-found");
    assert_eq!(home.error(&["check", "--anchor", "/dev/zero"])["kind"], "bad-anchor");
}

/// A log that ends before its rows do: the hint names the verbs that look at it and mend it.
#[test]
fn the_hint_of_a_damaged_store_names_check_and_repair() {
    let home = Home::demo();
    std::fs::OpenOptions::new().write(true).open(segment(&home)).unwrap().set_len(2_000).unwrap();
    let error = home.error(&["show", "demo"]);
    assert_eq!(error["kind"], "damaged");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.starts_with("headwater check") && hint.contains("headwater repair"), "{hint}");
}

#[test]
fn a_backup_of_an_older_state_is_refused_by_name() {
    let home = Home::demo();
    home.ok(&["backup", "old"]);
    home.ok(&["resume", "demo", "add three numbers", "--script", "simple"]);
    home.ok(&["backup", "new"]);
    let error = home.error(&["backup", "new", "--store", "old"]);
    assert_eq!(error["kind"], "diverged");
    assert!(error["hint"].as_str().unwrap().starts_with("choose another place"), "{error}");
    assert_eq!(home.error(&["backup", "demo.tgz"])["kind"], "bad-destination");
    home.ok(&["check", "--store", "new"]);
}

/// A backup to a file is killed when all of it is made: what it leaves is removed, and named, by the next one to the same place.
#[test]
fn what_a_killed_backup_leaves_is_removed_by_the_next() {
    let traced = std::process::Command::new("strace").arg("-V").output().is_ok_and(|ran| ran.status.success());
    if !traced {
        println!("skipped: what_a_killed_backup_leaves_is_removed_by_the_next: no strace");
        return;
    }
    let home = Home::demo();
    for (dest, call) in [("monday.tar", "renameat2"), ("folder", "renameat2,rename")] {
        let ran = std::process::Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=KILL:when=1")])
            .arg(assert_cmd::cargo::cargo_bin!("headwater"))
            .args(["backup", dest])
            .current_dir(home.path())
            .output()
            .unwrap();
        assert!(!ran.status.success(), "{call} was never met");
        let backup = home.json(&["backup", dest]);
        let removed = items(&backup["removed"]);
        assert!(removed.len() == 1 && removed[0].as_str().unwrap().contains("tmp-backup-"), "{backup}");
        assert_eq!(home.json(&["restore-backup", dest, &format!("{dest}.restored")])["removed"], serde_json::json!([]));
    }
    let hidden = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let hidden: Vec<_> = hidden.filter(|name| name.starts_with('.') && name != ".headwater").collect();
    assert_eq!(hidden, [""; 0]);
}

/// Of several backups to one file at once one is made; the others find it there.
#[test]
fn backups_to_one_file_at_once() {
    let home = Home::demo();
    let args = ["backup", "copy.tar", "--json"];
    let started: Vec<_> =
        (0..6).map(|_| home.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let ended: Vec<_> = started.into_iter().map(|child| crate::ran(child.wait_with_output().unwrap())).collect();
    assert_eq!(ended.iter().filter(|ran| ran.code == 0).count(), 1);
    for ran in ended.iter().filter(|ran| ran.code != 0) {
        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
        assert_eq!(error["error"]["kind"], "exists", "{}", ran.err);
    }
    home.ok(&["restore-backup", "copy.tar", "back"]);
}

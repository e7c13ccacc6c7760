//! What an opening refuses, each by name and with advice; and what it can still do where nothing can be written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use headwater::care::{self, Mode};
use headwater::store::{CommitError, OpenError, Options, SessionOpenError, Store};

use super::repair::{Sample, files};

fn refused(sample: &Sample) -> (String, String) {
    let before = files(&sample.root);
    match Store::open_with(&sample.root, Options { create: false, ..Options::default() }) {
        Err(OpenError::Unsafe { path, what, advice }) => {
            assert_eq!(files(&sample.root), before, "nothing was changed");
            assert!(path.starts_with(&sample.root));
            (what, advice)
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn what_others_could_change_is_refused() {
    let sample = Sample::new();
    sample.restore();
    fs::set_permissions(&sample.root, fs::Permissions::from_mode(0o777)).unwrap();
    let (what, advice) = refused(&sample);
    assert!(what.contains("777") && advice.contains("chmod"), "{what}: {advice}");
    for name in ["blobs", "store.sqlite", "open"] {
        sample.restore();
        let (path, elsewhere) = (sample.root.join(name), sample.root.with_extension(name));
        if !path.exists() {
            fs::create_dir(&path).unwrap();
        }
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let (what, advice) = refused(&sample);
        assert!(what.contains("link") && advice.contains("link"), "{what}: {advice}");
        fs::remove_file(&path).unwrap();
        if elsewhere.is_dir() { fs::remove_dir_all(elsewhere) } else { fs::remove_file(elsewhere) }.unwrap();
    }
    sample.restore();
    if std::os::unix::fs::chown(&sample.root, Some(12_345), None).is_err() {
        println!("skipped: a store of another user, which only root can make");
        return;
    }
    let (what, advice) = refused(&sample);
    assert!(what.contains("12345") && advice.contains("chown"), "{what}: {advice}");
    std::os::unix::fs::chown(&sample.root, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    // The folder itself may be reached over a link: whoever made it chose so.
    let link = sample.root.with_extension("link");
    symlink(&sample.root, &link).unwrap();
    Store::open(&link).unwrap().close().unwrap();
}

/// On a file system that lets nobody write the store is read, checked and said to be so; whoever writes is told.
#[test]
fn a_store_can_be_read_where_nothing_can_be_written() {
    let sample = Sample::new();
    sample.restore();
    fs::remove_file(sample.root.join("mark")).unwrap();
    Store::open(&sample.root).unwrap().close().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        let ran = Command::new("mount").args(args).arg(folder.path()).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    let source = sample.root.parent().unwrap().to_str().unwrap();
    if !mount(&["--bind", source]) || !mount(&["-o", "remount,bind,ro"]) {
        let _ = Command::new("umount").arg(folder.path()).output();
        println!("skipped: a_store_can_be_read_where_nothing_can_be_written: nothing can be mounted here");
        return;
    }
    let root = folder.path().join(sample.root.file_name().unwrap());
    let read = std::panic::catch_unwind(|| {
        assert!(fs::write(root.join("x"), "").is_err(), "it is read-only");
        let store = Store::open_with(&root, Options { create: false, ..Options::default() }).unwrap();
        assert!(store.report().notes.iter().any(|note| note.contains("read-only")), "{:?}", store.report());
        for (session, events) in &sample.events {
            assert_eq!(store.events(session).unwrap(), *events);
            store.view(session).unwrap();
        }
        let opened = store.open_session(&"demo".parse().unwrap());
        let refused = matches!(opened, Err(SessionOpenError::Commit(CommitError::Poisoned(_))));
        assert!(refused, "{:?}", opened.err());
        store.close().unwrap();
        assert_eq!(care::check(&root, Mode::Deep).unwrap().issues, []);
    });
    assert!(Command::new("umount").arg(folder.path()).status().unwrap().success());
    read.unwrap();
}

//! Disks of a few hundred kilobytes, which a child fills: the error says that the disk is full, what is there can be
//! read, and writing goes on once there is space.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::acks::{self, Ack};
use super::tools::{Scratch, amount, child, content_with, did, wait};
use super::verify::verify;

/// What is removed to make space again.
const BALLAST: usize = 4 << 20;

/// A small file system in memory, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path, kib: u64) -> Option<Disk> {
        std::fs::create_dir_all(folder).ok()?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success()).then(|| Disk(folder.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Disks of many sizes are filled.
pub fn a_full_disk() {
    let step = 50 / amount(1, 50);
    let probe = Scratch::new();
    if Disk::mount(&probe.path().join("disk"), 64).is_none() {
        println!("skipped: no small disk can be mounted here, so disk::a_full_disk is not run");
        return;
    }
    let (mut failures, mut told, mut disks) = (Vec::new(), BTreeMap::<String, u32>::new(), 0);
    for kib in (4..3_000).step_by(step) {
        disks += 1;
        let scratch = Scratch::new();
        match fill(&scratch, kib) {
            Ok(kind) => *told.entry(kind).or_insert(0) += 1,
            Err(why) => failures.push(format!("a disk of {kib} KiB: {why}")),
        }
    }
    content_with(&failures, "a full disk");
    did("disk::a_full_disk", &format!("{disks} disks; what the child was told: {told:?}"), 0);
    // Unknown only where the very last pages are wanting: after the log's, before those that commit the rows.
    assert!(told.contains_key("commit: full"), "no disk filled while commits were made: {told:?}");
    let unknown: u32 = told.iter().filter(|(kind, _)| kind.ends_with("unknown")).map(|(_, times)| times).sum();
    assert!(unknown * 4 <= disks, "{unknown} of {disks} full disks left an unknown outcome");
}

fn fill(scratch: &Scratch, kib: u64) -> Result<String, String> {
    let folder = scratch.path().join("disk");
    let ballast = BALLAST as u64 >> 10;
    let disk = Disk::mount(&folder, kib + ballast).ok_or("it cannot be mounted")?;
    std::fs::write(folder.join("ballast"), vec![1; BALLAST]).map_err(|error| error.to_string())?;
    let (root, notes) = (folder.join("store"), scratch.acks());
    let log = std::fs::File::create(scratch.path().join("stderr")).map_err(|error| error.to_string())?;
    let mut command = child("until-full", &root, &notes, 0);
    let mut running = command.stdout(Stdio::null()).stderr(log).spawn().map_err(|error| error.to_string())?;
    let status = wait(&mut running)?;
    let said = std::fs::read_to_string(scratch.path().join("stderr")).unwrap_or_default();
    if !status.success() {
        return Err(format!("the child ended with {status}: {}", said.lines().take(4).collect::<Vec<_>>().join(" ")));
    }
    let acks = acks::read(&notes);
    let first = acks.iter().find_map(|ack| match ack {
        Ack::Failed { what, kind } => Some((what.clone(), kind.clone())),
        _ => None,
    });
    let (what, kind) = first.ok_or("the disk did not fill")?;
    if kind != "full" && kind != "unknown" {
        return Err(format!("{what} failed as {kind}: {}", said.lines().next().unwrap_or_default()));
    }
    let _ = std::fs::remove_file(folder.join("ballast"));
    verify(&root, &acks)?;
    drop(disk);
    Ok(format!("{what}: {kind}"))
}

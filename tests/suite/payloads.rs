//! Payloads through readers and writers: any size, any place, bounded memory, nothing half there.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use headwater::model::Digest;
use headwater::store::{Options, Store};

use super::tools::{Make, on_both, on_disk};

on_both! {
    what_is_written_in_pieces_is_one_payload
    a_writer_that_is_dropped_leaves_no_payload
    a_reader_goes_anywhere
}

const PART: usize = 4 << 20;

/// Bytes that no compressor makes much smaller, the same for every call.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(next).collect()
}

fn what_is_written_in_pieces_is_one_payload(make: Make) {
    let home = make(Options::default());
    let blobs = home.store.blobs();
    let bytes = noise(2 * PART + 1_000);
    for len in [0, 1, 1_000, PART - 1, PART, PART + 1, 2 * PART, bytes.len()] {
        let mut writer = blobs.writer();
        for piece in bytes[..len].chunks(777_777) {
            writer.write_all(piece).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(writer.size(), len as u64);
        let digest = writer.finish().unwrap();
        assert_eq!(digest, Digest::of(&bytes[..len]), "{len}");
        assert!(blobs.get(&digest).unwrap() == bytes[..len], "{len}");
        let mut reader = blobs.reader(&digest).unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == bytes[..len] && reader.size() == len as u64, "{len}");
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0, "the end stays the end");
        assert_eq!(blobs.put_from(&bytes[..len]).unwrap(), digest);
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no more"))
        }
    }
    assert!(blobs.put_from((&bytes[..PART + 9]).chain(Broken)).is_err());
    assert!(!blobs.contains(&Digest::of(&bytes[..PART + 9])).unwrap());
}

fn a_writer_that_is_dropped_leaves_no_payload(make: Make) {
    let home = make(Options::default());
    let (blobs, bytes) = (home.store.blobs(), noise(2 * PART + 5));
    let mut writer = blobs.writer();
    writer.write_all(&bytes).unwrap();
    drop(writer);
    assert!(!blobs.contains(&Digest::of(&bytes)).unwrap());
    assert!(blobs.reader(&Digest::of(&bytes)).is_err());
    let size = || -> u64 {
        let files = std::fs::read_dir(home.store.root().join("blobs")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let mut again = blobs.writer();
    again.write_all(&bytes).unwrap();
    let before = size();
    let digest = again.finish().unwrap();
    assert!(size() < before + 100_000 + PART as u64, "the parts that were there are used");
    blobs.verify(&digest).unwrap();
}

fn a_reader_goes_anywhere(make: Make) {
    let home = make(Options::default());
    let (blobs, bytes) = (home.store.blobs(), noise(2 * PART + 1_000));
    let digest = blobs.put(&bytes).unwrap();
    let mut reader = blobs.reader(&digest).unwrap();
    let places = [(0, 10), (PART - 5, 10), (2 * PART + 995, 10), (17, PART + 3), (PART, 1), (bytes.len(), 4)];
    for (at, len) in places {
        let end = (at + len).min(bytes.len());
        let mut found = Vec::new();
        assert_eq!(reader.seek(SeekFrom::Start(at as u64)).unwrap(), at as u64);
        reader.by_ref().take(len as u64).read_to_end(&mut found).unwrap();
        assert!(found == bytes[at..end], "{len} from {at}");
    }
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), bytes.len() as u64 - 3);
    assert_eq!(reader.seek(SeekFrom::Current(-2)).unwrap(), bytes.len() as u64 - 5);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest == bytes[bytes.len() - 5..]);
    assert!(reader.seek(SeekFrom::Current(-i64::MAX)).is_err(), "before the first byte");
    reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    assert!(blobs.reader(&Digest::of(b"nobody put this")).is_err());
}

/// The middle part of three is damaged on the disk. Ranges of the others read as ever, since only they are touched; the
/// damaged one is told, and so is the whole.
#[test]
fn a_range_touches_only_its_own_parts() {
    let home = on_disk(Options::default());
    let (root, bytes) = (home.store.root().to_owned(), noise(3 * PART));
    let digest = home.store.blobs().put(&bytes).unwrap();
    let folder = root.join("blobs");
    let needle = &bytes[PART + PART / 2..PART + PART / 2 + 64];
    let mut damaged = false;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        if let Some(at) = content.windows(needle.len()).position(|window| window == needle) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[!content[at]], at as u64).unwrap();
            damaged = true;
        }
    }
    assert!(damaged, "noise is stored as it is");
    let mut reader = home.store.blobs().reader(&digest).unwrap();
    let mut buffer = vec![0; PART];
    for at in [0, 2 * PART] {
        reader.seek(SeekFrom::Start(at as u64)).unwrap();
        reader.read_exact(&mut buffer).unwrap();
        assert!(buffer == bytes[at..at + PART]);
    }
    reader.seek(SeekFrom::Start(PART as u64)).unwrap();
    assert_eq!(reader.read_exact(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    let whole = home.store.blobs().reader(&digest).unwrap().read_to_end(&mut Vec::new());
    assert_eq!(whole.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

/// A quarter of a gigabyte through a writer, a reader and `copy_to`, in a process of its own whose greatest memory the
/// kernel says: a few parts, not the payload.
#[test]
fn a_large_payload_takes_little_memory() {
    const CHILD: &str = "HEADWATER_LARGE_PAYLOAD";
    const SIZE: u64 = 256 << 20;
    if let Some(root) = std::env::var_os(CHILD) {
        let store = Store::open(root).unwrap();
        let mut writer = store.blobs().writer();
        let mut block = noise(64 << 10);
        // Compresses about by half, as a log does; no two parts are the same.
        block[..32 << 10].fill(b' ');
        for n in 0..SIZE / block.len() as u64 {
            block[..8].copy_from_slice(&n.to_le_bytes());
            writer.write_all(&block).unwrap();
        }
        let digest = writer.finish().unwrap();
        let mut reader = store.blobs().reader(&digest).unwrap();
        assert_eq!(std::io::copy(&mut reader, &mut std::io::sink()).unwrap(), SIZE);
        store.blobs().verify(&digest).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kilobytes < 96 << 10, "{kilobytes} KiB");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "payloads::a_large_payload_takes_little_memory";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, folder.path().join("store"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}

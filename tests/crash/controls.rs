//! The verifier is worth something only if it can fail: each loss made by hand here must be reported.

use std::fs;

use headwater::model::Digest;

use super::acks::{self, Ack};
use super::steps::id;
use super::strace;
use super::template::{Start, Templates, kill_at_sync, whole_run};
use super::tools::Scratch;
use super::verify::verify;

/// Verifies, and wants to be told of a loss in those words.
fn must_report(scratch: &Scratch, words: &str) {
    let acks = acks::read(&scratch.acks());
    let told = verify(&scratch.root(), &acks).expect_err("a loss made by hand was not seen");
    println!("  reported: {}", told.chars().take(150).collect::<String>());
    assert!(told.contains(words), "reported otherwise: {told}");
}

/// The last acknowledged commits are cut off the log, and the rows removed: opening rebuilds what is left, and the
/// commits are missed. Uncut, the same store is found whole.
pub fn a_lost_commit_is_reported() {
    let templates = Templates::new();
    for cut in [false, true] {
        let scratch = whole_run(&templates, "one-by-one", Start::Sealed);
        fs::remove_file(scratch.root().join("store.sqlite")).unwrap();
        let segment = fs::OpenOptions::new().write(true).open(scratch.root().join("blobs/0000000001.seg")).unwrap();
        if cut {
            let len = segment.metadata().unwrap().len();
            segment.set_len(len - len / 4).unwrap();
            must_report(&scratch, "is lost");
        } else {
            let acks = acks::read(&scratch.acks());
            verify(&scratch.root(), &acks).unwrap();
        }
    }
}

/// Frames that wait for adoption are wiped, as if nobody adopted them: what they hold is missed once it counts as
/// acknowledged. Left in place, it is found.
pub fn skipped_adoption_is_reported() {
    if strace::skip("controls::skipped_adoption_is_reported") {
        return;
    }
    let templates = Templates::new();
    for wiped in [false, true] {
        let scratch = templates.copy(Start::Sealed);
        let segment = scratch.root().join("blobs/0000000001.seg");
        let rows_end = fs::metadata(&segment).unwrap().len() as usize;
        kill_at_sync(&scratch.root(), &scratch.acks(), 1);
        let mut bytes = fs::read(&segment).unwrap();
        assert!(bytes[rows_end..].iter().any(|byte| *byte != 0), "the child left no frames");
        if wiped {
            bytes[rows_end..].fill(0);
            fs::write(&segment, bytes).unwrap();
        }
        let sealed = acks::read(&scratch.acks());
        let events = sealed.iter().filter_map(|ack| match ack {
            Ack::Events { session, events } if *session == id("main") => Some(*events),
            _ => None,
        });
        let events = events.max().unwrap() + 4;
        acks::Acks::open(&scratch.acks()).note(&Ack::Events { session: id("main"), events });
        if wiped {
            must_report(&scratch, "acknowledged events");
        } else {
            let found = verify(&scratch.root(), &acks::read(&scratch.acks())).unwrap();
            assert_eq!(found.report.adopted, 1);
        }
    }
}

/// Something is noted as acknowledged that was never written.
pub fn a_false_acknowledgement_is_reported() {
    let templates = Templates::new();
    let note = |ack: Ack, words: &str| {
        let scratch = templates.copy(Start::Sealed);
        acks::Acks::open(&scratch.acks()).note(&ack);
        must_report(&scratch, words);
    };
    let (session, payload) = (id("main"), Digest::of(b"nobody wrote this"));
    note(Ack::Batch { session: session.clone(), name: "never".to_owned(), first: 90, marks: 2, payload }, "is lost");
    note(Ack::Events { session, events: 1_000 }, "acknowledged events");
    note(Ack::Events { session: id("nobody"), events: 1 }, "acknowledged events");
    note(Ack::Payload { digest: payload, len: 3 }, "is lost");
    let scratch = templates.copy(Start::Sealed);
    for ack in [Ack::Copying { name: "backup".to_owned() }, Ack::Copied { name: "backup".to_owned() }] {
        acks::Acks::open(&scratch.acks()).note(&ack);
    }
    must_report(&scratch, "it was made, and is not there");
    // An outcome that is told wrongly: of a commit that is there, by a digest it has not.
    let unknown =
        |first, name: &str| Ack::Unknown { session: id("main"), first, digest: payload, name: name.to_owned() };
    note(unknown(2, "early"), "the outcome of early is false, and its event 2 is there: true");
    let scratch = templates.copy(Start::Sealed);
    acks::Acks::open(&scratch.acks()).note(&unknown(1_000, "late"));
    let found = verify(&scratch.root(), &acks::read(&scratch.acks())).unwrap();
    assert_eq!(found.unknown, (1, 0), "one that is not there is told as such");
    let scratch = templates.copy(Start::Sealed);
    let head = acks::read(&scratch.acks())
        .into_iter()
        .find_map(|ack| match ack {
            Ack::Head { session, head, .. } => Some(Ack::Head { session, head, seen: payload }),
            _ => None,
        })
        .unwrap();
    note(head, "reads otherwise");
}

/// Half of a batch, written as a batch of its own.
pub fn a_batch_in_part_is_reported() {
    let scratch = Scratch::new();
    let store = headwater::store::Store::open(scratch.root()).unwrap();
    let session = store.create_session(headwater::store::NewSession::named(id("main"))).unwrap();
    session.add_annotation("batch/half/0/2", None).unwrap();
    session.close().unwrap();
    store.close().unwrap();
    must_report(&scratch, "in part");
}

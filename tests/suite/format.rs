//! docs/FORMAT.md is what the disk looks like: its example lines read and write back as they stand, every kind has one, and
//! its golden values are what the code computes. A value that changes here breaks every store there is.

use std::collections::BTreeSet;

use headwater::journal::{Lines, TxHeader};
use headwater::model::head::{HeadKind, Refs, Root, TranscriptRange};
use headwater::model::line::{self, Item};
use headwater::model::{
    Counters, Derivation, DerivationKind, Digest, EventNumber, HeadId, SnapshotNumber, Timestamp, TurnNumber, Tx,
    event, record,
};
use headwater::segment::{FrameRef, Kind, Position, SegmentHeader, encode};

const FORMAT: &str = include_str!("../../docs/FORMAT.md");
const LINE: &str = "b3:c9779117f37da0dad17f2078a5411372b7e0dc9200e3cad59fbffafba064577a";
const CHAIN: &str = "b3:f823cf1df1fcc965f6fec6260a83432a9ced9a662c8b9fe63b05356dca17dbd7";
const COMMIT: &str = "b3:630bc1c7f530138f813c862832087256dc26e499a1665bc1f06e3cbe5cf7274a";
const DERIVATION: &str = "b3:6d35abef8bc7637ef8cd0f813f0b0857f357dcff2eec81b3ea5cadc6eba231f9";
const HEAD: &str = "head-1e984dda31d9623470425c0b0b8b40b2ec3e7fccb1079a8341320470faa1aef2";
const SEGMENT: &str = concat!(
    "8948575345470d0a010000000000000001000000000000000001020304050607",
    "08090a0b0c0d0e0f0000000000000000000000000000000000000000316e6811"
);
const FRAME: &str = "010000000900000001000000000000002d4d9f20f63de71361207061796c6f6164";

fn examples() -> impl Iterator<Item = &'static str> {
    FORMAT.lines().filter(|line| line.starts_with("{\"event/") || line.starts_with("{\"record\""))
}

fn root() -> Root {
    Root {
        basis: Some(HeadId(Digest::of(b"basis"))),
        compaction: None,
        counters: Counters { event: 40, head: 2, message: 6, turn: 1, ..Counters::default() },
        digest: Digest::of(b"d"),
        kind: HeadKind::TurnFinal,
        refs: Refs { final_value: Some(Digest::of(b"4")), snapshot: Some(SnapshotNumber(1)), vars: None },
        session: "demo".parse().unwrap(),
        span: (EventNumber(1), EventNumber(40)),
        transcript: Some(vec![TranscriptRange {
            from: EventNumber(3),
            session: "demo".parse().unwrap(),
            to: EventNumber(3),
        }]),
        turn: Some(TurnNumber(1)),
        up: None,
        version: 1,
    }
}

#[test]
fn every_example_line_reads_and_writes_back() {
    let mut kinds = BTreeSet::new();
    for text in examples() {
        let (kind, bytes) = match line::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}")) {
            Item::Event(event) => (event.body.kind().to_owned(), line::encode_event(&event)),
            Item::Record(record) => {
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                (value["record"].as_str().unwrap().to_owned(), line::encode_record(&record))
            }
            Item::Unknown(kind) => panic!("{kind} is not known"),
        };
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        kinds.insert(kind);
    }
    for kind in event::KINDS.iter().chain(&record::KINDS) {
        assert!(kinds.contains(*kind), "{kind} has no example");
    }
}

#[test]
fn a_line_a_session_and_a_commit_keep_their_digests() {
    let first = examples().next().unwrap();
    let Ok(Item::Event(event)) = line::decode(first.as_bytes()) else { panic!("{first}") };
    let mut lines = Lines::default();
    let digest = lines.push_event(&event);
    lines.pack();
    let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
    let head = TxHeader { tx: Tx(1), at, previous: Digest::ZERO };
    assert_eq!(digest, Digest::of(first.as_bytes()));
    let found = [digest, Digest::ZERO.chain(digest), lines.digest(&head)].map(|digest| digest.to_string());
    assert_eq!(found, [LINE, CHAIN, COMMIT]);
}

#[test]
fn a_head_and_a_derivation_keep_their_ids() {
    assert_eq!(root().id().to_string(), HEAD);
    let derivation = Derivation::digest(DerivationKind::Fork, root().id(), &"demo-2".parse().unwrap(), EventNumber(1));
    assert_eq!(derivation.to_string(), DERIVATION);
    assert!(FORMAT.lines().any(|line| line.as_bytes() == root().bytes()), "the root of the page is another");
}

#[test]
fn a_segment_header_and_a_frame_keep_their_bytes() {
    let mut id = [0; 16];
    id.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
    let header = SegmentHeader { number: 1, id, predecessor_end: Position::START };
    let mut frame = Vec::new();
    encode(&mut frame, FrameRef { kind: Kind::Payload, codec: 0, body: b"a payload" }, 1, header.seed());
    assert_eq!((hex(&header.encode()), hex(&frame)), (SEGMENT.to_owned(), FRAME.to_owned()));
}

#[test]
fn the_page_shows_the_golden_values() {
    let page: String = FORMAT.split_whitespace().collect();
    for value in [LINE, CHAIN, COMMIT, DERIVATION, HEAD, SEGMENT, FRAME] {
        assert!(page.contains(value), "{value}");
    }
    assert!(page.contains(&Digest::of(b"").to_string()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

use super::*;
use proptest::prelude::*;

fn line(n: u64) -> String {
    let (hash, other) = (blake3::hash(&n.to_le_bytes()), blake3::hash(&(n / 3).to_le_bytes()));
    let at = Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(n).unwrap() * 1_234_000).unwrap();
    format!(
        r#"{{"event/id":{n},"event/at":"{at}","event/row-id":"{n}","head":"head-{other}","payload":"b3:{hash}","row":{{"n":{n},"ref":"b3:{hash}","cost":{}}}}}"#,
        n * 17
    )
}

#[test]
fn lines_come_back_and_take_little_more_than_their_hashes() {
    let text = (0..1000).map(line).collect::<Vec<_>>().join("\n");
    let body = encode(text.as_bytes()).unwrap();
    assert!(body.len() < 32 * 1334 + 4000, "{}", body.len());
    assert_eq!(decode(&body, text.len()).unwrap(), text.as_bytes());
    assert!(decode(&body, text.len() - 1).is_err());
}

#[test]
fn a_damaged_body_is_an_error_or_bounded() {
    let text = (0..40).map(line).collect::<Vec<_>>().join("\n");
    let body = encode(text.as_bytes()).unwrap();
    for cut in 0..body.len() {
        assert!(decode(&body[..cut], text.len()).is_err(), "cut at {cut}");
    }
    for at in 0..body.len() {
        let mut flipped = body.clone();
        flipped[at] ^= 0x10;
        assert!(!decode(&flipped, text.len()).is_ok_and(|out| out.len() > text.len()));
    }
}

#[test]
fn text_with_the_bytes_of_marks_is_left_alone() {
    assert_eq!(encode(&[b"a\x01".repeat(500), b"\n".repeat(500)].concat()), None);
}

/// Texts made of what shapes and values are made of, whole and torn.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        (0..40u64).prop_map(|n| n.to_string()),
        (0..4u8).prop_map(|n| blake3::hash(&[n]).to_string()),
        Timestamp::RANGE.prop_map(|at| Timestamp::from_micros(at).unwrap().to_string()),
        "[-:/\"{},\\[\\]b3a.Z0\n]{1,4}",
        Just("\"b3:".to_owned()),
        Just("\"event/id\":".to_owned()),
        "[0-9T:.Z-]{25,28}\"",
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().repeat(3))
}

/// The body of that many shapes, none of which a line uses: its text is one empty line, or none.
fn unused(shapes: usize, shape: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    put(&mut plain, shapes as u64);
    for _ in 0..shapes {
        put(&mut plain, shape.len() as u64);
        plain.extend_from_slice(shape);
    }
    put(&mut plain, 0);
    let mut body = vec![0];
    put(&mut body, plain.len() as u64);
    put(&mut body, 0);
    body.extend_from_slice(&plain);
    body
}

#[test]
fn what_takes_more_memory_than_its_bytes_is_refused() {
    let most = 1 << 20;
    assert!(decode(&unused(1, &[NUMBER; 1_000]), most).is_ok());
    // The keys would be as long as the square of their number.
    assert!(decode(&unused(1, &[NUMBER; 2_000]), most).is_err());
    assert!(decode(&unused(MOST_SHAPES, &[]), most).is_ok());
    assert!(decode(&unused(MOST_SHAPES + 1, &[]), most).is_err());
}

/// A line of a kilobyte, a thousand times in a byte each: as long as it is asked for, and not a line more. With a value at its
/// end, or without any.
#[test]
fn what_says_more_than_was_asked_for_is_refused() {
    for values in [0, 1] {
        let (lines, shape) = (1_000, [&[b'x'; 1_000][..], &vec![NUMBER; values]].concat());
        let mut plain = Vec::new();
        put(&mut plain, 1);
        put(&mut plain, shape.len() as u64);
        plain.extend_from_slice(&shape);
        put(&mut plain, lines);
        plain.resize(plain.len() + lines as usize, 0);
        for _ in 0..lines as usize * values {
            plain.extend([GIVEN, 0]);
        }
        let mut body = vec![0];
        put(&mut body, plain.len() as u64);
        put(&mut body, 0);
        body.extend_from_slice(&plain);
        let whole = 1_000_999 + 1_000 * values;
        assert_eq!(decode(&body, whole).unwrap().len(), whole);
        assert_eq!(decode(&body, whole - 1), Err(WRONG));
        assert_eq!(decode(&body, plain.len()), Err(WRONG));
        assert_eq!(
            decode(&body, plain.len() - 1),
            Err(CodecError::TooLong { len: plain.len() as u64, max: plain.len() - 1 })
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_taken_apart_comes_together_again(text in text()) {
        if let Some(body) = encode(text.as_bytes()) {
            prop_assert_eq!(decode(&body, text.len()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, 1000);
        // Raw columns, which zstd does not refuse first.
        bytes.splice(0..0, [0, 255, 1, 0]);
        let _ = decode(&bytes, 1000);
        let plain = bytes.split_off(4);
        let mut body = vec![0];
        put(&mut body, plain.len() as u64);
        put(&mut body, 0);
        body.extend(plain);
        prop_assert!(!decode(&body, 1000).is_ok_and(|out| out.len() > 1000));
    }
}

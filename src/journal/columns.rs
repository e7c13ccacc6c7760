//! The lines of a large commit, taken apart before they are compressed: what lines have in common is written once, and what
//! differs stands in columns.
//!
//! A hash, a time or a whole number in a line is a *value*, what is left of the line its *shape*, with one byte in the place
//! of each value. The values of one place in one shape are a column. A value that the line has already is a reference to it;
//! a number is written as its difference to the last one under the same key, a time to the last time, a hash that came before
//! as how many came since. So thousands of lines take some bytes each, and the hashes themselves, which nothing makes smaller,
//! stay out of zstd.

use std::collections::HashMap;

use crate::blob::codec::{self, Class, Codec, CodecError};
use crate::model::Timestamp;

/// Shapes that a body has at most: each takes memory of its own, whatever its length.
const MOST_SHAPES: usize = 1 << 16;

/// What stands for a value in a shape. JSON has these bytes in no string.
const HASH: u8 = 1;
const TIME: u8 = 2;
const NUMBER: u8 = 3;

/// How a value is written: by itself, as the one of the line's place `op - 1`, or as a hash that came before.
const GIVEN: u8 = 0;
const MOST_PLACES: usize = 250;
const SEEN: u8 = 255;

/// The text of a time: `2026-08-01T10:00:00.000000Z`.
const TIME_LEN: usize = 27;
/// Digits that any `i64` has room for.
const MOST_DIGITS: usize = 18;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Hash([u8; 32]),
    Time(i64),
    Number(u64),
}

/// What was written before, on both sides.
#[derive(Default)]
struct Before {
    /// Of each key, the last number.
    numbers: Vec<u64>,
    time: i64,
}

/// A shape: where its values are, and under which keys.
struct Shape {
    bytes: Vec<u8>,
    /// The places of its values in `bytes`.
    places: Vec<usize>,
    /// The number of each value's key.
    keys: Vec<usize>,
}

/// A shape and its columns.
type Written = (Shape, Vec<Vec<u8>>);

/// Keys by the bytes of a shape from the last comma or brace to a value.
#[derive(Default)]
struct Keys {
    known: HashMap<Vec<u8>, usize>,
    /// What the keys of all shapes are long together: of a shape whose values have nothing between them it grows with its square.
    len: usize,
}

impl Keys {
    /// None where the keys would be longer than `most` together.
    fn shape(&mut self, bytes: &[u8], before: &mut Before, most: usize) -> Option<Shape> {
        let mut shape = Shape { bytes: bytes.to_vec(), places: Vec::new(), keys: Vec::new() };
        let mut start = 0;
        for (at, byte) in bytes.iter().enumerate() {
            match *byte {
                b',' | b'{' => start = at + 1,
                HASH | TIME | NUMBER => {
                    self.len = self.len.checked_add(at - start + 1).filter(|len| *len <= most)?;
                    let next = self.known.len();
                    shape.places.push(at);
                    shape.keys.push(*self.known.entry(bytes[start..at].to_vec()).or_insert(next));
                }
                _ => {}
            }
        }
        before.numbers.resize(self.known.len(), 0);
        Some(shape)
    }
}

/// The body for `text`; none where it cannot be taken apart, or would not become smaller.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    if text.iter().any(|byte| *byte <= NUMBER) {
        return None;
    }
    let (mut keys, mut before) = (Keys::default(), Before::default());
    let (mut known, mut shapes): (HashMap<Vec<u8>, usize>, Vec<Written>) = Default::default();
    let (mut seen, mut hashes): (HashMap<[u8; 32], usize>, Vec<u8>) = Default::default();
    let (mut ids, mut count) = (Vec::new(), 0);
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        take_apart(line, &mut bytes, &mut values);
        let number = match known.get(&bytes) {
            Some(number) => *number,
            None => {
                if shapes.len() == MOST_SHAPES {
                    return None;
                }
                let shape = keys.shape(&bytes, &mut before, text.len())?;
                let columns = vec![Vec::new(); shape.places.len()];
                shapes.push((shape, columns));
                known.insert(bytes.clone(), shapes.len() - 1);
                shapes.len() - 1
            }
        };
        put(&mut ids, number as u64);
        count += 1;
        let (shape, columns) = shapes.get_mut(number)?;
        for (place, value) in values.iter().enumerate() {
            let column = columns.get_mut(place)?;
            if let Some(same) = values[..place.min(MOST_PLACES)].iter().position(|earlier| earlier == value) {
                column.push(same as u8 + 1);
            } else {
                match value {
                    Value::Hash(hash) => {
                        let next = seen.len();
                        let first = *seen.entry(*hash).or_insert(next);
                        if first == next {
                            column.push(GIVEN);
                            hashes.extend_from_slice(hash);
                        } else {
                            column.push(SEEN);
                            put(column, (next - first) as u64);
                        }
                    }
                    Value::Time(at) => {
                        column.push(GIVEN);
                        put(column, pack_time(at.wrapping_sub(before.time)));
                    }
                    Value::Number(number) => {
                        column.push(GIVEN);
                        put(column, zigzag(number.wrapping_sub(before.numbers[shape.keys[place]]).cast_signed()));
                    }
                }
            }
            before.is(value, shape.keys[place]);
        }
    }
    let mut plain = Vec::with_capacity(text.len() / 8);
    put(&mut plain, shapes.len() as u64);
    for (shape, _) in &shapes {
        put(&mut plain, shape.bytes.len() as u64);
        plain.extend_from_slice(&shape.bytes);
    }
    put(&mut plain, count);
    plain.append(&mut ids);
    shapes.iter().flat_map(|(_, columns)| columns).for_each(|column| plain.extend_from_slice(column));
    if plain.len() >= text.len() {
        return None;
    }
    let (codec, packed) = codec::encode(&plain, Class::Columns);
    let mut body = vec![codec.0];
    put(&mut body, plain.len() as u64);
    put(&mut body, seen.len() as u64);
    body.append(&mut hashes);
    body.extend_from_slice(&packed);
    (body.len() < text.len()).then_some(body)
}

/// The text of a body, `len` bytes or fewer: whoever wants as many is to count them.
///
/// # Errors
///
/// [`CodecError`]. The memory it takes is bounded by `len`, whatever the body says.
pub(super) fn decode(body: &[u8], len: usize) -> Result<Vec<u8>, CodecError> {
    let (codec, mut rest) = body.split_first().ok_or(SHORT)?;
    let plain_len = index(&mut rest)?;
    let hashes = index(&mut rest)?.checked_mul(32).and_then(|bytes| rest.split_off(..bytes)).ok_or(SHORT)?;
    let (hashes, _) = hashes.as_chunks::<32>();
    if plain_len > len {
        return Err(CodecError::TooLong { len: plain_len as u64, max: len });
    }
    let plain = codec::decode(Codec(*codec), rest, plain_len)?;
    let mut plain = plain.as_slice();
    let (mut keys, mut before) = (Keys::default(), Before::default());
    let mut shapes = Vec::new();
    for _ in 0..index(&mut plain).and_then(|shapes| if shapes > MOST_SHAPES { Err(WRONG) } else { Ok(shapes) })? {
        let bytes = index(&mut plain).and_then(|len| plain.split_off(..len).ok_or(SHORT))?;
        let shape = keys.shape(bytes, &mut before, len).ok_or(WRONG)?;
        shapes.push((shape, 0_usize, Vec::new()));
    }
    let lines = index(&mut plain)?;
    let mut ids = plain;
    for _ in 0..lines {
        let (_, uses, _) = shapes.get_mut(index(&mut plain)?).ok_or(WRONG)?;
        *uses += 1;
    }
    for (shape, uses, columns) in &mut shapes {
        for place in &shape.places {
            let column = plain;
            for _ in 0..*uses {
                let op = byte(&mut plain)?;
                if op == SEEN || op == GIVEN && shape.bytes[*place] != HASH {
                    number(&mut plain)?;
                }
            }
            columns.push(column);
        }
    }
    let (mut out, mut values) = (Vec::new(), Vec::new());
    let mut used = 0;
    for line in 0..lines {
        if line > 0 {
            out.push(b'\n');
        }
        let (shape, _, columns) = shapes.get_mut(index(&mut ids)?).ok_or(WRONG)?;
        values.clear();
        let mut start = 0;
        for (((place, key), column), at) in shape.places.iter().zip(&shape.keys).zip(columns).zip(0..) {
            let kind = shape.bytes[*place];
            let value = match byte(column)? {
                GIVEN if kind == HASH => {
                    used += 1;
                    Value::Hash(*hashes.get(used - 1).ok_or(SHORT)?)
                }
                GIVEN if kind == TIME => Value::Time(before.time.wrapping_add(unpack_time(number(column)?))),
                GIVEN => Value::Number(before.numbers[*key].wrapping_add_signed(unzigzag(number(column)?))),
                SEEN if kind == HASH => {
                    let back = index(column)?;
                    Value::Hash(*used.checked_sub(back).and_then(|at| hashes.get(at)).ok_or(WRONG)?)
                }
                op => *values.get(usize::from(op) - 1).filter(|_| usize::from(op) <= at).ok_or(WRONG)?,
            };
            out.extend_from_slice(&shape.bytes[start..*place]);
            start = place + 1;
            value.write(&mut out, kind)?;
            before.is(&value, *key);
            values.push(value);
            if out.len() > len {
                return Err(WRONG);
            }
        }
        out.extend_from_slice(&shape.bytes[start..]);
        if out.len() > len {
            return Err(WRONG);
        }
    }
    Ok(out)
}

const SHORT: CodecError = CodecError::Damaged("the columns end early");
const WRONG: CodecError = CodecError::Damaged("the columns contradict themselves");

impl Before {
    fn is(&mut self, value: &Value, key: usize) {
        match value {
            Value::Hash(_) => {}
            Value::Time(at) => self.time = *at,
            Value::Number(number) => self.numbers[key] = *number,
        }
    }
}

impl Value {
    fn write(&self, out: &mut Vec<u8>, kind: u8) -> Result<(), CodecError> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        match (self, kind) {
            (Value::Hash(hash), HASH) => {
                out.extend(hash.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
            }
            (Value::Time(at), TIME) => {
                out.extend_from_slice(&Timestamp::from_micros(*at).ok_or(WRONG)?.text());
            }
            (Value::Number(number), NUMBER) => out.extend_from_slice(number.to_string().as_bytes()),
            _ => return Err(WRONG),
        }
        Ok(())
    }
}

/// The shape of a line, and its values.
fn take_apart(line: &[u8], shape: &mut Vec<u8>, values: &mut Vec<Value>) {
    shape.clear();
    values.clear();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = line[at..].iter().position(|byte| matches!(byte, b'"' | b':' | b'/' | b'-')) {
        at += found + 1;
        let rest = &line[at..];
        let (before, after) = (line[at - 1], rest.first().copied().unwrap_or(0));
        let taken = match before {
            b':' | b'-' if let Some(hash) = hash_at(rest) => Some((HASH, Value::Hash(hash), 64)),
            b'"' if after.is_ascii_digit()
                && let Some(time) = time_at(rest) =>
            {
                Some((TIME, Value::Time(time), TIME_LEN))
            }
            b'"' | b':' | b'/' if after.is_ascii_digit() => {
                number_at(rest).map(|(number, len)| (NUMBER, Value::Number(number), len))
            }
            _ => None,
        };
        if let Some((mark, value, len)) = taken {
            shape.extend_from_slice(&line[start..at]);
            shape.push(mark);
            values.push(value);
            at += len;
            start = at;
        }
    }
    shape.extend_from_slice(&line[start..]);
}

fn hash_at(bytes: &[u8]) -> Option<[u8; 32]> {
    if bytes.get(64) != Some(&b'"') {
        return None;
    }
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

fn time_at(bytes: &[u8]) -> Option<i64> {
    if bytes.get(TIME_LEN) != Some(&b'"') {
        return None;
    }
    Timestamp::of_text(bytes.first_chunk()?).map(Timestamp::micros)
}

/// A whole number as it is written from itself, and how many digits it has.
fn number_at(bytes: &[u8]) -> Option<(u64, usize)> {
    let len = bytes.iter().take(MOST_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let leads = bytes.first() == Some(&b'0') && len > 1;
    if leads || !(1..=MOST_DIGITS).contains(&len) || !matches!(bytes.get(len), Some(b',' | b'}' | b'"' | b']')) {
        return None;
    }
    Some((bytes[..len].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), len))
}

/// Most times are whole milliseconds, and so are most differences.
fn pack_time(micros: i64) -> u64 {
    if micros % 1000 == 0 { zigzag(micros / 1000) << 1 } else { zigzag(micros) << 1 | 1 }
}

fn unpack_time(packed: u64) -> i64 {
    let number = unzigzag(packed >> 1);
    if packed & 1 == 0 { number.wrapping_mul(1000) } else { number }
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn byte(bytes: &mut &[u8]) -> Result<u8, CodecError> {
    bytes.split_off_first().copied().ok_or(SHORT)
}

fn number(bytes: &mut &[u8]) -> Result<u64, CodecError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(WRONG)
}

fn index(bytes: &mut &[u8]) -> Result<usize, CodecError> {
    usize::try_from(number(bytes)?).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
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
}

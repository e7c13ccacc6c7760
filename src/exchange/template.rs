//! The source of a batch with holes: those parts cut out that a row's payload holds, or the kept source of another
//! session. Nothing is stored twice, and every record can be written again byte for byte.

use std::collections::HashMap;
use std::ops::Range;

use crate::model::{Digest, EvalNumber, EventNumber, MessageNumber, SessionId};

/// What stands for a part of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hole {
    /// A message's content, as a JSON string.
    Text(MessageNumber),
    /// A message's content, as a JSON string in ASCII.
    AsciiText(MessageNumber),
    /// A message's content as it is.
    Content(MessageNumber),
    /// An eval's code, as a JSON string.
    CodeText(EvalNumber),
    /// An eval's code as it is.
    Code(EvalNumber),
    /// An eval's code, which is JSON, indented from that level on: see [`indented`](super::json::indented).
    Indented(EvalNumber, u32),
    /// A message's content, which is JSON, indented so.
    IndentedContent(MessageNumber, u32),
    /// An eval's result, or else its error, as a JSON string.
    ResultText(EvalNumber),
    /// An annotation's payload as it is.
    Note(EventNumber),
    /// Any payload, as a JSON string.
    PayloadText(Digest),
    /// Any payload as it is.
    Payload(Digest),
    /// Bytes of the kept source of another session, from and to.
    Shared(SessionId, u64, u64),
    /// What is not recorded yet, by the number that [`Step::ask`](super::Step::ask) gave.
    Later(u64),
}

/// Begins a mark. A byte 1 of the source itself is a mark too.
pub(crate) const OPEN: u8 = 1;
/// Ends a mark.
const CLOSE: u8 = 2;
/// The mark of a byte 1.
const ITSELF: u8 = b'=';
/// The mark of a file's name.
const NAME: u8 = b'F';
/// How deep JSON is indented at most before its first value.
pub const MAX_LEVEL: u32 = 64;

/// The source of a batch, with holes.
#[derive(Debug, Default)]
pub struct Template {
    bytes: Vec<u8>,
    /// Parts that may have become a payload of a row since: where they lie, and their number.
    later: Vec<(Range<usize>, u64)>,
    /// The hole that the bytes end with, where it may grow.
    last: Option<(usize, SessionId, u64, u64)>,
}

impl Template {
    /// Adds `source`, with `holes` cut out; they are in order and do not overlap.
    pub fn add(&mut self, source: &[u8], holes: &[(Range<usize>, Hole)]) {
        self.last = None;
        let mut at = 0;
        for (range, hole) in holes {
            self.literal(&source[at..range.start]);
            match hole {
                Hole::Later(number) => {
                    let start = self.bytes.len();
                    self.literal(&source[range.clone()]);
                    self.later.push((start..self.bytes.len(), *number));
                }
                hole => self.bytes.extend_from_slice(&mark(hole)),
            }
            at = range.end;
        }
        self.literal(&source[at..]);
    }

    /// Adds the bytes that another session's kept source has from `from` to `to`.
    pub fn add_shared(&mut self, session: &SessionId, from: u64, to: u64) {
        let mut start = from;
        if let Some((at, of, first, end)) = self.last.take()
            && of == *session
            && end == from
        {
            self.bytes.truncate(at);
            start = first;
        }
        self.last = Some((self.bytes.len(), session.clone(), start, to));
        self.bytes.extend_from_slice(&mark(&Hole::Shared(session.clone(), start, to)));
    }

    /// Adds what stands at the beginning of a file.
    pub fn add_part(&mut self, mark: &[u8]) {
        self.last = None;
        self.bytes.extend_from_slice(mark);
    }

    /// Adds another template behind this one.
    pub fn append(&mut self, other: Template) {
        let start = self.bytes.len();
        self.later
            .extend(other.later.into_iter().map(|(range, number)| (range.start + start..range.end + start, number)));
        self.bytes.extend(other.bytes);
        self.last = None;
    }

    fn literal(&mut self, source: &[u8]) {
        for (number, piece) in source.split(|byte| *byte == OPEN).enumerate() {
            if number > 0 {
                self.bytes.extend_from_slice(&[OPEN, ITSELF, CLOSE]);
            }
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Its size so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes it behind `out`. `answers` says what the parts kept for later became; others stay as they are.
    pub fn write_to(self, out: &mut Vec<u8>, answers: &HashMap<u64, Hole>) {
        let mut at = 0;
        for (range, number) in self.later {
            let Some(hole) = answers.get(&number) else { continue };
            out.extend_from_slice(&self.bytes[at..range.start]);
            out.extend_from_slice(&mark(hole));
            at = range.end;
        }
        out.extend_from_slice(&self.bytes[at..]);
    }
}

/// The mark of a file's name.
pub(crate) fn part_mark(name: &str) -> Vec<u8> {
    marked(NAME, name)
}

fn marked(letter: u8, text: &str) -> Vec<u8> {
    let mut out = vec![OPEN, letter];
    out.extend(text.bytes().filter(|byte| *byte != CLOSE));
    out.push(CLOSE);
    out
}

fn mark(hole: &Hole) -> Vec<u8> {
    let number = |letter, number: u64| marked(letter, &number.to_string());
    match hole {
        Hole::Text(message) => number(b'm', message.0),
        Hole::AsciiText(message) => number(b'a', message.0),
        Hole::Content(message) => number(b'M', message.0),
        Hole::CodeText(eval) => number(b'c', eval.0),
        Hole::Code(eval) => number(b'C', eval.0),
        Hole::Indented(eval, level) => marked(b'i', &format!("{level} {}", eval.0)),
        Hole::IndentedContent(message, level) => marked(b'I', &format!("{level} {}", message.0)),
        Hole::ResultText(eval) => number(b'r', eval.0),
        Hole::Note(event) => number(b'N', event.0),
        Hole::PayloadText(digest) => marked(b'p', &digest.to_string()),
        Hole::Payload(digest) => marked(b'P', &digest.to_string()),
        Hole::Shared(session, from, to) => marked(b'S', &format!("{from} {to} {session}")),
        Hole::Later(place) => number(b'?', *place),
    }
}

/// What a template consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Bytes(&'t [u8]),
    Hole(Hole),
    /// The name of the file that begins here, and its mark.
    Part(&'t str, &'t [u8]),
}

/// The pieces of a template, in order; an error where it is none.
pub(crate) fn pieces(mut text: &[u8]) -> impl Iterator<Item = Result<Piece<'_>, ()>> {
    std::iter::from_fn(move || {
        let (first, _) = text.split_first()?;
        if *first != OPEN {
            let end = text.iter().position(|byte| *byte == OPEN).unwrap_or(text.len());
            let (piece, rest) = text.split_at(end);
            text = rest;
            return Some(Ok(Piece::Bytes(piece)));
        }
        let Some(close) = text.iter().position(|byte| *byte == CLOSE) else {
            text = &[];
            return Some(Err(()));
        };
        let (whole, rest) = text.split_at(close + 1);
        text = rest;
        Some(piece(whole).ok_or(()))
    })
}

fn piece(whole: &[u8]) -> Option<Piece<'_>> {
    let (letter, text) = whole.get(1..whole.len() - 1)?.split_first()?;
    let text = std::str::from_utf8(text).ok()?;
    let number = || text.parse::<u64>().ok();
    Some(Piece::Hole(match *letter {
        ITSELF => return Some(Piece::Bytes(&whole[..1])),
        NAME => return Some(Piece::Part(text, whole)),
        b'm' => Hole::Text(MessageNumber(number()?)),
        b'a' => Hole::AsciiText(MessageNumber(number()?)),
        b'M' => Hole::Content(MessageNumber(number()?)),
        b'c' => Hole::CodeText(EvalNumber(number()?)),
        b'C' => Hole::Code(EvalNumber(number()?)),
        b'i' | b'I' => {
            let (level, number) = text.split_once(' ')?;
            let (level, number) = (level.parse().ok().filter(|level| *level <= MAX_LEVEL)?, number.parse().ok()?);
            match letter {
                b'i' => Hole::Indented(EvalNumber(number), level),
                _ => Hole::IndentedContent(MessageNumber(number), level),
            }
        }
        b'r' => Hole::ResultText(EvalNumber(number()?)),
        b'N' => Hole::Note(EventNumber(number()?)),
        b'p' => Hole::PayloadText(text.parse().ok()?),
        b'P' => Hole::Payload(text.parse().ok()?),
        b'S' => {
            let (from, rest) = text.split_once(' ')?;
            let (to, session) = rest.split_once(' ')?;
            Hole::Shared(session.parse().ok()?, from.parse().ok()?, to.parse().ok()?)
        }
        _ => return None,
    }))
}

/// A text as the JSON string that most writers make of it. A text is only cut out of a source that wrote it so.
pub fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A text as the JSON string that writers make of it which keep to ASCII.
pub fn ascii_json_string(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 2);
    for char in json_string(text).chars() {
        if (' '..='~').contains(&char) {
            out.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Into memory: cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_in_ascii() {
        assert_eq!(ascii_json_string("a\n\u{7f}é😀\"\u{1}"), r#""a\n\u007f\u00e9\ud83d\ude00\"\u0001""#);
    }

    #[test]
    fn holes_are_marked_and_read_back() {
        for hole in [
            Hole::Text(MessageNumber(1)),
            Hole::AsciiText(MessageNumber(7)),
            Hole::Content(MessageNumber(20)),
            Hole::CodeText(EvalNumber(3)),
            Hole::Code(EvalNumber(u64::MAX)),
            Hole::Indented(EvalNumber(5), 4),
            Hole::IndentedContent(MessageNumber(5), 0),
            Hole::ResultText(EvalNumber(6)),
            Hole::Note(EventNumber(0)),
            Hole::PayloadText(Digest::of(b"x")),
            Hole::Payload(Digest::of(b"y")),
            Hole::Shared("a-b.c".parse().unwrap(), 0, u64::MAX),
        ] {
            assert_eq!(pieces(&mark(&hole)).collect::<Vec<_>>(), [Ok(Piece::Hole(hole))]);
        }
        for bad in [&b"\x01\x02"[..], b"\x01mx\x02", b"\x01m1", b"\x01S1 2\x02", b"\x01"] {
            assert!(pieces(bad).any(|piece| piece.is_err()), "{bad:?}");
        }
    }

    #[test]
    fn a_part_kept_for_later_is_cut_out_only_if_it_became_an_eval() {
        let (mut template, mut more) = (Template::default(), Template::default());
        template.add(b"[1,", &[]);
        more.add(b"2,3,4]\n", &[(0..1, Hole::Later(7)), (2..3, Hole::Later(8)), (4..5, Hole::Text(MessageNumber(9)))]);
        template.append(more);
        let mut out = Vec::new();
        template.write_to(&mut out, &HashMap::from([(8, Hole::Code(EvalNumber(4)))]));
        assert_eq!(out, b"[1,2,\x01C4\x02,\x01m9\x02]\n");
    }

    #[test]
    fn the_bytes_of_marks_may_be_in_a_source() {
        let mut template = Template::default();
        template.add(b"\x01m1\x02\x01", &[]);
        let mut out = Vec::new();
        template.write_to(&mut out, &HashMap::new());
        let back: Vec<u8> = pieces(&out)
            .flat_map(|piece| match piece {
                Ok(Piece::Bytes(bytes)) => bytes.to_vec(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(back, b"\x01m1\x02\x01");
    }

    #[test]
    fn neighbours_in_a_shared_source_are_one_hole() {
        let session: SessionId = "s".parse().unwrap();
        let mut template = Template::default();
        template.add_shared(&session, 3, 9);
        template.add_shared(&session, 9, 20);
        template.add_shared(&session, 21, 22);
        let mut out = Vec::new();
        template.write_to(&mut out, &HashMap::new());
        assert_eq!(out, b"\x01S3 20 s\x02\x01S21 22 s\x02");
    }
}

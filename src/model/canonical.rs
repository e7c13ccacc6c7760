//! Canonical JSON: the bytes that are hashed.
//!
//! The rules, in full:
//!
//! - no whitespace between tokens, none before or after;
//! - the members of an object sorted by the UTF-8 bytes of their decoded keys, no key twice;
//! - numbers kept letter by letter (`1.0E+2`, `-0` and `1e400` stay as they are: two spellings of one number are
//!   two texts, because rounding through a float would lose what the caller wrote);
//! - in strings only `"`, `\` and U+0000 to U+001F are escaped: `\b \t \n \f \r` where JSON has a short form,
//!   `\u00xx` in lower case otherwise; all else is literal UTF-8;
//! - at most [`MAX_DEPTH`] arrays and objects inside one another.
//!
//! Text that cannot be brought into this form is refused, never repaired; the caller keeps it as plain bytes.

use std::cmp::Ordering;

/// How many arrays and objects may be open at once.
///
/// The parser recurses once a level, so this is also what bounds its stack.
pub const MAX_DEPTH: usize = 128;

/// Why a text has no canonical form. Offsets are bytes of the input, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// The first byte that is not part of a character.
        at: usize,
    },
    /// The text is not JSON (RFC 8259), or ends early.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// The byte that no valid text has there; the length of the text if it ends early.
        at: usize,
    },
    /// An object has two members of one name, and which of them counts is anyone's guess.
    #[error("a key occurs twice in the object that ends at byte {at}")]
    DuplicateKey {
        /// The closing brace of the object.
        at: usize,
    },
    /// A `\u` escape is half of a surrogate pair, which no UTF-8 text can hold.
    #[error("half of a surrogate pair at byte {at}")]
    LoneSurrogate {
        /// The backslash of the escape.
        at: usize,
    },
    /// More than [`MAX_DEPTH`] arrays and objects inside one another.
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// The bracket that opens one level too many.
        at: usize,
    },
    /// A whole value, then something else.
    #[error("more data after the value at byte {at}")]
    TrailingData {
        /// The first byte beyond the value that is not whitespace.
        at: usize,
    },
}

/// The canonical form of one JSON text.
///
/// ```
/// use headwater::model::canonical::canonicalize;
///
/// let text = br#" { "b" : 1.0E+2, "a" : "caf\u00e9" } "#;
/// assert_eq!(canonicalize(text)?, r#"{"a":"café","b":1.0E+2}"#.as_bytes());
/// # Ok::<(), headwater::model::canonical::NotCanonical>(())
/// ```
///
/// # Errors
///
/// [`NotCanonical`] says what stands in the way, and where.
pub fn canonicalize(text: &[u8]) -> Result<Vec<u8>, NotCanonical> {
    // Checked once for the whole text, so that the parser can copy runs of bytes unseen.
    if let Err(e) = std::str::from_utf8(text) {
        return Err(NotCanonical::Utf8 { at: e.valid_up_to() });
    }
    let mut parser = Parser {
        text,
        at: 0,
        // Never longer than the input: every escape we write was at least as long as read.
        out: Vec::with_capacity(text.len()),
        members: Vec::new(),
        scratch: Vec::new(),
    };
    parser.skip_whitespace();
    parser.value(0)?;
    parser.skip_whitespace();
    if parser.at < text.len() {
        return Err(NotCanonical::TrailingData { at: parser.at });
    }
    Ok(parser.out)
}

/// One member of an object being read, as positions in the output.
#[derive(Clone, Copy)]
struct Member {
    /// The key's opening quote.
    start: usize,
    /// Beyond the key's closing quote.
    key_end: usize,
    /// Beyond the value.
    end: usize,
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// The members of every open object, the innermost last: one allocation for all.
    members: Vec<Member>,
    scratch: Vec<u8>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn syntax<T>(&self) -> Result<T, NotCanonical> {
        Err(NotCanonical::Syntax { at: self.at })
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotCanonical> {
        if self.peek() != Some(byte) {
            return self.syntax();
        }
        self.at += 1;
        self.out.push(byte);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), NotCanonical> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(NotCanonical::TooDeep { at: self.at }),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.syntax(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotCanonical> {
        word.iter().try_for_each(|&byte| self.expect(byte))
    }

    fn array(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.expect(b'[')?;
        self.skip_whitespace();
        if self.peek() == Some(b']') {
            return self.expect(b']');
        }
        loop {
            self.value(depth)?;
            self.skip_whitespace();
            if self.peek() == Some(b']') {
                return self.expect(b']');
            }
            self.expect(b',')?;
            self.skip_whitespace();
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.expect(b'{')?;
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            return self.expect(b'}');
        }
        let first = self.members.len();
        let mut sorted = true;
        loop {
            let start = self.out.len();
            if self.peek() != Some(b'"') {
                return self.syntax();
            }
            self.string()?;
            let key_end = self.out.len();
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            self.value(depth)?;
            let member = Member { start, key_end, end: self.out.len() };
            if let Some(last) = self.members.get(first..).and_then(<[Member]>::last) {
                sorted = sorted && compare_keys(&self.out, last, &member) == Ordering::Less;
            }
            self.members.push(member);
            self.skip_whitespace();
            if self.peek() == Some(b'}') {
                // Most objects come from a program that sorts, or from us: nothing is moved then.
                if !sorted {
                    self.sort_members(first)?;
                }
                self.members.truncate(first);
                return self.expect(b'}');
            }
            self.expect(b',')?;
            self.skip_whitespace();
        }
    }

    /// Puts the members from `first` on into order, within the bytes they already take.
    fn sort_members(&mut self, first: usize) -> Result<(), NotCanonical> {
        let members = &mut self.members[first..];
        let out = &mut self.out;
        let from = members[0].start;
        members.sort_unstable_by(|a, b| compare_keys(out, a, b));
        if members.windows(2).any(|pair| compare_keys(out, &pair[0], &pair[1]) == Ordering::Equal) {
            return Err(NotCanonical::DuplicateKey { at: self.at });
        }
        self.scratch.clear();
        for member in members.iter() {
            if !self.scratch.is_empty() {
                self.scratch.push(b',');
            }
            self.scratch.extend_from_slice(&out[member.start..member.end]);
        }
        out.truncate(from);
        out.extend_from_slice(&self.scratch);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotCanonical> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.syntax() } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), NotCanonical> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            // A digit after a leading zero is then refused by whoever expects a comma.
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        self.out.extend_from_slice(&self.text[start..self.at]);
        Ok(())
    }

    fn string(&mut self) -> Result<(), NotCanonical> {
        self.expect(b'"')?;
        loop {
            let rest = &self.text[self.at..];
            let plain = plain_length(rest);
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => return self.expect(b'"'),
                Some(b'\\') => self.escape()?,
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotCanonical> {
        let backslash = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                let c = self.scalar(unit, backslash)?;
                push_char(&mut self.out, c);
                return Ok(());
            }
            _ => return self.syntax(),
        };
        self.at += 1;
        push_char(&mut self.out, c);
        Ok(())
    }

    /// The character of a `\u` escape whose first unit is read; takes the second one of a pair.
    fn scalar(&mut self, unit: u32, backslash: usize) -> Result<char, NotCanonical> {
        let lone = NotCanonical::LoneSurrogate { at: backslash };
        if !(0xd800..0xdc00).contains(&unit) {
            // What is left and no character is the second half of a pair without the first.
            return char::from_u32(unit).ok_or(lone);
        }
        if !self.text[self.at..].starts_with(b"\\u") {
            return Err(lone);
        }
        self.at += 2;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone);
        }
        char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or(lone)
    }

    fn hex4(&mut self) -> Result<u32, NotCanonical> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(16)) else {
                return self.syntax();
            };
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// How many bytes from the start of `bytes` can stand in a string as they are, in the input and in the output.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest high bit set is that of the first zero byte; those above it may be wrong, and are not looked at.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |&b: &u8| b < 0x20 || b == b'"' || b == b'\\';
    bytes.len() - rest.len() + rest.iter().position(special).unwrap_or(rest.len())
}

fn push_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\0'..'\u{20}' => {
            let code = c as u8;
            let low = b"0123456789abcdef"[usize::from(code & 15)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (code >> 4), low]);
        }
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Orders two members by their decoded keys.
fn compare_keys(out: &[u8], a: &Member, b: &Member) -> Ordering {
    // Without the quotes, one byte each.
    let (a, b) = (&out[a.start + 1..a.key_end - 1], &out[b.start + 1..b.key_end - 1]);
    if a.contains(&b'\\') || b.contains(&b'\\') { decoded(a).cmp(decoded(b)) } else { a.cmp(b) }
}

/// The bytes of a string that [`push_char`] escaped.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = text.iter().copied();
    let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).unwrap_or(0) as u8;
    std::iter::from_fn(move || match bytes.next()? {
        b'\\' => Some(match bytes.next()? {
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            // The first two digits are always 0.
            b'u' => digit(bytes.nth(2)) << 4 | digit(bytes.next()),
            literal => literal,
        }),
        literal => Some(literal),
    })
}

#[cfg(test)]
mod tests;

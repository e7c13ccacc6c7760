//! Text to values, with a stack of its own.

use std::collections::HashSet;

use super::value::{Sum, key_text};
use super::{Document, Kind, Node, ReadError, Wrong, token};

/// How many values a document may have: what bounds the memory that reading takes, at some 32 bytes each.
pub const MAX_VALUES: usize = 8 << 20;

/// What is open: a collection, a tag that waits for its value, or `#_`.
#[derive(Clone, Copy)]
enum Open {
    Value { at: u32, close: char, items: u32 },
    Tag { at: u32 },
    Discard { values: u32 },
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nodes: Vec<Node>,
    open: Vec<Open>,
    /// Whether a map has a key, or a set a member, that is a collection.
    compare_all: bool,
}

/// Reads the first value of `text`: the value, and where it ends. `None` if there is only white space, comments and discarded values.
///
/// # Errors
///
/// Where and why the text is not EDN. What follows the value is not looked at, but for being UTF-8.
pub fn read_prefix(text: &[u8]) -> Result<Option<(Document<'_>, usize)>, ReadError> {
    let text = std::str::from_utf8(text).map_err(|error| ReadError { at: error.valid_up_to(), what: Wrong::Utf8 })?;
    let mut reader = Reader { text, at: 0, nodes: Vec::new(), open: Vec::new(), compare_all: false };
    if u32::try_from(text.len()).is_err() {
        return Err(reader.wrong(0, Wrong::TooLarge));
    }
    while !reader.step()? {
        if reader.at == text.len() && reader.open.is_empty() && reader.nodes.is_empty() {
            return Ok(None);
        }
    }
    let document = Document { text, nodes: reader.nodes };
    if reader.compare_all {
        no_member_twice(&document)?;
    }
    Ok(Some((document, reader.at)))
}

impl<'a> Reader<'a> {
    #[expect(clippy::unused_self, reason = "reads as what it is said of")]
    fn wrong(&self, at: usize, what: Wrong) -> ReadError {
        ReadError { at, what }
    }

    /// Passes over white space and a comment, or reads a token; whether the whole value is read.
    fn step(&mut self) -> Result<bool, ReadError> {
        let start = self.at;
        let rest = &self.text[start..];
        let Some(first) = rest.chars().next() else {
            return if self.open.is_empty() { Ok(false) } else { Err(self.wrong(start, Wrong::End)) };
        };
        match first {
            letter if token::is_space(letter) => {
                self.at += rest.find(|letter| !token::is_space(letter)).unwrap_or(rest.len());
                Ok(false)
            }
            ';' => {
                self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
                Ok(false)
            }
            '(' => self.begin(Kind::List, 1, ')'),
            '[' => self.begin(Kind::Vector, 1, ']'),
            '{' => self.begin(Kind::Map, 1, '}'),
            ')' | ']' | '}' => self.close(first),
            '"' => {
                let length = token::string(rest).map_err(|(at, what)| self.wrong(start + at, what))?;
                self.scalar(Kind::String, length)
            }
            '\\' => {
                let length = token::character(rest).map_err(|what| self.wrong(start, what))?;
                self.scalar(Kind::Character, length)
            }
            '#' => self.dispatch(rest),
            '^' => Err(self.wrong(start, Wrong::Dispatch)),
            _ => {
                let token = token::take(rest);
                let kind = token::classify(token).map_err(|what| self.wrong(start, what))?;
                self.scalar(kind, token.len())
            }
        }
    }

    fn dispatch(&mut self, rest: &'a str) -> Result<bool, ReadError> {
        let start = self.at;
        let after = &rest[1..];
        match after.chars().next() {
            None => Err(self.wrong(start + 1, Wrong::End)),
            Some('{') => self.begin(Kind::Set, 2, '}'),
            Some('_') => {
                self.at += 2;
                self.open.push(Open::Discard { values: count(&self.nodes) });
                Ok(false)
            }
            Some('#') => {
                let name = token::take(&after[1..]);
                if !["Inf", "-Inf", "NaN"].contains(&name) {
                    return Err(self.wrong(start, Wrong::Dispatch));
                }
                self.scalar(Kind::Symbolic, 2 + name.len())
            }
            Some(':') => {
                let name = token::take(&after[1..]);
                let space = &after[1 + name.len()..];
                let gap = space.find(|letter| !token::is_space(letter)).unwrap_or(space.len());
                let simple = token::classify(name) == Ok(Kind::Symbol) && !name.contains('/');
                if !simple || !space[gap..].starts_with('{') {
                    return Err(self.wrong(start, Wrong::Dispatch));
                }
                self.begin(Kind::NamespacedMap, 2 + name.len() + gap + 1, '}')
            }
            Some(letter) if letter.is_alphabetic() => {
                let tag = token::take(after);
                if !token::is_name(tag) {
                    return Err(self.wrong(start, Wrong::Dispatch));
                }
                let at = self.push(Kind::Tagged)?;
                self.at += 1 + tag.len();
                self.open.push(Open::Tag { at });
                Ok(false)
            }
            Some(_) => Err(self.wrong(start, Wrong::Dispatch)),
        }
    }

    /// Adds a value that begins here and of which no more is known.
    fn push(&mut self, kind: Kind) -> Result<u32, ReadError> {
        if self.nodes.len() == MAX_VALUES || self.open.len() > MAX_VALUES {
            return Err(self.wrong(self.at, Wrong::TooLarge));
        }
        let at = count(&self.nodes);
        let start = offset(self.at);
        self.nodes.push(Node { kind, start, end: start, next: at + 1 });
        Ok(at)
    }

    fn scalar(&mut self, kind: Kind, length: usize) -> Result<bool, ReadError> {
        let at = self.push(kind)?;
        self.at += length;
        Ok(self.ended(at))
    }

    fn begin(&mut self, kind: Kind, length: usize, close: char) -> Result<bool, ReadError> {
        let at = self.push(kind)?;
        self.at += length;
        self.open.push(Open::Value { at, close, items: 0 });
        Ok(false)
    }

    fn close(&mut self, bracket: char) -> Result<bool, ReadError> {
        match self.open.pop() {
            Some(Open::Value { at, close, items }) if close == bracket => {
                let kind = self.nodes[at as usize].kind;
                if matches!(kind, Kind::Map | Kind::NamespacedMap) && items % 2 == 1 {
                    return Err(self.wrong(self.at, Wrong::Odd));
                }
                self.at += 1;
                let whole = self.ended(at);
                self.no_plain_member_twice(at)?;
                Ok(whole)
            }
            Some(Open::Tag { .. } | Open::Discard { .. }) => Err(self.wrong(self.at, Wrong::Tag)),
            _ => Err(self.wrong(self.at, Wrong::Bracket)),
        }
    }

    /// The value at `at` ends here, and with it the tags before it; whether it is the whole one.
    fn ended(&mut self, mut at: u32) -> bool {
        loop {
            let next = count(&self.nodes);
            let node = &mut self.nodes[at as usize];
            (node.end, node.next) = (offset(self.at), next);
            match self.open.last_mut() {
                None => return true,
                Some(Open::Value { items, .. }) => {
                    *items += 1;
                    return false;
                }
                Some(Open::Tag { at: tag }) => {
                    at = *tag;
                    self.open.pop();
                }
                Some(Open::Discard { values }) => {
                    self.nodes.truncate(*values as usize);
                    self.open.pop();
                    return false;
                }
            }
        }
    }

    /// Keys and members that are no collections are compared here; where one is, all are compared at the end, in one go.
    fn no_plain_member_twice(&mut self, at: u32) -> Result<(), ReadError> {
        let Some(&node) = self.nodes.get(at as usize) else { return Ok(()) };
        let step = match node.kind {
            Kind::Set => 1,
            Kind::Map | Kind::NamespacedMap => 2,
            _ => return Ok(()),
        };
        let document = Document { text: self.text, nodes: std::mem::take(&mut self.nodes) };
        let namespace = document.namespace(node);
        let mut seen = HashSet::new();
        let mut twice = None;
        let mut next = at + 1;
        let mut place = 0;
        while next < node.next {
            let member = document.node(next);
            if place % step == 0 {
                if member.kind.is_collection() {
                    self.compare_all = true;
                    break;
                }
                if !seen.insert(key_text(&document, member, namespace)) {
                    twice = Some(member.start as usize);
                    break;
                }
            }
            place += 1;
            next = member.next;
        }
        drop(seen);
        self.nodes = document.nodes;
        twice.map_or(Ok(()), |start| Err(self.wrong(start, Wrong::Duplicate)))
    }
}

fn no_member_twice(document: &Document<'_>) -> Result<(), ReadError> {
    let sums = document.sums();
    let mut seen: HashSet<Sum> = HashSet::new();
    for (at, node) in (0_u32..).zip(&document.nodes) {
        let step = match node.kind {
            Kind::Set => 1,
            Kind::Map | Kind::NamespacedMap => 2,
            _ => continue,
        };
        seen.clear();
        let (mut next, mut place) = (at + 1, 0);
        while next < node.next {
            let member = document.node(next);
            if place % step == 0 && !seen.insert(sums[next as usize]) {
                return Err(ReadError { at: member.start as usize, what: Wrong::Duplicate });
            }
            place += 1;
            next = member.next;
        }
    }
    Ok(())
}

// Both were measured against the limits before: neither is ever cut.
fn count(nodes: &[Node]) -> u32 {
    u32::try_from(nodes.len()).unwrap_or(u32::MAX)
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

//! Looking at values.

use std::borrow::Cow;
use std::ops::Range;

use super::{Document, Kind, Node, token};

/// A value in a document.
#[derive(Clone, Copy)]
pub struct Value<'d, 'a> {
    pub(super) document: &'d Document<'a>,
    pub(super) at: u32,
    /// Of a key: the namespace of the map it is in.
    pub(super) namespace: Option<&'a str>,
}

impl std::fmt::Debug for Value<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.text())
    }
}

impl<'d, 'a> Value<'d, 'a> {
    pub(super) fn node(&self) -> Node {
        self.document.node(self.at)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// The text it was read from, letter by letter.
    pub fn text(&self) -> &'a str {
        self.document.text_of(self.node())
    }

    /// Where it lies in the text.
    pub fn span(&self) -> Range<usize> {
        self.node().start as usize..self.node().end as usize
    }

    /// What a string says.
    pub fn string(&self) -> Option<Cow<'a, str>> {
        let inside = self.text().strip_prefix('"')?.strip_suffix('"')?;
        (self.kind() == Kind::String).then(|| token::unescape(inside))
    }

    /// A keyword's or symbol's full name, without colon; of a key in a namespaced map, with that namespace.
    pub fn name(&self) -> Option<Cow<'a, str>> {
        let text = match self.kind() {
            Kind::Keyword => &self.text()[1..],
            Kind::Symbol => self.text(),
            _ => return None,
        };
        Some(full_name(text, self.namespace))
    }

    /// A keyword's full name, without colon.
    pub fn keyword(&self) -> Option<Cow<'a, str>> {
        if self.kind() == Kind::Keyword { self.name() } else { None }
    }

    /// A whole number written in decimal that is no greater than 2^64 - 1.
    pub fn whole(&self) -> Option<u64> {
        let text = self.text();
        (self.kind() == Kind::Integer).then(|| text.strip_suffix('N').unwrap_or(text).parse().ok())?
    }

    /// The character that it is.
    pub fn character(&self) -> Option<char> {
        if self.kind() == Kind::Character { token::character_named(&self.text()[1..]) } else { None }
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        self.text() == "true" && self.kind() == Kind::Boolean
    }

    /// Whether it is `nil`.
    pub fn is_nil(&self) -> bool {
        self.kind() == Kind::Nil
    }

    /// Of a tagged value: its tag, and the value.
    pub fn tagged(&self) -> Option<(&'a str, Value<'d, 'a>)> {
        let tag = self.text().strip_prefix('#').filter(|_| self.kind() == Kind::Tagged).map(token::take)?;
        self.items().next().map(|value| (tag, value))
    }

    /// What is inside it, in the order of the text: of a map, keys and values in turn.
    pub fn items(&self) -> Items<'d, 'a> {
        let node = self.node();
        let namespace = if node.kind == Kind::NamespacedMap { self.document.namespace(node) } else { None };
        Items { document: self.document, at: self.at + 1, end: node.next, namespace, is_key: true }
    }

    /// Of a map: its keys with their values, in the order of the text. Of anything else: nothing.
    pub fn entries(&self) -> Entries<'d, 'a> {
        let mut items = self.items();
        if !matches!(self.kind(), Kind::Map | Kind::NamespacedMap) {
            items.at = items.end;
        }
        Entries(items)
    }

    /// Of a map: the value of the keyword whose full name is `name`.
    pub fn get(&self, name: &str) -> Option<Value<'d, 'a>> {
        self.entries().find(|(key, _)| key.keyword().as_deref() == Some(name)).map(|(_, value)| value)
    }
}

/// The values inside a value.
#[derive(Clone)]
pub struct Items<'d, 'a> {
    document: &'d Document<'a>,
    at: u32,
    end: u32,
    namespace: Option<&'a str>,
    is_key: bool,
}

impl<'d, 'a> Iterator for Items<'d, 'a> {
    type Item = Value<'d, 'a>;

    fn next(&mut self) -> Option<Value<'d, 'a>> {
        if self.at >= self.end {
            return None;
        }
        let namespace = if self.is_key { self.namespace } else { None };
        let value = Value { document: self.document, at: self.at, namespace };
        self.at = value.node().next;
        self.is_key = !self.is_key;
        Some(value)
    }
}

/// The keys of a map with their values.
#[derive(Clone)]
pub struct Entries<'d, 'a>(Items<'d, 'a>);

impl<'d, 'a> Iterator for Entries<'d, 'a> {
    type Item = (Value<'d, 'a>, Value<'d, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// The name `text` of a key of a map that has `namespace`.
fn full_name<'a>(text: &'a str, namespace: Option<&str>) -> Cow<'a, str> {
    match (namespace, text.split_once('/')) {
        (Some(namespace), None) => Cow::Owned(format!("{namespace}/{text}")),
        (Some(_), Some(("_", name))) if !name.is_empty() => Cow::Borrowed(name),
        _ => Cow::Borrowed(text),
    }
}

/// A hash of a value that equal values share.
pub(super) type Sum = [u8; 16];

/// A scalar as a text that equal ones share, and no others.
pub(super) fn key_text<'a>(document: &Document<'a>, node: Node, namespace: Option<&str>) -> (Kind, Cow<'a, str>) {
    let text = document.text_of(node);
    let said = match node.kind {
        Kind::String => token::unescape(&text[1..text.len() - 1]),
        Kind::Character => Cow::Owned(token::character_named(&text[1..]).into_iter().collect()),
        Kind::Keyword => full_name(&text[1..], namespace),
        Kind::Symbol => full_name(text, namespace),
        _ => Cow::Borrowed(text),
    };
    (node.kind, said)
}

impl Document<'_> {
    /// The sums of all values. What is inside a value follows it, so going backwards each is made of those that are there.
    pub(super) fn sums(&self) -> Vec<Sum> {
        let mut sums = vec![[0; 16]; self.nodes.len()];
        for at in (0..self.nodes.len()).rev() {
            if self.nodes[at].kind == Kind::NamespacedMap {
                // Its keys say more than they did alone.
                self.name_keys(at, &mut sums);
            }
            sums[at] = self.sum(at, &sums);
        }
        sums
    }

    fn name_keys(&self, map: usize, sums: &mut [Sum]) {
        let node = self.nodes[map];
        let namespace = self.namespace(node);
        let (mut next, mut is_key) = (map + 1, true);
        while next < node.next as usize {
            let member = self.nodes[next];
            if is_key && !member.kind.is_collection() {
                sums[next] = scalar_sum(&key_text(self, member, namespace));
            }
            (next, is_key) = (member.next as usize, !is_key);
        }
    }

    fn sum(&self, at: usize, sums: &[Sum]) -> Sum {
        let node = self.nodes[at];
        if !node.kind.is_collection() {
            return scalar_sum(&key_text(self, node, None));
        }
        let mut inside = Vec::new();
        let mut next = at + 1;
        while next < node.next as usize {
            inside.push(sums[next]);
            next = self.nodes[next].next as usize;
        }
        let mut hasher = blake3::Hasher::new();
        match node.kind {
            Kind::Map | Kind::NamespacedMap => {
                let mut pairs: Vec<&[Sum]> = inside.chunks(2).collect();
                pairs.sort_unstable();
                hasher.update(b"{");
                pairs.into_iter().flatten().for_each(|sum| _ = hasher.update(sum));
            }
            Kind::Set => {
                inside.sort_unstable();
                hasher.update(b"#");
                inside.iter().for_each(|sum| _ = hasher.update(sum));
            }
            kind => {
                // A list and a vector of the same values are equal.
                hasher.update(if kind == Kind::Tagged { b"t" } else { b"[" });
                if kind == Kind::Tagged {
                    let tag = token::take(&self.text_of(node)[1..]);
                    hasher.update(&(tag.len() as u64).to_le_bytes()).update(tag.as_bytes());
                }
                inside.iter().for_each(|sum| _ = hasher.update(sum));
            }
        }
        shortened(&hasher)
    }
}

fn scalar_sum((kind, text): &(Kind, Cow<'_, str>)) -> Sum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[*kind as u8]).update(text.as_bytes());
    shortened(&hasher)
}

fn shortened(hasher: &blake3::Hasher) -> Sum {
    let mut sum = [0; 16];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// As EDN has it: the order in sets and maps does not count, nor does whether a sequence is a list or a vector, nor how a map's
/// keys share a namespace. Numbers are compared by their letters, so `1` is neither `1.0` nor `1N`.
impl<'b> PartialEq<Value<'_, 'b>> for Value<'_, '_> {
    fn eq(&self, other: &Value<'_, 'b>) -> bool {
        self.alone().sums()[0] == other.alone().sums()[0]
    }
}

impl<'a> Value<'_, 'a> {
    /// The value as a document of its own.
    pub fn alone(&self) -> Document<'a> {
        let node = self.node();
        let nodes = self.document.nodes[self.at as usize..node.next as usize]
            .iter()
            .map(|inner| Node { next: inner.next - self.at, ..*inner })
            .collect();
        Document { text: self.document.text, nodes }
    }
}

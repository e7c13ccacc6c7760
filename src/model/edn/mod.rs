//! EDN, the notation of Clojure data, as it is written: every number keeps its letters, every map its order, every value its place
//! in the text.
//!
//! A [`Document`] is one value with all that is inside it, in the order of the text, as a flat list; a [`Value`] is a place in
//! it. Nothing here recurses, so that depth costs memory and never the stack. [`Writer`] and [`print`](Value::print) give the text
//! that Clojure's `pr-str` gives, [`pretty`](Value::pretty) that of its `pprint`, [`to_json`](Value::to_json) JSON for those who have no EDN.
//!
//! ```
//! use headwater::model::edn::Document;
//! let document = Document::read(b"#:turn{:id 4, :cost 9.37E-4, :tags #{:a :b}}")?;
//! let turn = document.root();
//! assert_eq!(turn.get("turn/id").and_then(|id| id.whole()), Some(4));
//! assert_eq!(turn.get("turn/cost").map(|cost| cost.text()), Some("9.37E-4"));
//! assert!(turn == Document::read(b"{:turn/tags #{:b :a} :turn/cost 9.37E-4 :turn/id 4}")?.root());
//! # Ok::<(), headwater::model::edn::ReadError>(())
//! ```
//!
//! What is read: the edn format's own description, and what Clojure's reader of it adds: ratios, namespaced maps, `##Inf`,
//! numbers with a radix. What is not: metadata, and all that only code may hold (`#(`, `#"`, `'x`, `::x`).

mod json;
mod pretty;
mod read;
mod token;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use read::{MAX_VALUES, read_prefix};
pub use value::{Entries, Items, Value};
pub use write::Writer;

/// One value and all that is inside it.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    text: &'a str,
    /// In the order of the text, so that what is inside a value follows it.
    nodes: Vec<Node>,
}

/// A value's place in the text, and in the list of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    kind: Kind,
    start: u32,
    end: u32,
    /// The first node that is not inside this one.
    next: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Boolean,
    /// A whole number, in any radix, with or without `N`.
    Integer,
    /// A decimal, with or without `M`.
    Float,
    /// `1/3`.
    Ratio,
    /// `##Inf`, `##-Inf`, `##NaN`.
    Symbolic,
    /// A character, `\a`.
    Character,
    /// A string.
    String,
    /// A keyword.
    Keyword,
    /// A symbol.
    Symbol,
    /// `( … )`.
    List,
    /// `[ … ]`.
    Vector,
    /// `#{ … }`.
    Set,
    /// `{ … }`.
    Map,
    /// `#:ns{ … }`: keys without a namespace have this one, those of the namespace `_` have none.
    NamespacedMap,
    /// `#tag value`.
    Tagged,
}

impl Kind {
    /// Whether values are inside it.
    pub fn is_collection(self) -> bool {
        matches!(self, Kind::List | Kind::Vector | Kind::Set | Kind::Map | Kind::NamespacedMap | Kind::Tagged)
    }
}

/// Why a text is not EDN. Offsets are bytes, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct ReadError {
    /// Where.
    pub at: usize,
    /// What is wrong.
    pub what: Wrong,
}

/// What can be wrong in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// It is not UTF-8.
    #[error("no UTF-8")]
    Utf8,
    /// It ends inside a value, or has none.
    #[error("the text ends too early")]
    End,
    /// More follows the value.
    #[error("more after the value")]
    Trailing,
    /// A bracket closes what another kind of bracket opened, or nothing.
    #[error("a bracket that closes nothing")]
    Bracket,
    /// It begins like a number and is none.
    #[error("no number")]
    Number,
    /// It is neither a symbol nor a keyword.
    #[error("no symbol or keyword")]
    Symbol,
    /// A character that has no such name.
    #[error("no character")]
    Character,
    /// An escape that strings do not have, or half of a surrogate pair.
    #[error("no escape of a string")]
    Escape,
    /// `#` and something that is not EDN, or metadata.
    #[error("a form that EDN does not have")]
    Dispatch,
    /// A tag, or `#_`, without its value.
    #[error("a tag without a value")]
    Tag,
    /// A map has a key without a value.
    #[error("a map with a key and no value")]
    Odd,
    /// A map has a key twice, or a set a member.
    #[error("a key or member that is there twice")]
    Duplicate,
    /// More than [`MAX_VALUES`] values, or 4 GiB.
    #[error("more than can be read")]
    TooLarge,
}

impl<'a> Document<'a> {
    /// Reads a text that is one value; white space, comments and discarded values may be around it.
    ///
    /// # Errors
    ///
    /// Where and why the text is not EDN.
    pub fn read(text: &'a [u8]) -> Result<Document<'a>, ReadError> {
        let (document, end) = read_prefix(text)?.ok_or(ReadError { at: text.len(), what: Wrong::End })?;
        match read_prefix(&text[end..]) {
            Ok(None) => Ok(document),
            Ok(Some(_)) => Err(ReadError { at: end, what: Wrong::Trailing }),
            Err(error) => Err(ReadError { at: end + error.at, ..error }),
        }
    }

    /// The value.
    pub fn root(&self) -> Value<'_, 'a> {
        Value { document: self, at: 0, namespace: None }
    }

    fn node(&self, at: u32) -> Node {
        // A place is only made from this document's own list.
        self.nodes[at as usize]
    }

    fn text_of(&self, node: Node) -> &'a str {
        &self.text[node.start as usize..node.end as usize]
    }

    /// Of a namespaced map: its namespace.
    fn namespace(&self, node: Node) -> Option<&'a str> {
        let text = self.text_of(node).strip_prefix("#:")?;
        let end = text.find(|letter| letter == '{' || token::is_space(letter))?;
        Some(&text[..end])
    }
}

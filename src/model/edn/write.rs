//! Values to text, as Clojure's `pr-str` prints them.

use super::{Kind, Value};

/// Makes EDN text, value by value: a comma after each entry of a map, a space between other values.
///
/// ```
/// use headwater::model::edn::Writer;
/// let mut edn = Writer::new();
/// edn.begin_map().keyword("event/id").number(1).keyword("note").string("a \"b\"").end();
/// assert_eq!(edn.finish(), r#"{:event/id 1, :note "a \"b\""}"#);
/// ```
#[derive(Debug, Default, Clone)]
pub struct Writer {
    out: String,
    /// What is open: its closing bracket, whether it is a map, and how many values are in it.
    open: Vec<(char, bool, usize)>,
    /// A tag waits for its value.
    tagged: bool,
}

impl Writer {
    /// An empty text.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// The text. Whatever is open is closed.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }

    fn separate(&mut self) {
        if std::mem::take(&mut self.tagged) {
            self.out.push(' ');
            return;
        }
        if let Some((_, is_map, count)) = self.open.last_mut() {
            if *count > 0 {
                self.out.push_str(if *is_map && *count % 2 == 0 { ", " } else { " " });
            }
            *count += 1;
        } else if !self.out.is_empty() {
            self.out.push(' ');
        }
    }

    fn begin(&mut self, open: &str, close: char, is_map: bool) -> &mut Writer {
        self.separate();
        self.out.push_str(open);
        self.open.push((close, is_map, 0));
        self
    }

    /// Opens a map.
    pub fn begin_map(&mut self) -> &mut Writer {
        self.begin("{", '}', true)
    }

    /// Opens a map whose keys have that namespace where they are given without one.
    pub fn begin_namespaced_map(&mut self, namespace: &str) -> &mut Writer {
        self.begin(&format!("#:{namespace}{{"), '}', true)
    }

    /// Opens a vector.
    pub fn begin_vector(&mut self) -> &mut Writer {
        self.begin("[", ']', false)
    }

    /// Opens a list.
    pub fn begin_list(&mut self) -> &mut Writer {
        self.begin("(", ')', false)
    }

    /// Opens a set.
    pub fn begin_set(&mut self) -> &mut Writer {
        self.begin("#{", '}', false)
    }

    /// Closes what was opened last; nothing where nothing is open.
    pub fn end(&mut self) -> &mut Writer {
        if let Some((close, _, _)) = self.open.pop() {
            self.out.push(close);
        }
        self
    }

    /// A text that is EDN already: a value, or a key.
    pub fn raw(&mut self, edn: &str) -> &mut Writer {
        self.separate();
        self.out.push_str(edn);
        self
    }

    /// A keyword, given without its colon.
    pub fn keyword(&mut self, name: &str) -> &mut Writer {
        self.separate();
        self.out.push(':');
        self.out.push_str(name);
        self
    }

    /// A string.
    pub fn string(&mut self, text: &str) -> &mut Writer {
        self.separate();
        write_string(&mut self.out, text);
        self
    }

    /// A whole number.
    pub fn number(&mut self, number: u64) -> &mut Writer {
        self.raw(&number.to_string())
    }

    /// `nil`.
    pub fn nil(&mut self) -> &mut Writer {
        self.raw("nil")
    }

    /// A tag for the value that comes next, given without `#`.
    pub fn tag(&mut self, tag: &str) -> &mut Writer {
        self.separate();
        self.out.push('#');
        self.out.push_str(tag);
        self.tagged = true;
        self
    }
}

/// A string as Clojure prints it: only quotes, backslashes and five control characters are escaped.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\u{8}' => out.push_str("\\b"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A character as Clojure prints it.
pub(super) fn write_character(out: &mut String, letter: char) {
    out.push('\\');
    match letter {
        '\n' => out.push_str("newline"),
        ' ' => out.push_str("space"),
        '\t' => out.push_str("tab"),
        '\u{8}' => out.push_str("backspace"),
        '\u{c}' => out.push_str("formfeed"),
        '\r' => out.push_str("return"),
        other => out.push(other),
    }
}

impl Value<'_, '_> {
    /// The value without comments and discarded values, strings and characters as Clojure prints them; numbers, names and the way
    /// maps are written stay.
    pub fn print(&self) -> String {
        let document = self.document;
        let mut writer = Writer::new();
        let mut ends = Vec::new();
        let mut scratch = String::new();
        for at in self.at..self.node().next {
            while ends.last() == Some(&at) {
                ends.pop();
                writer.end();
            }
            let node = document.node(at);
            let text = document.text_of(node);
            let value = Value { document, at, namespace: None };
            scratch.clear();
            match node.kind {
                Kind::List => _ = writer.begin_list(),
                Kind::Vector => _ = writer.begin_vector(),
                Kind::Set => _ = writer.begin_set(),
                Kind::Map => _ = writer.begin_map(),
                Kind::NamespacedMap => {
                    _ = writer.begin_namespaced_map(document.namespace(node).unwrap_or_default());
                }
                Kind::Tagged => _ = writer.tag(super::token::take(&text[1..])),
                Kind::String => _ = writer.string(&value.string().unwrap_or_default()),
                Kind::Character => {
                    value.character().into_iter().for_each(|letter| write_character(&mut scratch, letter));
                    writer.raw(&scratch);
                }
                _ => _ = writer.raw(text),
            }
            if node.kind.is_collection() && node.kind != Kind::Tagged {
                ends.push(node.next);
            }
        }
        writer.finish()
    }
}

//! EDN as JSON, for those who have no EDN. One way only: what JSON has no word for becomes a text or a list.

use std::collections::HashSet;

use super::{Kind, Value};

impl Value<'_, '_> {
    /// The value as JSON text.
    ///
    /// `nil` is `null`; numbers that JSON has stay letter by letter, others become strings; keywords become strings with their
    /// colon, symbols and characters strings; lists, vectors and sets become arrays. A map becomes an object if its keys are strings,
    /// keywords or symbols that stay apart as names (a keyword's without colon), else an array of pairs. A tagged value becomes an
    /// object with the one name `#tag`.
    pub fn to_json(&self) -> String {
        let document = self.document;
        let mut out = String::new();
        let mut open: Vec<Frame> = Vec::new();
        for at in self.at..self.node().next {
            close(&mut out, &mut open, at);
            let node = document.node(at);
            let (is_name, namespace) = separate(&mut out, &mut open);
            let value = Value { document, at, namespace: namespace.then(|| parent_namespace(self, &open)).flatten() };
            if is_name {
                push(&mut out, &name(&value).unwrap_or_default());
                continue;
            }
            let is_pairs = |value: &Value<'_, '_>| !names_stay_apart(value);
            match node.kind {
                Kind::List | Kind::Vector | Kind::Set => {
                    frame(&mut out, &mut open, "[", "]", Form::Array, at, node.next)
                }
                Kind::Map | Kind::NamespacedMap if is_pairs(&value) => {
                    frame(&mut out, &mut open, "[", "]", Form::Pairs, at, node.next);
                }
                Kind::Map | Kind::NamespacedMap => frame(&mut out, &mut open, "{", "}", Form::Object, at, node.next),
                Kind::Tagged => {
                    let tag = format!("#{}", value.tagged().map_or("", |(tag, _)| tag));
                    out.push('{');
                    push(&mut out, &tag);
                    out.push(':');
                    open.push(Frame { form: Form::Tagged, close: "}", at, end: node.next, items: 0 });
                }
                _ => scalar(&mut out, &value),
            }
        }
        close(&mut out, &mut open, u32::MAX);
        out
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Array,
    Object,
    Pairs,
    Tagged,
}

struct Frame {
    form: Form,
    close: &'static str,
    at: u32,
    end: u32,
    items: usize,
}

fn frame(out: &mut String, open: &mut Vec<Frame>, begin: &str, close: &'static str, form: Form, at: u32, end: u32) {
    out.push_str(begin);
    open.push(Frame { form, close, at, end, items: 0 });
}

/// Closes what ends before the value at `at`.
fn close(out: &mut String, open: &mut Vec<Frame>, at: u32) {
    while let Some(frame) = open.pop_if(|frame| frame.end <= at) {
        if frame.form == Form::Pairs && frame.items > 0 {
            out.push(']');
        }
        out.push_str(frame.close);
    }
}

/// What stands between the value before and this one; whether this one is an object's name, and whether it is a key.
fn separate(out: &mut String, open: &mut [Frame]) -> (bool, bool) {
    let Some(frame) = open.last_mut() else { return (false, false) };
    let is_key = frame.items % 2 == 0 && matches!(frame.form, Form::Object | Form::Pairs);
    out.push_str(match (frame.form, frame.items) {
        (Form::Pairs, 0) => "[",
        (Form::Pairs, items) if items % 2 == 0 => "],[",
        (Form::Object, items) if items % 2 == 1 => ":",
        (_, 0) => "",
        _ => ",",
    });
    frame.items += 1;
    (is_key && frame.form == Form::Object, is_key)
}

fn parent_namespace<'a>(value: &Value<'_, 'a>, open: &[Frame]) -> Option<&'a str> {
    let node = value.document.node(open.last()?.at);
    if node.kind == Kind::NamespacedMap { value.document.namespace(node) } else { None }
}

fn name(key: &Value<'_, '_>) -> Option<String> {
    key.name().or_else(|| key.string()).map(std::borrow::Cow::into_owned)
}

fn names_stay_apart(map: &Value<'_, '_>) -> bool {
    let mut seen = HashSet::new();
    map.entries().all(|(key, _)| name(&key).is_some_and(|name| seen.insert(name)))
}

fn scalar(out: &mut String, value: &Value<'_, '_>) {
    let text = value.text();
    match value.kind() {
        Kind::Nil => out.push_str("null"),
        Kind::Boolean => out.push_str(text),
        Kind::Integer | Kind::Float if is_json_number(text) => out.push_str(text),
        Kind::String => push(out, &value.string().unwrap_or_default()),
        Kind::Character => push(out, &value.character().into_iter().collect::<String>()),
        Kind::Keyword => push(out, &format!(":{}", value.name().unwrap_or_default())),
        _ => push(out, text),
    }
}

/// JSON has no sign before a positive number, no zero before other digits, and digits on both sides of a point.
fn is_json_number(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

fn push(out: &mut String, text: &str) {
    // A text into memory: cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

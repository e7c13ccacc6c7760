//! Where the messages of a chat lie that is one JSON object. The file is scanned, never held: what is told of it is where its
//! parts begin, and the few short values that say whose it is.

use std::io::{self, BufRead};

use crate::exchange::json::{BYTE_ORDER_MARK, compact};

/// The values that are kept, by their names, and how long they may be.
const KEPT: [&str; 4] = ["sessionId", "projectHash", "startTime", "kind"];
const MAX_VALUE: usize = 4_096;
/// How the header of a subagent's chat ends.
pub const OF_SUBAGENT: &[u8] = b",\"kind\":\"subagent\"}";
/// Longer names are none of ours.
const MAX_NAME: usize = 64;

/// A chat's object in its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where the first message begins: behind the bracket of the last `messages` array.
    pub first: u64,
    /// Where the last whole message ends, white space behind it apart; the same as `first` where there is none.
    pub last: u64,
    /// The length of the file.
    pub length: u64,
    /// The kept values as they are written, in the order of [`KEPT`].
    pub values: [Option<String>; 4],
}

impl Layout {
    /// Whose it is, as the first record of its stream: an object of the kept values. Files mostly have their kind behind their messages,
    /// where one that was not written to its end has none yet, and older versions wrote none: only a subagent's is told.
    pub fn header(&self) -> String {
        let values = KEPT.iter().zip(&self.values).filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let values = values.filter(|(name, value)| **name != "kind" || value.as_str() == "\"subagent\"");
        let fields: Vec<String> = values.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// Whether [`scan`] would find a chat; reads no more than tells.
pub fn is_chat(mut input: impl BufRead) -> io::Result<bool> {
    let mut scan = Scan::default();
    loop {
        let chunk = input.fill_buf()?;
        // A file of one line may have others behind it.
        let is_certain = scan.has_messages && scan.has_line && scan.has_id();
        if chunk.is_empty() || is_certain {
            return Ok(is_certain || scan.finish().is_some());
        }
        let length = chunk.len();
        if !scan.take(chunk) {
            return Ok(false);
        }
        input.consume(length);
    }
}

/// Reads a file: none where it is no object with a `sessionId` and `messages`, or one with others on lines behind it.
pub fn scan(mut input: impl BufRead) -> io::Result<Option<Layout>> {
    let mut scan = Scan::default();
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let length = chunk.len();
        if !scan.take(chunk) {
            return Ok(None);
        }
        input.consume(length);
    }
    Ok(scan.finish())
}

/// Where in the text the scan is.
#[derive(Default)]
struct Scan {
    at: u64,
    layout: Layout,
    has_messages: bool,
    has_line: bool,
    in_string: bool,
    is_escaped: bool,
    depth: u64,
    /// Whether the object has ended, and whether other than white space followed.
    is_closed: bool,
    has_more: bool,
    /// The name of the member at depth 1, and its value as far as that is kept.
    name: Vec<u8>,
    value: Option<Vec<u8>>,
    is_value: bool,
    in_messages: bool,
    /// Where the message ends that is being read, once it has ended.
    ended: Option<u64>,
}

impl Scan {
    /// Takes in some bytes; false once it can be no chat.
    fn take(&mut self, chunk: &[u8]) -> bool {
        let mut at = 0;
        while at < chunk.len() {
            if self.in_string {
                at += self.string(&chunk[at..]);
                continue;
            }
            let byte = chunk[at];
            let here = self.at;
            (self.at, at) = (here + 1, at + 1);
            if self.is_closed {
                self.has_more |= !byte.is_ascii_whitespace();
                // Other objects on lines of their own: that is the newer form.
                if self.has_more && !self.has_line {
                    return false;
                }
                continue;
            }
            if self.depth == 0 && byte != b'{' {
                let is_mark = usize::try_from(here).is_ok_and(|here| BYTE_ORDER_MARK.get(here) == Some(&byte));
                if !byte.is_ascii_whitespace() && !is_mark {
                    return false;
                }
                continue;
            }
            self.structure(byte, here);
        }
        true
    }

    /// Passes over a string as far as it reaches; gives how many bytes that is.
    fn string(&mut self, bytes: &[u8]) -> usize {
        let mut at = usize::from(std::mem::take(&mut self.is_escaped));
        while let Some(found) = bytes[at.min(bytes.len())..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            let escapes = bytes[at + found] == b'\\';
            at += found + 1;
            if !escapes {
                self.in_string = false;
                break;
            }
            self.is_escaped = at == bytes.len();
            at += 1;
        }
        if self.in_string {
            at = bytes.len();
        }
        self.keep(&bytes[..at]);
        self.at += at as u64;
        if !self.in_string && self.in_messages && self.depth == 2 {
            self.ended = Some(self.at);
        }
        at
    }

    /// Adds to the name or value of a member, if it is one that is kept.
    fn keep(&mut self, bytes: &[u8]) {
        if self.depth != 1 {
            return;
        }
        if self.is_value {
            if let Some(value) = &mut self.value {
                value.extend_from_slice(&bytes[..bytes.len().min(MAX_VALUE + 1 - value.len().min(MAX_VALUE + 1))]);
            }
        } else {
            self.name.extend_from_slice(&bytes[..bytes.len().min(MAX_NAME + 1 - self.name.len().min(MAX_NAME + 1))]);
        }
    }

    fn structure(&mut self, byte: u8, here: u64) {
        match byte {
            b'"' => {
                self.in_string = true;
                self.keep(b"\"");
            }
            b'{' | b'[' => {
                if self.depth == 1 && self.is_value {
                    self.value = None;
                    if byte == b'[' && self.name == b"\"messages\"" {
                        (self.in_messages, self.has_messages, self.ended) = (true, true, None);
                        (self.layout.first, self.layout.last) = (here + 1, here + 1);
                    }
                }
                self.depth += 1;
            }
            b'}' | b']' => self.close(here),
            b',' if self.depth == 1 => self.member_ends(),
            b',' if self.in_messages && self.depth == 2 => self.message_ends(),
            b':' if self.depth == 1 && !self.is_value => {
                self.is_value = true;
                self.value = Some(Vec::new());
            }
            b'\n' => self.has_line = true,
            byte if byte.is_ascii_whitespace() => {}
            byte => {
                self.keep(&[byte]);
                if self.in_messages && self.depth == 2 {
                    self.ended = Some(here + 1);
                }
            }
        }
    }

    fn close(&mut self, here: u64) {
        if self.in_messages && self.depth == 2 {
            self.message_ends();
            self.in_messages = false;
        }
        if self.depth == 1 {
            self.member_ends();
            self.is_closed = true;
        }
        self.depth -= 1;
        if self.in_messages && self.depth == 2 {
            self.ended = Some(here + 1);
        }
    }

    fn message_ends(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.layout.last = ended;
        }
    }

    fn member_ends(&mut self) {
        let name = std::mem::take(&mut self.name);
        self.is_value = false;
        let Some(value) = self.value.take().filter(|value| value.len() <= MAX_VALUE) else { return };
        let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or_default();
        let Some(at) = KEPT.iter().position(|kept| kept.as_bytes() == name) else { return };
        // The last one counts, as for the program itself.
        self.layout.values[at] = String::from_utf8(compact(&value))
            .ok()
            .filter(|value| serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok());
    }

    fn has_id(&self) -> bool {
        self.layout.values[0].as_ref().is_some_and(|value| value.starts_with('"'))
    }

    fn finish(mut self) -> Option<Layout> {
        // A file that ends within its messages, behind a whole one.
        if self.in_messages && self.depth == 2 && !self.in_string {
            self.message_ends();
        }
        self.layout.length = self.at;
        (self.has_messages && self.has_id()).then_some(self.layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(String, String, String)> {
        // In chunks of each size: no place is special.
        let all: Vec<_> = [1, 2, 3, 7, 4_096]
            .into_iter()
            .map(|size| scan(io::BufReader::with_capacity(size, text.as_bytes())).unwrap())
            .collect();
        assert!(all.windows(2).all(|two| two[0] == two[1]), "{text}");
        let layout = all.into_iter().next().flatten()?;
        assert_eq!(layout.length, text.len() as u64);
        let place = |at: u64| usize::try_from(at).unwrap();
        let messages = &text[place(layout.first)..place(layout.last)];
        Some((layout.header(), messages.to_owned(), text[place(layout.last)..].to_owned()))
    }

    fn found(header: &str, messages: &str, rest: &str) -> Option<(String, String, String)> {
        Some((header.to_owned(), messages.to_owned(), rest.to_owned()))
    }

    #[test]
    fn the_messages_are_found_wherever_they_stand() {
        let header = r#"{"sessionId":"s","startTime":"t"}"#;
        let text = "{\n \"sessionId\" : \"s\", \"x\": {\"messages\": [3]}, \"messages\": [ {\"a\":\"],}\"} , {} ], \"startTime\": \"t\"}\n";
        assert_eq!(of(text), found(header, " {\"a\":\"],}\"} , {}", " ], \"startTime\": \"t\"}\n"));
        let text = r#"{"messages":[],"startTime":"t","sessionId":"r","sessionId":"s"}"#;
        assert_eq!(of(text), found(header, "", r#"],"startTime":"t","sessionId":"r","sessionId":"s"}"#));
        let twice = r#"{"sessionId":"s","startTime":"t","messages":[{}],"messages":[1,"x"]}"#;
        assert_eq!(of(twice), found(header, "1,\"x\"", "]}"));
    }

    #[test]
    fn a_file_that_ends_in_the_middle_has_its_whole_messages() {
        let start = r#"{"sessionId":"s","messages":[{"a":1}"#;
        let header = r#"{"sessionId":"s"}"#;
        for (rest, tail) in
            [("", ""), (",", ","), (", {\"b\":", ", {\"b\":"), (" , \"x", " , \"x"), ("]", "]"), (",{},", ",")]
        {
            let messages = if rest.starts_with(",{}") { r#"{"a":1},{}"# } else { r#"{"a":1}"# };
            assert_eq!(of(&format!("{start}{rest}")), found(header, messages, tail), "{rest}");
        }
        assert_eq!(of(r#"{"sessionId":"s","messages":[{"a":1"#), found(header, "", "{\"a\":1"));
    }

    #[test]
    fn what_is_no_chat_is_told_apart() {
        for text in [
            "",
            "[]",
            "x",
            "{}",
            r#"{"sessionId":"s"}"#,
            r#"{"sessionId":1,"messages":[]}"#,
            r#"{"messages":[]}"#,
            r#"{"sessionId":"s","messages":{}}"#,
            "{\"sessionId\":\"s\",\"messages\":[]}\n{\"id\":\"m\"}\n",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}

//! The terminal the output goes to, if it is one: how wide it is, and a guard that lets nothing reach it which would
//! make it do more than show text.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use super::width;

/// Whether stdout is a terminal.
pub fn is_one() -> bool {
    io::stdout().is_terminal()
}

/// How many columns text may take: those of the terminal, or as many as `COLUMNS` says, which also holds in a pipe.
/// None where nobody sets a limit.
pub fn columns() -> Option<usize> {
    static COLUMNS: OnceLock<Option<usize>> = OnceLock::new();
    *COLUMNS.get_or_init(|| {
        let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        told.filter(|columns| *columns > 0).or_else(|| columns_of(io::stdout()))
    })
}

/// How many columns `stream` has, if it is a terminal that knows it.
pub fn columns_of(stream: impl IsTerminal + AsFd) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(&stream).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// What may pass a [`Guard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Every byte.
    All,
    /// Text, line ends, and codes that only colour.
    Coloured,
    /// Text and line ends.
    Plain,
    /// The same, and what may not pass is written as JSON writes it: the value stays what it is.
    Json,
}

/// Lets through what a terminal only shows.
pub struct Guard<W: Write> {
    out: W,
    pass: Pass,
    /// The start of a character or code whose rest is not there yet.
    held: Vec<u8>,
}

impl<W: Write> Guard<W> {
    pub fn new(out: W, pass: Pass) -> Guard<W> {
        Guard { out, pass, held: Vec::new() }
    }

    /// What may pass of `held`; with `last`, all of it is looked at, else an unfinished end is kept.
    fn passed(&mut self, last: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(held.len());
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let valid = match std::str::from_utf8(rest) {
                Ok(text) => text,
                Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
            };
            let used = self.text(valid, last, &mut out);
            if used < valid.len() {
                self.held = rest[used..].to_vec();
                return out.into_bytes();
            }
            rest = &rest[valid.len()..];
            if rest.is_empty() {
                break;
            }
            match std::str::from_utf8(rest).map_err(|error| error.error_len()) {
                Err(None) if !last => {
                    self.held = rest.to_vec();
                    return out.into_bytes();
                }
                Err(bad) => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[bad.unwrap_or(rest.len())..];
                }
                Ok(_) => {}
            }
        }
        out.into_bytes()
    }

    /// Takes what may pass of `text` over to `out`; how many bytes were looked at.
    fn text(&self, text: &str, last: bool, out: &mut String) -> usize {
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let mut taken = c.len_utf8();
            match c {
                '\n' | '\t' => out.push(c),
                '\r' if rest.len() == 1 && !last => return at,
                '\r' if rest.starts_with("\r\n") => out.push(c),
                '\u{1b}' if self.pass == Pass::Coloured => {
                    let code =
                        rest[1..].trim_start_matches('[').trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
                    let colours = rest.starts_with("\u{1b}[") && code.starts_with('m');
                    if code.is_empty() && !last {
                        return at;
                    }
                    if colours {
                        taken = rest.len() - code.len() + 1;
                        out.push_str(&rest[..taken]);
                    } else {
                        out.push(char::REPLACEMENT_CHARACTER);
                    }
                }
                c if !width::is_unseen(c) => out.push(c),
                c if self.pass == Pass::Json => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                _ => out.push(char::REPLACEMENT_CHARACTER),
            }
            at += taken;
        }
        at
    }
}

impl<W: Write> Write for Guard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pass == Pass::All {
            return self.out.write(bytes);
        }
        self.held.extend_from_slice(bytes);
        let passed = self.passed(false);
        self.out.write_all(&passed)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            let passed = self.passed(true);
            self.out.write_all(&passed)?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes, written in pieces of `size` bytes.
    fn passed(pass: Pass, bytes: &[u8], size: usize) -> String {
        let mut guard = Guard::new(Vec::new(), pass);
        for piece in bytes.chunks(size) {
            guard.write_all(piece).unwrap();
        }
        guard.flush().unwrap();
        String::from_utf8(guard.out).unwrap()
    }

    #[test]
    fn only_colours_reach_a_terminal_however_the_text_comes_in() {
        let text = "\u{1b}[1;31mréd\u{1b}[0m \u{1b}]0;title\u{7}\u{1b}[2J\u{9b}5n\r\n\rx日";
        for size in [1, 2, 3, 100] {
            let coloured = "\u{1b}[1;31mréd\u{1b}[0m \u{fffd}]0;title\u{fffd}\u{fffd}[2J\u{fffd}5n\r\n\u{fffd}x日";
            assert_eq!(passed(Pass::Coloured, text.as_bytes(), size), coloured);
            let plain = "\u{fffd}[1;31mréd\u{fffd}[0m \u{fffd}]0;title\u{fffd}\u{fffd}[2J\u{fffd}5n\r\n\u{fffd}x日";
            assert_eq!(passed(Pass::Plain, text.as_bytes(), size), plain);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        for size in [1, 2, 100] {
            assert_eq!(passed(Pass::Plain, b"a\xffb\xe6\x97", size), "a\u{fffd}b\u{fffd}");
        }
        assert_eq!(passed(Pass::All, b"\x1b[2J", 1), "\x1b[2J");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = "a\u{9b}b\u{7f}\u{202e}日";
        let json = serde_json::to_string(value).unwrap();
        for size in [1, 100] {
            let shown = passed(Pass::Json, json.as_bytes(), size);
            assert_eq!(shown, "\"a\\u009bb\\u007f\\u202e日\"");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
        }
    }
}

//! Reading a source in bounded memory: a stream of records, with their places, that survives torn writes.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use serde_json::value::RawValue;

use super::json::beginning;
use super::source::{MAX_LINE, Part};
use super::sum::Sum;
use crate::model::Digest;

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub struct Syntax {
    /// How many bytes the first value of a text takes, which does not begin with white space; or why it is no record.
    pub value: fn(&[u8]) -> Result<usize, String>,
    /// Whether a value is a record beyond doubt, so that it is one even behind a torn one on the same line.
    pub is_certain: fn(&[u8]) -> bool,
}

/// Logs of JSON objects, none of them certain.
pub const JSON: Syntax = Syntax { value: json_object, is_certain: |_| false };

/// How many places behind a torn record are tried: each may cost the reading of the whole line.
const MAX_TRIES: usize = 32;

/// [`Syntax::value`] of logs of JSON objects.
///
/// # Errors
///
/// What is no JSON, or no object.
pub fn json_object(text: &[u8]) -> Result<usize, String> {
    match serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>().next() {
        Some(Ok(raw)) if raw.get().starts_with('{') => Ok(raw.get().len()),
        Some(Ok(_)) => Err("it is JSON, but no object".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("there is nothing in it".to_owned()),
    }
}

/// A place between two items, and the hash of all bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The bytes before it.
    pub bytes: u64,
    /// The line ends before it, in its file.
    pub lines: u64,
    /// BLAKE3 of those bytes.
    pub hash: Digest,
}

/// What a piece of the source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record,
    /// The rest of a line that is no record, and why.
    Bad(String),
    /// An empty line.
    Blank,
    /// The name of the file that begins here.
    Part,
    /// A line longer than [`MAX_LINE`]: [`Reader::long`] gives its bytes.
    Long,
    /// The last line, without a line end, is no record: a writer died in it.
    Torn,
}

/// A stream of items. Between two calls of [`Reader::advance`] the current item can be looked at.
pub struct Reader<'a> {
    parts: std::collections::VecDeque<Part>,
    input: Box<dyn BufRead + 'a>,
    syntax: Syntax,
    /// The name of the file that was opened, until it is an item.
    mark: Vec<u8>,
    /// Whether the file is one record.
    whole: bool,
    sum: Sum,
    /// Before the current item.
    bytes: u64,
    lines: u64,
    line: Vec<u8>,
    /// The current item's bytes in `line`, the white space around it included.
    item: Range<usize>,
    /// The record in `line`, without white space.
    record: Range<usize>,
    /// Records before the current one on this line.
    before: u64,
    /// Whether `line` is the beginning of a long one.
    is_long: bool,
    /// Whether the current item is the name of a file.
    is_part: bool,
}

impl<'a> Reader<'a> {
    /// Reads files one after another.
    pub fn of(parts: &[Part], syntax: Syntax) -> Reader<'a> {
        Reader { parts: parts.iter().cloned().collect(), syntax, ..Reader::over(io::empty()) }
    }

    /// Reads lines of `input`, from where it is.
    pub fn over(input: impl BufRead + 'a) -> Reader<'a> {
        Reader {
            parts: Default::default(),
            input: Box::new(input),
            syntax: JSON,
            mark: Vec::new(),
            whole: false,
            sum: Sum::default(),
            bytes: 0,
            lines: 0,
            line: Vec::new(),
            item: 0..0,
            record: 0..0,
            before: 0,
            is_long: false,
            is_part: false,
        }
    }

    /// Reads records of another syntax.
    pub fn with_syntax(self, syntax: Syntax) -> Reader<'a> {
        Reader { syntax, ..self }
    }

    /// Passes over the first `bytes`, hashing them. Fewer where the source is shorter.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            if !self.mark.is_empty() {
                let mark = std::mem::take(&mut self.mark);
                self.sum.update(&mark);
                self.bytes += mark.len() as u64;
                left = left.saturating_sub(mark.len() as u64);
                continue;
            }
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                if self.open_next()? {
                    continue;
                }
                break;
            }
            let take = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let chunk = &chunk[..take];
            self.sum.update(chunk);
            self.lines += count_lines(chunk);
            self.bytes += take as u64;
            left -= take as u64;
            self.before = u64::from(chunk.last() != Some(&b'\n'));
            self.input.consume(take);
        }
        Ok(())
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let Some(part) = self.parts.pop_front() else { return Ok(false) };
        self.input = part.open()?;
        self.mark = part.mark();
        self.whole = part.whole;
        (self.lines, self.before) = (0, 0);
        Ok(true)
    }

    /// The current item's bytes, the white space around it included.
    pub fn bytes(&self) -> &[u8] {
        &self.line[self.item.clone()]
    }

    /// The current record's or bad piece's bytes, without white space.
    pub fn record(&self) -> &[u8] {
        &self.line[self.record.clone()]
    }

    /// Where the record lies in [`Reader::bytes`].
    pub fn record_range(&self) -> Range<usize> {
        self.record.start - self.item.start..self.record.end - self.item.start
    }

    /// The line of the current item, from 1.
    pub fn line(&self) -> u64 {
        self.lines + 1
    }

    /// Records before the current one on its line.
    pub fn before_on_line(&self) -> u64 {
        self.before
    }

    /// Whether the current record has a line of its own.
    pub fn is_whole_line(&self) -> bool {
        self.before == 0 && self.item.end == self.line.len()
    }

    /// How many bytes lie before the current item.
    pub fn offset(&self) -> u64 {
        self.bytes
    }

    /// How many lines end before the end of the current item.
    pub fn lines_after(&self) -> u64 {
        self.lines + count_lines(self.bytes())
    }

    /// The place before the current item.
    pub fn position(&self) -> Position {
        Position { bytes: self.bytes, lines: self.lines, hash: self.sum.with(b"") }
    }

    /// The place after the current item, which must not be a long line.
    pub fn position_after(&self) -> Position {
        Position {
            bytes: self.bytes + self.item.len() as u64,
            lines: self.lines_after(),
            hash: self.sum.with(self.bytes()),
        }
    }

    /// Goes to the next item; `None` at the end.
    pub fn advance(&mut self) -> io::Result<Option<Item>> {
        if self.is_long {
            io::copy(&mut self.long(), &mut io::sink())?;
        }
        self.leave_item();
        if self.item.end < self.line.len() {
            return Ok(Some(self.next_piece()));
        }
        if self.bytes > 0 && self.line.last() == Some(&b'\n') {
            self.before = 0;
        }
        loop {
            (self.item, self.record) = (0..0, 0..0);
            self.line.clear();
            if !self.mark.is_empty() {
                self.line = std::mem::take(&mut self.mark);
                (self.item, self.record) = (0..self.line.len(), 0..0);
                self.is_part = true;
                return Ok(Some(Item::Part));
            }
            let mut limited = (&mut self.input).take(MAX_LINE as u64 + 1);
            let read = match self.whole {
                true => limited.read_to_end(&mut self.line)?,
                false => limited.read_until(b'\n', &mut self.line)?,
            };
            if read > 0 {
                break;
            }
            if !self.open_next()? {
                return Ok(None);
            }
        }
        if self.line.len() > MAX_LINE {
            self.is_long = true;
            return Ok(Some(Item::Long));
        }
        Ok(Some(self.next_piece()))
    }

    /// Counts and hashes the current item.
    fn leave_item(&mut self) {
        let bytes = &self.line[self.item.clone()];
        if bytes.is_empty() {
            return;
        }
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.lines += count_lines(bytes);
        self.before = if self.is_part { 0 } else { self.before + 1 };
        self.is_part = false;
    }

    /// The bytes of a long line: the current item is then behind, wherever the reading stopped.
    pub fn long(&mut self) -> LongLine<'_, 'a> {
        LongLine { reader: self, at: 0 }
    }

    /// The next piece of the line, which has bytes left.
    fn next_piece(&mut self) -> Item {
        let start = self.item.end;
        let rest = &self.line[start..];
        let end = self.line.len();
        let is_first = start == 0 && self.lines == 0 && self.before == 0;
        let trimmed = if is_first { beginning(rest) } else { rest.trim_ascii_start() };
        let at = end - trimmed.len();
        if trimmed.is_empty() {
            (self.item, self.record) = (start..end, end..end);
            return Item::Blank;
        }
        let ends_line = self.whole || rest.last() == Some(&b'\n');
        let why = match (self.syntax.value)(trimmed) {
            Ok(length) if length > 0 && at + length <= end => {
                let stop = at + length;
                // White space after the last record of a line belongs to it.
                let item_end = if self.line[stop..].trim_ascii_start().is_empty() { end } else { stop };
                (self.item, self.record) = (start..item_end, at..stop);
                return Item::Record;
            }
            Ok(_) => "there is nothing in it".to_owned(),
            Err(why) => why,
        };
        // Without a line end more may come: what looks like a record may be a part of one.
        if !ends_line {
            (self.item, self.record) = (start..end, at..at + trimmed.trim_ascii_end().len());
            return Item::Torn;
        }
        let length = self.certain_behind(trimmed).unwrap_or(trimmed.len());
        let end = at + length;
        (self.item, self.record) = (start..end, at..at + trimmed[..length].trim_ascii_end().len());
        Item::Bad(why)
    }

    /// Where in a line that begins with no record one begins which ends the line: a writer died in the first, and the
    /// next one appended.
    fn certain_behind(&self, text: &[u8]) -> Option<usize> {
        let text = text.trim_ascii_end();
        let places = text.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'{').map(|(at, _)| at);
        // A map in code or prose has no key behind its brace.
        let mut places = places.filter(|at| matches!(text[at + 1..].trim_ascii_start().first(), Some(b'"')));
        places.by_ref().take(MAX_TRIES).find(|at| {
            let rest = &text[*at..];
            (self.syntax.value)(rest) == Ok(rest.len()) && (self.syntax.is_certain)(rest)
        })
    }
}

/// A long line being read.
pub struct LongLine<'r, 'a> {
    reader: &'r mut Reader<'a>,
    at: usize,
}

impl Read for LongLine<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let reader = &mut *self.reader;
        if !reader.is_long || out.is_empty() {
            return Ok(0);
        }
        if self.at == reader.line.len() {
            let ended = !reader.whole && reader.line.last() == Some(&b'\n');
            reader.line.clear();
            self.at = 0;
            if !ended {
                let mut limited = (&mut reader.input).take(1 << 20);
                match reader.whole {
                    true => limited.read_to_end(&mut reader.line)?,
                    false => limited.read_until(b'\n', &mut reader.line)?,
                };
            }
            if reader.line.is_empty() {
                reader.is_long = false;
                (reader.item, reader.record) = (0..0, 0..0);
                return Ok(0);
            }
        }
        let read = (&reader.line[self.at..]).read(out)?;
        let bytes = &reader.line[self.at..self.at + read];
        reader.sum.update(bytes);
        reader.bytes += read as u64;
        reader.lines += count_lines(bytes);
        reader.before = u64::from(bytes.last() != Some(&b'\n'));
        self.at += read;
        Ok(read)
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;

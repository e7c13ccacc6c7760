//! Reading a foreign file in bounded memory: a stream of records, with their places, that survives torn writes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde_json::value::RawValue;

use super::ImportError;
use crate::model::Digest;

/// The longest line that is read.
pub const MAX_LINE: usize = 64 * 1024 * 1024;

/// Opens a regular file; links, devices and folders are refused, and a fifo is not waited for.
pub fn open(path: &Path) -> Result<File, ImportError> {
    let io = |source| ImportError::Io { path: path.to_owned(), source };
    let not_a_file = |what| ImportError::NotAFile { path: path.to_owned(), what };
    if std::fs::symlink_metadata(path).map_err(io)?.is_symlink() {
        return Err(not_a_file("a symbolic link"));
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let kind = file.metadata().map_err(io)?.file_type();
    if kind.is_file() {
        Ok(file)
    } else {
        Err(not_a_file(if kind.is_dir() { "a folder" } else { "a device, socket or pipe" }))
    }
}

/// A place between two items, and the hash of all bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The bytes before it.
    pub bytes: u64,
    /// The line ends before it.
    pub lines: u64,
    /// BLAKE3 of those bytes.
    pub hash: Digest,
}

/// What a piece of the source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A JSON object.
    Record,
    /// The rest of a line that is no record, and why.
    Bad(String),
    /// An empty line.
    Blank,
    /// A line longer than [`MAX_LINE`]; its bytes were passed over.
    Long,
    /// The last line, without a line end, is no record: a writer died in it.
    Torn,
}

/// A stream of items. Between two calls of [`Reader::advance`] the current item can be looked at.
pub struct Reader<R> {
    input: R,
    hasher: blake3::Hasher,
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
}

impl Reader<BufReader<File>> {
    /// Reads from the start.
    pub fn new(mut file: File) -> io::Result<Reader<BufReader<File>>> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Reader::over(BufReader::with_capacity(256 * 1024, file)))
    }

    /// Passes over the first `bytes`, hashing them. Fewer where the file is shorter.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let take = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let chunk = &chunk[..take];
            self.hasher.update(chunk);
            self.lines += count_lines(chunk);
            self.bytes += take as u64;
            left -= take as u64;
            self.before = u64::from(chunk.last() != Some(&b'\n'));
            self.input.consume(take);
        }
        Ok(())
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads `input` from where it is.
    pub fn over(input: R) -> Reader<R> {
        Reader {
            input,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            lines: 0,
            line: Vec::new(),
            item: 0..0,
            record: 0..0,
            before: 0,
        }
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

    /// The place before the current item.
    pub fn position(&self) -> Position {
        Position { bytes: self.bytes, lines: self.lines, hash: finish(&self.hasher) }
    }

    /// The place after the current item.
    pub fn position_after(&self) -> Position {
        let mut hasher = self.hasher.clone();
        hasher.update(self.bytes());
        Position {
            bytes: self.bytes + self.item.len() as u64,
            lines: self.lines + count_lines(self.bytes()),
            hash: finish(&hasher),
        }
    }

    /// Goes to the next item; `None` at the end.
    pub fn advance(&mut self) -> io::Result<Option<Item>> {
        self.leave_item();
        if self.item.end == self.line.len() {
            if self.bytes > 0 && self.ended_line() {
                self.before = 0;
            }
            self.item = 0..0;
            self.line.clear();
            let limit = MAX_LINE as u64 + 1;
            let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            if self.line.len() > MAX_LINE {
                self.pass_long_line()?;
                return Ok(Some(Item::Long));
            }
        }
        Ok(Some(self.next_piece()))
    }

    /// Counts and hashes the current item.
    fn leave_item(&mut self) {
        let bytes = &self.line[self.item.clone()];
        if bytes.is_empty() {
            return;
        }
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.lines += count_lines(bytes);
        self.before += 1;
    }

    fn ended_line(&self) -> bool {
        // An empty buffer follows `skip`, which set `before` itself.
        self.line.last() == Some(&b'\n')
    }

    fn pass_long_line(&mut self) -> io::Result<()> {
        loop {
            self.hasher.update(&self.line);
            self.bytes += self.line.len() as u64;
            let ended = self.line.last() == Some(&b'\n');
            self.line.clear();
            if ended {
                self.lines += 1;
                break;
            }
            if (&mut self.input).take(1 << 20).read_until(b'\n', &mut self.line)? == 0 {
                break;
            }
        }
        self.item = 0..0;
        self.record = 0..0;
        self.before = 0;
        Ok(())
    }

    /// The next piece of the line, which has bytes left.
    fn next_piece(&mut self) -> Item {
        let start = self.item.end;
        let rest = &self.line[start..];
        let end = self.line.len();
        let trimmed = rest.trim_ascii_start();
        let at = end - trimmed.len();
        if trimmed.is_empty() {
            (self.item, self.record) = (start..end, end..end);
            return Item::Blank;
        }
        let ends_line = rest.last() == Some(&b'\n');
        let parsed = serde_json::Deserializer::from_slice(trimmed).into_iter::<&RawValue>().next();
        let why = match parsed {
            Some(Ok(raw)) if raw.get().starts_with('{') => {
                let stop = at + raw.get().len();
                // White space after the last record of a line belongs to it.
                let item_end = if self.line[stop..].trim_ascii_start().is_empty() { end } else { stop };
                (self.item, self.record) = (start..item_end, at..stop);
                return Item::Record;
            }
            Some(Ok(_)) => "it is JSON, but no object".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "there is nothing in it".to_owned(),
        };
        (self.item, self.record) = (start..end, at..at + trimmed.trim_ascii_end().len());
        if ends_line { Item::Bad(why) } else { Item::Torn }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn finish(hasher: &blake3::Hasher) -> Digest {
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &[u8]) -> Vec<(Item, String, u64)> {
        let mut reader = Reader::over(text);
        let mut all = Vec::new();
        let mut seen = Vec::new();
        while let Some(item) = reader.advance().unwrap() {
            assert_eq!(reader.position().bytes as usize, seen.len());
            assert_eq!(reader.position().hash, Digest::of(&seen));
            seen.extend_from_slice(reader.bytes());
            assert_eq!(reader.position_after().hash, Digest::of(&seen));
            let item = match item {
                Item::Bad(_) => Item::Bad(String::new()),
                other => other,
            };
            all.push((item, String::from_utf8_lossy(reader.record()).into_owned(), reader.line()));
        }
        assert_eq!(seen, text);
        all
    }

    #[test]
    fn records_are_found_wherever_a_torn_write_left_them() {
        let bad = || Item::Bad(String::new());
        assert_eq!(items(b""), []);
        assert_eq!(items(b"{\"a\":1}"), [(Item::Record, "{\"a\":1}".to_owned(), 1)]);
        assert_eq!(
            items(b"{\"a\":1}\r\n\n {\"b\":2} {\"c\":\"}\"}{}\n{\"x\n3\n{\"d\":1"),
            [
                (Item::Record, "{\"a\":1}".to_owned(), 1),
                (Item::Blank, String::new(), 2),
                (Item::Record, "{\"b\":2}".to_owned(), 3),
                (Item::Record, "{\"c\":\"}\"}".to_owned(), 3),
                (Item::Record, "{}".to_owned(), 3),
                (bad(), "{\"x".to_owned(), 4),
                (bad(), "3".to_owned(), 5),
                (Item::Torn, "{\"d\":1".to_owned(), 6),
            ]
        );
        assert_eq!(
            items(b"{\"a\":1}{\"b\n{\"c\xff\":1}\n\0\0"),
            [
                (Item::Record, "{\"a\":1}".to_owned(), 1),
                (bad(), "{\"b".to_owned(), 1),
                (bad(), "{\"c\u{fffd}\":1}".to_owned(), 2),
                (Item::Torn, "\0\0".to_owned(), 3),
            ]
        );
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let deep = format!("{}{}{}\n{{\"a\":1}}\n", "{\"a\":".repeat(100_000), 1, "}".repeat(100_000));
        assert_eq!(items(deep.as_bytes()).last().map(|(item, _, line)| (item.clone(), *line)), Some((Item::Record, 2)));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut text = b"{\"a\":1}\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', MAX_LINE + 5));
        text.extend_from_slice(b"\n{\"b\":1}\n");
        let mut reader = Reader::over(text.as_slice());
        assert_eq!(reader.advance().unwrap(), Some(Item::Record));
        assert_eq!(reader.advance().unwrap(), Some(Item::Long));
        assert_eq!(reader.advance().unwrap(), Some(Item::Record));
        assert_eq!((reader.record(), reader.line()), (&b"{\"b\":1}"[..], 3));
        assert!(reader.is_whole_line());
        assert_eq!(reader.advance().unwrap(), None);
        assert_eq!(reader.position().hash, Digest::of(&text));
    }
}

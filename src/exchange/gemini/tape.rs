//! A chat that is one JSON object, as a stream of records, and back. The object is written anew with each message, and what
//! changes each time stands before the messages. In the stream it stands behind them, so that a chat which grew begins as it did:
//!
//! - a line that says whose it is, made of a few values of the object;
//! - each element of `messages` as a line, with the white space around it but that behind the last; line ends and the like are
//!   [encoded] in white space;
//! - a line that begins with [`END`]: the length of what stands before the first message, and all that is left, encoded too.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use super::layout::Layout;

/// Begins the last line. A tab is never encoded so.
pub const END: &[u8] = b"#\t#";

/// Encodes a byte: a line of the stream has no line end in it, and JSON stays JSON.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\n' => out.push(b'\r'),
            b'\r' => out.extend_from_slice(b"\t\t"),
            b'\t' => out.extend_from_slice(b"\t "),
            byte => out.push(*byte),
        }
    }
}

/// Decodes what it is given, piece by piece.
#[derive(Default)]
pub struct Decoder {
    has_tab: bool,
}

impl Decoder {
    /// Adds the bytes to `out`. A line end comes out as the comma between two messages.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            match (std::mem::take(&mut self.has_tab), byte) {
                (true, b'\t') => out.push(b'\r'),
                (true, _) => out.push(b'\t'),
                (false, b'\t') => self.has_tab = true,
                (false, b'\r') => out.push(b'\n'),
                (false, b'\n') => out.push(b','),
                (false, byte) => out.push(*byte),
            }
        }
    }
}

/// The stream of a file.
pub struct Tape {
    file: BufReader<File>,
    layout: Layout,
    stage: Stage,
    /// Bytes of the file that were taken.
    at: u64,
    in_string: bool,
    is_escaped: bool,
    depth: u64,
    out: Vec<u8>,
    given: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Messages,
    Before,
    Behind,
    Over,
}

impl Tape {
    /// Reads `file`, which was found to have this layout.
    pub fn new(file: File, layout: Layout) -> Tape {
        let file = BufReader::with_capacity(256 * 1024, file);
        let stage = Stage::Header;
        Tape { file, layout, stage, at: 0, in_string: false, is_escaped: false, depth: 0, out: Vec::new(), given: 0 }
    }

    /// Makes more bytes; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        (self.given, self.out) = (0, std::mem::take(&mut self.out));
        self.out.clear();
        match self.stage {
            Stage::Header => {
                self.out = self.layout.header().into_bytes();
                self.out.push(b'\n');
                self.go(Stage::Messages, self.layout.first)?;
            }
            Stage::Messages if self.at == self.layout.last => {
                if self.layout.last > self.layout.first {
                    self.out.push(b'\n');
                }
                self.out.extend_from_slice(END);
                self.out.extend_from_slice(format!("{} ", self.layout.first).as_bytes());
                self.go(Stage::Before, 0)?;
            }
            Stage::Messages => {
                let chunk = self.chunk(self.layout.last)?;
                self.messages(&chunk);
            }
            Stage::Before if self.at == self.layout.first => self.go(Stage::Behind, self.layout.last)?,
            Stage::Before => {
                let chunk = self.chunk(self.layout.first)?;
                encode(&chunk, &mut self.out);
            }
            Stage::Behind if self.at == self.layout.length => {
                self.out.push(b'\n');
                self.stage = Stage::Over;
            }
            Stage::Behind => {
                let chunk = self.chunk(self.layout.length)?;
                encode(&chunk, &mut self.out);
            }
            Stage::Over => return Ok(false),
        }
        Ok(true)
    }

    fn go(&mut self, stage: Stage, at: u64) -> io::Result<()> {
        (self.stage, self.at) = (stage, at);
        self.file.seek(SeekFrom::Start(at)).map(drop)
    }

    /// The next bytes, up to `end`.
    fn chunk(&mut self, end: u64) -> io::Result<Vec<u8>> {
        let bytes = self.file.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
        }
        let take = bytes.len().min(usize::try_from(end - self.at).unwrap_or(usize::MAX));
        let chunk = bytes[..take].to_vec();
        self.file.consume(take);
        self.at += take as u64;
        Ok(chunk)
    }

    /// Encodes messages: a comma between two of them is a line end.
    fn messages(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b',' if self.depth == 0 => {
                    encode(&bytes[from..at], &mut self.out);
                    self.out.push(b'\n');
                    from = at + 1;
                }
                _ => {}
            }
        }
        encode(&bytes[from..], &mut self.out);
    }
}

impl Read for Tape {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.out.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let read = (&self.out[self.given..]).read(out)?;
        self.given += read;
        Ok(read)
    }
}

/// Writes the file that was read as `stream`; of a stream without its last line, the messages.
pub fn restore(stream: File, out: &mut impl Write) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(256 * 1024, stream);
    let (mut at, mut first, mut last) = (0, None, 0);
    loop {
        let bytes = stream.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        for (place, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            let behind = at + place as u64 + 1;
            first.get_or_insert(behind);
            last = behind;
        }
        let length = bytes.len();
        at += length as u64;
        stream.consume(length);
    }
    let Some(first) = first else { return Ok(()) };
    let start = last_line(&mut stream, last)?;
    stream.seek(SeekFrom::Start(start))?;
    let mut mark = [0; END.len()];
    let has_end = start >= first && at - start > END.len() as u64 && {
        stream.read_exact(&mut mark)?;
        mark == END
    };
    if !has_end {
        return part(&mut stream, (first, last.max(first + 1) - 1), u64::MAX, out).map(drop);
    }
    let mut digits = Vec::new();
    (&mut stream).take(32).read_until(b' ', &mut digits)?;
    let length = std::str::from_utf8(&digits).ok().and_then(|digits| digits.trim_end().parse::<u64>().ok());
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    let from = start + (END.len() + digits.len()) as u64;
    let from = part(&mut stream, (from, at - 1), length, out)?;
    if start > first {
        part(&mut stream, (first, start - 1), u64::MAX, out)?;
    }
    part(&mut stream, (from, at - 1), u64::MAX, out).map(drop)
}

/// Where the line begins whose end is `end`.
fn last_line(stream: &mut BufReader<File>, end: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut to = end.saturating_sub(1);
    while to > 0 {
        let from = to.saturating_sub(STEP);
        stream.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        stream.take(to - from).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        to = from;
    }
    Ok(0)
}

/// Writes what lies in that range, decoded, up to `length` bytes of it; gives where in the range that ends.
fn part(stream: &mut BufReader<File>, (from, to): (u64, u64), length: u64, out: &mut impl Write) -> io::Result<u64> {
    stream.seek(SeekFrom::Start(from))?;
    let (mut at, mut written, mut decoder, mut decoded) = (from, 0, Decoder::default(), Vec::new());
    while at < to && written < length {
        let bytes = stream.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // No more than is still wanted: a byte is never less than a byte.
        let wanted = (to - at).min(length - written);
        let take = bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        decoded.clear();
        decoder.decode(&bytes[..take], &mut decoded);
        out.write_all(&decoded)?;
        stream.consume(take);
        at += take as u64;
        written += decoded.len() as u64;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::super::layout::scan;
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn tape(text: &[u8]) -> Vec<u8> {
        let layout = scan(text).unwrap().unwrap();
        let mut stream = Vec::new();
        Tape::new(file(text), layout).read_to_end(&mut stream).unwrap();
        stream
    }

    fn back(stream: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        restore(file(stream), &mut out).unwrap();
        out
    }

    #[test]
    fn a_chat_is_lines_and_what_changes_is_the_last() {
        let text = b"{\n\t\"sessionId\": \"s\",\r\n \"messages\": [\n  {\"a\": \"1,2\"},\n  {\"b\":\t[3,4]}\n ]\n}\n";
        let stream = tape(text);
        let expected = "{\"sessionId\":\"s\"}\n\r  {\"a\": \"1,2\"}\n\r  {\"b\":\t [3,4]}\n#\t#36 {\r\t \"sessionId\": \"s\",\t\t\r \
                        \"messages\": [\r ]\r}\r\n";
        assert_eq!(String::from_utf8(stream.clone()).unwrap(), expected);
        assert_eq!(back(&stream), text);
    }

    #[test]
    fn every_text_comes_back() {
        let start = "{\"sessionId\":\"s\",\n\"messages\":[";
        for rest in [
            "",
            "]}",
            " ]}",
            "{}]}",
            "{},{}]}",
            ",]}",
            ",,{}]}",
            "{},]}",
            "{}\n,\r\n\t{} ]\t}\0\0",
            "\"\n\r\t\t \",1]}",
            "{\"a\":",
            "{},{\"a\":[\"x",
            "[[[[]],1]]]}",
            "#\t#5 x,#\t#1 ]}",
            "]]]}}}}",
            "{}}{]}",
        ] {
            let text = format!("{start}{rest}");
            assert_eq!(String::from_utf8_lossy(&back(&tape(text.as_bytes()))), text, "{rest:?}");
        }
        let mut bytes = format!("{start}{{\"a\":\"").into_bytes();
        bytes.extend([0xff, 0xfe, 0, 1, 2, b'"', b'}', b']', b'}']);
        assert_eq!(back(&tape(&bytes)), bytes);
    }

    #[test]
    fn of_a_stream_without_its_end_the_messages_come_back() {
        assert_eq!(back(b"{}\n{\"a\":1}\n{\"b\":2}\n"), b"{\"a\":1},{\"b\":2}");
        assert_eq!(back(b"{}\n"), b"");
        assert_eq!(back(b""), b"");
    }
}

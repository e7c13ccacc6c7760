//! What is read: a file, a folder that is one source, or the lines of a file that belong together. All are one stream of
//! bytes, in which the name of each file stands before its bytes where there is more than one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::ImportError;
use super::template::part_mark;

/// The longest line that is held in memory; a longer one is kept as bytes.
pub const MAX_LINE: usize = 64 * 1024 * 1024;

/// Whether a line belongs to a source.
pub type Select = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// How a file is read whose bytes are no lines of records: as a stream that is.
pub type Through = Arc<dyn Fn(File) -> io::Result<Box<dyn BufRead>> + Send + Sync>;

/// What becomes one session.
#[derive(Clone)]
pub struct Source {
    /// The file or folder that was named or found.
    pub path: PathBuf,
    /// Which of several sessions of that path it is; empty for the only or main one. Part of its identity.
    pub below: String,
    /// The files it is read from, in order.
    pub parts: Vec<Part>,
}

/// A file that is read, or those lines of it that are selected.
#[derive(Clone)]
pub struct Part {
    /// Its path from the source's folder, for the export; empty for a source of one file.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is one record, rather than one on each line.
    pub whole: bool,
    /// The lines that belong to the source; all where there is none.
    pub select: Option<Select>,
    /// What it is read through; nothing for most files. [`Format::restore`](super::format::Format::restore) turns back.
    pub through: Option<Through>,
}

impl Source {
    /// A file with a record on each line.
    pub fn file(path: &Path) -> Source {
        let part = Part { name: String::new(), path: path.to_owned(), whole: false, select: None, through: None };
        Source { path: path.to_owned(), below: String::new(), parts: vec![part] }
    }

    /// All its bytes, in order, whatever the records in them.
    pub(crate) fn bytes(&self) -> SourceBytes<'_> {
        SourceBytes { parts: self.parts.iter(), mark: io::Cursor::new(Vec::new()), input: Box::new(io::empty()) }
    }

    pub(crate) fn io(&self, source: io::Error) -> ImportError {
        ImportError::Io { path: self.path.clone(), source }
    }
}

impl Part {
    /// Opens it for reading. Refused as [`open`] refuses, with an error of kind `InvalidInput` for what is no file.
    pub(crate) fn open(&self) -> io::Result<Box<dyn BufRead>> {
        let file = open(&self.path).map_err(|error| match error {
            ImportError::Io { source, .. } => source,
            other => io::Error::new(io::ErrorKind::InvalidInput, other.to_string()),
        })?;
        if let Some(through) = &self.through {
            return through(file);
        }
        let file = BufReader::with_capacity(256 * 1024, file);
        Ok(match &self.select {
            None => Box::new(file),
            Some(select) => Box::new(BufReader::new(Selected::new(file, Arc::clone(select)))),
        })
    }

    /// What stands before its bytes in the stream.
    pub(crate) fn mark(&self) -> Vec<u8> {
        if self.name.is_empty() { Vec::new() } else { part_mark(&self.name) }
    }
}

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

/// The stream of a source's bytes.
pub(crate) struct SourceBytes<'s> {
    parts: std::slice::Iter<'s, Part>,
    mark: io::Cursor<Vec<u8>>,
    input: Box<dyn BufRead>,
}

impl Read for SourceBytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match self.mark.read(out)? {
                0 => self.input.read(out)?,
                read => read,
            };
            if read > 0 {
                return Ok(read);
            }
            let Some(part) = self.parts.next() else { return Ok(0) };
            self.mark = io::Cursor::new(part.mark());
            self.input = part.open()?;
        }
    }
}

/// The selected lines of a file. A line too long to be looked at is not selected.
struct Selected<R> {
    input: R,
    select: Select,
    line: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Selected<R> {
    fn new(input: R, select: Select) -> Selected<R> {
        Selected { input, select, line: Vec::new(), at: 0 }
    }

    fn next_line(&mut self) -> io::Result<bool> {
        loop {
            (self.at, self.line) = (0, Vec::new());
            let limit = MAX_LINE as u64 + 1;
            if (&mut self.input).take(limit).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            if self.line.len() > MAX_LINE {
                while self.line.last() != Some(&b'\n') {
                    self.line.clear();
                    if (&mut self.input).take(1 << 20).read_until(b'\n', &mut self.line)? == 0 {
                        return Ok(false);
                    }
                }
            } else if (self.select)(&self.line) {
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead> Read for Selected<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() && !self.next_line()? {
            return Ok(0);
        }
        let read = (&self.line[self.at..]).read(out)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_file_that_belong_together_are_a_source() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"a 1\nb 2\n\na 3\nb").unwrap();
        let of = |letter: u8| Source {
            below: char::from(letter).to_string(),
            parts: vec![Part {
                select: Some(Arc::new(move |line: &[u8]| line.first() == Some(&letter))),
                ..Source::file(file.path()).parts.remove(0)
            }],
            ..Source::file(file.path())
        };
        let read = |source: &Source| {
            let mut bytes = Vec::new();
            source.bytes().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(&of(b'a')), b"a 1\na 3\n");
        assert_eq!(read(&of(b'b')), b"b 2\nb");
        assert_eq!(read(&of(b'x')), b"");
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        for path in [&link, folder.path(), Path::new("/dev/zero")] {
            assert!(matches!(open(path), Err(ImportError::NotAFile { .. })), "{path:?}");
            let part = Part { name: "x".to_owned(), ..Source::file(path).parts.remove(0) };
            assert_eq!(part.open().err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
        }
    }
}

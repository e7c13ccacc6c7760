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
}

impl Source {
    /// A file with a record on each line.
    pub fn file(path: &Path) -> Source {
        let part = Part { name: String::new(), path: path.to_owned(), whole: false, select: None };
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

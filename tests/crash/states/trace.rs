//! What a child did to its store, as `strace` saw it: file operations in order, and between them what was acknowledged.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::super::acks::{self, Ack};
use super::super::note::note;
use super::super::tools::{Program, Scratch, wait};

/// A file or folder, whatever it is called at a time. The first is the folder that the store's own folder is in.
pub type Node = usize;

/// One thing done.
#[derive(Debug, Clone)]
pub enum Op {
    Make {
        node: Node,
        folder: Node,
        name: String,
    },
    Move {
        node: Node,
        from: (Node, String),
        to: (Node, String),
    },
    /// Each of two is called what the other one was.
    Exchange {
        one: (Node, (Node, String)),
        other: (Node, (Node, String)),
    },
    Remove {
        node: Node,
        folder: Node,
        name: String,
    },
    Write {
        node: Node,
        at: u64,
        bytes: Arc<[u8]>,
        extends: bool,
    },
    Resize {
        node: Node,
        len: u64,
    },
    Sync {
        node: Node,
        data_only: bool,
    },
    Ack(Ack),
}

/// When it began and ended, in lines of the trace: a sync covers what had ended when it began.
#[derive(Debug, Clone)]
pub struct Step {
    pub op: Op,
    pub begun: usize,
    pub ended: usize,
}

/// What there was before the child began.
#[derive(Debug, Clone)]
pub struct First {
    pub node: Node,
    pub folder: Node,
    pub name: String,
    /// None of a folder.
    pub bytes: Option<Vec<u8>>,
}

/// A note about the database: which file it was about, and the step after the last thing done to that file; 0 for
/// nothing.
#[derive(Debug, Clone)]
pub struct Mark {
    pub text: Vec<u8>,
    pub node: Node,
    pub touched: usize,
    /// The step that wrote it; 0 if it was there before.
    pub step: usize,
}

/// A child's whole run.
pub struct Recording {
    pub firsts: Vec<First>,
    /// Whether each node is a folder.
    pub folders: Vec<bool>,
    pub steps: Vec<Step>,
    pub marks: Vec<Mark>,
    /// What was acknowledged before it began.
    pub acks: Vec<Ack>,
}

/// The calls that change files; another one on a file of the store ends the recording.
const CALLS: &str = "openat,openat2,open,creat,close,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,ftruncate,truncate,fallocate,lseek,link,linkat,\
    symlink,sendfile,copy_file_range,dup,dup2,dup3";

/// Runs a scenario to its end on `scratch`, and says what it did. Of what it finds there only that is on disk which is
/// also in the folder `durable`: the rest was written by a process that died before it was synced.
pub fn record(program: &Program, scenario: &str, scratch: &Scratch, durable: &Path) -> Result<Recording, String> {
    let base = fs::canonicalize(scratch.path()).map_err(|error| error.to_string())?;
    let (root, notes, out) = (base.join("store"), base.join("acks"), base.join("trace"));
    let mut recorder = Recorder::new(&base, durable, acks::read(&notes));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", "signal=none", "-o"]).arg(&out);
    command.args(["-e", &format!("trace={CALLS}")]).arg(&program.path);
    program.as_child(&mut command, scenario, &root, &notes);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    if !wait(&mut running)?.success() {
        return Err(format!("the scenario {scenario} fails when nobody disturbs it"));
    }
    let text = fs::read_to_string(&out).map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&out);
    for call in calls(&text)? {
        recorder.take(&call)?;
    }
    Ok(recorder.done)
}

/// One system call, its two halves put together.
struct Call<'a> {
    name: &'a str,
    arguments: String,
    result: String,
    begun: usize,
    ended: usize,
}

impl Call<'_> {
    /// When it counts: what is acknowledged counts from its beginning, all else from its end.
    fn key(&self) -> usize {
        if self.name == "writev" { self.begun } else { self.ended }
    }

    fn failed(&self) -> bool {
        self.result.starts_with('-') || self.result.starts_with('?')
    }

    fn number(&self) -> u64 {
        let digits: String = self.result.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    fn argument(&self, n: usize) -> &str {
        self.arguments.split(", ").nth(n).unwrap_or_default()
    }

    fn integer(&self, n: usize) -> Result<u64, String> {
        self.argument(n).parse().map_err(|_| format!("{}({}): no number", self.name, self.arguments))
    }

    /// The descriptor's number and its path.
    fn file(&self, n: usize) -> (u64, Vec<u8>) {
        let (fd, path) = self.argument(n).split_once('<').unwrap_or((self.argument(n), ""));
        (fd.parse().unwrap_or(u64::MAX), plain(path.trim_end_matches('>')))
    }

    fn path(&self, n: usize) -> PathBuf {
        path_of(plain(self.argument(n).trim_matches('"')))
    }

    /// A path below the folder that the argument before it names.
    fn path_at(&self, n: usize) -> PathBuf {
        path_of(self.file(n - 1).1).join(self.path(n))
    }
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// The bytes behind `\x2f`; a text without such is taken as it is.
fn plain(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\' && tail.len() >= 3 && tail[0] == b'x' {
            let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
            out.push(digit(tail[1]) << 4 | digit(tail[2]));
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

fn calls(text: &str) -> Result<Vec<Call<'_>>, String> {
    let mut open: HashMap<&str, (usize, &str, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line)) {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        let rest = rest.trim_start();
        let (begun, name, arguments) = if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((_, tail)) = resumed.split_once("resumed>") else { continue };
            let Some((begun, name, head)) = open.remove(thread) else { continue };
            (begun, name, format!("{head}{tail}"))
        } else {
            let Some((name, tail)) = rest.split_once('(') else { continue };
            if let Some(head) = tail.strip_suffix("<unfinished ...>") {
                open.insert(thread, (number, name, head.trim_end_matches(' ')));
                continue;
            }
            (number, name, tail.to_owned())
        };
        let Some((arguments, result)) = arguments.rsplit_once(" = ") else {
            return Err(format!("a line of the trace cannot be read: {}", &line[..line.len().min(200)]));
        };
        let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
        calls.push(Call { name, arguments, result: result.to_owned(), begun, ended: number });
    }
    calls.sort_by_key(Call::key);
    Ok(calls)
}

struct Recorder {
    base: PathBuf,
    names: HashMap<PathBuf, Node>,
    offsets: HashMap<u64, u64>,
    lengths: Vec<u64>,
    /// The step after the last thing done to each; 0 for nothing.
    touched: Vec<usize>,
    done: Recording,
}

impl Recorder {
    fn new(base: &Path, durable: &Path, acks: Vec<Ack>) -> Recorder {
        let done = Recording { firsts: Vec::new(), folders: Vec::new(), steps: Vec::new(), marks: Vec::new(), acks };
        let (names, offsets) = (HashMap::new(), HashMap::new());
        let (lengths, touched) = (Vec::new(), Vec::new());
        let mut recorder = Recorder { base: base.to_owned(), names, offsets, lengths, touched, done };
        recorder.node(PathBuf::new(), true);
        recorder.look(Path::new("store"), durable);
        let vouched = fs::read(base.join("store/mark")).unwrap_or_default();
        if let Some(node) = recorder.names.get(Path::new("store/store.sqlite"))
            && vouched == note(&base.join("store/store.sqlite")).as_bytes()
        {
            recorder.done.marks.push(Mark { text: vouched, node: *node, touched: 0, step: 0 });
        }
        recorder
    }

    fn node(&mut self, path: PathBuf, folder: bool) -> Node {
        let node = self.done.folders.len();
        self.done.folders.push(folder);
        self.lengths.push(0);
        self.touched.push(0);
        self.names.insert(path, node);
        node
    }

    /// Takes in what is there, folders before what is in them.
    fn look(&mut self, path: &Path, durable: &Path) {
        let Ok(meta) = fs::symlink_metadata(self.base.join(path)) else { return };
        let (folder, name) = self.place(path);
        let bytes = meta.is_file().then(|| fs::read(self.base.join(path)).unwrap());
        let node = self.node(path.to_owned(), meta.is_dir());
        self.lengths[node] = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        match bytes {
            Some(now) => {
                // A copy's note names other inodes.
                let same = path == Path::new("store/mark");
                let synced = if same { now.clone() } else { fs::read(durable.join(path)).unwrap_or_default() };
                if synced != now {
                    let extends = now.len() > synced.len();
                    let op = Op::Write { node, at: 0, bytes: now.into(), extends };
                    self.done.steps.push(Step { op, begun: 0, ended: 0 });
                }
                self.done.firsts.push(First { node, folder, name, bytes: Some(synced) });
            }
            None => self.done.firsts.push(First { node, folder, name, bytes }),
        }
        if meta.is_dir() {
            let mut inside: Vec<PathBuf> = fs::read_dir(self.base.join(path))
                .unwrap()
                .map(|entry| path.join(entry.unwrap().file_name()))
                .collect();
            inside.sort();
            inside.iter().filter(|path| !shared_memory(path)).for_each(|path| self.look(path, durable));
        }
    }

    fn place(&self, path: &Path) -> (Node, String) {
        let folder = self.names.get(path.parent().unwrap_or(Path::new(""))).copied().unwrap_or(0);
        (folder, path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()))
    }

    /// The path within the store or a copy of it; none of what is elsewhere, and of mapped memory, which no crash keeps.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let inside = path.strip_prefix(&self.base).ok()?.to_owned();
        let is_ours = !ASIDE.iter().any(|name| inside.starts_with(name)) && !shared_memory(&inside);
        is_ours.then_some(inside)
    }

    fn push(&mut self, call: &Call<'_>, op: Op) {
        let at = self.done.steps.len();
        match &op {
            Op::Make { node, .. } | Op::Move { node, .. } | Op::Resize { node, .. } => self.touched[*node] = at + 1,
            Op::Write { node, at: offset, bytes, .. } => {
                self.touched[*node] = at + 1;
                self.lengths[*node] = self.lengths[*node].max(offset + bytes.len() as u64);
            }
            Op::Exchange { .. } | Op::Remove { .. } | Op::Sync { .. } | Op::Ack(_) => {}
        }
        if let Op::Resize { node, len } = op {
            self.lengths[node] = len;
        }
        self.done.steps.push(Step { op, begun: call.begun, ended: call.ended });
    }

    fn take(&mut self, call: &Call<'_>) -> Result<(), String> {
        if call.failed() {
            return Ok(());
        }
        match call.name {
            "close" => {
                self.offsets.remove(&call.file(0).0);
            }
            "openat" => self.opened(call),
            "mkdir" | "mkdirat" => {
                let path = if call.name == "mkdir" { call.path(0) } else { call.path_at(1) };
                if let Some(path) = self.inside(&path) {
                    self.make(call, path, true);
                }
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = match call.name {
                    "rename" => (call.path(0), call.path(1)),
                    _ => (call.path_at(1), call.path_at(3)),
                };
                match call.argument(4).contains("EXCHANGE") {
                    true => self.exchanged(call, &from, &to)?,
                    false => self.moved(call, &from, &to)?,
                }
            }
            "link" | "linkat" => {
                let (from, to) = match call.name {
                    "link" => (call.path(0), call.path(1)),
                    _ => (call.path_at(1), call.path_at(3)),
                };
                self.linked(call, &from, &to)?;
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let path = if call.name == "unlinkat" { call.path_at(1) } else { call.path(0) };
                if let Some(path) = self.inside(&path)
                    && let Some(node) = self.names.remove(&path)
                {
                    let (folder, name) = self.place(&path);
                    self.push(call, Op::Remove { node, folder, name });
                }
            }
            "writev" => {
                let (_, path) = call.file(0);
                if path_of(path) == self.base.join("acks") {
                    let text = call.arguments.split('"').nth(1).map(plain).unwrap_or_default();
                    self.push(call, Op::Ack(acks::parse(&String::from_utf8_lossy(&text))));
                } else {
                    self.unexpected(call)?;
                }
            }
            "pwrite64" => self.written(call, call.integer(3)?),
            "write" => {
                let fd = call.file(0).0;
                let at = self.offsets.get(&fd).copied().unwrap_or(0);
                self.offsets.insert(fd, at + call.number());
                self.written(call, at);
            }
            "lseek" => {
                self.offsets.insert(call.file(0).0, call.number());
            }
            "ftruncate" => {
                if let Some(node) = self.of(call) {
                    self.push(call, Op::Resize { node, len: call.integer(1)? });
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(node) = self.of(call) {
                    self.push(call, Op::Sync { node, data_only: call.name == "fdatasync" });
                }
            }
            _ => self.unexpected(call)?,
        }
        Ok(())
    }

    /// A call that this recorder does not know must not go unseen.
    fn unexpected(&self, call: &Call<'_>) -> Result<(), String> {
        let ours = |path: &Path| self.inside(path).is_some_and(|path| path != Path::new(""));
        let named = (0..5).any(|n| ours(&call.path(n)) || ours(&path_of(call.file(n).1)));
        if named { Err(format!("the recorder does not know {}({})", call.name, call.arguments)) } else { Ok(()) }
    }

    fn of(&self, call: &Call<'_>) -> Option<Node> {
        self.inside(&path_of(call.file(0).1)).and_then(|path| self.names.get(&path).copied())
    }

    fn opened(&mut self, call: &Call<'_>) {
        let (fd, flags) = (call.number(), call.argument(2));
        self.offsets.insert(fd, 0);
        let Some(path) = self.inside(&call.path_at(1)) else { return };
        match self.names.get(&path).copied() {
            Some(node) if flags.contains("O_TRUNC") && self.lengths[node] > 0 => {
                self.push(call, Op::Resize { node, len: 0 });
            }
            None if flags.contains("O_CREAT") => self.make(call, path, false),
            _ => {}
        }
    }

    fn make(&mut self, call: &Call<'_>, path: PathBuf, is_folder: bool) {
        let (folder, name) = self.place(&path);
        let node = self.node(path, is_folder);
        self.push(call, Op::Make { node, folder, name });
    }

    fn moved(&mut self, call: &Call<'_>, from: &Path, to: &Path) -> Result<(), String> {
        let (Some(from), Some(to)) = (self.inside(from), self.inside(to)) else { return Ok(()) };
        let node = self.known(&from)?;
        let (was, is) = (self.place(&from), self.place(&to));
        let below = self.take_below(&from);
        self.put_below(&to, below);
        self.push(call, Op::Move { node, from: was, to: is });
        Ok(())
    }

    fn exchanged(&mut self, call: &Call<'_>, one: &Path, other: &Path) -> Result<(), String> {
        let (Some(one), Some(other)) = (self.inside(one), self.inside(other)) else { return Ok(()) };
        let op = Op::Exchange {
            one: (self.known(&one)?, self.place(&one)),
            other: (self.known(&other)?, self.place(&other)),
        };
        let (below_one, below_other) = (self.take_below(&one), self.take_below(&other));
        self.put_below(&other, below_one);
        self.put_below(&one, below_other);
        self.push(call, op);
        Ok(())
    }

    /// One file under two names.
    fn linked(&mut self, call: &Call<'_>, from: &Path, to: &Path) -> Result<(), String> {
        let (Some(from), Some(to)) = (self.inside(from), self.inside(to)) else { return Ok(()) };
        let node = self.known(&from)?;
        let (folder, name) = self.place(&to);
        self.names.insert(to, node);
        self.push(call, Op::Make { node, folder, name });
        Ok(())
    }

    fn known(&self, path: &Path) -> Result<Node, String> {
        self.names.get(path).copied().ok_or_else(|| format!("{} was not known", path.display()))
    }

    /// Forgets what is called `path` or lies below it: what follows that name, and the node.
    fn take_below(&mut self, path: &Path) -> Vec<(PathBuf, Node)> {
        let is_below = |name: &Path| name.strip_prefix(path).map(Path::to_owned).ok();
        let found: Vec<_> = self.names.iter().filter_map(|(name, node)| Some((is_below(name)?, *node))).collect();
        self.names.retain(|name, _| !name.starts_with(path));
        found
    }

    fn put_below(&mut self, path: &Path, below: Vec<(PathBuf, Node)>) {
        for (rest, node) in below {
            // Joining nothing would add a slash.
            let name = if rest == Path::new("") { path.to_owned() } else { path.join(rest) };
            self.names.insert(name, node);
        }
    }

    fn written(&mut self, call: &Call<'_>, at: u64) {
        let Some(node) = self.of(call) else { return };
        let mut bytes = plain(call.argument(1).trim_matches('"'));
        bytes.truncate(call.number() as usize);
        let path = self.inside(&path_of(call.file(0).1)).unwrap_or_default();
        if path.file_name().is_some_and(|name| name == "mark")
            && let Some(database) = self.names.get(&path.with_file_name("store.sqlite")).copied()
        {
            let (touched, step) = (self.touched[database], self.done.steps.len());
            self.done.marks.push(Mark { text: bytes.clone(), node: database, touched, step });
        }
        let extends = at + bytes.len() as u64 > self.lengths[node];
        self.push(call, Op::Write { node, at, bytes: bytes.into(), extends });
    }
}

/// What lies beside the store and is no copy of it.
const ASIDE: [&str; 3] = ["acks", "trace", "source.jsonl"];

/// SQLite's mapped memory: written without calls, and made anew by whoever opens the database first.
fn shared_memory(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-shm")
}

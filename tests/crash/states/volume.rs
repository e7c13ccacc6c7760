//! What is on a disk at a time: what was synced, and what was only written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plans::{Length, Plan};
use super::trace::{Node, Op, Recording};

/// Bytes, and their hash.
#[derive(Clone)]
pub struct Content {
    pub bytes: Arc<Vec<u8>>,
    hash: blake3::Hash,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Content {
        Content { hash: blake3::hash(&bytes), bytes: Arc::new(bytes) }
    }
}

/// One file: its synced bytes, and what was done since.
struct File {
    durable: Content,
    /// Steps since the sync.
    pending: Vec<usize>,
    /// With all of those.
    whole: Option<Content>,
    /// The last step that touched it: on disk, and in memory.
    touched_durable: usize,
    touched: usize,
}

/// What a disk holds after a power loss.
pub struct State {
    /// Paths below the folder of the store's folder.
    pub folders: Vec<String>,
    pub files: Vec<(String, Content)>,
    /// The folders in which the database is the file that the note is about.
    pub vouched: Vec<String>,
    /// Names and bytes.
    pub key: [u8; 32],
}

/// The disk after so many steps.
pub struct Volume<'a> {
    recording: &'a Recording,
    files: Vec<File>,
    names: BTreeMap<(Node, String), Node>,
    /// Steps that changed names and are not synced.
    pub names_pending: Vec<usize>,
    /// Those of `names_pending` that no sync of anything has followed: a journal orders the others.
    pub names_unordered_from: usize,
    /// Steps that changed bytes and are not synced, of all files.
    pub data_pending: Vec<usize>,
    /// How many steps were taken.
    pub at: usize,
}

impl<'a> Volume<'a> {
    pub fn new(recording: &'a Recording) -> Volume<'a> {
        let empty = Content::new(Vec::new());
        let file = || File { durable: empty.clone(), pending: Vec::new(), whole: None, touched_durable: 0, touched: 0 };
        let mut files: Vec<File> = recording.folders.iter().map(|_| file()).collect();
        let mut names = BTreeMap::new();
        for first in &recording.firsts {
            names.insert((first.folder, first.name.clone()), first.node);
            if let Some(bytes) = &first.bytes {
                files[first.node].durable = Content::new(bytes.clone());
            }
        }
        let (names_pending, data_pending) = (Vec::new(), Vec::new());
        Volume { recording, files, names, names_pending, names_unordered_from: 0, data_pending, at: 0 }
    }

    /// Takes the next step.
    pub fn advance(&mut self) {
        let at = self.at;
        self.at += 1;
        match &self.recording.steps[at].op {
            Op::Make { node, .. } | Op::Move { node, .. } => {
                self.names_pending.push(at);
                self.files[*node].touched = at + 1;
            }
            Op::Exchange { .. } => self.names_pending.push(at),
            Op::Remove { .. } => self.names_pending.push(at),
            Op::Write { node, .. } | Op::Resize { node, .. } => {
                let file = &mut self.files[*node];
                file.touched = at + 1;
                file.pending.push(at);
                file.whole = None;
                self.data_pending.push(at);
            }
            Op::Sync { node, data_only } => self.sync(at, *node, *data_only),
            Op::Ack(_) => {}
        }
    }

    fn sync(&mut self, at: usize, node: Node, data_only: bool) {
        let steps = &self.recording.steps;
        let covered = |step: &usize| steps[*step].ended < steps[at].begun;
        self.names_unordered_from = at;
        if self.recording.folders[node] {
            let (durable, pending): (Vec<usize>, Vec<usize>) =
                std::mem::take(&mut self.names_pending).into_iter().partition(|step| {
                    let here = match &steps[*step].op {
                        Op::Make { folder, .. } | Op::Remove { folder, .. } => *folder == node,
                        Op::Move { from, to, .. } => from.0 == node || to.0 == node,
                        Op::Exchange { one, other } => one.1.0 == node || other.1.0 == node,
                        _ => false,
                    };
                    here && covered(step)
                });
            for step in durable {
                rename(&mut self.names, &steps[step].op);
            }
            self.names_pending = pending;
            return;
        }
        let file = &mut self.files[node];
        let (durable, pending): (Vec<usize>, Vec<usize>) =
            std::mem::take(&mut file.pending).into_iter().partition(covered);
        if !data_only {
            let last = durable.last().map_or(file.touched_durable, |step| step + 1);
            file.touched_durable = if pending.is_empty() { file.touched } else { last };
        }
        if !durable.is_empty() {
            let mut bytes = file.durable.bytes.to_vec();
            durable.iter().for_each(|step| apply(&mut bytes, &steps[*step].op, |_| true, Length::Whole));
            file.durable = Content::new(bytes);
            file.whole = None;
        }
        file.pending = pending;
        self.data_pending.retain(|step| !durable.contains(step));
    }

    /// The length of a write in sectors; none of other steps.
    pub fn sectors(&self, step: usize) -> Option<u64> {
        match &self.recording.steps[step].op {
            Op::Write { at, bytes, .. } => Some((at + bytes.len() as u64).div_ceil(SECTOR) - at / SECTOR),
            _ => None,
        }
    }

    /// The disk as the power loss leaves it that `plan` describes.
    pub fn state(&mut self, plan: &Plan) -> State {
        let mut names = self.names.clone();
        for step in self.names_pending.iter().filter(|step| plan.keeps_name(**step, self.names_unordered_from)) {
            rename(&mut names, &self.recording.steps[*step].op);
        }
        let mut state = State { folders: Vec::new(), files: Vec::new(), vouched: Vec::new(), key: [0; 32] };
        let (mut databases, mut marks) = (BTreeMap::new(), BTreeMap::new());
        let mut waiting = vec![(0, String::new())];
        while let Some((folder, path)) = waiting.pop() {
            let inside = names.range((folder, String::new())..(folder + 1, String::new()));
            for ((_, name), node) in inside {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                if self.recording.folders[*node] {
                    state.folders.push(path.clone());
                    waiting.push((*node, path));
                    continue;
                }
                let content = content(self.recording, &mut self.files[*node], plan);
                match path.rsplit_once('/') {
                    Some((root, "store.sqlite")) => drop(databases.insert(root.to_owned(), *node)),
                    Some((root, "mark")) => drop(marks.insert(root.to_owned(), Arc::clone(&content.bytes))),
                    _ => {}
                }
                state.files.push((path, content));
            }
        }
        for (root, node) in databases {
            let Some(mark) = marks.get(&root) else { continue };
            let file = &self.files[node];
            let touched = if plan.old_times { file.touched_durable } else { file.touched };
            let fits = |known: &&super::trace::Mark| known.text == **mark && known.node == node;
            if self.recording.marks.iter().rev().find(fits).is_some_and(|known| known.touched == touched) {
                state.vouched.push(root);
            }
        }
        let mut hash = blake3::Hasher::new();
        state.folders.iter().for_each(|path| {
            hash.update(path.as_bytes()).update(b"/");
        });
        for (path, content) in &state.files {
            hash.update(path.as_bytes()).update(b"=").update(content.hash.as_bytes());
        }
        state.vouched.iter().for_each(|root| {
            hash.update(root.as_bytes()).update(b"!");
        });
        state.key = hash.finalize().into();
        state
    }
}

/// A disk writes whole sectors.
const SECTOR: u64 = 512;

fn content(recording: &Recording, file: &mut File, plan: &Plan) -> Content {
    let (mut all, mut none) = (true, true);
    for step in &file.pending {
        let kept = plan.keeps_data(*step, &recording.steps[*step].op);
        let torn = plan.tears(*step).is_some();
        all &= kept && !torn;
        none &= !kept && !torn;
    }
    if none {
        return file.durable.clone();
    }
    if all && let Some(whole) = &file.whole {
        return whole.clone();
    }
    let mut bytes = file.durable.bytes.to_vec();
    for step in &file.pending {
        let op = &recording.steps[*step].op;
        if let Some(tear) = plan.tears(*step) {
            apply(&mut bytes, op, |sector| tear.keeps(sector), plan.length(op, tear));
        } else if plan.keeps_data(*step, op) {
            apply(&mut bytes, op, |_| true, plan.whole_length(op));
        }
    }
    let content = Content::new(bytes);
    if all {
        file.whole = Some(content.clone());
    }
    content
}

/// Does to `bytes` what reached the disk of one step: those sectors, and that of its length.
fn apply(bytes: &mut Vec<u8>, op: &Op, keeps: impl Fn(u64) -> bool, length: Length) {
    match op {
        Op::Resize { len, .. } => bytes.resize(*len as usize, 0),
        Op::Write { at, bytes: written, .. } => {
            let end = at + written.len() as u64;
            if length == Length::Whole && bytes.len() < end as usize {
                bytes.resize(end as usize, 0);
            }
            let first = at / SECTOR;
            let mut from = *at;
            while from < end {
                let to = ((from / SECTOR + 1) * SECTOR).min(end);
                let room = length != Length::AsItWas || to as usize <= bytes.len();
                if keeps(from / SECTOR - first) && room {
                    if bytes.len() < to as usize {
                        bytes.resize(to as usize, 0);
                    }
                    bytes[from as usize..to as usize]
                        .copy_from_slice(&written[(from - at) as usize..(to - at) as usize]);
                }
                from = to;
            }
        }
        _ => {}
    }
}

fn rename(names: &mut BTreeMap<(Node, String), Node>, op: &Op) {
    let mut remove = |place: &(Node, String), node: &Node| {
        if names.get(place) == Some(node) {
            names.remove(place);
        }
    };
    match op {
        Op::Make { node, folder, name } => {
            names.insert((*folder, name.clone()), *node);
        }
        Op::Remove { node, folder, name } => remove(&(*folder, name.clone()), node),
        Op::Move { node, from, to } => {
            remove(from, node);
            names.insert(to.clone(), *node);
        }
        Op::Exchange { one, other } => {
            names.insert(one.1.clone(), other.0);
            names.insert(other.1.clone(), one.0);
        }
        _ => {}
    }
}

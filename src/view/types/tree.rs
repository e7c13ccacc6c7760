//! Nodes: sessions as they hang from one another.

use std::io::{self, Write};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Link, SessionInfo, Used};
use crate::model::{Call, DerivationKind, Digest, Entry, Eval, HeadId, Invocation, NodeName, SessionId, Status, Turn};

/// How much of a tree is read at most; what is left out is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Steps below the node asked for.
    pub depth: u64,
    /// Children of one node, and as many forks of each kind.
    pub breadth: u64,
    /// Nodes in all. They are all the memory it takes, sums apart.
    pub nodes: u64,
}

impl Default for TreeLimits {
    fn default() -> TreeLimits {
        TreeLimits { depth: 32, breadth: 1_000, nodes: 10_000 }
    }
}

/// A node and what hangs below it: sessions that it called, then those that were made from its heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Each node before those below it; the first is the one asked for.
    pub nodes: Vec<Node>,
}

/// How a node hangs from the one above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// It is the one asked for.
    Root,
    /// It was called, by an invocation or a call of this type.
    Child(Status),
    /// It was made from a head, and not called.
    Made(DerivationKind),
}

/// Why what is below a node is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The session is above itself.
    Cycle,
    /// The session was shown before.
    Again,
    /// The session is not in the store, or there never was one.
    Missing,
}

/// A session at a place of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The session at the top and the way down. A fork is the top of a tree of its own.
    pub name: NodeName,
    /// Steps below the node asked for.
    pub depth: u64,
    /// How it hangs from the one above.
    pub kind: NodeKind,
    /// The session, by the name that its caller wrote down; none where it failed before there was one.
    pub session: Option<SessionId>,
    /// The session as it stands; none where it is not in the store.
    pub info: Option<SessionInfo>,
    /// What its caller said of it, for display.
    pub label: Option<String>,
    /// The session's status; without one, that of the invocation or call.
    pub status: Status,
    /// The current head.
    pub head: Option<HeadId>,
    /// The final value at the current head.
    pub final_value: Option<Digest>,
    /// What its own calls to providers used, root and leaf.
    pub own: Used,
    /// The same with all that it called, directly or not; each session once.
    pub subtree: Used,
    /// How many sessions it called, each as often as it did.
    pub children: u64,
    /// How many sessions were made from its heads, but for those it called.
    pub forks: u64,
    /// How many of both follow in the tree.
    pub shown: u64,
    /// Why none does.
    pub mark: Option<Mark>,
}

impl Node {
    /// How many sessions directly below it are not in the tree.
    pub fn more(&self) -> u64 {
        (self.children + self.forks).saturating_sub(self.shown)
    }
}

/// Facts, the node's own: what hangs below it is not in it.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, called_by) = match &self.kind {
            NodeKind::Root => ("root", None),
            NodeKind::Child(called_by) => ("child", Some(called_by)),
            NodeKind::Made(kind) => (kind.as_str(), None),
        };
        let mark = self.mark.map(|mark| match mark {
            Mark::Cycle => "cycle",
            Mark::Again => "again",
            Mark::Missing => "missing",
        });
        let mut object = serializer.serialize_struct("Node", 14)?;
        object.serialize_field("node", &self.name.to_string())?;
        object.serialize_field("kind", kind)?;
        object.serialize_field("type", &called_by)?;
        object.serialize_field("label", &self.label)?;
        object.serialize_field("session", &self.session)?;
        object.serialize_field("status", &self.status)?;
        object.serialize_field("turns", &self.info.as_ref().map_or(0, |info| info.turns))?;
        object.serialize_field("calls", &self.own.calls)?;
        object.serialize_field("head", &self.head)?;
        object.serialize_field("final", &self.final_value)?;
        object.serialize_field("own", &self.own)?;
        object.serialize_field("subtree", &self.subtree)?;
        object.serialize_field("more", &self.more())?;
        object.serialize_field("mark", &mark)?;
        object.end()
    }
}

impl Tree {
    /// Writes the nodes as JSON, each with those below it as `children`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        // As deep as it is, without recursion: a node's object stays open until the next one is not below it.
        for (at, node) in self.nodes.iter().enumerate() {
            let own = serde_json::to_string(node)?;
            out.write_all(own.strip_suffix('}').unwrap_or(&own).as_bytes())?;
            out.write_all(b",\"children\":[")?;
            let next = self.nodes.get(at + 1).map_or(0, |next| next.depth);
            let closed = (node.depth + 1).saturating_sub(next);
            (0..closed).try_for_each(|_| out.write_all(b"]}"))?;
            if closed > 0 && next > 0 {
                out.write_all(b",")?;
            }
        }
        Ok(())
    }
}

/// Where a session's final value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The turn that gave it.
    pub turn: Entry<Turn>,
    /// Why that turn ended as it did: causes first, its end last.
    pub chain: Vec<Link>,
    /// The evals of the turn.
    pub evals: Vec<Entry<Eval>>,
    /// The calls of the turn, of whatever type.
    pub calls: Vec<Entry<Call>>,
    /// The invocations made by these calls.
    pub invocations: Vec<Entry<Invocation>>,
}

//! The tree of sessions: who called whom, what was made from whose heads, and what all of it used.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::heads::head_info;
use super::sessions::{find_session, session_info};
use super::types::{Mark, Node, NodeKind, Tree, TreeLimits, Used};
use super::usage::{caller, own};
use super::{Answer, not_found};
use crate::model::{DerivationKind, HeadKind, Label, NodeName, SessionId, Status};
use crate::sqlite::read::names::Names;
use crate::sqlite::read::tree::{self as rows, Edge};
use crate::sqlite::row::bound;
use crate::view::error::ReadError;

/// Addresses are as long as a tree is deep: what lies deeper is read by asking for a node further down.
const DEEPEST: u64 = 256;

/// A node that is still to be read.
struct Pending {
    name: NodeName,
    depth: u64,
    /// The place of the node above.
    above: Option<usize>,
    kind: NodeKind,
    session: Option<SessionId>,
    label: Option<String>,
    /// What the caller's row says.
    status: Option<Status>,
}

/// The node of that name: the session at its top, and each step one search for its label.
fn find(conn: &Connection, name: &NodeName) -> Result<Pending, ReadError> {
    let mut found = Pending {
        name: NodeName::root(name.session.clone()),
        depth: 0,
        above: None,
        kind: NodeKind::Root,
        session: Some(name.session.clone()),
        label: None,
        status: None,
    };
    for label in name.address.steps() {
        let missing = || not_found("node", name.to_string());
        let sid = match &found.session {
            Some(session) => find_session(conn, session.as_str())?.ok_or_else(missing)?,
            None => return Err(missing()),
        };
        let edge = rows::labelled(conn, caller(conn, sid)?, *label).answer()?.ok_or_else(missing)?;
        found = Pending { name: down(&found.name, edge.label), ..below(&found, None, edge)? };
        found.depth = 0;
    }
    Ok(found)
}

fn down(name: &NodeName, label: Label) -> NodeName {
    NodeName { session: name.session.clone(), address: name.address.child(label) }
}

fn below(above: &Pending, place: Option<usize>, edge: Edge) -> Result<Pending, ReadError> {
    let kind = Status::new(edge.kind).map_err(|error| super::damaged(format!("the type of a child, {error},")))?;
    Ok(Pending {
        name: down(&above.name, edge.label),
        depth: above.depth + 1,
        above: place,
        kind: NodeKind::Child(kind),
        session: edge.callee,
        label: edge.text,
        status: Some(edge.status),
    })
}

/// The local integer of the session at a node.
pub(crate) fn sid_of(conn: &Connection, name: &NodeName) -> Result<i64, ReadError> {
    let missing = || not_found(if name.address.steps().is_empty() { "session" } else { "node" }, name.to_string());
    let session = find(conn, name)?.session.ok_or_else(missing)?;
    find_session(conn, session.as_str())?.ok_or_else(missing)
}

/// The node of that name and what hangs below it.
pub(crate) fn tree(conn: &Connection, name: &NodeName, limits: TreeLimits) -> Result<Tree, ReadError> {
    let mut reading = Reading { conn, limits, nodes: Vec::new(), sids: Vec::new(), pending: Vec::new() };
    let top = find(conn, name)?;
    if name.address.steps().is_empty() {
        super::sessions::sid(conn, &name.session)?;
    }
    reading.pending.push(top);
    reading.run()?;
    let Reading { mut nodes, sids, .. } = reading;
    let tops = nodes.iter().zip(&sids).filter(|(node, _)| !matches!(node.kind, NodeKind::Child(_)));
    let tops: Vec<i64> = sids.first().into_iter().chain(tops.map(|(_, sid)| sid)).flatten().copied().collect();
    let wanted: HashSet<i64> = sids.iter().flatten().copied().collect();
    let sums = sums(conn, &tops, &wanted)?;
    for (node, sid) in nodes.iter_mut().zip(sids) {
        if let Some((own, subtree)) = sid.and_then(|sid| sums.get(&sid)) {
            (node.own, node.subtree) = (*own, *subtree);
        }
    }
    Ok(Tree { nodes })
}

/// A tree while it is read, from the top down, each node before those below it.
struct Reading<'c> {
    conn: &'c Connection,
    limits: TreeLimits,
    nodes: Vec<Node>,
    /// The sessions of the nodes; none where there is no session.
    sids: Vec<Option<i64>>,
    pending: Vec<Pending>,
}

impl Reading<'_> {
    fn run(&mut self) -> Result<(), ReadError> {
        let mut names = Names::new(self.conn).answer()?;
        let (mut shown, mut path) = (HashSet::new(), Vec::new());
        while let Some(pending) = self.pending.pop() {
            // A path is as deep as the tree: its limit keeps this short.
            path.truncate(usize::try_from(pending.depth).unwrap_or(usize::MAX));
            let sid = match &pending.session {
                Some(session) => find_session(self.conn, session.as_str())?,
                None => None,
            };
            let mark = match sid {
                None => Some(Mark::Missing),
                Some(sid) if path.contains(&sid) => Some(Mark::Cycle),
                Some(sid) if !shown.insert(sid) => Some(Mark::Again),
                Some(_) => None,
            };
            let place = self.nodes.len();
            if let Some(above) = pending.above.and_then(|above| self.nodes.get_mut(above)) {
                above.shown += 1;
            }
            let node = self.node(&pending, sid, mark)?;
            self.nodes.push(node);
            self.sids.push(sid);
            if let (Some(sid), None) = (sid, mark) {
                path.push(sid);
                if pending.depth < self.limits.depth.min(DEEPEST) {
                    self.open(&mut names, &pending, place, sid)?;
                }
            }
        }
        Ok(())
    }

    fn node(&self, pending: &Pending, sid: Option<i64>, mark: Option<Mark>) -> Result<Node, ReadError> {
        let conn = self.conn;
        let info = sid.map(|sid| session_info(conn, sid)).transpose()?;
        let head = info.as_ref().and_then(|info| info.current_head);
        let (mut final_value, mut seen) = (None, HashSet::new());
        let mut next = head;
        while let Some(head) = next.take().filter(|head| seen.insert(*head)) {
            let head = head_info(conn, super::heads::hid(conn, &head)?)?;
            final_value = head.final_value;
            // These end no turn: what was final before is.
            if matches!(head.kind, HeadKind::Genesis | HeadKind::Compaction) && final_value.is_none() {
                next = head.basis.or(head.up);
            }
        }
        let (mut children, mut forks) = (0, 0);
        if let Some(sid) = sid {
            children = rows::count(conn, caller(conn, sid)?).answer()?;
            for kind in MADE {
                forks += rows::count_made(conn, sid, kind).answer()?;
            }
        }
        let said = || pending.status.clone().unwrap_or(Status::OPEN);
        Ok(Node {
            name: pending.name.clone(),
            depth: pending.depth,
            kind: pending.kind.clone(),
            session: pending.session.clone(),
            label: pending.label.clone(),
            status: info.as_ref().map_or_else(said, |info| info.status.clone()),
            info,
            head,
            final_value,
            own: Used::default(),
            subtree: Used::default(),
            children,
            forks,
            shown: 0,
            mark,
        })
    }

    /// Puts what hangs from a node before what is pending, as far as the limits go.
    fn open(&mut self, names: &mut Names, above: &Pending, place: usize, sid: i64) -> Result<(), ReadError> {
        let conn = self.conn;
        let all = u64::try_from(self.nodes.len() + self.pending.len()).unwrap_or(u64::MAX);
        // What is pending is on its way already: together they keep to the limit.
        let mut left = self.limits.nodes.saturating_sub(all);
        let breadth = self.limits.breadth;
        let mut found = Vec::new();
        let caller = caller(conn, sid)?;
        let mut edges = rows::invocations(conn, caller, 0, bound(breadth.min(left))).answer()?;
        let more = breadth.min(left).saturating_sub(edges.len() as u64);
        edges.extend(rows::calls(conn, caller, 0, bound(more)).answer()?);
        left = left.saturating_sub(edges.len() as u64);
        for edge in edges {
            found.push(below(above, Some(place), edge)?);
        }
        for kind in MADE {
            let made = rows::made(conn, sid, kind, bound(breadth.min(left))).answer()?;
            left = left.saturating_sub(made.len() as u64);
            for target in made {
                let session = names.session(target).answer()?;
                found.push(Pending {
                    name: NodeName::root(session.clone()),
                    depth: above.depth + 1,
                    above: Some(place),
                    kind: NodeKind::Made(kind),
                    session: Some(session),
                    label: None,
                    status: None,
                });
            }
        }
        self.pending.extend(found.into_iter().rev());
        Ok(())
    }
}

/// The ways in which a session is made from another's head.
const MADE: [DerivationKind; 2] = [DerivationKind::Fork, DerivationKind::Attach];

/// What each of the `wanted` sessions used, itself and with all that it called; all of them are `tops` or below one.
///
/// Where every session has one caller, sums grow on the way up. Where one has several, it counts once for each session
/// above, so that sums of sums would be wrong: then each is summed over the sessions that it reaches.
fn sums(conn: &Connection, tops: &[i64], wanted: &HashSet<i64>) -> Result<HashMap<i64, (Used, Used)>, ReadError> {
    struct Open {
        sid: i64,
        own: Used,
        sum: Used,
        callees: std::vec::IntoIter<i64>,
    }
    let open = |sid: i64| -> Result<Open, ReadError> {
        let [root, leaf] = own(conn, sid)?;
        let own = root.with(leaf);
        let callees = rows::callees(conn, caller(conn, sid)?).answer()?.into_iter();
        Ok(Open { sid, own, sum: own, callees })
    };
    let (mut found, mut seen) = (HashMap::new(), HashSet::new());
    for top in tops {
        if !seen.insert(*top) {
            continue;
        }
        let mut path = vec![open(*top)?];
        while let Some(last) = path.last_mut() {
            match last.callees.next() {
                Some(callee) if seen.insert(callee) => path.push(open(callee)?),
                Some(_) => return sums_of_shared(conn, wanted),
                None => {
                    let Some(done) = path.pop() else { break };
                    if wanted.contains(&done.sid) {
                        found.insert(done.sid, (done.own, done.sum));
                    }
                    if let Some(above) = path.last_mut() {
                        above.sum = above.sum.with(done.sum);
                    }
                }
            }
        }
    }
    Ok(found)
}

fn sums_of_shared(conn: &Connection, wanted: &HashSet<i64>) -> Result<HashMap<i64, (Used, Used)>, ReadError> {
    let mut known: HashMap<i64, (Used, Vec<i64>)> = HashMap::new();
    let mut found = HashMap::new();
    for top in wanted {
        let (mut seen, mut next) = (HashSet::from([*top]), vec![*top]);
        let (mut all, mut of_top) = (Used::default(), Used::default());
        while let Some(sid) = next.pop() {
            let (own, callees) = match known.entry(sid) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let [root, leaf] = own(conn, sid)?;
                    let callees = rows::callees(conn, caller(conn, sid)?).answer()?;
                    place.insert((root.with(leaf), callees))
                }
            };
            all = all.with(*own);
            if sid == *top {
                of_top = *own;
            }
            next.extend(callees.iter().copied().filter(|callee| seen.insert(*callee)));
        }
        found.insert(*top, (of_top, all));
    }
    Ok(found)
}

//! Answers about several sessions, and sums: trees, usage, where a final value comes from.

use super::Store;
use super::error::ReadError;
use crate::model::{NodeName, SessionId};
use crate::view::types::{ModelUsage, Node, SessionInfo, Trace, Tree, TreeLimits, TurnUsage, Usage};
use crate::view::{origin, resolve, sessions, tree, usage};

impl Store {
    /// The node that `text` names: a session ([`Store::resolve_session`]), or a session and the way down from it, such as
    /// `demo/child-0001` or `demo/root/child-0001/child-0004`. An address alone (`root`, `child-0001`) is one of the session
    /// changed last; a session of that very name comes first. Steps down are looked up when the node is read.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], [`ReadError::Ambiguous`], [`ReadError::BadId`].
    pub fn resolve_node(&self, text: &str) -> Result<NodeName, ReadError> {
        self.inner.read(|conn| resolve::resolve_node(conn, text))
    }

    /// The session at a node.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`], also where the session at the node is not in the store.
    pub fn session_at(&self, name: &NodeName) -> Result<SessionId, ReadError> {
        self.inner.read(|conn| Ok(sessions::session_info(conn, tree::sid_of(conn, name)?)?.session))
    }

    /// The session changed last; none in an empty store.
    ///
    /// # Errors
    ///
    /// [`ReadError::Database`].
    pub fn last_changed(&self) -> Result<Option<SessionInfo>, ReadError> {
        self.inner.read(|conn| resolve::last_changed(conn)?.map(|sid| sessions::session_info(conn, sid)).transpose())
    }

    /// One node, without those below it: one search for each step of its address, and what the sessions below it used.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] if a step leads nowhere. A child that failed before it had a session, or whose session is not in
    /// the store, is a node all the same.
    pub fn load_node(&self, name: &NodeName) -> Result<Node, ReadError> {
        let limits = TreeLimits { depth: 0, breadth: 0, nodes: 1 };
        let node = self.inner.read(|conn| tree::tree(conn, name, limits))?.nodes.pop();
        node.ok_or_else(|| ReadError::NotFound { what: "node", name: name.to_string() })
    }

    /// A node and what hangs below it: the sessions that it called, in the order of its calls, then those made from its heads.
    /// Beyond the limits nodes are counted, not read; below a session that was shown before, or is above itself, nothing is.
    ///
    /// # Errors
    ///
    /// As for [`Store::load_node`].
    pub fn tree(&self, name: &NodeName, limits: TreeLimits) -> Result<Tree, ReadError> {
        self.inner.read(|conn| tree::tree(conn, name, limits))
    }

    /// Tokens and cost of the session's calls to providers, and of those of the sessions below it; abandoned branches
    /// included, what it inherited apart.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn usage(&self, session: &SessionId) -> Result<Usage, ReadError> {
        self.of(session, usage::usage)
    }

    /// The same by provider and model: of the session's own calls, or of all in its tree.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn usage_by_model(&self, session: &SessionId, tree: bool) -> Result<Vec<ModelUsage>, ReadError> {
        self.of(session, |conn, sid| usage::by_model(conn, sid, tree))
    }

    /// The same of the session's own calls, by turn; first those of no turn.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn usage_by_turn(&self, session: &SessionId) -> Result<Vec<TurnUsage>, ReadError> {
        self.of(session, usage::by_turn)
    }

    /// Where the session's final value comes from: the turn that the current head seals, why it ended as it did, and the
    /// evals, calls and invocations it is made of. None before the first turn is sealed.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`].
    pub fn trace(&self, session: &SessionId) -> Result<Option<Trace>, ReadError> {
        self.of(session, origin::trace)
    }
}

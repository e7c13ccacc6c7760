//! Which session is meant, and which of its heads: `demo`, `demo/child-0001`, `demo@1`, `--head` and `--turn`.

use headwater::model::{HeadId, NodeName, SessionId, TurnNumber};
use headwater::store::{Scope, Store};
use headwater::view::types::{HeadInfo, SessionInfo};

use super::outcome::{self, Outcome};
use super::{Context, Failure, text};

#[derive(clap::Args)]
pub struct At {
    /// A head: id, unique prefix, SESSION@N or @N (N turns back)
    #[arg(long, value_name = "HEAD", conflicts_with = "turn")]
    head: Option<String>,
    /// The head at which turn N ended
    #[arg(long, value_name = "N")]
    turn: Option<u64>,
}

impl At {
    /// Neither given: for verbs that show more than one head.
    pub fn none() -> At {
        At { head: None, turn: None }
    }

    /// The head chosen; none when the session's current one is meant.
    pub fn resolve(&self, store: &Store, session: &SessionId) -> Result<Option<HeadId>, Failure> {
        Ok(match (&self.head, self.turn) {
            (Some(head), _) if head.starts_with('@') => Some(store.resolve_head(&format!("{session}{head}"))?),
            (Some(head), _) => Some(store.resolve_head(head)?),
            (None, Some(turn)) => Some(store.head_of_turn(session, TurnNumber(turn))?),
            (None, None) => None,
        })
    }
}

/// A session that was asked for, and the head that is looked at.
pub struct Found {
    pub name: NodeName,
    pub info: SessionInfo,
    /// The head chosen, or the current one.
    pub head: Option<HeadInfo>,
    /// The head, where one was chosen.
    pub chosen: Option<HeadId>,
}

impl At {
    /// The session and head meant by `node`, which may end in `@N`; without it, the session changed last.
    pub fn find(&self, store: &Store, context: &Context, node: Option<&str>) -> Result<Found, Failure> {
        let found = self.find_any(store, node)?;
        if let Some(head) = found.head.as_ref().filter(|head| head.session != found.info.session) {
            let other = text::name(&store.session(&head.session)?).clone();
            let short = head.head.short();
            return Err(Failure::new("invalid", format!("{short} is a head of {other}"))
                .hint(context.command(&format!("show {other} --head {short}")))
                .details(serde_json::json!({ "head": head.head, "session": head.session })));
        }
        Ok(found)
    }

    /// The same, where a head of another session will do.
    pub fn find_any(&self, store: &Store, node: Option<&str>) -> Result<Found, Failure> {
        let (name, back) = split(store, node)?;
        let session = store.session_at(&name)?;
        let chosen = match back {
            Some(_) if self.head.is_some() || self.turn.is_some() => {
                return Err(Failure::usage("`@N` after a session, and --head or --turn: two heads are named"));
            }
            Some(back) => Some(store.resolve_head(&format!("{session}@{back}"))?),
            None => self.resolve(store, &session)?,
        };
        let info = store.session(&session)?;
        let head = chosen.or(info.current_head).map(|head| store.head(&head)).transpose()?;
        Ok(Found { name, info, head, chosen })
    }
}

/// The node, and the text after its `@`.
fn split<'t>(store: &Store, node: Option<&'t str>) -> Result<(NodeName, Option<&'t str>), Failure> {
    let Some(node) = node else { return Ok((NodeName::root(latest(store)?), None)) };
    match node.rsplit_once('@') {
        // `@1` alone is of the session changed last, as a bare address is.
        Some(("", back)) => Ok((NodeName::root(latest(store)?), Some(back))),
        Some((node, back)) => Ok((store.resolve_node(node)?, Some(back))),
        None => Ok((store.resolve_node(node)?, None)),
    }
}

fn latest(store: &Store) -> Result<SessionId, Failure> {
    store.last_changed()?.map(|session| session.session).ok_or_else(|| {
        Failure::new("not-found", "there is no session in the store yet")
            .hint("headwater run TASK --script simple --name NAME records one")
    })
}

impl Found {
    pub fn session(&self) -> &SessionId {
        &self.info.session
    }

    /// The rows that are looked at.
    pub fn scope(&self) -> Scope {
        self.chosen.map_or(Scope::Current, Scope::Head)
    }

    pub fn outcome(&self, store: &Store) -> Result<Outcome, Failure> {
        outcome::of(store, &self.info, self.head.as_ref())
    }

    /// What a person calls it in a command: the way it was asked for below a session, else its name.
    pub fn called(&self) -> String {
        match self.name.address.steps().is_empty() {
            true => text::name(&self.info).to_string(),
            false => self.name.to_string(),
        }
    }
}

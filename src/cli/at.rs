//! Which session is meant, and which of its heads: `SESSION`, `SESSION@N`, a head, `--head` and `--turn`.

use headwater::model::{HeadId, NodeName, Pin, PinTarget, SessionId, TurnNumber};
use headwater::store::error::ReadError;
use headwater::store::{Scope, Store};
use headwater::view::types::{HeadInfo, SessionInfo};

use super::outcome::{self, Outcome};
use super::{Context, Failure, text};

#[derive(clap::Args)]
pub struct At {
    /// A head: id, unique prefix (at least 4 hex digits), pin, SESSION@N or @N (N turns back)
    #[arg(long, value_name = "HEAD", conflicts_with = "turn")]
    head: Option<String>,
    /// The head at which turn N ended
    #[arg(long, value_name = "N")]
    turn: Option<u64>,
}

impl At {
    /// The session that `named` names, and the head chosen; none when its current one is meant.
    ///
    /// `SESSION@N`, a head's id and a pin of a head name both; `--head` or `--turn` beside them is wrong usage.
    pub fn session(&self, store: &Store, named: &str) -> Result<(SessionId, Option<HeadId>), Failure> {
        let (session, head) = match named.split_once('@') {
            Some((session, _)) => (store.resolve_session(session)?, store.resolve_head(named)?),
            None => match what(store, named)? {
                Named::Session(session) => {
                    let head = self.resolve(store, &session)?;
                    return Ok((session, head));
                }
                Named::Head(head) => (store.head(&head)?.session, head),
            },
        };
        if self.head.is_some() || self.turn.is_some() {
            return Err(Failure::usage(format!("{named} names a head already: leave out --head and --turn")));
        }
        Ok((session, Some(head)))
    }

    /// The head chosen; none when the session's current one is meant.
    pub fn resolve(&self, store: &Store, session: &SessionId) -> Result<Option<HeadId>, Failure> {
        Ok(match (&self.head, self.turn) {
            (Some(head), _) if head.starts_with('@') => Some(store.resolve_head(&format!("{session}{head}"))?),
            (Some(head), _) => Some(store.resolve_head(head)?),
            (None, Some(turn)) => Some(of_turn(store, session, turn)?),
            (None, None) => None,
        })
    }
}

/// What a name means where a session and a head may stand.
pub enum Named {
    Session(SessionId),
    Head(HeadId),
}

/// What `text` means: a session's id, an alias, a pin of a head; then whatever begins with it, sessions before heads.
pub fn what(store: &Store, text: &str) -> Result<Named, Failure> {
    if let Some(session) = exactly(store, text)? {
        return Ok(Named::Session(session));
    }
    if let Ok(name) = text.parse::<SessionId>() {
        match store.read_pin(&name) {
            Ok(Pin { target: PinTarget::Head(head), .. }) => return Ok(Named::Head(head)),
            Ok(_) | Err(ReadError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let error = match store.resolve_session(text) {
        Ok(session) => return Ok(Named::Session(session)),
        Err(error @ (ReadError::NotFound { .. } | ReadError::BadId(_))) => error,
        Err(error) => return Err(error.into()),
    };
    match store.resolve_head(text) {
        Ok(head) => Ok(Named::Head(head)),
        Err(ReadError::NotFound { .. } | ReadError::BadId(_)) if !text.starts_with("head-") && !text.contains('@') => {
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The session of that very id or alias, or the node at that way below one.
pub fn exactly(store: &Store, text: &str) -> Result<Option<SessionId>, Failure> {
    match store.resolve_session(text) {
        Ok(session) if text.contains('/') || session.as_str() == text => Ok(Some(session)),
        Ok(session) => {
            let is_alias = store.session(&session)?.aliases.iter().any(|alias| alias.as_str() == text);
            Ok(is_alias.then_some(session))
        }
        Err(ReadError::NotFound { .. } | ReadError::BadId(_) | ReadError::Ambiguous { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The head that `text` names, or the current one of the session it names.
pub fn head(store: &Store, text: &str) -> Result<HeadId, Failure> {
    match what(store, text)? {
        Named::Session(session) => current(store, &session),
        Named::Head(head) => Ok(head),
    }
}

/// The current head of a session.
pub fn current(store: &Store, session: &SessionId) -> Result<HeadId, Failure> {
    store.session(session)?.current_head.ok_or_else(|| {
        Failure::new("no-head", format!("{session} has no current head")).hint("headwater inspect SESSION lists heads")
    })
}

/// The head at which turn `turn` of `session` ended.
fn of_turn(store: &Store, session: &SessionId, turn: u64) -> Result<HeadId, Failure> {
    store.head_of_turn(session, TurnNumber(turn)).map_err(|error| match error {
        ReadError::NotFound { .. } => {
            let name = store.session(session).map_or_else(|_| session.clone(), |info| text::name(&info).clone());
            Failure::new("not-found", format!("no checkpoint of {name} ends turn {turn}"))
                .hint(format!("headwater inspect {name} lists its heads with their turns"))
                .details(serde_json::json!({ "what": "turn", "name": turn.to_string(), "session": session }))
        }
        error => error.into(),
    })
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
    /// Neither given: for verbs that show more than one head.
    pub fn none() -> At {
        At { head: None, turn: None }
    }

    /// The session and head meant by `node`, a head of that very session; without it, the session changed last.
    pub fn find(&self, store: &Store, context: &Context, node: Option<&str>) -> Result<Found, Failure> {
        let (name, session, chosen) = match node {
            Some(node) => {
                let (session, chosen) = self.session(store, node)?;
                let way = node.split_once('@').map_or(node, |(way, _)| way);
                // A head names its session without a way to it.
                let name = match store.resolve_session(way) {
                    Ok(found) if found == session => store.resolve_node(way)?,
                    _ => NodeName::root(session.clone()),
                };
                (name, session, chosen)
            }
            None => {
                let session = latest(store)?;
                let chosen = self.resolve(store, &session)?;
                (NodeName::root(session.clone()), session, chosen)
            }
        };
        let info = store.session(&session)?;
        let head = chosen.or(info.current_head).map(|head| store.head(&head)).transpose()?;
        if let Some(head) = head.as_ref().filter(|head| head.session != session) {
            let other = text::name(&store.session(&head.session)?).clone();
            let short = head.head.short();
            return Err(Failure::new("invalid", format!("{short} is a head of {other}"))
                .hint(context.command(&format!("show {short}")))
                .details(serde_json::json!({ "head": head.head, "session": head.session })));
        }
        Ok(Found { name, info, head, chosen })
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

    /// Refuses a head: for `verb`, which tells of all that a session did.
    pub fn whole(self, verb: &str) -> Result<Found, Failure> {
        match self.chosen {
            Some(head) => Err(Failure::usage(format!(
                "{} is one head, and {verb} tells of the whole session: headwater {verb} {}",
                head.short(),
                self.called()
            ))),
            None => Ok(self),
        }
    }

    /// What a person calls it in a command: the way it was asked for below a session, else its name.
    pub fn called(&self) -> String {
        match self.name.address.steps().is_empty() {
            true => text::name(&self.info).to_string(),
            false => self.name.to_string(),
        }
    }
}

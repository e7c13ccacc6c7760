//! Which session is meant, and which of its heads: `SESSION`, `SESSION@N`, a head, `--head` and `--turn`.

use headwater::model::{HeadId, SessionId, TurnNumber};
use headwater::store::Store;
use headwater::store::error::ReadError;

use super::{Failure, text};

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
    /// The session that `named` names, and the head chosen; none when its current one is meant.
    ///
    /// `SESSION@N` and a head's id name both; `--head` or `--turn` beside them is wrong usage.
    pub fn session(&self, store: &Store, named: &str) -> Result<(SessionId, Option<HeadId>), Failure> {
        let error = match store.resolve_session(named) {
            Ok(session) => {
                let head = self.resolve(store, &session)?;
                return Ok((session, head));
            }
            Err(error) => error,
        };
        let (session, head) = match named.split_once('@') {
            Some((session, _)) => (store.resolve_session(session)?, store.resolve_head(named)?),
            None if named.starts_with("head-") => {
                let head = store.resolve_head(named)?;
                (store.head(&head)?.session, head)
            }
            None => return Err(error.into()),
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

/// Refuses a name that is a session's id already: as an alias it would name nothing.
pub fn refuse_taken(store: &Store, name: &SessionId) -> Result<(), Failure> {
    if !store.exists(name.as_str())? {
        return Ok(());
    }
    Err(Failure::new("conflict", format!("{name} is a session itself"))
        .hint("choose another name")
        .details(serde_json::json!({ "session": name })))
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

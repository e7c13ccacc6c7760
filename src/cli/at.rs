//! `--head` and `--turn`: which head of a session is meant.

use headwater::model::{HeadId, SessionId, TurnNumber};
use headwater::store::Store;

use super::Failure;

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

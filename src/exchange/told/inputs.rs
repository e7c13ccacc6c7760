//! Which messages of the user's are inputs: what begins a turn, rather than what a program says in the user's name.

use super::Place;
use crate::exchange::ExportError;
use crate::exchange::export::Task;
use crate::model::{Body, Digest, Event, Message, SessionId, TurnNumber};

/// How many events behind a message its turn may begin.
const AHEAD: usize = 8;

/// The turn that runs, as the events tell it.
#[derive(Default)]
pub struct Inputs {
    turn: Option<(SessionId, TurnNumber, Option<Digest>)>,
    /// Whether its input was told.
    is_told: bool,
}

impl Inputs {
    /// Takes in an event.
    pub fn take(&mut self, event: &Event) {
        let (Body::TurnStarted(row) | Body::TurnPut(row)) = &event.body else { return };
        let is_known =
            self.turn.as_ref().is_some_and(|(session, turn, _)| *session == event.session && *turn == row.turn);
        if !is_known {
            self.turn = Some((event.session.clone(), row.turn, row.input));
            self.is_told = !row.status.is_running();
        }
    }

    /// Whether a message of the user's is one: the first of its turn that has what that was begun with; of no turn, one right before a
    /// turn that has it, or any in a session without turns
    /// that is no import.
    ///
    /// # Errors
    ///
    /// [`ExportError::Read`].
    pub fn is_input(&mut self, task: &Task<'_>, place: &Place, row: &Message) -> Result<bool, ExportError> {
        let is_own =
            |(session, turn, _): &&(SessionId, TurnNumber, _)| *session == place.session && Some(*turn) == row.turn;
        if let Some((.., input)) = self.turn.as_ref().filter(is_own) {
            let fits = !self.is_told && input.is_none_or(|input| input == row.content);
            self.is_told |= fits;
            return Ok(fits);
        }
        let ahead = task.store.events_page(&place.session, place.event, AHEAD)?;
        let begins = ahead.iter().find_map(|next| match &next.body {
            Body::TurnStarted(turn) => Some(turn.input.is_none_or(|input| input == row.content)),
            Body::MessageAdded(_) => Some(false),
            _ => None,
        });
        let begins = begins.unwrap_or(false);
        if begins || row.turn.is_some() {
            return Ok(begins);
        }
        let info = task.store.session(&place.session)?;
        Ok(info.turns == 0 && info.origin.is_none())
    }
}

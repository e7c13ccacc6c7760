//! Messages to be added.

use crate::model::{CallNumber, Role, TurnNumber};

/// A message to add.
///
/// ```
/// use headwater::model::{Role, TurnNumber};
/// use headwater::store::NewMessage;
/// let message = NewMessage::new(Role::User, "what is 2 + 2?").turn(TurnNumber(1));
/// assert_eq!(message.turn, Some(TurnNumber(1)));
/// ```
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said: text, or any bytes.
    pub content: Vec<u8>,
    /// The turn it belongs to.
    pub turn: Option<TurnNumber>,
    /// The call that produced it.
    pub call: Option<CallNumber>,
    /// Fields of the embedder's, as JSON.
    pub extra: Option<Vec<u8>>,
}

impl NewMessage {
    /// A message with no turn, call or extra fields.
    pub fn new(role: Role, content: impl Into<Vec<u8>>) -> NewMessage {
        NewMessage { role, content: content.into(), turn: None, call: None, extra: None }
    }

    /// Says the turn it belongs to.
    #[must_use]
    pub fn turn(self, turn: TurnNumber) -> NewMessage {
        NewMessage { turn: Some(turn), ..self }
    }

    /// Says the call that produced it.
    #[must_use]
    pub fn call(self, call: CallNumber) -> NewMessage {
        NewMessage { call: Some(call), ..self }
    }

    /// Adds fields of the embedder's, as JSON.
    #[must_use]
    pub fn extra(self, json: impl Into<Vec<u8>>) -> NewMessage {
        NewMessage { extra: Some(json.into()), ..self }
    }
}

//! Labels: Pi's marks on records, each a pin on the head behind its record.

use super::Pi;
use super::record::Record;
use crate::exchange::batch::{Step, Stop};
use crate::exchange::run::is_session_name;
use crate::model::SessionId;

impl Pi {
    /// Moves the pins that a label names: that of the label its record had before goes, unless it says the same.
    pub(super) fn label(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Result<(), Stop> {
        let (Some((target, label)), Some(tree)) = (record.label(), self.tree.clone()) else { return Ok(()) };
        let before = tree.borrow().label_before(step.number()).and_then(|label| pin(step.batch.session(), label));
        let now = label.and_then(|label| pin(step.batch.session(), &label));
        if let Some(before) = before.filter(|before| Some(before) != now.as_ref()) {
            step.batch.set_pin(&before, None)?;
        }
        let Some(now) = now else { return Ok(()) };
        if now.is_like_a_head() || is_session_name(step.store(), &now)? {
            step.odd("label-taken", format!("a session has the name of the label's pin, {now}: it gets none"));
            return Ok(());
        }
        if let Some(head) = tree.borrow_mut().head_at(step, &target)? {
            step.batch.set_pin(&now, Some(head))?;
        }
        Ok(())
    }
}

/// The pin of a label: the session's id, and the label as far as a name can have it.
fn pin(session: &SessionId, label: &str) -> Option<SessionId> {
    let fits = |letter: char| if letter.is_ascii_alphanumeric() || "_-.".contains(letter) { letter } else { '-' };
    let name: String = session.as_str().chars().chain(['.']).chain(label.chars().map(fits)).take(235).collect();
    name.parse().ok()
}

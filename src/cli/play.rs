//! The one place where a verb has a turn played: `resume` and `fork` with a task.

use headwater::store::Session;

use super::Failure;

/// The script played where none is named.
pub const SCRIPT: &str = "simple";

/// Plays one turn of `script` with `task` into `session`.
pub fn turn(session: &Session, script: &str, task: &str) -> Result<(), Failure> {
    // ---- place for the scripted engine: `engine::play(session, script, task)` ----
    let details = serde_json::json!({ "session": session.id(), "script": script, "task": task });
    Err(Failure::new("unsupported", "no scripted engine is built in").details(details))
}

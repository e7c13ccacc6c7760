//! The scripted reference engine behind `run`, `resume TASK` and `fork TASK`: it plays model replies from a script,
//! offline, and records them as a real engine would, one durable commit for each step, so that a kill may land
//! between any two. It uses only the library's public API.

mod builtin;
mod play;
mod script;

pub use play::play;
pub use script::Script;

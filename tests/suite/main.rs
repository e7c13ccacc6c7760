//! What the library promises, one small module for each behaviour.

mod answers;
mod backup;
mod checks;
mod claude;
mod claude_copies;
mod claude_data;
mod claude_history;
mod codex;
mod codex_history;
mod contract;
mod copies;
mod exchange;
mod facts;
mod files;
#[path = "../support/fill.rs"]
mod fill;
mod format;
mod fractal;
mod gemini;
mod hostile;
mod hostile_logs;
mod imports;
mod leases;
mod life;
mod model;
mod names;
#[path = "../support/note.rs"]
mod note;
mod observed;
mod opencode;
mod opencode_data;
mod opening;
mod outcome;
mod packs;
mod payloads;
mod pi;
mod pins;
mod pixir;
mod references;
mod refusals;
mod repair;
mod shell;
mod subscriptions;
mod tools;
mod writers;
mod written;

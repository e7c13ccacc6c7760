//! What the library promises, one small module for each behaviour.

mod answers;
mod backup;
mod checks;
mod claude;
mod claude_data;
mod codex;
mod contract;
mod copies;
mod exchange;
mod facts;
mod files;
mod format;
mod fractal;
mod hostile;
mod leases;
mod life;
mod model;
mod names;
#[path = "../support/note.rs"]
mod note;
mod observed;
mod opening;
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

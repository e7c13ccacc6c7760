//! What the library promises, one small module for each behaviour.

mod copies;
mod exchange;
mod format;
mod hostile;
mod life;
mod model;
mod shell;
mod tools;
mod writers;

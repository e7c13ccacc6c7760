//! What the library promises, one small module for each behaviour.

mod answers;
mod copies;
mod exchange;
mod files;
mod format;
mod life;
mod model;
mod observed;
mod shell;
mod tools;
mod writers;

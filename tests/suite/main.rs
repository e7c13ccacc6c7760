//! What the library promises, one small module for each behaviour.

mod exchange;
mod format;
mod life;
mod model;
mod tools;

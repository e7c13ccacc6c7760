//! What the library promises, one small module for each behaviour.

mod exchange;
mod life;
mod model;
mod tools;

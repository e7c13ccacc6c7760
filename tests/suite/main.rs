//! What the library promises, one small module for each behaviour.

mod life;
mod tools;

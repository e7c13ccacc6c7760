//! What the library promises, one small module for each behaviour.

mod copies;
mod exchange;
mod format;
mod fractal;
mod life;
mod model;
mod observed;
mod pixir;
mod shell;
mod tools;
mod writers;

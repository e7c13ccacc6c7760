//! What the library promises, one small module for each behaviour.

mod contract;
mod copies;
mod exchange;
mod facts;
mod format;
mod fractal;
mod hostile;
mod life;
mod model;
mod observed;
mod payloads;
mod pins;
mod pixir;
mod references;
mod shell;
mod subscriptions;
mod tools;
mod writers;

//! What the library promises, one small module for each behaviour.

mod backup;
mod checks;
mod copies;
mod exchange;
mod format;
mod leases;
mod life;
mod model;
mod opening;
mod refusals;
mod repair;
mod shell;
mod tools;
mod writers;

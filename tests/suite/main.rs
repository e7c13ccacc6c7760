//! What the library promises, one small module for each behaviour.

mod answers;
mod backup;
mod checks;
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
mod observed;
mod opening;
mod payloads;
mod pins;
mod pixir;
mod references;
mod refusals;
mod repair;
mod shell;
mod subscriptions;
mod tools;
mod writers;

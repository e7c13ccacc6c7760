//! A durable store for agent and LLM sessions.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod blob;
pub mod care;
pub mod clock;
pub mod exchange;
pub mod journal;
pub mod model;
pub mod segment;
mod sqlite;
pub mod store;
pub mod view;

//! A durable store for agent and LLM sessions.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod blob;
pub mod clock;
pub mod exchange;
pub mod model;
pub mod segment;
pub mod store;
pub mod view;

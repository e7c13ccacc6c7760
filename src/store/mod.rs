//! store
pub mod error;
mod skeleton;
pub use skeleton::*;

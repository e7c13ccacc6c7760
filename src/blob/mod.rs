//! blob

pub mod codec;
pub mod dictionary;

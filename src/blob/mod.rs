//! What the frames carry: bytes as they are stored, and the dictionaries they are stored with.

pub mod codec;
mod dictionary;

//! The model: no I/O, no SQL.

pub mod canonical;

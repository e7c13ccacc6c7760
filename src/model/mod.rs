//! model

pub mod canonical;

//! The targets of `tests/fuzz`, for libFuzzer.

#[path = "../../tests/support/archive.rs"]
pub mod archive;
#[path = "../../tests/support/note.rs"]
pub mod note;
#[path = "../../tests/fuzz/targets.rs"]
pub mod targets;

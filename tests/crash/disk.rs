//! To come.
pub fn a_full_disk() {}

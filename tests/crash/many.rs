//! To come.
pub fn sixteen_processes_at_once() {}
pub fn two_processes_share() {}

//! To come.
pub fn a_call_that_fails_once() {}
pub fn calls_that_fail_from_then_on() {}

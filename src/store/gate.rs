//! Whose turn it is to fill a batch of a session.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::ThreadId;

use super::commit::locked;

/// Lets one batch of a session be filled at a time. Not a mutex: it knows by whom.
#[derive(Default)]
pub(super) struct Gate {
    by: Mutex<Option<ThreadId>>,
    freed: Condvar,
}

impl Gate {
    /// Waits for its turn; none if it is this thread's already.
    pub(super) fn enter(&self) -> Option<Inside<'_>> {
        let me = std::thread::current().id();
        let mut by = locked(&self.by);
        loop {
            match *by {
                None => break,
                Some(other) if other == me => return None,
                Some(_) => by = self.freed.wait(by).unwrap_or_else(PoisonError::into_inner),
            }
        }
        *by = Some(me);
        Some(Inside(self))
    }
}

pub(super) struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        *locked(&self.0.by) = None;
        self.0.freed.notify_one();
    }
}

//! One session calling another, as the caller's handle records it.

use super::Session;
use super::error::CommitError;
use crate::model::{HeadId, Invocation, InvocationNumber, Status};

impl Session {
    /// Starts an invocation of type `kind` (`rlm`, `map-rlm`, `attach` or a word of the embedder's); `fill` says callee, call,
    /// input and label. Its number is assigned.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub fn start_invocation(
        &self,
        kind: Status,
        fill: impl FnOnce(&mut Invocation),
    ) -> Result<InvocationNumber, CommitError> {
        self.write(|batch| batch.start_invocation(kind, fill))
    }

    /// Records that an invocation completed; `change` says its final value and the callee's head.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn complete_invocation(
        &self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        self.write(|batch| batch.complete_invocation(invocation, change))
    }

    /// Records that an invocation failed; `change` says its error.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn fail_invocation(
        &self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        self.write(|batch| batch.fail_invocation(invocation, change))
    }

    /// Records the caller's head that first contains the end of an invocation.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch, or there is no such head.
    pub fn record_caller_head(&self, invocation: InvocationNumber, head: HeadId) -> Result<(), CommitError> {
        self.write(|batch| batch.record_caller_head(invocation, head))
    }
}

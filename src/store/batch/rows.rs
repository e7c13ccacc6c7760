//! The rows a batch can hold: turns, calls, evals, snapshots, annotations, statuses, invocations.

use super::Batch;
use crate::model::event::EPHEMERAL;
use crate::model::{
    Annotation, Body, Call, CallNumber, CallType, Digest, Eval, EvalNumber, EventNumber, HeadId, Invocation,
    InvocationNumber, SessionError, SessionStatus, Snapshot, SnapshotNumber, Status, Turn, TurnNumber,
};
use crate::store::error::CommitError;

impl Batch<'_> {
    /// Starts a turn; `fill` says what is known of it.
    pub fn begin_turn(&mut self, fill: impl FnOnce(&mut Turn)) -> Result<TurnNumber, CommitError> {
        let number = TurnNumber(self.state.counters.turn + 1);
        let mut turn = Turn::new(number);
        turn.head_before = self.state.current;
        turn.started_at = Some(self.at);
        fill(&mut turn);
        turn.turn = number;
        self.push_row(Body::TurnStarted(turn))?;
        Ok(number)
    }

    /// Writes a new version of a turn; a status other than `running` ends it.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the turn is not visible on this branch.
    pub fn update_turn(&mut self, turn: TurnNumber, change: impl FnOnce(&mut Turn)) -> Result<(), CommitError> {
        let mut row = self.turn_in_sight(turn)?;
        change(&mut row);
        row.turn = turn;
        if !row.status.is_running() {
            row.ended_at.get_or_insert(self.at);
        }
        self.push_row(Body::TurnPut(row))?;
        Ok(())
    }

    /// Starts a call; `fill` says what is known of it.
    pub fn begin_call(&mut self, call_type: CallType, fill: impl FnOnce(&mut Call)) -> Result<CallNumber, CommitError> {
        let number = CallNumber(self.state.counters.call + 1);
        let mut call = Call::new(number, call_type);
        call.turn = self.state.running_turn();
        call.started_at = Some(self.at);
        fill(&mut call);
        call.call = number;
        self.push_row(Body::CallStarted(call))?;
        Ok(number)
    }

    /// Adds a call that is over: one event says all of it, where a start and an end would say most of it twice. Its status is
    /// `ok` unless `fill` says another.
    pub fn add_call(&mut self, call_type: CallType, fill: impl FnOnce(&mut Call)) -> Result<CallNumber, CommitError> {
        let ended = self.at;
        self.begin_call(call_type, |call| {
            call.status = Status::OK;
            fill(call);
            if !call.status.is_running() {
                call.ended_at.get_or_insert(ended);
            }
        })
    }

    /// Writes a new version of a call; a status other than `running` ends it.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the call is not visible on this branch.
    pub fn update_call(&mut self, call: CallNumber, change: impl FnOnce(&mut Call)) -> Result<(), CommitError> {
        let mut row = self.call_in_sight(call)?;
        change(&mut row);
        row.call = call;
        if !row.status.is_running() {
            row.ended_at.get_or_insert(self.at);
        }
        self.push_row(Body::CallPut(row))?;
        Ok(())
    }

    /// Adds an eval that ended with `status`; `fill` says the rest.
    pub fn add_eval(&mut self, status: Status, fill: impl FnOnce(&mut Eval)) -> Result<EvalNumber, CommitError> {
        let number = EvalNumber(self.state.counters.eval + 1);
        let mut eval = Eval::new(number, status);
        eval.turn = self.state.running_turn();
        fill(&mut eval);
        eval.eval = number;
        self.push_row(Body::EvalAdded(eval))?;
        Ok(number)
    }

    /// Writes a new version of an eval: of one that was recorded as unfinished its end came to be known.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the eval is not visible on this branch; [`CommitError::Invalid`] for the status `running`.
    pub fn update_eval(&mut self, eval: EvalNumber, change: impl FnOnce(&mut Eval)) -> Result<(), CommitError> {
        let mut row = self.eval_in_sight(eval)?;
        change(&mut row);
        row.eval = eval;
        self.push_row(Body::EvalPut(row))?;
        Ok(())
    }

    /// Adds a snapshot of `kind`; `fill` says the rest.
    pub fn add_snapshot(
        &mut self,
        kind: Status,
        fill: impl FnOnce(&mut Snapshot),
    ) -> Result<SnapshotNumber, CommitError> {
        let number = SnapshotNumber(self.state.counters.snapshot + 1);
        let mut snapshot = Snapshot::new(number, kind);
        snapshot.turn = self.state.turn.as_ref().map(|turn| turn.turn);
        fill(&mut snapshot);
        snapshot.snapshot = number;
        self.push_row(Body::SnapshotAdded(snapshot))?;
        Ok(number)
    }

    /// Adds a fact of the embedder's own type: kept and shown, changing no row.
    ///
    /// # Errors
    ///
    /// [`CommitError::BadId`] for a type of the store's own or over 128 bytes, [`CommitError::Ephemeral`] for one that
    /// goes to live subscribers only.
    pub fn add_annotation(
        &mut self,
        kind: &str,
        turn: Option<TurnNumber>,
        payload: Option<Digest>,
    ) -> Result<EventNumber, CommitError> {
        if EPHEMERAL.contains(&kind) {
            return Err(CommitError::Ephemeral { kind: kind.to_owned() });
        }
        self.push_row(Body::Annotation(Annotation::new(kind, turn, payload)?))
    }

    /// Changes the session's status; one that ends it sets its end.
    pub fn set_status(&mut self, status: Status, payload: Option<Digest>) -> Result<(), CommitError> {
        let ended_at = status.ends_session().then_some(self.at);
        self.push(Body::SessionStatus(SessionStatus { status, ended_at, payload }));
        Ok(())
    }

    /// Records that the session failed.
    pub fn fail(&mut self, status: Status, error: Digest) -> Result<(), CommitError> {
        self.push(Body::SessionError(SessionError { status, error }));
        Ok(())
    }

    /// Starts an invocation of type `kind`; `fill` says callee, call, input and label. Without an id of the caller's it
    /// is `SESSION/NUMBER`.
    pub fn start_invocation(
        &mut self,
        kind: Status,
        fill: impl FnOnce(&mut Invocation),
    ) -> Result<InvocationNumber, CommitError> {
        let number = InvocationNumber(self.state.counters.invocation + 1);
        let mut invocation = Invocation {
            invocation: number,
            id: format!("{}/{number}", self.state.session),
            invocation_type: kind,
            status: Status::RUNNING,
            call: None,
            label: None,
            input: None,
            final_value: None,
            error: None,
            caller_before: self.state.current,
            caller_after: None,
            callee: None,
            callee_before: None,
            callee_after: None,
            child: Some(self.state.counters.child + 1),
            started_at: Some(self.at),
            ended_at: None,
        };
        fill(&mut invocation);
        invocation.invocation = number;
        self.push_row(Body::InvocationStarted(invocation))?;
        Ok(number)
    }

    /// Records that an invocation completed; `change` says its final value and the callee's head.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn complete_invocation(
        &mut self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        let row = self.changed(invocation, Status::OK, change)?;
        self.push_row(Body::InvocationCompleted(row))?;
        Ok(())
    }

    /// Records that an invocation failed; `change` says its error.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn fail_invocation(
        &mut self,
        invocation: InvocationNumber,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<(), CommitError> {
        let row = self.changed(invocation, Status::ERROR, change)?;
        self.push_row(Body::InvocationFailed(row))?;
        Ok(())
    }

    /// Records the caller's head that first contains the end of an invocation.
    ///
    /// # Errors
    ///
    /// [`CommitError::Missing`] if the invocation is not visible on this branch.
    pub fn record_caller_head(&mut self, invocation: InvocationNumber, head: HeadId) -> Result<(), CommitError> {
        let mut row = self.invocation_in_sight(invocation)?;
        row.caller_after = Some(head);
        self.push_row(Body::CallerHeadRecorded(row))?;
        Ok(())
    }

    fn changed(
        &self,
        invocation: InvocationNumber,
        status: Status,
        change: impl FnOnce(&mut Invocation),
    ) -> Result<Invocation, CommitError> {
        let mut row = self.invocation_in_sight(invocation)?;
        row.status = status;
        change(&mut row);
        row.invocation = invocation;
        row.ended_at.get_or_insert(self.at);
        Ok(row)
    }
}

//! Calls of the model. A rollout has no record of one: it has what a call gave, and a `token_count` before it (until 0.45)
//! or behind it. A call begins with the first of either, and ends with the next input or result, or the next usage.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Codex;
use super::record::{Info, Tokens};
use crate::exchange::batch::{Step, Stop};
use crate::model::{CallNumber, CallType, Digest, Status, Timestamp};

/// The last call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Open {
    call: u64,
    /// Whether its usage is known, and came before what it gave.
    is_counted: bool,
    is_counted_first: bool,
    /// Whether what comes next is of another call.
    is_over: bool,
    /// Whether its row does not say all yet.
    is_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

impl Codex {
    /// The call that gave what the record tells of; none where that is the parent's of a fork. `change` says what it gave.
    pub(super) fn gave(
        &mut self,
        step: &mut Step<'_, '_>,
        change: impl FnOnce(&mut Open),
    ) -> Result<Option<CallNumber>, Stop> {
        (self.inputs, self.early, self.aside) = (0, None, None);
        self.state.goes_on();
        self.failed = None;
        if step.is_repeated() {
            return Ok(None);
        }
        let is_same = |open: &Open| !open.is_over && (!open.is_counted || open.is_counted_first);
        if !self.call.as_ref().is_some_and(is_same) {
            self.begin_call(step)?;
        }
        let Some(open) = &mut self.call else { return Ok(None) };
        change(open);
        open.is_changed = true;
        open.ended = step.at();
        Ok(Some(CallNumber(open.call)))
    }

    /// What a call used, unless it was told of before.
    pub(super) fn count(&mut self, step: &mut Step<'_, '_>, info: Option<&RawValue>) -> Result<(), Stop> {
        let Some(info) = Info::of(info) else { return Ok(()) };
        let total = info.total_token_usage.map(|total| Digest::of(total.get().as_bytes()));
        if total.is_some() && std::mem::replace(&mut self.total, total) == total {
            return Ok(());
        }
        let before = self.sum;
        self.sum = info.total().unwrap_or(before);
        let Some(tokens) = info.last(&before) else { return Ok(()) };
        if step.is_repeated() {
            return Ok(());
        }
        // A call that broke off is never counted.
        let is_first = self.call.as_ref().is_none_or(|open| open.is_counted || open.status.is_some());
        if is_first {
            self.state.goes_on();
            self.begin_call(step)?;
        }
        let Some(open) = &mut self.call else { return Ok(()) };
        let Tokens { input, output, cached, reasoning } = tokens;
        open.tokens = vec![input, output, cached, reasoning];
        (open.is_counted, open.is_counted_first, open.is_changed) = (true, is_first, true);
        open.ended = step.at();
        Ok(())
    }

    fn begin_call(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.tell_call(step)?;
        let (turn, at) = (self.state.turn, step.at());
        let (provider, model) = (self.provider.clone(), self.model.clone());
        let call = step.batch.begin_call(CallType::Root, |call| {
            call.turn = turn;
            call.provider = provider;
            call.model = model;
            call.started_at = at;
        })?;
        self.call = Some(Open { call: call.0, is_changed: true, ..Open::default() });
        Ok(())
    }

    /// A result or an input came: what the model gives now is of another call, unless all of what the last one gave
    /// stands behind its usage.
    pub(super) fn result_came(&mut self) {
        if let Some(open) = self.call.as_mut().filter(|open| !open.is_counted_first) {
            open.is_over = true;
        }
    }

    /// The model's next answer is of another call.
    pub(super) fn call_is_over(&mut self) {
        if let Some(open) = &mut self.call {
            open.is_over = true;
        }
    }

    /// A call without usage, when its turn breaks off, broke off too.
    pub(super) fn call_failed(&mut self, status: &Status) {
        if let Some(open) = self.call.as_mut().filter(|open| !open.is_counted) {
            (open.status, open.is_changed) = (Some(status.as_str().to_owned()), true);
        }
    }

    /// Writes what is known of the last call.
    pub(super) fn tell_call(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        let Some(open) = self.call.as_mut().filter(|open| open.is_changed) else { return Ok(()) };
        open.is_changed = false;
        let status = match &open.status {
            Some(status) => Status::new(status.clone())?,
            None => Status::OK,
        };
        let tokens = |at: usize| open.tokens.get(at).copied().flatten();
        step.batch.update_call(CallNumber(open.call), |row| {
            row.status = status;
            row.response = open.response;
            row.tokens_input = tokens(0);
            row.tokens_output = tokens(1);
            row.tokens_cached = tokens(2);
            row.tokens_reasoning = tokens(3);
            row.ended_at = open.ended;
        })?;
        Ok(())
    }
}

//! What each type of record means: turns, messages, calls, evals, compactions.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

use super::Pixir;
use super::record::{Data, EPHEMERAL, Inner, Record, Usage, is_true};
use crate::exchange::batch::{After, Step, Stop};
use crate::exchange::json::{kept, text, whole};
use crate::exchange::template::{Hole, json_string};
use crate::exchange::tools::{Asked, Ending, Tools, TurnState, Turns, add_eval};
use crate::model::{CallType, MessageNumber, Role, Status};
use crate::store::NewMessage;

type Holes = Vec<(Range<usize>, Hole)>;

impl Pixir {
    pub(super) fn take(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, kind: &str) -> Result<After, Stop> {
        // Records of one reading were put in order; what an earlier reading had stays before.
        if let Some(seq) = record.seq().filter(|seq| seq.saturating_add(1) < self.next_seq) {
            step.odd("late-seq", format!("seq {seq} comes after seq {}", self.next_seq - 1));
        }
        self.count(record);
        self.state.resume(step)?;
        let data = record.fields();
        match kind {
            "user_message" => self.user(step, record, &data)?,
            "assistant_message" => self.answer(step, record, &data)?,
            "tool_call" => self.tool_call(step, &data),
            "tool_result" => self.tool_result(step, record, &data)?,
            "provider_usage" => self.usage(step, record, &data)?,
            "turn_failed" => self.fail(step, &data)?,
            "branch_summary" => self.branch_summary(step, record, &data)?,
            "history_compaction" => return self.compaction(step, record, &data),
            "subagent_event" => {
                self.subagent(step, &data)?;
                step.note("pixir/subagent_event", self.state.turn)?;
            }
            // The log of what was shown live: no fact.
            ephemeral if EPHEMERAL.contains(&ephemeral) => {
                step.odd("ephemeral", format!("{ephemeral} is ephemeral: kept as bytes, no event"));
            }
            other => {
                step.note(&format!("pixir/{other}"), self.state.turn)?;
            }
        }
        Ok(After::Next)
    }

    /// Counts a record, which may be one that is shared with the source of a fork.
    pub(super) fn count(&mut self, record: &Record<'_>) {
        self.count += 1;
        match record.seq() {
            Some(seq) => self.next_seq = self.next_seq.max(seq.saturating_add(1)),
            None => self.has_unnumbered = true,
        }
    }

    /// The number that the next record appended gets.
    pub(super) fn next_seq(&self) -> u64 {
        if self.has_unnumbered { self.count } else { self.next_seq }
    }

    fn user(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, data: &Data<'_>) -> Result<(), Stop> {
        let content = Content::of(data.text, record);
        let input = step.batch.put(&content.bytes);
        let at = step.at();
        let turn = step.batch.begin_turn(|turn| {
            turn.input = Some(input);
            turn.started_at = at;
        })?;
        *self = Pixir {
            count: self.count,
            next_seq: self.next_seq,
            has_unnumbered: self.has_unnumbered,
            state: TurnState::begun(turn),
            // Asked for before the first turn: all others were closed with theirs.
            tools: std::mem::take(&mut self.tools),
            subagents: std::mem::take(&mut self.subagents),
            children: std::mem::take(&mut self.children),
            ..Pixir::default()
        };
        let mut new = NewMessage::new(Role::User, content.bytes.clone()).turn(turn);
        let mut holes = Holes::new();
        new.extra = content.rest(record, "text");
        let number = step.batch.add_message(new)?;
        content.cut(step, number, &mut holes);
        step.keep(holes);
        Ok(())
    }

    fn answer(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, data: &Data<'_>) -> Result<(), Stop> {
        let content = Content::of(data.text, record);
        let mut new = NewMessage::new(Role::Assistant, content.bytes.clone());
        new.turn = self.state.turn;
        new.call = self.call;
        let answer = step.batch.put(&content.bytes);
        if let Some(call) = self.call.take() {
            step.batch.update_call(call, |row| row.response = Some(answer))?;
        }
        new.extra = content.rest(record, "text");
        let number = step.batch.add_message(new)?;
        self.state.goes_on();
        self.answer = (!Inner::of(data.metadata).is_partial()).then_some(answer);
        let mut holes = Holes::new();
        content.cut(step, number, &mut holes);
        step.keep(holes);
        Ok(())
    }

    fn tool_call(&mut self, step: &mut Step<'_, '_>, data: &Data<'_>) {
        let number = step.ask();
        self.state.goes_on();
        self.answer = None;
        self.tools.ask(Asked {
            id: text(data.call_id).unwrap_or_default(),
            name: text(data.name),
            code: data.args.map(|args| args.get().to_owned()),
            message: None,
            call: self.call,
            at: step.at(),
            place: Some((number, false)),
            ..Asked::default()
        });
        let range = data.args.and_then(|args| step.range_of(args));
        step.keep(range.map(|range| (range, Hole::Later(number))).into_iter().collect());
    }

    fn tool_result(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, data: &Data<'_>) -> Result<(), Stop> {
        let id = text(data.call_id);
        let is_ok = is_true(data.ok) || (data.ok.is_none() && data.error.is_none());
        let value = if is_ok { data.output } else { data.error.or(data.output) };
        let content = Content::of(value, record);
        let answer = self.tools.answered(id.as_deref());
        self.state.goes_on();
        if let Some(asked) = answer.unless_late(step) {
            let error = Inner::of(data.error);
            let status = match (error.kind().as_deref(), error.status()) {
                _ if is_ok => Status::OK,
                (_, Some(status)) => status,
                (Some("orphan_tool_call"), None) => Status::ORPHANED,
                _ => Status::ERROR,
            };
            let value = step.batch.put(&content.bytes);
            add_eval(step, self.state.turn, asked, status, |eval| match is_ok {
                true => eval.result = Some(value),
                false => eval.error = Some(value),
            })?;
        }
        let mut new = NewMessage::new(Role::Tool, content.bytes.clone());
        new.turn = self.state.turn;
        let number = step.batch.add_message(new)?;
        let mut holes = Holes::new();
        content.cut(step, number, &mut holes);
        step.keep(holes);
        Ok(())
    }

    /// One call of the model, told of when it is over.
    fn usage(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, data: &Data<'_>) -> Result<(), Stop> {
        let (summary, raw) = (Usage::of(data.usage_summary), Usage::of(data.usage));
        let turn = self.state.turn;
        let own = record.data.and_then(|data| serde_json::from_str::<Own<'_>>(data.get()).ok()).unwrap_or_default();
        // All that the record says of the call is more than the row has columns for.
        let extra = record.data.map(|data| step.batch.put(data.get().as_bytes()));
        let ended = step.at();
        let call = step.batch.add_call(own.call_type(), |row| {
            row.turn = turn;
            row.provider = text(data.provider);
            row.model = text(data.model);
            row.tokens_input = summary.input().or_else(|| raw.input());
            row.tokens_output = summary.output().or_else(|| raw.output());
            row.tokens_cached = summary.cached().or_else(|| raw.cached());
            row.tokens_reasoning = summary.reasoning().or_else(|| raw.reasoning());
            row.cost = kept(whole(own.headwater_cost_nano_usd));
            row.extra = extra;
            row.ended_at = ended;
        })?;
        self.call = Some(call);
        let range = record.data.and_then(|data| step.range_of(data));
        step.keep(range.zip(extra).map(|(range, extra)| (range, Hole::Payload(extra))).into_iter().collect());
        Ok(())
    }

    fn fail(&mut self, step: &mut Step<'_, '_>, data: &Data<'_>) -> Result<(), Stop> {
        let message = text(data.error_message).or_else(|| text(data.error_kind));
        let error = message.map(|message| step.batch.put(message.as_bytes()));
        let status = text(data.terminal_status).unwrap_or_default();
        let status = match status.as_str() {
            status if status.contains("timeout") || status.contains("timed_out") => Status::TIMEOUT,
            status if ["interrupt", "cancel", "abort"].iter().any(|word| status.contains(word)) => Status::ABORTED,
            _ => Status::ERROR,
        };
        self.state.goes_on();
        self.failed = Some((status.as_str().to_owned(), error));
        step.note("pixir/turn_failed", self.state.turn)?;
        Ok(())
    }

    /// What a fork carries over in short: a message, and a head.
    fn branch_summary(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, data: &Data<'_>) -> Result<(), Stop> {
        let content = Content::of(data.summary, record);
        let mut new = NewMessage::new(Role::Summary, content.bytes.clone());
        new.turn = self.state.turn;
        new.extra = content.rest(record, "summary");
        let number = step.batch.add_message(new)?;
        let mut holes = Holes::new();
        content.cut(step, number, &mut holes);
        step.keep(holes);
        self.end(step)?;
        step.seal(self)?;
        Ok(())
    }

    /// A summary that stands for the records up to a number.
    fn compaction(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>, data: &Data<'_>) -> Result<After, Stop> {
        let settled = self.has_end();
        if settled && self.end(step)? {
            step.seal(self)?;
        }
        let content = Content::of(data.summary, record);
        let own = record.seq();
        let mut keep = 0;
        if let Some(to_seq) = Inner::of(data.range).to_seq() {
            step.before(&mut |record| {
                let Ok(record) = Record::read(record) else { return };
                let is_later = record.seq().is_none_or(|seq| seq > to_seq && own.is_none_or(|own| seq < own));
                let kind = record.kind().unwrap_or_default();
                let is_message = ["user_message", "assistant_message", "tool_result", "branch_summary"];
                keep += usize::from(is_later && is_message.contains(&kind.as_str()));
            })?;
        }
        if let Some(rest) = content.rest(record, "summary") {
            let rest = step.batch.put(&rest);
            step.batch.add_annotation("pixir/history_compaction", self.state.turn, Some(rest))?;
        }
        let messages = step.batch.counters().message;
        let keep = keep.min(usize::try_from(messages).unwrap_or(usize::MAX));
        let mut holes = Holes::new();
        content.cut(step, MessageNumber(messages + 1), &mut holes);
        step.keep(holes);
        Ok(After::Compact { frame: String::from_utf8_lossy(&content.bytes).into_owned(), keep })
    }

    /// Whether the turn has its answer, or failed.
    pub(super) fn has_end(&self) -> bool {
        self.tools.is_empty() && (self.answer.is_some() || self.failed.is_some())
    }
}

impl Turns for Pixir {
    type More = ();

    const GIVEN_UP: Status = Status::ORPHANED;

    fn at_work(&mut self) -> (&mut TurnState, &mut Tools) {
        (&mut self.state, &mut self.tools)
    }

    fn ending(&mut self, _: &mut Step<'_, '_>, _: bool) -> Result<Ending, Stop> {
        let (status, final_value, error) = match (&self.failed, self.answer) {
            (Some((status, error)), _) => (Status::new(status.clone())?, None, *error),
            (None, Some(answer)) => (Status::FINAL, Some(answer), None),
            (None, None) => (Status::UNFINISHED, None, None),
        };
        Ok(Ending { status, final_value, error })
    }
}

/// What the writer says of a call beyond what Pixir has.
#[derive(Default, serde::Deserialize)]
struct Own<'r> {
    #[serde(default, borrow)]
    headwater_cost_nano_usd: Option<&'r RawValue>,
    #[serde(default, borrow)]
    headwater_call_type: Option<&'r RawValue>,
}

impl Own<'_> {
    /// The type, where it is one of a call of the model.
    fn call_type(&self) -> CallType {
        let word = text(self.headwater_call_type).unwrap_or_default();
        let known = [CallType::Leaf, CallType::LeafBatchItem].into_iter().find(|known| known.as_str() == word);
        known.unwrap_or(CallType::Root)
    }
}

/// A message's content, and what it leaves of its record.
struct Content<'r> {
    bytes: Vec<u8>,
    /// The part of the record that it is, and whether as a JSON string.
    part: Option<(&'r RawValue, bool)>,
    is_text: bool,
}

impl<'r> Content<'r> {
    /// The text of `value`, or its JSON as it is written; of a record without the field, all of its data.
    fn of(value: Option<&'r RawValue>, record: &Record<'r>) -> Content<'r> {
        let Some(value) = value.or(record.data) else {
            return Content { bytes: Vec::new(), part: None, is_text: false };
        };
        match text(Some(value)) {
            Some(text) => {
                let part = (json_string(&text) == value.get()).then_some((value, true));
                Content { bytes: text.into_bytes(), part, is_text: true }
            }
            None => Content { bytes: value.get().as_bytes().to_vec(), part: Some((value, false)), is_text: false },
        }
    }

    fn cut(&self, step: &Step<'_, '_>, message: MessageNumber, holes: &mut Holes) {
        if let Some((value, is_text)) = self.part
            && let Some(range) = step.range_of(value)
        {
            holes.push((range, if is_text { Hole::Text(message) } else { Hole::Content(message) }));
        }
    }

    /// The other fields of the data, as JSON; none where there are none, or where they are in the content.
    fn rest(&self, record: &Record<'r>, content: &str) -> Option<Vec<u8>> {
        let mut fields: BTreeMap<String, &RawValue> =
            record.data.and_then(|data| serde_json::from_str(data.get()).ok())?;
        fields.remove(content);
        if !self.is_text || fields.is_empty() {
            return None;
        }
        serde_json::to_vec(&fields).ok()
    }
}

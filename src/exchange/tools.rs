//! What a source tells in several records: the tools that were asked for and answered later, and the turn that runs
//! meanwhile. A format keeps both between two records; what they mean is its own.
//!
//! A source may end anywhere, and go on later. Where it ends, its last turn gets its end as far as that can be told, and each
//! tool without a result an eval, `unfinished`. If it goes on within that turn, the turn runs again, and what a tool gives is a
//! later version of its eval. So a tool that was asked for is one eval, whenever it is looked at.

use serde::{Deserialize, Serialize};

use super::batch::{Step, Stop};
use super::json::is_false;
use super::template::Hole;
use crate::model::{CallNumber, Digest, Eval, EvalNumber, MessageNumber, Status, Timestamp, TurnNumber};

/// Ids of tools that were given up, remembered in case a result comes late.
const MAX_GIVEN_UP: usize = 256;

/// A tool that was asked for, and what its format remembers beyond that.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked<M = ()> {
    /// What its result names it by.
    pub id: String,
    /// The tool.
    pub name: Option<String>,
    /// Its arguments, as the eval has them.
    pub code: Option<String>,
    /// The message that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageNumber>,
    /// The call that gave it.
    pub call: Option<CallNumber>,
    /// When it was asked for.
    pub at: Option<Timestamp>,
    /// Its eval, and the turn which that is of, if the source ended before its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<(EvalNumber, Option<TurnNumber>)>,
    /// Its number among those asked for in this batch (see [`Step::ask`]), and whether its arguments are the text of a
    /// JSON string.
    #[serde(skip)]
    pub place: Option<(u64, bool)>,
    /// What the format remembers.
    #[serde(default)]
    pub more: M,
}

/// The tools that gave no result yet, and the ids of those that were given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", bound(deserialize = "M: Default + Deserialize<'de>"))]
pub struct Tools<M = ()> {
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pending: Vec<Asked<M>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<String>,
}

/// What a result is the result of.
pub enum Answer<M = ()> {
    /// A tool that was asked for.
    To(Asked<M>),
    /// Nothing that was asked for.
    Unasked,
    /// A tool that has its eval already, as given up at the end of its turn.
    Late,
}

impl<M> Default for Tools<M> {
    fn default() -> Tools<M> {
        Tools { pending: Vec::new(), given_up: Vec::new() }
    }
}

impl<M> Tools<M> {
    /// Whether all have their results.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether there is nothing to remember.
    pub fn is_blank(&self) -> bool {
        self.pending.is_empty() && self.given_up.is_empty()
    }

    /// Whether one has neither a result nor an eval.
    pub fn is_open(&self) -> bool {
        self.any(|asked| asked.eval.is_none())
    }

    /// Whether one of those that gave no result yet is such a one.
    pub fn any(&self, is_it: impl Fn(&Asked<M>) -> bool) -> bool {
        self.pending.iter().any(is_it)
    }

    /// One more was asked for.
    pub fn ask(&mut self, asked: Asked<M>) {
        self.pending.push(asked);
    }

    /// The first of that id that has no result yet.
    pub fn find(&mut self, id: &str) -> Option<&mut Asked<M>> {
        self.pending.iter_mut().find(|asked| asked.id == id)
    }

    /// A result came: what for. One that names no tool is that of the first that was asked for without an id.
    pub fn answered(&mut self, id: Option<&str>) -> Answer<M> {
        let id = id.unwrap_or_default();
        match self.pending.iter().position(|asked| asked.id == id) {
            Some(at) => Answer::To(self.pending.remove(at)),
            None if self.given_up.iter().any(|one| one == id) => Answer::Late,
            None => Answer::Unasked,
        }
    }

    /// Takes those without a result, in their order: they get their evals without one.
    fn give_up(&mut self) -> Vec<Asked<M>> {
        let asked = std::mem::take(&mut self.pending);
        self.are_late(asked.iter().map(|asked| asked.id.clone()));
        asked
    }

    /// Forgets those that were asked for on a way that the source left: what comes of them is not in sight from here.
    pub fn forget(&mut self) {
        drop(self.give_up());
    }

    /// Leaves those that are still at work on a way that the source goes on from: they are no matter of this one.
    pub fn leave_to(&mut self, other: &Tools<M>) {
        self.pending
            .retain(|asked| asked.eval.is_some() || !other.any(|one| one.id == asked.id && one.call == asked.call));
    }

    fn are_late(&mut self, ids: impl Iterator<Item = String>) {
        self.given_up.extend(ids);
        let excess = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..excess);
    }

    /// The batch was written: see [`Format::batch_ended`](super::format::Format::batch_ended).
    pub fn batch_ended(&mut self) {
        self.pending.iter_mut().for_each(|asked| asked.place = None);
    }
}

impl<M> Answer<M> {
    /// The tool; of a late result, which is told of, nothing and [`None`].
    pub fn unless_late(self, step: &mut Step<'_, '_>) -> Option<Option<Asked<M>>> {
        match self {
            Answer::To(asked) => Some(Some(asked)),
            Answer::Unasked => Some(None),
            Answer::Late => {
                step.odd("late-result", "the result of a tool that was given up before: it is a message alone");
                None
            }
        }
    }
}

/// The eval of a tool that is over, `asked` for or not: a later version of the one that it has.
///
/// # Errors
///
/// [`Stop`].
pub fn add_eval<M>(
    step: &mut Step<'_, '_>,
    turn: Option<TurnNumber>,
    asked: Option<Asked<M>>,
    status: Status,
    fill: impl FnOnce(&mut Eval),
) -> Result<EvalNumber, Stop> {
    // What has no end has no time of it.
    let ended = step.at().filter(|_| status != Status::UNFINISHED);
    if let Some((number, _)) = asked.as_ref().and_then(|asked| asked.eval) {
        step.batch.update_eval(number, |eval| {
            (eval.turn, eval.status, eval.ended_at) = (turn, status, ended);
            fill(eval);
        })?;
        return Ok(number);
    }
    let code = asked.as_ref().and_then(|asked| asked.code.as_ref()).map(|code| step.batch.put(code.as_bytes()));
    let place = asked.as_ref().and_then(|asked| asked.place);
    let number = step.batch.add_eval(status, |eval| {
        eval.turn = turn;
        eval.code = code;
        eval.ended_at = ended;
        if let Some(asked) = asked {
            eval.name = asked.name;
            eval.message = asked.message;
            eval.call = asked.call;
            eval.started_at = asked.at;
        }
        fill(eval);
    })?;
    if let Some((place, is_text)) = place {
        step.answer_with(Some(place), if is_text { Hole::CodeText(number) } else { Hole::Code(number) });
    }
    Ok(number)
}

/// The turn that records belong to, of a source that may end in its middle and go on later.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TurnState {
    /// The turn, also behind its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// Whether it has ended, so far.
    pub ended: bool,
    /// Whether the source ended within it, and nothing came since.
    #[serde(skip_serializing_if = "is_false")]
    pub paused: bool,
    /// When the last thing in it happened, in a format whose records between two turns belong to none: see [`TurnState::touched`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl TurnState {
    /// A turn that begins.
    pub fn begun(turn: TurnNumber) -> TurnState {
        TurnState { turn: Some(turn), ..TurnState::default() }
    }

    /// Whether it runs, and nothing says that it ended.
    pub fn is_open(&self) -> bool {
        self.turn.is_some() && !self.ended && !self.paused
    }

    /// The turn had more than it had when it was taken for ended.
    pub fn goes_on(&mut self) {
        self.ended = self.ended && self.turn.is_none();
    }

    /// Something happened in the turn: if the source had ended in it, it runs again, and it ends no earlier than this. What is not
    /// the turn's own, such as what comes before the next input, leaves it as it is.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn touched(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.until = step.at();
        self.resume(step)
    }

    /// The source goes on with a turn that it ended in: it runs again.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn resume(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        if let Some(turn) = self.turn.filter(|_| std::mem::take(&mut self.paused)) {
            step.batch.update_turn(turn, |row| {
                row.status = Status::RUNNING;
                (row.final_value, row.error, row.ended_at) = (None, None, None);
            })?;
        }
        Ok(())
    }
}

/// How a turn ended, as far as can be told.
pub(super) struct Ending {
    /// Its status.
    pub(super) status: Status,
    /// Its final value.
    pub(super) final_value: Option<Digest>,
    /// Why it failed.
    pub(super) error: Option<Digest>,
}

/// The ends of turns, alike in every format: see the module.
pub(super) trait Turns {
    /// What the format remembers of a tool.
    type More: Clone;

    /// The status of a tool whose turn ended without its result.
    const GIVEN_UP: Status = Status::UNFINISHED;

    /// The turn and the tools.
    fn at_work(&mut self) -> (&mut TurnState, &mut Tools<Self::More>);

    /// How the turn ends. `is_settled` is whether all tools had their results.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn ending(&mut self, step: &mut Step<'_, '_>, is_settled: bool) -> Result<Ending, Stop>;

    /// Tells what is not told yet of what the turn holds.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn tell_rest(&mut self, _: &mut Step<'_, '_>) -> Result<(), Stop> {
        Ok(())
    }

    /// A tool gets its eval without a result.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn gives_up(&mut self, _: &mut Step<'_, '_>, _: &Asked<Self::More>) -> Result<(), Stop> {
        Ok(())
    }

    /// Ends the turn, if one is open; says whether there is something new. Tools that were asked for before the first turn wait
    /// for its end.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn end(&mut self, step: &mut Step<'_, '_>) -> Result<bool, Stop> {
        self.tell_rest(step)?;
        let (state, tools) = self.at_work();
        let Some(turn) = state.turn.filter(|_| !std::mem::replace(&mut state.ended, true)) else { return Ok(false) };
        let is_told = std::mem::take(&mut state.paused);
        let is_settled = tools.is_empty();
        let mut asked = tools.give_up();
        // What was told where the source ended is told.
        asked.retain(|asked| asked.eval.is_none_or(|(_, of)| of != Some(turn)) || Self::GIVEN_UP != Status::UNFINISHED);
        if is_told && asked.is_empty() {
            return Ok(false);
        }
        if let Some(at) = step.at() {
            step.batch.at(at);
        }
        for asked in asked {
            if asked.eval.is_none() {
                self.gives_up(step, &asked)?;
            }
            add_eval(step, Some(turn), Some(asked), Self::GIVEN_UP, |_| {})?;
        }
        if !is_told {
            self.tell_end(step, turn, is_settled)?;
        }
        Ok(true)
    }

    /// The source ended: the turn has its end as far as can be told, and each tool its eval.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn pause(&mut self, step: &mut Step<'_, '_>) -> Result<(), Stop> {
        self.tell_rest(step)?;
        let (state, tools) = self.at_work();
        let turn = state.turn;
        let paused = turn.filter(|_| state.is_open());
        state.paused |= paused.is_some();
        if let Some(at) = step.at().filter(|_| paused.is_some() || tools.is_open()) {
            step.batch.at(at);
        }
        let mut pending = std::mem::take(&mut tools.pending);
        let is_settled = pending.is_empty();
        // One that was asked for before the first turn is of that turn, once it has begun.
        let is_new = |asked: &&mut Asked<_>| asked.eval.is_none_or(|(_, of)| of.is_none() && turn.is_some());
        for asked in pending.iter_mut().filter(is_new) {
            if asked.eval.is_none() {
                self.gives_up(step, asked)?;
            }
            let number = add_eval(step, turn, Some(asked.clone()), Status::UNFINISHED, |_| {})?;
            asked.eval = Some((number, turn));
        }
        self.at_work().1.pending = pending;
        paused.map_or(Ok(()), |turn| self.tell_end(step, turn, is_settled))
    }

    /// The turn's row, at its end.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    fn tell_end(&mut self, step: &mut Step<'_, '_>, turn: TurnNumber, is_settled: bool) -> Result<(), Stop> {
        let Ending { status, final_value, error } = self.ending(step, is_settled)?;
        let at = self.at_work().0.until.or(step.at());
        step.batch.update_turn(turn, |row| {
            (row.status, row.final_value, row.error, row.ended_at) = (status, final_value, error, at);
        })?;
        Ok(())
    }
}

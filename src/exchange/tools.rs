//! What a source tells in several records: the tools that were asked for and answered later, and the turn that runs
//! meanwhile. A format keeps both between two records; what they mean is its own.

use serde::{Deserialize, Serialize};

use super::batch::{Step, Stop};
use super::json::is_false;
use super::template::Hole;
use crate::model::{CallNumber, Eval, MessageNumber, Status, Timestamp, TurnNumber};

/// Ids of tools that were given up, remembered in case a result comes late.
const MAX_GIVEN_UP: usize = 256;

/// Tools at work where a source ended, remembered until it goes on, and how long the code of one may be.
const MAX_LEFT: usize = 64;
const MAX_CODE: usize = 16 << 10;

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
    /// Those that were given up because the source ended, not their turn.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    left: Vec<Asked<M>>,
}

/// What a result is the result of.
pub enum Answer<M = ()> {
    /// A tool that was asked for.
    To(Asked<M>),
    /// Nothing that was asked for.
    Unasked,
    /// A tool that has its eval already, as given up where the source ended: it was at work then.
    Left(Asked<M>),
    /// A tool that has its eval already, as given up at the end of its turn.
    Late,
}

impl<M> Default for Tools<M> {
    fn default() -> Tools<M> {
        Tools { pending: Vec::new(), given_up: Vec::new(), left: Vec::new() }
    }
}

impl<M> Tools<M> {
    /// Whether all have their results.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether there is nothing to remember.
    pub fn is_blank(&self) -> bool {
        self.pending.is_empty() && self.given_up.is_empty() && self.left.is_empty()
    }

    /// One more was asked for.
    pub fn ask(&mut self, asked: Asked<M>) {
        self.pending.push(asked);
    }

    /// The first of that id that has no result yet.
    pub fn find(&mut self, id: &str) -> Option<&mut Asked<M>> {
        self.pending.iter_mut().find(|asked| asked.id == id)
    }

    /// A result came: what for.
    pub fn answered(&mut self, id: Option<&str>) -> Answer<M> {
        let is_it = |asked: &Asked<M>| Some(asked.id.as_str()) == id;
        match (self.pending.iter().position(is_it), self.left.iter().position(is_it)) {
            (Some(at), _) => Answer::To(self.pending.remove(at)),
            (None, Some(at)) => Answer::Left(self.left.remove(at)),
            (None, None) if id.is_some_and(|id| self.given_up.iter().any(|one| one == id)) => Answer::Late,
            (None, None) => Answer::Unasked,
        }
    }

    /// Takes those without a result where the source ends: they get their evals, too, and may have results when it goes on.
    pub fn leave(&mut self) -> Vec<Asked<M>>
    where
        M: Clone,
    {
        self.batch_ended();
        self.left.extend(
            self.pending.iter().filter(|asked| asked.code.as_ref().is_none_or(|code| code.len() <= MAX_CODE)).cloned(),
        );
        let excess = self.left.len().saturating_sub(MAX_LEFT);
        self.left.drain(..excess);
        std::mem::take(&mut self.pending)
    }

    /// Takes those without a result, in their order: they get their evals without one.
    pub fn give_up(&mut self) -> Vec<Asked<M>> {
        self.given_up.extend(self.pending.iter().map(|asked| asked.id.clone()));
        let excess = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..excess);
        std::mem::take(&mut self.pending)
    }

    /// Forgets those that were asked for on a way that the source left: what comes of them is not in sight from here.
    pub fn forget(&mut self) {
        self.pending.clear();
        self.given_up.extend(self.left.drain(..).map(|asked| asked.id));
        let excess = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..excess);
    }

    /// The batch was written: see [`Format::batch_ended`](super::format::Format::batch_ended).
    pub fn batch_ended(&mut self) {
        self.pending.iter_mut().for_each(|asked| asked.place = None);
    }
}

impl<M> Answer<M> {
    /// The tool; of a late result, which is told of, nothing and [`None`]. One that was at work when the source ended has an
    /// eval more, which is told of too.
    pub fn unless_late(self, step: &mut Step<'_, '_>) -> Option<Option<Asked<M>>> {
        match self {
            Answer::To(asked) => Some(Some(asked)),
            Answer::Unasked => Some(None),
            Answer::Left(asked) => {
                step.odd(
                    "late-result",
                    "the result of a tool that was at work when the source ended: an eval of its own",
                );
                Some(Some(asked))
            }
            Answer::Late => {
                step.odd("late-result", "the result of a tool that was given up before: it is a message alone");
                None
            }
        }
    }
}

/// The eval of a tool that is over, `asked` for or not.
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
) -> Result<(), Stop> {
    let code = asked.as_ref().and_then(|asked| asked.code.as_ref()).map(|code| step.batch.put(code.as_bytes()));
    let place = asked.as_ref().and_then(|asked| asked.place);
    let ended = step.at();
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
    Ok(())
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

    /// Ends the turn, if one is open: the turn, and whether its row tells its end already.
    pub fn end(&mut self) -> Option<(TurnNumber, bool)> {
        let turn = self.turn.filter(|_| !std::mem::replace(&mut self.ended, true))?;
        Some((turn, std::mem::take(&mut self.paused)))
    }

    /// The source ended: the turn, if one runs, gets its end as far as can be told. Tools may still give their results.
    pub fn pause(&mut self) -> Option<TurnNumber> {
        let turn = self.turn.filter(|_| self.is_open())?;
        self.paused = true;
        Some(turn)
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

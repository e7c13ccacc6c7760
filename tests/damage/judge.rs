//! Says of a damage whether it was told, or harmless; else fails.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use headwater::care::{self, CheckError, Mode};

use super::content;
use super::places::Place;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The check told of it: the first issue's code.
    Told(String),
    /// Nothing could be checked, which is an answer only where what the files say is that a newer version wrote them.
    Newer,
    /// Everything reads as before.
    Harmless,
}

impl Outcome {
    pub fn code(&self) -> Option<&str> {
        if let Outcome::Told(code) = self { Some(code) } else { None }
    }
}

pub struct Judge {
    pub place: Place,
    whole: String,
    /// The rows of the database by itself.
    rows: Option<String>,
    outcomes: BTreeMap<Outcome, u64>,
    /// It looks at every so many damages, from which one on.
    turns: (u64, u64),
    given: u64,
    seen: u64,
}

/// Nothing takes longer than this on a store of this size.
const PATIENCE: Duration = Duration::from_secs(20);
/// One damage in this many is opened and read by the library whatever was found: no panic, no hang.
const OPENED: u64 = 16;

impl Judge {
    pub fn new(place: Place) -> Judge {
        let before = care::check(&place.root, Mode::Deep).unwrap();
        assert!(before.issues.is_empty(), "{:?}", before.issues);
        let whole = content::of(&place.root).unwrap();
        place.restore();
        let rows = content::rows(&place.root);
        assert!(rows.is_some());
        place.restore();
        Judge { place, whole, rows, outcomes: BTreeMap::new(), turns: (1, 0), given: 0, seen: 0 }
    }

    /// One that looks at every second damage.
    pub fn half(place: Place, which: u64) -> Judge {
        Judge { turns: (2, which), ..Judge::new(place) }
    }

    /// Looks at the damaged store; leaves the files as they were given. Nothing where it is another's turn.
    pub fn judge(&mut self, what: &str) -> Option<Outcome> {
        self.given += 1;
        if self.given % self.turns.0 != self.turns.1 {
            return None;
        }
        self.seen += 1;
        let start = Instant::now();
        let root = self.place.root.clone();
        let checked = self.quietly(what, || care::check(&root, Mode::Deep));
        let outcome = match checked {
            Err(CheckError::Newer(_)) => Outcome::Newer,
            Err(error) => self.fail(what, &format!("the check came to no answer: {error:?}")),
            Ok(report) => match report.issues.first() {
                Some(issue) => Outcome::Told(issue.code.to_owned()),
                None => Outcome::Harmless,
            },
        };
        if outcome == Outcome::Harmless {
            // Where the log is whole and the rows are all there as they were, reading them by the library adds little.
            if self.seen.is_multiple_of(OPENED)
                || what.contains(".seg")
                || self.quietly(what, || content::rows(&root)) != self.rows
            {
                self.prove(what);
            }
        } else if self.seen.is_multiple_of(OPENED) {
            let given = self.place.now();
            self.place.trust();
            // Whatever is answered: an error with a name, or what is left.
            let _ = self.quietly(what, || content::of(&root));
            self.place.back(&given);
        }
        if start.elapsed() > PATIENCE {
            self.fail(what, &format!("it took {:?}", start.elapsed()));
        }
        *self.outcomes.entry(outcome.clone()).or_default() += 1;
        Some(outcome)
    }

    /// Everything reads as before, the database being trusted as it is.
    pub fn prove(&mut self, what: &str) {
        let given = self.place.now();
        self.place.trust();
        let root = self.place.root.clone();
        match self.quietly(what, || content::of(&root)) {
            Ok(read) if read == self.whole => self.place.back(&given),
            Ok(read) => {
                let at = read.bytes().zip(self.whole.bytes()).take_while(|(a, b)| a == b).count();
                let part = |text: &str| {
                    String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(80)..text.len().min(at + 120)])
                        .into_owned()
                };
                let (is, was) = (part(&read), part(&self.whole));
                self.place.back(&given);
                self.fail(what, &format!("the check says nothing, and other content is read:\n{is}\nwas:\n{was}"));
            }
            Err(error) => {
                self.place.back(&given);
                self.fail(what, &format!("the check says nothing, and reading fails: {error}"));
            }
        }
    }

    fn quietly<T>(&mut self, what: &str, f: impl FnOnce() -> T) -> T {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => value,
            Err(_) => self.fail(what, "a panic"),
        }
    }

    fn fail(&mut self, what: &str, why: &str) -> ! {
        let kept = self.place.keep();
        panic!("{what}: {why}\nthe damaged store is in {}", kept.display());
    }

    pub fn finish(self) -> BTreeMap<Outcome, u64> {
        self.outcomes
    }
}

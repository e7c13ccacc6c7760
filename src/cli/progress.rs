//! How far long work is, on stderr: one line that is written over, on a terminal alone, cleared at the end.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater::progress::{Observer, Progress, Unit};

use super::{Context, terminal, width};

/// Work that takes less shows nothing.
const AFTER: Duration = Duration::from_millis(400);

/// How long a line stands.
const EVERY: Duration = Duration::from_millis(125);

/// The line. It goes when it is dropped, so that what is printed then stands in its place.
pub struct Line(Option<Arc<Mutex<State>>>);

struct State {
    shown: bool,
    next: Instant,
}

impl Line {
    /// A line where a person sees it: none with `--json`, or when stderr is no terminal.
    pub fn new(context: &Context) -> Line {
        let seen = !context.json && io::stderr().is_terminal();
        Line(seen.then(|| Arc::new(Mutex::new(State { shown: false, next: Instant::now() + AFTER }))))
    }

    /// Who is to be told.
    pub fn observer(&self) -> Observer {
        match &self.0 {
            None => Observer::default(),
            Some(state) => {
                let state = Arc::clone(state);
                Observer::new(move |progress| state.lock().unwrap_or_else(PoisonError::into_inner).tell(progress))
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

impl State {
    fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        (self.shown, self.next) = (true, now + EVERY);
        // One column less than the terminal has: the last one would begin a new line on some.
        let room = terminal::columns_of(io::stderr()).unwrap_or(80).saturating_sub(1);
        // Nobody can be told that stderr is closed.
        let _ = write!(io::stderr(), "\r{}\u{1b}[K", width::clip(&text(&progress), room));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// `reading the log  45 %  120.3 of 266.0 MB`.
fn text(progress: &Progress) -> String {
    let Progress { stage, done, total, unit } = *progress;
    if total == 0 {
        return stage.to_owned();
    }
    let done = done.min(total);
    let percent = u128::from(done) * 100 / u128::from(total);
    match unit {
        Unit::Bytes => format!("{stage}  {percent} %  {} of {} MB", megabytes(done), megabytes(total)),
        Unit::Items => format!("{stage}  {done} of {total}"),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let said = |done, total, unit| text(&Progress { stage: "reading", done, total, unit });
        assert_eq!(said(120_360_000, 266_000_000, Unit::Bytes), "reading  45 %  120.3 of 266.0 MB");
        assert_eq!(said(3, 23, Unit::Items), "reading  3 of 23");
        assert_eq!(said(5, 0, Unit::Items), "reading");
        assert_eq!(said(9, 5, Unit::Bytes), "reading  100 %  0.0 of 0.0 MB");
    }

    #[test]
    fn short_work_shows_nothing_and_long_work_a_few_lines_a_second() {
        let start = Instant::now();
        let mut state = State { shown: false, next: start + AFTER };
        state.tell(Progress { stage: "x", done: 0, total: 0, unit: Unit::Items });
        assert!(!state.shown);
        state.next = start;
        state.tell(Progress { stage: "x", done: 0, total: 0, unit: Unit::Items });
        assert!(state.shown && state.next >= start + EVERY);
        state.clear();
        assert!(!state.shown);
    }
}

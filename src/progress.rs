//! How far long work is: told to whoever wants to show it.

use std::fmt;
use std::sync::Arc;

/// How far a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in words: `reading the log`.
    pub stage: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 where that is not known.
    pub total: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What a [`Progress`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of files.
    Bytes,
    /// Things: files, tables.
    Items,
}

/// Whom progress is told, if anyone. It is called on the working thread, some thousand times at most in a second: it
/// should be quick, and decides itself how often to show something.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Observer {
    /// One that calls `told`.
    pub fn new(told: impl Fn(Progress) + Send + Sync + 'static) -> Observer {
        Observer(Some(Arc::new(told)))
    }

    /// Tells how far the work is.
    pub fn tell(&self, progress: Progress) {
        if let Some(told) = &self.0 {
            told(progress);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(told)" } else { "Observer(nobody)" })
    }
}

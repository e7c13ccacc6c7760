//! Time and fresh ids, from the system or fixed in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::{SessionId, Timestamp};

/// Where a store takes the time and fresh ids from.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    /// Each look moves it on by a millisecond: runs of the same steps give the same bytes.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that starts at `start` and moves on by a millisecond at each look; ids count from it too.
    pub fn fixed(start: Timestamp) -> Clock {
        Clock(Source::Fixed(Arc::new(AtomicI64::new(start.micros()))))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let micros = match &self.0 {
            Source::System => jiff::Timestamp::now().as_microsecond(),
            Source::Fixed(at) => at.fetch_add(1_000, Ordering::Relaxed),
        };
        Timestamp::from_micros(micros).unwrap_or_default()
    }

    /// A session id nobody has: a UUIDv7, which sorts by time.
    pub fn fresh_session(&self) -> SessionId {
        let text = match &self.0 {
            Source::System => uuid::Uuid::now_v7().to_string(),
            Source::Fixed(at) => format!("session-{}", at.fetch_add(1_000, Ordering::Relaxed)),
        };
        SessionId::generated(&text)
    }
}

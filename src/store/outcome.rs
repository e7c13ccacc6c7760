//! Whether the log holds a commit: for those who were told that its outcome is unknown.

use super::Inner;
use super::error::ReadError;
use crate::journal::{self, ReplayError};
use crate::model::line::Item;
use crate::model::{Digest, SessionId};
use crate::segment::{self, SegmentReader};

/// Why the search of the log stopped.
enum Stop {
    Found,
    Failed(ReplayError),
}

impl From<ReplayError> for Stop {
    fn from(error: ReplayError) -> Stop {
        Stop::Failed(error)
    }
}

impl Inner {
    /// Whether `digest` is one that the session's chain passed through: goes through the log, from its start.
    pub(super) fn passed_through(&self, session: &SessionId, digest: &Digest) -> Result<bool, ReadError> {
        let damaged =
            |error: ReplayError| ReadError::Damaged { what: "the log".to_owned(), source: Some(Box::new(error)) };
        let end = self.read(|conn| {
            super::level::Meta::read(conn).map(|meta| meta.end).map_err(|error| ReadError::Database(Box::new(error)))
        })?;
        let folder = self.log.dir();
        let mut chain = Digest::ZERO;
        for number in 1..=end.segment {
            let opened = |number| SegmentReader::open(folder, number).map_err(|error| damaged(error.into()));
            let until = match number {
                last if last == end.segment => end.offset,
                _ => opened(number + 1)?.header().predecessor_end.offset,
            };
            let until = until.max(segment::SEGMENT_HEADER_LEN);
            let searched = journal::replay(&opened(number)?, 0, Some(until), |found| {
                for line in &found.commit.lines {
                    if let Item::Event(event) = &line.item
                        && event.session == *session
                    {
                        chain = chain.chain(line.digest);
                        if chain == *digest {
                            return Err(Stop::Found);
                        }
                    }
                }
                Ok(())
            });
            match searched {
                Ok(_) => {}
                Err(Stop::Found) => return Ok(true),
                Err(Stop::Failed(error)) => return Err(damaged(error)),
            }
        }
        Ok(false)
    }
}

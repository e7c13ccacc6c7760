//! What lies beyond the rows' end: a live writer's commits, or a dead one's that the next opening adopts. Where they do not follow
//! what the rows know, nobody can open the store.

use std::path::Path;

use super::codes::{self, Code};
use super::log::Walk;
use crate::journal::{self, Ended, Replayed};
use crate::model::{Digest, Tx};
use crate::segment::{End, Position, SegmentError, SegmentReader};
use crate::store::error::chain;
use crate::store::level::{LevelError, Meta};

/// Goes through the commits beyond the rows' end as an opening would.
pub(super) fn follow(walk: &mut Walk<'_>, blobs: &Path, numbers: &[u64], meta: &Meta) {
    let (mut end, mut last) = (meta.end, (meta.tx, meta.digest));
    loop {
        let next = end.segment.checked_add(1).filter(|next| numbers.contains(next));
        if next.is_none() && numbers.iter().any(|number| *number > end.segment) {
            return walk.wrong(codes::SEGMENT_MISSING, format!("segment {}", end.segment.saturating_add(1)));
        }
        let until = match next.map(|next| taken_over(walk, blobs, next, end)) {
            None => None,
            Some(Some(until)) => Some(until),
            Some(None) => return,
        };
        if end.segment > 0 && until.is_none_or(|until| until > end.offset) {
            let read = SegmentReader::open(blobs, end.segment).map_err(LevelError::from).and_then(|reader| {
                let ended = journal::replay(&reader, end.offset, until, |found| chained(&mut last, &found))?;
                Ok((reader, ended))
            });
            match read {
                Ok((_, Ended { end: End::Until(_), .. })) => {}
                Ok((reader, ended)) => return unfinished(walk, &reader, &ended, until, last.0),
                Err(LevelError::Damaged(place)) => return walk.wrong(codes::COMMIT_CHAIN, place),
                Err(error) => return walk.unread(codes::COMMIT_DAMAGED, error),
            }
        }
        match next {
            Some(next) => end = Position::first_of(next),
            None => return,
        }
    }
}

/// The commit that was found follows `last`, or is that one once more; it is the last then.
fn chained(last: &mut (Tx, Digest), found: &Replayed) -> Result<(), LevelError> {
    let head = &found.commit.head;
    let this = (head.tx, found.commit.digest());
    if this != *last && (head.tx, head.previous) != (last.0.next(), last.1) {
        let at = found.frame.at;
        return Err(LevelError::Damaged(format!("commit {} at {at} does not follow commit {}", head.tx, last.0)));
    }
    *last = this;
    Ok(())
}

/// Where in the segment in which the log is known to `end`, or to begin, segment `next` takes over. None if that was told.
fn taken_over(walk: &mut Walk<'_>, blobs: &Path, next: u64, end: Position) -> Option<u64> {
    match SegmentReader::open(blobs, next).map(|reader| reader.header().predecessor_end) {
        Ok(from) if from.segment == end.segment && from >= end => return Some(from.offset),
        Ok(from) => {
            walk.wrong(
                codes::SEGMENT_CHAIN,
                format!("segment {next} begins after {from}, the rows know the log to {end}"),
            );
        }
        Err(error @ SegmentError::Missing { .. }) => walk.wrong(codes::SEGMENT_MISSING, chain(&error)),
        Err(error) => walk.unread(codes::SEGMENT_DAMAGED, error),
    }
    None
}

/// The frames end before the next segment takes over, or at the end of all: with a tear, where nothing follows it.
fn unfinished(walk: &mut Walk<'_>, reader: &SegmentReader, ended: &Ended, until: Option<u64>, last: Tx) {
    let number = reader.number();
    if let Some(until) = until {
        return walk.wrong(codes::FRAME_DAMAGED, format!("segment {number} has no whole frames up to {until}"));
    }
    let bad = match ended.end {
        End::Bad { offset, .. } => Ok(Some(offset)),
        End::Zeros(offset) => reader.first_nonzero_after(offset),
        End::Until(_) | End::Eof(_) => Ok(None),
    };
    let group = ended.group.max(last.next().0);
    match bad.and_then(|bad| bad.map_or(Ok(None), |bad| Ok(reader.later_group_after(bad, group)?.map(|_| bad)))) {
        Ok(None) => {}
        Ok(Some(bad)) => walk.wrong(codes::FRAME_DAMAGED, Position::new(number, bad).to_string()),
        Err(error) => walk.unread(codes::FRAME_DAMAGED, error),
    }
}

impl Walk<'_> {
    fn wrong(&mut self, code: Code, place: String) {
        self.sound = false;
        self.found.issue(code, place);
    }

    fn unread(&mut self, code: Code, error: impl std::error::Error + Send + Sync + 'static) {
        self.sound = false;
        self.found.unread(code, chain(&error), error);
    }
}

//! Commits in their order, read from the log: rows do not say in which order sessions took turns.

use super::error::{ReadError, unread};
use super::level::Meta;
use crate::journal::{Commit, ReplayError};
use crate::model::line::Item;
use crate::model::{Event, Tx};
use crate::segment::{End, Kind, Position, Readers};

/// A place in the log: all commits up to `tx` lie before it, none after.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    at: Position,
    tx: Tx,
}

/// An event and the commit it is of.
pub(super) type Committed = (Tx, Box<Event>);

impl Tail {
    /// The place after commit `since`, or before it in the same segment: found by the segments' first frames.
    pub(super) fn after(log: &Readers, end: &Meta, since: Tx) -> Result<Tail, ReadError> {
        if since >= end.tx {
            return Ok(Tail { at: end.end.max(Position::first_of(1)), tx: end.tx });
        }
        let (mut low, mut high) = (1, end.end.segment);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match first_group(log, middle)? {
                // A group is named by its first commit. A segment without frames is as good as one too late.
                Some(group) if group <= since.0 + 1 => low = middle,
                _ => high = middle - 1,
            }
        }
        let before = if low == 1 { 0 } else { first_group(log, low)?.unwrap_or(1) - 1 };
        Ok(Tail { at: Position::first_of(low), tx: Tx(before) })
    }

    /// The last commit before this place.
    pub(super) fn tx(&self) -> Tx {
        self.tx
    }

    /// The events of the next commits, at least `wanted` if there are so many before `end`, and whether there may be more.
    pub(super) fn read(
        &mut self,
        log: &Readers,
        end: &Meta,
        wanted: usize,
    ) -> Result<(Vec<Committed>, bool), ReadError> {
        let mut found = Vec::new();
        match self.walk(log, end, wanted, &mut found) {
            // What stands before the fault is good; the fault is met again.
            Err(_) if !found.is_empty() => Ok((found, true)),
            more => Ok((found, more?)),
        }
    }

    fn walk(
        &mut self,
        log: &Readers,
        end: &Meta,
        wanted: usize,
        found: &mut Vec<Committed>,
    ) -> Result<bool, ReadError> {
        while self.at.segment < end.end.segment || self.at < end.end {
            let number = self.at.segment;
            let segment = log.segment(number).map_err(|error| damaged(error.into()))?;
            let until = if number == end.end.segment {
                end.end.offset
            } else {
                let next = log.segment(number + 1).map_err(|error| damaged(error.into()))?;
                next.header().predecessor_end.offset.max(Position::first_of(number).offset)
            };
            let mut frames = segment.frames(self.at.offset, Some(until)).without(Kind::Payload);
            for frame in frames.by_ref() {
                let (offset, frame) = frame.map_err(|error| damaged(error.into()))?;
                let at = Position::new(number, offset);
                let commit =
                    Commit::decode(&frame.body).map_err(|source| damaged(ReplayError::BadCommit { at, source }))?;
                let tx = commit.head.tx;
                if tx > self.tx {
                    if tx != self.tx.next() {
                        let what = format!("the log, in which commit {} follows commit {},", tx.0, self.tx.0);
                        return Err(ReadError::Damaged { what, source: None });
                    }
                    found.extend(commit.lines.into_iter().filter_map(|line| match line.item {
                        Item::Event(event) => Some((tx, event)),
                        _ => None,
                    }));
                    self.tx = tx;
                }
                self.at = Position::new(number, offset + frame.header.frame_len());
                if found.len() >= wanted {
                    return Ok(true);
                }
            }
            match frames.end() {
                Some(End::Until(_)) if number == end.end.segment => self.at = end.end,
                Some(End::Until(_)) => self.at = Position::first_of(number + 1),
                ended => {
                    let what = format!("segment {number}, which ends too early ({ended:?}),");
                    return Err(ReadError::Damaged { what, source: None });
                }
            }
        }
        Ok(false)
    }
}

/// The group of a segment's first frame.
fn first_group(log: &Readers, number: u64) -> Result<Option<u64>, ReadError> {
    let segment = log.segment(number).map_err(|error| damaged(error.into()))?;
    let first = segment.frames(Position::first_of(number).offset, None).next();
    let first = first.transpose().map_err(|error| damaged(error.into()))?;
    Ok(first.map(|(_, frame)| frame.header.group))
}

fn damaged(error: ReplayError) -> ReadError {
    unread("the log".to_owned(), error)
}

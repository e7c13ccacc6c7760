//! What a log holds by its own word: the chain of its commits, and where each segment's part of it ends.

use std::collections::BTreeMap;
use std::path::Path;

use super::{BackupError, refused};
use crate::journal::{self, ReplayError};
use crate::model::{Digest, Tx};
use crate::segment::{self, End, Position, SegmentReader};
use crate::store::error::{Cause, chain, is_refusal};
use crate::store::level::Meta;

/// A log, as it was read.
pub(super) struct There {
    /// The last commit, and its digest, which covers all before it.
    pub(super) tx: Tx,
    pub(super) digest: Digest,
    /// The digest of the commit that was asked for.
    pub(super) digest_then: Digest,
    /// Of each segment, up to where its bytes count.
    pub(super) ends: BTreeMap<u64, u64>,
}

impl There {
    /// No log.
    pub(super) const NOTHING: There =
        There { tx: Tx(0), digest: Digest::ZERO, digest_then: Digest::ZERO, ends: BTreeMap::new() };
}

/// Why nothing can be said of a log.
pub(super) enum Unsound {
    /// What is damaged, in words.
    Damaged(String),
    /// The system refused to read it.
    Refused(Cause),
}

impl Unsound {
    /// As what a backup fails with; `damaged` says of what the damage is.
    pub(super) fn told(self, damaged: impl FnOnce(String) -> BackupError) -> BackupError {
        match self {
            Unsound::Damaged(what) => damaged(what),
            Unsound::Refused(source) => refused("the log cannot be read".to_owned(), source),
        }
    }
}

fn of(error: impl std::error::Error + Send + Sync + 'static) -> Unsound {
    if is_refusal(&error) { Unsound::Refused(Box::new(error)) } else { Unsound::Damaged(chain(&error)) }
}

/// Reads every frame, up to where the rows end or the log does, and follows the chain. The error says what is damaged, or was refused.
pub(super) fn look(blobs: &Path, meta: Option<&Meta>, then: Tx) -> Result<There, Unsound> {
    let numbers = segment::list(blobs).map_err(of)?;
    let mut found = There::NOTHING;
    for (number, expected) in numbers.iter().copied().zip(1..) {
        if number != expected {
            return Err(Unsound::Damaged(format!("segment {expected} is missing")));
        }
        let reader = SegmentReader::open(blobs, number).map_err(of)?;
        let until = match meta.filter(|meta| meta.end.segment == number) {
            Some(meta) => Some(meta.end.offset),
            None if numbers.contains(&(number + 1)) => {
                let next = SegmentReader::open(blobs, number + 1).map_err(of)?;
                Some(next.header().predecessor_end).filter(|end| end.segment == number).map(|end| end.offset)
            }
            None => None,
        };
        let mut last = Position::first_of(number).offset;
        let mut follows = Ok(());
        let ended = journal::replay(&reader, 0, until, |commit| {
            let head = &commit.commit.head;
            if head.tx != found.tx.next() || head.previous != found.digest {
                follows = Err(format!("commit {} at {} follows another", head.tx, commit.frame.at));
            }
            (found.tx, found.digest, last) = (head.tx, commit.commit.digest(), commit.end.offset);
            if found.tx == then {
                found.digest_then = found.digest;
            }
            Ok::<(), ReplayError>(())
        });
        let ended = ended.map_err(of)?;
        follows.map_err(Unsound::Damaged)?;
        let damaged = |at| Err(Unsound::Damaged(format!("the frame at {}", Position::new(number, at))));
        let end = match (ended.end, until) {
            (End::Until(at), _) | (End::Eof(at), None) => at,
            (End::Eof(at) | End::Zeros(at), Some(until)) if at < until => return damaged(at),
            (End::Bad { offset, .. }, Some(_)) => return damaged(offset),
            (End::Eof(at) | End::Zeros(at) | End::Bad { offset: at, .. }, _) => {
                // The first frames of the group that is torn may themselves be lost.
                let torn = ended.group.max(found.tx.next().0);
                if reader.later_group_after(at, torn).map_err(of)?.is_some() {
                    return damaged(at);
                }
                // A tear that was copied is the same in the store; one that is not is damage that looks like it.
                match ended.end {
                    End::Bad { .. } => reader.file_len().map_err(of)?,
                    _ => last,
                }
            }
        };
        found.ends.insert(number, end);
    }
    Ok(found)
}

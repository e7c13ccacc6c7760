//! Bringing SQLite level with the log: adopting a dead writer's commits, and rebuilding the rows from segments.

use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

use crate::blob::{self, codec::CodecError};
use crate::journal::{self, BadCommit, Ended, Placed, ReplayError, Replayed, Stored, TxHeader};
use crate::model::{Digest, Tx};
use crate::progress::Observer;
use crate::segment::sabotage::{self, Sabotage};
use crate::segment::{
    self, AdoptError, End, EndMismatch, LockError, Log, Position, Readers, Reading, SegmentError, SegmentReader,
};
use crate::sqlite::apply::{Applier, ApplyError, BlobPlace, Fetch, FramePlace};
use crate::sqlite::stmt;

/// Where the rows stand: the last commit applied, and the end of the log as they know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) tx: Tx,
    pub(crate) digest: Digest,
    pub(crate) end: Position,
}

impl Meta {
    pub(crate) const EMPTY: Meta = Meta { tx: Tx(0), digest: Digest::ZERO, end: Position::START };

    pub(crate) fn read(conn: &Connection) -> rusqlite::Result<Meta> {
        let found = conn
            .prepare_cached(stmt::meta::READ)?
            .query_row([], |row| {
                let digest: Vec<u8> = row.get(1)?;
                Ok(Meta {
                    tx: Tx(row.get(0)?),
                    digest: Digest::from_slice(&digest).ok_or(rusqlite::Error::InvalidQuery)?,
                    end: Position::new(row.get(2)?, row.get(3)?),
                })
            })
            .optional()?;
        Ok(found.unwrap_or(Meta::EMPTY))
    }

    /// Says so in the rows; those of commits up to `tx` are there.
    pub(crate) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        stmt::run(conn, stmt::meta::MOVE_ON)?;
        let place = params![self.tx.0, self.digest.0.as_slice(), self.end.segment, self.end.offset];
        conn.prepare_cached(stmt::meta::WRITE)?.execute(place)?;
        Ok(())
    }
}

/// Why the rows cannot be brought level.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LevelError {
    /// Log and rows disagree before the end of what was acknowledged.
    #[error("{0}")]
    Damaged(String),
    #[error("the log cannot be read")]
    Replay(#[from] ReplayError),
    #[error("a dead writer's commits cannot be adopted")]
    Adopt(#[from] AdoptError),
    #[error("the log cannot be read")]
    Segment(#[from] SegmentError),
    #[error("the log cannot be read")]
    Read(#[from] segment::ReadError),
    #[error("a commit of the log makes no rows")]
    Apply(#[from] ApplyError),
    #[error("the database cannot be written")]
    Sql(#[from] rusqlite::Error),
    #[error("a lock of the store cannot be taken")]
    Lock(#[from] LockError),
}

impl LevelError {
    /// Whether the cause is a full disk, wherever it was met: also a folder's names could not be synced.
    pub(crate) fn is_full(&self) -> bool {
        super::error::is_full(self)
    }

    /// What of the log a newer version wrote.
    pub(crate) fn newer(&self) -> Option<String> {
        match self {
            LevelError::Segment(error @ SegmentError::Newer { .. })
            | LevelError::Replay(ReplayError::Segment(error @ SegmentError::Newer { .. })) => Some(error.to_string()),
            LevelError::Replay(ReplayError::BadCommit {
                source: error @ (BadCommit::Newer(_) | BadCommit::Codec(CodecError::Unknown(_))),
                ..
            }) => Some(super::error::chain(error)),
            LevelError::Apply(error @ ApplyError::Newer(_)) => Some(error.to_string()),
            _ => None,
        }
    }

    /// Whether the log, or the rows against it, are damaged: as opposed to a passing failure.
    pub(crate) fn is_damage(&self) -> bool {
        // A read that the system refuses says nothing about the bytes.
        if super::error::is_refusal(self) {
            return false;
        }
        match self {
            LevelError::Damaged(_) => true,
            // A number no integer of SQLite's holds, a row that is there already: the log contradicts itself.
            LevelError::Apply(ApplyError::Sql(rusqlite::Error::ToSqlConversionFailure(_))) => true,
            LevelError::Apply(ApplyError::Sql(error)) => {
                crate::sqlite::fault::is_corrupt(error) || crate::sqlite::fault::is_constraint(error)
            }
            LevelError::Sql(error) => crate::sqlite::fault::is_corrupt(error),
            LevelError::Apply(_) => true,
            LevelError::Segment(SegmentError::Io { .. })
            | LevelError::Replay(ReplayError::List(_) | ReplayError::Segment(SegmentError::Io { .. })) => false,
            LevelError::Replay(_) | LevelError::Segment(_) => true,
            LevelError::Read(segment::ReadError::Bad { .. }) => true,
            _ => false,
        }
    }
}

/// Reads root and display payloads from the log.
pub(crate) struct FromLog<'a>(pub(crate) &'a Readers);

impl Fetch for FromLog<'_> {
    fn fetch(&self, digest: &Digest, place: &BlobPlace) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let place = place.place().ok_or("the payload is kept in parts or erased")?;
        Ok(blob::read(self.0, &place, digest)?)
    }
}

/// Adds the row of a commit that was applied.
pub(crate) fn add_tx(conn: &Connection, head: &TxHeader) -> rusqlite::Result<()> {
    conn.prepare_cached(stmt::meta::ADD_TX)?.execute(params![head.tx.0, head.at.micros()])?;
    Ok(())
}

/// Makes the rows of one commit read from the log, after `meta`, and moves `meta` past it.
fn apply(
    conn: &Connection,
    applier: &mut Applier,
    readers: &Readers,
    meta: &mut Meta,
    found: &Replayed,
) -> Result<(), LevelError> {
    let head = &found.commit.head;
    let digest = found.commit.digest();
    if head.tx == meta.tx && digest == meta.digest {
        // The same commit twice is one commit.
        meta.end = found.end;
        return Ok(());
    }
    if head.tx != meta.tx.next() || head.previous != meta.digest {
        let (at, tx, last) = (found.frame.at, head.tx, meta.tx);
        return Err(LevelError::Damaged(format!("commit {tx} at {at} does not follow commit {last}")));
    }
    let places: Vec<FramePlace> = found
        .payloads
        .iter()
        .map(|Stored { frame, skip }| FramePlace {
            at: frame.at,
            stored: u64::from(frame.header.body_len),
            codec: frame.header.codec,
            skip: *skip,
        })
        .collect();
    applier.apply(conn, head, found.commit.key.as_ref(), &found.commit.lines, &places, &FromLog(readers))?;
    add_tx(conn, head)?;
    *meta = Meta { tx: head.tx, digest, end: found.end };
    Ok(())
}

/// Brings the rows level with the log, inside the caller's transaction and under `write`: frames beyond the rows' end
/// are a dead writer's. Returns how many commits were adopted; `meta` is moved, not written.
pub(crate) fn level(
    conn: &Connection,
    applier: &mut Applier,
    log: &mut Log,
    readers: &Readers,
    meta: &mut Meta,
) -> Result<u64, LevelError> {
    let before = meta.tx;
    loop {
        let end = meta.end;
        match log.end_mismatch(end)? {
            None => break,
            Some(EndMismatch::Short { length }) => {
                return Err(LevelError::Damaged(format!(
                    "the log ends at {}:{length}, the rows know it to {end}",
                    end.segment
                )));
            }
            Some(EndMismatch::InHeader) => {
                return Err(LevelError::Damaged(format!("the rows say that the log ends at {end}, inside a header")));
            }
            Some(EndMismatch::Later { segment }) => pass_to(conn, applier, readers, meta, segment)?,
            Some(EndMismatch::Bytes { .. }) => adopt(conn, applier, log, readers, meta)?,
        }
    }
    Ok(meta.tx.0 - before.0)
}

/// Applies what is left of the segment the rows end in, up to where segment `next` takes over: that segment was made
/// durable by a writer who knew the log to that point.
fn pass_to(
    conn: &Connection,
    applier: &mut Applier,
    readers: &Readers,
    meta: &mut Meta,
    next: u64,
) -> Result<(), LevelError> {
    let takes_over = SegmentReader::open(readers.dir(), next)?.header().predecessor_end;
    let end = meta.end;
    if takes_over.segment != end.segment || takes_over < end {
        return Err(LevelError::Damaged(format!(
            "segment {next} begins after {takes_over}, the rows know the log to {end}"
        )));
    }
    if end.segment > 0 && takes_over > end {
        let reader = SegmentReader::open(readers.dir(), end.segment)?;
        let Ended { end, .. } = journal::replay(&reader, end.offset, Some(takes_over.offset), |found| {
            apply(conn, applier, readers, meta, &found)
        })?;
        if end != End::Until(takes_over.offset) {
            return Err(LevelError::Damaged(format!("segment {} is damaged: {end:?}", takes_over.segment)));
        }
    }
    let copied = copied_until(readers, takes_over, next, meta.tx)?;
    meta.end = Position::first_of(next);
    if copied > meta.end { apply_copy(conn, applier, readers, meta, copied) } else { Ok(()) }
}

/// Copies the whole commits beyond the rows' end in the last segment into a new one, and applies them. Bytes that only
/// sit in a page cache, or failed a sync, are never trusted: the copy is synced before a row is made from it.
fn adopt(
    conn: &Connection,
    applier: &mut Applier,
    log: &mut Log,
    readers: &Readers,
    meta: &mut Meta,
) -> Result<(), LevelError> {
    let end = meta.end;
    let reader = SegmentReader::open(readers.dir(), end.segment)?;
    let (mut frames, ended, last) = whole_commits(&reader, end.offset, meta.tx)?;
    refuse_damage(&reader, ended, last)?;
    if sabotage::is(Sabotage::Adoption) {
        frames.clear();
    }
    if sabotage::is(Sabotage::AppendAfterCut) {
        journal::replay(&reader, end.offset, None, |found| apply(conn, applier, readers, meta, &found))?;
        let file = std::fs::OpenOptions::new().write(true).open(segment::segment_path(readers.dir(), end.segment));
        return Ok(file.and_then(|file| file.set_len(meta.end.offset)).map_err(ReplayError::List)?);
    }
    let appended = log.adopt(end, frames.iter().map(|placed| reader.read_frame(placed.at.offset)))?;
    // The rows are rolled back when this fails, and then the copy is of no use: left there, each further attempt would
    // add another.
    apply_copy(conn, applier, readers, meta, appended.end).inspect_err(|_| {
        log.forsake(appended.end.segment);
        // Another segment will have its number.
        readers.clear();
    })?;
    tracing::warn!(frames = frames.len(), segment = end.segment, "a dead writer's frames were left for a new segment");
    Ok(())
}

/// Applies a segment of adopted commits, which ends at `end`.
fn apply_copy(
    conn: &Connection,
    applier: &mut Applier,
    readers: &Readers,
    meta: &mut Meta,
    end: Position,
) -> Result<(), LevelError> {
    let copy = SegmentReader::open(readers.dir(), end.segment)?;
    journal::replay(&copy, 0, Some(end.offset), |found| apply(conn, applier, readers, meta, &found))?;
    meta.end = end;
    Ok(())
}

/// The frames from `from` on that an adoption copies, in their order: those of whole commits. Payload frames of a group
/// stand before its commits, also those of a commit that is not whole: only what whole commits name is copied.
fn whole_commits(reader: &SegmentReader, from: u64, mut last: Tx) -> Result<(Vec<Placed>, Ended, Tx), LevelError> {
    let mut frames = Vec::new();
    let ended = journal::replay(reader, from, None, |found| {
        last = found.commit.head.tx;
        frames.extend(found.payloads.iter().map(|stored| stored.frame));
        frames.push(found.frame);
        Ok::<(), LevelError>(())
    })?;
    frames.sort_by_key(|placed| placed.at);
    // Those of a pack stand in one frame.
    frames.dedup();
    Ok((frames, ended, last))
}

/// Where in segment `next` the copy ends that a dead writer made of what lies beyond `end`: that much was synced before the
/// segment had its name. Where it is no such copy, nothing of it counts as synced.
fn copied_until(readers: &Readers, end: Position, next: u64, last: Tx) -> Result<Position, LevelError> {
    let nothing = Position::first_of(next);
    if end.segment == 0 {
        return Ok(nothing);
    }
    let old = SegmentReader::open(readers.dir(), end.segment)?;
    let new = SegmentReader::open(readers.dir(), next)?;
    let mut copy = new.frames(nothing.offset, None);
    // What is superseded may be in any state: nobody reads it but for this comparison.
    let Ok((frames, ..)) = whole_commits(&old, end.offset, last) else { return Ok(nothing) };
    for placed in frames {
        let frame = old.read_frame(placed.at.offset)?;
        let said = |frame: &segment::Frame| (frame.header.kind, frame.header.codec, frame.header.group);
        match copy.next() {
            Some(Ok((_, found))) if said(&found) == said(&frame) && found.body == frame.body => {}
            _ => return Ok(nothing),
        }
    }
    Ok(Position::new(next, copy.offset()))
}

/// A bad frame is a tear only if no valid frame of a later group follows: a writer waits for one group's sync before
/// it writes the next. A group is named by its first tx: the torn one is that of the last frame read, or the one after
/// the last whole commit, whose own first frames may be those that are torn.
fn refuse_damage(reader: &SegmentReader, ended: Ended, last: Tx) -> Result<(), LevelError> {
    let torn = match ended.end {
        End::Bad { offset, .. } => Some(offset),
        End::Zeros(offset) => reader.first_nonzero_after(offset)?,
        End::Until(_) | End::Eof(_) => None,
    };
    if let Some(offset) = torn
        && let Some(later) = reader.later_group_after(offset, ended.group.max(last.next().0))?
    {
        let number = reader.number();
        return Err(LevelError::Damaged(format!(
            "the frame at {number}:{offset} is bad, and a later group follows at {number}:{later}"
        )));
    }
    Ok(())
}

/// Whether a segment that does not reach where the next one takes over was copied while its writer went on: what the
/// copy missed is not there, or is still zeros. Anything else is damage.
pub(super) fn copied_while_it_grew(reader: &SegmentReader, until: u64) -> Result<bool, LevelError> {
    let length = reader.file_len().map_err(ReplayError::List)?;
    if length < until {
        return Ok(true);
    }
    let before = until.saturating_sub(segment::FRAME_HEADER_LEN);
    Ok(reader.first_nonzero_after(before)?.is_none_or(|found| found >= until))
}

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt {
    /// Commits applied.
    pub(crate) commits: u64,
    /// Segments beyond a gap, which hold commits whose predecessors are missing.
    pub(crate) beyond_gap: Vec<u64>,
}

/// Commits applied in one transaction of a rebuild.
const REBUILD_STEP: u64 = 4_096;

/// Makes all rows from the segments, in the order of tx, up to the first missing one. The store is the caller's alone;
/// with `stop`, only what stands before that place is read, and others may write beyond it. The observer is told how far
/// it is, under the name given.
pub(crate) fn rebuild(
    conn: &Connection,
    dir: &Path,
    stop: Option<Position>,
    (observer, stage): (&Observer, &'static str),
) -> Result<(Meta, Rebuilt), LevelError> {
    let readers = Readers::new(dir);
    let mut applier = Applier::default();
    let (mut meta, mut done) = (Meta::EMPTY, Rebuilt::default());
    let numbers = segment::list(dir).map_err(ReplayError::List)?;
    let reading = Reading::new(observer, stage, dir, &numbers, stop);
    conn.execute_batch(stmt::meta::BEGIN)?;
    // The row before the first commit: there in every database, whatever it was made from.
    meta.write(conn)?;
    for (at, number) in numbers.iter().copied().enumerate() {
        if stop.is_some_and(|stop| number > stop.segment) {
            break;
        }
        if number != meta.end.segment + 1 {
            done.beyond_gap = numbers[at..].to_vec();
            break;
        }
        meta.end = Position::first_of(number);
        let until = match numbers.get(at + 1) {
            Some(next) if *next == number + 1 => {
                let end = SegmentReader::open(dir, *next)?.header().predecessor_end;
                if end.segment != number {
                    return Err(LevelError::Damaged(format!(
                        "segment {next} begins after {end}, not in segment {number}"
                    )));
                }
                Some(end.offset)
            }
            _ => None,
        };
        let until = match stop {
            Some(stop) if stop.segment == number => Some(stop.offset),
            _ => until,
        };
        if until.is_none() {
            // What a dead writer left in the page cache may never have reached the disk.
            journal::settle(dir, number).map_err(ReplayError::List)?;
        }
        let reader = SegmentReader::open(dir, number)?;
        let ended = journal::replay(&reader, 0, until, |found| {
            apply(conn, &mut applier, &readers, &mut meta, &found)?;
            reading.reached(found.end);
            done.commits += 1;
            if done.commits % REBUILD_STEP == 0 {
                conn.execute_batch(stmt::meta::COMMIT)?;
                conn.execute_batch(stmt::meta::BEGIN)?;
            }
            Ok::<(), LevelError>(())
        })?;
        refuse_damage(&reader, ended, meta.tx)?;
        match until {
            Some(until) if ended.end != End::Until(until) => {
                if !copied_while_it_grew(&reader, until)? {
                    let end = ended.end;
                    return Err(LevelError::Damaged(format!("segment {number} is damaged before {until}: {end:?}")));
                }
                // Copied while it grew: this segment is older than the next one.
                done.beyond_gap = numbers[at + 1..].to_vec();
                break;
            }
            Some(until) => meta.end = Position::new(number, until),
            None => {}
        }
    }
    meta.write(conn)?;
    conn.execute_batch(stmt::meta::COMMIT)?;
    Ok((meta, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_wherever_it_was_met() {
        let full = || std::io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        assert!(LevelError::from(ReplayError::List(full())).is_full());
        let other = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(!LevelError::from(ReplayError::List(other)).is_full());
    }
}

//! A head's root made again: it repeats what stands in the log before it, and its hash says whether it is the one.

use rusqlite::{Connection, OptionalExtension};

use super::RepairError;
use super::witness::Witness;
use crate::model::{
    Counters, Digest, EventNumber, HeadId, HeadKind, Refs, Root, SessionId, SnapshotNumber, TranscriptRange, TurnNumber,
};
use crate::sqlite::session_row::SessionRow;
use crate::sqlite::stmt::repair as ask;
use crate::view;

/// The bytes of `head`'s root, from the rows as they are at its boundary; none if no root with that hash can be made.
pub(super) fn make(
    conn: &Connection,
    witness: Option<&Witness>,
    session: &SessionId,
    head: &HeadId,
) -> Result<Option<Vec<u8>>, RepairError> {
    let Some(row) = SessionRow::find(conn, session)? else { return Ok(None) };
    let Ok(counters) = view::sessions::counters(conn, row.sid) else { return Ok(None) };
    let counters = Counters { event: row.last_event, head: counters.head + 1, ..counters };
    let hash = |hid: Option<i64>| -> rusqlite::Result<Option<HeadId>> {
        let Some(hid) = hid else { return Ok(None) };
        conn.query_row(ask::HASH, [hid], |found| head_id(found, 0)).optional().map(Option::flatten)
    };
    let basis = hash(row.basis)?;
    // What the basis says, and what came since: either may be what the head repeats.
    let (mut snapshots, mut compactions) = (vec![(None, None)], vec![None]);
    if let Some(basis) = row.basis {
        let said = conn
            .query_row(ask::HEAD_REFS, [basis], |found| Ok(((found.get(0)?, optional(found, 1)?), head_id(found, 2)?)));
        if let Some((snapshot, compaction)) = said.optional()? {
            snapshots.push(snapshot);
            compactions.push(compaction);
        }
    }
    let own = conn.query_row(ask::LAST_SNAPSHOT, [row.sid], |found| Ok((found.get(0)?, optional(found, 1)?)));
    snapshots.extend(own.optional()?);
    let mut turns: Vec<(Option<u64>, Option<Digest>)> = vec![(None, None)];
    let last = conn.query_row(ask::LAST_TURN, [row.sid], |found| Ok((found.get(0)?, optional(found, 1)?)));
    turns.extend(last.optional()?);
    let transcript = witness.and_then(|witness| witness.transcript(head)).filter(|ranges| !ranges.is_empty());
    let kinds: [(HeadKind, Option<Vec<TranscriptRange>>); 4] = [
        (HeadKind::TurnFinal, None),
        (HeadKind::Genesis, None),
        (HeadKind::TurnAborted, None),
        (HeadKind::Compaction, transcript),
    ];
    for (kind, transcript) in kinds {
        for (turn, final_value) in turns.iter().rev() {
            for (snapshot, vars) in snapshots.iter().rev() {
                for compaction in compactions.iter().rev() {
                    let root = Root {
                        basis,
                        compaction: *compaction,
                        counters,
                        digest: row.digest,
                        kind,
                        refs: Refs { final_value: *final_value, snapshot: snapshot.map(SnapshotNumber), vars: *vars },
                        session: session.clone(),
                        span: (EventNumber(row.base_from), EventNumber(row.last_event)),
                        transcript: transcript.clone(),
                        turn: turn.map(TurnNumber),
                        up: hash(row.base_up)?,
                        version: Root::VERSION,
                    };
                    let bytes = root.bytes();
                    if Digest::of(&bytes) == head.0 {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
    Ok(None)
}

fn optional(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<Digest>> {
    let bytes: Option<Vec<u8>> = row.get(at)?;
    Ok(bytes.and_then(|bytes| Digest::from_slice(&bytes)))
}

fn head_id(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<HeadId>> {
    Ok(optional(row, at)?.map(HeadId))
}

//! The spans of heads, and hw_span: the table of those of current heads.

use rusqlite::{Connection, OptionalExtension, params};

use super::session_row::SessionRow;
use super::stmt;

/// A list of more spans is not tabled: a fork of a much-branched session must not cost a row for each branch.
pub(crate) const TABLED: u64 = 64;

/// A head's own span and the head it hangs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadPlace {
    pub(crate) sid: i64,
    pub(crate) up: Option<i64>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) depth: u64,
}

/// Where head `hid` stands.
pub(crate) fn place(conn: &Connection, hid: i64) -> rusqlite::Result<Option<HeadPlace>> {
    conn.prepare_cached(stmt::head::PLACE)?
        .query_row([hid], |row| {
            Ok(HeadPlace { sid: row.get(0)?, up: row.get(1)?, from: row.get(2)?, to: row.get(3)?, depth: row.get(4)? })
        })
        .optional()
}

/// A run of events of one session, by its local integer.
pub(crate) type Run = (i64, u64, u64);

/// Makes hw_span hold the spans of `row`'s current head, now `hid`; rewrites from the first that differs.
pub(crate) fn table(conn: &Connection, row: &mut SessionRow, hid: i64) -> rusqlite::Result<()> {
    let Some(head) = place(conn, hid)? else { return Err(rusqlite::Error::QueryReturnedNoRows) };
    if head.depth > TABLED {
        if !row.deep {
            conn.prepare_cached(stmt::head::CUT_SPANS)?.execute(params![row.sid, 0])?;
            row.deep = true;
        }
        return Ok(());
    }
    let before = match row.current {
        Some(current) if !row.deep => place(conn, current)?,
        _ => None,
    };
    row.deep = false;
    if let Some(before) = before {
        // Linear history, by far the most common: the last span grows.
        if (before.sid, before.up, before.from, before.depth) == (head.sid, head.up, head.from, head.depth) {
            let ord = head.depth.saturating_sub(1);
            conn.prepare_cached(stmt::head::EXTEND_SPAN)?.execute(params![row.sid, ord, head.to])?;
            return Ok(());
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut next = Some(head);
    while let Some(at) = next {
        runs.push((at.sid, at.from, at.to));
        // Depth falls at each step, so that not even a hostile database makes this walk endless.
        next = match at.up {
            Some(up) => place(conn, up)?.filter(|up| up.depth < at.depth),
            None => None,
        };
    }
    runs.reverse();
    let tabled: Vec<Run> = conn
        .prepare_cached(stmt::head::SPANS)?
        .query_map([row.sid], |r| Ok((r.get(1)?, r.get(2)?, r.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let same = runs.iter().zip(&tabled).take_while(|(a, b)| a == b).count();
    if same < tabled.len() {
        conn.prepare_cached(stmt::head::CUT_SPANS)?.execute(params![row.sid, same])?;
    }
    for (ord, run) in runs.iter().enumerate().skip(same) {
        conn.prepare_cached(stmt::head::ADD_SPAN)?.execute(params![row.sid, ord, run.0, run.1, run.2])?;
    }
    Ok(())
}

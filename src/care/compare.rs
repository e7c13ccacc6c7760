//! Rows against the log: all rows are made anew beside the store, and the two are compared.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::check::{FROM_LOG, Findings};
use crate::progress::{Observer, Progress, Unit};
use crate::sqlite::migrate;
use crate::store::level::{self, Meta};

/// Compares every row of the store with those that the log makes up to `meta`.
pub(super) fn rows(
    conn: &Connection,
    blobs: &Path,
    meta: &Meta,
    observer: &Observer,
    found: &mut Findings,
) -> rusqlite::Result<()> {
    // An empty name is a temporary database of SQLite's own: it spills to disk when large, and vanishes.
    let mut fresh = Connection::open_with_flags("", OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    fresh.set_prepared_statement_cache_capacity(256);
    for (name, value) in [("journal_mode", "off"), ("synchronous", "off")] {
        fresh.pragma_update(None, name, value)?;
    }
    if let Err(error) = migrate::migrate(&mut fresh) {
        found.issue("schema", format!("{error}"), "use the version of headwater that wrote the store");
        return Ok(());
    }
    match level::rebuild(&fresh, blobs, Some(meta.end), (observer, "making the rows anew")) {
        Ok((made, _)) if made == *meta => {}
        Ok((made, _)) => {
            let (tx, end) = (made.tx, meta.end);
            found.issue("log-short", format!("the log holds {tx} commits up to {end}, the rows {}", meta.tx), FROM_LOG);
            return Ok(());
        }
        Err(error) => {
            found.issue("log-damaged", crate::store::error::chain(&error), super::check::FROM_BACKUP);
            return Ok(());
        }
    }
    schema(conn, &fresh, found)?;
    for ((table, order), done) in TABLES.into_iter().zip(0..) {
        observer.tell(Progress { stage: "comparing the rows", done, total: TABLES.len() as u64, unit: Unit::Items });
        compare(conn, &fresh, table, order, found)?;
    }
    Ok(())
}

/// Every table made from the log, with the columns that order it. Leases are not in the log; hw_ord holds numbers only.
const TABLES: [(&str, &str); 22] = [
    ("hw_session", "sid"),
    ("hw_blob", "bid"),
    ("hw_tx", "tx"),
    ("hw_batch_key", "sid, key"),
    ("hw_event", "sid, ev"),
    ("hw_message", "sid, ev"),
    ("hw_turn", "sid, ev"),
    ("hw_call", "sid, ev"),
    ("hw_version", "sid, kind, n, ev"),
    ("hw_inherited", "kind, n, sid, ev"),
    ("hw_eval", "sid, ev"),
    ("hw_snapshot", "sid, ev"),
    ("hw_invocation", "sid, ev"),
    ("hw_head", "hid"),
    ("hw_ref", "sid, made, ev"),
    ("hw_span", "sid, ord"),
    ("hw_derivation", "target, target_ev, hash"),
    ("hw_alias", "name"),
    ("hw_pin", "name"),
    ("hw_fact", "n"),
    ("hw_ord", "1"),
    ("refinery_schema_history", "version"),
];

/// The tables, indexes, views and triggers themselves: a changed view would lie to every query.
fn schema(conn: &Connection, fresh: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    const SCHEMA: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    let read = |conn: &Connection| -> rusqlite::Result<Vec<Vec<Value>>> {
        conn.prepare(SCHEMA)?.query_map([], |row| (0..4).map(|i| row.get(i)).collect())?.collect()
    };
    let (ours, theirs) = (read(conn)?, read(fresh)?);
    for row in ours.iter().filter(|row| !theirs.contains(row)).chain(theirs.iter().filter(|row| !ours.contains(row))) {
        found.issue("schema-differs", format!("{:?} {:?}", row[0], row[1]), FROM_LOG);
    }
    Ok(())
}

/// Compares one table, both in the order of its key. Columns that tell when and where the file was made are left out.
fn compare(
    conn: &Connection,
    fresh: &Connection,
    table: &'static str,
    order: &str,
    found: &mut Findings,
) -> rusqlite::Result<()> {
    let columns = match table {
        "refinery_schema_history" => "version, name, checksum",
        // Frames stay where they are; only a rebuild after an adoption could place one elsewhere, never silently.
        _ => "*",
    };
    let sql = format!("SELECT {columns} FROM {table} ORDER BY {order}");
    let (mut left, mut right) = (conn.prepare(&sql)?, fresh.prepare(&sql)?);
    let width = left.column_count();
    let (mut left, mut right) = (left.query([])?, right.query([])?);
    let read = |row: Option<&rusqlite::Row<'_>>| -> rusqlite::Result<Option<Vec<Value>>> {
        row.map(|row| (0..width).map(|i| row.get(i)).collect()).transpose()
    };
    let mut count = 0;
    loop {
        let (ours, theirs) = (read(left.next()?)?, read(right.next()?)?);
        match (&ours, &theirs) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => count += 1,
            (Some(row), _) | (None, Some(row)) => {
                let (first, second) = (row.first(), row.get(1));
                found.issue("row-differs", format!("{table} at {}", key(first, second)), FROM_LOG);
                if ours.is_none() || theirs.is_none() || ours.as_ref().map(|r| &r[0]) != theirs.as_ref().map(|r| &r[0])
                {
                    // Out of step: each row that follows would differ.
                    break;
                }
            }
        }
    }
    found.count("rows", count);
    Ok(())
}

fn key(first: Option<&Value>, second: Option<&Value>) -> String {
    let text = |value: &Value| match value {
        Value::Integer(n) => n.to_string(),
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    [first, second].into_iter().flatten().map(text).collect::<Vec<_>>().join(", ")
}

/// What rows refer to: cheap questions, each naming what it finds.
const QUESTIONS: [(&str, &str, &str); 10] = [
    (
        "current-head",
        "session",
        "SELECT s.id FROM hw_session s LEFT JOIN hw_head h ON h.hid = s.current WHERE s.current IS NOT NULL AND (h.hid IS NULL OR h.sid <> s.sid)",
    ),
    ("head-session", "head", "SELECT h.hid FROM hw_head h LEFT JOIN hw_session s USING (sid) WHERE s.sid IS NULL"),
    (
        "head-basis",
        "head",
        "SELECT h.hid FROM hw_head h LEFT JOIN hw_head b ON b.hid = h.basis WHERE h.basis IS NOT NULL AND b.hid IS NULL",
    ),
    (
        "head-up",
        "head",
        "SELECT h.hid FROM hw_head h LEFT JOIN hw_head u ON u.hid = h.up WHERE h.up IS NOT NULL AND (u.hid IS NULL OR u.depth <> h.depth - 1)",
    ),
    (
        "derivation-end",
        "derivation",
        "SELECT d.target || ':' || d.target_ev FROM hw_derivation d LEFT JOIN hw_session s ON s.sid = d.target LEFT JOIN hw_head h ON h.hid = d.source_head WHERE s.sid IS NULL OR h.hid IS NULL",
    ),
    (
        "invocation-callee",
        "invocation",
        "SELECT i.id FROM hw_invocation i LEFT JOIN hw_session s ON s.id = i.callee WHERE i.callee IS NOT NULL AND s.sid IS NULL AND i.callee_before IS NOT NULL",
    ),
    ("alias-target", "alias", "SELECT a.name FROM hw_alias a LEFT JOIN hw_session s USING (sid) WHERE s.sid IS NULL"),
    (
        "head-snapshot",
        "head",
        "SELECT h.hid FROM hw_head h WHERE h.snapshot IS NOT NULL AND h.vars IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_blob b WHERE b.bid = h.vars)",
    ),
    (
        "last-event",
        "session",
        "SELECT s.id FROM hw_session s WHERE s.last_event <> (SELECT coalesce(max(ev), 0) FROM hw_event e WHERE e.sid = s.sid)",
    ),
    (
        "tabled-spans",
        "session",
        "SELECT s.id FROM hw_session s JOIN hw_head h ON h.hid = s.current WHERE s.deep = 0 AND NOT EXISTS (SELECT 1 FROM hw_span p WHERE p.sid = s.sid AND p.ord = h.depth AND p.source = h.sid AND p.span_from = h.span_from AND p.span_to = h.span_to)",
    ),
];

/// Whether what rows refer to is there.
pub(super) fn structure(conn: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    for (code, what, sql) in QUESTIONS {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let value: Value = row.get(0)?;
            found.issue(code, format!("{what} {}", key(Some(&value), None)), FROM_LOG);
        }
    }
    for (what, table) in
        [("sessions", "hw_session"), ("events", "hw_event"), ("heads", "hw_head"), ("payloads", "hw_blob")]
    {
        let count: u64 = conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        found.count(what, count);
    }
    Ok(())
}

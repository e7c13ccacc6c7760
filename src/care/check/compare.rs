//! Rows against the log: all rows are made anew beside the store, and the two are compared.

use std::cmp::Ordering;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::Findings;
use super::codes;
use crate::progress::{Observer, Progress, Unit};
use crate::sqlite::{migrate, stmt};
use crate::store::level::{self, Meta};

/// Compares every row of the store with those that the log makes up to `meta`.
pub(in crate::care) fn rows(
    conn: &Connection,
    blobs: &Path,
    meta: &Meta,
    observer: &Observer,
    found: &mut Findings,
) -> rusqlite::Result<()> {
    let mut fresh = crate::care::scratch()?;
    fresh.pragma_update(None, "journal_mode", "off")?;
    if let Err(error) = migrate::migrate(&mut fresh) {
        found.issue(codes::SCHEMA_DIFFERS, error.to_string());
        return Ok(());
    }
    match level::rebuild(&fresh, blobs, Some(meta.end), (observer, "making the rows anew")) {
        Ok((made, _)) if made == *meta => {}
        // The log is as long as they say: the row of the last commit is another.
        Ok((made, _)) if (made.tx, made.end) == (meta.tx, meta.end) => {}
        Ok((made, _)) => {
            let (tx, end) = (made.tx, meta.end);
            found.issue(codes::LOG_SHORT, format!("the log holds {tx} commits up to {end}, the rows {}", meta.tx));
            return Ok(());
        }
        Err(error) => {
            found.unread(codes::LOG_CONTRADICTS, crate::store::error::chain(&error), error);
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
const TABLES: [(&str, &str); 23] = [
    ("hw_session", "sid"),
    ("hw_blob", "bid"),
    ("hw_tx", "tx"),
    ("hw_word", "id"),
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
    let read = |conn: &Connection| -> rusqlite::Result<Vec<Vec<Value>>> {
        conn.prepare(stmt::care::SCHEMA)?.query_map([], |row| (0..4).map(|i| row.get(i)).collect())?.collect()
    };
    let (ours, theirs) = (read(conn)?, read(fresh)?);
    for row in ours.iter().filter(|row| !theirs.contains(row)).chain(theirs.iter().filter(|row| !ours.contains(row))) {
        found.issue(codes::SCHEMA_DIFFERS, format!("{} {}", text(&row[0]), text(&row[1])));
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
    let key = order.split(',').count();
    let mut count = 0;
    let (mut ours, mut theirs) = (read(left.next()?)?, read(right.next()?)?);
    loop {
        let step = match (&ours, &theirs) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => cmp(&a[..key], &b[..key]),
        };
        let (code, row) = match step {
            Ordering::Less => (codes::ROW_EXTRA, &ours),
            Ordering::Greater => (codes::ROW_MISSING, &theirs),
            Ordering::Equal => (codes::ROW_DIFFERS, &ours),
        };
        if step == Ordering::Equal && ours == theirs {
            count += 1;
        } else if let Some(row) = row {
            let key: Vec<_> = row[..key].iter().map(text).collect();
            found.issue(code, format!("{table} at {}", key.join(", ")));
        }
        if step != Ordering::Greater {
            ours = read(left.next()?)?;
        }
        if step != Ordering::Less {
            theirs = read(right.next()?)?;
        }
    }
    found.count("rows", count);
    Ok(())
}

/// The order in which SQLite gives rows.
fn cmp(a: &[Value], b: &[Value]) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    let one = |(a, b): (&Value, &Value)| match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        (Value::Integer(a), Value::Real(b)) => (*a as f64).total_cmp(b),
        (Value::Real(a), Value::Integer(b)) => a.total_cmp(&(*b as f64)),
        (Value::Real(a), Value::Real(b)) => a.total_cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    };
    a.iter().zip(b).map(one).find(|found| found.is_ne()).unwrap_or(Ordering::Equal)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(n) => n.to_string(),
        Value::Real(n) => n.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

//! Whether what rows refer to is there: questions to the rows alone, each with its code.

use rusqlite::Connection;

use super::Findings;
use super::codes::{self, Code};
use crate::sqlite::stmt::care as ask;

/// Each statement names what is wrong.
const QUESTIONS: [(Code, &str); 24] = [
    (codes::COMMIT_COUNT, ask::COMMIT_COUNT),
    (codes::CURRENT_HEAD, ask::CURRENT_HEAD),
    (codes::LAST_EVENT, ask::LAST_EVENT),
    (codes::EVENT_ROW, ask::EVENT_ROW),
    (codes::CACHE_ID, ask::CACHE_ID),
    (codes::HEAD_SESSION, ask::HEAD_SESSION),
    (codes::HEAD_BASIS, ask::HEAD_BASIS),
    (codes::HEAD_UP, ask::HEAD_UP),
    (codes::HEAD_COMPACTION, ask::HEAD_COMPACTION),
    (codes::HEAD_SPAN, ask::HEAD_SPAN),
    (codes::HEAD_SNAPSHOT, ask::HEAD_SNAPSHOT),
    (codes::HEAD_FINAL, ask::HEAD_FINAL),
    (codes::TABLED_SPANS, ask::TABLED_SPANS),
    (codes::DERIVATION_END, ask::DERIVATION_END),
    (codes::ATTACH_SOURCE, ask::ATTACH_SOURCE),
    (codes::INVOCATION_END, ask::INVOCATION_END),
    (codes::INVOCATION_TYPE, ask::INVOCATION_TYPE),
    (codes::INVOCATION_CALL, ask::INVOCATION_CALL),
    (codes::CALL_CHILD, ask::CALL_CHILD),
    (codes::ALIAS_TARGET, ask::ALIAS_TARGET),
    (codes::PIN_TARGET, ask::PIN_TARGET),
    (codes::FACT_PAYLOAD, ask::FACT_PAYLOAD),
    (codes::LEASE_ROW, ask::LEASE_ROW),
    (codes::PAYLOAD_PLACE, ask::PAYLOAD_PLACE),
];

/// Asks all of it.
pub(in crate::care) fn look(conn: &Connection, found: &mut Findings) -> rusqlite::Result<()> {
    for (code, sql) in QUESTIONS {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // Invocation ids and the like are as wide open as what damaged them.
            let place = row.get::<_, String>(0).unwrap_or_else(|_| "a row whose name is no text".to_owned());
            found.issue(code, place);
        }
    }
    conn.query_row(ask::COUNTS, [], |row| {
        for (at, what) in ["sessions", "events", "heads", "payloads"].into_iter().enumerate() {
            found.count(what, row.get(at)?);
        }
        Ok(())
    })
}

//! Every statement that writes, and those of a check, named, a file for each group of tables.

pub(crate) mod blob;
pub(crate) mod care;
pub(crate) mod event;
pub(crate) mod head;
pub(crate) mod meta;
pub(crate) mod name;
pub(crate) mod repair;
pub(crate) mod session;
pub(crate) mod stats;

/// Runs a statement that takes nothing and gives nothing, prepared once.
pub(crate) fn run(conn: &rusqlite::Connection, statement: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(statement)?.execute([])?;
    Ok(())
}

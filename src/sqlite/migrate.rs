//! The list of migrations.

use refinery::{Migration, Report, Runner, Target};
use rusqlite::Connection;

/// Why the schema could not be brought to this version's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The database knows migrations that this version does not.
    #[error("its schema has version {found}, this version knows {known}")]
    Newer {
        /// The database's.
        found: i64,
        /// This version's.
        known: i64,
    },
    #[error("the schema cannot be read or changed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

const FILES: [(&str, &str); 5] = [
    ("V1__rows", include_str!("../../migrations/V1__rows.sql")),
    ("V2__views", include_str!("../../migrations/V2__views.sql")),
    ("V3__imports_by_start", include_str!("../../migrations/V3__imports_by_start.sql")),
    ("V4__versions_of_evals", include_str!("../../migrations/V4__versions_of_evals.sql")),
    ("V5__words", include_str!("../../migrations/V5__words.sql")),
];

/// The oldest schema version that is migrated. Rows of an older one, from before the first release, are made again from the log: the files up to
/// this one were changed in place.
pub(crate) const OLDEST: i64 = 5;

/// The newest schema version this crate knows.
pub(crate) const KNOWN: i64 = FILES.len() as i64;

/// The schema's version; 0 for an empty database.
pub(crate) fn version(conn: &Connection) -> Result<i64, MigrateError> {
    let failed = |error: rusqlite::Error| MigrateError::Failed(error.into());
    let table: i64 = conn.query_row(super::stmt::meta::HAS_MIGRATIONS, [], |row| row.get(0)).map_err(failed)?;
    if table == 0 {
        return Ok(0);
    }
    conn.query_row(super::stmt::meta::SCHEMA_VERSION, [], |row| row.get(0)).map_err(failed)
}

/// Brings the schema to this version's. Needs the database alone.
pub(crate) fn migrate(conn: &mut Connection) -> Result<Report, MigrateError> {
    let found = version(conn)?;
    if found > KNOWN {
        return Err(MigrateError::Newer { found, known: KNOWN });
    }
    let migrations = FILES
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, &compact(sql)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| MigrateError::Failed(error.into()))?;
    conn.execute(super::stmt::meta::MAKE_MIGRATIONS, []).map_err(|error| MigrateError::Failed(error.into()))?;
    Runner::new(&migrations)
        .set_grouped(true)
        .set_abort_divergent(true)
        .set_abort_missing(true)
        .set_target(Target::Latest)
        .run(conn)
        .map_err(|error| MigrateError::Failed(error.into()))
}

/// The statements without comments and the space that people need: SQLite keeps their text in every database. What this
/// makes of a released file never changes, or the store refuses itself as divergent.
fn compact(sql: &str) -> String {
    const JOINS: &str = "(),=|<>+*/%;";
    let mut out = String::with_capacity(sql.len());
    for line in sql.lines() {
        let (mut quoted, mut chars) = (false, line.trim_start().chars().peekable());
        while let Some(char) = chars.next() {
            quoted ^= char == '\'';
            let joins = |neighbour: Option<char>| neighbour.is_none_or(|char| char == ' ' || JOINS.contains(char));
            match char {
                '-' if !quoted && chars.peek() == Some(&'-') => break,
                ' ' if !quoted && (joins(out.chars().next_back()) || joins(chars.peek().copied())) => {}
                char => out.push(char),
            }
        }
        // A line's end is a space where no other can be told from it.
        if !out.is_empty() && !out.ends_with([' ', '\n']) {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_of_a_migration_has_no_comments_and_means_the_same() {
        let sql = "-- A table.\nCREATE TABLE t (\n  a TEXT, -- not ''\n  b INTEGER\n);\n\nINSERT INTO t VALUES ('a -- b  , c', 1 - -1);\n";
        assert_eq!(
            compact(sql),
            "CREATE TABLE t(\na TEXT,\nb INTEGER\n);\nINSERT INTO t VALUES('a -- b  , c',1 - -1);\n"
        );
        let made = |sql: &dyn Fn(&'static str) -> String| {
            let conn = Connection::open_in_memory().unwrap();
            FILES.iter().for_each(|(_, file)| conn.execute_batch(&sql(file)).unwrap());
            let mut rows = conn.prepare("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2").unwrap();
            let row = |row: &rusqlite::Row<'_>| Ok([0, 1, 2].map(|at| row.get_unwrap::<_, String>(at)));
            rows.query_map([], row).unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(made(&compact), made(&str::to_owned));
        assert!(FILES.iter().map(|(_, file)| compact(file).len()).sum::<usize>() < 48 << 10);
    }
}

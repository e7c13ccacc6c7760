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

const FILES: [(&str, &str); 3] = [
    ("V1__rows", include_str!("../../migrations/V1__rows.sql")),
    ("V2__views", include_str!("../../migrations/V2__views.sql")),
    ("V3__imports_by_start", include_str!("../../migrations/V3__imports_by_start.sql")),
];

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
        .map(|(name, sql)| Migration::unapplied(name, sql))
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

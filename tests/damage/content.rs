//! Everything that can be read from a store, as text.

use std::fmt::Write;
use std::path::Path;

use headwater::store::{Options, Store};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags};

/// Opens the store and reads all of it: by the library, by the views, every payload. The first failure is the answer.
pub fn of(root: &Path) -> Result<String, String> {
    let mut out = String::new();
    let store = Store::open_with(root, Options { create: false, readers: 2, ..Options::default() })
        .map_err(|error| format!("opening: {error:?}"))?;
    let read = library(&store, &mut out).and_then(|()| views(root, &store, &mut out));
    let closed = store.close().map_err(|error| format!("closing: {error:?}"));
    read.and(closed)?;
    Ok(out)
}

fn library(store: &Store, out: &mut String) -> Result<(), String> {
    let failed = |error: headwater::store::ReadError| format!("reading: {error:?}");
    for info in store.sessions().map_err(failed)? {
        let session = &info.session;
        let history = store.history_view(session).map_err(failed)?;
        write!(out, "{:?}", store.events(session).map_err(failed)?).unwrap();
        write!(out, "{:?}", store.view(session).map_err(failed)?).unwrap();
        write!(out, "{:?}", store.event_view(session).map_err(failed)?).unwrap();
        for head in &history.heads {
            write!(out, "{:?}", store.view_at(session, &head.head).map_err(failed)?).unwrap();
            write!(out, "{:?}", store.root_of(&head.head).map_err(failed)?).unwrap();
        }
        writeln!(out, "{history:?}").unwrap();
    }
    Ok(())
}

fn views(root: &Path, store: &Store, out: &mut String) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("the views: {error:?}");
    let conn =
        Connection::open_with_flags(root.join("store.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let mut names = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'view' AND name NOT LIKE 'hw_%' ORDER BY name")
        .map_err(failed)?;
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if names.len() < 20 {
        return Err(format!("only these views are left: {names:?}"));
    }
    for name in names {
        // Where a frame lies is no content: an adoption copies it.
        let columns = if name == "blob" { "ref, size, media, state, codec, stored" } else { "*" };
        let mut statement = conn.prepare(&format!("SELECT {columns} FROM \"{name}\"")).map_err(failed)?;
        let width = statement.column_count();
        let mut lines = Vec::new();
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let values: Vec<Value> = (0..width).map(|n| row.get(n)).collect::<Result<_, _>>().map_err(failed)?;
            if name == "blob"
                && let Some(Value::Text(digest)) = values.first()
            {
                let digest = store.blobs().resolve(digest).map_err(|error| format!("{digest}: {error:?}"))?;
                let bytes = store.blobs().get(&digest).map_err(|error| format!("{digest}: {error:?}"))?;
                lines.push(format!("{} bytes", bytes.len()));
            }
            lines.push(format!("{values:?}"));
        }
        lines.sort();
        writeln!(out, "{name}: {lines:?}").unwrap();
    }
    Ok(())
}

/// Every row of every table, read by SQLite alone and from the files as they are; nothing where one cannot be read.
pub fn rows(root: &Path) -> Option<String> {
    let conn = Connection::open_with_flags(
        root.join("store.sqlite"),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .ok()?;
    // The last one to close must not write the WAL into the file.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).ok()?;
    let mut out = String::new();
    let mut tables = conn.prepare("SELECT name, sql FROM sqlite_schema ORDER BY type, name").ok()?;
    let tables = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    let tables: Vec<(String, Option<String>)> = tables.collect::<Result<_, _>>().ok()?;
    for (name, sql) in &tables {
        out.push_str(sql.as_deref().unwrap_or(name));
        if !sql.as_deref().is_some_and(|sql| sql.starts_with("CREATE TABLE")) {
            continue;
        }
        let mut statement = conn.prepare(&format!("SELECT * FROM \"{name}\"")).ok()?;
        let width = statement.column_count();
        let mut rows = statement.query([]).ok()?;
        while let Some(row) = rows.next().ok()? {
            for n in 0..width {
                match row.get_ref(n).ok()? {
                    ValueRef::Null => out.push('-'),
                    ValueRef::Integer(n) => write!(out, "{n}").unwrap(),
                    ValueRef::Real(n) => write!(out, "{n}").unwrap(),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        bytes.iter().for_each(|byte| out.push(char::from(*byte)));
                    }
                }
                out.push('\u{1f}');
            }
        }
    }
    Some(out)
}

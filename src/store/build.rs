//! Making the database: a new schema, a migration, or all rows from the log. The store is the caller's alone.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::checkpoint::database;
use super::error::OpenError;
use super::level::{self, Meta, Rebuilt};
use super::mark::{self, Trust};
use super::open::{io, levelled, lock, make_folder, migration, sql};
use super::{OpenReport, Options, kin, swap};
use crate::progress::Observer;
use crate::segment;
use crate::sqlite::migrate;
use crate::sqlite::open as sqlite;
use crate::sqlite::reader::Reader;

/// Makes a database from what is there: a new schema, a migration, or all rows from the log. The store is ours alone.
pub(super) fn build(root: &Path, why: &str, options: &Options, report: &mut OpenReport) -> Result<(), OpenError> {
    let (path, blobs) = (database(root), root.join("blobs"));
    let mut mark_file = mark::lock(root).map_err(lock)?;
    let noting = mark_file.exclusive_blocking().map_err(lock)?;
    if let Some(folder) =
        swap::finish(root, options.journal, &noting).map_err(io("a repair cannot be brought to its end"))?
    {
        report.notes.push(format!("a repair was brought to its end; what it replaced is in {}", folder.display()));
        return Ok(());
    }
    segment::remove_temporaries(&blobs).map_err(io("left-over files cannot be removed"))?;
    let trusted = mark::trust(root, &path).map_err(io("the database file cannot be looked at"))?;
    let is_ours = || {
        let conn = Reader::open(&path).map_err(sql(root))?;
        Ok::<bool, OpenError>(match migrate::version(&conn).map_err(|error| migration(root, error))? {
            0 => true,
            1..migrate::OLDEST => false,
            _ => kin::estranged(&conn, root).map_err(|error| levelled(root, error))?.is_none(),
        })
    };
    if trusted == Trust::Trusted && is_ours()? {
        let mut conn = sqlite::writer(&path, options.journal).map_err(sql(root))?;
        migrate::migrate(&mut conn).map_err(|error| migration(root, error))?;
        sqlite::checkpoint(&conn, true).map_err(sql(root))?;
        drop(conn);
        return mark::note(root, &path, &noting).map_err(io("the database cannot be noted as whole"));
    }
    let empty = segment::list(&blobs).map_err(io("the folder of segments cannot be read"))?.is_empty();
    let fresh = root.join("store.sqlite.new");
    let done = make_rows(root, &fresh, &blobs, &options.observer)?;
    // A commit that they know, and of which the log holds only damaged bytes, is not dropped for having been copied.
    let more = kin::knows_more(root, done.0.tx);
    if let Some(rows) = &more {
        let (from, to) = (done.0.tx.next(), rows.tx);
        if kin::reaches(&blobs, rows.end).map_err(|error| levelled(root, error))? {
            remove(&fresh)?;
            let what = format!(
                "the rows know commits {from} to {to}, and the log, which reaches to their end, does not hold them whole"
            );
            return Err(OpenError::Damaged { path: root.to_owned(), what });
        }
        report.notes.push(format!(
            "the log ends with commit {}: commits {from} to {to} are only in the rows that are set aside",
            done.0.tx
        ));
    }
    if !done.1.beyond_gap.is_empty() {
        let folder = aside_folder(root)?;
        for number in &done.1.beyond_gap {
            let from = segment::segment_path(&blobs, *number);
            let to = folder.join(format!("{number:010}.seg"));
            fs::rename(&from, &to).map_err(io("a segment beyond a gap cannot be set aside"))?;
        }
        sync_aside(root, &folder)?;
        segment::sync_dir(&blobs).map_err(io("the folder of segments cannot be synced"))?;
        let numbers = &done.1.beyond_gap;
        report.notes.push(format!(
            "commits after {} are missing from the log: segments {numbers:?} beyond the gap were set aside in {}",
            done.0.tx,
            folder.display()
        ));
    }
    // Only now that there is another: a rebuild that fails leaves everything as it was.
    if let Some(aside) = set_aside(root, &path)? {
        // Why is told with the rebuilding, if there was anything to rebuild.
        let why = if empty { format!("{why}; ") } else { String::new() };
        report.notes.push(format!("{why}the file was set aside as {}", aside.display()));
    }
    fs::rename(&fresh, &path).map_err(io("the new database cannot be named"))?;
    segment::sync_dir(root).map_err(io("the store's folder cannot be synced"))?;
    // Its first opening writes the journal mode into the file: only then is it as it will be.
    drop(sqlite::writer(&path, options.journal).map_err(sql(root))?);
    // That change had a rollback journal. Were it back after a power loss, SQLite would undo with it what came later.
    segment::sync_dir(root).map_err(io("the store's folder cannot be synced"))?;
    if !empty {
        report.rebuilt = Some((why.to_owned(), done.1.commits));
    }
    mark::note(root, &path, &noting).map_err(io("the database cannot be noted as whole"))
}

/// Makes all rows from the segments in `blobs`, in the new file `fresh`, which is synced and not yet a database in use.
pub(crate) fn make_rows(
    root: &Path,
    fresh: &Path,
    blobs: &Path,
    observer: &Observer,
) -> Result<(Meta, Rebuilt), OpenError> {
    remove(fresh)?;
    // Made private before SQLite opens it: its WAL takes over the mode of the file.
    segment::create_file_private(fresh).map_err(io("the new database cannot be made"))?;
    let done = {
        let mut conn = Connection::open_with_flags(
            fresh,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(sql(root))?;
        // Nobody sees this file before it is whole and synced: no journal, no sync on the way.
        for (name, value) in [
            ("page_size", sqlite::PAGE.to_string().as_str()),
            ("journal_mode", "off"),
            ("synchronous", "off"),
            ("temp_store", "memory"),
        ] {
            conn.pragma_update(None, name, value).map_err(sql(root))?;
        }
        conn.pragma_update(None, "cache_size", -262_144).map_err(sql(root))?;
        conn.set_prepared_statement_cache_capacity(256);
        migrate::migrate(&mut conn).map_err(|error| migration(root, error))?;
        let reading = (observer, "rebuilding the rows from the log");
        level::rebuild(&conn, blobs, None, reading).map_err(|error| levelled(root, error))?
    };
    let file = fs::File::open(fresh).map_err(io("the new database cannot be synced"))?;
    file.sync_all().map_err(io("the new database cannot be synced"))?;
    Ok(done)
}

/// Moves an untrusted database, with its WAL, out of the way; never deletes it.
fn set_aside(root: &Path, path: &Path) -> Result<Option<PathBuf>, OpenError> {
    let mut aside = None;
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal"] {
        let from = root.join(name);
        match fs::symlink_metadata(&from) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io("the database file cannot be looked at")(error)),
            Ok(meta) if meta.len() == 0 && from != path => {
                remove(&from)?;
                continue;
            }
            Ok(_) => {}
        }
        let folder = match &aside {
            Some(folder) => PathBuf::clone(folder),
            None => aside.insert(aside_folder(root)?).clone(),
        };
        fs::rename(&from, folder.join(name)).map_err(io("an untrusted database cannot be set aside"))?;
    }
    if let Some(folder) = &aside {
        sync_aside(root, folder)?;
    }
    Ok(aside)
}

/// Makes durable what was moved to `folder`, before the place it came from is synced: it must not be gone from both.
fn sync_aside(root: &Path, folder: &Path) -> Result<(), OpenError> {
    for path in [folder, &root.join("set-aside"), root] {
        segment::sync_dir(path).map_err(io("what was set aside cannot be synced"))?;
    }
    Ok(())
}

/// A new folder for what is set aside.
fn aside_folder(root: &Path) -> Result<PathBuf, OpenError> {
    let folder = root.join("set-aside");
    make_folder(&folder)?;
    for n in 1_u64.. {
        let path = folder.join(n.to_string());
        // Not the helper that is content with a folder that is there: what was set aside before stays as it is.
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io("a folder for what is set aside cannot be made")(error)),
        }
    }
    Ok(folder)
}

fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(format!("{} cannot be removed", path.display()))(error))
        }
        _ => Ok(()),
    }
}

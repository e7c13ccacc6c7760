//! Opening and closing, each in one fixed order.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use super::build::build;
pub(crate) use super::checkpoint::database;
use super::checkpoint::{self, Checkpointer};
use super::commit::locked;
use super::error::{Cause, CommitError, OpenError, chain, is_busy, is_corrupt, is_full};
use super::hub::Hub;
use super::lead::Desk;
use super::lease::Holder;
use super::level::{self, LevelError, Meta};
use super::mark::{self, Trust};
use super::pool::Pool;
use super::read_only::{self, Ground};
use super::swap;
use super::writer::{Poison, Writer};
use super::{Inner, OpenReport, Options, Store, kin};
use crate::segment::{
    self, FileSystem, LockError, LockFile, LockGuard, Log, LogOptions, Readers, Turnstile, create_dir_private,
    filesystem_kind,
};
use crate::sqlite::apply::Applier;
use crate::sqlite::migrate::{self, MigrateError};
use crate::sqlite::open::{self as sqlite, Journal};
use crate::sqlite::reader::{Reader, is_read_only};
use crate::sqlite::{doubt, fault, stmt};

/// How long an opening waits for the write lock to adopt what a dead writer left; then it reads at the rows' end.
const ADOPTION: Duration = Duration::from_secs(5);

pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> OpenError {
    let what = what.into();
    move |error| {
        if segment::is_full(&error) {
            OpenError::Full(Box::new(error))
        } else {
            OpenError::Io { what, source: Box::new(error) }
        }
    }
}

pub(super) fn lock(error: LockError) -> OpenError {
    if is_full(&error) {
        return OpenError::Full(Box::new(error));
    }
    OpenError::Io { what: "a lock of the store cannot be taken".to_owned(), source: Box::new(error) }
}

pub(super) fn sql(path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    move |error| {
        if fault::is_full(&error) {
            return OpenError::Full(Box::new(error));
        }
        if fault::is_busy(&error) {
            return held(&path);
        }
        if fault::is_corrupt(&error) {
            return match doubt::refusal(&database(&path)) {
                Some(refused) => io("the database cannot be read")(refused),
                None => OpenError::Damaged { path, what: format!("the database: {error}") },
            };
        }
        OpenError::Io { what: "the database cannot be opened".to_owned(), source: Box::new(error) }
    }
}

/// Another program holds a lock on the database: none of ours keeps one so long.
fn held(root: &Path) -> OpenError {
    OpenError::InUse { path: root.to_owned(), why: "its database is locked by another program".to_owned() }
}

pub(super) fn levelled(path: &Path, error: LevelError) -> OpenError {
    if error.is_full() {
        return OpenError::Full(Box::new(error));
    }
    if let Some(what) = error.newer() {
        return OpenError::NewerFormat { path: path.to_owned(), what };
    }
    if is_busy(&error) {
        return held(path);
    }
    if is_corrupt(&error)
        && let Some(refused) = doubt::refusal(&database(path))
    {
        return io("the database cannot be read")(refused);
    }
    if error.is_damage() {
        return OpenError::Damaged { path: path.to_owned(), what: chain(&error) };
    }
    OpenError::Io { what: "the rows cannot be brought level with the log".to_owned(), source: Box::new(error) }
}

/// What lies in a store's folder.
const OURS: [&str; 11] =
    ["blobs", "open", "index", "set-aside", "quarantine", "repair", "store.sqlite", "mark", "lock", "turn", "write"];

/// Where a store lies.
pub(super) enum Home<'a> {
    /// In a folder that stays.
    Lasting(&'a Path),
    /// In one that goes with the store: nothing in it need survive anything.
    Passing(TempDir),
}

/// Opens the store at `home`.
pub(super) fn open(home: Home<'_>, options: Options) -> Result<Store, OpenError> {
    let root = match &home {
        Home::Lasting(root) => root,
        Home::Passing(folder) => folder.path(),
    };
    let sync = matches!(home, Home::Lasting(_));
    let mut report = OpenReport::default();
    sqlite::library_is_sound()
        .map_err(|what| OpenError::Io { what, source: "the SQLite library is too old".into() })?;
    let root = folder(root, &options, &mut report)?;
    // From here on the store cannot be rebuilt, migrated or removed under us.
    let read_only = is_read_only(&root);
    let (held, path, beside, conn, meta, holder) = match read_only {
        true => {
            let Ground { held, database, beside, meta } = read_only::ground(&root, &options, &mut report)?;
            // Nobody asks a writer that writes nothing.
            let conn = Connection::open_in_memory().map_err(sql(&root))?;
            (held, database, Some(beside), conn, meta, Holder::nobody(&root))
        }
        false => {
            let (held, path) = (ready(&root, &options, &mut report)?, database(&root));
            let conn = sqlite::writer(&path, options.journal).map_err(sql(&root))?;
            let meta = Meta::read(&conn).map_err(sql(&root))?;
            (Some(held), path, None, conn, meta, Holder::enter(&root).map_err(lock)?)
        }
    };
    // Locks that nobody else looks at, where none can be made.
    let locks = beside.as_ref().map_or(root.as_path(), |folder| folder.path());
    let blobs = root.join("blobs");
    let readers = Arc::new(Readers::new(&blobs));
    let log_options = LogOptions { segment_size: options.segment_size, zero_fill: options.zero_fill, sync };
    let mut writer = Writer {
        meta,
        proven: None,
        conn,
        log: Log::open(&blobs, log_options).map_err(io("the folder of segments cannot be opened"))?,
        turnstile: Turnstile::open(&locks.join("turn"), &locks.join("write")).map_err(lock)?,
        applier: Applier::default(),
        readers: Arc::clone(&readers),
        holder,
        clock: options.clock.clone(),
        poison: read_only.then_some(Poison::ReadOnly),
    };
    if read_only {
        let tx = writer.meta.tx;
        report.notes.push(format!("nothing can be written in {}: reading ends at commit {tx}", root.display()));
    } else {
        adopt(&root, &mut writer, &mut report)?;
    }
    let hub = Hub::new(path.parent().unwrap_or(&root), writer.meta.tx);
    let desk = Desk::new(writer, Checkpointer::new(&root, options.wal_size, options.journal), hub);
    let inner = Arc::new(Inner {
        clock: options.clock.clone(),
        report,
        pool: Arc::new(Pool::new(&path, options.readers)),
        log: readers,
        places: Default::default(),
        desk,
        handles: Mutex::default(),
        lock: Mutex::new(held),
        _beside: beside,
        root,
        passing: match home {
            Home::Lasting(_) => None,
            Home::Passing(folder) => Some(folder),
        },
    });
    Ok(Store { inner })
}

/// The store's folder, made if wanted, on a file system that keeps the promises.
fn folder(root: &Path, options: &Options, report: &mut OpenReport) -> Result<PathBuf, OpenError> {
    let exists = match fs::symlink_metadata(root) {
        Ok(meta) if meta.is_dir() => true,
        Ok(meta) if meta.is_symlink() && root.is_dir() => true,
        Ok(_) => return Err(io(format!("{} is no folder", root.display()))(std::io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(io(format!("{} cannot be read", root.display()))(error)),
    };
    let blobs = root.join("blobs");
    let found = segment::is_folder(&blobs).and_then(|blobs| Ok(blobs || segment::is_there(&database(root))?));
    let holds_store = exists
        && found.or_else(|error| {
            // Whose it is says more.
            safe(root)?;
            Err(io(format!("{} cannot be read", root.display()))(error))
        })?;
    if !holds_store {
        if !options.create {
            return Err(OpenError::NotFound { path: root.to_owned() });
        }
        if !exists {
            if let Some(parent) = root.parent().filter(|p| !p.as_os_str().is_empty()) {
                make_parents(parent)?;
            }
            make_folder(root)?;
            sync_parent(root)?;
        }
        report.created = true;
    }
    let root = root.canonicalize().map_err(io("the store's folder cannot be resolved"))?;
    if let FileSystem::Network(kind) =
        filesystem_kind(&root).map_err(io("the file system of the store cannot be told"))?
        && options.journal == Journal::Wal
    {
        return Err(OpenError::Network { path: root, kind: kind.to_owned() });
    }
    safe(&root)?;
    if is_read_only(&root) {
        return Ok(root);
    }
    for name in ["blobs", "open", "index"] {
        make_folder(&root.join(name))?;
    }
    segment::sync_dir(&root).map_err(io("the store's folder cannot be synced"))?;
    Ok(root)
}

/// Refuses what others could have put in place of the store, or could change under us.
pub(crate) fn safe(root: &Path) -> Result<(), OpenError> {
    let refuse =
        |path: &Path, what: String, advice: String| Err(OpenError::Unsafe { path: path.to_owned(), what, advice });
    let meta = fs::metadata(root).map_err(io("the store's folder cannot be read"))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        let what = format!("belongs to user {}, and this process is user {me}", meta.uid());
        let advice = "use it as its owner (sudo -u), or give it away: chown -R USER DIR".to_owned();
        return refuse(root, what, advice);
    }
    if meta.mode() & 0o002 != 0 {
        let what = format!("may be written by everybody (mode {:o})", meta.mode() & 0o7777);
        return refuse(root, what, "chmod -R go= DIR".to_owned());
    }
    for name in OURS {
        let path = root.join(name);
        let meta = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            meta => meta.map_err(io(format!("{} cannot be looked at", path.display())))?,
        };
        if meta.is_symlink() {
            let advice =
                "put the file or folder itself in the link's place; only the store's folder may be a link".to_owned();
            return refuse(&path, "is a symbolic link".to_owned(), advice);
        }
    }
    Ok(())
}

/// Makes the folders that are missing above a new store, each name durable: a power loss must not take the store with
/// what it acknowledged.
fn make_parents(path: &Path) -> Result<(), OpenError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_parents(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(io(format!("{} cannot be made", path.display()))(error))
        }
        _ => sync_parent(path),
    }
}

fn sync_parent(path: &Path) -> Result<(), OpenError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    segment::sync_dir(parent).map_err(io(format!("{} cannot be synced", parent.display())))
}

pub(super) fn make_folder(path: &Path) -> Result<(), OpenError> {
    match create_dir_private(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(_) => Err(io(format!("{} is no folder", path.display()))(std::io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(io(format!("{} cannot be read", path.display()))(error)),
        },
        Err(error) => Err(io(format!("{} cannot be made", path.display()))(error)),
    }
}

pub(super) fn shared_lock(file: &mut LockFile, patience: Duration, root: &Path) -> Result<LockGuard, OpenError> {
    file.shared(patience).map_err(|error| match error {
        LockError::TimedOut { .. } => {
            OpenError::InUse { path: root.to_owned(), why: "it is being rebuilt, migrated or repaired".to_owned() }
        }
        error => lock(error),
    })
}

/// Why the store must be made, rebuilt or migrated before it can be used; none if it is ready.
fn is_ready(root: &Path) -> Result<Option<String>, OpenError> {
    let path = database(root);
    if swap::is_ready(root).map_err(io("the store's folder cannot be read"))? {
        return Ok(Some("a repair was cut off before its end".to_owned()));
    }
    let trust = mark::settled(root, &path).map_err(lock)?;
    match trust {
        Trust::Missing => return Ok(Some("there is no database".to_owned())),
        Trust::Untrusted(why) => return Ok(Some(format!("the database is not trusted: {why}"))),
        Trust::Trusted => {}
    }
    let conn = Reader::open(&path).map_err(sql(root))?;
    match migrate::version(&conn).map_err(|error| migration(root, error))? {
        found if found > migrate::KNOWN => Err(migration(root, MigrateError::Newer { found, known: migrate::KNOWN })),
        found if found < migrate::KNOWN => Ok(Some(format!("its schema has version {found}"))),
        _ => Ok(kin::estranged(&conn, root).map_err(|error| levelled(root, error))?.map(str::to_owned)),
    }
}

pub(super) fn migration(root: &Path, error: MigrateError) -> OpenError {
    match error {
        error @ MigrateError::Newer { .. } => OpenError::NewerFormat { path: root.to_owned(), what: error.to_string() },
        error if is_full(&error) => OpenError::Full(Box::new(error)),
        error if is_busy(&error) => held(root),
        error => OpenError::Io {
            what: "the database's schema cannot be brought up to date".to_owned(),
            source: Box::new(error),
        },
    }
}

/// Has the database ready to be used, and the store's lock shared.
fn ready(root: &Path, options: &Options, report: &mut OpenReport) -> Result<LockGuard, OpenError> {
    let mut file = LockFile::open(&root.join("lock")).map_err(lock)?;
    let held = shared_lock(&mut file, options.patience, root)?;
    match is_ready(root)? {
        None => Ok(held),
        Some(_) => make_ready(root, &mut file, held, options, report),
    }
}

/// Makes, rebuilds or migrates the database, alone; gives the lock back shared.
fn make_ready(
    root: &Path,
    file: &mut LockFile,
    held: LockGuard,
    options: &Options,
    report: &mut OpenReport,
) -> Result<LockGuard, OpenError> {
    drop(held);
    let start = Instant::now();
    // Several processes may meet at a new store: one makes it, the others wait and find it made. A process that
    // uses the store keeps its shared lock, so that waiting for it would be in vain.
    let brief = options.patience.min(Duration::from_millis(500));
    loop {
        match file.exclusive(Duration::from_millis(20)) {
            Ok(_alone) => {
                if let Some(why) = is_ready(root)? {
                    build(root, &why, options, report)?;
                }
            }
            Err(LockError::TimedOut { .. }) => {}
            Err(error) => return Err(lock(error)),
        }
        let shared = shared_lock(file, options.patience, root)?;
        let Some(why) = is_ready(root)? else { return Ok(shared) };
        checkpoint::complete(root, options.journal).map_err(|source| OpenError::Io {
            what: "a WAL checkpoint that was cut off cannot be completed".to_owned(),
            source,
        })?;
        if start.elapsed() > brief {
            return Err(OpenError::InUse { path: root.to_owned(), why });
        }
    }
}

/// Adopts the commits of dead writers, if there are any. A live writer's frames are ahead of the rows between its sync and its
/// COMMIT, and only while it holds `write`: under that lock they are a dead one's.
fn adopt(root: &Path, writer: &mut Writer, report: &mut OpenReport) -> Result<(), OpenError> {
    match writer.log.end_mismatch(writer.meta.end) {
        Ok(None) => return Ok(()),
        Ok(Some(_)) => {}
        Err(error) => return Err(levelled(root, error.into())),
    }
    match writer.alone(Some(ADOPTION), |_, adopted| Ok(adopted)) {
        Ok(adopted) => report.adopted = adopted,
        Err(CommitError::Damaged(what)) => return Err(OpenError::Damaged { path: root.to_owned(), what }),
        Err(CommitError::NewerFormat(what)) => return Err(OpenError::NewerFormat { path: root.to_owned(), what }),
        Err(_) if moved(root, writer)? => {}
        // It can be read: as far as the rows go.
        Err(error) => report.notes.push(format!(
            "frames beyond the rows' end could not be adopted ({}); reading ends at commit {}",
            chain(&error),
            writer.meta.tx
        )),
    }
    Ok(())
}

/// Whether another process has committed since the writer looked; looks again.
fn moved(root: &Path, writer: &mut Writer) -> Result<bool, OpenError> {
    let now = Meta::read(&writer.conn).map_err(sql(root))?;
    let moved = now != writer.meta;
    writer.meta = now;
    Ok(moved)
}

/// Closes the store: with nobody else in it, moves the WAL into the main file and cuts the zeros off the log.
pub(super) fn close(inner: &Inner, held: LockGuard) -> Result<(), OpenError> {
    let root = inner.root.clone();
    drop(held);
    let mut file = LockFile::open(&root.join("lock")).map_err(lock)?;
    // Another open store will do it when it closes.
    let Some(_alone) = file.try_exclusive().map_err(lock)? else { return Ok(()) };
    // Nobody reads any more; the writer's connection is to be the last.
    inner.pool.close();
    let mut writer = locked(&inner.desk.writer);
    if writer.poison.is_some() {
        return Ok(());
    }
    let failed = |error: Cause| {
        if is_full(error.as_ref()) {
            return OpenError::Full(error);
        }
        OpenError::Io { what: "the last WAL checkpoint failed".to_owned(), source: error }
    };
    if checkpoint::wal_len(&root) > 0 || inner.desk.checkpointer.has_no_wal() {
        checkpoint::run(&root, &writer.conn, true).map_err(failed)?;
    }
    let leaves_nothing = !inner.desk.checkpointer.has_no_wal() && checkpoint::wal_len(&root) == 0;
    let _write = writer.turnstile.acquire().map_err(lock)?;
    writer.holder.sweep();
    // Segments that a killed writer was building; nobody reads them.
    let _ = segment::remove_temporaries(&root.join("blobs"));
    let end = Meta::read(&writer.conn).map_err(sql(&root))?.end;
    if end != segment::Position::START {
        // What is not zero is a dead writer's, for the next opening to adopt.
        let _ = writer.log.trim(end);
    }
    if leaves_nothing {
        sqlite::leave_nothing(&writer.conn).map_err(sql(&root))?;
        // Now, while nobody can open the store: SQLite removes the WAL by its name, and once another has made the rows
        // anew the WAL of that name is another's.
        let gone = Connection::open_in_memory().map_err(sql(&root))?;
        drop(std::mem::replace(&mut writer.conn, gone));
    }
    Ok(())
}

impl Writer {
    /// Runs `f` in a write transaction, level with the log, while no other process writes; it is told how many commits of dead
    /// writers were adopted.
    pub(super) fn alone<T>(
        &mut self,
        patience: Option<Duration>,
        f: impl FnOnce(&mut Writer, u64) -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        self.refuses()?;
        let _write = match patience {
            Some(patience) => self.turnstile.acquire_within(patience),
            None => self.turnstile.acquire(),
        }
        .map_err(super::writer::lock_error)?;
        self.conn.execute_batch(stmt::meta::BEGIN).map_err(super::writer::sql_error)?;
        let result = self.level_now().and_then(|adopted| f(self, adopted)).and_then(|value| {
            self.conn.execute_batch(stmt::meta::COMMIT).map_err(super::writer::sql_error)?;
            Ok(value)
        });
        result.map_err(|error| {
            self.undo();
            if let Ok(meta) = Meta::read(&self.conn) {
                self.meta = meta;
            }
            error.told_by(self.readers.dir())
        })
    }

    fn level_now(&mut self) -> Result<u64, CommitError> {
        let mut meta = Meta::read(&self.conn).map_err(super::writer::sql_error)?;
        if meta != self.meta {
            self.applier.forget();
        }
        self.prove(&meta).map_err(super::writer::level_error)?;
        let before = meta.clone();
        let adopted = level::level(&self.conn, &mut self.applier, &mut self.log, &self.readers, &mut meta)
            .map_err(super::writer::level_error)?;
        if meta != before {
            meta.write(&self.conn).map_err(super::writer::sql_error)?;
        }
        self.meta = meta;
        Ok(adopted)
    }
}

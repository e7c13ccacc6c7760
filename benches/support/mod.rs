//! What the benches share: invented English text, stores made in bulk, the floors that the store is compared with.

#![allow(dead_code, reason = "each bench uses its part")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Barrier, LazyLock};
use std::time::{Duration, Instant};

use headwater::model::{CallType, Role, SessionId, Status};
use headwater::segment::{self, FRAME_HEADER_LEN, SEGMENT_HEADER_LEN, SegmentReader};
use headwater::store::{Batch, CommitError, NewMessage, NewSession, Session, Store};
use rusqlite::{Connection, params};

/// A folder beside the build: on a disk, where `/tmp` may be memory.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// CPU time of this process so far.
pub fn cpu() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(at.tv_sec.unsigned_abs(), u32::try_from(at.tv_nsec).unwrap_or(0))
}

// ----------------------------------------------------------------------------------------------------------- text

/// Random numbers that are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n as u64) as usize
    }

    fn pick(&mut self, list: &'static LazyLock<Vec<&'static str>>) -> &'static str {
        list[self.below(list.len())]
    }
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

static OPENINGS: LazyLock<Vec<&str>> =
    LazyLock::new(|| words("The A This That Each Every Our Another Its Your Some One No His Their"));
static ADJECTIVES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    words(
        "quiet early narrow second broken patient distant empty careful sudden northern heavy simple \
    honest clever local ancient modern bitter bright cheap common curious final foreign former gentle global golden \
    hidden hollow human idle inner large late lazy legal little lonely lost lower major minor moral mutual native \
    odd open outer painful pale plain polite poor proper pure rare raw ready remote rich rigid rough royal rural",
    )
});
static NOUNS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    words(
        "river letter window harvest engine teacher station garden winter market lamp village doctor map \
    bridge answer morning promise ladder question harbour merchant curtain kettle orchard painter railway shepherd \
    shelter signal soldier sparrow stranger summer tailor theatre thunder timber traveller tunnel valley verdict \
    visitor voyage waiter wagon warning weather widow witness wonder workshop archive balance basket battery branch \
    captain carpet ceiling century chapter charity cottage council country courage cousin crowd custom daughter",
    )
});
static VERBS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    words(
        "carried followed crossed opened forgot measured repaired watched found left reached sold answered \
    remembered painted counted changed delayed covered divided guarded lifted missed moved needed noticed ordered \
    passed planned praised pulled pushed raised refused rented rested ruined saved served shared signed stopped",
    )
});
static LINKS: LazyLock<Vec<&str>> =
    LazyLock::new(|| words("because although while before after until whenever and but so that as since unless where"));
static PLACES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "near the shore|behind the house|at the edge of town|under the old roof|for many years|in spite of \
    the rain|without a word|on the other side|during the long evening|with great care|against all advice|by the end of \
    the week|from a great distance|among her friends|across the frozen field|beyond the last mile|inside the small room"
        .split('|')
        .collect()
});

/// English prose of about `len` bytes, different for every `seed`.
pub fn prose(seed: u64, len: usize) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..4 {
        dice.below(2);
    }
    let mut text = String::with_capacity(len + 100);
    while text.len() < len {
        let clauses = 1 + dice.below(3);
        for clause in 0..clauses {
            let opening = dice.pick(&OPENINGS);
            match clause {
                0 => text.push_str(opening),
                _ => {
                    text.push(' ');
                    text.push_str(dice.pick(&LINKS));
                    text.push(' ');
                    text.push_str(&opening.to_lowercase());
                }
            }
            for word in [dice.pick(&ADJECTIVES), dice.pick(&NOUNS), dice.pick(&VERBS), "the", dice.pick(&NOUNS)] {
                text.push(' ');
                text.push_str(word);
            }
            if dice.below(3) == 0 {
                text.push(' ');
                text.push_str(dice.pick(&PLACES));
            }
            text.push_str(if clause + 1 < clauses { "," } else { ". " });
        }
    }
    text.truncate(len);
    text
}

// --------------------------------------------------------------------------------------------------------- stores

pub fn name(text: &str) -> SessionId {
    text.parse().expect("an id")
}

/// A store with the sessions `s0`, `s1`, ….
pub fn store_with(root: &Path, sessions: usize) -> (Store, Vec<Session>) {
    let store = Store::open(root).expect("a store");
    let sessions = (0..sessions)
        .map(|at| store.create_session(NewSession::named(name(&format!("s{at}")))).expect("a session"))
        .collect();
    (store, sessions)
}

/// Ten events of a session at work: a turn with its input, two calls, answers.
pub fn ten_events(batch: &mut Batch<'_>, seed: u64, text: &str) -> Result<(), CommitError> {
    let input = batch.put(format!("input {seed} {text}").as_bytes());
    let turn = batch.begin_turn(|row| row.input = Some(input))?;
    batch.add_message(NewMessage::new(Role::User, format!("input {seed} {text}")).turn(turn))?;
    for part in 0..2 {
        let call = batch.begin_call(CallType::Root, |row| row.model = Some("model".to_owned()))?;
        let response = batch.put(format!("response {seed} {part} {text}").as_bytes());
        batch.update_call(call, |row| {
            row.status = Status::OK;
            row.response = Some(response);
            row.tokens_input = Some(1000 + seed % 100);
            row.tokens_output = Some(seed % 1000);
        })?;
        batch.add_message(
            NewMessage::new(Role::Assistant, format!("response {seed} {part} {text}")).turn(turn).call(call),
        )?;
    }
    batch.add_annotation("note", Some(turn), None)?;
    batch.update_turn(turn, |row| row.status = Status::FINAL)
}

/// Adds `events` events to `session` in batches of a thousand, each sealed.
pub fn grow(session: &Session, events: u64) {
    let mut seed = session.counters().event;
    let end = seed + events;
    while seed < end {
        let most = (end - seed).min(1000) / 10;
        session
            .write(|batch| {
                for at in 0..most.max(1) {
                    ten_events(batch, seed + 10 * at, "")?;
                }
                batch.seal()
            })
            .expect("a batch");
        seed = session.counters().event;
    }
}

/// Commits a message from each of `sessions`, one thread each, `count` in all; how long all and each took, and the CPU
/// time of the process.
pub fn commit_messages(sessions: &[Session], count: u64, seed: &mut u64) -> (Duration, Vec<Duration>, Duration) {
    let each = count.div_ceil(sessions.len() as u64);
    let texts: Vec<Vec<String>> = sessions
        .iter()
        .map(|_| {
            (0..each)
                .map(|_| {
                    *seed += 1;
                    prose(*seed, 1024)
                })
                .collect()
        })
        .collect();
    let barrier = Barrier::new(sessions.len() + 1);
    let mut all = Vec::new();
    let (mut took, mut used) = (Duration::ZERO, Duration::ZERO);
    std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter()
            .zip(texts)
            .map(|(session, texts)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    texts
                        .into_iter()
                        .map(|text| {
                            let start = Instant::now();
                            session.add_message(Role::Assistant, text).commit().expect("a commit");
                            start.elapsed()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let before = cpu();
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            all.extend(thread.join().expect("a thread"));
        }
        took = start.elapsed();
        used = cpu() - before;
    });
    (took, all, used)
}

/// Commits and groups in the log: a group is one sync.
pub fn commits_and_groups(root: &Path) -> (u64, u64) {
    let blobs = root.join("blobs");
    let (mut commits, mut groups, mut last) = (0, 0, u64::MAX);
    for number in segment::list(&blobs).expect("segments") {
        let reader = SegmentReader::open(&blobs, number).expect("a segment");
        for frame in reader.frames(SEGMENT_HEADER_LEN, None) {
            let (_, frame) = frame.expect("a frame");
            let header = frame.header;
            commits += u64::from(header.kind == segment::Kind::Commit);
            groups += u64::from(header.group != last);
            last = header.group;
        }
    }
    (commits, groups)
}

/// Bytes of frames in the log, zeros at its end apart.
pub fn log_bytes(root: &Path) -> u64 {
    let blobs = root.join("blobs");
    let mut bytes = 0;
    for number in segment::list(&blobs).expect("segments") {
        let reader = SegmentReader::open(&blobs, number).expect("a segment");
        for frame in reader.frames(SEGMENT_HEADER_LEN, None) {
            let (_, frame) = frame.expect("a frame");
            bytes += FRAME_HEADER_LEN + frame.body.len() as u64;
        }
    }
    bytes
}

/// Bytes that rows take in a closed store, page rounding apart: what `dbstat` would say is not compiled in, so pages
/// in use.
pub fn row_bytes(root: &Path) -> u64 {
    let conn = Connection::open_with_flags(root.join("store.sqlite"), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the database");
    let of = |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, u64>(0)).expect("a pragma");
    (of("page_count") - of("freelist_count")) * of("page_size")
}

/// Bytes of all files of a store.
pub fn size_of(root: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(root).expect("a folder").flatten() {
        let meta = entry.metadata().expect("an entry");
        bytes += if meta.is_dir() { size_of(&entry.path()) } else { meta.len() };
    }
    bytes
}

// --------------------------------------------------------------------------------------------------------- floors

/// A file full of zeros, written a piece at a time, each synced: the least that a durable commit can cost.
pub struct ZeroFile {
    file: File,
    at: u64,
    len: u64,
}

impl ZeroFile {
    pub fn new(path: &Path, len: u64) -> ZeroFile {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("a file");
        let zeros = vec![0; 1 << 20];
        for at in (0..len).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).expect("zeros");
        }
        file.sync_all().expect("a sync");
        ZeroFile { file, at: 0, len }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Duration {
        if self.at + bytes.len() as u64 > self.len {
            self.at = 0;
        }
        let start = Instant::now();
        self.file.write_all_at(bytes, self.at).expect("a write");
        self.file.sync_data().expect("a sync");
        self.at += bytes.len() as u64;
        start.elapsed()
    }
}

/// The rows of a message commit in SQLite alone, `synchronous=FULL`: no payload, no log.
pub struct BareRows {
    conn: Connection,
    sid: i64,
    n: i64,
}

impl BareRows {
    /// Makes the database: the store's own tables.
    pub fn create(path: &Path) {
        let conn = Connection::open(path).expect("a database");
        conn.pragma_update(None, "journal_mode", "wal").expect("WAL");
        conn.execute_batch(include_str!("../../migrations/V1__rows.sql")).expect("tables");
        conn.execute("INSERT INTO hw_tx (tx, at, digest, segment, offset) VALUES (0, 0, zeroblob(32), 1, 0)", [])
            .expect("a row");
    }

    /// A connection that writes session `sid`.
    pub fn open(path: &Path, sid: i64) -> BareRows {
        let conn = Connection::open(path).expect("a database");
        conn.busy_timeout(Duration::from_secs(60)).expect("a timeout");
        conn.pragma_update(None, "synchronous", "full").expect("FULL");
        conn.execute(
            "INSERT INTO hw_session (sid, id, kind, status, started_at, updated_at, base_from, last_event, digest)
             VALUES (?1, ?2, 'session', 'open', 0, 0, 1, 0, zeroblob(32))",
            params![sid, format!("s{sid}")],
        )
        .expect("a row");
        BareRows { conn, sid, n: 0 }
    }

    /// One transaction with the rows of one message.
    pub fn commit(&mut self, seed: u64) -> Duration {
        let hash = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        let start = Instant::now();
        self.n += 1;
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            self.conn.prepare_cached(sql).expect("a statement").execute(values).expect("a row");
        };
        run("BEGIN IMMEDIATE", &[]);
        run(
            "INSERT INTO hw_blob (hash, size, segment, offset, stored, codec) VALUES (?1, 1024, 1, ?2, 500, 2)",
            &[&hash.as_slice(), &self.n],
        );
        let bid = self.conn.last_insert_rowid();
        run(
            "INSERT INTO hw_message (sid, ev, n, role, content, chars) VALUES (?1, ?2, ?2, 3, ?3, 1024)",
            &[&self.sid, &self.n, &bid],
        );
        run("INSERT INTO hw_event (sid, ev, type, at, n) VALUES (?1, ?2, 6, 1000000, ?2)", &[&self.sid, &self.n]);
        run(
            "UPDATE hw_session SET last_event = ?2, digest = ?3 WHERE sid = ?1",
            &[&self.sid, &self.n, &hash.as_slice()],
        );
        run(
            "UPDATE hw_tx SET digest = NULL, segment = NULL, offset = NULL WHERE tx = (SELECT max(tx) FROM hw_tx)",
            &[],
        );
        let at = 1_700_000_000_000_000_i64;
        run(
            "INSERT INTO hw_tx (at, digest, segment, offset) VALUES (?1, ?2, 1, ?3)",
            &[&at, &hash.as_slice(), &self.n],
        );
        run("COMMIT", &[]);
        start.elapsed()
    }
}

/// The same from `connections` threads, each with a connection and transactions of its own, `count` in all.
pub fn bare_rows_at_once(connections: &mut [BareRows], count: u64, seed: &mut u64) -> (Duration, Vec<Duration>) {
    let each = count.div_ceil(connections.len() as u64);
    let barrier = Barrier::new(connections.len() + 1);
    let (mut all, mut took) = (Vec::new(), Duration::ZERO);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for rows in connections {
            *seed += each;
            let (barrier, first) = (&barrier, *seed);
            threads.push(scope.spawn(move || {
                barrier.wait();
                (0..each).map(|at| rows.commit(first + at)).collect::<Vec<_>>()
            }));
        }
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            all.extend(thread.join().expect("a thread"));
        }
        took = start.elapsed();
    });
    (took, all)
}

/// The middle one.
pub fn p50(times: &mut [Duration]) -> Duration {
    percentile(times, 50)
}

pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

//! The rows that have numbers: messages, turns, calls, evals, snapshots, invocations. Each version lies under the
//! event that wrote it, so a span of events is a range of each table.

use rusqlite::{Connection, OptionalExtension, Row};

use super::names::Names;
use crate::model::fold::{Entry, Numbered};
use crate::model::{
    Call, CallNumber, Counters, Eval, EvalNumber, EventNumber, Invocation, InvocationNumber, Message, MessageNumber,
    SessionId, Snapshot, SnapshotNumber, Turn, TurnNumber,
};
use crate::sqlite::row::{CALL, Columns, INVOCATION, TURN};

/// A kind of row: its statements and the order of its columns.
pub(crate) trait Stored: Numbered + Sized {
    /// All versions in a range of events, in their order: sid, first, last.
    const RANGE: &'static str;
    /// Their numbers alone: sid, first, last.
    const NUMBERS: &'static str;
    /// The kind in hw_version, where a number may be written more than once.
    const VERSIONS: Option<i64>;
    /// The newest of them first, first versions alone: sid, first, last, limit, number.
    const NEWEST: &'static str;
    /// The oldest of them first, first versions alone, from a number on: sid, first, last, limit, number.
    const FROM: &'static str;
    /// The event and number of the first row from an event on, first versions alone: sid, event.
    const NEXT: &'static str;
    /// The event and number of the last row, first versions alone: sid.
    const LAST: &'static str;

    /// The first version in sight of each number, from the oldest event up: sid, first, last, limit, the start of the run. And
    /// whether there may be one before: that is a version of a source's row, or there is one before the run.
    const FIRSTS_UP: &'static str;
    /// The same from the newest event down.
    const FIRSTS_DOWN: &'static str;

    /// Whether further versions, which hardly any row has, are noted one by one: see [`puts`].
    const HAS_PUTS: bool;

    /// The last number that a session inherited of the kind; 0 for one without versions.
    fn inherited(counters: &Counters) -> u64;

    /// Takes the columns after the event.
    fn read(columns: &mut Columns, names: &mut Names) -> rusqlite::Result<Self>;
}

macro_rules! firsts {
    ($table:literal, $kind:literal, $order:literal) => {
        concat!(
            "SELECT t.ev, t.n, t.inherited OR EXISTS (SELECT 1 FROM hw_version e WHERE e.sid = t.sid AND e.kind = ",
            $kind,
            " AND e.n = t.n AND e.ev < ?5) FROM ",
            $table,
            " t WHERE t.sid = ?1 AND t.ev BETWEEN ?2 AND ?3 AND NOT EXISTS (SELECT 1 FROM hw_version e WHERE e.sid = t.sid AND e.kind = ",
            $kind,
            " AND e.n = t.n AND e.ev < t.ev AND e.ev >= ?5) ORDER BY t.ev ",
            $order,
            " LIMIT ?4"
        )
    };
}

macro_rules! stored {
    ($row:ty, $table:literal, None, $columns:literal, |$c:ident, $names:ident| $read:expr) => {
        stored!($row, $table, None, "", false, "", "", |_| 0, $columns, |$c, $names| $read);
    };
    ($row:ty, $table:literal, Puts, $columns:literal, |$c:ident, $names:ident| $read:expr) => {
        stored!(
            $row,
            $table,
            None,
            " AND NOT EXISTS (SELECT 1 FROM hw_inherited v WHERE v.kind = 11 AND v.n = t.n AND v.sid = t.sid AND v.ev = t.ev)",
            true,
            "",
            "",
            |counters| counters.eval,
            $columns,
            |$c, $names| $read
        );
    };
    ($row:ty, $table:literal, Some($code:ident, $kind:literal, $count:ident), $columns:literal, |$c:ident, $names:ident| $read:expr) => {
        stored!(
            $row,
            $table,
            Some($code),
            "",
            false,
            firsts!($table, $kind, "ASC"),
            firsts!($table, $kind, "DESC"),
            |counters| counters.$count,
            $columns,
            |$c, $names| $read
        );
    };
    ($row:ty, $table:literal, $versions:expr, $firsts:literal, $puts:literal, $up:expr, $down:expr, $count:expr, $columns:literal, |$c:ident, $names:ident| $read:expr) => {
        impl Stored for $row {
            const RANGE: &'static str = concat!(
                "SELECT ev, ",
                $columns,
                " FROM ",
                $table,
                " WHERE sid = ?1 AND ev BETWEEN ?2 AND ?3 ORDER BY ev"
            );
            const NUMBERS: &'static str =
                concat!("SELECT n FROM ", $table, " WHERE sid = ?1 AND ev BETWEEN ?2 AND ?3 ORDER BY ev");
            const VERSIONS: Option<i64> = $versions;
            const NEWEST: &'static str = concat!(
                "SELECT ev, ",
                $columns,
                " FROM ",
                $table,
                " t WHERE sid = ?1 AND ev BETWEEN ?2 AND ?3 AND n <= ?5",
                $firsts,
                " ORDER BY ev DESC LIMIT ?4"
            );
            const FROM: &'static str = concat!(
                "SELECT ev, ",
                $columns,
                " FROM ",
                $table,
                " t WHERE sid = ?1 AND ev BETWEEN ?2 AND ?3 AND n >= ?5",
                $firsts,
                " ORDER BY ev LIMIT ?4"
            );
            const NEXT: &'static str =
                concat!("SELECT ev, n FROM ", $table, " t WHERE sid = ?1 AND ev >= ?2", $firsts, " ORDER BY ev LIMIT 1");
            const LAST: &'static str =
                concat!("SELECT ev, n FROM ", $table, " t WHERE sid = ?1", $firsts, " ORDER BY ev DESC LIMIT 1");

            const HAS_PUTS: bool = $puts;

            const FIRSTS_UP: &'static str = $up;
            const FIRSTS_DOWN: &'static str = $down;

            fn inherited(counters: &Counters) -> u64 {
                let count: fn(&Counters) -> u64 = $count;
                count(counters)
            }

            fn read($c: &mut Columns, $names: &mut Names) -> rusqlite::Result<Self> {
                Ok($read)
            }
        }
    };
}

// The fields of each literal are evaluated as they are written: in the order of the columns.
stored!(Message, "hw_message", None, "n, role, content, chars, turn, call, extra", |c, names| Message {
    message: MessageNumber(c.word()?),
    role: c.word()?,
    content: c.digest(names)?,
    chars: c.word()?,
    turn: c.some()?.map(TurnNumber),
    call: c.some()?.map(CallNumber),
    extra: c.some_digest(names)?,
});

stored!(
    Turn,
    "hw_turn",
    Some(TURN, "7", turn),
    "n, status, head_before, input, final, summary, started_at, ended_at, error, extra",
    |c, names| Turn {
        turn: TurnNumber(c.word()?),
        status: c.word()?,
        head_before: c.some_head(names)?,
        input: c.some_digest(names)?,
        final_value: c.some_digest(names)?,
        summary: c.some_digest(names)?,
        started_at: c.some_time()?,
        ended_at: c.some_time()?,
        error: c.some_digest(names)?,
        extra: c.some_digest(names)?,
    }
);

stored!(
    Call,
    "hw_call",
    Some(CALL, "9", call),
    "n, type, status, turn, eval, input, request, response, result, error, \
     iif(typeof(provider) = 'integer', (SELECT text FROM hw_word WHERE id = provider), provider), \
     iif(typeof(model) = 'integer', (SELECT text FROM hw_word WHERE id = model), model), tokens_input, \
     tokens_output, tokens_cached, tokens_reasoning, cost, batch, batch_index, child, started_at, ended_at, extra",
    |c, names| Call {
        call: CallNumber(c.word()?),
        call_type: c.word()?,
        status: c.word()?,
        turn: c.some()?.map(TurnNumber),
        eval: c.some()?.map(EvalNumber),
        input: c.some_digest(names)?,
        request: c.some_digest(names)?,
        response: c.some_digest(names)?,
        result: c.some_digest(names)?,
        error: c.some_digest(names)?,
        provider: c.get()?,
        model: c.get()?,
        tokens_input: c.some()?,
        tokens_output: c.some()?,
        tokens_cached: c.some()?,
        tokens_reasoning: c.some()?,
        cost: c.some()?,
        batch: c.get()?,
        batch_index: c.some()?,
        child: c.some()?,
        started_at: c.some_time()?,
        ended_at: c.some_time()?,
        extra: c.some_digest(names)?,
    }
);

stored!(
    Eval,
    "hw_eval",
    Puts,
    "n, iif(typeof(name) = 'integer', (SELECT text FROM hw_word WHERE id = name), name), status, turn, message, call, code, result, observation, error, started_at, ended_at, extra",
    |c, names| Eval {
        eval: EvalNumber(c.word()?),
        name: c.get()?,
        status: c.word()?,
        turn: c.some()?.map(TurnNumber),
        message: c.some()?.map(MessageNumber),
        call: c.some()?.map(CallNumber),
        code: c.some_digest(names)?,
        result: c.some_digest(names)?,
        observation: c.some_digest(names)?,
        error: c.some_digest(names)?,
        started_at: c.some_time()?,
        ended_at: c.some_time()?,
        extra: c.some_digest(names)?,
    }
);

stored!(Snapshot, "hw_snapshot", None, "n, kind, vars, restorable, unrestorable, turn, eval, extra", |c, names| {
    Snapshot {
        snapshot: SnapshotNumber(c.word()?),
        kind: c.word()?,
        vars: c.some_digest(names)?,
        restorable: c.word()?,
        unrestorable: c.word()?,
        turn: c.some()?.map(TurnNumber),
        eval: c.some()?.map(EvalNumber),
        extra: c.some_digest(names)?,
    }
});

stored!(
    Invocation,
    "hw_invocation",
    Some(INVOCATION, "14", invocation),
    "n, id, type, status, call, label, input, final, error, caller_before, caller_after, callee, callee_before, \
     callee_after, child, started_at, ended_at",
    |c, names| Invocation {
        invocation: InvocationNumber(c.word()?),
        id: c.get()?,
        invocation_type: c.word()?,
        status: c.word()?,
        call: c.some()?.map(CallNumber),
        label: c.some_digest(names)?,
        input: c.some_digest(names)?,
        final_value: c.some_digest(names)?,
        error: c.some_digest(names)?,
        caller_before: c.some_head(names)?,
        caller_after: c.some_head(names)?,
        callee: c.some()?,
        callee_before: c.some_head(names)?,
        callee_after: c.some_head(names)?,
        child: c.some()?,
        started_at: c.some_time()?,
        ended_at: c.some_time()?,
    }
);

/// A row of a session, by its id and start.
fn entry<T: Stored>(row: &Row, (session, start): &(SessionId, i64), names: &mut Names) -> rusqlite::Result<Entry<T>> {
    let mut columns = Columns::after(row, *start);
    let event = EventNumber(columns.word()?);
    Ok(Entry { session: session.clone(), event, row: T::read(&mut columns, names)? })
}

/// Adds every version in events `from` to `to` of `sid` to `out`, in the order of events.
pub(crate) fn range<T: Stored>(
    names: &mut Names,
    sid: i64,
    (from, to): (i64, i64),
    out: &mut Vec<Entry<T>>,
) -> rusqlite::Result<()> {
    let session = names.begun(sid)?;
    let mut statement = names.connection().prepare_cached(T::RANGE)?;
    let mut rows = statement.query([sid, from, to])?;
    while let Some(row) = rows.next()? {
        out.push(entry(row, &session, names)?);
    }
    Ok(())
}

/// The rows in several runs of events, in their order: by number, of several versions the last.
pub(crate) fn visible<T: Stored>(names: &mut Names, runs: &[(i64, (i64, i64))]) -> rusqlite::Result<Vec<Entry<T>>> {
    let mut out = Vec::new();
    if T::VERSIONS.is_none() {
        for (sid, run) in runs {
            range(names, *sid, *run, &mut out)?;
        }
        return Ok(last_versions(out, |entry| entry.row.number()));
    }
    // Most of a row is in columns that no one asks of a version that is not the last: numbers come first, and tell
    // which versions are worth reading.
    let connection = names.connection();
    let mut numbers: Vec<(i64, usize)> = Vec::new();
    for (sid, (from, to)) in runs {
        let mut statement = connection.prepare_cached(T::NUMBERS)?;
        let mut rows = statement.query([sid, from, to])?;
        while let Some(row) = rows.next()? {
            numbers.push((row.get(0)?, numbers.len()));
        }
    }
    let mut wanted = vec![false; numbers.len()];
    let last = last_versions(numbers, |(n, _)| *n);
    for (_, at) in &last {
        wanted[*at] = true;
    }
    out.reserve_exact(last.len());
    let mut wanted = wanted.into_iter();
    for (sid, (from, to)) in runs {
        let session = names.begun(*sid)?;
        let mut statement = connection.prepare_cached(T::RANGE)?;
        let mut rows = statement.query([sid, from, to])?;
        while let Some(row) = rows.next()? {
            if wanted.next() == Some(true) {
                out.push(entry(row, &session, names)?);
            }
        }
    }
    out.sort_by_key(|entry| entry.row.number());
    Ok(out)
}

/// Of things in the order of their making, the last of each number, in the order of numbers.
pub(crate) fn last_versions<E, N: Ord>(mut made: Vec<E>, number: impl Fn(&E) -> N) -> Vec<E> {
    if made.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])) {
        return made;
    }
    // Stable, and fast on what is sorted but for a few: the latest made comes last among its equals.
    made.sort_by_key(&number);
    let mut kept: Vec<E> = Vec::with_capacity(made.len());
    for one in made {
        match kept.last_mut() {
            Some(last) if number(last) == number(&one) => *last = one,
            _ => kept.push(one),
        }
    }
    kept
}

/// Adds at most `limit` versions in events `from` to `to` of `sid`, of numbers from `bound` on, to `out`: from the
/// newest event down, or from the oldest up.
pub(crate) fn page<T: Stored>(
    names: &mut Names,
    sid: i64,
    (from, to): (i64, i64),
    (limit, bound): (i64, i64),
    newest_first: bool,
    out: &mut Vec<Entry<T>>,
) -> rusqlite::Result<()> {
    let session = names.begun(sid)?;
    let mut statement = names.connection().prepare_cached(if newest_first { T::NEWEST } else { T::FROM })?;
    let mut rows = statement.query([sid, from, to, limit, bound])?;
    while let Some(row) = rows.next()? {
        out.push(entry(row, &session, names)?);
    }
    Ok(())
}

/// The version that event `ev` of `sid` wrote.
pub(crate) fn one<T: Stored>(names: &mut Names, sid: i64, ev: i64) -> rusqlite::Result<Option<T>> {
    let (_, start) = names.begun(sid)?;
    let mut statement = names.connection().prepare_cached(T::RANGE)?;
    let mut rows = statement.query([sid, ev, ev])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::after(row, start);
    columns.get::<i64>()?;
    T::read(&mut columns, names).map(Some)
}

const LATEST_VERSION: &str =
    "SELECT ev FROM hw_version WHERE sid = ?1 AND kind = ?2 AND n = ?3 AND ev <= ?4 ORDER BY ev DESC LIMIT 1";
const FIRST_VERSION: &str = "SELECT ev FROM hw_version WHERE sid = ?1 AND kind = ?2 AND n >= ?3 ORDER BY n, ev LIMIT 1";

const LATEST_PUT: &str =
    "SELECT ev FROM hw_inherited WHERE kind = 11 AND n = ?1 AND sid = ?2 AND ev <= ?3 ORDER BY ev DESC LIMIT 1";
const PUTS: &str = "SELECT sid, ev FROM hw_inherited WHERE kind = 11 AND n = ?1 ORDER BY sid, ev";

/// Shows the events, of whatever session, that wrote further versions of number `n`, which hardly any row has.
pub(crate) fn puts(connection: &Connection, n: i64, mut each: impl FnMut(i64, i64)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(PUTS)?;
    let mut rows = statement.query([n])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get(1)?);
    }
    Ok(())
}

/// The latest event of `sid`, up to `ev`, that wrote number `n` of the kind.
pub(crate) fn latest<T: Stored>(connection: &Connection, sid: i64, n: i64, ev: i64) -> rusqlite::Result<Option<i64>> {
    match T::VERSIONS {
        Some(kind) => {
            connection.prepare_cached(LATEST_VERSION)?.query_row([sid, kind, n, ev], |row| row.get(0)).optional()
        }
        None => {
            if T::HAS_PUTS {
                let put =
                    connection.prepare_cached(LATEST_PUT)?.query_row([n, sid, ev], |row| row.get(0)).optional()?;
                if put.is_some() {
                    return Ok(put);
                }
            }
            Ok(halve::<T>(connection, sid, n)?.filter(|(at, found)| *found == n && *at <= ev).map(|(at, _)| at))
        }
    }
}

/// The first event of `sid` that wrote a number of the kind not below `n`.
pub(crate) fn first<T: Stored>(connection: &Connection, sid: i64, n: i64) -> rusqlite::Result<Option<i64>> {
    match T::VERSIONS {
        Some(kind) => connection.prepare_cached(FIRST_VERSION)?.query_row([sid, kind, n], |row| row.get(0)).optional(),
        None => Ok(halve::<T>(connection, sid, n)?.map(|(ev, _)| ev)),
    }
}

/// The first row of `sid` whose number is not below `n`, as event and number, of a kind whose numbers grow with the
/// events: some twenty seeks in a million events, where an index would cost a page in every commit.
fn halve<T: Stored>(connection: &Connection, sid: i64, n: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let pair = |row: &Row| Ok((row.get(0)?, row.get(1)?));
    let mut found: Option<(i64, i64)> = connection.prepare_cached(T::LAST)?.query_row([sid], pair).optional()?;
    // What is looked for is `found`, or lies from `low` to before `high`.
    let (mut low, mut high) = match found {
        Some((ev, last)) if last >= n => (0, ev),
        _ => return Ok(None),
    };
    let mut next = connection.prepare_cached(T::NEXT)?;
    while low < high {
        let middle = low + (high - low) / 2;
        match next.query_row([sid, middle], pair).optional()? {
            Some((ev, number)) if number < n => low = ev + 1,
            Some(row) => (found, high) = (Some(row), middle),
            None => high = middle,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_halving_as_by_going_through_all() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../migrations/V1__rows.sql")).unwrap();
        let add = |sid: i64, ev: i64, n: i64| {
            conn.execute(
                "INSERT INTO hw_message (sid, ev, n, role, content, chars) VALUES (?1, ?2, ?3, 1, 1, 0)",
                [sid, ev, n],
            )
            .unwrap();
        };
        // Gaps in events and, after inherited numbers, in numbers; neighbours that are not meant.
        let rows: Vec<(i64, i64)> = (0..200).map(|at| (2 + at * 8 + at * at % 7 + at / 50 * 1_000, 11 + at)).collect();
        for (ev, n) in &rows {
            add(2, *ev, *n);
        }
        add(1, 5, 1);
        add(3, 700, 12);
        for n in -1..230 {
            let first = rows.iter().find(|row| row.1 >= n).map(|row| row.0);
            assert_eq!(super::first::<Message>(&conn, 2, n).unwrap(), first, "{n}");
            for ev in [0, 2, 299, 300, 5_000, i64::MAX] {
                let latest = rows.iter().find(|row| row.1 == n && row.0 <= ev).map(|row| row.0);
                assert_eq!(super::latest::<Message>(&conn, 2, n, ev).unwrap(), latest, "{n} up to {ev}");
            }
        }
        assert_eq!(super::first::<Message>(&conn, 4, 1).unwrap(), None);
    }
}

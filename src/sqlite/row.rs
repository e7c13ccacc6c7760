//! Columns to types and back.
//!
//! A column whose set of values is open but mostly small holds an integer code for the words known here and the
//! text itself for all others. The codes are on disk: they never change, new ones are added at the end.
//!
//! What the columns of `hw_event` hold besides number, type and time:
//!
//! | event | n | ref | status |
//! | --- | --- | --- | --- |
//! | session/status, session/error | | bid of the payload | the status |
//! | session/restored | the snapshot | hid of the source head | |
//! | session/ref-updated, head/created | | hid of the head | |
//! | message, turn, call, eval, snapshot, invocation | the row's number | | |
//! | an annotation | its turn | bid of the payload | |

use std::borrow::Cow;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef};
use rusqlite::{Row, ToSql};

use crate::model::event::KINDS;
use crate::model::{CallType, DerivationKind, Digest, HeadKind, Role, SessionId, Status, Timestamp};

/// A time as rows keep it: microseconds after the session's start, those of whole milliseconds in fewer bytes.
pub(crate) fn packed(after: i64) -> i64 {
    if after % 1000 == 0 { after / 1000 * 2 } else { after * 2 + 1 }
}

/// Microseconds after the session's start.
fn unpacked(packed: i64) -> i64 {
    if packed & 1 == 0 { (packed >> 1).saturating_mul(1000) } else { packed >> 1 }
}

/// The kinds of rows that have versions, each by the code of the event that starts one: those of hw_version, and evals, whose further
/// versions alone are noted, in hw_inherited, since hardly any has one.
pub(crate) const TURN: i64 = 7;
pub(crate) const CALL: i64 = 9;
pub(crate) const EVAL: i64 = 11;
pub(crate) const INVOCATION: i64 = 14;

/// The words of a column that have a code: the place in the list, from 1.
const ROLES: [Role; 6] = [Role::System, Role::User, Role::Assistant, Role::Observation, Role::Tool, Role::Summary];
const CALL_TYPES: [CallType; 7] = [
    CallType::Root,
    CallType::Leaf,
    CallType::LeafBatchItem,
    CallType::Child,
    CallType::ChildBatchItem,
    CallType::AttachedChild,
    CallType::Tool,
];
/// Statuses that need no allocation when read: nearly all of them.
const STATUSES: [Status; 10] = [
    Status::OPEN,
    Status::RUNNING,
    Status::OK,
    Status::FINAL,
    Status::ERROR,
    Status::TIMEOUT,
    Status::ABORTED,
    Status::ORPHANED,
    Status::UNFINISHED,
    Status::STOPPED,
];

fn coded<'a, T: PartialEq>(known: &[T], value: &T, text: &'a str) -> ToSqlOutput<'a> {
    match known.iter().zip(1i64..).find(|(word, _)| *word == value) {
        Some((_, code)) => ToSqlOutput::from(code),
        None => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
    }
}

fn decoded<T: Clone>(known: &[T], code: i64) -> FromSqlResult<T> {
    let at = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
    at.and_then(|at| known.get(at)).cloned().ok_or(FromSqlError::OutOfRange(code))
}

/// The column of a message's role.
pub(crate) struct RoleSql<'a>(pub(crate) &'a Role);

/// The column of a call's type.
pub(crate) struct CallTypeSql<'a>(pub(crate) &'a CallType);

impl ToSql for RoleSql<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(coded(&ROLES, self.0, self.0.as_str()))
    }
}

impl ToSql for CallTypeSql<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(coded(&CALL_TYPES, self.0, self.0.as_str()))
    }
}

/// An event's type as stored: one of the store's own by its code, or an annotation's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventType {
    /// The code in [`KINDS`], counted from 1; always one of them.
    Own(i64),
    /// An annotation's.
    Annotation(String),
}

/// A word read from a column in one of the forms above.
pub(crate) struct Word<T>(pub T);

fn other(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

impl FromSql for Word<EventType> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(code) => decoded(&KINDS, code).map(|_| Word(EventType::Own(code))),
            _ => Ok(Word(EventType::Annotation(value.as_str()?.to_owned()))),
        }
    }
}

impl FromSql for Word<Role> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(code) => decoded(&ROLES, code).map(Word),
            _ => Role::try_from(Cow::Borrowed(value.as_str()?)).map(Word).map_err(other),
        }
    }
}

impl FromSql for Word<CallType> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(code) => decoded(&CALL_TYPES, code).map(Word),
            _ => CallType::try_from(Cow::Borrowed(value.as_str()?)).map(Word).map_err(other),
        }
    }
}

impl FromSql for Word<Status> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        match STATUSES.iter().find(|known| known.as_str() == text) {
            Some(known) => Ok(Word(known.clone())),
            None => Status::new(text).map(Word).map_err(other),
        }
    }
}

impl FromSql for Word<SessionId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Word).map_err(other)
    }
}

impl FromSql for Word<HeadKind> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        HeadKind::from_word(value.as_str()?).map(Word).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Word<DerivationKind> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        [DerivationKind::Fork, DerivationKind::Attach, DerivationKind::Restore]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .map(Word)
            .ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Word<Timestamp> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        Timestamp::from_micros(micros).map(Word).ok_or(FromSqlError::OutOfRange(micros))
    }
}

impl FromSql for Word<Digest> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Digest::from_slice(value.as_blob()?).map(Word).ok_or(FromSqlError::InvalidType)
    }
}

/// A number that is never negative.
impl FromSql for Word<u64> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Word).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// A row that names another which is not there.
#[derive(Debug, thiserror::Error)]
#[error("{what} {id} is named and does not exist")]
pub(crate) struct Dangling {
    /// The kind of row.
    pub what: &'static str,
    /// Its local integer.
    pub id: i64,
}

impl From<Dangling> for rusqlite::Error {
    fn from(dangling: Dangling) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(dangling))
    }
}

/// Reads a row's columns from left to right: a statement lists them in the order in which its reader takes them.
pub(crate) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    at: usize,
    /// When the session began whose row it is, where its times are asked for.
    start: i64,
}

impl<'r, 's> Columns<'r, 's> {
    /// From the first column.
    pub(crate) fn new(row: &'r Row<'s>) -> Self {
        Columns::after(row, 0)
    }

    /// The same, of a row of a session that began at `start`.
    pub(crate) fn after(row: &'r Row<'s>, start: i64) -> Self {
        Columns { row, at: 0, start }
    }

    /// The next column, a packed time.
    pub(crate) fn time(&mut self) -> rusqlite::Result<Timestamp> {
        let packed = self.get()?;
        self.unpack(packed)
    }

    /// The next column, a packed time or null.
    pub(crate) fn some_time(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        self.get::<Option<i64>>()?.map(|packed| self.unpack(packed)).transpose()
    }

    /// The next two columns, a session's start and a packed time of it.
    pub(crate) fn event_time(&mut self) -> rusqlite::Result<Timestamp> {
        self.start = self.get()?;
        self.time()
    }

    fn unpack(&self, packed: i64) -> rusqlite::Result<Timestamp> {
        let at = self.start.checked_add(unpacked(packed)).and_then(Timestamp::from_micros);
        at.ok_or(rusqlite::Error::IntegralValueOutOfRange(self.at - 1, packed))
    }

    /// The next column as it is.
    pub(crate) fn get<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let at = self.at;
        self.at += 1;
        self.row.get(at)
    }

    /// The next column in one of the forms above.
    pub(crate) fn word<T>(&mut self) -> rusqlite::Result<T>
    where
        Word<T>: FromSql,
    {
        self.get::<Word<T>>().map(|word| word.0)
    }

    /// The next column, which may be null.
    pub(crate) fn some<T>(&mut self) -> rusqlite::Result<Option<T>>
    where
        Word<T>: FromSql,
    {
        Ok(self.get::<Option<Word<T>>>()?.map(|word| word.0))
    }
}

/// A number as a parameter. Numbers beyond SQLite's integers name nothing: the greatest one stands for them.
pub(crate) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ToSql;

    fn code(value: impl ToSql) -> i64 {
        match value.to_sql() {
            Ok(ToSqlOutput::Owned(rusqlite::types::Value::Integer(code))) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_packed_time_is_the_one_that_was_packed() {
        let far = 400 * 366 * 86_400_000_000 * 26;
        for after in [0, 1, -1, 999, 1000, -1000, 1001, -1001, far, -far, far + 1, 1 - far] {
            assert_eq!(unpacked(packed(after)), after);
        }
        // A day in four bytes.
        assert!(i32::try_from(packed(86_400_000_000)).is_ok());
        unpacked(i64::MAX);
        unpacked(i64::MIN);
    }

    #[test]
    fn codes_stay_what_they_are() {
        // On disk: a change here needs a migration.
        assert_eq!(ROLES.iter().map(|role| code(RoleSql(role))).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let types = CALL_TYPES.iter().map(|kind| code(CallTypeSql(kind))).collect::<Vec<_>>();
        assert_eq!(types, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((KINDS[0], KINDS[16]), ("session/started", "invocation/caller-head-recorded"));
        assert_eq!(Word::<Role>::column_result(ValueRef::Integer(6)).unwrap().0, Role::Summary);
        assert_eq!(Word::<Role>::column_result(ValueRef::Text(b"critic")).unwrap().0, Role::Other("critic".into()));
        for bad in [0, 7, -1, i64::MIN, i64::MAX] {
            assert!(Word::<Role>::column_result(ValueRef::Integer(bad)).is_err(), "{bad}");
        }
    }
}

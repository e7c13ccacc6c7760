//! hw_call as usage counts it: of each call the last version, one at a time.

use rusqlite::{Connection, params};

use crate::model::CallType;
use crate::sqlite::row::Columns;

/// The last version of each call in a range of events: sid, first, last, and whether it is of a call of the session's source
/// (null for either).
const LAST: &str =
    "SELECT c.n, c.type, c.turn, c.tokens_input, c.tokens_output, c.tokens_cached, c.tokens_reasoning, c.cost,
       iif(typeof(c.provider) = 'integer', (SELECT text FROM hw_word WHERE id = c.provider), c.provider),
       iif(typeof(c.model) = 'integer', (SELECT text FROM hw_word WHERE id = c.model), c.model)
     FROM hw_call c WHERE c.sid = ?1 AND c.ev BETWEEN ?2 AND ?3 AND (?4 IS NULL OR c.inherited = ?4)
       AND NOT EXISTS (SELECT 1 FROM hw_version l WHERE l.sid = c.sid AND l.kind = 9 AND l.n = c.n AND l.ev > c.ev AND l.ev <= ?3)
     ORDER BY c.ev";

/// What a call says of its use.
#[derive(Debug)]
pub(crate) struct CallUse<'r> {
    pub(crate) n: u64,
    pub(crate) call_type: CallType,
    pub(crate) turn: Option<u64>,
    /// Tokens in, out, cached, of reasoning; cost.
    pub(crate) sums: [Option<u64>; 5],
    pub(crate) provider: Option<&'r str>,
    pub(crate) model: Option<&'r str>,
}

/// Shows the calls in events `from` to `to` of `sid` to `each`, none of them kept; `inherited` are versions, written by
/// a fork, of calls of its source.
pub(crate) fn each_call(
    connection: &Connection,
    sid: i64,
    (from, to): (i64, i64),
    inherited: Option<bool>,
    mut each: impl FnMut(&CallUse),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(LAST)?;
    let mut rows = statement.query(params![sid, from, to, inherited])?;
    while let Some(row) = rows.next()? {
        let text = |at: usize| -> rusqlite::Result<Option<&str>> {
            row.get_ref(at)?.as_str_or_null().map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error))
            })
        };
        let mut c = Columns::new(row);
        let call = CallUse {
            n: c.word()?,
            call_type: c.word()?,
            turn: c.some()?,
            sums: [c.some()?, c.some()?, c.some()?, c.some()?, c.some()?],
            provider: text(8)?,
            model: text(9)?,
        };
        each(&call);
    }
    Ok(())
}

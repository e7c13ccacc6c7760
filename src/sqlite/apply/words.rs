//! Words that many rows share, written once: names of models, of tools, types of annotations.

use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use crate::sqlite::stmt;

/// The greatest number of words: whoever writes knows them by heart, and reads them again where another process wrote.
const MOST: usize = 255;
/// The first number of a word: above the codes that event types have, or may get, which stand in the same column.
const FIRST: i64 = 64;
/// A longer text is no word.
const LONGEST: usize = 64;

/// The words of a store, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Words {
    known: Option<HashMap<String, i64>>,
}

/// A text as its column holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word<'t> {
    /// The code of an event's type, or the number of a word.
    Number(i64),
    /// What has no number.
    Text(&'t str),
}

impl ToSql for Word<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Word::Number(number) => ToSqlOutput::from(*number),
            Word::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl Words {
    /// A text as a word, which is added where it is new and there is room.
    pub(super) fn of<'t>(&mut self, conn: &Connection, text: &'t str) -> rusqlite::Result<Word<'t>> {
        if text.len() > LONGEST {
            return Ok(Word::Text(text));
        }
        let known = match &mut self.known {
            Some(known) => known,
            none => none.insert(read(conn)?),
        };
        if let Some(number) = known.get(text) {
            return Ok(Word::Number(*number));
        }
        if known.len() >= MOST {
            return Ok(Word::Text(text));
        }
        let number = FIRST + known.len() as i64;
        conn.prepare_cached(stmt::event::ADD_WORD)?.execute((number, text))?;
        known.insert(text.to_owned(), number);
        Ok(Word::Number(number))
    }
}

fn read(conn: &Connection) -> rusqlite::Result<HashMap<String, i64>> {
    let mut words = conn.prepare_cached(stmt::event::WORDS)?;
    words.query_map([], |row| Ok((row.get(1)?, row.get(0)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text in the place of a word is that text, also where it looks like the number of one.
    #[test]
    fn a_word_is_written_once_and_read_back_with_or_without_a_number() {
        let mut conn = Connection::open_in_memory().unwrap();
        crate::sqlite::migrate::migrate(&mut conn).unwrap();
        let (mut words, long) = (Words::default(), "long".repeat(20));
        let texts: Vec<String> = (0..300).map(|n| n.to_string()).chain([long]).collect();
        for round in 0..3 {
            for (n, text) in texts.iter().enumerate() {
                let word = words.of(&conn, text).unwrap();
                match i64::try_from(n).unwrap() {
                    n if n < 255 => assert_eq!(word, Word::Number(n + 64)),
                    _ => assert_eq!(word, Word::Text(text)),
                }
                let sql = "SELECT iif(typeof(x) = 'integer', (SELECT text FROM hw_word WHERE id = x), x) FROM (SELECT ?1 AS x)";
                assert_eq!(&conn.query_row(sql, [&word], |row| row.get::<_, String>(0)).unwrap(), text);
                assert!(conn.query_row("SELECT ?1 > 18", [&word], |row| row.get::<_, bool>(0)).unwrap());
            }
            if round == 1 {
                words = Words::default();
            }
        }
    }
}

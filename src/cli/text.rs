//! What text output shares: tables, counts in words, and the commands to go on with.

use std::io::Write;

use headwater::model::{SessionId, Timestamp};
use headwater::view::types::SessionInfo;

use super::{Context, Failure};

/// What people call a session: its first alias, else its id.
pub fn name(info: &SessionInfo) -> &SessionId {
    info.aliases.first().unwrap_or(&info.session)
}

/// A name to offer for a fork of `name`.
pub fn fork_name(name: &SessionId) -> String {
    if name.as_str().len() > 24 { "NAME".to_owned() } else { format!("{name}-2") }
}

/// `1 turn`, `2 turns`; `plural` where an `s` will not do.
pub fn count(number: u64, one: &str, plural: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {plural}") }
}

/// A time to the second.
pub fn time(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{}Z", seconds.replace('T', " ")))
}

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq)]
pub enum Align {
    Left,
    Right,
}

/// Rows in aligned columns, two spaces between them, nothing after the last.
pub fn table(out: &mut impl Write, indent: &str, align: &[Align], rows: &[Vec<String>]) -> Result<(), Failure> {
    let mut widths = vec![0; align.len()];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = indent.to_owned();
        for ((cell, width), align) in row.iter().zip(&widths).zip(align) {
            let pad = " ".repeat(width - cell.chars().count());
            match align {
                Align::Left => line.extend([cell, pad.as_str(), "  "]),
                Align::Right => line.extend([pad.as_str(), cell, "  "]),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The commands to go on with, each with what it is for.
pub fn next(out: &mut impl Write, context: &Context, commands: &[(String, &str)]) -> Result<(), Failure> {
    let commands: Vec<_> = commands.iter().map(|(command, why)| (context.command(command), why)).collect();
    let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default() + 4;
    writeln!(out, "\nnext:")?;
    for (command, why) in commands {
        writeln!(out, "  {command:<width$} # {why}")?;
    }
    Ok(())
}

/// `text` as one word of a POSIX shell.
pub fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '=' | '+' | ',');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_leave_no_trailing_space() {
        let rows =
            vec![vec!["a".to_owned(), "10".to_owned(), String::new()], vec!["bcd".into(), "2".into(), "x".into()]];
        let mut out = Vec::new();
        table(&mut out, " ", &[Align::Left, Align::Right, Align::Left], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), " a    10\n bcd   2  x\n");
    }

    #[test]
    fn words_of_a_shell_are_quoted_where_they_must_be() {
        assert_eq!(shell("/tmp/a-b.c"), "/tmp/a-b.c");
        assert_eq!(shell("it's"), "'it'\\''s'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn counts_are_words() {
        assert_eq!(count(1, "leaf", "leaves"), "1 leaf");
        assert_eq!(count(0, "leaf", "leaves"), "0 leaves");
    }
}

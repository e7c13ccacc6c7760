//! What text output shares: names, counts and times in words, and the commands to go on with.

use std::io::Write;

use headwater::clock::Clock;
use headwater::model::{SessionId, Timestamp};
use headwater::view::types::SessionInfo;

use super::paint::Role;
pub use super::table::{Align, Cell, Column, table};
use super::{Context, Failure, terminal, width};

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

/// A time in a list: on a terminal how long ago, elsewhere the time itself.
pub fn when(at: Timestamp) -> String {
    if terminal::is_one() { ago(at, Clock::default().now()) } else { time(at) }
}

/// A time; on a terminal also how long ago it was.
pub fn time_and_ago(at: Timestamp) -> String {
    if terminal::is_one() { format!("{}, {}", time(at), ago(at, Clock::default().now())) } else { time(at) }
}

/// How long before `now` it was, in one unit.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.micros().saturating_sub(at.micros()) / 1_000_000;
    match seconds {
        // A clock that was set back, or another machine's.
        ..=-61 => time(at),
        -60..=9 => "just now".to_owned(),
        10..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        172_800..=5_183_999 => format!("{} days ago", seconds / 86_400),
        _ => time(at).split(' ').next().unwrap_or_default().to_owned(),
    }
}

/// The columns a line of text may take: the terminal's, elsewhere `unasked`.
pub fn line_width(unasked: usize) -> usize {
    terminal::columns().unwrap_or(unasked)
}

/// Pieces after two spaces, `between` them, on as many lines as the terminal makes of them: no piece is cut.
pub fn wrapped(out: &mut impl Write, pieces: &[&str], between: &str) -> Result<(), Failure> {
    let room = line_width(usize::MAX);
    let mut line = String::new();
    for piece in pieces {
        if line.is_empty() {
            line = format!("  {piece}");
        } else if width::columns(&line) + width::columns(between) + width::columns(piece) <= room {
            line = format!("{line}{between}{piece}");
        } else {
            writeln!(out, "{line}")?;
            line = format!("    {piece}");
        }
    }
    Ok(writeln!(out, "{line}")?)
}

/// The last column at which what a command is for begins.
const FAR: usize = 64;

/// The commands to go on with, each with what it is for, as far as there is room: a command is never shortened.
pub fn next(out: &mut impl Write, context: &Context, commands: &[(String, &str)]) -> Result<(), Failure> {
    let commands: Vec<_> = commands.iter().map(|(command, why)| (context.command(command), why)).collect();
    let longest = commands.iter().map(|(command, _)| width::columns(command)).max().unwrap_or_default();
    let column = longest.min(FAR) + 4;
    writeln!(out, "\n{}", Role::Title.paint("next:"))?;
    for (command, why) in commands {
        let pad = column.saturating_sub(width::columns(&command)).max(1);
        let why = format!("# {why}");
        let fits = terminal::columns().is_none_or(|room| 2 + width::columns(&command) + pad + 1 + why.len() <= room);
        match fits {
            true => writeln!(out, "  {command}{:pad$} {}", "", Role::Faint.paint(why))?,
            false => writeln!(out, "  {command}")?,
        }
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
    fn how_long_ago_is_one_unit() {
        let at = |seconds: i64| Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000).unwrap();
        for (seconds, said) in [
            (3, "just now"),
            (59, "59 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_199, "119 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 days ago"),
            (5_184_000, "2027-01-15"),
            (-30, "just now"),
            (-61, "2027-01-15 08:00:00Z"),
        ] {
            assert_eq!(ago(at(0), at(seconds)), said, "{seconds}");
        }
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

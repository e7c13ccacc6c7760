//! How wide texts are on a terminal, how they are shortened, and what of them must never reach one: what models and
//! files say may hold escape codes.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The columns `text` takes: two for most of Chinese, Japanese and Korean and for emoji, none for combining marks.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` in at most `width` columns, its end replaced by `…` where it is longer. Nothing is cut inside a character as
/// people see it.
pub fn clip(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = columns(grapheme);
        if used + wide > room {
            break;
        }
        used += wide;
        out.push_str(grapheme);
    }
    if width > 0 {
        out.truncate(out.trim_end().len());
        out.push('…');
    }
    out
}

/// `text` on one line of at most `width` columns, and harmless on a terminal.
pub fn one_line(text: &str, width: usize) -> String {
    // What cannot be shown is not made either: no character takes more than a few bytes, few graphemes more than 64.
    let most = width.saturating_add(1).saturating_mul(64);
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(most).map(|c| if is_unseen(c) { char::REPLACEMENT_CHARACTER } else { c }));
        if line.len() > most {
            // Longer than the width for certain, whatever was left out.
            line.push_str(&" x".repeat(width));
            break;
        }
    }
    clip(&line, width)
}

/// `text` with its lines, and harmless on a terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Control codes, and the codes that turn the direction of writing.
pub fn is_unseen(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_short_and_harmless() {
        assert_eq!(one_line("  a\n\n b\tc ", 10), "a b c");
        assert_eq!(one_line("\u{1b}[31mred", 10), "\u{fffd}[31mred");
        assert_eq!(one_line("\u{202e}abc\u{9b}31m", 20), "\u{fffd}abc\u{fffd}31m");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(one_line("", 6), "");
        assert_eq!(one_line(&"word ".repeat(100_000), 12), "word word w…");
    }

    #[test]
    fn a_width_is_what_a_terminal_shows() {
        assert_eq!((columns("日本"), columns("e\u{301}"), columns("abc")), (4, 1, 3));
        assert_eq!(clip("日本語", 5), "日本…");
        assert_eq!(clip("日本語", 4), "日…", "a wide character is left out whole");
        assert_eq!(clip("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…", "an accent stays with its letter");
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(clip(&format!("{family}{family}"), 3), format!("{family}…"));
        assert_eq!(clip("abc", 0), "");
    }

    #[test]
    fn what_is_no_text_is_not_printed() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}\nb"), "a\u{fffd}]0;x\u{fffd}\nb");
    }
}

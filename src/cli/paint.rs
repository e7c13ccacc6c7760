//! What colours mean, the same in all output: few, and nothing depends on seeing them.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Plain,
    /// The name of what is shown, the heading of a list.
    Title,
    /// An id, a number, a cause: there to be looked up, not to be read first.
    Faint,
    /// It ended as it should.
    Good,
    /// It goes on, or ended without a value.
    Open,
    /// It failed.
    Bad,
}

impl Role {
    /// What a status says: of a session, turn, call or eval.
    pub fn of_status(status: &str) -> Role {
        match status {
            "final" | "ok" | "completed" => Role::Good,
            "error" | "timeout" | "failed" | "orphaned" => Role::Bad,
            "aborted" | "running" | "open" | "unfinished" => Role::Open,
            _ => Role::Plain,
        }
    }

    fn style(self) -> Style {
        match self {
            Role::Plain => Style::new(),
            Role::Title => Style::new().bold(),
            Role::Faint => Style::new().dimmed(),
            Role::Good => AnsiColor::Green.on_default(),
            Role::Open => AnsiColor::Yellow.on_default(),
            Role::Bad => AnsiColor::Red.on_default().bold(),
        }
    }

    /// `text` in this role's colour. Where nobody sees colours, the stream drops them.
    pub fn paint<T: fmt::Display>(self, text: T) -> Painted<T> {
        Painted { role: self, text }
    }
}

/// A text with its colour.
pub struct Painted<T> {
    role: Role,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = self.role.style();
        write!(f, "{style}{}{style:#}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_has_no_codes() {
        assert_eq!(Role::Plain.paint("x").to_string(), "x");
        assert_eq!(Role::of_status("error").paint("x").to_string(), "\u{1b}[1m\u{1b}[31mx\u{1b}[0m");
    }
}

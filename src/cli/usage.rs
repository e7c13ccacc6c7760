//! Tokens and cost as people are shown them: every sum says how far it is known.

use headwater::view::types::Sum;

/// A sum in text.
pub trait Shown {
    /// `12`, `12+` (at least), `?`.
    fn text(&self) -> String;
    /// The same of nano-USD.
    fn dollars(&self) -> String;
}

fn plus(sum: &Sum) -> &'static str {
    if matches!(sum, Sum::Partial { .. }) { "+" } else { "" }
}

impl Shown for Sum {
    fn text(&self) -> String {
        self.known().map_or_else(|| "?".to_owned(), |sum| format!("{sum}{}", plus(self)))
    }

    fn dollars(&self) -> String {
        self.known().map_or_else(
            || "$?".to_owned(),
            |nano| format!("${}.{:06}{}", nano / 1_000_000_000, nano % 1_000_000_000 / 1_000, plus(self)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_says_what_it_does_not_know() {
        assert_eq!(Sum::Known(3).text(), "3");
        assert_eq!(Sum::Partial { sum: 1, unknown: 1 }.text(), "1+");
        assert_eq!(Sum::Unknown(1).text(), "?");
        assert_eq!(Sum::Partial { sum: 1_500_000_000, unknown: 1 }.dollars(), "$1.500000+");
    }
}

//! Rows in aligned columns that fit the terminal.

use std::io::Write;

use super::paint::Role;
use super::width::{self, clip};
use super::{Failure, terminal};

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A column: how it is aligned, and whether it is left out where there is no room.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    align: Align,
    /// The greatest goes first; 0 never goes.
    spare: u8,
}

impl From<Align> for Column {
    fn from(align: Align) -> Column {
        Column { align, spare: 0 }
    }
}

impl Column {
    /// A column that is left out before those of smaller `order`.
    pub fn spare(align: Align, order: u8) -> Column {
        Column { align, spare: order }
    }
}

/// One field of a row.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    role: Role,
}

impl Cell {
    /// In the colour of `role`.
    pub fn new(text: impl Into<String>, role: Role) -> Cell {
        Cell { text: text.into(), role }
    }

    /// A status, in its colour.
    pub fn status(status: &str) -> Cell {
        Cell::new(status, Role::of_status(status))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(text, Role::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::new(text, Role::Plain)
    }
}

/// Between columns.
const GAP: usize = 2;

/// No text is shortened below this to make room.
const LEAST: usize = 12;

/// Rows in aligned columns, two spaces between them, nothing after the last. Where they are wider than the terminal,
/// spare columns are left out, then the widest texts are shortened.
pub fn table<C: Clone + Into<Cell>>(
    out: &mut impl Write,
    indent: &str,
    columns: &[impl Copy + Into<Column>],
    rows: &[Vec<C>],
) -> Result<(), Failure> {
    let columns: Vec<Column> = columns.iter().map(|column| (*column).into()).collect();
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().cloned().map(Into::into).collect()).collect();
    let room = terminal::columns().map(|columns| columns.saturating_sub(indent.len()));
    let widths = layout(&columns, &rows, room);
    for row in &rows {
        let mut line = indent.to_owned();
        let mut gap = 0;
        for ((cell, width), column) in row.iter().zip(&widths).zip(&columns) {
            let Some(width) = width.filter(|width| *width > 0) else { continue };
            let text = clip(&cell.text, width);
            let pad = width - width::columns(&text);
            let before = if column.align == Align::Right { pad } else { 0 };
            if !text.is_empty() {
                line.push_str(&" ".repeat(gap + before));
                line.push_str(&cell.role.paint(text).to_string());
                gap = GAP + pad - before;
            } else {
                gap += GAP + pad;
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// How wide each column is; none, where it is left out.
fn layout(columns: &[Column], rows: &[Vec<Cell>], room: Option<usize>) -> Vec<Option<usize>> {
    let mut widths = vec![Some(0); columns.len()];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(Some(width::columns(&cell.text)));
        }
    }
    let Some(room) = room else { return widths };
    let total = |widths: &[Option<usize>]| {
        let seen = widths.iter().flatten().filter(|width| **width > 0);
        seen.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
    };
    while total(&widths) > room {
        let spare = (0..columns.len()).filter(|at| widths[*at].is_some() && columns[*at].spare > 0);
        if let Some(at) = spare.max_by_key(|at| columns[*at].spare) {
            widths[at] = None;
            continue;
        }
        let shrinks = (0..columns.len()).filter(|at| columns[*at].align == Align::Left);
        let Some(at) = shrinks.filter(|at| widths[*at] > Some(LEAST)).max_by_key(|at| widths[*at]) else { break };
        widths[at] = widths[at].map(|width| width - 1);
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
        rows.iter().map(|row| row.iter().map(|text| Cell::from(*text)).collect()).collect()
    }

    #[test]
    fn tables_align_and_leave_no_trailing_space() {
        let rows = rows(&[&["a", "10", ""], &["日本", "2", "x"]]);
        let mut out = Vec::new();
        table(&mut out, " ", &[Align::Left, Align::Right, Align::Left], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), " a     10\n 日本   2  x\n");
    }

    #[test]
    fn what_is_spare_goes_first_then_the_widest_is_shortened() {
        let long = "n".repeat(40);
        let rows = rows(&[&[&long, "12345", "spare", "more"]]);
        let columns = [
            Column::from(Align::Left),
            Align::Right.into(),
            Column::spare(Align::Left, 2),
            Column::spare(Align::Left, 1),
        ];
        assert_eq!(layout(&columns, &rows, None), [Some(40), Some(5), Some(5), Some(4)]);
        assert_eq!(layout(&columns, &rows, Some(53)), [Some(40), Some(5), None, Some(4)]);
        assert_eq!(layout(&columns, &rows, Some(30)), [Some(23), Some(5), None, None]);
        assert_eq!(layout(&columns, &rows, Some(5)), [Some(LEAST), Some(5), None, None], "never less than readable");
    }

    #[test]
    fn columns_of_one_width_are_shortened_together() {
        let text = "n".repeat(30);
        let rows = rows(&[&[&text, &text]]);
        let widths = layout(&[Align::Left.into(), Align::Left.into()], &rows, Some(42));
        assert_eq!(widths, [Some(20), Some(20)]);
    }
}

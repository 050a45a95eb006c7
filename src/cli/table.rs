//! Aligned columns: no borders, one line a row, one column that gives way when the terminal is narrow.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use crate::cli::output::{FAINT, Look};
use crate::cli::scrub;

/// Least width of the column that gives way.
const FLEX_WIDTH_MIN: usize = 16;

/// A cell: one line of scrubbed text.
#[derive(Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Any text, in a style.
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: scrub::line(text.as_ref()), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::new())
    }
}

/// Rows of cells.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    flex: usize,
}

impl Table {
    /// A table with these columns, of which `flex` gives way.
    pub fn new(head: &[&'static str], flex: usize) -> Self {
        Self { head: head.to_vec(), rows: Vec::new(), flex }
    }

    /// Adds a row, one cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.head.len());
        self.rows.push(cells);
    }

    /// The rows below their heads.
    pub fn render(&self, look: &Look) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|head| head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.width().max(*width);
            }
        }
        let gaps = 2 * widths.len().saturating_sub(1);
        let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(look.width);
        widths[self.flex] = widths[self.flex].saturating_sub(over).max(widths[self.flex].min(FLEX_WIDTH_MIN));
        let mut out = String::new();
        let head: Vec<Cell> = self.head.iter().map(|head| Cell::new(head, FAINT)).collect();
        for row in [&head].into_iter().chain(&self.rows) {
            out.push_str(&render_row(row, &widths));
        }
        out
    }
}

fn render_row(row: &[Cell], widths: &[usize]) -> String {
    let mut line = String::new();
    let mut gap = 0;
    for (cell, width) in row.iter().zip(widths) {
        let text = scrub::cut(&cell.text, *width);
        if !text.is_empty() {
            line.push_str(&" ".repeat(gap));
            gap = 0;
            line.push_str(&format!("{}{text}{:#}", cell.style, cell.style));
        }
        gap += width - text.width() + 2;
    }
    line.push('\n');
    line
}

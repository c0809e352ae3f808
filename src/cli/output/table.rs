//! Rows: an aligned table cut to the width of a terminal, or tab-separated lines.
//! Cells are escaped on the way in, so a tab or a line end inside one cannot break a row.

use crate::cli::output::escape::{cut, escape, width};

/// Space between two columns.
const GAP: usize = 2;
/// No column is cut below this: a shorter cell says nothing.
const COLUMN_MIN: usize = 8;

/// On which side a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table: a head and rows of the same length.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|(name, align)| (escape(name).into(), *align)).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty, surplus ones are dropped.
    pub fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        let mut row: Vec<String> = cells.iter().map(|c| escape(c.as_ref()).into()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line ended: aligned within `terminal` columns, or tab-separated
    /// and uncut without a terminal. The head is printed in both, so that fields have names.
    pub fn render(&self, terminal: Option<usize>) -> String {
        match terminal {
            Some(limit) => self.aligned(limit),
            None => self.tabbed(),
        }
    }

    fn tabbed(&self) -> String {
        let head: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = head.join("\t") + "\n";
        for row in &self.rows {
            text.push_str(&row.join("\t"));
            text.push('\n');
        }
        text
    }

    fn aligned(&self, limit: usize) -> String {
        let widths = self.widths(limit);
        let mut text = String::new();
        let head: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        self.line(&head, &widths, &mut text);
        let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
        self.line(&rule, &widths, &mut text);
        for row in &self.rows {
            self.line(row, &widths, &mut text);
        }
        text
    }

    /// One line; trailing blanks are left out.
    fn line<S: AsRef<str>>(&self, cells: &[S], widths: &[usize], text: &mut String) {
        let (mut line, mut is_first) = (String::new(), true);
        for ((cell, room), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            let cell = cut(cell.as_ref(), *room);
            let blank = " ".repeat(room.saturating_sub(width(&cell)));
            let gap = " ".repeat(if is_first { 0 } else { GAP });
            is_first = false;
            match align {
                Align::Left => line.push_str(&format!("{gap}{cell}{blank}")),
                Align::Right => line.push_str(&format!("{gap}{blank}{cell}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }

    /// Natural widths; while they do not fit, the widest column gives one column back.
    fn widths(&self, limit: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (room, cell) in widths.iter_mut().zip(row) {
                *room = (*room).max(width(cell));
            }
        }
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            match widths.iter_mut().max() {
                Some(widest) if *widest > COLUMN_MIN => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

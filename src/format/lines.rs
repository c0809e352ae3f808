//! A text of lines that begin with a key, as manifests are: read line by line, with the number of
//! the last one for whoever says what is wrong. It gives a line no meaning.

use std::str::Split;

/// Lines of a text with the number of the last one read.
pub struct Lines<'a> {
    lines: Split<'a, char>,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The lines of a text.
    pub fn of(text: &'a str) -> Self {
        Lines { lines: text.split('\n'), number: 0 }
    }

    /// Number of the last line read, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The next line.
    pub fn line(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    /// Whether there is no further line.
    pub fn is_over(&mut self) -> bool {
        self.lines.next().is_none()
    }

    /// The words after the key of the next line.
    pub fn keyed<const N: usize>(&mut self, key: &str) -> Option<[&'a str; N]> {
        let line = self.line()?;
        let words: Vec<&str> = line.strip_prefix(key)?.strip_prefix(' ')?.split(' ').collect();
        words.try_into().ok()
    }
}

//! Why a configuration was refused: file, line, key, what is allowed. A value is never repeated:
//! people paste passphrases into the wrong line.

use crate::cli::config::raw::Given;
use std::fmt;
use std::path::{Path, PathBuf};

/// A refused configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// `CONFIG_UNREADABLE`, `CONFIG_SYNTAX`, `CONFIG_UNKNOWN_KEY`, `CONFIG_VALUE` or
    /// `CONFIG_PASSPHRASE`.
    pub code: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Line from 1, where the file says it.
    pub line: Option<usize>,
    /// Key with its section, or empty.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.file.display())?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", key {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// A file and its text: what is needed to name a place in it.
pub struct Place<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its text.
    pub text: &'a str,
}

impl Place<'_> {
    /// `key` has a value that is not allowed; without a line when the file did not say it.
    pub fn refuse<T>(&self, key: &str, given: &Given<T>, allowed: &str) -> ConfigError {
        ConfigError {
            code: "CONFIG_VALUE",
            file: self.file.to_owned(),
            line: given.as_ref().map(|value| line_of(self.text, value.span().start)),
            key: key.to_owned(),
            message: format!("not allowed; allowed: {allowed}"),
        }
    }
}

impl ConfigError {
    /// The file cannot be read.
    pub fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        ConfigError {
            code: "CONFIG_UNREADABLE",
            file: file.to_owned(),
            line: None,
            key: String::new(),
            message: format!("cannot be read ({})", error),
        }
    }

    /// What the TOML reader objects to, without the value it objects to.
    pub fn from_toml(error: &toml::de::Error, text: &str, file: &Path) -> Self {
        let start = error.span().map(|span| span.start);
        let key = start.map(|at| key_at(text, at)).unwrap_or_default();
        let said = error.message();
        let (code, message) = if said.starts_with("unknown field") {
            ("CONFIG_UNKNOWN_KEY", unknown(said, &key))
        } else if said.starts_with("invalid type") || said.starts_with("invalid value") {
            let wanted = said.rsplit_once("expected ").map_or("another type", |(_, w)| w);
            ("CONFIG_VALUE", format!("wrong type; allowed: {wanted}"))
        } else {
            // Syntax messages of the reader speak of grammar, but may quote a key or a value.
            let grammar = said.split(['`', '"', '\'']).next().unwrap_or_default().trim();
            ("CONFIG_SYNTAX", format!("not TOML: {}", grammar.replace('\n', ", ")))
        };
        let line = start.map(|at| line_of(text, at));
        ConfigError { code, file: file.to_owned(), line, key, message }
    }
}

/// What to write instead of an unknown key.
fn unknown(said: &str, key: &str) -> String {
    let allowed = said.split_once("expected ").map_or("", |(_, allowed)| allowed);
    let secret = ["passphrase", "password", "secret", "token"].iter().any(|w| key.contains(w));
    if secret {
        return "a secret never stands here; name its file in keys.passphrase_file or its \
                variable in keys.passphrase_env"
            .to_owned();
    }
    let allowed = allowed.replace("one of ", "").replace('`', "");
    let last = key.rsplit('.').next().unwrap_or_default();
    let near = allowed.split(", ").map(|known| (distance(last, known), known)).min();
    // Two mistakes in a short word make another word.
    match near.filter(|(apart, known)| *apart <= 1 + known.len() / 5) {
        Some((_, near)) => format!("unknown key; did you mean {near}? allowed: {allowed}"),
        None => format!("unknown key; allowed: {allowed}"),
    }
}

/// Letters to add, drop, change or swap with the next one to make one word of the other, compared
/// as bytes.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let width = other.len() + 1;
    let mut rows = vec![(0..width).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let at = |up: usize, left: usize| {
                let row = (i + 1).checked_sub(up).and_then(|row| rows.get(row));
                row.and_then(|row| row.get((j + 1).checked_sub(left)?)).copied()
            };
            let same = usize::from(a != b);
            let mut best = at(1, 1).unwrap_or(0) + same;
            best = best.min(at(1, 0).unwrap_or(0) + 1);
            best = best.min(row.last().copied().unwrap_or(0) + 1);
            let swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(2, 2).unwrap_or(0) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

/// Line from 1 of a byte offset.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The key that is set on the line of a byte offset, with its section.
fn key_at(text: &str, at: usize) -> String {
    let line = line_of(text, at);
    let mut section = "";
    for (number, content) in text.lines().enumerate() {
        let content = content.trim();
        if let Some(name) = content.strip_prefix('[').and_then(|c| c.split(']').next()) {
            section = name.trim();
        }
        if number + 1 == line {
            let key = content.split_once('=').map_or("", |(key, _)| key.trim());
            return match (section, key) {
                (section, "") => section.to_owned(),
                ("", key) => key.to_owned(),
                (section, key) => format!("{section}.{key}"),
            };
        }
    }
    String::new()
}

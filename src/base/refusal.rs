//! Why an input was refused: a stable code, the place, the limit and the fix.
//! It never carries a value from the input: names of registered fields and numbers only.

use std::fmt;

/// A refusal of one event, query or order. `code` is stable and listed in `docs/errors.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable upper-case code, e.g. `JSON_DUPLICATE_KEY`.
    pub code: &'static str,
    /// Registered field or option name, or empty. Never a key chosen by the sender.
    pub field: String,
    /// Byte offset in the input, where there is one.
    pub offset: Option<usize>,
    /// The limit that was passed, where there is one.
    pub limit: Option<u64>,
    /// What to do about it: one lower-case clause.
    pub fix: &'static str,
}

impl Refusal {
    /// A refusal with a code and its fix.
    pub fn new(code: &'static str, fix: &'static str) -> Self {
        Refusal { code, field: String::new(), offset: None, limit: None, fix }
    }

    /// Names the registered field.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.field = name.to_owned();
        self
    }

    /// Names the byte offset in the input.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Names the limit that was passed.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        if !self.field.is_empty() {
            write!(f, " in {}", self.field)?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, " (limit {limit})")?;
        }
        write!(f, ": {}", self.fix)
    }
}

impl std::error::Error for Refusal {}

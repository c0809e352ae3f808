//! Why an input was refused: a stable code, the place, the limit and the fix.
//! It never carries a value from the input: names of registered fields and numbers only.

use crate::base::limits::FIELD_NAME_BYTES_MAX;
use std::fmt;

/// A refusal of one event, query or order. `code` is stable and listed in `docs/errors.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable upper-case code, e.g. `JSON_DUPLICATE_KEY`.
    pub code: &'static str,
    /// Registered field or option name, or a name out of a policy, or empty. Never a key chosen by
    /// the sender of an event.
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

    /// Names the registered field, or the name that somebody wrote into a policy: that is shown in
    /// plain characters and no longer than a registered one.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        self.field = name.chars().take(FIELD_NAME_BYTES_MAX).map(plain).collect();
        if name.chars().nth(FIELD_NAME_BYTES_MAX).is_some() {
            self.field.push_str("...");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_out_of_a_policy_is_plain_and_short() {
        let shown = |name: &str| Refusal::new("X_Y", "mend it").field(name).to_string();
        assert_eq!(shown("actor.email"), "X_Y in actor.email: mend it");
        assert_eq!(shown("*.\u{43}\u{e9}\n\u{202e}x"), "X_Y in *.C???x: mend it");
        let long = shown(&"n".repeat(4_000));
        assert_eq!(long, format!("X_Y in {}...: mend it", "n".repeat(64)));
        assert_eq!(shown(&"n".repeat(64)), format!("X_Y in {}: mend it", "n".repeat(64)));
    }
}

//! What is wrong with a policy file: the file, the line, a stable code, the reason in words.
//! Policies hold no personal data, so the reason may quote them.

use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Range;

/// A policy file that cannot be used. Nothing is loaded when one file is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// Path below `policies/`.
    pub file: String,
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Stable upper-case code.
    pub code: &'static str,
    /// What is wrong and what would be right: one lower-case clause.
    pub reason: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in policies/{}", self.code, self.file)?;
        if self.line > 0 {
            write!(f, " line {}", self.line)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for PolicyError {}

/// A policy file being read: turns byte positions into lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'p> {
    pub(crate) file: &'p str,
    pub(crate) text: &'p str,
}

impl Page<'_> {
    /// Reads the TOML into its raw form.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, PolicyError> {
        toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            self.error(&span, "POLICY_SYNTAX", error.message())
        })
    }

    /// An error at a span of the file.
    pub(crate) fn error(
        self,
        span: &Range<usize>,
        code: &'static str,
        reason: impl Into<String>,
    ) -> PolicyError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        PolicyError { file: self.file.to_owned(), line, code, reason: reason.into() }
    }

    /// An error of the file as a whole.
    pub(crate) fn missing(self, code: &'static str, reason: impl Into<String>) -> PolicyError {
        PolicyError { file: self.file.to_owned(), line: 0, code, reason: reason.into() }
    }
}

//! Looking for a person: in every byte of files, and in what opened bodies say. It finds what
//! stands there in the usual spellings; it cannot find what somebody wrote around them.

use crate::base::event::Identifier;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Identifiers shorter than this stand in random bytes by chance.
const NEEDLE_BYTES_MIN: usize = 6;

/// What to look for.
pub(crate) struct Needles {
    texts: Vec<Vec<u8>>,
    digits: Vec<Vec<u8>>,
}

/// What a search over files found.
#[derive(Default)]
pub(crate) struct Found {
    /// Files read.
    pub(crate) files: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Files with a hit.
    pub(crate) hits: Vec<PathBuf>,
}

impl Needles {
    /// The identifiers, in lower case; telephone numbers also as their digits alone.
    pub(crate) fn of(identifiers: &[Identifier]) -> Self {
        let long = |bytes: &Vec<u8>| bytes.len() >= NEEDLE_BYTES_MIN;
        let text = |i: &Identifier| i.value.to_lowercase().into_bytes();
        let texts = identifiers.iter().map(text).filter(long).collect();
        let digits = identifiers
            .iter()
            .filter(|i| &*i.kind == "phone")
            .map(|i| i.value.bytes().filter(u8::is_ascii_digit).collect())
            .filter(|digits: &Vec<u8>| digits.len() >= 10)
            .collect();
        Needles { texts, digits }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether bytes hold one of them.
    pub(crate) fn are_in(&self, bytes: &[u8]) -> bool {
        let lower = bytes.to_ascii_lowercase();
        self.texts.iter().any(|needle| holds(&lower, needle))
    }

    /// As `are_in`, for the text of an opened value: a telephone number in any spelling counts.
    pub(crate) fn are_in_text(&self, text: &[u8]) -> bool {
        let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
        let folded = String::from_utf8_lossy(text).to_lowercase();
        self.texts.iter().any(|needle| holds(folded.as_bytes(), needle))
            || self.digits.iter().any(|needle| holds(&digits, needle))
    }

    /// Looks through every file below a directory.
    ///
    /// # Errors
    /// A file that cannot be read: then nothing is known of it, and nothing is said.
    pub(crate) fn in_files(&self, dir: &Path, found: &mut Found) -> Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.in_files(&path, found)?;
                continue;
            }
            let bytes = std::fs::read(&path)?;
            found.files += 1;
            found.bytes += bytes.len() as u64;
            if self.are_in(&bytes) {
                found.hits.push(path);
            }
        }
        Ok(())
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(needle) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, kind: &str, text: &str, expect: bool) {
        let needles = Needles::of(&[Identifier { kind: kind.into(), value: value.into() }]);
        assert_eq!(needles.are_in_text(text.as_bytes()), expect, "{value} in {text}");
    }

    #[test]
    fn finds_the_usual_spellings_and_nothing_else() {
        check("anna.berg7@mail.example", "email", r#""Anna.Berg7@mail.EXAMPLE""#, true);
        check("anna.berg7@mail.example", "email", r#""anna.berg77@mail.example""#, false);
        check("+12015550107", "phone", r#""+1 (201) 555-0107""#, true);
        check("+12015550107", "phone", r#""+1 (201) 555-0108""#, false);
        check("abc", "user_id", r#""abc""#, false);
        let needles =
            Needles::of(&[Identifier { kind: "email".into(), value: "x@y.example".into() }]);
        assert!(needles.are_in(b"\x00\xffX@Y.example") && !needles.are_in(b"x@y.exampl"));
    }
}

//! Words of the command line that are more than text: instants, identifiers, days.
//! A person's identifier is never printed by `Debug`; `@FILE` keeps it out of shell history.

use crate::base::event::EventCode;
use crate::base::unit::{Day, EntryIndex, UtcNanos};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A person's identifier as given: kind and value, or the file that holds them.
#[derive(Clone, PartialEq, Eq)]
pub enum IdentifierArg {
    /// `KIND:VALUE`, not yet normalised.
    Given {
        /// Kind, e.g. `email`.
        kind: String,
        /// Value as typed.
        value: String,
    },
    /// `@FILE`: one `KIND:VALUE` per line.
    File(PathBuf),
}

impl fmt::Debug for IdentifierArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentifierArg::Given { kind, .. } => write!(f, "Given({kind}:..)"),
            IdentifierArg::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Parses `KIND:VALUE` or `@FILE`.
pub fn identifier(text: &str) -> Result<IdentifierArg, String> {
    if let Some(path) = text.strip_prefix('@').filter(|p| !p.is_empty()) {
        return Ok(IdentifierArg::File(PathBuf::from(path)));
    }
    match text.split_once(':') {
        Some((kind, value)) if !kind.is_empty() && !value.trim().is_empty() => {
            Ok(IdentifierArg::Given { kind: kind.to_owned(), value: value.to_owned() })
        }
        _ => Err("expected KIND:VALUE (as in email:anna@mail.example) or @FILE".to_owned()),
    }
}

/// Parses an RFC 3339 instant, or a date meaning its first instant in UTC.
pub fn instant(text: &str) -> Result<UtcNanos, String> {
    UtcNanos::parse(text)
        .or_else(|| Day::parse(text).map(Day::start))
        .ok_or_else(|| "expected 2026-11-21 or 2026-11-21T05:47:00Z".to_owned())
}

/// Parses a UTC date.
pub fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "expected a date, as in 2026-11-21".to_owned())
}

/// Parses the index of an entry.
pub fn index(text: &str) -> Result<EntryIndex, String> {
    text.parse().map(EntryIndex).map_err(|_| "expected a number from 0".to_owned())
}

/// Parses a range of entries, the second not included.
pub fn indexes(text: &str) -> Result<Range<EntryIndex>, String> {
    let bounds = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match bounds {
        Some((a, b)) if a < b => Ok(EntryIndex(a)..EntryIndex(b)),
        _ => Err("expected A..B with A below B, as in 1000..2000".to_owned()),
    }
}

/// Parses an event code.
pub fn code(text: &str) -> Result<EventCode, String> {
    EventCode::parse(text).ok_or_else(|| "expected CATEGORY.VERB, as in data.read".to_owned())
}

/// Parses a share in per cent: `all`, `none`, or 1% to 100%.
pub fn share(text: &str) -> Result<u8, String> {
    let percent = match text {
        "all" => return Ok(100),
        "none" => return Ok(0),
        _ => text.strip_suffix('%').and_then(|number| number.parse().ok()),
    };
    let percent = percent.filter(|percent| (1..=100).contains(percent));
    percent.ok_or_else(|| "expected `all`, `none`, or 1% to 100%".to_owned())
}

/// A duration such as `250us`, `5ms`, `2s`: microseconds.
pub fn micros(text: &str) -> Result<u64, String> {
    let refused = || "expected a duration with its unit: 250us, 5ms or 2s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return Err(refused()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refused)
}

/// A duration such as `0s`, `10m`, `24h`, `7d`: seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let refused = || "expected a duration with its unit: 30s, 10m, 24h or 7d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refused)
}

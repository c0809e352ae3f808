//! TSTInfo: what a time-stamp says. It never believes it.

use crate::base::id::{Hash32, hex};
use crate::base::unit::UtcNanos;
use crate::format::der::{BOOLEAN, INTEGER, OCTETS, OID, Reader, SEQUENCE, TIME, context, small};
use crate::format::timestamp::SHA256_OID;

/// A second in nanoseconds, and a millisecond, and a microsecond.
const UNITS: [u64; 3] = [1_000_000_000, 1_000_000, 1_000];

/// What a time-stamp says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// SHA-256 of what was stamped.
    pub imprint: Hash32,
    /// When the authority says it saw it.
    pub time: UtcNanos,
    /// How far that may be off, in nanoseconds, where it says so.
    pub accuracy: u64,
    /// Nonce of the question, where one was asked.
    pub nonce: Option<Vec<u8>>,
    /// Policy of the authority, dotted.
    pub policy: String,
    /// Serial number, hex.
    pub serial: String,
}

impl Stamp {
    /// The latest instant at which the stamped bytes can have come to be.
    pub fn not_after(&self) -> UtcNanos {
        UtcNanos(self.time.0.saturating_add(self.accuracy))
    }

    /// The earliest instant at which the token can have been made.
    pub fn not_before(&self) -> UtcNanos {
        UtcNanos(self.time.0.saturating_sub(self.accuracy))
    }

    /// Parses the DER of a TSTInfo of version 1 over SHA-256.
    pub(in crate::format::timestamp) fn parse(bytes: &[u8]) -> Option<Stamp> {
        let mut outer = Reader::new(bytes);
        let mut info = outer.enter(SEQUENCE)?;
        outer.end()?;
        if info.small()? != 1 {
            return None;
        }
        let policy = dotted(info.body(OID)?)?;
        let mut imprint = info.enter(SEQUENCE)?;
        let mut algorithm = imprint.enter(SEQUENCE)?;
        if algorithm.body(OID)? != SHA256_OID {
            return None;
        }
        let hash = Hash32(imprint.body(OCTETS)?.try_into().ok()?);
        imprint.end()?;
        let serial = hex(info.body(INTEGER)?);
        let time = instant(info.body(TIME)?)?;
        let accuracy = match info.optional(SEQUENCE) {
            Some(element) => accuracy(Reader::new(element.body))?,
            None => 0,
        };
        info.optional(BOOLEAN);
        let nonce = info.optional(INTEGER).map(|nonce| nonce.body.to_vec());
        info.optional(context(0));
        info.optional(context(1));
        info.end()?;
        Some(Stamp { imprint: hash, time, accuracy, nonce, policy, serial })
    }
}

/// `YYYYMMDDhhmmss[.f]Z`, the one form that RFC 3161 allows.
fn instant(text: &[u8]) -> Option<UtcNanos> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let fits = whole.len() == 14 && digits(whole) && digits(fraction) && fraction.len() <= 9;
    if !fits || fraction.ends_with('0') || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| whole.get(range);
    let point = if fraction.is_empty() { "" } else { "." };
    UtcNanos::parse(&format!(
        "{}-{}-{}T{}:{}:{}{point}{fraction}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        part(12..14)?
    ))
}

/// Seconds, then milliseconds [0], then microseconds [1], each of which may be absent.
fn accuracy(mut reader: Reader<'_>) -> Option<u64> {
    let seconds = reader.optional(INTEGER).map_or(Some(0), |e| small(e.body))?;
    let millis = reader.optional(0x80).map_or(Some(0), |e| small(e.body))?;
    let micros = reader.optional(0x81).map_or(Some(0), |e| small(e.body))?;
    reader.end()?;
    let parts = [seconds, millis, micros].into_iter().zip(UNITS);
    parts.map(|(n, unit)| n.checked_mul(unit)).try_fold(0_u64, |sum, n| sum.checked_add(n?))
}

/// An OID with dots.
fn dotted(body: &[u8]) -> Option<String> {
    let mut parts: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in body {
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            parts.push(number);
            number = 0;
        }
    }
    if body.last().is_none_or(|last| last & 0x80 != 0) {
        return None;
    }
    let (first, rest) = parts.split_first()?;
    let top = (first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    rest.iter().for_each(|part| text.push_str(&format!(".{part}")));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_one_form() {
        let check = |text: &str, expect: Option<&str>| {
            let parsed = instant(text.as_bytes()).map(|t| t.to_string());
            assert_eq!(parsed.as_deref(), expect, "{text}");
        };
        check("20261127080910Z", Some("2026-11-27T08:09:10Z"));
        check("20261127080910.25Z", Some("2026-11-27T08:09:10.25Z"));
        for bad in [
            "20261127080910",
            "20261127080910.Z",
            "20261127080910.250Z",
            "202611270809Z",
            "20261327080910Z",
            "20261127080910+0100",
            "2026112708091 Z",
            "",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn policies_are_dotted() {
        assert_eq!(dotted(&[0x2a, 3, 4]).as_deref(), Some("1.2.3.4"));
        assert_eq!(dotted(&[0x88, 0x37, 3]).as_deref(), Some("2.999.3"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x2a, 0x83]), None);
        assert_eq!(dotted(&[0xff; 12]), None);
    }
}

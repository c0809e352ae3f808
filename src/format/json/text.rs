//! The leaves of JSON: strings, numbers, literals. Every function takes the whole text and a
//! position and returns the position after what it read, so an error can name its byte.
//! It never allocates, except to decode a string that holds escapes.

use crate::base::refusal::Refusal;
use std::borrow::Cow;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// Digits a number without exponent may have and still be below 1e308 for certain.
const SURELY_FINITE: usize = 300;

/// A refusal for a text that is not JSON.
#[cold]
pub(crate) fn syntax(at: usize) -> Refusal {
    Refusal::new("JSON_SYNTAX", "send one JSON text as RFC 8259 defines it").at(at)
}

#[cold]
fn surrogate(at: usize) -> Refusal {
    Refusal::new("JSON_SURROGATE", "pair every UTF-16 surrogate escape").at(at)
}

/// Position of the first quote, backslash or control byte at or after `at`, or the length.
/// Words are loaded little-endian because the lowest marked byte is then the first in the text:
/// borrows of the subtractions can mark wrong bytes above a right one only.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * 0x22);
        let slash = word ^ (ONES * 0x5c);
        let marks = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let marks = marks & HIGH;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

/// Reads a string whose opening quote lies before `at`. Returns the position of the closing
/// quote and whether the string holds an escape.
#[inline]
pub(crate) fn string(bytes: &[u8], at: usize) -> Result<(usize, bool), Refusal> {
    let end = plain_end(bytes, at);
    if bytes.get(end) == Some(&b'"') {
        return Ok((end, false));
    }
    string_with_escapes(bytes, end)
}

fn string_with_escapes(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Refusal> {
    let mut escaped = false;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => at = escape(bytes, at)?,
            _ => return Err(syntax(at)),
        }
        escaped = true;
    }
}

/// Checks the escape at `at` and returns the position after it, a surrogate pair being one.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Refusal> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let unit = hex4(bytes, at + 2).ok_or_else(|| syntax(at))?;
            match unit {
                0xD800..=0xDBFF => match low_surrogate(bytes, at + 6) {
                    Some(_) => Ok(at + 12),
                    None => Err(surrogate(at)),
                },
                0xDC00..=0xDFFF => Err(surrogate(at)),
                _ => Ok(at + 6),
            }
        }
        _ => Err(syntax(at)),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
    digits.iter().try_fold(0, |n, &digit| Some(n << 4 | char::from(digit).to_digit(16)?))
}

fn low_surrogate(bytes: &[u8], at: usize) -> Option<u32> {
    if bytes.get(at..at + 2)? != b"\\u" {
        return None;
    }
    hex4(bytes, at + 2).filter(|unit| (0xDC00..=0xDFFF).contains(unit))
}

/// The text of a checked string without its quotes; owned only where escapes had to be undone.
pub(crate) fn decode(inner: &str, escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, tail)) = rest.split_once('\\') {
        text.push_str(plain);
        let (decoded, used) = decode_escape(tail);
        text.push(decoded);
        rest = tail.get(used..).unwrap_or("");
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of an escape and the bytes it takes after the backslash. The scanner has
/// checked the escape; the replacement character stands for "cannot happen".
fn decode_escape(tail: &str) -> (char, usize) {
    let bytes = tail.as_bytes();
    match bytes.first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => {
            let unit = hex4(bytes, 1).unwrap_or(0xFFFD);
            if (0xD800..=0xDBFF).contains(&unit) {
                let low = low_surrogate(bytes, 5).unwrap_or(0xDC00);
                let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                (char::from_u32(code).unwrap_or('\u{FFFD}'), 11)
            } else {
                (char::from_u32(unit).unwrap_or('\u{FFFD}'), 5)
            }
        }
        Some(&other) => (char::from(other), 1),
        None => ('\u{FFFD}', 0),
    }
}

#[inline]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Reads a number at `start`. Its digits are kept as they are; what no double can hold even
/// roughly (`1e400`) is refused, because readers would take it for infinity.
#[inline]
pub(crate) fn number(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    let whole = start + usize::from(bytes.get(start) == Some(&b'-'));
    let mut at = match bytes.get(whole) {
        Some(b'0') => whole + 1,
        Some(b'1'..=b'9') => digits(bytes, whole + 1),
        _ => return Err(syntax(whole)),
    };
    if bytes.get(at) == Some(&b'.') {
        let end = digits(bytes, at + 1);
        if end == at + 1 {
            return Err(syntax(end));
        }
        at = end;
    }
    let exponent = matches!(bytes.get(at), Some(b'e' | b'E'));
    if exponent {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(bytes, at);
        if end == at {
            return Err(syntax(end));
        }
        at = end;
    }
    if exponent || at - start > SURELY_FINITE {
        finite(bytes, start, at)?;
    }
    Ok(at)
}

#[cold]
fn finite(bytes: &[u8], start: usize, end: usize) -> Result<(), Refusal> {
    let text = bytes.get(start..end).and_then(|span| std::str::from_utf8(span).ok());
    match text.and_then(|text| text.parse::<f64>().ok()) {
        Some(value) if value.is_finite() => Ok(()),
        _ => Err(Refusal::new("JSON_NUMBER", "send a number below 1.8e308").at(start)),
    }
}

/// A 32-bit digest of a decoded key for telling keys apart fast. Equal keys have equal digests;
/// an opponent can make unequal keys collide, which costs comparisons, never a wrong answer.
#[inline]
pub(crate) fn fingerprint(key: &[u8]) -> u32 {
    let (head, tail) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_be_bytes(*head), u64::from_be_bytes(*tail)),
        _ => match (key.first_chunk::<4>(), key.last_chunk::<4>()) {
            (Some(head), Some(tail)) => {
                (u64::from(u32::from_be_bytes(*head)), u64::from(u32::from_be_bytes(*tail)))
            }
            _ => (key.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
        },
    };
    let mixed = (head ^ tail.rotate_left(23) ^ (key.len() as u64) << 56)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32
}

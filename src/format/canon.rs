//! Canonical JSON (RFC 8785, JCS): one byte string per value, the same in every language.
//! It never canonicalises what two readers could read differently, and never touches a sealed
//! value: those are kept as received (`format/json`). Only `clear` and our own documents pass here.
//!
//! Policy on top of the RFC, which assumes I-JSON input:
//! - duplicate keys, lone surrogates, more than 64 levels, numbers that overflow: refused with the
//!   scanner's code, never repaired;
//! - a number that is or would be printed as an integer beyond 2^53 - 1 is refused
//!   (`JSON_INTEGER_RANGE`): a reader with doubles and a reader with integers would differ;
//! - a fraction beyond double precision is rounded to the nearest double, as the RFC says.

use crate::base::refusal::Refusal;
use crate::format::json::{INTEGER_MAX, Kind, Tape, Value};
use serde::Serialize;

/// From here on RFC 8785 prints numbers with an exponent, which no reader takes for an integer.
const EXPONENT_FROM: f64 = 1e21;

/// The canonical form of one JSON text. Canonical text comes back unchanged.
pub fn canonical(json: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut tape = Tape::new();
    check(tape.scan(json)?)?;
    let value: serde_json::Value = serde_json::from_slice(json).map_err(|_| unreadable())?;
    serde_json_canonicalizer::to_vec(&value).map_err(|_| unreadable())
}

/// True if `json` is the canonical form of what it says.
pub fn is_canonical(json: &[u8]) -> bool {
    canonical(json).is_ok_and(|canonical| canonical == json)
}

/// The canonical form of a value of ours: no limit on length, the same rule for integers. A
/// value that must not hold NaN or infinity: serde writes those as `null`.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Refusal> {
    let json = serde_json_canonicalizer::to_vec(&value).map_err(|_| unreadable())?;
    let back: serde_json::Value = serde_json::from_slice(&json).map_err(|_| unreadable())?;
    if is_exact(&back) { Ok(json) } else { Err(range()) }
}

fn unreadable() -> Refusal {
    Refusal::new("JSON_NUMBER", "send values that JSON can hold")
}

fn range() -> Refusal {
    Refusal::new("JSON_INTEGER_RANGE", "send a smaller integer, or a string").limit(INTEGER_MAX)
}

/// Refuses numbers that readers of integers and readers of doubles would read differently. The
/// scanner has bounded the depth of this recursion.
fn check(value: Value<'_, '_>) -> Result<(), Refusal> {
    match value.kind() {
        Kind::Array => value.elements().try_for_each(check),
        Kind::Object => value.members().try_for_each(|member| check(member.value)),
        Kind::Number => {
            let raw = value.raw();
            if raw.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
                let number: f64 = raw.parse().map_err(|_| unreadable().at(value.offset()))?;
                let number = number.abs();
                if number > INTEGER_MAX as f64 && number < EXPONENT_FROM {
                    return Err(range().at(value.offset()));
                }
                Ok(())
            } else {
                value.i64().map(|_| ())
            }
        }
        _ => Ok(()),
    }
}

/// The same rule on canonical text: what parses as an integer must be exact as a double.
fn is_exact(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(items) => items.iter().all(is_exact),
        serde_json::Value::Object(members) => members.values().all(is_exact),
        serde_json::Value::Number(number) if !number.is_f64() => {
            let magnitude = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            magnitude.is_some_and(|magnitude| magnitude <= INTEGER_MAX)
        }
        // A 20-digit integer beyond u64 reads as a double below 1e21.
        serde_json::Value::Number(number) => number.as_f64().is_some_and(|number| {
            number.abs() <= INTEGER_MAX as f64 || number.abs() >= EXPONENT_FROM
        }),
        _ => true,
    }
}

//! One-time codes (RFC 6238: SHA-1, 6 digits, 30 seconds, as every authenticator program makes
//! them). It says which step a code is of; that a step counts once is `throttle`'s to know.

use crate::base::id::{hex, unhex};
use crate::base::secret::Secret;
use crate::base::unit::UtcNanos;
use crate::base::world::{Entropy, random};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use totp_rs::{Algorithm, Builder};
use zeroize::Zeroizing;

/// Seconds of one step.
pub const STEP_SECONDS: u64 = 30;
/// Steps a clock may be wrong by, each way.
pub const SKEW: u16 = 1;
/// Digits of a code.
pub const DIGITS: u8 = 6;
/// Who the code is for, as authenticator programs show it.
const ISSUER: &str = "Chancery";

/// A step: how many times 30 seconds since 1970.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Step(pub u64);

impl Step {
    /// The step at an instant.
    pub fn at(now: UtcNanos) -> Step {
        Step(now.seconds() / STEP_SECONDS)
    }

    /// The latest step of which a code is taken at an instant.
    pub fn latest(now: UtcNanos) -> Step {
        Step(Step::at(now).0 + u64::from(SKEW))
    }
}

/// The shared secret of one person: 160 bits, as RFC 4226 recommends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedSecret(Secret<20>);

impl SharedSecret {
    /// A fresh one.
    pub fn make(entropy: &dyn Entropy) -> Self {
        SharedSecret(Secret::new(random(entropy)))
    }

    /// One with these bytes.
    pub fn new(bytes: [u8; 20]) -> Self {
        SharedSecret(Secret::new(bytes))
    }

    /// The step of a code that is right at `now`, one step early or late included. The comparisons
    /// take the same time whatever the digits are.
    pub fn check(&self, code: &str, now: UtcNanos) -> Option<Step> {
        self.engine()?.check(code, now.seconds()).map(Step)
    }

    /// The code of a step, for tests and for whoever keeps the other half.
    pub fn code(&self, step: Step) -> Option<String> {
        let at = step.0.checked_mul(STEP_SECONDS)?;
        Some(self.engine()?.generate(at).to_string())
    }

    fn engine(&self) -> Option<totp_rs::Totp> {
        let built = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_skew(SKEW)
            .with_step_duration(STEP_SECONDS)
            .with_secret(totp_rs::Secret::new_stack(*self.0.expose()))
            .build();
        built.ok()
    }

    /// The secret as it is typed into an authenticator program (RFC 4648 base 32).
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(base32(self.0.expose()))
    }

    /// The secret as an authenticator program reads it from a picture of it.
    pub fn otpauth(&self, login: &str) -> Zeroizing<String> {
        let (label, secret) = (percent(login), self.base32());
        Zeroizing::new(format!(
            "otpauth://totp/{ISSUER}:{label}?secret={}&issuer={ISSUER}&algorithm=SHA1\
             &digits={DIGITS}&period={STEP_SECONDS}",
            secret.as_str()
        ))
    }
}

impl Serialize for SharedSecret {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&Zeroizing::new(hex(self.0.expose())))
    }
}

impl<'de> Deserialize<'de> for SharedSecret {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        let bytes = unhex::<20>(&text).map(Zeroizing::new);
        let wrong = || serde::de::Error::custom("no shared secret of 20 bytes");
        bytes.map(|bytes| SharedSecret::new(*bytes)).ok_or_else(wrong)
    }
}

/// Five bytes are eight letters; other lengths end without padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut held, mut bits) = (String::with_capacity(bytes.len() * 2), 0_u32, 0_u32);
    let letter = |value: u32| LETTERS.get((value & 31) as usize).map(|letter| char::from(*letter));
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.extend(letter(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.extend(letter(held << (5 - bits)));
    }
    text
}

/// What RFC 3986 leaves as it is stays; every other byte is `%` and two digits.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10, without the padding that a secret of 20 bytes never has.
    #[test]
    fn base32_is_the_one_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_login_in_a_uri_ends_nothing() {
        let uri = SharedSecret::new([0xff; 20]).otpauth("a b&c=d/e?f#g:h%");
        assert_eq!(
            uri.as_str(),
            "otpauth://totp/Chancery:a%20b%26c%3Dd%2Fe%3Ff%23g%3Ah%25?secret=7777777777777777777777\
             7777777777&issuer=Chancery&algorithm=SHA1&digits=6&period=30"
        );
    }
}

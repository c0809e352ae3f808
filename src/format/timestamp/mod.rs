//! Time-stamps (RFC 3161, with RFC 5816): what is asked of an authority about a checkpoint, and
//! whether its answer proves what it says. The stamped bytes are the three lines of a checkpoint,
//! without signatures; the hash is SHA-256.
//!
//! A token is believed when all of this holds: granted; one signer; the contents are a TSTInfo of
//! version 1 whose imprint and nonce are those asked; the signed attributes name the contents' type
//! and hash and, by hash, the certificate of the signer; that certificate has the key purpose
//! time-stamping, alone and critical; it leads to a pinned certificate, all valid at the time that
//! the token states; the signature verifies (RSA 2048 to 8192 with SHA-256, -384, -512; ECDSA on
//! P-256 and P-384 with SHA-256 and -384). It never asks for revocation and never reads a clock.

mod info;
mod signed;

pub use info::Stamp;

use crate::base::id::Hash32;
use crate::crypto::hash::sha256;
use crate::crypto::x509::X509Error;
use crate::format::checkpoint::Checkpoint;
use crate::format::der::{BOOLEAN, INTEGER, OCTETS, OID, Reader, SEQUENCE, context, element};
use signed::Signed;
use std::fmt;

/// Longest answer that is read: a chain of certificates of 4096-bit keys fits many times.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Content type of a query.
pub const QUERY_TYPE: &str = "application/timestamp-query";
/// Content type of a response.
pub const REPLY_TYPE: &str = "application/timestamp-reply";

const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

/// Why a response proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StampError {
    /// Not the DER of a response, or one beyond the profile above.
    Malformed(&'static str),
    /// The authority did not grant it.
    NotGranted {
        /// Its status.
        status: u64,
    },
    /// It stamps something else.
    Imprint,
    /// It answers another question.
    Nonce,
    /// The signer's certificate is not for time-stamping alone, critically.
    Purpose,
    /// The certificate or the signature.
    X509(X509Error),
    /// No certificate is pinned.
    NotPinned,
}

impl StampError {
    /// The verdict's stable name.
    pub fn verdict(&self) -> &'static str {
        match self {
            StampError::Malformed(_) => "TIMESTAMP_MALFORMED",
            StampError::NotGranted { .. } => "TIMESTAMP_NOT_GRANTED",
            StampError::Imprint => "TIMESTAMP_IMPRINT",
            StampError::Nonce => "TIMESTAMP_NONCE",
            StampError::Purpose => "TIMESTAMP_PURPOSE",
            StampError::X509(X509Error::Signature) => "TIMESTAMP_SIGNATURE",
            StampError::X509(_) | StampError::NotPinned => "TIMESTAMP_UNTRUSTED",
        }
    }
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StampError::Malformed(what) => write!(f, "not a time-stamp response: {what}"),
            StampError::NotGranted { status } => write!(f, "not granted, status {status}"),
            StampError::Imprint => f.write_str("it stamps something else"),
            StampError::Nonce => f.write_str("it answers another question"),
            StampError::Purpose => {
                f.write_str("the certificate is not for time-stamping alone, critically")
            }
            StampError::X509(error) => error.fmt(f),
            StampError::NotPinned => f.write_str("no certificate of an authority is pinned"),
        }
    }
}

impl std::error::Error for StampError {}

/// A question to an authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// SHA-256 of what is to be stamped.
    pub imprint: Hash32,
    /// Makes the answer the one to this question; its first bits are 01, so that it is positive
    /// and of one length.
    pub nonce: [u8; 8],
}

impl Query {
    /// Asks for a stamp of a checkpoint's text.
    pub fn of(checkpoint: &Checkpoint, random: [u8; 8]) -> Query {
        let [first, rest @ ..] = random;
        let mut nonce = [first & 0x3f | 0x40; 8];
        nonce.iter_mut().skip(1).zip(rest).for_each(|(to, from)| *to = from);
        Query { imprint: imprint_of(checkpoint), nonce }
    }

    /// The DER of a TimeStampReq: version 1, SHA-256, the nonce, certificates wanted.
    pub fn encode(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[&element(OID, &[SHA256_OID]), &[0x05, 0]]);
        let imprint = element(SEQUENCE, &[&algorithm, &element(OCTETS, &[&self.imprint.0])]);
        let version = element(INTEGER, &[&[1]]);
        let nonce = element(INTEGER, &[&self.nonce]);
        element(SEQUENCE, &[&version, &imprint, &nonce, &element(BOOLEAN, &[&[0xff]])])
    }

    /// Parses what `encode` wrote, and nothing else.
    pub fn parse(bytes: &[u8]) -> Option<Query> {
        let mut outer = Reader::new(bytes);
        let mut query = outer.enter(SEQUENCE)?;
        query.small()?;
        let mut imprint = query.enter(SEQUENCE)?;
        imprint.enter(SEQUENCE)?;
        let imprint = Hash32(imprint.body(OCTETS)?.try_into().ok()?);
        let nonce = query.body(INTEGER)?.try_into().ok()?;
        let query = Query { imprint, nonce };
        (query.encode() == bytes).then_some(query)
    }
}

/// What is stamped of a checkpoint: SHA-256 of its three lines.
pub fn imprint_of(checkpoint: &Checkpoint) -> Hash32 {
    sha256(&[checkpoint.to_string().as_bytes()])
}

/// Reads what a response says, without believing it.
///
/// # Errors
/// `Malformed`, `NotGranted`.
pub fn claimed(response: &[u8]) -> Result<Stamp, StampError> {
    Signed::parse(token(response)?).map(|signed| signed.stamp)
}

/// Opens a response against pinned certificates (DER). `nonce`, where it is known, must be in it.
///
/// # Errors
/// The first condition of the head of this file that fails.
pub fn open(
    response: &[u8],
    imprint: &Hash32,
    nonce: Option<&[u8; 8]>,
    pinned: &[Vec<u8>],
) -> Result<Stamp, StampError> {
    let signed = Signed::parse(token(response)?)?;
    if signed.stamp.imprint != *imprint {
        return Err(StampError::Imprint);
    }
    if nonce.is_some_and(|nonce| signed.stamp.nonce.as_deref() != Some(nonce)) {
        return Err(StampError::Nonce);
    }
    if pinned.is_empty() {
        return Err(StampError::NotPinned);
    }
    signed.verify(pinned)?;
    Ok(signed.stamp)
}

/// The token of a granted response.
fn token(response: &[u8]) -> Result<&[u8], StampError> {
    let malformed = StampError::Malformed("response");
    if response.len() > RESPONSE_BYTES_MAX {
        return Err(malformed);
    }
    let mut outer = Reader::new(response);
    let mut inner = outer.enter(SEQUENCE).ok_or(malformed)?;
    outer.end().ok_or(malformed)?;
    let mut info = inner.enter(SEQUENCE).ok_or(malformed)?;
    let status = info.small().ok_or(malformed)?;
    // 0 granted, 1 granted with modifications: both bear a token that says what it stamps.
    if status > 1 {
        return Err(StampError::NotGranted { status });
    }
    let token = inner.one(SEQUENCE).ok_or(malformed)?;
    inner.end().ok_or(malformed)?;
    Ok(token.whole)
}

/// Whether a certificate is for time-stamping alone, critically. `None`: it cannot be read.
pub fn is_for_stamps_alone(certificate: &[u8]) -> Option<bool> {
    const KEY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25];
    const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
    let mut body = Reader::new(certificate).enter(SEQUENCE)?.enter(SEQUENCE)?;
    let extensions = std::iter::from_fn(|| body.any()).find(|e| e.tag == context(3))?;
    let mut list = Reader::new(extensions.body).enter(SEQUENCE)?;
    while !list.is_empty() {
        let mut extension = list.enter(SEQUENCE)?;
        let name = extension.body(OID)?;
        let critical = extension.optional(BOOLEAN).is_some_and(|b| b.body == [0xff]);
        let value = extension.body(OCTETS)?;
        if name == KEY_PURPOSE {
            let mut purposes = Reader::new(value).enter(SEQUENCE)?;
            let alone = purposes.body(OID)? == TIME_STAMPING && purposes.is_empty();
            return Some(alone && critical);
        }
    }
    Some(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_one_form() {
        for first in [0, 1, 0x7f, 0x80, 0xff] {
            let checkpoint = Checkpoint {
                origin: "v.example/t/1".into(),
                size: crate::base::unit::TreeSize(3),
                root: Hash32([4; 32]),
            };
            let query = Query::of(&checkpoint, [first; 8]);
            let bytes = query.encode();
            assert_eq!(bytes.len(), 69);
            assert_eq!(Query::parse(&bytes), Some(query));
            for end in 0..bytes.len() {
                assert_eq!(Query::parse(bytes.get(..end).unwrap()), None);
            }
        }
    }

    #[test]
    fn refusals_and_nonsense_are_named() {
        let status = |n: u8| element(SEQUENCE, &[&element(SEQUENCE, &[&[2, 1, n]])]);
        assert_eq!(claimed(&status(2)).err(), Some(StampError::NotGranted { status: 2 }));
        assert!(matches!(claimed(&status(0)).err(), Some(StampError::Malformed(_))));
        assert!(matches!(claimed(b"").err(), Some(StampError::Malformed(_))));
        assert!(matches!(claimed(&[0x30; 70_000]).err(), Some(StampError::Malformed(_))));
    }
}

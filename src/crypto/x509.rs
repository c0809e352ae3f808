//! Certificates of time-stamp authorities: does a signature verify under a certificate that leads
//! to a pinned one, at the time it states? Path building and signatures are rustls-webpki over
//! ring; this file only picks the algorithm. It never asks whether a certificate was revoked, and
//! never reads a clock.

use crate::base::unit::UtcNanos;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use std::fmt;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring as algorithms};

/// id-kp-timeStamping, the contents of its OID.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// Hash of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Kind of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5, 2048 to 8192 bits.
    Rsa(Digest),
    /// ECDSA on P-256 or P-384; the certificate says which.
    Ecdsa(Digest),
}

/// Why a signature is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum X509Error {
    /// A certificate that is not one, or not of a kind that is read.
    Certificate,
    /// No path to a pinned certificate that was valid at that time.
    Chain,
    /// The path was not valid yet, or no more, at that time.
    Expired,
    /// The signature fails, or is of an algorithm that is not accepted.
    Signature,
}

impl fmt::Display for X509Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            X509Error::Certificate => "the certificate cannot be read",
            X509Error::Chain => "the certificate does not lead to a pinned one",
            X509Error::Expired => "the certificate was not valid at that time",
            X509Error::Signature => "the signature fails or is of an algorithm not accepted",
        })
    }
}

impl std::error::Error for X509Error {}

impl Digest {
    /// The hash of some bytes.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Digest::Sha256 => &ring::digest::SHA256,
            Digest::Sha384 => &ring::digest::SHA384,
            Digest::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}

/// SHA-1 of some bytes: names a certificate in older tokens, and is trusted for nothing else.
pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// Whether a certificate can be pinned.
pub fn can_pin(certificate: &[u8]) -> bool {
    anchor_from_trusted_cert(&CertificateDer::from(certificate)).is_ok()
}

/// Checks that `leaf` leads through `others` to one of `pinned` at the instant `at`, for time-
/// stamping, and that it signed `message`. All certificates are DER.
///
/// # Errors
/// The first of these that fails.
pub fn verify(
    leaf: &[u8],
    others: &[&[u8]],
    pinned: &[Vec<u8>],
    at: UtcNanos,
    (scheme, message, signature): (Scheme, &[u8], &[u8]),
) -> Result<(), X509Error> {
    let der = CertificateDer::from(leaf);
    let end = EndEntityCert::try_from(&der).map_err(|_| X509Error::Certificate)?;
    let pinned: Vec<CertificateDer<'_>> =
        pinned.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let anchors: Result<Vec<_>, _> = pinned.iter().map(anchor_from_trusted_cert).collect();
    let anchors = anchors.map_err(|_| X509Error::Certificate)?;
    let others: Vec<CertificateDer<'_>> = others.iter().map(|o| CertificateDer::from(*o)).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.seconds()));
    let usage = KeyUsage::required_if_present(TIME_STAMPING);
    let path = end.verify_for_usage(&chain(), &anchors, &others, time, usage, None, None);
    path.map_err(|error| match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            X509Error::Expired
        }
        _ => X509Error::Chain,
    })?;
    let fits = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        end.verify_signature(*algorithm, message, signature).is_ok()
    };
    match signing(scheme).iter().any(fits) {
        true => Ok(()),
        false => Err(X509Error::Signature),
    }
}

/// What certificates may be signed with.
fn chain() -> [&'static dyn SignatureVerificationAlgorithm; 7] {
    [
        algorithms::RSA_PKCS1_2048_8192_SHA256,
        algorithms::RSA_PKCS1_2048_8192_SHA384,
        algorithms::RSA_PKCS1_2048_8192_SHA512,
        algorithms::ECDSA_P256_SHA256,
        algorithms::ECDSA_P256_SHA384,
        algorithms::ECDSA_P384_SHA256,
        algorithms::ECDSA_P384_SHA384,
    ]
}

fn signing(scheme: Scheme) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    match scheme {
        Scheme::Rsa(Digest::Sha256) => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
        Scheme::Rsa(Digest::Sha384) => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
        Scheme::Rsa(Digest::Sha512) => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
        Scheme::Ecdsa(Digest::Sha256) => {
            vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256]
        }
        Scheme::Ecdsa(Digest::Sha384) => {
            vec![algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384]
        }
        // ring verifies no such signature on these curves.
        Scheme::Ecdsa(Digest::Sha512) => Vec::new(),
    }
}

//! The token around a TSTInfo: a CMS SignedData of one signer (RFC 5652, RFC 5035). It takes it
//! apart, and verifies it once it is told which certificates are pinned.

use crate::crypto::x509::{self, Digest, Scheme, X509Error};
use crate::format::der::{OCTETS, OID, Reader, SEQUENCE, SET, context, element};
use crate::format::timestamp::{SHA256_OID, Stamp, StampError, is_for_stamps_alone};

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47];
const SHA384_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
/// rsaEncryption, then sha256, sha384 and sha512WithRSAEncryption differ in their last byte.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
/// ecdsa-with-SHA256 to SHA512 differ in their last byte.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
/// Certificates of a token: a chain is four at most in practice.
const CERTIFICATES_MAX: usize = 16;

/// A token taken apart; nothing is believed.
pub(in crate::format::timestamp) struct Signed<'a> {
    pub(in crate::format::timestamp) stamp: Stamp,
    content: &'a [u8],
    certificates: Vec<&'a [u8]>,
    digest: Digest,
    scheme: Scheme,
    /// The signed attributes as they are hashed: as a SET.
    attributes: Vec<u8>,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(in crate::format::timestamp) fn parse(token: &'a [u8]) -> Result<Signed<'a>, StampError> {
        Signed::read(token).ok_or(StampError::Malformed("token"))
    }

    fn read(token: &'a [u8]) -> Option<Signed<'a>> {
        let mut info = Reader::new(token).enter(SEQUENCE)?;
        if info.body(OID)? != SIGNED_DATA {
            return None;
        }
        let mut data = info.enter(context(0))?.enter(SEQUENCE)?;
        info.end()?;
        data.small()?;
        data.one(SET)?;
        let mut inner = data.enter(SEQUENCE)?;
        if inner.body(OID)? != TST_INFO {
            return None;
        }
        let content = inner.enter(context(0))?.body(OCTETS)?;
        let certificates = match data.optional(context(0)) {
            Some(set) => certificates(Reader::new(set.body))?,
            None => Vec::new(),
        };
        data.optional(context(1));
        let mut signers = data.enter(SET)?;
        data.end()?;
        let mut signer = signers.enter(SEQUENCE)?;
        signers.end()?;
        signer.small()?;
        // Issuer and serial, or key identifier: the signed hash of the certificate says more.
        signer.any()?;
        let digest = digest_of(signer.enter(SEQUENCE)?.body(OID)?)?;
        let signed = signer.one(context(0))?;
        let attributes = element(SET, &[signed.body]);
        let scheme = scheme_of(signer.enter(SEQUENCE)?.body(OID)?, digest)?;
        let signature = signer.body(OCTETS)?;
        let stamp = Stamp::parse(content)?;
        Some(Signed { stamp, content, certificates, digest, scheme, attributes, signature })
    }

    /// Verifies the token against pinned certificates.
    pub(in crate::format::timestamp) fn verify(
        &self,
        pinned: &[Vec<u8>],
    ) -> Result<(), StampError> {
        let malformed = StampError::Malformed("signed attributes");
        let attributes = Attributes::read(&self.attributes).ok_or(malformed)?;
        if attributes.content_type != TST_INFO {
            return Err(malformed);
        }
        if attributes.digest != self.digest.of(self.content) {
            return Err(StampError::X509(X509Error::Signature));
        }
        let known = self.certificates.iter().copied().chain(pinned.iter().map(Vec::as_slice));
        let named = |certificate: &&[u8]| attributes.signer.names(certificate);
        let leaf = known.into_iter().find(named).ok_or(StampError::X509(X509Error::Certificate))?;
        if is_for_stamps_alone(leaf) != Some(true) {
            return Err(StampError::Purpose);
        }
        let signed = (self.scheme, self.attributes.as_slice(), self.signature);
        x509::verify(leaf, &self.certificates, pinned, self.stamp.time, signed)
            .map_err(StampError::X509)
    }
}

/// The attributes that count, each of which must be there once.
struct Attributes<'a> {
    content_type: &'a [u8],
    digest: &'a [u8],
    signer: Named<'a>,
}

/// How the signer's certificate is named.
struct Named<'a> {
    /// `None`: SHA-1, of RFC 2634.
    digest: Option<Digest>,
    hash: &'a [u8],
}

impl Named<'_> {
    fn names(&self, certificate: &[u8]) -> bool {
        let hash = match self.digest {
            Some(digest) => digest.of(certificate),
            None => x509::sha1(certificate),
        };
        self.hash == hash
    }
}

impl<'a> Attributes<'a> {
    fn read(set: &'a [u8]) -> Option<Attributes<'a>> {
        let mut reader = Reader::new(set).enter(SET)?;
        let (mut content_type, mut digest, mut old, mut new) = (None, None, None, None);
        while !reader.is_empty() {
            let mut attribute = reader.enter(SEQUENCE)?;
            let name = attribute.body(OID)?;
            let mut values = attribute.enter(SET)?;
            attribute.end()?;
            let slot = match name {
                CONTENT_TYPE => &mut content_type,
                MESSAGE_DIGEST => &mut digest,
                SIGNING_CERTIFICATE => &mut old,
                SIGNING_CERTIFICATE_V2 => &mut new,
                _ => continue,
            };
            if slot.replace(values.any()?).is_some() || !values.is_empty() {
                return None;
            }
        }
        let signer = match (new, old) {
            (Some(new), _) => named(new.body, true)?,
            (None, Some(old)) => named(old.body, false)?,
            (None, None) => return None,
        };
        let (content_type, digest) = (content_type?, digest?);
        let fits = content_type.tag == OID && digest.tag == OCTETS;
        fits.then_some(Attributes { content_type: content_type.body, digest: digest.body, signer })
    }
}

/// The first certificate that a signing-certificate attribute names: the signer's.
fn named(body: &[u8], second: bool) -> Option<Named<'_>> {
    let mut id = Reader::new(body).enter(SEQUENCE)?.enter(SEQUENCE)?;
    let digest = match (second, id.optional(SEQUENCE)) {
        (false, None) => None,
        (true, None) => Some(Digest::Sha256),
        (true, Some(algorithm)) => Some(digest_of(Reader::new(algorithm.body).body(OID)?)?),
        (false, Some(_)) => return None,
    };
    Some(Named { digest, hash: id.body(OCTETS)? })
}

fn certificates(mut reader: Reader<'_>) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !reader.is_empty() {
        found.push(reader.one(SEQUENCE)?.whole);
        if found.len() > CERTIFICATES_MAX {
            return None;
        }
    }
    Some(found)
}

fn digest_of(name: &[u8]) -> Option<Digest> {
    match name {
        SHA256_OID => Some(Digest::Sha256),
        SHA384_OID => Some(Digest::Sha384),
        SHA512_OID => Some(Digest::Sha512),
        _ => None,
    }
}

/// The signature algorithm; where it names a hash of its own, that one counts.
fn scheme_of(name: &[u8], digest: Digest) -> Option<Scheme> {
    let (&last, family) = name.split_last()?;
    let named = match (family, last) {
        (RSA, 1) => return Some(Scheme::Rsa(digest)),
        (RSA, 11) | (ECDSA, 2) => Digest::Sha256,
        (RSA, 12) | (ECDSA, 3) => Digest::Sha384,
        (RSA, 13) | (ECDSA, 4) => Digest::Sha512,
        _ => return None,
    };
    Some(if family == RSA { Scheme::Rsa(named) } else { Scheme::Ecdsa(named) })
}

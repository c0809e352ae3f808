//! Ed25519 signatures (RFC 8032), verified strictly, and the key id of the signed-note format.
//! It never holds a key beyond the value it was given, never draws randomness (Ed25519 is
//! deterministic; a seed comes from the caller) and never accepts a weak key.
//!
//! Strict means: a public key of low order or with a non-canonical encoding cannot be enrolled,
//! and a signature whose R is of low order, whose R is not canonical or whose s is not reduced is
//! refused. Honest signers never produce such keys or signatures, so nothing honest is lost.

use crate::base::secret::Key;
use crate::crypto::hash::sha256;
use ed25519_dalek::Signer as _;
use std::fmt;

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// Length of a public key in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Verdict `WEAK_KEY`: the bytes are no curve point, not canonical, or of low order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeakKey;

impl fmt::Display for WeakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WEAK_KEY: not a canonical Ed25519 public key of full order")
    }
}

impl std::error::Error for WeakKey {}

/// Verdict `BAD_SIGNATURE`: the signature is not this key's over this message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BAD_SIGNATURE")
    }
}

impl std::error::Error for BadSignature {}

/// A secret signing key; wiped when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a 32-byte seed (the "private key" of RFC 8032).
    pub fn new(seed: &Key) -> Self {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    /// The public half. It is canonical and of full order by construction.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message`; the same message always gets the same 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    /// Nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A public key that was enrolled: canonical and of full order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Accepts a public key of 32 bytes, or refuses it with `WEAK_KEY`.
    pub fn enrol(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, WeakKey> {
        if !is_canonical(bytes) {
            return Err(WeakKey);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| WeakKey)?;
        if key.is_weak() { Err(WeakKey) } else { Ok(PublicKey(key)) }
    }

    /// The 32 bytes of RFC 8032.
    pub fn bytes(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.0.to_bytes()
    }

    /// Checks a signature over `message`, strictly.
    pub fn verify(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", crate::base::id::hex(&self.bytes()))
    }
}

/// True if y, the low 255 bits read little-endian as RFC 8032 does, is below 2^255 - 19. The other
/// non-canonical form, x = 0 with its sign bit set, occurs only at y = 1 and y = -1, which are of
/// low order and refused for that.
fn is_canonical(bytes: &[u8; PUBLIC_KEY_BYTES]) -> bool {
    let [low, middle @ .., high] = bytes;
    *low < 0xed || high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

/// Key id of the signed-note format: the first 4 bytes of
/// SHA-256(name || 0x0A || signature type || public key).
pub fn key_id(name: &str, signature_type: u8, public_key: &[u8]) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), &[b'\n', signature_type], public_key]);
    let [a, b, c, d, ..] = digest.0;
    [a, b, c, d]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::base::id::{hex, unhex};

    /// RFC 8032 section 7.1, tests 1 to 3.
    #[test]
    fn rfc_8032_answers() {
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
                 c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e\
                 458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let key = SigningKey::new(&Key::new(unhex(seed).unwrap()));
            assert_eq!(hex(&key.public().bytes()), public);
            let message: Vec<u8> =
                if message.is_empty() { vec![] } else { unhex::<1>(message).unwrap().to_vec() };
            let made = key.sign(&message);
            assert_eq!(hex(&made), signature);
            let public = PublicKey::enrol(&unhex(public).unwrap()).unwrap();
            assert_eq!(public, key.public());
            assert_eq!(public.verify(&message, &made), Ok(()));
            assert_eq!(public.verify(b"other", &made), Err(BadSignature));
            for bit in 0..SIGNATURE_BYTES * 8 {
                let mut bent = made;
                bent[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(public.verify(&message, &bent), Err(BadSignature), "bit {bit}");
            }
        }
    }

    /// The fourteen encodings of the eight low-order points, and one that is no point.
    #[test]
    fn weak_keys_are_refused() {
        let ff = "ff".repeat(30);
        let zero = "00".repeat(30);
        let eight = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc";
        let other = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03";
        let mut keys = Vec::new();
        for (first, rest) in [("00", &zero), ("01", &zero), ("ec", &ff), ("ed", &ff), ("ee", &ff)] {
            for last in if rest == &zero { ["00", "80"] } else { ["7f", "ff"] } {
                keys.push(format!("{first}{rest}{last}"));
            }
        }
        keys.extend(
            [eight, eight, other, other]
                .iter()
                .zip(["05", "85", "7a", "fa"])
                .map(|(stem, last)| format!("{}{last}", &stem[..62])),
        );
        assert_eq!(keys.len(), 14);
        // Not canonical and, unlike the above, of full order: y = p + 3 and p + 18.
        keys.push(format!("f0{ff}7f"));
        keys.push(format!("ff{ff}7f"));
        // y = 2 is on no point.
        keys.push(format!("02{zero}00"));
        for key in keys {
            assert_eq!(PublicKey::enrol(&unhex(&key).unwrap()), Err(WeakKey), "{key}");
        }
    }

    /// A signature with R the identity: its s was made from the secret key, and the plain rule of
    /// RFC 8032 holds, as `ring` shows. No honest signer makes one.
    #[test]
    fn a_signature_with_low_order_r_is_refused() {
        let public = SigningKey::new(&Key::new([7; 32])).public();
        let s = "d4c5323131ff9683cfb3d30197c786c9043f1052d6c2d5293f19d6f36b911104";
        let mut signature = [0; SIGNATURE_BYTES];
        signature[0] = 1;
        signature[32..].copy_from_slice(&unhex::<32>(s).unwrap());
        let ring =
            ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public.bytes());
        assert!(ring.verify(b"message", &signature).is_ok());
        assert_eq!(public.verify(b"message", &signature), Err(BadSignature));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::new(&Key::new([0x5a; 32]));
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}

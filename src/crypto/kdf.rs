//! Key derivation: labelled HKDF-SHA-256 (RFC 5869) for keys that are cached, and a keyed hash
//! with both pads absorbed once for what is derived per event. It never keeps what it derives.
//!
//! Labels are ASCII `chancery/v1/` + name + 0x00. Per-event hashes start with a two-byte tag
//! instead (`tag`), whose first byte is never 0x00 or 0x01, the prefixes of leaf and node hashes.

use crate::base::id::Hash32;
use crate::base::secret::Key;
use crate::crypto::hash::{State, compress, finish};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

/// Two-byte prefixes of hashes made per event.
pub mod tag {
    /// Salt of one field: SHA-256(tag || seed[32] || field number u16).
    pub const SALT: [u8; 2] = [0x10, 0x01];
    /// Commitment: SHA-256(tag || record || group u8 || salt || lp8 name || lp32 value).
    pub const COMMIT: [u8; 2] = [0x10, 0x02];
    /// Digest of a group's commitments, in entry order.
    pub const COMMITS: [u8; 2] = [0x10, 0x03];
    /// Key of one group: HMAC(group base key, tag || record || group u8 || digest).
    pub const GROUP_KEY: [u8; 2] = [0x10, 0x04];
    /// Associated data of a body.
    pub const AAD: [u8; 2] = [0x10, 0x05];
    /// Event id tag: HMAC(dedupe key, tag || source handle || event id)[..16].
    pub const EVENT_ID: [u8; 2] = [0x10, 0x06];
    /// Subject tag: HMAC(tag key, tag || month u32)[..16].
    pub const SUBJECT: [u8; 2] = [0x10, 0x07];
    /// Source handle: HMAC(source key, tag || source name)[..16].
    pub const SOURCE: [u8; 2] = [0x10, 0x08];
    /// Pseudonym for a destination: HMAC(token key, tag || destination)[..16].
    pub const TOKEN: [u8; 2] = [0x10, 0x09];
    /// Key of one group sealed by another algorithm than 1: HMAC(group base key, tag || algorithm
    /// u8 || record || group u8 || digest).
    pub const OTHER_KEY: [u8; 2] = [0x10, 0x0a];
}

/// Associated data, info and hash prefixes of long-lived derivations.
pub mod label {
    /// Seal key of a (subject, class) key.
    pub const SEAL: &[u8] = b"chancery/v1/seal\0";
    /// Tag key of a (subject, class) key.
    pub const TAG: &[u8] = b"chancery/v1/tag\0";
    /// Base key of groups with the same class, day, subjects and policy.
    pub const GROUP: &[u8] = b"chancery/v1/group\0";
    /// Input key material of a group sealed to the tenant.
    pub const NO_SUBJECT: &[u8] = b"chancery/v1/nosubject\0";
    /// Cell key of an identifier.
    pub const CELL_IDENTIFIER: &[u8] = b"chancery/v1/cell/identifier\0";
    /// Cell key of a person.
    pub const CELL_PERSON: &[u8] = b"chancery/v1/cell/person\0";
    /// Cell key of a class-day key.
    pub const CELL_CLASS_DAY: &[u8] = b"chancery/v1/cell/class-day\0";
    /// Cell key of the tenant's own keys.
    pub const CELL_TENANT: &[u8] = b"chancery/v1/cell/tenant\0";
    /// Hash of a unit.
    pub const UNIT: &[u8] = b"chancery/v1/unit\0";
    /// What a label of a service's key begins with; the rest is its use.
    pub const SERVICE: &str = "chancery/v1/service/";
    /// What the log key signs at the end of a unit, before the unit's hash.
    pub const UNIT_SIGNATURE: &[u8] = b"chancery/v1/unit-signature\0";
    /// What the log key signs at the end of a snapshot, before its hash.
    pub const SNAPSHOT: &[u8] = b"chancery/v1/snapshot\0";
    /// Hash by which a snapshot binds a run of event id tags.
    pub const RUN: &[u8] = b"chancery/v1/run\0";
}

/// HKDF-Expand of a uniformly random key.
pub fn expand(key: &Key, label: &[u8]) -> Key {
    let mut out = [0; 32];
    match Hkdf::<Sha256>::from_prk(key.expose()).map(|hkdf| hkdf.expand(label, &mut out)) {
        Ok(Ok(())) => {}
        _ => unreachable!("32 bytes from a 32-byte key are always within RFC 5869's limits"),
    }
    let key = Key::new(out);
    out.zeroize();
    key
}

/// HKDF-Extract and -Expand with a key as salt: destroying either input destroys the output.
pub fn derive(salt: &Key, input: &[u8], info: &[u8]) -> Key {
    let mut out = [0; 32];
    if Hkdf::<Sha256>::new(Some(salt.expose()), input).expand(info, &mut out).is_err() {
        unreachable!("32 bytes are always within RFC 5869's limits");
    }
    let key = Key::new(out);
    out.zeroize();
    key
}

/// HMAC-SHA-256 (RFC 2104) with both padded keys already absorbed.
#[derive(Clone)]
pub struct HmacKey {
    inner: State,
    outer: State,
}

impl HmacKey {
    /// Absorbs a 32-byte key.
    pub fn new(key: &Key) -> Self {
        let pad = |byte: u8| {
            let mut block = [byte; 64];
            for (slot, key) in block.iter_mut().zip(key.expose()) {
                *slot ^= key;
            }
            let mut state = State::IV;
            compress(&mut state, &block);
            block.zeroize();
            state
        };
        HmacKey { inner: pad(0x36), outer: pad(0x5c) }
    }

    /// The MAC of a message.
    pub fn mac(&self, message: &[u8]) -> Hash32 {
        let inner = finish(&self.inner, 64, message);
        finish(&self.outer, 64, &inner.0)
    }

    /// HKDF-Expand with the absorbed key as its pseudorandom key, to one block: as `expand`.
    pub fn expand(&self, info: &[u8]) -> Key {
        Key::new(self.mac(&[info, &[1]].concat()).0)
    }

    /// The first 16 bytes of the MAC.
    pub fn mac16(&self, message: &[u8]) -> [u8; 16] {
        let mut out = [0; 16];
        for (slot, byte) in out.iter_mut().zip(self.mac(message).0) {
            *slot = byte;
        }
        out
    }

    /// State after the inner pad: 64 bytes absorbed. For lanes.
    pub fn inner(&self) -> &State {
        &self.inner
    }

    /// State after the outer pad: 64 bytes absorbed. For lanes.
    pub fn outer(&self) -> &State {
        &self.outer
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        self.inner.0.zeroize();
        self.outer.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};

    #[test]
    fn cached_hmac_equals_the_crate() {
        for len in 0..200usize {
            let key = [len as u8; 32];
            let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("any length");
            mac.update(&message);
            let expect: [u8; 32] = mac.finalize().into_bytes().into();
            assert_eq!(HmacKey::new(&Key::new(key)).mac(&message).0, expect);
            let (cached, key) = (HmacKey::new(&Key::new(key)), Key::new(key));
            assert_eq!(cached.expand(&message), expand(&key, &message));
        }
    }
}

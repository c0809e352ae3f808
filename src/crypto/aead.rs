//! AES-256-GCM (SP 800-38D) of bodies: a fresh key for each, 12-byte nonce, 16-byte tag.
//! Through `ring`, which was measured faster where every message has its own key; the key
//! plane uses the `aes-gcm` crate, which wipes its keys (`docs/decisions/0002`). It never
//! returns plaintext of a message whose tag is wrong.

use crate::base::secret::Key;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes a ciphertext is longer than its plaintext.
pub const TAG_BYTES: usize = 16;

/// The tag is wrong: the bytes, the key, the nonce or the associated data is not the sealed one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthFailed;

fn cipher(key: &Key) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key.expose()) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("a 32-byte key fits AES-256"),
    }
}

/// Encrypts `out[start..]` in place and appends the tag.
pub fn seal_in_place(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    out: &mut Vec<u8>,
    start: usize,
) {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let Some(plain) = out.get_mut(start..) else { return };
    match cipher(key).seal_in_place_separate_tag(nonce, Aad::from(aad), plain) {
        Ok(tag) => out.extend_from_slice(tag.as_ref()),
        Err(_) => unreachable!("bodies are far below the 64 GiB limit of GCM"),
    }
}

/// Decrypts and checks.
///
/// # Errors
/// `AuthFailed`; nothing of the plaintext is returned then.
pub fn open(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AuthFailed> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let len = cipher(key)
        .open_in_place(nonce, Aad::from(aad), &mut buffer)
        .map_err(|_| AuthFailed)?
        .len();
    buffer.truncate(len);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes_gcm::aead::{Aead, KeyInit, Payload};

    #[test]
    fn ring_and_aes_gcm_agree() {
        for len in [0usize, 1, 31, 32, 1000] {
            let key = Key::new([len as u8; 32]);
            let plain = vec![7; len];
            let mut ours = plain.clone();
            seal_in_place(&key, &[9; 12], b"aad", &mut ours, 0);
            let other = aes_gcm::Aes256Gcm::new(&(*key.expose()).into())
                .encrypt(&[9u8; 12].into(), Payload { msg: &plain, aad: b"aad" })
                .expect("encrypts");
            assert_eq!(ours, other);
            assert_eq!(open(&key, &[9; 12], b"aad", &ours).expect("opens").as_slice(), plain);
            ours[len] ^= 1;
            assert!(open(&key, &[9; 12], b"aad", &ours).is_err());
            assert!(open(&key, &[9; 12], b"axd", &other).is_err());
        }
    }
}

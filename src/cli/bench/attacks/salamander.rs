//! One AES-256-GCM ciphertext, nonce, associated data and tag that are valid under two keys: the
//! tag is linear in every ciphertext block, so one block chosen freely makes two tags equal. It
//! exists to show that such a ciphertext is found out; nothing else may use it.

use crate::base::secret::Key;
use aes_gcm::KeyInit;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{Block, BlockCipherEncrypt};

/// The ciphertext of `plain` under `key`, but for its last whole block, which is chosen so that
/// the same bytes carry a valid tag under `other` too. None unless `plain` is two whole blocks or
/// more.
pub fn two_keys(
    key: &Key,
    other: &Key,
    nonce: &[u8; 12],
    aad: &[u8],
    plain: &[u8],
) -> Option<Vec<u8>> {
    if plain.len() < 32 || !plain.len().is_multiple_of(16) {
        return None;
    }
    let mut sealed = Vec::new();
    for (number, block) in plain.chunks(16).enumerate() {
        let stream = encrypt(key, counter(nonce, u32::try_from(number).ok()?.checked_add(2)?));
        sealed.extend(block.iter().zip(stream.to_be_bytes()).map(|(a, b)| a ^ b));
    }
    sealed.truncate(sealed.len().checked_sub(16)?);
    sealed.extend([0; 16]);
    // tag = E(J0) ^ ghash; the free block stands two multiplications before the end.
    let square = |key| {
        let h = encrypt(key, 0);
        multiply(h, h)
    };
    let difference = tag(key, nonce, aad, &sealed) ^ tag(other, nonce, aad, &sealed);
    let block = multiply(difference, inverse(square(key) ^ square(other)));
    sealed.truncate(sealed.len().checked_sub(16)?);
    sealed.extend(block.to_be_bytes());
    let tag = tag(key, nonce, aad, &sealed);
    sealed.extend_from_slice(&tag.to_be_bytes());
    Some(sealed)
}

fn counter(nonce: &[u8; 12], count: u32) -> u128 {
    let mut block = [0; 16];
    let bytes = nonce.iter().copied().chain(count.to_be_bytes());
    block.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    u128::from_be_bytes(block)
}

fn encrypt(key: &Key, block: u128) -> u128 {
    let cipher = Aes256::new(key.expose().into());
    let mut block: Block<Aes256> = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

fn tag(key: &Key, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> u128 {
    let h = encrypt(key, 0);
    let mut sum = 0;
    for part in [aad, sealed] {
        for chunk in part.chunks(16) {
            let mut block = [0; 16];
            block.iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
            sum = multiply(sum ^ u128::from_be_bytes(block), h);
        }
    }
    let lengths = (aad.len() as u128 * 8) << 64 | (sealed.len() as u128 * 8);
    multiply(sum ^ lengths, h) ^ encrypt(key, counter(nonce, 1))
}

/// Product in GF(2^128) as SP 800-38D numbers it: the first bit is the lowest power.
fn multiply(a: u128, b: u128) -> u128 {
    let (mut product, mut power) = (0, b);
    for bit in (0..128).rev() {
        if a >> bit & 1 == 1 {
            product ^= power;
        }
        power = power >> 1 ^ if power & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    product
}

/// a^(2^128 - 2).
fn inverse(a: u128) -> u128 {
    let (mut result, mut square) = (1 << 127, a);
    for _ in 1..128 {
        square = multiply(square, square);
        result = multiply(result, square);
    }
    result
}

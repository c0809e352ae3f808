//! One AES-256-GCM ciphertext, nonce, associated data and tag that are valid under two keys: the
//! tag is linear in every ciphertext block, so one block chosen freely makes two tags equal.

use aes_gcm::KeyInit;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{Block, BlockCipherEncrypt};
use chancery::base::secret::Key;

/// The ciphertext of `plain` under `key`, but for its last whole block, which is chosen so that
/// the same bytes carry a valid tag under `other` too.
pub(crate) fn two_keys(
    key: &Key,
    other: &Key,
    nonce: &[u8; 12],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    assert!(plain.len() >= 32 && plain.len().is_multiple_of(16), "whole blocks");
    let mut sealed = Vec::new();
    for (number, block) in plain.chunks(16).enumerate() {
        let stream = encrypt(key, counter(nonce, number as u32 + 2));
        sealed.extend(block.iter().zip(stream.to_be_bytes()).map(|(a, b)| a ^ b));
    }
    let free = sealed.len() - 16;
    sealed[free..].fill(0);
    // tag = E(J0) ^ ghash; the free block stands two multiplications before the end.
    let base = |key| tag(key, nonce, aad, &sealed);
    let square = |key| {
        let h = encrypt(key, 0);
        multiply(h, h)
    };
    let difference = base(key) ^ base(other);
    let factor = square(key) ^ square(other);
    let block = multiply(difference, inverse(factor));
    sealed[free..].copy_from_slice(&block.to_be_bytes());
    assert_eq!(tag(key, nonce, aad, &sealed), tag(other, nonce, aad, &sealed));
    let tag = tag(key, nonce, aad, &sealed);
    sealed.extend_from_slice(&tag.to_be_bytes());
    sealed
}

fn counter(nonce: &[u8; 12], count: u32) -> u128 {
    let mut block = [0; 16];
    block[..12].copy_from_slice(nonce);
    block[12..].copy_from_slice(&count.to_be_bytes());
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
            block[..chunk.len()].copy_from_slice(chunk);
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

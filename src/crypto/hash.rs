//! SHA-256 (FIPS 180-4), one message at a time, down to the block level.
//!
//! Everything here equals `sha2`'s digest and runs through it, so the CPU's SHA extensions are
//! used where they exist; many messages at once are `crypto::lanes`. `State` lets a worker absorb
//! all but the last block of an entry and the sequencer finish it with one compression.
//! But for `Running`, which its owner feeds, nothing here keeps state between calls; nothing fails,
//! and only `pad_onto` may allocate.

use crate::base::id::Hash32;
use sha2::Digest as _;
use sha2::block_api::compress256;
use std::fmt;

/// First byte of a Merkle leaf's preimage (RFC 6962, 2.1).
pub const LEAF_PREFIX: u8 = 0x00;
/// First byte of a Merkle node's preimage (RFC 6962, 2.1).
pub const NODE_PREFIX: u8 = 0x01;
/// Bytes of one compression.
pub const BLOCK: usize = 64;
/// Room that `pad_onto` needs behind a message; it gives back what padding does not take.
pub(crate) const PADDING_ROOM: usize = BLOCK + 8;
/// Length of a Merkle node's preimage.
const NODE_LEN: u64 = 65;

/// One block of a message.
pub type Block = [u8; BLOCK];

/// The chaining value of SHA-256 after some whole blocks. It may depend on secrets, so `Debug`
/// does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(pub [u32; 8]);

impl Default for State {
    fn default() -> Self {
        State::IV
    }
}

impl State {
    /// The initial value: nothing absorbed.
    pub const IV: Self = State([
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ]);

    /// The words as the digest writes them, big-endian.
    pub fn to_hash(&self) -> Hash32 {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        Hash32(bytes)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(..)")
    }
}

/// Absorbs whole 64-byte blocks. Bytes after the last whole block are a caller's bug: debug
/// builds assert, release builds leave them out.
pub fn compress(state: &mut State, blocks: &[u8]) {
    let (blocks, rest) = blocks.as_chunks::<BLOCK>();
    debug_assert!(rest.is_empty(), "whole blocks only");
    compress256(&mut state.0, blocks);
}

/// SHA-256 of the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash32(hasher.finalize().into())
}

/// SHA-256 of a message that comes in pieces, such as a file too long to hold.
#[derive(Clone, Default)]
pub struct Running(sha2::Sha256);

impl Running {
    /// Takes in the next piece.
    pub fn absorb(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of everything taken in so far.
    pub fn hash(&self) -> Hash32 {
        Hash32(self.0.clone().finalize().into())
    }
}

/// Leaf of the tree: SHA-256(0x00 || entry).
pub fn leaf_hash(entry: &[u8]) -> Hash32 {
    sha256(&[&[LEAF_PREFIX], entry])
}

/// Inner node of the tree: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash32, right: &Hash32) -> Hash32 {
    let (mut state, mut padded) = (State::IV, [[0; BLOCK]; 2]);
    pad_node(left, right, &mut padded);
    compress256(&mut state.0, &padded);
    state.to_hash()
}

/// Finishes a hash of which `state` holds the first `prefix_len` bytes, a multiple of 64
/// (asserted in debug builds); `tail` is the rest of the message, of any length.
pub fn finish(state: &State, prefix_len: u64, tail: &[u8]) -> Hash32 {
    debug_assert!(prefix_len.is_multiple_of(BLOCK as u64), "prefix of whole blocks");
    let (blocks, rest) = tail.as_chunks::<BLOCK>();
    let mut state = *state;
    compress256(&mut state.0, blocks);
    let mut padded = [[0; BLOCK]; 2];
    let used = pad(rest, prefix_len.wrapping_add(tail.len() as u64), &mut padded);
    compress256(&mut state.0, padded.get(..used).unwrap_or(&padded));
    state.to_hash()
}

/// Writes both blocks of a node's padded preimage.
pub(crate) fn pad_node(left: &Hash32, right: &Hash32, blocks: &mut [Block; 2]) {
    let [first, second] = blocks;
    let (upper, last) = right.0.split_at(31);
    *second = [0; BLOCK];
    first[0] = NODE_PREFIX;
    first[1..33].copy_from_slice(&left.0);
    first[33..].copy_from_slice(upper);
    second[..1].copy_from_slice(last);
    second[1] = 0x80;
    set_length(second, NODE_LEN);
}

/// Writes the padded end of a message of `len` bytes whose last `rest` (under 64) bytes are not
/// absorbed yet. Says how many of the two blocks it used; the other is left as it was.
#[inline]
pub(crate) fn pad(rest: &[u8], len: u64, blocks: &mut [Block; 2]) -> usize {
    debug_assert!(rest.len() < BLOCK, "rest of a block");
    let [first, second] = blocks;
    *first = [0; BLOCK];
    if let Some((bytes, [mark, ..])) = first.split_at_mut_checked(rest.len()) {
        bytes.copy_from_slice(rest);
        *mark = 0x80;
    }
    // 0x80 and the 8 bytes of length must fit behind the rest.
    if rest.len() + 9 <= BLOCK {
        set_length(first, len);
        return 1;
    }
    *second = [0; BLOCK];
    set_length(second, len);
    2
}

/// Pads the message that begins at `start` and ends `out`, in place: whole blocks, ready to absorb.
pub(crate) fn pad_onto(out: &mut Vec<u8>, start: usize) {
    const PADDING: [u8; PADDING_ROOM] = {
        let mut padding = [0; PADDING_ROOM];
        padding[0] = 0x80;
        padding
    };
    let len = out.len() - start;
    let end = start + (len + 9).next_multiple_of(BLOCK);
    // A copy of fixed length, cut, is faster than one of just the length.
    out.extend_from_slice(&PADDING);
    out.truncate(end);
    if let Some(last) = out.last_chunk_mut() {
        *last = (len as u64).wrapping_mul(8).to_be_bytes();
    }
}

/// Puts the message length in bits at the end of the last block.
#[inline]
fn set_length(last: &mut Block, len: u64) {
    last[56..].copy_from_slice(&len.wrapping_mul(8).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_equals_sha2() {
        let message: Vec<u8> = (0..400u32).map(|i| (i * 7) as u8).collect();
        for len in 0..=message.len() {
            let (whole, _) = message.split_at(len);
            let expect = Hash32(sha2::Sha256::digest(whole).into());
            assert_eq!(sha256(&[whole]), expect, "{len}");
            for split in (0..=len).step_by(BLOCK) {
                let (head, tail) = whole.split_at(split);
                let mut state = State::IV;
                compress(&mut state, head);
                assert_eq!(finish(&state, split as u64, tail), expect, "{len} at {split}");
            }
        }
    }

    #[test]
    fn a_message_padded_in_place_is_whole_blocks() {
        for len in 0..=200_usize {
            let mut out = vec![7; 5];
            out.extend((0..len).map(|i| i as u8));
            pad_onto(&mut out, 5);
            let blocks = out.split_off(5);
            assert!(blocks.len() >= len + 9 && blocks.len() < len + 9 + BLOCK, "{len}");
            let mut state = State::IV;
            compress(&mut state, &blocks);
            assert_eq!(state.to_hash(), sha256(&[&blocks[..len]]), "{len}");
        }
    }

    #[test]
    fn leaf_and_node_have_their_prefixes() {
        let (left, right) = (leaf_hash(b""), leaf_hash(b"entry"));
        assert_eq!(left, sha256(&[&[0]]));
        assert_eq!(node_hash(&left, &right), sha256(&[&[1], &left.0, &right.0]));
        assert_eq!(format!("{:?}", State::IV), "State(..)");
    }
}

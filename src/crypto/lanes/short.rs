//! Ends of messages, all of one length and each within one block: salts, and both halves of a
//! keyed hash. Every lane takes one block and is done, so nothing is refilled, and a message goes
//! straight into its padded block. It never allocates, and wipes the blocks it filled.

use crate::base::id::Hash32;
use crate::crypto::hash::{BLOCK, Block, State, compress, pad};
use crate::crypto::lanes::driver::Engine;
use std::slice::from_ref;
use zeroize::Zeroize as _;

/// Bytes that fit beside padding and length.
const LEN_MAX: usize = BLOCK - 9;

/// A padded block of zeros in place of a message's last `L` bytes, `prefix` bytes being absorbed.
fn padded<const L: usize>(prefix: u64) -> Block {
    const { assert!(L <= LEN_MAX, "one block") };
    let mut blocks = [[0; BLOCK]; 2];
    pad(&[0; L], prefix + L as u64, &mut blocks);
    blocks[0]
}

fn put<const L: usize>(block: &mut Block, end: &[u8; L]) {
    if let Some(to) = block.first_chunk_mut() {
        *to = *end;
    }
}

/// One after the other.
pub(crate) fn one_by_one<const L: usize>(
    prefix: u64,
    ends: impl Iterator<Item = (State, [u8; L])>,
    out: &mut [Hash32],
) {
    let mut block = padded::<L>(prefix);
    for ((mut state, end), out) in ends.zip(out) {
        put(&mut block, &end);
        compress(&mut state, &block);
        *out = state.to_hash();
    }
    block.zeroize();
}

/// In the lanes of an engine, `N` at a time.
pub(crate) fn in_lanes<const N: usize, const L: usize>(
    engine: &mut impl Engine<N>,
    prefix: u64,
    mut ends: impl Iterator<Item = (State, [u8; L])>,
    out: &mut [Hash32],
) {
    let (whole, rest) = out.as_chunks_mut::<N>();
    if whole.is_empty() {
        // Blocks of all lanes, and their wiping, would cost more than a few messages do.
        return one_by_one(prefix, ends, rest);
    }
    let mut blocks = [padded::<L>(prefix); N];
    for out in whole {
        let mut filled = 0;
        for (lane, (block, (state, end))) in blocks.iter_mut().zip(&mut ends).enumerate() {
            put(block, &end);
            engine.set(lane, &state);
            filled += 1;
        }
        if filled == 0 {
            break;
        }
        engine.run(&blocks.each_ref().map(from_ref), 1);
        for (lane, out) in out.iter_mut().take(filled).enumerate() {
            *out = engine.get(lane).to_hash();
        }
    }
    blocks.zeroize();
    one_by_one(prefix, ends, rest);
}

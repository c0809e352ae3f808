//! Two SHA-256 streams interleaved on the x86-64 SHA extensions: one stream alone waits for the
//! latency of `sha256rnds2`, two keep the unit busy. `unsafe` here loads and stores vectors through
//! pointers to arrays of their size, and calls the kernel after detection.
#![allow(unsafe_code)]

use crate::crypto::hash::{Block, State};
use crate::crypto::lanes::driver::Engine;
use crate::crypto::lanes::rounds::K;
use std::arch::x86_64::*;
use std::is_x86_feature_detected;

/// Streams.
const N: usize = 2;

/// Two states. One pair exists only on a CPU that has the features.
pub(crate) struct ShaNi {
    states: [[u32; 8]; N],
}

impl ShaNi {
    /// An engine, if the CPU has the SHA extensions and SSE 4.1.
    pub(crate) fn new() -> Option<Self> {
        let found = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        found.then_some(ShaNi { states: [[0; 8]; N] })
    }
}

impl Engine<N> for ShaNi {
    fn sparse(&self) -> usize {
        N
    }

    fn fill(&mut self, state: &State) {
        self.states = [state.0; N];
    }

    fn set(&mut self, lane: usize, state: &State) {
        self.states.get_mut(lane).into_iter().for_each(|slot| *slot = state.0);
    }

    fn get(&self, lane: usize) -> State {
        State(self.states.get(lane).copied().unwrap_or_default())
    }

    fn run(&mut self, runs: &[&[Block]; N], count: usize) {
        // SAFETY: a `ShaNi` is made by `new` only, which found sha and sse4.1 (and so ssse3).
        unsafe { compress(&mut self.states, runs, count) }
    }
}

#[target_feature(enable = "sha,sse4.1")]
fn compress(states: &mut [[u32; 8]; N], [left, right]: &[&[Block]; N], count: usize) {
    let [first, second] = states;
    let (mut a, mut b) = (load(first), load(second));
    for (block_a, block_b) in left.iter().zip(*right).take(count) {
        let (before_a, before_b) = (a, b);
        let (mut w, mut v) = (words(block_a), words(block_b));
        for (i, k) in K.as_chunks::<16>().0.iter().enumerate() {
            if i > 0 {
                schedule(&mut w);
                schedule(&mut v);
            }
            let [k0, k1, k2, k3] = constants(k);
            four(&mut a, &mut b, _mm_add_epi32(w[0], k0), _mm_add_epi32(v[0], k0));
            four(&mut a, &mut b, _mm_add_epi32(w[1], k1), _mm_add_epi32(v[1], k1));
            four(&mut a, &mut b, _mm_add_epi32(w[2], k2), _mm_add_epi32(v[2], k2));
            four(&mut a, &mut b, _mm_add_epi32(w[3], k3), _mm_add_epi32(v[3], k3));
        }
        a = [_mm_add_epi32(a[0], before_a[0]), _mm_add_epi32(a[1], before_a[1])];
        b = [_mm_add_epi32(b[0], before_b[0]), _mm_add_epi32(b[1], before_b[1])];
    }
    store(first, a);
    store(second, b);
}

/// Four rounds of both streams; a state is the pair (ABEF, CDGH) the instructions want.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn four(a: &mut [__m128i; 2], b: &mut [__m128i; 2], wk_a: __m128i, wk_b: __m128i) {
    a[1] = _mm_sha256rnds2_epu32(a[1], a[0], wk_a);
    b[1] = _mm_sha256rnds2_epu32(b[1], b[0], wk_b);
    a[0] = _mm_sha256rnds2_epu32(a[0], a[1], _mm_shuffle_epi32(wk_a, 0x0e));
    b[0] = _mm_sha256rnds2_epu32(b[0], b[1], _mm_shuffle_epi32(wk_b, 0x0e));
}

/// The next sixteen words of the message schedule.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn schedule(w: &mut [__m128i; 4]) {
    w[0] = next(w[0], w[1], w[2], w[3]);
    w[1] = next(w[1], w[2], w[3], w[0]);
    w[2] = next(w[2], w[3], w[0], w[1]);
    w[3] = next(w[3], w[0], w[1], w[2]);
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn next(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    _mm_sha256msg2_epu32(sum, w3)
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn constants(k: &[u32; 16]) -> [__m128i; 4] {
    let mut vectors = [_mm_setzero_si128(); 4];
    for (vector, four) in vectors.iter_mut().zip(k.as_chunks::<4>().0) {
        // SAFETY: `four` is 16 readable bytes; the load needs no alignment.
        *vector = unsafe { _mm_loadu_si128(four.as_ptr().cast()) };
    }
    vectors
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn words(block: &Block) -> [__m128i; 4] {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut vectors = [_mm_setzero_si128(); 4];
    for (vector, four) in vectors.iter_mut().zip(block.as_chunks::<16>().0) {
        // SAFETY: `four` is 16 readable bytes; the load needs no alignment.
        *vector = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(four.as_ptr().cast()) }, order);
    }
    vectors
}

/// Words A to H to (ABEF, CDGH), each from the highest 32 bits down.
#[inline]
#[target_feature(enable = "sse4.1")]
fn load(state: &[u32; 8]) -> [__m128i; 2] {
    // SAFETY: `state` is 32 readable bytes, two vectors; the loads need no alignment.
    let (dcba, hgfe) = unsafe {
        let at = state.as_ptr().cast::<__m128i>();
        (_mm_loadu_si128(at), _mm_loadu_si128(at.add(1)))
    };
    let (cdab, efgh) = (_mm_shuffle_epi32(dcba, 0xb1), _mm_shuffle_epi32(hgfe, 0x1b));
    [_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)]
}

/// The reverse of `load`.
#[inline]
#[target_feature(enable = "sse4.1")]
fn store(state: &mut [u32; 8], [abef, cdgh]: [__m128i; 2]) {
    let (feba, dchg) = (_mm_shuffle_epi32(abef, 0x1b), _mm_shuffle_epi32(cdgh, 0xb1));
    // SAFETY: `state` is 32 writable bytes, two vectors; the stores need no alignment.
    unsafe {
        let at = state.as_mut_ptr().cast::<__m128i>();
        _mm_storeu_si128(at, _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(at.add(1), _mm_alignr_epi8(dchg, feba, 8));
    }
}

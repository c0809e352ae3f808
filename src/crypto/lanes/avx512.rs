//! Sixteen SHA-256 streams in the 32-bit lanes of AVX-512 registers. `unsafe` here loads and
//! stores vectors through pointers to arrays of their size, and calls the kernel after detection.
#![allow(unsafe_code)]

use crate::crypto::hash::{Block, State};
use crate::crypto::lanes::driver::Engine;
use crate::crypto::lanes::rounds::rounds;
use std::arch::x86_64::*;
use std::is_x86_feature_detected;

/// Streams.
const N: usize = 16;

/// Sixteen states, word by word. One exists only on a CPU that has the features.
pub(crate) struct Avx512 {
    words: [[u32; N]; 8],
    sparse: usize,
}

impl Avx512 {
    /// An engine, if the CPU has AVX-512 F and BW.
    pub(crate) fn new() -> Option<Self> {
        if !is_x86_feature_detected!("avx512f") || !is_x86_feature_detected!("avx512bw") {
            return None;
        }
        // A step of all lanes costs what `sha2` needs for 2 blocks in plain instructions, and
        // with refilling what it needs for 14 blocks on the SHA extensions (both measured).
        let sparse = if is_x86_feature_detected!("sha") { 14 } else { 3 };
        Some(Avx512 { words: [[0; N]; 8], sparse })
    }
}

impl Engine<N> for Avx512 {
    fn sparse(&self) -> usize {
        self.sparse
    }

    fn fill(&mut self, state: &State) {
        self.words = state.0.map(|word| [word; N]);
    }

    fn set(&mut self, lane: usize, state: &State) {
        for (lanes, word) in self.words.iter_mut().zip(state.0) {
            lanes.get_mut(lane).into_iter().for_each(|slot| *slot = word);
        }
    }

    fn get(&self, lane: usize) -> State {
        State(self.words.map(|lanes| lanes.get(lane).copied().unwrap_or_default()))
    }

    fn run(&mut self, runs: &[&[Block]; N], count: usize) {
        // SAFETY: an `Avx512` is made by `new` only, which found avx512f and avx512bw.
        unsafe { compress(&mut self.words, runs, count) }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(words: &mut [[u32; N]; 8], runs: &[&[Block]; N], count: usize) {
    for at in 0..count {
        let mut rows = [_mm512_setzero_si512(); N];
        for (row, run) in rows.iter_mut().zip(runs) {
            let Some(block) = run.get(at) else { return };
            // SAFETY: `block` is 64 readable bytes; the load needs no alignment.
            let raw = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            *row = big_endian(raw);
        }
        let mut w = transpose(&rows);
        let mut s = load(words);
        rounds!(s, w);
        let before = load(words);
        for ((lanes, old), new) in words.iter_mut().zip(before).zip(s) {
            // SAFETY: `lanes` is 64 writable bytes; the store needs no alignment.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), add(old, new)) }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[[u32; N]; 8]) -> [__m512i; 8] {
    let mut vectors = [_mm512_setzero_si512(); 8];
    for (vector, lanes) in vectors.iter_mut().zip(words) {
        // SAFETY: `lanes` is 64 readable bytes; the load needs no alignment.
        *vector = unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
    }
    vectors
}

/// Sixteen blocks, one a row, to sixteen message words, one a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &[__m512i; N]) -> [__m512i; N] {
    // `fours[q][m]` holds, in its 128-bit part p, word 4p + m of streams 4q to 4q + 3.
    let mut fours = [[_mm512_setzero_si512(); 4]; 4];
    for (four, [a, b, c, d]) in fours.iter_mut().zip(rows.as_chunks::<4>().0) {
        let (ab, cd) = (_mm512_unpacklo_epi32(*a, *b), _mm512_unpacklo_epi32(*c, *d));
        let (ab2, cd2) = (_mm512_unpackhi_epi32(*a, *b), _mm512_unpackhi_epi32(*c, *d));
        *four = [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab2, cd2),
            _mm512_unpackhi_epi64(ab2, cd2),
        ];
    }
    // Of two vectors, 0x88 takes the even 128-bit parts and 0xdd the odd ones.
    let parts = |a, b, c, d| {
        let (even, odd) = (_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
        let (even2, odd2) = (_mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xdd));
        [
            _mm512_shuffle_i32x4(even, even2, 0x88),
            _mm512_shuffle_i32x4(odd, odd2, 0x88),
            _mm512_shuffle_i32x4(even, even2, 0xdd),
            _mm512_shuffle_i32x4(odd, odd2, 0xdd),
        ]
    };
    let [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]] = fours;
    let (p, q, r, s) = (
        parts(a0, b0, c0, d0),
        parts(a1, b1, c1, d1),
        parts(a2, b2, c2, d2),
        parts(a3, b3, c3, d3),
    );
    [p[0], q[0], r[0], s[0], p[1], q[1], r[1], s[1], p[2], q[2], r[2], s[2], p[3], q[3], r[3], s[3]]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(words: __m512i) -> __m512i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

// The truth table of x ^ y ^ z is 0x96, of x ? y : z 0xca, of the majority 0xe8.

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32(x, y, z, 0x96)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn choose(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32(x, y, z, 0xca)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32(x, y, z, 0xe8)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn upper0(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn upper1(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lower0(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lower1(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10))
}

//! Eight SHA-256 streams in the 32-bit lanes of AVX2 registers. `unsafe` here loads and stores
//! vectors through pointers to arrays of their size, and calls the kernel after detection.
#![allow(unsafe_code)]

use crate::crypto::hash::{Block, State};
use crate::crypto::lanes::driver::Engine;
use crate::crypto::lanes::rounds::rounds;
use std::arch::x86_64::*;
use std::is_x86_feature_detected;

/// Streams.
const N: usize = 8;
/// A step of all lanes costs less than two blocks of `sha2` in plain instructions (measured).
const SPARSE: usize = 2;

/// Eight states, word by word. One exists only on a CPU that has the feature.
pub(crate) struct Avx2 {
    words: [[u32; N]; 8],
}

impl Avx2 {
    /// An engine, if the CPU has AVX2.
    pub(crate) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Avx2 { words: [[0; N]; 8] })
    }
}

impl Engine<N> for Avx2 {
    fn sparse(&self) -> usize {
        SPARSE
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
        // SAFETY: an `Avx2` is made by `new` only, which found avx2.
        unsafe { compress(&mut self.words, runs, count) }
    }
}

#[target_feature(enable = "avx2")]
fn compress(words: &mut [[u32; N]; 8], runs: &[&[Block]; N], count: usize) {
    for at in 0..count {
        let mut rows = [[_mm256_setzero_si256(); N]; 2];
        for (lane, run) in runs.iter().enumerate() {
            let Some(block) = run.get(at) else { return };
            for (rows, half) in rows.iter_mut().zip(block.as_chunks::<32>().0) {
                // SAFETY: `half` is 32 readable bytes; the load needs no alignment.
                let raw = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                rows.get_mut(lane).into_iter().for_each(|row| *row = big_endian(raw));
            }
        }
        let [low, high] = rows;
        let (low, high) = (transpose(&low), transpose(&high));
        let mut w = [_mm256_setzero_si256(); 16];
        w.iter_mut().zip(low.into_iter().chain(high)).for_each(|(slot, word)| *slot = word);
        let mut s = load(words);
        rounds!(s, w);
        let before = load(words);
        for ((lanes, old), new) in words.iter_mut().zip(before).zip(s) {
            // SAFETY: `lanes` is 32 writable bytes; the store needs no alignment.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), add(old, new)) }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[[u32; N]; 8]) -> [__m256i; 8] {
    let mut vectors = [_mm256_setzero_si256(); 8];
    for (vector, lanes) in vectors.iter_mut().zip(words) {
        // SAFETY: `lanes` is 32 readable bytes; the load needs no alignment.
        *vector = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
    }
    vectors
}

/// Eight half blocks, one a row, to eight message words, one a row.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: &[__m256i; N]) -> [__m256i; N] {
    // `fours[q][m]` holds, in its 128-bit part p, word 4p + m of streams 4q to 4q + 3.
    let mut fours = [[_mm256_setzero_si256(); 4]; 2];
    for (four, [a, b, c, d]) in fours.iter_mut().zip(rows.as_chunks::<4>().0) {
        let (ab, cd) = (_mm256_unpacklo_epi32(*a, *b), _mm256_unpacklo_epi32(*c, *d));
        let (ab2, cd2) = (_mm256_unpackhi_epi32(*a, *b), _mm256_unpackhi_epi32(*c, *d));
        *four = [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab2, cd2),
            _mm256_unpackhi_epi64(ab2, cd2),
        ];
    }
    // 0x20 joins the low halves of two vectors, 0x31 the high ones.
    let [[a0, a1, a2, a3], [b0, b1, b2, b3]] = fours;
    [
        _mm256_permute2x128_si256(a0, b0, 0x20),
        _mm256_permute2x128_si256(a1, b1, 0x20),
        _mm256_permute2x128_si256(a2, b2, 0x20),
        _mm256_permute2x128_si256(a3, b3, 0x20),
        _mm256_permute2x128_si256(a0, b0, 0x31),
        _mm256_permute2x128_si256(a1, b1, 0x31),
        _mm256_permute2x128_si256(a2, b2, 0x31),
        _mm256_permute2x128_si256(a3, b3, 0x31),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn big_endian(words: __m256i) -> __m256i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(order))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(x: __m256i, y: __m256i) -> __m256i {
    _mm256_xor_si256(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    xor(z, _mm256_and_si256(x, xor(y, z)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    xor(y, _mm256_and_si256(xor(x, y), xor(y, z)))
}

/// Rotation of each word; `LEFT` is 32 - `RIGHT`.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32(x, RIGHT), _mm256_slli_epi32(x, LEFT))
}

#[inline]
#[target_feature(enable = "avx2")]
fn upper0(x: __m256i) -> __m256i {
    xor(xor(rotate::<2, 30>(x), rotate::<13, 19>(x)), rotate::<22, 10>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn upper1(x: __m256i) -> __m256i {
    xor(xor(rotate::<6, 26>(x), rotate::<11, 21>(x)), rotate::<25, 7>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn lower0(x: __m256i) -> __m256i {
    xor(xor(rotate::<7, 25>(x), rotate::<18, 14>(x)), _mm256_srli_epi32(x, 3))
}

#[inline]
#[target_feature(enable = "avx2")]
fn lower1(x: __m256i) -> __m256i {
    xor(xor(rotate::<17, 15>(x), rotate::<19, 13>(x)), _mm256_srli_epi32(x, 10))
}

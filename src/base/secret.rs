//! Secret bytes: wiped when dropped, never printed, compared in constant time.

use std::fmt;
use zeroize::Zeroize;

/// `N` secret bytes. The only way to read them is `expose`.
#[derive(Clone)]
pub struct Secret<const N: usize>([u8; N]);

/// A 256-bit key.
pub type Key = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Takes the bytes; the caller wipes its own copy.
    pub fn new(bytes: [u8; N]) -> Self {
        Secret(bytes)
    }

    /// Copies from a slice of exactly `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Secret)
    }

    /// The bytes, for the operation that needs them.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

//! Secret bytes: wiped when dropped, never printed, compared in constant time.

use std::fmt;
use std::hint::black_box;
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

/// Overwrites secrets with nothing at the speed of memory: one fill, which the compiler must not
/// leave out since it cannot know what the barrier reads. For large buffers; `zeroize` writes byte
/// by byte.
pub fn wipe<T: Copy + Default>(items: &mut [T]) {
    items.fill(T::default());
    black_box(&*items);
}

/// A vector of secrets, wiped when dropped, at the speed of memory. Whoever fills it reserves
/// first: memory it grows out of is not wiped.
#[derive(Default)]
pub struct Wiped<T: Copy + Default>(pub Vec<T>);

impl<T: Copy + Default> std::ops::Deref for Wiped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Copy + Default> Drop for Wiped<T> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiped_bytes_are_zero() {
        let mut bytes = [7; 100];
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 100]);
    }
}

//! What comes from outside: time and randomness, as traits. Real ones are wired in `cli`,
//! simulated ones in tests; nothing below `cli` reads a clock or the system's entropy itself.

use crate::base::unit::UtcNanos;

/// Two clocks. Log time advances by the monotonic one; the wall clock is only compared.
pub trait Clock: Send + Sync {
    /// The wall clock, UTC.
    fn wall(&self) -> UtcNanos;
    /// Nanoseconds of a clock that never goes back while the process runs.
    fn monotonic(&self) -> u64;
}

/// A source of cryptographically secure random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`. A source that cannot must abort the process: there is no safe fallback.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

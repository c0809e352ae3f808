//! The demo's dice: xoshiro256** seeded through splitmix64 (Blackman and Vigna, public domain).
//! One seed gives one day, on every machine. It is NOT cryptographic: no key, nonce or salt may
//! ever come from it, and it never reads the system's entropy.

/// A reproducible stream of numbers.
#[derive(Clone, Debug)]
pub struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// The stream of a seed and a purpose: two purposes of one seed share nothing, so adding a
    /// throw in one place does not change the others.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut mix = purpose.bytes().fold(seed, |state, byte| {
            state.rotate_left(8).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(byte)
        });
        Dice { state: [(); 4].map(|()| splitmix(&mut mix)) }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state = [a, b, c, d];
        result
    }

    /// A number below `bound`; 0 for a bound of 0. Its bias is below bound / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `percent` of 100 throws.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the items; none of an empty list.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let position = self.below(items.len() as u64);
        items.get(position as usize)
    }

    /// One of the words; the empty word of an empty list.
    pub fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        self.choose(words).copied().unwrap_or_default()
    }

    /// A position in `weights`, each as likely as its weight; 0 when all are 0.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (position, weight) in weights.iter().enumerate() {
            if left < *weight {
                return position;
            }
            left -= weight;
        }
        0
    }

    /// `digits` lower-case hex digits, as request and session ids have them.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.draw()));
        }
        text.truncate(digits);
        text
    }

    /// A version 4 UUID in form only.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(3 << 62)) | (2 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

/// One step of splitmix64: spreads a poor seed over 64 bits.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose() {
        let first = |seed, purpose| Dice::new(seed, purpose).draw();
        assert_eq!(first(7, "cast"), first(7, "cast"));
        assert_ne!(first(7, "cast"), first(7, "day"));
        assert_ne!(first(7, "cast"), first(8, "cast"));
    }

    #[test]
    fn throws_stay_in_bounds_and_reach_them() {
        let mut dice = Dice::new(1, "bounds");
        let mut seen = [false; 6];
        for _ in 0..1_000 {
            let face = dice.between(0, 5);
            if let Some(slot) = seen.get_mut(face as usize) {
                *slot = true;
            }
            assert!(face <= 5);
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.weighted(&[0, 0, 3]), 2);
        assert_eq!(dice.weighted(&[]), 0);
    }
}

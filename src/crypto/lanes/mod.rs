//! SHA-256 of many independent messages at once: sixteen lanes on AVX-512, eight on AVX2, two
//! interleaved streams on the SHA extensions, one at a time elsewhere. All give the bytes that
//! `sha2` gives; only the time differs, so the choice is made at run time and is in no format.
//!
//! Messages may differ in length: those of one length go together, and else a lane that ends takes
//! the next message. No message is copied whole; ends that were copied for padding are wiped.
//!
//! The three kernel files are the only ones of the crate with `unsafe`: the vector loads and
//! stores, and the call of a function compiled for a CPU feature that was detected before. They
//! need no other exemption: array positions are constants, slices are read through `get`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod driver;
#[cfg(target_arch = "x86_64")]
mod rounds;
#[cfg(target_arch = "x86_64")]
mod shani;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod short;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod whole;

use crate::base::id::Hash32;
use crate::crypto::hash::{BLOCK, State};
#[cfg(target_arch = "x86_64")]
use crate::crypto::lanes::driver::in_lanes;
use crate::crypto::lanes::driver::{Digest, Nodes, Source, one_by_one};
use crate::crypto::lanes::whole::Whole;

/// A way to hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// Sixteen lanes of 32 bits: AVX-512 F and BW.
    Avx512,
    /// Eight lanes of 32 bits: AVX2.
    Avx2,
    /// Two interleaved streams on the SHA extensions of x86-64.
    ShaNi,
    /// One message at a time through `sha2`, which finds its own best instructions.
    Portable,
}

impl Backend {
    /// Every backend this CPU can run, fastest first; never empty.
    pub fn available() -> Vec<Backend> {
        PREFERENCE.into_iter().filter(|backend| backend.is_available()).collect()
    }

    fn is_available(self) -> bool {
        match self {
            Backend::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => avx512::Avx512::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => avx2::Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Backend::ShaNi => shani::ShaNi::new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// The order in which `Lanes::detect` tries. Measured in batches of 5,000 on a CPU that has all
/// four: sixteen lanes beat the SHA extensions for nodes (47 to 62 ns), 512-byte messages (180 to
/// 255 ns) and heads of 256-576 bytes (150 to 182 ns), and lose 8-10 % at 36-120 bytes; eight lanes
/// lose to the SHA extensions everywhere, and beat `sha2` only where there are none. Figures and
/// machines: `docs/decisions/0003-hash-lanes.md`.
const PREFERENCE: [Backend; 4] =
    [Backend::Avx512, Backend::ShaNi, Backend::Avx2, Backend::Portable];

/// A chosen backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lanes {
    backend: Backend,
}

/// Returns what the engine of a backend does; goes on where there is none.
macro_rules! return_in_engine {
    ($backend:expr, |$engine:ident| $work:expr) => {
        #[cfg(target_arch = "x86_64")]
        match $backend {
            Backend::Avx512 => {
                if let Some(mut $engine) = avx512::Avx512::new() {
                    return $work;
                }
            }
            Backend::Avx2 => {
                if let Some(mut $engine) = avx2::Avx2::new() {
                    return $work;
                }
            }
            Backend::ShaNi => {
                if let Some(mut $engine) = shani::ShaNi::new() {
                    return $work;
                }
            }
            Backend::Portable => {}
        }
    };
}

impl Lanes {
    /// The fastest backend this CPU can run. Cheap: the CPU is asked once per process.
    pub fn detect() -> Lanes {
        let found = PREFERENCE.into_iter().find(|backend| backend.is_available());
        Lanes { backend: found.unwrap_or(Backend::Portable) }
    }

    /// This backend, if the CPU can run it.
    pub fn with(backend: Backend) -> Option<Lanes> {
        backend.is_available().then_some(Lanes { backend })
    }

    /// Which backend.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Its name for logs and `doctor`.
    pub fn name(&self) -> &'static str {
        match self.backend {
            Backend::Avx512 => "avx512x16",
            Backend::Avx2 => "avx2x8",
            Backend::ShaNi => "shani-x2",
            Backend::Portable => "portable",
        }
    }

    /// Tells `done` the state of each message's number, in no order: all of the message absorbed
    /// from the beginning. Each length is a multiple of 64 (asserted in debug builds; release
    /// builds leave a remainder out).
    pub fn absorb_all(&self, messages: &[&[u8]], done: impl FnMut(usize, &State)) {
        let mut whole = Whole { messages, which: None, done };
        return_in_engine!(self.backend, |engine| whole::in_lanes(&mut engine, whole));
        one_by_one(&mut whole, 0);
    }

    /// `out[i]` = SHA-256 of `messages[i]`. Pairs beyond the shorter slice are left.
    pub fn digest_many(&self, messages: &[&[u8]], out: &mut [Hash32]) {
        debug_assert_eq!(messages.len(), out.len(), "one digest per message");
        self.run(&mut Digest { messages, out });
    }

    /// As `digest_many`, of messages that `hash::pad_onto` has padded where they lie.
    pub(crate) fn digest_padded(&self, messages: &[&[u8]], out: &mut [Hash32]) {
        debug_assert_eq!(messages.len(), out.len(), "one digest per message");
        self.absorb_all(messages, |number, state| {
            out.get_mut(number).into_iter().for_each(|out| *out = state.to_hash());
        });
    }

    /// `out[i]` = the hash of a message whose first `prefix` bytes (a multiple of 64, the same for
    /// all) are in the state of `ends[i]`, and whose last bytes, at most 55, are beside it. Pairs
    /// beyond the shorter of both are left.
    pub fn finish_short<const L: usize>(
        &self,
        prefix: u64,
        ends: impl Iterator<Item = (State, [u8; L])>,
        out: &mut [Hash32],
    ) {
        debug_assert!(prefix.is_multiple_of(BLOCK as u64), "prefix of whole blocks");
        return_in_engine!(self.backend, |engine| short::in_lanes(&mut engine, prefix, ends, out));
        short::one_by_one(prefix, ends, out);
    }

    /// `out[i]` = the Merkle node over `children[2i]` and `children[2i + 1]`. The number of
    /// children is even and twice that of `out` (asserted in debug builds).
    pub fn nodes(&self, children: &[Hash32], out: &mut [Hash32]) {
        debug_assert_eq!(children.len(), out.len() * 2, "two children per node");
        self.run(&mut Nodes { pairs: children.as_chunks::<2>().0, out });
    }

    fn run<'a>(&self, source: &mut impl Source<'a>) {
        return_in_engine!(self.backend, |engine| in_lanes(&mut engine, source));
        one_by_one(source, 0);
    }
}

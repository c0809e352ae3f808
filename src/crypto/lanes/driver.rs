//! Feeds messages of unequal length to the lanes of an engine, refilling each lane as its
//! message ends. It is safe code: engines get slices whose lengths they may rely on only after
//! checking. It never copies a message but for the last bytes, which need padding.

use crate::base::id::Hash32;
use crate::crypto::hash::{BLOCK, Block, State, compress, node_blocks, pad};

/// A message as the lanes see it: whole blocks where they lie, then padded blocks in scratch.
pub(crate) struct Job<'a> {
    /// Chaining value to begin with.
    pub(crate) state: State,
    /// Blocks read in place.
    pub(crate) head: &'a [Block],
    /// How many blocks of the scratch follow.
    pub(crate) tail: usize,
}

/// Messages by number, and where their results go.
pub(crate) trait Source<'a> {
    /// How many messages.
    fn len(&self) -> usize;
    /// Message `i`, below `len`; its padded end is written to `scratch`.
    fn job(&self, i: usize, scratch: &mut [Block; 2]) -> Job<'a>;
    /// Takes the result of message `i`.
    fn done(&mut self, i: usize, state: &State);
}

/// `Lanes::absorb_many`.
pub(crate) struct Absorb<'s, 'a> {
    pub(crate) states: &'s mut [State],
    pub(crate) data: &'s [&'a [u8]],
}

impl<'a> Source<'a> for Absorb<'_, 'a> {
    fn len(&self) -> usize {
        self.states.len().min(self.data.len())
    }

    fn job(&self, i: usize, _: &mut [Block; 2]) -> Job<'a> {
        let data: &'a [u8] = self.data.get(i).copied().unwrap_or_default();
        let (head, rest) = data.as_chunks::<BLOCK>();
        debug_assert!(rest.is_empty(), "whole blocks only");
        Job { state: self.states.get(i).copied().unwrap_or(State::IV), head, tail: 0 }
    }

    fn done(&mut self, i: usize, state: &State) {
        if let Some(slot) = self.states.get_mut(i) {
            *slot = *state;
        }
    }
}

/// What the messages of `Finish` start from.
pub(crate) enum States<'s> {
    /// Nothing absorbed.
    Iv,
    /// One state per message.
    Each(&'s [State]),
}

/// `Lanes::finish_many` and `Lanes::digest_many`.
pub(crate) struct Finish<'s, 'a> {
    pub(crate) states: States<'s>,
    pub(crate) prefix_len: u64,
    pub(crate) tails: &'s [&'a [u8]],
    pub(crate) out: &'s mut [Hash32],
}

impl<'a> Source<'a> for Finish<'_, 'a> {
    fn len(&self) -> usize {
        let n = self.tails.len().min(self.out.len());
        match self.states {
            States::Iv => n,
            States::Each(states) => n.min(states.len()),
        }
    }

    fn job(&self, i: usize, scratch: &mut [Block; 2]) -> Job<'a> {
        let tail: &'a [u8] = self.tails.get(i).copied().unwrap_or_default();
        let (head, rest) = tail.as_chunks::<BLOCK>();
        let state = match self.states {
            States::Iv => State::IV,
            States::Each(states) => states.get(i).copied().unwrap_or(State::IV),
        };
        let len = self.prefix_len.wrapping_add(tail.len() as u64);
        Job { state, head, tail: pad(rest, len, scratch) }
    }

    fn done(&mut self, i: usize, state: &State) {
        if let Some(slot) = self.out.get_mut(i) {
            *slot = state.to_hash();
        }
    }
}

/// `Lanes::nodes`.
pub(crate) struct Nodes<'s> {
    pub(crate) pairs: &'s [[Hash32; 2]],
    pub(crate) out: &'s mut [Hash32],
}

impl<'a> Source<'a> for Nodes<'_> {
    fn len(&self) -> usize {
        self.pairs.len().min(self.out.len())
    }

    fn job(&self, i: usize, scratch: &mut [Block; 2]) -> Job<'a> {
        if let Some([left, right]) = self.pairs.get(i) {
            *scratch = node_blocks(left, right);
        }
        Job { state: State::IV, head: &[], tail: 2 }
    }

    fn done(&mut self, i: usize, state: &State) {
        if let Some(slot) = self.out.get_mut(i) {
            *slot = state.to_hash();
        }
    }
}

/// Hashes every message from number `from`, one after the other.
pub(crate) fn one_by_one<'a>(source: &mut impl Source<'a>, from: usize) {
    let mut scratch = [[0; BLOCK]; 2];
    for i in from..source.len() {
        let job = source.job(i, &mut scratch);
        let mut state = job.state;
        compress(&mut state, job.head.as_flattened());
        compress(&mut state, scratch.get(..job.tail).unwrap_or_default().as_flattened());
        source.done(i, &state);
    }
}

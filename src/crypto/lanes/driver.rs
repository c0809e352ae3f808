//! Feeds messages of unequal length to the lanes of an engine, refilling each lane as its
//! message ends. It is safe code: engines get slices whose lengths they may rely on only after
//! checking. It never copies a message but for the last bytes, which need padding.

use crate::base::id::Hash32;
use crate::crypto::hash::{BLOCK, Block, State, compress, pad, pad_node};
use zeroize::Zeroize as _;

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

/// `Lanes::digest_many`.
pub(crate) struct Digest<'s, 'a> {
    pub(crate) messages: &'s [&'a [u8]],
    pub(crate) out: &'s mut [Hash32],
}

impl<'a> Source<'a> for Digest<'_, 'a> {
    fn len(&self) -> usize {
        self.messages.len().min(self.out.len())
    }

    fn job(&self, i: usize, scratch: &mut [Block; 2]) -> Job<'a> {
        let message: &'a [u8] = self.messages.get(i).copied().unwrap_or_default();
        let (head, rest) = message.as_chunks::<BLOCK>();
        Job { state: State::IV, head, tail: pad(rest, message.len() as u64, scratch) }
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
            pad_node(left, right, scratch);
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
    scratch.zeroize();
}

/// `N` chaining values that advance together.
pub(crate) trait Engine<const N: usize> {
    /// With fewer busy lanes than this, `sha2` is faster alone.
    fn sparse(&self) -> usize;
    /// Puts one state into every lane.
    fn fill(&mut self, state: &State);
    /// Puts a state into a lane.
    fn set(&mut self, lane: usize, state: &State);
    /// The state of a lane.
    fn get(&self, lane: usize) -> State;
    /// Absorbs the first `count` blocks of each lane's run; stops where a run is shorter.
    fn run(&mut self, runs: &[&[Block]; N], count: usize);
}

/// What a lane works on.
struct Slot<'a> {
    /// Number of the message, while there is one.
    message: Option<usize>,
    /// Its blocks still to be read in place.
    head: &'a [Block],
    /// Its padded end.
    scratch: [Block; 2],
    /// First block of the scratch still to be read, and the end of what is used.
    tail: (usize, usize),
}

impl Slot<'_> {
    /// Blocks that lie together: the rest of the head, or else of the tail.
    fn run(&self) -> &[Block] {
        if self.head.is_empty() {
            self.scratch.get(self.tail.0..self.tail.1).unwrap_or_default()
        } else {
            self.head
        }
    }

    fn advance(&mut self, count: usize) {
        if self.head.is_empty() {
            self.tail.0 += count;
        } else {
            self.head = self.head.get(count..).unwrap_or_default();
        }
    }
}

/// Hashes every message in the lanes of an engine.
pub(crate) fn in_lanes<'a, const N: usize>(
    engine: &mut impl Engine<N>,
    source: &mut impl Source<'a>,
) {
    if source.len() < engine.sparse() {
        return one_by_one(source, 0);
    }
    let mut slots: [Slot<'a>; N] = std::array::from_fn(|_| Slot {
        message: None,
        head: &[],
        scratch: [[0; BLOCK]; 2],
        tail: (0, 0),
    });
    let (mut next, mut done) = (0, 0);
    loop {
        let (mut busy, mut count) = (0, usize::MAX);
        for (lane, slot) in slots.iter_mut().enumerate() {
            slot.advance(done);
            if slot.run().is_empty() {
                exchange(engine, source, lane, slot, &mut next);
            }
            if slot.message.is_some() {
                busy += 1;
                count = count.min(slot.run().len());
            }
        }
        // Fewer than `sparse` also means that no message waits: a waiting one fills a lane.
        if busy < engine.sparse().max(1) {
            break;
        }
        let mut runs = slots.each_ref().map(Slot::run);
        if busy < N {
            // An idle lane repeats a busy one's work, and nobody asks for the result.
            let spare = slots.iter().find(|slot| slot.message.is_some()).map_or(&[][..], Slot::run);
            let idle = runs.iter_mut().zip(&slots).filter(|(_, slot)| slot.message.is_none());
            idle.for_each(|(run, _)| *run = spare);
        }
        engine.run(&runs, count);
        done = count;
    }
    // Lanes are filled in order: those beyond the number of messages never had one to be wiped.
    for (lane, slot) in slots.iter_mut().enumerate().take(source.len()) {
        if let Some(message) = slot.message {
            let mut state = engine.get(lane);
            while !slot.run().is_empty() {
                compress(&mut state, slot.run().as_flattened());
                slot.advance(slot.run().len());
            }
            source.done(message, &state);
        }
        slot.scratch.zeroize();
    }
}

/// Hands over a lane's result and gives it the next message that has blocks.
fn exchange<'a, const N: usize>(
    engine: &mut impl Engine<N>,
    source: &mut impl Source<'a>,
    lane: usize,
    slot: &mut Slot<'a>,
    next: &mut usize,
) {
    if let Some(message) = slot.message.take() {
        source.done(message, &engine.get(lane));
    }
    while slot.message.is_none() && *next < source.len() {
        let job = source.job(*next, &mut slot.scratch);
        if job.head.is_empty() && job.tail == 0 {
            source.done(*next, &job.state);
        } else {
            engine.set(lane, &job.state);
            slot.message = Some(*next);
            slot.head = job.head;
            slot.tail = (0, job.tail);
        }
        *next += 1;
    }
}
